//! Recovery: getting back, without training, what a removal cost.

mod equations;
pub mod least_squares;
pub mod lossless;
mod readers;
mod recovery;
pub mod training;
mod window;

use slimnet_engine::job::JobError;
use slimnet_engine::train::EvaluateError;
use slimnet_graph::graph::GraphError;
use slimnet_graph::infer::GraphInferError;
use slimnet_graph::simplify::SimplifyError;
use slimnet_graph::tensor::TensorError;

use crate::constraint::ConstraintError;
pub use least_squares::{Before, Calibration, Mended, MendedLayer, least_squares};
pub use lossless::remove_dead_channels;
pub use readers::{LeftOut, Reason};
pub use recovery::{Recovered, Recovery, recover};
pub use training::{Trained, Training, TrainingError, Unfinished, Watch};

/// Why a network cannot be mended. It is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The network cannot be run on the data.
    #[error(transparent)]
    Evaluate(Box<EvaluateError>),
    /// What pruning left unread cannot be removed.
    #[error(transparent)]
    Simplify(#[from] Box<SimplifyError>),
    /// A record that is not understood.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The graph's links are broken.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A tensor that cannot be read or made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A setting out of range.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The setting.
        option: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Numbers that are not finite flow through a layer.
    #[error("what {layer} reads or computes is not finite on the calibration data: look for NaN weights or samples")]
    NotFinite {
        /// The layer.
        layer: String,
    },
    /// The two networks compute values of different shapes where they must be the same but for channels.
    #[error("{layer}: expected {expected}, found {found}: is this the network that the removal was made from?")]
    Mismatch {
        /// The layer.
        layer: String,
        /// What the original has.
        expected: String,
        /// What the pruned network has.
        found: String,
    },
}

impl From<EvaluateError> for RecoverError {
    fn from(error: EvaluateError) -> Self {
        Self::Evaluate(Box::new(error))
    }
}

impl From<JobError> for RecoverError {
    fn from(error: JobError) -> Self {
        EvaluateError::from(error).into()
    }
}

impl From<GraphInferError> for RecoverError {
    fn from(error: GraphInferError) -> Self {
        JobError::from(error).into()
    }
}
