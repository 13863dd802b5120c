//! Costs of small graphs, counted by hand.

use std::collections::HashMap;

use slimnet_graph::cost::{Cost, CostError, CostOptions, cost};
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose, QLinearConv};
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::product::{Einsum, Gemm, MatMul};
use slimnet_graph::ops::quantization::DequantizeLinear;
use slimnet_graph::ops::recurrent::{Direction, Lstm};
use slimnet_graph::{Dim, ElementType, Graph, NodeId, Op, Tensor, ValueId};

/// `?` begins an unknown length, letters a name.
fn shape(text: &str) -> Vec<Dim> {
    let dim = |word: &str| word.parse::<usize>().map_or_else(|_| Dim::parse(word), Dim::from);
    text.split(',').filter(|word| !word.is_empty()).map(|word| dim(word.trim())).collect()
}

fn typed(graph: &mut Graph, id: ValueId, text: &str) -> ValueId {
    let value = graph.value_mut(id);
    value.element_type = Some(ElementType::F32);
    value.shape = Some(shape(text));
    id
}

fn input(graph: &mut Graph, name: &str, text: &str) -> ValueId {
    let id = graph.add_intermediate(name);
    graph.add_input(id).unwrap();
    typed(graph, id, text)
}

fn data(graph: &mut Graph, shape: &[usize]) -> ValueId {
    let count = shape.iter().product();
    graph.add_constant("data", Tensor::from_values(shape.to_vec(), vec![1f32; count]).unwrap())
}

fn apply(graph: &mut Graph, op: impl Into<Op>, inputs: &[ValueId], text: &str) -> ValueId {
    let id = graph.apply("y", op, inputs);
    typed(graph, id, text)
}

fn at(graph: &Graph, dims: &[(&str, usize)]) -> Cost {
    let dims: HashMap<_, _> = dims.iter().map(|&(name, length)| (name.to_owned(), length)).collect();
    cost(graph, &CostOptions { dims }).unwrap()
}

fn conv(group: i64) -> Conv {
    let (dilations, kernel_shape, pads, strides) = (vec![], vec![], vec![], vec![]);
    Conv { auto_pad: AutoPad::NotSet, dilations, group, kernel_shape, pads, strides }
}

#[test]
fn multiply_accumulates() {
    let transposed = ConvTranspose {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: 2,
        kernel_shape: vec![],
        output_padding: vec![],
        output_shape: vec![],
        pads: vec![],
        strides: vec![],
    };
    let quantized = QLinearConv {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: 1,
        kernel_shape: vec![],
        pads: vec![],
        strides: vec![],
    };
    let lstm = Lstm {
        activation_alpha: vec![],
        activation_beta: vec![],
        activations: vec![],
        clip: None,
        direction: Direction::Bidirectional,
        hidden_size: Some(5),
        input_forget: false,
        layout: false,
    };
    let gemm = |a, b| Gemm { alpha: 1.0, beta: 1.0, transA: a, transB: b };
    let einsum = |text: &str| Einsum { equation: text.to_owned() };
    let cases: [(Op, &[&str], &str, u64); 14] = [
        (conv(1).into(), &["N,8,10,10", "16,8,3,3", "16"], "N,16,5,5", 16 * 25 * 8 * 9),
        (conv(4).into(), &["N,8,10,10", "16,2,3,3"], "N,16,5,5", 16 * 25 * 2 * 9),
        (transposed.into(), &["N,8,5,5", "8,3,2,2"], "N,6,10,10", 8 * 25 * 3 * 4),
        (quantized.into(), &["N,8,4,4", "", "", "16,8,1,1", "", "", "", ""], "N,16,4,4", 16 * 16 * 8),
        (gemm(false, true).into(), &["N,20", "30,20", "30"], "N,30", 600),
        (gemm(true, false).into(), &["20,N", "20,30"], "N,30", 600),
        (MatMul {}.into(), &["N,4,7,16", "N,4,16,7"], "N,4,7,7", 4 * 7 * 7 * 16),
        (MatMul {}.into(), &["16", "N,16,3"], "N,3", 48),
        (einsum("bij, bjk -> bik").into(), &["N,3,4", "N,4,5"], "N,3,5", 60),
        (einsum("i...j,j->...i").into(), &["3,N,2,4", "4"], "N,2,3", 24),
        (einsum("i,j,k->").into(), &["1", "3", "4"], "", 2 * 12),
        (einsum("ij->ji").into(), &["3,N"], "N,3", 0),
        (lstm.into(), &["6,N,3", "2,20,3", "2,20,5"], "6,2,N,5", 6 * 2 * 20 * (3 + 5)),
        (Unary::Relu.into(), &["N,8,10,10"], "N,8,10,10", 0),
    ];
    for (op, inputs, output, expected) in cases {
        let mut graph = Graph::new("g");
        let operator = op.op_type().to_owned();
        let inputs: Vec<_> = inputs.iter().map(|text| input(&mut graph, "x", text)).collect();
        // So that N is always the name of an input's length.
        input(&mut graph, "n", "N");
        let y = apply(&mut graph, op, &inputs, output);
        graph.add_output(y);
        assert_eq!(at(&graph, &[]).macs, expected, "{operator}");
        if output.contains('N') {
            assert_eq!(at(&graph, &[("N", 3)]).macs, 3 * expected, "{operator} of three");
        }
    }
}

