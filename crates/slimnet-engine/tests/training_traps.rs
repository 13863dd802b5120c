//! What is easily done wrong in training without a word: each of these was.

use std::collections::BTreeMap;

use slimnet_engine::Threads;
use slimnet_engine::job::{Job, JobOptions, Loss};
use slimnet_engine::optimize::Schedule;
use slimnet_engine::train::statistics::{Measurement, insert_batch_norm, reestimate_batch_norm};
use slimnet_engine::train::{
    Batch, Best, Control, Evaluator, Metric, Observer, Score, Source, SourceError, TrainError, TrainOptions, Trainer,
};
use slimnet_graph::Op;
use slimnet_graph::graph::{Dim, Graph, Value, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::{Binary, Clip, Unary};
use slimnet_graph::ops::layout::{Reshape, Transpose};
use slimnet_graph::ops::normalization::{BatchNormalization, Softmax, SoftmaxKind};
use slimnet_graph::ops::product::MatMul;
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::{ZooOptions, build};

fn network(shape: Vec<Dim>) -> (Graph, ValueId) {
    let mut graph = Graph::new("review");
    let x = graph.add_value(Value::new("x")).unwrap();
    (graph.value_mut(x).element_type, graph.value_mut(x).shape) = (Some(ElementType::F32), Some(shape));
    graph.add_input(x).unwrap();
    (graph, x)
}

fn free(shape: &[usize]) -> (Graph, ValueId) {
    network(std::iter::once(Dim::named("N")).chain(shape.iter().map(|&length| Dim::from(length))).collect())
}

fn output(mut graph: Graph, output: ValueId) -> Graph {
    graph.add_output(output);
    infer_graph(&mut graph).unwrap();
    graph
}

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_values(shape.to_vec(), values.to_vec()).unwrap()
}

fn batch(samples: usize, values: Vec<(&str, Tensor)>) -> Batch {
    Batch { values: values.into_iter().map(|(name, data)| (name.to_owned(), data)).collect(), samples }
}

fn threads() -> Threads {
    Threads::new(1).unwrap()
}

fn evaluator(graph: &Graph, metric: Metric) -> Evaluator {
    Evaluator::new(graph.clone(), graph.outputs()[0], metric, BTreeMap::new(), &[]).unwrap()
}

fn run(graph: &Graph, given: &Batch) -> Vec<f64> {
    evaluator(graph, Metric::SquaredError).run(given, &threads()).unwrap().to_f64s().unwrap()
}

fn loss(graph: &Graph, metric: Metric, given: &Batch) -> f64 {
    evaluator(graph, metric).evaluate(std::iter::once(Ok(given.clone())), &threads()).unwrap().loss
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{found}, expected {expected}");
}

struct Batches(Vec<Batch>);

impl Source for Batches {
    fn batches_per_epoch(&self) -> usize {
        self.0.len()
    }

    fn epoch(&self, _epoch: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch, SourceError>> + '_> {
        Box::new(self.0[first..].iter().cloned().map(Ok))
    }
}

fn batch_norm(graph: &mut Graph, x: ValueId, parts: [ValueId; 4]) -> ValueId {
    let op = BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: false };
    let inputs = std::iter::once(x).chain(parts).map(Some).collect();
    let y = graph.add_intermediate("normalized");
    graph.add_node("", Op::BatchNormalization(op), inputs, vec![Some(y)]).unwrap();
    y
}

/// `torch.onnx.export` gives equal initializers one name: of fresh batch normalisation, scale and variance are one tensor,
/// and so are bias and mean.
fn deduplicated() -> Graph {
    let (mut graph, x) = free(&[2]);
    let ones = graph.add_constant("ones", Tensor::vector(vec![1f32; 2]));
    let zeros = graph.add_constant("zeros", Tensor::vector(vec![0f32; 2]));
    let y = batch_norm(&mut graph, x, [ones, zeros, zeros, ones]);
    let w = graph.add_constant("w", tensor(&[2, 2], &[1.0, 0.5, -0.5, 1.0]));
    let y = graph.apply("y", MatMul {}, &[y, w]);
    output(graph, y)
}

