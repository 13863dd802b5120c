//! `slimnet bench train NET`: how fast a network trains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use slimnet_compress::{Keep, lift};
use slimnet_engine::Threads;
use slimnet_engine::job::{Job, JobOptions, Loss};
use slimnet_engine::optimize::{Rule, Schedule};
use slimnet_engine::train::{Batch, TrainError, TrainOptions, Trainer};

use super::operators::Labels;
use super::{Ready, Runtime, Subject, bench};
use crate::arguments::{BenchTrain, Global, LossName, OptimizerName};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::lengths;
use crate::measure::{Observe, Workload};
use crate::report::summary::count_cost;
use crate::runtime::random_input;

/// Batches that are measured where none is told.
const USUAL: [usize; 1] = [64];

/// So small that parameters stay where they are: what is measured is the same from the first step to the last.
const RATE: f32 = 1e-9;

/// Measures steps.
pub fn run(options: &BenchTrain, global: &Global, console: Console) -> Result<Outcome> {
    let dims = options.measurement.dims.iter().cloned().collect();
    let prepare = |subject: &Subject, _: &Runtime, batch, threads: &Arc<Threads>| {
        prepare(subject, batch, &dims, options, (global.seed, threads))
    };
    let (batches, runtimes) = ((options.batch.as_slice(), USUAL.as_slice()), [Runtime::Own]);
    bench("train", (&options.network, &runtimes), batches, &options.measurement, (global, console), &prepare)
}

fn prepare(
    subject: &Subject,
    batch: usize,
    dims: &BTreeMap<String, usize>,
    options: &BenchTrain,
    (seed, threads): (u64, &Arc<Threads>),
) -> Result<Ready> {
    let what = format!("cannot train {} at batch {batch}", subject.name);
    let lengths = subject.lengths(batch, dims);
    let fixed = lengths::fix(&subject.graph, &lengths)?;
    // Refuses sizes that no memory has, too.
    let cost = count_cost(&fixed)?;
    let loss = match options.loss {
        LossName::Ce => Loss::CrossEntropy { label_smoothing: 0.0 },
        LossName::Mse => Loss::MeanSquaredError,
        LossName::Bce => Loss::BinaryCrossEntropy,
        LossName::None => Loss::None,
    };
    let job_options =
        JobOptions { loss, outputs: options.output_name.iter().cloned().collect(), ..JobOptions::default() };
    // What is measured is a step as `train` makes it, with masks on sparse weights.
    let lifted = lift(&subject.graph, Keep::Auto).map_err(|error| Failure::new(&what, &error))?;
    let job = Job::build(&lifted.graph, &job_options).map_err(|error| Failure::new(&what, &error))?;
    let train_options = TrainOptions {
        epochs: u64::from(u32::MAX),
        batch,
        seed,
        rule: match options.optimizer {
            OptimizerName::Sgd => Rule::SGD,
            OptimizerName::Adamw => Rule::ADAM_W,
        },
        rate: RATE,
        schedule: Schedule::Constant,
        lengths,
        ..TrainOptions::default()
    };
    let trainer = Trainer::new(&job, 1, train_options).map_err(|error| Failure::new(&what, &error))?;
    let mut values = Vec::new();
    for (name, element_type, shape) in trainer.inputs() {
        values.push((name.to_owned(), random_input(name, element_type, shape, seed)?));
    }
    Ok(Ready {
        memory: Some(trainer.memory()),
        macs: None,
        nodes_of_unknown_macs: None,
        optimizer_bytes: Some(trainer.optimizer_bytes()),
        labels: Some(Labels::new(trainer.graph(), &cost)),
        workload: Box::new(Steps {
            batch: Batch { values, samples: batch },
            threads: Arc::clone(threads),
            trainer,
            what,
        }),
    })
}

/// Steps of a trainer on one batch.
struct Steps {
    trainer: Trainer,
    batch: Batch,
    threads: Arc<Threads>,
    /// What cannot be done when a step fails.
    what: String,
}

impl Steps {
    fn failure(&self, error: &TrainError) -> Failure {
        Failure::new(&self.what, error)
    }
}

impl Workload for Steps {
    fn run(&mut self) -> Result<()> {
        let step = self.trainer.step(&self.batch, &self.threads);
        step.map(|_| ()).map_err(|error| self.failure(&error))
    }

    fn run_observed(&mut self, observe: Observe<'_>) -> Result<Option<Duration>> {
        let step = self.trainer.step_observed(&self.batch, &self.threads, observe);
        step.map(Some).map_err(|error| self.failure(&error))
    }
}
