//! `Mask`, an operator of our own: in files, in simplification, in what is counted and in what is removed.

mod onnx_common;

use std::collections::{BTreeSet, HashMap};

use onnx_common::*;
use slimnet_graph::axes::{CoupleOptions, couple, remove};
use slimnet_graph::cost::{CostOptions, cost};
use slimnet_graph::evaluate::{evaluate_graph, evaluate_op};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::onnx::proto::{FunctionProto, ModelProto, TensorProto};
use slimnet_graph::onnx::{ReadProblem, write_bytes};
use slimnet_graph::ops::product::MatMul;
use slimnet_graph::ops::slimnet::Mask;
use slimnet_graph::roles::{Role, roles};
use slimnet_graph::simplify::{SimplifyOptions, simplify};
use slimnet_graph::validate::validate;
use slimnet_graph::{ElementType, Graph, Op, Tensor, ValueId};

const W: [f32; 6] = [1.5, -2.0, 3.0, -4.0, 0.0, 6.0];
const KEPT: [u8; 6] = [1, 0, 1, 1, 1, 0];

/// A product with masked weights of this name and shape.
fn product(graph: &mut Graph, x: ValueId, name: &str, shape: [usize; 2]) -> ValueId {
    let w = graph.add_constant(name, Tensor::from_values(shape.to_vec(), W.to_vec()).unwrap());
    let kept = Tensor::from_values(shape.to_vec(), KEPT.to_vec()).unwrap();
    let mask = graph.add_constant(&format!("{name} mask"), kept);
    let masked = graph.apply("masked", Mask {}, &[w, mask]);
    graph.apply("product", MatMul {}, &[x, masked])
}

/// A graph with an input of two numbers, without nodes, in an operator set.
fn empty(opset: i64) -> (Graph, ValueId) {
    let mut graph = Graph::new("masked");
    graph.model.opsets = vec![(String::new(), opset)];
    let x = graph.add_intermediate("x");
    graph.value_mut(x).element_type = Some(ElementType::F32);
    graph.value_mut(x).shape = Some(vec![1usize.into(), 2usize.into()]);
    graph.add_input(x).unwrap();
    (graph, x)
}

/// A product with masked weights of two rows and three columns.
fn masked(opset: i64) -> Graph {
    let (mut graph, x) = empty(opset);
    let y = product(&mut graph, x, "w", [2, 3]);
    graph.add_output(y);
    graph
}

fn value(graph: &Graph, name: &str) -> ValueId {
    graph.find_value(name).unwrap()
}

fn masks(graph: &Graph) -> usize {
    graph.nodes().filter(|(_, node)| matches!(node.op, Op::Mask(_))).count()
}

fn uint8_tensor(name: &str, dims: &[i64], values: &[u8]) -> TensorProto {
    let (name, raw_data) = (Some(name.into()), Some(values.to_vec().into()));
    TensorProto { name, dims: dims.to_vec(), data_type: Some(2), raw_data, ..TensorProto::default() }
}

/// A file of another tool with a node `slimnet.Mask`.
fn foreign(domain_version: i64, functions: Vec<FunctionProto>) -> ModelProto {
    let mut mask = node("Mask", &["w", "mask"], &["y"]);
    mask.domain = Some("slimnet".into());
    let tensors = vec![floats_tensor("w", &[2], &[3.0, 4.0]), uint8_tensor("mask", &[2], &[1, 0])];
    let sum = node("Add", &["x", "y"], &["z"]);
    let mut model = model(17, graph(vec![mask, sum], tensors, vec![info("x", FLOAT, &["2"])], &["z"]));
    model.opset_import.push(import("slimnet", domain_version));
    model.functions = functions;
    model
}

fn twice() -> FunctionProto {
    FunctionProto {
        name: Some("Mask".into()),
        domain: Some("slimnet".into()),
        input: strings(&["w", "mask"]),
        output: strings(&["y"]),
        node: vec![node("Add", &["w", "w"], &["y"])],
        opset_import: vec![import("", 17)],
        ..FunctionProto::default()
    }
}

