//! Shape inference of single operators, as tables: operator with attributes, inputs, and what comes out.
//!
//! Inputs and outputs are written `type[shape]=contents`, `-` for an absent input and `?` for an unknown type or shape;
//! a length that nothing is known of shows as `?` and the number of the call that made it. An error is written
//! `error: part of its text`.
//!
//! Every row is also a seed: with hostile numbers nothing panics, and with numbers for names the answer stays true.

mod arithmetic;
mod movement;

use slimnet_graph::graph::{display_shape, known_shape};
use slimnet_graph::infer::{InferError, Inferred, Known, infer_op};
use slimnet_graph::ops::attribute::{AttributeError, Attributes};
use slimnet_graph::{Dim, ElementType, Op};

fn parse_op(text: &str) -> Result<Op, AttributeError> {
    let mut words = text.split_whitespace();
    let op_type = words.next().unwrap();
    let mut attributes = Attributes::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        if let Some(list) = value.strip_prefix('[') {
            let list = list.trim_end_matches(']');
            let numbers: Vec<i64> =
                list.split(',').filter(|text| !text.is_empty()).map(|n| n.parse().unwrap()).collect();
            attributes.put(name, &numbers);
        } else if let Ok(number) = value.parse::<i64>() {
            attributes.put(name, &number);
        } else {
            attributes.put(name, &value.to_owned());
        }
    }
    Op::read(op_type, attributes).unwrap_or_else(|| panic!("{op_type} is not known"))
}

fn parse_dims(text: &str) -> Vec<Dim> {
    let dims = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    dims.map(|text| text.parse::<i64>().map_or_else(|_| Dim::parse(text), Dim::from)).collect()
}

fn parse_type(text: &str) -> Inferred {
    let (kind, contents) = match text.split_once('=') {
        Some((kind, contents)) => (kind, Some(parse_dims(contents))),
        None => (text, None),
    };
    let (name, shape) = match kind.split_once('[') {
        Some((name, shape)) => (name, Some(parse_dims(shape.trim_end_matches(']')))),
        None => (kind, None),
    };
    let element_type = ElementType::ALL.into_iter().find(|element_type| element_type.to_string() == name);
    assert!(element_type.is_some() || name == "?", "{name}");
    Inferred { element_type, shape, contents }
}

fn show(result: &Inferred) -> String {
    let mut text = result.element_type.map_or_else(|| "?".into(), |element_type| element_type.to_string());
    if let Some(shape) = &result.shape {
        text += &display_shape(shape);
    }
    if let Some(contents) = &result.contents {
        text.push('=');
        text += display_shape(contents).trim_matches(['[', ']']);
    }
    text
}

/// The text with each of its numbers in turn replaced by a hostile one.
fn mutants(text: &str) -> impl Iterator<Item = String> + '_ {
    let digit = |place: usize| text.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    let apart = |place: usize| place == 0 || !text.as_bytes()[place - 1].is_ascii_alphanumeric();
    let starts = (0..text.len()).filter(move |&place| digit(place) && apart(place));
    starts.flat_map(move |start| {
        let end = (start..=text.len()).find(|&place| !digit(place)).unwrap();
        let negated = text[..start].ends_with('-');
        let numbers = HOSTILE.iter().filter(move |&&number| number >= 0 || !negated);
        numbers.map(move |number| format!("{}{number}{}", &text[..start], &text[end..]))
    })
}

const HOSTILE: [i64; 9] = [0, 1, 2, 1 << 31, 1 << 62, i64::MAX - 1, i64::MAX, i64::MIN, -1];

fn parse_inputs(text: &str) -> Vec<Option<Inferred>> {
    let words = text.split(';').map(str::trim).filter(|text| !text.is_empty());
    words.map(|text| (text != "-").then(|| parse_type(text))).collect()
}

fn infer(op: &Op, inputs: &[Option<Inferred>], outputs: usize) -> Result<Vec<Inferred>, InferError> {
    let known: Vec<_> = inputs
        .iter()
        .map(|input| {
            let input = input.as_ref()?;
            let (shape, contents) = (input.shape.as_deref(), input.contents.as_deref());
            Some(Known { element_type: input.element_type, shape, data: None, contents })
        })
        .collect();
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        Dim::unknown(&(number - 1).to_string())
    };
    infer_op(op, &known, outputs, &mut fresh)
}

