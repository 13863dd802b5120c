//! Normalisations, softmax, dropout.

use super::broadcast::{Groups, around, expand, resolve_axis};
use super::elementwise::maximum;
use super::{Context, EvaluateError, invalid, unsupported};
use crate::ops::normalization::{BatchNormalization, GroupNormalization, InstanceNormalization, LayerNormalization};
use crate::ops::normalization::{
    LpNormalization, Lrn, MeanVarianceNormalization, RmsNormalization, Softmax, SoftmaxKind,
};
use crate::tensor::{ElementType, Tensor};

type Results = Result<Vec<Tensor>, EvaluateError>;

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Mean and (population) variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let center = mean(values.iter().copied());
    (center, mean(values.iter().map(|value| (value - center).powi(2))))
}

/// Values minus their mean, divided by the square root of their variance plus epsilon.
fn standardized(values: Vec<f64>, epsilon: f64) -> Vec<f64> {
    let (center, variance) = moments(&values);
    let scale = (variance + epsilon).sqrt().recip();
    values.into_iter().map(|value| (value - center) * scale).collect()
}

/// The numbers of an input that has one for each channel.
fn per_channel(context: &Context<'_>, slot: usize, channels: usize) -> Result<Vec<f64>, EvaluateError> {
    let tensor = context.input(slot)?;
    if tensor.rank() != 1 || tensor.len() != channels {
        return Err(invalid(format!("input {slot} of shape {:?} for {channels} channels", tensor.shape())));
    }
    Ok(tensor.to_f64s()?)
}

/// Number of examples, channels, and elements of a channel of `[N, C, …]`; a lone axis is `N`.
fn channels_of(shape: &[usize]) -> Result<(usize, usize, usize), EvaluateError> {
    match shape {
        [] => Err(invalid("the input has no axes")),
        [examples] => Ok((*examples, 1, 1)),
        _ => around(shape, 1),
    }
}

/// Applies `function(value, channel)` to every element.
fn map_channels(values: &mut [f64], channels: usize, inner: usize, function: impl Fn(f64, usize) -> f64) {
    for (place, channel) in values.chunks_exact_mut(inner.max(1)).enumerate() {
        for value in channel {
            *value = function(*value, place % channels);
        }
    }
}

fn like(x: &Tensor, values: Vec<f64>) -> Result<Tensor, EvaluateError> {
    Ok(Tensor::from_f64s(x.element_type(), x.shape().to_vec(), values)?)
}

pub(super) fn batch_normalization(op: &BatchNormalization, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let (examples, channels, inner) = channels_of(x.shape())?;
    let (scale, bias) = (per_channel(context, 1, channels)?, per_channel(context, 2, channels)?);
    let (mut mean, mut variance) = (per_channel(context, 3, channels)?, per_channel(context, 4, channels)?);
    let mut values = x.to_f64s()?;
    let mut running = Vec::new();
    if op.training_mode {
        let groups = Groups::along(&[examples, channels, inner], &[0, 2])?;
        let batch: Vec<_> = groups.read(&values).map(|group| moments(&group)).collect();
        let momentum = f64::from(op.momentum);
        let update = |slot: usize, old: &[f64], new: fn(&(f64, f64)) -> f64| {
            let joined = old.iter().zip(&batch).map(|(old, batch)| old * momentum + new(batch) * (1.0 - momentum));
            like(context.input(slot)?, joined.collect())
        };
        let inverse = |batch: &(f64, f64)| 1.0 / (batch.1 + f64::from(op.epsilon)).sqrt();
        running = vec![
            update(3, &mean, |batch| batch.0)?,
            update(4, &variance, |batch| batch.1)?,
            like(context.input(3)?, batch.iter().map(|batch| batch.0).collect())?,
            like(context.input(3)?, batch.iter().map(inverse).collect())?,
        ];
        (mean, variance) = batch.into_iter().unzip();
    }
    let factors: Vec<_> = scale
        .iter()
        .zip(&variance)
        .map(|(scale, variance)| scale / (variance + f64::from(op.epsilon)).sqrt())
        .collect();
    map_channels(&mut values, channels, inner, |value, channel| {
        (value - mean[channel]) * factors[channel] + bias[channel]
    });
    running.insert(0, like(x, values)?);
    Ok(running)
}

