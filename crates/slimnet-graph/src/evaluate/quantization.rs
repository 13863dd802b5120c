//! Quantization, and matrix products of quantized tensors.

use super::broadcast::{around, expand, resolve_axis};
use super::product::matrix_product;
use super::{Context, EvaluateError, invalid, unsupported};
use crate::ops::quantization::{DequantizeLinear, QuantizeLinear};
use crate::tensor::{ElementType, Tensor};

type Results = Result<Vec<Tensor>, EvaluateError>;

/// Integers minus their zero points, which broadcast. Exact: differences of 32-bit integers fit in `f64`.
pub(super) fn centered(x: &Tensor, zero: Option<&Tensor>) -> Result<Vec<f64>, EvaluateError> {
    let mut values = x.to_f64s()?;
    if let Some(zero) = zero {
        let zeros = zero.to_f64s()?;
        // One number is one however many axes of length 1 it has.
        let shape = if zero.len() == 1 { &[] } else { zero.shape() };
        for (value, zero) in values.iter_mut().zip(expand(&zeros, shape, x.shape())?.iter()) {
            *value -= zero;
        }
    }
    Ok(values)
}

/// Rounded numbers plus zero points, saturated to an integer type.
fn saturated(element_type: ElementType, shape: Vec<usize>, values: impl Iterator<Item = (f64, i128)>) -> Results {
    let Some((low, high)) = element_type.integer_range() else {
        return Err(unsupported(format!("quantization to {element_type}")));
    };
    // The cast saturates; the sum of that and a zero point must not overflow.
    let whole = |value: f64| i128::from(value.round_ties_even() as i64);
    let values = values.map(|(value, zero): (f64, i128)| (zero + whole(value)).clamp(low, high)).collect();
    Ok(vec![Tensor::from_i128s(element_type, shape, values)?])
}

/// `sums` times the input scales, divided by the result's scale, in the type of the result's zero point. Scales broadcast
/// to `shape`.
pub(super) fn requantized(shape: &[usize], sums: &[f64], scales: &[&Tensor], scale: &Tensor, zero: &Tensor) -> Results {
    let spread = |tensor: &Tensor| {
        let own = if tensor.len() == 1 { &[] } else { tensor.shape() };
        Ok::<_, EvaluateError>(expand(&tensor.to_f64s()?, own, shape)?.into_owned())
    };
    let mut factors = vec![1.0; sums.len()];
    for scale in scales {
        for (factor, scale) in factors.iter_mut().zip(spread(scale)?) {
            *factor *= scale;
        }
    }
    let zeros = spread(zero)?;
    let values = sums.iter().zip(factors).zip(spread(scale)?).zip(&zeros);
    let values = values.map(|(((sum, factor), scale), &zero)| (sum * (factor / scale), zero as i128));
    saturated(zero.element_type(), shape.to_vec(), values)
}

/// A zero point or scale of the left matrix: one number, or one for each row.
fn per_row(tensor: &Tensor) -> Result<Tensor, EvaluateError> {
    match *tensor.shape() {
        [count] if count != 1 => Ok(tensor.reshaped(vec![count, 1])?),
        _ => Ok(tensor.clone()),
    }
}

/// The exact sums of a matrix product of integers with zero points.
fn integer_product(
    (a, a_zero): (&Tensor, Option<&Tensor>),
    (b, b_zero): (&Tensor, Option<&Tensor>),
    room: impl Fn(&[usize]) -> Result<usize, EvaluateError>,
) -> Result<(Vec<usize>, Vec<f64>), EvaluateError> {
    let a_zero = a_zero.map(per_row).transpose()?;
    let (a_values, b_values) = (centered(a, a_zero.as_ref())?, centered(b, b_zero)?);
    matrix_product((&a_values, a.shape()), (&b_values, b.shape()), room)
}

pub(super) fn mat_mul_integer(context: &Context<'_>) -> Results {
    let room = |shape: &[usize]| context.room(ElementType::I32, shape);
    let (a, b) = ((context.input(0)?, context.optional(2)), (context.input(1)?, context.optional(3)));
    let (shape, sums) = integer_product(a, b, room)?;
    let sums = sums.into_iter().map(|sum| sum as i128).collect();
    Ok(vec![Tensor::from_i128s(ElementType::I32, shape, sums)?])
}

pub(super) fn q_linear_mat_mul(context: &Context<'_>) -> Results {
    let zero = per_row(context.input(7)?)?;
    let room = |shape: &[usize]| context.room(zero.element_type(), shape);
    let (a, b) = ((context.input(0)?, context.optional(2)), (context.input(3)?, context.optional(5)));
    let (shape, sums) = integer_product(a, b, room)?;
    let (a_scale, scale) = (per_row(context.input(1)?)?, per_row(context.input(6)?)?);
    requantized(&shape, &sums, &[&a_scale, context.input(4)?], &scale, &zero)
}

