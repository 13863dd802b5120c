//! The element types of ONNX.

use std::fmt;

/// Type of a tensor's elements, with the numbers that ONNX `TensorProto.DataType` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // each name is its meaning
pub enum ElementType {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    U16 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    String = 8,
    Bool = 9,
    F16 = 10,
    F64 = 11,
    U32 = 12,
    U64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    BF16 = 16,
    /// 4 exponent bits, 3 mantissa bits, no infinity.
    F8E4M3FN = 17,
    /// As [`Self::F8E4M3FN`] with bias 8 and no negative zero.
    F8E4M3FNUZ = 18,
    /// 5 exponent bits, 2 mantissa bits, IEEE-like.
    F8E5M2 = 19,
    /// As [`Self::F8E5M2`] with bias 16, no infinity and no negative zero.
    F8E5M2FNUZ = 20,
    U4 = 21,
    I4 = 22,
    /// 2 exponent bits, 1 mantissa bit, neither infinity nor NaN.
    F4E2M1 = 23,
    /// A power of two: 8 exponent bits only.
    F8E8M0 = 24,
    U2 = 25,
    I2 = 26,
}

impl ElementType {
    /// Every element type, in the order of its ONNX number.
    pub const ALL: [Self; 26] = [
        Self::F32,
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::String,
        Self::Bool,
        Self::F16,
        Self::F64,
        Self::U32,
        Self::U64,
        Self::Complex64,
        Self::Complex128,
        Self::BF16,
        Self::F8E4M3FN,
        Self::F8E4M3FNUZ,
        Self::F8E5M2,
        Self::F8E5M2FNUZ,
        Self::U4,
        Self::I4,
        Self::F4E2M1,
        Self::F8E8M0,
        Self::U2,
        Self::I2,
    ];

    /// The type with this ONNX number, if there is one.
    pub fn from_onnx(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|element_type| element_type.to_onnx() == code)
    }

    /// The number that ONNX gives to this type.
    pub fn to_onnx(self) -> i32 {
        self as i32
    }

    /// Bits of one element; `None` for strings.
    pub fn bits(self) -> Option<usize> {
        Some(match self {
            Self::String => return None,
            Self::U2 | Self::I2 => 2,
            Self::U4 | Self::I4 | Self::F4E2M1 => 4,
            Self::U8 | Self::I8 | Self::Bool | Self::F8E8M0 => 8,
            Self::F8E4M3FN | Self::F8E4M3FNUZ | Self::F8E5M2 | Self::F8E5M2FNUZ => 8,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 16,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F64 | Self::I64 | Self::U64 | Self::Complex64 => 64,
            Self::Complex128 => 128,
        })
    }

    /// Bytes of `count` packed elements; `None` for strings and where the number overflows.
    pub fn byte_count(self, count: usize) -> Option<usize> {
        let bits = self.bits()?;
        if bits >= 8 { count.checked_mul(bits / 8) } else { Some(count.div_ceil(8 / bits)) }
    }

    /// Real floating-point types, the small ones included.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16 | Self::F4E2M1) || self.is_float8()
    }

    /// The five 8-bit floating-point types.
    pub fn is_float8(self) -> bool {
        matches!(self, Self::F8E4M3FN | Self::F8E4M3FNUZ | Self::F8E5M2 | Self::F8E5M2FNUZ | Self::F8E8M0)
    }

    /// Integers, signed or not; not bool.
    pub fn is_integer(self) -> bool {
        self.integer_range().is_some()
    }

    /// Smallest and largest value of an integer type; `None` for the others.
    pub fn integer_range(self) -> Option<(i128, i128)> {
        let signed = match self {
            Self::I2 | Self::I4 | Self::I8 | Self::I16 | Self::I32 | Self::I64 => true,
            Self::U2 | Self::U4 | Self::U8 | Self::U16 | Self::U32 | Self::U64 => false,
            _ => return None,
        };
        let bits = self.bits()? as u32;
        Some(if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) })
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::F32 => "float32",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::String => "string",
            Self::Bool => "bool",
            Self::F16 => "float16",
            Self::F64 => "float64",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::Complex64 => "complex64",
            Self::Complex128 => "complex128",
            Self::BF16 => "bfloat16",
            Self::F8E4M3FN => "float8e4m3fn",
            Self::F8E4M3FNUZ => "float8e4m3fnuz",
            Self::F8E5M2 => "float8e5m2",
            Self::F8E5M2FNUZ => "float8e5m2fnuz",
            Self::U4 => "uint4",
            Self::I4 => "int4",
            Self::F4E2M1 => "float4e2m1",
            Self::F8E8M0 => "float8e8m0",
            Self::U2 => "uint2",
            Self::I2 => "int2",
        })
    }
}
