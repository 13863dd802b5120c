//! Operators that act on each element alone, with broadcasting.

use super::call::{ANY, BOOL, Call, Class, FLOATS, INTEGERS, NUMBERS, Result, UNSIGNED, mismatch, output};
use super::contents::{divide, truth, zip};
use super::shapes::{broadcast, broadcasts_to, more_known};
use super::{InferError, Inferred};
use crate::graph::{Dim, Shape};
use crate::ops::elementwise::{Binary, Cast, Mod, Unary, Variadic};
use crate::tensor::ElementType;

/// One output of the type and shape of input 0.
pub(super) fn like_input(call: &Call<'_>, class: Class) -> Result<Vec<Inferred>> {
    Ok(vec![output(call.class(0, class)?, call.shape(0).map(<[Dim]>::to_vec))])
}

pub(super) fn unary(kind: Unary, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let class = match kind {
        Unary::Identity => ANY,
        Unary::Not => BOOL,
        Unary::BitwiseNot => INTEGERS,
        Unary::Abs | Unary::Neg | Unary::Sign | Unary::Relu | Unary::Erf => NUMBERS,
        Unary::IsNaN => IS_NAN,
        _ => FLOATS,
    };
    let mut results = like_input(call, class)?;
    if kind == Unary::IsNaN {
        results[0].element_type = Some(ElementType::Bool);
    }
    let contents = |element: &Dim| match (kind, element.constant()) {
        (Unary::Identity, _) => Some(element.clone()),
        (Unary::Neg, _) => element.scale(-1),
        (Unary::Not, Some(truth)) => Some(Dim::from(i64::from(truth == 0))),
        (Unary::Abs, Some(number)) => number.checked_abs().map(Dim::from),
        (Unary::Abs | Unary::Relu, None) => element.minimum().is_some_and(|least| least >= 0).then(|| element.clone()),
        (Unary::Relu, Some(number)) => Some(Dim::from(number.max(0))),
        (Unary::Sign, Some(number)) => Some(Dim::from(number.signum())),
        _ => None,
    };
    results[0].contents = zip(call, &[0], |elements| contents(elements[0]));
    Ok(results)
}

/// Types that have a NaN.
const IS_NAN: Class = Class::new("a floating-point type", ElementType::is_float);

/// Operators of one floating-point input.
pub(super) fn floats(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    like_input(call, FLOATS)
}

pub(super) fn shrink(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    like_input(call, NUMBERS)
}

pub(super) fn is_inf(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    call.class(0, IS_NAN)?;
    Ok(vec![output(Some(ElementType::Bool), call.shape(0).map(<[Dim]>::to_vec))])
}

pub(super) fn binary(kind: Binary, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let bool = Some(ElementType::Bool);
    let element_type = match kind {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::PRelu => call.same([0, 1], NUMBERS)?,
        Binary::Pow => {
            call.class(1, NUMBERS)?;
            call.class(0, NUMBERS)?
        }
        Binary::And | Binary::Or | Binary::Xor => call.same([0, 1], BOOL)?,
        Binary::BitwiseAnd | Binary::BitwiseOr | Binary::BitwiseXor => call.same([0, 1], INTEGERS)?,
        Binary::Equal => call.same([0, 1], ANY).map(|_| bool)?,
        Binary::Greater | Binary::GreaterOrEqual | Binary::Less | Binary::LessOrEqual => {
            call.same([0, 1], NUMBERS).map(|_| bool)?
        }
    };
    let shape = if kind == Binary::PRelu { prelu_shape(call)? } else { broadcast(call, &[0, 1])? };
    let contents = zip(call, &[0, 1], |elements| combine(kind, elements[0], elements[1]));
    Ok(vec![Inferred { element_type, shape, contents }])
}

fn prelu_shape(call: &Call<'_>) -> Result<Option<Shape>> {
    let Some(shape) = call.shape(0) else { return Ok(None) };
    broadcasts_to(call, 1, shape)?;
    Ok(Some(shape.to_vec()))
}

fn combine(kind: Binary, a: &Dim, b: &Dim) -> Option<Dim> {
    let difference = || a.subtract(b)?.constant();
    let numbers = || Some((a.constant()?, b.constant()?));
    match kind {
        Binary::Add => a.add(b),
        Binary::Sub => a.subtract(b),
        Binary::Mul => a.multiply(b),
        Binary::Div => divide(a, b),
        Binary::Equal => difference().map(|difference| truth(difference == 0)),
        Binary::Greater => difference().map(|difference| truth(difference > 0)),
        Binary::GreaterOrEqual => difference().map(|difference| truth(difference >= 0)),
        Binary::Less => difference().map(|difference| truth(difference < 0)),
        Binary::LessOrEqual => difference().map(|difference| truth(difference <= 0)),
        Binary::And | Binary::BitwiseAnd => numbers().map(|(a, b)| Dim::from(a & b)),
        Binary::Or | Binary::BitwiseOr => numbers().map(|(a, b)| Dim::from(a | b)),
        Binary::Xor | Binary::BitwiseXor => numbers().map(|(a, b)| Dim::from(a ^ b)),
        Binary::Pow => {
            let (base, exponent) = numbers()?;
            base.checked_pow(u32::try_from(exponent).ok()?).map(Dim::from)
        }
        Binary::PRelu => None,
    }
}

