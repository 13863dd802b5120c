//! Which channels are constant, whatever the input of the network is.

use crate::evaluate::evaluate_op;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::ops::convolution::AutoPad;
use crate::ops::elementwise::Binary;
use crate::ops::reduction::ReduceKind;
use crate::ops::vision::{CoordinateMode, ResizeMode};
use crate::simplify::{batch_norm, edit};
use crate::tensor::Tensor;

use super::linear::{self, Linear, linear};
use super::movement::{Source, moved_inputs, movement};
use super::pattern::{MOST_CELLS, Pattern};

/// For each value that is not data, the constants of its elements; NaN where they are not constant.
pub(super) type Constants = Vec<Option<Pattern<f64>>>;

/// Work that is always allowed, in cells and weights looked at; and work for each element of the file's data. Networks
/// take a tenth of it; one that is made to take more is left as it is.
const LEAST_WORK: usize = 1 << 24;
const WORK_PER_ELEMENT: usize = 32;

/// Interprets the graph on constants; `None` where that would take more work than a graph of its size should.
pub(super) fn constants(graph: &Graph, order: &[NodeId], dead: f64) -> Option<Constants> {
    let elements = graph.values().filter_map(|(_, value)| value.data.as_ref()).map(Tensor::len);
    let mut budget = elements.fold(0usize, usize::saturating_add).saturating_mul(WORK_PER_ELEMENT);
    budget = budget.saturating_add(LEAST_WORK);
    let mut known: Constants = vec![None; graph.value_bound()];
    for input in graph.free_inputs() {
        known[input.index()] = unknown(graph, input);
    }
    for &node in order {
        for input in graph.node(node).inputs().iter().flatten() {
            let data = graph.value(*input).data.as_ref().map(Tensor::len);
            let cells = known[input.index()].as_ref().map(|pattern| pattern.cells.len());
            budget = budget.checked_sub(data.or(cells).unwrap_or(0))?;
        }
        let outputs = graph.node(node).outputs();
        let patterns = apply(graph, node, &known, dead).unwrap_or_default();
        for (slot, output) in outputs.iter().enumerate() {
            let Some(output) = *output else { continue };
            let rank = graph.value(output).shape.as_ref().map(Vec::len);
            let pattern = patterns.get(slot).filter(|pattern| Some(pattern.shape.len()) == rank);
            budget = budget.checked_sub(pattern.map_or(0, |pattern| pattern.cells.len()))?;
            known[output.index()] = pattern.cloned().or_else(|| unknown(graph, output));
        }
    }
    Some(known)
}

fn unknown(graph: &Graph, value: ValueId) -> Option<Pattern<f64>> {
    Some(Pattern::uniform(graph.value(value).shape.as_ref()?.len(), f64::NAN))
}

/// What is known of an input of a node, from data too: of data along its longest axis, as it is channels that count.
pub(super) fn operand(graph: &Graph, value: ValueId, known: &Constants) -> Option<Pattern<f64>> {
    let Some(data) = &graph.value(value).data else { return known.get(value.index())?.clone() };
    let longest = data.shape().iter().copied().max().unwrap_or(1);
    if data.is_empty() || longest > MOST_CELLS {
        return Some(Pattern::uniform(data.rank(), f64::NAN));
    }
    let axis = data.shape().iter().position(|&length| length == longest);
    let pattern = Pattern { shape: data.shape().to_vec(), cells: data.to_f64s().ok()? };
    if data.len() == longest {
        return Some(pattern);
    }
    let cells = pattern.project(axis?, agree)?;
    Some(Pattern::along(data.rank(), axis?, cells))
}

/// The constant that two cells together have.
pub(super) fn agree(first: f64, second: f64) -> f64 {
    if first == second { first } else { f64::NAN }
}

