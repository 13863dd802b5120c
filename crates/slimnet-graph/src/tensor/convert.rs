//! Elements as numbers: native scalars, and conversion to and from the two types that the reference evaluator computes
//! in, `f64` for floating point and `i128` for integers (both hold every element of every narrower type exactly).

use bytemuck::Pod;
use bytes::Bytes;
use half::{bf16, f16};

use super::{Data, ElementType, Tensor, TensorError, element_count, minifloat};

/// A native type that is the element type of a tensor.
pub trait Scalar: Pod + Send + Sync + PartialOrd + 'static {
    /// The element type that this is.
    const ELEMENT_TYPE: ElementType;
}

macro_rules! scalars {
    ($($native:ty => $element_type:ident),+ $(,)?) => {
        $(impl Scalar for $native { const ELEMENT_TYPE: ElementType = ElementType::$element_type; })+
    };
}

scalars! {
    f32 => F32, f64 => F64, f16 => F16, bf16 => BF16,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
}

/// Calls a generic expression with the native type of an element type; packed and special types go to `$other`.
macro_rules! with_native {
    ($element_type:expr, $native:ident => $body:expr, $other:expr) => {
        match $element_type {
            ElementType::F32 => {
                type $native = f32;
                $body
            }
            ElementType::F64 => {
                type $native = f64;
                $body
            }
            ElementType::F16 => {
                type $native = f16;
                $body
            }
            ElementType::BF16 => {
                type $native = bf16;
                $body
            }
            ElementType::I8 => {
                type $native = i8;
                $body
            }
            ElementType::I16 => {
                type $native = i16;
                $body
            }
            ElementType::I32 => {
                type $native = i32;
                $body
            }
            ElementType::I64 => {
                type $native = i64;
                $body
            }
            ElementType::U8 | ElementType::Bool => {
                type $native = u8;
                $body
            }
            ElementType::U16 => {
                type $native = u16;
                $body
            }
            ElementType::U32 => {
                type $native = u32;
                $body
            }
            ElementType::U64 => {
                type $native = u64;
                $body
            }
            _ => $other,
        }
    };
}

/// Numeric conversion as Rust's `as` has it.
trait Number: Pod {
    fn to_f64(self) -> f64;
    fn to_i128(self) -> i128;
    fn from_f64(value: f64) -> Self;
    fn wrap(value: i128) -> Self;
}

macro_rules! numbers {
    ($($native:ty),+) => { $(impl Number for $native {
        fn to_f64(self) -> f64 { self as f64 }
        fn to_i128(self) -> i128 { self as i128 }
        fn from_f64(value: f64) -> Self { value as $native }
        fn wrap(value: i128) -> Self { value as $native }
    })+ };
}
numbers!(f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! half_numbers {
    ($($native:ty),+) => { $(impl Number for $native {
        fn to_f64(self) -> f64 { <$native>::to_f64(self) }
        fn to_i128(self) -> i128 { <$native>::to_f64(self) as i128 }
        fn from_f64(value: f64) -> Self { <$native>::from_f64(value) }
        fn wrap(value: i128) -> Self { <$native>::from_f64(value as f64) }
    })+ };
}
half_numbers!(f16, bf16);

/// Splits packed elements of `bits` (2 or 4) into one byte each, low bits first.
fn unpack(bytes: &[u8], bits: usize, count: usize) -> impl Iterator<Item = u8> + '_ {
    let per_byte = 8 / bits;
    (0..count).map(move |index| (bytes[index / per_byte] >> (index % per_byte * bits)) & ((1 << bits) - 1))
}

/// The opposite of [`unpack`].
fn pack(elements: &[u8], bits: usize) -> Vec<u8> {
    elements
        .chunks(8 / bits)
        .map(|chunk| {
            chunk
                .iter()
                .enumerate()
                .fold(0, |byte, (place, &element)| byte | ((element & ((1u16 << bits) - 1) as u8) << (place * bits)))
        })
        .collect()
}

impl Tensor {
    fn numbers(&self, expected: &str) -> Result<&Bytes, TensorError> {
        match &self.data {
            Data::Bytes(bytes) if !matches!(self.element_type, ElementType::Complex64 | ElementType::Complex128) => {
                Ok(bytes)
            }
            _ => Err(TensorError::WrongElementType { expected: expected.to_owned(), found: self.element_type }),
        }
    }

