//! Convolutions.

use super::attribute::{attributes, names};

attributes! {
    /// Convolution of `[N, C, …]` with weights `[M, C / group, …]` and an optional bias `[M]`.
    pub struct Conv {
        /// How padding is chosen.
        auto_pad: AutoPad = AutoPad::NotSet,
        /// Distance of the kernel's taps along each spatial axis; empty: 1.
        dilations: Vec<i64> = Vec::new(),
        /// Into how many independent groups the channels fall.
        group: i64 = 1,
        /// Spatial shape of the kernel; empty: that of the weights.
        kernel_shape: Vec<i64> = Vec::new(),
        /// Begins, then ends, along each spatial axis; empty: 0.
        pads: Vec<i64> = Vec::new(),
        /// Step along each spatial axis; empty: 1.
        strides: Vec<i64> = Vec::new(),
    }

    /// Transposed convolution of `[N, C, …]` with weights `[C, M / group, …]` and an optional bias `[M]`.
    pub struct ConvTranspose {
        /// How padding is chosen.
        auto_pad: AutoPad = AutoPad::NotSet,
        /// Distance of the kernel's taps along each spatial axis; empty: 1.
        dilations: Vec<i64> = Vec::new(),
        /// Into how many independent groups the channels fall.
        group: i64 = 1,
        /// Spatial shape of the kernel; empty: that of the weights.
        kernel_shape: Vec<i64> = Vec::new(),
        /// Added to one side of the output along each spatial axis; empty: 0.
        output_padding: Vec<i64> = Vec::new(),
        /// Spatial shape of the output, from which the padding follows; empty: not given.
        output_shape: Vec<i64> = Vec::new(),
        /// Begins, then ends, along each spatial axis; empty: 0.
        pads: Vec<i64> = Vec::new(),
        /// Step along each spatial axis; empty: 1.
        strides: Vec<i64> = Vec::new(),
    }

    /// [`Conv`] of 8-bit integers with zero points (inputs 2 and 3), summed in `int32`.
    pub struct ConvInteger {
        /// How padding is chosen.
        auto_pad: AutoPad = AutoPad::NotSet,
        /// Distance of the kernel's taps along each spatial axis; empty: 1.
        dilations: Vec<i64> = Vec::new(),
        /// Into how many independent groups the channels fall.
        group: i64 = 1,
        /// Spatial shape of the kernel; empty: that of the weights.
        kernel_shape: Vec<i64> = Vec::new(),
        /// Begins, then ends, along each spatial axis; empty: 0.
        pads: Vec<i64> = Vec::new(),
        /// Step along each spatial axis; empty: 1.
        strides: Vec<i64> = Vec::new(),
    }

    /// [`Conv`] of quantized tensors: x, scale, zero point, w, scale, zero point, y's scale, zero point, bias.
    pub struct QLinearConv {
        /// How padding is chosen.
        auto_pad: AutoPad = AutoPad::NotSet,
        /// Distance of the kernel's taps along each spatial axis; empty: 1.
        dilations: Vec<i64> = Vec::new(),
        /// Into how many independent groups the channels fall.
        group: i64 = 1,
        /// Spatial shape of the kernel; empty: that of the weights.
        kernel_shape: Vec<i64> = Vec::new(),
        /// Begins, then ends, along each spatial axis; empty: 0.
        pads: Vec<i64> = Vec::new(),
        /// Step along each spatial axis; empty: 1.
        strides: Vec<i64> = Vec::new(),
    }
}

names! {
    /// How a window's padding is chosen.
    pub enum AutoPad {
        NotSet = "NOTSET",
        SameUpper = "SAME_UPPER",
        SameLower = "SAME_LOWER",
        Valid = "VALID",
    }
}
