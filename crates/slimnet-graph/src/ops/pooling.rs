//! Pooling over spatial windows.

use super::attribute::attributes;
use super::convolution::AutoPad;

attributes! {
    /// Mean over windows of `[N, C, …]`.
    pub struct AveragePool {
        /// How padding is chosen.
        auto_pad: AutoPad = AutoPad::NotSet,
        /// Whether the last window may hang over the edge.
        ceil_mode: bool = false,
        /// Whether padding counts as zeros in the mean.
        count_include_pad: bool = false,
        /// Distance of the window's places along each spatial axis; empty: 1.
        dilations: Vec<i64> = Vec::new(),
        /// Spatial shape of the window.
        kernel_shape: Vec<i64>,
        /// Begins, then ends, along each spatial axis; empty: 0.
        pads: Vec<i64> = Vec::new(),
        /// Step along each spatial axis; empty: 1.
        strides: Vec<i64> = Vec::new(),
    }

    /// Maximum over windows of `[N, C, …]`, with its flat index as an optional second output.
    pub struct MaxPool {
        /// How padding is chosen.
        auto_pad: AutoPad = AutoPad::NotSet,
        /// Whether the last window may hang over the edge.
        ceil_mode: bool = false,
        /// Distance of the window's places along each spatial axis; empty: 1.
        dilations: Vec<i64> = Vec::new(),
        /// Spatial shape of the window.
        kernel_shape: Vec<i64>,
        /// Begins, then ends, along each spatial axis; empty: 0.
        pads: Vec<i64> = Vec::new(),
        /// Whether indices count column by column.
        storage_order: bool = false,
        /// Step along each spatial axis; empty: 1.
        strides: Vec<i64> = Vec::new(),
    }

    /// p-norm over windows of `[N, C, …]`.
    pub struct LpPool {
        /// How padding is chosen.
        auto_pad: AutoPad = AutoPad::NotSet,
        /// Whether the last window may hang over the edge.
        ceil_mode: bool = false,
        /// Distance of the window's places along each spatial axis; empty: 1.
        dilations: Vec<i64> = Vec::new(),
        /// Spatial shape of the window.
        kernel_shape: Vec<i64>,
        /// The norm's exponent.
        p: i64 = 2,
        /// Begins, then ends, along each spatial axis; empty: 0.
        pads: Vec<i64> = Vec::new(),
        /// Step along each spatial axis; empty: 1.
        strides: Vec<i64> = Vec::new(),
    }

    /// Mean over all spatial axes: `[N, C, …]` to `[N, C, 1, …]`.
    pub struct GlobalAveragePool {}

    /// Maximum over all spatial axes: `[N, C, …]` to `[N, C, 1, …]`.
    pub struct GlobalMaxPool {}

    /// p-norm over all spatial axes: `[N, C, …]` to `[N, C, 1, …]`.
    pub struct GlobalLpPool {
        /// The norm's exponent.
        p: i64 = 2,
    }
}
