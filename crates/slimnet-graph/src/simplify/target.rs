//! Shapes computed at run time that can be said as constants although some lengths are unknown.

use crate::graph::{Dim, Graph, NodeId};
use crate::infer::Inference;
use crate::ops::Op;
use crate::ops::vision::{AspectRatioPolicy, CoordinateMode};
use crate::tensor::Tensor;

use super::edit;

/// Gives constant shape inputs to Reshape, Expand, Slice and Resize where what they compute is known well enough.
/// Returns how many.
pub(super) fn make_constant(graph: &mut Graph, order: &[NodeId], inference: &Inference) -> usize {
    let mut made = 0;
    for &node in order {
        if !graph.has_node(node) {
            continue;
        }
        made += usize::from(match &graph.node(node).op {
            Op::Reshape(_) => reshape(graph, node, inference),
            Op::Expand(_) => expand(graph, node, inference),
            Op::Slice(_) => slice_ends(graph, node, inference),
            Op::Resize(_) => resize(graph, node, inference),
            _ => false,
        });
    }
    made
}

/// The symbolic contents of an input that is no data.
fn computed(graph: &Graph, node: NodeId, slot: usize, inference: &Inference) -> Option<Vec<Dim>> {
    let input = graph.node(node).input(slot)?;
    if graph.value(input).data.is_some() {
        return None;
    }
    inference.contents(input).map(<[Dim]>::to_vec)
}

/// The shape of a node's first input, if its number of axes is known.
fn input_shape(graph: &Graph, node: NodeId) -> Option<&[Dim]> {
    graph.value(graph.node(node).input(0)?).shape.as_deref()
}

/// The target by which Reshape (0 keeps a length, −1 is what is left) makes `output` of `input`; `None` where it cannot
/// say it. `output` may hold literal 0 and −1, with these meanings.
pub(super) fn reshape_target(input: Option<&[Dim]>, output: &[Dim]) -> Option<Vec<i64>> {
    let kept = |axis: usize| input.and_then(|input| input.get(axis)) == output.get(axis);
    let target: Vec<_> = output
        .iter()
        .enumerate()
        .map(|(axis, dim)| dim.constant().unwrap_or(if kept(axis) { 0 } else { -1 }))
        .collect();
    let inferred = target.iter().filter(|&&length| length == -1).count();
    (inferred <= 1).then_some(target)
}

fn reshape(graph: &mut Graph, node: NodeId, inference: &Inference) -> bool {
    let Some(wanted) = computed(graph, node, 1, inference) else { return false };
    if matches!(&graph.node(node).op, Op::Reshape(op) if op.allowzero) {
        return false;
    }
    let Some(target) = reshape_target(input_shape(graph, node), &wanted) else { return false };
    edit::set_integers(graph, node, 1, "shape", target);
    true
}

/// Expand keeps a length where the target is 1.
fn expand(graph: &mut Graph, node: NodeId, inference: &Inference) -> bool {
    let Some(wanted) = computed(graph, node, 1, inference) else { return false };
    let Some(shape) = input_shape(graph, node) else { return false };
    let kept = |axis: usize| (axis + shape.len()).checked_sub(wanted.len()).and_then(|axis| shape.get(axis));
    let target: Option<Vec<_>> = wanted
        .iter()
        .enumerate()
        .map(|(axis, dim)| dim.constant().or_else(|| (kept(axis) == Some(dim)).then_some(1)))
        .collect();
    let Some(target) = target else { return false };
    edit::set_integers(graph, node, 1, "shape", target);
    true
}

/// An end that is the axis's length, whatever that is, is the largest number there is.
fn slice_ends(graph: &mut Graph, node: NodeId, inference: &Inference) -> bool {
    let Some(ends) = computed(graph, node, 2, inference) else { return false };
    let Some(shape) = input_shape(graph, node) else { return false };
    let axes = match graph.node(node).input(3) {
        None => (0..ends.len() as i64).collect(),
        Some(_) => match edit::integers(graph, node, 3) {
            Some(axes) => axes,
            None => return false,
        },
    };
    let forward = match graph.node(node).input(4) {
        None => true,
        Some(_) => edit::integers(graph, node, 4).is_some_and(|steps| steps.iter().all(|&step| step > 0)),
    };
    if !forward || axes.len() != ends.len() {
        return false;
    }
    let end = |(end, axis): (&Dim, &i64)| {
        let length = edit::from_front(*axis, shape.len()).and_then(|axis| shape.get(axis));
        end.constant().or_else(|| (length == Some(end)).then_some(i64::MAX))
    };
    let Some(ends) = ends.iter().zip(&axes).map(end).collect() else { return false };
    edit::set_integers(graph, node, 2, "ends", ends);
    true
}

/// Sizes that are whole multiples of the input's are scales; axes that keep their lengths need not be spoken of.
fn resize(graph: &mut Graph, node: NodeId, inference: &Inference) -> bool {
    let Some(sizes) = computed(graph, node, 3, inference) else { return false };
    let Op::Resize(op) = &graph.node(node).op else { return false };
    let Some(shape) = input_shape(graph, node) else { return false };
    let axes = op.axes.clone().unwrap_or_else(|| (0..shape.len() as i64).collect());
    let stretches = op.keep_aspect_ratio_policy == AspectRatioPolicy::Stretch;
    let crops = op.coordinate_transformation_mode == CoordinateMode::TfCropAndResize;
    if axes.len() != sizes.len() || !stretches || crops {
        return false;
    }
    let lengths: Option<Vec<_>> =
        axes.iter().map(|&axis| shape.get(edit::from_front(axis, shape.len())?).cloned()).collect();
    let Some(lengths) = lengths else { return false };
    let scale = |(size, length): (&Dim, &Dim)| {
        // Within 2^20 runtimes that divide sizes in float32 get the same number.
        let scale = size.divide_exactly(length)?.constant()?;
        (1..=1 << 20).contains(&scale).then_some(scale as f32)
    };
    if let Some(scales) = sizes.iter().zip(&lengths).map(scale).collect::<Option<Vec<_>>>() {
        let name = format!("{}.scales", edit::output_name(graph, node));
        let scales = graph.add_constant(&name, Tensor::vector(scales));
        graph.set_input(node, 3, None);
        graph.set_input(node, 2, Some(scales));
        return true;
    }
    let changed = (0..axes.len()).filter(|&place| sizes[place] != lengths[place]);
    let changed: Option<Vec<_>> = changed.map(|place| Some((axes[place], sizes[place].constant()?))).collect();
    let Some((axes, sizes)) = changed.map(|changed| changed.into_iter().unzip()) else { return false };
    if let Op::Resize(op) = &mut graph.node_mut(node).op {
        op.axes = Some(axes);
    }
    edit::set_integers(graph, node, 3, "sizes", sizes);
    true
}
