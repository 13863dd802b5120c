//! Known values of operators, by family.

mod convolution;
mod elementwise;
mod graph;
mod hostile;
mod moving;
mod normalization;
mod pooling;
mod product;
mod reduction;

use super::{EvaluateError, evaluate_op};
use crate::ops::Op;
use crate::ops::attribute::{AttributeValue, Attributes};
use crate::tensor::{ElementType, Tensor};

const LIMIT: usize = 1 << 20;

/// A `float32` tensor.
fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_values(shape.to_vec(), values.to_vec()).unwrap()
}

/// 1, 2, 3, … as a `float32` tensor.
fn counting(shape: &[usize]) -> Tensor {
    f32s(shape, &(1..=shape.iter().product()).map(|number: usize| number as f32).collect::<Vec<_>>())
}

/// A tensor of any integer type.
fn ints(element_type: ElementType, shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_i128s(element_type, shape.to_vec(), values.iter().map(|&value| value.into()).collect()).unwrap()
}

fn i64s(values: &[i64]) -> Tensor {
    Tensor::vector(values.to_vec())
}

/// An operator by name, with attributes put in by `attributes`.
fn op(name: &str, put: impl FnOnce(&mut Attributes)) -> Op {
    let mut attributes = Attributes::default();
    put(&mut attributes);
    Op::read(name, attributes).unwrap().unwrap()
}

fn plain(name: &str) -> Op {
    op(name, |_| {})
}

/// An operator with one attribute.
#[allow(clippy::needless_pass_by_value)] // shorter where it is called
fn with<T: AttributeValue>(name: &str, attribute: &str, value: T) -> Op {
    op(name, |attributes| attributes.put(attribute, &value))
}

fn run_all(op: &Op, inputs: &[&Tensor], outputs: usize) -> Result<Vec<Tensor>, EvaluateError> {
    evaluate_op(op, &inputs.iter().copied().map(Some).collect::<Vec<_>>(), outputs, LIMIT)
}

/// The first output.
fn run(op: &Op, inputs: &[&Tensor]) -> Tensor {
    run_all(op, inputs, 1).unwrap().remove(0)
}

#[track_caller]
fn assert_near(found: &Tensor, shape: &[usize], expected: &[f64]) {
    assert_eq!(found.shape(), shape);
    let values = found.to_f64s().unwrap();
    assert_eq!(values.len(), expected.len());
    for (place, (found, expected)) in values.iter().zip(expected).enumerate() {
        let near = (found - expected).abs() <= 1e-5 * expected.abs().max(1e-2);
        let same = found == expected || (found.is_nan() && expected.is_nan());
        assert!(near || same, "element {place}: found {found}, expected {expected} in {values:?}");
    }
}

#[track_caller]
fn assert_ints(found: &Tensor, shape: &[usize], expected: &[i64]) {
    assert_eq!(found.shape(), shape);
    assert_eq!(found.to_i64s().unwrap(), expected);
}

#[test]
fn results_above_the_limit_are_refused() {
    let (row, column) = (f32s(&[1, 2000], &[0.0; 2000]), f32s(&[2000, 1], &[0.0; 2000]));
    for name in ["Add", "Less", "Max"] {
        assert!(run_all(&plain(name), &[&row, &column], 1).unwrap_err().to_string().contains("limit"), "{name}");
    }
    assert!(run_all(&plain("MatMul"), &[&column, &row], 1).unwrap_err().to_string().contains("limit"));
}

#[test]
fn what_is_missing_or_not_understood_is_an_error() {
    assert!(run_all(&plain("Add"), &[&counting(&[2])], 1).is_err());
    assert!(run_all(&plain("Relu"), &[&counting(&[2])], 2).is_err());
    let strings = Tensor::from_strings(vec![1], vec![b"a".to_vec()]).unwrap();
    assert!(run_all(&plain("Relu"), &[&strings], 1).is_err());
}
