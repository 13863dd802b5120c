//! Operators that choose elements by index, and those that make tensors from shapes.

use super::call::{ANY, BOOL, Call, Class, INDICES, INT64, NUMBERS, Result, axis_of, ensure, mismatch, output};
use super::layout::listed_shape;
use super::shapes::{agree, product};
use super::{CONTENTS_LIMIT, Inferred};
use crate::graph::Dim;
use crate::ops::index::{Compress, ConstantOfShape, EyeLike, Gather, GatherElements, GatherNd, OneHot};
use crate::ops::index::{ScatterElements, Shape};
use crate::tensor::ElementType;

/// Types that Range counts in.
const RANGE: Class = Class::new("float32, float64, int16, int32 or int64", |element_type| {
    use ElementType::{BF16, F16, F32, F64, I16, I32, I64};
    matches!(element_type, F16 | BF16 | F32 | F64 | I16 | I32 | I64)
});

pub(super) fn gather(op: &Gather, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    call.class(1, INDICES)?;
    let (Some(data), indices) = (call.rank_at_least(0, 1)?, call.shape(1)) else {
        return Ok(vec![output(element_type, None)]);
    };
    let axis = axis_of(op.axis, data.len(), "axis")?;
    if let (Some(length), Some(numbers)) = (data[axis].constant(), call.integers(1)) {
        let outside = numbers.iter().find(|&&index| index >= length || index < -length);
        let expected = format!("indices within the {length} of axis {axis}");
        ensure(outside.is_none(), "input 1 (indices)", expected, outside.copied().unwrap_or(0))?;
    }
    let shape = indices.map(|indices| [&data[..axis], indices, &data[axis + 1..]].concat());
    let contents = call.contents(0).filter(|_| data.len() == 1).zip(call.integers(1)).and_then(|(own, indices)| {
        let length = own.len() as i64;
        let place = |index: i64| if index < 0 { index.checked_add(length) } else { Some(index) };
        indices.into_iter().map(|index| own.get(usize::try_from(place(index)?).ok()?).cloned()).collect()
    });
    Ok(vec![Inferred { element_type, shape, contents }])
}

pub(super) fn gather_elements(op: &GatherElements, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    call.class(1, INDICES)?;
    elements_fit(call, op.axis)?;
    Ok(vec![output(element_type, call.shape(1).map(<[Dim]>::to_vec))])
}

/// Checks indices (input 1) for each place against the data: as many axes, none longer except `axis`.
fn elements_fit(call: &Call<'_>, axis: i64) -> Result<()> {
    let (data, indices) = (call.rank_at_least(0, 1)?, call.rank_at_least(1, 1)?);
    if let Some(shape) = data.or(indices) {
        axis_of(axis, shape.len(), "axis")?;
    }
    let (Some(data), Some(indices)) = (data, indices) else { return Ok(()) };
    call.rank(1, data.len())?;
    let axis = axis_of(axis, data.len(), "axis")?;
    for (place, (own, index)) in data.iter().zip(indices).enumerate() {
        if let (Some(own), Some(index)) = (own.constant(), index.constant()) {
            let what = format!("axis {place} of input 1 (indices)");
            ensure(place == axis || index <= own, what, format!("at most {own}"), index)?;
        }
    }
    Ok(())
}

/// The length of index tuples: the last axis of input 1.
fn tuple_length(call: &Call<'_>) -> Result<Option<usize>> {
    Ok(call.rank_at_least(1, 1)?.and_then(|indices| indices.last()?.known()))
}

pub(super) fn gather_nd(op: &GatherNd, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    call.class(1, INT64)?;
    let (Some(data), Some(indices)) = (call.rank_at_least(0, 1)?, call.rank_at_least(1, 1)?) else {
        return Ok(vec![output(element_type, None)]);
    };
    let most = data.len().min(indices.len());
    let batch = usize::try_from(op.batch_dims).ok().filter(|&batch| batch < most);
    let batch = batch.ok_or_else(|| mismatch("batch_dims", format!("0 to {}", most - 1), op.batch_dims))?;
    for axis in 0..batch {
        agree(&indices[axis], &data[axis], || format!("axis {axis} of input 1 (indices)"))?;
    }
    let shape = match tuple_length(call)? {
        None => None,
        Some(length) => {
            let rest = data.len() - batch;
            let what = "last axis of input 1 (indices)";
            ensure((1..=rest).contains(&length), what, format!("1 to {rest}"), length)?;
            Some([&indices[..indices.len() - 1], &data[batch + length..]].concat())
        }
    };
    Ok(vec![output(element_type, shape)])
}

