//! The passes of `simplify` that look at nodes, each on small graphs.

mod simplify_common;

use simplify_common::{Net, op, op_of, op_with, operators, parameters, simplified};
use slimnet_graph::graph::DataForm;
use slimnet_graph::simplify::{Change, SimplifyOptions, simplify};
use slimnet_graph::{ElementType, Graph, Op, Tensor, ValueId};

fn run(net: &Net) -> (Graph, slimnet_graph::simplify::SimplifyReport) {
    simplified(&net.graph, &SimplifyOptions::default(), 1e-6)
}

/// Operators left of one input x[N, 2, 6, 6], what `build` makes of it, and a Relu.
fn left(build: impl FnOnce(&mut Net, ValueId) -> ValueId) -> Vec<String> {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 2, 6, 6]);
    let y = build(&mut net, x);
    let y = net.plain("Relu", &[y]);
    net.output(y, "y");
    let (graph, _) = run(&net);
    operators(&graph).into_iter().map(str::to_owned).collect()
}

// --- folding ---------------------------------------------------------------------------------------------------------

#[test]
fn shape_arithmetic_becomes_a_constant() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 3, 4, 5]);
    let y = net.plain("Relu", &[x]);
    let shape = net.plain("Shape", &[y]);
    let zero = net.graph.add_constant("zero", Tensor::scalar(0i64));
    let batch = net.node(op_of("Gather", "axis", &0i64), &[shape, zero]);
    let axes = net.integers(&[0]);
    let batch = net.plain("Unsqueeze", &[batch, axes]);
    let rest = net.integers(&[60]);
    let target = net.node(op_of("Concat", "axis", &0i64), &[batch, rest]);
    let y = net.plain("Reshape", &[y, target]);
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(operators(&graph), ["Relu", "Reshape"]);
    assert_eq!(report.changes[&Change::ShapeTargets], 1);
    let reshape = graph.schedule().unwrap()[1];
    assert_eq!(graph.input_data(reshape, 1).unwrap().to_i64s().unwrap(), [0, 60]);
}

#[test]
fn known_shapes_fold_whole() {
    let mut net = Net::new();
    let x = net.input("x", &[2, 3]);
    let shape = net.plain("Shape", &[x]);
    let size = net.plain("Size", &[x]);
    let y = net.plain("Abs", &[x]);
    net.output(shape, "shape");
    net.output(size, "size");
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(operators(&graph), ["Abs"]);
    assert_eq!(report.changes[&Change::Folded], 2);
    assert_eq!(graph.value(graph.outputs()[0]).form, DataForm::ConstantNode("shape".into()));
}

#[test]
fn targets_of_expand_slice_and_resize_become_constants() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 2, 4, 4]);
    let shape = net.plain("Shape", &[x]);
    let one = net.input("one", &[-1, 2, 1, 1]);
    let wide = net.plain("Expand", &[one, shape]);
    let (starts, axes) = (net.integers(&[1]), net.integers(&[0]));
    let batch = net.node(op_with("Shape", |a| a.put("end", &1i64)), &[x]);
    let cut = net.plain("Slice", &[x, starts, batch, axes]);
    let front = net.node(op_with("Shape", |a| a.put("end", &2i64)), &[x]);
    let double = net.integers(&[8, 12]);
    let sizes = net.node(op_of("Concat", "axis", &0i64), &[front, double]);
    let triple = net.integers(&[7, 12]);
    let odd_sizes = net.node(op_of("Concat", "axis", &0i64), &[front, triple]);
    for (name, value) in [("even", sizes), ("odd", odd_sizes)] {
        let resized = net.graph.add_intermediate(name);
        let inputs = vec![Some(x), None, None, Some(value)];
        let nearest = op_of("Resize", "coordinate_transformation_mode", &"asymmetric".to_owned());
        net.graph.add_node(name, nearest, inputs, vec![Some(resized)]).unwrap();
        net.graph.add_output(resized);
    }
    net.output(wide, "wide");
    net.output(cut, "cut");
    let (graph, report) = run(&net);
    assert_eq!(report.changes[&Change::ShapeTargets], 4);
    assert!(!operators(&graph).contains(&"Shape"), "{:?}", operators(&graph));
    let even = graph.value(graph.find_value("even").unwrap()).producer().unwrap();
    let scales = graph.input_data(even, 2).unwrap().to_f64s().unwrap();
    assert_eq!(scales, [1.0, 1.0, 2.0, 3.0]);
}

