//! Through which inputs of an operator gradients pass.

use slimnet_graph::Op;
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::normalization::SoftmaxKind;

/// Through which inputs of an operator gradients pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Through all inputs.
    All,
    /// Through these inputs; the others are indices, shapes or settings.
    Slots(&'static [usize]),
    /// The gradient is zero wherever it exists: rounding, comparing, choosing an index.
    Zero,
    /// There is a gradient, but it cannot be computed here; says why.
    Unsupported(&'static str),
}

impl Flow {
    /// Whether a gradient may pass through an input; true of operators that are unsupported, so that they are noticed.
    pub fn may_pass(self, slot: usize) -> bool {
        match self {
            Self::All | Self::Unsupported(_) => true,
            Self::Slots(slots) => slots.contains(&slot),
            Self::Zero => false,
        }
    }
}

/// Through which inputs of an operator gradients pass.
pub fn flow(op: &Op) -> Flow {
    match op {
        Op::Unary(kind) => match kind {
            Unary::Ceil | Unary::Floor | Unary::Round | Unary::Sign => Flow::Zero,
            Unary::BitwiseNot | Unary::IsNaN | Unary::Not => Flow::Zero,
            Unary::Abs | Unary::Acos | Unary::Acosh | Unary::Asin | Unary::Asinh | Unary::Atan | Unary::Atanh => {
                Flow::All
            }
            Unary::Cos | Unary::Cosh | Unary::Erf | Unary::Exp | Unary::HardSwish | Unary::Identity => Flow::All,
            Unary::Log | Unary::Mish | Unary::Neg | Unary::Reciprocal | Unary::Relu | Unary::Sigmoid => Flow::All,
            Unary::Sin | Unary::Sinh | Unary::Softplus | Unary::Softsign | Unary::Sqrt | Unary::Tan => Flow::All,
            Unary::Tanh => Flow::All,
        },
        Op::Binary(kind) => match kind {
            Binary::Add | Binary::Div | Binary::Mul | Binary::PRelu | Binary::Pow | Binary::Sub => Flow::All,
            Binary::And | Binary::Or | Binary::Xor => Flow::Zero,
            Binary::BitwiseAnd | Binary::BitwiseOr | Binary::BitwiseXor => Flow::Zero,
            Binary::Equal | Binary::Greater | Binary::GreaterOrEqual | Binary::Less | Binary::LessOrEqual => Flow::Zero,
        },
        Op::Variadic(_) | Op::Einsum(_) | Op::Concat(_) | Op::MatMul(_) | Op::Gemm(_) => Flow::All,
        Op::Conv(_) | Op::ConvTranspose(_) => Flow::Slots(&[0, 1, 2]),
        Op::AveragePool(_) | Op::MaxPool(_) | Op::LpPool(_) => Flow::Slots(&[0]),
        Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) | Op::GlobalLpPool(_) => Flow::Slots(&[0]),
        // In training running statistics are not read; in evaluation computed ones are refused by the kernel.
        Op::BatchNormalization(op) if !op.training_mode => Flow::All,
        Op::BatchNormalization(_) | Op::InstanceNormalization(_) | Op::LayerNormalization(_) => Flow::Slots(&[0, 1, 2]),
        Op::GroupNormalization(_) => Flow::Slots(&[0, 1, 2]),
        Op::RmsNormalization(_) => Flow::Slots(&[0, 1]),
        Op::Lrn(_) | Op::LpNormalization(_) | Op::MeanVarianceNormalization(_) | Op::Dropout(_) => Flow::Slots(&[0]),
        Op::LeakyRelu(_) | Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::HardSigmoid(_) => Flow::Slots(&[0]),
        Op::ThresholdedRelu(_) | Op::Gelu(_) | Op::Swish(_) | Op::Shrink(_) => Flow::Slots(&[0]),
        // Limits that are computed from parameters are refused by the kernel, not passed over.
        Op::Clip(_) => Flow::All,
        Op::Where(_) => Flow::Slots(&[1, 2]),
        Op::Cast(_) | Op::CastLike(_) => Flow::Slots(&[0]),
        Op::Softmax(SoftmaxKind::Hardmax, _) => Flow::Zero,
        Op::Softmax(SoftmaxKind::Softmax | SoftmaxKind::LogSoftmax, _) => Flow::Slots(&[0]),
        Op::Reduce(..) | Op::CumSum(_) | Op::TopK(_) => Flow::Slots(&[0]),
        Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Transpose(_) => Flow::Slots(&[0]),
        Op::Expand(_) | Op::Split(_) | Op::Slice(_) | Op::Tile(_) | Op::DepthToSpace(_) => Flow::Slots(&[0]),
        Op::SpaceToDepth(_) | Op::Trilu(_) | Op::ReverseSequence(_) | Op::CenterCropPad(_) => Flow::Slots(&[0]),
        Op::Gather(_) | Op::GatherElements(_) | Op::GatherNd(_) | Op::Compress(_) => Flow::Slots(&[0]),
        Op::Mask(_) => Flow::Slots(&[0]),
        Op::Pad(_) | Op::ScatterElements(_) | Op::ScatterNd(_) => Flow::Slots(&[0, 2]),
        Op::Resize(_) => Flow::Slots(&[0]),
        Op::Lstm(_) => Flow::Slots(&[0, 1, 2, 3, 5, 6, 7]),
        Op::Gru(_) | Op::Rnn(_) => Flow::Slots(&[0, 1, 2, 3, 5]),
        Op::ArgReduce(..) | Op::IsInf(_) | Op::Shape(_) | Op::Size(_) | Op::NonZero(_) => Flow::Zero,
        Op::ConstantOfShape(_) | Op::EyeLike(_) | Op::NonMaxSuppression(_) | Op::BitShift(_) => Flow::Zero,
        Op::OneHot(_) => Flow::Unsupported("the gradient of the values of OneHot is not implemented"),
        Op::Mod(_) | Op::Range(_) => Flow::Unsupported("its gradient is not implemented"),
        Op::GridSample(_) | Op::RoiAlign(_) => Flow::Unsupported("sampling at computed places is not differentiated"),
        Op::ConvInteger(_) | Op::QLinearConv(_) | Op::MatMulInteger(_) | Op::QLinearMatMul(_) => {
            Flow::Unsupported("it computes with integers; train the network in floating point")
        }
        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) | Op::DynamicQuantizeLinear(_) => {
            Flow::Unsupported("it quantizes; train the network before it is quantized")
        }
        Op::Gradient(_) => Flow::Unsupported("gradients of gradients are not computed"),
        Op::Other(_) => Flow::Unsupported("the operator is not understood"),
    }
}
