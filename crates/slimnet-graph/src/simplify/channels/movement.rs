//! Operators that move elements without computing: which cell of which input each cell of an output is.

use crate::graph::{Dim, Graph, NodeId};
use crate::ops::Op;
use crate::ops::layout::PadMode;
use crate::simplify::edit;

use super::pattern::{MOST_CELLS, Pattern, count};

/// Where the elements of a cell come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    /// From a cell of the data inputs, numbered through all of them in order.
    Cell(usize),
    /// Every element is this number.
    Number(f64),
}

/// The sources of every cell of every output, for an operator that only moves elements in a way that can be followed.
/// `inputs` are cell counts: the patterns of the inputs that hold elements ([`moved_inputs`]), in order.
pub(super) fn movement<T: Copy>(graph: &Graph, node: NodeId, inputs: &[&Pattern<T>]) -> Option<Vec<Pattern<Source>>> {
    let mut first = 0;
    let numbered: Vec<Pattern<Source>> = inputs
        .iter()
        .map(|input| {
            let pattern = input.numbered(first).map(Source::Cell);
            first += input.cells.len();
            pattern
        })
        .collect();
    let input = numbered.first()?;
    let shape_of = |id: Option<_>| graph.value(id?).shape.as_deref();
    let from = shape_of(graph.node(node).input(0));
    let to = shape_of(graph.node(node).output(0));
    let one = |pattern: Option<Pattern<Source>>| pattern.map(|pattern| vec![pattern]);
    match &graph.node(node).op {
        Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => one(input.reshape(from?, to?)),
        Op::Transpose(op) => {
            let perm = match &op.perm {
                Some(perm) => perm.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<_>>()?,
                None => (0..input.shape.len()).rev().collect::<Vec<_>>(),
            };
            one(input.transpose(&perm))
        }
        Op::Concat(op) => one(concat(graph, node, &numbered, edit::from_front(op.axis, input.shape.len())?)),
        Op::Split(op) => split(graph, node, input, edit::from_front(op.axis, input.shape.len())?),
        Op::Slice(_) => one(slice(graph, node, input, from?)),
        Op::Pad(op) if op.mode == PadMode::Constant => one(pad(graph, node, input, from?)),
        Op::Gather(op) => {
            let axis = edit::from_front(op.axis, input.shape.len())?;
            let indices = graph.input_data(node, 1)?;
            let length = from?.get(axis)?.known()?;
            if indices.rank() != 1 {
                return None;
            }
            let place = |index: i64| edit::from_front(index, length).map(Some);
            let places = indices.to_i64s().ok()?.into_iter().map(place).collect::<Option<Vec<_>>>()?;
            one(along(input, axis, length)?.pick(axis, &places, Source::Number(0.0)))
        }
        _ => None,
    }
}

/// Which inputs of an operator hold the elements that it moves.
pub(super) fn moved_inputs(op: &Op, inputs: usize) -> usize {
    if matches!(op, Op::Concat(_)) { inputs } else { 1 }
}

/// The pattern told apart along an axis of known length.
fn along(pattern: &Pattern<Source>, axis: usize, length: usize) -> Option<Pattern<Source>> {
    let mut shape = pattern.shape.clone();
    *shape.get_mut(axis)? = length;
    pattern.broadcast(&shape)
}

fn concat(graph: &Graph, node: NodeId, inputs: &[Pattern<Source>], axis: usize) -> Option<Pattern<Source>> {
    let mut shape = vec![1; inputs.first()?.shape.len()];
    let mut lengths = Vec::new();
    for (input, id) in inputs.iter().zip(graph.node(node).inputs()) {
        for (place, &length) in input.shape.iter().enumerate() {
            let joined = shape.get_mut(place)?;
            *joined = length.max(*joined);
        }
        lengths.push(graph.value((*id)?).shape.as_ref()?.get(axis)?.known()?);
    }
    let mut joined = shape.clone();
    joined[axis] = lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length))?;
    count(&joined)?;
    let parts: Option<Vec<_>> = inputs
        .iter()
        .zip(&lengths)
        .map(|(input, &length)| {
            let mut shape = shape.clone();
            shape[axis] = length;
            input.broadcast(&shape)
        })
        .collect();
    let parts = parts?;
    let inner: usize = shape[axis + 1..].iter().product();
    let blocks: usize = shape[..axis].iter().product();
    // Block by block of the axes in front, one input after the other.
    let mut cells = Vec::new();
    for block in 0..blocks {
        for (part, length) in parts.iter().zip(&lengths) {
            cells.extend_from_slice(&part.cells[block * length * inner..(block + 1) * length * inner]);
        }
    }
    Some(Pattern { shape: joined, cells })
}

fn split(graph: &Graph, node: NodeId, input: &Pattern<Source>, axis: usize) -> Option<Vec<Pattern<Source>>> {
    let mut start = 0usize;
    let outputs = graph.node(node).outputs().iter();
    outputs
        .map(|output| {
            let length = graph.value((*output)?).shape.as_ref()?.get(axis)?.known()?;
            let places: Vec<_> = (start..start.checked_add(length)?).map(Some).collect();
            start += length;
            if input.shape[axis] == 1 { Some(input.clone()) } else { input.pick(axis, &places, Source::Number(0.0)) }
        })
        .collect()
}

fn slice(graph: &Graph, node: NodeId, input: &Pattern<Source>, from: &[Dim]) -> Option<Pattern<Source>> {
    let starts = edit::integers(graph, node, 1)?;
    let ends = edit::integers(graph, node, 2)?;
    let or = |slot, otherwise: Vec<i64>| match graph.node(node).input(slot) {
        Some(_) => edit::integers(graph, node, slot),
        None => Some(otherwise),
    };
    let axes = or(3, (0..starts.len() as i64).collect())?;
    let steps = or(4, vec![1; starts.len()])?;
    let mut pattern = input.clone();
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = edit::from_front(axis, from.len())?;
        if *pattern.shape.get(axis)? == 1 {
            continue;
        }
        let length = i64::try_from(from.get(axis)?.known()?).ok()?;
        let clamp = |place: i64, low: i64, high: i64| {
            let place = if place < 0 { place.saturating_add(length) } else { place };
            place.clamp(low, high)
        };
        let (mut at, end) = match step {
            1.. => (clamp(start, 0, length), clamp(end, 0, length)),
            0 => return None,
            _ => (clamp(start, -1, length - 1), clamp(end, -1, length - 1)),
        };
        let mut places = Vec::new();
        while if step > 0 { at < end } else { at > end } {
            places.push(Some(usize::try_from(at).ok()?));
            at = at.saturating_add(step);
        }
        pattern = pattern.pick(axis, &places, Source::Number(0.0))?;
    }
    Some(pattern)
}

fn pad(graph: &Graph, node: NodeId, input: &Pattern<Source>, from: &[Dim]) -> Option<Pattern<Source>> {
    let (amounts, value) = edit::pad_amounts(graph, node, from.len())?;
    let mut pattern = input.clone();
    for edit::Amount { axis, begin, end } in amounts {
        if begin == 0 && end == 0 {
            continue;
        }
        let length = i64::try_from(from.get(axis)?.known()?).ok()?;
        let total = length.checked_add(begin)?.checked_add(end)?;
        if total > MOST_CELLS as i64 {
            return None;
        }
        pattern = along(&pattern, axis, length as usize)?;
        // Negative amounts crop.
        let places: Vec<_> = (0..total)
            .map(|place| usize::try_from(place - begin).ok().filter(|&place| place < length as usize))
            .collect();
        pattern = pattern.pick(axis, &places, Source::Number(value))?;
    }
    Some(pattern)
}