/// What a dimension is when its names are given numbers; `None` for lengths that inference knows nothing of.
fn evaluate(dim: &Dim, seed: usize) -> Option<i64> {
    let text = dim.to_string();
    let (mut sum, mut sign) = (0i128, 1i128);
    for word in text.split(' ') {
        let (factor, name) = word.split_once('*').map_or((1, word), |(factor, name)| (factor.parse().unwrap(), name));
        let term = match (name, name.strip_prefix('?')) {
            ("+", _) => {
                sign = 1;
                continue;
            }
            ("-", _) => {
                sign = -1;
                continue;
            }
            (_, Some(fresh)) if fresh.parse::<usize>().is_ok() => return None,
            (_, unknown) => name.parse().unwrap_or_else(|_| {
                let letters: usize = name.bytes().map(usize::from).sum();
                let length = (letters * 31 + seed * 17) / 3 % 7;
                (length + usize::from(unknown.is_none())) as i128
            }),
        };
        sum += term * factor * sign;
    }
    i64::try_from(sum).ok()
}

/// The same inputs with numbers for names; `None` where a length would be negative or contents do not fit their shape.
fn concrete(inputs: &[Option<Inferred>], seed: usize) -> Option<Vec<Option<Inferred>>> {
    let numbers = |dims: &Option<Vec<Dim>>| match dims {
        Some(dims) => dims.iter().map(|dim| evaluate(dim, seed).map(Dim::from)).collect::<Option<Vec<_>>>().map(Some),
        None => Some(None),
    };
    inputs
        .iter()
        .map(|input| {
            let Some(input) = input else { return Some(None) };
            let (shape, contents) = (numbers(&input.shape)?, numbers(&input.contents)?);
            let lengths = shape.as_deref().map(known_shape);
            let fits = match (&lengths, &contents) {
                (Some(None), _) => false,
                (Some(Some(lengths)), Some(contents)) => lengths.iter().product::<usize>() == contents.len(),
                _ => true,
            };
            fits.then_some(Some(Inferred { element_type: input.element_type, shape, contents }))
        })
        .collect()
}

/// Whatever the names stand for: what is said with names holds for the numbers, and only what can never fit is refused.
#[track_caller]
fn check_sound(op: &Op, inputs: &[Option<Inferred>], outputs: usize) {
    let symbolic = infer(op, inputs, outputs);
    for seed in 0..12 {
        let Some(numbers) = concrete(inputs, seed) else { continue };
        let context = || format!("{op:?}\n{inputs:?}\n{numbers:?}\n{symbolic:?}");
        let Ok(results) = infer(op, &numbers, outputs) else { continue };
        let symbolic = symbolic.as_ref().unwrap_or_else(|error| panic!("{error}: {}", context()));
        for (result, symbolic) in results.iter().zip(symbolic) {
            for (said, is) in [(&symbolic.shape, &result.shape), (&symbolic.contents, &result.contents)] {
                let (Some(said), Some(is)) = (said, is) else { continue };
                assert_eq!(said.len(), is.len(), "{}", context());
                for (said, is) in said.iter().zip(is) {
                    if let (Some(said), Some(is)) = (evaluate(said, seed), evaluate(is, seed)) {
                        assert_eq!(said, is, "{}", context());
                    }
                }
            }
        }
    }
}

#[track_caller]
fn check(table: &[(&str, &str, &str)]) {
    for (op_text, inputs_text, expected) in table {
        let outputs = expected.split("; ").count();
        // Each "; " at the end of an error asks for one more output.
        let expected = expected.trim_end_matches("; ");
        let (op, inputs) = (parse_op(op_text).unwrap(), parse_inputs(inputs_text));
        let found = match infer(&op, &inputs, outputs) {
            Ok(results) => results.iter().map(show).collect::<Vec<_>>().join("; "),
            Err(error) => format!("error: {error}"),
        };
        let holds = if expected.starts_with("error: ") { found.contains(expected) } else { found == expected };
        assert!(holds, "{op_text} ({inputs_text})\n expected {expected}\n    found {found}");
        check_sound(&op, &inputs, outputs);
        for mutant in mutants(inputs_text) {
            check_sound(&op, &parse_inputs(&mutant), outputs);
        }
        for mutant in mutants(op_text).filter_map(|mutant| parse_op(&mutant).ok()) {
            check_sound(&mutant, &inputs, outputs);
        }
    }
}
