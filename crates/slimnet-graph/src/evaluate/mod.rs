//! The reference evaluator: plain scalar loops over every element type. It serves constant folding and is the oracle that
//! kernels are tested against.
//!
//! Floating-point types are computed in `f64` and rounded once, at the end; integers are computed in `i128` and wrap to
//! their type.

mod broadcast;
mod cast;
mod convolution;
mod einsum;
mod elementwise;
mod graph;
mod index;
mod layout;
mod normalization;
mod number;
mod pooling;
mod product;
mod quantization;
mod recurrent;
mod reduction;
#[cfg(test)]
mod tests;
mod vision;
mod window;

pub use graph::{GraphEvaluateError, evaluate_graph, evaluate_values};
pub use vision::{Resampling, resampling};

use crate::graph::{Dim, known_shape};
use crate::infer::{InferError, Inferred, Known, infer_op};
use crate::ops::Op;
use crate::ops::elementwise::Unary;
use crate::tensor::{ElementType, Tensor, TensorError, element_count};

/// Why a node cannot be evaluated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// The operator is not understood, or not in this form or element type.
    #[error("cannot be evaluated: {0}")]
    Unsupported(String),
    /// Inputs that do not fit the operator or each other.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A value that the operator does not allow, such as an index outside its axis.
    #[error("{0}")]
    Value(String),
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// An error about a value that the operator does not allow.
pub(crate) fn invalid(what: impl Into<String>) -> EvaluateError {
    EvaluateError::Value(what.into())
}

/// An error about an operator, or a form of one, that cannot be evaluated.
pub(crate) fn unsupported(what: impl Into<String>) -> EvaluateError {
    EvaluateError::Unsupported(what.into())
}

/// What an operator is evaluated on.
pub(crate) struct Context<'a> {
    pub inputs: &'a [Option<&'a Tensor>],
    /// Types and shapes that inference gives for the outputs, given the data of all inputs.
    pub outputs: &'a [Inferred],
    /// Most bytes that an output may have.
    pub limit: usize,
}

impl<'a> Context<'a> {
    /// A required input.
    pub fn input(&self, slot: usize) -> Result<&'a Tensor, EvaluateError> {
        self.optional(slot).ok_or_else(|| InferError::MissingInput { slot }.into())
    }

    /// An optional input.
    pub fn optional(&self, slot: usize) -> Option<&'a Tensor> {
        self.inputs.get(slot).copied().flatten()
    }

    /// The shape of an output that inference knows in numbers.
    pub fn output_shape(&self, slot: usize) -> Option<Vec<usize>> {
        known_shape(self.outputs.get(slot)?.shape.as_ref()?)
    }

    /// Number of elements of an output to be made.
    ///
    /// # Errors
    /// If it would be above the limit.
    pub fn room(&self, element_type: ElementType, shape: &[usize]) -> Result<usize, EvaluateError> {
        let count = element_count(shape)?;
        // Strings have no fixed size; each costs at least its own bookkeeping.
        let bytes = match element_type {
            ElementType::String => count.checked_mul(size_of::<Vec<u8>>()),
            _ => element_type.byte_count(count),
        };
        match bytes {
            Some(bytes) if bytes <= self.limit => Ok(count),
            Some(bytes) => Err(TensorError::AboveLimit { shape: shape.to_vec(), bytes, limit: self.limit }.into()),
            None => Err(TensorError::TooLarge(shape.to_vec()).into()),
        }
    }
}

/// Most elements of an integer tensor whose contents inference is told.
const MOST_CONTENTS: usize = 1024;

/// Results of one application of an operator to data. `outputs` is how many the node has; no output may be larger than
/// `limit` bytes.
///
/// # Errors
/// If the inputs do not fit, or the operator cannot be evaluated on them.
pub fn evaluate_op(
    op: &Op,
    inputs: &[Option<&Tensor>],
    outputs: usize,
    limit: usize,
) -> Result<Vec<Tensor>, EvaluateError> {
    let shape = |tensor: &Tensor| tensor.shape().iter().map(|&length| Dim::from(length)).collect::<Vec<_>>();
    let shapes: Vec<_> = inputs.iter().map(|input| input.map(shape)).collect();
    let contents = |tensor: &Tensor| {
        let small = tensor.rank() <= 1 && tensor.len() <= MOST_CONTENTS && tensor.element_type().is_integer();
        Some(tensor.to_i64s().ok().filter(|_| small)?.into_iter().map(Dim::from).collect::<Vec<_>>())
    };
    let contents: Vec<_> = inputs.iter().map(|input| input.and_then(contents)).collect();
    let known: Vec<_> = inputs
        .iter()
        .zip(shapes.iter().zip(&contents))
        .map(|(input, (shape, contents))| {
            input.map(|data| Known {
                element_type: Some(data.element_type()),
                shape: shape.as_deref(),
                data: Some(data),
                contents: contents.as_deref(),
            })
        })
        .collect();
    let mut unknown = 0usize;
    let mut fresh = || {
        unknown += 1;
        Dim::unknown(&unknown.to_string())
    };
    let inferred = infer_op(op, &known, outputs, &mut fresh)?;
    let context = Context { inputs, outputs: &inferred, limit };
    for (slot, output) in inferred.iter().enumerate() {
        if let (Some(element_type), Some(shape)) = (output.element_type, context.output_shape(slot)) {
            context.room(element_type, &shape)?;
        }
    }
    let mut results = dispatch(op, &context)?;
    if results.len() < outputs {
        return Err(unsupported(format!("{} has {} outputs here, not {outputs}", op.op_type(), results.len())));
    }
    results.truncate(outputs);
    Ok(results)
}

