//! Convolutions and matrix products by known weights: which input channel reaches which output channel, and how much.

use crate::evaluate::evaluate_op;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::ops::convolution::AutoPad;
use crate::tensor::Tensor;

/// A layer whose output channels are sums over its input channels.
#[derive(Debug)]
pub(super) struct Linear {
    /// The axis of the input that is summed over.
    pub input_axis: usize,
    /// The axis of the output channels.
    pub output_axis: usize,
    pub groups: usize,
    /// Input and output channels of one group.
    pub inputs: usize,
    pub outputs: usize,
    /// Weight of each (output, input of its group): the sum over the window.
    sums: Vec<f64>,
    /// Whether all weights of each (output, input of its group) vanish.
    vanish: Vec<bool>,
    /// What is added to each output; `None` if it is not known.
    pub bias: Option<Vec<f64>>,
    /// Whether every output element sees every weight: no padding that would hide an input's constant at the border.
    pub sees_all: bool,
    /// Whether a constant can be added to each output.
    pub takes_bias: bool,
}

impl Linear {
    /// Every pair of channels that is joined by weights which do not vanish: output, input, and the sum of the weights.
    pub fn joined(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        (0..self.groups * self.outputs).flat_map(move |output| {
            let first = output / self.outputs * self.inputs;
            let row = output * self.inputs;
            let joined = (0..self.inputs).filter(move |input| !self.vanish[row + input]);
            joined.map(move |input| (output, first + input, self.sums[row + input]))
        })
    }

    /// Whether a constant on an input channel is the same as one on the outputs.
    pub fn passes(&self, constant: f64) -> bool {
        constant == 0.0 || (self.sees_all && constant.is_finite())
    }
}

/// Weights as they act: the data, or what is dequantised from it.
fn weights(graph: &Graph, value: ValueId) -> Option<Tensor> {
    if let Some(data) = &graph.value(value).data {
        return data.element_type().is_float().then(|| data.clone());
    }
    let node = graph.node(graph.value(value).producer()?);
    if !matches!(node.op, Op::DequantizeLinear(_)) {
        return None;
    }
    let inputs: Option<Vec<_>> = node
        .inputs()
        .iter()
        .map(|input| input.map_or(Some(None), |input| graph.value(input).data.as_ref().map(Some)))
        .collect();
    evaluate_op(&node.op, &inputs?, 1, usize::MAX).ok()?.into_iter().next()
}

/// Sets to 0 what vanishes beside the largest magnitude and beside 1: a mask of -1e12 must not make a bias of 5 vanish.
/// Nothing vanishes beside infinity.
pub(super) fn clear_vanishing(values: &mut [f64], dead: f64) {
    let scale = values.iter().fold(0.0f64, |scale, value| scale.max(value.abs()));
    if !scale.is_finite() {
        return;
    }
    for value in values {
        if value.abs() <= dead * scale.min(1.0) {
            *value = 0.0;
        }
    }
}

/// The node as a layer, if it is one of known weights.
pub(super) fn linear(graph: &Graph, node: NodeId, dead: f64) -> Option<Linear> {
    let ids = graph.node(node).inputs();
    let input_rank = graph.value(graph.node(node).input(0)?).shape.as_ref()?.len();
    let weight = weights(graph, graph.node(node).input(1)?)?;
    let shape = weight.shape().to_vec();
    let mut values = weight.to_f64s().ok()?;
    clear_vanishing(&mut values, dead);
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let taps: usize = shape.get(2..).map_or(1, |window| window.iter().product());
    let (mut scale, mut bias_scale) = (1.0, 1.0);
    let op = &graph.node(node).op;
    // Strides of the weight by output within its group, by input within its group, by group.
    let (groups, inputs, outputs, strides) = match op {
        Op::Conv(op) if shape.len() >= 3 => {
            let groups = usize::try_from(op.group).ok().filter(|&groups| groups > 0 && shape[0] % groups == 0)?;
            let (outputs, inputs) = (shape[0] / groups, shape[1]);
            (groups, inputs, outputs, (inputs * taps, taps, outputs * inputs * taps))
        }
        Op::ConvTranspose(op) if shape.len() >= 3 => {
            let groups = usize::try_from(op.group).ok().filter(|&groups| groups > 0 && shape[0] % groups == 0)?;
            let (outputs, inputs) = (shape[1], shape[0] / groups);
            (groups, inputs, outputs, (taps, outputs * taps, inputs * outputs * taps))
        }
        Op::Gemm(op) if shape.len() == 2 && !op.transA => {
            (scale, bias_scale) = (f64::from(op.alpha), f64::from(op.beta));
            if op.transB {
                (1, shape[1], shape[0], (shape[1], 1, 0))
            } else {
                (1, shape[0], shape[1], (1, shape[1], 0))
            }
        }
        Op::MatMul(_) if shape.len() == 2 && input_rank >= 2 => (1, shape[0], shape[1], (1, shape[1], 0)),
        _ => return None,
    };
    let mut sums = Vec::with_capacity(groups * outputs * inputs);
    let mut vanish = Vec::with_capacity(groups * outputs * inputs);
    for group in 0..groups {
        for output in 0..outputs {
            for input in 0..inputs {
                let start = group * strides.2 + output * strides.0 + input * strides.1;
                let window = values.get(start..start + taps)?;
                sums.push(window.iter().sum::<f64>() * scale);
                vanish.push(window.iter().all(|&value| value == 0.0));
            }
        }
    }
    let bias_slot = if matches!(op, Op::MatMul(_)) { None } else { ids.get(2).copied().flatten() };
    let count = groups * outputs;
    let bias = match bias_slot {
        None => Some(vec![0.0; count]),
        Some(bias) => weights(graph, bias).and_then(|bias| spread(&bias, count)).map(|mut bias| {
            clear_vanishing(&mut bias, dead);
            bias.into_iter().map(|value| value * bias_scale).collect()
        }),
    };
    let channels_last = matches!(op, Op::Gemm(_) | Op::MatMul(_));
    let axis = if channels_last { input_rank - 1 } else { 1 };
    let float = graph.value(graph.node(node).output(0)?).element_type.is_some_and(crate::tensor::ElementType::is_float);
    Some(Linear {
        input_axis: axis,
        output_axis: axis,
        groups,
        inputs,
        outputs,
        sums,
        vanish,
        takes_bias: float && bias.is_some() && bias_slot.is_none_or(|bias| graph.value(bias).data.is_some()),
        bias,
        sees_all: match op {
            Op::Conv(op) => match op.auto_pad {
                AutoPad::NotSet => op.pads.iter().all(|&pad| pad == 0),
                AutoPad::Valid => true,
                AutoPad::SameUpper | AutoPad::SameLower => taps == 1,
            },
            Op::ConvTranspose(_) => false,
            _ => true,
        },
    })
}

/// One bias for each of `count` outputs, from a tensor that broadcasts along the last axis alone.
pub(in crate::simplify) fn spread(bias: &Tensor, count: usize) -> Option<Vec<f64>> {
    let values = bias.to_f64s().ok()?;
    match values.len() {
        1 => Some(vec![values[0]; count]),
        length if length == count && (bias.rank() == 1 || bias.shape().last() == Some(&count)) => Some(values),
        _ => None,
    }
}
