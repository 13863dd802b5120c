//! Random networks that draw on every way in which axes are coupled.

mod oracle;

use slimnet_graph::graph::Value;
use slimnet_graph::ops::attribute::Attributes;
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};
use slimnet_graph::ops::elementwise::{Binary, Unary, Variadic, Where};
use slimnet_graph::ops::index::{Gather, Shape};
use slimnet_graph::ops::layout::{Concat, Expand, Flatten, Pad, PadMode, Reshape, Slice, Split, Transpose, Unsqueeze};
use slimnet_graph::ops::normalization::{
    BatchNormalization, GroupNormalization, InstanceNormalization, LayerNormalization, Softmax, SoftmaxKind,
};
use slimnet_graph::ops::pooling::{AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool};
use slimnet_graph::ops::product::{Einsum, Gemm, MatMul};
use slimnet_graph::ops::quantization::DequantizeLinear;
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::ops::slimnet::Mask;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::{Dim, ElementType, Graph, Op, Tensor, ValueId};

pub use oracle::{difference, outputs, zeroed};

/// A stream of random numbers that counts.
pub struct Random {
    stream: Stream,
    next: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { stream: Stream::named(seed, "axes"), next: 0 }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.next += 1;
        self.stream.below(self.next, bound as u64) as usize
    }

    pub fn uniform(&mut self) -> f64 {
        self.next += 1;
        self.stream.uniform(self.next)
    }
}

/// Images `[N, c, h, w]`.
#[derive(Clone, Copy)]
struct Image {
    id: ValueId,
    c: usize,
    h: usize,
    w: usize,
}

struct Net {
    graph: Graph,
    random: Random,
    seed: u64,
}

const BLOCKS: [fn(&mut Net, Image) -> Image; 29] = [
    Net::residual,
    Net::squeeze,
    Net::two_branches,
    Net::split,
    Net::slice,
    Net::pad_channels,
    Net::shuffle,
    Net::tied,
    Net::prelu,
    Net::pool,
    Net::gather,
    Net::scaled,
    Net::grouped,
    Net::depthwise,
    Net::transposed,
    Net::quantized,
    Net::einsum,
    Net::chosen,
    Net::expanded,
    Net::resized,
    Net::largest,
    Net::joined_weights,
    Net::generated,
    Net::spatial_mean,
    Net::normalized,
    Net::bare,
    Net::group_normalized,
    Net::dense_block,
    Net::masked,
];

/// A network that is a function of the seed.
pub fn network(seed: u64) -> Graph {
    let mut net = Net { graph: Graph::new("random"), random: Random::new(seed), seed };
    let mut x = net.input();
    let channels = 6 + 2 * net.random.below(2);
    x = net.conv(x, channels, 3, 1);
    x = net.batch_norm(x);
    x = net.relu(x);
    for _ in 0..3 + net.random.below(2) {
        let block = net.random.below(BLOCKS.len());
        x = BLOCKS[block](&mut net, x);
    }
    let features = match net.random.below(7) {
        0 => net.flat(x),
        1 => net.pooled(x),
        2 => net.flat_at_run_time(x),
        3 | 4 => net.recurrent(x),
        _ => net.tokens(x),
    };
    let logits = net.head(features);
    net.graph.add_output(logits);
    net.graph
}

impl Net {
    fn input(&mut self) -> Image {
        let mut value = Value::new("input");
        value.element_type = Some(ElementType::F32);
        value.shape = Some(vec![Dim::named("N"), 3usize.into(), 6usize.into(), 6usize.into()]);
        let id = self.graph.add_value(value).unwrap();
        self.graph.add_input(id).unwrap();
        Image { id, c: 3, h: 6, w: 6 }
    }

    fn name(&self, what: &str) -> String {
        format!("{what}_{}", self.graph.node_bound())
    }

    fn apply(&mut self, what: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let name = self.name(what);
        self.graph.apply(&name, op, inputs)
    }

