//! Matrix products.
#![allow(non_snake_case)] // ONNX's own attribute names

use super::attribute::attributes;

attributes! {
    /// Matrix product over the last two axes, with the others broadcast.
    pub struct MatMul {}

    /// alpha · A · B + beta · C of matrices.
    pub struct Gemm {
        /// Scale of the product.
        alpha: f32 = 1.0,
        /// Scale of the addend.
        beta: f32 = 1.0,
        /// Whether A is given transposed.
        transA: bool = false,
        /// Whether B is given transposed.
        transB: bool = false,
    }

    /// Sum of products over named axes.
    pub struct Einsum {
        /// Such as `bij,bjk->bik`.
        equation: String,
    }

    /// [`MatMul`] of 8-bit integers with zero points (inputs 2 and 3), summed in `int32`.
    pub struct MatMulInteger {}

    /// [`MatMul`] of quantized tensors: a, scale, zero point, b, scale, zero point, y's scale and zero point.
    pub struct QLinearMatMul {}
}
