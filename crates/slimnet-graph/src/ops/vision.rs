//! Operators of detectors and image networks.

use super::attribute::{attributes, names};

names! {
    /// How [`Resize`] and [`GridSample`] interpolate.
    pub enum ResizeMode {
        Nearest = "nearest",
        Linear = "linear",
        Cubic = "cubic",
    }
}

names! {
    /// How [`Resize`] maps a place of the output to one of the input.
    pub enum CoordinateMode {
        HalfPixel = "half_pixel",
        HalfPixelSymmetric = "half_pixel_symmetric",
        PytorchHalfPixel = "pytorch_half_pixel",
        AlignCorners = "align_corners",
        Asymmetric = "asymmetric",
        TfCropAndResize = "tf_crop_and_resize",
    }
}

names! {
    /// How [`Resize`] rounds in mode `nearest`.
    pub enum NearestMode {
        RoundPreferFloor = "round_prefer_floor",
        RoundPreferCeil = "round_prefer_ceil",
        Floor = "floor",
        Ceil = "ceil",
    }
}

names! {
    /// What [`Resize`] does with sizes that change the aspect ratio.
    pub enum AspectRatioPolicy {
        Stretch = "stretch",
        NotLarger = "not_larger",
        NotSmaller = "not_smaller",
    }
}

names! {
    /// What [`GridSample`] sees outside of the image.
    pub enum GridPadding {
        Zeros = "zeros",
        Border = "border",
        Reflection = "reflection",
    }
}

names! {
    /// How [`RoiAlign`] pools.
    pub enum RoiMode {
        Average = "avg",
        Max = "max",
    }
}

names! {
    /// Where [`RoiAlign`] has its sampling points.
    pub enum RoiCoordinateMode {
        HalfPixel = "half_pixel",
        OutputHalfPixel = "output_half_pixel",
    }
}

attributes! {
    /// Resamples by the scales of input 2 or to the sizes of input 3 (input 1: region of interest).
    pub struct Resize {
        /// Whether a filter is stretched when the image shrinks.
        antialias: bool = false,
        /// The axes that scales and sizes speak of; absent: all.
        axes: Option<Vec<i64>> = None,
        /// Where the samples lie.
        coordinate_transformation_mode: CoordinateMode = CoordinateMode::HalfPixel,
        /// Coefficient of the cubic filter.
        cubic_coeff_a: f32 = -0.75,
        /// Whether samples outside have weight 0.
        exclude_outside: bool = false,
        /// The value outside, for `tf_crop_and_resize`.
        extrapolation_value: f32 = 0.0,
        /// What happens to the aspect ratio.
        keep_aspect_ratio_policy: AspectRatioPolicy = AspectRatioPolicy::Stretch,
        /// How it interpolates.
        mode: ResizeMode = ResizeMode::Nearest,
        /// How `nearest` rounds.
        nearest_mode: NearestMode = NearestMode::RoundPreferFloor,
    }

    /// Samples input 0 where the grid of input 1 says (coordinates from −1 to 1).
    pub struct GridSample {
        /// Whether ±1 are the centres of the corner pixels.
        align_corners: bool = false,
        /// How it interpolates.
        mode: ResizeMode = ResizeMode::Linear,
        /// What is outside.
        padding_mode: GridPadding = GridPadding::Zeros,
    }

    /// Pools regions of `[N, C, H, W]` (rois: input 1, batch indices: input 2) to a fixed size.
    pub struct RoiAlign {
        /// Where the sampling points are.
        coordinate_transformation_mode: RoiCoordinateMode = RoiCoordinateMode::HalfPixel,
        /// How it pools.
        mode: RoiMode = RoiMode::Average,
        /// Height of the result.
        output_height: i64 = 1,
        /// Width of the result.
        output_width: i64 = 1,
        /// Sampling points along each axis of a bin; 0: as many as fit.
        sampling_ratio: i64 = 0,
        /// Scale from the regions' coordinates to the tensor's.
        spatial_scale: f32 = 1.0,
    }

    /// Chooses boxes (input 0) by scores (input 1), dropping those that overlap better ones.
    pub struct NonMaxSuppression {
        /// Whether boxes are given by centre and size.
        center_point_box: bool = false,
    }
}