#[test]
fn a_file_defines_it_once() {
    let mut graph = masked(17);
    // A second use has the same function.
    let (w, mask) = (value(&graph, "w"), value(&graph, "w mask"));
    let again = graph.apply("again", Mask {}, &[w, mask]);
    graph.add_output(again);
    let model = written(&graph);
    assert_eq!(model.functions.len(), 1);
    let function = &model.functions[0];
    assert_eq!((function.domain(), function.name()), ("slimnet", "Mask"));
    assert_eq!(function.opset_import, [import("", 17)]);
    assert!(function.node.iter().all(|node| node.domain().is_empty()));
    assert_eq!(model.opset_import, [import("", 17), import("slimnet", 1)]);
    let domains: Vec<_> =
        model.graph.as_ref().unwrap().node.iter().map(slimnet_graph::onnx::proto::NodeProto::domain).collect();
    assert_eq!(domains.iter().filter(|domain| **domain == "slimnet").count(), 2);
    // Read again it is the operator, with nothing left of the function, and the file is the same.
    let again = read(&model).unwrap();
    assert_eq!(masks(&again), 2);
    assert!(again.model.functions.is_empty());
    assert_eq!(written(&again), model);
}

#[test]
fn a_file_without_masks_does_not_speak_of_them() {
    let mut graph = read(&written(&masked(17))).unwrap();
    let node = graph.nodes().find(|(_, node)| matches!(node.op, Op::Mask(_))).unwrap().0;
    let (w, masked) = (graph.node(node).input(0).unwrap(), graph.node(node).output(0).unwrap());
    graph.replace_uses(masked, w);
    graph.remove_unreachable();
    let model = written(&graph);
    assert!(model.functions.is_empty());
    assert_eq!(model.opset_import, [import("", 17)]);
}

#[test]
fn older_operator_sets_are_raised() {
    let (_, written) = write_bytes(&masked(11)).unwrap();
    assert_eq!((written.opset, written.raised_from), (15, Some(11)));
    let mut old = masked(15);
    old.model.ir_version = 4;
    assert_eq!(self::written(&old).ir_version, Some(8));
}

#[test]
fn what_another_calls_by_the_name_stays_whole() {
    let reason = |model: &ModelProto| {
        let graph = read(model).unwrap();
        assert_eq!(masks(&graph), 0);
        assert_eq!(written(&graph), *model);
        graph.nodes().find_map(|(_, node)| Some(node.op.other()?.reason.clone())).unwrap()
    };
    assert_eq!(reason(&foreign(1, vec![twice()])), "calls a function of the model");
    // Ours in another operator set of its own, or with a node of another domain, is not ours.
    let ours = written(&masked(17)).functions.remove(0);
    let changes: [fn(&mut FunctionProto); 5] = [
        |function| function.node[1].domain = Some("com.example".into()),
        |function| function.node[1].op_type = Some("Add".into()),
        |function| function.node[1].input.swap(0, 1),
        |function| function.overload = Some("other".into()),
        |function| function.opset_import[0].version = Some(9),
    ];
    for change in changes {
        let mut other = ours.clone();
        change(&mut other);
        assert_eq!(reason(&foreign(1, vec![other])), "calls a function of the model");
    }
    assert_eq!(reason(&foreign(2, vec![])), "domain \"slimnet\" is not known");
    let mut unknown = foreign(1, vec![]);
    unknown.graph.as_mut().unwrap().node[0].op_type = Some("Relu".into());
    assert_eq!(reason(&unknown), "domain \"slimnet\" has no operator Relu in version 1");
    let mut overload = foreign(1, vec![]);
    overload.graph.as_mut().unwrap().node[0].overload = Some("other".into());
    assert_eq!(reason(&overload), "domain \"slimnet\" is not known");
    let mut attribute = foreign(1, vec![]);
    attribute.graph.as_mut().unwrap().node[0].attribute = vec![int("bits", 8)];
    assert_eq!(reason(&attribute), "attribute \"bits\" is not known");
}

