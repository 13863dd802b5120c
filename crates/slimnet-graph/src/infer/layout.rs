//! Operators that move elements without computing.

use super::call::{ANY, Call, INDICES, INT64, Result, axes_of, axis_of, ensure, mismatch, output};
use super::shapes::{MOST_AXES, agree, broadcast_with, certainly_differ, more_known, product, quotient};
use super::{CONTENTS_LIMIT, Inferred};
use crate::graph::{Dim, Shape, display_shape};
use crate::ops::layout::{Concat, DepthToSpace, Flatten, Reshape, ReverseSequence, SpaceToDepth, Transpose};
use crate::tensor::ElementType;

/// An output with the contents of input 0: the same elements under another shape.
fn same_elements(call: &Call<'_>, element_type: Option<ElementType>, shape: Option<Shape>) -> Vec<Inferred> {
    let contents = call.contents(0).map(std::borrow::Cow::into_owned);
    vec![Inferred { element_type, shape, contents }]
}

/// The shape that input `slot` lists: its contents, or as many unknown lengths as it has elements.
pub(super) fn listed_shape(call: &mut Call<'_>, slot: usize) -> Result<Option<Shape>> {
    call.class(slot, INT64)?;
    call.rank(slot, 1)?;
    if let Some(contents) = call.contents(slot) {
        return Ok(Some(contents.into_owned()));
    }
    // Longer lists are no shapes: the caller's result is refused for its number of axes.
    let rank = call.length(slot).map(|rank| rank.min(MOST_AXES + 1));
    Ok(rank.map(|rank| call.fresh_shape(rank)))
}

pub(super) fn reshape(op: &Reshape, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    let known = call.contents(1).is_some();
    let Some(mut shape) = listed_shape(call, 1)? else { return Ok(same_elements(call, element_type, None)) };
    if !known {
        return Ok(same_elements(call, element_type, Some(shape)));
    }
    let data = call.shape(0);
    let mut rest = None;
    // Lengths that are copied are common factors of both shapes: they take no part in the count of elements.
    let mut own: Vec<Dim> = data.map(<[Dim]>::to_vec).unwrap_or_default();
    let (mut others, mut copied) = (Vec::new(), Vec::new());
    for place in 0..shape.len() {
        match shape[place].constant() {
            Some(-1) => {
                ensure(rest.is_none(), "input 1 (shape)", "-1 at most once", display_shape(&shape))?;
                rest = Some(place);
            }
            Some(0) if !op.allowzero => {
                if let Some(data) = data {
                    let dim = data.get(place).ok_or_else(|| {
                        let what = format!("element {place} of input 1 (shape)");
                        mismatch(what, format!("no 0 after the {} axes of input 0", data.len()), "0")
                    })?;
                    shape[place] = dim.clone();
                    copied.push(place);
                } else {
                    shape[place] = call.fresh();
                }
            }
            Some(length) if length < 0 => {
                return Err(mismatch(format!("element {place} of input 1 (shape)"), "at least -1", length));
            }
            _ => others.push(shape[place].clone()),
        }
    }
    let zero = op.allowzero && others.iter().any(|dim| dim.constant() == Some(0));
    ensure(!(zero && rest.is_some()), "input 1 (shape)", "no -1 beside 0 with allowzero", display_shape(&shape))?;
    if data.is_none() {
        if let Some(place) = rest {
            shape[place] = call.fresh();
        }
        return Ok(same_elements(call, element_type, Some(shape)));
    }
    for &place in copied.iter().rev() {
        own.remove(place);
    }
    if let Some(place) = rest {
        let length = quotient(&own, &others);
        let numbers = |dims: &[Dim]| product(dims).and_then(|product| product.constant());
        if let (None, Some(have), Some(each)) = (&length, numbers(&own), numbers(&others)) {
            return Err(uneven(call, &shape, have, each));
        }
        shape[place] = call.or_fresh(length);
    } else if let (Some(have), Some(need)) = (product(&own), product(&others))
        && certainly_differ(&have, &need)
    {
        return Err(uneven(call, &shape, have, need));
    }
    Ok(same_elements(call, element_type, Some(shape)))
}

fn uneven(
    call: &Call<'_>,
    shape: &[Dim],
    have: impl std::fmt::Display,
    need: impl std::fmt::Display,
) -> super::InferError {
    let found = format!("{} ({have} for {need})", display_shape(call.shape(0).unwrap_or_default()));
    mismatch("elements of input 0", format!("as many as {} needs", display_shape(shape)), found)
}

