//! `TensorProto` to [`Tensor`] and back.

use bytes::Bytes;

use super::proto::TensorProto;
use super::proto::tensor_proto::DataLocation;
use crate::tensor::{ElementType, Tensor, TensorError, element_count};

/// What is wrong with a tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorProtoError {
    /// An element type that ONNX or slimnet does not have.
    #[error("element type {0} is not known")]
    ElementType(i32),
    /// A negative dimension.
    #[error("dimension {0} is negative")]
    NegativeDim(i64),
    /// The number of values does not fit the shape.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A field holds fewer or more values than the shape needs.
    #[error("shape {shape:?} needs {expected} values, found {found}")]
    Count {
        /// The shape.
        shape: Vec<usize>,
        /// Values needed.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// The data lies outside of the file, where it cannot be followed from here.
    #[error("the data lies in an external file, which is not possible here")]
    External,
    /// A part of a tensor stored in segments.
    #[error("tensors in segments are not supported")]
    Segment,
}

/// Shape of a tensor of a file.
pub(super) fn shape_of(proto: &TensorProto) -> Result<Vec<usize>, TensorProtoError> {
    let convert = |&dim: &i64| usize::try_from(dim).map_err(|_| TensorProtoError::NegativeDim(dim));
    proto.dims.iter().map(convert).collect()
}

/// Element type of a tensor of a file.
pub(super) fn element_type_of(proto: &TensorProto) -> Result<ElementType, TensorProtoError> {
    ElementType::from_onnx(proto.data_type()).ok_or(TensorProtoError::ElementType(proto.data_type()))
}

/// The tensor that a file holds inside itself.
///
/// # Errors
/// If the data does not fit the shape, or lies elsewhere.
pub fn tensor_from_proto(proto: &TensorProto) -> Result<Tensor, TensorProtoError> {
    if proto.data_location() == DataLocation::External {
        return Err(TensorProtoError::External);
    }
    if proto.segment.is_some() {
        return Err(TensorProtoError::Segment);
    }
    let (element_type, shape) = (element_type_of(proto)?, shape_of(proto)?);
    if element_type == ElementType::String {
        return Ok(Tensor::from_strings(shape, proto.string_data.clone())?);
    }
    if let Some(raw) = &proto.raw_data {
        return Ok(Tensor::from_bytes(element_type, shape, raw.clone())?);
    }
    let bytes = typed_bytes(element_type, proto);
    let expected = element_count(&shape)?;
    let found = typed_count(element_type, proto);
    if found != expected {
        return Err(TensorProtoError::Count { shape, expected, found });
    }
    Ok(Tensor::from_bytes(element_type, shape, bytes)?)
}

/// Number of elements in the typed field that `element_type` uses.
fn typed_count(element_type: ElementType, proto: &TensorProto) -> usize {
    match element_type {
        ElementType::F32 => proto.float_data.len(),
        ElementType::F64 => proto.double_data.len(),
        ElementType::Complex64 => proto.float_data.len() / 2,
        ElementType::Complex128 => proto.double_data.len() / 2,
        ElementType::I64 => proto.int64_data.len(),
        ElementType::U64 | ElementType::U32 => proto.uint64_data.len(),
        // Packed types keep several elements in each int32: as many as the shape asks for, up to a whole one.
        ElementType::U4 | ElementType::I4 | ElementType::F4E2M1 | ElementType::U2 | ElementType::I2 => {
            let per_byte = 8 / element_type.bits().unwrap_or(8);
            let expected = shape_of(proto).ok().and_then(|shape| element_count(&shape).ok()).unwrap_or(0);
            let bytes = proto.int32_data.len();
            if expected.div_ceil(per_byte) == bytes { expected } else { bytes * per_byte }
        }
        _ => proto.int32_data.len(),
    }
}

fn typed_bytes(element_type: ElementType, proto: &TensorProto) -> Bytes {
    let bytes: Vec<u8> = match element_type {
        ElementType::F32 | ElementType::Complex64 => bytemuck::cast_slice(&proto.float_data).to_vec(),
        ElementType::F64 | ElementType::Complex128 => bytemuck::cast_slice(&proto.double_data).to_vec(),
        ElementType::I64 => bytemuck::cast_slice(&proto.int64_data).to_vec(),
        ElementType::U64 => bytemuck::cast_slice(&proto.uint64_data).to_vec(),
        ElementType::U32 => proto.uint64_data.iter().flat_map(|&value| (value as u32).to_le_bytes()).collect(),
        ElementType::I32 => bytemuck::cast_slice(&proto.int32_data).to_vec(),
        ElementType::U16 | ElementType::I16 | ElementType::F16 | ElementType::BF16 => {
            proto.int32_data.iter().flat_map(|&value| (value as u16).to_le_bytes()).collect()
        }
        _ => proto.int32_data.iter().map(|&value| value as u8).collect(),
    };
    bytes.into()
}

/// A tensor as files hold it, its data inside as `raw_data` (shared, not copied).
pub fn tensor_to_proto(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|&dim| dim as i64).collect(),
        data_type: Some(tensor.element_type().to_onnx()),
        name: (!name.is_empty()).then(|| name.to_owned()),
        raw_data: tensor.bytes().cloned(),
        string_data: tensor.strings().map(<[_]>::to_vec).unwrap_or_default(),
        ..TensorProto::default()
    }
}
