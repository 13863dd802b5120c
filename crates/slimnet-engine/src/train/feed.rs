//! What a job is given at each run.

use slimnet_graph::graph::{Graph, ValueId};

use super::batch::Batch;
use super::trainer::TrainError;
use crate::job::Job;
use crate::plan::Plan;

/// The inputs of a job.
#[derive(Debug)]
pub(super) struct Feed {
    /// All of them, by name.
    pub(super) inputs: Vec<(String, ValueId)>,
    /// Those that hold class labels, and how many classes there are.
    labels: Vec<(ValueId, Option<usize>)>,
}

impl Feed {
    /// The free inputs of `graph`, which is that of the job or a rewrite of it.
    pub(super) fn new(graph: &Graph, job: &Job) -> Self {
        let inputs = graph.free_inputs().map(|input| (graph.value(input).name.clone(), input)).collect();
        Self { inputs, labels: job.labels.clone() }
    }

    /// Gives a plan the data of a batch.
    ///
    /// # Errors
    /// If the batch has no data for an input, data that does not fit, or a label that is no class.
    pub(super) fn set(&self, plan: &mut Plan, batch: &Batch) -> Result<(), TrainError> {
        for (name, id) in &self.inputs {
            let Some((_, data)) = batch.values.iter().find(|(given, _)| given == name) else {
                let found = batch.values.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
                return Err(TrainError::Missing { input: name.clone(), found });
            };
            if let Some((_, classes)) = self.labels.iter().find(|(labels, _)| labels == id) {
                let allowed = |label: i64| label >= 0 && classes.is_none_or(|classes| label < classes as i64);
                if let Some((sample, &found)) =
                    data.values::<i64>()?.iter().enumerate().find(|(_, label)| !allowed(**label))
                {
                    return Err(TrainError::Label { sample, found, classes: *classes });
                }
            }
            plan.set(*id, data)?;
        }
        Ok(())
    }
}
