//! The layers of the [`Builder`].

use crate::graph::ValueId;
use crate::ops::Op;
use crate::ops::convolution::{AutoPad, Conv};
use crate::ops::elementwise::{Binary, Clip, Gelu, GeluApproximation, Unary};
use crate::ops::index::Gather;
use crate::ops::layout::{Concat, Flatten, Pad, PadMode, Reshape, Slice, Transpose};
use crate::ops::normalization::{BatchNormalization, Dropout, LayerNormalization, Softmax, SoftmaxKind};
use crate::ops::pooling::{AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool};
use crate::ops::product::{Gemm, MatMul};
use crate::ops::reduction::{Reduce, ReduceKind};
use crate::tensor::Tensor;

use super::builder::{BuildError, Builder, Conv2d, Padding};
use super::random::Distribution;

type Built = Result<ValueId, BuildError>;

/// Of transformers' tables and embeddings.
const EMBEDDING: Distribution = Distribution::TruncatedNormal { mean: 0.0, deviation: 0.02 };

/// # Errors
/// Every layer fails if its input does not fit, if the name of one of its parameters is taken, and if the network becomes
/// too large.
#[allow(clippy::missing_errors_doc)] // said once, above
impl Builder {
    // --- convolutions ------------------------------------------------------------------------------------------------