#[test]
fn folding_does_not_bloat() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 64, 64]);
    // Narrow weights stay narrow.
    let narrow = Tensor::from_f64s(ElementType::F16, vec![64, 64], vec![0.5; 4096]).unwrap();
    let narrow = net.graph.add_constant("narrow", narrow);
    let wide = net.node(op_of("Cast", "to", &ElementType::F32), &[narrow]);
    // A factorisation stays one.
    let (u, v) = (net.weight(&[64, 2]), net.weight(&[2, 64]));
    let product = net.plain("MatMul", &[u, v]);
    // Weights are not stretched.
    let row = net.weight(&[1, 64]);
    let target = net.integers(&[64, 64]);
    let stretched = net.plain("Expand", &[row, target]);
    // Quantized weights stay quantized.
    let quantized = Tensor::from_f64s(ElementType::I8, vec![64, 64], vec![3.0; 4096]).unwrap();
    let quantized = net.graph.add_constant("quantized", quantized);
    let scale = net.scalar(0.1);
    let dequantized = net.plain("DequantizeLinear", &[quantized, scale]);
    let mut y = x;
    for weight in [wide, product, stretched, dequantized] {
        y = net.plain("MatMul", &[y, weight]);
    }
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert!(!report.changed(), "{report:?}");
    assert_eq!(parameters(&graph), parameters(&net.graph));
}

#[test]
fn constants_fold_but_tied_weights_stay_tied() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 8]);
    let (tied, own) = (net.weight(&[8, 8]), net.weight(&[8, 8]));
    let turned = net.node(op_of("Transpose", "perm", &vec![1i64, 0]), &[tied]);
    let own = net.node(op_of("Transpose", "perm", &vec![1i64, 0]), &[own]);
    let y = net.plain("MatMul", &[x, tied]);
    let y = net.plain("MatMul", &[y, turned]);
    let y = net.plain("MatMul", &[y, own]);
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(operators(&graph).iter().filter(|op| **op == "Transpose").count(), 1);
    assert_eq!(report.changes[&Change::Folded], 1);
}

#[test]
fn listed_inputs_are_parameters() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4]);
    let weight = net.weight(&[4, 4]);
    net.graph.add_input(weight).unwrap();
    let y = net.plain("MatMul", &[x, weight]);
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(graph.inputs(), [x]);
    assert_eq!(report.listed_inputs, [net.graph.value(weight).name.clone()]);
}

// --- identities ------------------------------------------------------------------------------------------------------

