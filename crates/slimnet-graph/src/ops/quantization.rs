//! Quantization.

use super::attribute::attributes;

attributes! {
    /// round(x / scale) + zero point (inputs 1 and 2), saturated.
    pub struct QuantizeLinear {
        /// The axis of scales per channel or per block.
        axis: i64 = 1,
        /// Elements in a block; 0: not in blocks.
        block_size: i64 = 0,
        /// ONNX number of the result's type; 0: the zero point's.
        output_dtype: i64 = 0,
        /// Whether 8-bit floats saturate.
        saturate: bool = true,
    }

    /// (x − zero point) · scale (inputs 2 and 1).
    pub struct DequantizeLinear {
        /// The axis of scales per channel or per block.
        axis: i64 = 1,
        /// Elements in a block; 0: not in blocks.
        block_size: i64 = 0,
    }

    /// To uint8 with a scale and zero point taken from the data: y, scale, zero point.
    pub struct DynamicQuantizeLinear {}
}
