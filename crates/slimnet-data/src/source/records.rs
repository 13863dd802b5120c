//! Raw records: a label and the elements of one sample after the other.

use std::path::{Path, PathBuf};

use slimnet_graph::{ElementType, Tensor};

use super::Query;
use super::contents::Contents;
use super::parts::{Parts, Raw, RawTarget};
use crate::dataset::Array;
use crate::error::{DataError, Result};
use crate::preprocess::Preprocessing;

/// How raw records are named.
pub const RECORDS_SYNTAX: &str = "\
records:PATH?shape=1x49x10&type=int8&label=uint8&skip=0&test=PATH&split=FILE
  PATH   a file of records of one length, little-endian, perhaps in gzip: skipped bytes, label, elements
  shape  lengths of a sample's axes, with x between (needed)
  type   uint8 (default), int8, uint16, int16, int32, float16, float32, float64
  label  uint8 (default), uint16, int32, int64, none
  skip   bytes at the beginning of each record that are passed over (default 0)
  test   another file of such records, to test on
  split  without test: a text file with train, validation or test for each record, one a line";

/// What a record is made of.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Bytes that are passed over.
    pub(super) skip: usize,
    /// Type of the label, if there is one.
    pub(super) label: Option<ElementType>,
    pub(super) shape: Vec<usize>,
    pub(super) element_type: ElementType,
}

/// Files of raw records.
#[derive(Debug, Clone)]
pub(super) struct Records {
    train: PathBuf,
    test: Option<PathBuf>,
    roles: Option<PathBuf>,
    layout: Layout,
}

impl Records {
    pub(super) fn parse(train: PathBuf, query: &Query) -> Result<Self> {
        query.only(&["shape", "type", "label", "skip", "test", "split"])?;
        let wrong = |key: &str, expected: &str| DataError::option(key, query.get(key).unwrap_or("nothing"), expected);
        let shape: Option<Vec<usize>> =
            query.get("shape").and_then(|text| text.split('x').map(|length| length.parse().ok()).collect());
        let shape = shape.filter(|shape| !shape.contains(&0));
        let shape = shape.ok_or_else(|| wrong("shape", "lengths above 0 with x between, such as 1x49x10"))?;
        let element_type = match query.get("type").unwrap_or("uint8") {
            "uint8" => ElementType::U8,
            "int8" => ElementType::I8,
            "uint16" => ElementType::U16,
            "int16" => ElementType::I16,
            "int32" => ElementType::I32,
            "float16" => ElementType::F16,
            "float32" => ElementType::F32,
            "float64" => ElementType::F64,
            _ => return Err(wrong("type", "uint8, int8, uint16, int16, int32, float16, float32 or float64")),
        };
        let label = match query.get("label").unwrap_or("uint8") {
            "none" => None,
            "uint8" => Some(ElementType::U8),
            "uint16" => Some(ElementType::U16),
            "int32" => Some(ElementType::I32),
            "int64" => Some(ElementType::I64),
            _ => return Err(wrong("label", "uint8, uint16, int32, int64 or none")),
        };
        let skip = query.get("skip").unwrap_or("0").parse().map_err(|_| wrong("skip", "a number of bytes"))?;
        let [test, roles] = ["test", "split"].map(|key| query.get(key).map(PathBuf::from));
        Ok(Self { train, test, roles, layout: Layout { skip, label, shape, element_type } })
    }

    pub(super) fn open(&self) -> Result<Parts> {
        let read = |path: &Path| self.layout.split(path, &Contents::open(path)?.rest()?);
        let train = read(&self.train)?;
        let test = self.test.as_deref().map(read).transpose()?;
        let mut parts = Parts::new(train, None, test, Preprocessing::default());
        parts.roles.clone_from(&self.roles);
        Ok(parts)
    }
}