#[test]
fn identities_go() {
    let infinity = f32::INFINITY;
    assert_eq!(left(|net, x| net.plain("Identity", &[x])), ["Relu"]);
    assert_eq!(left(|net, x| net.node(op_of("Cast", "to", &ElementType::F32), &[x])), ["Relu"]);
    assert_eq!(left(|net, x| net.node(op_of("Transpose", "perm", &vec![0i64, 1, 2, 3]), &[x])), ["Relu"]);
    assert_eq!(
        left(|net, x| {
            let t = net.integers(&[0, 2, -1, 6]);
            net.plain("Reshape", &[x, t])
        }),
        ["Relu"]
    );
    assert_eq!(
        left(|net, x| {
            let t = net.integers(&[0; 8]);
            net.plain("Pad", &[x, t])
        }),
        ["Relu"]
    );
    assert_eq!(
        left(|net, x| {
            let (start, end, axes) = (net.integers(&[0]), net.integers(&[i64::MAX]), net.integers(&[2]));
            net.plain("Slice", &[x, start, end, axes])
        }),
        ["Relu"]
    );
    assert_eq!(left(|net, x| net.node(op_of("Concat", "axis", &1i64), &[x])), ["Relu"]);
    for kind in ["Sum", "Max", "Min", "Mean"] {
        assert_eq!(left(|net, x| net.plain(kind, &[x])), ["Relu"], "{kind}");
    }
    assert_eq!(
        left(|net, x| {
            let t = net.integers(&[2, 1, 6]);
            net.plain("Expand", &[x, t])
        }),
        ["Relu"]
    );
    assert_eq!(
        left(|net, x| {
            let t = net.integers(&[1; 4]);
            net.plain("Tile", &[x, t])
        }),
        ["Relu"]
    );
    for (kind, number) in [("Add", 0.0), ("Sub", 0.0), ("Mul", 1.0), ("Div", 1.0), ("Pow", 1.0)] {
        assert_eq!(
            left(|net, x| {
                let c = net.scalar(number);
                net.plain(kind, &[x, c])
            }),
            ["Relu"],
            "{kind}"
        );
    }
    assert_eq!(
        left(|net, x| {
            let c = net.floats(&[1, 1, 1], &[1.0]);
            net.plain("Mul", &[c, x])
        }),
        ["Relu"]
    );
    // A scale for each channel is a parameter, which training may move from 1.
    assert_eq!(
        left(|net, x| {
            let c = net.floats(&[2, 1, 1], &[1.0; 2]);
            net.plain("Mul", &[c, x])
        }),
        ["Mul", "Relu"]
    );
    assert_eq!(left(|net, x| net.plain("Clip", &[x])), ["Relu"]);
    assert_eq!(
        left(|net, x| {
            let low = net.scalar(-infinity);
            net.plain("Clip", &[x, low])
        }),
        ["Relu"]
    );
    assert_eq!(left(|net, x| net.node(op_of("MaxPool", "kernel_shape", &vec![1i64, 1]), &[x])), ["Relu"]);
    assert_eq!(
        left(|net, x| {
            let scales = net.floats(&[4], &[1.0; 4]);
            resize(net, x, None, Some(scales), None)
        }),
        ["Relu"]
    );
}

fn resize(net: &mut Net, x: ValueId, roi: Option<ValueId>, scales: Option<ValueId>, sizes: Option<ValueId>) -> ValueId {
    let y = net.graph.add_intermediate("resized");
    net.graph.add_node("resize", op("Resize"), vec![Some(x), roi, scales, sizes], vec![Some(y)]).unwrap();
    y
}

#[test]
fn what_only_looks_like_an_identity_stays() {
    // The constant broadcasts x to more elements.
    assert_eq!(
        left(|net, x| {
            let c = net.floats(&[3, 1, 1, 1, 1], &[0.0; 3]);
            net.plain("Add", &[x, c])
        }),
        ["Add", "Relu"]
    );
    assert_eq!(
        left(|net, x| {
            let c = net.scalar(0.0);
            net.plain("Sub", &[c, x])
        }),
        ["Sub", "Relu"]
    );
    assert_eq!(
        left(|net, x| {
            let c = net.scalar(1.0);
            net.plain("Div", &[c, x])
        }),
        ["Div", "Relu"]
    );
    assert_eq!(
        left(|net, x| {
            let c = net.floats(&[2, 1, 1], &[1.0, 2.0]);
            net.plain("Mul", &[c, x])
        }),
        ["Mul", "Relu"]
    );
    // Square, but turned.
    assert_eq!(left(|net, x| net.node(op_of("Transpose", "perm", &vec![0i64, 1, 3, 2]), &[x])), ["Transpose", "Relu"]);
    assert_eq!(
        left(|net, x| {
            let (start, end, axes, step) =
                (net.integers(&[-1]), net.integers(&[i64::MIN]), net.integers(&[2]), net.integers(&[-1]));
            net.plain("Slice", &[x, start, end, axes, step])
        }),
        ["Slice", "Relu"]
    );
    // floor(6 · 1.1) = 6, but samples lie elsewhere.
    assert_eq!(
        left(|net, x| {
            let scales = net.floats(&[4], &[1.0, 1.0, 1.1, 1.1]);
            resize(net, x, None, Some(scales), None)
        }),
        ["Resize", "Relu"]
    );
    assert_eq!(
        left(|net, x| {
            let low = net.scalar(-1.0);
            net.plain("Clip", &[x, low])
        }),
        ["Clip", "Relu"]
    );
    assert_eq!(left(|net, x| net.plain("Dropout", &[x])), ["Dropout", "Relu"]);
    // Roll by padding at one end and cropping at the other.
    assert_eq!(
        left(|net, x| {
            let amounts = net.integers(&[0, 0, 1, 0, 0, 0, -1, 0]);
            net.plain("Pad", &[x, amounts])
        }),
        ["Pad", "Relu"]
    );
}

