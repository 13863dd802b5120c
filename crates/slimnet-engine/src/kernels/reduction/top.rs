//! `TopK`: the largest or smallest elements along an axis, in order.

use std::cmp::Ordering;

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::reduction::TopK;
use slimnet_graph::tensor::ElementType;

use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Sizes of one application: `[outer, length, inner]`, of which `[outer, count, inner]` are chosen.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    outer: usize,
    length: usize,
    count: usize,
    inner: usize,
    largest: bool,
}

/// Most parts of the work, each of which sorts in memory of its own.
const PARTS: usize = 16;

impl Sizes {
    fn of(op: &TopK, node: &NodeType<'_>) -> Option<Self> {
        let shape = &node.input(0).filter(|x| x.is_f32())?.shape;
        let [count] = node.input(1)?.integers()?[..] else { return None };
        let axis = usize::try_from(if op.axis < 0 { op.axis + shape.len() as i64 } else { op.axis }).ok()?;
        let length = *shape.get(axis)?;
        u32::try_from(length).ok()?;
        let count = usize::try_from(count).ok().filter(|&count| count <= length)?;
        let product = |lengths: &[usize]| lengths.iter().product();
        let (outer, inner) = (product(&shape[..axis]), product(&shape[axis + 1..]));
        Some(Self { outer, length, count, inner, largest: op.largest })
    }

    /// Elements of the result.
    fn chosen(self) -> usize {
        self.outer * self.count * self.inner
    }

    /// Blocks `[length, inner]` of a part.
    fn blocks(self) -> usize {
        self.outer.div_ceil(PARTS).max(1)
    }

    /// Numbers for what is chosen, and for each part to sort.
    fn scratch(self) -> usize {
        self.chosen() + self.outer.div_ceil(self.blocks()) * self.length
    }

    /// Sorts the places of a column of `x`, which begins at `column`, so that the chosen ones come first and in order.
    fn sort(self, x: &[f32], column: usize, order: &mut [u32]) {
        let value = |place: u32| x[column + place as usize * self.inner];
        // NaN comes first, and of equal elements the one in front.
        let compare = |&a: &u32, &b: &u32| {
            let (left, right) = if self.largest { (value(b), value(a)) } else { (value(a), value(b)) };
            let unequal = left.partial_cmp(&right).unwrap_or_else(|| value(b).is_nan().cmp(&value(a).is_nan()));
            if unequal == Ordering::Equal { a.cmp(&b) } else { unequal }
        };
        order.iter_mut().zip(0..).for_each(|(order, place)| *order = place);
        if self.count < order.len() {
            order.select_nth_unstable_by(self.count, compare);
        }
        order[..self.count].sort_unstable_by(compare);
    }

    /// Chooses: `[outer, count, inner]` places on the axis. There is something to choose.
    fn choose<'a>(self, x: &[f32], scratch: &'a mut [f32]) -> &'a [u32] {
        let Self { length, count, inner, .. } = self;
        let (chosen, order) = bytemuck::cast_slice_mut::<f32, u32>(scratch).split_at_mut(self.chosen());
        let part = self.blocks();
        let parts = chosen.par_chunks_mut(part * count * inner).zip(order.par_chunks_mut(length));
        parts.enumerate().for_each(|(index, (chosen, order))| {
            for (block, chosen) in chosen.chunks_exact_mut(count * inner).enumerate() {
                let x = &x[(index * part + block) * length * inner..][..length * inner];
                for column in 0..inner {
                    self.sort(x, column, order);
                    for (place, &first) in order[..count].iter().enumerate() {
                        chosen[place * inner + column] = first;
                    }
                }
            }
        });
        chosen
    }

    /// Where in the input an element of the result with place `place` on the axis comes from.
    fn source(self, element: usize, place: usize) -> usize {
        (element / (self.count * self.inner) * self.length + place) * self.inner + element % self.inner
    }
}

#[derive(Debug)]
struct Forward(Sizes);

pub(super) fn prepare(op: &TopK, node: &NodeType<'_>) -> Prepared {
    let sizes = Sizes::of(op, node)?;
    let fits = |slot: usize, wanted: ElementType| {
        node.output(slot).is_none_or(|output| output.len() == sizes.chosen() && output.element_type == wanted)
    };
    (fits(0, ElementType::F32) && fits(1, ElementType::I64)).then(|| Box::new(Forward(sizes)) as Box<dyn Kernel>)
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        if self.0.chosen() == 0 {
            return Ok(());
        }
        let x = call.input::<f32>(0);
        let chosen = self.0.choose(x, call.scratch());
        if call.has_output(0) {
            let values = call.output::<f32>(0).iter_mut().zip(chosen).enumerate();
            values.for_each(|(element, (value, &place))| *value = x[self.0.source(element, place as usize)]);
        }
        if call.has_output(1) {
            call.output::<i64>(1).iter_mut().zip(chosen).for_each(|(index, &place)| *index = place.into());
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0
    }

    fn scratch(&self) -> usize {
        if self.0.chosen() == 0 { 0 } else { self.0.scratch() }
    }
}

/// The gradient of the values goes where they came from.
#[derive(Debug)]
struct Backward {
    sizes: Sizes,
    /// Slot of the indices that were chosen; absent: they are found again.
    indices: Option<usize>,
    gradient: usize,
}

pub(super) fn prepare_gradient(op: &TopK, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let sizes = Sizes::of(op, node)?;
    let slot = gradient.gradient_slot(0);
    node.input(slot).filter(|dy| dy.is_f32() && dy.len() == sizes.chosen())?;
    node.output(0).filter(|_| node.output(1).is_none())?;
    let indices = (gradient.outputs > 1).then(|| gradient.output_slot(1)).filter(|&slot| node.input(slot).is_some());
    Some(Box::new(Backward { sizes, indices, gradient: slot }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.sizes;
        let (dy, dx) = (call.input::<f32>(self.gradient), call.output::<f32>(0));
        dx.fill(0.0);
        if sizes.chosen() == 0 {
            return Ok(());
        }
        let dy = dy.iter().enumerate();
        if let Some(slot) = self.indices {
            let indices = call.input::<i64>(slot);
            dy.for_each(|(element, dy)| dx[sizes.source(element, indices[element] as usize)] = *dy);
        } else {
            let chosen = sizes.choose(call.input(0), call.scratch());
            dy.for_each(|(element, dy)| dx[sizes.source(element, chosen[element] as usize)] = *dy);
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient || self.indices.map_or(input == 0, |slot| input == slot)
    }

    fn scratch(&self) -> usize {
        if self.indices.is_some() || self.sizes.chosen() == 0 { 0 } else { self.sizes.scratch() }
    }
}
