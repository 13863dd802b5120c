//! Evaluation of Resize: one axis after the other.

use super::super::broadcast::{around, strides};
use super::super::layout::moving::{axes_of, lengths, moved};
use super::super::{Context, EvaluateError, invalid};
use super::cubic;
use crate::ops::vision::{AspectRatioPolicy, CoordinateMode, NearestMode, Resize, ResizeMode};
use crate::tensor::{Tensor, element_count};

/// Resampling along one axis: which elements each place of the result is summed of.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampling {
    /// The axis.
    pub axis: usize,
    /// Its length before; that after is the number of places.
    pub length: usize,
    /// For each place of the result: places before, with weights. `None` where the extrapolation value stands.
    pub taps: Vec<Option<Vec<(usize, f64)>>>,
}

/// What [`Resize`] does to data of a shape, one axis after the other, in this order; axes that stay as they are are left
/// out. `inputs` are those of the operator, of which that of the data is not looked at.
///
/// # Errors
/// If the inputs do not fit the operator.
pub fn resampling(op: &Resize, shape: &[usize], inputs: &[Option<&Tensor>]) -> Result<Vec<Resampling>, EvaluateError> {
    let axes = axes(op, &Context { inputs, outputs: &[], limit: 0 }, shape)?;
    if axes.iter().any(|axis| axis.length == 0 || axis.size == 0 || !axis.scale.is_finite() || axis.scale <= 0.0) {
        return Err(invalid(format!("{shape:?} cannot be resized")));
    }
    let interpolated = op.mode != ResizeMode::Nearest;
    let table = |axis: Axis| (0..axis.size).map(move |place| Some(taps(op, axis, source(op, axis, place)?)));
    let chosen = order(&axes).into_iter().filter(|&index| !(interpolated && axes[index].is_unchanged()));
    Ok(chosen
        .map(|index| Resampling { axis: index, length: axes[index].length, taps: table(axes[index]).collect() })
        .filter(|axis| {
            let stays = |(place, taps): (usize, &Option<Vec<_>>)| taps.as_deref() == Some(&[(place, 1.0)][..]);
            interpolated || axis.taps.len() != axis.length || !axis.taps.iter().enumerate().all(stays)
        })
        .collect())
}

/// How one axis is resampled.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// Length before.
    length: usize,
    /// Length after.
    size: usize,
    /// Nominal ratio of both, from which `size` may deviate by rounding.
    scale: f64,
    /// Start and end of the region of interest, as parts of the length.
    region: (f32, f32),
}

impl Axis {
    fn is_unchanged(&self) -> bool {
        self.size == self.length && self.scale == 1.0 && self.region == (0.0, 1.0)
    }
}

/// In which order axes are resampled: what shrinks goes first, so that nothing in between is larger than both ends.
fn order(axes: &[Axis]) -> Vec<usize> {
    let mut order: Vec<_> = (0..axes.len()).collect();
    let growth = |axis: usize| axes[axis].size as f64 / axes[axis].length as f64;
    order.sort_by(|&a, &b| growth(a).total_cmp(&growth(b)));
    order
}

pub(super) fn resize(op: &Resize, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let axes = axes(op, context, data.shape())?;
    let shape: Vec<_> = axes.iter().map(|axis| axis.size).collect();
    let count = context.room(data.element_type(), &shape)?;
    if count > 0 && axes.iter().any(|axis| axis.length == 0 || !axis.scale.is_finite() || axis.scale <= 0.0) {
        return Err(invalid(format!("{:?} cannot be resized to {shape:?}", data.shape())));
    }
    if count > 0 && op.mode != ResizeMode::Nearest {
        return interpolate(op, data, &axes);
    }
    let distance = strides(data.shape())?;
    let outside = Tensor::from_f64s(data.element_type(), Vec::new(), vec![f64::from(op.extrapolation_value)]);
    moved(context, data, outside.as_ref().ok(), shape, |index, place| {
        let axis = axes[index];
        Some(nearest(op, axis, source(op, axis, place)?) * distance[index])
    })
}

