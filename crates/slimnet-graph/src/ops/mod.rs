//! The operators that are understood, and what each is called and parametrised by in ONNX (semantics of opset 21; newer
//! operators in the semantics of the version that brought them).
//!
//! Each aspect of an operator lives with that aspect, in one exhaustive `match`: shapes in [`crate::infer`], evaluation in
//! [`crate::evaluate`], cost in [`crate::cost`], coupled axes in [`crate::axes`]. Adding a variant here makes the compiler
//! name each of these places.

pub mod attribute;
pub mod convolution;
pub mod elementwise;
pub mod gradient;
pub mod index;
pub mod layout;
pub mod normalization;
pub mod pooling;
pub mod product;
pub mod quantization;
pub mod recurrent;
pub mod reduction;
mod role;
pub mod slimnet;
pub mod vision;

use attribute::{AttributeError, AttributeStruct, Attributes};
use convolution::{Conv, ConvInteger, ConvTranspose, QLinearConv};
use elementwise::{Binary, BitShift, Cast, CastLike, Celu, Clip, Elu, Gelu, HardSigmoid, IsInf, LeakyRelu, Mod, Selu};
use elementwise::{Shrink, Swish, ThresholdedRelu, Unary, Variadic, Where};
pub use gradient::Gradient;
use index::{Compress, ConstantOfShape, EyeLike, Gather, GatherElements, GatherNd, NonZero, OneHot, Range};
use index::{ScatterElements, ScatterNd, Shape, Size};
use layout::{CenterCropPad, Concat, DepthToSpace, Expand, Flatten, Pad, Reshape, ReverseSequence, Slice};
use layout::{SpaceToDepth, Split, Squeeze, Tile, Transpose, Trilu, Unsqueeze};
use normalization::{BatchNormalization, Dropout, GroupNormalization, InstanceNormalization, LayerNormalization};
use normalization::{LpNormalization, Lrn, MeanVarianceNormalization, RmsNormalization, Softmax, SoftmaxKind};
use pooling::{AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool};
use product::{Einsum, Gemm, MatMul, MatMulInteger, QLinearMatMul};
use quantization::{DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear};
use recurrent::{Gru, Lstm, Rnn};
use reduction::{ArgReduce, ArgReduceKind, CumSum, Reduce, ReduceKind, TopK};
pub use role::Role;
use slimnet::Mask;
use vision::{GridSample, NonMaxSuppression, Resize, RoiAlign};

use crate::onnx::proto::AttributeProto;

/// A node that is not understood (custom domain, subgraphs, functions, unknown attributes), kept whole.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxNode {
    /// The operator's domain; empty for the default one.
    pub domain: String,
    /// The operator's name.
    pub op_type: String,
    /// Which overload of a function it calls.
    pub overload: String,
    /// All attributes, subgraphs included.
    pub attributes: Vec<AttributeProto>,
    /// Names by which its subgraphs speak of values of the outer graph. The node's last `captures.len()` inputs are these
    /// values, in this order; on writing, names inside follow the values' names.
    pub captures: Vec<String>,
    /// Why it is not understood, in words.
    pub reason: String,
}

/// Generates [`Op`] and its reading and writing from one list.
macro_rules! operators {
    (
        names { $($names:ident),* $(,)? }
        kinds { $($kinded:ident($kind:ident)),* $(,)? }
        structs { $($struct:ident = $name:literal),* $(,)? }
    ) => {
        /// What a node computes.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)] // the structs and enums inside say what they are
        pub enum Op {
            $($names($names),)*
            $($kinded($kind, $kinded),)*
            $($struct($struct),)*
            /// The gradient of an operator; only in graphs that are being trained.
            Gradient(Box<Gradient>),
            /// A node that is not understood, kept whole.
            Other(Box<OnnxNode>),
        }

        impl Op {
            /// The operator's name in ONNX.
            pub fn op_type(&self) -> &str {
                match self {
                    $(Self::$names(kind) => kind.name(),)*
                    $(Self::$kinded(kind, _) => kind.name(),)*
                    $(Self::$struct(_) => $name,)*
                    Self::Gradient(_) => "Gradient",
                    Self::Other(node) => &node.op_type,
                }
            }

            /// Names of all operators that are understood.
            pub fn known_types() -> Vec<&'static str> {
                let mut names: Vec<&'static str> = Vec::new();
                $(names.extend($names::ALL.iter().map(|kind| kind.name()));)*
                $(names.extend($kind::ALL.iter().map(|kind| kind.name()));)*
                $(names.push($name);)*
                names.sort_unstable();
                names
            }

            /// The operator with this name and these attributes (opset 21; of the default domain or of our own, which have
            /// no name in common).
            ///
            /// `None` if there is no such operator here.
            ///
            /// # Errors
            /// If an attribute is missing, has the wrong type or value, or is not known.
            pub fn read(op_type: &str, mut attributes: Attributes) -> Option<Result<Self, AttributeError>> {
                let op = Self::take(op_type, &mut attributes)?;
                Some(match (op, attributes.first_name()) {
                    (Ok(_), Some(unknown)) => Err(AttributeError::Unknown(unknown.to_owned())),
                    (op, _) => op,
                })
            }

            fn take(op_type: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
                $(if let Some(kind) = $names::from_name(op_type) {
                    return Some(Ok(Self::$names(kind)));
                })*
                $(if let Some(kind) = $kind::from_name(op_type) {
                    return Some($kinded::take_from(attributes).map(|op| Self::$kinded(kind, op)));
                })*
                Some(match op_type {
                    $($name => $struct::take_from(attributes).map(Self::$struct),)*
                    _ => return None,
                })
            }

            /// The attributes of opset 21 that are not at their defaults.
            pub fn attributes(&self) -> Attributes {
                let mut attributes = Attributes::default();
                match self {
                    $(Self::$names(_) => {})*
                    $(Self::$kinded(_, op) => op.put_into(&mut attributes),)*
                    $(Self::$struct(op) => op.put_into(&mut attributes),)*
                    Self::Gradient(_) => {}
                    Self::Other(node) => attributes = Attributes::new(&node.attributes),
                }
                attributes
            }
        }

        $(impl From<$names> for Op {
            fn from(kind: $names) -> Self {
                Self::$names(kind)
            }
        })*
        $(impl From<$struct> for Op {
            fn from(op: $struct) -> Self {
                Self::$struct(op)
            }
        })*
    };
}

