//! Gradients of a job's loss, of parameters that stay where they are.

use std::collections::BTreeMap;

use slimnet_graph::graph::ValueId;

use super::batch::Batch;
use super::evaluate::batch_lengths;
use super::feed::Feed;
use super::trainer::TrainError;
use crate::differentiate::differentiate;
use crate::job::{Job, evaluation_meaning};
use crate::kernels::Context;
use crate::plan::{Plan, PlanOptions};
use crate::threads::Threads;

/// The gradient of a job's loss with respect to its parameters, batch by batch. Nothing moves and nothing is random: batch
/// normalisation and dropout have their meaning in evaluation, however the job was built.
#[derive(Debug)]
pub struct Gradients {
    plan: Plan,
    total: ValueId,
    feed: Feed,
    by_parameter: BTreeMap<String, ValueId>,
}

impl Gradients {
    /// Makes a job ready for batches of `batch` samples. `lengths` are those of named dimensions other than the batch.
    ///
    /// # Errors
    /// If the network cannot be differentiated or run, or the loss depends on no parameter.
    pub fn new(job: &Job, batch: usize, lengths: &BTreeMap<String, usize>) -> Result<Self, TrainError> {
        let mut graph = job.graph.clone();
        evaluation_meaning(&mut graph)?;
        let found = differentiate(&mut graph, job.total, &job.parameters)?;
        let pairs: Vec<_> = job.parameters.iter().zip(found).filter_map(|(&id, found)| Some((id, found?))).collect();
        if pairs.is_empty() {
            return Err(TrainError::NoGradient);
        }
        let options = PlanOptions {
            lengths: batch_lengths(&graph, batch, lengths),
            states: vec![pairs.iter().map(|(parameter, _)| *parameter).collect()],
            results: vec![pairs.iter().map(|(_, gradient)| *gradient).collect()],
            kept: vec![job.total],
            ..PlanOptions::default()
        };
        let plan = Plan::new(&graph, &options)?;
        let named = |(parameter, gradient)| (graph.value(parameter).name.clone(), gradient);
        let by_parameter = pairs.into_iter().map(named).collect();
        Ok(Self { plan, total: job.total, feed: Feed::new(&graph, job), by_parameter })
    }

    /// Computes the gradients of a batch, which must have as many samples as they were made for. Returns the loss.
    ///
    /// # Errors
    /// If the batch does not fit, or the loss is not finite.
    pub fn run(&mut self, batch: &Batch, threads: &Threads) -> Result<f32, TrainError> {
        let Self { plan, total, feed, .. } = self;
        feed.set(plan, batch)?;
        threads.run(|| plan.compute(Context::default()))?;
        let loss = plan.get::<f32>(*total)[0];
        if loss.is_finite() {
            return Ok(loss);
        }
        let found = threads.run(|| plan.find_not_finite(Context::default()))?;
        let (node, value) = found.unwrap_or_else(|| ("the sum".into(), "loss".into()));
        Err(TrainError::LossNotFinite { node, value })
    }

    /// Elements of the gradient of a parameter after the last run, in the parameter's order; `None` for what is no
    /// parameter of the job, and for parameters on which the loss does not depend.
    pub fn get(&self, parameter: &str) -> Option<&[f32]> {
        self.by_parameter.get(parameter).map(|&gradient| self.plan.get(gradient))
    }
}
