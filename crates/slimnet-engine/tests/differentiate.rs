//! Gradients of whole networks against finite differences.

use std::collections::BTreeMap;

use slimnet_engine::kernels::Context;
use slimnet_engine::{Plan, PlanOptions, differentiate};
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::roles::roles;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{ZooOptions, build};
use slimnet_graph::{Op, ops::Role};

fn lengths(graph: &Graph, batch: usize) -> BTreeMap<String, usize> {
    let shapes = graph.free_inputs().filter_map(|input| graph.value(input).shape.clone());
    let names: Vec<String> =
        shapes.flatten().flat_map(|dim| dim.names().map(str::to_owned).collect::<Vec<_>>()).collect();
    names.into_iter().map(|name| (name, batch)).collect()
}

fn random(shape: &[usize], stream: u64) -> Tensor {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    tensor(ElementType::F32, shape.to_vec(), Stream::new(3, stream), normal).unwrap()
}

/// The sum of squares of all outputs, its gradients, and the parameters.
fn with_gradients(graph: &mut Graph) -> (ValueId, Vec<(ValueId, ValueId)>) {
    infer_graph(graph).unwrap();
    let output = graph.outputs()[0];
    let square = graph.apply("square", Binary::Mul, &[output, output]);
    let loss = Reduce { keepdims: false, noop_with_empty_axes: false };
    let loss = graph.apply("loss", Op::Reduce(ReduceKind::Sum, loss), &[square]);
    infer_graph(graph).unwrap();
    let roles = roles(graph);
    let float = |id: ValueId| graph.value(id).element_type == Some(ElementType::F32);
    let parameters: Vec<_> = graph
        .values()
        .map(|(id, _)| id)
        .filter(|&id| roles[id.index()] == Some(Role::Parameter) && float(id))
        .collect();
    let gradients = differentiate(graph, loss, &parameters).unwrap();
    (loss, parameters.into_iter().zip(gradients).filter_map(|(p, g)| Some((p, g?))).collect())
}

fn plan(graph: &Graph, pairs: &[(ValueId, ValueId)], loss: ValueId) -> Plan {
    let options = PlanOptions {
        lengths: lengths(graph, 3),
        states: vec![pairs.iter().map(|pair| pair.0).collect()],
        results: vec![pairs.iter().map(|pair| pair.1).collect()],
        kept: vec![loss],
        ..PlanOptions::default()
    };
    let mut plan = Plan::new(graph, &options).unwrap();
    let inputs: Vec<_> = graph.free_inputs().collect();
    for (index, &input) in inputs.iter().enumerate() {
        let shape = plan.value_type(input).1.to_vec();
        plan.set(input, &random(&shape, index as u64)).unwrap();
    }
    plan
}

#[test]
fn a_value_that_is_read_twice_gets_the_sum() {
    let mut graph = Graph::new("twice");
    let x = graph.add_constant("x", Tensor::vector(vec![1.5f32, -2.0]));
    let e = graph.apply("e", Unary::Exp, &[x]);
    let y = graph.apply("y", Binary::Mul, &[e, x]);
    let z = graph.apply("z", Binary::Add, &[y, x]);
    let loss =
        graph.apply("loss", Op::Reduce(ReduceKind::Sum, Reduce { keepdims: false, noop_with_empty_axes: false }), &[z]);
    infer_graph(&mut graph).unwrap();
    let gradient = differentiate(&mut graph, loss, &[x]).unwrap()[0].unwrap();
    let mut plan = plan(&graph, &[(x, gradient)], loss);
    plan.run(Context::default()).unwrap();
    for (found, x) in plan.get::<f32>(gradient).iter().zip([1.5f32, -2.0]) {
        let expected = x.exp() * x + x.exp() + 1.0;
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn networks_agree_with_finite_differences() {
    for name in ["lenet-300-100", "lenet-5", "resnet8", "ds-cnn", "mobilenet-v1", "transformer-encoder"] {
        let options = ZooOptions::default();
        let mut graph = build(name, &options).unwrap();
        let (loss, pairs) = with_gradients(&mut graph);
        let mut plan = plan(&graph, &pairs, loss);
        // Fresh biases are 0, and what is all 0 before them would sit on the kink of every Relu.
        for (number, (parameter, _)) in pairs.iter().enumerate() {
            if plan.value_type(*parameter).1.len() == 1 {
                let stream = Stream::new(11, number as u64);
                let values = plan.get_mut::<f32>(*parameter).iter_mut().enumerate();
                values.for_each(|(index, value)| *value += 0.1 * stream.normal(index as u64) as f32);
            }
        }
        plan.run(Context::default()).unwrap();
        let gradients = plan.state_and_result(0, 0).1.to_vec();
        let before = plan.state(0).to_vec();
        // Along the gradient itself the loss changes most: the difference is far above the rounding of `float32`.
        let square: f64 = gradients.iter().map(|&value| f64::from(value).powi(2)).sum();
        let at = |plan: &mut Plan, step: f64| {
            let state = plan.state_mut(0);
            for ((state, before), gradient) in state.iter_mut().zip(&before).zip(&gradients) {
                *state = (f64::from(*before) + step * f64::from(*gradient)) as f32;
            }
            plan.run(Context::default()).unwrap();
            f64::from(plan.get::<f32>(loss)[0])
        };
        let value = at(&mut plan, 0.0);
        let step = 2e-4 * value / square;
        let difference = (at(&mut plan, step) - at(&mut plan, -step)) / (2.0 * step);
        let ratio = difference / square;
        assert!((ratio - 1.0).abs() < 0.02, "{name}: slope {difference}, gradient's square {square}");
        let memory = plan.memory();
        assert!(memory.transient <= memory.transient_lower_bound * 6 / 5, "{name}: {memory:?}");
    }
}

#[test]
fn operators_without_gradient_are_named() {
    let mut graph = Graph::new("one hot");
    let x = graph.add_constant("weight", Tensor::vector(vec![1.5f32, -2.0]));
    let y = graph.apply("remainder", Op::Mod(slimnet_graph::ops::elementwise::Mod { fmod: true }), &[x, x]);
    infer_graph(&mut graph).unwrap();
    let error = differentiate(&mut graph, y, &[x]).unwrap_err().to_string();
    assert!(error.contains("Mod \"remainder\" cannot be trained") && error.contains("\"weight\""), "{error}");
}
