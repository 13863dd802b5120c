//! Normalisations of groups of adjacent elements: over trailing axes (`LayerNormalization`, `RMSNormalization`), over the
//! positions of a channel (`InstanceNormalization`) or of several (`GroupNormalization`).

use std::ops::Range;

use rayon::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::shared::Shared;
use super::sums::{sums, sums_of_two};
use crate::kernels::vector::vectorized;
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

    /// The places in scale and bias of a group; one for each of its runs of `repeat` elements.
    fn places(&self, group: usize) -> Range<usize> {
        let first = group % self.period * self.group;
        first / self.repeat..(first + self.group) / self.repeat
    }

    /// Mean (0 if it is not subtracted) and 1 / √(variance + epsilon) of a group.
    #[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
    #[inline(always)]
    fn statistics(&self, x: &[f32]) -> (f32, f32) {
        let count = x.len() as f64;
        let near = if self.centred { (sums_of_two(x, x, |x, _| (x, 0.0))[0] / count) as f32 } else { 0.0 };
        let [away, squares] = sums_of_two(x, x, |x, _| (x - near, (x - near) * (x - near))).map(|sum| sum / count);
        // Rounding may take it below 0; what is no number stays none.
        let above = |variance: f64| if variance < 0.0 { 0.0 } else { variance };
        let (mean, variance) =
            if self.centred { (f64::from(near) + away, above(squares - away * away)) } else { (0.0, squares) };
        (mean as f32, (1.0 / (variance + f64::from(self.epsilon)).sqrt()) as f32)
    }

    /// Groups of a part of the work.
    fn groups(&self) -> usize {
        (PART / self.group).max(1)
    }
}

/// Elements of a part of the work.
const PART: usize = 8 * 1024;

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
        let length = sizes.groups() * sizes.group;
        let parts = call.output::<f32>(0).par_chunks_mut(length).zip(x.par_chunks(length));
        parts.enumerate().for_each(|(part, (y, x))| {
            vectorized(
                #[inline(always)]
                || {
                    let groups = y.chunks_exact_mut(sizes.group).zip(x.chunks_exact(sizes.group));
                    for (index, (y, x)) in groups.enumerate() {
                        let places = sizes.places(part * sizes.groups() + index);
                        let scale = &scale[places.clone()];
                        let bias = if sizes.bias { &bias[places] } else { &[] };
                        sizes.forward(y, x, scale, bias);
                    }
                },
            );
        });
        Ok(())
    }
}

impl Sizes {
    /// Normalises a group.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn forward(&self, y: &mut [f32], x: &[f32], scale: &[f32], bias: &[f32]) {
        let (mean, inverse) = self.statistics(x);
        if self.repeat == 1 {
            let elements = y.iter_mut().zip(x.iter().zip(scale));
            if bias.is_empty() {
                elements.for_each(|(y, (x, scale))| *y = (x - mean) * inverse * scale);
            } else {
                elements.zip(bias).for_each(|((y, (x, scale)), bias)| *y = (x - mean) * inverse * scale + bias);
            }
            return;
        }
        let runs = y.chunks_exact_mut(self.repeat).zip(x.chunks_exact(self.repeat));
        for (run, (y, x)) in runs.enumerate() {
            let (factor, bias) = (inverse * scale[run], bias.get(run).copied().unwrap_or(0.0));
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * factor + bias);
        }
    }

    /// The gradient of a group of the input, and what it adds to those of scale and bias; slices that are not wanted
    /// are empty.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn backward(&self, [x, dy, scale]: [&[f32]; 3], dx: &mut [f32], dscale: &mut [f32], dbias: &mut [f32]) {
        let (mean, inverse) = self.statistics(x);
        let along = |x: f32| (x - mean) * inverse;
        // The sums of the gradient and of it times the normalised input, both scaled.
        let (mut constant, mut linear) = (0f64, 0f64);
        if self.repeat == 1 {
            if !dx.is_empty() {
                [constant, linear] =
                    sums(std::iter::once([x, dy, scale]), |x, dy, scale| (dy * scale, dy * scale * along(x)));
            }
            if !dscale.is_empty() {
                let elements = x.iter().zip(dy).zip(dscale.iter_mut().zip(dbias.iter_mut()));
                elements.for_each(|((x, dy), (dscale, dbias))| {
                    *dscale += along(*x) * dy;
                    *dbias += dy;
                });
            }
        } else {
            let runs = x.chunks_exact(self.repeat).zip(dy.chunks_exact(self.repeat));
            for (run, (x, dy)) in runs.enumerate() {
                let [of_bias, of_scale] = sums_of_two(x, dy, |x, dy| (dy, along(x) * dy));
                constant += of_bias * f64::from(scale[run]);
                linear += of_scale * f64::from(scale[run]);
                if !dscale.is_empty() {
                    dscale[run] += of_scale as f32;
                    dbias[run] += of_bias as f32;
                }
            }
        }
        if dx.is_empty() {
            return;
        }
        let count = x.len() as f64;
        let constant = if self.centred { (constant / count) as f32 } else { 0.0 };
        let linear = (linear / count) as f32;
        let slope = |x: f32, dy: f32, scale: f32| inverse * (dy * scale - constant - along(x) * linear);
        if self.repeat == 1 {
            let elements = dx.iter_mut().zip(x.iter().zip(dy).zip(scale));
            elements.for_each(|(dx, ((x, dy), scale))| *dx = slope(*x, *dy, *scale));
        } else {
            let runs = x.chunks_exact(self.repeat).zip(dy.chunks_exact(self.repeat));
            for ((dx, (x, dy)), scale) in dx.chunks_exact_mut(self.repeat).zip(runs).zip(scale) {
                dx.iter_mut().zip(x.iter().zip(dy)).for_each(|(dx, (x, dy))| *dx = slope(*x, *dy, *scale));
            }
        }
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