    /// Convolution of `[N, C, H, W]`: parameters `weight` `[channels, C / groups, height, width]` and perhaps `bias`.
    pub fn conv2d(&mut self, name: &str, x: ValueId, conv: Conv2d) -> Built {
        let Conv2d { channels, kernel, stride, dilation, groups, bias, .. } = conv;
        let inputs = self.length(name, x, 1)?;
        if groups == 0 || !inputs.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            let expected = format!("a divisor of {inputs} input and {channels} output channels");
            return Err(self.refuse(name, "groups", &expected, groups));
        }
        let taps = kernel[0].saturating_mul(kernel[1]);
        let fans = [inputs, channels].map(|channels| (channels / groups).saturating_mul(taps));
        let shape = vec![channels, inputs / groups, kernel[0], kernel[1]];
        let data = self.weight_and_bias(name, shape, fans, bias.then_some(channels))?;
        let op = Conv {
            auto_pad: AutoPad::NotSet,
            dilations: vec![dilation as i64; 2],
            group: groups as i64,
            kernel_shape: kernel.map(|length| length as i64).to_vec(),
            pads: self.pads(name, x, kernel, stride, conv.padding, dilation)?,
            strides: vec![stride as i64; 2],
        };
        self.apply(name, op, &[&[x], data.as_slice()].concat())
    }

    /// Convolution of each channel by itself; what `conv` says of channels and groups does not matter.
    pub fn depthwise_conv2d(&mut self, name: &str, x: ValueId, conv: Conv2d) -> Built {
        let channels = self.length(name, x, 1)?;
        self.conv2d(name, x, Conv2d { channels, groups: channels, ..conv })
    }

    /// Pads of both spatial axes: begins, then ends.
    fn pads(
        &self,
        layer: &str,
        x: ValueId,
        kernel: [usize; 2],
        stride: usize,
        padding: Padding,
        dilation: usize,
    ) -> Result<Vec<i64>, BuildError> {
        let mut pads = vec![0; 4];
        for axis in 0..2 {
            let (begin, end) = match padding {
                Padding::Each(pad) => (pad, pad),
                Padding::Same => {
                    let length = self.length(layer, x, axis + 2)?;
                    let reach = kernel[axis].saturating_sub(1).saturating_mul(dilation);
                    let last = length.saturating_sub(1) / stride.max(1) * stride;
                    let total = (last + reach + 1).saturating_sub(length);
                    (total / 2, total - total / 2)
                }
            };
            (pads[axis], pads[axis + 2]) = (begin as i64, end as i64);
        }
        Ok(pads)
    }

    // --- normalisations ----------------------------------------------------------------------------------------------

    /// Batch normalisation of `[N, C, …]`: `weight` 1, `bias` 0, `running_mean` 0 and `running_var` 1, each `[C]`.
    pub fn batch_norm(&mut self, name: &str, x: ValueId, epsilon: f32) -> Built {
        let shape = vec![self.length(name, x, 1)?];
        let mut inputs = vec![x];
        for (part, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            inputs.push(self.filled(&format!("{name}.{part}"), shape.clone(), value)?);
        }
        self.apply(name, BatchNormalization { epsilon, momentum: 0.9, training_mode: false }, &inputs)
    }

    /// Normalisation over the last axis: `weight` 1 and `bias` 0.
    pub fn layer_norm(&mut self, name: &str, x: ValueId) -> Built {
        let shape = vec![self.length(name, x, self.last_axis(x))?];
        let weight = self.filled(&format!("{name}.weight"), shape.clone(), 1.0)?;
        let bias = self.filled(&format!("{name}.bias"), shape, 0.0)?;
        self.apply(name, LayerNormalization { axis: -1, epsilon: 1e-5, stash_type: 1 }, &[x, weight, bias])
    }

    /// Softmax over the last axis.
    pub fn softmax(&mut self, name: &str, x: ValueId) -> Built {
        self.apply(name, Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: -1 }), &[x])
    }

    fn last_axis(&self, x: ValueId) -> usize {
        self.graph().value(x).shape.as_ref().map_or(0, |shape| shape.len().saturating_sub(1))
    }

    // --- activations -------------------------------------------------------------------------------------------------

    /// Zeroes a part of the elements at random while training.
    pub fn dropout(&mut self, name: &str, x: ValueId, ratio: f32) -> Built {
        let ratio = self.constant("ratio", Tensor::scalar(ratio));
        self.apply(name, Dropout { seed: None }, &[x, ratio])
    }

    /// max(0, x).
    pub fn relu(&mut self, name: &str, x: ValueId) -> Built {
        self.apply(name, Unary::Relu, &[x])
    }

    /// x limited to 0 … 6.
    pub fn relu6(&mut self, name: &str, x: ValueId) -> Built {
        let least = self.constant(&format!("{name}.min"), Tensor::scalar(0f32));
        let most = self.constant(&format!("{name}.max"), Tensor::scalar(6f32));
        self.apply(name, Clip {}, &[x, least, most])
    }

    /// x · Φ(x).
    pub fn gelu(&mut self, name: &str, x: ValueId) -> Built {
        self.apply(name, Gelu { approximate: GeluApproximation::None }, &[x])
    }

    /// 1 / (1 + exp(−x)).
    pub fn sigmoid(&mut self, name: &str, x: ValueId) -> Built {
        self.apply(name, Unary::Sigmoid, &[x])
    }

    // --- pooling -----------------------------------------------------------------------------------------------------

    /// Maximum over square windows that do not overlap.
    pub fn max_pool(&mut self, name: &str, x: ValueId, size: usize) -> Built {
        let (kernel_shape, strides) = (vec![size as i64; 2], vec![size as i64; 2]);
        let (auto_pad, ceil_mode, storage_order) = (AutoPad::NotSet, false, false);
        let (dilations, pads) = (Vec::new(), Vec::new());
        let op = MaxPool { auto_pad, ceil_mode, dilations, kernel_shape, pads, storage_order, strides };
        self.apply(name, op, &[x])
    }

    /// Mean over square windows that do not overlap.
    pub fn average_pool(&mut self, name: &str, x: ValueId, size: usize) -> Built {
        let (kernel_shape, strides) = (vec![size as i64; 2], vec![size as i64; 2]);
        let (auto_pad, ceil_mode, count_include_pad) = (AutoPad::NotSet, false, false);
        let (dilations, pads) = (Vec::new(), Vec::new());
        let op = AveragePool { auto_pad, ceil_mode, count_include_pad, dilations, kernel_shape, pads, strides };
        self.apply(name, op, &[x])
    }

    /// Mean over the image: `[N, C, 1, 1]`.
    pub fn global_average_pool(&mut self, name: &str, x: ValueId) -> Built {
        self.apply(name, GlobalAveragePool {}, &[x])
    }

    /// Maximum over the image: `[N, C, 1, 1]`.
    pub fn global_max_pool(&mut self, name: &str, x: ValueId) -> Built {
        self.apply(name, GlobalMaxPool {}, &[x])
    }

    /// Mean over an axis, which goes.
    pub fn mean(&mut self, name: &str, x: ValueId, axis: i64) -> Built {
        let axes = self.integers(&format!("{name}.axes"), &[axis]);
        let op = Op::Reduce(ReduceKind::Mean, Reduce { keepdims: false, noop_with_empty_axes: false });
        self.apply(name, op, &[x, axes])
    }

    // --- layout ------------------------------------------------------------------------------------------------------

    /// To `[N, all the rest]`.
    pub fn flatten(&mut self, name: &str, x: ValueId) -> Built {
        self.apply(name, Flatten { axis: 1 }, &[x])
    }

    /// To the shape given as ONNX has it: 0 keeps a length, −1 is what is left.
    pub fn reshape(&mut self, name: &str, x: ValueId, shape: &[i64]) -> Built {
        let shape = self.integers(&format!("{name}.shape"), shape);
        self.apply(name, Reshape { allowzero: false }, &[x, shape])
    }

    /// Permutes the axes.
    pub fn transpose(&mut self, name: &str, x: ValueId, perm: &[i64]) -> Built {
        self.apply(name, Transpose { perm: Some(perm.to_vec()) }, &[x])
    }

    /// Joins along an axis.
    pub fn concat(&mut self, name: &str, parts: &[ValueId], axis: i64) -> Built {
        self.apply(name, Concat { axis }, parts)
    }

    /// Every `step`-th row and column of `[N, C, H, W]`, from the first.
    pub fn subsample(&mut self, name: &str, x: ValueId, step: usize) -> Built {
        let mut inputs = vec![x];
        let values = [("starts", [0, 0]), ("ends", [i64::MAX; 2]), ("axes", [2, 3]), ("steps", [step as i64; 2])];
        for (part, values) in values {
            inputs.push(self.integers(&format!("{name}.{part}"), &values));
        }
        self.apply(name, Slice {}, &inputs)
    }

    /// Adds channels of zeros before and behind those of `[N, C, H, W]`.
    pub fn pad_channels(&mut self, name: &str, x: ValueId, before: usize, behind: usize) -> Built {
        let pads = [0, before as i64, 0, 0, 0, behind as i64, 0, 0];
        let pads = self.integers(&format!("{name}.pads"), &pads);
        self.apply(name, Pad { mode: PadMode::Constant }, &[x, pads])
    }

    // --- arithmetic --------------------------------------------------------------------------------------------------

    /// Sum of two tensors, with broadcasting.
    pub fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> Built {
        self.apply(name, Binary::Add, &[a, b])
    }

    /// Product of two tensors element by element, with broadcasting.
    pub fn multiply(&mut self, name: &str, a: ValueId, b: ValueId) -> Built {
        self.apply(name, Binary::Mul, &[a, b])
    }

    /// Linear layer over the last axis, with bias. Of `[N, in]` a Gemm whose `weight` is `[out, in]`, as `PyTorch` exports
    /// it; of more axes a `MatMul` whose `weight` is `[in, out]`, and an Add.
    pub fn linear(&mut self, name: &str, x: ValueId, outputs: usize) -> Built {
        let axis = self.last_axis(x);
        let inputs = self.length(name, x, axis)?;
        let (matrix, fans) = (axis == 1, [inputs, outputs]);
        let shape = if matrix { vec![outputs, inputs] } else { vec![inputs, outputs] };
        let data = self.weight_and_bias(name, shape, fans, Some(outputs))?;
        if matrix {
            let op = Gemm { alpha: 1.0, beta: 1.0, transA: false, transB: true };
            return self.apply(name, op, &[&[x], data.as_slice()].concat());
        }
        let product = self.apply(&format!("{name}.product"), MatMul {}, &[x, data[0]])?;
        self.add(name, product, data[1])
    }

    // --- transformers ------------------------------------------------------------------------------------------------

    /// Vectors of length `width` for integer indices below `count`: `weight` `[count, width]`.
    pub fn embedding(&mut self, name: &str, indices: ValueId, count: usize, width: usize) -> Built {
        let table = self.parameter(&format!("{name}.weight"), vec![count, width], EMBEDDING)?;
        self.apply(name, Gather { axis: 0 }, &[table, indices])
    }

    /// Adds a learned vector to each place of `[N, T, D]`: a parameter `[1, T, D]` with the layer's own name.
    pub fn positions(&mut self, name: &str, x: ValueId) -> Built {
        let shape = vec![1, self.length(name, x, 1)?, self.length(name, x, 2)?];
        let table = self.parameter(name, shape, EMBEDDING)?;
        self.add(&format!("{name}.add"), x, table)
    }

    /// Self-attention of `[N, T, D]` in `heads` heads: `q_proj`, `k_proj`, `v_proj` and `out_proj`, each a linear layer.
    pub fn self_attention(&mut self, name: &str, x: ValueId, heads: usize) -> Built {
        let width = self.length(name, x, 2)?;
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(self.refuse(name, "heads", &format!("a divisor of the width {width}"), heads));
        }
        let head = width / heads;
        self.scope(name, |net| {
            // The number of heads is what is left, so that a network of fewer heads has the same shapes here.
            let mut split = |part: &str, perm: &[i64]| {
                let x = net.linear(&format!("{part}_proj"), x, width)?;
                let x = net.reshape(&format!("{part}_heads"), x, &[0, 0, -1, head as i64])?;
                net.transpose(part, x, perm)
            };
            let query = split("q", &[0, 2, 1, 3])?;
            let key = split("k", &[0, 2, 3, 1])?;
            let value = split("v", &[0, 2, 1, 3])?;
            let scores = net.apply("scores", MatMul {}, &[query, key])?;
            let scale = net.constant("scale", Tensor::scalar(1.0 / (head as f32).sqrt()));
            let scores = net.multiply("scaled", scores, scale)?;
            let weights = net.softmax("weights", scores)?;
            let x = net.apply("mixed", MatMul {}, &[weights, value])?;
            let x = net.transpose("places", x, &[0, 2, 1, 3])?;
            let x = net.reshape("joined", x, &[0, 0, -1])?;
            net.linear("out_proj", x, width)
        })
    }
}
