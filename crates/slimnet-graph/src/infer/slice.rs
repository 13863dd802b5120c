//! Operators that cut tensors or add to their edges.

use super::Inferred;
use super::call::{ANY, Call, INDICES, INT64, Result, axes_of, axis_of, ensure, mismatch, output};
use super::shapes::{agree, certainly_differ};
use crate::graph::{Dim, Shape, display_shape};
use crate::ops::layout::{CenterCropPad, Pad, PadMode, Split};

/// Starts and ends at least this far out mean "from the first" and "to the last": no axis is that long.
const FAR: i64 = i32::MAX as i64;

/// A position on an axis of symbolic length; `None` where it depends on the length how it is cut.
fn position(value: &Dim, length: &Dim) -> Option<Dim> {
    let Some(number) = value.constant() else {
        let inside = value.minimum()? >= 0 && length.subtract(value)?.minimum()? >= 0;
        return inside.then(|| value.clone());
    };
    let least = length.minimum().unwrap_or(0);
    if number >= FAR {
        Some(length.clone())
    } else if number <= -FAR {
        Some(Dim::from(0i64))
    } else if number >= 0 {
        (number <= least).then(|| value.clone())
    } else if number >= -least {
        length.add(value)
    } else {
        None
    }
}

/// How many elements a slice takes of an axis; `None` if that is not known.
fn sliced_length(length: &Dim, start: &Dim, end: &Dim, step: i64) -> Option<Dim> {
    if let (Some(length), Some(start), Some(end)) = (length.constant(), start.constant(), end.constant()) {
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let place = |value: i64, low: i64| {
            let value = if value < 0 { value.saturating_add(length) } else { value };
            i128::from(value.max(low).min(high.max(low)))
        };
        let (start, end) = (place(start, 0), place(end, low));
        let (distance, step) = if step > 0 { (end - start, step.into()) } else { (start - end, -i128::from(step)) };
        let distance = if length == 0 { 0 } else { distance.max(0) };
        return i64::try_from((distance + step - 1) / step).ok().map(Dim::from);
    }
    if step < 0 {
        let whole = |start: i64, end: i64| step == -1 && (start == -1 || start >= FAR) && end <= -FAR;
        return whole(start.constant()?, end.constant()?).then(|| length.clone());
    }
    let distance = position(end, length)?.subtract(&position(start, length)?)?;
    if distance.constant().is_some_and(|distance| distance <= 0) {
        return Some(Dim::from(0i64));
    }
    distance.minimum().filter(|&least| least >= 0)?;
    distance.add(&Dim::from(step.checked_sub(1)?))?.divide_floor(step)
}

pub(super) fn slice(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 5, 1)?;
    let element_type = call.class(0, ANY)?;
    call.same(1..5, INDICES)?;
    let mut count: Option<Dim> = None;
    for slot in 1..5 {
        let Some([length]) = call.rank(slot, 1)? else { continue };
        count = Some(match count {
            Some(count) => agree(length, &count, || format!("length of input {slot}"))?.clone(),
            None => length.clone(),
        });
    }
    let (starts, ends) = (call.contents(1), call.contents(2));
    let count = count.and_then(|count| count.known()).or_else(|| Some(starts.as_ref().or(ends.as_ref())?.len()));
    let Some(data) = call.shape(0) else { return Ok(vec![output(element_type, None)]) };
    let axes = if call.has(3) { call.integers(3) } else { count.map(|count| (0..count as i64).collect()) };
    let steps = if call.has(4) { call.integers(4) } else { count.map(|count| vec![1; count]) };
    ensure(steps.as_ref().is_none_or(|steps| !steps.contains(&0)), "input 4 (steps)", "no 0", "0")?;
    let Some(axes) = axes else {
        let shape = Some(call.fresh_shape(data.len()));
        return Ok(vec![output(element_type, shape)]);
    };
    let axes = axes_of(&axes, data.len(), "axes (input 3)")?;
    let mut shape = data.to_vec();
    for (place, &axis) in axes.iter().enumerate() {
        let known = || {
            let (start, end) = (starts.as_ref()?.get(place)?, ends.as_ref()?.get(place)?);
            sliced_length(&data[axis], start, end, *steps.as_ref()?.get(place)?)
        };
        shape[axis] = call.or_fresh(known());
    }
    let contents = || {
        let own = call.contents(0).filter(|_| data.len() == 1)?;
        let number = |list: &Option<std::borrow::Cow<'_, [Dim]>>| list.as_ref()?.first()?.constant();
        let Some(step) = steps.as_ref()?.first() else { return Some(own.into_owned()) };
        taken(&own, number(&starts)?, *step, shape[0].known()?)
    };
    let contents = contents();
    Ok(vec![Inferred { element_type, shape: Some(shape), contents }])
}

/// `count` elements from `start` by `step`.
fn taken(own: &[Dim], start: i64, step: i64, count: usize) -> Option<Vec<Dim>> {
    let length = own.len() as i64;
    let start = if start < 0 { start.saturating_add(length) } else { start };
    let start = start.clamp(0, if step > 0 { length } else { (length - 1).max(0) });
    (0..count as i64)
        .map(|place| {
            let place = start.checked_add(place.checked_mul(step)?)?;
            own.get(usize::try_from(place).ok()?).cloned()
        })
        .collect()
}

