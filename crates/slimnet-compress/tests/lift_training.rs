//! Zeros stay zeros however the training form is trained.

#[allow(dead_code, unused_imports)] // another crate's tests use the rest
#[path = "../../slimnet-graph/tests/axes_support/mod.rs"]
mod axes_support;
mod sparse;

use std::collections::{BTreeMap, BTreeSet};

use slimnet_compress::{Keep, lift, lower};
use slimnet_engine::Threads;
use slimnet_engine::job::{Job, JobOptions, Loss};
use slimnet_engine::optimize::{Rule, Schedule};
use slimnet_engine::train::{Batch, TrainOptions, Trainer};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{ZooOptions, build};
use slimnet_graph::{ElementType, Graph, Tensor};
use sparse::prune;

const BATCH: usize = 4;
const STEPS: u64 = 12;

/// Samples for all inputs of a trainer.
fn batch(trainer: &Trainer, step: u64) -> Batch {
    let data = |(name, element_type, shape): (&str, ElementType, &[usize])| {
        let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
        (name.to_owned(), tensor(element_type, shape.to_vec(), Stream::named(step, name), normal).unwrap())
    };
    Batch { values: trainer.inputs().map(data).collect(), samples: BATCH }
}

/// The rules of the optimiser and what they come with.
fn settings() -> [TrainOptions; 3] {
    let options = TrainOptions { batch: BATCH, schedule: Schedule::Constant, rate: 0.01, ..TrainOptions::default() };
    [
        TrainOptions { weight_decay: 1e-3, clip: Some(0.5), ..options.clone() },
        TrainOptions { rule: Rule::Sgd { momentum: 0.9, nesterov: true }, average: Some(0.9), ..options.clone() },
        TrainOptions { rule: Rule::ADAM_W, weight_decay: 0.1, ..options },
    ]
}

/// The network after some steps, and the loss of the first; `None` where it cannot be trained at all.
fn train(network: &Graph, options: &TrainOptions, threads: &Threads) -> Option<(Graph, f32)> {
    let loss = JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() };
    let job = Job::build(network, &loss).ok()?;
    let mut trainer = Trainer::new(&job, STEPS as usize, options.clone()).ok()?;
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let batch = batch(&trainer, step);
        losses.push(trainer.step(&batch, threads).unwrap());
    }
    let mut trained = network.clone();
    for (name, values) in trainer.values().unwrap() {
        if let Some(id) = trained.find_value(&name) {
            trained.set_data(id, values);
        }
    }
    Some((trained, losses[0]))
}

/// By name of each tensor of `float32`: where it is 0.
fn zeros(graph: &Graph) -> BTreeMap<String, BTreeSet<usize>> {
    let of = |data: &Tensor| {
        let values = data.values::<f32>().ok()?.into_owned();
        Some(values.iter().enumerate().filter(|(_, value)| **value == 0.0).map(|(index, _)| index).collect())
    };
    let named = graph.values().filter_map(|(_, value)| Some((value.name.clone(), of(value.data.as_ref()?)?)));
    named.collect()
}

/// Trains both forms of a pruned network. Returns whether it can be trained.
fn check(network: &Graph, what: &str, options: &TrainOptions, threads: &Threads) -> bool {
    let mut network = network.clone();
    slimnet_engine::job::separate_statistics(&mut network);
    infer_graph(&mut network).unwrap();
    let Some((unmasked, expected)) = train(&network, options, threads) else { return false };
    let lifted = lift(&network, Keep::Recorded).unwrap();
    assert!(!lifted.sparse.is_empty(), "{what}");
    let (trained, loss) = train(&lifted.graph, options, threads).unwrap_or_else(|| panic!("{what}: only as it is"));
    // The first step computes the same.
    assert_eq!(loss.to_bits(), expected.to_bits(), "{what}");
    let lowered = lower(&trained);
    let (before, latent, after, without) = (zeros(&network), zeros(&trained), zeros(&lowered), zeros(&unmasked));
    for weight in &lifted.sparse {
        let name = &network.value(weight.value).name;
        // What is masked does not move in secret either.
        for after in [&latent, &after] {
            assert!(after[name].is_superset(&before[name]), "{what}: zeros of {name} moved");
        }
        assert_eq!(before[name].len(), weight.zeros);
    }
    let kept = |zeros: &BTreeMap<String, BTreeSet<usize>>| {
        lifted.sparse.iter().map(|weight| zeros[&network.value(weight.value).name].len()).sum::<usize>()
    };
    // Without masks many zeros are gone (not those of dead neurons), and what is not masked has moved.
    assert!(kept(&without) < kept(&before) * 3 / 4, "{what}: {} of {}", kept(&without), kept(&before));
    let moved =
        |weight: &slimnet_compress::Sparse| network.value(weight.value).data != lowered.value(weight.value).data;
    assert!(lifted.sparse.iter().any(moved), "{what}: nothing was trained");
    true
}

#[test]
fn zeros_of_random_networks_stay() {
    let threads = Threads::new(1).unwrap();
    let mut trained = 0;
    for seed in 0..24 {
        let mut network = axes_support::network(seed);
        prune(&mut network, 0.6, seed);
        let options = &settings()[seed as usize % 3];
        trained += usize::from(check(&network, &format!("network {seed}"), options, &threads));
    }
    assert!(trained >= 12, "only {trained} of 24 networks could be trained");
}

#[test]
fn zeros_of_known_networks_stay() {
    let threads = Threads::new(2).unwrap();
    for name in ["lenet-5", "resnet8", "ds-cnn"] {
        let mut network = build(name, &ZooOptions::default()).unwrap();
        prune(&mut network, 0.9, 3);
        for options in settings() {
            assert!(check(&network, name, &options, &threads), "{name} cannot be trained");
        }
    }
}