impl Layout {
    /// Takes records apart.
    pub(super) fn split(&self, path: &Path, records: &[u8]) -> Result<Raw> {
        let too_large = || DataError::option("shape", &format!("{:?}", self.shape), "records that fit into memory");
        let size = |element_type: ElementType, count| element_type.byte_count(count).ok_or_else(too_large);
        let elements = slimnet_graph::tensor::element_count(&self.shape).map_err(|_| too_large())?;
        let elements = size(self.element_type, elements)?;
        let label = self.label.map_or(Ok(0), |label| size(label, 1))?;
        let data_at = self.skip.checked_add(label).ok_or_else(too_large)?;
        let length = data_at.checked_add(elements).filter(|&length| length > 0).ok_or_else(too_large)?;
        let count = records.len() / length;
        if !records.len().is_multiple_of(length) {
            let expected = format!("records of {length} bytes");
            return Err(DataError::format(
                path,
                expected,
                format!("{} bytes after {count} records", records.len() % length),
            ));
        }
        let mut data = Vec::with_capacity(count * elements);
        let mut labels = Vec::with_capacity(count);
        for record in records.chunks_exact(length) {
            data.extend_from_slice(&record[data_at..]);
            let mut bytes = [0; 8];
            bytes[..label].copy_from_slice(&record[self.skip..data_at]);
            let bits = i64::from_le_bytes(bytes);
            labels.push(if self.label == Some(ElementType::I32) { i64::from(bits as i32) } else { bits });
        }
        let mut shape = vec![count];
        shape.extend_from_slice(&self.shape);
        let tensor = Tensor::from_bytes(self.element_type, shape, data.into())
            .map_err(|error| DataError::format(path, "records", error.to_string()))?;
        let target = if self.label.is_some() { RawTarget::Labels(labels) } else { RawTarget::None };
        Ok(Raw { inputs: vec![Array::new("x", tensor)?], target })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{OpenOptions, Source};
    use super::*;

    fn open(text: &str, files: &[(&str, &[u8])]) -> Result<crate::Splits> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let text = text.replace("DIR", &folder.path().display().to_string());
        Source::parse(&text)?
            .open(&OpenOptions { validation: Some(crate::HoldOut::Count(0)), ..OpenOptions::default() })
    }

    #[test]
    fn records_are_taken_apart() {
        let file: &[u8] = &[9, 1, 10, 0xff, 9, 0, 30, 40];
        let splits = open("records:DIR/a?shape=1x2&type=int8&skip=1&test=DIR/b", &[("a", file), ("b", file)]).unwrap();
        assert_eq!(splits.classes(), Some(2));
        assert_eq!(splits.test.as_ref().unwrap().len(), 2);
        let array = &splits.train.dataset().inputs()[0];
        let mut values = Vec::new();
        assert_eq!(array.read(0, &mut values).unwrap().as_ref(), &[1, 2]);
        assert_eq!(values, [10.0, -1.0]);
        assert!(matches!(splits.train.dataset().target(), crate::Target::Classes { labels, .. } if labels == &[1, 0]));
        let splits = open("records:DIR/a?shape=4&label=none", &[("a", file)]).unwrap();
        assert_eq!((splits.train.len(), splits.classes()), (2, None));
        let wide = [&258u16.to_le_bytes()[..], &1.5f32.to_le_bytes()].concat();
        let splits = open("records:DIR/a?shape=1&type=float32&label=uint16", &[("a", &wide)]).unwrap();
        assert_eq!(splits.classes(), Some(259));
        let negative = [&(-1i32).to_le_bytes()[..], &[7]].concat();
        let wrong = open("records:DIR/a?shape=1&label=int32", &[("a", &negative)]).unwrap_err();
        assert!(matches!(wrong, DataError::Label { found: -1, .. }));
    }

    #[test]
    fn a_file_gives_the_parts() {
        let files: [(&str, &[u8]); 2] = [("a", &[0, 1, 1, 2, 0, 3]), ("s", b"test\ntrain\nvalidation\n")];
        let splits = open("records:DIR/a?shape=1&split=DIR/s", &files).unwrap();
        assert_eq!(splits.test.unwrap().samples(), [0]);
        assert_eq!(splits.validation.samples(), [2]);
    }

    #[test]
    fn wrong_records_are_refused() {
        let file: [(&str, &[u8]); 1] = [("a", &[0, 1, 2, 3])];
        for query in [
            "",
            "?shape=2",
            "?shape=",
            "?shape=0x1",
            "?shape=3&type=int4",
            "?shape=3&label=text",
            "?shape=3&skip=-1",
            "?shape=3&size=1",
            "?shape=18446744073709551615",
            "?shape=9223372036854775807x4",
            "?shape=3&test=DIR/none",
            "?shape=3&skip=18446744073709551615",
            "?shape=1x1x1x1x1x1x1&type=float64",
        ] {
            assert!(open(&format!("records:DIR/a{query}"), &file).is_err(), "{query}");
        }
        assert!(open("records:DIR/a?shape=3", &[("a", b"")]).is_err());
        assert!(open("records:DIR/none?shape=3", &file).is_err());
        assert!(open("records:DIR?shape=3", &file).is_err());
    }
}