pub(super) fn scatter_elements(op: &ScatterElements, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 3, 1)?;
    let element_type = call.same([0, 2], ANY)?;
    call.class(1, INDICES)?;
    elements_fit(call, op.axis)?;
    if let Some(indices) = call.shape(1) {
        call.has_shape(2, &indices.iter().map(Some).collect::<Vec<_>>())?;
    }
    Ok(vec![output(element_type, call.shape(0).map(<[Dim]>::to_vec))])
}

pub(super) fn scatter_nd(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 3, 1)?;
    let element_type = call.same([0, 2], ANY)?;
    call.class(1, INT64)?;
    let (data, length) = (call.rank_at_least(0, 1)?, tuple_length(call)?);
    if let (Some(data), Some(length), Some(indices)) = (data, length, call.shape(1)) {
        let what = "last axis of input 1 (indices)";
        ensure((1..=data.len()).contains(&length), what, format!("1 to {}", data.len()), length)?;
        let updates = indices[..indices.len() - 1].iter().chain(&data[length..]);
        call.has_shape(2, &updates.map(Some).collect::<Vec<_>>())?;
    }
    Ok(vec![output(element_type, data.map(<[Dim]>::to_vec))])
}

pub(super) fn compress(op: &Compress, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    call.class(1, BOOL)?;
    call.rank(1, 1)?;
    let data = call.rank_at_least(0, 1)?;
    let axis = match (op.axis, data) {
        (Some(axis), Some(data)) => Some(axis_of(axis, data.len(), "axis")?),
        _ => None,
    };
    let searched = data.and_then(|data| match axis {
        Some(axis) => data[axis].known(),
        None => product(data)?.known(),
    });
    if let (Some(most), Some(length)) = (searched, call.length(1)) {
        ensure(length <= most, "length of input 1 (condition)", format!("at most {most}"), length)?;
    }
    let count = call.integers(1).map(|flags| Dim::from(flags.iter().filter(|&&flag| flag != 0).count()));
    let count = call.or_fresh(count);
    let shape = match (op.axis, axis, data) {
        (None, ..) => Some(vec![count]),
        (Some(_), Some(axis), Some(data)) => {
            let mut shape = data.to_vec();
            shape[axis] = count;
            Some(shape)
        }
        _ => None,
    };
    Ok(vec![output(element_type, shape)])
}

pub(super) fn one_hot(op: &OneHot, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 3, 1)?;
    call.class(0, NUMBERS)?;
    call.class(1, NUMBERS)?;
    call.single(1)?;
    let element_type = call.class(2, ANY)?;
    call.has_shape(2, &[Some(&Dim::from(2i64))])?;
    let depth = match (call.contents(1).as_deref(), call.reals(1).as_deref()) {
        (Some([depth]), _) => Some(depth.clone()),
        (_, Some([depth])) => Some(Dim::from(*depth as i64)),
        _ => None,
    };
    if let Some(depth) = &depth {
        ensure(depth.constant().is_none_or(|depth| depth >= 0), "input 1 (depth)", "at least 0", depth)?;
    }
    let Some(indices) = call.shape(0) else { return Ok(vec![output(element_type, None)]) };
    let axis = axis_of(op.axis, indices.len() + 1, "axis")?;
    let mut shape = indices.to_vec();
    shape.insert(axis, call.or_fresh(depth));
    Ok(vec![output(element_type, Some(shape))])
}

pub(super) fn non_zero(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    call.class(0, ANY)?;
    // A scalar counts as a vector of one element.
    let rank = call.shape(0).map(|data| Dim::from(data.len().max(1)));
    let shape = vec![call.or_fresh(rank), call.fresh()];
    Ok(vec![output(Some(ElementType::I64), Some(shape))])
}

