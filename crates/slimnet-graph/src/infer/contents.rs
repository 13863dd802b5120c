//! Contents of small integer tensors.

use std::borrow::Cow;

use super::call::Call;
use super::{CONTENTS_LIMIT, Inferred};
use crate::graph::Dim;
use crate::tensor::ElementType;

/// Drops contents that an integer tensor of this type and shape cannot have, so that an overflow that wraps at run time
/// is never taken for a number.
pub(super) fn keep_sound(result: &mut Inferred) {
    let Some(contents) = &result.contents else { return };
    let wide = matches!(result.element_type, Some(ElementType::I64 | ElementType::I32));
    let range = match result.element_type {
        Some(ElementType::Bool) => Some((0, 1)),
        element_type => element_type.and_then(ElementType::integer_range),
    };
    let count = match result.shape.as_deref() {
        Some([]) => Some(1),
        Some([length]) => length.known(),
        _ => None,
    };
    let fits = |dim: &Dim| match (dim.constant(), range) {
        (Some(number), Some((low, high))) => (low..=high).contains(&i128::from(number)),
        (None, Some(_)) => wide,
        (_, None) => false,
    };
    if contents.len() > CONTENTS_LIMIT || count != Some(contents.len()) || !contents.iter().all(fits) {
        result.contents = None;
    }
}

/// Most inputs whose contents are combined: an operator of any number of inputs must not cost the product of that and
/// [`CONTENTS_LIMIT`].
pub(super) const MOST_COMBINED: usize = 16;

/// Combines the contents of several inputs element by element; those of one element serve for every place.
pub(super) fn zip(call: &Call<'_>, slots: &[usize], combine: impl Fn(&[&Dim]) -> Option<Dim>) -> Option<Vec<Dim>> {
    if slots.len() > MOST_COMBINED {
        return None;
    }
    let all: Vec<Cow<'_, [Dim]>> = slots.iter().map(|&slot| call.contents(slot)).collect::<Option<_>>()?;
    let length = all.iter().map(|contents| contents.len()).filter(|&length| length != 1).max().unwrap_or(1);
    if all.iter().any(|contents| contents.len() != 1 && contents.len() != length) {
        return None;
    }
    (0..length)
        .map(|place| {
            let elements: Vec<&Dim> =
                all.iter().map(|contents| &contents[if contents.len() == 1 { 0 } else { place }]).collect();
            combine(&elements)
        })
        .collect()
}

/// Truth values of a comparison.
pub(super) fn truth(value: bool) -> Dim {
    Dim::from(i64::from(value))
}

/// Quotient of an integer division, which cuts towards zero.
pub(super) fn divide(dividend: &Dim, divisor: &Dim) -> Option<Dim> {
    if let (Some(dividend), Some(divisor)) = (dividend.constant(), divisor.constant()) {
        return dividend.checked_div(divisor).map(Dim::from);
    }
    dividend.divide_exactly(divisor).or_else(|| {
        // Rounding down is cutting only where nothing is negative.
        dividend.minimum().filter(|&minimum| minimum >= 0)?;
        dividend.divide_floor(divisor.constant()?)
    })
}
