//! Reductions and their relatives along axes.

use super::broadcast::{Groups, resolve_axis};
use super::elementwise::{maximum, minimum};
use super::number::Number;
use super::{Context, EvaluateError, invalid};
use crate::ops::reduction::{ArgReduce, ArgReduceKind, CumSum, Reduce, ReduceKind, TopK};
use crate::tensor::{ElementType, Tensor};

type Results = Result<Vec<Tensor>, EvaluateError>;

/// A shape without `axes`, or with length 1 there.
fn reduced_shape(shape: &[usize], axes: &[usize], keepdims: bool) -> Vec<usize> {
    let keep = |(axis, &length): (usize, &usize)| {
        if axes.contains(&axis) { keepdims.then_some(1) } else { Some(length) }
    };
    shape.iter().enumerate().filter_map(keep).collect()
}

pub(super) fn reduce(kind: ReduceKind, op: &Reduce, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let given = context.optional(1).map(Tensor::to_i64s).transpose()?.unwrap_or_default();
    let mut axes = given.iter().map(|&axis| resolve_axis(axis, x.rank())).collect::<Result<Vec<_>, _>>()?;
    if axes.is_empty() && !op.noop_with_empty_axes {
        axes = (0..x.rank()).collect();
    }
    let (element_type, shape) = (x.element_type(), reduced_shape(x.shape(), &axes, op.keepdims));
    context.room(element_type, &shape)?;
    let groups = Groups::along(x.shape(), &axes)?;
    let rooted = matches!(kind, ReduceKind::L2 | ReduceKind::LogSum | ReduceKind::LogSumExp);
    Ok(vec![if element_type.is_float() || rooted {
        let values = groups.read(&x.to_f64s()?).map(|group| reduce_real(kind, &group)).collect();
        Tensor::from_f64s(element_type, shape, values)?
    } else {
        let (low, high) = element_type.integer_range().unwrap_or((0, 1));
        let values = x.to_i128s()?;
        let reduced = groups.read(&values).map(|group| reduce_integer(kind, &group, low, high));
        Tensor::from_i128s(element_type, shape, reduced.collect::<Result<_, _>>()?)?
    }])
}

fn reduce_real(kind: ReduceKind, values: &[f64]) -> f64 {
    let sum = |term: fn(f64) -> f64| values.iter().map(|&value| term(value)).sum::<f64>();
    match kind {
        ReduceKind::L1 => sum(f64::abs),
        ReduceKind::L2 => sum(|value| value * value).sqrt(),
        ReduceKind::LogSum => sum(|value| value).ln(),
        ReduceKind::LogSumExp => {
            let largest = values.iter().copied().fold(f64::NEG_INFINITY, maximum);
            // Differences from an infinity are NaN where it meets itself.
            let shift = if largest.is_infinite() { 0.0 } else { largest };
            values.iter().map(|value| (value - shift).exp()).sum::<f64>().ln() + shift
        }
        ReduceKind::Max => values.iter().copied().fold(f64::NEG_INFINITY, maximum),
        ReduceKind::Min => values.iter().copied().fold(f64::INFINITY, minimum),
        ReduceKind::Mean => sum(|value| value) / values.len() as f64,
        ReduceKind::Prod => values.iter().product(),
        ReduceKind::Sum => sum(|value| value),
        ReduceKind::SumSquare => sum(|value| value * value),
    }
}

fn reduce_integer(kind: ReduceKind, values: &[i128], low: i128, high: i128) -> Result<i128, EvaluateError> {
    let sum = |term: fn(i128) -> i128| values.iter().fold(0i128, |sum, &value| sum.wrapping_add(term(value)));
    Ok(match kind {
        ReduceKind::L1 => sum(i128::abs),
        ReduceKind::Max => values.iter().copied().fold(low, i128::max),
        ReduceKind::Min => values.iter().copied().fold(high, i128::min),
        ReduceKind::Mean if values.is_empty() => return Err(invalid("the mean of no integers")),
        ReduceKind::Mean => sum(|value| value) / values.len() as i128,
        ReduceKind::Prod => values.iter().fold(1i128, |product, &value| product.wrapping_mul(value)),
        ReduceKind::SumSquare => sum(|value| value.wrapping_mul(value)),
        ReduceKind::Sum => sum(|value| value),
        ReduceKind::L2 | ReduceKind::LogSum | ReduceKind::LogSumExp => return Err(invalid("a root of integers")),
    })
}