/// How each axis is resampled.
fn axes(op: &Resize, context: &Context<'_>, shape: &[usize]) -> Result<Vec<Axis>, EvaluateError> {
    let mut axes: Vec<_> =
        shape.iter().map(|&length| Axis { length, size: length, scale: 1.0, region: (0.0, 1.0) }).collect();
    let chosen = match &op.axes {
        Some(chosen) => axes_of(chosen, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let per_axis = |what: &str, found: usize, expected: usize| {
        if found == expected { Ok(()) } else { Err(invalid(format!("{found} {what} for {expected} axes"))) }
    };
    let given = |slot| context.optional(slot).filter(|tensor| !tensor.is_empty());
    match (given(2), given(3)) {
        (Some(scales), None) => {
            let scales = scales.to_f64s()?;
            per_axis("scales", scales.len(), chosen.len())?;
            for (&axis, &scale) in chosen.iter().zip(&scales) {
                let axis = &mut axes[axis];
                // In single precision, as the scales are: 10 · 0.7 is 7.
                (axis.size, axis.scale) = ((axis.length as f32 * scale as f32).floor() as usize, scale);
            }
        }
        (None, Some(sizes)) => {
            let sizes = lengths(sizes)?;
            per_axis("sizes", sizes.len(), chosen.len())?;
            for (&axis, &size) in chosen.iter().zip(&sizes) {
                let axis = &mut axes[axis];
                (axis.size, axis.scale) = (size, size as f64 / axis.length as f64);
            }
            let scales = chosen.iter().map(|&axis| axes[axis].scale);
            let common = match op.keep_aspect_ratio_policy {
                AspectRatioPolicy::Stretch => None,
                AspectRatioPolicy::NotLarger => scales.reduce(f64::min),
                AspectRatioPolicy::NotSmaller => scales.reduce(f64::max),
            };
            for &axis in &chosen {
                let (axis, Some(scale)) = (&mut axes[axis], common) else { break };
                (axis.size, axis.scale) = ((axis.length as f64 * scale + 0.5).floor() as usize, scale);
            }
        }
        // Not even axes that could be resized: both inputs may be empty.
        (None, None) if chosen.is_empty() => {}
        _ => return Err(invalid("either scales or sizes must be given")),
    }
    if op.coordinate_transformation_mode == CoordinateMode::TfCropAndResize {
        let regions = context.input(1)?.to_f64s()?;
        per_axis("limits of regions", regions.len(), chosen.len() * 2)?;
        for (index, &axis) in chosen.iter().enumerate() {
            axes[axis].region = (regions[index] as f32, regions[chosen.len() + index] as f32);
        }
    }
    Ok(axes)
}

/// The place on the source's axis of a place on the result's; `None` where the extrapolation value stands.
///
/// In single precision, as in every runtime: place 3 at scale 0.6 is 5 and rounds to 5.
fn source(op: &Resize, axis: Axis, place: usize) -> Option<f64> {
    let (place, length, size, scale) = (place as f32, axis.length as f32, axis.size as f32, axis.scale as f32);
    let half_pixel = (place + 0.5) / scale - 0.5;
    let source = match op.coordinate_transformation_mode {
        CoordinateMode::HalfPixel => half_pixel,
        CoordinateMode::HalfPixelSymmetric => length / 2.0 * (1.0 - size / (scale * length)) + half_pixel,
        CoordinateMode::PytorchHalfPixel if axis.size == 1 => 0.0,
        CoordinateMode::PytorchHalfPixel => half_pixel,
        CoordinateMode::AlignCorners if axis.size == 1 => 0.0,
        CoordinateMode::AlignCorners => place * (length - 1.0) / (size - 1.0),
        CoordinateMode::Asymmetric => place / scale,
        CoordinateMode::TfCropAndResize => {
            let (start, end) = axis.region;
            let source = if axis.size == 1 {
                0.5 * (start + end) * (length - 1.0)
            } else {
                start * (length - 1.0) + place * (end - start) * (length - 1.0) / (size - 1.0)
            };
            return (0.0..=length - 1.0).contains(&source).then_some(source.into());
        }
    };
    Some(source.into())
}

/// The place that mode `nearest` takes. The conversion saturates at 0.
fn nearest(op: &Resize, axis: Axis, source: f64) -> usize {
    let rounded = match op.nearest_mode {
        NearestMode::RoundPreferFloor => (source - 0.5).ceil(),
        NearestMode::RoundPreferCeil => (source + 0.5).floor(),
        NearestMode::Floor => source.floor(),
        NearestMode::Ceil => source.ceil(),
    };
    (rounded as usize).min(axis.length.saturating_sub(1))
}

/// Which places of the source's axis are summed with which weights.
fn taps(op: &Resize, axis: Axis, source: f64) -> Vec<(usize, f64)> {
    if op.mode == ResizeMode::Nearest {
        return vec![(nearest(op, axis, source), 1.0)];
    }
    // An antialiasing filter is the same filter, as much wider as the image gets smaller.
    let zoom = if op.antialias { axis.scale.min(1.0) } else { 1.0 };
    let filter = |distance: f64| match op.mode {
        ResizeMode::Cubic => cubic(distance, f64::from(op.cubic_coeff_a)),
        _ => (1.0 - distance.abs()).max(0.0),
    };
    let reach = if op.mode == ResizeMode::Cubic { 2.0 } else { 1.0 } / zoom;
    let last = axis.length as i64 - 1;
    let places = (source - reach).floor() as i64..=(source + reach).ceil() as i64;
    let mut taps: Vec<_> = places
        .filter(|place| !op.exclude_outside || (0..=last).contains(place))
        .map(|place| (place.clamp(0, last) as usize, filter((place as f64 - source) * zoom)))
        .filter(|(_, weight)| *weight != 0.0)
        .collect();
    if op.antialias || op.exclude_outside {
        let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
        for (_, weight) in &mut taps {
            *weight /= sum;
        }
    }
    taps
}

fn interpolate(op: &Resize, data: &Tensor, axes: &[Axis]) -> Result<Tensor, EvaluateError> {
    let mut shape = data.shape().to_vec();
    let mut values = data.to_f64s()?;
    for index in order(axes) {
        let axis = axes[index];
        if axis.is_unchanged() {
            continue;
        }
        let (outer, length, inner) = around(&shape, index)?;
        shape[index] = axis.size;
        let mut resized = Vec::with_capacity(element_count(&shape)?);
        let taps: Vec<_> =
            (0..axis.size).map(|place| source(op, axis, place).map(|source| taps(op, axis, source))).collect();
        for outer in 0..outer {
            for taps in &taps {
                let value = |column: usize| match taps {
                    None => f64::from(op.extrapolation_value),
                    Some(taps) => taps
                        .iter()
                        .map(|&(place, weight)| values[(outer * length + place) * inner + column] * weight)
                        .sum(),
                };
                resized.extend((0..inner).map(value));
            }
        }
        values = resized;
    }
    if data.element_type().is_integer() {
        for value in &mut values {
            *value = value.round_ties_even();
        }
    }
    Ok(Tensor::from_f64s(data.element_type(), shape, values)?)
}
