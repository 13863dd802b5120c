//! Planned execution against the reference evaluator.

use std::collections::BTreeMap;

use slimnet_engine::kernels::{Context, Zeros};
use slimnet_engine::plan::{Plan, PlanOptions};
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::graph::Graph;
use slimnet_graph::infer::infer_graph;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{ZooOptions, architectures, build};

fn lengths(graph: &Graph, batch: usize) -> BTreeMap<String, usize> {
    let shapes = graph.free_inputs().filter_map(|input| graph.value(input).shape.clone());
    let names: Vec<String> =
        shapes.flatten().flat_map(|dim| dim.names().map(str::to_owned).collect::<Vec<_>>()).collect();
    names.into_iter().map(|name| (name, batch)).collect()
}

fn random_input(shape: &[usize]) -> Tensor {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    tensor(ElementType::F32, shape.to_vec(), Stream::new(3, 0), normal).unwrap()
}

#[test]
fn networks_of_the_zoo_give_what_the_reference_evaluator_gives() {
    for architecture in architectures() {
        // The large ones take the reference evaluator seconds.
        if architecture.name.contains("vgg") || architecture.name.contains("56") || architecture.name.contains("full") {
            continue;
        }
        let mut graph = build(architecture.name, &ZooOptions::default()).unwrap();
        infer_graph(&mut graph).unwrap();
        let options = PlanOptions { lengths: lengths(&graph, 2), ..PlanOptions::default() };
        let mut plan = Plan::new(&graph, &options).unwrap();
        let input = graph.free_inputs().next().unwrap();
        let shape = plan.value_type(input).1.to_vec();
        let x = random_input(&shape);
        plan.set(input, &x).unwrap();
        plan.run(Context::default()).unwrap();
        let found = plan.tensor(graph.outputs()[0]).unwrap();
        let expected =
            &evaluate_graph(&graph, &[(input, x)].into_iter().collect(), 1 << 30).unwrap()[&graph.outputs()[0]];
        let difference = slimnet_engine::kernels::testing::difference(&found, expected);
        assert!(difference < 1e-4, "{}: {difference}", architecture.name);
        let memory = plan.memory();
        assert!(memory.transient <= memory.transient_lower_bound * 6 / 5, "{}: {memory:?}", architecture.name);
    }
}

#[test]
fn lengths_must_be_known_and_inputs_fit() {
    let mut graph = build("lenet-5", &ZooOptions::default()).unwrap();
    infer_graph(&mut graph).unwrap();
    let error = Plan::new(&graph, &PlanOptions::default()).unwrap_err().to_string();
    assert!(error.contains("is not known; give it a number"), "{error}");
    let options = PlanOptions { lengths: lengths(&graph, 2), ..PlanOptions::default() };
    let mut plan = Plan::new(&graph, &options).unwrap();
    let input = graph.free_inputs().next().unwrap();
    let error = plan.set(input, &random_input(&[3, 1, 28, 28])).unwrap_err().to_string();
    assert!(error.contains("[2, 1, 28, 28]") && error.contains("[3, 1, 28, 28]"), "{error}");
}

#[test]
fn an_observed_run_computes_the_same_and_tells_every_node() {
    for name in ["resnet8", "transformer-encoder"] {
        let mut graph = build(name, &ZooOptions::default()).unwrap();
        infer_graph(&mut graph).unwrap();
        let options = PlanOptions { lengths: lengths(&graph, 2), ..PlanOptions::default() };
        let (mut run, mut observed) = (Plan::new(&graph, &options).unwrap(), Plan::new(&graph, &options).unwrap());
        let input = graph.free_inputs().next().unwrap();
        let x = random_input(run.value_type(input).1);
        run.set(input, &x).unwrap();
        observed.set(input, &x).unwrap();
        run.run(Context::default()).unwrap();
        let mut nodes = Vec::new();
        observed.compute_observed(Context::default(), |node, _| nodes.extend(node)).unwrap();
        let output = graph.outputs()[0];
        assert_eq!(run.get::<f32>(output), observed.get::<f32>(output), "{name}");
        // Only moves to another layout belong to no node.
        assert!(nodes.len() + 2 >= observed.len(), "{name}: {} of {}", nodes.len(), observed.len());
        let products = graph.nodes().filter(|(_, node)| matches!(node.op.op_type(), "Conv" | "MatMul" | "Gemm"));
        for (id, _) in products {
            assert!(nodes.contains(&id), "{name}: {}", graph.describe_node(id));
        }
    }
}

/// The network with nine of ten weights of each layer zero.
fn pruned(name: &str) -> Graph {
    let mut graph = build(name, &ZooOptions::default()).unwrap();
    let ids: Vec<_> = graph.values().map(|(id, _)| id).collect();
    for id in ids {
        let Some(data) = graph.value(id).data.clone() else { continue };
        if data.element_type() == ElementType::F32 && data.rank() > 1 {
            let values = data.to_f64s().unwrap().into_iter().enumerate();
            let kept = values.map(|(index, value)| if index % 10 == 3 { value } else { 0.0 }).collect();
            graph.value_mut(id).data = Some(Tensor::from_f64s(ElementType::F32, data.shape().to_vec(), kept).unwrap());
        }
    }
    infer_graph(&mut graph).unwrap();
    graph
}

#[test]
fn zeros_are_left_out_unless_they_shall_be_multiplied() {
    let graph = pruned("lenet-5");
    let input = graph.free_inputs().next().unwrap();
    let run = |zeros| {
        let options = PlanOptions { lengths: lengths(&graph, 3), zeros, ..PlanOptions::default() };
        let mut plan = Plan::new(&graph, &options).unwrap();
        let shape = plan.value_type(input).1.to_vec();
        plan.set(input, &random_input(&shape)).unwrap();
        plan.run(Context::default()).unwrap();
        (plan.steps_that_skip_zeros(), plan.tensor(graph.outputs()[0]).unwrap())
    };
    let ((skipping, sparse), (multiplying, dense)) = (run(Zeros::Skipped), run(Zeros::Multiplied));
    assert_eq!((skipping, multiplying), (4, 0), "two convolutions and two matrix products");
    let difference = slimnet_engine::kernels::testing::difference(&sparse, &dense);
    assert!(difference < 1e-4, "{difference}");
}
