//! Which outputs a job takes losses of, and how: activations at their end, several of them, modes, parameters, batches.

use std::collections::{BTreeMap, HashMap};

use slimnet_engine::Threads;
use slimnet_engine::job::{Job, JobError, JobOptions, Loss, Teacher};
use slimnet_engine::train::{Batch, Evaluator, Metric, TrainOptions, Trainer};
use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_values;
use slimnet_graph::graph::{Dim, Graph, Value, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::{Binary, Cast, Unary};
use slimnet_graph::ops::layout::{Flatten, Reshape, Transpose};
use slimnet_graph::ops::normalization::{BatchNormalization, Dropout, Softmax, SoftmaxKind};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::validate::validate;

/// A graph with one input `x` of the given shape, whose first axis is `N`.
fn input(shape: &[usize]) -> (Graph, ValueId) {
    let mut graph = Graph::new("test");
    let x = graph.add_value(Value::new("x")).unwrap();
    let dims = std::iter::once(Dim::named("N")).chain(shape.iter().map(|&length| Dim::from(length)));
    graph.value_mut(x).element_type = Some(ElementType::F32);
    graph.value_mut(x).shape = Some(dims.collect());
    graph.add_input(x).unwrap();
    (graph, x)
}

/// A parameter that x is multiplied by, so that there is something to train.
fn weighted(graph: &mut Graph, x: ValueId) -> ValueId {
    infer_graph(graph).unwrap();
    let shape: Vec<usize> =
        graph.value(x).shape.as_ref().unwrap()[1..].iter().map(|dim| dim.known().unwrap()).collect();
    let w = graph.add_constant("w", Tensor::from_values(shape.clone(), vec![1f32; shape.iter().product()]).unwrap());
    graph.apply("weighted", Binary::Mul, &[x, w])
}

fn output(mut graph: Graph, outputs: &[ValueId]) -> Graph {
    for &output in outputs {
        graph.add_output(output);
    }
    infer_graph(&mut graph).unwrap();
    graph
}

fn softmax_of(graph: &mut Graph, x: ValueId, axis: i64) -> ValueId {
    graph.apply("p", Op::Softmax(SoftmaxKind::Softmax, Softmax { axis }), &[x])
}

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_values(shape.to_vec(), values.to_vec()).unwrap()
}

fn labels(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_values(shape.to_vec(), values.to_vec()).unwrap()
}

fn loss_of(job: &Job, given: &[(&str, Tensor)]) -> f64 {
    let find = |name: &str| job.graph.find_value(name).unwrap_or_else(|| panic!("no {name}"));
    let inputs: HashMap<_, _> = given.iter().map(|(name, data)| (find(name), data.clone())).collect();
    evaluate_values(&job.graph, &inputs, &[job.total], 1 << 20).unwrap()[&job.total].to_f64s().unwrap()[0]
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let sum: f64 = x.iter().map(|x| x.exp()).sum();
    x.iter().map(|x| x - sum.ln()).collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found} {expected}");
}

/// The score of a network of input `x` on one batch.
fn score(graph: Graph, metric: Metric, batch: &Batch) -> f64 {
    let output = graph.outputs()[0];
    let mut evaluator = Evaluator::new(graph, output, metric, BTreeMap::new(), &[]).unwrap();
    let threads = Threads::new(1).unwrap();
    evaluator.evaluate(std::iter::once(Ok(batch.clone())), &threads).unwrap().loss
}

