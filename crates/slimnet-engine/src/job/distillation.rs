//! Imitating other networks.

use std::collections::HashMap;

use slimnet_graph::Op;
use slimnet_graph::graph::{Dim, Graph, ValueId};
use slimnet_graph::infer::{GraphInferError, infer_graph};
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::ops::normalization::{Softmax, SoftmaxKind};
use slimnet_graph::tensor::ElementType;

use super::loss::{binary_cross_entropy, mean, scaled, squared_difference, sum};
use super::merge::merge;
use super::mode::evaluation_meaning;
use super::scores::{Activation, Ending, ending, scores};
use super::{JobError, JobOptions, Loss, Teacher, shape_text};

/// How an output is compared with the teachers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    /// Class scores along an axis, softened by the temperature.
    Classes(usize),
    /// Scores of independent probabilities, softened by the temperature.
    Probabilities,
    /// Numbers as they are.
    Values,
}

/// A teacher within the graph: which of its outputs corresponds to which of the network's.
struct Joined {
    weight: f32,
    outputs: HashMap<ValueId, ValueId>,
}

/// How far the network is from its teachers, summed over the outputs that all of them have; and those outputs.
///
/// With temperature T and p the weighted mean over teachers of `softmax(t / T)` (`sigmoid(t / T)`), the loss of an output of
/// class scores is `T² · −Σ_k p_k log softmax(x / T)_k`, of independent probabilities `T² ·` the binary cross-entropy of
/// `x / T` with p; the factor keeps the gradients' size (Hinton, Vinyals, Dean 2015, arXiv 1503.02531). Other outputs are
/// compared by the mean squared difference to the teachers' weighted mean.
pub(super) fn distillation(
    graph: &mut Graph,
    labelled: &[ValueId],
    own_inputs: &[ValueId],
    options: &JobOptions,
) -> Result<(ValueId, Vec<ValueId>), JobError> {
    let own: Vec<_> = graph.outputs().to_vec();
    let total: f32 = options.teachers.iter().map(|teacher| teacher.weight).sum();
    let mut joined = Vec::new();
    for (number, teacher) in options.teachers.iter().enumerate() {
        let prefix = if options.teachers.len() == 1 { "teacher/".to_owned() } else { format!("teacher/{number}/") };
        let outputs = join(graph, teacher, number + 1, &prefix, own_inputs, &own, labelled)?;
        joined.push(Joined { weight: teacher.weight / total, outputs });
    }
    let float = |output: ValueId| graph.value(output).element_type.is_none_or(|found| found == ElementType::F32);
    let imitated: Vec<_> = own
        .iter()
        .copied()
        .filter(|&output| float(output) && joined.iter().all(|teacher| teacher.outputs.contains_key(&output)))
        .collect();
    let mut losses = Vec::new();
    for &output in &imitated {
        let pairs: Vec<_> = joined.iter().map(|teacher| (teacher.outputs[&output], teacher.weight)).collect();
        losses.push(imitation(graph, output, labelled.contains(&output), &pairs, options)?);
    }
    let total = sum(graph, "loss/imitations", &losses).ok_or_else(|| JobError::Teacher {
        teacher: 1,
        what: "outputs that all networks have".into(),
        expected: names(graph, &own),
        found: "none of them in float32".into(),
    })?;
    Ok((total, imitated))
}

fn names(graph: &Graph, values: &[ValueId]) -> String {
    values.iter().map(|&value| format!("{:?}", graph.value(value).name)).collect::<Vec<_>>().join(", ")
}

