//! Why a network cannot be pruned.

use slimnet_graph::axes::RemoveError;
use slimnet_graph::cost::CostError;
use slimnet_graph::infer::GraphInferError;
use slimnet_graph::onnx::WriteError;
use slimnet_graph::tensor::TensorError;

use super::Amount;
use crate::constraint::{ConstraintError, Pattern};

/// Why a network cannot be pruned, or not be measured. It is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// There is nothing to choose from.
    #[error(
        "there are no weights to prune: expected float32 kernels of convolutions or matrices of two axes that are not \
         excluded"
    )]
    NoWeights,
    /// A part of zeros that is none.
    #[error("a sparsity is a part, from 0 to 1; found {0}")]
    Sparsity(f64),
    /// A pattern that no weight can have.
    #[error("no weight can have the pattern {0}: N of M needs 0 < N < M, a block at least one output and one input")]
    Pattern(Pattern),
    /// A weight that is not as the list of weights says.
    #[error(
        "{value:?} is {found}; a weight is float32 data with an axis of outputs and another of inputs: list the weights \
         of this graph anew"
    )]
    Weight {
        /// The tensor.
        value: String,
        /// What it is.
        found: String,
    },
    /// Importance for another number of elements or groups.
    #[error("{what} has {expected} to be judged, and importance was given for {found}: judge this very graph")]
    Scores {
        /// The tensor, or the coupling.
        what: String,
        /// How many numbers there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Importance that is not a number.
    #[error("the importance of element {index} of {what} is NaN: nothing can be chosen by it")]
    NotANumber {
        /// The tensor or the coupled axis.
        what: String,
        /// Place of the element in the tensor, or of the group on the axis.
        index: usize,
    },
    /// No neuron can go.
    #[error(
        "no neuron can be removed: of {axes} coupled axes {excluded} are excluded and {fixed} must stay as a whole; {why}"
    )]
    NothingRemovable {
        /// How many axes there are.
        axes: usize,
        /// How many the caller excluded.
        excluded: usize,
        /// How many of the rest have no unit that could go.
        fixed: usize,
        /// A reason, for one axis of those that are not excluded if there is any.
        why: String,
    },
    /// An amount of nothing.
    #[error("{0} cannot be measured: the network has no weights")]
    Nothing(Amount),
    /// A record of what must stay that is not understood.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// A removal that the graph does not allow.
    #[error(transparent)]
    Remove(#[from] Box<RemoveError>),
    /// Shapes that cannot be inferred.
    #[error(transparent)]
    Infer(#[from] Box<GraphInferError>),
    /// A cost that cannot be counted.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// A network that no file can hold.
    #[error(transparent)]
    Write(#[from] Box<WriteError>),
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl From<RemoveError> for PruneError {
    fn from(error: RemoveError) -> Self {
        Self::Remove(Box::new(error))
    }
}

impl From<GraphInferError> for PruneError {
    fn from(error: GraphInferError) -> Self {
        Self::Infer(Box::new(error))
    }
}

impl From<WriteError> for PruneError {
    fn from(error: WriteError) -> Self {
        Self::Write(Box::new(error))
    }
}