pub(super) fn variadic(kind: Variadic, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    let count = call.input_count();
    call.arity(count.max(1), count, 1)?;
    let class = match kind {
        Variadic::Max | Variadic::Min => NUMBERS,
        Variadic::Mean | Variadic::Sum => FLOATS,
    };
    let slots: Vec<_> = (0..count).collect();
    let element_type = call.same(0..count, class)?;
    let shape = broadcast(call, &slots)?;
    let extreme = |elements: &[&Dim]| {
        elements.iter().skip(1).try_fold((*elements.first()?).clone(), |extreme, element| {
            let above = element.subtract(&extreme)?.constant()? > 0;
            Some(if above == (kind == Variadic::Max) { (*element).clone() } else { extreme })
        })
    };
    Ok(vec![Inferred { element_type, shape, contents: zip(call, &slots, extreme) }])
}

pub(super) fn clip(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 3, 1)?;
    let element_type = call.same([0, 1, 2], NUMBERS)?;
    call.single(1)?;
    call.single(2)?;
    Ok(vec![output(element_type, call.shape(0).map(<[Dim]>::to_vec))])
}

pub(super) fn modulo(op: &Mod, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.same([0, 1], NUMBERS)?;
    if let Some(element_type) = element_type.filter(|element_type| element_type.is_float() && !op.fmod) {
        return Err(mismatch("element type of input 0", "an integer type, as fmod is 0", element_type));
    }
    let shape = broadcast(call, &[0, 1])?;
    let remainder = |elements: &[&Dim]| {
        let (dividend, divisor) = (elements[0].constant()?, elements[1].constant()?);
        let cut = dividend.checked_rem(divisor)?;
        // The sign is the divisor's, unless it is to be the dividend's.
        let crosses = !op.fmod && cut != 0 && (cut < 0) != (divisor < 0);
        Some(Dim::from(if crosses { cut + divisor } else { cut }))
    };
    Ok(vec![Inferred { element_type, shape, contents: zip(call, &[0, 1], remainder) }])
}

pub(super) fn bit_shift(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.same([0, 1], UNSIGNED)?;
    Ok(vec![output(element_type, broadcast(call, &[0, 1])?)])
}

pub(super) fn select(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 3, 1)?;
    call.class(0, BOOL)?;
    let element_type = call.same([1, 2], ANY)?;
    let shape = broadcast(call, &[0, 1, 2])?;
    let contents = zip(call, &[0, 1, 2], |elements| {
        let chosen = if elements[0].constant()? == 0 { elements[2] } else { elements[1] };
        Some(chosen.clone())
    });
    Ok(vec![Inferred { element_type, shape, contents }])
}

pub(super) fn cast(op: &Cast, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    Ok(converted(call, Some(op.to)))
}

pub(super) fn cast_like(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let target = call.input(1).ok_or(InferError::MissingInput { slot: 1 })?.element_type;
    Ok(converted(call, target))
}

fn converted(call: &Call<'_>, element_type: Option<ElementType>) -> Vec<Inferred> {
    let contents = match element_type {
        Some(ElementType::Bool) => zip(call, &[0], |elements| Some(truth(elements[0].constant()? != 0))),
        _ => zip(call, &[0], |elements| Some(elements[0].clone())),
    };
    vec![Inferred { element_type, shape: call.shape(0).map(<[Dim]>::to_vec), contents }]
}

/// Bytes that say what is kept.
const MASKS: Class = Class::new("uint8", |element_type| element_type == ElementType::U8);

pub(super) fn mask(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, FLOATS)?;
    call.class(1, MASKS)?;
    let shape = match (call.shape(0), call.shape(1)) {
        (Some(weight), Some(mask)) => {
            call.has_shape(1, &weight.iter().map(Some).collect::<Vec<_>>())?;
            Some(weight.iter().zip(mask).map(|(weight, mask)| more_known(weight, mask).clone()).collect())
        }
        (weight, mask) => weight.or(mask).map(<[Dim]>::to_vec),
    };
    Ok(vec![output(element_type, shape)])
}