#[test]
fn unknown_lengths_are_said() {
    let mut graph = Graph::new("g");
    let x = input(&mut graph, "x", "N,?x.1");
    let w = data(&mut graph, &[4, 5]);
    let y = apply(&mut graph, MatMul {}, &[x, w], "N,5");
    let z = apply(&mut graph, Unary::Relu, &[y], "N,5");
    graph.add_output(z);
    let cost = at(&graph, &[]);
    assert_eq!((cost.macs, cost.parameters, cost.peak_activation_bytes), (0, 20, None));
    assert_eq!(cost.unknown_macs.len(), 1);
    // A name that no input has is not known either, until it is given.
    let mut graph = Graph::new("g");
    let x = input(&mut graph, "x", "N,4");
    let w = data(&mut graph, &[4, 5]);
    let y = apply(&mut graph, MatMul {}, &[x, w], "M,5");
    graph.add_output(y);
    assert_eq!(at(&graph, &[]).nodes[0].output_bytes, None);
    assert_eq!(at(&graph, &[("M", 2)]).nodes[0].output_bytes, Some(40));
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let mut graph = Graph::new("g");
    let x = input(&mut graph, "x", "9223372036854775807,4");
    let w = data(&mut graph, &[4, 5]);
    let y = apply(&mut graph, MatMul {}, &[x, w], "9223372036854775807,5");
    graph.add_output(y);
    assert!(matches!(cost(&graph, &CostOptions::default()), Err(CostError::TooLarge { .. })));
}

#[test]
fn parameters_count_once_and_where_they_are_used() {
    let mut graph = Graph::new("g");
    let x = input(&mut graph, "x", "N,4");
    let w = graph.add_constant("w", Tensor::from_values(vec![4, 4], (0..16u8).collect()).unwrap());
    let scale = graph.add_constant("s", Tensor::scalar(0.5f32));
    let zero = graph.add_constant("z", Tensor::scalar(3u8));
    let dequantized = apply(&mut graph, DequantizeLinear { axis: 1, block_size: 0 }, &[w, scale, zero], "4,4");
    let y = apply(&mut graph, MatMul {}, &[x, dequantized], "N,4");
    let bias = graph.add_constant("b", Tensor::vector(vec![0f32, 1.0, -0.0, 2.0]));
    let y = apply(&mut graph, Binary::Add, &[y, bias], "N,4");
    let y = apply(&mut graph, Binary::Add, &[y, bias], "N,4");
    let y = apply(&mut graph, MatMul {}, &[y, dequantized], "N,4");
    graph.add_output(y);
    let cost = at(&graph, &[]);
    let parameters: Vec<_> = cost.nodes.iter().map(|node| (node.parameters, node.nonzero_parameters)).collect();
    assert_eq!(parameters, [(1, 1), (16, 15), (4, 2), (0, 0), (0, 0)]);
    assert_eq!((cost.parameters, cost.nonzero_parameters, cost.weight_bytes), (21, 18, 4 + 16 + 16));
    assert_eq!(cost.macs, 32);
}

#[test]
fn zero_points_follow_their_axis() {
    let mut graph = Graph::new("g");
    let w = graph.add_constant("w", Tensor::from_values(vec![2, 4], vec![1i8, 1, 2, 2, 3, 3, 4, 4]).unwrap());
    let scales = data(&mut graph, &[2]);
    let zeros = graph.add_constant("z", Tensor::vector(vec![1i8, 4]));
    let per_row = apply(&mut graph, DequantizeLinear { axis: 0, block_size: 0 }, &[w, scales, zeros], "2,4");
    let v = graph.add_constant("v", Tensor::from_values(vec![2, 4], vec![1i8, 1, 2, 2, 3, 3, 4, 4]).unwrap());
    let scales = data(&mut graph, &[2, 2]);
    let zeros = graph.add_constant("z", Tensor::from_values(vec![2, 2], vec![1i8, 2, 3, 0]).unwrap());
    let blocked = apply(&mut graph, DequantizeLinear { axis: 1, block_size: 2 }, &[v, scales, zeros], "2,4");
    let x = input(&mut graph, "x", "N,2");
    let y = apply(&mut graph, MatMul {}, &[x, per_row], "N,4");
    let z = apply(&mut graph, MatMul {}, &[x, blocked], "N,4");
    graph.add_output(y);
    graph.add_output(z);
    let nonzero: Vec<_> = at(&graph, &[]).nodes[2..].iter().map(|node| node.nonzero_parameters).collect();
    assert_eq!(nonzero, [4, 2]);
}

#[test]
fn activations_live_until_their_last_reader() {
    // x (4) → a (8) → b (16) → c = a + b (8) → output; x is the caller's.
    let mut graph = Graph::new("g");
    let x = input(&mut graph, "x", "N");
    let a = apply(&mut graph, Unary::Relu, &[x], "2");
    let b = apply(&mut graph, Unary::Relu, &[a], "4");
    let c = apply(&mut graph, Binary::Add, &[a, b], "2");
    graph.add_output(c);
    assert_eq!(at(&graph, &[]).peak_activation_bytes, Some(4 + 8 + 16 + 8));
    // Without a's second reader it is gone when c is computed.
    let second: NodeId = graph.value(c).producer().unwrap();
    graph.set_input(second, 0, Some(b));
    assert_eq!(at(&graph, &[]).peak_activation_bytes, Some(4 + 16 + 8));
    // What depends on no input is not an activation.
    let (w, v) = (data(&mut graph, &[1000]), data(&mut graph, &[1000]));
    let folded = apply(&mut graph, Binary::Add, &[w, v], "1000");
    let joined = apply(&mut graph, Binary::Mul, &[c, folded], "2");
    graph.add_output(joined);
    assert_eq!(at(&graph, &[]).peak_activation_bytes, Some(4 + 16 + 8));
}
