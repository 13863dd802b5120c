//! Transpositions in a row, and changes of shape in a row.

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::ops::layout::{Reshape, Transpose};

use super::{edit, target};

/// Lets each node of a chain read the chain's first input. Returns how many nodes changed.
pub(super) fn join(graph: &mut Graph, order: &[NodeId]) -> usize {
    let mut joined = 0;
    for &node in order {
        if !graph.has_node(node) {
            continue;
        }
        joined += usize::from(match &graph.node(node).op {
            Op::Transpose(_) => join_transposes(graph, node),
            op if changes_shape(op) => join_reshapes(graph, node),
            _ => false,
        });
    }
    joined
}

fn changes_shape(op: &Op) -> bool {
    matches!(op, Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_))
}

/// The node before and what it reads.
fn before(graph: &Graph, node: NodeId) -> Option<(NodeId, ValueId)> {
    let previous = graph.value(graph.node(node).input(0)?).producer()?;
    Some((previous, graph.node(previous).input(0)?))
}

fn permutation(graph: &Graph, node: NodeId) -> Option<Vec<usize>> {
    let Op::Transpose(Transpose { perm }) = &graph.node(node).op else { return None };
    if let Some(perm) = perm {
        return perm.iter().map(|&axis| usize::try_from(axis).ok()).collect();
    }
    let rank = graph.value(graph.node(node).input(0)?).shape.as_ref()?.len();
    Some((0..rank).rev().collect())
}

fn join_transposes(graph: &mut Graph, node: NodeId) -> bool {
    let Some((previous, source)) = before(graph, node) else { return false };
    let (Some(outer), Some(inner)) = (permutation(graph, node), permutation(graph, previous)) else { return false };
    let composed: Option<Vec<_>> = outer.iter().map(|&axis| inner.get(axis).map(|&axis| axis as i64)).collect();
    let Some(composed) = composed else { return false };
    let keeps_order = composed.iter().enumerate().all(|(axis, &from)| from == axis as i64);
    graph.set_input(node, 0, Some(source));
    // Also where all axes stay: between an input and an output of the graph the node cannot go.
    graph.node_mut(node).op = Transpose { perm: Some(composed) }.into();
    if keeps_order {
        edit::bypass(graph, node, source);
    }
    true
}

fn join_reshapes(graph: &mut Graph, node: NodeId) -> bool {
    let Some((previous, source)) = before(graph, node) else { return false };
    if !changes_shape(&graph.node(previous).op) {
        return false;
    }
    let Some(output) = graph.node(node).output(0) else { return false };
    let Some(wanted) = graph.value(output).shape.clone() else { return false };
    // A literal 0 would copy a length instead of being one.
    if wanted.iter().any(|dim| dim.known() == Some(0)) {
        return false;
    }
    let from = graph.value(source).shape.as_deref();
    if let Op::Flatten(flatten) = &graph.node(node).op
        && flatten.axis == 1
        && from.is_some_and(|from| from.first() == wanted.first())
    {
        graph.set_input(node, 0, Some(source));
        return true;
    }
    let Some(target) = target::reshape_target(from, &wanted) else { return false };
    graph.node_mut(node).op = Reshape { allowzero: false }.into();
    graph.set_inputs(node, &[Some(source)]);
    edit::set_integers(graph, node, 1, "shape", target);
    true
}
