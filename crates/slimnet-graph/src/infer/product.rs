//! Matrix products.

use super::Inferred;
use super::call::{BYTES, Call, FLOATS, NUMBERS, Result, output};
use super::shapes::{agree, broadcast_with, broadcasts_to};
use crate::graph::{Dim, Shape};
use crate::ops::product::Gemm;
use crate::tensor::ElementType;

/// Shape of the product of inputs `a` and `b` over their last two axes.
fn multiplied(call: &mut Call<'_>, a: usize, b: usize) -> Result<Option<Shape>> {
    let (left, right) = (call.rank_at_least(a, 1)?, call.rank_at_least(b, 1)?);
    let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
    let inner = right.len().saturating_sub(2);
    let what = || format!("axis {inner} of input {b} (the contracted axis)");
    agree(&right[inner], &left[left.len() - 1], what)?;
    let batch = |shape: &[Dim]| shape[..shape.len().saturating_sub(2)].to_vec();
    let mut shape = broadcast_with(call, &batch(left), &batch(right), b)?;
    // A vector stands for a matrix whose other axis is dropped from the result.
    if left.len() > 1 {
        shape.push(left[left.len() - 2].clone());
    }
    if right.len() > 1 {
        shape.push(right[right.len() - 1].clone());
    }
    Ok(Some(shape))
}

pub(super) fn mat_mul(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    Ok(vec![output(call.same([0, 1], NUMBERS)?, multiplied(call, 0, 1)?)])
}

pub(super) fn gemm(op: &Gemm, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 3, 1)?;
    let element_type = call.same([0, 1, 2], NUMBERS)?;
    let (a, b) = (call.rank(0, 2)?, call.rank(1, 2)?);
    let (rows, inner_a) = if op.transA { (1, 0) } else { (0, 1) };
    let (inner_b, columns) = if op.transB { (1, 0) } else { (0, 1) };
    if let (Some(a), Some(b)) = (a, b) {
        agree(&b[inner_b], &a[inner_a], || format!("axis {inner_b} of input 1 (the contracted axis)"))?;
    }
    let rows = call.or_fresh(a.map(|a| a[rows].clone()));
    let columns = call.or_fresh(b.map(|b| b[columns].clone()));
    let shape = vec![rows, columns];
    broadcasts_to(call, 2, &shape)?;
    Ok(vec![output(element_type, Some(shape))])
}

/// Checks a scale or zero point of operand `of`: one for all, or one for each row (`axis` 2 from the end) or column (1),
/// as a vector or with the operand's other axes.
fn along(call: &Call<'_>, slot: usize, of: usize, axis: usize) -> Result<()> {
    let Some(shape) = call.shape(slot) else { return Ok(()) };
    let length = call.shape(of).and_then(|shape| shape.len().checked_sub(axis).map(|place| &shape[place]));
    match shape {
        [] => Ok(()),
        [own] if own.constant() == Some(1) => Ok(()),
        [_] => call.has_shape(slot, &[length]),
        _ => match call.shape(of) {
            Some(operand) => {
                call.rank(slot, operand.len())?;
                broadcasts_to(call, slot, operand)
            }
            None => Ok(()),
        },
    }
}

pub(super) fn mat_mul_integer(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 4, 1)?;
    call.same([0, 2], BYTES)?;
    call.same([1, 3], BYTES)?;
    along(call, 2, 0, 2)?;
    along(call, 3, 1, 1)?;
    Ok(vec![output(Some(ElementType::I32), multiplied(call, 0, 1)?)])
}

pub(super) fn qlinear_mat_mul(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(8, 8, 1)?;
    call.same([0, 2], BYTES)?;
    call.same([3, 5], BYTES)?;
    call.same([1, 4, 6], FLOATS)?;
    let element_type = call.class(7, BYTES)?;
    for (slot, of, axis) in [(1, 0, 2), (2, 0, 2), (4, 3, 1), (5, 3, 1)] {
        along(call, slot, of, axis)?;
    }
    call.single(6)?;
    call.single(7)?;
    Ok(vec![output(element_type, multiplied(call, 0, 3)?)])
}
