//! Nodes in the operator set of the file that is written.

use super::lift::Input;
use super::proto::AttributeProto;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;

/// A node as the file gets it.
pub(super) struct Lowered {
    pub(super) op_type: String,
    pub(super) attributes: Vec<AttributeProto>,
    pub(super) inputs: Vec<Input>,
}

/// The node in operator set `version`.
///
/// # Errors
/// Why that version cannot express it, in words.
pub(super) fn lower(graph: &Graph, id: NodeId, version: i64) -> Result<Lowered, String> {
    let _ = version;
    let node = graph.node(id);
    let mut attributes = match &node.op {
        Op::Other(kept) => kept.attributes.clone(),
        op => op.attributes().into_protos(),
    };
    if let Op::Other(kept) = &node.op {
        let new = captured(graph, id).map(|value| graph.value(value).name.clone());
        let names = kept.captures.iter().cloned().zip(new).filter(|(old, new)| old != new);
        super::subgraph::rename(&mut attributes, &names.collect());
    }
    let inputs = node.inputs().iter().take(proper_inputs(graph, id)).copied().map(Input::from).collect();
    Ok(Lowered { op_type: node.op.op_type().to_owned(), attributes, inputs })
}

/// Number of inputs of a node that are no captures of its subgraphs.
fn proper_inputs(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    node.inputs().len().saturating_sub(node.op.other().map_or(0, |kept| kept.captures.len()))
}

/// The values that the subgraphs of a node that is kept whole read, in the order of [`crate::ops::OnnxNode::captures`].
pub(super) fn captured(graph: &Graph, id: NodeId) -> impl Iterator<Item = ValueId> + '_ {
    graph.node(id).inputs().iter().skip(proper_inputs(graph, id)).flatten().copied()
}
