//! Joining tensors along an axis and cutting one up: `Concat`, `Split` and their gradients, which are each other's.

use bytemuck::Pod;
use rayon::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::walk::{Axis, PART, Walk};
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared, ValueType};

/// Most pieces that are joined or cut.
const MOST_PIECES: usize = 64;

/// A tensor `[outer, width]` and pieces of it, `[outer, width of the piece]` each.
#[derive(Debug)]
struct Division {
    outer: usize,
    width: usize,
    /// Where each piece begins in a row, and its width.
    pieces: Vec<(usize, usize)>,
}

impl Division {
    /// Of tensors of these shapes that are joined along an axis.
    fn of(axis: i64, whole: &[usize], pieces: &[&[usize]]) -> Option<Self> {
        let rank = whole.len();
        let axis =
            usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|&axis| axis < rank)?;
        let (outer, inner) = (whole[..axis].iter().product(), whole[axis + 1..].iter().product::<usize>());
        let mut start = 0;
        let mut found = Vec::with_capacity(pieces.len());
        for piece in pieces {
            if piece.len() != rank || (0..rank).any(|other| other != axis && piece[other] != whole[other]) {
                return None;
            }
            found.push((start, piece[axis] * inner));
            start += piece[axis] * inner;
        }
        let width = whole[axis] * inner;
        (start == width && pieces.len() <= MOST_PIECES).then_some(Self { outer, width, pieces: found })
    }
}

/// Shapes of all values.
fn shapes(values: &[Option<ValueType>]) -> Option<Vec<&[usize]>> {
    values.iter().map(|value| value.as_ref().map(|value| &value.shape[..])).collect()
}

/// Shapes of the outputs of a Split, given the first dimensions of all; outputs that nobody wants have none of their own.
fn parts(op: &Op, node: &NodeType<'_>, inputs: usize, outputs: usize) -> Option<Vec<Vec<usize>>> {
    let Op::Split(split) = op else { return None };
    let shape = &node.input(0)?.shape;
    let rank = shape.len();
    let axis = usize::try_from(if split.axis < 0 { split.axis + rank as i64 } else { split.axis }).ok()?;
    let length = *shape.get(axis)?;
    // The definition applied to the places of the axis alone.
    let one = Op::from(slimnet_graph::ops::layout::Split { axis: 0, num_outputs: split.num_outputs });
    let numbers = slimnet_graph::tensor::Tensor::vector(vec![0i64; length]);
    let lengths = match node.input(1).filter(|_| inputs > 1) {
        Some(lengths) => Some(lengths.constant.as_ref()?),
        None => None,
    };
    let results = slimnet_graph::evaluate::evaluate_op(&one, &[Some(&numbers), lengths], outputs, usize::MAX).ok()?;
    let part = |length: usize| {
        let mut part = shape.clone();
        part[axis] = length;
        part
    };
    Some(results.iter().map(|result| part(result.len())).collect())
}

/// Joins inputs to one output.
#[derive(Debug)]
struct Join {
    /// Slot of each piece; absent: zeros.
    slots: Vec<Option<usize>>,
    division: Division,
    /// Bytes of an element.
    bytes: usize,
}

/// Cuts an input up.
#[derive(Debug)]
struct Cut {
    from: usize,
    /// Slot of each output and how it is filled.
    outputs: Vec<(usize, Walk)>,
    /// Bytes of an element.
    bytes: usize,
}

/// Bytes of the elements, which must be of one type.
fn bytes<'a>(mut values: impl Iterator<Item = &'a ValueType>) -> Option<usize> {
    let first = values.next()?.element_type;
    values.all(|value| value.element_type == first).then_some(())?;
    Some(first.bits().filter(|bits| [8, 16, 32, 64, 128].contains(bits))? / 8)
}

fn cut(division: &Division, from: usize, wanted: &[Option<ValueType>], bytes: usize) -> Prepared {
    let walk = |&(start, width): &(usize, usize)| {
        Walk::new(start, vec![Axis::step(division.outer, division.width), Axis::step(width, 1)])
    };
    let wanted = division.pieces.iter().zip(wanted).enumerate().filter(|(_, (_, wanted))| wanted.is_some());
    let outputs = wanted.map(|(slot, (piece, _))| Some((slot, walk(piece)?))).collect::<Option<_>>()?;
    Some(Box::new(Cut { from, outputs, bytes }))
}

