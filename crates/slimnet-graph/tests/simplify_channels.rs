//! Lossless removal of channels: planted ones go, and those that only look removable stay.

mod simplify_common;

use simplify_common::{Net, op, op_of, op_with, operators, simplified};
use slimnet_graph::simplify::{Change, LayerChannels, SimplifyOptions, SimplifyReport};
use slimnet_graph::{ElementType, Graph, Tensor, ValueId};

fn run(net: &Net) -> (Graph, SimplifyReport) {
    simplified(&net.graph, &SimplifyOptions::default(), 1e-6)
}

/// Multiplies some slices of a weight along an axis.
fn scale(net: &mut Net, weight: ValueId, axis: usize, places: &[usize], factor: f64) {
    let data = net.graph.value(weight).data.clone().unwrap();
    let shape = data.shape().to_vec();
    let inner: usize = shape[axis + 1..].iter().product();
    let mut values = data.to_f64s().unwrap();
    for (index, value) in values.iter_mut().enumerate() {
        if places.contains(&(index / inner % shape[axis])) {
            *value *= factor;
        }
    }
    net.graph.set_data(weight, Tensor::from_f64s(data.element_type(), shape, values).unwrap());
}

fn conv(net: &mut Net, x: ValueId, weight: ValueId, bias: Option<ValueId>, pad: i64, group: i64) -> ValueId {
    let op = op_with("Conv", |a| {
        a.put("pads", &vec![pad; 4]);
        a.put("group", &group);
    });
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    net.node(op, &inputs)
}

/// Shape of the weights of the n-th layer of an operator.
fn weights(graph: &Graph, op_type: &str) -> Vec<Vec<usize>> {
    let order = graph.schedule().unwrap();
    let layers = order.into_iter().filter(|&node| graph.node(node).op.op_type() == op_type);
    layers.map(|node| graph.input_data(node, 1).unwrap().shape().to_vec()).collect()
}

fn lost(report: &SimplifyReport) -> Vec<(usize, usize, usize)> {
    report.layers.iter().map(|layer: &LayerChannels| (layer.unread, layer.zero, layer.constant)).collect()
}

/// A convolution to 6 channels of which 0 is dead with bias 0, 1 dead with bias 0.7, 2 dead with bias −1; then Relu.
fn planted(net: &mut Net) -> ValueId {
    let x = net.input("x", &[-1, 3, 6, 6]);
    let weight = net.weight(&[6, 3, 3, 3]);
    scale(net, weight, 0, &[0, 1, 2], 1e-20);
    let bias = net.floats(&[6], &[0.0, 0.7, -1.0, 0.1, 0.2, 0.3]);
    let y = conv(net, x, weight, Some(bias), 1, 1);
    net.plain("Relu", &[y])
}

#[test]
fn constants_go_into_the_bias_of_a_convolution_without_padding() {
    for with_bias in [false, true] {
        let mut net = Net::new();
        let y = planted(&mut net);
        let weight = net.weight(&[4, 6, 3, 3]);
        let bias = with_bias.then(|| net.weight(&[4]));
        let y = conv(&mut net, y, weight, bias, 0, 1);
        net.output(y, "y");
        let (graph, report) = run(&net);
        assert_eq!(weights(&graph, "Conv"), [[3, 3, 3, 3], [4, 3, 3, 3]]);
        assert_eq!(lost(&report), [(0, 2, 1)]);
        assert_eq!(report.changes[&Change::Channels], 3);
    }
}

#[test]
fn a_constant_stays_where_padding_would_hide_it() {
    let mut net = Net::new();
    let y = planted(&mut net);
    let weight = net.weight(&[4, 6, 3, 3]);
    let y = conv(&mut net, y, weight, None, 1, 1);
    net.output(y, "y");
    let (graph, report) = run(&net);
    // Channel 1 is 0.7 inside and 0 in the padding.
    assert_eq!(weights(&graph, "Conv"), [[4, 3, 3, 3], [4, 4, 3, 3]]);
    assert_eq!(lost(&report), [(0, 2, 0)]);
}

#[test]
fn a_constant_stays_where_one_of_its_readers_pads() {
    let mut net = Net::new();
    let y = planted(&mut net);
    let (inside, padded) = (net.weight(&[4, 6, 1, 1]), net.weight(&[4, 6, 3, 3]));
    let a = conv(&mut net, y, inside, None, 0, 1);
    let b = conv(&mut net, y, padded, None, 1, 1);
    let y = net.plain("Add", &[a, b]);
    net.output(y, "y");
    let (graph, _) = run(&net);
    assert_eq!(weights(&graph, "Conv")[0], [4, 3, 3, 3]);
}

