//! What changed between versions of an operator apart from attributes that became inputs.

use super::{Draft, Input, NotLifted, kept};
use crate::graph::Dim;
use crate::ops::Op;
use crate::ops::attribute::{AttributeError, Attributes};
use crate::ops::index::Shape;
use crate::ops::layout::Flatten;
use crate::tensor::{ElementType, Tensor};

pub(super) fn apply(draft: &mut Draft<'_>, opset: i64) -> Result<(), NotLifted> {
    match draft.op_type {
        "Softmax" | "LogSoftmax" | "Hardmax" if opset < 13 => softmax(draft),
        "BatchNormalization" if opset < 14 => batch_normalization(draft),
        "GroupNormalization" if opset < 21 => group_normalization(draft),
        "Dropout" if opset < 10 => dropout(draft),
        "Pad" | "Slice" | "Unsqueeze" | "TopK" => required(draft),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceProd" | "ReduceSum" | "ReduceSumSquare"
            if opset < 18 =>
        {
            reduce(draft);
            Ok(())
        }
        "ConvTranspose" if opset < 11 => conv_transpose(draft),
        "Scatter" => {
            draft.op_type = "ScatterElements";
            Ok(())
        }
        "Upsample" => upsample(draft),
        "Resize" if opset < 11 => resize_10(draft),
        "Resize" => {
            resize(draft);
            Ok(())
        }
        "RoiAlign" if opset < 16 => {
            draft.attributes.put("coordinate_transformation_mode", &"output_half_pixel".to_owned());
            Ok(())
        }
        "GridSample" if opset < 20 => grid_sample(draft),
        "Mod" if opset >= 28 => modulus(draft),
        "BitShift" if opset >= 28 => bit_shift(draft),
        "SpaceToDepth" if opset >= 28 => only(draft, "mode", &"DCR".to_owned()),
        "Range" if opset >= 27 => only(draft, "stash_type", &1i64),
        "Cast" | "CastLike" if opset >= 24 => only(draft, "round_mode", &"up".to_owned()),
        "QuantizeLinear" if opset >= 23 => quantize(draft),
        "DequantizeLinear" if opset >= 23 => dequantize(draft),
        _ => Ok(()),
    }
}

/// Whether [`apply`] asks for element types or shapes.
pub(super) fn asks_for_types(op_type: &str, opset: i64) -> bool {
    match op_type {
        "Softmax" | "LogSoftmax" | "Hardmax" => opset < 13,
        "GroupNormalization" => opset < 21,
        "Mod" | "BitShift" => opset >= 28,
        "QuantizeLinear" | "DequantizeLinear" => opset >= 23,
        _ => false,
    }
}

