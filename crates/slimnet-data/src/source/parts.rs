//! From what readers find to splits.

use std::path::{Path, PathBuf};

use slimnet_graph::Tensor;

use super::OpenOptions;
use super::contents::Contents;
use crate::dataset::{Array, Dataset, Target};
use crate::error::{DataError, Result};
use crate::preprocess::Preprocessing;
use crate::split::{HoldOut, Split, Splits};

/// More classes are taken for a mistake: counting them would cost more than the data.
const MOST_CLASSES: usize = 1 << 20;

/// What is to be learnt, before the number of classes is known.
pub(super) enum RawTarget {
    None,
    Labels(Vec<i64>),
    Array(Array),
}

/// Samples of one part.
pub(super) struct Raw {
    pub(super) inputs: Vec<Array>,
    pub(super) target: RawTarget,
}

/// What a reader has found.
pub(super) struct Parts {
    pub(super) train: Raw,
    pub(super) validation: Option<Raw>,
    pub(super) test: Option<Raw>,
    /// Number of classes, where the format knows it.
    pub(super) classes: Option<usize>,
    pub(super) class_names: Option<Vec<String>>,
    pub(super) preprocessing: Preprocessing,
    /// A file that gives each sample of a single part its role.
    pub(super) roles: Option<PathBuf>,
}

impl Parts {
    /// Parts of which nothing else is known.
    pub(super) fn new(train: Raw, validation: Option<Raw>, test: Option<Raw>, preprocessing: Preprocessing) -> Self {
        Self { train, validation, test, classes: None, class_names: None, preprocessing, roles: None }
    }

    pub(super) fn assemble(mut self, name: &str, options: &OpenOptions) -> Result<Splits> {
        let mut raws: Vec<&mut Raw> =
            [Some(&mut self.train), self.validation.as_mut(), self.test.as_mut()].into_iter().flatten().collect();
        let mut classes = 0;
        for raw in &mut raws {
            if let RawTarget::Labels(labels) = &mut raw.target {
                for label in labels.iter_mut() {
                    *label = label.saturating_add(options.labels_offset);
                }
                let most = labels.iter().max().map_or(0, |&label| label.saturating_add(1));
                classes = classes.max(usize::try_from(most).unwrap_or(0));
            }
        }
        let classes = self.classes.unwrap_or(classes).min(MOST_CLASSES);
        let [train, validation, test] = [Some(self.train), self.validation, self.test].map(|raw| {
            raw.map(|Raw { inputs, target }| {
                let target = match target {
                    RawTarget::None => Target::None,
                    RawTarget::Labels(labels) => Target::Classes { labels, classes },
                    RawTarget::Array(array) => Target::Array(array),
                };
                Dataset::new(inputs, target).map(Split::whole)
            })
            .transpose()
        });
        let (Some(mut train), mut validation, mut test) = (train?, validation?, test?) else {
            return Err(DataError::NoPart("training"));
        };
        for other in [&validation, &test].into_iter().flatten() {
            fits(train.dataset(), other.dataset())?;
        }
        if let Some(path) = &self.roles {
            if validation.is_some() || test.is_some() {
                return Err(DataError::option(
                    "split",
                    &path.display().to_string(),
                    "data of one part, without test samples",
                ));
            }
            let [for_training, for_validation, for_test] = roles(path, &train)?;
            train = for_training;
            validation = Some(for_validation).filter(|split| !split.is_empty());
            test = Some(for_test).filter(|split| !split.is_empty());
        }
        if let (None, Some(what)) = (&test, options.test) {
            let (rest, held) = train.hold_out(what, options.split_seed)?;
            (train, test) = (rest, Some(held));
        }
        let validation = if let Some(validation) = validation {
            validation
        } else {
            let what = options.validation.unwrap_or(HoldOut::default_of(train.len()));
            // Another seed than the test samples': else the same draws would choose both.
            let (rest, held) = train.hold_out(what, options.split_seed ^ 1 << 63)?;
            train = rest;
            held
        };
        let preprocessing = Preprocessing { labels_offset: options.labels_offset, ..self.preprocessing };
        Ok(Splits { name: name.to_owned(), train, validation, test, class_names: self.class_names, preprocessing })
    }
}

