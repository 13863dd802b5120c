//! Batch normalisations merged into the convolution or matrix product before them.

use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use crate::ops::normalization::BatchNormalization;
use crate::tensor::Tensor;

use super::channels::spread;
use super::edit;

/// Merges each normalisation that alone reads a layer with known weights. Returns how many.
pub(super) fn merge(graph: &mut Graph, order: &[NodeId]) -> usize {
    order.iter().filter(|&&node| graph.has_node(node) && merge_one(graph, node).is_some()).count()
}

/// y = factor · x + offset for each channel.
pub(super) struct Affine {
    pub factor: Vec<f64>,
    pub offset: Vec<f64>,
}

fn merge_one(graph: &mut Graph, node: NodeId) -> Option<()> {
    let Op::BatchNormalization(op) = &graph.node(node).op else { return None };
    if op.training_mode || !edit::only_first_read(graph, node) {
        return None;
    }
    let affine = affine(graph, node, op)?;
    let input = graph.node(node).input(0)?;
    let layer = graph.value(input).producer()?;
    if graph.value(input).readers().len() != 1 || graph.outputs().contains(&input) {
        return None;
    }
    // Weights that another layer shares would have to part from it.
    if graph.value(graph.node(layer).input(1)?).readers().len() != 1 {
        return None;
    }
    let weight = graph.input_data(layer, 1)?.clone();
    let channels = affine.factor.len();
    let bias = match graph.node(layer).input(2) {
        None => None,
        Some(_) => Some(spread(graph.input_data(layer, 2)?, channels)?),
    };
    let (channel_of, beta) = layout(&graph.node(layer).op, weight.shape(), channels)?;
    let mut weights = weight.to_f64s().ok()?;
    for (index, value) in weights.iter_mut().enumerate() {
        *value *= affine.factor.get(channel_of.channel(index))?;
    }
    let mut biases = affine.offset.clone();
    if let Some(bias) = bias {
        for ((value, bias), factor) in biases.iter_mut().zip(bias).zip(&affine.factor) {
            *value += beta * bias * factor;
        }
    }
    let element_type = weight.element_type();
    let weights = Tensor::from_f64s(element_type, weight.shape().to_vec(), weights).ok()?;
    let biases = Tensor::from_f64s(element_type, vec![channels], biases).ok()?;
    if let Op::Gemm(gemm) = &mut graph.node_mut(layer).op {
        gemm.beta = 1.0;
    }
    edit::set_parameter(graph, layer, 1, "weight", weights);
    edit::set_parameter(graph, layer, 2, "bias", biases);
    edit::bypass(graph, node, input);
    Some(())
}

/// What a batch normalisation with known statistics does in inference.
pub(super) fn affine(graph: &Graph, node: NodeId, op: &BatchNormalization) -> Option<Affine> {
    let numbers = |slot| graph.input_data(node, slot)?.to_f64s().ok();
    let (scale, bias, mean, variance) = (numbers(1)?, numbers(2)?, numbers(3)?, numbers(4)?);
    let channels = scale.len();
    if [&bias, &mean, &variance].iter().any(|values| values.len() != channels) {
        return None;
    }
    let factor: Vec<_> = scale
        .iter()
        .zip(&variance)
        .map(|(scale, variance)| scale / (variance + f64::from(op.epsilon)).sqrt())
        .collect();
    let offset = (0..channels).map(|channel| bias[channel] - mean[channel] * factor[channel]).collect();
    Some(Affine { factor, offset })
}

/// Where in a weight each output channel is: element `i` belongs to channel
/// `i / outer % groups · per_group + i / inner % per_group`.
struct ChannelOf {
    outer: usize,
    groups: usize,
    inner: usize,
    per_group: usize,
}

impl ChannelOf {
    fn channel(&self, index: usize) -> usize {
        index / self.outer % self.groups * self.per_group + index / self.inner % self.per_group
    }
}

/// The layout of a layer's weight with `channels` outputs, and the factor of its bias.
fn layout(op: &Op, shape: &[usize], channels: usize) -> Option<(ChannelOf, f64)> {
    let after = |axis: usize| shape.get(axis + 1..).map(|rest| rest.iter().product::<usize>()).filter(|&size| size > 0);
    let plain = |axis: usize| {
        let fits = channels > 0 && shape.get(axis) == Some(&channels);
        fits.then_some(())?;
        Some(ChannelOf { outer: 1, groups: 1, inner: after(axis)?, per_group: channels })
    };
    match op {
        Op::Conv(_) => Some((plain(0)?, 1.0)),
        Op::Gemm(gemm) if shape.len() == 2 => Some((plain(usize::from(!gemm.transB))?, f64::from(gemm.beta))),
        Op::ConvTranspose(op) => {
            let groups = usize::try_from(op.group).ok().filter(|&groups| groups > 0)?;
            let (inputs, per_group) = (*shape.first()?, *shape.get(1)?);
            let fits = per_group.checked_mul(groups) == Some(channels) && channels > 0 && inputs % groups == 0;
            fits.then_some(())?;
            let outer = (inputs / groups).checked_mul(after(0)?).filter(|&size| size > 0)?;
            Some((ChannelOf { outer, groups, inner: after(1)?, per_group }, 1.0))
        }
        _ => None,
    }
}
