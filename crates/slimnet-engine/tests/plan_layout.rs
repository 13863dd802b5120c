//! Networks in which channels lie last in part, and steps are fused, against the reference evaluator.

use slimnet_engine::kernels::Context;
use slimnet_engine::kernels::testing::difference;
use slimnet_engine::plan::{Plan, PlanOptions};
use slimnet_engine::{differentiate, inference_form};
use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::graph::{Dim, Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::{Binary, Clip, Unary};
use slimnet_graph::ops::normalization::BatchNormalization;
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{Builder, Conv2d, Init};

const NORMAL: Distribution = Distribution::Normal { mean: 0.0, deviation: 1.0 };

fn random(shape: &[usize], stream: u64) -> Tensor {
    tensor(ElementType::F32, shape.to_vec(), Stream::new(5, stream), NORMAL).unwrap()
}

/// Scale and offset of each channel, as tensors of three axes, of which `add` is a parameter.
fn scaled(net: &mut Builder, name: &str, x: ValueId, channels: usize) -> ValueId {
    net.scope(name, |net| {
        let factor = net.parameter("factor", vec![channels, 1, 1], NORMAL).unwrap();
        let x = net.multiply("scaled", x, factor).unwrap();
        let offset = net.constant("offset", random(&[1, channels, 1, 1], 2));
        net.add("moved", x, offset)
    })
    .unwrap()
}

/// A network that has everything that a layout passes through or ends at; outputs are plain values within and at the end.
fn network() -> (Graph, ValueId) {
    let mut net = Builder::new("layouts", 0, Init::PyTorch);
    let x = net.input("x", &[3usize, 5, 12, 9].map(Dim::from)).unwrap();
    let a = net.conv2d("a", x, Conv2d { bias: true, ..Conv2d::new(7, 3) }).unwrap();
    let a = scaled(&mut net, "scale", a, 7);
    let a = net.relu("a_relu", a).unwrap();
    net.output("inner", a);
    let b = net.conv2d("b", x, Conv2d { stride: 2, ..Conv2d::new(6, 3) }).unwrap();
    let half = net.subsample("half", a, 2).unwrap();
    let joined = net.concat("joined", &[half, b], 1).unwrap();
    let c = net.conv2d("c", joined, Conv2d { bias: true, ..Conv2d::new(9, 1) }).unwrap();
    let c = net.batch_norm("bn", c, 1e-5).unwrap();
    let wide = net.pad_channels("wide", c, 1, 3).unwrap();
    let sum = net.add("sum", wide, joined).unwrap();
    let sum = net.relu6("sum_relu", sum).unwrap();
    // Something that takes tensors as they are, and is added to what has its channels last.
    let turned = net.transpose("turned", sum, &[0, 1, 3, 2]).unwrap();
    let turned = net.transpose("turned_back", turned, &[0, 1, 3, 2]).unwrap();
    let d = net.depthwise_conv2d("d", sum, Conv2d::new(13, 3)).unwrap();
    let d = net.add("d_sum", d, turned).unwrap();
    let high = net.constant("high", Tensor::scalar(0.75f32));
    let low = net.constant("low", Tensor::scalar(-0.5f32));
    let d = net.apply("limited", Clip {}, &[d, low, high]).unwrap();
    let pooled = net.max_pool("pooled", d, 2).unwrap();
    let e = net.conv2d("e", pooled, Conv2d::new(8, 3)).unwrap();
    let axes = net.integers("axes", &[2, 3]);
    let mean = Op::Reduce(ReduceKind::Mean, Reduce { keepdims: false, noop_with_empty_axes: false });
    let mean = net.apply("mean", mean, &[e, axes]).unwrap();
    let f = net.global_average_pool("gap", d).unwrap();
    let f = net.flatten("flat", f).unwrap();
    let f = net.linear("f", f, 8).unwrap();
    let y = net.add("y", f, mean).unwrap();
    net.output("logits", y);
    let mut graph = net.finish();
    infer_graph(&mut graph).unwrap();
    (graph, x)
}

#[test]
fn outputs_are_those_of_the_reference_evaluator() {
    let (graph, x) = network();
    let data = random(&[3, 5, 12, 9], 9);
    let expected = evaluate_graph(&graph, &[(x, data.clone())].into_iter().collect(), 1 << 30).unwrap();
    let expected: Vec<_> = graph.outputs().iter().map(|output| &expected[output]).collect();
    for graph in [graph.clone(), inference_form(&graph).unwrap()] {
        let mut plan = Plan::new(&graph, &PlanOptions::default()).unwrap();
        plan.set(graph.free_inputs().next().unwrap(), &data).unwrap();
        // Twice: a plan must not use up what it needs.
        for _ in 0..2 {
            plan.run(Context::default()).unwrap();
            for (&output, expected) in graph.outputs().iter().zip(&expected) {
                let found = plan.tensor(output).unwrap();
                let difference = difference(&found, expected);
                assert!(difference < 1e-5, "{}: {difference}", graph.value(output).name);
            }
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    let (mut graph, x) = network();
    let output = *graph.outputs().last().unwrap();
    // Kinks would spoil differences: what matters here is the way of tensors, so all limits become smooth.
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        if matches!(graph.node(id).op, Op::Clip(_) | Op::Unary(Unary::Relu)) {
            graph.node_mut(id).op = Op::Unary(Unary::Tanh);
            let input = graph.node(id).input(0);
            graph.set_inputs(id, &[input]);
        }
    }
    let square = graph.apply("square", Binary::Mul, &[output, output]);
    let sum = Op::Reduce(ReduceKind::Sum, Reduce { keepdims: false, noop_with_empty_axes: false });
    let loss = graph.apply("loss", sum, &[square]);
    infer_graph(&mut graph).unwrap();
    let parameters: Vec<_> =
        ["a.weight", "a.bias", "scale.factor", "b.weight", "c.weight", "d.weight", "e.weight", "f.weight"]
            .iter()
            .map(|name| graph.find_value(name).unwrap_or_else(|| panic!("{name}")))
            .collect();
    let mut wanted = parameters.clone();
    wanted.push(x);
    let gradients: Vec<_> = differentiate(&mut graph, loss, &wanted).unwrap().into_iter().flatten().collect();
    let options = PlanOptions {
        states: vec![parameters.clone()],
        kept: gradients.iter().copied().chain([loss]).collect(),
        ..PlanOptions::default()
    };
    let mut plan = Plan::new(&graph, &options).unwrap();
    plan.set(x, &random(&[3, 5, 12, 9], 9)).unwrap();
    plan.run(Context::default()).unwrap();
    for (&value, &gradient) in wanted.iter().zip(&gradients) {
        let slope = plan.get::<f32>(gradient).to_vec();
        let before = plan.get::<f32>(value).to_vec();
        let square: f64 = slope.iter().map(|&value| f64::from(value).powi(2)).sum();
        let mut at = |step: f64| {
            for ((value, before), slope) in plan.get_mut::<f32>(value).iter_mut().zip(&before).zip(&slope) {
                *value = (f64::from(*before) + step * f64::from(*slope)) as f32;
            }
            plan.run(Context::default()).unwrap();
            f64::from(plan.get::<f32>(loss)[0])
        };
        let step = 2e-3 * at(0.0) / square;
        let ratio = (at(step) - at(-step)) / (2.0 * step) / square;
        at(0.0);
        assert!((ratio - 1.0).abs() < 0.02, "{}: {ratio}", graph.value(value).name);
    }
}

/// The same network with the operands of its addition one way and the other.
fn with_shortcut(swapped: bool) -> Graph {
    let mut net = Builder::new("shortcut", 0, Init::PyTorch);
    let x = net.input("x", &[1usize, 8, 32, 32].map(Dim::from)).unwrap();
    let stem = net.conv2d("stem", x, Conv2d::new(8, 3)).unwrap();
    let short = net.conv2d("short", stem, Conv2d { stride: 4, ..Conv2d::new(8, 1) }).unwrap();
    let a = net.conv2d("a", stem, Conv2d::new(8, 3)).unwrap();
    let a = net.gelu("a_gelu", a).unwrap();
    let b = net.conv2d("b", a, Conv2d { stride: 4, ..Conv2d::new(8, 3) }).unwrap();
    let sum = if swapped { net.add("sum", short, b) } else { net.add("sum", b, short) }.unwrap();
    net.output("y", sum);
    let mut graph = net.finish();
    infer_graph(&mut graph).unwrap();
    graph
}

#[test]
fn what_is_computed_last_takes_an_addition_over() {
    let plans = [false, true].map(|swapped| Plan::new(&with_shortcut(swapped), &PlanOptions::default()).unwrap());
    assert_eq!(plans[0].memory(), plans[1].memory());
    assert_eq!(plans[0].len(), plans[1].len());
}

#[test]
fn steps_that_are_observed_belong_to_nodes_of_the_graph() {
    let (graph, x) = network();
    let mut plan = Plan::new(&graph, &PlanOptions::default()).unwrap();
    plan.set(x, &random(&[3, 5, 12, 9], 9)).unwrap();
    let mut foreign = 0;
    plan.compute_observed(Context::default(), |id, _| foreign += usize::from(id.is_some_and(|id| !graph.has_node(id))))
        .unwrap();
    assert_eq!(foreign, 0);
    // Weights that kernels have packed count as memory of the plan.
    let weights = graph.find_value("e.weight").and_then(|weights| graph.value(weights).data.clone()).unwrap();
    assert!(plan.memory().packed >= weights.byte_len(), "{:?}", plan.memory());
}

#[test]
fn statistics_can_be_wanted_without_the_result() {
    let mut net = Builder::new("statistics", 0, Init::PyTorch);
    let x = net.input("x", &[2usize, 3, 4, 5].map(Dim::from)).unwrap();
    let mut graph = net.finish();
    let inputs = (0..4).map(|slot| Some(graph.add_constant("channel", random(&[3], slot))));
    let inputs = std::iter::once(Some(x)).chain(inputs).collect();
    let (mean, variance) = (graph.add_intermediate("mean"), graph.add_intermediate("variance"));
    let op = Op::BatchNormalization(BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: true });
    graph.add_node("norm", op, inputs, vec![None, Some(mean), Some(variance)]).unwrap();
    graph.add_output(mean);
    graph.add_output(variance);
    infer_graph(&mut graph).unwrap();
    let data = random(&[2, 3, 4, 5], 9);
    let expected = evaluate_graph(&graph, &[(x, data.clone())].into_iter().collect(), 1 << 30).unwrap();
    let mut plan = Plan::new(&graph, &PlanOptions::default()).unwrap();
    plan.set(x, &data).unwrap();
    plan.run(Context::default()).unwrap();
    for output in graph.outputs() {
        assert!(difference(&plan.tensor(*output).unwrap(), &expected[output]) < 1e-5);
    }
}
