//! Small networks and what importance is defined by, computed by the reference evaluator.

#![allow(dead_code)] // not every test uses all of it

use std::collections::{BTreeMap, BTreeSet, HashMap};

use slimnet_compress::importance::Evidence;
use slimnet_engine::Threads;
use slimnet_engine::job::JobOptions;
use slimnet_engine::train::{Batch, Source, SourceError};
use slimnet_graph::axes::{Access, Coupling, GroupId};
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::graph::{Dim, Graph, Value, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::convolution::{AutoPad, Conv};
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::layout::Flatten;
use slimnet_graph::ops::normalization::{BatchNormalization, Dropout};
use slimnet_graph::ops::product::{Gemm, MatMul};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{Builder, Init};
use slimnet_graph::{ElementType, Op, Tensor};

pub const CLASSES: usize = 4;

/// Batches that were made before.
pub struct Batches(pub Vec<Batch>);

impl Source for Batches {
    fn batches_per_epoch(&self) -> usize {
        self.0.len()
    }

    fn epoch(&self, _epoch: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch, SourceError>> + '_> {
        Box::new(self.0[first..].iter().cloned().map(Ok))
    }
}

pub fn normal(shape: &[usize], name: &str, deviation: f64) -> Tensor {
    let distribution = Distribution::Normal { mean: 0.0, deviation };
    tensor(ElementType::F32, shape.to_vec(), Stream::named(3, name), distribution).unwrap()
}

/// Samples `x` of a shape, with labels.
pub fn samples(count: usize, shape: &[usize]) -> Batch {
    let x = normal(&[&[count], shape].concat(), "samples", 1.0);
    let labels = (0..count as i64).map(|sample| sample * 7 % CLASSES as i64).collect();
    Batch { values: vec![("x".into(), x), ("labels".into(), Tensor::vector(labels))], samples: count }
}

pub fn evidence<'a>(source: &'a Batches, job: &'a JobOptions, threads: &'a Threads, batch: usize) -> Evidence<'a> {
    let samples = source.0.iter().map(|batch| batch.samples).sum();
    Evidence { source, job, batch, samples, lengths: BTreeMap::new(), threads }
}

/// A graph with the input `x` of `[N, shape…]`.
pub fn with_input(shape: &[usize]) -> (Graph, ValueId) {
    let mut graph = Graph::new("small");
    let x = graph.add_value(Value::new("x")).unwrap();
    let dims = std::iter::once(Dim::named("N")).chain(shape.iter().map(|&length| Dim::from(length)));
    (graph.value_mut(x).element_type, graph.value_mut(x).shape) = (Some(ElementType::F32), Some(dims.collect()));
    graph.add_input(x).unwrap();
    (graph, x)
}

pub fn finished(mut graph: Graph, output: ValueId) -> Graph {
    graph.add_output(output);
    infer_graph(&mut graph).unwrap();
    graph
}

pub fn conv(kernel: usize, group: usize) -> Conv {
    Conv {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: group as i64,
        kernel_shape: vec![],
        pads: vec![(kernel / 2) as i64; 4],
        strides: vec![],
    }
}

/// Samples of [`convolutional`].
pub const IMAGE: [usize; 3] = [2, 3, 3];

/// Convolutions with a residual addition, a depthwise one, one that is applied twice, batch normalisation, dropout, and
/// dense layers behind a flattening: smooth, so that slopes can be measured by differences.
pub fn convolutional() -> Graph {
    let (mut graph, x) = with_input(&IMAGE);
    let weight = |graph: &mut Graph, name: &str, shape: &[usize]| {
        let fan = shape[1..].iter().product::<usize>() as f64;
        graph.add_constant(name, normal(shape, name, fan.powf(-0.5)))
    };
    let w = weight(&mut graph, "first", &[3, 2, 3, 3]);
    let b = graph.add_constant("first_bias", normal(&[3], "first_bias", 0.3));
    let a = graph.apply("a", conv(3, 1), &[x, w, b]);
    let mut inputs = vec![a];
    for (name, mean, deviation) in
        [("scale", 1.0, 0.3), ("shift", 0.0, 0.3), ("mean", 0.0, 0.3), ("variance", 1.5, 0.2)]
    {
        let distribution = Distribution::Normal { mean, deviation };
        let data = tensor(ElementType::F32, vec![3], Stream::named(5, name), distribution).unwrap();
        inputs.push(graph.add_constant(name, data));
    }
    let op = BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: false };
    let a = graph.apply("normalized", op, &inputs);
    let a = graph.apply("tanh_a", Unary::Tanh, &[a]);
    let tied = weight(&mut graph, "tied", &[3, 3, 1, 1]);
    let y = graph.apply("tied_1", conv(1, 1), &[a, tied]);
    let y = graph.apply("tanh_y", Unary::Tanh, &[y]);
    let y = graph.apply("tied_2", conv(1, 1), &[y, tied]);
    let sum = graph.apply("sum", Binary::Add, &[y, a]);
    let w = weight(&mut graph, "depthwise", &[3, 1, 3, 3]);
    let y = graph.apply("d", conv(3, 3), &[sum, w]);
    let y = graph.apply("tanh_d", Unary::Tanh, &[y]);
    let w = weight(&mut graph, "wide", &[6, 3, 1, 1]);
    let y = graph.apply("w", conv(1, 1), &[y, w]);
    let y = graph.apply("tanh_w", Unary::Tanh, &[y]);
    let y = graph.apply("dropped", Op::Dropout(Dropout { seed: None }), &[y]);
    let y = graph.apply("flat", Flatten { axis: 1 }, &[y]);
    let w = weight(&mut graph, "dense", &[5, 54]);
    let b = graph.add_constant("dense_bias", normal(&[5], "dense_bias", 0.3));
    let y = graph.apply("h", Gemm { alpha: 1.0, beta: 1.0, transA: false, transB: true }, &[y, w, b]);
    let y = graph.apply("tanh_h", Unary::Tanh, &[y]);
    let w = graph.add_constant("last", normal(&[5, CLASSES], "last", 0.4));
    let y = graph.apply("logits", MatMul {}, &[y, w]);
    finished(graph, y)
}