/// How the scores of an output are compared: by the function that it or the teacher's ends in, else by its loss on labels.
fn likeness(student: &Ending, teacher: &Ending, labelled: bool, options: &JobOptions) -> Option<Likeness> {
    if labelled && options.loss == Loss::MeanSquaredError {
        return Some(Likeness::Values);
    }
    for end in [student, teacher] {
        match end.activation {
            Activation::Softmax | Activation::LogSoftmax => return end.class_axis().map(Likeness::Classes),
            Activation::Sigmoid if matches!(options.loss, Loss::CrossEntropy { .. }) && labelled => {
                return Some(Likeness::Classes(1));
            }
            Activation::Sigmoid => return Some(Likeness::Probabilities),
            Activation::None => {}
        }
    }
    let by_loss = match options.loss {
        Loss::CrossEntropy { .. } => Likeness::Classes(1),
        Loss::BinaryCrossEntropy => Likeness::Probabilities,
        Loss::None if options.classes => Likeness::Classes(1),
        Loss::None | Loss::MeanSquaredError => Likeness::Values,
    };
    Some(if labelled { by_loss } else { Likeness::Values })
}

/// The loss of one output with the teachers' outputs and weights (which add up to 1).
fn imitation(
    graph: &mut Graph,
    output: ValueId,
    labelled: bool,
    teachers: &[(ValueId, f32)],
    options: &JobOptions,
) -> Result<ValueId, JobError> {
    let temperature = options.temperature;
    let end = ending(graph, output);
    let lost = |graph: &Graph| JobError::Output {
        output: graph.value(output).name.clone(),
        loss: "distillation",
        expected: "the classes along an axis of their own",
        found: "a softmax along an axis that a later reshape merges with others".into(),
    };
    let theirs = ending(graph, teachers[0].0);
    let likeness = likeness(&end, &theirs, labelled, options).ok_or_else(|| lost(graph))?;
    let rank = graph.value(output).shape.as_ref().map_or(0, Vec::len);
    if let Likeness::Classes(axis) = likeness
        && axis >= rank
    {
        return Err(JobError::Output {
            output: graph.value(output).name.clone(),
            loss: "distillation of class scores",
            expected: "the shape [N, classes, …]",
            found: format!("the shape {}", shape_text(graph, output)),
        });
    }
    let mut targets = Vec::new();
    for (number, &(teacher, weight)) in teachers.iter().enumerate() {
        let (expected, found) = (shape_text(graph, output), shape_text(graph, teacher));
        if graph.value(output).shape != graph.value(teacher).shape {
            let what = format!("shape of output {:?}", graph.value(output).name);
            return Err(JobError::Teacher { teacher: number + 1, what, expected, found });
        }
        let target = match likeness {
            Likeness::Values => teacher,
            Likeness::Classes(axis) => {
                let theirs = ending(graph, teacher);
                let x = scores(graph, teacher, &theirs)?;
                softened(graph, Op::Softmax(SoftmaxKind::Softmax, Softmax { axis: axis as i64 }), x, temperature)
            }
            Likeness::Probabilities => {
                let theirs = ending(graph, teacher);
                let x = scores(graph, teacher, &theirs)?;
                softened(graph, Op::Unary(Unary::Sigmoid), x, temperature)
            }
        };
        targets.push(scaled(graph, target, weight));
    }
    let targets = sum(graph, "loss/targets", &targets).ok_or(JobError::NoLoss)?;
    if likeness == Likeness::Values {
        return Ok(squared_difference(graph, output, targets));
    }
    let student = scores(graph, output, &end)?;
    let squared = temperature * temperature;
    let Likeness::Classes(axis) = likeness else {
        let student = scaled(graph, student, 1.0 / temperature);
        let loss = binary_cross_entropy(graph, student, targets);
        return Ok(scaled(graph, loss, squared));
    };
    let log = Op::Softmax(SoftmaxKind::LogSoftmax, Softmax { axis: axis as i64 });
    let log = softened(graph, log, student, temperature);
    let product = graph.apply("loss/product", slimnet_graph::ops::elementwise::Binary::Mul, &[targets, log]);
    // A mean over classes too: made good for by their number.
    let product = mean(graph, product);
    let classes = graph.value(output).shape.as_ref().and_then(|shape| shape.get(axis)?.known());
    let classes = classes.ok_or_else(|| JobError::Output {
        output: graph.value(output).name.clone(),
        loss: "distillation of class scores",
        expected: "a known number of classes",
        found: format!("the shape {}", shape_text(graph, output)),
    })?;
    Ok(scaled(graph, product, -(classes as f32) * squared))
}

