//! Operators that act on each element alone, with broadcasting.

use std::cmp::Ordering;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, FRAC_2_SQRT_PI};

use super::broadcast::{broadcast_shape, expand};
use super::number::Number;
use super::{Context, EvaluateError, invalid, unsupported};
use crate::ops::elementwise::{
    Binary, BitShift, GeluApproximation, IsInf, Mod, ShiftDirection, Shrink, Unary, Variadic,
};
use crate::tensor::{ElementType, Tensor};

type Results = Result<Vec<Tensor>, EvaluateError>;

/// A floating-point function of each element of input 0.
pub(super) fn map_real(context: &Context<'_>, function: impl Fn(f64) -> f64) -> Results {
    let x = context.input(0)?;
    if !x.element_type().is_float() {
        return Err(unsupported(format!("elements of type {}", x.element_type())));
    }
    let values = x.to_f64s()?.into_iter().map(function).collect();
    Ok(vec![Tensor::from_f64s(x.element_type(), x.shape().to_vec(), values)?])
}

/// A function of each integer (or bool) of input 0.
fn map_integer(context: &Context<'_>, function: impl Fn(i128) -> i128) -> Results {
    let x = context.input(0)?;
    if x.element_type().is_float() {
        return Err(unsupported(format!("elements of type {}", x.element_type())));
    }
    let values = x.to_i128s()?.into_iter().map(function).collect();
    Ok(vec![Tensor::from_i128s(x.element_type(), x.shape().to_vec(), values)?])
}

/// A function of each element of input 0, in the elements' own class of numbers.
fn map(context: &Context<'_>, real: impl Fn(f64) -> f64, integer: impl Fn(i128) -> i128) -> Results {
    if context.input(0)?.element_type().is_float() { map_real(context, real) } else { map_integer(context, integer) }
}

/// A property of each element of input 0.
fn test(context: &Context<'_>, property: impl Fn(f64) -> bool) -> Results {
    let x = context.input(0)?;
    let values: Vec<_> = x.to_f64s()?.into_iter().map(property).collect();
    Ok(vec![Tensor::from_bools(x.shape().to_vec(), &values)?])
}

