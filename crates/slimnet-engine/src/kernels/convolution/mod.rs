//! Convolutions and transposed convolutions over one to three axes.
//!
//! The result of one is the gradient of the other's input, so there are three computations: from axes to windows and back
//! ([`correlation`]), and the gradient of the weights ([`weights`]). No window is written out: the source is copied with
//! its padding (a few planes at a time, which stay in the cache), and windows are rows of the copy read from offsets.

mod correlation;
mod dense;
mod depthwise;
pub(super) mod geometry;
mod passes;
mod pixels;
mod stage;
mod tile;
mod weights;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use self::correlation::Correlation;
use self::dense::Dense;
use self::geometry::Geometry;
use self::weights::WeightGradient;
use super::arrangement::{Arrangement, Layout, channels_second};
use super::{Call, Family, Kernel, KernelError, NodeType, Prepared, sparse};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement };

/// Geometry of an operator of the family, and whether it goes from the axes to the windows.
fn geometry(op: &Op, x: &[usize], weights: &[usize], y: &[usize]) -> Option<(Geometry, bool)> {
    match op {
        Op::Conv(op) => Some((Geometry::of_conv(op, x, weights, y)?, true)),
        Op::ConvTranspose(op) => Some((Geometry::of_conv_transpose(op, x, weights, y)?, false)),
        _ => None,
    }
}

/// How one side of a convolution is computed from the other.
#[derive(Debug)]
enum Product {
    Dense { sizes: Dense, to_windows: bool },
    Staged(Box<Correlation>),
}

impl Product {
    fn new(geometry: &Geometry, to_windows: bool) -> Option<Self> {
        Some(match Dense::of(geometry) {
            Some(sizes) => Self::Dense { sizes, to_windows },
            None => Self::Staged(Box::new(Correlation::new(geometry, to_windows)?)),
        })
    }

    fn scratch(&self) -> usize {
        match self {
            Self::Dense { .. } => 0,
            Self::Staged(correlation) => correlation.scratch(),
        }
    }

    fn run(&self, source: &[f32], weights: &[f32], bias: &[f32], result: &mut [f32], scratch: &mut [f32]) {
        match self {
            Self::Dense { sizes, to_windows } => sizes.product(*to_windows, source, weights, bias, result),
            Self::Staged(correlation) => correlation.run(source, weights, bias, result, scratch),
        }
    }
}

/// How the gradient of the weights is computed.
#[derive(Debug)]
enum WeightProduct {
    Dense(Dense),
    Staged(Box<WeightGradient>),
}

impl WeightProduct {
    fn new(geometry: &Geometry) -> Option<Self> {
        Some(match Dense::of(geometry) {
            Some(sizes) => Self::Dense(sizes),
            None => Self::Staged(Box::new(WeightGradient::new(geometry)?)),
        })
    }

    fn scratch(&self) -> usize {
        match self {
            Self::Dense(_) => 0,
            Self::Staged(gradient) => gradient.scratch(),
        }
    }

    fn run(&self, windows: &[f32], axes: &[f32], gradient: &mut [f32], scratch: &mut [f32]) {
        match self {
            Self::Dense(sizes) => sizes.weight_gradient(windows, axes, gradient),
            Self::Staged(staged) => staged.run(windows, axes, gradient, scratch),
        }
    }
}

/// Geometry of a node of the family, an operator or the gradient of one, and whether it goes from the axes to the windows.
fn node_geometry(node: &NodeType<'_>) -> Option<(Geometry, bool)> {
    let (op, y) = match node.op {
        Op::Gradient(gradient) => (&gradient.of, node.input(gradient.gradient_slot(0))?),
        op => (op, node.output(0)?),
    };
    let known = matches!(op, Op::Conv(_) | Op::ConvTranspose(_)) && node.all_f32();
    let (x, weights) = (node.input(0)?, node.input(1)?);
    if !known {
        return None;
    }
    match node.layout {
        Layout::Plain => geometry(op, &x.shape, &weights.shape, &y.shape),
        Layout::ChannelsLast if x.shape.len() < 3 || y.shape.len() < 3 => None,
        Layout::ChannelsLast => geometry(op, &channels_second(&x.shape), &weights.shape, &channels_second(&y.shape)),
    }
}

