//! `ReverseSequence`: the first steps of each example in reverse order.

use bytemuck::Pod;
use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::layout::ReverseSequence;
use slimnet_graph::tensor::ElementType;

use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Reversal is its own inverse, so this is the gradient too.
#[derive(Debug)]
struct Reverse {
    /// Slot of what is reversed.
    from: usize,
    /// Bytes of an element.
    bytes: usize,
    examples: usize,
    steps: usize,
    /// Elements that lie side by side whatever happens.
    slice: usize,
    /// Slices from an example to the next, and from a step to the next.
    distances: [usize; 2],
}

/// Elements of a part of the work.
const PART: usize = 16 * 1024;

fn reverse(op: &ReverseSequence, node: &NodeType<'_>, from: usize) -> Option<Reverse> {
    let (shape, lengths) = (&node.input(0)?.shape, node.input(1)?);
    let bytes = node.input(0)?.element_type.bits().filter(|bits| [8, 16, 32, 64, 128].contains(bits))? / 8;
    let resolve = |axis: i64| {
        usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok().filter(|&at| at < shape.len())
    };
    let (example, step) = (resolve(op.batch_axis)?, resolve(op.time_axis)?);
    let last = example.max(step);
    let distance = |at: usize| shape[at + 1..=last].iter().product::<usize>();
    let fits = lengths.element_type == ElementType::I64 && lengths.len() == shape[example];
    if example == step || !fits || node.output(0)?.shape != *shape {
        return None;
    }
    Some(Reverse {
        from,
        bytes,
        examples: shape[example],
        steps: shape[step],
        slice: shape[last + 1..].iter().product(),
        distances: [distance(example), distance(step)],
    })
}

pub(super) fn prepare(op: &ReverseSequence, node: &NodeType<'_>) -> Prepared {
    Some(Box::new(reverse(op, node, 0)?))
}

pub(super) fn prepare_gradient(op: &ReverseSequence, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let slot = gradient.gradient_slot(0);
    node.input(slot).filter(|dy| dy.is_f32() && node.output(1).is_none())?;
    Some(Box::new(reverse(op, node, slot)?))
}

impl Reverse {
    fn reverse<T: Pod + Send + Sync>(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let lengths = call.input::<i64>(1);
        if let Some((example, length)) =
            lengths.iter().enumerate().find(|(_, length)| !(0..=self.steps as i64).contains(length))
        {
            let steps = self.steps;
            return Err(KernelError::Value(format!(
                "length {length} of sequence {example} is not one of 0 to {steps}"
            )));
        }
        let (x, y) = (call.input::<T>(self.from), call.output::<T>(0));
        if y.is_empty() {
            return Ok(());
        }
        let Self { examples, steps, slice, distances, .. } = *self;
        let rows = (PART / slice).max(1);
        y.par_chunks_mut(rows * slice).enumerate().for_each(|(index, y)| {
            for (row, y) in y.chunks_exact_mut(slice).enumerate() {
                let row = index * rows + row;
                let (example, step) = (row / distances[0] % examples, row / distances[1] % steps);
                let length = lengths[example] as usize;
                let from = if step < length { length - 1 - step } else { step };
                y.copy_from_slice(&x[(row - step * distances[1] + from * distances[1]) * slice..][..slice]);
            }
        });
        Ok(())
    }
}

impl Kernel for Reverse {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match self.bytes {
            1 => self.reverse::<u8>(call),
            2 => self.reverse::<u16>(call),
            4 => self.reverse::<u32>(call),
            8 => self.reverse::<u64>(call),
            _ => self.reverse::<[u64; 2]>(call),
        }
    }

    fn reads(&self, input: usize) -> bool {
        input == 1 || input == self.from
    }
}
