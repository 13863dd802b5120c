//! `slimnet bench NET` and `slimnet bench train NET`: how fast a network runs or trains, and how much memory it takes.

mod inference;
mod operators;
pub mod subject;
mod training;

use std::path::Path;
use std::sync::Arc;

use slimnet_engine::Threads;
use slimnet_engine::kernels::instruction_set;
use slimnet_engine::plan::Memory;

use crate::arguments::{Bench, BenchCommand, Global, Measurement};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::measure::{Budget, Workload, measure, ratios};
use crate::report::bench::{BenchReport, BenchedNetwork, Figures, MeasurementReport, Spread};
use crate::runtime::Library;
use subject::{Subject, batches};

/// What runs a network.
enum Runtime {
    /// Slimnet's own engine.
    Own,
    /// ONNX Runtime.
    Ort(Arc<Library>),
}

impl Runtime {
    fn name(&self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Ort(_) => "ort",
        }
    }
}

/// Measures and reports.
pub fn run(options: &Bench, global: &Global, console: Console) -> Result<Outcome> {
    match (&options.what, &options.network) {
        (Some(BenchCommand::Train(options)), _) => training::run(options, global, console),
        (None, Some(network)) => inference::run(network, options, global, console),
        (None, None) => Err(Failure::usage("no network is given")),
    }
}

/// A network made ready at a batch.
struct Ready {
    workload: Box<dyn Workload>,
    macs: Option<u64>,
    nodes_of_unknown_macs: Option<u64>,
    /// Memory that it takes, where that is known.
    memory: Option<Memory>,
    optimizer_bytes: Option<usize>,
    /// What nodes are called, where they can be told apart.
    labels: Option<operators::Labels>,
}

/// Makes a network ready in a runtime at a batch, to be run on these threads.
type Prepare<'a> = &'a dyn Fn(&Subject, &Runtime, usize, &Arc<Threads>) -> Result<Ready>;

/// Measures one network, or two, in each runtime in turns, at each batch.
fn bench(
    what: &'static str,
    (network, runtimes): (&Path, &[Runtime]),
    (given, usual): (&[usize], &[usize]),
    options: &Measurement,
    (global, console): (&Global, Console),
    prepare: Prepare<'_>,
) -> Result<Outcome> {
    let files = std::iter::once(network).chain(options.against.as_deref());
    let subjects = files.map(|file| Subject::open(file, global.seed)).collect::<Result<Vec<_>>>()?;
    let dims = options.dims.iter().cloned().collect();
    subject::check_dims(&subjects, &dims)?;
    let threads = Arc::new(super::eval::threads(global)?);
    let in_each = |subject| runtimes.iter().map(move |runtime| (subject, runtime));
    let columns: Vec<(&Subject, &Runtime)> = subjects.iter().flat_map(in_each).collect();
    let budget = Budget { seconds: options.seconds, runs: options.runs };
    let mut measurements = Vec::new();
    for batch in batches(&subjects, given, usual)? {
        let prepared = columns.iter().map(|(subject, runtime)| prepare(subject, runtime, batch, &threads));
        let ready = match prepared.collect::<Result<Vec<_>>>() {
            // A batch that nobody asked for may be one that the network cannot have.
            Err(failure) if given.is_empty() && !measurements.is_empty() => {
                console.note(&format!("{failure}; batch {batch} is left out"));
                continue;
            }
            prepared => prepared?,
        };
        let names: Vec<_> = subjects.iter().map(|subject| subject.name.as_str()).collect();
        console.note(&format!("measuring {} at batch {batch} …", names.join(" and ")));
        measurements.push(threads.run(|| one_batch(batch, ready, budget, options.operators))?);
    }
    let network = |&(subject, runtime): &(&Subject, &Runtime)| BenchedNetwork {
        network: subject.name.clone(),
        runtime: runtime.name(),
        dims: subject.dims(&dims),
    };
    let version = |runtime: &Runtime| match runtime {
        Runtime::Own => None,
        Runtime::Ort(library) => Some(library.version().to_owned()),
    };
    console.result(&BenchReport {
        command: "bench",
        what,
        runtime: runtimes.iter().map(Runtime::name).collect::<Vec<_>>().join(","),
        ort_version: runtimes.iter().find_map(version),
        instruction_set: instruction_set(),
        threads: threads.count(),
        seed: global.seed,
        networks: columns.iter().map(network).collect(),
        measurements,
    })?;
    Ok(Outcome::Done)
}

fn one_batch(batch: usize, mut ready: Vec<Ready>, budget: Budget, operators: bool) -> Result<MeasurementReport> {
    let mut workloads: Vec<&mut dyn Workload> = Vec::new();
    workloads.extend(ready.iter_mut().map(|ready| &mut *ready.workload as &mut dyn Workload));
    let series = measure(&mut workloads, budget)?;
    let ratio = match series.as_slice() {
        [first, second] => Some(Spread::of(ratios(first, second))),
        _ => None,
    };
    let mut networks = Vec::new();
    for (ready, times) in ready.iter_mut().zip(series) {
        let labels = ready.labels.as_ref().filter(|_| operators);
        let operators =
            labels.map(|labels| operators::by_operator(&mut *ready.workload, labels, budget)).transpose()?;
        let runs = times.len();
        let milliseconds = Spread::of(times);
        // A clock may not see the shortest runs.
        let seconds = (milliseconds.median / 1e3).max(1e-9);
        networks.push(Figures {
            runs,
            samples_per_second: batch as f64 / seconds,
            macs: ready.macs,
            nodes_of_unknown_macs: ready.nodes_of_unknown_macs,
            macs_per_second: ready.macs.map(|macs| macs as f64 / seconds),
            memory_bytes: ready.memory.map(Memory::total),
            memory_lower_bound_bytes: ready.memory.map(Memory::lower_bound),
            optimizer_bytes: ready.optimizer_bytes,
            milliseconds,
            operators,
        });
    }
    Ok(MeasurementReport { batch, networks, ratio })
}