/// Numbers of a scale or zero point, one for each element of `shape`: of the whole tensor, of each place along `axis`, or
/// of each block along it.
fn spread(tensor: &Tensor, shape: &[usize], axis: i64, block_size: i64) -> Result<Vec<f64>, EvaluateError> {
    let values = tensor.to_f64s()?;
    let misfit = || invalid(format!("scale or zero point of shape {:?} for shape {shape:?}", tensor.shape()));
    if block_size == 0 && tensor.len() == 1 {
        return Ok(expand(&values, &[], shape)?.into_owned());
    }
    let axis = resolve_axis(axis, shape.len())?;
    if block_size == 0 {
        let along: Vec<_> = std::iter::once(shape[axis]).chain(vec![1; shape.len() - axis - 1]).collect();
        if tensor.shape() != [shape[axis]] {
            return Err(misfit());
        }
        return Ok(expand(&values, &along, shape)?.into_owned());
    }
    let block = usize::try_from(block_size).map_err(|_| misfit())?;
    let mut blocked = shape.to_vec();
    blocked[axis] = shape[axis].div_ceil(block);
    if tensor.shape() != blocked {
        return Err(misfit());
    }
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let (_, length, inner) = around(shape, axis)?;
    let blocks = values.chunks(blocked[axis] * inner);
    let repeated = |blocks: &[f64]| {
        (0..length).flat_map(|place| blocks[place / block * inner..][..inner].to_vec()).collect::<Vec<_>>()
    };
    Ok(blocks.flat_map(repeated).collect())
}

pub(super) fn quantize_linear(op: &QuantizeLinear, context: &Context<'_>) -> Results {
    let (x, scale) = (context.input(0)?, context.input(1)?);
    let zero = context.optional(2);
    let given = match op.output_dtype {
        0 => None,
        code => Some(
            i32::try_from(code)
                .ok()
                .and_then(ElementType::from_onnx)
                .ok_or_else(|| invalid(format!("{code} is no element type")))?,
        ),
    };
    let element_type = zero.map(Tensor::element_type).or(given).unwrap_or(ElementType::U8);
    if given.is_some_and(|given| given != element_type) {
        return Err(invalid("the zero point's type is not the result's"));
    }
    let shape = x.shape().to_vec();
    context.room(element_type, &shape)?;
    let spread = |tensor: &Tensor| spread(tensor, &shape, op.axis, op.block_size);
    let quotients = x.to_f64s()?.into_iter().zip(spread(scale)?).map(|(x, scale)| x / scale).collect();
    // The quotient is a number of the scale's type: what it rounds to decides which way a half goes.
    let quotients = if scale.element_type().is_float() {
        Tensor::from_f64s(scale.element_type(), shape.clone(), quotients)?.to_f64s()?
    } else {
        quotients
    };
    let zeros = zero.map(spread).transpose()?.unwrap_or_else(|| vec![0.0; quotients.len()]);
    if element_type.is_float() {
        let values = quotients.into_iter().zip(zeros).map(|(quotient, zero)| quotient + zero).collect();
        return Ok(vec![if op.saturate {
            Tensor::from_f64s(element_type, shape, values)?
        } else {
            Tensor::from_f64s_unsaturated(element_type, shape, values)?
        }]);
    }
    let zeros = zeros.into_iter().map(|zero| zero as i128);
    saturated(element_type, shape, quotients.into_iter().zip(zeros))
}

pub(super) fn dequantize_linear(op: &DequantizeLinear, context: &Context<'_>) -> Results {
    let (x, scale) = (context.input(0)?, context.input(1)?);
    let spread = |tensor: &Tensor| spread(tensor, x.shape(), op.axis, op.block_size);
    context.room(scale.element_type(), x.shape())?;
    let mut values = x.to_f64s()?;
    if let Some(zero) = context.optional(2) {
        for (value, zero) in values.iter_mut().zip(spread(zero)?) {
            *value -= zero;
        }
    }
    for (value, scale) in values.iter_mut().zip(spread(scale)?) {
        *value *= scale;
    }
    Ok(vec![Tensor::from_f64s(scale.element_type(), x.shape().to_vec(), values)?])
}

/// In `f32` throughout, as the operator's definition by others has it.
pub(super) fn dynamic_quantize_linear(context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let values = x.values::<f32>()?;
    let (low, high) = values.iter().fold((0f32, 0f32), |(low, high), &value| (low.min(value), high.max(value)));
    let scale = if low == high { 1.0 } else { (high - low) / 255.0 };
    let zero = (-low / scale).clamp(0.0, 255.0).round_ties_even();
    let quantized = values.iter().map(|value| (f64::from(value / scale), zero as i128));
    let mut results = saturated(ElementType::U8, x.shape().to_vec(), quantized)?;
    results.push(Tensor::scalar(scale));
    results.push(Tensor::scalar(zero as u8));
    Ok(results)
}
