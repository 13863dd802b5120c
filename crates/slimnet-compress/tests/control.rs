//! Networks with new random weights.

use slimnet_compress::constraint::{Constraint, Pattern, record};
use slimnet_compress::control::{ControlError, reinitialise};
use slimnet_graph::graph::{Dim, Graph};
use slimnet_graph::ops::elementwise::Binary;
use slimnet_graph::ops::product::Einsum;
use slimnet_graph::tensor::Tensor;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{Builder, Conv2d, Init, ZooOption, ZooOptions, architectures, build};
use slimnet_graph::{ElementType, ValueId};

fn data(graph: &Graph, name: &str) -> Vec<f64> {
    graph.value(graph.find_value(name).unwrap()).data.as_ref().unwrap().to_f64s().unwrap()
}

/// Gives every parameter other data, as training would.
fn trained(graph: &mut Graph) {
    let roles = slimnet_graph::roles::roles(graph);
    let ids: Vec<_> = graph.values().map(|(id, _)| id).filter(|id| roles[id.index()].is_some()).collect();
    for id in ids {
        let old = graph.value(id).data.clone().unwrap();
        if roles[id.index()] != Some(slimnet_graph::ops::Role::Constant) {
            let normal = Distribution::Normal { mean: 5.0, deviation: 1.0 };
            graph.set_data(id, tensor(old.element_type(), old.shape().to_vec(), Stream::new(3, 3), normal).unwrap());
        }
    }
}

#[test]
fn networks_of_the_zoo_become_what_they_were() {
    for architecture in architectures() {
        for init in [architecture.init, Init::PyTorch] {
            let width = architecture.takes.contains(&ZooOption::Width).then_some(0.25);
            let options = ZooOptions { width, init: Some(init), seed: 5, ..ZooOptions::default() };
            let fresh = build(architecture.name, &options).unwrap();
            let mut graph = fresh.clone();
            trained(&mut graph);
            assert!(reinitialise(&mut graph, Some(init), 5).unwrap() > 4, "{}", architecture.name);
            for (id, value) in fresh.values() {
                assert!(value.data == graph.value(id).data, "{} {:?} {}", architecture.name, init, value.name);
            }
            // Another seed gives other weights.
            reinitialise(&mut graph, Some(init), 6).unwrap();
            assert!(fresh.values().any(|(id, value)| value.data != graph.value(id).data));
        }
    }
}

fn image(layers: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> Graph {
    let mut net = Builder::new("net", 1, Init::KaimingFanOut);
    let shape = [Dim::named("N"), Dim::from(8usize), Dim::from(4usize), Dim::from(4usize)];
    let input = net.input("input", &shape).unwrap();
    let output = layers(&mut net, input);
    net.output("output", output);
    net.finish()
}

fn variance(values: &[f64]) -> f64 {
    let left: Vec<f64> = values.iter().copied().filter(|&value| value != 0.0).collect();
    left.iter().map(|value| value * value).sum::<f64>() / left.len() as f64
}

#[test]
fn what_follows_decides_where_nothing_is_said() {
    let mut graph = image(|net, x| {
        let x = net.conv2d("rectified", x, Conv2d::new(200, 3)).unwrap();
        let x = net.batch_norm("norm", x, 1e-5).unwrap();
        let x = net.relu("relu", x).unwrap();
        net.conv2d("last", x, Conv2d { bias: true, ..Conv2d::new(50, 1) }).unwrap()
    });
    trained(&mut graph);
    reinitialise(&mut graph, None, 1).unwrap();
    let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.05, "{found} {expected}");
    near(variance(&data(&graph, "rectified.weight")), 2.0 / 72.0);
    near(variance(&data(&graph, "last.weight")), 2.0 / 250.0);
    let bound = (3.0 * 2.0 / 250.0f64).sqrt();
    assert!(data(&graph, "last.weight").iter().all(|weight| weight.abs() <= bound), "Glorot's is uniform");
    let all = |name, number| assert!(data(&graph, name).iter().all(|&value| value == number), "{name}");
    all("last.bias", 0.0);
    all("norm.weight", 1.0);
    all("norm.bias", 0.0);
    all("norm.running_mean", 0.0);
    all("norm.running_var", 1.0);
}