/// An attribute that came after the semantics inside: nothing is lost if it says what was always so.
fn only<T>(draft: &mut Draft<'_>, name: &str, usual: &T) -> Result<(), NotLifted>
where
    T: crate::ops::attribute::AttributeValue + std::fmt::Debug,
{
    match draft.attributes.take::<T>(name)? {
        Some(value) if value != *usual => kept(format!("attribute {name:?} is {value:?}")),
        _ => Ok(()),
    }
}

/// An input that was a required attribute.
fn required(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let slots = super::schema::moved(draft.op_type).filter(|moved| {
        let optional = matches!((moved.operator, moved.attribute), ("Pad", "value") | ("Slice", "axes"));
        !optional && matches!(draft.inputs.get(moved.slot), None | Some(Input::Absent))
    });
    match slots.map(|moved| moved.attribute).next() {
        Some(missing) => Err(NotLifted::Attribute(AttributeError::Missing(missing.to_owned()))),
        None => Ok(()),
    }
}

/// Before operator set 13 the axes from `axis` on were taken together.
fn softmax(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let axis = draft.attributes.take::<i64>("axis")?.unwrap_or(1);
    draft.attributes.put("axis", &axis);
    let alone = axis == -1 || draft.shape(0).is_some_and(|shape| is_last(shape, axis));
    if alone {
        return Ok(());
    }
    let input = draft.inputs.first().cloned().unwrap_or(Input::Absent);
    let mut last = Attributes::default();
    last.put("axis", &-1i64);
    let Some(softmax) = Op::read(draft.op_type, last) else { return kept("operator is not known") };
    draft.before = vec![
        ("flattened", Flatten { axis }.into(), vec![input.clone()]),
        ("of_flattened", softmax?, vec![Input::Before(0)]),
        ("shape", Shape { start: 0, end: None }.into(), vec![input]),
    ];
    draft.op_type = "Reshape";
    draft.attributes = Attributes::default();
    draft.inputs = vec![Input::Before(1), Input::Before(2)];
    Ok(())
}

/// Whether all axes after `axis` have length 1, so that it alone is what it is together with them.
pub(in crate::onnx) fn is_last(shape: &[Dim], axis: i64) -> bool {
    let axis = if axis < 0 { axis.checked_add(shape.len() as i64) } else { Some(axis) };
    let Some(axis) = axis.and_then(|axis| usize::try_from(axis).ok()) else { return false };
    shape.get(axis..).is_some_and(|rest| !rest.is_empty() && rest[1..].iter().all(|dim| dim.known() == Some(1)))
}

fn batch_normalization(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    if draft.attributes.take::<i64>("spatial")? == Some(0) {
        return kept("statistics for each element (spatial = 0) instead of for each channel");
    }
    if draft.outputs.iter().skip(1).any(Option::is_some) {
        return kept("training outputs of BatchNormalization before operator set 14");
    }
    Ok(())
}

/// Until operator set 20 scale and bias were given for each group, then for each channel.
fn group_normalization(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let channels = draft.shape(0).and_then(|shape| shape.get(1)?.known());
    for (slot, name) in [(1, "scale"), (2, "bias")] {
        let Some(data) = draft.data(slot) else { return kept(format!("{name} for each group is no constant")) };
        let data = data.clone();
        let (Some((width, patterns)), Some(channels)) = (data.to_patterns(), channels) else {
            return kept("the number of channels is not known");
        };
        let groups = data.len();
        if data.rank() != 1 || groups == 0 || !channels.is_multiple_of(groups) {
            return kept(format!("{name} of shape {:?} does not fit {channels} channels", data.shape()));
        }
        if !draft.budget.take(channels.saturating_mul(width)) {
            return kept(format!("{channels} channels are more than a file of this size may ask for"));
        }
        let per_group = patterns.chunks_exact(width.max(1));
        let repeated: Vec<u8> = per_group.flat_map(|pattern| pattern.repeat(channels / groups)).collect();
        let data = Tensor::from_patterns(data.element_type(), vec![channels], &repeated);
        let data = data.map_err(|error| NotLifted::Kept(error.to_string()))?;
        draft.replaced.extend(draft.value(slot));
        draft.set_input(slot, Input::Constant(name, data));
    }
    Ok(())
}

/// The mask had the element type of the data.
fn dropout(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let mask = draft.outputs.get(1).copied().flatten();
    if mask.is_some_and(draft.is_read) {
        return kept("the mask of Dropout before operator set 10 is read");
    }
    draft.kept_outputs = 1;
    Ok(())
}

/// No axes meant all axes.
fn reduce(draft: &mut Draft<'_>) {
    if draft.data(1).is_some_and(Tensor::is_empty) && !draft.attributes.has("noop_with_empty_axes") {
        draft.inputs.truncate(1);
    }
}

/// Which side gets the odd element of a padding that is computed was defined the other way round.
fn conv_transpose(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let auto_pad = draft.attributes.clone().take::<String>("auto_pad")?;
    let computed = auto_pad.is_some_and(|mode| mode.starts_with("SAME")) || draft.attributes.has("output_shape");
    if computed { kept("computed padding of ConvTranspose before operator set 11") } else { Ok(()) }
}

fn upsample(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    draft.op_type = "Resize";
    if matches!(draft.inputs.get(1), None | Some(Input::Absent)) {
        return Err(NotLifted::Attribute(AttributeError::Missing("scales".into())));
    }
    asymmetric(draft, "floor");
    Ok(())
}

/// The places of Upsample and of Resize before operator set 11; scales move from input 1 to 2.
fn asymmetric(draft: &mut Draft<'_>, nearest_mode: &str) {
    draft.attributes.put("coordinate_transformation_mode", &"asymmetric".to_owned());
    draft.attributes.put("nearest_mode", &nearest_mode.to_owned());
    draft.inputs.insert(1, Input::Absent);
}

/// `nearest` rounded down where the image grows and up where it shrinks.
fn resize_10(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let mode = draft.attributes.clone().take::<String>("mode")?;
    let nearest_mode = if mode.is_none_or(|mode| mode == "nearest") {
        let scales = draft.data(1).and_then(|scales| scales.to_f64s().ok());
        let Some(scales) = scales else { return kept("scales of Resize before operator set 11 are no constant") };
        match (scales.iter().all(|&scale| scale >= 1.0), scales.iter().all(|&scale| scale <= 1.0)) {
            (true, _) => "floor",
            (_, true) => "ceil",
            _ => return kept("Resize before operator set 11 that grows along one axis and shrinks along another"),
        }
    } else {
        "floor"
    };
    asymmetric(draft, nearest_mode);
    Ok(())
}

/// Before operator set 13 what was not given had to be there and empty; some files still have it so.
fn resize(draft: &mut Draft<'_>) {
    for slot in [1, 2] {
        let nothing = |data: &Tensor| data.is_empty() && data.element_type().is_float();
        if draft.data(slot).is_some_and(nothing) {
            draft.set_input(slot, Input::Absent);
        }
    }
}

fn grid_sample(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let mode = draft.attributes.take::<String>("mode")?;
    let mode = match mode.as_deref().unwrap_or("bilinear") {
        "bilinear" => "linear",
        "bicubic" => "cubic",
        "nearest" => "nearest",
        other => return kept(format!("attribute \"mode\" is {other:?}")),
    };
    draft.attributes.put("mode", &mode.to_owned());
    Ok(())
}

/// Since operator set 28 `fmod = 0` is defined for floating point too.
fn modulus(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let fmod = draft.attributes.clone().take::<bool>("fmod")?.unwrap_or(false);
    let integer = draft.element_type(0).is_some_and(ElementType::is_integer);
    if fmod || integer { Ok(()) } else { kept("remainder of floating-point numbers with the sign of the divisor") }
}

fn bit_shift(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    match draft.element_type(0) {
        Some(ElementType::U8 | ElementType::U16 | ElementType::U32 | ElementType::U64) => Ok(()),
        _ => kept("shift of integers that may have a sign"),
    }
}

fn quantize(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    only(draft, "precision", &0i64)?;
    match (draft.element_type(0), draft.element_type(1)) {
        (Some(data), Some(scale)) if data != scale => kept(format!("scale of type {scale} for data of type {data}")),
        _ => Ok(()),
    }
}

fn dequantize(draft: &mut Draft<'_>) -> Result<(), NotLifted> {
    let scale = draft.element_type(1);
    if scale == Some(ElementType::F8E8M0) {
        return kept("scale of type float8e8m0");
    }
    let wanted = draft.attributes.take::<i64>("output_dtype")?.unwrap_or(0);
    if wanted == 0 || scale.is_some_and(|scale| i64::from(scale.to_onnx()) == wanted) {
        return Ok(());
    }
    kept(format!("attribute \"output_dtype\" is {wanted}, not the scale's type"))
}
