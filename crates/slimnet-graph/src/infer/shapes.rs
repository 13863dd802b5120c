//! Relations between dimensions and between shapes.

use super::call::{Call, Result, ensure, mismatch};
use crate::graph::{Dim, Shape, display_shape};

/// Most elements of a tensor: their bytes, at most 16 each, must be countable in an `i64`.
const MOST_ELEMENTS: i64 = i64::MAX / 16;

/// Most axes of a tensor. Networks have at most 8 or so; a hostile file must not make each small node's shape large.
pub(super) const MOST_AXES: usize = 16;

/// Checks that there are not too many axes, that no length is negative and that the tensor is not too large to count its
/// bytes. Lengths of 0 count as 1: products over some of the axes are taken too. `what` names the tensor.
pub(super) fn check_size(shape: &[Dim], what: impl Fn() -> String) -> Result<()> {
    if shape.len() > MOST_AXES {
        return Err(mismatch(format!("axes of {}", what()), format!("at most {MOST_AXES}"), shape.len()));
    }
    let mut product = 1i64;
    for (axis, dim) in shape.iter().enumerate() {
        let Some(length) = dim.constant() else { continue };
        if length < 0 {
            return Err(mismatch(format!("axis {axis} of {}", what()), "a length of at least 0", length));
        }
        product = product
            .checked_mul(length.max(1))
            .filter(|&product| product <= MOST_ELEMENTS)
            .ok_or_else(|| mismatch(format!("shape of {}", what()), "fewer elements", display_shape(shape)))?;
    }
    Ok(())
}

/// Whether two lengths cannot be equal.
pub(super) fn certainly_differ(a: &Dim, b: &Dim) -> bool {
    a != b && a.subtract(b).and_then(|difference| difference.constant()).is_some_and(|difference| difference != 0)
}

/// Of two lengths that must be equal, the one that says more: a number, else a name.
pub(super) fn more_known<'a>(a: &'a Dim, b: &'a Dim) -> &'a Dim {
    let knowledge = |dim: &Dim| match (dim.constant(), dim.is_unknown()) {
        (Some(_), _) => 2,
        (None, false) => 1,
        (None, true) => 0,
    };
    if knowledge(b) > knowledge(a) { b } else { a }
}

/// The length of two axes that must agree.
pub(super) fn agree<'a>(a: &'a Dim, b: &'a Dim, what: impl FnOnce() -> String) -> Result<&'a Dim> {
    if certainly_differ(a, b) {
        return Err(mismatch(what(), a, b));
    }
    Ok(more_known(a, b))
}

/// Product of lengths; `None` where it is not linear.
pub(super) fn product(dims: &[Dim]) -> Option<Dim> {
    if dims.iter().any(|dim| dim.constant() == Some(0)) {
        return Some(Dim::from(0i64));
    }
    dims.iter().try_fold(Dim::from(1i64), |product, dim| product.multiply(dim))
}

/// Quotient of two products, where it is exact: common factors go first, so that names may be anywhere.
pub(super) fn quotient(numerator: &[Dim], denominator: &[Dim]) -> Option<Dim> {
    let mut above = numerator.to_vec();
    let mut below = Vec::new();
    for factor in denominator {
        let names = factor.constant().is_none();
        let common = above.iter().position(|dim| names && dim.divide_exactly(factor).is_some());
        match common.and_then(|place| Some((place, above[place].divide_exactly(factor)?))) {
            Some((place, rest)) => above[place] = rest,
            None => below.push(factor.clone()),
        }
    }
    let below = product(&below)?;
    if let Some(whole) = product(&above) {
        return whole.divide_exactly(&below);
    }
    None
}

/// Broadcasts one axis of two.
fn broadcast_axis(call: &mut Call<'_>, a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.constant(), b.constant()) {
        _ if a == b => Some(a.clone()),
        (Some(1), _) => Some(b.clone()),
        (_, Some(1)) => Some(a.clone()),
        (Some(_), Some(_)) => None,
        (Some(_), None) => Some(a.clone()),
        (None, Some(_)) => Some(b.clone()),
        (None, None) => Some(call.fresh()),
    }
}

/// Broadcasts shapes, which are those of the inputs `slots` in messages. `None` if any is unknown.
pub(super) fn broadcast(call: &mut Call<'_>, slots: &[usize]) -> Result<Option<Shape>> {
    let mut result: Option<Shape> = None;
    for &slot in slots {
        let Some(shape) = call.shape(slot) else { return Ok(None) };
        result = Some(match result {
            None => shape.to_vec(),
            Some(result) => broadcast_with(call, &result, shape, slot)?,
        });
    }
    Ok(result)
}

/// Broadcasts a shape with that of input `slot`.
pub(super) fn broadcast_with(call: &mut Call<'_>, a: &[Dim], b: &[Dim], slot: usize) -> Result<Shape> {
    let rank = a.len().max(b.len());
    let one = Dim::from(1i64);
    let mut result = Vec::with_capacity(rank);
    for axis in 0..rank {
        let at = |shape: &[Dim]| (axis + shape.len()).checked_sub(rank).map_or(one.clone(), |axis| shape[axis].clone());
        let (left, right) = (at(a), at(b));
        result.push(broadcast_axis(call, &left, &right).ok_or_else(|| {
            let what = format!("axis {axis} of input {slot}, broadcast to {rank} axes");
            mismatch(what, if left == one { left.to_string() } else { format!("1 or {left}") }, right)
        })?);
    }
    Ok(result)
}

/// Checks that input `slot`, if there, can be broadcast to `target` without changing it.
pub(super) fn broadcasts_to(call: &Call<'_>, slot: usize, target: &[Dim]) -> Result<()> {
    let Some(shape) = call.shape(slot) else { return Ok(()) };
    let found = || display_shape(shape);
    let expected = || format!("one that broadcasts to {}", display_shape(target));
    let what = || format!("shape of input {slot}");
    let Some(leading) = target.len().checked_sub(shape.len()) else {
        return Err(mismatch(what(), expected(), found()));
    };
    let fits = shape
        .iter()
        .zip(&target[leading..])
        .all(|(own, target)| own.constant() == Some(1) || !certainly_differ(own, target));
    ensure(fits, what(), expected(), found())
}
