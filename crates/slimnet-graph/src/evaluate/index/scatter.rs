//! Scatter: putting elements into a copy of a tensor.

use super::super::layout::moving::Pool;
use super::super::{Context, EvaluateError, invalid};
use super::{Tuples, elements_at};
use crate::ops::index::{ScatterElements, ScatterNd, ScatterReduction};
use crate::tensor::Tensor;

pub(super) fn elements(op: &ScatterElements, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (data, indices, updates) = (context.input(0)?, context.input(1)?, context.input(2)?);
    check_shape(updates, indices.shape())?;
    scatter(context, data, &elements_at(data.shape(), indices, op.axis)?, updates, op.reduction)
}

pub(super) fn slices(op: &ScatterNd, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (data, indices, updates) = (context.input(0)?, context.input(1)?, context.input(2)?);
    let tuples = Tuples::new(data.shape(), indices, 0)?;
    check_shape(updates, &tuples.shape)?;
    scatter(context, data, &tuples.elements()?, updates, op.reduction)
}

fn check_shape(updates: &Tensor, expected: &[usize]) -> Result<(), EvaluateError> {
    if updates.shape() == expected {
        return Ok(());
    }
    Err(invalid(format!("updates of shape {:?}, where the indices need {expected:?}", updates.shape())))
}

/// `data` with element `i` of `updates` joined to its element `targets[i]`, in order.
fn scatter(
    context: &Context<'_>,
    data: &Tensor,
    targets: &[usize],
    updates: &Tensor,
    reduction: ScatterReduction,
) -> Result<Tensor, EvaluateError> {
    let element_type = data.element_type();
    let count = context.room(element_type, data.shape())?;
    let shape = data.shape().to_vec();
    let pool = Pool::new(&[data, updates])?;
    if reduction == ScatterReduction::None {
        let mut picks: Vec<_> = (0..count).collect();
        for (update, &target) in targets.iter().enumerate() {
            picks[target] = count + update;
        }
        return pool.take(shape, &picks);
    }
    if element_type.is_float() {
        let mut values = data.to_f64s()?;
        join(&mut values, targets, &updates.to_f64s()?, |old, new| match reduction {
            ScatterReduction::None => new,
            ScatterReduction::Add => old + new,
            ScatterReduction::Mul => old * new,
            // NaN stays, whichever side it is on.
            _ if old.is_nan() || new.is_nan() => f64::NAN,
            ScatterReduction::Max => old.max(new),
            ScatterReduction::Min => old.min(new),
        });
        return Ok(Tensor::from_f64s(element_type, shape, values)?);
    }
    let mut values = data.to_i128s()?;
    join(&mut values, targets, &updates.to_i128s()?, |old, new| match reduction {
        ScatterReduction::None => new,
        // The lowest bits, which are all that is kept, are right however often this wraps.
        ScatterReduction::Add => old.wrapping_add(new),
        ScatterReduction::Mul => old.wrapping_mul(new),
        ScatterReduction::Max => old.max(new),
        ScatterReduction::Min => old.min(new),
    });
    Ok(Tensor::from_i128s(element_type, shape, values)?)
}

fn join<T: Copy>(values: &mut [T], targets: &[usize], updates: &[T], reduce: impl Fn(T, T) -> T) {
    for (&target, &update) in targets.iter().zip(updates) {
        values[target] = reduce(values[target], update);
    }
}
