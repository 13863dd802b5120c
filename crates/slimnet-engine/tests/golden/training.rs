//! Cases of several nodes or steps: training jobs, attention, optimisers.

use slimnet_engine::job::{Job, JobOptions, Loss};
use slimnet_engine::kernels::Context;
use slimnet_engine::kernels::testing::difference;
use slimnet_engine::optimize::{Optimizer, Rule};
use slimnet_engine::train::evaluate::batch_lengths;
use slimnet_engine::{Plan, PlanOptions, differentiate};
use slimnet_graph::Op;
use slimnet_graph::graph::{Dim, Graph, Value as GraphValue, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::attribute::Attributes;
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::normalization::{BatchNormalization, Softmax, SoftmaxKind};
use slimnet_graph::ops::pooling::GlobalAveragePool;
use slimnet_graph::ops::product::{Gemm, MatMul};
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::tensor::{ElementType, Tensor};

use super::Value;

/// What was compared, and by how much it differs.
type Differences = Vec<(String, f64)>;

/// Runs a case and compares.
type Check = fn(&Value) -> Differences;

/// Cases and what compares them.
pub const TRAINING: &[(&str, Check)] = &[
    ("cross_entropy", |value| linear_job(value, &cross_entropy(0.0))),
    ("cross_entropy_smoothed", |value| linear_job(value, &cross_entropy(0.15))),
    ("cross_entropy_dense", dense_job),
    ("distillation", |value| {
        let options = JobOptions { temperature: 4.0, alpha: 0.7, ..cross_entropy(0.0) };
        linear_job(value, &JobOptions { teachers: teachers(value).into_iter().map(Into::into).collect(), ..options })
    }),
    ("distillation_two_teachers", |value| {
        let options = JobOptions { temperature: 2.5, alpha: 0.4, ..cross_entropy(0.1) };
        linear_job(value, &JobOptions { teachers: teachers(value).into_iter().map(Into::into).collect(), ..options })
    }),
    ("mean_squared_error", |value| {
        linear_job(value, &JobOptions { loss: Loss::MeanSquaredError, ..JobOptions::default() })
    }),
    ("binary_cross_entropy", |value| {
        linear_job(value, &JobOptions { loss: Loss::BinaryCrossEntropy, ..JobOptions::default() })
    }),
    ("attention", attention),
    ("attention_masked", attention),
    ("convolutional_network", convolutional_network),
    ("sgd", |value| optimizer(value, sgd(0.0, false), 0.1, 0.0)),
    ("sgd_decay", |value| optimizer(value, sgd(0.0, false), 0.1, 0.02)),
    ("sgd_momentum", |value| optimizer(value, sgd(0.9, false), 0.1, 0.02)),
    ("sgd_nesterov", |value| optimizer(value, sgd(0.8, true), 0.05, 0.03)),
    ("adamw", |value| optimizer(value, Rule::ADAM_W, 0.01, 0.0)),
    ("adamw_decay", |value| optimizer(value, Rule::AdamW { beta1: 0.8, beta2: 0.99, epsilon: 1e-6 }, 0.03, 0.1)),
];

fn cross_entropy(label_smoothing: f32) -> JobOptions {
    JobOptions { loss: Loss::CrossEntropy { label_smoothing }, ..JobOptions::default() }
}

fn sgd(momentum: f32, nesterov: bool) -> Rule {
    Rule::Sgd { momentum, nesterov }
}

fn given(tensors: &[Option<Tensor>], slot: usize) -> Tensor {
    tensors[slot].clone().unwrap_or_else(|| panic!("nothing in slot {slot}"))
}

/// A network with the input `x`, of the shape of slot 0.
fn network(value: &Value) -> (Graph, ValueId) {
    let mut graph = Graph::new("network");
    let x = graph.add_value(GraphValue::new("x")).unwrap();
    let shape = given(&value.inputs, 0).shape().iter().map(|&length| Dim::from(length)).collect();
    graph.value_mut(x).element_type = Some(ElementType::F32);
    graph.value_mut(x).shape = Some(shape);
    graph.add_input(x).unwrap();
    (graph, x)
}

/// The data of a slot, named after it.
fn slot(graph: &mut Graph, value: &Value, slot: usize) -> ValueId {
    graph.add_constant(&format!("slot {slot}"), given(&value.inputs, slot))
}

/// Slots 4 and on are matrices of teachers.
fn teachers(value: &Value) -> Vec<Graph> {
    let teacher = |number: usize| {
        let (mut graph, x) = network(value);
        let w = slot(&mut graph, value, number);
        let y = graph.apply("y", MatMul {}, &[x, w]);
        graph.add_output(y);
        graph
    };
    (4..value.inputs.len()).map(teacher).collect()
}

/// `x · w + b`, w in slot 2 and b in slot 3; labels or targets are in slot 1.
fn linear_job(value: &Value, options: &JobOptions) -> Differences {
    let (mut graph, x) = network(value);
    let (w, b) = (slot(&mut graph, value, 2), slot(&mut graph, value, 3));
    let y = graph.apply("y", Gemm { alpha: 1.0, beta: 1.0, transA: false, transB: false }, &[x, w, b]);
    graph.add_output(y);
    job(value, &graph, options)
}

/// A convolution of width 1, so that every place has a label.
fn dense_job(value: &Value) -> Differences {
    let (mut graph, x) = network(value);
    let (w, b) = (slot(&mut graph, value, 2), slot(&mut graph, value, 3));
    let y = graph.apply("y", op("Conv", &[]), &[x, w, b]);
    graph.add_output(y);
    job(value, &graph, &cross_entropy(0.1))
}

fn op(op_type: &str, attributes: &[(&str, Vec<i64>)]) -> Op {
    let mut all = Attributes::default();
    for (name, numbers) in attributes {
        all.put(name, numbers);
    }
    Op::read(op_type, all).unwrap().unwrap()
}

/// Convolution, batch normalisation, Relu, pooling and a classifier. Running statistics are outputs 1 and 2.
fn convolutional_network(value: &Value) -> Differences {
    let (mut graph, x) = network(value);
    let [w, scale, bias, mean, variance, v, c] = [2, 3, 4, 5, 6, 7, 8].map(|number| slot(&mut graph, value, number));
    let y = graph.apply("conv", op("Conv", &[("pads", vec![1, 0, 1, 1]), ("strides", vec![1, 2])]), &[x, w]);
    let norm = BatchNormalization { epsilon: 1e-5, momentum: 0.8, training_mode: false };
    let y = graph.apply("norm", norm, &[y, scale, bias, mean, variance]);
    let y = graph.apply("relu", Unary::Relu, &[y]);
    let y = graph.apply("pool", op("MaxPool", &[("kernel_shape", vec![2, 2]), ("strides", vec![2, 2])]), &[y]);
    let y = graph.apply("mean", GlobalAveragePool {}, &[y]);
    let y = graph.apply("flat", op("Flatten", &[]), &[y]);
    let y = graph.apply("y", Gemm { alpha: 1.0, beta: 1.0, transA: false, transB: false }, &[y, v, c]);
    graph.add_output(y);
    job(value, &graph, &cross_entropy(0.0))
}

/// Makes a job of a network, runs it once and compares loss, running statistics and all gradients.
fn job(value: &Value, network: &Graph, options: &JobOptions) -> Differences {
    let mut job = Job::build(network, options).unwrap();
    let gradients = differentiate(&mut job.graph, job.total, &job.parameters).unwrap();
    let gradients: Vec<_> = gradients.into_iter().map(|gradient| gradient.expect("all reach the loss")).collect();
    // New values are compared instead of taken over.
    let news = job.updates.iter().map(|(_, new)| *new);
    let batch = given(&value.inputs, 0).shape()[0];
    let options = PlanOptions {
        lengths: batch_lengths(&job.graph, batch, &std::collections::BTreeMap::new()),
        states: vec![job.parameters.clone(), job.updates.iter().map(|(state, _)| *state).collect()],
        results: vec![gradients.clone()],
        kept: std::iter::once(job.total).chain(news.clone()).collect(),
        ..PlanOptions::default()
    };
    let mut plan = Plan::new(&job.graph, &options).unwrap();
    for input in job.graph.free_inputs() {
        let number = usize::from(job.graph.value(input).name != "x");
        plan.set(input, &given(&value.inputs, number)).unwrap();
    }
    plan.run(Context::default()).unwrap();
    let outputs: Vec<_> = std::iter::once(job.total).chain(news).collect();
    assert_eq!(outputs.len(), value.outputs.len());
    let mut found = compare(&plan, "output", outputs.into_iter().enumerate(), &value.outputs);
    let slots = job.parameters.iter().map(|&parameter| {
        let name = &job.graph.value(parameter).name;
        name.strip_prefix("slot ").expect("a slot's name").parse::<usize>().unwrap()
    });
    let pairs: Vec<_> = slots.zip(gradients).collect();
    assert_eq!(pairs.len(), value.gradients.iter().flatten().count());
    found.extend(compare(&plan, "gradient", pairs.into_iter(), &value.gradients));
    found
}

fn compare(
    plan: &Plan,
    what: &str,
    values: impl Iterator<Item = (usize, ValueId)>,
    expected: &[Option<Tensor>],
) -> Differences {
    values
        .map(|(slot, id)| {
            let found = plan.tensor(id).unwrap();
            (format!("{what} {slot}"), difference(&found, &given(expected, slot)))
        })
        .collect()
}

/// Attention of two heads: x, the matrices of queries, keys, values and of the output, and perhaps a mask to be added.
fn attention(value: &Value) -> Differences {
    let mut graph = Graph::new("attention");
    let inputs: Vec<_> = (0..value.inputs.len()).map(|number| slot(&mut graph, value, number)).collect();
    let x = given(&value.inputs, 0);
    let (batch, length, width) = (x.shape()[0] as i64, x.shape()[1] as i64, x.shape()[2] as i64);
    let divided = graph.add_constant("divided", Tensor::vector(vec![batch, length, 2, width / 2]));
    let joined = graph.add_constant("joined", Tensor::vector(vec![batch, length, width]));
    let scale = graph.add_constant("scale", Tensor::scalar(1.0 / (width as f32 / 2.0).sqrt()));
    let upstream = graph.add_constant("upstream", given(&value.upstream, 0));
    let [q, k, v] = [(1, [0, 2, 1, 3]), (2, [0, 2, 3, 1]), (3, [0, 2, 1, 3])].map(|(number, perm)| {
        let y = graph.apply("projected", MatMul {}, &[inputs[0], inputs[number]]);
        let y = graph.apply("divided", op("Reshape", &[]), &[y, divided]);
        graph.apply("heads", op("Transpose", &[("perm", perm.to_vec())]), &[y])
    });
    let mut scores = graph.apply("product", MatMul {}, &[q, k]);
    scores = graph.apply("scores", Binary::Mul, &[scores, scale]);
    if let Some(&mask) = inputs.get(5) {
        scores = graph.apply("masked", Binary::Add, &[scores, mask]);
    }
    let weights = graph.apply("weights", Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: -1 }), &[scores]);
    let y = graph.apply("mixed", MatMul {}, &[weights, v]);
    let y = graph.apply("together", op("Transpose", &[("perm", vec![0, 2, 1, 3])]), &[y]);
    let y = graph.apply("joined", op("Reshape", &[]), &[y, joined]);
    let y = graph.apply("y", MatMul {}, &[y, inputs[4]]);
    let weighted = graph.apply("weighted", Binary::Mul, &[y, upstream]);
    let sum = Op::Reduce(ReduceKind::Sum, Reduce { keepdims: false, noop_with_empty_axes: false });
    let total = graph.apply("total", sum, &[weighted]);
    infer_graph(&mut graph).unwrap();
    let wanted = &inputs[..5];
    let gradients: Vec<_> = differentiate(&mut graph, total, wanted).unwrap().into_iter().map(Option::unwrap).collect();
    let options = PlanOptions {
        states: vec![wanted.to_vec()],
        results: vec![gradients.clone()],
        kept: vec![y],
        ..PlanOptions::default()
    };
    let mut plan = Plan::new(&graph, &options).unwrap();
    plan.run(Context::default()).unwrap();
    assert_eq!(value.gradients.iter().flatten().count(), wanted.len());
    let mut found = compare(&plan, "output", std::iter::once((0, y)), &value.outputs);
    found.extend(compare(&plan, "gradient", gradients.into_iter().enumerate(), &value.gradients));
    found
}

/// Parameters (slot 0) after each step with the gradients of slots 1 and on.
fn optimizer(value: &Value, rule: Rule, rate: f32, decay: f32) -> Differences {
    let mut parameters = numbers(&given(&value.inputs, 0));
    let mut optimizer = Optimizer::new(rule, [(parameters.len(), decay)]);
    assert_eq!(value.outputs.len() + 1, value.inputs.len());
    (0..value.outputs.len())
        .map(|step| {
            optimizer.step(&mut parameters, &numbers(&given(&value.inputs, step + 1)), rate, 1.0);
            let expected = given(&value.outputs, step);
            let found = Tensor::from_values(expected.shape().to_vec(), parameters.clone()).unwrap();
            (format!("step {step}"), difference(&found, &expected))
        })
        .collect()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_f64s().unwrap().into_iter().map(|number| number as f32).collect()
}
