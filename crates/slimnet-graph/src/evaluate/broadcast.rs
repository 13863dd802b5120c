//! Broadcasting and axes: the index arithmetic that operators share.

use std::borrow::Cow;

use super::{EvaluateError, invalid};
use crate::tensor::{TensorError, element_count};

/// The shape that tensors of these shapes broadcast to.
pub(super) fn broadcast_shape(shapes: &[&[usize]]) -> Result<Vec<usize>, EvaluateError> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut result = vec![1; rank];
    for shape in shapes {
        let offset = rank - shape.len();
        for (length, &own) in result[offset..].iter_mut().zip(*shape) {
            match (*length, own) {
                (_, 1) => {}
                (1, _) => *length = own,
                (known, own) if known == own => {}
                _ => return Err(invalid(format!("shapes {shapes:?} do not broadcast"))),
            }
        }
    }
    Ok(result)
}

/// Elements of shape `from`, repeated to fill shape `to`, which `from` must broadcast to.
pub(super) fn expand<'a, T: Copy>(
    values: &'a [T],
    from: &[usize],
    to: &[usize],
) -> Result<Cow<'a, [T]>, EvaluateError> {
    let fits = from.len() <= to.len()
        && from.iter().rev().zip(to.iter().rev()).all(|(&from, &to)| from == to || from == 1)
        && element_count(from)? == values.len();
    if !fits {
        return Err(invalid(format!("shape {from:?} does not broadcast to {to:?}")));
    }
    if element_count(to)? == 0 {
        return Ok(Cow::Owned(Vec::new()));
    }
    let mut current = Cow::Borrowed(values);
    let mut block = 1;
    // From the last axis outwards, so that each pass repeats whole blocks.
    for (place, &length) in to.iter().enumerate().rev() {
        let own = (place + from.len()).checked_sub(to.len()).map_or(1, |place| from[place]);
        if own != length {
            let mut repeated = Vec::with_capacity(current.len() * length);
            for chunk in current.chunks(block) {
                for _ in 0..length {
                    repeated.extend_from_slice(chunk);
                }
            }
            current = Cow::Owned(repeated);
        }
        block *= length;
    }
    Ok(current)
}

/// The axis that a possibly negative number names.
pub(super) fn resolve_axis(axis: i64, rank: usize) -> Result<usize, EvaluateError> {
    let resolved = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    resolved
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| invalid(format!("axis {axis} is outside of {rank} axes")))
}

/// A shape around an axis: number of elements before it, its length, number of elements behind it.
pub(super) fn around(shape: &[usize], axis: usize) -> Result<(usize, usize, usize), EvaluateError> {
    // Products of parts of a shape with a zero elsewhere are not bounded by that of the whole.
    Ok((element_count(&shape[..axis])?, shape[axis], element_count(&shape[axis + 1..])?))
}

/// Distance in elements between neighbours along each axis of a row-major tensor.
pub(super) fn strides(shape: &[usize]) -> Result<Vec<usize>, EvaluateError> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] =
            strides[axis].checked_mul(shape[axis].max(1)).ok_or_else(|| TensorError::TooLarge(shape.to_vec()))?;
    }
    Ok(strides)
}

/// A tensor's elements in groups: those that differ only along some axes go together.
pub(super) struct Groups {
    /// Number of groups.
    count: usize,
    /// Offset of each group's first element, in the row-major order of the other axes. Empty if the groups are.
    pub bases: Vec<usize>,
    /// Offsets of a group's elements from its first, in row-major order.
    pub offsets: Vec<usize>,
}

impl Groups {
    /// Groups along `axes`, which are inside of the shape.
    pub fn along(shape: &[usize], axes: &[usize]) -> Result<Self, EvaluateError> {
        let strides = strides(shape)?;
        let chosen = |inside: bool| {
            let chosen = (0..shape.len()).filter(move |axis| axes.contains(axis) == inside);
            chosen.map(|axis| (shape[axis], strides[axis]))
        };
        let offsets = |inside: bool| {
            chosen(inside).fold(vec![0], |offsets, (length, stride)| {
                offsets.iter().flat_map(|offset| (0..length).map(move |place| offset + place * stride)).collect()
            })
        };
        let count = element_count(&chosen(false).map(|(length, _)| length).collect::<Vec<_>>())?;
        // Where there is no element, the lengths of the other axes say nothing about the size of the data.
        let (bases, offsets) = if shape.contains(&0) { (vec![], vec![]) } else { (offsets(false), offsets(true)) };
        Ok(Self { count, bases, offsets })
    }

    /// The groups' elements, one group after the other.
    pub fn read<'a, T: Copy>(&'a self, values: &'a [T]) -> impl Iterator<Item = Vec<T>> + 'a {
        (0..self.count).map(|group| self.offsets.iter().map(|offset| values[self.bases[group] + offset]).collect())
    }

    /// Replaces each group by what `function` makes of it, which must be as many elements.
    pub fn map<T: Copy, R: Copy>(&self, values: &[T], blank: R, function: impl Fn(Vec<T>) -> Vec<R>) -> Vec<R> {
        let mut result = vec![blank; values.len()];
        // An empty tensor can have any number of empty groups.
        for &base in &self.bases {
            let group = self.offsets.iter().map(|offset| values[base + offset]).collect();
            for (offset, value) in self.offsets.iter().zip(function(group)) {
                result[base + offset] = value;
            }
        }
        result
    }
}
