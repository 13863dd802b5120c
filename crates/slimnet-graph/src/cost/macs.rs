//! Multiply-accumulate operations of each operator.

use std::collections::BTreeMap;

use super::{Overflow, product, sum};
use crate::ops::Op;

/// MACs of one application, from the shapes of its inputs and of its first output; `None` if a shape that counts is not
/// known.
pub(super) fn count(
    op: &Op,
    inputs: usize,
    input: &dyn Fn(usize) -> Option<Vec<u64>>,
    output: &dyn Fn() -> Option<Vec<u64>>,
) -> Result<Option<u64>, Overflow> {
    let Some(terms) = terms(op, inputs, input, output) else { return Ok(None) };
    let terms = terms.iter().map(|factors| product(factors)).collect::<Result<Vec<_>, _>>()?;
    sum(terms).map(Some)
}

/// The sum of products of lengths that the MACs are.
fn terms(
    op: &Op,
    inputs: usize,
    input: &dyn Fn(usize) -> Option<Vec<u64>>,
    output: &dyn Fn() -> Option<Vec<u64>>,
) -> Option<Vec<Vec<u64>>> {
    // Each output of a convolution sums over the weights of one output channel.
    let convolution = |weight: usize| Some(vec![[output()?, input(weight)?.get(1..)?.to_vec()].concat()]);
    // Each output of a matrix product sums over one axis of the first factor.
    let matrix = |axis: &dyn Fn(&[u64]) -> Option<u64>| Some(vec![[output()?, vec![axis(&input(0)?)?]].concat()]);
    let last = |shape: &[u64]| shape.last().copied();
    // Each step of each example goes through the weights of inputs and of state.
    let recurrent = || {
        let steps = input(0)?.get(..2)?.to_vec();
        Some(vec![[steps.clone(), input(1)?].concat(), [steps, input(2)?].concat()])
    };
    match op {
        Op::Conv(_) | Op::ConvInteger(_) => convolution(1),
        Op::QLinearConv(_) => convolution(3),
        // Each input is spread by the weights of its channel.
        Op::ConvTranspose(_) => Some(vec![[input(0)?, input(1)?.get(1..)?.to_vec()].concat()]),
        Op::MatMul(_) | Op::MatMulInteger(_) | Op::QLinearMatMul(_) => matrix(&last),
        Op::Gemm(op) => matrix(&|shape| shape.get(usize::from(!op.transA)).copied()),
        Op::Einsum(op) => einsum(&op.equation, inputs, input),
        Op::Lstm(_) | Op::Gru(_) | Op::Rnn(_) => recurrent(),
        // Nothing is known of it.
        Op::Gradient(_) | Op::Other(_) => None,
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Variadic(_)
        | Op::Softmax(..)
        | Op::Reduce(..)
        | Op::ArgReduce(..)
        | Op::AveragePool(_)
        | Op::MaxPool(_)
        | Op::LpPool(_)
        | Op::GlobalAveragePool(_)
        | Op::GlobalMaxPool(_)
        | Op::GlobalLpPool(_)
        | Op::BatchNormalization(_)
        | Op::InstanceNormalization(_)
        | Op::LayerNormalization(_)
        | Op::GroupNormalization(_)
        | Op::RmsNormalization(_)
        | Op::Lrn(_)
        | Op::LpNormalization(_)
        | Op::MeanVarianceNormalization(_)
        | Op::Dropout(_)
        | Op::LeakyRelu(_)
        | Op::Elu(_)
        | Op::Selu(_)
        | Op::Celu(_)
        | Op::HardSigmoid(_)
        | Op::ThresholdedRelu(_)
        | Op::Gelu(_)
        | Op::Swish(_)
        | Op::Shrink(_)
        | Op::IsInf(_)
        | Op::Clip(_)
        | Op::Mod(_)
        | Op::BitShift(_)
        | Op::Where(_)
        | Op::Cast(_)
        | Op::CastLike(_)
        | Op::TopK(_)
        | Op::CumSum(_)
        | Op::Reshape(_)
        | Op::Flatten(_)
        | Op::Squeeze(_)
        | Op::Unsqueeze(_)
        | Op::Transpose(_)
        | Op::Expand(_)
        | Op::Concat(_)
        | Op::Split(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Tile(_)
        | Op::DepthToSpace(_)
        | Op::SpaceToDepth(_)
        | Op::Trilu(_)
        | Op::ReverseSequence(_)
        | Op::CenterCropPad(_)
        | Op::Gather(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::ScatterElements(_)
        | Op::ScatterNd(_)
        | Op::Compress(_)
        | Op::OneHot(_)
        | Op::NonZero(_)
        | Op::Range(_)
        | Op::Shape(_)
        | Op::Size(_)
        | Op::ConstantOfShape(_)
        | Op::EyeLike(_)
        | Op::Resize(_)
        | Op::GridSample(_)
        | Op::RoiAlign(_)
        | Op::NonMaxSuppression(_)
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_)
        | Op::DynamicQuantizeLinear(_)
        | Op::Mask(_) => Some(Vec::new()),
    }
}

/// The product of the lengths of all labels, once for each operand after the first.
fn einsum(equation: &str, inputs: usize, input: &dyn Fn(usize) -> Option<Vec<u64>>) -> Option<Vec<Vec<u64>>> {
    let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    let operands = equation.split("->").next()?;
    let mut labels = BTreeMap::new();
    // Axes under an ellipsis are counted from the last, and broadcast.
    let mut ellipsis = BTreeMap::new();
    for (slot, operand) in operands.split(',').enumerate() {
        let shape = input(slot)?;
        let named = operand.chars().filter(|&letter| letter != '.').count();
        let hidden = shape.len().checked_sub(named)?;
        let front = operand.find("...").map_or(named, |place| operand[..place].chars().count());
        for (label, &length) in operand
            .chars()
            .filter(|&letter| letter != '.')
            .zip(shape.iter().take(front).chain(shape.iter().skip(front + hidden)))
        {
            let known = labels.entry(label).or_insert(length);
            *known = (*known).max(length);
        }
        for (axis, &length) in shape.iter().skip(front).take(hidden).rev().enumerate() {
            let known = ellipsis.entry(axis).or_insert(length);
            *known = (*known).max(length);
        }
    }
    let factors: Vec<u64> =
        labels.into_values().chain(ellipsis.into_values()).chain([inputs.checked_sub(1)? as u64]).collect();
    Some(vec![factors])
}