#[test]
fn ours_is_recognised_whatever_is_said_of_it() {
    let mut ours = written(&masked(17)).functions.remove(0);
    ours.doc_string = Some("keeps zeros".into());
    ours.node[0].name = Some("cast".into());
    ours.value_info = vec![info("factor", FLOAT, &["2"])];
    for functions in [vec![], vec![ours.clone()], vec![ours.clone(), ours]] {
        let graph = read(&foreign(1, functions)).unwrap();
        assert_eq!(masks(&graph), 1);
        assert_eq!(written(&graph).functions.len(), 1);
    }
}

#[test]
fn what_is_kept_whole_keeps_its_function() {
    let ours = written(&masked(17)).functions.remove(0);
    let mut caller = node("Call", &["z"], &["out"]);
    caller.domain = Some("com.example".into());
    let calls = FunctionProto {
        name: Some("Call".into()),
        domain: Some("com.example".into()),
        node: vec![node("Mask", &["a", "b"], &["c"])],
        ..twice()
    };
    let mut model = foreign(1, vec![ours, calls]);
    model.opset_import.push(import("com.example", 1));
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(caller);
    graph.output = vec![untyped("out")];
    let mut again = read(&model).unwrap();
    assert_eq!(masks(&again), 1);
    let names =
        |model: &ModelProto| model.functions.iter().map(|function| function.name().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!((names(&written(&again)), written(&again).functions.len()), (names(&model), 2));
    // Without masks of the graph itself, too.
    let node = again.nodes().find(|(_, node)| matches!(node.op, Op::Mask(_))).unwrap().0;
    let (w, masked) = (again.node(node).input(0).unwrap(), again.node(node).output(0).unwrap());
    again.replace_uses(masked, w);
    again.remove_unreachable();
    assert_eq!(names(&written(&again)), names(&model));
}

#[test]
fn a_name_that_is_taken_is_refused() {
    for model in [foreign(1, vec![twice()]), foreign(2, vec![])] {
        let mut graph = read(&model).unwrap();
        let (w, mask) = (value(&graph, "w"), value(&graph, "mask"));
        let own = graph.apply("own", Mask {}, &[w, mask]);
        graph.add_output(own);
        let error = write_bytes(&graph).unwrap_err().to_string();
        assert!(error.starts_with("slimnet.Mask cannot be written: the file has "), "{error}");
    }
}

#[test]
fn wrong_inputs_are_refused() {
    type Spoil = fn(&mut ModelProto);
    let cases: [(Spoil, &str); 4] = [
        (|model| model.graph.as_mut().unwrap().initializer[1] = floats_tensor("mask", &[2], &[1.0; 2]), "uint8"),
        (|model| model.graph.as_mut().unwrap().initializer[1] = uint8_tensor("mask", &[1], &[1]), "axis 0 of input 1"),
        (|model| model.graph.as_mut().unwrap().initializer[0] = ints_tensor("w", &[2], &[1; 2]), "floating-point"),
        (|model| drop(model.graph.as_mut().unwrap().node[0].input.pop()), "input 1 is missing"),
    ];
    for (spoil, expected) in cases {
        let mut model = foreign(1, vec![]);
        spoil(&mut model);
        let error = read(&model).unwrap_err();
        assert!(matches!(*error.problem, ReadProblem::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn it_multiplies_numbers_of_every_kind() {
    let w = [2.0, -3.0, -0.0, 0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -5.0];
    let kept = [1u8, 0, 1, 1, 1, 1, 1, 1];
    let none = Tensor::vector(vec![0u8; 8]);
    for element_type in [ElementType::F16, ElementType::BF16, ElementType::F32, ElementType::F64] {
        let weights = Tensor::from_f64s(element_type, vec![8], w.to_vec()).unwrap();
        let mask = Tensor::vector(kept.to_vec());
        let evaluate = |mask: &Tensor| {
            let mut found = evaluate_op(&Op::Mask(Mask {}), &[Some(&weights), Some(mask)], 1, 1 << 10).unwrap();
            assert_eq!(found[0].element_type(), element_type);
            found.remove(0).to_f64s().unwrap()
        };
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        let mut expected = w.to_vec();
        expected[1] = -0.0;
        assert_eq!(bits(evaluate(&mask)), bits(expected), "{element_type}");
        let all = evaluate(&none);
        assert!(all[4..7].iter().all(|value| value.is_nan()), "{element_type}: {all:?}");
        let zeros = all[..4].iter().chain(&all[7..]).map(|value| value.to_bits());
        assert_eq!(zeros.collect::<Vec<_>>(), bits(vec![0.0, -0.0, -0.0, 0.0, -0.0]), "{element_type}");
    }
}

#[test]
fn weights_are_counted_through_it() {
    let mut graph = masked(21);
    infer_graph(&mut graph).unwrap();
    validate(&graph).unwrap();
    let roles = roles(&graph);
    let role = |name: &str| roles[value(&graph, name).index()];
    assert_eq!((role("w"), role("w mask")), (Some(Role::Parameter), Some(Role::Constant)));
    let cost = cost(&graph, &CostOptions::default()).unwrap();
    // Of six weights two are masked, another is 0.
    assert_eq!((cost.parameters, cost.nonzero_parameters, cost.macs, cost.weight_bytes), (6, 3, 6, 24));
    let product = graph.nodes().find(|(_, node)| matches!(node.op, Op::MatMul(_))).unwrap().0;
    assert_eq!(cost.nodes.iter().find(|cost| cost.node == product).unwrap().parameters, 6);
}

#[test]
fn simplify_keeps_it_for_training_and_folds_it_for_inference() {
    let x = Tensor::from_values(vec![1, 2], vec![1f32, 10.0]).unwrap();
    let run = |graph: &Graph| {
        let results = evaluate_graph(graph, &HashMap::from([(value(graph, "x"), x.clone())]), 1 << 10).unwrap();
        results[&graph.outputs()[0]].clone()
    };
    let graph = masked(21);
    let mut kept = graph.clone();
    simplify(&mut kept, &SimplifyOptions::default()).unwrap();
    assert_eq!(masks(&kept), 1);
    assert_eq!(written(&kept).graph.unwrap().initializer, written(&graph).graph.unwrap().initializer);
    let mut folded = graph.clone();
    simplify(&mut folded, &SimplifyOptions { keep_training: false, ..SimplifyOptions::default() }).unwrap();
    assert_eq!(masks(&folded), 0);
    let weights = folded.nodes().next().unwrap().1.input(1).unwrap();
    let weights = folded.value(weights).data.as_ref().unwrap().values::<f32>().unwrap().into_owned();
    assert_eq!(weights, [1.5, -0.0, 3.0, -4.0, 0.0, 0.0]);
    for other in [kept, folded] {
        assert_eq!(run(&other), run(&graph));
    }
}

#[test]
fn equal_masks_of_two_weights_stay_apart() {
    let (mut graph, x) = empty(21);
    for name in ["w", "other"] {
        let y = product(&mut graph, x, name, [2, 3]);
        graph.add_output(y);
    }
    simplify(&mut graph, &SimplifyOptions::default()).unwrap();
    assert_eq!(masks(&graph), 2);
    assert!(graph.find_value("w mask").is_some() && graph.find_value("other mask").is_some());
}

#[test]
fn removal_narrows_weights_and_masks() {
    let (mut graph, x) = empty(21);
    let y = product(&mut graph, x, "w", [2, 3]);
    let z = product(&mut graph, y, "second", [3, 2]);
    graph.add_output(z);
    let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
    let w = value(&graph, "w");
    let columns = coupling.covers(w).iter().find(|cover| cover.axes == [1]).unwrap();
    let first = BTreeSet::from([columns.groups[0]]);
    assert_eq!(coupling.frozen(columns.groups[0]), None);
    let removal = remove(&mut graph, &coupling, &first).unwrap();
    assert_eq!(removal.narrowed.len(), 4);
    let data = |name: &str| graph.value(value(&graph, name)).data.clone().unwrap();
    assert_eq!(data("w").values::<f32>().unwrap(), [W[1], W[2], W[4], W[5]].as_slice());
    assert_eq!(data("w mask").values::<u8>().unwrap(), [KEPT[1], KEPT[2], KEPT[4], KEPT[5]].as_slice());
    assert_eq!(data("second").shape(), [2, 2]);
    assert_eq!(data("second mask").values::<u8>().unwrap(), KEPT[2..].to_vec().as_slice());
    validate(&graph).unwrap();
}
