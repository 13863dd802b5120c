//! Reads arrays from the `.npy` files of numpy (versions 1 to 3, C order, little-endian).

use std::path::Path;

use slimnet_graph::tensor::{TensorError, element_count};
use slimnet_graph::{ElementType, Tensor};

use crate::failure::{Failure, Result};

/// Why a file is no array that can be read.
#[derive(Debug, PartialEq, thiserror::Error)]
enum NpyError {
    #[error("not a .npy file: it does not begin with \\x93NUMPY")]
    Magic,
    #[error("version {0} of the .npy format is not known")]
    Version(u8),
    #[error("the file ends inside its header")]
    Truncated,
    #[error("the header has no readable {0:?}: {1}")]
    Header(&'static str, String),
    #[error("elements of type {0:?} are not supported; save the array as float32 or as little-endian integers")]
    Type(String),
    #[error("the array is in Fortran order; save it with numpy.ascontiguousarray")]
    Fortran,
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// The array of a file.
pub fn read(path: &Path) -> Result<Tensor> {
    let cannot = |error: &dyn std::error::Error| Failure::new("cannot read the array", error).about(path);
    let file = std::fs::read(path).map_err(|error| cannot(&error))?;
    parse(&file).map_err(|error| cannot(&error))
}

fn parse(file: &[u8]) -> std::result::Result<Tensor, NpyError> {
    let rest = file.strip_prefix(b"\x93NUMPY").ok_or(NpyError::Magic)?;
    let (&[major, _minor], rest) = rest.split_first_chunk().ok_or(NpyError::Truncated)?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk().map(|(&length, rest)| (usize::from(u16::from_le_bytes(length)), rest)),
        2 | 3 => rest.split_first_chunk().map(|(&length, rest)| (u32::from_le_bytes(length) as usize, rest)),
        _ => return Err(NpyError::Version(major)),
    }
    .ok_or(NpyError::Truncated)?;
    let (header, data) = rest.split_at_checked(length).ok_or(NpyError::Truncated)?;
    let header = String::from_utf8_lossy(header);
    let wrong = |key| NpyError::Header(key, header.trim().to_owned());

    let description = field(&header, "descr").and_then(|text| text.strip_prefix('\''));
    let description = description.and_then(|text| text.split('\'').next()).ok_or_else(|| wrong("descr"))?;
    let element_type = element_type(description).ok_or_else(|| NpyError::Type(description.to_owned()))?;
    let fortran = field(&header, "fortran_order").ok_or_else(|| wrong("fortran_order"))?.starts_with("True");
    let shape = field(&header, "shape").and_then(|text| text.strip_prefix('(')?.split(')').next());
    let shape = shape.and_then(|text| {
        let lengths = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        lengths.map(|length| length.parse::<usize>().ok()).collect::<Option<Vec<_>>>()
    });
    let shape = shape.ok_or_else(|| wrong("shape"))?;
    // An array of at most one axis longer than 1 lies the same way in both orders.
    if fortran && shape.iter().filter(|&&length| length > 1).count() > 1 {
        return Err(NpyError::Fortran);
    }
    element_count(&shape)?;
    let data: Vec<u8> = match element_type {
        ElementType::Bool => data.iter().map(|&byte| u8::from(byte != 0)).collect(),
        _ => data.to_vec(),
    };
    Ok(Tensor::from_bytes(element_type, shape, data.into())?)
}

/// What follows a key in the header, which is a Python dictionary.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn element_type(description: &str) -> Option<ElementType> {
    Some(match description {
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
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(data);
        file
    }

    #[test]
    fn reads_arrays() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n";
        let data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(parse(&file(header, &data)), Ok(Tensor::from_values(vec![2, 1], vec![1.5f32, -2.0]).unwrap()));
        let scalar = file("{'descr': '<i8', 'fortran_order': False, 'shape': (), }", &7i64.to_le_bytes());
        assert_eq!(parse(&scalar), Ok(Tensor::scalar(7i64)));
        let vector = file("{'descr': '|b1', 'fortran_order': True, 'shape': (3,), }", &[0, 1, 5]);
        assert_eq!(parse(&vector), Ok(Tensor::from_bools(vec![3], &[false, true, true]).unwrap()));
    }

    #[test]
    fn refuses_the_rest() {
        let header = |descr: &str, fortran: &str, shape: &str| {
            file(&format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({shape}), }}"), &[0; 16])
        };
        assert_eq!(parse(b"\x89PNG"), Err(NpyError::Magic));
        assert_eq!(parse(b"\x93NUMPY\x09\x00"), Err(NpyError::Version(9)));
        assert_eq!(parse(b"\x93NUMPY\x01\x00\xff\xff"), Err(NpyError::Truncated));
        assert_eq!(parse(&header("<f4", "True", "2, 2")), Err(NpyError::Fortran));
        assert_eq!(parse(&header(">f4", "False", "2, 2")), Err(NpyError::Type(">f4".into())));
        assert!(matches!(parse(&header("<f4", "False", "-2")), Err(NpyError::Header("shape", _))));
        assert!(matches!(parse(&header("<f4", "False", "5")), Err(NpyError::Tensor(TensorError::WrongLength { .. }))));
        let huge = format!("{0}, {0}", u64::MAX);
        assert!(matches!(parse(&header("<f4", "False", &huge)), Err(NpyError::Tensor(TensorError::TooLarge(_)))));
        for end in 0..40 {
            assert!(parse(&header("<f4", "False", "2, 2")[..end]).is_err());
        }
    }
}
