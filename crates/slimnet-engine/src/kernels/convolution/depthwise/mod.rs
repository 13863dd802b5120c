//! Convolutions of each channel by itself, on tensors whose channels come last.
//!
//! Vectors lie along the channels, so that neither borders nor strides break them, and nothing is copied: taps in the
//! padding are left out, so that a weight that is not a number does not show there.
// Helpers of inner loops must end up in the code that is compiled for the machine's vectors.
#![allow(clippy::inline_always)]

mod sums;
mod weights;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::convolution::Conv;

use self::sums::{Operands, Sums};
use self::weights::WeightGradient;
use super::geometry::Geometry;
use crate::kernels::arrangement::{Arrangement, Layout, channels_second};
use crate::kernels::channels::Steps;
use crate::kernels::{Call, Epilogue, Kernel, KernelError, NodeType, Prepared};

/// The geometry of a convolution of each channel by itself, of shapes in ONNX's order.
fn geometry(op: &Conv, x: &[usize], weights: &[usize], y: &[usize]) -> Option<Geometry> {
    let geometry = Geometry::of_conv(op, x, weights, y)?;
    let each = geometry.groups > 1 && geometry.windowed == 1 && geometry.spread == 1;
    (each && x.len() >= 3 && !geometry.is_empty()).then_some(geometry)
}

/// Whether there are kernels for a convolution or its gradient (in the plain layout) with channels last.
pub(super) fn arrangement(node: &NodeType<'_>) -> Arrangement {
    let (op, y) = match node.op {
        Op::Conv(op) => (op, node.output(0)),
        Op::Gradient(gradient) => match &gradient.of {
            Op::Conv(op) => (op, node.input(gradient.gradient_slot(0))),
            _ => return Arrangement::Plain,
        },
        _ => return Arrangement::Plain,
    };
    let found = || {
        let geometry = geometry(op, &node.input(0)?.shape, &node.input(1)?.shape, &y?.shape)?;
        // Tables that are too large to be written down are refused.
        Sums::new(&geometry, true)?;
        Sums::new(&geometry, false)
    };
    if node.all_f32() && found().is_some() { Arrangement::ChannelsLast } else { Arrangement::Plain }
}

/// Prepares a convolution whose tensors have their channels last.
pub(super) fn prepare(node: &NodeType<'_>) -> Prepared {
    let Op::Conv(op) = node.op else { return None };
    if node.layout != Layout::ChannelsLast || !node.all_f32() {
        return None;
    }
    let [x, y] = [node.input(0)?, node.output(0)?].map(|value| channels_second(&value.shape));
    let weights = node.input(1)?;
    let geometry = geometry(op, &x, &weights.shape, &y)?;
    let constant = weights.constant.as_ref().and_then(|data| data.to_f64s().ok());
    let constant = constant.map(|data| {
        let data: Vec<f32> = data.into_iter().map(|value| value as f32).collect();
        let mut packed = vec![0.0; data.len()];
        pack(&data, geometry.groups, &mut packed);
        packed
    });
    Some(Box::new(Forward {
        sums: Sums::new(&geometry, true)?,
        channels: geometry.groups,
        weights: geometry.weights(),
        constant,
        bias: node.input(2).is_some(),
        steps: Steps::default(),
    }))
}

/// Prepares the gradient of a convolution, whose tensors have their channels last.
pub(super) fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let Op::Conv(op) = &gradient.of else { return None };
    if node.layout != Layout::ChannelsLast || !node.all_f32() {
        return None;
    }
    let slot = gradient.gradient_slot(0);
    let [x, y] = [node.input(0)?, node.input(slot)?].map(|value| channels_second(&value.shape));
    let geometry = geometry(op, &x, &node.input(1)?.shape, &y)?;
    let wanted = [0, 1, 2].map(|slot| slot < gradient.inputs && node.output(slot).is_some());
    let parameters = wanted[1] || wanted[2];
    Some(Box::new(Backward {
        slot,
        channels: geometry.groups,
        weights: geometry.weights(),
        input: if wanted[0] { Some(Sums::new(&geometry, false)?) } else { None },
        parameters: if parameters { Some(WeightGradient::new(&geometry, [wanted[1], wanted[2]])?) } else { None },
        wanted,
    }))
}

/// Weights `[C, 1, taps…]` as `[taps, C]`.
fn pack(weights: &[f32], channels: usize, packed: &mut [f32]) {
    let taps = weights.len() / channels;
    for (tap, packed) in packed.chunks_exact_mut(channels).enumerate() {
        packed.iter_mut().zip(weights[tap..].iter().step_by(taps)).for_each(|(packed, &weight)| *packed = weight);
    }
}

#[derive(Debug)]
struct Forward {
    sums: Sums,
    channels: usize,
    /// Elements of the weights.
    weights: usize,
    /// The weights as `[taps, C]`, if they are the same in every run.
    constant: Option<Vec<f32>>,
    bias: bool,
    steps: Steps,
}

impl Kernel for Forward {
    fn kept_bytes(&self) -> usize {
        self.constant.as_deref().map_or(0, size_of_val)
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let weights = if let Some(weights) = &self.constant {
            weights
        } else {
            let packed = &mut call.scratch()[..self.weights];
            pack(call.input(1), self.channels, packed);
            &*packed
        };
        let bias = if self.bias { call.input(2) } else { &[] };
        let added = self.steps.added().map_or(&[][..], |slot| call.input(slot));
        let operands = Operands { source: call.input(0), weights, bias, added, steps: self.steps };
        self.sums.run(operands, call.output(0));
        Ok(())
    }

    fn scratch(&self) -> usize {
        if self.constant.is_some() { 0 } else { self.weights }
    }

    fn reads(&self, input: usize) -> bool {
        input != 1 || self.constant.is_none()
    }

    fn absorb(&mut self, step: &Epilogue) -> bool {
        self.steps.absorb(step)
    }
}

#[derive(Debug)]
struct Backward {
    /// Slot of the gradient of the output.
    slot: usize,
    channels: usize,
    /// Elements of the weights.
    weights: usize,
    input: Option<Sums>,
    parameters: Option<WeightGradient>,
    /// The gradients of input, weights and bias.
    wanted: [bool; 3],
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let dy = call.input::<f32>(self.slot);
        let mut nothing = [];
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut nothing };
        if let Some(sums) = &self.input {
            let packed = &mut scratch[..self.weights];
            pack(call.input(1), self.channels, packed);
            let operands = Operands { source: dy, weights: packed, bias: &[], added: &[], steps: Steps::default() };
            sums.run(operands, call.output(0));
        }
        if let Some(parameters) = &self.parameters {
            let x = if self.wanted[1] { call.input(0) } else { &[] };
            let mut nothing = [[0f32; 0]; 2];
            let [no_weights, no_bias] = &mut nothing;
            let weights = if self.wanted[1] { call.output(1) } else { no_weights };
            let bias = if self.wanted[2] { call.output(2) } else { no_bias };
            parameters.run(x, dy, weights, bias, scratch);
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.slot || (input == 0 && self.wanted[1]) || (input == 1 && self.wanted[0])
    }

    fn scratch(&self) -> usize {
        let input = if self.input.is_some() { self.weights } else { 0 };
        input.max(self.parameters.as_ref().map_or(0, WeightGradient::scratch))
    }
}