pub(super) fn instance_normalization(op: &InstanceNormalization, context: &Context<'_>) -> Results {
    let channels = channels_of(context.input(0)?.shape())?.1;
    grouped(context, channels, op.epsilon)
}

pub(super) fn group_normalization(op: &GroupNormalization, context: &Context<'_>) -> Results {
    let groups = usize::try_from(op.num_groups).map_err(|_| invalid(format!("{} groups", op.num_groups)))?;
    grouped(context, groups, op.epsilon)
}

/// Standardises groups of channels, then scales and shifts each channel by inputs 1 and 2.
fn grouped(context: &Context<'_>, groups: usize, epsilon: f32) -> Results {
    let x = context.input(0)?;
    let (_, channels, inner) = channels_of(x.shape())?;
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(invalid(format!("{channels} channels in {groups} groups")));
    }
    let (scale, bias) = (per_channel(context, 1, channels)?, per_channel(context, 2, channels)?);
    let length = (channels / groups).checked_mul(inner).ok_or_else(|| invalid("too many elements"))?;
    let values = x.to_f64s()?;
    let mut values: Vec<_> =
        values.chunks(length.max(1)).flat_map(|group| standardized(group.to_vec(), epsilon.into())).collect();
    map_channels(&mut values, channels, inner, |value, channel| value * scale[channel] + bias[channel]);
    Ok(vec![like(x, values)?])
}

/// Multiplies by input 1 and adds input 2 (where it is there), both broadcast.
fn scale_and_shift(context: &Context<'_>, values: &mut [f64]) -> Result<(), EvaluateError> {
    let shape = context.input(0)?.shape();
    let scale = context.input(1)?;
    for (value, scale) in values.iter_mut().zip(expand(&scale.to_f64s()?, scale.shape(), shape)?.iter()) {
        *value *= scale;
    }
    if let Some(bias) = context.optional(2) {
        for (value, bias) in values.iter_mut().zip(expand(&bias.to_f64s()?, bias.shape(), shape)?.iter()) {
            *value += bias;
        }
    }
    Ok(())
}

pub(super) fn layer_normalization(op: &LayerNormalization, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let axis = resolve_axis(op.axis, x.rank())?;
    let groups = Groups::along(x.shape(), &(axis..x.rank()).collect::<Vec<_>>())?;
    let (values, epsilon) = (x.to_f64s()?, f64::from(op.epsilon));
    let mut normalized = groups.map(&values, 0.0, |group| standardized(group, epsilon));
    scale_and_shift(context, &mut normalized)?;
    let mut results = vec![like(x, normalized)?];
    if context.outputs.len() > 1 {
        let stash = i32::try_from(op.stash_type).ok().and_then(ElementType::from_onnx);
        let stash =
            stash.filter(|stash| stash.is_float()).ok_or_else(|| unsupported("statistics that are no floats"))?;
        let shape: Vec<_> =
            x.shape().iter().enumerate().map(|(place, &length)| if place < axis { length } else { 1 }).collect();
        context.room(stash, &shape)?;
        let (means, inverses) = groups
            .read(&values)
            .map(|group| moments(&group))
            .map(|(mean, variance)| (mean, (variance + epsilon).sqrt().recip()))
            .unzip();
        results.push(Tensor::from_f64s(stash, shape.clone(), means)?);
        results.push(Tensor::from_f64s(stash, shape, inverses)?);
    }
    Ok(results)
}

pub(super) fn rms_normalization(op: &RmsNormalization, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let axis = resolve_axis(op.axis, x.rank())?;
    let groups = Groups::along(x.shape(), &(axis..x.rank()).collect::<Vec<_>>())?;
    let mut normalized = groups.map(&x.to_f64s()?, 0.0, |group| {
        let scale = (mean(group.iter().map(|value| value * value)) + f64::from(op.epsilon)).sqrt().recip();
        group.into_iter().map(|value| value * scale).collect()
    });
    scale_and_shift(context, &mut normalized)?;
    // The scale, not the input, decides the type of the result.
    Ok(vec![Tensor::from_f64s(context.input(1)?.element_type(), x.shape().to_vec(), normalized)?])
}

