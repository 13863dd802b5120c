//! Statistics of batch normalisation measured on data: measured anew, and put behind convolutions.

use std::collections::BTreeMap;

use slimnet_engine::job::{Job, JobOptions};
use slimnet_engine::kernels::Context;
use slimnet_engine::train::evaluate::batch_lengths;
use slimnet_engine::train::statistics::{Measurement, insert_batch_norm, reestimate_batch_norm};
use slimnet_engine::train::{Batch, Source, SourceError, TrainOptions, Trainer};
use slimnet_engine::{Plan, PlanOptions, Threads};
use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::validate::validate;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{ZooOptions, build};

/// Batches of random images of eight samples.
struct Images(Vec<Batch>);

impl Images {
    fn new(count: u64, shape: &[usize]) -> Self {
        let normal = Distribution::Normal { mean: 0.5, deviation: 2.0 };
        let batch = |seed| {
            let shape = [&[8], shape].concat();
            let x = tensor(ElementType::F32, shape, Stream::new(3, seed), normal).unwrap();
            let labels = (0..8).map(|index| Stream::new(seed, 1).below(index, 10) as i64).collect();
            Batch { values: vec![("input".into(), x), ("labels".into(), Tensor::vector(labels))], samples: 8 }
        };
        Self((0..count).map(batch).collect())
    }
}

impl Source for Images {
    fn batches_per_epoch(&self) -> usize {
        self.0.len()
    }

    fn epoch(&self, _epoch: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch, SourceError>> + '_> {
        Box::new(self.0[first..].iter().cloned().map(Ok))
    }
}

fn measurement(batches: usize) -> Measurement {
    Measurement { batch: 8, batches, lengths: BTreeMap::new() }
}

/// The values of a graph on a batch.
fn values(graph: &Graph, value: ValueId, batch: &Batch) -> Vec<f64> {
    let lengths = batch_lengths(graph, 8, &BTreeMap::new());
    let mut plan = Plan::new(graph, &PlanOptions { lengths, kept: vec![value], ..PlanOptions::default() }).unwrap();
    for input in graph.free_inputs().collect::<Vec<_>>() {
        let name = &graph.value(input).name;
        plan.set(input, &batch.values.iter().find(|(given, _)| given == name).unwrap().1).unwrap();
    }
    plan.run(Context::default()).unwrap();
    plan.tensor(value).unwrap().to_f64s().unwrap()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The output as it is in training, where normalisation goes by the batch.
fn in_training(network: &Graph, batch: &Batch) -> Vec<f64> {
    let job = Job::build(network, &JobOptions::default()).unwrap();
    values(&job.graph, network.outputs()[0], batch)
}

#[test]
fn statistics_measured_anew_are_those_of_the_data() {
    let options = ZooOptions { channels: Some(1), resolution: Some(8), width: Some(0.25), ..ZooOptions::default() };
    let mut network = build("resnet8", &options).unwrap();
    let (images, threads) = (Images::new(3, &[1, 8, 8]), Threads::new(1).unwrap());
    let batch = &images.0[0];
    let output = network.outputs()[0];
    let before = distance(&values(&network, output, batch), &in_training(&network, batch));
    // Measured on the one batch, evaluation and training are the same.
    let count = reestimate_batch_norm(&mut network, &images, &measurement(1), &threads).unwrap();
    assert_eq!(count, network.nodes().filter(|(_, node)| matches!(node.op, Op::BatchNormalization(_))).count());
    let after = distance(&values(&network, output, batch), &in_training(&network, batch));
    assert!(before > 0.1 && after < 1e-4, "{before} {after}");
    // On all of them they are other ones.
    let one = network.clone();
    reestimate_batch_norm(&mut network, &images, &measurement(100), &threads).unwrap();
    assert!(distance(&values(&network, output, batch), &values(&one, output, batch)) > 1e-3);
}

#[test]
fn normalisation_that_is_put_in_changes_nothing_but_training() {
    let mut network = build("lenet-5", &ZooOptions::default()).unwrap();
    let original = network.clone();
    let (images, threads) = (Images::new(4, &[1, 28, 28]), Threads::new(1).unwrap());
    let output = network.outputs()[0];
    assert_eq!(insert_batch_norm(&mut network, &images, &measurement(1), &threads).unwrap(), 2);
    validate(&network).unwrap();
    let biased = |op: &Op, bias| matches!(op, Op::Conv(_)) && bias;
    assert!(!network.nodes().any(|(_, node)| biased(&node.op, node.input(2).is_some())));
    for batch in &images.0 {
        let (now, then) = (values(&network, output, batch), values(&original, output, batch));
        let size = then.iter().fold(0f64, |size, value| size.max(value.abs()));
        assert!(distance(&now, &then) < 1e-5 * size.max(1.0), "{}", distance(&now, &then));
    }
    // In training the batch that was measured goes through as before, too: the network need not learn anew.
    let (now, then) = (in_training(&network, &images.0[0]), values(&original, output, &images.0[0]));
    let size = then.iter().fold(0f64, |size, value| size.max(value.abs()));
    assert!(distance(&now, &then) < 1e-3 * size, "{} of {size}", distance(&now, &then));
    let job = Job::build(&network, &JobOptions::default()).unwrap();
    assert_eq!(job.updates.len(), 4);
    let mut trainer = Trainer::new(&job, 4, TrainOptions { batch: 8, rate: 0.01, ..TrainOptions::default() }).unwrap();
    let first = trainer.step(&images.0[0], &threads).unwrap();
    let last = (0..20).map(|_| trainer.step(&images.0[0], &threads).unwrap()).last().unwrap();
    assert!(last < first, "{first} {last}");
    // A network that is normalised already has no place for more.
    assert_eq!(insert_batch_norm(&mut network, &images, &measurement(1), &threads).unwrap(), 0);
}