fn points() -> Batch {
    let x = tensor(&[4, 2], &[5.0, 1.0, 7.0, 2.0, 9.0, 3.0, 3.0, 6.0]);
    batch(4, vec![("x", x), ("targets", tensor(&[4, 2], &[1.0; 8]))])
}

/// The memory of such a value is that of the statistic: the optimiser moves what nobody reads, and scale and bias drift to
/// the variance and mean of the data.
#[test]
fn parameters_that_are_statistics_too_follow_their_gradient_alone() {
    let options = JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() };
    let job = Job::build(&deduplicated(), &options).unwrap();
    for rate in [0.0, 0.05] {
        let options =
            TrainOptions { batch: 4, epochs: 50, rate, schedule: Schedule::Constant, ..TrainOptions::default() };
        let mut trainer = Trainer::new(&job, 1, options).unwrap();
        let first = trainer.step(&points(), &threads()).unwrap();
        let last = (0..20).map(|_| trainer.step(&points(), &threads()).unwrap()).last().unwrap();
        if rate == 0.0 {
            // Normalised by its batch, the same batch gives the same as long as no parameter moves.
            close(f64::from(last), f64::from(first));
        } else {
            let names = trainer.names();
            let unique = names.iter().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(names.len(), unique.len(), "{names:?}: which of them is written?");
        }
    }
}

#[test]
fn measuring_statistics_leaves_parameters() {
    let mut graph = deduplicated();
    let measurement = Measurement { batch: 4, batches: 1, lengths: BTreeMap::new() };
    reestimate_batch_norm(&mut graph, &Batches(vec![points()]), &measurement, &threads()).unwrap();
    // Normalised: the mean over the batch of the scores is that of bias 0.
    let y = run(&graph, &points());
    close(y.iter().step_by(2).sum::<f64>() / 4.0, 0.0);
}

/// Two normalisations that share scale, bias and statistics, fed with values of mean 6 and 60.
#[test]
fn shared_statistics_are_measured_on_all_that_share_them() {
    let (mut graph, x) = free(&[1]);
    let part = |graph: &mut Graph, name: &str, value: f32| graph.add_constant(name, Tensor::vector(vec![value]));
    let parts = [("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("variance", 1.0)];
    let parts = parts.map(|(name, value)| part(&mut graph, name, value));
    let ten = graph.add_constant("ten", Tensor::scalar(10f32));
    let far = graph.apply("far", Binary::Mul, &[x, ten]);
    let (a, b) = (batch_norm(&mut graph, x, parts), batch_norm(&mut graph, far, parts));
    let y = graph.apply("y", Binary::Add, &[a, b]);
    let mut graph = output(graph, y);
    let source = Batches(vec![batch(2, vec![("x", tensor(&[2, 1], &[5.0, 7.0]))])]);
    let measurement = Measurement { batch: 2, batches: 1, lengths: BTreeMap::new() };
    reestimate_batch_norm(&mut graph, &source, &measurement, &threads()).unwrap();
    let mean = graph.value(parts[2]).data.as_ref().unwrap().to_f64s().unwrap()[0];
    close(mean, f64::midpoint(6.0, 60.0));
}

/// Exported for one sample: its numbers divided by the largest of them.
#[test]
fn samples_of_a_network_for_one_do_not_mix_when_it_is_freed() {
    for kind in ["all axes", "first axis"] {
        let (mut graph, x) = network(vec![Dim::from(1usize), Dim::from(2usize)]);
        let reduce = |keepdims| Reduce { keepdims, noop_with_empty_axes: false };
        let y = if kind == "all axes" {
            let largest = graph.apply("largest", Op::Reduce(ReduceKind::Max, reduce(false)), &[x]);
            graph.apply("y", Binary::Div, &[x, largest])
        } else {
            let axes = graph.add_constant("axes", Tensor::vector(vec![0i64]));
            let mean = graph.apply("mean", Op::Reduce(ReduceKind::Mean, reduce(true)), &[x, axes]);
            graph.apply("y", Binary::Div, &[x, mean])
        };
        let graph = output(graph, y);
        let found = run(&graph, &batch(2, vec![("x", tensor(&[2, 2], &[1.0, 2.0, 4.0, 8.0]))]));
        let expected = if kind == "all axes" { [0.5, 1.0, 0.5, 1.0] } else { [1.0; 4] };
        assert_eq!(found, expected, "{kind}");
    }
}

/// `softmax(x xᵀ) x` over the first axis, which is 1: each sample is itself. Freed, samples attend to each other.
#[test]
fn samples_of_a_network_for_one_do_not_attend_to_each_other() {
    let (mut graph, x) = network(vec![Dim::from(1usize), Dim::from(2usize)]);
    let t = graph.apply("t", Transpose { perm: None }, &[x]);
    let s = graph.apply("s", MatMul {}, &[x, t]);
    let p = graph.apply("p", Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: 1 }), &[s]);
    let y = graph.apply("y", MatMul {}, &[p, x]);
    let graph = output(graph, y);
    let values = [0.1f32, 0.2, 0.4, 0.8];
    let found = run(&graph, &batch(2, vec![("x", tensor(&[2, 2], &values))]));
    found.iter().zip(values).for_each(|(&found, expected)| close(found, f64::from(expected)));
}

