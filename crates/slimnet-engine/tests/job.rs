//! Training jobs: losses against values computed by hand, teachers, and the trainer.

use std::collections::HashMap;

use slimnet_engine::job::{Job, JobError, JobOptions, Loss};
use slimnet_engine::optimize::{Rule, Schedule};
use slimnet_engine::train::{Batch, TrainError, TrainOptions, Trainer};
use slimnet_engine::{Plan, PlanOptions, Threads};
use slimnet_graph::evaluate::evaluate_values;
use slimnet_graph::graph::{Dim, Graph, Value};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::normalization::{Softmax, SoftmaxKind};
use slimnet_graph::ops::product::Gemm;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{ZooOptions, build};
use slimnet_graph::{Op, onnx};

/// A network that gives its input times a matrix, perhaps through a softmax.
fn linear(weights: &[f32], classes: usize, softmax: bool) -> Graph {
    let mut graph = Graph::new("linear");
    let x = graph.add_value(Value::new("x")).unwrap();
    graph.value_mut(x).element_type = Some(ElementType::F32);
    graph.value_mut(x).shape = Some(vec![Dim::named("N"), Dim::from(classes)]);
    graph.add_input(x).unwrap();
    let w = graph.add_constant("w", Tensor::from_values(vec![classes, classes], weights.to_vec()).unwrap());
    let mut y = graph.apply("y", Gemm { alpha: 1.0, beta: 1.0, transA: false, transB: false }, &[x, w]);
    if softmax {
        y = graph.apply("p", Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: 1 }), &[y]);
    }
    graph.add_output(y);
    infer_graph(&mut graph).unwrap();
    graph
}

const IDENTITY: [f32; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

fn loss_of(job: &Job, given: &[(&str, Tensor)]) -> f64 {
    let find = |name: &str| job.graph.find_value(name).unwrap();
    let inputs: HashMap<_, _> = given.iter().map(|(name, data)| (find(name), data.clone())).collect();
    evaluate_values(&job.graph, &inputs, &[job.total], 1 << 20).unwrap()[&job.total].to_f64s().unwrap()[0]
}

fn rows(values: &[f32]) -> Tensor {
    Tensor::from_values(vec![values.len() / 3, 3], values.to_vec()).unwrap()
}

fn softmax(x: &[f64], temperature: f64) -> Vec<f64> {
    let powers: Vec<_> = x.iter().map(|x| (x / temperature).exp()).collect();
    powers.iter().map(|power| power / powers.iter().sum::<f64>()).collect()
}

#[test]
fn temperature_softens_as_in_the_mission() {
    for (temperature, expected) in [(1.0, [1.0, 0.0, 0.0]), (100.0, [0.56, 0.23, 0.21])] {
        let options = JobOptions {
            loss: Loss::None,
            teachers: vec![linear(&IDENTITY, 3, true).into()],
            temperature,
            ..JobOptions::default()
        };
        let job = Job::build(&linear(&IDENTITY, 3, true), &options).unwrap();
        let softened = job.graph.find_value("loss/softened").unwrap();
        let x = job.graph.find_value("x").unwrap();
        let inputs = HashMap::from([(x, rows(&[100.0, 10.0, 1.0]))]);
        let found = evaluate_values(&job.graph, &inputs, &[softened], 1 << 20).unwrap()[&softened].to_f64s().unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 0.005, "{temperature}: {found} {expected}");
        }
    }
}

