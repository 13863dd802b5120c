//! Networks that tempt `simplify` to change what they compute: each was once simplified wrongly, or nearly.

mod simplify_common;

use simplify_common::{Net, op, op_of, op_with, operators, simplified};
use slimnet_graph::simplify::SimplifyOptions;
use slimnet_graph::{ElementType, Graph, Tensor, ValueId};

/// Simplifies, and compares the outputs before and after.
fn run(net: &Net) -> Graph {
    simplified(&net.graph, &SimplifyOptions::default(), 1e-6).0
}

#[test]
fn transposes_that_cancel_between_input_and_output() {
    // Equal lengths hide a wrong permutation from the shapes: only the values tell.
    for (shape, perms) in [
        ([2, 3, 4], [vec![0i64, 2, 1], vec![0, 2, 1]]),
        ([2, 3, 3], [vec![0, 2, 1], vec![0, 2, 1]]),
        ([2, 2, 2], [vec![1, 2, 0], vec![2, 0, 1]]),
    ] {
        let mut net = Net::new();
        let mut y = net.input("x", &shape);
        for perm in &perms {
            y = net.node(op_of("Transpose", "perm", perm), &[y]);
        }
        net.output(y, "y");
        run(&net);
    }
}

/// `x [2, 3]`, a Gemm to 4 units of which unit 2 is 5 whatever x is, Relu, a Gemm to 3.
fn with_constant_unit(first_bias: f32, first_weight: f32) -> Net {
    let mut net = Net::new();
    let x = net.input("x", &[2, 3]);
    let mut weights = vec![0.5, -0.3, 0.0, 0.7, 0.2, 0.9, 0.0, -0.4, -0.6, 0.1, 0.0, 0.8];
    weights[0] = first_weight;
    let weight = net.floats(&[3, 4], &weights);
    let bias = net.floats(&[4], &[first_bias, 1.0, 5.0, 2.0]);
    let y = net.plain("Gemm", &[x, weight, bias]);
    let y = net.plain("Relu", &[y]);
    let last = net.weight(&[4, 3]);
    let y = net.plain("Gemm", &[y, last]);
    net.output(y, "y");
    net
}

#[test]
fn a_huge_bias_leaves_the_others() {
    for mask in [-1e12, f32::NEG_INFINITY] {
        run(&with_constant_unit(mask, 0.5));
    }
}

#[test]
fn a_huge_weight_leaves_the_others() {
    let graph = run(&with_constant_unit(0.0, 1e12));
    let widths = graph.values().filter(|(_, value)| value.name == "w").map(|(_, value)| value.known_shape());
    // The constant unit goes, the three that depend on x stay.
    assert_eq!(widths.collect::<Vec<_>>(), [Some(vec![3, 3])]);
}

#[test]
fn an_infinite_weight_makes_nothing_vanish() {
    let mut net = Net::new();
    let x = net.input("x", &[2, 2]);
    // Unit 0 is −∞ for every positive input, which Relu makes 0 again; unit 1 is an ordinary one.
    let weight = net.floats(&[2, 2], &[f32::NEG_INFINITY, 0.5, -1.0, 0.3]);
    let y = net.plain("Exp", &[x]);
    let y = net.plain("Gemm", &[y, weight]);
    let y = net.plain("Relu", &[y]);
    let last = net.weight(&[2, 2]);
    let y = net.plain("Gemm", &[y, last]);
    net.output(y, "y");
    run(&net);
}

/// Outputs 0 and 2 of a layer's four, by steps that keep the channels from being removed.
fn every_second(net: &mut Net, y: ValueId) -> ValueId {
    let (start, end, axis, step) = (net.integers(&[0]), net.integers(&[4]), net.integers(&[1]), net.integers(&[2]));
    net.plain("Slice", &[y, start, end, axis, step])
}

