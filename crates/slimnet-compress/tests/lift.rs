//! `lower(lift(g))` is `g`, whatever sparse weights feed.

#[allow(dead_code, unused_imports)] // another crate's tests use the rest
#[path = "../../slimnet-graph/tests/axes_support/mod.rs"]
mod axes_support;
mod sparse;

use std::collections::HashMap;

use slimnet_compress::constraint::{KEY, Pattern, record, record_sparse};
use slimnet_compress::weight::weights;
use slimnet_compress::{Constraint, Keep, lift, lower};
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::graph::{DataForm, Dim, Value};
use slimnet_graph::onnx::{read_bytes, write_bytes};
use slimnet_graph::ops::OnnxNode;
use slimnet_graph::ops::elementwise::{Binary, Cast};
use slimnet_graph::ops::layout::Transpose;
use slimnet_graph::ops::product::MatMul;
use slimnet_graph::ops::slimnet::Mask;
use slimnet_graph::validate::validate;
use slimnet_graph::zoo::{self, ZooOptions};
use slimnet_graph::{ElementType, Graph, Op, Tensor, ValueId};
use sparse::{SPARSE, prune};

fn file(graph: &Graph) -> Vec<u8> {
    write_bytes(graph).unwrap().0
}

fn masks(graph: &Graph) -> usize {
    graph.nodes().filter(|(_, node)| matches!(node.op, Op::Mask(_))).count()
}

/// Lifts by what is recorded, with all that must hold of any graph.
fn lifted(graph: &Graph) -> Graph {
    let lifted = lift(graph, Keep::Recorded).unwrap();
    validate(&lifted.graph).unwrap();
    assert_eq!(masks(&lifted.graph), lifted.sparse.len());
    assert!(file(&lower(&lifted.graph)) == file(graph), "lower(lift(g)) differs from g");
    assert!(file(&lift(graph, Keep::Nothing).unwrap().graph) == file(graph), "something was lifted");
    let again = lift(&lifted.graph, Keep::Recorded).unwrap();
    assert!(again.sparse.is_empty() && file(&again.graph) == file(&lifted.graph), "lifted twice");
    // A file of the training form leads back as well.
    let read = read_bytes(file(&lifted.graph).into(), None).unwrap();
    assert_eq!(masks(&read), lifted.sparse.len());
    assert!(file(&lower(&read)) == file(graph), "the file of the training form leads elsewhere");
    lifted.graph
}

#[test]
fn random_networks_return() {
    let mut all = 0;
    for seed in 0..60 {
        // Some have masks already.
        let mut graph = lower(&axes_support::network(seed));
        let sparse = prune(&mut graph, 0.6, seed);
        let training = lifted(&graph);
        all += masks(&training);
        assert!(masks(&training) >= sparse, "{seed}");
        assert_eq!(axes_support::outputs(&training, seed), axes_support::outputs(&graph, seed), "{seed}");
    }
    assert!(all > 300, "{all}");
}

#[test]
fn networks_of_the_zoo_return() {
    for architecture in zoo::architectures() {
        let mut graph = zoo::build(architecture.name, &ZooOptions::default()).unwrap();
        let sparse = prune(&mut graph, 0.5, 1);
        assert!(sparse > 0 && masks(&lifted(&graph)) >= sparse, "{}", architecture.name);
    }
}

/// A graph with an input of two rows of three.
fn with_input() -> (Graph, ValueId) {
    let mut graph = Graph::new("graph");
    let mut value = Value::new("x");
    (value.element_type, value.shape) = (Some(ElementType::F32), Some(vec![Dim::from(2usize), Dim::from(3usize)]));
    let x = graph.add_value(value).unwrap();
    graph.add_input(x).unwrap();
    (graph, x)
}

fn weight(graph: &mut Graph, name: &str, values: [f32; 9]) -> ValueId {
    let id = graph.add_constant(name, Tensor::from_values(vec![3, 3], values.to_vec()).unwrap());
    record(graph, id, SPARSE);
    id
}

const W: [f32; 9] = [1.0, 0.0, -0.0, 2.0, -3.0, 0.0, 0.0, 4.0, 1e-40];

#[test]
fn one_mask_serves_all_readers() {
    let (mut graph, x) = with_input();
    let w = weight(&mut graph, "tied", W);
    let y = graph.apply("first", MatMul {}, &[x, w]);
    let turned = graph.apply("turned", Transpose { perm: None }, &[w]);
    let y = graph.apply("second", MatMul {}, &[y, turned]);
    let square = graph.apply("square", MatMul {}, &[w, w]);
    let y = graph.apply("third", MatMul {}, &[y, square]);
    graph.add_output(y);
    let training = lifted(&graph);
    let mask = training.nodes().find(|(_, node)| matches!(node.op, Op::Mask(_))).unwrap().1;
    let [masked, mask] = [mask.output(0), mask.input(1)].map(|value| training.value(value.unwrap()));
    assert_eq!((training.value(w).readers().len(), masked.readers().len()), (1, 4));
    let kept = mask.data.as_ref().unwrap().values::<u8>().unwrap();
    assert_eq!(&*kept, [1, 0, 0, 1, 1, 0, 0, 1, 1]);
    // What is recorded stays on the weight, and the weight is found through the mask.
    assert!(training.value(w).metadata.iter().any(|(key, _)| key == KEY));
    assert_eq!(weights(&training), weights(&graph));
}