pub(super) fn range(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 3, 1)?;
    let element_type = call.same([0, 1, 2], RANGE)?;
    for slot in 0..3 {
        call.single(slot)?;
    }
    let one = |slot| call.contents(slot).filter(|contents| contents.len() == 1).map(|contents| contents[0].clone());
    let real = |slot| call.reals(slot).filter(|reals| reals.len() == 1).map(|reals| reals[0]);
    let zero = one(2).and_then(|delta| delta.constant()) == Some(0) || real(2) == Some(0.0);
    ensure(!zero, "input 2 (delta)", "not 0", 0)?;
    let integers = one(0).zip(one(1)).zip(one(2));
    let count = match &integers {
        Some(((start, limit), delta)) => range_length(start, limit, delta),
        None => match (real(0), real(1), real(2)) {
            (Some(start), Some(limit), Some(delta)) => {
                let count = ((limit - start) / delta).ceil().max(0.0);
                ensure(count.is_finite(), "number of elements", "a finite number", count)?;
                Some(Dim::from(count as i64))
            }
            _ => None,
        },
    };
    let numbers = count.as_ref().and_then(Dim::known).filter(|&count| count <= CONTENTS_LIMIT);
    let contents = numbers.zip(integers).and_then(|(count, ((start, _), delta))| {
        (0..count as i64).map(|place| start.add(&delta.scale(place)?)).collect()
    });
    let shape = Some(vec![call.or_fresh(count)]);
    Ok(vec![Inferred { element_type, shape, contents }])
}

/// max(0, ⌈(limit − start) / delta⌉).
fn range_length(start: &Dim, limit: &Dim, delta: &Dim) -> Option<Dim> {
    let distance = limit.subtract(start)?;
    let delta = delta.constant().filter(|&delta| delta != 0)?;
    let distance = if delta < 0 { distance.scale(-1)? } else { distance };
    let step = delta.checked_abs()?;
    match distance.constant() {
        Some(number) if number <= 0 => Some(Dim::from(0i64)),
        Some(_) => distance.add(&Dim::from(step - 1))?.divide_floor(step),
        None => {
            distance.minimum().filter(|&least| least >= 0)?;
            distance.add(&Dim::from(step - 1))?.divide_floor(step)
        }
    }
}

pub(super) fn shape(op: &Shape, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let part = call.shape(0).map(|data| {
        let rank = data.len() as i64;
        let place = |axis: i64| {
            let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
            axis.clamp(0, rank) as usize
        };
        let (start, end) = (place(op.start), op.end.map_or(data.len(), place));
        data[start..end.max(start)].to_vec()
    });
    let count = part.as_ref().map(|part| Dim::from(part.len()));
    let shape = Some(vec![call.or_fresh(count)]);
    Ok(vec![Inferred { element_type: Some(ElementType::I64), shape, contents: part }])
}

pub(super) fn size(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let contents = call.shape(0).and_then(product).map(|count| vec![count]);
    Ok(vec![Inferred { element_type: Some(ElementType::I64), shape: Some(Vec::new()), contents }])
}

pub(super) fn constant_of_shape(op: &ConstantOfShape, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let value = op.value.as_ref();
    if let Some(value) = value {
        ensure(value.len() == 1, "value", "one element", format!("{} elements", value.len()))?;
    }
    let element_type = value.map_or(ElementType::F32, crate::Tensor::element_type);
    let shape = listed_shape(call, 0)?;
    let number = || i64::try_from(*value?.to_i128s().ok()?.first()?).ok();
    let count = match shape.as_deref() {
        Some([]) => Some(1),
        Some([length]) => length.known().filter(|&length| length <= CONTENTS_LIMIT),
        _ => None,
    };
    let contents = count.and_then(|count| Some(vec![Dim::from(number()?); count]));
    Ok(vec![Inferred { element_type: Some(element_type), shape, contents }])
}

pub(super) fn eye_like(op: &EyeLike, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let own = call.class(0, ANY)?;
    let element_type = op.dtype.or(own);
    if let Some(element_type) = element_type {
        let fine = NUMBERS.has(element_type) || element_type == ElementType::Bool;
        ensure(fine, "element type of the result", "a numeric type or bool", element_type)?;
    }
    Ok(vec![output(element_type, call.rank(0, 2)?.map(<[Dim]>::to_vec))])
}
