//! Operators that move elements without computing.

pub(super) mod moving;
mod window;

use self::moving::{Pool, axes_mask, axes_of, broadcast_picks, lengths, moved, separable, single, walk, zero};
use super::broadcast::{around, broadcast_shape, expand as expand_values, resolve_axis, strides};
use super::{Context, EvaluateError, invalid, unsupported};
use crate::ops::Op;
use crate::ops::elementwise::Unary;
use crate::ops::layout::{Concat, DepthToSpace, DepthToSpaceMode, Flatten, Reshape, ReverseSequence, SpaceToDepth};
use crate::ops::layout::{Split, Transpose, Trilu};
use crate::tensor::{Tensor, element_count};

/// Results of an operator of [`crate::ops::layout`].
pub(super) fn evaluate(op: &Op, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let one = match op {
        Op::Unary(Unary::Identity) => Ok(context.input(0)?.clone()),
        Op::Where(_) => choose(context),
        Op::Reshape(op) => reshape(op, context),
        Op::Flatten(op) => flatten(op, context),
        Op::Squeeze(_) => squeeze(context),
        Op::Unsqueeze(_) => unsqueeze(context),
        Op::Transpose(op) => transpose(op, context),
        Op::Expand(_) => expand(context),
        Op::Concat(op) => concat(op, context),
        Op::Split(op) => return split(op, context),
        Op::Slice(_) => window::slice(context),
        Op::Pad(op) => window::pad(op, context),
        Op::CenterCropPad(op) => window::center_crop_pad(op, context),
        Op::Tile(_) => tile(context),
        Op::DepthToSpace(op) => depth_to_space(op, context),
        Op::SpaceToDepth(op) => space_to_depth(op, context),
        Op::Trilu(op) => trilu(op, context),
        Op::ReverseSequence(op) => reverse_sequence(op, context),
        other => Err(unsupported(other.op_type())),
    };
    Ok(vec![one?])
}

/// Where.
fn choose(context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (condition, yes, no) = (context.input(0)?, context.input(1)?, context.input(2)?);
    let shape = broadcast_shape(&[condition.shape(), yes.shape(), no.shape()])?;
    context.room(yes.element_type(), &shape)?;
    let condition: Vec<_> = condition.to_i64s()?.into_iter().map(|value| value != 0).collect();
    let condition = expand_values(&condition, context.input(0)?.shape(), &shape)?;
    let (yes_picks, no_picks) = (broadcast_picks(yes, &shape, 0)?, broadcast_picks(no, &shape, yes.len())?);
    let either = condition.iter().zip(yes_picks.iter().zip(&no_picks));
    let picks: Vec<_> = either.map(|(&condition, (&yes, &no))| if condition { yes } else { no }).collect();
    Pool::new(&[yes, no])?.take(shape, &picks)
}

fn reshape(op: &Reshape, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let wanted = context.input(1)?.to_i64s()?;
    let mut shape = Vec::with_capacity(wanted.len());
    let mut free = None;
    for (axis, &length) in wanted.iter().enumerate() {
        shape.push(match (usize::try_from(length), data.shape().get(axis)) {
            (Ok(0), Some(&kept)) if !op.allowzero => kept,
            (Ok(0), None) if !op.allowzero => return Err(invalid(format!("nothing to keep on axis {axis}"))),
            (Ok(length), _) => length,
            (Err(_), _) if length == -1 && free.is_none() => {
                free = Some(axis);
                1
            }
            (Err(_), _) => return Err(invalid(format!("{wanted:?} is no shape to bring a tensor to"))),
        });
    }
    if let Some(free) = free {
        match element_count(&shape)? {
            rest if rest > 0 && data.len() % rest == 0 => shape[free] = data.len() / rest,
            _ => return Err(invalid(format!("{:?} cannot be brought to {wanted:?}", data.shape()))),
        }
    }
    Ok(data.reshaped(shape)?)
}

fn flatten(op: &Flatten, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    // The axis may be one past the last, so that it names one of rank + 1 gaps; −1 is before the last axis though.
    let rank = data.rank();
    let gap = if op.axis == rank as i64 { rank } else { resolve_axis(op.axis, rank.max(1))? };
    let (before, behind) = data.shape().split_at_checked(gap).unwrap_or((data.shape(), &[]));
    Ok(data.reshaped(vec![element_count(before)?, element_count(behind)?])?)
}

