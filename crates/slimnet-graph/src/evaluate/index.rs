//! Operators that choose elements by index, and those that make tensors from shapes.

mod scatter;

use super::broadcast::{around, resolve_axis, strides};
use super::layout::moving::{Pool, lengths, moved, position, walk};
use super::{Context, EvaluateError, invalid, unsupported};
use crate::ops::Op;
use crate::ops::index::{Compress, ConstantOfShape, EyeLike, Gather, GatherElements, GatherNd, OneHot, Shape};
use crate::tensor::{Tensor, TensorError, element_count};

/// Results of an operator of [`crate::ops::index`].
pub(super) fn evaluate(op: &Op, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let one = match op {
        Op::Gather(op) => gather(op, context),
        Op::GatherElements(op) => gather_elements(op, context),
        Op::GatherNd(op) => gather_nd(op, context),
        Op::ScatterElements(op) => scatter::elements(op, context),
        Op::ScatterNd(op) => scatter::slices(op, context),
        Op::Compress(op) => compress(op, context),
        Op::OneHot(op) => one_hot(op, context),
        Op::NonZero(_) => non_zero(context),
        Op::Range(_) => range(context),
        Op::Shape(op) => shape(op, context),
        Op::Size(_) => Ok(Tensor::scalar(context.input(0)?.len() as i64)),
        Op::ConstantOfShape(op) => constant_of_shape(op, context),
        Op::EyeLike(op) => eye_like(op, context),
        other => Err(unsupported(other.op_type())),
    };
    Ok(vec![one?])
}

/// The places on an axis that each element of a tensor of indices names.
fn positions(indices: &Tensor, length: usize) -> Result<Vec<usize>, EvaluateError> {
    indices.to_i64s()?.into_iter().map(|index| position(index, length)).collect()
}

/// The slices of a tensor at some places of an axis. The result has `shape`.
fn slices_at(
    context: &Context<'_>,
    data: &Tensor,
    axis: usize,
    places: &[usize],
    shape: Vec<usize>,
) -> Result<Tensor, EvaluateError> {
    let (before, length, behind) = around(data.shape(), axis)?;
    let flat = moved(context, data, None, vec![before, places.len(), behind], |axis, place| {
        Some(match axis {
            0 => place * length * behind,
            1 => places[place] * behind,
            _ => place,
        })
    });
    Ok(flat?.reshaped(shape)?)
}

fn gather(op: &Gather, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (data, indices) = (context.input(0)?, context.input(1)?);
    let axis = resolve_axis(op.axis, data.rank())?;
    let places = positions(indices, data.shape()[axis])?;
    let shape = [&data.shape()[..axis], indices.shape(), &data.shape()[axis + 1..]].concat();
    slices_at(context, data, axis, &places, shape)
}

fn gather_elements(op: &GatherElements, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (data, indices) = (context.input(0)?, context.input(1)?);
    context.room(data.element_type(), indices.shape())?;
    let picks = elements_at(data.shape(), indices, op.axis)?;
    Pool::new(&[data])?.take(indices.shape().to_vec(), &picks)
}

/// For each element of `indices` the element of a tensor of `shape` at its own place, but for the axis where it says.
fn elements_at(shape: &[usize], indices: &Tensor, axis: i64) -> Result<Vec<usize>, EvaluateError> {
    let axis = resolve_axis(axis, shape.len())?;
    let inside = |other: usize| other == axis || indices.shape()[other] <= shape[other];
    if indices.rank() != shape.len() || !(0..shape.len()).all(inside) {
        return Err(invalid(format!("indices of shape {:?} into a tensor of shape {shape:?}", indices.shape())));
    }
    let places = positions(indices, shape[axis])?;
    let distance = strides(shape)?;
    let mut picks = Vec::with_capacity(places.len());
    walk(indices.shape(), |own| {
        let place = |other: usize| if other == axis { places[picks.len()] } else { own[other] };
        let pick = (0..own.len()).map(|other| place(other) * distance[other]).sum();
        picks.push(pick);
        Ok(())
    })?;
    Ok(picks)
}

/// The slices of a tensor that the index tuples along the last axis of another one name.
struct Tuples<'a> {
    /// Shape of the tensor.
    data: &'a [usize],
    indices: &'a Tensor,
    /// How many axes both share at the front.
    batch_dims: usize,
    /// How many axes a tuple fixes behind these.
    arity: usize,
    /// Shape of all slices together.
    shape: Vec<usize>,
}

