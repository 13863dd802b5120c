//! Sums of products over named axes.

use std::collections::BTreeMap;

use super::broadcast::strides;
use super::number::Number;
use super::window::for_each_place;
use super::{Context, EvaluateError, invalid, unsupported};
use crate::ops::product::Einsum;
use crate::tensor::Tensor;

/// Most products of a sum that is computed; a short equation over small tensors can ask for any number.
const MOST_PRODUCTS: i64 = 1 << 40;

/// An axis: a letter, or one of those that `...` stands for, counted from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

fn not_understood(equation: &str) -> EvaluateError {
    invalid(format!("equation {equation:?} does not fit the inputs"))
}

/// The labels of a term. `broadcast` is how many axes `...` stands for, counted from the last.
fn labels(term: &str, broadcast: usize) -> Option<Vec<Label>> {
    let letters = |text: &str| -> Option<Vec<Label>> {
        text.chars().map(|letter| letter.is_ascii_alphabetic().then_some(Label::Letter(letter))).collect()
    };
    match term.split_once("...") {
        None => letters(term),
        Some((before, behind)) => {
            let ellipsis = (0..broadcast).rev().map(Label::Ellipsis);
            Some(letters(before)?.into_iter().chain(ellipsis).chain(letters(behind)?).collect())
        }
    }
}

pub(super) fn einsum(op: &Einsum, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    if context.input(0)?.element_type().is_float() {
        einsum_of::<f64>(&op.equation, context)
    } else {
        einsum_of::<i128>(&op.equation, context)
    }
}

fn einsum_of<T: Number>(equation: &str, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let wrong = || not_understood(equation);
    let text: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    let (terms, result) = text.split_once("->").map_or((text.as_str(), None), |(terms, result)| (terms, Some(result)));
    let terms: Vec<_> = terms.split(',').collect();
    let inputs = (0..context.inputs.len()).map(|slot| context.input(slot)).collect::<Result<Vec<_>, _>>()?;
    if terms.len() != inputs.len() {
        return Err(wrong());
    }

    let mut lengths: BTreeMap<Label, i64> = BTreeMap::new();
    let mut uses: BTreeMap<Label, usize> = BTreeMap::new();
    let mut widest = 0;
    let mut axes = Vec::new();
    for (term, input) in terms.iter().zip(&inputs) {
        let named = labels(term, 0).ok_or_else(wrong)?.len();
        let broadcast = input.rank().checked_sub(named).ok_or_else(wrong)?;
        widest = widest.max(if term.contains("...") { broadcast } else { 0 });
        let labels = labels(term, broadcast).filter(|labels| labels.len() == input.rank()).ok_or_else(wrong)?;
        for (&label, &length) in labels.iter().zip(input.shape()) {
            let length = i64::try_from(length).map_err(|_| wrong())?;
            let known = lengths.entry(label).or_insert(length);
            if *known == 1 {
                *known = length;
            } else if length != 1 && length != *known {
                return Err(wrong());
            }
            *uses.entry(label).or_default() += 1;
        }
        axes.push(labels);
    }
    let result = if let Some(result) = result {
        labels(result, widest).ok_or_else(wrong)?
    } else {
        // Without a result: the broadcast axes, then the letters that occur once, in their order.
        let ellipsis = (0..widest).rev().map(Label::Ellipsis);
        let once = uses.iter().filter(|(label, count)| matches!(label, Label::Letter(_)) && **count == 1);
        ellipsis.chain(once.map(|(label, _)| *label)).collect()
    };
    let twice = result.iter().enumerate().any(|(place, label)| result[..place].contains(label));
    if twice || result.iter().any(|label| !lengths.contains_key(label)) {
        return Err(wrong());
    }
    let summed: Vec<_> = lengths.keys().copied().filter(|label| !result.contains(label)).collect();
    let products = lengths.values().try_fold(1i64, |product, &length| product.checked_mul(length));
    if products.is_none_or(|products| products > MOST_PRODUCTS) {
        return Err(unsupported(format!("Einsum {equation:?} of that many products")));
    }
    let shape: Vec<_> = result.iter().map(|label| lengths[label] as usize).collect();
    let count = context.room(inputs[0].element_type(), &shape)?;
    if inputs.iter().any(|input| input.is_empty()) {
        return Ok(vec![T::write(inputs[0].element_type(), shape, vec![T::ZERO; count])?]);
    }

    let tables = inputs.iter().zip(&axes).map(|(input, labels)| {
        let own = strides(input.shape())?;
        // The distance that one step along a label is; an axis that is there twice is its diagonal.
        let step = |label: &Label| {
            let places = labels.iter().enumerate().filter(|(place, own)| *own == label && input.shape()[*place] != 1);
            places.map(|(place, _)| own[place]).sum::<usize>()
        };
        let steps = |labels: &[Label]| labels.iter().map(step).collect::<Vec<_>>();
        Ok((T::read(input)?, steps(&result), steps(&summed)))
    });
    let tables = tables.collect::<Result<Vec<_>, EvaluateError>>()?;
    let range = |label: &Label| 0..lengths[label];
    let (result_places, summed_places): (Vec<_>, Vec<_>) =
        (result.iter().map(range).collect(), summed.iter().map(range).collect());
    let offset = |place: &[i64], steps: &[usize]| -> usize {
        place.iter().zip(steps).map(|(&place, &step)| place as usize * step).sum()
    };
    let mut values = Vec::with_capacity(count);
    for_each_place(&result_places, |outer| {
        let bases: Vec<_> = tables.iter().map(|(_, steps, _)| offset(outer, steps)).collect();
        let mut sum = T::ZERO;
        for_each_place(&summed_places, |inner| {
            let mut factors =
                tables.iter().zip(&bases).map(|((values, _, steps), base)| values[base + offset(inner, steps)]);
            let first = factors.next().unwrap_or(T::ZERO);
            // The last factor joins the sum; those between are multiplied up first.
            sum = match factors.next_back() {
                None => sum.add_product(first, T::ONE),
                Some(last) => {
                    let product = factors.fold(first, |product, factor| T::ZERO.add_product(product, factor));
                    sum.add_product(product, last)
                }
            };
            Ok(())
        })?;
        values.push(sum);
        Ok(())
    })?;
    Ok(vec![T::write(inputs[0].element_type(), shape, values)?])
}