/// Whether `a` comes before `b` where the largest come first, or else the smallest; NaN comes before all.
fn precedes<T: PartialOrd>(a: &T, b: &T, largest: bool) -> bool {
    match a.partial_cmp(b) {
        Some(order) => {
            if largest {
                order.is_gt()
            } else {
                order.is_lt()
            }
        }
        None => a.partial_cmp(a).is_none() && b.partial_cmp(b).is_some(),
    }
}

pub(super) fn arg_reduce(kind: ArgReduceKind, op: &ArgReduce, context: &Context<'_>) -> Results {
    if context.input(0)?.element_type().is_float() {
        arg_reduce_of::<f64>(kind, op, context)
    } else {
        arg_reduce_of::<i128>(kind, op, context)
    }
}

fn arg_reduce_of<T: Number>(kind: ArgReduceKind, op: &ArgReduce, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let axis = resolve_axis(op.axis, x.rank())?;
    if x.shape()[axis] == 0 {
        return Err(invalid("no element along the axis"));
    }
    let shape = reduced_shape(x.shape(), &[axis], op.keepdims);
    context.room(ElementType::I64, &shape)?;
    let largest = kind == ArgReduceKind::ArgMax;
    let first = |group: Vec<T>| {
        let better = |best: usize, place: usize| {
            let ahead = precedes(&group[place], &group[best], largest);
            let level = op.select_last_index && !precedes(&group[best], &group[place], largest);
            if ahead || level { place } else { best }
        };
        (1..group.len()).fold(0, better) as i64
    };
    let indices = Groups::along(x.shape(), &[axis])?.read(&T::read(x)?).map(first).collect();
    Ok(vec![Tensor::from_values(shape, indices)?])
}

pub(super) fn top_k(op: &TopK, context: &Context<'_>) -> Results {
    if context.input(0)?.element_type().is_float() {
        top_k_of::<f64>(op, context)
    } else {
        top_k_of::<i128>(op, context)
    }
}

fn top_k_of<T: Number>(op: &TopK, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let axis = resolve_axis(op.axis, x.rank())?;
    let length = x.shape()[axis];
    let wanted = context.input(1)?.to_i64s()?;
    let count = match wanted[..] {
        [count] => usize::try_from(count).ok().filter(|&count| count <= length),
        _ => None,
    };
    let count = count.ok_or_else(|| invalid(format!("{wanted:?} of {length} elements")))?;
    let mut shape = x.shape().to_vec();
    shape[axis] = count;
    let total = context.room(x.element_type(), &shape)?;
    context.room(ElementType::I64, &shape)?;
    let values = T::read(x)?;
    let (mut tops, mut indices) = (vec![T::ZERO; total], vec![0i64; total]);
    let targets = Groups::along(&shape, &[axis])?;
    for (base, group) in targets.bases.iter().zip(Groups::along(x.shape(), &[axis])?.read(&values)) {
        let mut order: Vec<_> = (0..length).collect();
        // Stable, so of equal elements the first come first.
        order.sort_by(|&a, &b| {
            let (ahead, behind) =
                (precedes(&group[a], &group[b], op.largest), precedes(&group[b], &group[a], op.largest));
            behind.cmp(&ahead)
        });
        for (&place, &offset) in order.iter().zip(&targets.offsets) {
            tops[base + offset] = group[place];
            indices[base + offset] = place as i64;
        }
    }
    Ok(vec![T::write(x.element_type(), shape.clone(), tops)?, Tensor::from_values(shape, indices)?])
}

pub(super) fn cum_sum(op: &CumSum, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let &[axis] = &context.input(1)?.to_i64s()?[..] else { return Err(invalid("the axis is not one number")) };
    let groups = Groups::along(x.shape(), &[resolve_axis(axis, x.rank())?])?;
    if x.element_type().is_float() {
        let values = groups.map(&x.to_f64s()?, 0.0, |group| running_sum(op, group, |a, b| a + b, 0.0));
        return Ok(vec![Tensor::from_f64s(x.element_type(), x.shape().to_vec(), values)?]);
    }
    let values = groups.map(&x.to_i128s()?, 0, |group| running_sum(op, group, i128::wrapping_add, 0));
    Ok(vec![Tensor::from_i128s(x.element_type(), x.shape().to_vec(), values)?])
}

fn running_sum<T: Copy>(op: &CumSum, mut values: Vec<T>, add: impl Fn(T, T) -> T, zero: T) -> Vec<T> {
    if op.reverse {
        values.reverse();
    }
    let mut sum = zero;
    for value in &mut values {
        let next = add(sum, *value);
        *value = if op.exclusive { sum } else { next };
        sum = next;
    }
    if op.reverse {
        values.reverse();
    }
    values
}