fn apply(graph: &Graph, node: NodeId, known: &Constants, dead: f64) -> Option<Vec<Pattern<f64>>> {
    let op = &graph.node(node).op;
    if is_elementwise(graph, node) {
        return Some(vec![elementwise(graph, node, known)?]);
    }
    let input = operand(graph, graph.node(node).input(0)?, known)?;
    if let Some(layer) = linear(graph, node, dead) {
        let rank = graph.value(graph.node(node).output(0)?).shape.as_ref()?.len();
        return Some(vec![Pattern::along(rank, layer.output_axis, outputs_of(&layer, &input)?)]);
    }
    let spatial = |pattern: &Pattern<f64>| pattern.collapse(|axis| axis >= 2, agree);
    let one = |pattern: Pattern<f64>| Some(vec![pattern]);
    match op {
        Op::Dropout(_) => one(input),
        Op::BatchNormalization(op) if !op.training_mode => {
            let mut affine = batch_norm::affine(graph, node, op)?;
            linear::clear_vanishing(&mut affine.factor, dead);
            linear::clear_vanishing(&mut affine.offset, dead);
            let mut shape = input.shape.clone();
            *shape.get_mut(1)? = affine.factor.len();
            let mut output = input.broadcast(&shape)?;
            for (channel, cell) in output.places(1).zip(&mut output.cells) {
                let (factor, offset) = (affine.factor[channel], affine.offset[channel]);
                *cell = if factor == 0.0 { offset } else { *cell * factor + offset };
            }
            one(output)
        }
        // A window over one number gives that number, if padding brings in no other.
        // Every place of a dilated window can lie in padding, which gives the least number there is.
        Op::MaxPool(op) if op.dilations.iter().any(|&step| step > 1) && op.pads.iter().any(|&pad| pad > 0) => None,
        Op::MaxPool(op) if op.dilations.iter().any(|&step| step > 1) && op.auto_pad != AutoPad::NotSet => None,
        Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) | Op::MaxPool(_) => one(spatial(&input)?),
        Op::AveragePool(op) => {
            let other = op.count_include_pad;
            one(spatial(&input)?.map(|cell| if other && cell != 0.0 { f64::NAN } else { cell }))
        }
        Op::Resize(op) => {
            let moves = matches!(op.mode, ResizeMode::Nearest | ResizeMode::Linear);
            let crops = op.coordinate_transformation_mode == CoordinateMode::TfCropAndResize;
            if !moves || crops || !edit::same_front(graph, node, 2) {
                return None;
            }
            one(spatial(&input)?)
        }
        Op::Reduce(ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min, _) => one(reduce(graph, node, &input)?),
        _ => {
            let inputs: Option<Vec<_>> = graph.node(node).inputs()[..moved_inputs(op, graph.node(node).inputs().len())]
                .iter()
                .map(|input| operand(graph, (*input)?, known))
                .collect();
            let inputs = inputs?;
            let cells: Vec<f64> = inputs.iter().flat_map(|input| input.cells.iter().copied()).collect();
            let outputs = movement(graph, node, &inputs.iter().collect::<Vec<_>>())?;
            let cell = |source| match source {
                Source::Cell(cell) => cells[cell],
                Source::Number(number) => number,
            };
            Some(outputs.iter().map(|output| output.map(cell)).collect())
        }
    }
}

/// Outputs of a layer that are constant: all their inputs are, or have vanishing weights.
fn outputs_of(layer: &Linear, input: &Pattern<f64>) -> Option<Vec<f64>> {
    let inputs = channels(input, layer.input_axis, layer.groups * layer.inputs, agree)?;
    let mut outputs = layer.bias.clone().unwrap_or_else(|| vec![f64::NAN; layer.groups * layer.outputs]);
    for (output, input, weight) in layer.joined() {
        let constant = inputs[input];
        outputs[output] += if layer.passes(constant) { constant * weight } else { f64::NAN };
    }
    Some(outputs)
}

/// One cell for each place of an axis of `length`.
pub(super) fn channels<T: Copy>(
    pattern: &Pattern<T>,
    axis: usize,
    length: usize,
    join: impl Fn(T, T) -> T,
) -> Option<Vec<T>> {
    let cells = (axis < pattern.shape.len()).then(|| pattern.project(axis, join))??;
    match cells.len() {
        1 => Some(vec![cells[0]; length]),
        count => (count == length).then_some(cells),
    }
}

