//! The loss that importance is measured by.

use slimnet_engine::Job;
use slimnet_engine::job::scores::{Activation, ending};
use slimnet_engine::job::{JobOptions, Loss};
use slimnet_engine::train::{Batch, Evaluator, Metric};
use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::{Binary, Cast};
use slimnet_graph::ops::reduction::{ArgReduce, ArgReduceKind};
use slimnet_graph::tensor::{ElementType, Tensor};

use super::{Evidence, ImportanceError};

/// The job whose loss importance is measured by, with all parameters; see [`Evidence::job`].
pub(super) fn job(graph: &Graph, evidence: &Evidence) -> Result<Job, ImportanceError> {
    let options = JobOptions { freeze_batch_norm: true, freeze: Vec::new(), train: Vec::new(), ..evidence.job.clone() };
    if options.loss != Loss::None {
        return Ok(Job::build(graph, &options)?);
    }
    if let Some((output, loss)) = own_choice(graph, &options) {
        let mut job = Job::build(graph, &JobOptions { loss, teachers: Vec::new(), ..options })?;
        label_by_own_choice(&mut job, graph, output, loss)?;
        return Ok(job);
    }
    if options.teachers.is_empty() {
        let names = graph.outputs().iter().map(|&output| format!("{:?}", graph.value(output).name));
        return Err(ImportanceError::NoLabels(names.collect::<Vec<_>>().join(", ")));
    }
    let first = evidence.first()?;
    if options.teachers.iter().all(|teacher| same_outputs(graph, &teacher.graph, &first, evidence)) {
        return Err(ImportanceError::OwnTeacher);
    }
    Ok(Job::build(graph, &options)?)
}

/// The only output that labels are for, and the loss in which its own choice can stand for them.
fn own_choice(graph: &Graph, options: &JobOptions) -> Option<(ValueId, Loss)> {
    let output = match (options.outputs.as_slice(), graph.outputs()) {
        ([], &[only]) => only,
        ([name], outputs) => outputs.iter().copied().find(|&output| graph.value(output).name == *name)?,
        _ => return None,
    };
    let classes = Loss::CrossEntropy { label_smoothing: 0.0 };
    match ending(graph, output).activation {
        Activation::Softmax | Activation::LogSoftmax => Some((output, classes)),
        Activation::Sigmoid => Some((output, Loss::BinaryCrossEntropy)),
        Activation::None => options.classes.then_some((output, classes)),
    }
}

/// Puts what the network chooses in the place of the labels that the job would be given.
fn label_by_own_choice(job: &mut Job, network: &Graph, output: ValueId, loss: Loss) -> Result<(), ImportanceError> {
    let graph = &mut job.graph;
    let own = |id: &ValueId| network.free_inputs().any(|input| network.value(input).name == graph.value(*id).name);
    let Some(labels) = graph.free_inputs().find(|id| !own(id)) else { return Ok(()) };
    let choice = if loss == Loss::BinaryCrossEntropy {
        let half = graph.add_constant("loss/half", Tensor::scalar(0.5f32));
        let above = graph.apply("loss/above", Binary::Greater, &[output, half]);
        graph.apply("loss/choice", Cast { saturate: true, to: ElementType::F32 }, &[above])
    } else {
        let axis = ending(graph, output).class_axis().unwrap_or(1) as i64;
        let largest = ArgReduce { axis, keepdims: false, select_last_index: false };
        graph.apply("loss/choice", Op::ArgReduce(ArgReduceKind::ArgMax, largest), &[output])
    };
    graph.replace_uses(labels, choice);
    let name = graph.value(labels).name.clone();
    graph.retain_inputs(|input| input.name != name);
    job.labels.clear();
    infer_graph(&mut job.graph)?;
    Ok(())
}

/// Largest difference of outputs, relative to the largest of them, that may come of rounding.
const ROUNDING: f64 = 1e-4;

/// Whether two networks give the same outputs on a batch, up to rounding. What cannot be compared differs.
fn same_outputs(a: &Graph, b: &Graph, batch: &Batch, evidence: &Evidence) -> bool {
    let run = |graph: &Graph, output: ValueId| {
        let lengths = evidence.lengths.clone();
        let mut network = Evaluator::new(graph.clone(), output, Metric::SquaredError, lengths, &[]).ok()?;
        network.run(batch, evidence.threads).ok()?.to_f64s().ok()
    };
    let same = |(&a_output, &b_output): (&ValueId, &ValueId)| {
        let (Some(a), Some(b)) = (run(a, a_output), run(b, b_output)) else { return false };
        let size = a.iter().fold(0.0f64, |size, value| size.max(value.abs()));
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= ROUNDING * size)
    };
    a.outputs().len() == b.outputs().len() && a.outputs().iter().zip(b.outputs()).all(same)
}
