//! Arrays as numpy writes them: `.npy`, versions 1 to 3, C order, little-endian.

use std::path::Path;

use slimnet_graph::{ElementType, Tensor};

use crate::error::{DataError, Result};

/// The array of a file, or of a part of a file that `name` names.
pub(super) fn parse(path: &Path, name: &str, file: &[u8]) -> Result<Tensor> {
    let wrong = |expected: &str, found: &str| {
        DataError::format(path, format!("in `{name}` {expected}"), found.chars().take(200).collect::<String>())
    };
    let truncated = || wrong("a whole .npy header", "its beginning only");
    let rest = file.strip_prefix(b"\x93NUMPY").ok_or_else(|| wrong("an array as .npy", "something else"))?;
    let (&[major, _], rest) = rest.split_first_chunk().ok_or_else(truncated)?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk().map(|(&length, rest)| (usize::from(u16::from_le_bytes(length)), rest)),
        2 | 3 => rest.split_first_chunk().map(|(&length, rest)| (u32::from_le_bytes(length) as usize, rest)),
        other => return Err(wrong("version 1 to 3 of .npy", &other.to_string())),
    }
    .ok_or_else(truncated)?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(truncated)?;
    let header = String::from_utf8_lossy(header);
    // The header is a Python dictionary of three fixed keys.
    let field = |key: &str| {
        let (_, rest) = header.split_once(&format!("'{key}'"))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };

    let kind = field("descr").and_then(|text| text.strip_prefix('\'')?.split('\'').next());
    let kind = kind.ok_or_else(|| wrong("an element type", &header))?;
    let element_type = element_type(kind).ok_or_else(|| DataError::ElementType {
        name: name.to_owned(),
        found: kind.to_owned(),
        expected: "bool, little-endian integers or floats",
    })?;
    let shape: Option<Vec<usize>> = field("shape").and_then(|text| {
        let lengths = text.strip_prefix('(')?.split_once(')')?.0.split(',').map(str::trim);
        lengths.filter(|length| !length.is_empty()).map(|length| length.parse().ok()).collect()
    });
    let shape = shape.ok_or_else(|| wrong("a shape", &header))?;
    match field("fortran_order") {
        Some(text) if text.starts_with("False") => {}
        // An array with one axis longer than 1 lies the same way in both orders.
        Some(text) if text.starts_with("True") && shape.iter().filter(|&&length| length != 1).count() < 2 => {}
        Some(text) if text.starts_with("True") => {
            return Err(wrong("C order; save it through numpy.ascontiguousarray", "Fortran order"));
        }
        _ => return Err(wrong("fortran_order", &header)),
    }
    let data: Vec<u8> = match element_type {
        ElementType::Bool => data.iter().map(|&byte| u8::from(byte != 0)).collect(),
        _ => data.to_vec(),
    };
    let tensor = Tensor::from_bytes(element_type, shape, data.into());
    tensor.map_err(|error| wrong("data as its header declares", &error.to_string()))
}

fn element_type(kind: &str) -> Option<ElementType> {
    Some(match kind {
        "<f2" => ElementType::F16,
        "<f4" => ElementType::F32,
        "<f8" => ElementType::F64,
        "|b1" => ElementType::Bool,
        "|i1" => ElementType::I8,
        "<i2" => ElementType::I16,
        "<i4" => ElementType::I32,
        "<i8" => ElementType::I64,
        "|u1" => ElementType::U8,
        "<u2" => ElementType::U16,
        "<u4" => ElementType::U32,
        "<u8" => ElementType::U64,
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::source) fn file(kind: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': ({shape}), }}\n");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    fn run(file: &[u8]) -> Result<Tensor> {
        parse(Path::new("a.npz"), "x", file)
    }

    #[test]
    fn arrays_are_read() {
        let data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let expected = Tensor::from_values(vec![2, 1], vec![1.5f32, -2.0]).unwrap();
        assert_eq!(run(&file("<f4", "False", "2, 1", &data)).unwrap(), expected);
        assert_eq!(run(&file("<f4", "True", "2, 1", &data)).unwrap(), expected);
        assert_eq!(run(&file("<i8", "False", "", &7i64.to_le_bytes())).unwrap(), Tensor::scalar(7i64));
        let bools = Tensor::from_bools(vec![3], &[false, true, true]).unwrap();
        assert_eq!(run(&file("|b1", "False", "3,", &[0, 1, 5])).unwrap(), bools);
    }

    #[test]
    fn the_rest_is_refused() {
        let valid = file("<f4", "False", "2, 2", &[0; 16]);
        for end in 0..valid.len() {
            assert!(run(&valid[..end]).is_err(), "{end}");
        }
        for place in 0..valid.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = valid.clone();
                changed[place] ^= flip;
                let _ = run(&changed);
            }
        }
        let huge = format!("{0}, {0}", u64::MAX);
        for (kind, fortran, shape) in [
            (">f4", "False", "2, 2"),
            ("<U4", "False", "1"),
            ("<f4", "True", "2, 2"),
            ("<f4", "Maybe", "2, 2"),
            ("<f4", "False", "-2"),
            ("<f4", "False", "5"),
            ("<f4", "False", &huge),
        ] {
            assert!(run(&file(kind, fortran, shape, &[0; 16])).is_err(), "{kind} {fortran} {shape}");
        }
        assert!(run(b"\x89PNG").is_err());
        assert!(run(b"\x93NUMPY\x09\x00").is_err());
    }
}
