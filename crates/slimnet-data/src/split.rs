//! Which samples train, which validate, which test.

use std::sync::Arc;

use slimnet_graph::zoo::random::Stream;

use crate::dataset::{Dataset, Target, check_labels};
use crate::error::{DataError, Result};
use crate::preprocess::Preprocessing;

/// How many training samples are held out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HoldOut {
    /// So many samples.
    Count(usize),
    /// This part of them, 0 to 1, rounded down.
    Fraction(f64),
}

impl HoldOut {
    /// From `5000` or `0.1`.
    ///
    /// # Errors
    /// If the text is neither a count nor a fraction between 0 and 1.
    pub fn parse(key: &str, text: &str) -> Result<Self> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        match text.parse::<f64>() {
            Ok(fraction) if (0.0..1.0).contains(&fraction) => Ok(Self::Fraction(fraction)),
            _ => Err(DataError::option(key, text, "a number of samples or a fraction between 0 and 1")),
        }
    }

    /// What is held out if nothing is said: a tenth, at most 5,000 samples.
    pub fn default_of(count: usize) -> Self {
        Self::Count((count / 10).min(5000))
    }

    fn count(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Fraction(fraction) => (fraction * all as f64) as usize,
        }
    }
}

/// A choice of samples of a data set. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Split {
    dataset: Arc<Dataset>,
    samples: Arc<[u32]>,
}

impl Split {
    /// Every sample of a data set.
    pub fn whole(dataset: Dataset) -> Self {
        // `Dataset` holds fewer than 2^32 samples.
        let samples = (0..dataset.len() as u32).collect();
        Self { dataset: Arc::new(dataset), samples }
    }

    /// The data set behind it.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Indices of the chosen samples in the data set.
    pub fn samples(&self) -> &[u32] {
        &self.samples
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The same data set with other samples.
    ///
    /// # Panics
    /// If a sample is not one of the data set.
    #[must_use]
    pub fn choose(&self, samples: Vec<u32>) -> Self {
        assert!(samples.iter().all(|&sample| (sample as usize) < self.dataset.len()), "a sample beyond the data set");
        Self { dataset: self.dataset.clone(), samples: samples.into() }
    }

    /// Two splits: the rest and what is held out, chosen by the seed, each in the order they were in.
    ///
    /// # Errors
    /// If not one sample would be left.
    pub fn hold_out(&self, what: HoldOut, seed: u64) -> Result<(Self, Self)> {
        let count = what.count(self.len());
        if count >= self.len() {
            let expected = format!("fewer than the {} samples there are", self.len());
            return Err(DataError::option("samples to hold out", &count.to_string(), expected));
        }
        let mut held = vec![false; self.len()];
        for position in &permutation(Stream::named(seed, "hold out"), self.len())[..count] {
            held[*position as usize] = true;
        }
        let part =
            |wanted| self.samples.iter().zip(&held).filter(|(_, held)| **held == wanted).map(|(&s, _)| s).collect();
        Ok((self.choose(part(false)), self.choose(part(true))))
    }

    /// Number of samples of each class; `None` without labels.
    pub fn class_counts(&self) -> Option<Vec<usize>> {
        let Target::Classes { labels, classes } = self.dataset.target() else { return None };
        let mut counts = vec![0; *classes];
        for &sample in self.samples.iter() {
            // Labels of a data set are in 0..classes.
            counts[labels[sample as usize] as usize] += 1;
        }
        Some(counts)
    }

    /// Accuracy (0 to 1) of always answering the most frequent class; `None` without labels or samples.
    pub fn chance_accuracy(&self) -> Option<f64> {
        let most = self.class_counts()?.into_iter().max()?;
        (!self.is_empty()).then(|| most as f64 / self.len() as f64)
    }
}

/// A random order of `0..count`: Fisher and Yates's shuffle as a function of a stream.
pub(crate) fn permutation(stream: Stream, count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    // From the front, so that a prefix of the order needs no more than its own length of draws.
    for place in 0..count.saturating_sub(1) {
        order.swap(place, place + stream.below(place as u64, (count - place) as u64) as usize);
    }
    order
}

/// A part of [`Splits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each name is its meaning
pub enum Part {
    Train,
    Validation,
    Test,
}

/// The parts of a data set.
#[derive(Debug, Clone)]
pub struct Splits {
    /// What the user called it.
    pub name: String,
    /// Samples to train on.
    pub train: Split,
    /// Samples to choose by: disjoint from the training samples, perhaps none.
    pub validation: Split,
    /// Samples that only reports may use, if the source has some.
    pub test: Option<Split>,
    /// Names of the classes, where the source has them.
    pub class_names: Option<Vec<String>>,
    /// What is usual for this source.
    pub preprocessing: Preprocessing,
}

impl Splits {
    /// A part.
    ///
    /// # Errors
    /// If it has no samples.
    pub fn part(&self, part: Part) -> Result<&Split> {
        let (split, name) = match part {
            Part::Train => (Some(&self.train), "training"),
            Part::Validation => (Some(&self.validation), "validation"),
            Part::Test => (self.test.as_ref(), "test"),
        };
        split.filter(|split| !split.is_empty()).ok_or(DataError::NoPart(name))
    }

