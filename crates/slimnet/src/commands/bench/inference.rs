//! `slimnet bench NET`: how fast a network runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use slimnet_engine::kernels::Context;
use slimnet_engine::plan::RunError;
use slimnet_engine::{Plan, PlanOptions, inference_form};

use super::measure::{Observe, Workload};
use super::operators::Labels;
use super::{Ready, Subject, bench, random_input};
use crate::arguments::{Bench, Global};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::lengths;
use crate::report::summary::count_cost;

/// Batches that are measured where none is told.
const USUAL: [usize; 2] = [1, 64];

/// Measures runs.
pub fn run(network: &Path, options: &Bench, global: &Global, console: Console) -> Result<Outcome> {
    let dims = options.measurement.dims.iter().cloned().collect();
    let prepare = |subject: &Subject, batch, _: &_| prepare(subject, batch, &dims, global.seed);
    bench("run", network, (&options.batch, &USUAL), &options.measurement, (global, console), &prepare)
}

fn prepare(subject: &Subject, batch: usize, dims: &BTreeMap<String, usize>, seed: u64) -> Result<Ready> {
    let what = format!("cannot run {} at batch {batch}", subject.name);
    let lengths = subject.lengths(batch, dims);
    let fixed = lengths::fix(&subject.graph, &lengths)?;
    let cost = count_cost(&fixed)?;
    let graph = inference_form(&subject.graph).map_err(|error| Failure::new(&what, &error))?;
    let mut plan = Plan::new(&graph, &PlanOptions { lengths, ..PlanOptions::default() })
        .map_err(|error| Failure::new(&what, &error))?;
    for input in graph.free_inputs() {
        let (element_type, shape) = plan.value_type(input);
        let name = &graph.value(input).name;
        if let Some(data) = random_input(name, element_type, shape, seed)? {
            plan.set(input, &data).map_err(|error| Failure::new(&what, &error))?;
        }
    }
    Ok(Ready {
        memory: plan.memory(),
        macs: Some(cost.macs),
        nodes_of_unknown_macs: Some(cost.unknown_macs.len() as u64),
        optimizer_bytes: None,
        labels: Labels::new(&fixed, &cost),
        workload: Box::new(Run { plan, what }),
    })
}

/// Runs of a plan.
struct Run {
    plan: Plan,
    /// What cannot be done when a run fails.
    what: String,
}

impl Run {
    fn failure(&self, error: &RunError) -> Failure {
        Failure::new(&self.what, error)
    }
}

impl Workload for Run {
    fn run(&mut self) -> Result<()> {
        self.plan.run(Context::default()).map_err(|error| self.failure(&error))
    }

    fn run_observed(&mut self, observe: Observe<'_>) -> Result<Option<Duration>> {
        self.plan.compute_observed(Context::default(), observe).map_err(|error| self.failure(&error))?;
        Ok(None)
    }
}
