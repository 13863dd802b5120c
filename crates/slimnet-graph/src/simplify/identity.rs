//! Nodes that return their input.

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::ops::convolution::AutoPad;
use crate::ops::elementwise::{Binary, Unary};
use crate::ops::vision::CoordinateMode;
use crate::roles::{Role, role_of};

use super::{SimplifyOptions, edit};

/// Removes nodes that return one of their inputs as it is. Returns how many.
pub(super) fn remove(graph: &mut Graph, order: &[NodeId], options: &SimplifyOptions) -> usize {
    let mut removed = 0;
    for &node in order {
        let Some(source) = source(graph, node, options) else { continue };
        if edit::only_first_read(graph, node) {
            removed += usize::from(edit::bypass(graph, node, source));
        }
    }
    removed
}

/// The input that the node's first output equals.
fn source(graph: &Graph, node: NodeId, options: &SimplifyOptions) -> Option<ValueId> {
    let (op, inputs) = (&graph.node(node).op, graph.node(node).inputs());
    let (first, output) = (graph.node(node).input(0)?, graph.node(node).output(0)?);
    let element_type = |value: ValueId| graph.value(value).element_type;
    let keeps_shape = || edit::same_shape(graph, first, output);
    let integers = |slot| edit::integers(graph, node, slot);
    let absent_or = |slot, holds: &dyn Fn(i64) -> bool| {
        graph.node(node).input(slot).is_none() || integers(slot).is_some_and(|values| values.into_iter().all(holds))
    };
    let is = match op {
        Op::Unary(Unary::Identity) => true,
        Op::Dropout(_) => !options.keep_training && absent_or(2, &|training| training == 0),
        Op::Cast(op) => element_type(first) == Some(op.to),
        Op::CastLike(_) => {
            element_type(first).is_some() && element_type(first) == element_type(*inputs.get(1)?.as_ref()?)
        }
        Op::Binary(kind) => return neutral_operand(graph, node, *kind),
        Op::Variadic(_) | Op::Concat(_) => inputs.len() == 1,
        Op::Clip(_) => is_limit(graph, node, 1, f64::NEG_INFINITY) && is_limit(graph, node, 2, f64::INFINITY),
        Op::Transpose(op) => keeps_order(graph, first, op.perm.as_deref()),
        Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Expand(_) => keeps_shape(),
        Op::Slice(_) => keeps_shape() && absent_or(4, &|step| step == 1),
        Op::Pad(_) => integers(1).is_some_and(|amounts| amounts.iter().all(|&amount| amount == 0)),
        Op::Tile(_) => integers(1).is_some_and(|repeats| repeats.iter().all(|&repeat| repeat == 1)),
        Op::Split(_) => graph.node(node).outputs().len() == 1 && keeps_shape(),
        Op::DepthToSpace(op) => op.blocksize == 1,
        Op::SpaceToDepth(op) => op.blocksize == 1,
        Op::Resize(op) => {
            let scaled = graph.input_data(node, 2).is_some_and(|scales| edit::is_all(scales, 1.0));
            let sized = graph.node(node).input(3).is_some() && keeps_shape();
            op.coordinate_transformation_mode != CoordinateMode::TfCropAndResize && (scaled || sized)
        }
        Op::MaxPool(op) => is_trivial_window(&op.kernel_shape, &op.strides, &op.pads, op.auto_pad),
        Op::AveragePool(op) => is_trivial_window(&op.kernel_shape, &op.strides, &op.pads, op.auto_pad),
        _ => false,
    };
    is.then_some(first)
}

/// The other operand where one is a constant that changes nothing: x + 0, x − 0, x · 1, x / 1, x ^ 1. A parameter (the
/// bias of a layer that is not trained yet) is no such constant.
fn neutral_operand(graph: &Graph, node: NodeId, kind: Binary) -> Option<ValueId> {
    let (number, either_side) = match kind {
        Binary::Add => (0.0, true),
        Binary::Sub => (0.0, false),
        Binary::Mul => (1.0, true),
        Binary::Div | Binary::Pow => (1.0, false),
        _ => return None,
    };
    let neutral = |slot| {
        let operand = graph.node(node).input(slot);
        graph.input_data(node, slot).is_some_and(|data| edit::is_all(data, number))
            && operand.is_some_and(|operand| role_of(graph, operand) != Some(Role::Parameter))
    };
    let other = if neutral(1) {
        0
    } else if either_side && neutral(0) {
        1
    } else {
        return None;
    };
    // The constant may still broadcast the other operand to more elements.
    let (source, output) = (graph.node(node).input(other)?, graph.node(node).output(0)?);
    edit::same_shape(graph, source, output).then_some(source)
}

/// Whether a limit of Clip is absent or infinite.
fn is_limit(graph: &Graph, node: NodeId, slot: usize, infinity: f64) -> bool {
    graph.node(node).input(slot).is_none()
        || graph
            .input_data(node, slot)
            .is_some_and(|data| data.element_type().is_float() && edit::is_all(data, infinity))
}

/// Whether a transposition moves only axes of length 1, among themselves or not at all.
fn keeps_order(graph: &Graph, input: ValueId, perm: Option<&[i64]>) -> bool {
    let Some(shape) = &graph.value(input).shape else {
        return perm.is_some_and(|perm| perm.iter().enumerate().all(|(axis, &source)| source == axis as i64));
    };
    let reversed: Vec<_> = (0..shape.len() as i64).rev().collect();
    let perm = perm.unwrap_or(&reversed);
    let moves = |(axis, &source): (usize, &i64)| source != axis as i64;
    perm.len() == shape.len()
        && perm.iter().enumerate().filter(|&(axis, source)| moves((axis, source))).all(|(axis, &source)| {
            let length = |axis: usize| shape.get(axis).and_then(crate::graph::Dim::known);
            length(axis) == Some(1) && usize::try_from(source).is_ok_and(|source| length(source) == Some(1))
        })
}

fn is_trivial_window(kernel: &[i64], strides: &[i64], pads: &[i64], auto_pad: AutoPad) -> bool {
    let all = |values: &[i64], number| values.iter().all(|&value| value == number);
    all(kernel, 1) && all(strides, 1) && (all(pads, 0) || auto_pad != AutoPad::NotSet)
}
