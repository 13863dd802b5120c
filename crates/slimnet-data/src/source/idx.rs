//! IDX, the format of MNIST: two zero bytes, element type, number of axes, lengths, elements, all big-endian.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slimnet_graph::{ElementType, Tensor};

use super::contents::{Contents, with_or_without_gz};
use super::parts::{Parts, Raw, target};
use crate::dataset::Array;
use crate::error::{DataError, Result};
use crate::preprocess::Preprocessing;

/// More axes than any data has.
const MOST_AXES: u8 = 8;

/// The array of a file.
fn read(path: &Path) -> Result<Tensor> {
    let mut contents = Contents::open(path)?;
    let start = contents.take(4)?;
    let &[0, 0, code, rank @ 1..=MOST_AXES] = start.as_slice() else {
        return Err(DataError::format(
            path,
            "an IDX file (two zero bytes, type, 1 to 8 axes)",
            format!("{start:02x?}"),
        ));
    };
    let element_type = match code {
        0x08 => ElementType::U8,
        0x09 => ElementType::I8,
        0x0b => ElementType::I16,
        0x0c => ElementType::I32,
        0x0d => ElementType::F32,
        0x0e => ElementType::F64,
        other => return Err(DataError::format(path, "an IDX type 08, 09, 0b, 0c, 0d or 0e", format!("{other:02x}"))),
    };
    let lengths = contents.take(4 * u64::from(rank))?;
    if lengths.len() < 4 * usize::from(rank) {
        let (expected, found) = (4 * u64::from(rank), lengths.len() as u64);
        return Err(DataError::Length { path: path.to_owned(), expected, found });
    }
    let shape: Vec<usize> = lengths
        .chunks_exact(4)
        .map(|length| u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize)
        .collect();
    let too_large = || DataError::format(path, "an array that fits into memory", format!("shape {shape:?}"));
    let count = slimnet_graph::tensor::element_count(&shape).map_err(|_| too_large())?;
    let size = element_type.byte_count(count).ok_or_else(too_large)?;
    let mut data = contents.exactly(size as u64)?;
    // Bytes of one element, in a type whose size is a whole number of bytes.
    let width = element_type.byte_count(1).unwrap_or(1);
    if width > 1 {
        data.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    Tensor::from_bytes(element_type, shape, data.into())
        .map_err(|error| DataError::format(path, "an array", error.to_string()))
}

/// Samples of a file of images and a file of labels.
pub(super) fn read_pair(images: &Path, labels: &Path) -> Result<Raw> {
    let mut tensor = read(images)?;
    if let &[samples, height, width] = tensor.shape() {
        // A channel axis more changes no count.
        tensor = tensor
            .reshaped(vec![samples, 1, height, width])
            .map_err(|error| DataError::format(images, "an array of images", error.to_string()))?;
    }
    Ok(Raw { inputs: vec![Array::new("x", tensor)?], target: target("y", read(labels)?)? })
}

fn usual_preprocessing(raw: &Raw) -> Preprocessing {
    let bytes = raw.inputs[0].element_type() == ElementType::U8;
    Preprocessing { scale: if bytes { 1.0 / 255.0 } else { 1.0 }, ..Preprocessing::default() }
}

fn plain_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    Some(name.strip_suffix(".gz").map_or(name.clone(), str::to_owned))
}

/// Whether a file is named as IDX files are: `…idx3…`.
pub(super) fn is_name(path: &Path) -> bool {
    let is_digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    plain_name(path).is_some_and(|name| name.split("idx").skip(1).any(is_digit))
}

fn files_in(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
        let path = entry.map_err(DataError::io(folder))?.path();
        if let Some(name) = plain_name(&path).filter(|_| is_name(&path) && path.is_file()) {
            let compressed = path.extension().is_some_and(|extension| extension == "gz");
            let place = files.entry(name).or_insert_with(|| path.clone());
            if !compressed {
                *place = path;
            }
        }
    }
    Ok(files)
}

/// Whether a folder has IDX files.
pub(super) fn is_in(folder: &Path) -> Result<bool> {
    Ok(!files_in(folder)?.is_empty())
}

/// Opens the training and the test files of a folder.
pub(super) fn open_folder(folder: &Path) -> Result<Parts> {
    let files = files_in(folder)?;
    let is_test = |name: &str| name.contains("t10k") || name.contains("test");
    let of = |kind: &str, test: bool| -> Result<Option<&PathBuf>> {
        let mut found = files.iter().filter(|(name, _)| name.contains(kind) && is_test(name) == test);
        match (found.next(), found.next()) {
            (Some((one, _)), Some((other, _))) => {
                let expected =
                    format!("one IDX file of {kind}; name the file of images to train on instead of the folder");
                Err(DataError::format(folder, expected, format!("{one} and {other}")))
            }
            (first, _) => Ok(first.map(|(_, path)| path)),
        }
    };
    let pair = |test: bool| match (of("images", test)?, of("labels", test)?) {
        (Some(images), Some(labels)) => read_pair(images, labels).map(Some),
        (None, None) => Ok(None),
        _ => Err(DataError::format(folder, "a file of images and a file of labels", "only one of them")),
    };
    let missing = || DataError::format(folder, "IDX files to train on, named …images-idx3… and …labels-idx1…", "none");
    let train = pair(false)?.ok_or_else(missing)?;
    let preprocessing = usual_preprocessing(&train);
    Ok(Parts::new(train, None, pair(true)?, preprocessing))
}

