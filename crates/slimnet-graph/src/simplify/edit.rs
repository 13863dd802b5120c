//! Edits and looks that several passes share.

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::tensor::Tensor;

/// Lets what reads a node's first output read `source`, which is the same, and removes the node. Where the output is
/// one of the graph and `source` cannot take its name, the node stays to compute it. Returns whether anything changed.
pub(super) fn bypass(graph: &mut Graph, node: NodeId, source: ValueId) -> bool {
    let Some(output) = graph.node(node).output(0) else { return false };
    let had_readers = graph.value(output).readers().len() > 0;
    let is_output = graph.outputs().contains(&output);
    if is_output && graph.value(source).producer().is_some() && !graph.outputs().contains(&source) {
        // What the file says of the output goes with its name.
        let output = graph.value(output).clone();
        let source = graph.value_mut(source);
        source.shape = output.shape;
        source.doc_string = output.doc_string;
        source.metadata = output.metadata;
    }
    let free = graph.replace_uses(output, source);
    if free {
        graph.remove_node(node);
    }
    free || had_readers
}

/// Whether nothing reads an output slot of a node (or it is absent).
pub(super) fn is_unread(graph: &Graph, node: NodeId, slot: usize) -> bool {
    let Some(output) = graph.node(node).output(slot) else { return true };
    graph.value(output).readers().len() == 0 && !graph.outputs().contains(&output)
}

/// Whether only the first output of a node is read.
pub(super) fn only_first_read(graph: &Graph, node: NodeId) -> bool {
    (1..graph.node(node).outputs().len()).all(|slot| is_unread(graph, node, slot))
}

/// Whether both values have the same, known, shape.
pub(super) fn same_shape(graph: &Graph, first: ValueId, second: ValueId) -> bool {
    let (first, second) = (&graph.value(first).shape, &graph.value(second).shape);
    first.is_some() && first == second
}

/// The integers of an input that the file holds.
pub(super) fn integers(graph: &Graph, node: NodeId, slot: usize) -> Option<Vec<i64>> {
    graph.input_data(node, slot)?.to_i64s().ok()
}

/// Whether every element of a numeric tensor is `number` (and there is one).
pub(super) fn is_all(data: &Tensor, number: f64) -> bool {
    !data.is_empty() && data.to_f64s().is_ok_and(|values| values.iter().all(|&value| value == number))
}

/// `axis` counted from the front, if it is one of `rank` axes.
pub(super) fn from_front(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// The name of the first output of a node, from which names of new values beside it are made.
pub(super) fn output_name(graph: &Graph, node: NodeId) -> &str {
    graph.node(node).outputs().iter().flatten().next().map_or("value", |&output| graph.value(output).name.as_str())
}

/// Lets a node read an integer vector at `slot`.
pub(super) fn set_integers(graph: &mut Graph, node: NodeId, slot: usize, what: &str, values: Vec<i64>) {
    let name = format!("{}.{what}", output_name(graph, node));
    let constant = graph.add_constant(&name, Tensor::vector(values));
    graph.set_input(node, slot, Some(constant));
}

/// Whether the first `axes` axes of a node's first input and output have the same lengths.
pub(super) fn same_front(graph: &Graph, node: NodeId, axes: usize) -> bool {
    let front = |value: Option<ValueId>| graph.value(value?).shape.as_ref()?.get(..axes);
    front(graph.node(node).input(0)).is_some_and(|from| Some(from) == front(graph.node(node).output(0)))
}

/// The axes over which a reduction runs, if they are known.
pub(super) fn reduced_axes(graph: &Graph, node: NodeId) -> Option<Vec<usize>> {
    let Op::Reduce(_, op) = &graph.node(node).op else { return None };
    let rank = graph.value(graph.node(node).input(0)?).shape.as_ref()?.len();
    let axes = if graph.node(node).input(1).is_some() { integers(graph, node, 1)? } else { Vec::new() };
    if axes.is_empty() && !op.noop_with_empty_axes {
        return Some((0..rank).collect());
    }
    axes.into_iter().map(|axis| from_front(axis, rank)).collect()
}

/// Gives a node other data for a parameter: in place where it alone reads it, else as a new value.
pub(super) fn set_parameter(graph: &mut Graph, node: NodeId, slot: usize, what: &str, data: Tensor) {
    let is_own = |value: &ValueId| graph.value(*value).readers().len() == 1 && !graph.outputs().contains(value);
    if let Some(value) = graph.node(node).input(slot).filter(is_own) {
        return graph.set_data(value, data);
    }
    let name = format!("{}.{what}", output_name(graph, node));
    let value = graph.add_constant(&name, data);
    graph.set_input(node, slot, Some(value));
}

/// What a Pad adds to an axis, at its begin and at its end; negative amounts crop.
pub(super) struct Amount {
    pub axis: usize,
    pub begin: i64,
    pub end: i64,
}

/// Amounts and value of a Pad node over an input of `rank` axes, where the file holds them.
pub(super) fn pad_amounts(graph: &Graph, node: NodeId, rank: usize) -> Option<(Vec<Amount>, f64)> {
    let amounts = integers(graph, node, 1)?;
    let axes: Vec<usize> = if graph.node(node).input(3).is_some() {
        integers(graph, node, 3)?.into_iter().map(|axis| from_front(axis, rank)).collect::<Option<_>>()?
    } else {
        (0..rank).collect()
    };
    let value =
        if graph.node(node).input(2).is_some() { *graph.input_data(node, 2)?.to_f64s().ok()?.first()? } else { 0.0 };
    let (begins, ends) = amounts.split_at_checked(axes.len()).filter(|(begins, ends)| begins.len() == ends.len())?;
    let amounts = axes.into_iter().zip(begins).zip(ends).map(|((axis, &begin), &end)| Amount { axis, begin, end });
    Some((amounts.collect(), value))
}