#[test]
fn a_softmax_is_found_behind_what_only_moves_it() {
    let values = [1.0f32, 3.0, 0.5, -1.0, 0.0, 2.0];
    let expected = -f64::midpoint(log_softmax(&[1.0, 3.0, 0.5])[1], log_softmax(&[-1.0, 0.0, 2.0])[0]);
    for reshape in [false, true] {
        let (mut graph, x) = input(&[3, 1, 1]);
        let y = weighted(&mut graph, x);
        let p = softmax_of(&mut graph, y, 1);
        let p = if reshape {
            let shape = graph.add_constant("shape", Tensor::vector(vec![0i64, 3]));
            graph.apply("moved", Reshape { allowzero: false }, &[p, shape])
        } else {
            graph.apply("moved", Flatten { axis: 1 }, &[p])
        };
        let graph = output(graph, &[p]);
        let job = Job::build(&graph, &JobOptions::default()).unwrap();
        let given = [("x", tensor(&[2, 3, 1, 1], &values)), ("labels", labels(&[2], &[1, 0]))];
        close(loss_of(&job, &given), expected);
        // Large scores: the logarithm of a probability that is 0 in float32 would be infinite.
        let far = [("x", tensor(&[1, 3, 1, 1], &[200.0, 0.0, 0.0])), ("labels", labels(&[1], &[1]))];
        close(loss_of(&job, &far), 200.0);
        let batch = Batch { values: given.map(|(name, data)| (name.to_owned(), data)).to_vec(), samples: 2 };
        close(score(graph, Metric::Classes, &batch), expected);
    }
}

#[test]
fn classes_lie_along_the_axis_of_the_softmax() {
    // Two places of three classes, classes last; and then moved to the front.
    let values = [1.0f32, 3.0, 0.5, -1.0, 0.0, 2.0];
    let expected = -f64::midpoint(log_softmax(&[1.0, 3.0, 0.5])[1], log_softmax(&[-1.0, 0.0, 2.0])[0]);
    for moved in [false, true] {
        let (mut graph, x) = input(&[2, 3]);
        let y = weighted(&mut graph, x);
        let mut p = softmax_of(&mut graph, y, -1);
        if moved {
            p = graph.apply("moved", Transpose { perm: Some(vec![0, 2, 1]) }, &[p]);
        }
        let graph = output(graph, &[p]);
        let options = JobOptions { teachers: vec![graph.clone().into()], alpha: 0.5, ..JobOptions::default() };
        let job = Job::build(&graph, &JobOptions::default()).unwrap();
        let given = [("x", tensor(&[1, 2, 3], &values)), ("labels", labels(&[1, 2], &[1, 0]))];
        close(loss_of(&job, &given), expected);
        let batch = Batch { values: given.clone().map(|(name, data)| (name.to_owned(), data)).to_vec(), samples: 1 };
        close(score(graph.clone(), Metric::Classes, &batch), expected);
        // Imitating itself costs the entropy of what it says.
        let entropy = |x: &[f64]| -log_softmax(x).iter().map(|log| log * log.exp()).sum::<f64>();
        let imitation = f64::midpoint(entropy(&[1.0, 3.0, 0.5]), entropy(&[-1.0, 0.0, 2.0]));
        close(loss_of(&Job::build(&graph, &options).unwrap(), &given), f64::midpoint(expected, imitation));
    }
}

#[test]
fn outputs_that_a_loss_cannot_be_taken_of_are_refused() {
    let (mut graph, x) = input(&[3]);
    let y = weighted(&mut graph, x);
    let p = softmax_of(&mut graph, y, 1);
    let graph = output(graph, &[p]);
    let bce = JobOptions { loss: Loss::BinaryCrossEntropy, ..JobOptions::default() };
    let error = Job::build(&graph, &bce).unwrap_err();
    assert!(matches!(error, JobError::Output { .. }) && error.to_string().contains("softmax"), "{error}");
    // Classes merged with places.
    let (mut graph, x) = input(&[2, 3]);
    let y = weighted(&mut graph, x);
    let p = softmax_of(&mut graph, y, 2);
    let p = graph.apply("merged", Flatten { axis: 1 }, &[p]);
    let graph = output(graph, &[p]);
    let error = Job::build(&graph, &JobOptions::default()).unwrap_err();
    assert!(error.to_string().contains("merges"), "{error}");
    let evaluator = Evaluator::new(graph.clone(), graph.outputs()[0], Metric::Classes, BTreeMap::new(), &[]);
    assert!(evaluator.unwrap_err().to_string().contains("merges"));
    let (mut graph, x) = input(&[1]);
    let (y, w) = (graph.apply("same", Unary::Identity, &[x]), graph.add_constant("w", Tensor::vector(vec![1f32])));
    let y = graph.apply("weighted", Binary::Mul, &[y, w]);
    let train = JobOptions { train: vec!["w".into()], ..JobOptions::default() };
    let error = Job::build(&output(graph, &[y]), &train).unwrap_err();
    assert!(error.to_string().contains("one class"), "{error}");
}

