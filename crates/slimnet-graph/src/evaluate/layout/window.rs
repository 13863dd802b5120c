//! Evaluation of Slice, Pad and `CenterCropPad`: windows on a tensor that may reach beyond it.

use super::super::broadcast::strides;
use super::super::{Context, EvaluateError, invalid};
use super::moving::{axes_of, lengths, moved, zero};
use crate::ops::layout::{CenterCropPad, Pad, PadMode};
use crate::tensor::Tensor;

pub(super) fn slice(context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let (starts, ends) = (context.input(1)?.to_i64s()?, context.input(2)?.to_i64s()?);
    let axes = match context.optional(3) {
        Some(axes) => axes_of(&axes.to_i64s()?, data.rank())?,
        None => axes_of(&(0..starts.len() as i64).collect::<Vec<_>>(), data.rank())?,
    };
    let steps = context.optional(4).map_or_else(|| Ok(vec![1; axes.len()]), Tensor::to_i64s)?;
    if [starts.len(), ends.len(), steps.len()] != [axes.len(); 3] {
        return Err(invalid(format!("starts {starts:?}, ends {ends:?} and steps {steps:?} of axes {axes:?}")));
    }
    let mut shape = data.shape().to_vec();
    // First place and step along each axis.
    let mut windows = vec![(0i128, 1i128); data.rank()];
    for (index, &axis) in axes.iter().enumerate() {
        let length = data.shape()[axis] as i128;
        let [start, end, step] = [starts[index], ends[index], steps[index]].map(i128::from);
        let from_front = |place: i128| if place < 0 { place + length } else { place };
        let (start, span) = match step {
            0 => return Err(invalid(format!("a step of 0 along axis {axis}"))),
            1.. => {
                let (start, end) = (from_front(start).clamp(0, length), from_front(end).clamp(0, length));
                (start, end - start)
            }
            _ => {
                let (start, end) = (from_front(start).clamp(0, length), from_front(end).clamp(-1, length));
                // A start before the first element is the first one, as ONNX has it, where Python has none.
                let (start, end) = (start.min(length - 1), end.min(length - 1));
                (start, start - end)
            }
        };
        windows[axis] = (start, step);
        let count = if span > 0 { (span - 1) / step.abs() + 1 } else { 0 };
        shape[axis] = usize::try_from(count).unwrap_or(0);
    }
    let distance = strides(data.shape())?;
    moved(context, data, None, shape, |axis, place| {
        let (start, step) = windows[axis];
        let source = usize::try_from(start + place as i128 * step).ok()?;
        Some(source.saturating_mul(distance[axis]))
    })
}

pub(super) fn pad(op: &Pad, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let pads = context.input(1)?.to_i64s()?;
    let axes = match context.optional(3) {
        Some(axes) => axes_of(&axes.to_i64s()?, data.rank())?,
        None => (0..data.rank()).collect(),
    };
    if pads.len() != axes.len() * 2 {
        return Err(invalid(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let fill = match context.optional(2).filter(|value| !value.is_empty()) {
        Some(value) if value.len() == 1 => value.reshaped(Vec::new())?,
        Some(value) => return Err(invalid(format!("one value to fill with expected, found {}", value.len()))),
        None => zero(data.element_type())?,
    };
    let mut edges = vec![(0i128, 0i128); data.rank()];
    for (index, &axis) in axes.iter().enumerate() {
        edges[axis] = (pads[index].into(), pads[index + axes.len()].into());
    }
    let mut shape = Vec::with_capacity(data.rank());
    for (&(begin, end), &length) in edges.iter().zip(data.shape()) {
        let kept = length as i128 + begin.min(0) + end.min(0);
        let padded = length as i128 + begin + end;
        let can_be_filled = op.mode == PadMode::Constant || kept > 0 || padded == 0;
        match usize::try_from(padded) {
            Ok(padded) if can_be_filled => shape.push(padded),
            _ => return Err(invalid(format!("pads {pads:?} of a tensor of shape {:?}", data.shape()))),
        }
    }
    let distance = strides(data.shape())?;
    moved(context, data, Some(&fill), shape, |axis, place| {
        let (begin, end) = edges[axis];
        // Negative pads crop first; what is added continues what is left.
        let (first, kept) = (-begin.min(0), data.shape()[axis] as i128 + begin.min(0) + end.min(0));
        let inside = continued(op.mode, place as i128 - begin.max(0), kept)?;
        Some(usize::try_from(first + inside).ok()?.saturating_mul(distance[axis]))
    })
}

/// The place among `length` that stands at `place`, which may lie outside.
fn continued(mode: PadMode, place: i128, length: i128) -> Option<i128> {
    if (0..length).contains(&place) {
        return Some(place);
    }
    match mode {
        PadMode::Edge if length > 0 => Some(place.clamp(0, length - 1)),
        PadMode::Wrap if length > 0 => Some(place.rem_euclid(length)),
        PadMode::Reflect if length == 1 => Some(0),
        PadMode::Reflect if length > 1 => {
            let period = 2 * (length - 1);
            let place = place.rem_euclid(period);
            Some(place.min(period - place))
        }
        _ => None,
    }
}

pub(super) fn center_crop_pad(op: &CenterCropPad, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let axes = match &op.axes {
        Some(axes) => axes_of(axes, data.rank())?,
        None => (0..data.rank()).collect(),
    };
    let wanted = lengths(context.input(1)?)?;
    if wanted.len() != axes.len() {
        return Err(invalid(format!("{} lengths for {} axes", wanted.len(), axes.len())));
    }
    let mut shape = data.shape().to_vec();
    for (&axis, &length) in axes.iter().zip(&wanted) {
        shape[axis] = length;
    }
    let distance = strides(data.shape())?;
    let result = shape.clone();
    moved(context, data, Some(&zero(data.element_type())?), shape, |axis, place| {
        let (old, new) = (data.shape()[axis], result[axis]);
        // The middle is rounded down, whether something is cut off or added.
        let source =
            if old > new { place.checked_add((old - new) / 2)? } else { place.checked_sub((new - old) / 2)? };
        (source < old).then(|| source.saturating_mul(distance[axis]))
    })
}
