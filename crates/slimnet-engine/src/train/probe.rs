//! Looking at values inside a network while it runs on data.

use std::collections::BTreeMap;

use slimnet_graph::graph::{Graph, ValueId};

use super::batch::Batch;
use super::evaluate::{EvaluateError, batch_lengths};
use crate::kernels::Context;
use crate::plan::{Plan, PlanOptions};
use crate::threads::Threads;

/// A network of which some values can be looked at after each run on a batch.
#[derive(Debug)]
pub struct Probe {
    plan: Plan,
    inputs: Vec<(String, ValueId)>,
}

impl Probe {
    /// Looks at `float32` values of a graph whose types were inferred, at batches of `batch` samples. `lengths` are those of
    /// named dimensions other than the batch.
    ///
    /// # Errors
    /// If the graph cannot be run at this size.
    pub fn new(
        graph: &Graph,
        values: &[ValueId],
        batch: usize,
        lengths: &BTreeMap<String, usize>,
    ) -> Result<Self, EvaluateError> {
        let options = PlanOptions {
            lengths: batch_lengths(graph, batch, lengths),
            kept: values.to_vec(),
            ..PlanOptions::default()
        };
        let inputs = graph.free_inputs().map(|input| (graph.value(input).name.clone(), input)).collect();
        Ok(Self { plan: Plan::new(graph, &options)?, inputs })
    }

    /// Runs on a batch, which must have as many samples as the probe was made for.
    ///
    /// # Errors
    /// If the batch has no data for an input, or data that does not fit.
    pub fn run(&mut self, batch: &Batch, threads: &Threads) -> Result<(), EvaluateError> {
        for (name, input) in &self.inputs {
            let data = batch.values.iter().find(|(given, _)| given == name).ok_or_else(|| EvaluateError::Mismatch {
                what: format!("input {name:?} of the network"),
                expected: "data of this name".into(),
                found: "none".into(),
            })?;
            self.plan.set(*input, &data.1)?;
        }
        threads.run(|| self.plan.run(Context::default()))?;
        Ok(())
    }

    /// Elements of a value after the last run.
    ///
    /// # Panics
    /// If it is none of the values that the probe was made for, or not `float32`: a mistake of the calling code.
    pub fn get(&self, value: ValueId) -> &[f32] {
        self.plan.get(value)
    }

    /// Shape of a value.
    ///
    /// # Panics
    /// As [`Self::get`].
    pub fn shape(&self, value: ValueId) -> &[usize] {
        self.plan.value_type(value).1
    }
}
