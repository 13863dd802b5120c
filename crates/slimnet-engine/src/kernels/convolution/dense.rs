//! Windows that are the whole image: one product of matrices for the whole batch.

use super::geometry::Geometry;
use crate::kernels::matrix::{Matrix, multiply};

/// Sizes of a convolution with one window, which every element of the axes is a tap of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dense {
    images: usize,
    windowed: usize,
    spread: usize,
    taps: usize,
}

impl Dense {
    /// The sizes, if the geometry is of this kind.
    pub fn of(geometry: &Geometry) -> Option<Self> {
        let whole = geometry.axes.iter().all(|axis| {
            let dense = axis.taps == 1 || axis.dilation == 1;
            axis.windows == 1 && axis.begin == 0 && axis.length == axis.taps && dense
        });
        let Geometry { images, windowed, spread, .. } = *geometry;
        (whole && geometry.groups == 1).then(|| Self { images, windowed, spread, taps: geometry.taps() })
    }

    /// The matrix of the weights, `[windowed, spread · taps]`, and of the two sides, one row an image.
    fn weights<'a>(&self, weights: &'a [f32]) -> Matrix<'a> {
        Matrix::new(weights, self.windowed, self.spread * self.taps)
    }

    fn windows<'a>(&self, windows: &'a [f32]) -> Matrix<'a> {
        Matrix::new(windows, self.images, self.windowed)
    }

    fn axes<'a>(&self, axes: &'a [f32]) -> Matrix<'a> {
        Matrix::new(axes, self.images, self.spread * self.taps)
    }

    /// The convolution (`to_windows`) or the transposed convolution.
    pub fn product(&self, to_windows: bool, source: &[f32], weights: &[f32], bias: &[f32], result: &mut [f32]) {
        let (source, weights, elements) = if to_windows {
            (self.axes(source), self.weights(weights).transposed(), 1)
        } else {
            (self.windows(source), self.weights(weights), self.taps)
        };
        if !bias.is_empty() {
            for image in result.chunks_exact_mut(bias.len() * elements) {
                image.chunks_exact_mut(elements).zip(bias).for_each(|(channel, bias)| channel.fill(*bias));
            }
        }
        multiply(result, source, weights, 1.0, !bias.is_empty());
    }

    /// The gradient of the weights.
    pub fn weight_gradient(&self, windows: &[f32], axes: &[f32], gradient: &mut [f32]) {
        multiply(gradient, self.windows(windows).transposed(), self.axes(axes), 1.0, false);
    }
}
