//! Normalisations, softmax, dropout.

use super::attribute::{attributes, names};

attributes! {
    /// Batch normalisation of `[N, C, …]` by scale, bias, running mean and variance, each `[C]`.
    ///
    /// In training mode its outputs are the result, the new running mean and variance and, only while a network is trained,
    /// the batch's own mean and its 1 / √(variance + epsilon), which the gradient needs.
    pub struct BatchNormalization {
        /// Added to the variance.
        epsilon: f32 = 1e-5,
        /// How much of the running statistics stays at an update.
        momentum: f32 = 0.9,
        /// Whether the batch's own statistics are used and the running ones returned.
        training_mode: bool = false,
    }

    /// Normalisation of each channel of each example of `[N, C, …]`.
    pub struct InstanceNormalization {
        /// Added to the variance.
        epsilon: f32 = 1e-5,
    }

    /// Normalisation over the axes from `axis` on.
    pub struct LayerNormalization {
        /// First normalised axis.
        axis: i64 = -1,
        /// Added to the variance.
        epsilon: f32 = 1e-5,
        /// Element type (ONNX number) of the statistics.
        stash_type: i64 = 1,
    }

    /// Normalisation of groups of channels of `[N, C, …]`; scale and bias are `[C]`.
    pub struct GroupNormalization {
        /// Added to the variance.
        epsilon: f32 = 1e-5,
        /// Number of groups.
        num_groups: i64,
        /// Element type (ONNX number) of the statistics.
        stash_type: i64 = 1,
    }

    /// Division by the root mean square over the axes from `axis` on, times a scale (opset 23).
    pub struct RmsNormalization {
        /// First normalised axis.
        axis: i64 = -1,
        /// Added to the mean square.
        epsilon: f32 = 1e-5,
        /// Element type (ONNX number) of the statistics.
        stash_type: i64 = 1,
    }

    /// Local response normalisation across channels of `[N, C, …]`.
    pub struct Lrn {
        /// Scale of the sum of squares.
        alpha: f32 = 1e-4,
        /// Exponent.
        beta: f32 = 0.75,
        /// Added to the sum of squares.
        bias: f32 = 1.0,
        /// Number of channels summed over.
        size: i64,
    }

    /// Division by the p-norm along an axis.
    pub struct LpNormalization {
        /// The axis.
        axis: i64 = -1,
        /// The norm's exponent, 1 or 2.
        p: i64 = 2,
    }

    /// Mean 0 and variance 1 over some axes.
    pub struct MeanVarianceNormalization {
        /// The axes.
        axes: Vec<i64> = vec![0, 2, 3],
    }

    /// Softmax and its relatives along an axis.
    pub struct Softmax {
        /// The axis.
        axis: i64 = -1,
    }

    /// Zeroes elements at random while training (inputs 1 and 2: ratio, training mode); otherwise the identity.
    pub struct Dropout {
        /// Seed of the random numbers.
        seed: Option<i64> = None,
    }
}

names! {
    /// The softmax-like operators.
    pub enum SoftmaxKind {
        Softmax = "Softmax",
        LogSoftmax = "LogSoftmax",
        Hardmax = "Hardmax",
    }
}
