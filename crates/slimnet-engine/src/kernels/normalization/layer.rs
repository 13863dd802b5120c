//! Normalisations of groups of adjacent elements: over trailing axes (`LayerNormalization`, `RMSNormalization`), over the
//! positions of a channel (`InstanceNormalization`) or of several (`GroupNormalization`).

use rayon::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Sizes of one application.
#[derive(Debug, Clone)]
struct Sizes {
    /// Elements that are normalised together.
    group: usize,
    /// Groups after which scale and bias begin again.
    period: usize,
    /// Adjacent elements with the same scale and bias.
    repeat: usize,
    epsilon: f32,
    /// Whether the mean is subtracted.
    centred: bool,
    bias: bool,
}

impl Sizes {
    fn of(op: &Op, node: &NodeType<'_>, inputs: usize) -> Option<Self> {
        let shape = &node.input(0)?.shape;
        let trailing = |axis: i64| {
            let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok()?;
            Some(shape.get(axis..)?.iter().product::<usize>())
        };
        let bias = inputs > 2 && node.input(2).is_some();
        let (group, period, repeat, epsilon, centred) = match op {
            Op::LayerNormalization(op) if op.stash_type == 1 => (trailing(op.axis)?, 1, 1, op.epsilon, true),
            Op::RmsNormalization(op) if op.stash_type == 1 => (trailing(op.axis)?, 1, 1, op.epsilon, false),
            Op::InstanceNormalization(op) => {
                let inner = shape.get(2..)?.iter().product();
                (inner, shape[1], inner, op.epsilon, true)
            }
            Op::GroupNormalization(op) if op.stash_type == 1 => {
                let inner: usize = shape.get(2..)?.iter().product();
                let groups = usize::try_from(op.num_groups).ok()?;
                (shape[1] / groups.max(1) * inner, groups, inner, op.epsilon, true)
            }
            _ => return None,
        };
        // Scale and bias have one element for each place of a period.
        let places = group * period / repeat.max(1);
        let fits = |slot: usize| node.input(slot).is_none_or(|input| input.len() == places);
        let whole = group > 0 && fits(1) && (!bias || fits(2));
        whole.then_some(Self { group, period, repeat, epsilon, centred, bias })
    }

    fn place(&self, group: usize, element: usize) -> usize {
        (group % self.period * self.group + element) / self.repeat
    }

    /// Mean (0 if it is not subtracted) and 1 / √(variance + epsilon) of a group.
    fn statistics(&self, x: &[f32]) -> (f32, f32) {
        let count = x.len() as f64;
        let mean = if self.centred { x.iter().map(|&x| f64::from(x)).sum::<f64>() / count } else { 0.0 };
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        (mean as f32, (1.0 / (variance + f64::from(self.epsilon)).sqrt()) as f32)
    }
}

#[derive(Debug)]
struct Forward(Sizes);

pub(super) fn prepare(op: &Op, node: &NodeType<'_>) -> Prepared {
    // Mean and deviation as outputs are rare: the reference evaluator gives them.
    if node.output(1).is_some() || node.output(2).is_some() {
        return None;
    }
    Some(Box::new(Forward(Sizes::of(op, node, node.inputs.len())?)))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.0;
        let (x, scale) = (call.input::<f32>(0), call.input::<f32>(1));
        let bias = if sizes.bias { call.input::<f32>(2) } else { &[] };
        let groups = call.output::<f32>(0).par_chunks_mut(sizes.group).zip(x.par_chunks(sizes.group));
        groups.with_min_len(8).enumerate().for_each(|(group, (y, x))| {
            let (mean, inverse) = sizes.statistics(x);
            for (element, (y, x)) in y.iter_mut().zip(x).enumerate() {
                let place = sizes.place(group, element);
                *y = (x - mean) * inverse * scale[place] + bias.get(place).copied().unwrap_or(0.0);
            }
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Backward {
    sizes: Sizes,
    elements: usize,
    gradient: usize,
    wanted: [bool; 3],
}

pub(super) fn prepare_gradient(op: &Op, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let sizes = Sizes::of(op, node, gradient.inputs)?;
    let slot = gradient.gradient_slot(0);
    node.input(slot)?;
    if (1..gradient.outputs).any(|output| node.input(gradient.gradient_slot(output)).is_some()) {
        return None;
    }
    let wanted = [0, 1, 2].map(|slot| slot < gradient.inputs && node.output(slot).is_some());
    Some(Box::new(Backward { sizes, elements: node.input(0)?.len(), gradient: slot, wanted }))
}

/// Parts into which sums over groups are divided.
const PARTS: usize = 8;

impl Backward {
    /// Elements of scale and bias.
    fn places(&self) -> usize {
        self.sizes.group * self.sizes.period / self.sizes.repeat
    }
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let (x, scale, dy) = (call.input::<f32>(0), call.input::<f32>(1), call.input::<f32>(self.gradient));
        let outputs = [0, 1, 2].map(|slot| if self.wanted[slot] { call.output::<f32>(slot) } else { &mut [] });
        if self.wanted[0] {
            let groups = x.par_chunks(sizes.group).zip(dy.par_chunks(sizes.group));
            let all = outputs[0].par_chunks_mut(sizes.group).zip(groups);
            all.with_min_len(8).enumerate().for_each(|(group, (dx, (x, dy)))| {
                let (mean, inverse) = sizes.statistics(x);
                let slope = |element: usize| dy[element] * scale[sizes.place(group, element)];
                let count = x.len() as f32;
                let constant: f32 = if sizes.centred { (0..x.len()).map(slope).sum::<f32>() / count } else { 0.0 };
                let along = |element: usize| (x[element] - mean) * inverse;
                let linear = (0..x.len()).map(|element| slope(element) * along(element)).sum::<f32>() / count;
                for (element, dx) in dx.iter_mut().enumerate() {
                    *dx = inverse * (slope(element) - constant - along(element) * linear);
                }
            });
        }
        if !self.wanted[1] && !self.wanted[2] {
            return Ok(());
        }
        // Each part sums over some groups; the parts are then added in order.
        let places = self.places();
        let sums = call.scratch();
        let groups = self.elements / sizes.group;
        let each = groups.div_ceil(PARTS).max(1);
        sums.par_chunks_mut(2 * places).enumerate().for_each(|(part, sums)| {
            sums.fill(0.0);
            let (dscale, dbias) = sums.split_at_mut(places);
            for group in (part * each..(part + 1) * each).take_while(|&group| group < groups) {
                let range = group * sizes.group..(group + 1) * sizes.group;
                let (x, dy) = (&x[range.clone()], &dy[range]);
                let (mean, inverse) = sizes.statistics(x);
                for (element, (x, dy)) in x.iter().zip(dy).enumerate() {
                    let place = sizes.place(group, element);
                    dscale[place] += (x - mean) * inverse * dy;
                    dbias[place] += dy;
                }
            }
        });
        let (first, rest) = sums.split_at_mut(2 * places);
        for part in rest.chunks_exact(2 * places) {
            first.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        for slot in [1, 2] {
            if self.wanted[slot] {
                outputs[slot].copy_from_slice(&first[(slot - 1) * places..][..places]);
            }
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == 1 || input == self.gradient
    }

    fn scratch(&self) -> usize {
        if self.wanted[1] || self.wanted[2] { 2 * PARTS * self.places() } else { 0 }
    }
}