#[test]
fn outputs_inputs_and_constants_return() {
    let (mut graph, x) = with_input();
    let given_out = weight(&mut graph, "given out", W);
    let listed = weight(&mut graph, "listed", W);
    graph.add_input(listed).unwrap();
    let constant = weight(&mut graph, "constant", W);
    let value = graph.value_mut(constant);
    value.form = DataForm::ConstantNode("node of the constant".into());
    value.doc_string = "text".into();
    value.metadata.insert(0, ("other".into(), "record".into()));
    let mut y = x;
    for w in [given_out, listed, constant] {
        y = graph.apply("product", MatMul {}, &[y, w]);
    }
    graph.add_output(y);
    graph.add_output(given_out);
    let training = lifted(&graph);
    assert_eq!(masks(&training), 3);
    assert_eq!(training.outputs(), graph.outputs());
}

#[test]
fn numbers_that_are_none_keep_their_bits() {
    let (mut graph, x) = with_input();
    let (quiet, signalling) = (f32::from_bits(0x7FC0_1234), f32::from_bits(0x7F80_0001));
    let w = weight(&mut graph, "w", [quiet, signalling, f32::INFINITY, 0.0, -0.0, -quiet, 1.0, 0.0, 0.0]);
    let y = graph.apply("y", MatMul {}, &[x, w]);
    graph.add_output(y);
    assert_eq!(masks(&lifted(&graph)), 1);
}

/// Other element types are not trained, what is no parameter neither.
#[test]
fn what_is_not_trained_is_left() {
    let (mut graph, x) = with_input();
    let mut y = x;
    for element_type in [ElementType::F16, ElementType::F64, ElementType::I8] {
        let data = Tensor::from_f64s(element_type, vec![3, 3], W.map(f64::from).to_vec()).unwrap();
        let w = graph.add_constant("w", data);
        record(&mut graph, w, SPARSE);
        let w = graph.apply("cast", Cast { saturate: true, to: ElementType::F32 }, &[w]);
        y = graph.apply("y", MatMul {}, &[y, w]);
    }
    let unread = weight(&mut graph, "unread", W);
    let scalar = graph.add_constant("scalar", Tensor::scalar(0f32));
    record(&mut graph, scalar, SPARSE);
    y = graph.apply("sum", Binary::Add, &[y, scalar]);
    graph.add_output(y);
    graph.add_output(unread);
    assert_eq!(masks(&lifted(&graph)), 0);
}

#[test]
fn subgraphs_read_masked_weights() {
    let (mut graph, x) = with_input();
    let w = weight(&mut graph, "w", W);
    let output = graph.add_intermediate("y");
    let node = OnnxNode {
        domain: "com.example".into(),
        op_type: "Custom".into(),
        overload: String::new(),
        attributes: Vec::new(),
        captures: vec!["w".into()],
        reason: "domain \"com.example\" is not known".into(),
    };
    graph.add_node("custom", Op::Other(Box::new(node)), vec![Some(x), Some(w)], vec![Some(output)]).unwrap();
    graph.add_output(output);
    let training = lift(&graph, Keep::Recorded).unwrap().graph;
    assert_eq!(masks(&training), 1);
    assert!(file(&lower(&training)) == file(&graph));
}

