//! Operators that choose elements by index, and those that make tensors from shapes.

use super::attribute::{attributes, names};
use crate::tensor::{ElementType, Tensor};

names! {
    /// How scattered elements join those that are there.
    pub enum ScatterReduction {
        None = "none",
        Add = "add",
        Mul = "mul",
        Max = "max",
        Min = "min",
    }
}

attributes! {
    /// Slices of input 0 along an axis, chosen by input 1.
    pub struct Gather {
        /// The axis.
        axis: i64 = 0,
    }

    /// Elements along an axis, chosen by input 1 for each place.
    pub struct GatherElements {
        /// The axis.
        axis: i64 = 0,
    }

    /// Slices chosen by index tuples.
    pub struct GatherNd {
        /// Number of leading axes that data and indices share.
        batch_dims: i64 = 0,
    }

    /// Input 0 with elements of input 2 put where input 1 says, along an axis.
    pub struct ScatterElements {
        /// The axis.
        axis: i64 = 0,
        /// How they join.
        reduction: ScatterReduction = ScatterReduction::None,
    }

    /// Input 0 with slices of input 2 put where the index tuples of input 1 say.
    pub struct ScatterNd {
        /// How they join.
        reduction: ScatterReduction = ScatterReduction::None,
    }

    /// Slices for which the condition (input 1) is true.
    pub struct Compress {
        /// The axis; absent: of the flattened tensor.
        axis: Option<i64> = None,
    }

    /// Indices (input 0) to vectors of length `depth` (input 1) with the values of input 2.
    pub struct OneHot {
        /// The new axis.
        axis: i64 = -1,
    }

    /// Indices of the non-zero elements: `[rank, count]`.
    pub struct NonZero {}

    /// Numbers from start by delta up to limit (inputs 0, 2, 1).
    pub struct Range {}

    /// The shape of a tensor.
    pub struct Shape {
        /// First axis.
        start: i64 = 0,
        /// The axis after the last; absent: to the end.
        end: Option<i64> = None,
    }

    /// The number of elements of a tensor.
    pub struct Size {}

    /// A tensor of the shape of input 0, filled with one value.
    pub struct ConstantOfShape {
        /// The value, of one element; absent: `float32` 0.
        value: Option<Tensor> = None,
    }

    /// Ones on a diagonal, in the shape of input 0.
    pub struct EyeLike {
        /// Element type; absent: input 0's.
        dtype: Option<ElementType> = None,
        /// The diagonal.
        k: i64 = 0,
    }
}
