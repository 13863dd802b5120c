//! Operators that put every element of an input somewhere, or nowhere, as shapes and settings alone decide.
//!
//! All of them treat each axis by itself. What they do to one is found by applying the definition, the reference evaluator,
//! to the numbers of the places on that axis when the kernel is prepared.

use bytemuck::Pod;
use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::index::Compress;
use slimnet_graph::ops::layout::{CenterCropPad, DepthToSpaceMode, PadMode};
use slimnet_graph::tensor::Tensor;

use super::Same;
use super::spread::{Spread, Sums};
use super::walk::{Axis, OUTSIDE, Source, Walk};
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// An axis of an output.
#[derive(Debug)]
struct Moved {
    /// Elements of the input from one place on its axis to the next.
    distance: usize,
    /// Length of the input's axis.
    from: usize,
    /// For each place of the output that of the input, or [`OUTSIDE`]; absent: the same places.
    places: Option<Vec<usize>>,
}

impl Moved {
    fn length(&self) -> usize {
        self.places.as_ref().map_or(self.from, Vec::len)
    }
}

/// What an operator does to each axis of its output; `None` if it does something else, or settings are not known.
fn moves(op: &Op, node: &NodeType<'_>, inputs: usize, output: &[usize]) -> Option<Vec<Moved>> {
    let shape = &node.input(0)?.shape[..];
    let rank = shape.len();
    let distance = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let same = |axis: usize| Moved { distance: distance(axis), from: shape[axis], places: None };
    let axis_of =
        |axis: i64| usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|&axis| axis < rank);
    // A setting, `Some(None)` where it is absent.
    let setting = |slot: usize| match node.input(slot).filter(|_| slot < inputs) {
        Some(value) => value.integers().map(Some),
        None => Some(None),
    };
    // Axes one by one: what is done to each, given by its place in a list of axes, if it is there.
    let each = |axes: Option<Vec<i64>>, apply: &dyn Fn(usize, usize) -> Option<Vec<usize>>| {
        let listed: Vec<usize> = match axes {
            Some(axes) => axes.into_iter().map(axis_of).collect::<Option<_>>()?,
            None => (0..rank).collect(),
        };
        let moved = |axis: usize| match listed.iter().position(|&listed| listed == axis) {
            Some(entry) => Some(Moved { places: Some(apply(entry, shape[axis])?), ..same(axis) }),
            None => Some(same(axis)),
        };
        (0..rank).map(moved).collect::<Option<Vec<_>>>()
    };
    let vector = |number: i64| Some(Tensor::vector(vec![number]));
    match op {
        Op::Transpose(op) => match &op.perm {
            Some(order) => order.iter().map(|&axis| axis_of(axis).map(same)).collect(),
            None => Some((0..rank).rev().map(same).collect()),
        },
        Op::DepthToSpace(op) => {
            let (&[batch, depth, height, width], block) = (shape, usize::try_from(op.blocksize).ok()?) else {
                return None;
            };
            let channels = depth / block.checked_mul(block).filter(|&square| square > 0)?;
            // As a transposition of the input with its channels split into three axes.
            let (split, order) = match op.mode {
                DepthToSpaceMode::DepthColumnRow => {
                    ([batch, block, block, channels, height, width], [0, 3, 4, 1, 5, 2])
                }
                DepthToSpaceMode::ColumnRowDepth => {
                    ([batch, channels, block, block, height, width], [0, 1, 4, 2, 5, 3])
                }
            };
            Some(transposed(&split, &order))
        }
        Op::SpaceToDepth(op) => {
            let (&[batch, depth, height, width], block) = (shape, usize::try_from(op.blocksize).ok()?) else {
                return None;
            };
            let (rows, columns) = (height.checked_div(block)?, width.checked_div(block)?);
            Some(transposed(&[batch, depth, rows, block, columns, block], &[0, 3, 5, 1, 2, 4]))
        }
        Op::Slice(_) => {
            let (starts, ends, steps) = (setting(1)??, setting(2)??, setting(4)?);
            let axes = setting(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
            each(Some(axes), &|entry, length| {
                let step = steps.as_ref().map_or(Some(1), |steps| steps.get(entry).copied())?;
                let settings = [vector(*starts.get(entry)?), vector(*ends.get(entry)?), vector(0), vector(step)];
                places(op, length, &settings)
            })
        }
        Op::Pad(_) => {
            let pads = setting(1)??;
            each(setting(3)?, &|entry, length| {
                let sides = Tensor::vector(vec![*pads.get(entry)?, *pads.get(entry + pads.len() / 2)?]);
                // The padding is told apart by being the number of no place.
                places(op, length, &[Some(sides), vector(0)])
            })
        }
        Op::CenterCropPad(op) => {
            let lengths = setting(1)??;
            let one = Op::from(CenterCropPad { axes: None });
            each(op.axes.clone(), &|entry, length| places(&one, length, &[vector(*lengths.get(entry)?)]))
        }
        Op::Compress(op) => {
            let condition = Some(node.input(1)?.constant.clone()?);
            let one = Op::from(Compress { axis: None });
            if let Some(axis) = op.axis {
                each(Some(vec![axis]), &|_, length| places(&one, length, std::slice::from_ref(&condition)))
            } else {
                let from = node.input(0)?.len();
                Some(vec![Moved { distance: 1, from, places: Some(places(&one, from, &[condition])?) }])
            }
        }
        Op::Tile(_) => {
            // Each axis after one that has been put in front of it to repeat it.
            let repeat = |(axis, times): (usize, i64)| {
                let times = usize::try_from(times).ok()?;
                Some([Moved { distance: 0, from: 1, places: Some(vec![0; times]) }, same(axis)])
            };
            let repeats = setting(1)??;
            let axes = repeats.into_iter().enumerate().filter(|(axis, _)| *axis < rank);
            Some(axes.map(repeat).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        Op::Expand(_) => {
            let added = output.len().checked_sub(rank)?;
            let expanded = |(axis, &length): (usize, &usize)| {
                let Some(axis) = axis.checked_sub(added) else {
                    return Some(Moved { distance: 0, from: 1, places: Some(vec![0; length]) });
                };
                Some(Moved { places: Some(places(op, shape[axis], &[vector(length as i64)])?), ..same(axis) })
            };
            output.iter().enumerate().map(expanded).collect()
        }
        _ => None,
    }
}

/// Axes of `shape` in another order.
fn transposed(shape: &[usize], order: &[usize]) -> Vec<Moved> {
    let moved = |&axis: &usize| Moved { distance: shape[axis + 1..].iter().product(), from: shape[axis], places: None };
    order.iter().map(moved).collect()
}

/// What an operator on one axis with these settings makes of its places.
fn places(op: &Op, length: usize, settings: &[Option<Tensor>]) -> Option<Vec<usize>> {
    let numbers = Tensor::vector((1..=length as i64).collect());
    let inputs: Vec<_> = [Some(&numbers)].into_iter().chain(settings.iter().map(Option::as_ref)).collect();
    let result = evaluate_op(op, &inputs, 1, usize::MAX).ok()?;
    let place = |number: &i64| usize::try_from(number - 1).unwrap_or(OUTSIDE);
    Some(result.first()?.values::<i64>().ok()?.iter().map(place).collect())
}

/// The walk over the output.
fn forward(moves: &[Moved]) -> Option<Walk> {
    let axis = |moved: &Moved| {
        let offset = |&place: &usize| if place == OUTSIDE { OUTSIDE } else { place * moved.distance };
        let source = match &moved.places {
            None => Source::Step(moved.distance),
            Some(places) => Source::List(places.iter().map(offset).collect()),
        };
        Axis { length: moved.length(), source }
    };
    Walk::new(0, moves.iter().map(axis).collect())
}

/// How gradients come back to the input.
#[derive(Debug)]
enum Back {
    /// Every element stands in one place of the output at most.
    Copied(Walk),
    /// Some stand in several.
    Added(Sums),
}

fn backward(moves: &[Moved]) -> Option<Back> {
    let mut next: usize = moves.iter().map(Moved::length).product();
    let spread = next;
    let mut axes = Vec::with_capacity(moves.len());
    for moved in moves {
        next = next.checked_div(moved.length()).unwrap_or(0);
        axes.push((moved.distance, moved.from, inverse(moved, next)));
    }
    // In the order of the input; axes that repeat everything come first, and in their order.
    axes.sort_by_key(|(distance, ..)| std::cmp::Reverse(if *distance == 0 { usize::MAX } else { *distance }));
    let copied = |(_, length, spread): &(usize, usize, Inverse)| match spread {
        Inverse::One(source) => Some(Axis { length: *length, source: source.clone() }),
        Inverse::Many(_) => None,
    };
    if let Some(axes) = axes.iter().map(copied).collect() {
        return Walk::new(0, axes).map(Back::Copied);
    }
    let added = axes.into_iter().map(|(_, length, inverse)| match inverse {
        Inverse::One(Source::Step(step)) => (length, Spread::Step(step)),
        Inverse::One(Source::List(offsets)) => (length, many(offsets.into_iter().enumerate(), length)),
        Inverse::Many(spread) => (length, spread),
    });
    Sums::new(added.collect(), spread).map(Back::Added)
}

/// To where the places of an input's axis were moved.
enum Inverse {
    One(Source),
    Many(Spread),
}

/// The inverse of what was done to an axis, whose places in the output are `distance` apart.
fn inverse(moved: &Moved, distance: usize) -> Inverse {
    let Some(places) = &moved.places else { return Inverse::One(Source::Step(distance)) };
    if moved.from == 1 && places.len() != 1 && places.iter().all(|&place| place == 0) {
        return Inverse::Many(Spread::Repeated { count: places.len(), step: distance });
    }
    let mut back = vec![OUTSIDE; moved.from];
    let mut pairs = places.iter().enumerate().filter(|(_, place)| **place != OUTSIDE);
    if pairs.all(|(index, &place)| std::mem::replace(&mut back[place], index * distance) == OUTSIDE) {
        return Inverse::One(Source::List(back));
    }
    Inverse::Many(many(places.iter().enumerate().map(|(index, &place)| (place, index * distance)), moved.from))
}

/// Pairs of a place and where it was spread to.
fn many(pairs: impl Iterator<Item = (usize, usize)>, length: usize) -> Spread {
    let mut pairs: Vec<_> = pairs.filter(|&(place, offset)| place != OUTSIDE && offset != OUTSIDE).collect();
    pairs.sort_unstable();
    let starts = (0..=length).map(|place| pairs.partition_point(|(other, _)| *other < place)).collect();
    Spread::Many { starts, offsets: pairs.into_iter().map(|(_, offset)| offset).collect() }
}

#[derive(Debug)]
struct Forward {
    walk: Walk,
    /// Bytes of an element.
    bytes: usize,
    fill: [u8; 16],
}

pub(super) fn prepare(op: &Op, node: &NodeType<'_>) -> Prepared {
    let (x, y) = (node.input(0)?, node.output(0)?);
    let bytes = x.element_type.bits().filter(|bits| [8, 16, 32, 64, 128].contains(bits))? / 8;
    let walk = forward(&moves(op, node, node.inputs.len(), &y.shape)?)?;
    if walk.elements() != y.len() || x.element_type != y.element_type {
        return None;
    }
    if walk.is_plain() && y.len() == x.len() {
        return Some(Box::new(Same(0)));
    }
    let mut fill = [0; 16];
    if let (Op::Pad(pad), Some(value)) = (op, node.input(2).filter(|value| value.len() == 1))
        && pad.mode == PadMode::Constant
    {
        fill[..bytes].copy_from_slice(value.constant.as_ref()?.bytes()?.get(..bytes)?);
    }
    Some(Box::new(Forward { walk, bytes, fill }))
}

impl Forward {
    fn copy<T: Pod + Send + Sync>(&self, call: &mut Call<'_>) {
        let fill: T = bytemuck::pod_read_unaligned(&self.fill[..size_of::<T>()]);
        self.walk.copy(call.input::<T>(0), call.output::<T>(0), fill);
    }
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match self.bytes {
            1 => self.copy::<u8>(call),
            2 => self.copy::<u16>(call),
            4 => self.copy::<u32>(call),
            8 => self.copy::<u64>(call),
            _ => self.copy::<[u64; 2]>(call),
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0
    }
}

#[derive(Debug)]
struct Backward {
    back: Back,
    /// Slot of the gradient of the output.
    gradient: usize,
}

pub(super) fn prepare_gradient(op: &Op, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let slot = gradient.gradient_slot(0);
    let dy = node.input(slot).filter(|dy| dy.is_f32())?;
    if let (Op::Pad(pad), Some(dx)) = (op, node.output(2))
        && pad.mode == PadMode::Constant
        && dx.len() == 1
        && node.input(0)?.is_f32()
    {
        let Back::Copied(walk) = backward(&moves(op, node, gradient.inputs, &dy.shape)?)? else { return None };
        let data = node.output(0).is_some();
        return Some(Box::new(ValueOfPad { walk, gradient: slot, data }));
    }
    let (dx, others) = (node.output(0)?, &node.outputs[1..]);
    if !node.input(0)?.is_f32() || others.iter().any(Option::is_some) {
        return None;
    }
    let moves = moves(op, node, gradient.inputs, &dy.shape)?;
    let spread: usize = moves.iter().map(Moved::length).product();
    let back = backward(&moves)?;
    let elements = match &back {
        Back::Copied(walk) if walk.is_plain() && dy.len() == dx.len() => return Some(Box::new(Same(slot))),
        Back::Copied(walk) => walk.elements(),
        Back::Added(sums) => sums.elements(),
    };
    (spread == dy.len() && elements == dx.len()).then(|| Box::new(Backward { back, gradient: slot }) as Box<dyn Kernel>)
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (dy, dx) = (call.input::<f32>(self.gradient), call.output::<f32>(0));
        match &self.back {
            Back::Copied(walk) => walk.copy(dy, dx, 0.0),
            Back::Added(sums) => sums.add(dy, dx),
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient
    }
}

/// The gradient of the value that Pad fills with: the sum of what does not go back to the data.
#[derive(Debug)]
struct ValueOfPad {
    walk: Walk,
    /// Slot of the gradient of the output.
    gradient: usize,
    /// Whether the gradient of the data is wanted, too.
    data: bool,
}

impl Kernel for ValueOfPad {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let dy = call.input::<f32>(self.gradient);
        let dx = if self.data { call.output::<f32>(0) } else { call.scratch() };
        let dx = &mut dx[..self.walk.elements()];
        self.walk.copy(dy, dx, 0.0);
        let sum = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>();
        call.output::<f32>(2)[0] = (sum(dy) - sum(dx)) as f32;
        Ok(())
    }

    fn scratch(&self) -> usize {
        if self.data { 0 } else { self.walk.elements().max(1) }
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient
    }
}