    fn normal(&mut self, what: &str, shape: &[usize], mean: f64, deviation: f64) -> ValueId {
        let name = format!("{what}_{}", self.graph.value_bound());
        let distribution = Distribution::Normal { mean, deviation };
        let data = tensor(ElementType::F32, shape.to_vec(), Stream::named(self.seed, &name), distribution).unwrap();
        self.graph.add_constant(&name, data)
    }

    fn integers(&mut self, values: &[i64]) -> ValueId {
        self.graph.add_constant("integers", Tensor::vector(values.to_vec()))
    }

    fn convolve(
        &mut self,
        x: Image,
        inputs: &[ValueId],
        c: usize,
        kernel: usize,
        stride: usize,
        group: usize,
    ) -> Image {
        let pad = (kernel / 2) as i64;
        let op = Conv {
            auto_pad: AutoPad::NotSet,
            dilations: vec![],
            group: group as i64,
            kernel_shape: vec![],
            pads: vec![pad; 4],
            strides: vec![stride as i64; 2],
        };
        let id = self.apply("conv", op, inputs);
        let out = |length: usize| (length + 2 * (kernel / 2) - kernel) / stride + 1;
        Image { id, c, h: out(x.h), w: out(x.w) }
    }

    fn grouped_conv(&mut self, x: Image, c: usize, kernel: usize, stride: usize, group: usize) -> Image {
        let fan = (x.c / group * kernel * kernel) as f64;
        let w = self.normal("weight", &[c, x.c / group, kernel, kernel], 0.0, fan.powf(-0.5));
        let b = self.normal("bias", &[c], 0.0, 0.3);
        let inputs = if self.random.below(2) == 0 { vec![x.id, w, b] } else { vec![x.id, w] };
        self.convolve(x, &inputs, c, kernel, stride, group)
    }

    fn conv(&mut self, x: Image, c: usize, kernel: usize, stride: usize) -> Image {
        self.grouped_conv(x, c, kernel, stride, 1)
    }

