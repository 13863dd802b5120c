//! Values of options: what is taken, what is said of others.

use std::path::PathBuf;

use clap::ValueHint;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use slimnet_graph::zoo::Init;

use super::LossName;
use slimnet_compress::Keep;
use slimnet_compress::constraint::Pattern;
use slimnet_compress::importance::Criterion;
use slimnet_compress::prune::{Schedule, Scope};

/// Tells an option whose file or folder a command writes: shells have nothing to complete, and what is there before does not
/// decide what a step of a recipe gives.
pub const WRITTEN: ValueHint = ValueHint::Other;

pub(super) fn init() -> impl TypedValueParser<Value = Init> {
    PossibleValuesParser::new(Init::ALL.map(Init::name))
        .try_map(|name| Init::from_name(&name).ok_or("no such initialisation"))
}

/// The losses that measure something.
pub(super) fn measurable_loss() -> impl TypedValueParser<Value = LossName> {
    PossibleValuesParser::new(["ce", "mse", "bce"])
        .try_map(|name| <LossName as clap::ValueEnum>::from_str(&name, false))
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.trim().parse::<usize>().ok().filter(|&number| number > 0);
    number.ok_or_else(|| format!("expected a whole number of 1 or more, found {text:?}"))
}

/// More samples at once fit into no memory.
const LARGEST_BATCH: usize = 1 << 24;

pub(super) fn batch(text: &str) -> Result<usize, String> {
    let number = text.trim().parse::<usize>().ok().filter(|number| (1..=LARGEST_BATCH).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {LARGEST_BATCH}, found {text:?}"))
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("expected a number above 0, found {text:?}"))
}

pub(super) fn split_name(text: &str) -> Result<(String, &str), String> {
    // Names may hold "=", lengths and most paths do not.
    let (name, value) = text.rsplit_once('=').ok_or_else(|| format!("expected NAME=…, found {text:?}"))?;
    Ok((name.to_owned(), value))
}

pub(super) fn name_and_length(text: &str) -> Result<(String, usize), String> {
    let (name, length) = split_name(text)?;
    let length = length.parse().map_err(|_| format!("expected a length behind '=', found {length:?}"))?;
    Ok((name, length))
}

pub(super) fn name_and_file(text: &str) -> Result<(String, PathBuf), String> {
    split_name(text).map(|(name, file)| (name, PathBuf::from(file)))
}

pub(super) fn name_and_text(text: &str) -> Result<(String, String), String> {
    split_name(text).map(|(name, text)| (name, text.to_owned()))
}

pub(super) fn range(text: &str) -> Result<(f64, f64), String> {
    let expected = || format!("expected two numbers such as 0,1 with the smaller one first, found {text:?}");
    let (low, high) = text.split_once(',').ok_or_else(expected)?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(expected);
    let (low, high) = (number(low)?, number(high)?);
    if low < high { Ok((low, high)) } else { Err(expected()) }
}

pub(super) fn criterion() -> impl TypedValueParser<Value = Criterion> {
    PossibleValuesParser::new(Criterion::ALL.map(Criterion::name)).try_map(|name| name.parse::<Criterion>())
}

pub(super) fn pace() -> impl TypedValueParser<Value = Schedule> {
    PossibleValuesParser::new(["one-shot", "geometric", "cubic"]).try_map(|name| name.parse::<Schedule>())
}

pub(super) fn scope() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(["global", "layer"])
        .map(|name| if name == "layer" { Scope::Layer } else { Scope::Global })
}

pub(super) fn keep() -> impl TypedValueParser<Value = Keep> {
    PossibleValuesParser::new(["auto", "recorded", "nothing"]).map(|name| match name.as_str() {
        "recorded" => Keep::Recorded,
        "nothing" => Keep::Nothing,
        _ => Keep::Auto,
    })
}

/// A pattern with this separator.
pub(super) fn pattern(separator: char) -> impl Fn(&str) -> Result<Pattern, String> + Clone {
    move |text| {
        let wrong = || format!("expected two numbers with {separator:?} between them, found {text:?}");
        if text.contains(separator) { text.parse() } else { Err(wrong()) }
    }
}

/// A part of a whole: more than nothing, less than all of it.
pub(super) fn part(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| *number > 0.0 && *number < 1.0);
    number.ok_or_else(|| format!("expected a number above 0 and below 1, found {text:?}"))
}

/// A number above 0, such as 0.5, 120000, 100kB or 1.5M.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let plain = text.trim().trim_end_matches(['B', 'b']);
    let (digits, factor) = match plain.chars().last() {
        Some('k' | 'K') => (&plain[..plain.len() - 1], 1e3),
        Some('M') => (&plain[..plain.len() - 1], 1e6),
        Some('G') => (&plain[..plain.len() - 1], 1e9),
        _ => (plain, 1.0),
    };
    let number = digits.trim().parse::<f64>().ok().map(|number| number * factor);
    let number = number.filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("expected a number above 0, found {text:?}"))
}

/// What may be lost: 0 or more.
pub(super) fn drop(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("expected a number of 0 or more, found {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        assert_eq!(range("-1,1"), Ok((-1.0, 1.0)));
        for wrong in ["1", "1,1", "2,1", "a,b", "0,inf", "NaN,1"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
        assert_eq!(name_and_length("a=b=3"), Ok(("a=b".into(), 3)));
        assert!(name_and_length("N").is_err());
        assert!(name_and_length("N=-1").is_err());
        assert!(at_least_one("64").is_ok() && seconds("0.5").is_ok());
        for wrong in ["0", "-1", "NaN", "inf", ""] {
            assert!(at_least_one(wrong).is_err() && seconds(wrong).is_err() && batch(wrong).is_err(), "{wrong}");
        }
    }
}