fn normalized(graph: &mut Graph, x: ValueId, training_mode: bool) -> (ValueId, [ValueId; 4]) {
    let constant = |graph: &mut Graph, name: &str, values: &[f32]| {
        graph.find_value(name).unwrap_or_else(|| graph.add_constant(name, Tensor::vector(values.to_vec())))
    };
    let parts = [("scale", [1.5f32, 0.5]), ("bias", [0.0, 1.0]), ("mean", [0.5, -0.5]), ("variance", [2.0, 1.0])];
    let parts = parts.map(|(name, values)| constant(graph, name, &values));
    let op = BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode };
    let inputs: Vec<_> = std::iter::once(x).chain(parts).map(Some).collect();
    let y = graph.add_intermediate("normalized");
    graph.add_node("", Op::BatchNormalization(op), inputs, vec![Some(y)]).unwrap();
    (y, parts)
}

#[test]
fn statistics_of_two_normalisations_are_updated_one_after_the_other() {
    let (mut graph, x) = input(&[2]);
    let (y, _) = normalized(&mut graph, x, false);
    let double = graph.add_constant("double", Tensor::scalar(2f32));
    let y = graph.apply("doubled", Binary::Mul, &[y, double]);
    let (y, [_, _, mean, _]) = normalized(&mut graph, y, false);
    let graph = output(graph, &[y]);
    let job = Job::build(&graph, &JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() }).unwrap();
    assert_eq!(job.updates.len(), 2);
    let (_, new) = *job.updates.iter().find(|(state, _)| *state == mean).unwrap();
    let x = job.graph.find_value("x").unwrap();
    let rows = tensor(&[2, 2], &[1.0, 2.0, 3.0, 6.0]);
    let found = evaluate_values(&job.graph, &HashMap::from([(x, rows)]), &[new], 1 << 20).unwrap()[&new].to_f64s();
    // Means of the batches: (2, 4), then of the doubled normal ones 2 · bias = (0, 2).
    let expected = [0.9 * (0.9 * 0.5 + 0.1 * 2.0), 0.9 * (0.9 * -0.5 + 0.1 * 4.0) + 0.1 * 2.0];
    found.unwrap().iter().zip(expected).for_each(|(&found, expected)| close(found, expected));
}

#[test]
fn outputs_of_nodes_that_are_read_stay() {
    let (mut graph, x) = input(&[4]);
    let y = weighted(&mut graph, x);
    let (dropped, mask) = (graph.add_intermediate("dropped"), graph.add_intermediate("mask"));
    let inputs = vec![Some(y), Some(graph.add_constant("ratio", Tensor::scalar(0.5f32)))];
    graph.add_node("", Op::Dropout(Dropout { seed: None }), inputs, vec![Some(dropped), Some(mask)]).unwrap();
    let kept = graph.apply("kept", Op::Cast(Cast { saturate: true, to: ElementType::F32 }), &[mask]);
    let z = graph.apply("z", Binary::Add, &[dropped, kept]);
    let graph = output(graph, &[z]);
    let job = Job::build(&graph, &JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() }).unwrap();
    validate(&job.graph).unwrap();
    let mut trainer = Trainer::new(&job, 1, TrainOptions { batch: 2, ..TrainOptions::default() }).unwrap();
    let values = vec![("x".to_owned(), tensor(&[2, 4], &[1.0; 8])), ("targets".to_owned(), tensor(&[2, 4], &[0.0; 8]))];
    assert!(trainer.step(&Batch { values, samples: 2 }, &Threads::new(1).unwrap()).unwrap() > 0.0);
}