#[test]
fn dropout_goes_on_request_unless_it_trains() {
    let options = SimplifyOptions { keep_training: false, ..SimplifyOptions::default() };
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4]);
    let y = net.plain("Dropout", &[x]);
    let y = net.plain("Relu", &[y]);
    net.output(y, "y");
    let (graph, _) = simplified(&net.graph, &options, 0.0);
    assert_eq!(operators(&graph), ["Relu"]);

    let mut net = Net::new();
    let x = net.input("x", &[-1, 4]);
    let ratio = net.scalar(0.0);
    let training = net.graph.add_constant("training", Tensor::from_bools(vec![], &[true]).unwrap());
    let y = net.plain("Dropout", &[x, ratio, training]);
    net.output(y, "y");
    let mut graph = net.graph.clone();
    assert!(!simplify(&mut graph, &options).unwrap().changed());
}

#[test]
fn outputs_keep_their_names() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4]);
    let y = net.plain("Relu", &[x]);
    let first = net.plain("Identity", &[y]);
    let second = net.plain("Identity", &[y]);
    let copy = net.plain("Identity", &[x]);
    let constant = net.weight(&[4]);
    let constant = net.plain("Identity", &[constant]);
    for (value, name) in [(first, "first"), (second, "second"), (copy, "copy"), (constant, "constant")] {
        net.output(value, name);
    }
    let (graph, _) = run(&net);
    // One output can be the Relu's own; the other, and a copy of the input, must be computed.
    assert_eq!(operators(&graph), ["Relu", "Identity", "Identity"]);
}

// --- chains ----------------------------------------------------------------------------------------------------------

#[test]
fn transposes_in_a_row_join() {
    let turn = |perm: [i64; 4]| op_of("Transpose", "perm", &perm.to_vec());
    assert_eq!(
        left(|net, x| {
            let y = net.node(turn([0, 2, 3, 1]), &[x]);
            net.node(turn([0, 3, 1, 2]), &[y])
        }),
        ["Relu"]
    );
    assert_eq!(
        left(|net, x| {
            let y = net.node(turn([0, 2, 3, 1]), &[x]);
            let y = net.node(turn([1, 0, 3, 2]), &[y]);
            net.node(turn([3, 1, 0, 2]), &[y])
        }),
        ["Transpose", "Relu"]
    );
}

#[test]
fn changes_of_shape_in_a_row_join() {
    let joined = left(|net, x| {
        let axes = net.integers(&[1, 2]);
        let y = net.plain("Unsqueeze", &[x, axes]);
        let target = net.integers(&[0, 1, 12, 6]);
        let y = net.plain("Reshape", &[y, target]);
        let axes = net.integers(&[1]);
        let y = net.plain("Squeeze", &[y, axes]);
        net.plain("Flatten", &[y])
    });
    assert_eq!(joined, ["Flatten", "Relu"]);
    let joined = left(|net, x| {
        let target = net.integers(&[-1, 36]);
        let y = net.plain("Reshape", &[x, target]);
        let target = net.integers(&[-1, 2, 9, 4]);
        net.plain("Reshape", &[y, target])
    });
    assert_eq!(joined, ["Reshape", "Relu"]);
    // What a chain returns to is where it began.
    let joined = left(|net, x| {
        let y = net.plain("Flatten", &[x]);
        let target = net.integers(&[-1, 2, 6, 6]);
        net.plain("Reshape", &[y, target])
    });
    assert_eq!(joined, ["Relu"]);
}

// --- padding ---------------------------------------------------------------------------------------------------------

/// Operators left of a padded x before a window.
fn padded(amounts: &[i64], mode: &str, value: Option<f32>, window: &Op) -> Vec<String> {
    left(|net, x| {
        let mut inputs = vec![x, net.integers(amounts)];
        if let Some(value) = value {
            inputs.push(net.scalar(value));
        }
        let y = net.node(op_of("Pad", "mode", &mode.to_owned()), &inputs);
        let mut inputs = vec![y];
        if matches!(window, Op::Conv(_)) {
            inputs.push(net.weight(&[3, y_channels(amounts), 3, 3]));
        }
        net.node(window.clone(), &inputs)
    })
}