pub(super) fn prepare(op: &Op, node: &NodeType<'_>) -> Prepared {
    match op {
        Op::Concat(op) => {
            let bytes = bytes(node.inputs.iter().chain(node.outputs).flatten())?;
            let division = Division::of(op.axis, &node.output(0)?.shape, &shapes(node.inputs)?)?;
            Some(Box::new(Join { slots: (0..node.inputs.len()).map(Some).collect(), division, bytes }))
        }
        Op::Split(split) => {
            let bytes = bytes([node.input(0)?].into_iter().chain(node.outputs.iter().flatten()))?;
            let parts = parts(op, node, node.inputs.len(), node.outputs.len())?;
            let agrees = |(part, output): (&Vec<usize>, &Option<ValueType>)| {
                output.as_ref().is_none_or(|output| output.shape == *part)
            };
            if !parts.iter().zip(node.outputs).all(agrees) {
                return None;
            }
            let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
            cut(&Division::of(split.axis, &node.input(0)?.shape, &parts)?, 0, node.outputs, bytes)
        }
        _ => None,
    }
}

pub(super) fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let inputs = node.inputs.get(..gradient.inputs)?;
    match &gradient.of {
        Op::Concat(op) => {
            let slot = gradient.gradient_slot(0);
            let dy = node.input(slot).filter(|dy| dy.is_f32() && inputs.iter().flatten().all(ValueType::is_f32))?;
            cut(&Division::of(op.axis, &dy.shape, &shapes(inputs)?)?, slot, node.outputs, size_of::<f32>())
        }
        op @ Op::Split(split) => {
            let parts = parts(op, node, gradient.inputs, gradient.outputs)?;
            let slots: Vec<_> = (0..gradient.outputs)
                .map(|output| Some(gradient.gradient_slot(output)).filter(|&slot| node.input(slot).is_some()))
                .collect();
            let agrees = |(part, slot): (&Vec<usize>, &Option<usize>)| {
                slot.and_then(|slot| node.input(slot)).is_none_or(|dy| dy.is_f32() && dy.shape == *part)
            };
            if !parts.iter().zip(&slots).all(agrees) || node.outputs[1..].iter().any(Option::is_some) {
                return None;
            }
            let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
            let dx = node.output(0).filter(|dx| dx.is_f32())?;
            let division = Division::of(split.axis, &dx.shape, &parts)?;
            Some(Box::new(Join { slots, division, bytes: size_of::<f32>() }))
        }
        _ => None,
    }
}

impl Join {
    fn join<T: Pod + Send + Sync>(&self, call: &mut Call<'_>) {
        let mut inputs = [const { None::<&[T]> }; MOST_PIECES];
        for (input, slot) in inputs.iter_mut().zip(&self.slots) {
            *input = slot.map(|slot| call.input(slot));
        }
        let Division { width, pieces, .. } = &self.division;
        let y = call.output::<T>(0);
        if y.is_empty() {
            return;
        }
        let part = if *width < PART { PART / width * width } else { PART };
        y.par_chunks_mut(part).enumerate().for_each(|(index, mut y)| {
            let (mut row, mut from) = (index * part / width, index * part % width);
            while !y.is_empty() {
                let (now, rest) = y.split_at_mut((width - from).min(y.len()));
                let end = from + now.len();
                let begin = pieces.partition_point(|(start, length)| start + length <= from);
                for (&(start, length), input) in pieces[begin..].iter().zip(&inputs[begin..]) {
                    if start >= end {
                        break;
                    }
                    let (first, stop) = (start.max(from), (start + length).min(end));
                    let now = &mut now[first - from..stop - from];
                    match input {
                        Some(input) => now.copy_from_slice(&input[row * length + first - start..][..stop - first]),
                        None => now.fill(T::zeroed()),
                    }
                }
                y = rest;
                (row, from) = (row + 1, 0);
            }
        });
    }
}

impl Kernel for Join {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match self.bytes {
            1 => self.join::<u8>(call),
            2 => self.join::<u16>(call),
            4 => self.join::<u32>(call),
            8 => self.join::<u64>(call),
            _ => self.join::<[u64; 2]>(call),
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        self.slots.contains(&Some(input))
    }
}

impl Cut {
    fn cut<T: Pod + Send + Sync>(&self, call: &mut Call<'_>) {
        let x = call.input::<T>(self.from);
        for (slot, walk) in &self.outputs {
            walk.copy(x, call.output::<T>(*slot), T::zeroed());
        }
    }
}

impl Kernel for Cut {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match self.bytes {
            1 => self.cut::<u8>(call),
            2 => self.cut::<u16>(call),
            4 => self.cut::<u32>(call),
            8 => self.cut::<u64>(call),
            _ => self.cut::<[u64; 2]>(call),
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.from
    }
}
