//! `slimnet new ARCH -o NET`: makes an untrained network of a known architecture.

use std::path::PathBuf;

use slimnet_graph::zoo::{self, Architecture, ZooError, ZooOptions};

use crate::arguments::{Global, New};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::files;
use crate::report::new::{ArchitectureReport, ListReport, NewReport};
use crate::report::summary::{Summary, ports};

/// Makes the network, or lists the architectures.
pub fn run(options: &New, global: &Global, console: Console) -> Result<Outcome> {
    let (Some(architecture), Some(output), false) = (&options.architecture, &options.output, options.list) else {
        let architectures = zoo::architectures().iter().map(describe).collect();
        console.result(&ListReport { command: "new", architectures })?;
        return Ok(Outcome::Done);
    };
    let zoo_options = ZooOptions {
        classes: options.classes,
        channels: options.channels,
        width: options.width,
        resolution: options.resolution,
        init: options.init,
        seed: global.seed,
    };
    files::check_output(output)?;
    let graph = zoo::build(architecture, &zoo_options).map_err(|error| match error {
        ZooError::Build(_) => Failure::new("cannot build the network", &error),
        _ => Failure::usage(&error.to_string()),
    })?;
    let written = files::write(&graph, output)?;
    console.result(&NewReport {
        command: "new",
        architecture: architecture.clone(),
        seed: global.seed,
        output: PathBuf::from(output),
        inputs: ports(&graph, graph.inputs()),
        outputs: ports(&graph, graph.outputs()),
        summary: Summary::of(&graph, Some(written.bytes))?,
    })?;
    Ok(Outcome::Done)
}

fn describe(architecture: &'static Architecture) -> ArchitectureReport {
    let options = architecture.takes.iter().map(|option| option.name());
    ArchitectureReport {
        name: architecture.name,
        description: architecture.description,
        source: architecture.source,
        input: architecture.input,
        classes: architecture.classes,
        init: architecture.init.name(),
        options: ["classes", "channels"].into_iter().chain(options).chain(["init", "seed"]).collect(),
    }
}
