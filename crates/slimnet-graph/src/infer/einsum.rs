//! Einsum: its equation, and the shape of its result.

use std::collections::BTreeMap;

use super::Inferred;
use super::call::{Call, NUMBERS, Result, ensure, mismatch, output};
use super::shapes::broadcast_with;
use crate::graph::{Dim, display_shape};
use crate::ops::product::Einsum;

/// The letters of one operand or of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EinsumTerm {
    /// A letter for each axis, those under the ellipsis left out.
    pub letters: Vec<char>,
    /// The place in `letters` before which the axes of `...` stand.
    pub ellipsis: Option<usize>,
}

/// A parsed equation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equation {
    /// One for each input.
    pub inputs: Vec<EinsumTerm>,
    /// The result's, given or (letters that occur once, in order) implied.
    pub output: EinsumTerm,
}

impl EinsumTerm {
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = match text.split_once("...") {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        let letters: Vec<char> = before.chars().chain(after.unwrap_or("").chars()).collect();
        let fine = letters.iter().all(char::is_ascii_alphabetic);
        fine.then(|| Self { letters, ellipsis: after.map(|_| before.chars().count()) })
    }
}

impl Equation {
    /// Reads an equation such as `b...ij,bjk->bik`; blanks do not count. `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let inputs: Vec<EinsumTerm> = left.split(',').map(EinsumTerm::parse).collect::<Option<_>>()?;
        let mut counts = BTreeMap::new();
        for letter in inputs.iter().flat_map(|term| &term.letters) {
            *counts.entry(*letter).or_insert(0usize) += 1;
        }
        let any_ellipsis = inputs.iter().any(|term| term.ellipsis.is_some());
        let output = match right {
            Some(right) => EinsumTerm::parse(right)?,
            None => EinsumTerm {
                letters: counts.iter().filter(|(_, count)| **count == 1).map(|(letter, _)| *letter).collect(),
                ellipsis: any_ellipsis.then_some(0),
            },
        };
        let each_once = output
            .letters
            .iter()
            .enumerate()
            .all(|(place, letter)| counts.contains_key(letter) && !output.letters[..place].contains(letter));
        (each_once && (any_ellipsis || output.ellipsis.is_none())).then_some(Self { inputs, output })
    }
}

pub(super) fn einsum(op: &Einsum, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    let count = call.input_count();
    call.arity(count.max(1), count, 1)?;
    let element_type = call.same(0..count, NUMBERS)?;
    let equation = Equation::parse(&op.equation)
        .ok_or_else(|| mismatch("equation", "letters such as \"bij,bjk->bik\"", format!("{:?}", op.equation)))?;
    let terms = equation.inputs.len();
    ensure(terms == count, "number of inputs", format!("{terms} as in {:?}", op.equation), count)?;

    let one = Dim::from(1i64);
    let mut lengths: BTreeMap<char, Dim> = BTreeMap::new();
    let mut ellipsis = Some(Vec::new());
    for (slot, term) in equation.inputs.iter().enumerate() {
        let Some(shape) = call.shape(slot) else {
            if term.ellipsis.is_some() {
                ellipsis = None;
            }
            continue;
        };
        let named = term.letters.len();
        let fits = if term.ellipsis.is_some() { shape.len() >= named } else { shape.len() == named };
        ensure(fits, format!("rank of input {slot}"), format!("{named} as in {:?}", op.equation), shape.len())?;
        let start = term.ellipsis.unwrap_or(named);
        let hidden = shape.len() - named;
        for (letter, axis) in term.letters.iter().zip((0..start).chain(start + hidden..shape.len())) {
            let length = match lengths.get(letter) {
                None => shape[axis].clone(),
                Some(known) => {
                    let both = broadcast_with(call, std::slice::from_ref(known), &shape[axis..=axis], slot);
                    both.map_err(|_| {
                        let what = format!("axis {axis} ({letter}) of input {slot} {}", display_shape(shape));
                        mismatch(what, known, &shape[axis])
                    })?
                    .pop()
                    .unwrap_or_else(|| one.clone())
                }
            };
            lengths.insert(*letter, length);
        }
        if term.ellipsis.is_some() {
            ellipsis = match ellipsis {
                Some(known) => Some(broadcast_with(call, &known, &shape[start..start + hidden], slot)?),
                None => None,
            };
        }
    }

    let mut shape = Vec::new();
    for letter in &equation.output.letters {
        shape.push(call.or_fresh(lengths.get(letter).cloned()));
    }
    let shape = match (equation.output.ellipsis, ellipsis) {
        (None, _) => Some(shape),
        (Some(_), None) => None,
        (Some(place), Some(hidden)) => {
            shape.splice(place..place, hidden);
            Some(shape)
        }
    };
    Ok(vec![output(element_type, shape)])
}
