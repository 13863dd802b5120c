//! One rule for each operator: how labels pass from its inputs to its outputs, and what must go together for that.

mod convolution;
mod elementwise;
mod image;
mod joining;
mod normalization;
mod product;
mod quantization;
mod recurrent;
mod reduction;
mod reshape;
mod shapes;

pub(super) use joining::{axis_of, slice_range};

use super::Reason;
use super::pass::Pass;
use crate::graph::NodeId;
use crate::ops::Op;
use convolution::Layout;

/// The name by which a test can leave out the rule of a node: its operator, and of a convolution what kind it is.
fn rule_name(op: &Op) -> String {
    match op {
        Op::Conv(conv) if conv.group > 1 => "Conv/grouped".into(),
        op => op.op_type().to_owned(),
    }
}

impl Pass<'_> {
    /// Applies the rule of a node.
    pub(super) fn visit(&mut self, node: NodeId) {
        let graph = self.graph;
        let op = &graph.node(node).op;
        self.labels.muted = self.options.without_rule.is_some_and(|rule| rule == rule_name(op));
        self.rule(node, op);
        self.labels.muted = false;
    }

    fn rule(&mut self, node: NodeId, op: &Op) {
        let no_rule = |pass: &mut Self| {
            let reason = pass.because(Reason::NoRule, node);
            pass.give_up(node, reason);
        };
        match op {
            Op::Unary(_)
            | Op::LeakyRelu(_)
            | Op::Elu(_)
            | Op::Selu(_)
            | Op::Celu(_)
            | Op::HardSigmoid(_)
            | Op::ThresholdedRelu(_)
            | Op::Gelu(_)
            | Op::Swish(_)
            | Op::Shrink(_)
            | Op::IsInf(_)
            | Op::Clip(_)
            | Op::Cast(_)
            | Op::CastLike(_) => self.unchanged(node, 0),
            Op::Binary(_) | Op::Mod(_) | Op::BitShift(_) | Op::Mask(_) => self.elementwise(node, &[0, 1]),
            Op::Where(_) => self.elementwise(node, &[0, 1, 2]),
            Op::Variadic(_) => {
                let slots: Vec<usize> = (0..self.graph.node(node).inputs().len()).collect();
                self.elementwise(node, &slots);
            }
            Op::Dropout(_) => self.dropout(node),
            Op::Conv(conv) => {
                let group = conv.group;
                self.convolution(node, &Layout { x: 0, weight: 1, per_output: &[2], group, transposed: false });
            }
            Op::ConvTranspose(conv) => {
                let group = conv.group;
                self.convolution(node, &Layout { x: 0, weight: 1, per_output: &[2], group, transposed: true });
            }
            Op::ConvInteger(conv) => {
                let group = conv.group;
                self.convolution(node, &Layout { x: 0, weight: 1, per_output: &[3], group, transposed: false });
            }
            Op::QLinearConv(conv) => {
                let group = conv.group;
                self.convolution(node, &Layout { x: 0, weight: 3, per_output: &[4, 5, 8], group, transposed: false });
            }
            Op::MatMul(_) => self.mat_mul(node, 0, 1),
            Op::MatMulInteger(_) => self.quantized_mat_mul(node, [0, 1], &[2], &[3]),
            Op::QLinearMatMul(_) => self.quantized_mat_mul(node, [0, 3], &[1, 2], &[4, 5]),
            Op::Gemm(gemm) => self.gemm(node, gemm),
            Op::Einsum(einsum) => self.einsum(node, &einsum.equation),
            Op::AveragePool(_)
            | Op::MaxPool(_)
            | Op::LpPool(_)
            | Op::GlobalAveragePool(_)
            | Op::GlobalMaxPool(_)
            | Op::GlobalLpPool(_) => self.pool(node),
            Op::BatchNormalization(_) => self.batch_normalization(node),
            Op::InstanceNormalization(_) => self.batch_normalization(node),
            Op::LayerNormalization(normalization) => self.layer_normalization(node, normalization.axis),
            Op::RmsNormalization(normalization) => self.layer_normalization(node, normalization.axis),
            Op::GroupNormalization(normalization) => self.group_normalization(node, normalization.num_groups),
            Op::Lrn(_) => self.normalized_over(node, &[1]),
            Op::LpNormalization(normalization) => self.normalized_over(node, &[normalization.axis]),
            Op::MeanVarianceNormalization(normalization) => self.normalized_over(node, &normalization.axes),
            Op::Softmax(_, softmax) => self.normalized_over(node, &[softmax.axis]),
            Op::Reduce(_, reduce) => self.reduction(node, reduce),
            Op::ArgReduce(_, reduce) => self.arg_reduction(node, reduce),
            Op::TopK(top) => self.top_k(node, top.axis),
            Op::CumSum(_) => self.cumulative(node),
            Op::Reshape(_) => self.reshape_to(node),
            Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => self.reshape(node),
            Op::Transpose(transpose) => self.transpose(node, transpose.perm.as_deref()),
            Op::Expand(_) => self.expand(node),
            Op::Concat(concat) => self.concat(node, concat.axis),
            Op::Split(split) => self.split(node, split),
            Op::Slice(_) => self.slice(node),
            Op::Pad(pad) => self.pad(node, pad.mode),
            Op::Tile(_) => self.tile(node),
            Op::Gather(gather) => self.gather(node, gather.axis),
            Op::Trilu(_) => self.fixed_axes(node, &[-2, -1]),
            Op::ReverseSequence(reverse) => self.fixed_axes(node, &[reverse.batch_axis, reverse.time_axis]),
            Op::Resize(resize) => self.resize(node, resize.axes.is_none()),
            Op::GridSample(_) | Op::RoiAlign(_) => self.sampled(node),
            Op::Shape(_) | Op::Size(_) => self.shape_of(node),
            Op::ConstantOfShape(_) | Op::EyeLike(_) | Op::Range(_) => {
                let reason = self.because(Reason::Made, node);
                self.give_up(node, reason);
            }
            Op::QuantizeLinear(quantize) => self.scaled(node, quantize.axis, quantize.block_size),
            Op::DequantizeLinear(quantize) => self.scaled(node, quantize.axis, quantize.block_size),
            Op::DynamicQuantizeLinear(_) => self.dynamic_quantize(node),
            Op::Lstm(lstm) => self.recurrent(node, lstm.layout, 4, true),
            Op::Gru(gru) => self.recurrent(node, gru.layout, 3, false),
            Op::Rnn(rnn) => self.recurrent(node, rnn.layout, 1, false),
            Op::DepthToSpace(_)
            | Op::SpaceToDepth(_)
            | Op::CenterCropPad(_)
            | Op::GatherElements(_)
            | Op::GatherNd(_)
            | Op::ScatterElements(_)
            | Op::ScatterNd(_)
            | Op::Compress(_)
            | Op::OneHot(_)
            | Op::NonZero(_)
            | Op::NonMaxSuppression(_)
            | Op::Gradient(_) => no_rule(self),
            Op::Other(other) => {
                let domain = if other.domain.is_empty() { "ai.onnx" } else { &other.domain };
                let operator = format!("{domain}.{}", other.op_type);
                let why = other.reason.clone();
                let reason = Reason::Other { node: self.graph.describe_node(node), operator, why };
                let reason = self.reason(reason);
                self.give_up(node, reason);
            }
        }
    }
}
