//! Element types and tensor data.

mod convert;
mod element_type;
mod minifloat;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

pub use convert::Scalar;
pub use element_type::ElementType;

/// What is wrong with a tensor or with how it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The shape's product, or its size in bytes, does not fit in memory addresses.
    #[error("shape {0:?} has too many elements")]
    TooLarge(Vec<usize>),
    /// Data and shape disagree.
    #[error("{element_type} tensor of shape {shape:?} needs {expected} bytes, found {found}")]
    WrongLength {
        /// The tensor's element type.
        element_type: ElementType,
        /// The tensor's shape.
        shape: Vec<usize>,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// The elements were asked for as another type.
    #[error("tensor holds {found}, not {expected}")]
    WrongElementType {
        /// The type that was asked for.
        expected: String,
        /// The type that there is.
        found: ElementType,
    },
    /// Memory for the tensor may not be taken: it is above the caller's limit.
    #[error("tensor of shape {shape:?} needs {bytes} bytes, more than the limit of {limit}")]
    AboveLimit {
        /// The shape.
        shape: Vec<usize>,
        /// What it needs.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// The elements of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Data {
    /// Little-endian elements in row-major order, as in ONNX `raw_data`; types below 8 bits are packed, first element
    /// in the lowest bits.
    Bytes(Bytes),
    /// Strings, which have no fixed size.
    Strings(Arc<Vec<Vec<u8>>>),
}

/// A dense tensor: element type, shape and data. Cloning shares the data (which may be a slice of a memory-mapped file);
/// to change it, make a new tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    element_type: ElementType,
    shape: Vec<usize>,
    data: Data,
}

/// Number of elements of a shape.
///
/// # Errors
/// [`TensorError::TooLarge`] if the product overflows.
pub fn element_count(shape: &[usize]) -> Result<usize, TensorError> {
    // A zero anywhere makes the tensor empty, whatever the other dimensions multiply to.
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim))
        .ok_or_else(|| TensorError::TooLarge(shape.to_vec()))
}

impl Tensor {
    /// A tensor over bytes as ONNX `raw_data` has them.
    ///
    /// # Errors
    /// If the bytes are not as many as type and shape need, or the type is [`ElementType::String`].
    pub fn from_bytes(element_type: ElementType, shape: Vec<usize>, bytes: Bytes) -> Result<Self, TensorError> {
        let expected = element_type.byte_count(element_count(&shape)?).ok_or_else(|| {
            TensorError::WrongElementType { expected: "a type of fixed size".into(), found: element_type }
        })?;
        if bytes.len() != expected {
            return Err(TensorError::WrongLength { element_type, shape, expected, found: bytes.len() });
        }
        Ok(Self { element_type, shape, data: Data::Bytes(bytes) })
    }

    /// A tensor of strings.
    ///
    /// # Errors
    /// If there are not as many strings as the shape needs.
    pub fn from_strings(shape: Vec<usize>, strings: Vec<Vec<u8>>) -> Result<Self, TensorError> {
        let expected = element_count(&shape)?;
        if strings.len() != expected {
            let element_type = ElementType::String;
            return Err(TensorError::WrongLength { element_type, shape, expected, found: strings.len() });
        }
        Ok(Self { element_type: ElementType::String, shape, data: Data::Strings(Arc::new(strings)) })
    }

    /// A tensor of native values.
    ///
    /// # Errors
    /// If there are not as many values as the shape needs.
    pub fn from_values<T: Scalar>(shape: Vec<usize>, values: Vec<T>) -> Result<Self, TensorError> {
        Self::from_bytes(T::ELEMENT_TYPE, shape, Bytes::from_owner(OwnedValues(values)))
    }

    /// A tensor without axes.
    pub fn scalar<T: Scalar>(value: T) -> Self {
        let bytes = Bytes::copy_from_slice(bytemuck::bytes_of(&value));
        Self { element_type: T::ELEMENT_TYPE, shape: Vec::new(), data: Data::Bytes(bytes) }
    }

    /// A one-dimensional tensor of native values.
    pub fn vector<T: Scalar>(values: Vec<T>) -> Self {
        let shape = vec![values.len()];
        let data = Data::Bytes(Bytes::from_owner(OwnedValues(values)));
        Self { element_type: T::ELEMENT_TYPE, shape, data }
    }

    /// The type of each element.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Lengths of the axes; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        // The constructors have checked that the product does not overflow, unless a zero makes it say nothing.
        if self.is_empty() { 0 } else { self.shape.iter().product() }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Size of the data in bytes (of strings: their lengths).
    pub fn byte_len(&self) -> usize {
        match &self.data {
            Data::Bytes(bytes) => bytes.len(),
            Data::Strings(strings) => strings.iter().map(Vec::len).sum(),
        }
    }

    /// The little-endian data; `None` for strings.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.data {
            Data::Bytes(bytes) => Some(bytes),
            Data::Strings(_) => None,
        }
    }

    /// The strings of a string tensor.
    pub fn strings(&self) -> Option<&[Vec<u8>]> {
        match &self.data {
            Data::Bytes(_) => None,
            Data::Strings(strings) => Some(strings),
        }
    }

    /// The elements as native values, borrowed where the data is aligned.
    ///
    /// # Errors
    /// [`TensorError::WrongElementType`] if the tensor holds another type.
    pub fn values<T: Scalar>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        match &self.data {
            Data::Bytes(bytes) if T::ELEMENT_TYPE == self.element_type => {
                Ok(match bytemuck::try_cast_slice::<u8, T>(bytes) {
                    Ok(values) => Cow::Borrowed(values),
                    Err(_) => Cow::Owned(bytemuck::allocation::pod_collect_to_vec(bytes)),
                })
            }
            _ => Err(TensorError::WrongElementType { expected: T::ELEMENT_TYPE.to_string(), found: self.element_type }),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// If the shape has another number of elements.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, TensorError> {
        let (expected, found) = (element_count(&shape)?, self.len());
        if expected != found {
            return Err(TensorError::WrongLength { element_type: self.element_type, shape, expected, found });
        }
        Ok(Self { element_type: self.element_type, shape, data: self.data.clone() })
    }
}

/// Lets [`Bytes`] own a vector of any scalar without copying it.
struct OwnedValues<T>(Vec<T>);

impl<T: Scalar> AsRef<[u8]> for OwnedValues<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_must_fit_the_shape() {
        assert!(Tensor::from_values(vec![2, 3], vec![0f32; 6]).is_ok());
        assert!(matches!(
            Tensor::from_values(vec![2, 3], vec![0f32; 5]),
            Err(TensorError::WrongLength { expected: 24, found: 20, .. })
        ));
        let huge = vec![usize::MAX, 2];
        assert_eq!(element_count(&huge), Err(TensorError::TooLarge(huge)));
        assert_eq!(element_count(&[usize::MAX, 2, 0]), Ok(0));
        assert_eq!(Tensor::from_values(vec![usize::MAX, 2, 0], Vec::<f32>::new()).unwrap().len(), 0);
    }

    #[test]
    fn unaligned_bytes_are_copied_not_misread() {
        let mut raw = vec![0u8];
        raw.extend_from_slice(&1.5f32.to_le_bytes());
        let tensor = Tensor::from_bytes(ElementType::F32, vec![1], Bytes::from(raw).slice(1..)).unwrap();
        assert_eq!(tensor.values::<f32>().unwrap().as_ref(), &[1.5]);
        assert!(tensor.values::<i32>().is_err());
    }
}