pub(super) fn unary(kind: Unary, context: &Context<'_>) -> Results {
    match kind {
        Unary::Identity => Ok(vec![context.input(0)?.clone()]),
        Unary::Abs => map(context, f64::abs, i128::abs),
        Unary::Neg => map(context, |x| -x, |x| -x),
        Unary::Relu => map(context, relu, |x| x.max(0)),
        Unary::Sign => map(context, sign, i128::signum),
        Unary::Not => map_integer(context, |x| i128::from(x == 0)),
        Unary::BitwiseNot => map_integer(context, |x| !x),
        Unary::IsNaN => test(context, f64::is_nan),
        Unary::Acos => map_real(context, f64::acos),
        Unary::Acosh => map_real(context, f64::acosh),
        Unary::Asin => map_real(context, f64::asin),
        Unary::Asinh => map_real(context, f64::asinh),
        Unary::Atan => map_real(context, f64::atan),
        Unary::Atanh => map_real(context, f64::atanh),
        Unary::Ceil => map_real(context, f64::ceil),
        Unary::Cos => map_real(context, f64::cos),
        Unary::Cosh => map_real(context, f64::cosh),
        Unary::Erf => map_real(context, erf),
        Unary::Exp => map_real(context, f64::exp),
        Unary::Floor => map_real(context, f64::floor),
        Unary::HardSwish => map_real(context, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Unary::Log => map_real(context, f64::ln),
        Unary::Mish => map_real(context, |x| x * softplus(x).tanh()),
        Unary::Reciprocal => map_real(context, f64::recip),
        Unary::Round => map_real(context, f64::round_ties_even),
        Unary::Sigmoid => map_real(context, sigmoid),
        Unary::Sin => map_real(context, f64::sin),
        Unary::Sinh => map_real(context, f64::sinh),
        Unary::Softplus => map_real(context, softplus),
        Unary::Softsign => map_real(context, softsign),
        Unary::Sqrt => map_real(context, f64::sqrt),
        Unary::Tan => map_real(context, f64::tan),
        Unary::Tanh => map_real(context, f64::tanh),
    }
}

// --- functions of one number, which recurrent layers share -----------------------------------------------------------

/// NaN stays NaN, which `max` would lose.
pub(super) fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

fn sign(x: f64) -> f64 {
    match x.partial_cmp(&0.0) {
        Some(Ordering::Less) => -1.0,
        Some(Ordering::Equal) => 0.0,
        Some(Ordering::Greater) => 1.0,
        None => x,
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(super) fn softplus(x: f64) -> f64 {
    relu(x) + (-x.abs()).exp().ln_1p()
}

pub(super) fn softsign(x: f64) -> f64 {
    x / (1.0 + x.abs())
}

pub(super) fn leaky_relu(x: f64, alpha: f64) -> f64 {
    if x < 0.0 { alpha * x } else { x }
}

pub(super) fn elu(x: f64, alpha: f64) -> f64 {
    if x < 0.0 { alpha * x.exp_m1() } else { x }
}

pub(super) fn hard_sigmoid(x: f64, alpha: f64, beta: f64) -> f64 {
    (alpha * x + beta).clamp(0.0, 1.0)
}

pub(super) fn thresholded_relu(x: f64, alpha: f64) -> f64 {
    if x > alpha { x } else { 0.0 }
}

pub(super) fn celu(x: f64, alpha: f64) -> f64 {
    if x < 0.0 { alpha * (x / alpha).exp_m1() } else { x }
}

pub(super) fn gelu(x: f64, approximate: GeluApproximation) -> f64 {
    let twice_phi = match approximate {
        GeluApproximation::None => 1.0 + erf(x * FRAC_1_SQRT_2),
        GeluApproximation::Tanh => 1.0 + (FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x)).tanh(),
    };
    0.5 * x * twice_phi
}

/// The error function, by `2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!`, whose terms all have one sign.
fn erf(x: f64) -> f64 {
    if x.is_nan() || x == 0.0 {
        return x;
    }
    // 1 − erf(6) is below the distance of 1 to its neighbour.
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > sum.abs() * 1e-17 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

// --- operators of one input with attributes --------------------------------------------------------------------------

pub(super) fn is_inf(op: &IsInf, context: &Context<'_>) -> Results {
    test(context, |x| x.is_infinite() && if x < 0.0 { op.detect_negative } else { op.detect_positive })
}

pub(super) fn shrink(op: &Shrink, context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let (bias, lambd) = (f64::from(op.bias), f64::from(op.lambd));
    let shrink = |x: f64| match x {
        x if x < -lambd => x + bias,
        x if x > lambd => x - bias,
        _ => 0.0,
    };
    let values = x.to_f64s()?.into_iter().map(shrink).collect();
    Ok(vec![Tensor::from_f64s(x.element_type(), x.shape().to_vec(), values)?])
}

pub(super) fn clip(context: &Context<'_>) -> Results {
    if context.input(0)?.element_type().is_float() { clip_of::<f64>(context) } else { clip_of::<i128>(context) }
}

fn clip_of<T: Number>(context: &Context<'_>) -> Results {
    let x = context.input(0)?;
    let limit = |slot: usize| match context.optional(slot) {
        None => Ok(None),
        Some(limit) if limit.len() != 1 || limit.element_type() != x.element_type() => {
            Err(invalid(format!("limit in input {slot} is not one number of type {}", x.element_type())))
        }
        Some(limit) => Ok(T::read(limit)?.first().copied()),
    };
    let (low, high) = (limit(1)?, limit(2)?);
    // Of contradicting limits the upper one wins, so it comes last; comparisons leave NaN as it is.
    let raised = |x: T| low.filter(|low| x < *low).unwrap_or(x);
    let lowered = |x: T| high.filter(|high| x > *high).unwrap_or(x);
    let values = T::read(x)?.into_iter().map(|x| lowered(raised(x))).collect();
    Ok(vec![T::write(x.element_type(), x.shape().to_vec(), values)?])
}

pub(super) fn mask(context: &Context<'_>) -> Results {
    let (w, mask) = (context.input(0)?, context.input(1)?);
    let values = w.to_f64s()?.into_iter().zip(mask.to_f64s()?).map(|(w, mask)| w * mask).collect();
    Ok(vec![Tensor::from_f64s(w.element_type(), w.shape().to_vec(), values)?])
}

// --- operators of several inputs -------------------------------------------------------------------------------------

/// Two inputs, broadcast to each other.
struct Pair<'a> {
    a: &'a Tensor,
    b: &'a Tensor,
    shape: Vec<usize>,
}

impl<'a> Pair<'a> {
    /// Inputs 0 and 1, for a result with elements of `result` (default: those of input 0).
    fn new(context: &Context<'a>, result: Option<ElementType>) -> Result<Self, EvaluateError> {
        let (a, b) = (context.input(0)?, context.input(1)?);
        let shape = broadcast_shape(&[a.shape(), b.shape()])?;
        context.room(result.unwrap_or(a.element_type()), &shape)?;
        Ok(Self { a, b, shape })
    }

    /// A function of each pair of elements.
    fn zip<T: Number, R>(&self, mut function: impl FnMut(T, T) -> R) -> Result<Vec<R>, EvaluateError> {
        let (a, b) = (T::read(self.a)?, T::read(self.b)?);
        let (a, b) = (expand(&a, self.a.shape(), &self.shape)?, expand(&b, self.b.shape(), &self.shape)?);
        Ok(a.iter().zip(b.iter()).map(|(&a, &b)| function(a, b)).collect())
    }

    fn real(&self, function: impl Fn(f64, f64) -> f64) -> Results {
        Ok(vec![f64::write(self.a.element_type(), self.shape.clone(), self.zip(function)?)?])
    }

    fn integer(&self, function: impl Fn(i128, i128) -> Result<i128, EvaluateError>) -> Results {
        let values = self.zip(function)?.into_iter().collect::<Result<_, _>>()?;
        Ok(vec![i128::write(self.a.element_type(), self.shape.clone(), values)?])
    }
}

/// A function of two inputs in their own class of numbers; both must have one type.
fn arithmetic(
    context: &Context<'_>,
    real: impl Fn(f64, f64) -> f64,
    integer: impl Fn(i128, i128) -> Result<i128, EvaluateError>,
) -> Results {
    let pair = Pair::new(context, None)?;
    let (a, b) = (pair.a.element_type(), pair.b.element_type());
    if a != b {
        return Err(invalid(format!("operands of types {a} and {b}")));
    }
    if a.is_float() { pair.real(real) } else { pair.integer(integer) }
}

/// A function of two integers or bools.
fn bitwise(context: &Context<'_>, function: impl Fn(i128, i128) -> i128) -> Results {
    if context.input(0)?.element_type().is_float() {
        return Err(unsupported("bits of floating-point numbers"));
    }
    arithmetic(context, |a, _| a, |a, b| Ok(function(a, b)))
}

fn ordered<T: PartialOrd>(holds: impl Fn(Ordering) -> bool) -> impl Fn(T, T) -> bool {
    move |a, b| a.partial_cmp(&b).is_some_and(&holds)
}

/// Whether pairs of elements stand in an order; NaN stands in none.
fn compare(context: &Context<'_>, holds: impl Fn(Ordering) -> bool) -> Results {
    let pair = Pair::new(context, Some(ElementType::Bool))?;
    let values = match (pair.a.strings(), pair.b.strings()) {
        (Some(a), Some(b)) => {
            let (a, b): (Vec<_>, Vec<_>) = (a.iter().collect(), b.iter().collect());
            let (a, b) = (expand(&a, pair.a.shape(), &pair.shape)?, expand(&b, pair.b.shape(), &pair.shape)?);
            a.iter().zip(b.iter()).map(|(a, b)| holds(a.cmp(b))).collect()
        }
        _ if pair.a.element_type().is_float() => pair.zip(ordered::<f64>(holds))?,
        _ => pair.zip(ordered::<i128>(holds))?,
    };
    Ok(vec![Tensor::from_bools(pair.shape, &values)?])
}

fn nonzero(divisor: i128) -> Result<i128, EvaluateError> {
    if divisor == 0 { Err(invalid("division of an integer by zero")) } else { Ok(divisor) }
}

pub(super) fn binary(kind: Binary, context: &Context<'_>) -> Results {
    match kind {
        Binary::Add => arithmetic(context, |a, b| a + b, |a, b| Ok(a + b)),
        Binary::Sub => arithmetic(context, |a, b| a - b, |a, b| Ok(a - b)),
        Binary::Mul => arithmetic(context, |a, b| a * b, |a, b| Ok(a.wrapping_mul(b))),
        Binary::Div => arithmetic(context, |a, b| a / b, |a, b| Ok(a / nonzero(b)?)),
        Binary::Pow => power(context),
        Binary::PRelu => {
            if broadcast_shape(&[context.input(0)?.shape(), context.input(1)?.shape()])? != context.input(0)?.shape() {
                return Err(invalid("the slopes have more elements than the input"));
            }
            arithmetic(context, leaky_relu, |x, slope| Ok(if x < 0 { x.wrapping_mul(slope) } else { x }))
        }
        Binary::And | Binary::BitwiseAnd => bitwise(context, |a, b| a & b),
        Binary::Or | Binary::BitwiseOr => bitwise(context, |a, b| a | b),
        Binary::Xor | Binary::BitwiseXor => bitwise(context, |a, b| a ^ b),
        Binary::Equal => compare(context, Ordering::is_eq),
        Binary::Greater => compare(context, Ordering::is_gt),
        Binary::GreaterOrEqual => compare(context, Ordering::is_ge),
        Binary::Less => compare(context, Ordering::is_lt),
        Binary::LessOrEqual => compare(context, Ordering::is_le),
    }
}

/// The result has the base's type; exponents may have another.
fn power(context: &Context<'_>) -> Results {
    let pair = Pair::new(context, None)?;
    let whole = !pair.a.element_type().is_float() && !pair.b.element_type().is_float();
    if !whole {
        return pair.real(f64::powf);
    }
    pair.integer(|base, exponent| match u64::try_from(exponent) {
        Ok(exponent) => Ok(wrapping_power(base, exponent)),
        Err(_) => match nonzero(base)? {
            1 => Ok(1),
            -1 => Ok(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => Ok(0),
        },
    })
}

fn wrapping_power(mut base: i128, mut exponent: u64) -> i128 {
    let mut product = 1i128;
    while exponent > 0 {
        if exponent % 2 == 1 {
            product = product.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent /= 2;
    }
    product
}

pub(super) fn modulo(op: &Mod, context: &Context<'_>) -> Results {
    if !op.fmod && context.input(0)?.element_type().is_float() {
        return Err(unsupported("Mod of floating-point numbers without fmod"));
    }
    let fmod = op.fmod;
    arithmetic(
        context,
        |a, b| a % b,
        |a, b| {
            let remainder = a % nonzero(b)?;
            // Without fmod the sign is the divisor's.
            let other_sign = remainder != 0 && (remainder < 0) != (b < 0);
            Ok(if !fmod && other_sign { remainder + b } else { remainder })
        },
    )
}

pub(super) fn bit_shift(op: &BitShift, context: &Context<'_>) -> Results {
    bitwise(context, |value, distance| match (u32::try_from(distance), op.direction) {
        (Ok(distance @ 0..64), ShiftDirection::Left) => value << distance,
        (Ok(distance @ 0..64), ShiftDirection::Right) => value >> distance,
        _ => 0,
    })
}

pub(super) fn variadic(kind: Variadic, context: &Context<'_>) -> Results {
    let first = context.input(0)?;
    let inputs = (0..context.inputs.len()).map(|slot| context.input(slot)).collect::<Result<Vec<_>, _>>()?;
    let element_type = first.element_type();
    if inputs.iter().any(|input| input.element_type() != element_type) {
        return Err(invalid("operands of several types"));
    }
    if element_type.is_float() {
        let join = match kind {
            Variadic::Max => maximum,
            Variadic::Min => minimum,
            Variadic::Mean | Variadic::Sum => |a, b| a + b,
        };
        let count = if kind == Variadic::Mean { inputs.len() as f64 } else { 1.0 };
        return fold(context, &inputs, join, |value| value / count);
    }
    let join = match kind {
        Variadic::Max => i128::max,
        Variadic::Min => i128::min,
        Variadic::Sum => i128::wrapping_add,
        Variadic::Mean => return Err(unsupported("Mean of integers")),
    };
    fold(context, &inputs, join, |value| value)
}

/// Joins broadcast tensors of one type, element by element.
fn fold<T: Number>(
    context: &Context<'_>,
    inputs: &[&Tensor],
    join: impl Fn(T, T) -> T,
    finish: impl Fn(T) -> T,
) -> Results {
    let (first, rest) = inputs.split_first().ok_or_else(|| invalid("no operands"))?;
    let shape = broadcast_shape(&inputs.iter().map(|input| input.shape()).collect::<Vec<_>>())?;
    context.room(first.element_type(), &shape)?;
    let mut result = expand(&T::read(first)?, first.shape(), &shape)?.into_owned();
    for input in rest {
        let values = T::read(input)?;
        for (result, &value) in result.iter_mut().zip(expand(&values, input.shape(), &shape)?.iter()) {
            *result = join(*result, value);
        }
    }
    let result = result.into_iter().map(finish).collect();
    Ok(vec![T::write(first.element_type(), shape, result)?])
}

/// The larger number, or NaN if either is.
pub(super) fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The smaller number, or NaN if either is.
pub(super) fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}