#[test]
fn unread_channels_go_through_depthwise_chains() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 3, 6, 6]);
    let weight = net.weight(&[6, 3, 1, 1]);
    let mut y = conv(&mut net, x, weight, None, 0, 1);
    for _ in 0..2 {
        let parameters: Vec<_> = (0..3).map(|_| net.weight(&[6])).collect();
        let variance = net.floats(&[6], &[0.5; 6]);
        y = net.plain("BatchNormalization", &[y, parameters[0], parameters[1], parameters[2], variance]);
        y = net.plain("Sigmoid", &[y]);
        let weight = net.weight(&[6, 1, 3, 3]);
        y = conv(&mut net, y, weight, None, 1, 6);
    }
    let weight = net.weight(&[5, 6, 1, 1]);
    scale(&mut net, weight, 1, &[1, 4], 1e-13);
    let y = conv(&mut net, y, weight, None, 0, 1);
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(weights(&graph, "Conv"), [[4, 3, 1, 1], [4, 1, 3, 3], [4, 1, 3, 3], [5, 4, 1, 1]]);
    assert_eq!(lost(&report), [(2, 0, 0); 3]);

    let exact = SimplifyOptions { dead: 0.0, ..SimplifyOptions::default() };
    let (_, report) = simplified(&net.graph, &exact, 0.0);
    assert!(!report.changed());
}

#[test]
fn dead_batch_norms_make_constants() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 3, 6, 6]);
    let weight = net.weight(&[4, 3, 3, 3]);
    let y = conv(&mut net, x, weight, None, 1, 1);
    let scales = net.floats(&[4], &[1.0, 1e-18, 0.0, 2.0]);
    let shifts = net.floats(&[4], &[0.5, 0.5, -0.5, 0.5]);
    let (mean, variance) = (net.weight(&[4]), net.floats(&[4], &[0.5; 4]));
    let y = net.plain("BatchNormalization", &[y, scales, shifts, mean, variance]);
    let y = net.plain("Relu", &[y]);
    let y = net.plain("GlobalAveragePool", &[y]);
    let y = net.plain("Flatten", &[y]);
    let (weight, bias) = (net.weight(&[3, 4]), net.weight(&[3]));
    let gemm = op_with("Gemm", |a| {
        a.put("transB", &true);
        a.put("alpha", &0.5f32);
        a.put("beta", &3.0f32);
    });
    let y = net.node(gemm, &[y, weight, bias]);
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(weights(&graph, "Conv"), [[2, 3, 3, 3]]);
    assert_eq!(weights(&graph, "Gemm"), [[3, 2]]);
    assert_eq!(lost(&report), [(0, 1, 1)]);
}

#[test]
fn a_stream_loses_what_no_branch_writes() {
    for dead_in_both in [false, true] {
        let mut net = Net::new();
        let x = net.input("x", &[-1, 3, 6, 6]);
        let (first, second) = (net.weight(&[4, 3, 1, 1]), net.weight(&[4, 4, 3, 3]));
        scale(&mut net, first, 0, &[2], 0.0);
        if dead_in_both {
            scale(&mut net, second, 0, &[2], 0.0);
        }
        let stream = conv(&mut net, x, first, None, 0, 1);
        let branch = conv(&mut net, stream, second, None, 1, 1);
        let y = net.plain("Add", &[stream, branch]);
        let y = net.plain("Relu", &[y]);
        let last = net.weight(&[2, 4, 3, 3]);
        let y = conv(&mut net, y, last, None, 1, 1);
        net.output(y, "y");
        let (graph, report) = run(&net);
        let channels = if dead_in_both { 3 } else { 4 };
        assert_eq!(weights(&graph, "Conv")[0], [channels, 3, 1, 1]);
        assert_eq!(report.changed(), dead_in_both);
    }
}

#[test]
fn products_get_an_addition_for_their_constants() {
    for with_addition in [false, true] {
        let mut net = Net::new();
        let x = net.input("x", &[-1, 5, 4]);
        let (first, shift) = (net.weight(&[4, 6]), net.floats(&[6], &[0.3, 0.4, 0.0, 0.1, 0.2, 0.5]));
        scale(&mut net, first, 1, &[1, 2], 0.0);
        let y = net.plain("MatMul", &[x, first]);
        let y = net.plain("Add", &[y, shift]);
        let y = net.plain("Tanh", &[y]);
        let second = net.weight(&[6, 3]);
        let mut y = net.plain("MatMul", &[y, second]);
        if with_addition {
            let shift = net.weight(&[3]);
            y = net.plain("Add", &[shift, y]);
        }
        net.output(y, "y");
        let (graph, report) = run(&net);
        assert_eq!(weights(&graph, "MatMul"), [[4, 4], [4, 3]]);
        assert_eq!(operators(&graph), ["MatMul", "Add", "Tanh", "MatMul", "Add"]);
        assert_eq!(lost(&report), [(0, 1, 1)]);
    }
}

#[test]
fn something_is_left_of_every_tensor() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 3, 6, 6]);
    let (first, second) = (net.weight(&[4, 3, 1, 1]), net.weight(&[2, 4, 1, 1]));
    scale(&mut net, first, 0, &[0, 1, 2, 3], 0.0);
    let y = conv(&mut net, x, first, None, 0, 1);
    let y = conv(&mut net, y, second, None, 0, 1);
    net.output(y, "y");
    let (graph, _) = run(&net);
    assert_eq!(weights(&graph, "Conv"), [[1, 3, 1, 1], [2, 1, 1, 1]]);
}

