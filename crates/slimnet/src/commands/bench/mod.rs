//! `slimnet bench NET` and `slimnet bench train NET`: how fast a network runs or trains, and how much memory it takes.

mod inference;
mod measure;
mod operators;
mod subject;
mod training;

use std::path::Path;
use std::sync::Arc;

use slimnet_engine::Threads;
use slimnet_engine::kernels::instruction_set;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{self, Distribution, Stream};

use crate::arguments::{Bench, BenchCommand, Global, Measurement};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::report::bench::{BenchReport, BenchedNetwork, Figures, MeasurementReport, OperatorsReport, Spread};
use measure::{Budget, Workload, measure, ratios};
use subject::{Subject, batches};

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
    memory: slimnet_engine::plan::Memory,
    optimizer_bytes: Option<usize>,
    labels: operators::Labels,
}

/// Makes a network ready at a batch, to be run on these threads.
type Prepare<'a> = &'a dyn Fn(&Subject, usize, &Arc<Threads>) -> Result<Ready>;

/// Measures one network, or two in turns, at each batch.
fn bench(
    what: &'static str,
    network: &Path,
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
    let budget = Budget { seconds: options.seconds, runs: options.runs };
    let mut measurements = Vec::new();
    for batch in batches(&subjects, given, usual)? {
        let prepared = subjects.iter().map(|subject| prepare(subject, batch, &threads)).collect::<Result<Vec<_>>>();
        let ready = match prepared {
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
    let network = |subject: &Subject| BenchedNetwork { network: subject.name.clone(), dims: subject.dims(&dims) };
    console.result(&BenchReport {
        command: "bench",
        what,
        runtime: "own",
        instruction_set: instruction_set(),
        threads: threads.count(),
        seed: global.seed,
        networks: subjects.iter().map(network).collect(),
        measurements,
    })?;
    Ok(Outcome::Done)
}

fn one_batch(batch: usize, mut ready: Vec<Ready>, budget: Budget, operators: bool) -> Result<MeasurementReport> {
    let mut workloads: Vec<_> = ready.iter_mut().map(|ready| &mut ready.workload).collect();
    let series = measure(&mut workloads, budget)?;
    let ratio = match series.as_slice() {
        [first, second] => Some(Spread::of(ratios(first, second))),
        _ => None,
    };
    let mut networks = Vec::new();
    for (ready, times) in ready.iter_mut().zip(series) {
        let operators: Option<OperatorsReport> =
            operators.then(|| operators::by_operator(&mut *ready.workload, &ready.labels, budget)).transpose()?;
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
            memory_bytes: ready.memory.total(),
            memory_lower_bound_bytes: ready.memory.resident + ready.memory.packed + ready.memory.transient_lower_bound,
            optimizer_bytes: ready.optimizer_bytes,
            milliseconds,
            operators,
        });
    }
    Ok(MeasurementReport { batch, networks, ratio })
}

/// Something to compute on: normally distributed numbers, and zeros where a number may be an index.
fn random_input(name: &str, element_type: ElementType, shape: &[usize], seed: u64) -> Result<Option<Tensor>> {
    if !element_type.is_float() {
        return Ok(None);
    }
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    random::tensor(element_type, shape.to_vec(), Stream::named(seed, name), normal)
        .map(Some)
        .map_err(|error| Failure::new(&format!("cannot make random numbers for the input {name:?}"), &error))
}