pub(super) fn split(op: &Split, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    let count = call.output_count();
    call.arity(1, 2, count)?;
    let element_type = call.class(0, ANY)?;
    call.class(1, INT64)?;
    call.rank(1, 1)?;
    if let Some(declared) = op.num_outputs {
        ensure(!call.has(1), "num_outputs", "none beside input 1 (split)", declared)?;
        ensure(declared == count as i64, "number of outputs", format!("{declared} as num_outputs"), count)?;
    }
    if let Some(length) = call.length(1).filter(|_| call.has(1)) {
        ensure(length == count, "length of input 1 (split)", format!("{count}, the number of outputs"), length)?;
    }
    let lengths = call.contents(1).map(std::borrow::Cow::into_owned);
    if let Some(lengths) = &lengths {
        let negative = lengths.iter().find(|length| length.constant().is_some_and(|length| length < 0));
        ensure(negative.is_none(), "input 1 (split)", "lengths of at least 0", display_shape(lengths))?;
    }
    let Some(data) = call.shape(0) else { return Ok(vec![output(element_type, None); count]) };
    let axis = axis_of(op.axis, data.len(), "axis")?;
    let lengths = match lengths {
        Some(lengths) => {
            let sum = lengths.iter().try_fold(Dim::from(0i64), |sum, length| sum.add(length));
            let fits = sum.as_ref().is_some_and(|sum| !certainly_differ(sum, &data[axis]));
            ensure(fits, "sum of input 1 (split)", &data[axis], display_shape(&lengths))?;
            lengths
        }
        None if call.has(1) => call.fresh_shape(count),
        None => equal_parts(call, &data[axis], count)?,
    };
    let own = call.contents(0).filter(|_| data.len() == 1);
    let mut start = Some(0usize);
    let results = lengths.into_iter().map(|length| {
        let end = start.zip(length.known()).and_then(|(start, length)| start.checked_add(length));
        let contents = own.as_ref().zip(start.zip(end));
        let contents = contents.and_then(|(own, (start, end))| Some(own.get(start..end)?.to_vec()));
        start = end;
        let mut shape = data.to_vec();
        shape[axis] = length;
        Inferred { element_type, shape: Some(shape), contents }
    });
    Ok(results.collect())
}

/// Equal parts of an axis, of which the last may be shorter.
fn equal_parts(call: &mut Call<'_>, length: &Dim, count: usize) -> Result<Vec<Dim>> {
    let divisor = count as i64;
    let Some(number) = length.constant() else {
        let part = length.divide_exactly(&Dim::from(divisor));
        return Ok(part.map_or_else(|| call.fresh_shape(count), |part| vec![part; count]));
    };
    let too_short = || mismatch("length of the axis to split", format!("enough for {count} parts"), number);
    let part = number.checked_add(divisor - 1).ok_or_else(too_short)? / divisor;
    let last = part.checked_mul(divisor - 1).map(|before| number - before).filter(|&last| last >= 0);
    let mut parts = vec![Dim::from(part); count];
    parts[count - 1] = Dim::from(last.ok_or_else(too_short)?);
    Ok(parts)
}

pub(super) fn pad(op: &Pad, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 4, 1)?;
    let element_type = call.same([0, 2], ANY)?;
    call.class(1, INT64)?;
    call.class(3, INDICES)?;
    call.rank(1, 1)?;
    call.single(2)?;
    call.rank(3, 1)?;
    let Some(data) = call.shape(0) else { return Ok(vec![output(element_type, None)]) };
    let axes = if call.has(3) { call.integers(3) } else { Some((0..data.len() as i64).collect()) };
    let axes = axes.map(|axes| axes_of(&axes, data.len(), "axes (input 3)")).transpose()?;
    let count = axes.as_ref().map(Vec::len).or_else(|| call.length(3).filter(|_| call.has(3)));
    if let (Some(count), Some(length)) = (count, call.length(1)) {
        let fits = count.checked_mul(2) == Some(length);
        ensure(fits, "length of input 1 (pads)", format!("2 for each of {count} axes"), length)?;
    }
    let Some(axes) = axes else {
        let shape = Some(call.fresh_shape(data.len()));
        return Ok(vec![output(element_type, shape)]);
    };
    let pads = call.contents(1);
    let mut shape = data.to_vec();
    for (place, &axis) in axes.iter().enumerate() {
        let what = format!("axis {axis} of input 0");
        let ends = pads.as_ref().and_then(|pads| Some((pads.get(place)?, pads.get(place + axes.len())?)));
        let padded = ends.and_then(|(begin, end)| data[axis].add(begin)?.add(end));
        if let (Some((begin, end)), Some(padded)) = (ends, padded.as_ref().and_then(Dim::constant)) {
            ensure(padded >= 0, &*what, format!("a length for pads {begin} and {end}"), &data[axis])?;
            let from_nothing = data[axis].constant() == Some(0) && padded > 0 && op.mode != PadMode::Constant;
            ensure(!from_nothing, &*what, format!("elements for mode {}", op.mode.name()), "none")?;
        }
        shape[axis] = call.or_fresh(padded);
    }
    Ok(vec![output(element_type, Some(shape))])
}

pub(super) fn center_crop_pad(op: &CenterCropPad, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, ANY)?;
    call.class(1, INDICES)?;
    call.rank(1, 1)?;
    let Some(data) = call.shape(0) else { return Ok(vec![output(element_type, None)]) };
    let axes = match &op.axes {
        Some(axes) => axes_of(axes, data.len(), "axes")?,
        None => (0..data.len()).collect(),
    };
    if let Some(length) = call.length(1) {
        ensure(length == axes.len(), "length of input 1 (shape)", axes.len(), length)?;
    }
    let target = call.contents(1);
    let mut shape: Shape = data.to_vec();
    for (place, &axis) in axes.iter().enumerate() {
        let length = target.as_ref().and_then(|target| target.get(place).cloned());
        shape[axis] = call.or_fresh(length);
    }
    Ok(vec![output(element_type, Some(shape))])
}