pub(super) fn flatten(op: &Flatten, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let element_type = call.class(0, ANY)?;
    let Some(data) = call.shape(0) else {
        let shape = Some(call.fresh_shape(2));
        return Ok(vec![output(element_type, shape)]);
    };
    let rank = data.len();
    let axis = if op.axis == rank as i64 { rank } else { axis_of(op.axis, rank, "axis")? };
    let (before, after) = (product(&data[..axis]), product(&data[axis..]));
    let shape = vec![call.or_fresh(before), call.or_fresh(after)];
    Ok(vec![output(element_type, Some(shape))])
}

/// The axes that input 1 lists; `None` if they are not known.
fn listed_axes(call: &Call<'_>) -> Result<Option<Vec<i64>>> {
    call.class(1, INT64)?;
    if call.shape(1).is_some_and(|shape| !shape.is_empty()) {
        call.rank(1, 1)?;
    }
    Ok(call.integers(1))
}

pub(super) fn squeeze(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    let listed = listed_axes(call)?;
    let Some(data) = call.shape(0) else { return Ok(same_elements(call, element_type, None)) };
    let is_one = |dim: &Dim| dim.constant() == Some(1);
    let shape = match (call.has(1), listed) {
        (false, _) => data
            .iter()
            .all(|dim| dim.constant().is_some())
            .then(|| data.iter().filter(|dim| !is_one(dim)).cloned().collect()),
        (true, Some(axes)) => {
            let axes = axes_of(&axes, data.len(), "axes (input 1)")?;
            for &axis in &axes {
                let length = data[axis].constant();
                ensure(length.is_none_or(|length| length == 1), format!("axis {axis} of input 0"), 1, &data[axis])?;
            }
            let kept = data.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
            Some(kept.map(|(_, dim)| dim.clone()).collect())
        }
        (true, None) => {
            let rank = call.length(1).and_then(|count| data.len().checked_sub(count));
            rank.map(|rank| call.fresh_shape(rank))
        }
    };
    Ok(same_elements(call, element_type, shape))
}

pub(super) fn unsqueeze(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    let listed = listed_axes(call)?;
    let Some(data) = call.shape(0) else { return Ok(same_elements(call, element_type, None)) };
    let Some(listed) = listed else {
        let rank = call.length(1).map(|count| data.len() + count.min(MOST_AXES + 1));
        let shape = rank.map(|rank| call.fresh_shape(rank));
        return Ok(same_elements(call, element_type, shape));
    };
    let axes = axes_of(&listed, data.len() + listed.len(), "axes (input 1)")?;
    let mut shape = vec![None; data.len() + axes.len()];
    for axis in axes {
        shape[axis] = Some(Dim::from(1i64));
    }
    let mut rest = data.iter().cloned();
    let shape = shape.into_iter().map(|dim| dim.or_else(|| rest.next())).collect();
    Ok(same_elements(call, element_type, shape))
}

pub(super) fn transpose(op: &Transpose, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let element_type = call.class(0, ANY)?;
    let Some(perm) = &op.perm else {
        let shape = call.shape(0).map(|data| data.iter().rev().cloned().collect());
        return Ok(vec![output(element_type, shape)]);
    };
    let rank = call.shape(0).map_or(perm.len(), <[Dim]>::len);
    ensure(perm.len() == rank, "perm", format!("{rank} axes"), format!("{perm:?}"))?;
    let places = axes_of(perm, rank, "perm")?;
    let shape = match call.shape(0) {
        Some(data) => Some(places.iter().map(|&place| data[place].clone()).collect()),
        None => Some(call.fresh_shape(rank)),
    };
    Ok(vec![output(element_type, shape)])
}

pub(super) fn expand(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    let target = listed_shape(call, 1)?;
    let (Some(target), Some(data)) = (target, call.shape(0)) else { return Ok(vec![output(element_type, None)]) };
    if let Some(length) = target.iter().find(|dim| dim.constant().is_some_and(|length| length < 0)) {
        return Err(mismatch("input 1 (shape)", "lengths of at least 0", length));
    }
    let shape = broadcast_with(call, &target, data, 0)?;
    let count = product(&shape).and_then(|count| count.known());
    let contents = call.contents(0).and_then(|contents| match (contents.as_ref(), count) {
        ([one], Some(count)) if count <= CONTENTS_LIMIT => Some(vec![one.clone(); count]),
        (several, Some(count)) if several.len() == count => Some(several.to_vec()),
        _ => None,
    });
    Ok(vec![Inferred { element_type, shape: Some(shape), contents }])
}