pub(super) fn mean_variance_normalization(op: &MeanVarianceNormalization, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let axes = op.axes.iter().map(|&axis| resolve_axis(axis, x.rank())).collect::<Result<Vec<_>, _>>()?;
    let normalized = Groups::along(x.shape(), &axes)?.map(&x.to_f64s()?, 0.0, |group| {
        let (center, variance) = moments(&group);
        // The definition adds this to the standard deviation, not to the variance.
        let divisor = variance.sqrt() + 1e-9;
        group.into_iter().map(|value| (value - center) / divisor).collect()
    });
    Ok(vec![like(x, normalized)?])
}

pub(super) fn local_response_normalization(op: &Lrn, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    if x.rank() < 2 {
        return Err(invalid("the input has no channels"));
    }
    let size = usize::try_from(op.size).ok().filter(|&size| size > 0).ok_or_else(|| invalid("size is below 1"))?;
    let (before, behind) = ((size - 1) / 2, size / 2);
    let (alpha, beta, bias) = (f64::from(op.alpha) / size as f64, f64::from(op.beta), f64::from(op.bias));
    let normalized = Groups::along(x.shape(), &[1])?.map(&x.to_f64s()?, 0.0, |channels| {
        let normalize = |(place, &value): (usize, &f64)| {
            let near = place.saturating_sub(before)..place.saturating_add(behind).saturating_add(1).min(channels.len());
            let sum: f64 = channels[near].iter().map(|value| value * value).sum();
            value / (bias + alpha * sum).powf(beta)
        };
        channels.iter().enumerate().map(normalize).collect()
    });
    Ok(vec![like(x, normalized)?])
}

/// Replaces the elements along an axis.
fn along_axis(context: &Context<'_>, axis: i64, function: impl Fn(Vec<f64>) -> Vec<f64>) -> Results {
    let x = context.input(0)?;
    let groups = Groups::along(x.shape(), &[resolve_axis(axis, x.rank())?])?;
    Ok(vec![like(x, groups.map(&x.to_f64s()?, 0.0, function))?])
}

pub(super) fn lp_normalization(op: &LpNormalization, context: &Context<'_>) -> Results {
    along_axis(context, op.axis, |values| {
        let norm = match op.p {
            1 => values.iter().map(|value| value.abs()).sum::<f64>(),
            _ => values.iter().map(|value| value * value).sum::<f64>().sqrt(),
        };
        let divide = |value| if norm == 0.0 { 0.0 } else { value / norm };
        values.into_iter().map(divide).collect()
    })
}

pub(super) fn softmax(kind: SoftmaxKind, op: &Softmax, context: &Context<'_>) -> Results {
    along_axis(context, op.axis, |values| {
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, maximum);
        let sum: f64 = values.iter().map(|value| (value - largest).exp()).sum();
        match kind {
            SoftmaxKind::Softmax => values.into_iter().map(|value| (value - largest).exp() / sum).collect(),
            SoftmaxKind::LogSoftmax => values.into_iter().map(|value| value - largest - sum.ln()).collect(),
            SoftmaxKind::Hardmax => {
                let winner = values.iter().position(|&value| value == largest);
                (0..values.len()).map(|place| f64::from(u8::from(Some(place) == winner))).collect()
            }
        }
    })
}

pub(super) fn dropout(context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let number = |slot: usize, default: f64| match context.optional(slot) {
        None => Ok(default),
        Some(tensor) => match tensor.to_f64s()?[..] {
            [number] => Ok(number),
            _ => Err(invalid(format!("input {slot} is not one number"))),
        },
    };
    let (ratio, training) = (number(1, 0.5)?, number(2, 0.0)?);
    if training != 0.0 && ratio != 0.0 {
        return Err(unsupported("Dropout in training mode, which is random"));
    }
    let mut results = vec![x.clone()];
    if context.outputs.len() > 1 {
        let count = context.room(ElementType::Bool, x.shape())?;
        results.push(Tensor::from_bools(x.shape().to_vec(), &vec![true; count])?);
    }
    Ok(results)
}
