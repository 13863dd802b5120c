//! Lossless removal after pruning of weights.

use std::collections::HashMap;

use slimnet_compress::constraint::{Constraint, Pattern, record, recorded};
use slimnet_compress::recover::remove_dead_channels;
use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::graph::{Dim, Graph, ValueId};
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::ops::product::MatMul;
use slimnet_graph::simplify::Change;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::validate::validate;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{Builder, Conv2d, Init};

const NORMAL: Distribution = Distribution::Normal { mean: 0.0, deviation: 1.0 };

fn outputs(graph: &Graph) -> Vec<f64> {
    let input = graph.inputs()[0];
    let data = tensor(ElementType::F32, vec![3, 3, 6, 6], Stream::new(1, 1), NORMAL).unwrap();
    let results = evaluate_graph(graph, &HashMap::from([(input, data)]), 1 << 24).unwrap();
    results[&graph.outputs()[0]].to_f64s().unwrap()
}

/// A convolution with batch normalisation and dropout, and a product whose weight is given transposed.
fn network() -> Graph {
    let mut net = Builder::new("net", 1, Init::PyTorch);
    let shape = [Dim::named("N"), Dim::from(3usize), Dim::from(6usize), Dim::from(6usize)];
    let x = net.input("input", &shape).unwrap();
    let x = net.conv2d("first", x, Conv2d { bias: true, ..Conv2d::new(6, 3) }).unwrap();
    let x = net.batch_norm("norm", x, 1e-5).unwrap();
    let x = net.relu("relu", x).unwrap();
    let x = net.dropout("drop", x, 0.5).unwrap();
    let x = net.conv2d("second", x, Conv2d::new(8, 1)).unwrap();
    let x = net.relu("relu2", x).unwrap();
    let x = net.global_average_pool("pool", x).unwrap();
    let x = net.flatten("flatten", x).unwrap();
    let weight = net.parameter("last", vec![4, 8], NORMAL).unwrap();
    let weight = net.apply("kept", Unary::Identity, &[weight]).unwrap();
    let weight = net.transpose("turned", weight, &[1, 0]).unwrap();
    let x = net.apply("product", MatMul {}, &[x, weight]).unwrap();
    net.output("output", x);
    net.finish()
}

/// Sets weights to 0 and records that they must stay so.
fn prune(graph: &mut Graph, name: &str, zero: impl Fn(&[usize]) -> bool) -> ValueId {
    let id = graph.find_value(name).unwrap();
    let data = graph.value(id).data.clone().unwrap();
    let mut values = data.values::<f32>().unwrap().into_owned();
    let [rows, columns] = [data.shape()[0], data.shape()[1]];
    let each = values.len() / (rows * columns);
    for (index, value) in values.iter_mut().enumerate() {
        if zero(&[index / each / columns, index / each % columns]) {
            *value = 0.0;
        }
    }
    graph.set_data(id, Tensor::from_values(data.shape().to_vec(), values).unwrap());
    record(graph, id, Constraint::Sparse(Pattern::Single));
    id
}

#[test]
fn dead_channels_go_and_records_stay() {
    let mut graph = network();
    // Channel 1 of the first layer is constant, channel 4 unread; channels 2 and 3 of the second are unread.
    let first = prune(&mut graph, "first.weight", |place| place[0] == 1 || place == [2, 1]);
    let second = prune(&mut graph, "second.weight", |place| place[1] == 4 || place == [0, 0]);
    prune(&mut graph, "last", |place| place[1] == 2 || place[1] == 3 || place == [3, 7]);
    let before = outputs(&graph);
    let report = remove_dead_channels(&mut graph).unwrap();
    validate(&graph).unwrap();
    assert_eq!(report.changes[&Change::Channels], 4);
    let after = outputs(&graph);
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-5), "{before:?} {after:?}");
    let shape = |id: ValueId| graph.value(id).known_shape().unwrap();
    assert_eq!((shape(first), shape(second)), (vec![4, 3, 3, 3], vec![6, 4, 1, 1]));
    let has = |wanted: fn(&Op) -> bool| graph.nodes().any(|(_, node)| wanted(&node.op));
    assert!(has(|op| matches!(op, Op::BatchNormalization(_))) && has(|op| matches!(op, Op::Dropout(_))));
    // Each weight has its record and its zeros, the transposed one too, which is another value now.
    let sparse: Vec<_> = graph
        .values()
        .filter(|(id, _)| recorded(&graph, *id).unwrap() == Some(Constraint::Sparse(Pattern::Single)))
        .map(|(_, value)| (value.known_shape().unwrap(), value.data.as_ref().unwrap().to_f64s().unwrap()))
        .collect();
    let lengths: Vec<_> = sparse.iter().map(|(shape, _)| shape.clone()).collect();
    assert_eq!(lengths.len(), 3);
    assert!(lengths.contains(&vec![6, 4]) || lengths.contains(&vec![4, 6]), "{lengths:?}");
    assert!(sparse.iter().all(|(_, values)| values.contains(&0.0)));
}

#[test]
fn what_is_left_of_a_weight_keeps_its_name() {
    let mut graph = network();
    remove_dead_channels(&mut graph).unwrap();
    let last = graph.value(graph.find_value("last").unwrap()).data.clone().unwrap();
    assert_eq!(last.shape(), [8, 4], "turned, under the name that options speak of");
}

#[test]
fn nothing_changes_where_nothing_is_dead() {
    let mut graph = network();
    let report = remove_dead_channels(&mut graph).unwrap();
    assert!(!report.changes.contains_key(&Change::Channels));
    assert!(graph.values().all(|(_, value)| value.metadata.is_empty()));
}

#[test]
fn what_is_small_is_no_zero() {
    let mut graph = network();
    let id = graph.find_value("first.weight").unwrap();
    let mut values = graph.value(id).data.as_ref().unwrap().values::<f32>().unwrap().into_owned();
    values[..27].fill(1e-30);
    graph.set_data(id, Tensor::from_values(vec![6, 3, 3, 3], values).unwrap());
    let report = remove_dead_channels(&mut graph).unwrap();
    assert!(!report.changes.contains_key(&Change::Channels));
}