#[test]
fn recorded_zeros_stay_and_make_the_rest_larger() {
    let mut graph = image(|net, x| net.conv2d("layer", x, Conv2d::new(300, 3)).unwrap());
    let weight = graph.find_value("layer.weight").unwrap();
    let pruned: Vec<f32> = (0..300 * 72).map(|index| if index % 4 == 1 { 3.0 } else { 0.0 }).collect();
    graph.set_data(weight, Tensor::from_values(vec![300, 8, 3, 3], pruned.clone()).unwrap());
    let mut dense = graph.clone();
    reinitialise(&mut dense, Some(Init::KaimingFanIn), 1).unwrap();
    assert!(data(&dense, "layer.weight").iter().all(|&value| value != 0.0), "no record, no zeros");
    record(&mut graph, weight, Constraint::Sparse(Pattern::Single));
    reinitialise(&mut graph, Some(Init::KaimingFanIn), 1).unwrap();
    let found = data(&graph, "layer.weight");
    assert!(found.iter().zip(&pruned).all(|(&new, &old)| (new == 0.0) == (old == 0.0)));
    let expected = 2.0 / 18.0;
    assert!((variance(&found) / expected - 1.0).abs() < 0.05, "{}", variance(&found));
    assert!(!graph.value(weight).metadata.is_empty());
}

#[test]
fn preparation_of_data_stays() {
    let mut graph = image(|net, x| {
        let mean = net.filled("mean", vec![8, 1, 1], 0.4).unwrap();
        let x = net.apply("centred", Binary::Sub, &[x, mean]).unwrap();
        let deviation = net.filled("deviation", vec![8, 1, 1], 0.2).unwrap();
        let x = net.apply("scaled", Binary::Div, &[x, deviation]).unwrap();
        let x = net.conv2d("layer", x, Conv2d::new(5, 3)).unwrap();
        let shift = net.filled("shift", vec![5, 1, 1], 0.4).unwrap();
        let scale = net.filled("scale", vec![5, 1, 1], 0.2).unwrap();
        let x = net.add("shifted", x, shift).unwrap();
        net.multiply("rescaled", x, scale).unwrap()
    });
    reinitialise(&mut graph, None, 1).unwrap();
    let first = |name| data(&graph, name)[0] as f32;
    assert_eq!(["mean", "deviation", "shift", "scale"].map(first), [0.4, 0.2, 0.0, 1.0]);
}

#[test]
fn unknown_parameters_are_named() {
    let mut graph = image(|net, x| {
        let weight = net.filled("odd", vec![8, 3], 1.0).unwrap();
        net.apply("einsum", Einsum { equation: "nchw,cd->ndhw".into() }, &[x, weight]).unwrap()
    });
    let error = reinitialise(&mut graph, None, 1).unwrap_err();
    assert!(matches!(&error, ControlError::Unknown { value, .. } if value == "odd"), "{error}");
    assert!(data(&graph, "odd").iter().all(|&value| value == 1.0));
    let mut graph = image(|net, x| {
        let quantized = Tensor::from_values(vec![8, 8, 1, 1], vec![1i8; 64]).unwrap();
        let weight = net.constant("quantized", quantized);
        let scale = net.constant("scale", Tensor::scalar(0.1f32));
        let op = slimnet_graph::ops::quantization::DequantizeLinear { axis: 1, block_size: 0 };
        let weight = net.apply("dequantized", op, &[weight, scale]).unwrap();
        let conv = Conv2d::new(8, 1);
        let first = net.conv2d("first", x, conv).unwrap();
        let op = net.graph().nodes().last().unwrap().1.op.clone();
        net.apply("second", op, &[first, weight]).unwrap()
    });
    let error = reinitialise(&mut graph, None, 1).unwrap_err();
    assert!(matches!(&error, ControlError::Quantized { value } if value == "quantized"), "{error}");
    assert_eq!(
        graph.value(graph.find_value("quantized").unwrap()).data.as_ref().unwrap().element_type(),
        ElementType::I8
    );
}
