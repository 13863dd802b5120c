//! Nodes that compute the same, and constants that are the same.

use std::collections::HashMap;

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::roles::{Role, role_of};
use crate::tensor::Tensor;

/// Lets readers of a node that computes what an earlier one computes read the earlier. Returns how many nodes went.
pub(super) fn merge_nodes(graph: &mut Graph, order: &[NodeId]) -> usize {
    let mut known: HashMap<(Vec<Option<ValueId>>, String), NodeId> = HashMap::new();
    let mut merged = 0;
    for &node in order {
        // Two Dropouts of one input are the same only while nothing is trained.
        if !graph.has_node(node) || matches!(graph.node(node).op, Op::Other(_) | Op::Dropout(_)) {
            continue;
        }
        // The text of an operator is all of it, and can be hashed although its numbers are floating-point.
        let key = (graph.node(node).inputs().to_vec(), format!("{:?}", graph.node(node).op));
        let first = *known.entry(key).or_insert(node);
        if first != node && merge_node(graph, node, first) {
            merged += 1;
        }
    }
    merged
}

fn merge_node(graph: &mut Graph, node: NodeId, first: NodeId) -> bool {
    let pairs: Vec<_> =
        graph.node(node).outputs().iter().zip(graph.node(first).outputs()).map(|(a, b)| (*a, *b)).collect();
    // Both may be outputs of the graph, which need both names.
    let possible = graph.node(node).outputs().len() <= pairs.len()
        && pairs.iter().all(|&(own, other)| match (own, other) {
            (Some(own), Some(other)) => {
                let outputs = graph.outputs();
                !outputs.contains(&own) || !outputs.contains(&other)
            }
            (own, _) => own.is_none(),
        });
    if !possible {
        return false;
    }
    for (own, other) in pairs {
        if let (Some(own), Some(other)) = (own, other) {
            if graph.outputs().contains(&own) {
                let shape = graph.value(own).shape.clone();
                graph.value_mut(other).shape = shape;
            }
            graph.replace_uses(own, other);
        }
    }
    graph.remove_node(node);
    true
}

/// Lets readers of a constant that equals an earlier one read the earlier. Parameters stay apart: equal weights need
/// not stay equal when they are trained. Returns how many went.
pub(super) fn merge_constants(graph: &mut Graph) -> usize {
    let constants = graph.values().filter(|&(id, value)| {
        value.data.is_some() && value.readers().len() > 0 && !value.is_input() && is_constant(graph, id)
    });
    let constants: Vec<_> = constants.map(|(id, _)| id).collect();
    let mut known: HashMap<_, Vec<ValueId>> = HashMap::new();
    let mut merged = 0;
    for id in constants {
        let Some(data) = graph.value(id).data.clone() else { continue };
        let same = known.entry(hash_key(&data)).or_default();
        match same.iter().find(|&&other| graph.value(other).data.as_ref() == Some(&data)) {
            Some(&other) => merged += usize::from(graph.replace_uses(id, other)),
            None => same.push(id),
        }
    }
    merged
}

fn hash_key(data: &Tensor) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one((
        data.element_type(),
        data.shape(),
        data.bytes(),
        data.strings(),
    ))
}

/// Whether training leaves the value alone, and pruning too: a zero point for each channel lies on the channels of its own
/// layer, and a mask on those of its own weight, which must not be tied to those of another.
fn is_constant(graph: &Graph, id: ValueId) -> bool {
    let value = graph.value(id);
    let single = value.data.as_ref().is_some_and(|data| data.len() <= 1);
    let follows_channels = |op: &Op| {
        matches!(op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_) | Op::QLinearConv(_) | Op::QLinearMatMul(_))
            || matches!(op, Op::ConvInteger(_) | Op::MatMulInteger(_) | Op::Mask(_))
    };
    let per_channel = !single && value.readers().any(|reader| follows_channels(&graph.node(reader.node).op));
    !per_channel && role_of(graph, id) == Some(Role::Constant)
}