/// Whether another part has the same arrays as the training part.
fn fits(train: &Dataset, other: &Dataset) -> Result<()> {
    let arrays = |dataset: &Dataset| -> Vec<(String, Vec<Vec<usize>>)> {
        let target = match dataset.target() {
            Target::Array(array) => Some(array),
            _ => None,
        };
        let arrays = dataset.inputs().iter().chain(target);
        arrays.map(|array| (array.name().to_owned(), array.sample_shapes())).collect()
    };
    let (expected, found) = (arrays(train), arrays(other));
    if std::mem::discriminant(train.target()) != std::mem::discriminant(other.target()) || expected.len() != found.len()
    {
        return Err(DataError::Shape {
            name: "validation or test samples".into(),
            expected: format!("{} arrays and a target of the kind that the training samples have", expected.len()),
            found: vec![found.len()],
        });
    }
    for ((name, shapes), (other_name, other_shapes)) in expected.into_iter().zip(found) {
        // Image files may differ in size: what resizing makes of them is checked for each part.
        let same = shapes == other_shapes || shapes.len() > 1 || other_shapes.len() > 1;
        if name != other_name || !same {
            let expected = format!("an array `{name}` of samples {:?} as for training", shapes[0]);
            return Err(DataError::Shape { name: other_name, expected, found: other_shapes[0].clone() });
        }
    }
    Ok(())
}

/// Reads a file with one word a sample: `train`, `validation` or `test`.
fn roles(path: &Path, all: &Split) -> Result<[Split; 3]> {
    let text = String::from_utf8(Contents::open(path)?.rest()?)
        .map_err(|_| DataError::format(path, "a text file", "bytes that are no UTF-8"))?;
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    let mut count = 0;
    for (line, word) in text.lines().enumerate() {
        let part = match word.trim() {
            "train" => 0,
            "validation" | "val" => 1,
            "test" => 2,
            other => {
                let found = format!("`{}` in line {}", other.chars().take(40).collect::<String>(), line + 1);
                return Err(DataError::format(path, "`train`, `validation` or `test`", found));
            }
        };
        // Fewer than 2^32 samples are compared with the number of lines below.
        samples[part].push(line as u32);
        count = line + 1;
    }
    if count != all.len() {
        return Err(DataError::format(path, format!("{} lines, one a sample", all.len()), format!("{count} lines")));
    }
    if samples[0].is_empty() {
        return Err(DataError::NoPart("training"));
    }
    Ok(samples.map(|samples| all.choose(samples)))
}