#[test]
fn weights_that_look_sparse_are_recorded() {
    let (mut graph, x) = with_input();
    let w = graph.add_constant("w", Tensor::from_values(vec![3, 3], W.to_vec()).unwrap());
    let dense = graph.add_constant("dense", Tensor::from_values(vec![3, 3], vec![1f32; 9]).unwrap());
    let known = weight(&mut graph, "known", [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    let mut y = x;
    for w in [w, dense, known] {
        y = graph.apply("y", MatMul {}, &[y, w]);
    }
    graph.add_output(y);
    let sparse = lift(&graph, Keep::Auto).unwrap().sparse;
    let found: Vec<_> = sparse.iter().map(|own| (own.value, own.zeros, own.elements, own.found)).collect();
    assert_eq!(found, [(w, 4, 9, true), (known, 1, 9, false)]);
    assert_eq!(lift(&graph, Keep::Recorded).unwrap().sparse.len(), 1);
    // What comes back has the record, and nothing else is new.
    let returned = lower(&lift(&graph, Keep::Auto).unwrap().graph);
    record_sparse(&mut graph);
    assert!(file(&returned) == file(&graph));
}

#[test]
fn records_that_are_not_understood_are_refused() {
    let (mut graph, x) = with_input();
    let w = weight(&mut graph, "w", W);
    graph.value_mut(w).metadata = vec![(KEY.into(), "crystalline".into())];
    let y = graph.apply("y", MatMul {}, &[x, w]);
    graph.add_output(y);
    let error = lift(&graph, Keep::Auto).unwrap_err().to_string();
    assert!(error.contains("\"w\" is to be kept as \"crystalline\""), "{error}");
    assert!(lift(&graph, Keep::Nothing).is_ok());
    for pattern in [Pattern::NofM { left: 2, group: 4 }, Pattern::Block { outputs: 1, inputs: 4 }] {
        record(&mut graph, w, Constraint::Sparse(pattern));
        assert_eq!(masks(&lifted(&graph)), 1);
    }
}

/// A graph of someone else's: weights that are not 0 where they are masked.
#[test]
fn masks_are_multiplied_in_where_that_is_right() {
    let values = [1.0f32, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let kept = [1u8, 0, 1, 1, 0, 1, 1, 0, 1];
    let build = |finish: &dyn Fn(&mut Graph, ValueId, ValueId, ValueId)| {
        let (mut graph, x) = with_input();
        let w = graph.add_constant("w", Tensor::from_values(vec![3, 3], values.to_vec()).unwrap());
        let mask = graph.add_constant("mask", Tensor::from_values(vec![3, 3], kept.to_vec()).unwrap());
        let masked = graph.apply("masked", Mask {}, &[w, mask]);
        let y = graph.apply("y", MatMul {}, &[x, masked]);
        graph.add_output(y);
        finish(&mut graph, w, mask, y);
        let inputs: Vec<ValueId> = graph.free_inputs().collect();
        let x = Tensor::from_values(vec![2, 3], vec![1f32, 2.0, 3.0, -1.0, 0.5, 2.0]).unwrap();
        let inputs: HashMap<_, _> = inputs.into_iter().map(|input| (input, x.clone())).collect();
        let lowered = lower(&graph);
        validate(&lowered).unwrap();
        let run = |graph: &Graph| {
            let found = evaluate_graph(graph, &inputs, 1 << 10).unwrap();
            graph.outputs().iter().map(|output| found[output].clone()).collect::<Vec<_>>()
        };
        assert_eq!(run(&lowered), run(&graph));
        lowered
    };
    let data = |graph: &Graph, name: &str| {
        let id = graph.find_value(name)?;
        Some(graph.value(id).data.as_ref()?.values::<f32>().unwrap().into_owned())
    };
    let product = Some(vec![1.0, -0.0, 3.0, 4.0, 0.0, 6.0, 7.0, 0.0, 9.0]);
    let alone = build(&|_, _, _, _| {});
    assert_eq!((masks(&alone), data(&alone, "w")), (0, product.clone()));
    assert!(alone.find_value("mask").is_none() && alone.find_value("masked").is_none());
    // The same mask twice is one; another mask, another reader or an output has the weight as it is.
    let twice = build(&|graph, w, mask, y| {
        let masked = graph.apply("again", Mask {}, &[w, mask]);
        let z = graph.apply("z", MatMul {}, &[y, masked]);
        graph.add_output(z);
    });
    assert_eq!((masks(&twice), data(&twice, "w")), (0, product.clone()));
    let other_mask = build(&|graph, w, _, y| {
        let mask = graph.add_constant("other", Tensor::from_values(vec![3, 3], vec![0u8; 9]).unwrap());
        let masked = graph.apply("again", Mask {}, &[w, mask]);
        let z = graph.apply("z", MatMul {}, &[y, masked]);
        graph.add_output(z);
    });
    assert_eq!((masks(&other_mask), data(&other_mask, "masked")), (0, product.clone()));
    let read = build(&|graph, w, _, y| {
        let z = graph.apply("z", MatMul {}, &[y, w]);
        graph.add_output(z);
    });
    let given_out = build(&|graph, w, _, _| graph.add_output(w));
    for lowered in [read, given_out] {
        assert_eq!((masks(&lowered), data(&lowered, "w")), (0, Some(values.to_vec())));
        assert_eq!(data(&lowered, "masked"), product);
    }
    // A mask that the caller gives, or that computes an output, stays.
    let given = build(&|graph, _, mask, _| graph.add_input(mask).unwrap());
    let output = build(&|graph, w, mask, _| {
        let masked = graph.apply("out", Mask {}, &[w, mask]);
        graph.add_output(masked);
    });
    assert_eq!((masks(&given), masks(&output)), (1, 1));
    assert_eq!(data(&output, "w"), product);
}
