//! Files of named arrays: `.npz` of numpy and `.safetensors`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use safetensors::{Dtype, SafeTensors};
use slimnet_graph::{ElementType, Tensor};

use super::contents::{Contents, MOST_EXPANSION, regular_file};
use super::npy;
use super::parts::{Parts, Raw, RawTarget, target};
use crate::dataset::Array;
use crate::error::{DataError, Result};
use crate::preprocess::Preprocessing;

pub(super) fn open_npz(path: &Path) -> Result<Parts> {
    let refuse = |error: zip::result::ZipError| DataError::format(path, "an .npz file of numpy", error.to_string());
    regular_file(path)?;
    let file = File::open(path).map_err(DataError::io(path))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(refuse)?;
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(refuse)?;
        let name = entry.name().to_owned();
        let key = name
            .strip_suffix(".npy")
            .ok_or_else(|| DataError::format(path, "arrays, named ….npy", format!("`{name}`")))?;
        let expected = entry.size();
        let length = |found| DataError::Length { path: path.to_owned(), expected, found };
        let most = entry.compressed_size().saturating_mul(MOST_EXPANSION);
        if expected > most {
            return Err(length(most));
        }
        let mut bytes = Vec::new();
        entry.take(expected.saturating_add(1)).read_to_end(&mut bytes).map_err(DataError::io(path))?;
        if bytes.len() as u64 != expected {
            return Err(length(bytes.len() as u64));
        }
        arrays.insert(key.to_owned(), npy::parse(path, key, &bytes)?);
    }
    group(path, arrays)
}

pub(super) fn open_safetensors(path: &Path) -> Result<Parts> {
    let bytes = Bytes::from(Contents::open(path)?.rest()?);
    let refuse = |error: &dyn std::fmt::Display| DataError::format(path, "a .safetensors file", error.to_string());
    let file = SafeTensors::deserialize(&bytes).map_err(|error| refuse(&error))?;
    let mut arrays = BTreeMap::new();
    for (key, view) in file.iter() {
        let element_type = match view.dtype() {
            Dtype::BOOL => ElementType::Bool,
            Dtype::U8 => ElementType::U8,
            Dtype::I8 => ElementType::I8,
            Dtype::U16 => ElementType::U16,
            Dtype::I16 => ElementType::I16,
            Dtype::U32 => ElementType::U32,
            Dtype::I32 => ElementType::I32,
            Dtype::U64 => ElementType::U64,
            Dtype::I64 => ElementType::I64,
            Dtype::F16 => ElementType::F16,
            Dtype::BF16 => ElementType::BF16,
            Dtype::F32 => ElementType::F32,
            Dtype::F64 => ElementType::F64,
            other => {
                let expected = "BOOL, U8 to I64, F16, BF16, F32 or F64";
                return Err(DataError::ElementType { name: key.to_owned(), found: format!("{other:?}"), expected });
            }
        };
        let data = bytes.slice_ref(view.data());
        let tensor = Tensor::from_bytes(element_type, view.shape().to_vec(), data).map_err(|error| refuse(&error))?;
        arrays.insert(key.to_owned(), tensor);
    }
    group(path, arrays)
}

/// Which part a key names, and the rest of the key: `x_train` and `train_x` are `x` of part 0.
fn part_of(key: &str) -> (&str, usize) {
    let words = [("train", 0), ("validation", 1), ("valid", 1), ("val", 1), ("test", 2)];
    for (word, part) in words {
        let suffix = key.strip_suffix(word).and_then(|rest| rest.strip_suffix('_'));
        let prefix = || key.strip_prefix(word).and_then(|rest| rest.strip_prefix('_'));
        if let Some(base) = suffix.or_else(prefix) {
            return (base, part);
        }
    }
    (key, 0)
}

/// Usual names of what is to be learnt.
const TARGETS: [&str; 5] = ["y", "label", "labels", "target", "targets"];

/// Usual names of the input that preprocessing is meant for.
const MAIN_INPUTS: [&str; 6] = ["x", "data", "image", "images", "input", "inputs"];

