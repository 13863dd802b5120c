//! The data sets that are known by name.

use std::path::{Path, PathBuf};

use slimnet_graph::ElementType;

use super::contents::{Contents, with_or_without_gz};
use super::idx;
use super::parts::{Parts, Raw};
use super::records::Layout;
use crate::error::{DataError, Result};
use crate::preprocess::Preprocessing;

/// 1,797 records: a label and 8 × 8 pixels of 0 to 16. Origin and licence are in the README beside it.
static DIGITS: &[u8] = include_bytes!("../../data/digits.bin");

/// The digits to train on. The file goes writer by writer, so that few writers are on both sides.
const DIGITS_TO_TRAIN: usize = 1437;

/// A data set that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Digits,
    Mnist,
    FashionMnist,
    Cifar10,
}

impl Known {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Digits, Self::Mnist, Self::FashionMnist, Self::Cifar10].into_iter().find(|known| known.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
        }
    }

    fn class_names(self) -> [&'static str; 10] {
        match self {
            Self::Digits | Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ],
            Self::Cifar10 => ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        }
    }

    /// Mean and standard deviation of the training pixels, as they are usually given.
    fn preprocessing(self) -> Preprocessing {
        match self {
            Self::Digits => Preprocessing::normalize(1.0 / 16.0, &[0.3054], &[0.3755]),
            Self::Mnist => Preprocessing::normalize(1.0 / 255.0, &[0.1307], &[0.3081]),
            Self::FashionMnist => Preprocessing::normalize(1.0 / 255.0, &[0.2860], &[0.3530]),
            Self::Cifar10 => {
                Preprocessing::normalize(1.0 / 255.0, &[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616])
            }
        }
    }

    pub(super) fn open(self, data_dir: &Path) -> Result<Parts> {
        let folder = data_dir.join(self.name());
        let find = |file: &str| {
            let file = folder.join(file);
            with_or_without_gz(&file).ok_or(DataError::Missing { name: self.name(), file })
        };
        let pair = |part: &str| {
            idx::read_pair(&find(&format!("{part}-images-idx3-ubyte"))?, &find(&format!("{part}-labels-idx1-ubyte"))?)
        };
        let mut parts = match self {
            Self::Digits => digits()?,
            Self::Mnist | Self::FashionMnist => {
                Parts::new(pair("train")?, None, Some(pair("t10k")?), Preprocessing::default())
            }
            Self::Cifar10 => cifar(&find)?,
        };
        parts.classes = Some(10);
        parts.class_names = Some(self.class_names().map(str::to_owned).to_vec());
        parts.preprocessing = self.preprocessing();
        Ok(parts)
    }
}

fn digits() -> Result<Parts> {
    let shape = vec![1, 8, 8];
    let layout = Layout { skip: 0, label: Some(ElementType::U8), shape, element_type: ElementType::U8 };
    let (train, test) = DIGITS.split_at(DIGITS_TO_TRAIN * 65);
    let part = |records| layout.split(Path::new("digits"), records);
    Ok(Parts::new(part(train)?, None, Some(part(test)?), Preprocessing::default()))
}

const CIFAR_TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const CIFAR_TEST: &str = "test_batch.bin";

/// Whether a folder has the files of CIFAR-10's binary version.
pub(super) fn is_cifar(folder: &Path) -> bool {
    with_or_without_gz(&folder.join(CIFAR_TRAIN[0])).is_some()
}

/// Opens a folder with the files of CIFAR-10's binary version: some of the training files, perhaps the test file.
pub(super) fn open_cifar(folder: &Path) -> Result<Parts> {
    let find = |file: &str| with_or_without_gz(&folder.join(file));
    let train: Vec<PathBuf> = CIFAR_TRAIN.iter().filter_map(|file| find(file)).collect();
    let test = find(CIFAR_TEST).map(|file| cifar_part(&[file])).transpose()?;
    let mut parts = Parts::new(cifar_part(&train)?, None, test, Known::Cifar10.preprocessing());
    parts.classes = Some(10);
    Ok(parts)
}

fn cifar(find: &dyn Fn(&str) -> Result<PathBuf>) -> Result<Parts> {
    let train = CIFAR_TRAIN.iter().map(|file| find(file)).collect::<Result<Vec<_>>>()?;
    let test = cifar_part(&[find(CIFAR_TEST)?])?;
    Ok(Parts::new(cifar_part(&train)?, None, Some(test), Preprocessing::default()))
}

