//! Gradients of a job's loss, of parameters that stay where they are.

use std::collections::{BTreeMap, HashMap};

use slimnet_engine::Threads;
use slimnet_engine::job::{Job, JobOptions};
use slimnet_engine::train::{Batch, Gradients, TrainError};
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::graph::{Dim, Graph};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{Builder, Conv2d, Init};
use slimnet_graph::{ElementType, Tensor};

const CLASSES: usize = 3;

/// Convolution, batch normalisation with statistics of its own, dropout and a dense layer.
fn network() -> Graph {
    let mut net = Builder::new("small", 1, Init::PyTorch);
    let x = net.input("x", &[Dim::named("N"), 2usize.into(), 4usize.into(), 4usize.into()]).unwrap();
    let y = net.conv2d("conv", x, Conv2d::new(3, 3)).unwrap();
    let y = net.batch_norm("norm", y, 1e-5).unwrap();
    let y = net.apply("tanh", Unary::Tanh, &[y]).unwrap();
    let y = net.dropout("dropout", y, 0.5).unwrap();
    let y = net.flatten("flat", y).unwrap();
    let y = net.linear("head", y, CLASSES).unwrap();
    net.output("logits", y);
    let mut graph = net.finish();
    infer_graph(&mut graph).unwrap();
    let vectors: Vec<_> = graph
        .values()
        .filter(|(_, value)| value.name.starts_with("norm."))
        .map(|(id, value)| (id, value.name.clone()))
        .collect();
    assert_eq!(vectors.len(), 4);
    for (id, name) in vectors {
        let spread = Distribution::Uniform { low: 0.5, high: 1.5 };
        graph.set_data(id, tensor(ElementType::F32, vec![3], Stream::named(2, &name), spread).unwrap());
    }
    graph
}

fn batch(samples: usize) -> Batch {
    let spread = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    let x = tensor(ElementType::F32, vec![samples, 2, 4, 4], Stream::named(4, "x"), spread).unwrap();
    let labels = Tensor::vector((0..samples as i64).map(|sample| sample % 3).collect::<Vec<_>>());
    Batch { values: vec![("x".into(), x), ("labels".into(), labels)], samples }
}

fn loss(graph: &Graph, batch: &Batch) -> f64 {
    let inputs = HashMap::from([(graph.find_value("x").unwrap(), batch.values[0].1.clone())]);
    let logits = evaluate_graph(graph, &inputs, 1 << 20).unwrap()[&graph.outputs()[0]].to_f64s().unwrap();
    let labels = batch.values[1].1.to_i64s().unwrap();
    let loss = |(row, &label): (&[f64], &i64)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[label as usize];
    logits.chunks(CLASSES).zip(&labels).map(loss).sum::<f64>() / batch.samples as f64
}

fn job(graph: &Graph, freeze_batch_norm: bool) -> Job {
    Job::build(graph, &JobOptions { freeze_batch_norm, ..JobOptions::default() }).unwrap()
}

#[test]
fn gradients_are_slopes_of_the_network_in_evaluation() {
    let (graph, batch, threads) = (network(), batch(5), Threads::new(2).unwrap());
    // However the job was built.
    for freeze in [true, false] {
        let mut gradients = Gradients::new(&job(&graph, freeze), 5, &BTreeMap::new()).unwrap();
        // Again and again: nothing has moved.
        for _ in 0..3 {
            let found = f64::from(gradients.run(&batch, &threads).unwrap());
            assert!((found - loss(&graph, &batch)).abs() < 1e-5);
        }
        for name in ["conv.weight", "norm.weight", "norm.bias", "head.weight", "head.bias"] {
            let id = graph.find_value(name).unwrap();
            let data = graph.value(id).data.clone().unwrap();
            let found = gradients.get(name).unwrap();
            assert_eq!(found.len(), data.len());
            for at in (0..data.len()).step_by(1 + data.len() / 8) {
                let changed = |by: f64| {
                    let mut elements = data.to_f64s().unwrap();
                    elements[at] += by;
                    let mut graph = graph.clone();
                    let shape = data.shape().to_vec();
                    graph.set_data(id, Tensor::from_f64s(ElementType::F32, shape, elements).unwrap());
                    loss(&graph, &batch)
                };
                let slope = (changed(0.01) - changed(-0.01)) / 0.02;
                assert!((f64::from(found[at]) - slope).abs() < 1e-4, "{name} {at}: {} {slope}", found[at]);
            }
        }
        assert_eq!(gradients.get("norm.running_mean"), None);
    }
}

#[test]
fn gradients_do_not_depend_on_threads() {
    let (graph, batch) = (network(), batch(32));
    let run = |count: usize| {
        let mut gradients = Gradients::new(&job(&graph, true), 32, &BTreeMap::new()).unwrap();
        gradients.run(&batch, &Threads::new(count).unwrap()).unwrap();
        ["conv.weight", "head.weight"].map(|name| gradients.get(name).unwrap().to_vec())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let (graph, threads) = (network(), Threads::new(1).unwrap());
    let mut gradients = Gradients::new(&job(&graph, true), 4, &BTreeMap::new()).unwrap();
    let whole = batch(8);
    assert!(matches!(gradients.run(&whole, &threads), Err(TrainError::Run(_))));
    assert_eq!(whole.part(6, 3).map(|part| part.samples), None);
    let part = whole.part(4, 4).unwrap();
    let labels: Vec<_> = part.values[1].1.to_i64s().unwrap();
    assert_eq!((part.samples, labels), (4, vec![1, 2, 0, 1]));
    gradients.run(&part, &threads).unwrap();
    let mut bad = part.clone();
    bad.values[1].1 = Tensor::vector(vec![0i64, 1, 3, 0]);
    assert!(matches!(gradients.run(&bad, &threads), Err(TrainError::Label { sample: 2, found: 3, .. })));
    bad.values[1] = part.values[1].clone();
    bad.values[0].1 = Tensor::from_values(vec![4, 2, 4, 4], vec![f32::NAN; 128]).unwrap();
    let error = gradients.run(&bad, &threads).unwrap_err();
    assert!(matches!(error, TrainError::LossNotFinite { .. }), "{error}");
    // And is as before.
    gradients.run(&part, &threads).unwrap();
}