fn y_channels(amounts: &[i64]) -> usize {
    (2 + amounts[1] + amounts[5]) as usize
}

#[test]
fn padding_moves_into_windows() {
    let space = [0, 0, 1, 0, 0, 0, 2, 1];
    let conv = op_of("Conv", "pads", &vec![1i64, 1, 1, 1]);
    let pool = |name: &str| op_of(name, "kernel_shape", &vec![3i64, 3]);
    assert_eq!(padded(&space, "constant", None, &conv), ["Conv", "Relu"]);
    assert_eq!(padded(&space, "constant", Some(0.0), &op("Conv")), ["Conv", "Relu"]);
    assert_eq!(padded(&space, "constant", None, &pool("AveragePool")), ["AveragePool", "Relu"]);
    assert_eq!(padded(&space, "constant", Some(f32::NEG_INFINITY), &pool("MaxPool")), ["MaxPool", "Relu"]);
    // Another value, another mode, another axis, a window that ignores its padding.
    assert_eq!(padded(&space, "constant", Some(1.0), &conv), ["Pad", "Conv", "Relu"]);
    assert_eq!(padded(&space, "edge", None, &conv), ["Pad", "Conv", "Relu"]);
    assert_eq!(padded(&[0, 1, 0, 0, 0, 0, 0, 0], "constant", None, &conv), ["Pad", "Conv", "Relu"]);
    assert_eq!(padded(&space, "constant", None, &pool("MaxPool")), ["Pad", "MaxPool", "Relu"]);
    let uncounted = op_with("AveragePool", |a| {
        a.put("kernel_shape", &vec![3i64, 3]);
        a.put("pads", &vec![1i64, 1, 1, 1]);
    });
    assert_eq!(padded(&space, "constant", None, &uncounted), ["Pad", "AveragePool", "Relu"]);
    assert_eq!(padded(&[0, 0, -1, 0, 0, 0, 0, 0], "constant", None, &conv), ["Pad", "Conv", "Relu"]);
}

// --- batch normalisation ---------------------------------------------------------------------------------------------

fn batch_norm(net: &mut Net, x: ValueId, channels: usize) -> ValueId {
    let (scale, bias, mean) = (net.weight(&[channels]), net.weight(&[channels]), net.weight(&[channels]));
    let variance = net.random(&[channels]).to_f64s().unwrap().iter().map(|value| (value * value) as f32).collect();
    let variance = net.graph.add_constant("variance", Tensor::vector::<f32>(variance));
    net.plain("BatchNormalization", &[x, scale, bias, mean, variance])
}

#[test]
fn batch_norms_merge_on_request() {
    let options = SimplifyOptions { fold_batch_norm: true, ..SimplifyOptions::default() };
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4, 6, 6]);
    let weight = net.weight(&[6, 2, 3, 3]);
    let y = net.node(op_of("Conv", "group", &2i64), &[x, weight]);
    let y = batch_norm(&mut net, y, 6);
    let (weight, bias) = (net.weight(&[6, 2, 2, 2]), net.weight(&[4]));
    let y = net.node(op_of("ConvTranspose", "group", &2i64), &[y, weight, bias]);
    let y = batch_norm(&mut net, y, 4);
    let y = net.plain("GlobalMaxPool", &[y]);
    let y = net.plain("Flatten", &[y]);
    let (weight, bias) = (net.weight(&[4, 5]), net.weight(&[1, 5]));
    let gemm = op_with("Gemm", |a| {
        a.put("alpha", &0.5f32);
        a.put("beta", &2.0f32);
    });
    let y = net.node(gemm, &[y, weight, bias]);
    let y = batch_norm(&mut net, y, 5);
    let weight = net.weight(&[3, 5]);
    let y = net.node(op_of("Gemm", "transB", &true), &[y, weight]);
    let y = batch_norm(&mut net, y, 3);
    net.output(y, "y");
    let (graph, report) = simplified(&net.graph, &options, 1e-5);
    assert_eq!(report.changes[&Change::BatchNorms], 4);
    assert_eq!(operators(&graph), ["Conv", "ConvTranspose", "GlobalMaxPool", "Flatten", "Gemm", "Gemm"]);
    let (graph, _) = run(&net);
    assert_eq!(operators(&graph).iter().filter(|op| **op == "BatchNormalization").count(), 4);
}

