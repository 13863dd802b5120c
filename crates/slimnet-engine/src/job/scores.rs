//! What an output is computed from: the scores before a softmax or sigmoid at its end.

use slimnet_graph::Op;
use slimnet_graph::graph::{Dim, Graph, GraphError, NodeId, ValueId};
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::ops::normalization::SoftmaxKind;

/// The last function of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// None that is known: the output's numbers are scores (or any values).
    #[default]
    None,
    /// Probabilities of classes.
    Softmax,
    /// Logarithms of probabilities of classes.
    LogSoftmax,
    /// Probabilities, each by itself.
    Sigmoid,
}

/// How an output ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ending {
    /// The last function.
    pub activation: Activation,
    /// What the function is computed from.
    source: Option<ValueId>,
    /// Nodes that only move the function's result, in order.
    path: Vec<NodeId>,
    /// The axis of the output that the softmax is taken along; `None` if the output has no such axis.
    axis: Option<usize>,
}

impl Ending {
    /// The axis of the output's classes: that of the softmax, else the second. `None` if classes are no axis of the output
    /// because it was reshaped behind the softmax.
    pub fn class_axis(&self) -> Option<usize> {
        match self.activation {
            Activation::None | Activation::Sigmoid => Some(1),
            Activation::Softmax | Activation::LogSoftmax => self.axis,
        }
    }
}

/// How an output ends. Shapes must have been inferred.
pub fn ending(graph: &Graph, output: ValueId) -> Ending {
    let mut value = output;
    let mut path = Vec::new();
    while let Some(id) = graph.value(value).producer() {
        let node = graph.node(id);
        let Some(input) = node.input(0) else { break };
        let (activation, axis) = match &node.op {
            Op::Softmax(SoftmaxKind::Softmax, softmax) => (Activation::Softmax, Some(softmax.axis)),
            Op::Softmax(SoftmaxKind::LogSoftmax, softmax) => (Activation::LogSoftmax, Some(softmax.axis)),
            Op::Unary(Unary::Sigmoid) => (Activation::Sigmoid, None),
            Op::Unary(Unary::Identity) | Op::Reshape(_) | Op::Flatten(_) => (Activation::None, None),
            Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Transpose(_) => (Activation::None, None),
            _ => break,
        };
        if activation == Activation::None {
            path.push(id);
            value = input;
            continue;
        }
        path.reverse();
        let rank = graph.value(input).shape.as_ref().map(Vec::len);
        let axis = axis.zip(rank).map(|(axis, rank)| if axis < 0 { axis + rank as i64 } else { axis });
        let axis =
            path.iter().fold(axis.and_then(|axis| usize::try_from(axis).ok()), |axis, &id| follow(graph, id, axis?));
        return Ending { activation, source: Some(input), path, axis };
    }
    Ending::default()
}

/// Where an axis of the first input of a node that only moves is in its output.
fn follow(graph: &Graph, id: NodeId, axis: usize) -> Option<usize> {
    let node = graph.node(id);
    let before = graph.value(node.input(0)?).shape.as_ref()?;
    if let Op::Transpose(transpose) = &node.op {
        let Some(order) = &transpose.perm else { return Some(before.len() - 1 - axis) };
        return order.iter().position(|&from| from == axis as i64);
    }
    let after = graph.value(node.output(0)?).shape.as_ref()?;
    let length = before.get(axis)?;
    (0..after.len()).find(|&place| {
        after[place] == *length
            && same_count(&before[..axis], &after[..place])
            && same_count(&before[axis + 1..], &after[place + 1..])
    })
}

/// Whether two pieces of shapes hold as many elements in the same order.
fn same_count(a: &[Dim], b: &[Dim]) -> bool {
    let known = |shape: &[Dim]| shape.iter().filter_map(Dim::known).product::<usize>();
    let named = |dim: &&Dim| dim.known().is_none();
    known(a) == known(b) && a.iter().filter(named).eq(b.iter().filter(named))
}

/// The scores that an output is computed from: the input of the softmax or sigmoid at its end, moved as the output is; else
/// the output itself.
///
/// # Errors
/// Never for a graph that validates.
pub fn scores(graph: &mut Graph, output: ValueId, ending: &Ending) -> Result<ValueId, GraphError> {
    let Some(mut value) = ending.source else { return Ok(output) };
    for &id in &ending.path {
        let node = graph.node(id).clone();
        let mut inputs = node.inputs().to_vec();
        inputs[0] = Some(value);
        let moved = graph.add_intermediate("loss/scores");
        // Of the same shape as what the node itself gives.
        let shape = node.output(0).and_then(|output| graph.value(output).shape.clone());
        graph.value_mut(moved).shape = shape;
        graph.value_mut(moved).element_type = graph.value(value).element_type;
        graph.add_node("", node.op, inputs, vec![Some(moved)])?;
        value = moved;
    }
    Ok(value)
}