/// Calls the operator's own function. Outputs that the node leaves out may be computed all the same.
fn dispatch(op: &Op, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    match op {
        Op::Unary(Unary::Identity)
        | Op::Where(_)
        | Op::Reshape(_)
        | Op::Flatten(_)
        | Op::Squeeze(_)
        | Op::Unsqueeze(_)
        | Op::Transpose(_)
        | Op::Expand(_)
        | Op::Concat(_)
        | Op::Split(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Tile(_)
        | Op::DepthToSpace(_)
        | Op::SpaceToDepth(_)
        | Op::Trilu(_)
        | Op::ReverseSequence(_)
        | Op::CenterCropPad(_) => layout::evaluate(op, context),
        Op::Gather(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::ScatterElements(_)
        | Op::ScatterNd(_)
        | Op::Compress(_)
        | Op::OneHot(_)
        | Op::NonZero(_)
        | Op::Range(_)
        | Op::Shape(_)
        | Op::Size(_)
        | Op::ConstantOfShape(_)
        | Op::EyeLike(_) => index::evaluate(op, context),
        Op::Resize(_) | Op::GridSample(_) | Op::RoiAlign(_) | Op::NonMaxSuppression(_) => vision::evaluate(op, context),
        Op::Cast(_) | Op::CastLike(_) => cast::evaluate(op, context),
        Op::Unary(kind) => elementwise::unary(*kind, context),
        Op::Binary(kind) => elementwise::binary(*kind, context),
        Op::Variadic(kind) => elementwise::variadic(*kind, context),
        Op::LeakyRelu(op) => elementwise::map_real(context, |x| elementwise::leaky_relu(x, op.alpha.into())),
        Op::Elu(op) => elementwise::map_real(context, |x| elementwise::elu(x, op.alpha.into())),
        Op::Selu(op) => elementwise::map_real(context, |x| f64::from(op.gamma) * elementwise::elu(x, op.alpha.into())),
        Op::Celu(op) => elementwise::map_real(context, |x| elementwise::celu(x, op.alpha.into())),
        Op::HardSigmoid(op) => {
            elementwise::map_real(context, |x| elementwise::hard_sigmoid(x, op.alpha.into(), op.beta.into()))
        }
        Op::ThresholdedRelu(op) => {
            elementwise::map_real(context, |x| elementwise::thresholded_relu(x, op.alpha.into()))
        }
        Op::Gelu(op) => elementwise::map_real(context, |x| elementwise::gelu(x, op.approximate)),
        Op::Swish(op) => elementwise::map_real(context, |x| x * elementwise::sigmoid(f64::from(op.alpha) * x)),
        Op::Shrink(op) => elementwise::shrink(op, context),
        Op::IsInf(op) => elementwise::is_inf(op, context),
        Op::Clip(_) => elementwise::clip(context),
        Op::Mod(op) => elementwise::modulo(op, context),
        Op::BitShift(op) => elementwise::bit_shift(op, context),
        Op::Conv(op) => convolution::conv(op, context),
        Op::ConvTranspose(op) => convolution::conv_transpose(op, context),
        Op::AveragePool(op) => pooling::average_pool(op, context),
        Op::MaxPool(op) => pooling::max_pool(op, context),
        Op::LpPool(op) => pooling::lp_pool(op, context),
        Op::GlobalAveragePool(_) => pooling::global_average_pool(context),
        Op::GlobalMaxPool(_) => pooling::global_max_pool(context),
        Op::GlobalLpPool(op) => pooling::global_lp_pool(op, context),
        Op::BatchNormalization(op) => normalization::batch_normalization(op, context),
        Op::InstanceNormalization(op) => normalization::instance_normalization(op, context),
        Op::LayerNormalization(op) => normalization::layer_normalization(op, context),
        Op::GroupNormalization(op) => normalization::group_normalization(op, context),
        Op::RmsNormalization(op) => normalization::rms_normalization(op, context),
        Op::Lrn(op) => normalization::local_response_normalization(op, context),
        Op::LpNormalization(op) => normalization::lp_normalization(op, context),
        Op::MeanVarianceNormalization(op) => normalization::mean_variance_normalization(op, context),
        Op::Softmax(kind, op) => normalization::softmax(*kind, op, context),
        Op::Dropout(_) => normalization::dropout(context),
        Op::MatMul(_) => product::mat_mul(context),
        Op::Gemm(op) => product::gemm(op, context),
        Op::Reduce(kind, op) => reduction::reduce(*kind, op, context),
        Op::ArgReduce(kind, op) => reduction::arg_reduce(*kind, op, context),
        Op::TopK(op) => reduction::top_k(op, context),
        Op::CumSum(op) => reduction::cum_sum(op, context),
        Op::Einsum(op) => einsum::einsum(op, context),
        Op::MatMulInteger(_) => quantization::mat_mul_integer(context),
        Op::QLinearMatMul(_) => quantization::q_linear_mat_mul(context),
        Op::ConvInteger(op) => convolution::conv_integer(op, context),
        Op::QLinearConv(op) => convolution::q_linear_conv(op, context),
        Op::QuantizeLinear(op) => quantization::quantize_linear(op, context),
        Op::DequantizeLinear(op) => quantization::dequantize_linear(op, context),
        Op::DynamicQuantizeLinear(_) => quantization::dynamic_quantize_linear(context),
        Op::Lstm(op) => recurrent::lstm(op, context),
        Op::Gru(op) => recurrent::gru(op, context),
        Op::Rnn(op) => recurrent::rnn(op, context),
        Op::Mask(_) => elementwise::mask(context),
        Op::Gradient(_) => Err(unsupported("gradients are computed by the engine")),
        Op::Other(node) => Err(unsupported(format!("{}: {}", node.op_type, node.reason))),
    }
}