    fn batch_norm(&mut self, x: Image) -> Image {
        let mut inputs = vec![x.id];
        for (what, mean, deviation) in
            [("scale", 1.0, 0.2), ("shift", 0.0, 0.3), ("mean", 0.0, 0.3), ("variance", 1.5, 0.2)]
        {
            inputs.push(self.normal(what, &[x.c], mean, deviation));
        }
        let op = BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: false };
        Image { id: self.apply("bn", op, &inputs), ..x }
    }

    fn relu(&mut self, x: Image) -> Image {
        Image { id: self.apply("relu", Unary::Relu, &[x.id]), ..x }
    }

    fn binary(&mut self, op: Binary, a: Image, b: Image) -> Image {
        Image { id: self.apply("binary", op, &[a.id, b.id]), ..a }
    }

    fn residual(&mut self, x: Image) -> Image {
        let inner = 4 + self.random.below(4);
        let y = self.conv(x, inner, 3, 1);
        let y = self.relu(y);
        let y = self.conv(y, x.c, 1, 1);
        let sum = self.binary(Binary::Add, y, x);
        self.relu(sum)
    }

    fn squeeze(&mut self, x: Image) -> Image {
        let pooled = Image { id: self.apply("pool", GlobalAveragePool {}, &[x.id]), h: 1, w: 1, ..x };
        let y = self.conv(pooled, 4, 1, 1);
        let y = self.relu(y);
        let y = self.conv(y, x.c, 1, 1);
        let gate = Image { id: self.apply("gate", Unary::Sigmoid, &[y.id]), ..y };
        Image { id: self.apply("scale", Binary::Mul, &[x.id, gate.id]), ..x }
    }

    fn concat(&mut self, parts: &[Image]) -> Image {
        let ids: Vec<_> = parts.iter().map(|part| part.id).collect();
        let c = parts.iter().map(|part| part.c).sum();
        Image { id: self.apply("concat", Concat { axis: 1 }, &ids), c, ..parts[0] }
    }

    fn two_branches(&mut self, x: Image) -> Image {
        let (a, b) = (self.conv(x, 4, 1, 1), self.conv(x, 6, 3, 1));
        let joined = self.concat(&[a, b]);
        self.relu(joined)
    }

    fn dense_block(&mut self, x: Image) -> Image {
        let y = self.conv(x, 4, 3, 1);
        let y = self.relu(y);
        let x = self.concat(&[x, y]);
        let y = self.conv(x, 6, 1, 1);
        self.relu(y)
    }

    fn split(&mut self, x: Image) -> Image {
        let first = x.c / 2 - self.random.below(2);
        let sizes = self.integers(&[first as i64, (x.c - first) as i64]);
        let (a, b) = (self.graph.add_intermediate("first"), self.graph.add_intermediate("second"));
        let op = Op::Split(Split { axis: 1, num_outputs: None });
        let name = self.name("split");
        self.graph.add_node(&name, op, vec![Some(x.id), Some(sizes)], vec![Some(a), Some(b)]).unwrap();
        let (a, b) = (Image { id: a, c: first, ..x }, Image { id: b, c: x.c - first, ..x });
        let a = self.conv(a, b.c, 3, 1);
        if self.random.below(2) == 0 { self.concat(&[b, a]) } else { self.binary(Binary::Add, a, b) }
    }

    fn slice(&mut self, x: Image) -> Image {
        let (start, end) = (1 + self.random.below(2), x.c - self.random.below(2));
        let end_text = if end == x.c { i64::MAX } else { end as i64 - x.c as i64 };
        let (starts, ends, axes) = (self.integers(&[start as i64]), self.integers(&[end_text]), self.integers(&[1]));
        let y = Image { id: self.apply("slice", Slice {}, &[x.id, starts, ends, axes]), c: end - start, ..x };
        let z = self.conv(x, y.c, 1, 1);
        self.binary(Binary::Add, y, z)
    }

    fn pad_channels(&mut self, x: Image) -> Image {
        let (before, behind, space) = (1 + self.random.below(2), self.random.below(3), self.random.below(2));
        let (before_, behind_, space_) = (before as i64, behind as i64, space as i64);
        let pads = self.integers(&[0, before_, space_, 0, 0, behind_, 0, space_]);
        let fill = self.graph.add_constant("fill", Tensor::scalar(0.5f32));
        let id = self.apply("pad", Pad { mode: PadMode::Constant }, &[x.id, pads, fill]);
        let y = Image { id, c: x.c + before + behind, h: x.h + space, w: x.w + space };
        let z = self.conv(y, y.c, 1, 1);
        self.binary(Binary::Add, y, z)
    }

    fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.integers(shape);
        self.apply("reshape", Reshape { allowzero: false }, &[x, shape])
    }

    fn transpose(&mut self, x: ValueId, perm: &[i64]) -> ValueId {
        self.apply("transpose", Transpose { perm: Some(perm.to_vec()) }, &[x])
    }

    fn shuffle(&mut self, x: Image) -> Image {
        let x = self.conv(x, 8, 1, 1);
        let x = self.grouped_conv(x, 8, 1, 1, 2);
        let (h, w) = (x.h as i64, x.w as i64);
        let y = self.reshape(x.id, &[0, 2, 4, h, w]);
        let y = self.transpose(y, &[0, 2, 1, 3, 4]);
        let y = self.reshape(y, &[0, -1, h, w]);
        let y = self.depthwise(Image { id: y, ..x });
        self.conv(y, 6, 1, 1)
    }

    fn tied(&mut self, x: Image) -> Image {
        let w = self.normal("tied", &[x.c, x.c, 1, 1], 0.0, 0.4);
        let y = self.convolve(x, &[x.id, w], x.c, 1, 1, 1);
        let y = self.relu(y);
        self.convolve(y, &[y.id, w], x.c, 1, 1, 1)
    }

    fn prelu(&mut self, x: Image) -> Image {
        let x = self.conv(x, 6, 1, 1);
        let slope = self.normal("slope", &[6, 1, 1], 0.2, 0.1);
        Image { id: self.apply("prelu", Binary::PRelu, &[x.id, slope]), ..x }
    }

    fn pool(&mut self, x: Image) -> Image {
        if x.h < 3 {
            return x;
        }
        let (h, w) = (x.h - 1, x.w - 1);
        let (auto_pad, ceil_mode) = (AutoPad::NotSet, false);
        let (dilations, kernel_shape, pads, strides) = (vec![], vec![2, 2], vec![], vec![]);
        let id = if self.random.below(2) == 0 {
            let op = MaxPool { auto_pad, ceil_mode, dilations, kernel_shape, pads, storage_order: false, strides };
            self.apply("max_pool", op, &[x.id])
        } else {
            let op =
                AveragePool { auto_pad, ceil_mode, count_include_pad: true, dilations, kernel_shape, pads, strides };
            self.apply("average_pool", op, &[x.id])
        };
        self.conv(Image { id, h, w, ..x }, 6, 1, 1)
    }

    fn gather(&mut self, x: Image) -> Image {
        let chosen: Vec<i64> = (0..x.c as i64).rev().filter(|place| place % 3 != 1).collect();
        let indices = self.integers(&chosen);
        let y = Image { id: self.apply("gather", Gather { axis: 1 }, &[x.id, indices]), c: chosen.len(), ..x };
        let z = self.conv(x, y.c, 1, 1);
        let y = self.binary(Binary::Add, y, z);
        self.relu(y)
    }

    fn scaled(&mut self, x: Image) -> Image {
        let scale = self.normal("scale", &[1, x.c, 1, 1], 1.0, 0.3);
        let shift = self.normal("shift", &[x.c, 1, 1], 0.0, 0.3);
        let y = self.apply("scaled", Binary::Mul, &[scale, x.id]);
        Image { id: self.apply("shifted", Binary::Add, &[y, shift]), ..x }
    }

    fn grouped(&mut self, x: Image) -> Image {
        let x = self.conv(x, 8, 1, 1);
        let y = self.grouped_conv(x, 6, 3, 1, 2);
        let y = self.relu(y);
        self.conv(y, 6, 1, 1)
    }

    fn depthwise(&mut self, x: Image) -> Image {
        let times = 1 + self.random.below(2);
        let y = self.grouped_conv(x, x.c * times, 3, 1, x.c);
        let y = self.batch_norm(y);
        let y = self.relu(y);
        self.conv(y, 6, 1, 1)
    }

    fn transposed(&mut self, x: Image) -> Image {
        let group = 1 + self.random.below(2);
        let x = self.conv(x, 6, 1, 1);
        let w = self.normal("weight", &[6, 6 / group, 2, 2], 0.0, 0.3);
        let b = self.normal("bias", &[6], 0.0, 0.3);
        let op = ConvTranspose {
            auto_pad: AutoPad::NotSet,
            dilations: vec![],
            group: group as i64,
            kernel_shape: vec![],
            output_padding: vec![],
            output_shape: vec![],
            pads: vec![],
            strides: vec![],
        };
        let y = Image { id: self.apply("conv_transpose", op, &[x.id, w, b]), h: x.h + 1, w: x.w + 1, ..x };
        let y = self.relu(y);
        self.conv(y, 6, 1, 1)
    }

    fn quantized(&mut self, x: Image) -> Image {
        let c = 6;
        let data: Vec<f64> = (0..c * x.c).map(|_| self.random.below(255) as f64 - 127.0).collect();
        let data = Tensor::from_f64s(ElementType::I8, vec![c, x.c, 1, 1], data).unwrap();
        let w = self.graph.add_constant("quantized", data);
        let scale = self.normal("quantized_scale", &[c], 0.004, 0.001);
        let w = self.apply("dequantize", DequantizeLinear { axis: 0, block_size: 0 }, &[w, scale]);
        self.convolve(x, &[x.id, w], c, 1, 1, 1)
    }

    fn normalized(&mut self, x: Image) -> Image {
        let (scale, shift) = (self.normal("scale", &[x.c], 1.0, 0.3), self.normal("shift", &[x.c], 0.0, 0.3));
        let id = self.apply("instance_norm", InstanceNormalization { epsilon: 1e-3 }, &[x.id, scale, shift]);
        Image { id, ..x }
    }

    fn group_normalized(&mut self, x: Image) -> Image {
        let x = self.conv(x, 8, 1, 1);
        let (scale, shift) = (self.normal("scale", &[8], 1.0, 0.3), self.normal("shift", &[8], 0.0, 0.3));
        let op = GroupNormalization { epsilon: 1e-3, num_groups: 4, stash_type: 1 };
        let id = self.apply("group_norm", op, &[x.id, scale, shift]);
        self.conv(Image { id, ..x }, 6, 1, 1)
    }

    fn bare(&mut self, x: Image) -> Image {
        self.conv(x, 8, 3, 2)
    }

    fn einsum(&mut self, x: Image) -> Image {
        let x = self.conv(x, 6, 1, 1);
        let w = self.normal("weight", &[6, 8], 0.0, 0.4);
        let id = self.apply("einsum", Einsum { equation: "nchw, cd -> ndhw".into() }, &[x.id, w]);
        Image { id, c: 8, ..x }
    }

    fn chosen(&mut self, x: Image) -> Image {
        let y = self.conv(x, x.c, 3, 1);
        let limit = self.graph.add_constant("limit", Tensor::scalar(0.1f32));
        let greater = self.apply("greater", Binary::Greater, &[x.id, limit]);
        Image { id: self.apply("where", Where {}, &[greater, x.id, y.id]), ..x }
    }

    fn expanded(&mut self, x: Image) -> Image {
        let pooled = self.apply("pool", GlobalMaxPool {}, &[x.id]);
        let shape = self.integers(&[1, x.c as i64, x.h as i64, x.w as i64]);
        let y = self.apply("expand", Expand {}, &[pooled, shape]);
        self.concat(&[x, Image { id: y, ..x }])
    }

    fn resized(&mut self, x: Image) -> Image {
        let scales = self.graph.add_constant("scales", Tensor::vector(vec![1f32, 1.0, 2.0, 2.0]));
        let op = Op::read("Resize", Attributes::default()).unwrap().unwrap();
        let name = self.name("resize");
        let id = self.graph.add_intermediate(&name);
        self.graph.add_node(&name, op, vec![Some(x.id), None, Some(scales)], vec![Some(id)]).unwrap();
        self.conv(Image { id, h: 2 * x.h, w: 2 * x.w, ..x }, 6, 3, 2)
    }

    fn largest(&mut self, x: Image) -> Image {
        let (y, z) = (self.conv(x, x.c, 1, 1), self.conv(x, x.c, 3, 1));
        Image { id: self.apply("max", Op::Variadic(Variadic::Max), &[x.id, y.id, z.id]), ..x }
    }

    /// Weights that are put together while running.
    fn joined_weights(&mut self, x: Image) -> Image {
        let (a, b) = (self.normal("part", &[4, x.c, 1, 1], 0.0, 0.4), self.normal("part", &[2, x.c, 1, 1], 0.0, 0.4));
        let w = self.apply("weights", Concat { axis: 0 }, &[a, b]);
        let y = self.convolve(x, &[x.id, w], 6, 1, 1, 1);
        self.relu(y)
    }

    /// Sparse weights in the training form, each with a mask of its own.
    fn masked(&mut self, x: Image) -> Image {
        let (inner, kernel) = (4 + self.random.below(3), 1 + 2 * self.random.below(2));
        let mut y = x;
        for c in [inner, x.c] {
            let shape = [c, y.c, kernel, kernel];
            let w = self.normal("sparse", &shape, 0.0, 0.4);
            let kept = (0..shape.iter().product()).map(|_| u8::from(self.random.below(3) > 0)).collect();
            let mask = self.graph.add_constant("kept", Tensor::from_values(shape.to_vec(), kept).unwrap());
            let masked = self.apply("masked", Mask {}, &[w, mask]);
            y = self.convolve(y, &[y.id, masked], c, kernel, 1, 1);
            y = self.relu(y);
        }
        self.binary(Binary::Add, x, y)
    }

    /// An image made from a vector, as generators do.
    fn generated(&mut self, x: Image) -> Image {
        let pooled = self.pooled(x);
        let y = self.linear(pooled.0, pooled.1, 16);
        let y = self.reshape(y, &[-1, 4, 2, 2]);
        let y = self.conv(Image { id: y, c: 4, h: 2, w: 2 }, x.c, 3, 1);
        let largest = self.apply("largest", GlobalMaxPool {}, &[x.id]);
        let sum = self.apply("sum", Binary::Sub, &[y.id, largest]);
        Image { id: sum, ..y }
    }

    fn spatial_mean(&mut self, x: Image) -> Image {
        let axes = self.integers(&[2, -1]);
        let op = Op::Reduce(ReduceKind::Mean, Reduce { keepdims: false, noop_with_empty_axes: false });
        let y = self.apply("mean", op, &[x.id, axes]);
        let axes = self.integers(&[2, 3]);
        let y = self.apply("unsqueeze", Unsqueeze {}, &[y, axes]);
        let y = self.conv(Image { id: y, h: 1, w: 1, ..x }, x.c, 1, 1);
        Image { id: self.apply("centred", Binary::Sub, &[x.id, y.id]), ..x }
    }

    // --- ends --------------------------------------------------------------------------------------------------------

    fn flat(&mut self, x: Image) -> (ValueId, usize) {
        (self.apply("flatten", Flatten { axis: 1 }, &[x.id]), x.c * x.h * x.w)
    }

    fn pooled(&mut self, x: Image) -> (ValueId, usize) {
        let pooled = self.apply("pool", GlobalAveragePool {}, &[x.id]);
        (self.reshape(pooled, &[0, -1]), x.c)
    }

    /// Flattening whose target is put together while running.
    fn flat_at_run_time(&mut self, x: Image) -> (ValueId, usize) {
        let shape = self.apply("shape", Shape { start: 0, end: None }, &[x.id]);
        let first = self.graph.add_constant("first", Tensor::scalar(0i64));
        let batch = self.apply("batch", Gather { axis: 0 }, &[shape, first]);
        let axes = self.integers(&[0]);
        let batch = self.apply("unsqueeze", Unsqueeze {}, &[batch, axes]);
        let rest = self.integers(&[-1]);
        let target = self.apply("target", Concat { axis: 0 }, &[batch, rest]);
        (self.apply("flatten", Reshape { allowzero: false }, &[x.id, target]), x.c * x.h * x.w)
    }

    /// A recurrent layer over the image's places.
    fn recurrent(&mut self, x: Image) -> (ValueId, usize) {
        let (places, units, directions) = (x.h * x.w, 5, 1 + self.random.below(2));
        let y = self.reshape(x.id, &[0, x.c as i64, places as i64]);
        let y = self.transpose(y, &[2, 0, 1]);
        let (operator, gates) = [("LSTM", 4), ("GRU", 3), ("RNN", 1)][self.random.below(3)];
        let mut attributes = Attributes::default();
        attributes.put("hidden_size", &(units as i64));
        if directions == 2 {
            attributes.put("direction", &"bidirectional".to_owned());
        }
        let op = Op::read(operator, attributes).unwrap().unwrap();
        let w = self.normal("weight", &[directions, gates * units, x.c], 0.0, 0.4);
        let r = self.normal("recurrence", &[directions, gates * units, units], 0.0, 0.4);
        let b = self.normal("bias", &[directions, 2 * gates * units], 0.0, 0.3);
        let y = self.apply("recurrent", op, &[y, w, r, b]);
        let y = self.transpose(y, &[0, 2, 1, 3]);
        let y = self.reshape(y, &[0, 0, -1]);
        let axes = self.integers(&[0]);
        let mean = Op::Reduce(ReduceKind::Mean, Reduce { keepdims: false, noop_with_empty_axes: false });
        (self.apply("mean", mean, &[y, axes]), directions * units)
    }

    fn linear(&mut self, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
        let w = self.normal("weight", &[inputs, outputs], 0.0, (inputs as f64).powf(-0.5));
        let b = self.normal("bias", &[outputs], 0.0, 0.3);
        let y = self.apply("product", MatMul {}, &[x, w]);
        self.apply("biased", Binary::Add, &[y, b])
    }

    /// Attention over the image's places, and a feed-forward layer.
    fn tokens(&mut self, x: Image) -> (ValueId, usize) {
        let (places, heads, each) = (x.h * x.w, 2 + self.random.below(2), 4);
        let width = heads * each;
        let y = self.reshape(x.id, &[0, x.c as i64, places as i64]);
        let y = self.transpose(y, &[0, 2, 1]);
        let y = self.linear(y, x.c, width);
        let mut part = |perm: &[i64]| {
            let part = self.linear(y, width, width);
            let part = self.reshape(part, &[0, 0, heads as i64, each as i64]);
            self.transpose(part, perm)
        };
        let (q, k, v) = (part(&[0, 2, 1, 3]), part(&[0, 2, 3, 1]), part(&[0, 2, 1, 3]));
        let q = if self.random.below(2) == 0 { self.rotated(q, each) } else { q };
        let scale = self.normal("head_scale", &[heads, 1, each], 1.0, 0.3);
        let q = self.apply("scaled", Binary::Mul, &[q, scale]);
        let scores = self.apply("scores", MatMul {}, &[q, k]);
        let bias = self.normal("position_bias", &[heads, 1, 1], 0.0, 0.3);
        let scores = self.apply("biased", Binary::Add, &[scores, bias]);
        let attention = self.apply("softmax", Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: -1 }), &[scores]);
        let mixed = self.apply("mixed", MatMul {}, &[attention, v]);
        let mixed = self.transpose(mixed, &[0, 2, 1, 3]);
        let joined = self.reshape(mixed, &[0, 0, width as i64]);
        let projected = self.linear(joined, width, width);
        let mut y = self.apply("residual", Binary::Add, &[projected, y]);
        if self.random.below(2) == 0 {
            let scale = self.normal("scale", &[width], 1.0, 0.2);
            y = self.apply("layer_norm", LayerNormalization { axis: -1, epsilon: 1e-3, stash_type: 1 }, &[y, scale]);
        }
        let hidden = self.linear(y, width, 10);
        let hidden = self.apply("tanh", Unary::Tanh, &[hidden]);
        let y = self.linear(hidden, 10, width);
        let axes = self.integers(&[1]);
        let mean = Op::Reduce(ReduceKind::Mean, Reduce { keepdims: false, noop_with_empty_axes: false });
        (self.apply("mean", mean, &[y, axes]), width)
    }

    /// Halves of the last axis change places, are negated and added.
    fn rotated(&mut self, x: ValueId, length: usize) -> ValueId {
        let half = (length / 2) as i64;
        let axes = self.integers(&[-1]);
        let mut part = |start: i64, end: i64| {
            let (start, end) = (self.integers(&[start]), self.integers(&[end]));
            self.apply("half", Slice {}, &[x, start, end, axes])
        };
        let (first, second) = (part(0, half), part(half, i64::MAX));
        let turned = self.apply("turned", Concat { axis: -1 }, &[second, first]);
        let turned = self.apply("negated", Unary::Neg, &[turned]);
        self.apply("rotated", Binary::Add, &[x, turned])
    }

    fn head(&mut self, (x, width): (ValueId, usize)) -> ValueId {
        let gemm = |trans_b: bool| Gemm { alpha: 0.5, beta: 2.0, transA: false, transB: trans_b };
        let deviation = (width as f64).powf(-0.5);
        let w = self.normal("weight", &[8, width], 0.0, deviation);
        let b = self.normal("bias", &[8], 0.0, 0.3);
        let hidden = self.apply("hidden", gemm(true), &[x, w, b]);
        let hidden = self.apply("relu", Unary::Relu, &[hidden]);
        let w = self.normal("weight", &[8, 4], 0.0, 0.4);
        self.apply("logits", gemm(false), &[hidden, w])
    }
}