/// Samples of [`attention`].
pub const TOKENS: [usize; 2] = [3, 4];

/// Attention of two heads between dense layers.
pub fn attention() -> Graph {
    let mut net = Builder::new("attention", 1, Init::PyTorch);
    let shape = [Dim::named("N"), TOKENS[0].into(), TOKENS[1].into()];
    let x = net.input("x", &shape).unwrap();
    let y = net.linear("embed", x, 6).unwrap();
    let y = net.self_attention("attention", y, 2).unwrap();
    let y = net.mean("mean", y, 1).unwrap();
    let y = net.linear("head", y, CLASSES).unwrap();
    net.output("logits", y);
    let mut graph = net.finish();
    infer_graph(&mut graph).unwrap();
    // Large enough that attention is not even.
    let matrix = |(id, value): (ValueId, &Value)| {
        let data = value.data.as_ref().filter(|data| data.rank() == 2)?;
        Some((id, data.shape().to_vec(), value.name.clone()))
    };
    let matrices: Vec<_> = graph.values().filter_map(matrix).collect();
    for (id, shape, name) in matrices {
        graph.set_data(id, normal(&shape, &name, 0.7));
    }
    graph
}

/// The cross-entropy of each sample by the reference evaluator.
pub fn losses(graph: &Graph, batch: &Batch) -> Vec<f64> {
    let x = graph.find_value("x").unwrap();
    let outputs = evaluate_graph(graph, &HashMap::from([(x, batch.values[0].1.clone())]), 1 << 24).unwrap();
    let logits = outputs[&graph.outputs()[0]].to_f64s().unwrap();
    let labels = batch.values[1].1.to_i64s().unwrap();
    let loss = |(row, &label): (&[f64], &i64)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[label as usize];
    logits.chunks(CLASSES).zip(&labels).map(loss).collect()
}

/// The slope of each sample's loss when what `changed` does grows from 0, by differences.
pub fn slopes(batch: &Batch, changed: impl Fn(f64) -> Graph) -> Vec<f64> {
    let step = 0.02;
    let [a, b, c, d] = [step, -step, 2.0 * step, -2.0 * step].map(|by| losses(&changed(by), batch));
    let slope = |sample: usize| (8.0 * (a[sample] - b[sample]) - (c[sample] - d[sample])) / (12.0 * step);
    (0..batch.samples).map(slope).collect()
}

/// The graph with elements of some tensors changed.
pub fn with_elements(graph: &Graph, mut change: impl FnMut(ValueId, usize, f64) -> f64) -> Graph {
    let mut result = graph.clone();
    for (value, source) in graph.values() {
        let Some(data) = source.data.as_ref().filter(|data| data.element_type() == ElementType::F32) else { continue };
        let elements = data.to_f64s().unwrap();
        let elements = elements.into_iter().enumerate().map(|(at, element)| change(value, at, element)).collect();
        result.set_data(value, Tensor::from_f64s(ElementType::F32, data.shape().to_vec(), elements).unwrap());
    }
    result
}

/// Whether a cover of a kind holds an element of a tensor for one of some groups.
pub fn covered(
    graph: &Graph,
    coupling: &Coupling,
    groups: &BTreeSet<GroupId>,
    access: Option<Access>,
    value: ValueId,
    element: usize,
) -> bool {
    let shape = graph.value(value).data.as_ref().unwrap().shape();
    let place = |axis: usize| element / shape[axis + 1..].iter().product::<usize>() % shape[axis];
    let mut covers = coupling.covers(value).iter().filter(|cover| access.is_none_or(|access| cover.access == access));
    let holds = |cover: &&slimnet_graph::axes::AxisCover| {
        let at = cover.axes.iter().zip(&cover.lengths).fold(0, |at, (&axis, length)| at * length + place(axis));
        groups.contains(&cover.groups[at])
    };
    covers.any(|cover| holds(&cover))
}

pub fn assert_close(found: f64, expected: f64, scale: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * scale, "{what}: found {found}, expected {expected}");
}
