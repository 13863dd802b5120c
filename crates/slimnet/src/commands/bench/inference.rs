//! `slimnet bench NET`: how fast a network runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use slimnet_engine::Threads;
use slimnet_engine::kernels::Zeros;

use super::operators::Labels;
use super::{Ready, Runtime, Subject, bench};
use crate::arguments::{Bench, Global, RuntimeName};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::lengths;
use crate::measure::Workload;
use crate::report::summary::count_cost;
use crate::runtime::{self, Ort, Own, random_inputs};

/// Batches that are measured where none is told.
const USUAL: [usize; 2] = [1, 64];

/// Measures runs.
pub fn run(network: &Path, options: &Bench, global: &Global, console: Console) -> Result<Outcome> {
    let dims = options.measurement.dims.iter().cloned().collect();
    let prepare = |subject: &Subject, runtime: &Runtime, batch, threads: &Arc<Threads>| {
        prepare((subject, runtime), batch, &dims, (global.seed, threads))
    };
    let (batches, runtimes) = ((options.batch.as_slice(), USUAL.as_slice()), runtimes(options)?);
    bench("run", (network, &runtimes), batches, &options.measurement, (global, console), &prepare)
}

/// What the command line asks to run the network in.
fn runtimes(options: &Bench) -> Result<Vec<Runtime>> {
    if options.ort.is_some() && !options.runtime.contains(&RuntimeName::Ort) {
        return Err(Failure::usage("--ort names the library for --runtime ort, which is not asked for"));
    }
    let runtime = |name: &RuntimeName| match name {
        RuntimeName::Own => Ok(Runtime::Own),
        RuntimeName::Ort => runtime::find(options.ort.as_deref())?.map(Runtime::Ort).ok_or_else(|| {
            let advice = format!("install ONNX Runtime, or name its libonnxruntime by --ort or {}", runtime::VARIABLE);
            Failure::because("cannot run in ONNX Runtime", "its library is not found").advise(&advice)
        }),
    };
    options.runtime.iter().map(runtime).collect()
}

fn prepare(
    (subject, runtime): (&Subject, &Runtime),
    batch: usize,
    dims: &BTreeMap<String, usize>,
    (seed, threads): (u64, &Threads),
) -> Result<Ready> {
    let what = format!("cannot run {} at batch {batch}", subject.name);
    let lengths = subject.lengths(batch, dims);
    let fixed = lengths::fix(&subject.graph, &lengths)?;
    let cost = count_cost(&fixed)?;
    let (workload, memory, labels): (Box<dyn Workload>, _, _) = match runtime {
        Runtime::Own => {
            let mut own = Own::new(&subject.graph, &lengths, Zeros::Skipped, &what)?;
            own.set(&random_inputs(&fixed, seed)?)?;
            let memory = own.memory();
            (Box::new(own), Some(memory), Some(Labels::new(&fixed, &cost)))
        }
        Runtime::Ort(library) => {
            let inputs = random_inputs(&fixed, seed)?;
            (Box::new(Ort::new(library, &subject.graph, threads.count(), &inputs, &what)?), None, None)
        }
    };
    Ok(Ready {
        workload,
        macs: Some(cost.macs),
        nodes_of_unknown_macs: Some(cost.unknown_macs.len() as u64),
        memory,
        optimizer_bytes: None,
        labels,
    })
}