/// Reads files of records: a label, then the red, the green and the blue plane of 32 × 32 pixels.
fn cifar_part(files: &[PathBuf]) -> Result<Raw> {
    let layout =
        Layout { skip: 0, label: Some(ElementType::U8), shape: vec![3, 32, 32], element_type: ElementType::U8 };
    let mut records = Vec::new();
    for file in files {
        let contents = Contents::open(file)?.rest()?;
        // Each file by itself, so that the error names it.
        if !contents.len().is_multiple_of(3073) || contents.is_empty() {
            let found = format!("{} bytes", contents.len());
            return Err(DataError::format(file, "records of 3073 bytes (CIFAR-10, binary version)", found));
        }
        records.extend_from_slice(&contents);
    }
    layout.split(Path::new("cifar10"), &records)
}

#[cfg(test)]
mod tests {
    use super::super::{OpenOptions, Source};
    use super::*;

    fn open(name: &str, folder: &Path) -> Result<crate::Splits> {
        Source::parse(name).unwrap().open(&OpenOptions { data_dir: Some(folder.to_owned()), ..OpenOptions::default() })
    }

    #[test]
    fn digits_are_built_in() {
        let splits = open("digits", Path::new("/nowhere")).unwrap();
        assert_eq!((splits.train.len(), splits.validation.len()), (1294, 143));
        let test = splits.test.as_ref().unwrap();
        assert_eq!((test.len(), splits.classes()), (360, Some(10)));
        assert!(test.class_counts().unwrap().iter().all(|count| (33..=37).contains(count)));
        assert!(splits.train.chance_accuracy().unwrap() < 0.12);
        let options = crate::LoaderOptions::evaluation(2000, splits.preprocessing.clone());
        let loader = crate::Loader::new(splits.train, options).unwrap();
        let batch = loader.epoch(0, 0).next().unwrap().unwrap();
        let values = &batch.inputs()[0].values;
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01, "{mean} {variance}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["mnist", "fashion-mnist", "cifar10"] {
            let error = open(name, folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("slimnet data fetch {name}")), "{error}");
        }
    }

    #[test]
    fn cifar_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("cifar10")).unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join("cifar10").join(name), bytes).unwrap();
        let record = |label: u8| [&[label][..], &[1; 1024], &[2; 1024], &[3; 1024]].concat();
        for (index, name) in CIFAR_TRAIN.iter().chain([&CIFAR_TEST]).enumerate() {
            write(name, &[record(index as u8), record(9)].concat());
        }
        let splits = open("cifar10", folder.path()).unwrap();
        assert_eq!((splits.train.len() + splits.validation.len(), splits.test.unwrap().len()), (10, 2));
        let mut values = Vec::new();
        splits.train.dataset().inputs()[0].read(0, &mut values).unwrap();
        assert_eq!([values[0], values[1024], values[2048]], [1.0, 2.0, 3.0]);
        let path = folder.path().join("cifar10").display().to_string();
        assert_eq!(open(&path, folder.path()).unwrap().classes(), Some(10));
        write("data_batch_3.bin", &record(1)[..3000]);
        let error = open("cifar10", folder.path()).unwrap_err().to_string();
        assert!(error.contains("data_batch_3.bin"), "{error}");
        write("data_batch_3.bin", &record(10));
        assert!(matches!(open("cifar10", folder.path()), Err(DataError::Label { found: 10, .. })));
    }

    #[test]
    fn mnist_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("mnist")).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join("mnist").join(name), super::super::contents::tests::gz(bytes)).unwrap();
        };
        for part in ["train", "t10k"] {
            let image = idx::tests::file(8, &[2, 28, 28], &[255; 2 * 28 * 28]);
            write(&format!("{part}-images-idx3-ubyte.gz"), &image);
            write(&format!("{part}-labels-idx1-ubyte.gz"), &idx::tests::file(8, &[2], &[3, 4]));
        }
        let splits = open("mnist", folder.path()).unwrap();
        assert_eq!((splits.train.len(), splits.classes()), (2, Some(10)));
        assert_eq!(splits.class_names.unwrap()[3], "3");
    }
}