    /// Number of classes; `None` without labels.
    pub fn classes(&self) -> Option<usize> {
        match self.train.dataset().target() {
            Target::Classes { classes, .. } => Some(*classes),
            _ => None,
        }
    }

    /// Checks every label against the number of classes that a network tells apart.
    ///
    /// # Errors
    /// [`DataError::Label`] with the first label beyond.
    pub fn require_classes(&self, classes: usize) -> Result<()> {
        for split in [Some(&self.train), self.test.as_ref()].into_iter().flatten() {
            if let Target::Classes { labels, .. } = split.dataset().target() {
                check_labels(labels, classes)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;
    use slimnet_graph::Tensor;

    fn split(labels: Vec<i64>) -> Split {
        let x = Array::new("x", Tensor::from_values(vec![labels.len()], vec![0u8; labels.len()]).unwrap()).unwrap();
        Split::whole(Dataset::new(vec![x], Target::Classes { labels, classes: 3 }).unwrap())
    }

    #[test]
    fn holding_out_parts_the_samples() {
        let all = split(vec![0; 100]);
        let (rest, held) = all.hold_out(HoldOut::Fraction(0.2), 1).unwrap();
        assert_eq!((rest.len(), held.len()), (80, 20));
        let mut both = [rest.samples(), held.samples()].concat();
        both.sort_unstable();
        assert_eq!(both, (0..100).collect::<Vec<_>>());
        assert!(held.samples().is_sorted() && rest.samples().is_sorted());
        assert_ne!(held.samples(), (80..100).collect::<Vec<_>>());
        assert_eq!(all.hold_out(HoldOut::Count(20), 1).unwrap().1.samples(), held.samples());
        assert_ne!(all.hold_out(HoldOut::Count(20), 2).unwrap().1.samples(), held.samples());
        assert!(all.hold_out(HoldOut::Count(100), 1).is_err());
        assert!(all.hold_out(HoldOut::Count(0), 1).unwrap().1.is_empty());
    }

    #[test]
    fn permutations_are_uniform() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..2400 {
            *counts.entry(permutation(Stream::new(seed, 0), 4)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| (60..150).contains(count)), "{counts:?}");
        assert!(permutation(Stream::new(0, 0), 0).is_empty());
        // A checkpoint is resumed in the order that it began with, also by a later version. The numbers are those of a
        // separate implementation.
        assert_eq!(permutation(Stream::new(7, 0), 8), [0, 7, 3, 6, 4, 5, 2, 1]);
    }

    #[test]
    fn hold_outs_from_text() {
        assert_eq!(HoldOut::parse("k", "5000").unwrap(), HoldOut::Count(5000));
        assert_eq!(HoldOut::parse("k", "0.25").unwrap(), HoldOut::Fraction(0.25));
        for text in ["1.5", "-1", "nan", "", "ten", "1.0"] {
            assert!(HoldOut::parse("k", text).is_err(), "{text}");
        }
        assert_eq!(HoldOut::default_of(60_000), HoldOut::Count(5000));
        assert_eq!(HoldOut::default_of(19), HoldOut::Count(1));
    }

    #[test]
    fn chance_is_the_largest_class() {
        let all = split(vec![0, 0, 1, 2, 0]);
        assert_eq!(all.class_counts().unwrap(), [3, 1, 1]);
        assert_eq!(all.chance_accuracy(), Some(0.6));
        assert_eq!(all.choose(vec![2, 3]).chance_accuracy(), Some(0.5));
        assert_eq!(all.choose(vec![]).chance_accuracy(), None);
    }
}
