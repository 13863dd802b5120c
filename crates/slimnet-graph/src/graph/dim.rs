//! Dimensions: numbers, names, and linear expressions of names.

use std::fmt;
use std::sync::Arc;

/// Length of an axis: `constant + Σ coefficient · name`, such as `3`, `N` or `2*N + 1`.
///
/// Two dimensions are equal if their expressions are. A name that starts with `?` stands for a length that nothing is
/// known of (the file gives none, or an operator's result is not linear); the writer leaves such a dimension out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim {
    constant: i64,
    /// Sorted by name, without zero coefficients.
    terms: Vec<(Arc<str>, i64)>,
}

/// Most names in one expression: sums that grew with the graph would make its cost grow with its square.
pub const MOST_TERMS: usize = 8;

/// The shape of a value: one dimension for each axis.
pub type Shape = Vec<Dim>;

impl Dim {
    /// A dimension known only by name.
    pub fn named(name: &str) -> Self {
        Self { constant: 0, terms: vec![(name.into(), 1)] }
    }

    /// A dimension that nothing is known of; `hint` tells it from others of the same graph.
    pub fn unknown(hint: &str) -> Self {
        Self::named(&format!("?{hint}"))
    }

    /// The number, if it is one and not negative.
    pub fn known(&self) -> Option<usize> {
        if self.terms.is_empty() { usize::try_from(self.constant).ok() } else { None }
    }

    /// The number, negative ones included (contents of shape tensors, not lengths).
    pub fn constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// Whether any part of it is a length that nothing is known of.
    pub fn is_unknown(&self) -> bool {
        self.terms.iter().any(|(name, _)| name.starts_with('?'))
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|(name, _)| name.as_ref())
    }

    /// The name, if it is just one.
    pub fn as_name(&self) -> Option<&str> {
        match self.terms.as_slice() {
            [(name, 1)] if self.constant == 0 => Some(name),
            _ => None,
        }
    }

    /// Its number where each name stands for what `number` says; `None` if one is not known, and on overflow.
    pub fn at(&self, number: impl Fn(&str) -> Option<i64>) -> Option<i64> {
        self.terms.iter().try_fold(self.constant, |sum, (name, coefficient)| {
            sum.checked_add(coefficient.checked_mul(number(name)?)?)
        })
    }

    /// Sum; `None` on overflow, and where it would have more than [`MOST_TERMS`] names.
    pub fn add(&self, other: &Self) -> Option<Self> {
        let mut sum = self.clone();
        sum.constant = sum.constant.checked_add(other.constant)?;
        for (name, coefficient) in &other.terms {
            match sum.terms.binary_search_by(|(known, _)| known.cmp(name)) {
                Ok(place) => sum.terms[place].1 = sum.terms[place].1.checked_add(*coefficient)?,
                Err(place) => sum.terms.insert(place, (name.clone(), *coefficient)),
            }
        }
        sum.terms.retain(|(_, coefficient)| *coefficient != 0);
        (sum.terms.len() <= MOST_TERMS).then_some(sum)
    }

    /// Difference; `None` on overflow.
    pub fn subtract(&self, other: &Self) -> Option<Self> {
        self.add(&other.scale(-1)?)
    }

    /// Multiple; `None` on overflow.
    pub fn scale(&self, factor: i64) -> Option<Self> {
        let mut product = self.clone();
        product.constant = product.constant.checked_mul(factor)?;
        for (_, coefficient) in &mut product.terms {
            *coefficient = coefficient.checked_mul(factor)?;
        }
        product.terms.retain(|(_, coefficient)| *coefficient != 0);
        Some(product)
    }

    /// Product; `None` on overflow and where it is not linear.
    pub fn multiply(&self, other: &Self) -> Option<Self> {
        match (self.constant(), other.constant()) {
            (_, Some(factor)) => self.scale(factor),
            (Some(factor), None) => other.scale(factor),
            (None, None) => None,
        }
    }

    /// Quotient; `None` where it is not exact.
    pub fn divide_exactly(&self, divisor: &Self) -> Option<Self> {
        if self == divisor && divisor.constant() != Some(0) {
            return Some(Self::from(1i64));
        }
        let Some(divisor) = divisor.constant().filter(|&divisor| divisor != 0) else {
            return self.divide_by_multiple(divisor);
        };
        let exact = |value: i64| (value.checked_rem(divisor)? == 0).then(|| value / divisor);
        let constant = exact(self.constant)?;
        let terms = self.terms.iter().map(|(name, value)| Some((name.clone(), exact(*value)?)));
        Some(Self { constant, terms: terms.collect::<Option<_>>()? })
    }

    /// Quotient rounded down, for a positive divisor; `None` where it is not linear (`N / 2`).
    pub fn divide_floor(&self, divisor: i64) -> Option<Self> {
        if divisor < 1 {
            return None;
        }
        let constant = self.constant.div_euclid(divisor);
        let exact = |value: i64| (value % divisor == 0).then(|| value / divisor);
        let terms = self.terms.iter().map(|(name, value)| Some((name.clone(), exact(*value)?)));
        Some(Self { constant, terms: terms.collect::<Option<_>>()? })
    }

    /// The least number that it can be, where that is bounded. A name stands for a length of at least 1, one that starts
    /// with `?` for a length that may be 0.
    pub fn minimum(&self) -> Option<i64> {
        self.terms.iter().try_fold(self.constant, |sum, (name, coefficient)| {
            let least = i64::from(!name.starts_with('?'));
            if *coefficient < 0 { None } else { sum.checked_add(coefficient.checked_mul(least)?) }
        })
    }

    /// `6*N / 2*N = 3`: the divisor's expression times a number.
    fn divide_by_multiple(&self, divisor: &Self) -> Option<Self> {
        let (name, coefficient) = divisor.terms.first()?;
        let (_, own) = self.terms.iter().find(|(own, _)| own == name)?;
        let factor = (own.checked_rem(*coefficient)? == 0).then(|| own / coefficient)?;
        (divisor.scale(factor)? == *self).then(|| Self::from(factor))
    }

    /// Reads what [`Dim`]'s `Display` writes: a linear expression such as `2*N + 1` or `N - 1`. Any other text is a name
    /// as it stands (`floor(H/2)`).
    pub fn parse(text: &str) -> Self {
        Self::parse_linear(text).unwrap_or_else(|| Self::named(text))
    }

    fn parse_linear(text: &str) -> Option<Self> {
        let mut sum = Self::from(0i64);
        let mut sign = 1;
        for (place, word) in text.split(' ').enumerate() {
            if place % 2 == 1 {
                sign = match word {
                    "+" => 1,
                    "-" => -1,
                    _ => return None,
                };
                continue;
            }
            let (factor, name) = word
                .split_once('*')
                .map_or((1, word), |(factor, name)| factor.parse().map_or((1, word), |factor: i64| (factor, name)));
            let term = match name.parse::<i64>() {
                Ok(number) => Self::from(number),
                Err(_) if is_name(name) => Self::named(name),
                Err(_) => return None,
            };
            sum = sum.add(&term.scale(factor)?.scale(sign)?)?;
        }
        // Only what is written back letter by letter is an expression: "3" as a name must stay a name.
        (sum.to_string() == text && sum.constant().is_none()).then_some(sum)
    }
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_' || first == '?')
        && letters.all(|letter| letter.is_alphanumeric() || "_.:/".contains(letter))
}

