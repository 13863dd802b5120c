//! Explicit padding before convolutions and poolings.

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::ops::convolution::AutoPad;
use crate::ops::layout::{Pad, PadMode};

use super::edit;

/// Moves paddings into the windows behind them where the window pads with the same value. Returns how many.
pub(super) fn merge(graph: &mut Graph, order: &[NodeId]) -> usize {
    order.iter().filter(|&&node| graph.has_node(node) && merge_into(graph, node).is_some()).count()
}

/// What a Pad node does to the spatial axes.
struct Padding {
    source: ValueId,
    begins: Vec<i64>,
    ends: Vec<i64>,
    value: f64,
}

fn merge_into(graph: &mut Graph, node: NodeId) -> Option<()> {
    let before = graph.value(graph.node(node).input(0)?).producer()?;
    if !matches!(graph.node(node).op, Op::Conv(_) | Op::MaxPool(_) | Op::AveragePool(_)) {
        return None;
    }
    let padding = padding(graph, before)?;
    // A runtime may refuse padding that is as wide as a pooling's window.
    let within =
        |pads: &[i64], kernel: &[i64]| pads.iter().zip(kernel.iter().cycle()).all(|(pad, kernel)| pad < kernel);
    let mut op = graph.node(node).op.clone();
    match &mut op {
        Op::Conv(op) if padding.value == 0.0 => {
            op.pads = joined(op.auto_pad, &op.pads, &padding)?;
            op.auto_pad = AutoPad::NotSet;
        }
        Op::MaxPool(op) if padding.value == f64::NEG_INFINITY && !op.ceil_mode => {
            // Indices would count the padding.
            if !edit::is_unread(graph, node, 1) {
                return None;
            }
            op.pads = joined(op.auto_pad, &op.pads, &padding).filter(|pads| within(pads, &op.kernel_shape))?;
            op.auto_pad = AutoPad::NotSet;
        }
        Op::AveragePool(op) if padding.value == 0.0 && !op.ceil_mode => {
            if !op.count_include_pad && op.pads.iter().any(|&pad| pad != 0) {
                return None;
            }
            op.pads = joined(op.auto_pad, &op.pads, &padding).filter(|pads| within(pads, &op.kernel_shape))?;
            op.count_include_pad = true;
            op.auto_pad = AutoPad::NotSet;
        }
        _ => return None,
    }
    graph.node_mut(node).op = op;
    graph.set_input(node, 0, Some(padding.source));
    Some(())
}

/// The sum of a window's own padding and that before it.
fn joined(auto_pad: AutoPad, own: &[i64], padding: &Padding) -> Option<Vec<i64>> {
    let own = match auto_pad {
        AutoPad::NotSet => own,
        AutoPad::Valid => &[],
        AutoPad::SameUpper | AutoPad::SameLower => return None,
    };
    let before = padding.begins.iter().chain(&padding.ends);
    if own.is_empty() {
        return Some(before.copied().collect());
    }
    let count = padding.begins.len() + padding.ends.len();
    (own.len() == count).then(|| before.zip(own).map(|(before, own)| before.checked_add(*own)).collect())?
}

fn padding(graph: &Graph, node: NodeId) -> Option<Padding> {
    let Op::Pad(Pad { mode: PadMode::Constant }) = &graph.node(node).op else { return None };
    let source = graph.node(node).input(0)?;
    let rank = graph.value(source).shape.as_ref()?.len();
    if rank < 3 || !graph.value(source).element_type?.is_float() {
        return None;
    }
    let (amounts, value) = edit::pad_amounts(graph, node, rank)?;
    let mut padding = Padding { source, begins: vec![0; rank], ends: vec![0; rank], value };
    for edit::Amount { axis, begin, end } in amounts {
        if begin < 0 || end < 0 {
            return None;
        }
        (padding.begins[axis], padding.ends[axis]) = (begin, end);
    }
    // Neither examples nor channels can be padded by a window.
    for amounts in [&mut padding.begins, &mut padding.ends] {
        if amounts.drain(..2).any(|amount| amount != 0) {
            return None;
        }
    }
    Some(padding)
}