/// Parts into which sums over groups are divided at most.
const PARTS: usize = 16;

impl Backward {
    /// Elements of scale and bias.
    fn places(&self) -> usize {
        self.sizes.group * self.sizes.period / self.sizes.repeat
    }

    /// Groups of each part, and how many parts there are.
    fn parts(&self) -> (usize, usize) {
        let groups = self.elements / self.sizes.group;
        let least = self.sizes.groups().min(groups.max(1));
        let each = groups.div_ceil(PARTS).max(least);
        (each, groups.div_ceil(each))
    }

    /// Whether gradients of scale or bias are wanted.
    fn sums(&self) -> bool {
        self.wanted[1] || self.wanted[2]
    }
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let (x, scale, dy) = (call.input::<f32>(0), call.input::<f32>(1), call.input::<f32>(self.gradient));
        let outputs = [0, 1, 2].map(|slot| if self.wanted[slot] { call.output::<f32>(slot) } else { &mut [] });
        let (each, parts) = self.parts();
        let places = if self.sums() { self.places() } else { 0 };
        let sums: &mut [f32] = if places * parts > 0 { call.scratch() } else { &mut [] };
        let groups = self.elements / sizes.group;
        // Each part sums over some groups; the parts are then added in order.
        let (dx, partial) = (Shared::new(outputs[0]), Shared::new(sums));
        (0..parts).into_par_iter().for_each(|part| {
            // SAFETY: each part has a row of sums of its own, and each group one of the gradient.
            #[allow(unsafe_code)]
            let sums = unsafe { partial.row(part * 2 * places..(part + 1) * 2 * places) };
            sums.fill(0.0);
            let (dscale, dbias) = sums.split_at_mut(places);
            vectorized(
                #[inline(always)]
                || {
                    for group in part * each..groups.min((part + 1) * each) {
                        let range = group * sizes.group..(group + 1) * sizes.group;
                        let dx_range = if self.wanted[0] { range.clone() } else { 0..0 };
                        // SAFETY: as above.
                        #[allow(unsafe_code)]
                        let dx = unsafe { dx.row(dx_range) };
                        let at = sizes.places(group);
                        let data = [&x[range.clone()], &dy[range], &scale[at.clone()]];
                        let at = if places > 0 { at } else { 0..0 };
                        sizes.backward(data, dx, &mut dscale[at.clone()], &mut dbias[at]);
                    }
                },
            );
        });
        for slot in [1, 2] {
            if self.wanted[slot] {
                outputs[slot].fill(0.0);
                for part in sums.chunks_exact((2 * places).max(1)) {
                    let part = &part[(slot - 1) * places..slot * places];
                    outputs[slot].iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                }
            }
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == 1 || input == self.gradient
    }

    fn scratch(&self) -> usize {
        if self.sums() { 2 * self.parts().1 * self.places() } else { 0 }
    }
}
