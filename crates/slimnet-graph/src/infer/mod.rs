//! Shape inference: element types, shapes and, for small integer tensors, contents of every value.

mod call;
mod contents;
mod convolution;
mod einsum;
mod elementwise;
mod graph;
mod index;
mod layout;
mod normalization;
mod pooling;
mod product;
mod quantization;
mod recurrent;
mod reduction;
mod shapes;
mod slice;
mod vision;
mod window;

use crate::graph::{Dim, Shape};
use crate::ops::Op;
use crate::tensor::{ElementType, Tensor};
use call::Call;

pub use einsum::{EinsumTerm, Equation};
pub use graph::{GraphInferError, Inference, analyse, infer_graph};

/// Longest tensor whose contents are followed, in elements.
pub const CONTENTS_LIMIT: usize = 1024;

/// What is known of an input of a node before inference.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Element type.
    pub element_type: Option<ElementType>,
    /// Shape; `None` if not even the number of axes is known.
    pub shape: Option<&'a [Dim]>,
    /// The data, if the file holds it (or if evaluation has it).
    pub data: Option<&'a Tensor>,
    /// Contents of an integer or bool tensor of at most one axis, in the order of its elements (true is 1).
    pub contents: Option<&'a [Dim]>,
}

/// What inference says of an output of a node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inferred {
    /// Element type.
    pub element_type: Option<ElementType>,
    /// Shape; `None` if not even the number of axes is known.
    pub shape: Option<Shape>,
    /// Contents of an integer or bool tensor of at most one axis, where they are known (true is 1).
    pub contents: Option<Vec<Dim>>,
}

/// Why a node cannot have these inputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// An input that the operator requires is absent.
    #[error("input {slot} is missing")]
    MissingInput {
        /// Which.
        slot: usize,
    },
    /// Inputs that do not fit the operator or each other.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What is wrong, such as "rank of input 0".
        what: String,
        /// What should be.
        expected: String,
        /// What is.
        found: String,
    },
}

