//! Conversion of elements to another type.

use super::{Context, EvaluateError, invalid, unsupported};
use crate::ops::Op;
use crate::tensor::{ElementType, Tensor};

/// Results of Cast and `CastLike`.
pub(super) fn evaluate(op: &Op, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let (to, saturate) = match op {
        Op::Cast(op) => (op.to, op.saturate),
        Op::CastLike(op) => (context.input(1)?.element_type(), op.saturate),
        other => return Err(unsupported(other.op_type())),
    };
    let data = context.input(0)?;
    context.room(to, data.shape())?;
    Ok(vec![cast(data, to, saturate)?])
}

fn cast(data: &Tensor, to: ElementType, saturate: bool) -> Result<Tensor, EvaluateError> {
    let (from, shape) = (data.element_type(), data.shape().to_vec());
    if from == to {
        return Ok(data.clone());
    }
    if let Some(strings) = data.strings() {
        return parse(strings, shape, to, saturate);
    }
    if to == ElementType::String {
        return Ok(Tensor::from_strings(shape, format(data)?)?);
    }
    // What does not fit an integer type keeps its lowest bits, which is also what numpy does with floats. Integers go
    // straight to floats, so that they are rounded once.
    if to.is_integer() || (!from.is_float() && !to.is_float8()) {
        return Ok(Tensor::from_i128s(to, shape, data.to_i128s()?)?);
    }
    from_floats(data.to_f64s()?, shape, to, saturate)
}

fn from_floats(values: Vec<f64>, shape: Vec<usize>, to: ElementType, saturate: bool) -> Result<Tensor, EvaluateError> {
    Ok(if saturate { Tensor::from_f64s(to, shape, values)? } else { Tensor::from_f64s_unsaturated(to, shape, values)? })
}

/// The elements in plain decimal; floats as short as gives them back when read as `float32` (`float64` as `float64`).
fn format(data: &Tensor) -> Result<Vec<Vec<u8>>, EvaluateError> {
    let text = match data.element_type() {
        ElementType::Bool => data.to_i64s()?.into_iter().map(|value| (value != 0).to_string()).collect(),
        ElementType::F64 => data.to_f64s()?.into_iter().map(|value| decimal(value, value.to_string())).collect(),
        element_type if element_type.is_float() => {
            data.to_f64s()?.into_iter().map(|value| decimal(value, (value as f32).to_string())).collect()
        }
        _ => data.to_i128s()?.into_iter().map(|value| value.to_string()).collect::<Vec<_>>(),
    };
    Ok(text.into_iter().map(String::into_bytes).collect())
}

fn decimal(value: f64, text: String) -> String {
    match value {
        _ if value.is_nan() => "NaN".into(),
        _ if value.is_infinite() => if value > 0.0 { "INF" } else { "-INF" }.into(),
        _ => text,
    }
}

/// Numbers in plain or scientific notation, infinities and NaN in any case.
fn parse(strings: &[Vec<u8>], shape: Vec<usize>, to: ElementType, saturate: bool) -> Result<Tensor, EvaluateError> {
    let fail = |text: &[u8]| invalid(format!("{:?} is no {to}", String::from_utf8_lossy(text)));
    let trimmed = |text: &'_ Vec<u8>| std::str::from_utf8(text).map(str::trim).unwrap_or_default().to_owned();
    if to.is_integer() {
        let integer = |text: &Vec<u8>| trimmed(text).parse::<i128>().ok();
        if let Some(values) = strings.iter().map(integer).collect() {
            return Ok(Tensor::from_i128s(to, shape, values)?);
        }
    } else if to == ElementType::Bool {
        return Err(unsupported("Cast from string to bool"));
    }
    let number = |text: &Vec<u8>| trimmed(text).parse::<f64>().map_err(|_| fail(text));
    from_floats(strings.iter().map(number).collect::<Result<_, _>>()?, shape, to, saturate)
}
