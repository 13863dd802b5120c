//! Quantization.

use super::Inferred;
use super::call::{Call, Class, FLOAT32, FLOATS, Result, axis_of, ensure, mismatch, output};
use super::shapes::agree;
use crate::graph::Dim;
use crate::ops::quantization::{DequantizeLinear, QuantizeLinear};
use crate::tensor::ElementType;

/// Types of quantized elements.
const QUANTIZED: Class = Class::new("an integer of at most 32 bits or an 8- or 4-bit float", |element_type| {
    let narrow = element_type.bits() <= Some(16) || element_type == ElementType::I32;
    (element_type.is_integer() && narrow) || element_type.is_float8() || element_type == ElementType::F4E2M1
});
/// Types that are quantized.
const UNQUANTIZED: Class = Class::new("a floating-point type or int32", |element_type| {
    FLOATS.has(element_type) || element_type == ElementType::I32
});
/// Types of scales.
const SCALES: Class =
    Class::new("a floating-point type", |element_type| FLOATS.has(element_type) || element_type == ElementType::F8E8M0);

/// Checks scale (input 1) and zero point (input 2) against the data: one for all, one for each place of an axis, or one
/// for each block of it.
fn granularity(call: &Call<'_>, axis: i64, block_size: i64) -> Result<()> {
    ensure(block_size >= 0, "block_size", "at least 0", block_size)?;
    // One for all may be a scalar here and a vector of length 1 there.
    let single = |shape: &[Dim]| shape.len() <= 1 && shape.iter().all(|length| length.constant() == Some(1));
    if let (Some(scale), true) = (call.shape(1), call.has(2))
        && !(single(scale) && call.shape(2).is_some_and(single))
    {
        call.has_shape(2, &scale.iter().map(Some).collect::<Vec<_>>())?;
    }
    let (Some(data), Some(scale)) = (call.shape(0), call.shape(1)) else { return Ok(()) };
    if block_size > 0 {
        call.rank(1, data.len())?;
        let axis = axis_of(axis, data.len(), "axis")?;
        for (place, (own, scale)) in data.iter().zip(scale).enumerate() {
            let blocks = if place == axis {
                own.add(&Dim::from(block_size - 1)).and_then(|length| length.divide_floor(block_size))
            } else {
                Some(own.clone())
            };
            if let Some(blocks) = blocks {
                agree(scale, &blocks, || format!("axis {place} of input 1 (scale)"))?;
            }
        }
        return Ok(());
    }
    match scale {
        [] => Ok(()),
        [length] if length.constant() == Some(1) => Ok(()),
        [length] => {
            let axis = axis_of(axis, data.len(), "axis")?;
            agree(length, &data[axis], || format!("length of input 1 (scale), one for each place of axis {axis}"))?;
            Ok(())
        }
        _ => call.rank(1, 1).map(|_| ()),
    }
}

pub(super) fn quantize_linear(op: &QuantizeLinear, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 3, 1)?;
    call.class(0, UNQUANTIZED)?;
    call.class(1, UNQUANTIZED)?;
    granularity(call, op.axis, op.block_size)?;
    let declared = match op.output_dtype {
        0 => None,
        code => {
            let known = i32::try_from(code).ok().and_then(ElementType::from_onnx);
            let known = known.filter(|&element_type| QUANTIZED.has(element_type));
            Some(known.ok_or_else(|| mismatch("output_dtype", "the number of a quantized type", code))?)
        }
    };
    let zero_point = call.class(2, QUANTIZED)?;
    if let (Some(declared), Some(zero_point)) = (declared, zero_point) {
        ensure(declared == zero_point, "element type of input 2 (zero point)", declared, zero_point)?;
    }
    let default = if call.has(2) { None } else { Some(ElementType::U8) };
    let element_type = declared.or(zero_point).or(default);
    Ok(vec![output(element_type, call.shape(0).map(<[Dim]>::to_vec))])
}

pub(super) fn dequantize_linear(op: &DequantizeLinear, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 3, 1)?;
    call.same([0, 2], QUANTIZED)?;
    let element_type = call.class(1, SCALES)?;
    granularity(call, op.axis, op.block_size)?;
    Ok(vec![output(element_type, call.shape(0).map(<[Dim]>::to_vec))])
}

pub(super) fn dynamic_quantize_linear(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 3)?;
    call.class(0, FLOAT32)?;
    let shape = call.shape(0).map(<[Dim]>::to_vec);
    let scalar = || Some(Vec::new());
    Ok(vec![
        output(Some(ElementType::U8), shape),
        output(Some(ElementType::F32), scalar()),
        output(Some(ElementType::U8), scalar()),
    ])
}