pub(super) fn concat(op: &Concat, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    let count = call.input_count();
    call.arity(count.max(1), count, 1)?;
    let element_type = call.same(0..count, ANY)?;
    let mut result: Option<(usize, Shape)> = None;
    let mut sum = Some(Dim::from(0i64));
    for slot in 0..count {
        let Some(shape) = call.shape(slot) else {
            sum = None;
            continue;
        };
        let axis = axis_of(op.axis, shape.len(), "axis")?;
        sum = sum.and_then(|sum| sum.add(&shape[axis]));
        match &mut result {
            None => result = Some((axis, shape.to_vec())),
            Some((axis, result)) => {
                call.rank(slot, result.len())?;
                for (place, (own, dim)) in result.iter_mut().zip(shape).enumerate() {
                    if place != *axis {
                        *own = agree(dim, own, || format!("axis {place} of input {slot}"))?.clone();
                    }
                }
            }
        }
    }
    let shape = result.map(|(axis, mut shape)| {
        shape[axis] = call.or_fresh(sum);
        shape
    });
    let contents = (0..count).try_fold(Vec::new(), |mut all, slot| {
        all.extend_from_slice(&call.contents(slot)?);
        (all.len() <= CONTENTS_LIMIT).then_some(all)
    });
    Ok(vec![Inferred { element_type, shape, contents }])
}

pub(super) fn tile(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    let repeats = listed_shape(call, 1)?;
    let (Some(data), Some(repeats)) = (call.shape(0), repeats) else { return Ok(vec![output(element_type, None)]) };
    ensure(repeats.len() == data.len(), "length of input 1 (repeats)", data.len(), repeats.len())?;
    let mut shape = Vec::with_capacity(data.len());
    for (dim, times) in data.iter().zip(&repeats) {
        ensure(times.constant().is_none_or(|times| times >= 0), "input 1 (repeats)", "at least 0", times)?;
        shape.push(call.or_fresh(dim.multiply(times)));
    }
    Ok(vec![output(element_type, Some(shape))])
}

/// The block size and its square.
fn block(blocksize: i64) -> Result<(Dim, Dim)> {
    ensure(blocksize >= 1, "blocksize", "at least 1", blocksize)?;
    let square = blocksize.checked_mul(blocksize);
    let square = square.ok_or_else(|| mismatch("blocksize", "one whose square fits into memory", blocksize))?;
    Ok((Dim::from(blocksize), Dim::from(square)))
}

/// An axis of input 0 divided into blocks.
fn divided(call: &mut Call<'_>, data: &[Dim], axis: usize, block: &Dim) -> Result<Dim> {
    let quotient = data[axis].divide_exactly(block);
    let fits = quotient.is_some() || data[axis].constant().is_none();
    ensure(fits, format!("axis {axis} of input 0"), format!("a multiple of {block}"), &data[axis])?;
    Ok(call.or_fresh(quotient))
}

pub(super) fn depth_to_space(op: &DepthToSpace, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let element_type = call.class(0, ANY)?;
    let (block, square) = block(op.blocksize)?;
    let Some(data) = call.rank(0, 4)? else { return Ok(vec![output(element_type, None)]) };
    let channels = divided(call, data, 1, &square)?;
    let (height, width) = (call.or_fresh(data[2].multiply(&block)), call.or_fresh(data[3].multiply(&block)));
    Ok(vec![output(element_type, Some(vec![data[0].clone(), channels, height, width]))])
}

pub(super) fn space_to_depth(op: &SpaceToDepth, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let element_type = call.class(0, ANY)?;
    let (block, square) = block(op.blocksize)?;
    let Some(data) = call.rank(0, 4)? else { return Ok(vec![output(element_type, None)]) };
    let channels = call.or_fresh(data[1].multiply(&square));
    let (height, width) = (divided(call, data, 2, &block)?, divided(call, data, 3, &block)?);
    Ok(vec![output(element_type, Some(vec![data[0].clone(), channels, height, width]))])
}

pub(super) fn trilu(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 2, 1)?;
    call.class(1, INT64)?;
    call.single(1)?;
    let shape = call.rank_at_least(0, 2)?.map(<[Dim]>::to_vec);
    Ok(vec![output(call.class(0, ANY)?, shape)])
}

pub(super) fn reverse_sequence(op: &ReverseSequence, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    call.class(1, INDICES)?;
    let axes = (op.batch_axis, op.time_axis);
    ensure(matches!(axes, (0, 1) | (1, 0)), "batch_axis and time_axis", "0 and 1 or 1 and 0", format!("{axes:?}"))?;
    let Some(data) = call.rank_at_least(0, 2)? else { return Ok(vec![output(element_type, None)]) };
    let batch = if op.batch_axis == 0 { &data[0] } else { &data[1] };
    call.has_shape(1, &[Some(batch)])?;
    let mut shape = data.to_vec();
    if let Some([count]) = call.shape(1) {
        let place = usize::from(op.batch_axis != 0);
        shape[place] = more_known(&shape[place], count).clone();
    }
    Ok(vec![output(element_type, Some(shape))])
}