impl<'a> Tuples<'a> {
    fn new(data: &'a [usize], indices: &'a Tensor, batch_dims: i64) -> Result<Self, EvaluateError> {
        let fail = || invalid(format!("index tuples of shape {:?} into a tensor of shape {data:?}", indices.shape()));
        let (&arity, leading) = indices.shape().split_last().ok_or_else(fail)?;
        let batch_dims = usize::try_from(batch_dims).map_err(|_| fail())?;
        let fixed = batch_dims.checked_add(arity).filter(|&fixed| fixed <= data.len()).ok_or_else(fail)?;
        if leading.get(..batch_dims) != Some(&data[..batch_dims]) {
            return Err(fail());
        }
        Ok(Self { data, indices, batch_dims, arity, shape: [leading, &data[fixed..]].concat() })
    }

    /// Every element of every slice. As many as the shape says: the caller has seen that this is not too much.
    fn elements(&self) -> Result<Vec<usize>, EvaluateError> {
        if element_count(&self.shape)? == 0 {
            return Ok(Vec::new());
        }
        let leading = &self.indices.shape()[..self.indices.rank() - 1];
        let per_example = element_count(&leading[self.batch_dims..])?;
        let slice = element_count(&self.data[self.batch_dims + self.arity..])?;
        let example = element_count(&self.data[self.batch_dims..])?;
        let distance = strides(self.data)?;
        let numbers = self.indices.to_i64s()?;
        let mut elements = Vec::new();
        for tuple in 0..element_count(leading)? {
            let mut start = tuple / per_example * example;
            for place in 0..self.arity {
                let axis = self.batch_dims + place;
                start += position(numbers[tuple * self.arity + place], self.data[axis])? * distance[axis];
            }
            elements.extend(start..start + slice);
        }
        Ok(elements)
    }
}

fn gather_nd(op: &GatherNd, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (data, indices) = (context.input(0)?, context.input(1)?);
    let tuples = Tuples::new(data.shape(), indices, op.batch_dims)?;
    context.room(data.element_type(), &tuples.shape)?;
    let picks = tuples.elements()?;
    Pool::new(&[data])?.take(tuples.shape, &picks)
}

fn compress(op: &Compress, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (data, condition) = (context.input(0)?, context.input(1)?);
    let places: Vec<_> =
        condition.to_i64s()?.iter().enumerate().filter(|(_, flag)| **flag != 0).map(|(place, _)| place).collect();
    let Some(axis) = op.axis else {
        context.room(data.element_type(), &[places.len()])?;
        return Pool::new(&[data])?.take(vec![places.len()], &places);
    };
    let axis = resolve_axis(axis, data.rank())?;
    if places.last().is_some_and(|&last| last >= data.shape()[axis]) {
        return Err(invalid(format!("a condition for {} places of {:?}", condition.len(), data.shape())));
    }
    let mut shape = data.shape().to_vec();
    shape[axis] = places.len();
    slices_at(context, data, axis, &places, shape)
}

fn one_hot(op: &OneHot, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (indices, depth, values) = (context.input(0)?, context.input(1)?, context.input(2)?);
    let depth = match depth.to_i128s()?.as_slice() {
        &[depth] => usize::try_from(depth).map_err(|_| invalid(format!("a depth of {depth}")))?,
        depths => return Err(invalid(format!("one depth expected, found {}", depths.len()))),
    };
    if values.len() != 2 {
        return Err(invalid(format!("two values expected, found {}", values.len())));
    }
    let axis = resolve_axis(op.axis, indices.rank().saturating_add(1))?;
    let mut shape = indices.shape().to_vec();
    shape.insert(axis, depth);
    let count = context.room(values.element_type(), &shape)?;
    let hot: Vec<_> =
        indices.to_i128s()?.into_iter().map(|index| position(i64::try_from(index).ok()?, depth).ok()).collect();
    let (_, _, behind) = around(&shape, axis)?;
    let is_hot = |element: usize| {
        let (outer, inner) = (element / behind / depth, element % behind);
        usize::from(hot[outer * behind + inner] == Some(element / behind % depth))
    };
    Pool::new(&[values])?.take(shape, &(0..count).map(is_hot).collect::<Vec<_>>())
}

