//! Resizing of images: one axis after the other, by tables of taps.

use std::ops::Range;

use rayon::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::evaluate::{Resampling, resampling};
use slimnet_graph::ops::Gradient;

use super::vector::vectorized;
use super::{Call, Family, Kernel, KernelError, NodeType, Prepared, ValueType, plain};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement: plain };

/// Sums along one axis of `[outer, before, inner]`, which becomes `[outer, after, inner]`.
#[derive(Debug)]
struct Pass {
    outer: usize,
    before: usize,
    inner: usize,
    /// For each place after: its taps, or `None` where the value outside stands.
    places: Vec<Option<Range<usize>>>,
    /// Places before, with weights.
    taps: Vec<(usize, f32)>,
}

impl Pass {
    fn new(outer: usize, inner: usize, axis: &Resampling) -> Self {
        let mut taps = Vec::new();
        let place = |place: &Option<Vec<(usize, f64)>>| {
            let start = taps.len();
            taps.extend(place.as_ref()?.iter().map(|&(place, weight)| (place, weight as f32)));
            Some(start..taps.len())
        };
        let places = axis.taps.iter().map(place).collect();
        Self { outer, before: axis.length, inner, places, taps }
    }

    /// The pass that carries gradients back.
    fn transposed(&self) -> Self {
        let mut lists = vec![Vec::new(); self.before];
        for (after, place) in self.places.iter().enumerate() {
            for &(before, weight) in place.clone().map_or(&[][..], |range| &self.taps[range]) {
                lists[before].push((after, f64::from(weight)));
            }
        }
        let taps = lists.into_iter().map(Some).collect();
        Self::new(self.outer, self.inner, &Resampling { axis: 0, length: self.places.len(), taps })
    }

    fn elements_before(&self) -> usize {
        self.outer * self.before * self.inner
    }

    fn elements_after(&self) -> usize {
        self.outer * self.places.len() * self.inner
    }

    fn run(&self, x: &[f32], y: &mut [f32], outside: f32) {
        let Self { before, inner, .. } = *self;
        let planes = y.par_chunks_mut(self.places.len() * inner).zip(x.par_chunks(before * inner));
        planes.with_min_len((4096 / (self.places.len() * inner)).max(1)).for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, place) in y.chunks_exact_mut(inner).zip(&self.places) {
                        let Some(range) = place else {
                            y.fill(outside);
                            continue;
                        };
                        let taps = &self.taps[range.clone()];
                        if inner == 1 {
                            y[0] = taps.iter().map(|&(place, weight)| weight * x[place]).sum();
                            continue;
                        }
                        let Some((&(first, weight), more)) = taps.split_first() else {
                            y.fill(0.0);
                            continue;
                        };
                        let row = |place: usize| &x[place * inner..][..inner];
                        y.iter_mut().zip(row(first)).for_each(|(y, x)| *y = weight * x);
                        for &(place, weight) in more {
                            y.iter_mut().zip(row(place)).for_each(|(y, x)| *y += weight * x);
                        }
                    }
                },
            );
        });
    }
}

/// Passes from one input to output 0.
#[derive(Debug)]
struct Passes {
    order: Vec<Pass>,
    input: usize,
    /// What stands where nothing is sampled.
    outside: f32,
}

/// The passes of an operator with these inputs, if they are known.
fn passes(op: &Op, inputs: &[Option<ValueType>]) -> Option<(Vec<Pass>, f32)> {
    let Op::Resize(op) = op else { return None };
    let x = inputs.first()?.as_ref().filter(|x| x.is_f32() && !x.is_empty())?;
    // What steers it must be there now; only empty tensors say nothing.
    let mut known = Vec::with_capacity(inputs.len());
    for (slot, input) in inputs.iter().enumerate() {
        let data = input.as_ref().and_then(|input| input.constant.as_ref());
        if slot > 0 && data.is_none() && input.as_ref().is_some_and(|input| !input.is_empty()) {
            return None;
        }
        known.push(data);
    }
    let mut shape = x.shape.clone();
    let mut passes = Vec::new();
    for axis in resampling(op, &x.shape, &known).ok()? {
        let (outer, inner) = (shape[..axis.axis].iter().product(), shape[axis.axis + 1..].iter().product());
        shape[axis.axis] = axis.taps.len();
        passes.push(Pass::new(outer, inner, &axis));
    }
    Some((passes, op.extrapolation_value))
}

fn prepare(node: &NodeType<'_>) -> Prepared {
    let (passes, outside) = passes(node.op, node.inputs)?;
    let expected = passes.last().map_or(node.input(0)?.len(), Pass::elements_after);
    (node.output(0)?.len() == expected)
        .then(|| Box::new(Passes { order: passes, input: 0, outside }) as Box<dyn Kernel>)
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let (passes, _) = passes(&gradient.of, node.inputs.get(..gradient.inputs)?)?;
    let input = gradient.gradient_slot(0);
    let expected = passes.last().map_or(node.input(0)?.len(), Pass::elements_after);
    if node.input(input)?.len() != expected {
        return None;
    }
    let passes = passes.iter().rev().map(Pass::transposed).collect();
    Some(Box::new(Passes { order: passes, input, outside: 0.0 }))
}

impl Kernel for Passes {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (x, y) = (call.input::<f32>(self.input), call.output::<f32>(0));
        let Some((last, others)) = self.order.split_last() else {
            y.copy_from_slice(x);
            return Ok(());
        };
        let Some((first, between)) = others.split_first() else {
            last.run(x, y, self.outside);
            return Ok(());
        };
        let scratch = call.scratch();
        let (mut from, mut to) = scratch.split_at_mut(scratch.len() / 2);
        first.run(x, &mut from[..first.elements_after()], self.outside);
        for pass in between {
            pass.run(&from[..pass.elements_before()], &mut to[..pass.elements_after()], self.outside);
            (from, to) = (to, from);
        }
        last.run(&from[..last.elements_before()], y, self.outside);
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.input
    }

    fn scratch(&self) -> usize {
        let between = self.order.len().saturating_sub(1);
        2 * self.order[..between].iter().map(Pass::elements_after).max().unwrap_or(0)
    }
}
