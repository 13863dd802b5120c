//! Operators of detectors and image networks.

mod boxes;
mod grid;
mod resize;

pub use resize::{Resampling, resampling};

use super::{Context, EvaluateError, unsupported};
use crate::ops::Op;
use crate::tensor::Tensor;

/// Results of an operator of [`crate::ops::vision`].
pub(super) fn evaluate(op: &Op, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let one = match op {
        Op::Resize(op) => resize::resize(op, context),
        Op::GridSample(op) => grid::grid_sample(op, context),
        Op::RoiAlign(op) => boxes::roi_align(op, context),
        Op::NonMaxSuppression(op) => boxes::non_max_suppression(op, context),
        other => Err(unsupported(other.op_type())),
    };
    Ok(vec![one?])
}

/// The value at distance `t` of the cubic convolution filter with coefficient `a`.
fn cubic(t: f64, a: f64) -> f64 {
    let t = t.abs();
    if t <= 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    } else {
        0.0
    }
}