fn reduce(graph: &Graph, node: NodeId, input: &Pattern<f64>) -> Option<Pattern<f64>> {
    let axes = edit::reduced_axes(graph, node)?;
    let joined = input.collapse(|axis| axes.contains(&axis), agree)?;
    let output = graph.value(graph.node(node).output(0)?).shape.as_ref()?;
    if output.len() == joined.shape.len() {
        return Some(joined);
    }
    let kept = joined.shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    Some(Pattern { shape: kept.map(|(_, &length)| length).collect(), cells: joined.cells })
}

/// Whether each element of the output depends on the elements of the inputs at its own place (with broadcasting) alone.
pub(super) fn is_elementwise(graph: &Graph, node: NodeId) -> bool {
    match &graph.node(node).op {
        Op::Unary(_) | Op::Binary(_) | Op::Variadic(_) | Op::Clip(_) | Op::Cast(_) | Op::Where(_) => true,
        Op::LeakyRelu(_) | Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::HardSigmoid(_) | Op::ThresholdedRelu(_) => true,
        Op::Gelu(_) | Op::Swish(_) | Op::Shrink(_) => true,
        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => {
            let scale = graph.node(node).input(1).and_then(|scale| graph.value(scale).known_shape());
            scale.is_some_and(|scale| scale.iter().all(|&length| length == 1))
        }
        _ => false,
    }
}

fn elementwise(graph: &Graph, node: NodeId, known: &Constants) -> Option<Pattern<f64>> {
    let op = &graph.node(node).op;
    let ids = graph.node(node).inputs();
    let mut operands = Vec::new();
    for id in ids {
        operands.push(match id {
            None => None,
            Some(id) => Some((operand(graph, *id, known)?, graph.value(*id).element_type?)),
        });
    }
    let rank = operands.iter().flatten().map(|(pattern, _)| pattern.shape.len()).max()?;
    let mut shape = vec![1; rank];
    for (pattern, _) in operands.iter().flatten() {
        for (own, joined) in pattern.shape.iter().rev().zip(shape.iter_mut().rev()) {
            *joined = (*joined).max(*own);
        }
    }
    let multiplies = matches!(op, Op::Binary(Binary::Mul));
    let mut missing: Vec<bool> = Vec::new();
    let mut zero: Vec<bool> = Vec::new();
    for (pattern, _) in operands.iter().flatten() {
        let cells = pattern.broadcast(&shape)?.cells;
        missing.resize(cells.len(), false);
        zero.resize(cells.len(), false);
        for (place, cell) in cells.iter().enumerate() {
            missing[place] |= cell.is_nan();
            zero[place] |= multiplies && *cell == 0.0;
        }
    }
    let is_known = |place: usize| !missing[place] || zero[place];
    if !(0..missing.len()).any(is_known) {
        return Some(Pattern { cells: vec![f64::NAN; missing.len()], shape });
    }
    // Unknown cells stand as 1 while the others are computed.
    let stand_in = |cell: &f64| if cell.is_nan() { 1.0 } else { *cell };
    let tensors: Option<Vec<Option<Tensor>>> = operands
        .iter()
        .map(|operand| {
            let Some((pattern, element_type)) = operand else { return Some(None) };
            let cells = pattern.cells.iter().map(stand_in).collect();
            Tensor::from_f64s(*element_type, pattern.shape.clone(), cells).ok().map(Some)
        })
        .collect();
    let tensors = tensors?;
    let inputs: Vec<_> = tensors.iter().map(Option::as_ref).collect();
    let result = evaluate_op(op, &inputs, 1, usize::MAX).ok()?.into_iter().next()?;
    let computed = (result.shape() == shape).then(|| result.to_f64s().ok())??;
    let cells = computed.iter().enumerate().map(|(place, &cell)| if is_known(place) { cell } else { f64::NAN });
    Some(Pattern { cells: cells.collect(), shape })
}