    /// Every element as `f64` (exact except for 64-bit integers above 2^53).
    ///
    /// # Errors
    /// For strings and complex numbers.
    pub fn to_f64s(&self) -> Result<Vec<f64>, TensorError> {
        let bytes = self.numbers("real numbers")?;
        let element_type = self.element_type;
        Ok(with_native!(
            element_type,
            N => bytemuck::allocation::pod_collect_to_vec::<u8, N>(bytes).into_iter().map(Number::to_f64).collect(),
            match element_type {
                ElementType::F4E2M1 => {
                    unpack(bytes, 4, self.len()).map(|pattern| minifloat::decode(element_type, pattern)).collect()
                }
                _ if element_type.is_float8() => {
                    bytes.iter().map(|&pattern| minifloat::decode(element_type, pattern)).collect()
                }
                _ => self.to_i128s()?.into_iter().map(|value| value as f64).collect(),
            }
        ))
    }

    /// Every element as `i128`; floating-point elements are cut towards zero.
    ///
    /// # Errors
    /// For strings and complex numbers.
    pub fn to_i128s(&self) -> Result<Vec<i128>, TensorError> {
        let bytes = self.numbers("numbers")?;
        let element_type = self.element_type;
        Ok(with_native!(
            element_type,
            N => bytemuck::allocation::pod_collect_to_vec::<u8, N>(bytes).into_iter().map(Number::to_i128).collect(),
            match (element_type.integer_range(), element_type.bits()) {
                (Some((low, _)), Some(bits)) => unpack(bytes, bits, self.len())
                    .map(|pattern| {
                        let value = i128::from(pattern);
                        // A signed type's upper half stands for its negative numbers.
                        if low < 0 && value >= -low { value + 2 * low } else { value }
                    })
                    .collect(),
                _ => self.to_f64s()?.into_iter().map(|value| value as i128).collect(),
            }
        ))
    }

    /// Every element as `i64`, for shapes, axes and indices.
    ///
    /// # Errors
    /// [`TensorError::WrongElementType`] unless the tensor holds integers.
    pub fn to_i64s(&self) -> Result<Vec<i64>, TensorError> {
        if !self.element_type.is_integer() && self.element_type != ElementType::Bool {
            return Err(TensorError::WrongElementType { expected: "integers".into(), found: self.element_type });
        }
        Ok(self.to_i128s()?.into_iter().map(|value| value as i64).collect())
    }

    /// A tensor of any numeric type from `f64`, rounded to nearest even for floating-point types; for integer types cut
    /// towards zero and saturated; for bool, whether it is not zero.
    ///
    /// # Errors
    /// For strings and complex numbers, and if the shape has another number of elements.
    pub fn from_f64s(element_type: ElementType, shape: Vec<usize>, values: Vec<f64>) -> Result<Self, TensorError> {
        if element_type == ElementType::F64 {
            return Self::from_values(shape, values);
        }
        if element_type == ElementType::Bool {
            let values = values.into_iter().map(|value| u8::from(value != 0.0)).collect();
            return Self::from_native::<u8>(element_type, shape, values);
        }
        with_native!(
            element_type,
            N => Self::from_native::<N>(element_type, shape, values.into_iter().map(N::from_f64).collect()),
            match element_type {
                _ if element_type.is_float8() => Self::from_patterns(
                    element_type,
                    shape,
                    &values.into_iter().map(|value| minifloat::encode(element_type, value, true)).collect::<Vec<_>>(),
                ),
                ElementType::F4E2M1 => Self::from_patterns(
                    element_type,
                    shape,
                    &values.into_iter().map(|value| minifloat::encode(element_type, value, true)).collect::<Vec<_>>(),
                ),
                _ => {
                    let (low, high) = element_type.integer_range().unwrap_or((0, 0));
                    let clamp = |value: f64| (value as i128).clamp(low, high);
                    Self::from_i128s(element_type, shape, values.into_iter().map(clamp).collect())
                }
            }
        )
    }

    /// As [`Tensor::from_f64s`], but an 8-bit float that overflows becomes infinity or NaN instead of the largest value
    /// (`saturate = 0` of Cast and `QuantizeLinear`).
    ///
    /// # Errors
    /// As [`Tensor::from_f64s`].
    pub fn from_f64s_unsaturated(
        element_type: ElementType,
        shape: Vec<usize>,
        values: Vec<f64>,
    ) -> Result<Self, TensorError> {
        if !element_type.is_float8() {
            return Self::from_f64s(element_type, shape, values);
        }
        let patterns: Vec<_> = values.into_iter().map(|value| minifloat::encode(element_type, value, false)).collect();
        Self::from_patterns(element_type, shape, &patterns)
    }