/// A target out of an array: classes if it is one integer a sample, else numbers.
pub(super) fn target(name: &str, tensor: Tensor) -> Result<RawTarget> {
    let one_a_sample = matches!(tensor.shape(), [_] | [_, 1]);
    let integer = !tensor.element_type().is_float();
    if !(one_a_sample && integer) {
        return Ok(RawTarget::Array(Array::new(name, tensor)?));
    }
    // Also refuses what no `f32` holds, of which none is a class; and types without numbers.
    let array = Array::new(name, tensor)?;
    let mut value = Vec::new();
    let labels = (0..array.len()).map(|sample| array.read(sample, &mut value).map_or(-1, |_| value[0] as i64));
    Ok(RawTarget::Labels(labels.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(count: usize, width: usize, target: RawTarget) -> Raw {
        let tensor = Tensor::from_values(vec![count, width], vec![0u8; count * width]).unwrap();
        Raw { inputs: vec![Array::new("x", tensor).unwrap()], target }
    }

    fn labels(labels: impl IntoIterator<Item = i64>) -> RawTarget {
        RawTarget::Labels(labels.into_iter().collect())
    }

    fn open(train: Raw, test: Option<Raw>, options: &OpenOptions) -> Result<Splits> {
        Parts::new(train, None, test, Preprocessing::default()).assemble("name", options)
    }

    #[test]
    fn validation_and_test_are_held_out() {
        let options = OpenOptions { test: Some(HoldOut::Count(20)), labels_offset: -1, ..OpenOptions::default() };
        let splits = open(raw(100, 2, labels((0..100).map(|index| 1 + index % 4))), None, &options).unwrap();
        assert_eq!(splits.classes(), Some(4));
        assert_eq!(splits.preprocessing.labels_offset, -1);
        let test = splits.test.as_ref().unwrap();
        assert_eq!((splits.train.len(), splits.validation.len(), test.len()), (72, 8, 20));
        let mut all = [splits.train.samples(), splits.validation.samples(), test.samples()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        let none = OpenOptions { validation: Some(HoldOut::Count(0)), ..OpenOptions::default() };
        let splits = open(raw(5, 2, RawTarget::None), None, &none).unwrap();
        assert!(splits.part(crate::Part::Validation).is_err() && splits.part(crate::Part::Test).is_err());
        assert_eq!(splits.part(crate::Part::Train).unwrap().len(), 5);
    }

    #[test]
    fn classes_are_those_of_all_parts() {
        let splits = open(raw(2, 2, labels([0, 1])), Some(raw(1, 2, labels([5]))), &OpenOptions::default()).unwrap();
        assert_eq!(splits.classes(), Some(6));
        assert!(splits.require_classes(6).is_ok());
        assert!(matches!(splits.require_classes(3), Err(DataError::Label { sample: 0, found: 5, .. })));
        let wrong = |label| open(raw(2, 2, labels([0, label])), None, &OpenOptions::default()).unwrap_err();
        assert!(matches!(wrong(-1), DataError::Label { sample: 1, found: -1, .. }));
        assert!(matches!(wrong(i64::MAX), DataError::Label { .. }));
    }

    #[test]
    fn parts_must_fit() {
        let options = OpenOptions::default();
        let wrong = |test| open(raw(2, 2, labels([0, 1])), Some(test), &options).is_err();
        assert!(wrong(raw(1, 3, labels([0]))));
        assert!(wrong(raw(1, 2, RawTarget::None)));
        assert!(wrong(raw(0, 2, labels([]))));
        assert!(!wrong(raw(1, 2, labels([0]))));
    }

    #[test]
    fn roles_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.txt");
        let open = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut parts = Parts::new(raw(4, 1, labels([0, 1, 0, 1])), None, None, Preprocessing::default());
            parts.roles = Some(path.clone());
            parts.assemble("name", &OpenOptions::default())
        };
        let splits = open("test\ntrain\nvalidation\ntrain\n").unwrap();
        assert_eq!(splits.train.samples(), [1, 3]);
        assert_eq!((splits.validation.samples(), splits.test.unwrap().samples()), (&[2][..], &[0][..]));
        for wrong in
            ["", "train\n", "train\ntrain\ntrain\ntrain\ntrain", "test\ntest\ntest\ntest", "train\ntrain\nx\ntrain"]
        {
            assert!(open(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_are_classes_or_numbers() {
        let classes = target("y", Tensor::from_values(vec![2, 1], vec![3u8, 4]).unwrap()).unwrap();
        assert!(matches!(classes, RawTarget::Labels(labels) if labels == [3, 4]));
        for numbers in [Tensor::vector(vec![0.5f32]), Tensor::from_values(vec![1, 2], vec![3i64, 4]).unwrap()] {
            assert!(matches!(target("y", numbers).unwrap(), RawTarget::Array(_)));
        }
        assert!(target("y", Tensor::vector(vec![i64::MAX])).is_err());
        assert!(target("y", Tensor::scalar(1u8)).is_err());
    }
}
