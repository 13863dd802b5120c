//! `slimnet simplify NET -o OUT`: makes a network smaller without changing what it computes.

use slimnet_graph::Graph;
use slimnet_graph::infer::infer_graph;
use slimnet_graph::onnx::write_bytes;
use slimnet_graph::simplify::{LayerChannels, SimplifyOptions, simplify};

use crate::arguments::{Global, Simplify};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::report::simplify::{Check, LayerReport, PassReport, SimplifyReport};
use crate::report::summary::Summary;
use crate::samples::{Samples, compare_outputs};
use crate::{files, lengths};

/// Differences of outputs up to this, for outputs above 1 relative to the largest, are rounding.
const CHECK_TOLERANCE: f64 = 1e-4;

/// Simplifies the network.
pub fn run(options: &Simplify, global: &Global, console: Console) -> Result<Outcome> {
    if !(0.0..1.0).contains(&options.dead) {
        return Err(Failure::usage(&format!("--dead: expected a number from 0 to below 1, found {}", options.dead)));
    }
    let output = options.output.as_deref().filter(|_| !options.dry_run);
    if let Some(output) = output {
        files::check_output(output)?;
    }
    let original = files::read(&options.network)?;
    let dims = options.dims.iter().cloned().collect();
    let before = Summary::of(&lengths::fix(&original, &dims)?, Some(files::size(&original, &options.network)?))?;
    let mut graph = original.clone();
    let cannot = |error: &dyn std::error::Error| Failure::new("cannot simplify", error).about(&options.network);
    let simplify_options =
        SimplifyOptions { dead: options.dead, fold_batch_norm: options.fold_batch_norm, ..SimplifyOptions::default() };
    let changes = simplify(&mut graph, &simplify_options).map_err(|error| cannot(&error))?;
    infer_graph(&mut graph).map_err(|error| cannot(&error))?;

    let samples = Samples { count: options.check, seed: global.seed, dims: dims.clone(), ..Samples::default() };
    let check = check(&original, &graph, &samples, global, console)?;
    let written = match output {
        Some(output) => Some(files::write(&graph, output)?),
        // How large the file would be; `None` if it does not fit in one.
        None => write_bytes(&graph).ok().map(|(_, written)| written),
    };
    let after = Summary::of(&lengths::fix(&graph, &dims)?, written.as_ref().map(|written| written.bytes))?;
    let report = SimplifyReport {
        command: "simplify",
        network: options.network.clone(),
        output: output.map(Into::into),
        passes: changes.changes.iter().map(|(change, &count)| PassReport { what: change.to_string(), count }).collect(),
        listed_inputs: changes.listed_inputs,
        layers: changes.layers.iter().map(layer_report).collect(),
        refusals: changes.refusals,
        before,
        after,
        opset: written.as_ref().map(|written| written.opset),
        opset_raised_from: written.as_ref().and_then(|written| written.raised_from),
        check,
    };
    console.result(&report)?;
    Ok(if report.check.as_ref().is_some_and(|check| check.suspicious) { Outcome::TargetMissed } else { Outcome::Done })
}

fn layer_report(layer: &LayerChannels) -> LayerReport {
    LayerReport {
        layer: layer.layer.clone(),
        operator: layer.operator.clone(),
        channels_before: layer.before,
        channels_after: layer.after(),
        unread: layer.unread,
        zero: layer.zero,
        constant: layer.constant,
    }
}

/// Compares the outputs before and after on a few random inputs. That they cannot be computed is a result too: a network
/// with nodes that are not understood can be simplified all the same.
fn check(before: &Graph, after: &Graph, samples: &Samples, global: &Global, console: Console) -> Result<Option<Check>> {
    if samples.count == 0 {
        return Ok(None);
    }
    samples.announce(console);
    let (outputs, not_compared) = match compare_outputs(before, after, samples, global.threads()) {
        Ok(outputs) => (outputs, None),
        Err(failure) => (Vec::new(), Some(failure.to_string())),
    };
    let suspicious = outputs.iter().any(|output| {
        let allowed = CHECK_TOLERANCE * output.difference.largest_value.max(1.0);
        output.difference.exceeds(allowed)
    });
    Ok(Some(Check { samples: samples.report(before)?, outputs, not_compared, suspicious }))
}