    /// A tensor of any numeric type from `i128`: integers wrap (the lowest bits are kept), floating-point types round,
    /// bool tells whether it is not zero.
    ///
    /// # Errors
    /// For strings and complex numbers, and if the shape has another number of elements.
    pub fn from_i128s(element_type: ElementType, shape: Vec<usize>, values: Vec<i128>) -> Result<Self, TensorError> {
        if element_type == ElementType::Bool {
            let values = values.into_iter().map(|value| u8::from(value != 0)).collect();
            return Self::from_native::<u8>(element_type, shape, values);
        }
        with_native!(
            element_type,
            N => Self::from_native::<N>(element_type, shape, values.into_iter().map(N::wrap).collect()),
            if element_type.is_integer() {
                let patterns: Vec<_> = values.into_iter().map(|value| value as u8).collect();
                Self::from_patterns(element_type, shape, &patterns)
            } else if element_type.is_float() {
                Self::from_f64s(element_type, shape, values.into_iter().map(|value| value as f64).collect())
            } else {
                Err(TensorError::WrongElementType { expected: "a numeric type".into(), found: element_type })
            }
        )
    }

    /// One bool (as a byte) an element.
    ///
    /// # Errors
    /// If the shape has another number of elements.
    pub fn from_bools(shape: Vec<usize>, values: &[bool]) -> Result<Self, TensorError> {
        let values = values.iter().map(|&value| u8::from(value)).collect();
        Self::from_native::<u8>(ElementType::Bool, shape, values)
    }

    /// Each element's bit pattern in as many whole bytes as it needs (types below 8 bits: one byte an element): what
    /// operators that only move elements work on. `None` for strings.
    pub fn to_patterns(&self) -> Option<(usize, Vec<u8>)> {
        let bytes = self.bytes()?;
        let bits = self.element_type.bits()?;
        Some(if bits < 8 { (1, unpack(bytes, bits, self.len()).collect()) } else { (bits / 8, bytes.to_vec()) })
    }

    /// The opposite of [`Tensor::to_patterns`].
    ///
    /// # Errors
    /// If there are not as many patterns as the shape needs.
    pub fn from_patterns(element_type: ElementType, shape: Vec<usize>, patterns: &[u8]) -> Result<Self, TensorError> {
        let packed = match element_type.bits() {
            Some(bits) if bits < 8 => {
                let expected = element_count(&shape)?;
                if patterns.len() != expected {
                    return Err(TensorError::WrongLength { element_type, shape, expected, found: patterns.len() });
                }
                pack(patterns, bits)
            }
            _ => patterns.to_vec(),
        };
        Self::from_bytes(element_type, shape, packed.into())
    }

    #[allow(clippy::needless_pass_by_value)] // callers have just collected it
    fn from_native<T: Pod + Send + Sync>(
        element_type: ElementType,
        shape: Vec<usize>,
        values: Vec<T>,
    ) -> Result<Self, TensorError> {
        Self::from_bytes(element_type, shape, Bytes::copy_from_slice(bytemuck::cast_slice(&values)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_numeric_type_returns_small_values() {
        for element_type in ElementType::ALL {
            if element_type.bits().is_none() || element_type.bits() > Some(64) || element_type == ElementType::Complex64
            {
                continue;
            }
            let values = match element_type {
                ElementType::Bool => vec![0.0, 1.0, 1.0],
                ElementType::F8E8M0 => vec![1.0, 2.0, 0.5],
                _ => vec![0.0, 1.0, 1.0],
            };
            let tensor = Tensor::from_f64s(element_type, vec![3], values.clone()).unwrap();
            assert_eq!(tensor.to_f64s().unwrap(), values, "{element_type}");
            let (_, patterns) = tensor.to_patterns().unwrap();
            assert_eq!(Tensor::from_patterns(element_type, vec![3], &patterns).unwrap(), tensor);
        }
    }

    #[test]
    fn signed_nibbles() {
        let tensor = Tensor::from_i128s(ElementType::I4, vec![3], vec![-8, 7, -1]).unwrap();
        assert_eq!(tensor.bytes().unwrap().as_ref(), &[0x78, 0x0F]);
        assert_eq!(tensor.to_i64s().unwrap(), [-8, 7, -1]);
    }

    #[test]
    fn integers_wrap_and_floats_saturate() {
        let wrapped = Tensor::from_i128s(ElementType::U8, vec![1], vec![257]).unwrap();
        assert_eq!(wrapped.to_i64s().unwrap(), [1]);
        let saturated = Tensor::from_f64s(ElementType::U8, vec![1], vec![257.0]).unwrap();
        assert_eq!(saturated.to_i64s().unwrap(), [255]);
    }
}