#[test]
fn losses_of_evaluation_are_those_of_training_where_probabilities_saturate() {
    // Sigmoid(20) is 1 in float32; the loss of a target of 0 is 20 all the same.
    let (mut graph, x) = free(&[1]);
    let y = graph.apply("y", Unary::Sigmoid, &[x]);
    let given = batch(1, vec![("x", tensor(&[1, 1], &[20.0])), ("targets", tensor(&[1, 1], &[0.0]))]);
    close(loss(&output(graph, y), Metric::Binary, &given), 20.0);
}

#[test]
fn cross_entropy_of_evaluation_is_that_of_training_where_probabilities_vanish() {
    let (mut graph, x) = free(&[3]);
    let y = graph.apply("y", Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: 1 }), &[x]);
    let labels = Tensor::vector(vec![1i64]);
    let given = batch(1, vec![("x", tensor(&[1, 3], &[200.0, 0.0, 0.0])), ("labels", labels)]);
    close(loss(&output(graph, y), Metric::Classes, &given), 200.0);
}

/// The job refuses it; evaluation takes probabilities for scores, and every one of them for "yes".
#[test]
fn binary_cross_entropy_of_a_softmax_is_refused_in_evaluation_too() {
    let (mut graph, x) = free(&[2]);
    let y = graph.apply("y", Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: 1 }), &[x]);
    let graph = output(graph, y);
    let made = Evaluator::new(graph.clone(), graph.outputs()[0], Metric::Binary, BTreeMap::new(), &[]);
    let given = batch(1, vec![("x", tensor(&[1, 2], &[9.0, -9.0])), ("targets", tensor(&[1, 2], &[1.0, 0.0]))]);
    let right = made.map(|mut made| made.evaluate(std::iter::once(Ok(given)), &threads()).unwrap().accuracy());
    assert!(right.as_ref().is_err() || right.as_ref().unwrap() == &Some(100.0), "{right:?}");
}

#[test]
fn a_validation_loss_that_is_no_number_is_not_the_best_for_ever() {
    let mut best = Best::default();
    for (epoch, loss) in [f64::NAN, 3.0, 0.5].into_iter().enumerate() {
        best.offer(epoch as u64, Score { samples: 1, correct: None, loss }, Vec::new());
    }
    assert_eq!(best.epoch(), Some(2));
}

