//! Convolutions.

use super::Inferred;
use super::call::{BYTES, Call, Class, FLOATS, INT32, Result, ensure, mismatch, output};
use super::shapes::{agree, certainly_differ};
use super::window::{Rounding, Window, WindowAxis, check_list, window};
use crate::graph::{Dim, Shape};
use crate::ops::convolution::{AutoPad, Conv, ConvInteger, ConvTranspose, QLinearConv};
use crate::tensor::ElementType;

/// Number of groups as a divisor.
fn groups(group: i64) -> Result<Dim> {
    ensure(group >= 1, "group", "at least 1", group)?;
    Ok(Dim::from(group))
}

/// Checks that there are channels, and that they fall into groups.
fn check_divides(channels: &Dim, group: &Dim, what: &str) -> Result<()> {
    ensure(channels.constant() != Some(0), what, "at least 1", channels)?;
    let exact = channels.constant().is_none() || channels.divide_exactly(group).is_some();
    ensure(exact, what, format!("a multiple of group {group}"), channels)
}

/// Shape of a convolution of input `x` with the weights of input `w`.
fn convolved(window: Window<'_>, group: i64, call: &mut Call<'_>, x: usize, w: usize) -> Result<Option<Shape>> {
    let group = groups(group)?;
    let (data, weights) = (call.rank_at_least(x, 3)?, call.rank_at_least(w, 3)?);
    if let Some(weights) = weights {
        if let Some(data) = data {
            call.rank(w, data.len())?;
            let what = format!("axis 1 of input {x} (channels)");
            if let Some(expected) = weights[1].multiply(&group) {
                ensure(!certainly_differ(&data[1], &expected), what, expected, &data[1])?;
            }
        }
        check_divides(&weights[0], &group, &format!("axis 0 of input {w} (output channels)"))?;
    }
    if let Some([_, channels, ..]) = data {
        check_divides(channels, &group, &format!("axis 1 of input {x} (channels)"))?;
    }
    let kernel = weights.map(|weights| &weights[2..]);
    let Some(data) = data else {
        let rank = weights.map_or(window.kernel_shape.len(), |weights| weights.len() - 2);
        if rank > 0 {
            window.axes(rank, kernel)?;
        }
        return Ok(None);
    };
    let channels = call.or_fresh(weights.map(|weights| weights[0].clone()));
    let spatial = window.slide(call, &data[2..], kernel, Rounding::Down)?;
    Ok(Some([data[0].clone(), channels].into_iter().chain(spatial).collect()))
}

pub(super) fn conv(op: &Conv, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 3, 1)?;
    let element_type = call.same([0, 1, 2], FLOATS)?;
    let shape = convolved(window!(op), op.group, call, 0, 1)?;
    call.has_shape(2, &[call.shape(1).map(|weights| &weights[0])])?;
    Ok(vec![output(element_type, shape)])
}

/// Checks a zero point or scale of weights: one for all, or one for each output channel.
fn per_channel(call: &Call<'_>, slot: usize, weights: usize) -> Result<()> {
    match call.shape(slot) {
        Some([length]) if length.constant() != Some(1) => {
            call.has_shape(slot, &[call.shape(weights).and_then(|weights| weights.first())])
        }
        _ => call.single(slot),
    }
}

pub(super) fn conv_integer(op: &ConvInteger, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 4, 1)?;
    call.same([0, 2], BYTES)?;
    call.same([1, 3], BYTES)?;
    let shape = convolved(window!(op), op.group, call, 0, 1)?;
    call.single(2)?;
    per_channel(call, 3, 1)?;
    Ok(vec![output(Some(ElementType::I32), shape)])
}

pub(super) fn qlinear_conv(op: &QLinearConv, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(8, 9, 1)?;
    call.same([0, 2], BYTES)?;
    call.same([3, 5], BYTES)?;
    call.same([1, 4, 6], SCALES)?;
    call.class(8, INT32)?;
    let element_type = call.class(7, BYTES)?;
    let shape = convolved(window!(op), op.group, call, 0, 3)?;
    for slot in [1, 2, 6, 7] {
        call.single(slot)?;
    }
    for slot in [4, 5] {
        per_channel(call, slot, 3)?;
    }
    call.has_shape(8, &[call.shape(3).map(|weights| &weights[0])])?;
    Ok(vec![output(element_type, shape)])
}

/// Types of the scales of quantized operators.
const SCALES: Class = FLOATS;

pub(super) fn conv_transpose(op: &ConvTranspose, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 3, 1)?;
    let element_type = call.same([0, 1, 2], FLOATS)?;
    let group = groups(op.group)?;
    let (data, weights) = (call.rank_at_least(0, 3)?, call.rank_at_least(1, 3)?);
    if let (Some(data), Some([channels, ..])) = (data, weights) {
        call.rank(1, data.len())?;
        agree(channels, &data[1], || "axis 1 of input 0 (channels)".into())?;
    }
    for (slot, channels) in [(0, data.map(|data| &data[1])), (1, weights.map(|weights| &weights[0]))] {
        if let Some(channels) = channels {
            check_divides(channels, &group, &format!("channels of input {slot}"))?;
        }
    }
    let channels = weights.and_then(|weights| weights[1].multiply(&group));
    call.has_shape(2, &[channels.as_ref()])?;
    let kernel = weights.map(|weights| &weights[2..]);
    let rank = data.or(weights).map_or(op.kernel_shape.len(), |shape| shape.len() - 2);
    if rank == 0 {
        return Ok(vec![output(element_type, None)]);
    }
    let axes = window!(op).axes(rank, kernel)?;
    check_list(&op.output_padding, "output_padding", rank, 0)?;
    check_list(&op.output_shape, "output_shape", rank, 0)?;
    let Some(data) = data else { return Ok(vec![output(element_type, None)]) };
    let mut shape = vec![data[0].clone(), call.or_fresh(channels)];
    for (place, axis) in axes.iter().enumerate() {
        let extra = op.output_padding.get(place).copied().unwrap_or(0);
        let length = match (op.output_shape.get(place), op.auto_pad) {
            (Some(&length), _) => Some(Dim::from(length)),
            (None, AutoPad::SameUpper | AutoPad::SameLower) => data[2 + place].scale(axis.stride),
            (None, _) => transposed(&data[2 + place], axis, extra, place)?,
        };
        shape.push(call.or_fresh(length));
    }
    Ok(vec![output(element_type, Some(shape))])
}

/// stride · (length − 1) + `extra` + extent − pads.
fn transposed(length: &Dim, axis: &WindowAxis, extra: i64, place: usize) -> Result<Option<Dim>> {
    let what = format!("spatial axis {place}");
    let Some(extent) = axis.extent(&what)? else { return Ok(None) };
    let sum = || {
        let constant = extent.checked_add(extra)?.checked_sub(axis.begin)?.checked_sub(axis.end)?;
        length.subtract(&Dim::from(1i64))?.scale(axis.stride)?.add(&Dim::from(constant))
    };
    sum().map(Some).ok_or_else(|| mismatch(what, "a length that fits into memory", length))
}
