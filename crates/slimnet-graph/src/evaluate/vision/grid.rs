//! Evaluation of `GridSample`, in any number of spatial axes.

use super::super::broadcast::strides;
use super::super::{Context, EvaluateError, invalid};
use super::cubic;
use crate::ops::vision::{GridPadding, GridSample, ResizeMode};
use crate::tensor::{Tensor, element_count};

/// The filter's coefficient, which `GridSample` fixes.
const CUBIC_COEFFICIENT: f64 = -0.75;

pub(super) fn grid_sample(op: &GridSample, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (data, grid) = (context.input(0)?, context.input(1)?);
    let fail = || invalid(format!("a grid of shape {:?} on images of shape {:?}", grid.shape(), data.shape()));
    let ([batch, channels, lengths @ ..], [grid_batch, places @ .., coordinates]) = (data.shape(), grid.shape()) else {
        return Err(fail());
    };
    if batch != grid_batch || *coordinates != lengths.len() || places.len() != lengths.len() || lengths.is_empty() {
        return Err(fail());
    }
    let shape = [&[*batch, *channels], places].concat();
    let mut results = Vec::with_capacity(context.room(data.element_type(), &shape)?);
    if element_count(&shape)? > 0 {
        if lengths.contains(&0) {
            return Err(fail());
        }
        let (image, points) = (element_count(lengths)?, element_count(places)?);
        let (values, grid) = (data.to_f64s()?, grid.to_f64s()?);
        for example in 0..*batch {
            let grid = &grid[example * points * lengths.len()..(example + 1) * points * lengths.len()];
            let taps: Vec<_> = grid.chunks(lengths.len()).map(|point| taps(op, lengths, point)).collect();
            for channel in 0..*channels {
                let start = (example * channels + channel) * image;
                let sample = |taps: &Vec<(usize, f64)>| -> f64 {
                    taps.iter().map(|&(pixel, weight)| values[start + pixel] * weight).sum()
                };
                results.extend(taps.iter().map(sample));
            }
        }
    }
    Ok(Tensor::from_f64s(data.element_type(), shape, results)?)
}

/// Which pixels of an image are summed with which weights at a point, whose last coordinate is that of the first axis.
fn taps(op: &GridSample, lengths: &[usize], point: &[f64]) -> Vec<(usize, f64)> {
    let mut taps = vec![(0, 1.0)];
    let distance = strides(lengths).unwrap_or_default();
    for ((&length, &coordinate), distance) in lengths.iter().zip(point.iter().rev()).zip(distance) {
        let on_axis = axis_taps(op, length, coordinate);
        taps = taps
            .iter()
            .flat_map(|&(pixel, weight)| {
                on_axis.iter().map(move |&(place, own)| (pixel + place * distance, weight * own))
            })
            .collect();
    }
    taps
}

fn axis_taps(op: &GridSample, length: usize, coordinate: f64) -> Vec<(usize, f64)> {
    let size = length as f64;
    let (edges, place) = if op.align_corners {
        ((0.0, size - 1.0), (coordinate + 1.0) * (size - 1.0) / 2.0)
    } else {
        ((-0.5, size - 0.5), ((coordinate + 1.0) * size - 1.0) / 2.0)
    };
    let place = if op.mode == ResizeMode::Nearest { place.round_ties_even() } else { place };
    let first = place.floor();
    let (offsets, weight): (_, fn(f64) -> f64) = match op.mode {
        ResizeMode::Nearest => (0..=0, |_| 1.0),
        ResizeMode::Linear => (0..=1, |distance| 1.0 - distance.abs()),
        ResizeMode::Cubic => (-1..=2, |distance| cubic(distance, CUBIC_COEFFICIENT)),
    };
    let tap = |offset: i32| {
        let pixel = first + f64::from(offset);
        let inside = match op.padding_mode {
            GridPadding::Zeros => pixel,
            GridPadding::Border => pixel.clamp(0.0, size - 1.0),
            GridPadding::Reflection => reflect(pixel, edges),
        };
        // A conversion of NaN or of what rounding left outside must not become an index.
        (inside >= 0.0 && inside < size).then(|| (inside as usize, weight(place - pixel)))
    };
    offsets.filter_map(tap).collect()
}

/// Mirrors a place at the edges, of which the first is not above the second, until it is between them.
fn reflect(place: f64, (low, high): (f64, f64)) -> f64 {
    let span = high - low;
    if (low..=high).contains(&place) || span <= 0.0 {
        return place.clamp(low, high);
    }
    let beyond = (place - low).rem_euclid(2.0 * span);
    low + beyond.min(2.0 * span - beyond)
}
