//! Operators that move elements without computing.

use super::{Context, EvaluateError, unsupported};
use crate::ops::Op;
use crate::tensor::Tensor;

pub(super) fn evaluate(op: &Op, _: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    Err(unsupported(op.op_type()))
}