#[test]
fn a_constant_for_unread_outputs_replaces_no_bias() {
    // A constant channel that only unread outputs read, and a bias that takes no constant: dequantized, or a matrix.
    let mut net = Net::new();
    let x = net.input("x", &[1, 3, 4, 4]);
    let mut weights = vec![0.4f32; 12];
    weights[..3].fill(0.0);
    let weight = net.floats(&[4, 3, 1, 1], &weights);
    let bias = net.floats(&[4], &[5.0, 0.1, 0.2, 0.3]);
    let y = net.plain("Conv", &[x, weight, bias]);
    let y = net.plain("Relu", &[y]);
    let mut next = vec![0.3f32; 16];
    (next[0], next[8]) = (0.0, 0.0);
    let next = net.floats(&[4, 4, 1, 1], &next);
    let quantized = Tensor::vector(vec![100i32, 200, 300, 400]);
    let quantized = net.graph.add_constant("q", quantized);
    let scale = net.scalar(0.01);
    let bias = net.plain("DequantizeLinear", &[quantized, scale]);
    let y = net.plain("Conv", &[y, next, bias]);
    let y = every_second(&mut net, y);
    net.output(y, "y");
    run(&net);

    let mut net = Net::new();
    let x = net.input("x", &[3, 3]);
    let weight = net.floats(&[3, 4], &[0.0, 0.1, 0.2, 0.3, 0.0, 0.4, 0.5, 0.6, 0.0, 0.7, 0.8, 0.9]);
    let bias = net.floats(&[4], &[5.0, 1.0, 1.0, 1.0]);
    let y = net.plain("Gemm", &[x, weight, bias]);
    let y = net.plain("Relu", &[y]);
    let mut next = vec![0.3f32; 16];
    (next[0], next[2]) = (0.0, 0.0);
    let (next, matrix) = (net.floats(&[4, 4], &next), net.weight(&[3, 4]));
    let y = net.plain("Gemm", &[y, next, matrix]);
    let y = every_second(&mut net, y);
    net.output(y, "y");
    run(&net);
}

#[test]
fn a_dilated_window_can_lie_in_padding_alone() {
    let mut net = Net::new();
    let x = net.input("x", &[1, 2, 1, 1]);
    let weight = net.floats(&[2, 2, 1, 1], &[0.0, 0.0, 0.4, 0.3]);
    let bias = net.floats(&[2], &[0.7, 0.1]);
    let y = net.plain("Conv", &[x, weight, bias]);
    let pool = op_with("MaxPool", |attributes| {
        attributes.put("kernel_shape", &vec![2i64, 2]);
        attributes.put("dilations", &vec![2i64, 2]);
        attributes.put("pads", &vec![1i64; 4]);
    });
    let y = net.node(pool, &[y]);
    // Finite again, so that the comparison can see it.
    let low = net.scalar(-3.0);
    let y = net.plain("Clip", &[y, low]);
    let last = net.weight(&[2, 2, 1, 1]);
    let y = net.plain("Conv", &[y, last]);
    net.output(y, "y");
    run(&net);
}

#[test]
fn batch_norm_is_not_merged_into_a_bias_for_each_row() {
    let mut net = Net::new();
    let x = net.input("x", &[3, 2]);
    let weight = net.weight(&[2, 3]);
    let rows = net.floats(&[3, 1], &[1.0, 2.0, 3.0]);
    let y = net.plain("Gemm", &[x, weight, rows]);
    let statistics: Vec<ValueId> = [[1.5, 2.0, 0.5], [0.1, 0.2, 0.3], [0.0, 0.5, 1.0], [1.0, 2.0, 0.5]]
        .iter()
        .map(|values| net.floats(&[3], values))
        .collect();
    let y = net.node(op("BatchNormalization"), &[&[y], &statistics[..]].concat());
    net.output(y, "y");
    let options = SimplifyOptions { fold_batch_norm: true, ..SimplifyOptions::default() };
    let (graph, _) = simplified(&net.graph, &options, 1e-6);
    assert_eq!(operators(&graph), ["Gemm", "BatchNormalization"]);
    assert_eq!(graph.value(graph.outputs()[0]).element_type, Some(ElementType::F32));
}
