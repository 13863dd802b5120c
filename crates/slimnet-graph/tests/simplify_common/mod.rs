//! Small graphs, and the promise that every simplification is held to.
#![allow(dead_code)] // each test file uses a part

use std::collections::HashMap;

use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::graph::Value;
use slimnet_graph::ops::attribute::{AttributeValue, Attributes};
use slimnet_graph::roles::{Role, roles};
use slimnet_graph::simplify::{SimplifyOptions, SimplifyReport, simplify};
use slimnet_graph::zoo::random::Stream;
use slimnet_graph::{Dim, ElementType, Graph, NodeId, Op, Tensor, ValueId};

/// Builds graphs with few words.
pub struct Net {
    pub graph: Graph,
    seed: u64,
}

impl Net {
    pub fn new() -> Self {
        Self { graph: Graph::new("test"), seed: 0 }
    }

    /// A float input; negative lengths are the name N.
    pub fn input(&mut self, name: &str, shape: &[i64]) -> ValueId {
        self.typed_input(name, ElementType::F32, shape)
    }

    pub fn typed_input(&mut self, name: &str, element_type: ElementType, shape: &[i64]) -> ValueId {
        let dims = shape.iter().map(|&dim| if dim < 0 { Dim::named("N") } else { Dim::from(dim) }).collect();
        let mut value = Value::new(name);
        value.element_type = Some(element_type);
        value.shape = Some(dims);
        let id = self.graph.add_value(value).unwrap();
        self.graph.add_input(id).unwrap();
        id
    }

    pub fn floats(&mut self, shape: &[usize], values: &[f32]) -> ValueId {
        self.graph.add_constant("c", Tensor::from_values(shape.to_vec(), values.to_vec()).unwrap())
    }

    pub fn scalar(&mut self, value: f32) -> ValueId {
        self.graph.add_constant("c", Tensor::scalar(value))
    }

    pub fn integers(&mut self, values: &[i64]) -> ValueId {
        self.graph.add_constant("i", Tensor::vector(values.to_vec()))
    }

    /// Random normal weights.
    pub fn weight(&mut self, shape: &[usize]) -> ValueId {
        let data = self.random(shape);
        self.graph.add_constant("w", data)
    }

    pub fn random(&mut self, shape: &[usize]) -> Tensor {
        self.seed += 1;
        random(self.seed, shape)
    }

    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = op.op_type().to_lowercase();
        self.graph.apply(&name, op, inputs)
    }

    /// An operator without attributes.
    pub fn plain(&mut self, op_type: &str, inputs: &[ValueId]) -> ValueId {
        self.node(op(op_type), inputs)
    }

    pub fn output(&mut self, value: ValueId, name: &str) {
        self.graph.rename(value, name);
        self.graph.add_output(value);
    }
}

pub fn random(seed: u64, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count as u64).map(|index| Stream::new(seed, 7).normal(index) as f32).collect();
    Tensor::from_values(shape.to_vec(), values).unwrap()
}

/// An operator with its attributes at their defaults.
pub fn op(op_type: &str) -> Op {
    Op::read(op_type, Attributes::default()).unwrap().unwrap()
}

/// An operator with some attributes.
pub fn op_with(op_type: &str, set: impl FnOnce(&mut Attributes)) -> Op {
    let mut attributes = Attributes::default();
    set(&mut attributes);
    Op::read(op_type, attributes).unwrap().unwrap()
}

/// An operator with one attribute.
pub fn op_of<T: AttributeValue>(op_type: &str, name: &str, value: &T) -> Op {
    op_with(op_type, |attributes| attributes.put(name, value))
}

/// Results of the graph's outputs, in order, on random inputs; `N` is 2.
pub fn run(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let mut inputs = HashMap::new();
    for input in graph.free_inputs() {
        let value = graph.value(input);
        let shape: Vec<_> = value.shape.as_ref().unwrap().iter().map(|dim| dim.known().unwrap_or(2)).collect();
        let data = random(seed + input.index() as u64, &shape);
        let element_type = value.element_type.unwrap();
        let data = if element_type == ElementType::F32 {
            data
        } else {
            Tensor::from_f64s(element_type, shape, data.to_f64s().unwrap()).unwrap()
        };
        inputs.insert(input, data);
    }
    let results = evaluate_graph(graph, &inputs, 1 << 28).unwrap();
    graph.outputs().iter().map(|output| results[output].clone()).collect()
}

/// Asserts that both graphs compute the same up to `tolerance` relative to the largest result.
pub fn assert_same(before: &Graph, after: &Graph, tolerance: f64) {
    for seed in [100, 200, 300] {
        for (old, new) in run(before, seed).iter().zip(&run(after, seed)) {
            assert_eq!((old.element_type(), old.shape()), (new.element_type(), new.shape()));
            let (old, new) = (old.to_f64s().unwrap(), new.to_f64s().unwrap());
            let scale = old.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
            for (old, new) in old.iter().zip(&new) {
                let same = old == new || (old.is_nan() && new.is_nan()) || (old - new).abs() <= tolerance * scale;
                assert!(same, "{old} became {new}");
            }
        }
    }
}

/// Elements of all parameters.
pub fn parameters(graph: &Graph) -> usize {
    let roles = roles(graph);
    let parameters = graph.values().filter(|(id, _)| roles[id.index()] == Some(Role::Parameter));
    parameters.filter_map(|(_, value)| value.data.as_ref()).map(Tensor::len).sum()
}

/// Simplifies a copy and asserts what always holds: same results, same interface, a valid graph, no more parameters,
/// and nothing left for a second run.
pub fn simplified(before: &Graph, options: &SimplifyOptions, tolerance: f64) -> (Graph, SimplifyReport) {
    let mut after = before.clone();
    let report = simplify(&mut after, options).unwrap();
    slimnet_graph::validate::validate(&after).unwrap();
    let names = |graph: &Graph, ids: &[ValueId]| -> Vec<_> {
        ids.iter().map(|&id| (graph.value(id).name.clone(), graph.value(id).element_type)).collect()
    };
    let free = |graph: &Graph| graph.free_inputs().collect::<Vec<_>>();
    let mut typed = before.clone();
    slimnet_graph::infer::infer_graph(&mut typed).unwrap();
    assert_eq!(names(&typed, &free(&typed)), names(&after, &free(&after)));
    assert_eq!(names(&typed, typed.outputs()), names(&after, after.outputs()));
    assert!(parameters(&after) <= parameters(before), "{} -> {}", parameters(before), parameters(&after));
    assert_same(before, &after, tolerance);
    let mut again = after.clone();
    let second = simplify(&mut again, options).unwrap();
    assert!(!second.changed(), "a second run changed {second:?} after {report:?}");
    (after, report)
}

/// The operators of a graph in the order of execution.
pub fn operators(graph: &Graph) -> Vec<&str> {
    graph.schedule().unwrap().into_iter().map(|node: NodeId| graph.node(node).op.op_type()).collect()
}