#[test]
fn settings_outside_their_range_are_refused() {
    let network = || {
        let (mut graph, x) = input(&[3]);
        let y = weighted(&mut graph, x);
        output(graph, &[y])
    };
    let wrong = [
        JobOptions { temperature: 0.0, ..JobOptions::default() },
        JobOptions { temperature: -1.0, ..JobOptions::default() },
        JobOptions { temperature: f32::NAN, ..JobOptions::default() },
        JobOptions { alpha: 1.5, ..JobOptions::default() },
        JobOptions { alpha: -0.1, ..JobOptions::default() },
        JobOptions { loss: Loss::CrossEntropy { label_smoothing: 1.1 }, ..JobOptions::default() },
        JobOptions { teachers: vec![Teacher { graph: network(), weight: 0.0 }], ..JobOptions::default() },
    ];
    for options in wrong {
        let error = Job::build(&network(), &options).unwrap_err();
        assert!(matches!(error, JobError::Setting { .. }), "{error}");
    }
}

#[test]
fn teachers_and_evaluation_use_running_statistics() {
    // Stored as in training; evaluated it must not look at the batch.
    let network = |training| {
        let (mut graph, x) = input(&[2]);
        let (y, _) = normalized(&mut graph, x, training);
        output(graph, &[y])
    };
    let values = tensor(&[2, 2], &[1.0, 2.0, 3.0, 6.0]);
    let batch = Batch {
        values: vec![("x".into(), values.clone()), ("targets".into(), tensor(&[2, 2], &[0.0; 4]))],
        samples: 2,
    };
    close(score(network(true), Metric::SquaredError, &batch), score(network(false), Metric::SquaredError, &batch));
    let loss = |training| {
        let teachers = vec![network(training).into()];
        let options = JobOptions { loss: Loss::None, classes: false, teachers, ..JobOptions::default() };
        loss_of(&Job::build(&network(false), &options).unwrap(), &[("x", values.clone())])
    };
    close(loss(true), loss(false));
    assert!(loss(false) > 0.01, "the student is in training");
    // New statistics that are read cannot be left out.
    let (mut graph, x) = input(&[2]);
    let (y, _) = normalized(&mut graph, x, true);
    let id = graph.value(y).producer().unwrap();
    let node = graph.node(id).clone();
    graph.remove_node(id);
    let mean = graph.add_intermediate("new mean");
    let outputs = vec![Some(y), Some(mean), Some(graph.add_intermediate("new variance"))];
    let inputs = node.inputs().to_vec();
    graph.add_node("", node.op, inputs, outputs).unwrap();
    let graph = output(graph, &[y, mean]);
    let error = Evaluator::new(graph, y, Metric::SquaredError, BTreeMap::new(), &[]).unwrap_err();
    assert!(error.to_string().contains("running statistics"), "{error}");
}

#[test]
fn every_output_is_imitated_in_its_own_way() {
    let network = |factor: f32| {
        let (mut graph, x) = input(&[2]);
        let w = graph.add_constant("w", Tensor::vector(vec![factor; 2]));
        let y = graph.apply("values", Binary::Mul, &[x, w]);
        let scores = graph.apply("scores", Binary::Mul, &[x, w]);
        let classes = softmax_of(&mut graph, scores, 1);
        let free = graph.apply("free", Binary::Mul, &[x, w]);
        let free = graph.apply("q", Unary::Sigmoid, &[free]);
        output(graph, &[y, classes, free])
    };
    let (student, teacher) = (network(1.0), network(2.0));
    let options = JobOptions {
        loss: Loss::None,
        outputs: vec!["p".into()],
        teachers: vec![
            Teacher { graph: teacher.clone(), weight: 3.0 },
            Teacher { graph: student.clone(), weight: 1.0 },
        ],
        temperature: 2.0,
        ..JobOptions::default()
    };
    let job = Job::build(&student, &options).unwrap();
    assert_eq!(job.imitated, ["values", "p", "q"]);
    let x = [0.5f64, -1.0];
    let mix = |f: &dyn Fn(f64, usize) -> f64, k| 0.75 * f(2.0, k) + 0.25 * f(1.0, k);
    let p = |factor: f64, k: usize| log_softmax(&[x[0] * factor / 2.0, x[1] * factor / 2.0])[k].exp();
    let q = |factor: f64, k: usize| 1.0 / (1.0 + (-x[k] * factor / 2.0).exp());
    let values = (0..2).map(|k| (x[k] - mix(&|factor, k| factor * x[k], k)).powi(2)).sum::<f64>() / 2.0;
    let classes = -4.0 * (0..2).map(|k| mix(&p, k) * p(1.0, k).ln()).sum::<f64>();
    let binary = |k: usize| -(mix(&q, k) * q(1.0, k).ln() + (1.0 - mix(&q, k)) * (1.0 - q(1.0, k)).ln());
    let expected = values + classes + 4.0 * f64::midpoint(binary(0), binary(1));
    close(loss_of(&job, &[("x", tensor(&[1, 2], &[0.5, -1.0]))]), expected);
    // Labels for two outputs: both have a loss, on the same labels.
    let both = JobOptions { outputs: vec!["p".into(), "values".into()], ..JobOptions::default() };
    let job = Job::build(&student, &both).unwrap();
    let expected = -2.0 * log_softmax(&x)[1];
    close(loss_of(&job, &[("x", tensor(&[1, 2], &[0.5, -1.0])), ("labels", labels(&[1], &[1]))]), expected);
    let error = Job::build(&student, &JobOptions::default()).unwrap_err();
    assert!(error.to_string().contains("\"values\", \"p\", \"q\""), "{error}");
}

