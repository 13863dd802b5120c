//! The two classes of numbers that everything is computed in.

use super::EvaluateError;
use crate::tensor::{ElementType, Tensor};

/// A class of numbers: `f64` for floating-point types, `i128` for integers and bool.
pub(super) trait Number: Copy + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// `self + a · b`.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// The elements of a tensor.
    fn read(tensor: &Tensor) -> Result<Vec<Self>, EvaluateError>;
    /// A tensor of these elements: rounded, or wrapped.
    fn write(element_type: ElementType, shape: Vec<usize>, values: Vec<Self>) -> Result<Tensor, EvaluateError>;
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    #[inline]
    fn add_product(self, a: Self, b: Self) -> Self {
        self + a * b
    }
    fn read(tensor: &Tensor) -> Result<Vec<Self>, EvaluateError> {
        Ok(tensor.to_f64s()?)
    }
    fn write(element_type: ElementType, shape: Vec<usize>, values: Vec<Self>) -> Result<Tensor, EvaluateError> {
        Ok(Tensor::from_f64s(element_type, shape, values)?)
    }
}

impl Number for i128 {
    const ZERO: Self = 0;
    const ONE: Self = 1;
    #[inline]
    fn add_product(self, a: Self, b: Self) -> Self {
        self.wrapping_add(a.wrapping_mul(b))
    }
    fn read(tensor: &Tensor) -> Result<Vec<Self>, EvaluateError> {
        Ok(tensor.to_i128s()?)
    }
    fn write(element_type: ElementType, shape: Vec<usize>, values: Vec<Self>) -> Result<Tensor, EvaluateError> {
        Ok(Tensor::from_i128s(element_type, shape, values)?)
    }
}
