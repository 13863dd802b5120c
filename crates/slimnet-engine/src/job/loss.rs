//! Losses as nodes of the graph.

use std::collections::HashMap;

use slimnet_graph::graph::{Dim, Graph, Value, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::index::GatherElements;
use slimnet_graph::ops::layout::Unsqueeze;
use slimnet_graph::ops::normalization::{Softmax, SoftmaxKind};
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::{Op, infer::GraphInferError};

use super::merge::merge;
use super::{JobError, JobOptions, Loss, logits, output, shape_text};

/// The axis of the classes of `[N, K, …]`.
const CLASSES: i64 = 1;

fn mean(graph: &mut Graph, value: ValueId) -> ValueId {
    reduce(graph, ReduceKind::Mean, value)
}

fn reduce(graph: &mut Graph, kind: ReduceKind, value: ValueId) -> ValueId {
    graph.apply("loss/mean", Op::Reduce(kind, Reduce { keepdims: false, noop_with_empty_axes: false }), &[value])
}

fn scaled(graph: &mut Graph, value: ValueId, factor: f32) -> ValueId {
    if factor == 1.0 {
        return value;
    }
    let factor = graph.add_constant("loss/factor", Tensor::scalar(factor));
    graph.apply("loss/scaled", Binary::Mul, &[value, factor])
}

/// An input of the job that holds what the network should give.
fn add_input(
    graph: &mut Graph,
    wish: &str,
    element_type: ElementType,
    shape: Option<Vec<Dim>>,
) -> Result<ValueId, JobError> {
    let name = graph.fresh_name(wish);
    let input = graph.add_value(Value::new(&name))?;
    let value = graph.value_mut(input);
    (value.element_type, value.shape) = (Some(element_type), shape);
    graph.add_input(input)?;
    Ok(input)
}

/// The loss on labels or targets; `None` if they are not looked at.
pub(super) fn on_labels(graph: &mut Graph, output: ValueId, loss: Loss) -> Result<Option<ValueId>, JobError> {
    let shape = graph.value(output).shape.clone();
    Ok(Some(match loss {
        Loss::None => return Ok(None),
        Loss::CrossEntropy { label_smoothing } => {
            let x = logits(graph, output);
            let shape = graph.value(x).shape.clone().filter(|shape| shape.len() >= 2);
            let Some(shape) = shape else {
                let (output, found) = (graph.value(output).name.clone(), shape_text(graph, x));
                return Err(JobError::Shape { output, loss: "cross-entropy", expected: "[N, classes, …]", found });
            };
            let mut places = shape.clone();
            places.remove(1);
            let labels = add_input(graph, "labels", ElementType::I64, Some(places))?;
            let log = Op::Softmax(SoftmaxKind::LogSoftmax, Softmax { axis: CLASSES });
            let log = graph.apply("loss/log_probability", log, &[x]);
            let axis = graph.add_constant("loss/axis", Tensor::vector(vec![CLASSES]));
            let index = graph.apply("loss/index", Unsqueeze {}, &[labels, axis]);
            let chosen = graph.apply("loss/chosen", GatherElements { axis: CLASSES }, &[log, index]);
            let chosen = mean(graph, chosen);
            let mut loss = scaled(graph, chosen, label_smoothing - 1.0);
            if label_smoothing != 0.0 {
                let all = mean(graph, log);
                let all = scaled(graph, all, -label_smoothing);
                loss = graph.apply("loss/smoothed", Binary::Add, &[loss, all]);
            }
            loss
        }
        Loss::MeanSquaredError => {
            let targets = add_input(graph, "targets", ElementType::F32, shape)?;
            squared_difference(graph, output, targets)
        }
        Loss::BinaryCrossEntropy => {
            let x = logits(graph, output);
            let targets = add_input(graph, "targets", ElementType::F32, shape)?;
            let both = graph.apply("loss/softplus", Unary::Softplus, &[x]);
            let agreed = graph.apply("loss/agreed", Binary::Mul, &[x, targets]);
            let each = graph.apply("loss/each", Binary::Sub, &[both, agreed]);
            mean(graph, each)
        }
    }))
}

fn squared_difference(graph: &mut Graph, a: ValueId, b: ValueId) -> ValueId {
    let difference = graph.apply("loss/difference", Binary::Sub, &[a, b]);
    let square = graph.apply("loss/square", Binary::Mul, &[difference, difference]);
    mean(graph, square)
}

/// softmax(x / T) along the classes, or its logarithm.
fn softened(graph: &mut Graph, kind: SoftmaxKind, x: ValueId, temperature: f32) -> ValueId {
    let x = scaled(graph, x, 1.0 / temperature);
    graph.apply("loss/softened", Op::Softmax(kind, Softmax { axis: CLASSES }), &[x])
}

/// How far the network is from its teachers. Of class scores `T² · −Σ_k p_k log softmax(x / T)_k`, with p the mean of the
/// teachers' `softmax(t / T)` (Hinton, Vinyals, Dean 2015, arXiv 1503.02531; the factor keeps the gradients' size); of other
/// outputs the mean squared difference to the teachers' mean.
pub(super) fn distillation(graph: &mut Graph, of: ValueId, options: &JobOptions) -> Result<ValueId, JobError> {
    let student = if options.classes { logits(graph, of) } else { of };
    let mut targets: Option<ValueId> = None;
    for (number, teacher) in options.teachers.iter().enumerate() {
        let prefix = if options.teachers.len() == 1 { "teacher/".to_owned() } else { format!("teacher/{number}/") };
        let target = add_teacher(graph, teacher, number + 1, &prefix, student, options)?;
        let target =
            if options.classes { softened(graph, SoftmaxKind::Softmax, target, options.temperature) } else { target };
        targets = Some(targets.map_or(target, |sum| graph.apply("loss/targets", Binary::Add, &[sum, target])));
    }
    let targets = targets.ok_or(JobError::NoLoss)?;
    let targets = scaled(graph, targets, 1.0 / options.teachers.len() as f32);
    if !options.classes {
        return Ok(squared_difference(graph, of, targets));
    }
    let log = softened(graph, SoftmaxKind::LogSoftmax, student, options.temperature);
    let product = graph.apply("loss/product", Binary::Mul, &[targets, log]);
    // A mean over classes too: made good for by their number.
    let product = mean(graph, product);
    let classes = graph.value(student).shape.as_ref().and_then(|shape| shape.get(1)?.known()).unwrap_or(1);
    Ok(scaled(graph, product, -(classes as f32) * options.temperature * options.temperature))
}

/// Joins a teacher to the graph; its output (before a softmax) that corresponds to the network's.
fn add_teacher(
    graph: &mut Graph,
    teacher: &Graph,
    number: usize,
    prefix: &str,
    student: ValueId,
    options: &JobOptions,
) -> Result<ValueId, JobError> {
    let mut teacher = teacher.clone();
    infer_graph(&mut teacher)?;
    let wrong =
        |what: String, expected: String, found: String| JobError::Teacher { teacher: number, what, expected, found };
    // Labels have joined the graph behind the network's own inputs.
    let own: Vec<_> = graph.free_inputs().filter(|&input| !is_target(graph, input)).collect();
    let theirs: Vec<_> = teacher.free_inputs().collect();
    let mut places = HashMap::new();
    for (position, &input) in theirs.iter().enumerate() {
        let name = &teacher.value(input).name;
        let named = own.iter().copied().find(|&own| graph.value(own).name == *name);
        let Some(place) = named.or_else(|| own.get(position).copied().filter(|_| own.len() == theirs.len())) else {
            let names = own.iter().map(|&own| format!("{:?}", graph.value(own).name)).collect::<Vec<_>>().join(", ");
            return Err(wrong("inputs".into(), names, format!("{name:?}")));
        };
        let (expected, found) = (graph.value(place).shape.clone(), teacher.value(input).shape.clone());
        if let (Some(expected), Some(found)) = (expected, found) {
            let differ = |(a, b): (&Dim, &Dim)| a.known().zip(b.known()).is_some_and(|(a, b)| a != b);
            if expected.len() != found.len() || expected.iter().zip(&found).any(differ) {
                return Err(wrong(
                    format!("shape of input {name:?}"),
                    shape_text(graph, place),
                    shape_text(&teacher, input),
                ));
            }
        }
        places.insert(input, place);
    }
    let name = options
        .output
        .as_deref()
        .filter(|name| teacher.outputs().iter().any(|&output| teacher.value(output).name == **name));
    let target = output(&teacher, name)?;
    let target = if options.classes { logits(&teacher, target) } else { target };
    let places = merge(graph, &teacher, prefix, &places)?;
    let target = places[&target];
    infer_graph(graph).map_err(|error: GraphInferError| {
        wrong("how it fits together".into(), "inputs that it must take".into(), error.to_string())
    })?;
    let (expected, found) = (graph.value(student).shape.clone(), graph.value(target).shape.clone());
    if expected != found {
        return Err(wrong("shape of the output".into(), shape_text(graph, student), shape_text(graph, target)));
    }
    Ok(target)
}

/// Whether an input of the job holds labels or targets.
fn is_target(graph: &Graph, input: ValueId) -> bool {
    let mut readers = graph.value(input).readers();
    readers.any(|reader| {
        graph.node(reader.node).outputs().iter().flatten().any(|&output| graph.value(output).name.starts_with("loss/"))
    })
}
