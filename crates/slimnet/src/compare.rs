//! How far apart two tensors are.

use serde::Serialize;
use slimnet_graph::Tensor;
use slimnet_graph::tensor::TensorError;

/// How far apart the results for one output are, over all samples.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[allow(clippy::struct_field_names)] // the keys of the JSON, where the struct is flattened into others
pub struct Difference {
    /// Largest absolute difference of two elements that are both finite.
    pub largest_difference: f64,
    /// Largest finite magnitude of the first network's elements.
    pub largest_value: f64,
    /// Elements that are compared.
    pub elements: u64,
    /// Elements that are not bit for bit of equal value.
    pub unequal: u64,
    /// Unequal elements without a distance: NaN or infinite in one tensor only, or strings.
    pub not_comparable: u64,
}

impl Difference {
    /// Adds two tensors of equal type and shape.
    ///
    /// # Errors
    /// For elements that are no real numbers.
    pub fn add(&mut self, first: &Tensor, second: &Tensor) -> Result<(), TensorError> {
        if let (Some(first), Some(second)) = (first.strings(), second.strings()) {
            self.elements += first.len() as u64;
            let unequal = first.iter().zip(second).filter(|(first, second)| first != second).count() as u64;
            self.unequal += unequal;
            self.not_comparable += unequal;
            return Ok(());
        }
        for (first, second) in first.to_f64s()?.into_iter().zip(second.to_f64s()?) {
            self.elements += 1;
            if first.is_finite() {
                self.largest_value = self.largest_value.max(first.abs());
            }
            if first == second || (first.is_nan() && second.is_nan()) {
                continue;
            }
            self.unequal += 1;
            if first.is_finite() && second.is_finite() {
                self.largest_difference = self.largest_difference.max((first - second).abs());
            } else {
                self.not_comparable += 1;
            }
        }
        Ok(())
    }

    /// Joins the differences of other samples.
    pub fn join(&mut self, other: &Self) {
        self.largest_difference = self.largest_difference.max(other.largest_difference);
        self.largest_value = self.largest_value.max(other.largest_value);
        self.elements += other.elements;
        self.unequal += other.unequal;
        self.not_comparable += other.not_comparable;
    }

    /// The largest difference as a part of the largest value; `None` where nothing was larger than 0.
    pub fn relative(&self) -> Option<f64> {
        (self.largest_value > 0.0).then(|| self.largest_difference / self.largest_value)
    }

    /// Whether any element differs by more than `tolerance`.
    pub fn exceeds(&self, tolerance: f64) -> bool {
        self.largest_difference > tolerance || self.not_comparable > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_no_difference_can_say() {
        let mut difference = Difference::default();
        let first = Tensor::vector(vec![1.0f32, f32::NAN, f32::INFINITY, -4.0, f32::NAN]);
        let second = Tensor::vector(vec![1.5f32, f32::NAN, 1.0, -4.0, 0.0]);
        difference.add(&first, &second).unwrap();
        let expected =
            Difference { largest_difference: 0.5, largest_value: 4.0, elements: 5, unequal: 3, not_comparable: 2 };
        assert_eq!(difference, expected);
        assert_eq!(difference.relative(), Some(0.125));
        assert!(difference.exceeds(1.0));
        difference.join(&Difference { largest_difference: 2.0, ..Difference::default() });
        assert_eq!(difference.largest_difference, 2.0);
        assert_eq!(Difference::default().relative(), None);
        let strings = |text: &str| Tensor::from_strings(vec![1], vec![text.into()]).unwrap();
        let mut difference = Difference::default();
        difference.add(&strings("a"), &strings("b")).unwrap();
        assert_eq!((difference.unequal, difference.not_comparable), (1, 1));
    }
}
