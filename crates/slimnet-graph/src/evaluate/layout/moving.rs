//! Moving elements whatever their type: for each element of the result, which element of the sources it is.

use std::borrow::Cow;

use super::super::broadcast::{self, resolve_axis};
use super::super::{Context, EvaluateError, invalid};
use crate::tensor::{ElementType, Tensor};

/// The axes that a list names, each at most once.
pub(in super::super) fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, EvaluateError> {
    let mut seen = vec![false; rank];
    let mut found = Vec::with_capacity(axes.len().min(rank));
    for &axis in axes {
        let axis = resolve_axis(axis, rank)?;
        if std::mem::replace(&mut seen[axis], true) {
            return Err(invalid(format!("axis {axis} is listed twice")));
        }
        found.push(axis);
    }
    Ok(found)
}

/// The same as a mask over the axes.
pub(in super::super) fn axes_mask(axes: &[i64], rank: usize) -> Result<Vec<bool>, EvaluateError> {
    let mut mask = vec![false; rank];
    for axis in axes_of(axes, rank)? {
        mask[axis] = true;
    }
    Ok(mask)
}

/// The place that an index names on an axis of `length`, counted from the back where it is negative.
pub(in super::super) fn position(index: i64, length: usize) -> Result<usize, EvaluateError> {
    let place = i128::from(index) + if index < 0 { length as i128 } else { 0 };
    let place = usize::try_from(place).ok().filter(|&place| place < length);
    place.ok_or_else(|| invalid(format!("index {index} is outside of an axis of length {length}")))
}

/// Calls `visit` with the coordinates of every element of a shape, in order.
pub(in super::super) fn walk(
    shape: &[usize],
    mut visit: impl FnMut(&[usize]) -> Result<(), EvaluateError>,
) -> Result<(), EvaluateError> {
    if shape.contains(&0) {
        return Ok(());
    }
    let mut place = vec![0; shape.len()];
    loop {
        visit(&place)?;
        let Some(axis) = (0..shape.len()).rev().find(|&axis| place[axis] + 1 < shape[axis]) else { return Ok(()) };
        place[axis] += 1;
        place[axis + 1..].fill(0);
    }
}

/// For each of the `count` elements of a result of `shape` its offset in the source, where that is a sum over the axes:
/// each axis adds `offset(axis, place)`. `None` on any axis is outside of the source, for which `outside` stands.
pub(in super::super) fn separable(
    shape: &[usize],
    count: usize,
    outside: usize,
    offset: impl Fn(usize, usize) -> Option<usize>,
) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let mut picks = vec![Some(0usize)];
    for (axis, &length) in shape.iter().enumerate() {
        let steps: Vec<_> = (0..length).map(|place| offset(axis, place)).collect();
        if steps == [Some(0)] {
            continue;
        }
        let joined = |base: Option<usize>, step: &Option<usize>| Some(base?.saturating_add((*step)?));
        picks = picks.iter().flat_map(|&base| steps.iter().map(move |step| joined(base, step))).collect();
    }
    picks.into_iter().map(|pick| pick.unwrap_or(outside)).collect()
}

/// For each element of a result of shape `to` the element of a tensor of shape `from` that broadcasting puts there.
pub(in super::super) fn broadcast_picks(
    from: &Tensor,
    to: &[usize],
    first: usize,
) -> Result<Vec<usize>, EvaluateError> {
    let elements: Vec<_> = (first..first.saturating_add(from.len())).collect();
    Ok(broadcast::expand(&elements, from.shape(), to)?.into_owned())
}

/// The elements of several tensors of one type, in one row.
pub(in super::super) struct Pool<'a> {
    element_type: ElementType,
    elements: Elements<'a>,
}

