//! The reference evaluator: plain scalar loops over every element type. It serves constant folding and is the oracle that
//! kernels are tested against.

use crate::ops::Op;
use crate::tensor::{Tensor, TensorError};

/// Why a node cannot be evaluated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// The operator is not understood, or not in this form or element type.
    #[error("cannot be evaluated: {0}")]
    Unsupported(String),
    /// Inputs that do not fit the operator or each other.
    #[error(transparent)]
    Infer(#[from] crate::infer::InferError),
    /// A value that the operator does not allow, such as an index outside its axis.
    #[error("{0}")]
    Value(String),
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Results of one application of an operator to data. `outputs` is how many the node has; no output may be larger than
/// `limit` bytes.
///
/// # Errors
/// If the inputs do not fit, or the operator cannot be evaluated on them.
pub fn evaluate_op(
    op: &Op,
    inputs: &[Option<&Tensor>],
    outputs: usize,
    limit: usize,
) -> Result<Vec<Tensor>, EvaluateError> {
    let _ = (inputs, outputs, limit);
    Err(EvaluateError::Unsupported(op.op_type().to_owned()))
}