impl From<i64> for Dim {
    fn from(constant: i64) -> Self {
        Self { constant, terms: Vec::new() }
    }
}

impl From<usize> for Dim {
    /// Lengths above `i64::MAX` cannot be addressed and do not occur.
    fn from(length: usize) -> Self {
        Self::from(i64::try_from(length).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (name, coefficient) in &self.terms {
            let sign = match (text.is_empty(), *coefficient < 0) {
                (true, _) => "",
                (false, true) => " - ",
                (false, false) => " + ",
            };
            let shown = if text.is_empty() { i128::from(*coefficient) } else { i128::from(*coefficient).abs() };
            text += sign;
            if shown != 1 {
                text += &shown.to_string();
                text.push('*');
            }
            text += name;
        }
        if text.is_empty() {
            text = self.constant.to_string();
        } else if self.constant != 0 {
            let sign = if self.constant < 0 { '-' } else { '+' };
            text = format!("{text} {sign} {}", self.constant.unsigned_abs());
        }
        formatter.pad(&text)
    }
}

/// Writes a shape as `[N, 3, 32, 32]`.
pub fn display_shape(shape: &[Dim]) -> String {
    format!("[{}]", shape.iter().map(Dim::to_string).collect::<Vec<_>>().join(", "))
}

/// The numbers of a shape, if all its dimensions are numbers.
pub fn known_shape(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(Dim::known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stays_linear() {
        let n = Dim::named("N");
        let expression = n.scale(2).unwrap().add(&Dim::from(1i64)).unwrap();
        assert_eq!(expression.to_string(), "2*N + 1");
        assert_eq!(Dim::parse("2*N + 1"), expression);
        assert_eq!(expression.subtract(&expression).unwrap(), Dim::from(0i64));
        assert_eq!(n.multiply(&n), None);
        assert_eq!(n.scale(6).unwrap().divide_exactly(&n.scale(2).unwrap()), Some(Dim::from(3i64)));
        assert_eq!(expression.divide_exactly(&Dim::from(2i64)), None);
        assert_eq!(n.scale(i64::MAX).unwrap().scale(2), None);
        let names =
            |count: usize| (0..count).try_fold(n.clone(), |sum, place| sum.add(&Dim::named(&format!("d{place}"))));
        assert!(names(MOST_TERMS - 1).is_some() && names(MOST_TERMS).is_none());
        assert_eq!(expression.at(|name| (name == "N").then_some(4)), Some(9));
        assert_eq!(expression.at(|_| Some(i64::MAX)), None);
        assert_eq!((n.as_name(), expression.as_name()), (Some("N"), None));
    }

    #[test]
    fn rounding_and_bounds() {
        let odd = Dim::parse("2*N + 3");
        assert_eq!(odd.divide_floor(2), Some(Dim::parse("N + 1")));
        assert_eq!(Dim::from(-3i64).divide_floor(2), Some(Dim::from(-2i64)));
        assert_eq!(odd.divide_floor(4), None);
        assert_eq!(odd.divide_floor(0), None);
        assert_eq!(odd.minimum(), Some(5));
        assert_eq!(Dim::unknown("x").minimum(), Some(0));
        assert_eq!(Dim::parse("-1*N + 3").minimum(), None);
    }

    #[test]
    fn other_text_is_a_name() {
        for text in ["floor(H/2)", "3", "2 N", "-N*", "", "a + b c", "batch size"] {
            assert_eq!(Dim::parse(text), Dim::named(text), "{text}");
        }
        for text in ["N - 1", "-1*N + 2", "2*a - 3*b"] {
            assert_eq!(Dim::parse(text).to_string(), text);
            assert_ne!(Dim::parse(text), Dim::named(text));
        }
    }
}