fn squeeze(context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let removed = match context.optional(1) {
        Some(axes) => axes_mask(&axes.to_i64s()?, data.rank())?,
        None => data.shape().iter().map(|&length| length == 1).collect(),
    };
    let axes = data.shape().iter().zip(removed);
    if axes.clone().any(|(&length, removed)| removed && length != 1) {
        return Err(invalid(format!("an axis of {:?} that is to go is not of length 1", data.shape())));
    }
    let kept = axes.filter(|(_, removed)| !removed).map(|(&length, _)| length);
    Ok(data.reshaped(kept.collect())?)
}

fn unsqueeze(context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let axes = context.input(1)?.to_i64s()?;
    let inserted = axes_mask(&axes, data.rank().saturating_add(axes.len()))?;
    let mut kept = data.shape().iter().copied();
    let length = |inserted| if inserted { 1 } else { kept.next().unwrap_or(1) };
    Ok(data.reshaped(inserted.into_iter().map(length).collect())?)
}

fn transpose(op: &Transpose, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let order = match &op.perm {
        Some(order) => axes_of(order, data.rank())?,
        None => (0..data.rank()).rev().collect(),
    };
    if order.len() != data.rank() {
        return Err(invalid(format!("a permutation {order:?} of {} axes", data.rank())));
    }
    let steps = strides(data.shape())?;
    let shape = order.iter().map(|&axis| data.shape()[axis]).collect();
    moved(context, data, None, shape, |axis, place| Some(place.saturating_mul(steps[order[axis]])))
}

fn expand(context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let shape = broadcast_shape(&[data.shape(), &lengths(context.input(1)?)?])?;
    context.room(data.element_type(), &shape)?;
    let picks = broadcast_picks(data, &shape, 0)?;
    Pool::new(&[data])?.take(shape, &picks)
}

fn concat(op: &Concat, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let sources: Vec<_> = (0..context.inputs.len()).map(|slot| context.input(slot)).collect::<Result<_, _>>()?;
    let first = context.input(0)?;
    let axis = resolve_axis(op.axis, first.rank())?;
    let mut shape = first.shape().to_vec();
    for source in &sources[1..] {
        let agrees = |other: usize| other == axis || source.shape()[other] == shape[other];
        if source.rank() != shape.len() || !(0..shape.len()).all(agrees) {
            return Err(invalid(format!("{:?} and {:?} do not join along axis {axis}", first.shape(), source.shape())));
        }
        shape[axis] = shape[axis].saturating_add(source.shape()[axis]);
    }
    let count = context.room(first.element_type(), &shape)?;
    let mut picks = Vec::with_capacity(count);
    if count > 0 {
        let (outer, _, inner) = around(&shape, axis)?;
        for outer in 0..outer {
            let mut start = 0;
            for source in &sources {
                let run = source.shape()[axis] * inner;
                picks.extend(start + outer * run..start + (outer + 1) * run);
                start += source.len();
            }
        }
    }
    Pool::new(&sources)?.take(shape, &picks)
}

fn split(op: &Split, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let data = context.input(0)?;
    let axis = resolve_axis(op.axis, data.rank())?;
    let length = data.shape()[axis];
    let parts = if let Some(parts) = context.optional(1) {
        lengths(parts)?
    } else {
        let count = op.num_outputs.map_or(Some(context.outputs.len()), |count| usize::try_from(count).ok());
        let Some(count) = count.filter(|&count| count == context.outputs.len() && count > 0) else {
            return Err(invalid(format!("{:?} parts for {} outputs", op.num_outputs, context.outputs.len())));
        };
        // All parts are as long as the first; the last ones may get less.
        let part = length.div_ceil(count);
        (0..count).map(|index| part.min(length.saturating_sub(index.saturating_mul(part)))).collect()
    };
    let sum = parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part));
    if sum != Some(length) || parts.len() != context.outputs.len() {
        return Err(invalid(format!("parts {parts:?} of an axis of length {length}")));
    }
    let (before, _, behind) = around(data.shape(), axis)?;
    let pool = Pool::new(&[data])?;
    let mut start = 0;
    let mut results = Vec::with_capacity(parts.len());
    for part in parts {
        let mut shape = data.shape().to_vec();
        shape[axis] = part;
        let count = context.room(data.element_type(), &shape)?;
        let step = |axis, place: usize| match axis {
            0 => place * length * behind,
            1 => (start + place) * behind,
            _ => place,
        };
        let picks = separable(&[before, part, behind], count, 0, |axis, place| Some(step(axis, place)));
        results.push(pool.take(shape, &picks)?);
        start += part;
    }
    Ok(results)
}

