//! Known values of the operators that move elements.

mod cast;
mod index;
mod layout;
mod vision;

use crate::Op;
use crate::evaluate::{EvaluateError, evaluate_op};
use crate::tensor::Tensor;

/// More than any test makes.
const LIMIT: usize = 1 << 20;

fn evaluate(op: impl Into<Op>, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>, EvaluateError> {
    evaluate_op(&op.into(), inputs, outputs, LIMIT)
}

/// The only output of an operator, all of whose inputs are given.
fn one(op: impl Into<Op>, inputs: &[&Tensor]) -> Tensor {
    evaluate(op, &inputs.iter().copied().map(Some).collect::<Vec<_>>(), 1).unwrap().remove(0)
}

/// Why an operator refuses its inputs.
fn error_of(op: impl Into<Op>, inputs: &[&Tensor]) -> EvaluateError {
    evaluate(op, &inputs.iter().copied().map(Some).collect::<Vec<_>>(), 1).unwrap_err()
}

fn ints(values: &[i64]) -> Tensor {
    Tensor::vector(values.to_vec())
}

fn floats(values: &[f32]) -> Tensor {
    Tensor::vector(values.to_vec())
}

fn strings(shape: &[usize], texts: &[&str]) -> Tensor {
    Tensor::from_strings(shape.to_vec(), texts.iter().map(|text| text.as_bytes().to_vec()).collect()).unwrap()
}