/// `[N, H, W, K]` to `[N, H·W, K]`, as detectors end: the classes keep their axis, whatever N is.
#[test]
fn places_merged_behind_a_softmax_leave_its_axis() {
    let (mut graph, x) = free(&[2, 2, 3]);
    let w = graph.add_constant("w", Tensor::vector(vec![1f32; 3]));
    let y = graph.apply("weighted", Binary::Mul, &[x, w]);
    let p = graph.apply("p", Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: -1 }), &[y]);
    let shape = graph.add_constant("shape", Tensor::vector(vec![0i64, 4, 3]));
    let p = graph.apply("flat", Reshape { allowzero: false }, &[p, shape]);
    Job::build(&output(graph, p), &JobOptions::default()).unwrap();
}

#[test]
fn labels_below_zero_are_refused() {
    let (mut graph, x) = free(&[3]);
    let w = graph.add_constant("w", Tensor::vector(vec![1f32; 3]));
    let y = graph.apply("weighted", Binary::Mul, &[x, w]);
    let job = Job::build(&output(graph, y), &JobOptions::default()).unwrap();
    let mut trainer = Trainer::new(&job, 1, TrainOptions { batch: 1, ..TrainOptions::default() }).unwrap();
    let given = batch(1, vec![("x", tensor(&[1, 3], &[1.0, 2.0, 3.0])), ("labels", Tensor::vector(vec![-1i64]))]);
    let found = trainer.step(&given, &threads());
    assert!(found.is_err(), "trained on class 2: {found:?}");
}

/// y = clip(x, 0, |a|), the learned limit of PACT: dy/da is 1 where x is beyond it.
#[test]
fn limits_of_clip_have_a_gradient_or_are_refused() {
    let (mut graph, x) = free(&[2]);
    let a = graph.add_constant("a", Tensor::scalar(1f32));
    let zero = graph.add_constant("zero", Tensor::scalar(0f32));
    let limit = graph.apply("limit", Unary::Abs, &[a]);
    let scaled = graph.apply("scaled", Binary::Mul, &[x, a]);
    let y = graph.apply("y", Op::Clip(Clip {}), &[scaled, zero, limit]);
    let train = vec!["a".to_owned()];
    let options = JobOptions { loss: Loss::MeanSquaredError, train, ..JobOptions::default() };
    let job = Job::build(&output(graph, y), &options).unwrap();
    let options = TrainOptions {
        batch: 1,
        rate: 0.1,
        schedule: Schedule::Constant,
        rule: slimnet_engine::optimize::Rule::Sgd { momentum: 0.0, nesterov: false },
        ..TrainOptions::default()
    };
    let Ok(mut trainer) = Trainer::new(&job, 1, options) else { return };
    let given = batch(1, vec![("x", tensor(&[1, 2], &[5.0, 0.5])), ("targets", tensor(&[1, 2], &[0.0, 0.0]))]);
    trainer.step(&given, &threads()).unwrap();
    // Mean of (a², (a/2)²): its slope at 1 is 1.25.
    close(trainer.values().unwrap()[0].1.to_f64s().unwrap()[0], 1.0 - 0.1 * 1.25);
}

fn linear() -> Job {
    let (mut graph, x) = free(&[1]);
    let w = graph.add_constant("w", tensor(&[1, 1], &[1.0]));
    let y = graph.apply("y", MatMul {}, &[x, w]);
    let options = JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() };
    Job::build(&output(graph, y), &options).unwrap()
}

fn step_of(value: f32) -> Batch {
    batch(1, vec![("x", tensor(&[1, 1], &[value])), ("targets", tensor(&[1, 1], &[0.0]))])
}

#[test]
fn very_many_epochs_do_not_overflow() {
    let options = TrainOptions { batch: 1, epochs: u64::MAX, ..TrainOptions::default() };
    let mut trainer = Trainer::new(&linear(), 2, options).unwrap();
    trainer.step(&step_of(1.0), &threads()).unwrap();
}