/// Types of all outputs of one application of an operator. `outputs` is how many the node has; `fresh` makes a dimension
/// that nothing is known of.
///
/// What it accepts is sound: ranks, axes, lengths and attributes fit each other wherever they are known, no length is
/// negative, and no tensor has more bytes than an `i64` can count.
///
/// # Errors
/// If the inputs do not fit.
pub fn infer_op(
    op: &Op,
    inputs: &[Option<Known<'_>>],
    outputs: usize,
    fresh: &mut dyn FnMut() -> Dim,
) -> Result<Vec<Inferred>, InferError> {
    for (slot, input) in inputs.iter().enumerate() {
        if let Some(shape) = input.as_ref().and_then(|input| input.shape) {
            shapes::check_size(shape, || format!("input {slot}"))?;
        }
    }
    let mut call = Call::new(inputs, outputs, fresh);
    let mut results = dispatch(op, &mut call)?;
    results.resize(outputs, Inferred::default());
    for (place, result) in results.iter_mut().enumerate() {
        if let Some(shape) = &result.shape {
            shapes::check_size(shape, || format!("output {place}"))?;
        }
        contents::keep_sound(result);
    }
    Ok(results)
}

fn dispatch(op: &Op, call: &mut Call<'_>) -> Result<Vec<Inferred>, InferError> {
    match op {
        Op::Unary(kind) => elementwise::unary(*kind, call),
        Op::Binary(kind) => elementwise::binary(*kind, call),
        Op::Variadic(kind) => elementwise::variadic(*kind, call),
        Op::LeakyRelu(_) | Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::HardSigmoid(_) => elementwise::floats(call),
        Op::ThresholdedRelu(_) | Op::Gelu(_) | Op::Swish(_) => elementwise::floats(call),
        Op::Shrink(_) => elementwise::shrink(call),
        Op::IsInf(_) => elementwise::is_inf(call),
        Op::Clip(_) => elementwise::clip(call),
        Op::Mod(op) => elementwise::modulo(op, call),
        Op::BitShift(_) => elementwise::bit_shift(call),
        Op::Where(_) => elementwise::select(call),
        Op::Cast(op) => elementwise::cast(op, call),
        Op::CastLike(_) => elementwise::cast_like(call),
        Op::Conv(op) => convolution::conv(op, call),
        Op::ConvTranspose(op) => convolution::conv_transpose(op, call),
        Op::ConvInteger(op) => convolution::conv_integer(op, call),
        Op::QLinearConv(op) => convolution::qlinear_conv(op, call),
        Op::AveragePool(op) => pooling::average_pool(op, call),
        Op::MaxPool(op) => pooling::max_pool(op, call),
        Op::LpPool(op) => pooling::lp_pool(op, call),
        Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) => pooling::global(call),
        Op::GlobalLpPool(op) => pooling::global_lp(op, call),
        Op::BatchNormalization(op) => normalization::batch(op, call),
        Op::InstanceNormalization(_) => normalization::instance(call),
        Op::LayerNormalization(op) => normalization::layer(op, call),
        Op::GroupNormalization(op) => normalization::group(op, call),
        Op::RmsNormalization(op) => normalization::root_mean_square(op, call),
        Op::Lrn(op) => normalization::local_response(op, call),
        Op::LpNormalization(op) => normalization::lp(op, call),
        Op::MeanVarianceNormalization(op) => normalization::mean_variance(op, call),
        Op::Softmax(_, op) => normalization::softmax(op, call),
        Op::Dropout(_) => normalization::dropout(call),
        Op::MatMul(_) => product::mat_mul(call),
        Op::Gemm(op) => product::gemm(op, call),
        Op::Einsum(op) => einsum::einsum(op, call),
        Op::MatMulInteger(_) => product::mat_mul_integer(call),
        Op::QLinearMatMul(_) => product::qlinear_mat_mul(call),
        Op::Reduce(kind, op) => reduction::reduce(*kind, op, call),
        Op::ArgReduce(_, op) => reduction::arg_reduce(op, call),
        Op::TopK(op) => reduction::top_k(op, call),
        Op::CumSum(_) => reduction::cum_sum(call),
        Op::Reshape(op) => layout::reshape(op, call),
        Op::Flatten(op) => layout::flatten(op, call),
        Op::Squeeze(_) => layout::squeeze(call),
        Op::Unsqueeze(_) => layout::unsqueeze(call),
        Op::Transpose(op) => layout::transpose(op, call),
        Op::Expand(_) => layout::expand(call),
        Op::Concat(op) => layout::concat(op, call),
        Op::Split(op) => slice::split(op, call),
        Op::Slice(_) => slice::slice(call),
        Op::Pad(op) => slice::pad(op, call),
        Op::Tile(_) => layout::tile(call),
        Op::DepthToSpace(op) => layout::depth_to_space(op, call),
        Op::SpaceToDepth(op) => layout::space_to_depth(op, call),
        Op::Trilu(_) => layout::trilu(call),
        Op::ReverseSequence(op) => layout::reverse_sequence(op, call),
        Op::CenterCropPad(op) => slice::center_crop_pad(op, call),
        Op::Gather(op) => index::gather(op, call),
        Op::GatherElements(op) => index::gather_elements(op, call),
        Op::GatherNd(op) => index::gather_nd(op, call),
        Op::ScatterElements(op) => index::scatter_elements(op, call),
        Op::ScatterNd(_) => index::scatter_nd(call),
        Op::Compress(op) => index::compress(op, call),
        Op::OneHot(op) => index::one_hot(op, call),
        Op::NonZero(_) => index::non_zero(call),
        Op::Range(_) => index::range(call),
        Op::Shape(op) => index::shape(op, call),
        Op::Size(_) => index::size(call),
        Op::ConstantOfShape(op) => index::constant_of_shape(op, call),
        Op::EyeLike(op) => index::eye_like(op, call),
        Op::Resize(op) => vision::resize(op, call),
        Op::GridSample(op) => vision::grid_sample(op, call),
        Op::RoiAlign(op) => vision::roi_align(op, call),
        Op::NonMaxSuppression(_) => vision::non_max_suppression(call),
        Op::Lstm(op) => recurrent::lstm(op, call),
        Op::Gru(op) => recurrent::gru(op, call),
        Op::Rnn(op) => recurrent::rnn(op, call),
        Op::QuantizeLinear(op) => quantization::quantize_linear(op, call),
        Op::DequantizeLinear(op) => quantization::dequantize_linear(op, call),
        Op::DynamicQuantizeLinear(_) => quantization::dynamic_quantize_linear(call),
        Op::Mask(_) => elementwise::mask(call),
        Op::Gradient(op) => Ok(call.like_inputs(op.inputs)),
        Op::Other(_) => Ok(Vec::new()),
    }
}
