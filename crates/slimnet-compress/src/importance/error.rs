//! Why importance cannot be judged.

use slimnet_engine::job::JobError;
use slimnet_engine::train::{SourceError, TrainError};
use slimnet_graph::graph::GraphError;
use slimnet_graph::infer::GraphInferError;

use super::Criterion;

/// Why importance cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum ImportanceError {
    /// A criterion that is measured on data, without data.
    #[error("{0} is measured on data, and there is none; give data, or use l1, l2 or lamp")]
    NoData(Criterion),
    /// A criterion that judges neurons only.
    #[error("{0} judges neurons, not single weights; use l1, lamp or fisher, or prune neurons")]
    SingleWeights(Criterion),
    /// No neuron that could be removed is normalised.
    #[error(
        "bn-scale needs batch normalisation, and no neuron that can be removed has any (it may have been folded into the weights); use l2, or taylor with data"
    )]
    NoBatchNorm,
    /// Nothing that could be removed can be judged.
    #[error(
        "{0} finds nothing to judge by: no tensor that it looks at belongs to what can be removed, or the loss does not depend on it; use random, or l2"
    )]
    Unjudged(Criterion),
    /// A weight that is no number.
    #[error("element {position} of {tensor:?} is {found}; expected a finite number: such a network cannot be pruned")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The first such element, counted in the tensor's order.
        position: usize,
        /// What it is.
        found: f64,
    },
    /// Something measured that is no number.
    #[error(
        "what {criterion} measures of {what:?} is not finite: activations or gradients are too large; look at how the data is scaled, or use l2"
    )]
    NotMeasured {
        /// The criterion.
        criterion: Criterion,
        /// The tensor or axis.
        what: String,
    },
    /// Gradients of single samples of a network that takes several.
    #[error(
        "fisher needs gradients of single samples, and the network was exported for {0} samples at a time; export it for any number, or use taylor"
    )]
    FixedBatch(usize),
    /// The data gives no batch.
    #[error("the data gave no batch of {0} samples with one row a sample in every tensor; expected one at least")]
    NoSamples(usize),
    /// Neither labels nor anything that stands for them.
    #[error(
        "the loss is on no labels, and the network has not one output of class scores or probabilities whose own choice could stand for them (outputs: {0}); give labels or targets, or a teacher that is another network, or use activation or l2"
    )]
    NoLabels(String),
    /// Imitation of a network by itself.
    #[error(
        "the teacher computes what the network does, so that the loss has no slope; give labels or targets, or use activation or l2"
    )]
    OwnTeacher,
    /// Data that could not be had.
    #[error("{0}")]
    Source(SourceError),
    /// The loss cannot be taken.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The network has no gradient, or cannot be run on the data.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// Links that do not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Shapes that do not fit.
    #[error(transparent)]
    Infer(#[from] GraphInferError),
}

impl From<TrainError> for ImportanceError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}
