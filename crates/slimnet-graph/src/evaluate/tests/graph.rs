use std::collections::HashMap;

use super::*;
use crate::evaluate::{GraphEvaluateError, evaluate_graph, evaluate_values};
use crate::graph::{Dim, Graph, Value, ValueId};

fn input(graph: &mut Graph, name: &str, shape: &[&str]) -> ValueId {
    let dims = shape.iter().map(|dim| dim.parse::<i64>().map_or_else(|_| Dim::parse(dim), Dim::from)).collect();
    let mut value = Value::default();
    (value.name, value.element_type, value.shape) = (name.into(), Some(ElementType::F32), Some(dims));
    let id = graph.add_value(value).unwrap();
    graph.add_input(id).unwrap();
    id
}

/// relu(a · 2 + b), and a node that nothing needs and that cannot be evaluated.
fn small() -> (Graph, ValueId, ValueId) {
    let mut graph = Graph::new("small");
    let (a, b) = (input(&mut graph, "a", &["N", "2"]), input(&mut graph, "b", &["N", "2*N"]));
    let two = graph.add_constant("two", f32s(&[], &[2.0]));
    let doubled = graph.apply("doubled", plain("Mul"), &[a, two]);
    let sum = graph.apply("sum", plain("Add"), &[doubled, b]);
    let result = graph.apply("result", plain("Relu"), &[sum]);
    graph.apply("broken", plain("MatMul"), &[two, two]);
    graph.add_output(result);
    (graph, a, b)
}

#[test]
fn a_graph_and_parts_of_it() {
    let (graph, a, b) = small();
    let inputs = HashMap::from([(a, f32s(&[1, 2], &[1.0, -2.0])), (b, f32s(&[1, 2], &[0.5, 0.5]))]);
    let results = evaluate_graph(&graph, &inputs, LIMIT).unwrap();
    assert_eq!(results.len(), 1);
    assert_near(&results[&graph.outputs()[0]], &[1, 2], &[2.5, 0.0]);
    let (doubled, sum) = (graph.find_value("doubled").unwrap(), graph.find_value("sum").unwrap());
    let results = evaluate_values(&graph, &inputs, &[sum, doubled, a], LIMIT).unwrap();
    assert_near(&results[&doubled], &[1, 2], &[2.0, -4.0]);
    assert_near(&results[&sum], &[1, 2], &[2.5, -3.5]);
    assert_eq!(results[&a], inputs[&a]);
    // A value that is given is not computed.
    let given = HashMap::from([(sum, f32s(&[2], &[-1.0, 7.0]))]);
    let results = evaluate_graph(&graph, &given, LIMIT).unwrap();
    assert_near(&results[&graph.outputs()[0]], &[2], &[0.0, 7.0]);
}

#[test]
fn what_is_wrong_is_named() {
    let (graph, a, b) = small();
    let error = evaluate_graph(&graph, &HashMap::from([(a, counting(&[1, 2]))]), LIMIT).unwrap_err();
    assert_eq!(error, GraphEvaluateError::MissingInput("b".into()));
    let one = || f32s(&[1, 2], &[1.0, 2.0]);
    for (wrong, found) in [
        (counting(&[1, 3]), "float32[1, 3]"),
        (counting(&[2]), "float32[2]"),
        (ints(ElementType::I64, &[1, 2], &[0, 0]), "int64[1, 2]"),
        // N is 2 for `a` then, so `b` should be 2 × 4.
        (counting(&[2, 2]), "float32[1, 2]"),
    ] {
        let error = evaluate_graph(&graph, &HashMap::from([(a, wrong), (b, one())]), LIMIT).unwrap_err();
        assert!(error.to_string().contains(found), "{error}");
    }
    let broken = graph.find_value("broken").unwrap();
    let error = evaluate_values(&graph, &HashMap::new(), &[broken], LIMIT).unwrap_err();
    assert!(error.to_string().starts_with("MatMul \"broken\": "), "{error}");
}
