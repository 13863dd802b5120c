//! Convolutions.
//!
//! Of `[N, C, H, W]` (or `[N, C, W]`). The windows of an image are written out as columns, so that the convolution is a
//! product of matrices; depthwise convolutions, where that product would be of vectors, are computed directly.

mod columns;
mod depthwise;
mod general;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::convolution::Conv;

use super::window::{Axis, Movement, axes};
use super::{Family, NodeType, Prepared};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient };

/// Sizes of one application.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    images: usize,
    groups: usize,
    /// Channels of a group before and after.
    inputs: usize,
    outputs: usize,
    axes: [Axis; 2],
}

impl Sizes {
    fn of(op: &Conv, x: &[usize], weights: &[usize], y: &[usize]) -> Option<Self> {
        let groups = usize::try_from(op.group).ok().filter(|&groups| groups > 0)?;
        let kernel: Vec<i64> = weights.get(2..)?.iter().map(|&taps| taps as i64).collect();
        let movement =
            Movement { auto_pad: op.auto_pad, dilations: &op.dilations, pads: &op.pads, strides: &op.strides };
        let axes = axes(movement, x.get(2..)?, &kernel, y.get(2..)?)?;
        let sizes = Self { images: x[0], groups, inputs: weights[1], outputs: weights[0] / groups, axes };
        let elements = sizes.images * sizes.input() * sizes.output() * sizes.inner();
        (elements > 0).then_some(sizes)
    }

    /// Positions of an output channel.
    fn positions(&self) -> usize {
        self.axes[0].windows * self.axes[1].windows
    }

    /// Elements of an input channel.
    fn plane(&self) -> usize {
        self.axes[0].length * self.axes[1].length
    }

    /// Products that are summed for an output element.
    fn inner(&self) -> usize {
        self.inputs * self.axes[0].taps * self.axes[1].taps
    }

    /// Elements of an image before and after.
    fn input(&self) -> usize {
        self.groups * self.inputs * self.plane()
    }

    fn output(&self) -> usize {
        self.groups * self.outputs * self.positions()
    }

    /// Elements of the weights.
    fn weights(&self) -> usize {
        self.groups * self.outputs * self.inner()
    }

    /// Whether an image's columns are the image itself.
    fn is_pointwise(&self) -> bool {
        self.axes.iter().all(Axis::is_pointwise)
    }

    fn is_depthwise(&self) -> bool {
        self.inputs == 1 && self.groups > 1
    }
}

fn prepare(node: &NodeType<'_>) -> Prepared {
    let Op::Conv(op) = node.op else { return None };
    if !node.all_f32() {
        return None;
    }
    let sizes = Sizes::of(op, &node.input(0)?.shape, &node.input(1)?.shape, &node.output(0)?.shape)?;
    let bias = node.input(2).is_some();
    Some(if sizes.is_depthwise() {
        Box::new(depthwise::Forward { sizes, bias })
    } else {
        Box::new(general::Forward { sizes, bias })
    })
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let Op::Conv(op) = &gradient.of else { return None };
    if !node.all_f32() {
        return None;
    }
    let slot = gradient.gradient_slot(0);
    let sizes = Sizes::of(op, &node.input(0)?.shape, &node.input(1)?.shape, &node.input(slot)?.shape)?;
    let wanted = [0, 1, 2].map(|slot| slot < gradient.inputs && node.output(slot).is_some());
    Some(if sizes.is_depthwise() {
        Box::new(depthwise::Backward { sizes, gradient: slot, wanted })
    } else {
        Box::new(general::Backward { sizes, gradient: slot, wanted })
    })
}

/// Sums of `[images, channels, positions]` over images and positions, in order.
fn channel_sums(sums: &mut [f32], data: &[f32], positions: usize) {
    use rayon::prelude::*;
    let channels = sums.len();
    sums.par_iter_mut().enumerate().for_each(|(channel, sum)| {
        let rows = data.chunks_exact(positions).skip(channel).step_by(channels);
        let row_sum = |row: &[f32]| {
            let mut lanes = [0f32; 16];
            let chunks = row.chunks_exact(16);
            let rest: f32 = chunks.remainder().iter().sum();
            chunks.for_each(|chunk| lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value));
            f64::from(lanes.iter().sum::<f32>() + rest)
        };
        *sum = rows.map(row_sum).sum::<f64>() as f32;
    });
}