/// Sorts arrays into parts, inputs and targets.
fn group(path: &Path, arrays: BTreeMap<String, Tensor>) -> Result<Parts> {
    let mut parts: [Option<Raw>; 3] = [None, None, None];
    for (key, tensor) in arrays {
        let (base, part) = part_of(&key);
        let raw = parts[part].get_or_insert(Raw { inputs: Vec::new(), target: RawTarget::None });
        let lower = base.to_ascii_lowercase();
        if TARGETS.contains(&lower.as_str()) {
            if !matches!(raw.target, RawTarget::None) {
                return Err(DataError::format(
                    path,
                    format!("one array of {TARGETS:?} a part"),
                    format!("another, `{key}`"),
                ));
            }
            raw.target = target(base, tensor)?;
        } else {
            raw.inputs.push(Array::new(base, tensor)?);
        }
    }
    for raw in parts.iter_mut().flatten() {
        let is_main = |array: &Array| MAIN_INPUTS.contains(&array.name().to_ascii_lowercase().as_str());
        raw.inputs.sort_by_key(|array| (!is_main(array), array.name().to_owned()));
        if let Some(pair) = raw.inputs.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
            let found = format!("two arrays `{}` of one part", pair[0].name());
            return Err(DataError::format(path, "arrays of different names", found));
        }
    }
    let [train, validation, test] = parts;
    let train = train.ok_or(DataError::NoPart("training"))?;
    Ok(Parts::new(train, validation, test, Preprocessing::default()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{OpenOptions, Source};
    use super::*;
    use crate::dataset::Target;

    fn npz(compressed: bool, arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let method = if compressed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        for (name, array) in arrays {
            writer.start_file(format!("{name}.npy"), options).unwrap();
            writer.write_all(array).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn open(name: &str, bytes: &[u8]) -> Result<crate::Splits> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Source::parse(&path.display().to_string()).unwrap().open(&OpenOptions::default())
    }

    fn pixels(samples: usize) -> Vec<u8> {
        npy::tests::file("|u1", "False", &format!("{samples}, 2"), &vec![7; samples * 2])
    }

    fn labels(labels: &[i64]) -> Vec<u8> {
        let data: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        npy::tests::file("<i8", "False", &format!("{},", labels.len()), &data)
    }

    #[test]
    fn keys_name_parts() {
        for (key, expected) in [
            ("x", ("x", 0)),
            ("x_train", ("x", 0)),
            ("test_images", ("images", 2)),
            ("y_val", ("y", 1)),
            ("y_validation", ("y", 1)),
            ("valid_y", ("y", 1)),
            ("trainer", ("trainer", 0)),
            ("contest", ("contest", 0)),
        ] {
            assert_eq!(part_of(key), expected, "{key}");
        }
    }

    #[test]
    fn npz_files() {
        for compressed in [false, true] {
            let file = npz(
                compressed,
                &[
                    ("x_train", pixels(3)),
                    ("y_train", labels(&[0, 1, 2])),
                    ("x_test", pixels(1)),
                    ("y_test", labels(&[3])),
                    ("x_val", pixels(2)),
                    ("y_val", labels(&[1, 1])),
                ],
            );
            let splits = open("a.npz", &file).unwrap();
            assert_eq!((splits.train.len(), splits.validation.len(), splits.test.as_ref().unwrap().len()), (3, 2, 1));
            assert_eq!(splits.classes(), Some(4));
        }
        let aside = npy::tests::file("<f4", "False", "2,", &[0; 8]);
        let splits = open("a.npz", &npz(true, &[("x", pixels(2)), ("aside", aside.clone()), ("y", aside)])).unwrap();
        let names: Vec<&str> = splits.train.dataset().inputs().iter().map(Array::name).collect();
        assert_eq!(names, ["x", "aside"]);
        assert!(matches!(splits.train.dataset().target(), Target::Array(_)));
    }

    #[test]
    fn wrong_files_are_refused() {
        for arrays in [
            vec![("x", pixels(2)), ("y", labels(&[0]))],
            vec![("x", pixels(2)), ("y", labels(&[0, 1])), ("labels", labels(&[0, 1]))],
            vec![("x", pixels(2)), ("x_train", pixels(2))],
            vec![("x_test", pixels(2))],
            vec![("y", labels(&[0]))],
            vec![("x", pixels(0))],
            vec![("x", npy::tests::file("<U3", "False", "1", &[0; 12]))],
            vec![],
        ] {
            assert!(open("a.npz", &npz(true, &arrays)).is_err());
        }
    }

    #[test]
    fn hostile_npz_files_are_errors() {
        let valid = npz(true, &[("x", pixels(200)), ("y", labels(&[1; 200]))]);
        for end in 0..valid.len() {
            assert!(open("a.npz", &valid[..end]).is_err());
        }
        for place in 0..valid.len() {
            let mut changed = valid.clone();
            changed[place] ^= 0xff;
            let _ = open("a.npz", &changed);
        }
    }

    #[test]
    fn safetensors_files() {
        let data: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let x = safetensors::tensor::TensorView::new(Dtype::F32, vec![2, 2], &data).unwrap();
        let y = safetensors::tensor::TensorView::new(Dtype::U8, vec![2], &[1, 0]).unwrap();
        let valid = safetensors::serialize([("x", x), ("y", y)], None).unwrap();
        let splits = open("a.safetensors", &valid).unwrap();
        let mut values = Vec::new();
        splits.train.dataset().inputs()[0].read(1, &mut values).unwrap();
        assert_eq!((values, splits.classes()), (vec![3.0, 4.0], Some(2)));
        for end in 0..valid.len() {
            assert!(open("a.safetensors", &valid[..end]).is_err());
        }
        for place in 0..valid.len() {
            let mut changed = valid.clone();
            changed[place] ^= 0x11;
            let _ = open("a.safetensors", &changed);
        }
    }
}