#[test]
fn settings_of_training_outside_their_range_are_refused() {
    let wrong = [
        ("clip", TrainOptions { clip: Some(-1.0), ..TrainOptions::default() }),
        ("average", TrainOptions { average: Some(2.0), ..TrainOptions::default() }),
        ("rate", TrainOptions { rate: f32::NAN, ..TrainOptions::default() }),
        ("weight decay", TrainOptions { weight_decay: -1.0, ..TrainOptions::default() }),
    ];
    let taken: Vec<_> = wrong
        .into_iter()
        .filter(|(_, options)| Trainer::new(&linear(), 1, TrainOptions { batch: 1, ..options.clone() }).is_ok())
        .map(|(name, _)| name)
        .collect();
    assert!(taken.is_empty(), "taken: {taken:?}");
}

/// Stops after so many steps, and keeps the mean losses of epochs.
struct Watch(u64, Vec<f64>);

impl Observer<TrainError> for Watch {
    fn after_step(&mut self, trainer: &Trainer, _loss: f64) -> Result<Control, TrainError> {
        Ok(if trainer.step_number() == self.0 { Control::Stop } else { Control::Continue })
    }

    fn after_epoch(&mut self, _trainer: &Trainer, _epoch: u64, loss: f64) -> Result<Control, TrainError> {
        self.1.push(loss);
        Ok(Control::Continue)
    }
}

#[test]
fn the_loss_of_an_epoch_is_the_same_after_a_kill() {
    let source = Batches((1..=4u8).map(|value| step_of(f32::from(value))).collect());
    let trainer =
        || Trainer::new(&linear(), 4, TrainOptions { batch: 1, epochs: 1, rate: 1e-3, ..TrainOptions::default() });
    let (mut whole, mut first, mut rest) = (trainer().unwrap(), trainer().unwrap(), trainer().unwrap());
    let (mut one, mut two) = (Watch(0, Vec::new()), Watch(2, Vec::new()));
    assert!(whole.fit(&source, &threads(), &mut one).unwrap());
    assert!(!first.fit(&source, &threads(), &mut two).unwrap());
    rest.restore(&first.state()).unwrap();
    assert!(rest.fit(&source, &threads(), &mut two).unwrap());
    assert_eq!(whole.values().unwrap(), rest.values().unwrap());
    assert_eq!(one.1, two.1);
}

#[test]
fn a_step_that_fails_leaves_statistics() {
    let options = JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() };
    let (mut graph, x) = free(&[2]);
    let parts = [("scale", 1f32), ("bias", 0.0), ("mean", 0.0), ("variance", 1.0)]
        .map(|(name, value)| graph.add_constant(name, Tensor::vector(vec![value; 2])));
    let y = batch_norm(&mut graph, x, parts);
    let job = Job::build(&output(graph, y), &options).unwrap();
    let mut trainer = Trainer::new(&job, 1, TrainOptions { batch: 4, ..TrainOptions::default() }).unwrap();
    let before = trainer.values().unwrap();
    let mut bad = points();
    bad.values[1].1 = tensor(&[4, 2], &[f32::INFINITY; 8]);
    assert!(trainer.step(&bad, &threads()).is_err());
    assert_eq!(before, trainer.values().unwrap());
}

#[test]
fn biases_that_batch_norm_takes_over_do_not_stay_in_the_file() {
    let mut graph = build("lenet-5", &ZooOptions::default()).unwrap();
    let biases: Vec<_> = graph
        .nodes()
        .filter(|(_, node)| matches!(node.op, Op::Conv(_)))
        .filter_map(|(_, node)| node.input(2).map(|bias| graph.value(bias).name.clone()))
        .collect();
    let x = Tensor::from_values(vec![4, 1, 28, 28], (0..4 * 784).map(|i| (i % 17) as f32).collect()).unwrap();
    let source = Batches(vec![batch(4, vec![("input", x)])]);
    let measurement = Measurement { batch: 4, batches: 1, lengths: BTreeMap::new() };
    insert_batch_norm(&mut graph, &source, &measurement, &threads()).unwrap();
    assert!(!biases.is_empty());
    let left: Vec<_> = biases.iter().filter(|name| graph.find_value(name).is_some()).collect();
    assert!(left.is_empty(), "{left:?}");
}