fn tile(context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let repeats = lengths(context.input(1)?)?;
    if repeats.len() != data.rank() {
        return Err(invalid(format!("{} repeats for {} axes", repeats.len(), data.rank())));
    }
    let steps = strides(data.shape())?;
    let shape = data.shape().iter().zip(&repeats).map(|(&length, &times)| length.saturating_mul(times)).collect();
    moved(context, data, None, shape, |axis, place| Some((place % data.shape()[axis]).saturating_mul(steps[axis])))
}

/// The block size and the four lengths of what it acts on.
fn block_of(blocksize: i64, data: &Tensor) -> Result<(usize, [usize; 4]), EvaluateError> {
    match (usize::try_from(blocksize), <[usize; 4]>::try_from(data.shape())) {
        (Ok(block), Ok(shape)) if block > 0 && block.checked_mul(block).is_some() => Ok((block, shape)),
        _ => Err(invalid(format!("blocks of size {blocksize} in a tensor of shape {:?}", data.shape()))),
    }
}

fn depth_to_space(op: &DepthToSpace, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let (block, [batch, depth, height, width]) = block_of(op.blocksize, data)?;
    if depth % (block * block) != 0 {
        return Err(invalid(format!("{depth} channels in blocks of {block} by {block}")));
    }
    let channels = depth / (block * block);
    let steps = strides(data.shape())?;
    // Distance, in channels of the source, of neighbouring channels of the result, and of places inside a block.
    let (channel_step, block_step) = match op.mode {
        DepthToSpaceMode::DepthColumnRow => (1, channels),
        DepthToSpaceMode::ColumnRowDepth => (block * block, 1),
    };
    let shape = vec![batch, channels, height.saturating_mul(block), width.saturating_mul(block)];
    moved(context, data, None, shape, |axis, place| {
        Some(match axis {
            0 => place * steps[0],
            1 => place * channel_step * steps[1],
            2 => (place / block) * steps[2] + (place % block) * block * block_step * steps[1],
            _ => (place / block) + (place % block) * block_step * steps[1],
        })
    })
}

fn space_to_depth(op: &SpaceToDepth, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let (block, [batch, depth, height, width]) = block_of(op.blocksize, data)?;
    if height % block != 0 || width % block != 0 {
        return Err(invalid(format!("{height} by {width} in blocks of {block} by {block}")));
    }
    let steps = strides(data.shape())?;
    let shape = vec![batch, depth.saturating_mul(block * block), height / block, width / block];
    moved(context, data, None, shape, |axis, place| {
        Some(match axis {
            0 => place * steps[0],
            1 => (place % depth) * steps[1] + (place / depth / block) * steps[2] + place / depth % block,
            2 => place * block * steps[2],
            _ => place * block,
        })
    })
}

fn trilu(op: &Trilu, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let diagonal = context.optional(1).map_or(Ok(0), single)?;
    let &[.., height, width] = data.shape() else {
        return Err(invalid(format!("the triangle of a tensor of shape {:?}", data.shape())));
    };
    let count = context.room(data.element_type(), data.shape())?;
    let pick = |index: usize| {
        let (row, column) = ((index / width % height) as i128, (index % width) as i128);
        let distance = column - row - i128::from(diagonal);
        let kept = if op.upper { distance >= 0 } else { distance <= 0 };
        if kept { index } else { count }
    };
    Pool::new(&[data, &zero(data.element_type())?])?
        .take(data.shape().to_vec(), &(0..count).map(pick).collect::<Vec<_>>())
}

fn reverse_sequence(op: &ReverseSequence, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let data = context.input(0)?;
    let (batch_axis, time_axis) = (resolve_axis(op.batch_axis, data.rank())?, resolve_axis(op.time_axis, data.rank())?);
    if batch_axis == time_axis {
        return Err(invalid("the axes of examples and of steps are the same"));
    }
    let reversed = lengths(context.input(1)?)?;
    let steps = data.shape()[time_axis];
    if reversed.len() != data.shape()[batch_axis] || reversed.iter().any(|&length| length > steps) {
        return Err(invalid(format!("sequence lengths {reversed:?} of a tensor of shape {:?}", data.shape())));
    }
    let distance = strides(data.shape())?;
    let count = context.room(data.element_type(), data.shape())?;
    let mut picks = Vec::with_capacity(count);
    walk(data.shape(), |place| {
        let (length, step) = (reversed[place[batch_axis]], place[time_axis]);
        let source = |axis: usize| if axis == time_axis && step < length { length - 1 - step } else { place[axis] };
        picks.push((0..place.len()).map(|axis| source(axis) * distance[axis]).sum());
        Ok(())
    })?;
    Pool::new(&[data])?.take(data.shape().to_vec(), &picks)
}
