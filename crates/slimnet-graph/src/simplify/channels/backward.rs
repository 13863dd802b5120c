//! Which channels the outputs of the network depend on.

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::ops::reduction::ReduceKind;
use crate::simplify::edit;

use super::forward::{Constants, agree, channels, is_elementwise, operand};
use super::linear::linear;
use super::movement::{Source, moved_inputs, movement};
use super::pattern::{Pattern, targets};

/// Why a channel may go, in the order of what takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Nothing depends on it.
    Unread,
    /// It is read and always 0.
    Zero,
    /// It is read and always the same number, which its readers can take into their biases.
    Constant,
    /// Something depends on it.
    Needed,
}

/// For each value that is not data, what its readers need of it, told apart as its constants are.
pub(super) type Needs = Vec<Option<Pattern<Need>>>;

/// Follows what the outputs need back through the graph.
pub(super) fn needs(graph: &Graph, order: &[NodeId], constants: &Constants, dead: f64) -> Needs {
    let start = |pattern: &Option<Pattern<f64>>| pattern.as_ref().map(|pattern| pattern.map(|_| Need::Unread));
    let mut needs: Needs = constants.iter().map(start).collect();
    for output in graph.outputs() {
        need_all(&mut needs, *output);
    }
    for &node in order.iter().rev() {
        let outputs = graph.node(node).outputs().iter().flatten();
        // What is not followed is needed.
        let is_needed = |output: &ValueId| needs[output.index()].as_ref().is_none_or(any_needed);
        let live = outputs.into_iter().any(is_needed);
        if live && follow(graph, node, constants, &mut needs, dead).is_none() {
            for input in graph.node(node).inputs().iter().flatten() {
                need_all(&mut needs, *input);
            }
        }
    }
    needs
}

fn any_needed(pattern: &Pattern<Need>) -> bool {
    pattern.cells.contains(&Need::Needed)
}

fn need_all(needs: &mut Needs, value: ValueId) {
    if let Some(Some(pattern)) = needs.get_mut(value.index()) {
        pattern.cells.fill(Need::Needed);
    }
}

/// Raises the need of a value's cells.
fn raise(needs: &mut Needs, value: ValueId, cells: impl IntoIterator<Item = (usize, Need)>) {
    let Some(Some(pattern)) = needs.get_mut(value.index()) else { return };
    for (cell, need) in cells {
        let known = &mut pattern.cells[cell];
        *known = need.max(*known);
    }
}

fn is_computed(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).data.is_none()
}

/// Raises the need of a value by that of an output whose channels are the value's own; along other axes any element of
/// the output may depend on any of the value.
fn spread(needs: &mut Needs, value: ValueId, output: &Pattern<Need>) -> Option<()> {
    let own = &needs.get(value.index())?.as_ref()?.shape;
    let rank = own.len().max(output.shape.len());
    let length = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    let shape: Vec<_> = (0..rank).map(|axis| length(own, axis).max(length(&output.shape, axis))).collect();
    let needed = output.broadcast(&shape)?;
    let cells = targets(&shape, own)?;
    raise(needs, value, cells.into_iter().zip(needed.cells));
    Some(())
}

fn follow(graph: &Graph, node: NodeId, constants: &Constants, needs: &mut Needs, dead: f64) -> Option<()> {
    let op = &graph.node(node).op;
    // What else a node computes from its input (the indices of a MaxPool) is not followed.
    if !matches!(op, Op::Split(_) | Op::Dropout(_)) && !edit::only_first_read(graph, node) {
        return None;
    }
    let output = needs[graph.node(node).output(0)?.index()].clone()?;
    if is_elementwise(graph, node) {
        let inputs = graph.node(node).inputs().iter().flatten();
        return inputs
            .copied()
            .filter(|&input| is_computed(graph, input))
            .try_for_each(|input| spread(needs, input, &output));
    }
    let input = graph.node(node).input(0)?;
    if let Some(layer) = linear(graph, node, dead) {
        // Weights that are computed are needed whole.
        for other in graph.node(node).inputs().iter().skip(1).flatten() {
            need_all(needs, *other);
        }
        let highest = |first: Need, second: Need| first.max(second);
        let outputs = channels(&output, layer.output_axis, layer.groups * layer.outputs, highest)?;
        let known = operand(graph, input, constants)?;
        let known = channels(&known, layer.input_axis, layer.groups * layer.inputs, agree)?;
        let mut read = vec![Need::Unread; known.len()];
        for (output, input, _) in layer.joined() {
            if outputs[output] == Need::Unread {
                continue;
            }
            let constant = known[input];
            let need = if constant == 0.0 {
                Need::Zero
            } else if constant.is_nan() {
                outputs[output]
            } else if layer.takes_bias && layer.passes(constant) {
                Need::Constant
            } else {
                // The output would be another constant without it.
                Need::Needed
            };
            read[input] = need.max(read[input]);
        }
        let own = needs.get(input.index())?.clone()?;
        let one = own.shape[layer.input_axis] == 1;
        let cells = own
            .places(layer.input_axis)
            .map(|place| if one { read.iter().copied().max().unwrap_or(Need::Unread) } else { read[place] });
        raise(needs, input, cells.enumerate().collect::<Vec<_>>());
        return Some(());
    }
    match op {
        Op::Dropout(_) | Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) | Op::MaxPool(_) | Op::AveragePool(_) => {
            spread(needs, input, &output)
        }
        Op::BatchNormalization(op) if !op.training_mode => spread(needs, input, &output),
        Op::Resize(_) if edit::same_front(graph, node, 2) => spread(needs, input, &output),
        Op::Reduce(ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min | ReduceKind::Sum, _) => {
            let axes = edit::reduced_axes(graph, node)?;
            let rank = graph.value(input).shape.as_ref()?.len();
            let mut kept = output.shape.iter();
            let whole = output.shape.len() == rank;
            let mut shape = Vec::new();
            for axis in 0..rank {
                let reduced = axes.contains(&axis);
                let length = if whole || !reduced { kept.next().copied()? } else { 1 };
                shape.push(length);
            }
            spread(needs, input, &Pattern { shape, cells: output.cells })
        }
        _ => {
            let ids: Option<Vec<ValueId>> = graph.node(node).inputs()
                [..moved_inputs(op, graph.node(node).inputs().len())]
                .iter()
                .copied()
                .collect();
            let ids = ids?;
            let patterns: Option<Vec<_>> = ids.iter().map(|&id| operand(graph, id, constants)).collect();
            let patterns = patterns?;
            let sources = movement(graph, node, &patterns.iter().collect::<Vec<_>>())?;
            let mut moved: Vec<Need> = vec![Need::Unread; patterns.iter().map(|pattern| pattern.cells.len()).sum()];
            for (pattern, output) in sources.iter().zip(graph.node(node).outputs()) {
                let Some(Some(wanted)) = output.map(|output| &needs[output.index()]) else { continue };
                if wanted.shape != pattern.shape {
                    return None;
                }
                for (source, need) in pattern.cells.iter().zip(&wanted.cells) {
                    if let Source::Cell(cell) = source {
                        moved[*cell] = moved[*cell].max(*need);
                    }
                }
            }
            let mut first = 0;
            for (id, pattern) in ids.iter().zip(&patterns) {
                let cells = moved[first..first + pattern.cells.len()].iter().copied().enumerate();
                raise(needs, *id, cells.collect::<Vec<_>>());
                first += pattern.cells.len();
            }
            Some(())
        }
    }
}
