//! Losses on labels and targets, as nodes of the graph.

use slimnet_graph::Op;
use slimnet_graph::graph::{Dim, Graph, Value, ValueId};
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::index::GatherElements;
use slimnet_graph::ops::layout::Unsqueeze;
use slimnet_graph::ops::normalization::{Softmax, SoftmaxKind};
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::tensor::{ElementType, Tensor};

use super::scores::{Activation, ending, scores};
use super::{JobError, Loss, shape_text};

/// The mean of all elements.
pub(super) fn mean(graph: &mut Graph, value: ValueId) -> ValueId {
    let reduce = Reduce { keepdims: false, noop_with_empty_axes: false };
    graph.apply("loss/mean", Op::Reduce(ReduceKind::Mean, reduce), &[value])
}

/// A value times a number.
pub(super) fn scaled(graph: &mut Graph, value: ValueId, factor: f32) -> ValueId {
    if factor == 1.0 {
        return value;
    }
    let factor = graph.add_constant("loss/factor", Tensor::scalar(factor));
    graph.apply("loss/scaled", Binary::Mul, &[value, factor])
}

/// The sum of values.
pub(super) fn sum(graph: &mut Graph, name: &str, values: &[ValueId]) -> Option<ValueId> {
    values.iter().copied().reduce(|sum, value| graph.apply(name, Binary::Add, &[sum, value]))
}

/// The mean of squared differences.
pub(super) fn squared_difference(graph: &mut Graph, a: ValueId, b: ValueId) -> ValueId {
    let difference = graph.apply("loss/difference", Binary::Sub, &[a, b]);
    let square = graph.apply("loss/square", Binary::Mul, &[difference, difference]);
    mean(graph, square)
}

/// The mean of log(1 + eˣ) − x · t: cross-entropy of sigmoid(x) with t.
pub(super) fn binary_cross_entropy(graph: &mut Graph, x: ValueId, targets: ValueId) -> ValueId {
    let both = graph.apply("loss/softplus", Unary::Softplus, &[x]);
    let agreed = graph.apply("loss/agreed", Binary::Mul, &[x, targets]);
    let each = graph.apply("loss/each", Binary::Sub, &[both, agreed]);
    mean(graph, each)
}

/// Inputs of the job that hold what outputs should be; outputs of one shape share one.
#[derive(Debug, Default)]
pub(super) struct Targets {
    inputs: Vec<ValueId>,
    /// Those that hold class labels, and the number of classes.
    pub(super) labels: Vec<(ValueId, Option<usize>)>,
}

impl Targets {
    fn input(
        &mut self,
        graph: &mut Graph,
        wish: &str,
        element_type: ElementType,
        shape: Option<Vec<Dim>>,
    ) -> Result<ValueId, JobError> {
        let same = |&&input: &&ValueId| {
            let value = graph.value(input);
            value.element_type == Some(element_type) && value.shape == shape
        };
        if let Some(&input) = self.inputs.iter().find(same) {
            return Ok(input);
        }
        let name = graph.fresh_name(wish);
        let input = graph.add_value(Value::new(&name))?;
        let value = graph.value_mut(input);
        (value.element_type, value.shape) = (Some(element_type), shape);
        graph.add_input(input)?;
        self.inputs.push(input);
        Ok(input)
    }

    /// Whether an input of the job is one of these.
    pub(super) fn contains(&self, input: ValueId) -> bool {
        self.inputs.contains(&input)
    }
}

/// The loss of one output on labels or targets; `None` if they are not looked at.
pub(super) fn on_labels(
    graph: &mut Graph,
    output: ValueId,
    loss: Loss,
    targets: &mut Targets,
) -> Result<Option<ValueId>, JobError> {
    let end = ending(graph, output);
    let shape = graph.value(output).shape.clone();
    let wrong = |graph: &Graph, loss: &'static str, expected: &'static str, found: String| JobError::Output {
        output: graph.value(output).name.clone(),
        loss,
        expected,
        found,
    };
    Ok(Some(match loss {
        Loss::None => return Ok(None),
        Loss::CrossEntropy { label_smoothing } => {
            let Some(axis) = end.class_axis() else {
                let found = "a softmax along an axis that a later reshape merges with others".to_owned();
                return Err(wrong(graph, "cross-entropy", "the classes along an axis of their own", found));
            };
            let Some(mut places) = shape.filter(|shape| axis < shape.len()) else {
                let found = format!("the shape {}", shape_text(graph, output));
                return Err(wrong(graph, "cross-entropy", "the shape [N, classes, …]", found));
            };
            if places[axis].known() == Some(1) {
                let found = format!("the shape {} with one class", shape_text(graph, output));
                return Err(wrong(graph, "cross-entropy", "two classes or more (for one probability: bce)", found));
            }
            let x = scores(graph, output, &end)?;
            let classes = places.remove(axis).known();
            let axis = axis as i64;
            let labels = targets.input(graph, "labels", ElementType::I64, Some(places))?;
            targets.labels.push((labels, classes));
            let log = Op::Softmax(SoftmaxKind::LogSoftmax, Softmax { axis });
            let log = graph.apply("loss/log_probability", log, &[x]);
            let axes = graph.add_constant("loss/axis", Tensor::vector(vec![axis]));
            let index = graph.apply("loss/index", Unsqueeze {}, &[labels, axes]);
            let chosen = graph.apply("loss/chosen", GatherElements { axis }, &[log, index]);
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
            let targets = targets.input(graph, "targets", ElementType::F32, shape)?;
            squared_difference(graph, output, targets)
        }
        Loss::BinaryCrossEntropy => {
            if matches!(end.activation, Activation::Softmax | Activation::LogSoftmax) {
                let found = "a softmax: its numbers depend on each other".to_owned();
                return Err(wrong(graph, "binary cross-entropy", "scores or a sigmoid", found));
            }
            let x = scores(graph, output, &end)?;
            let targets = targets.input(graph, "targets", ElementType::F32, shape)?;
            binary_cross_entropy(graph, x, targets)
        }
    }))
}