/// Opens a file of images, its labels and, if its name says `train`, the test files beside it.
pub(super) fn open_file(images: &Path) -> Result<Parts> {
    let name = images.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    if !stem.contains("images") {
        return Err(DataError::format(images, "an IDX file of images, with `images` in its name", "another name"));
    }
    let labels_of = |stem: &str| images.with_file_name(stem.replace("images", "labels").replace("idx3", "idx1"));
    let wanted = labels_of(stem);
    let labels = with_or_without_gz(&wanted)
        .ok_or_else(|| DataError::format(images, format!("its labels in {}", wanted.display()), "no such file"))?;
    let train = read_pair(images, &labels)?;
    let test = ["t10k", "test"].iter().filter(|_| stem.contains("train")).find_map(|word| {
        let stem = stem.replace("train", word);
        Some((with_or_without_gz(&images.with_file_name(&stem))?, with_or_without_gz(&labels_of(&stem))?))
    });
    let test = test.map(|(images, labels)| read_pair(&images, &labels)).transpose()?;
    let preprocessing = usual_preprocessing(&train);
    Ok(Parts::new(train, None, test, preprocessing))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::contents::tests::gz;
    use super::*;

    pub(in crate::source) fn file(code: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, code, shape.len() as u8];
        file.extend(shape.iter().flat_map(|length| length.to_be_bytes()));
        file.extend_from_slice(data);
        file
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", file(8, &[3, 1, 2], &[1, 2, 3, 4, 5, 6]));
        write("train-labels-idx1-ubyte.gz", gz(&file(8, &[3], &[0, 1, 2])));
        write("t10k-images-idx3-ubyte.gz", gz(&file(8, &[1, 1, 2], &[7, 8])));
        write("t10k-labels-idx1-ubyte", file(8, &[1], &[1]));
        folder
    }

    #[test]
    fn folders_and_files_are_opened() {
        let folder = folder();
        let file = folder.path().join("train-images-idx3-ubyte");
        for parts in [open_folder(folder.path()).unwrap(), open_file(&file).unwrap()] {
            assert_eq!(parts.train.inputs[0].sample_shapes(), [[1, 1, 2]]);
            let mut values = Vec::new();
            parts.train.inputs[0].read(2, &mut values).unwrap();
            assert_eq!(values, [5.0, 6.0]);
            assert_eq!(parts.test.unwrap().inputs[0].len(), 1);
            assert_eq!(parts.preprocessing.scale, 1.0 / 255.0);
        }
        assert!(is_in(folder.path()).unwrap());
        std::fs::write(folder.path().join("letters-train-images-idx3-ubyte"), b"").unwrap();
        assert!(open_folder(folder.path()).is_err());
        std::fs::remove_file(folder.path().join("train-labels-idx1-ubyte.gz")).unwrap();
        assert!(open_file(&file).is_err());
        assert!(open_file(&folder.path().join("t10k-labels-idx1-ubyte")).is_err());
    }

    #[test]
    fn every_type_is_big_endian() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let read_as = |code, data: &[u8], count| {
            std::fs::write(&path, file(code, &[count], data)).unwrap();
            read(&path).map(|tensor| tensor.to_f64s().unwrap())
        };
        assert_eq!(read_as(0x09, &[0xff], 1).unwrap(), [-1.0]);
        assert_eq!(read_as(0x0b, &[1, 2], 1).unwrap(), [258.0]);
        assert_eq!(read_as(0x0c, &[0, 0, 1, 2], 1).unwrap(), [258.0]);
        assert_eq!(read_as(0x0d, &1.5f32.to_be_bytes(), 1).unwrap(), [1.5]);
        assert_eq!(read_as(0x0e, &[1.5f64.to_be_bytes(), 2f64.to_be_bytes()].concat(), 2).unwrap(), [1.5, 2.0]);
        assert!(read_as(0x0a, &[0], 1).is_err());
        assert!(matches!(read_as(0x08, &[0], 2), Err(DataError::Length { expected: 2, .. })));
        assert!(matches!(read_as(0x08, &[0; 3], 2), Err(DataError::Length { expected: 2, .. })));
        std::fs::write(&path, file(8, &[u32::MAX; 8], &[0])).unwrap();
        assert!(read(&path).is_err());
        std::fs::write(&path, file(8, &[u32::MAX; 2], &[0])).unwrap();
        assert!(matches!(read(&path), Err(DataError::Length { .. })));
    }

    #[test]
    fn hostile_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let plain = file(8, &[2, 1, 2], &[1, 2, 3, 4]);
        for valid in [gz(&plain), plain] {
            for end in 0..valid.len() {
                std::fs::write(&path, &valid[..end]).unwrap();
                assert!(read(&path).is_err(), "{end}");
            }
            for place in 0..valid.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut changed = valid.clone();
                    changed[place] ^= flip;
                    std::fs::write(&path, &changed).unwrap();
                    let _ = read(&path);
                }
            }
        }
    }
}