#[test]
fn groups_stay_equally_wide() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4, 6, 6]);
    // Of the first group two outputs are dead, of the second one.
    let (first, second) = (net.weight(&[8, 4, 1, 1]), net.weight(&[6, 4, 3, 3]));
    scale(&mut net, first, 0, &[0, 1, 5], 0.0);
    let y = conv(&mut net, x, first, None, 0, 1);
    let y = conv(&mut net, y, second, None, 1, 2);
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(weights(&graph, "Conv"), [[6, 4, 1, 1], [6, 3, 3, 3]]);
    assert_eq!(lost(&report), [(0, 2, 0)]);
}

#[test]
fn inputs_outputs_and_reductions_over_channels_hold_theirs() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4, 6, 6]);
    let weight = net.weight(&[4, 4, 1, 1]);
    scale(&mut net, weight, 0, &[0], 0.0);
    scale(&mut net, weight, 1, &[1], 0.0);
    let seen = conv(&mut net, x, weight, None, 0, 1);
    let y = net.node(op_of("Softmax", "axis", &1i64), &[seen]);
    let weight = net.weight(&[2, 4, 1, 1]);
    let y = conv(&mut net, y, weight, None, 0, 1);
    net.output(y, "y");
    let (_, report) = run(&net);
    assert!(!report.changed(), "{report:?}");
}

#[test]
fn channels_that_are_compared_with_others_stay() {
    // Query and key meet in a product of two computed tensors: a dead query channel hides a live key channel.
    let mut net = Net::new();
    let x = net.input("x", &[-1, 5, 6]);
    let (query, key, value) = (net.weight(&[6, 4]), net.weight(&[6, 4]), net.weight(&[6, 4]));
    scale(&mut net, query, 1, &[1], 0.0);
    scale(&mut net, value, 1, &[2], 0.0);
    let (query, key) = (net.plain("MatMul", &[x, query]), net.plain("MatMul", &[x, key]));
    let value = net.plain("MatMul", &[x, value]);
    let key = net.node(op_of("Transpose", "perm", &vec![0i64, 2, 1]), &[key]);
    let scores = net.plain("MatMul", &[query, key]);
    let scores = net.node(op_of("Softmax", "axis", &-1i64), &[scores]);
    let y = net.plain("MatMul", &[scores, value]);
    let output = net.weight(&[4, 3]);
    scale(&mut net, output, 0, &[2], 0.0);
    let y = net.plain("MatMul", &[y, output]);
    net.output(y, "y");
    run(&net);
}

#[test]
fn quantized_weights_lose_dead_channels() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 3, 6, 6]);
    let quantized = |net: &mut Net, shape: &[usize]| {
        let values = net.random(shape).to_f64s().unwrap().iter().map(|value| (value * 30.0).round()).collect();
        let data = Tensor::from_f64s(ElementType::I8, shape.to_vec(), values).unwrap();
        net.graph.add_constant("q", data)
    };
    let (first, second) = (quantized(&mut net, &[4, 3, 3, 3]), quantized(&mut net, &[2, 4, 3, 3]));
    scale(&mut net, first, 0, &[3], 0.0);
    let mut y = x;
    for weight in [first, second] {
        let step = net.scalar(0.05);
        let weight = net.plain("DequantizeLinear", &[weight, step]);
        y = net.node(op_of("Conv", "pads", &vec![1i64; 4]), &[y, weight]);
        y = net.plain("Relu", &[y]);
    }
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(lost(&report), [(0, 1, 0)]);
    assert_eq!(graph.value(first).data.as_ref().unwrap().shape(), [3, 3, 3, 3]);
    assert_eq!(graph.value(second).data.as_ref().unwrap().shape(), [2, 3, 3, 3]);
}

#[test]
fn dropping_every_channel_of_a_gate_is_exact() {
    // Squeeze-and-excitation whose gate is shut for one channel and constant for another.
    let mut net = Net::new();
    let x = net.input("x", &[-1, 3, 6, 6]);
    let weight = net.weight(&[5, 3, 3, 3]);
    let y = conv(&mut net, x, weight, None, 1, 1);
    let gate = net.plain("GlobalAveragePool", &[y]);
    let weight = net.weight(&[5, 5, 1, 1]);
    scale(&mut net, weight, 0, &[1, 2], 0.0);
    let bias = net.floats(&[5], &[0.1, -9.0, 4.0, 0.3, 0.2]);
    let gate = conv(&mut net, gate, weight, Some(bias), 0, 1);
    let gate = net.node(op("HardSigmoid"), &[gate]);
    let y = net.plain("Mul", &[y, gate]);
    let weight = net.weight(&[2, 5, 3, 3]);
    let y = conv(&mut net, y, weight, None, 1, 1);
    net.output(y, "y");
    let (_, report) = run(&net);
    // The gate's reader still needs what the shut channel holds.
    assert!(!report.changed(), "{report:?}");
}