#[test]
fn what_is_trained_can_be_said() {
    let (mut graph, x) = input(&[2]);
    let (y, _) = normalized(&mut graph, x, false);
    let limit = graph.add_constant("limit", Tensor::scalar(0.25f32));
    let y = graph.apply("shifted", Binary::Sub, &[y, limit]);
    let graph = output(graph, &[y]);
    let trained = |freeze: &[&str], train: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let options = JobOptions {
            loss: Loss::MeanSquaredError,
            freeze: list(freeze),
            train: list(train),
            ..JobOptions::default()
        };
        let job = Job::build(&graph, &options)?;
        Ok::<_, JobError>(job.parameters.iter().map(|&id| job.graph.value(id).name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(trained(&["*"], &["sc*"]).unwrap(), ["scale"]);
    assert!(!trained(&["scale"], &[]).unwrap().contains(&"scale".to_owned()));
    assert!(trained(&[], &["limit"]).unwrap().contains(&"limit".to_owned()));
    let error = trained(&["none"], &[]).unwrap_err();
    assert!(error.to_string().contains("freeze \"none\""), "{error}");
    assert!(matches!(trained(&["*"], &["mean"]), Err(JobError::NoParameters)), "statistics are not trained");
}

#[test]
fn a_fixed_number_of_samples_is_no_hindrance() {
    let network = |shape: Vec<i64>| {
        let (mut graph, x) = input(&[2, 3]);
        graph.value_mut(x).shape = Some(vec![Dim::from(1usize), Dim::from(2usize), Dim::from(3usize)]);
        let shape = graph.add_constant("shape", Tensor::vector(shape));
        let y = graph.apply("flat", Reshape { allowzero: false }, &[x, shape]);
        let y = weighted(&mut graph, y);
        output(graph, &[y])
    };
    let values = tensor(&[4, 2, 3], &(0..24u8).map(f32::from).collect::<Vec<_>>());
    let targets = tensor(&[4, 6], &[0.0; 24]);
    let given = vec![("x".to_owned(), values), ("targets".to_owned(), targets)];
    for shape in [vec![1, 6], vec![1, -1]] {
        let options = JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() };
        let job = Job::build(&network(shape.clone()), &options).unwrap();
        let mut trainer = Trainer::new(&job, 1, TrainOptions { batch: 4, ..TrainOptions::default() }).unwrap();
        let batch = Batch { values: given.clone(), samples: 4 };
        let expected = (0..24).map(|x| f64::from(x * x)).sum::<f64>() / 24.0;
        close(f64::from(trainer.step(&batch, &Threads::new(1).unwrap()).unwrap()), expected);
        close(score(network(shape), Metric::SquaredError, &batch), expected);
    }
    // A reshape that means something else by the same number.
    assert!(slimnet_engine::job::free_batch(&network(vec![6, 1])).is_none());
}