/// A function of x / T.
fn softened(graph: &mut Graph, function: Op, x: ValueId, temperature: f32) -> ValueId {
    let x = scaled(graph, x, 1.0 / temperature);
    graph.apply("loss/softened", function, &[x])
}

/// Joins a teacher to the graph, in its meaning in evaluation; which of its outputs stand for which of the network's.
fn join(
    graph: &mut Graph,
    teacher: &Teacher,
    number: usize,
    prefix: &str,
    own_inputs: &[ValueId],
    own_outputs: &[ValueId],
    labelled: &[ValueId],
) -> Result<HashMap<ValueId, ValueId>, JobError> {
    let mut teacher = super::free_batch(&teacher.graph).unwrap_or_else(|| teacher.graph.clone());
    evaluation_meaning(&mut teacher)?;
    infer_graph(&mut teacher)?;
    let wrong =
        |what: String, expected: String, found: String| JobError::Teacher { teacher: number, what, expected, found };
    let theirs: Vec<_> = teacher.free_inputs().collect();
    let mut places = HashMap::new();
    for (position, &input) in theirs.iter().enumerate() {
        let name = &teacher.value(input).name;
        let named = own_inputs.iter().copied().find(|&own| graph.value(own).name == *name);
        let alike = own_inputs.get(position).copied().filter(|_| own_inputs.len() == theirs.len());
        let Some(place) = named.or(alike) else {
            return Err(wrong("inputs".into(), names(graph, own_inputs), format!("{name:?}")));
        };
        let (expected, found) = (graph.value(place).shape.clone(), teacher.value(input).shape.clone());
        if let (Some(expected), Some(found)) = (expected, found) {
            let differ = |(a, b): (&Dim, &Dim)| a.known().zip(b.known()).is_some_and(|(a, b)| a != b);
            if expected.len() != found.len() || expected.iter().zip(&found).any(differ) {
                let what = format!("shape of input {name:?}");
                return Err(wrong(what, shape_text(graph, place), shape_text(&teacher, input)));
            }
        }
        places.insert(input, place);
    }
    let pairs = pairs(graph, own_outputs, &teacher, labelled);
    if pairs.is_empty() {
        return Err(wrong("outputs".into(), names(graph, own_outputs), names(&teacher, teacher.outputs())));
    }
    let places = merge(graph, &teacher, prefix, &places)?;
    infer_graph(graph).map_err(|error: GraphInferError| {
        wrong("how it fits together".into(), "inputs that it must take".into(), error.to_string())
    })?;
    Ok(pairs.into_iter().map(|(own, theirs)| (own, places[&theirs])).collect())
}

/// Which outputs correspond: those of one name; if there are none, those of one position if there are as many; else the
/// only output of the teacher to the one that labels are for.
fn pairs(graph: &Graph, own: &[ValueId], teacher: &Graph, labelled: &[ValueId]) -> Vec<(ValueId, ValueId)> {
    let theirs = teacher.outputs();
    let named = |&output: &ValueId| {
        let name = &graph.value(output).name;
        let found = theirs.iter().copied().find(|&theirs| teacher.value(theirs).name == *name);
        found.map(|found| (output, found))
    };
    let named: Vec<_> = own.iter().filter_map(named).collect();
    if !named.is_empty() {
        return named;
    }
    match (theirs, labelled) {
        _ if own.len() == theirs.len() => own.iter().copied().zip(theirs.iter().copied()).collect(),
        (&[only], &[labelled]) => vec![(labelled, only)],
        _ => Vec::new(),
    }
}