fn non_zero(context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let flags: Vec<bool> = match data.strings() {
        Some(strings) => strings.iter().map(|text| !text.is_empty()).collect(),
        None => data.to_f64s()?.into_iter().map(|value| value != 0.0).collect(),
    };
    let count = flags.iter().filter(|flag| **flag).count();
    let shape = vec![data.rank(), count];
    let mut indices = vec![0i64; context.room(crate::ElementType::I64, &shape)?];
    let (mut element, mut found) = (0, 0);
    walk(data.shape(), |place| {
        if flags[element] {
            for (axis, &place) in place.iter().enumerate() {
                indices[axis * count + found] = place as i64;
            }
            found += 1;
        }
        element += 1;
        Ok(())
    })?;
    Ok(Tensor::from_values(shape, indices)?)
}

fn range(context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let inputs = [context.input(0)?, context.input(1)?, context.input(2)?];
    let element_type = inputs[0].element_type();
    if inputs.iter().any(|input| input.len() != 1 || input.element_type() != element_type) {
        return Err(invalid("a range needs three numbers of one type"));
    }
    let above_limit = || TensorError::AboveLimit { shape: Vec::new(), bytes: usize::MAX, limit: context.limit };
    if element_type.is_float() {
        let numbers = [inputs[0].to_f64s()?, inputs[1].to_f64s()?, inputs[2].to_f64s()?].concat();
        let (start, delta) = (numbers[0], numbers[2]);
        let count = ((numbers[1] - start) / delta).ceil();
        if !count.is_finite() {
            return Err(invalid(format!("a range from {start} to {} by steps of {delta}", numbers[1])));
        }
        // The conversion saturates, at 0 and far above any limit.
        let count = context.room(element_type, &[count as usize])?;
        let values = (0..count).map(|place| start + place as f64 * delta).collect();
        return Ok(Tensor::from_f64s(element_type, vec![count], values)?);
    }
    let numbers = [inputs[0].to_i128s()?, inputs[1].to_i128s()?, inputs[2].to_i128s()?].concat();
    let (start, delta) = (numbers[0], numbers[2]);
    let span = if delta < 0 { start - numbers[1] } else { numbers[1] - start };
    let count = match delta {
        0 => return Err(invalid("a range by steps of 0")),
        _ if span <= 0 => 0,
        _ => (span - 1) / delta.abs() + 1,
    };
    let count = context.room(element_type, &[usize::try_from(count).map_err(|_| above_limit())?])?;
    Ok(Tensor::from_i128s(element_type, vec![count], (0..count).map(|place| start + place as i128 * delta).collect())?)
}

fn shape(op: &Shape, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let shape = context.input(0)?.shape();
    let rank = shape.len() as i64;
    let clamp = |axis: i64| if axis < 0 { axis.saturating_add(rank).max(0) } else { axis.min(rank) } as usize;
    let (start, end) = (clamp(op.start), clamp(op.end.unwrap_or(rank)));
    Ok(Tensor::vector(shape.get(start..end).unwrap_or(&[]).iter().map(|&length| length as i64).collect()))
}

fn constant_of_shape(op: &ConstantOfShape, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let value = op.value.clone().unwrap_or_else(|| Tensor::vector(vec![0f32]));
    if value.len() != 1 {
        return Err(invalid(format!("one value to fill with expected, found {}", value.len())));
    }
    moved(context, &value, None, lengths(context.input(0)?)?, |_, _| Some(0))
}

fn eye_like(op: &EyeLike, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let like = context.input(0)?;
    let &[_, width] = like.shape() else {
        return Err(invalid(format!("a diagonal in a tensor of shape {:?}", like.shape())));
    };
    let element_type = op.dtype.unwrap_or(like.element_type());
    let count = context.room(element_type, like.shape())?;
    let on_diagonal =
        |element: usize| usize::from((element % width) as i128 - (element / width) as i128 == i128::from(op.k));
    let values = Tensor::from_i128s(element_type, vec![2], vec![0, 1])?;
    Pool::new(&[&values])?.take(like.shape().to_vec(), &(0..count).map(on_diagonal).collect::<Vec<_>>())
}
