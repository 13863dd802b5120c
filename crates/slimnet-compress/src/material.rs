//! What a technique is given besides the network: samples, and what the network is measured by.

use std::collections::BTreeMap;

use slimnet_engine::Threads;
use slimnet_engine::train::{EvaluateError, Evaluator, Metric, Score, Source};
use slimnet_graph::graph::{Graph, ValueId};

/// Samples, and what a network is measured by on them.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// What is trained on and measured on.
    pub training: Option<&'a dyn Source>,
    /// What is chosen by: samples in order, the last batch as small as it is.
    pub validation: Option<&'a dyn Source>,
    /// Samples of a batch of what is trained on.
    pub batch: usize,
    /// What the network is measured by, and on which of its outputs; `None` without labels.
    pub metric: Option<(Metric, &'a str)>,
    /// Lengths of named dimensions other than the batch.
    pub lengths: &'a BTreeMap<String, usize>,
    /// The threads to compute on.
    pub threads: &'a Threads,
}

impl Material<'_> {
    /// How good a network is on the validation samples; `None` if that cannot be told.
    ///
    /// # Errors
    /// If the network cannot be evaluated on the samples.
    pub fn score(&self, graph: &Graph) -> Result<Option<Score>, EvaluateError> {
        self.validation.map_or(Ok(None), |samples| self.score_on(graph, samples))
    }

    /// How good a network is on these samples.
    ///
    /// # Errors
    /// If the network cannot be evaluated on the samples.
    pub fn score_on(&self, graph: &Graph, samples: &dyn Source) -> Result<Option<Score>, EvaluateError> {
        let Some((metric, name)) = self.metric else { return Ok(None) };
        let named = |&output: &ValueId| graph.value(output).name == name;
        let Some(output) = graph.outputs().iter().copied().find(named) else { return Ok(None) };
        let mut evaluator = Evaluator::new(graph.clone(), output, metric, self.lengths.clone(), &[])?;
        evaluator.evaluate(samples.epoch(0, 0), self.threads).map(Some)
    }
}