enum Elements<'a> {
    Patterns { width: usize, bytes: Cow<'a, [u8]> },
    Strings(Vec<&'a [u8]>),
}

impl<'a> Pool<'a> {
    /// The elements of `sources`, one behind the other.
    pub(in super::super) fn new(sources: &[&'a Tensor]) -> Result<Self, EvaluateError> {
        let Some(element_type) = sources.first().map(|first| first.element_type()) else {
            return Err(invalid("no tensors to take elements from"));
        };
        if let Some(other) = sources.iter().find(|source| source.element_type() != element_type) {
            return Err(invalid(format!("{element_type} and {} do not go into one tensor", other.element_type())));
        }
        let elements = match element_type.bits() {
            None => {
                let strings = sources.iter().flat_map(|source| source.strings().unwrap_or_default());
                Elements::Strings(strings.map(Vec::as_slice).collect())
            }
            Some(bits) => {
                let mut bytes = patterns(sources[0]);
                for source in &sources[1..] {
                    bytes.to_mut().extend_from_slice(&patterns(source));
                }
                Elements::Patterns { width: bits.div_ceil(8), bytes }
            }
        };
        Ok(Self { element_type, elements })
    }

    /// A tensor of which element `i` is element `picks[i]` of the pool.
    pub(in super::super) fn take(&self, shape: Vec<usize>, picks: &[usize]) -> Result<Tensor, EvaluateError> {
        let missing = || invalid("an element outside of the tensor");
        match &self.elements {
            Elements::Strings(strings) => {
                let picked = picks.iter().map(|&pick| strings.get(pick).map(|text| text.to_vec()).ok_or_else(missing));
                Ok(Tensor::from_strings(shape, picked.collect::<Result<_, _>>()?)?)
            }
            Elements::Patterns { width, bytes } => {
                let mut picked = Vec::with_capacity(picks.len().saturating_mul(*width));
                for &pick in picks {
                    let start = pick.checked_mul(*width).ok_or_else(missing)?;
                    let end = start.checked_add(*width).ok_or_else(missing)?;
                    picked.extend_from_slice(bytes.get(start..end).ok_or_else(missing)?);
                }
                Ok(Tensor::from_patterns(self.element_type, shape, &picked)?)
            }
        }
    }
}

/// The bit patterns of a tensor that holds no strings, without copying what has whole bytes.
fn patterns(tensor: &Tensor) -> Cow<'_, [u8]> {
    match (tensor.element_type().bits(), tensor.bytes()) {
        (Some(8..), Some(bytes)) => Cow::Borrowed(bytes),
        _ => Cow::Owned(tensor.to_patterns().map(|(_, patterns)| patterns).unwrap_or_default()),
    }
}

/// A tensor made of elements of one source, as [`separable`] says; `fill` is the element outside of it.
pub(in super::super) fn moved(
    context: &Context<'_>,
    source: &Tensor,
    fill: Option<&Tensor>,
    shape: Vec<usize>,
    offset: impl Fn(usize, usize) -> Option<usize>,
) -> Result<Tensor, EvaluateError> {
    let count = context.room(source.element_type(), &shape)?;
    let picks = separable(&shape, count, source.len(), offset);
    Pool::new(&[source].into_iter().chain(fill).collect::<Vec<_>>())?.take(shape, &picks)
}

/// The element that stands for nothing: zero, false, the empty string.
pub(in super::super) fn zero(element_type: ElementType) -> Result<Tensor, EvaluateError> {
    Ok(match element_type.byte_count(1) {
        None => Tensor::from_strings(Vec::new(), vec![Vec::new()])?,
        Some(width) => Tensor::from_bytes(element_type, Vec::new(), vec![0; width].into())?,
    })
}

/// Integers that give lengths.
pub(in super::super) fn lengths(numbers: &Tensor) -> Result<Vec<usize>, EvaluateError> {
    let length = |number| usize::try_from(number).map_err(|_| invalid(format!("{number} is no length")));
    numbers.to_i64s()?.into_iter().map(length).collect()
}

/// The only element of a tensor of integers.
pub(in super::super) fn single(tensor: &Tensor) -> Result<i64, EvaluateError> {
    match tensor.to_i64s()?.as_slice() {
        [number] => Ok(*number),
        numbers => Err(invalid(format!("one number expected, found {}", numbers.len()))),
    }
}
