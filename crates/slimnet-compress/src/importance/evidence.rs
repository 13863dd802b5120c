//! What importance is measured on.

use std::collections::BTreeMap;

use slimnet_engine::job::{JobOptions, fixed_batch};
use slimnet_engine::train::{Batch, Gradients, Source};
use slimnet_engine::{Job, Threads};
use slimnet_graph::graph::Graph;

use super::ImportanceError;
use super::loss::job;

/// What importance is measured on: the first samples of the source's first epoch.
#[derive(Clone)]
pub struct Evidence<'a> {
    /// Where batches come from.
    pub source: &'a dyn Source,
    /// Which loss there is. With [`slimnet_engine::job::Loss::None`] a network with one output of class scores or
    /// probabilities (`classes`, or a softmax or sigmoid at its end) has its own choice as label (the largest class;
    /// probabilities above a half): a teacher that is, or hardly differs from, the network itself would give no slope. Of other
    /// networks it is the distance to the teachers, who must then differ. What is frozen is judged all the same.
    pub job: &'a JobOptions,
    /// Samples a batch, at most as many as the source's batches have (of a network that was exported for a fixed number, so
    /// many). Fisher takes samples one by one.
    pub batch: usize,
    /// How many samples are looked at, up to whole batches, and at most what an epoch has.
    pub samples: usize,
    /// Lengths of named dimensions other than the batch.
    pub lengths: BTreeMap<String, usize>,
    /// Where it is computed.
    pub threads: &'a Threads,
}

impl Evidence<'_> {
    /// The first batch of the source.
    pub(super) fn first(&self) -> Result<Batch, ImportanceError> {
        let first = self.source.epoch(0, 0).next().ok_or(ImportanceError::NoSamples(1))?;
        first.map_err(ImportanceError::Source)
    }

    /// How many samples a run of a network takes, if it may take up to `most`.
    pub(super) fn size(&self, network: &Graph, most: usize) -> Result<usize, ImportanceError> {
        match fixed_batch(network) {
            Some(fixed) => Ok(fixed.max(1)),
            None => Ok(most.min(self.first()?.samples).min(self.samples).max(1)),
        }
    }

    /// Looks at the samples, so many at once. Returns how often.
    pub(super) fn each(
        &self,
        size: usize,
        mut look: impl FnMut(&Batch) -> Result<(), ImportanceError>,
    ) -> Result<usize, ImportanceError> {
        let most = self.samples.max(1).div_ceil(size);
        let mut count = 0;
        for batch in self.source.epoch(0, 0) {
            let batch = batch.map_err(ImportanceError::Source)?;
            for part in (0..batch.samples).step_by(size).map_while(|start| batch.part(start, size)) {
                look(&part)?;
                count += 1;
                if count == most {
                    return Ok(count);
                }
            }
        }
        if count == 0 { Err(ImportanceError::NoSamples(size)) } else { Ok(count) }
    }
}

/// How the loss changes with the parameters, on some evidence.
pub(super) struct Slope<'a> {
    evidence: &'a Evidence<'a>,
    gradients: Gradients,
    size: usize,
}

impl<'a> Slope<'a> {
    /// Gradients of the mean over batches.
    pub(super) fn of_batches(graph: &Graph, evidence: &'a Evidence<'a>) -> Result<Self, ImportanceError> {
        Self::of_job(&job(graph, evidence)?, evidence, evidence.batch)
    }

    /// Gradients of single samples.
    pub(super) fn of_samples(graph: &Graph, evidence: &'a Evidence<'a>) -> Result<Self, ImportanceError> {
        let job = job(graph, evidence)?;
        match fixed_batch(&job.graph) {
            Some(fixed) if fixed != 1 => Err(ImportanceError::FixedBatch(fixed)),
            _ => Self::of_job(&job, evidence, 1),
        }
    }

    pub(super) fn of_job(job: &Job, evidence: &'a Evidence<'a>, most: usize) -> Result<Self, ImportanceError> {
        let size = evidence.size(&job.graph, most)?;
        Ok(Self { evidence, gradients: Gradients::new(job, size, &evidence.lengths)?, size })
    }

    /// Whether the loss depends on a parameter.
    pub(super) fn reaches(&self, parameter: &str) -> bool {
        self.gradients.get(parameter).is_some()
    }

    /// Looks at the gradients of one run after the other. Returns how many there were.
    pub(super) fn each(&mut self, mut look: impl FnMut(&Gradients)) -> Result<usize, ImportanceError> {
        let Self { evidence, gradients, size } = self;
        evidence.each(*size, |batch| {
            gradients.run(batch, evidence.threads)?;
            look(gradients);
            Ok(())
        })
    }
}