/// Kernels for channels last are there for one group; images without any products are nothing to hurry for.
fn arrangement(node: &NodeType<'_>) -> Arrangement {
    // Zeros are skipped by kernels that take channels second.
    let skips = |(geometry, _): &(Geometry, bool)| sparse::worthwhile(node, geometry).is_some();
    if node_geometry(node).as_ref().is_some_and(skips) {
        return Arrangement::Plain;
    }
    if depthwise::arrangement(node) == Arrangement::ChannelsLast {
        return Arrangement::ChannelsLast;
    }
    match node_geometry(node) {
        Some((geometry, to_windows)) if pixels::takes(node, &geometry, to_windows) => Arrangement::ChannelsLast,
        _ => Arrangement::Plain,
    }
}

fn prepare(node: &NodeType<'_>) -> Prepared {
    if !matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_)) {
        return None;
    }
    let (geometry, to_windows) = node_geometry(node)?;
    // Results without products are left to the reference evaluator.
    if geometry.is_empty() {
        return None;
    }
    if node.layout == Layout::ChannelsLast {
        let takes = pixels::takes(node, &geometry, to_windows);
        return if takes { pixels::prepare(node, &geometry, to_windows) } else { depthwise::prepare(node) };
    }
    if let Some(kernel) = sparse::prepare_convolution(node, &geometry) {
        return Some(kernel);
    }
    Some(Box::new(Forward { product: Product::new(&geometry, to_windows)?, bias: node.input(2).is_some() }))
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    if !matches!(gradient.of, Op::Conv(_) | Op::ConvTranspose(_)) {
        return None;
    }
    let (geometry, to_windows) = node_geometry(node)?;
    if node.layout == Layout::ChannelsLast {
        let takes = pixels::takes(node, &geometry, to_windows);
        return if takes {
            pixels::prepare_gradient(gradient, node, &geometry, to_windows)
        } else {
            depthwise::prepare_gradient(gradient, node)
        };
    }
    let slot = gradient.gradient_slot(0);
    let y = &node.input(slot)?.shape;
    let wanted = |slot: usize| slot < gradient.inputs && node.output(slot).is_some();
    let none = geometry.is_empty();
    Some(Box::new(Backward {
        slot,
        to_windows,
        input: if wanted(0) && !none { Some(Product::new(&geometry, !to_windows)?) } else { None },
        weights: if wanted(1) && !none { Some(WeightProduct::new(&geometry)?) } else { None },
        bias: wanted(2).then(|| y[2..].iter().product()),
        zeros: [0, 1].map(|slot| wanted(slot) && none),
    }))
}

#[derive(Debug)]
struct Forward {
    product: Product,
    bias: bool,
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let bias = if self.bias { call.input::<f32>(2) } else { &[] };
        let mut nothing = [];
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut nothing };
        self.product.run(call.input(0), call.input(1), bias, call.output(0), scratch);
        Ok(())
    }

    fn scratch(&self) -> usize {
        self.product.scratch()
    }
}

#[derive(Debug)]
struct Backward {
    /// Slot of the gradient of the output.
    slot: usize,
    to_windows: bool,
    input: Option<Product>,
    weights: Option<WeightProduct>,
    /// Elements of an output channel, if the gradient of the bias is wanted.
    bias: Option<usize>,
    /// Gradients that are zero, since nothing is multiplied.
    zeros: [bool; 2],
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let dy = call.input::<f32>(self.slot);
        let mut nothing = [];
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut nothing };
        if let Some(product) = &self.input {
            product.run(dy, call.input(1), &[], call.output(0), scratch);
        }
        if let Some(gradient) = &self.weights {
            let x = call.input(0);
            let (windows, axes) = if self.to_windows { (dy, x) } else { (x, dy) };
            gradient.run(windows, axes, call.output(1), scratch);
        }
        if let Some(positions) = self.bias {
            channel_sums(call.output(2), dy, positions);
        }
        for slot in [0, 1].into_iter().filter(|&slot| self.zeros[slot]) {
            call.output::<f32>(slot).fill(0.0);
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.slot || (input == 0 && self.weights.is_some()) || (input == 1 && self.input.is_some())
    }

    fn scratch(&self) -> usize {
        let input = self.input.as_ref().map_or(0, Product::scratch);
        input.max(self.weights.as_ref().map_or(0, WeightProduct::scratch))
    }
}

/// Sums of `[images, channels, positions]` over images and positions, in order.
fn channel_sums(sums: &mut [f32], data: &[f32], positions: usize) {
    use rayon::prelude::*;
    let channels = sums.len();
    if positions == 0 {
        return sums.fill(0.0);
    }
    sums.par_iter_mut().with_min_len(4).enumerate().for_each(|(channel, sum)| {
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
