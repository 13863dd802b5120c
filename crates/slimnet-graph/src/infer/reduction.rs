//! Reductions and their relatives along axes.

use super::Inferred;
use super::call::{BOOL, Call, Class, INDICES, INT64, NUMBERS, Result, axes_of, axis_of, ensure, output};
use super::shapes::product;
use crate::graph::{Dim, Shape};
use crate::ops::reduction::{ArgReduce, Reduce, ReduceKind, TopK};
use crate::tensor::ElementType;

/// Types that have an order.
const ORDERED: Class =
    Class::new("a numeric type or bool", |element_type| NUMBERS.has(element_type) || BOOL.has(element_type));

/// The shape without the axes marked in `reduced`, or with 1 in their place.
fn reduced_shape(shape: &[Dim], reduced: &[bool], keepdims: bool) -> Shape {
    let one = Dim::from(1i64);
    let places = shape.iter().zip(reduced).filter(|(_, reduced)| keepdims || !**reduced);
    places.map(|(dim, reduced)| if *reduced { one.clone() } else { dim.clone() }).collect()
}

pub(super) fn reduce(kind: ReduceKind, op: &Reduce, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 2, 1)?;
    let ordered = matches!(kind, ReduceKind::Max | ReduceKind::Min);
    let element_type = call.class(0, if ordered { ORDERED } else { NUMBERS })?;
    call.class(1, INT64)?;
    call.rank(1, 1)?;
    let axes = if call.has(1) { call.integers(1) } else { Some(Vec::new()) };
    let Some(data) = call.shape(0) else { return Ok(vec![output(element_type, None)]) };
    let Some(axes) = axes else {
        // All lengths may change, but how many axes stay is known from how many are listed.
        let left = match (op.keepdims, call.length(1)) {
            (true, _) => Some(data.len()),
            (false, Some(count)) if count > 0 => data.len().checked_sub(count),
            (false, _) => None,
        };
        let shape = left.map(|rank| call.fresh_shape(rank));
        return Ok(vec![output(element_type, shape)]);
    };
    let all = axes.is_empty() && !op.noop_with_empty_axes;
    let mut reduced = vec![all; data.len()];
    for axis in axes_of(&axes, data.len(), "axes (input 1)")? {
        reduced[axis] = true;
    }
    let contents = if reduced == [true] { call.contents(0).and_then(|contents| fold(kind, &contents)) } else { None };
    let shape = Some(reduced_shape(data, &reduced, op.keepdims));
    Ok(vec![Inferred { element_type, shape, contents: contents.map(|number| vec![number]) }])
}

fn fold(kind: ReduceKind, contents: &[Dim]) -> Option<Dim> {
    let numbers = || contents.iter().map(Dim::constant).collect::<Option<Vec<_>>>();
    match kind {
        ReduceKind::Prod => product(contents),
        ReduceKind::Sum => contents.iter().try_fold(Dim::from(0i64), |sum, element| sum.add(element)),
        ReduceKind::Max => numbers()?.into_iter().max().map(Dim::from),
        ReduceKind::Min => numbers()?.into_iter().min().map(Dim::from),
        _ => None,
    }
}

pub(super) fn arg_reduce(op: &ArgReduce, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    call.class(0, NUMBERS)?;
    let shape = match call.shape(0) {
        None => None,
        Some(data) => {
            let axis = axis_of(op.axis, data.len(), "axis")?;
            let length = &data[axis];
            ensure(length.constant() != Some(0), format!("axis {axis} of input 0"), "at least 1", length)?;
            let reduced: Vec<_> = (0..data.len()).map(|place| place == axis).collect();
            Some(reduced_shape(data, &reduced, op.keepdims))
        }
    };
    Ok(vec![output(Some(ElementType::I64), shape)])
}

pub(super) fn top_k(op: &TopK, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 2)?;
    let element_type = call.class(0, NUMBERS)?;
    call.class(1, INT64)?;
    call.single(1)?;
    let count = call.contents(1).filter(|contents| contents.len() == 1).map(|contents| contents[0].clone());
    if let Some(count) = &count {
        ensure(count.constant().is_none_or(|count| count >= 0), "input 1 (k)", "at least 0", count)?;
    }
    let shape = match call.shape(0) {
        None => None,
        Some(data) => {
            let axis = axis_of(op.axis, data.len(), "axis")?;
            if let (Some(k), Some(length)) = (count.as_ref().and_then(Dim::constant), data[axis].constant()) {
                ensure(k <= length, "input 1 (k)", format!("at most {length}, the length of axis {axis}"), k)?;
            }
            let mut shape = data.to_vec();
            shape[axis] = call.or_fresh(count);
            Some(shape)
        }
    };
    Ok(vec![output(element_type, shape.clone()), output(Some(ElementType::I64), shape)])
}

pub(super) fn cum_sum(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, NUMBERS)?;
    call.class(1, INDICES)?;
    call.single(1)?;
    let data = call.rank_at_least(0, 1)?;
    if let (Some(data), Some(axis)) = (data, call.integer(1)) {
        axis_of(axis, data.len(), "input 1 (axis)")?;
    }
    Ok(vec![output(element_type, data.map(<[Dim]>::to_vec))])
}