#[test]
fn losses_are_what_they_are_defined_as() {
    let x = [1.0f32, 2.0, 0.5, -1.0, 0.0, 1.0];
    let labels = Tensor::vector(vec![1i64, 0]);
    let mean = |f: &dyn Fn(&[f64], usize) -> f64| {
        let row = |row: usize| x[3 * row..3 * row + 3].iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        f64::midpoint(f(&row(0), 1), f(&row(1), 0))
    };
    for through_softmax in [false, true] {
        for label_smoothing in [0.0f32, 0.2] {
            let options = JobOptions { loss: Loss::CrossEntropy { label_smoothing }, ..JobOptions::default() };
            let job = Job::build(&linear(&IDENTITY, 3, through_softmax), &options).unwrap();
            let part = f64::from(label_smoothing);
            let expected = mean(&|x, label| {
                let p = softmax(x, 1.0);
                -(1.0 - part) * p[label].ln() - part * p.iter().map(|p| p.ln()).sum::<f64>() / 3.0
            });
            let found = loss_of(&job, &[("x", rows(&x)), ("labels", labels.clone())]);
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
    let targets = [0.0f32, 1.0, 1.0, 0.0, 0.0, 1.0];
    let pairs = || x.iter().zip(targets).map(|(&x, t)| (f64::from(x), f64::from(t)));
    let job =
        Job::build(&linear(&IDENTITY, 3, false), &JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() })
            .unwrap();
    let expected = pairs().map(|(x, t)| (x - t).powi(2)).sum::<f64>() / 6.0;
    assert!((loss_of(&job, &[("x", rows(&x)), ("targets", rows(&targets))]) - expected).abs() < 1e-5);
    let job = Job::build(
        &linear(&IDENTITY, 3, false),
        &JobOptions { loss: Loss::BinaryCrossEntropy, ..JobOptions::default() },
    )
    .unwrap();
    let expected = pairs().map(|(x, t)| x.exp().ln_1p() - x * t).sum::<f64>() / 6.0;
    assert!((loss_of(&job, &[("x", rows(&x)), ("targets", rows(&targets))]) - expected).abs() < 1e-5);
}

#[test]
fn distillation_mixes_labels_and_the_mean_of_the_teachers() {
    let x = [1.0f32, 2.0, 0.5];
    let doubled: Vec<f32> = IDENTITY.iter().map(|w| 2.0 * w).collect();
    let teachers = vec![linear(&doubled, 3, true).into(), linear(&IDENTITY, 3, false).into()];
    let options = JobOptions { teachers, temperature: 3.0, alpha: 0.7, ..JobOptions::default() };
    let job = Job::build(&linear(&IDENTITY, 3, false), &options).unwrap();
    let own: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let theirs: Vec<f64> = own.iter().map(|x| 2.0 * x).collect();
    let (p, q, log) = (softmax(&theirs, 3.0), softmax(&own, 3.0), softmax(&own, 3.0));
    let imitation: f64 = (0..3).map(|k| -f64::midpoint(p[k], q[k]) * log[k].ln()).sum();
    let expected = 0.3 * -softmax(&own, 1.0)[1].ln() + 0.7 * 9.0 * imitation;
    let found = loss_of(&job, &[("x", rows(&x)), ("labels", Tensor::vector(vec![1i64]))]);
    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    // Frozen teachers: only the network's own weights are trained.
    assert_eq!(job.parameters.len(), 1);
}

#[test]
fn what_does_not_fit_is_said() {
    let options = JobOptions { teachers: vec![linear(&[1.0; 16], 4, false).into()], ..JobOptions::default() };
    let error = Job::build(&linear(&IDENTITY, 3, false), &options).unwrap_err();
    assert!(matches!(error, JobError::Teacher { .. }) && error.to_string().contains("[N, 4]"), "{error}");
    let error = Job::build(&linear(&IDENTITY, 3, false), &JobOptions { loss: Loss::None, ..JobOptions::default() })
        .unwrap_err();
    assert!(matches!(error, JobError::NoLoss));
    let frozen = JobOptions { freeze: vec!["w*".into()], ..JobOptions::default() };
    assert!(matches!(Job::build(&linear(&IDENTITY, 3, false), &frozen).unwrap_err(), JobError::NoParameters));
}

fn batch(seed: u64) -> Batch {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    let x = tensor(ElementType::F32, vec![8, 1, 8, 8], Stream::new(seed, 0), normal).unwrap();
    let labels = (0..8).map(|index| Stream::new(seed, 1).below(index, 10) as i64).collect();
    Batch { values: vec![("input".into(), x), ("labels".into(), Tensor::vector(labels))], samples: 8 }
}

fn small() -> Graph {
    let options = ZooOptions { channels: Some(1), resolution: Some(8), width: Some(0.25), ..ZooOptions::default() };
    build("resnet8", &options).unwrap()
}

fn trainer(options: TrainOptions) -> Trainer {
    let job = Job::build(&small(), &JobOptions::default()).unwrap();
    Trainer::new(&job, 4, TrainOptions { batch: 8, epochs: 3, ..options }).unwrap()
}

#[test]
fn the_same_bits_on_any_threads_and_from_any_step() {
    let adam =
        TrainOptions { rule: Rule::ADAM_W, rate: 0.01, clip: Some(1.0), average: Some(0.9), ..TrainOptions::default() };
    let sgd = TrainOptions { schedule: Schedule::Linear, weight_decay: 0.01, ..TrainOptions::default() };
    for options in [adam, sgd] {
        let (one, two) = (Threads::new(1).unwrap(), Threads::new(2).unwrap());
        let (mut a, mut b) = (trainer(options.clone()), trainer(options.clone()));
        for step in 0..6 {
            let (x, y) = (a.step(&batch(step), &one).unwrap(), b.step(&batch(step), &two).unwrap());
            assert_eq!(x.to_bits(), y.to_bits());
            // As if the process had been killed and begun again.
            let mut next = trainer(options.clone());
            next.restore(&b.state()).unwrap();
            b = next;
        }
        assert_eq!(a.values().unwrap(), b.values().unwrap());
        assert_ne!(a.values().unwrap(), trainer(options).values().unwrap());
    }
}

#[test]
fn training_learns_and_what_it_learned_can_be_run_elsewhere() {
    let mut trainer = trainer(TrainOptions { rate: 0.05, schedule: Schedule::Constant, ..TrainOptions::default() });
    let threads = Threads::new(2).unwrap();
    let first = trainer.step(&batch(1), &threads).unwrap();
    let last = (0..60).map(|_| trainer.step(&batch(1), &threads).unwrap()).last().unwrap();
    assert!(last < 0.2 * first, "{first} {last}");
    // The values go back into the network by name; written and read it gives what the plan gives.
    let mut network = small();
    for (name, tensor) in trainer.values().unwrap() {
        let id = network.find_value(&name).unwrap();
        network.set_data(id, tensor);
    }
    let read = onnx::read_bytes(onnx::write_bytes(&network).unwrap().0.into(), None).unwrap();
    let x = batch(1).values[0].1.clone();
    let output = |graph: &Graph| {
        let lengths = slimnet_engine::train::evaluate::batch_lengths(graph, 8, &std::collections::BTreeMap::new());
        let mut plan = Plan::new(graph, &PlanOptions { lengths, ..PlanOptions::default() }).unwrap();
        plan.set(graph.free_inputs().next().unwrap(), &x).unwrap();
        plan.run(slimnet_engine::kernels::Context::default()).unwrap();
        plan.tensor(graph.outputs()[0]).unwrap()
    };
    assert_eq!(output(&read), output(&network));
}

#[test]
fn a_loss_that_is_not_finite_names_where_it_arose() {
    let mut trainer = trainer(TrainOptions::default());
    let mut bad = batch(1);
    bad.values[0].1 = Tensor::from_values(vec![8, 1, 8, 8], vec![f32::MAX; 512]).unwrap();
    let error = trainer.step(&bad, &Threads::new(1).unwrap()).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
}

#[test]
fn an_observed_step_is_a_step() {
    let threads = Threads::new(2).unwrap();
    let (mut a, mut b) = (trainer(TrainOptions::default()), trainer(TrainOptions::default()));
    for step in 0..3 {
        a.step(&batch(step), &threads).unwrap();
        let mut nodes = Vec::new();
        b.step_observed(&batch(step), &threads, |node, _| nodes.extend(node)).unwrap();
        let kinds: Vec<_> = nodes.iter().map(|&node| b.graph().node(node).op.op_type().to_owned()).collect();
        assert!(kinds.iter().any(|kind| kind == "Gradient"), "{kinds:?}");
    }
    assert_eq!(a.values().unwrap(), b.values().unwrap());
    let given: Vec<_> = batch(0).values.iter().map(|(name, data)| (name.clone(), data.shape().to_vec())).collect();
    for (name, _, shape) in b.inputs() {
        assert!(given.iter().any(|(given, found)| given == name && found == shape), "{name} {shape:?}");
    }
}
