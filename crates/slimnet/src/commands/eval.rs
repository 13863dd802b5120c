//! `slimnet eval NET --data D`: measures how good a network is.

use std::time::Instant;

use slimnet_engine::job::fixed_batch;
use slimnet_engine::kernels::Context;
use slimnet_engine::train::evaluate::batch_lengths;
use slimnet_engine::train::{EvaluateError, Evaluator, Metric};
use slimnet_engine::{Plan, PlanOptions, Threads};
use slimnet_graph::graph::{Graph, ValueId};

use crate::arguments::{Data, Eval, Global, LossName, PartName};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::feed::{self, Opened};
use crate::files;
use crate::report::eval::{ClassReport, EvalReport};
use crate::report::summary::Summary;

/// Evaluates and reports.
pub fn run(options: &Eval, global: &Global, console: Console) -> Result<Outcome> {
    let graph = files::read(&options.network)?;
    let file_bytes = files::size(&graph, &options.network)?;
    let mut opened = feed::open(&options.data, &graph)?;
    let output = output(&options.data, &graph)?;
    let metric = metric(options.loss, &mut opened, &graph, output)?;
    let (part, split) = match options.part {
        Some(PartName::Train) => ("training", Some(&opened.splits.train)),
        Some(PartName::Validation) => ("validation", Some(&opened.splits.validation)),
        Some(PartName::Test) => ("test", opened.splits.test.as_ref()),
        None => match &opened.splits.test {
            Some(test) => ("test", Some(test)),
            None if opened.splits.validation.is_empty() => ("training", Some(&opened.splits.train)),
            None => ("validation", Some(&opened.splits.validation)),
        },
    };
    let Some(split) = split.filter(|split| !split.is_empty()) else {
        return Err(Failure::usage(&format!("the data {:?} has no {part} samples", options.data.data)));
    };
    let threads = threads(global)?;
    let mut data = options.data.clone();
    opened.add_lengths(&graph, &mut data.dims);
    let lengths = data.dims.iter().cloned().collect();
    let feed = opened.evaluation(split, options.data.batch)?;
    let mut evaluator =
        Evaluator::new(graph.clone(), output, metric, lengths, &[]).map_err(|error| failure(&options.data, &error))?;
    let score = evaluator.evaluate(feed.batches(), &threads).map_err(|error| failure(&options.data, &error))?;
    let report = EvalReport {
        command: "eval",
        network: options.network.clone(),
        data: options.data.data.clone(),
        part,
        samples: score.samples,
        correct: score.correct,
        errors: score.errors(),
        accuracy: score.accuracy(),
        loss: score.loss,
        classes: evaluator
            .by_class()
            .iter()
            .map(|class| ClassReport { samples: class.samples, correct: class.correct })
            .collect(),
        show_classes: options.by_class,
        chance: split.chance_accuracy(),
        latency_milliseconds: latency(&graph, &data, &threads),
        threads: threads.count(),
        memory_bytes: evaluator.memory().map(slimnet_engine::plan::Memory::total),
        summary: Summary::of(&graph, Some(file_bytes))?,
    };
    if report.near_chance() {
        console.note(
            "the accuracy is near that of guessing: do preprocessing (--scale, --mean, --std, --layout), labels \
             (--labels-offset) and the order of classes fit the network?",
        );
    }
    console.result(&report)?;
    Ok(Outcome::Done)
}

/// The threads that the command line asks for.
pub fn threads(global: &Global) -> Result<Threads> {
    const MOST: usize = 1024;
    if global.threads() > MOST {
        let found = global.threads();
        return Err(Failure::usage(&format!("--threads: expected at most {MOST}, found {found}")));
    }
    Threads::new(global.threads()).map_err(|error| Failure::new("cannot start threads", &error))
}

/// What is measured: as asked for, else as the data has it. Class labels are turned into the targets that it needs.
pub fn metric(loss: Option<LossName>, opened: &mut Opened, graph: &Graph, output: ValueId) -> Result<Metric> {
    let classes = opened.has_classes();
    match loss {
        Some(LossName::Ce) if !classes => {
            Err(Failure::usage("--loss ce needs class labels; the data has numbers as targets (mse, bce) or none"))
        }
        Some(LossName::Mse) if classes => {
            Err(Failure::usage("--loss mse needs numbers as targets; the data has class labels (ce, bce)"))
        }
        Some(LossName::Ce) => Ok(Metric::Classes),
        Some(LossName::Bce) if classes => {
            opened.labels_as_targets(graph, output)?;
            // Right is what has the largest score; a single score says yes or no.
            let several = graph.value(output).shape.iter().flatten().skip(1).any(|dim| dim.known() != Some(1));
            Ok(if several { Metric::Classes } else { Metric::Binary })
        }
        Some(LossName::Bce) => {
            opened.shape_targets(graph, output)?;
            Ok(Metric::Binary)
        }
        Some(LossName::None) => Err(Failure::usage("--loss none: nothing would be measured")),
        None if classes => Ok(Metric::Classes),
        Some(LossName::Mse) | None => {
            opened.shape_targets(graph, output)?;
            Ok(Metric::SquaredError)
        }
    }
}

/// The output that labels are for.
pub fn output(options: &Data, graph: &Graph) -> Result<ValueId> {
    let names =
        || graph.outputs().iter().map(|&id| format!("{:?}", graph.value(id).name)).collect::<Vec<_>>().join(", ");
    match (options.output_names.first(), graph.outputs()) {
        (Some(name), outputs) => outputs.iter().copied().find(|&id| graph.value(id).name == *name).ok_or_else(|| {
            Failure::usage(&format!("--output-name: the network has no output {name:?}; it has {}", names()))
        }),
        (None, [only]) => Ok(*only),
        (None, []) => Err(Failure::because("cannot measure the network", "it has no output")),
        (None, _) => {
            Err(Failure::usage(&format!("the network has several outputs; say --output-name, one of {}", names())))
        }
    }
}

/// The failure of an evaluation.
pub fn failure(options: &Data, error: &EvaluateError) -> Failure {
    Failure::new(&format!("cannot evaluate on the data {:?}", options.data), error)
}

/// Median time of one sample in milliseconds, if the network can be run on one.
fn latency(graph: &Graph, options: &Data, threads: &Threads) -> Option<f64> {
    const RUNS: usize = 30;
    if fixed_batch(graph).is_some_and(|fixed| fixed != 1) {
        return None;
    }
    let given = options.dims.iter().cloned().collect();
    let plan_options = PlanOptions { lengths: batch_lengths(graph, 1, &given), ..PlanOptions::default() };
    let mut plan = Plan::new(graph, &plan_options).ok()?;
    let mut times = Vec::with_capacity(RUNS);
    threads.run(|| {
        for _ in 0..RUNS {
            let start = Instant::now();
            plan.run(Context::default()).ok()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Some(())
    })?;
    times.sort_by(f64::total_cmp);
    Some(times[RUNS / 2])
}