operators! {
    names { Unary, Binary, Variadic }
    kinds { Softmax(SoftmaxKind), Reduce(ReduceKind), ArgReduce(ArgReduceKind) }
    structs {
        Conv = "Conv",
        ConvTranspose = "ConvTranspose",
        ConvInteger = "ConvInteger",
        QLinearConv = "QLinearConv",
        AveragePool = "AveragePool",
        MaxPool = "MaxPool",
        LpPool = "LpPool",
        GlobalAveragePool = "GlobalAveragePool",
        GlobalMaxPool = "GlobalMaxPool",
        GlobalLpPool = "GlobalLpPool",
        BatchNormalization = "BatchNormalization",
        InstanceNormalization = "InstanceNormalization",
        LayerNormalization = "LayerNormalization",
        GroupNormalization = "GroupNormalization",
        RmsNormalization = "RMSNormalization",
        Lrn = "LRN",
        LpNormalization = "LpNormalization",
        MeanVarianceNormalization = "MeanVarianceNormalization",
        Dropout = "Dropout",
        LeakyRelu = "LeakyRelu",
        Elu = "Elu",
        Selu = "Selu",
        Celu = "Celu",
        HardSigmoid = "HardSigmoid",
        ThresholdedRelu = "ThresholdedRelu",
        Gelu = "Gelu",
        Swish = "Swish",
        Shrink = "Shrink",
        IsInf = "IsInf",
        Clip = "Clip",
        Mod = "Mod",
        BitShift = "BitShift",
        Where = "Where",
        Cast = "Cast",
        CastLike = "CastLike",
        MatMul = "MatMul",
        Gemm = "Gemm",
        Einsum = "Einsum",
        MatMulInteger = "MatMulInteger",
        QLinearMatMul = "QLinearMatMul",
        TopK = "TopK",
        CumSum = "CumSum",
        Reshape = "Reshape",
        Flatten = "Flatten",
        Squeeze = "Squeeze",
        Unsqueeze = "Unsqueeze",
        Transpose = "Transpose",
        Expand = "Expand",
        Concat = "Concat",
        Split = "Split",
        Slice = "Slice",
        Pad = "Pad",
        Tile = "Tile",
        DepthToSpace = "DepthToSpace",
        SpaceToDepth = "SpaceToDepth",
        Trilu = "Trilu",
        ReverseSequence = "ReverseSequence",
        CenterCropPad = "CenterCropPad",
        Gather = "Gather",
        GatherElements = "GatherElements",
        GatherNd = "GatherND",
        ScatterElements = "ScatterElements",
        ScatterNd = "ScatterND",
        Compress = "Compress",
        OneHot = "OneHot",
        NonZero = "NonZero",
        Range = "Range",
        Shape = "Shape",
        Size = "Size",
        ConstantOfShape = "ConstantOfShape",
        EyeLike = "EyeLike",
        Resize = "Resize",
        GridSample = "GridSample",
        RoiAlign = "RoiAlign",
        NonMaxSuppression = "NonMaxSuppression",
        Lstm = "LSTM",
        Gru = "GRU",
        Rnn = "RNN",
        QuantizeLinear = "QuantizeLinear",
        DequantizeLinear = "DequantizeLinear",
        DynamicQuantizeLinear = "DynamicQuantizeLinear",
        Mask = "Mask",
    }
}

impl Op {
    /// The node that is kept whole, if this is one.
    pub fn other(&self) -> Option<&OnnxNode> {
        match self {
            Self::Other(node) => Some(node),
            _ => None,
        }
    }

    /// Whether it is an operator of our own ([`slimnet`]).
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Mask(_))
    }

    /// The operator's domain; empty for the default one.
    pub fn domain(&self) -> &str {
        match self {
            Self::Other(node) => &node.domain,
            op if op.is_own() => slimnet::DOMAIN,
            _ => "",
        }
    }

    /// Whether outputs at the end may be left out when nobody reads them.
    pub fn may_drop_outputs(&self) -> bool {
        !matches!(
            self,
            Self::Other(_) | Self::Gradient(_) | Self::Split(_) | Self::TopK(_) | Self::DynamicQuantizeLinear(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_return() {
        let op = Op::Conv(Conv {
            auto_pad: convolution::AutoPad::SameUpper,
            dilations: vec![],
            group: 4,
            kernel_shape: vec![3, 3],
            pads: vec![],
            strides: vec![2, 2],
        });
        assert_eq!(Op::read("Conv", op.attributes()).unwrap().unwrap(), op);
        assert!(matches!(Op::read("Concat", Attributes::default()), Some(Err(AttributeError::Missing(_)))));
        assert!(Op::read("NoSuchOperator", Attributes::default()).is_none());
        let mut unknown = Attributes::default();
        unknown.put("consumed_inputs", &vec![1i64]);
        assert!(matches!(Op::read("Relu", unknown), Some(Err(AttributeError::Unknown(_)))));
    }

    #[test]
    fn as_many_operators_as_claimed() {
        assert!(Op::known_types().len() >= 110, "{}", Op::known_types().len());
    }
}