#[test]
fn batch_norms_stay_where_another_reads_the_layer() {
    let options = SimplifyOptions { fold_batch_norm: true, ..SimplifyOptions::default() };
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4, 6, 6]);
    // Tied weights: each layer gets its own by its own normalisation.
    let weight = net.weight(&[4, 4, 1, 1]);
    let y = net.plain("Conv", &[x, weight]);
    let first = batch_norm(&mut net, y, 4);
    let y = net.plain("Conv", &[first, weight]);
    let second = batch_norm(&mut net, y, 4);
    let y = net.plain("Add", &[y, second]);
    net.output(y, "y");
    let mut graph = net.graph.clone();
    let report = simplify(&mut graph, &options).unwrap();
    assert_eq!(report.changes.get(&Change::BatchNorms), None, "weights that others read stay tied");
    simplify_common::assert_same(&net.graph, &graph, 1e-5);
}

// --- duplicates ------------------------------------------------------------------------------------------------------

#[test]
fn equal_nodes_merge() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 2, 4, 4]);
    let pool = |net: &mut Net, x, size: i64| net.node(op_of("MaxPool", "kernel_shape", &vec![size, size]), &[x]);
    let (a, b, c) = (pool(&mut net, x, 2), pool(&mut net, x, 2), pool(&mut net, x, 3));
    let (a, b) = (net.plain("Exp", &[a]), net.plain("Exp", &[b]));
    let y = net.plain("Sub", &[a, b]);
    net.output(y, "y");
    net.output(c, "c");
    let (graph, report) = run(&net);
    assert_eq!(report.changes[&Change::DuplicateNodes], 2);
    assert_eq!(operators(&graph), ["MaxPool", "MaxPool", "Exp", "Sub"]);
}

#[test]
fn dropouts_and_parameters_stay_apart() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4]);
    let (a, b) = (net.plain("Dropout", &[x]), net.plain("Dropout", &[x]));
    let (one, other) = (net.floats(&[4, 4], &[0.5; 16]), net.floats(&[4, 4], &[0.5; 16]));
    let (a, b) = (net.plain("MatMul", &[a, one]), net.plain("MatMul", &[b, other]));
    let y = net.plain("Add", &[a, b]);
    net.output(y, "y");
    let (_, report) = run(&net);
    assert!(!report.changed(), "{report:?}");
}

#[test]
fn equal_constants_merge() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 2, 4, 4]);
    let (first, second) = (net.integers(&[2, 3]), net.integers(&[2, 3]));
    let a = net.plain("ReduceMax", &[x, first]);
    let b = net.plain("ReduceMin", &[x, second]);
    let y = net.plain("Add", &[a, b]);
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(report.changes[&Change::DuplicateConstants], 1);
    assert!(graph.has_value(first) && !graph.has_value(second));
}

#[test]
fn zero_points_of_channels_stay_apart() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4]);
    let mut layer = |x, value: i8| {
        let weight = net.graph.add_constant("w", Tensor::from_values(vec![4, 4], vec![value; 16]).unwrap());
        let scale = net.floats(&[4], &[0.5; 4]);
        let zero = net.graph.add_constant("z", Tensor::vector(vec![0i8; 4]));
        let weight = net.node(op_of("DequantizeLinear", "axis", &1i64), &[weight, scale, zero]);
        net.plain("MatMul", &[x, weight])
    };
    let y = layer(x, 3);
    let y = layer(y, 5);
    net.output(y, "y");
    let (_, report) = run(&net);
    assert!(!report.changed(), "{report:?}");
}

#[test]
fn dead_nodes_go_and_free_inputs_stay() {
    let mut net = Net::new();
    let x = net.input("x", &[-1, 4]);
    let unused = net.input("unused", &[3]);
    let dead = net.plain("Exp", &[unused]);
    net.plain("Exp", &[dead]);
    let y = net.plain("Relu", &[x]);
    net.output(y, "y");
    let (graph, report) = run(&net);
    assert_eq!(report.changes[&Change::UnreachableNodes], 2);
    assert_eq!(graph.inputs(), [x, unused]);
}
