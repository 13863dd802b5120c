//! Normalisations, softmax, dropout.

use super::Inferred;
use super::call::{BOOL, Call, FLOATS, Result, axes_of, axis_of, ensure, mismatch, output};
use super::elementwise::like_input;
use super::shapes::{agree, broadcasts_to};
use crate::graph::{Dim, Shape};
use crate::ops::normalization::{BatchNormalization, GroupNormalization, LayerNormalization, LpNormalization, Lrn};
use crate::ops::normalization::{MeanVarianceNormalization, RmsNormalization, Softmax};
use crate::tensor::ElementType;

/// Checks the per-channel inputs `slots` of a layer on `[N, C, …]`; returns C as far as it is known.
fn channels(call: &Call<'_>, slots: std::ops::RangeInclusive<usize>) -> Result<Option<Dim>> {
    let mut common = call.rank_at_least(0, 2)?.map(|data| data[1].clone());
    for slot in slots {
        let Some([length]) = call.rank(slot, 1)? else { continue };
        common = Some(match common {
            Some(common) => agree(length, &common, || format!("axis 0 of input {slot} (channels)"))?.clone(),
            None => length.clone(),
        });
    }
    Ok(common)
}

pub(super) fn batch(op: &BatchNormalization, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(5, 5, if op.training_mode { 5 } else { 1 })?;
    call.same([1, 2], FLOATS)?;
    let statistics = call.same([3, 4], FLOATS)?;
    let channels = channels(call, 1..=4)?;
    let running = output(statistics, channels.map(|channels| vec![channels]));
    let mut results = like_input(call, FLOATS)?;
    results.extend([running.clone(), running.clone(), running.clone(), running]);
    Ok(results)
}

pub(super) fn instance(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 3, 1)?;
    call.same([0, 1, 2], FLOATS)?;
    call.rank_at_least(0, 3)?;
    channels(call, 1..=2)?;
    like_input(call, FLOATS)
}

pub(super) fn group(op: &GroupNormalization, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 3, 1)?;
    call.same([0, 1, 2], FLOATS)?;
    statistics_type(op.stash_type)?;
    ensure(op.num_groups >= 1, "num_groups", "at least 1", op.num_groups)?;
    if let Some(channels) = channels(call, 1..=2)? {
        let divides = channels.constant().is_none_or(|channels| channels % op.num_groups == 0);
        ensure(divides, "channels of input 0", format!("a multiple of num_groups {}", op.num_groups), channels)?;
    }
    like_input(call, FLOATS)
}

/// The element type in which statistics are kept.
fn statistics_type(stash_type: i64) -> Result<ElementType> {
    i32::try_from(stash_type)
        .ok()
        .and_then(ElementType::from_onnx)
        .filter(|&element_type| FLOATS.has(element_type))
        .ok_or_else(|| mismatch("stash_type", "the number of a floating-point type", stash_type))
}

/// The shape of input 0 with the axes from `axis` on at length 1, after checking `slots` against those axes.
fn from_axis(call: &Call<'_>, axis: i64, slots: &[usize]) -> Result<Option<Shape>> {
    let Some(data) = call.shape(0) else { return Ok(None) };
    let axis = axis_of(axis, data.len(), "axis")?;
    for &slot in slots {
        broadcasts_to(call, slot, &data[axis..])?;
    }
    let ones = std::iter::repeat_n(Dim::from(1i64), data.len() - axis);
    Ok(Some(data[..axis].iter().cloned().chain(ones).collect()))
}

pub(super) fn layer(op: &LayerNormalization, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 3, 3)?;
    call.same([0, 1, 2], FLOATS)?;
    let statistics = output(Some(statistics_type(op.stash_type)?), from_axis(call, op.axis, &[1, 2])?);
    let mut results = like_input(call, FLOATS)?;
    results.extend([statistics.clone(), statistics]);
    Ok(results)
}

pub(super) fn root_mean_square(op: &RmsNormalization, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    statistics_type(op.stash_type)?;
    from_axis(call, op.axis, &[1])?;
    let data = call.class(0, FLOATS)?;
    // The scale's type is the result's.
    let element_type = call.class(1, FLOATS)?.or(data);
    Ok(vec![output(element_type, call.shape(0).map(<[Dim]>::to_vec))])
}

pub(super) fn local_response(op: &Lrn, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    ensure(op.size >= 1, "size", "at least 1", op.size)?;
    call.rank_at_least(0, 2)?;
    like_input(call, FLOATS)
}

pub(super) fn lp(op: &LpNormalization, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    ensure(matches!(op.p, 1 | 2), "p", "1 or 2", op.p)?;
    if let Some(data) = call.shape(0) {
        axis_of(op.axis, data.len(), "axis")?;
    }
    like_input(call, FLOATS)
}

pub(super) fn mean_variance(op: &MeanVarianceNormalization, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    if let Some(data) = call.shape(0) {
        axes_of(&op.axes, data.len(), "axes")?;
    }
    like_input(call, FLOATS)
}

pub(super) fn softmax(op: &Softmax, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    if let Some(data) = call.shape(0) {
        axis_of(op.axis, data.len(), "axis")?;
    }
    like_input(call, FLOATS)
}

pub(super) fn dropout(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 3, 2)?;
    call.class(1, FLOATS)?;
    call.class(2, BOOL)?;
    call.single(1)?;
    call.single(2)?;
    let mut results = like_input(call, FLOATS)?;
    results.push(output(Some(ElementType::Bool), results[0].shape.clone()));
    Ok(results)
}
