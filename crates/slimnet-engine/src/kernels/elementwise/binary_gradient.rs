//! Gradients of functions of two numbers, with sums over the axes along which an operand was repeated.

use std::ops::Range;

use rayon::prelude::*;
use slimnet_graph::ops::elementwise::Binary;

use super::binary::is_arithmetic;
use crate::kernels::broadcast::Broadcast;
use crate::kernels::parallel::{SEGMENT, each_segment, segment_place, segments};
use crate::kernels::vector::{LANES, sum, vectorized};
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

#[derive(Debug)]
struct Backward {
    kind: Binary,
    broadcast: Broadcast<2>,
    whole: [bool; 2],
    wanted: [bool; 2],
    /// Elements of the two gradients.
    lengths: [usize; 2],
}

/// Slots of the gradient node.
const OUTPUT: usize = 2;
const GRADIENT: usize = 3;

/// Most parts of a sum that are computed independently.
const MOST_PARTS: usize = 16;

/// Elements that are computed at a time where an operand is repeated.
const BLOCK: usize = 8 * LANES;

pub(super) fn prepare_gradient(kind: Binary, node: &NodeType<'_>) -> Prepared {
    if !is_arithmetic(kind) || !node.all_f32() {
        return None;
    }
    let (a, b, dy) = (node.input(0)?, node.input(1)?, node.input(GRADIENT)?);
    let broadcast = Broadcast::new([&a.shape, &b.shape], &dy.shape);
    let whole = [broadcast.is_whole(0), broadcast.is_whole(1)];
    let wanted = [node.output(0).is_some(), node.output(1).is_some()];
    Some(Box::new(Backward { kind, broadcast, whole, wanted, lengths: [a.len(), b.len()] }))
}

/// A row of an operand, or one number that is repeated, or nothing if it is not read.
struct Operand<'a> {
    row: &'a [f32],
    repeated: Option<[f32; BLOCK]>,
}

impl<'a> Operand<'a> {
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn new(data: &'a [f32], start: usize, step: usize, length: usize) -> Self {
        match (data, step) {
            ([], _) => Self { row: data, repeated: None },
            (_, 0) => Self { row: &[], repeated: Some([data[start]; BLOCK]) },
            _ => Self { row: &data[start..][..length], repeated: None },
        }
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn block(&self, range: Range<usize>) -> &[f32] {
        match &self.repeated {
            Some(repeated) => &repeated[..range.len()],
            None if self.row.is_empty() => &[],
            None => &self.row[range],
        }
    }
}

/// `result[i] = term(dy[i], x[i])`.
#[allow(clippy::inline_always)]
#[inline(always)]
fn of_one(result: &mut [f32], dy: &[f32], x: &[f32], term: impl Fn(f32, f32) -> f32) {
    result.iter_mut().zip(dy.iter().zip(x)).for_each(|(result, (&dy, &x))| *result = term(dy, x));
}

/// `result[i] = term(dy[i], a[i], b[i])`.
#[allow(clippy::inline_always)]
#[inline(always)]
fn of_two(result: &mut [f32], dy: &[f32], [a, b]: [&[f32]; 2], term: impl Fn(f32, f32, f32) -> f32) {
    let operands = dy.iter().zip(a.iter().zip(b));
    result.iter_mut().zip(operands).for_each(|(result, (&dy, (&a, &b)))| *result = term(dy, a, b));
}

/// Sets `result` to the gradient of the output times the slope by one input: slices of one length.
#[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
#[inline(always)]
fn terms(kind: Binary, input: usize, result: &mut [f32], dy: &[f32], [a, b, y]: [&[f32]; 3]) {
    match (kind, input) {
        (Binary::Sub, 1) => result.iter_mut().zip(dy).for_each(|(result, dy)| *result = -dy),
        (Binary::Mul, 0) => of_one(result, dy, b, |dy, b| dy * b),
        (Binary::Mul, _) => of_one(result, dy, a, |dy, a| dy * a),
        (Binary::Div, 0) => of_one(result, dy, b, |dy, b| dy * (1.0 / b)),
        (Binary::Div, _) => of_two(result, dy, [a, b], |dy, a, b| dy * (-a / (b * b))),
        // A constant has slope 0, also at 0.
        (Binary::Pow, 0) => {
            of_two(result, dy, [a, b], |dy, a, b| dy * if b == 0.0 { 0.0 } else { b * a.powf(b - 1.0) });
        }
        (Binary::Pow, _) => {
            of_two(result, y, [a, b], |y, a, b| if a == 0.0 && b >= 0.0 { 0.0 } else { y * a.ln() });
            result.iter_mut().zip(dy).for_each(|(result, dy)| *result *= dy);
        }
        (Binary::PRelu, 0) => of_two(result, dy, [a, b], |dy, a, b| dy * if a < 0.0 { b } else { 1.0 }),
        (Binary::PRelu, _) => of_one(result, dy, a, |dy, a| dy * if a < 0.0 { a } else { 0.0 }),
        _ => result.copy_from_slice(dy),
    }
}

/// What the gradients are computed from; slices that are not read are empty.
#[derive(Clone, Copy)]
struct Data<'a> {
    a: &'a [f32],
    b: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
}

impl Backward {
    fn needs(&self, input: usize) -> bool {
        match self.kind {
            Binary::Add | Binary::Sub => false,
            Binary::Mul => (input == 1 && self.wanted[0]) || (input == 0 && self.wanted[1]),
            Binary::Div => input == 1 || (input == 0 && self.wanted[1]),
            Binary::Pow => input < 2 || (input == OUTPUT && self.wanted[1]),
            _ => input < 2,
        }
    }

    /// Whether a gradient is that of the output as it is, but for sums.
    fn passed(&self, input: usize) -> bool {
        self.kind == Binary::Add || (self.kind == Binary::Sub && input == 0)
    }

    /// Whether a gradient is a sum.
    fn sums(&self, input: usize) -> bool {
        self.wanted[input] && !self.whole[input]
    }

    /// Parts of the sum for an input, and segments of rows in each: as many as are worth their memory.
    fn parts(&self, input: usize) -> (usize, usize) {
        let Broadcast { row, elements, .. } = self.broadcast;
        let most = elements / (4 * self.lengths[input]).max(SEGMENT / 2);
        let segments = segments(elements, row);
        let each = segments.div_ceil(most.clamp(1, MOST_PARTS)).max(1);
        (segments.div_ceil(each), each)
    }

    /// Calls `work(i..j, dy[i..j], [a, b, y][i..j])` on blocks of some columns of a row, counted from the first of them.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn each_block(
        &self,
        data: Data<'_>,
        (index, columns): (usize, Range<usize>),
        most: usize,
        mut work: impl FnMut(Range<usize>, &[f32], [&[f32]; 3]),
    ) {
        let Broadcast { row, steps, .. } = self.broadcast;
        let [a, b] = self.broadcast.start(index);
        let (first, length) = (columns.start, columns.len());
        let place = index * row + first;
        let dy = &data.dy[place..][..length];
        let operands = [
            Operand::new(data.a, a + first * steps[0], steps[0], length),
            Operand::new(data.b, b + first * steps[1], steps[1], length),
            Operand::new(data.y, place, 1, length),
        ];
        let repeated = operands.iter().any(|operand| operand.repeated.is_some());
        let size = if repeated { BLOCK } else { most };
        for start in (0..length).step_by(size) {
            let range = start..length.min(start + size);
            let [a, b, y] = &operands;
            let blocks = [a.block(range.clone()), b.block(range.clone()), y.block(range.clone())];
            work(range.clone(), &dy[range], blocks);
        }
    }

    /// Adds the terms of some columns of a row to the gradient that they belong to.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn add(&self, input: usize, data: Data<'_>, (index, columns): (usize, Range<usize>), result: &mut [f32]) {
        let Broadcast { row, steps, .. } = self.broadcast;
        let own = self.broadcast.start(index)[input] + columns.start * steps[input];
        let mut add = |start: usize, terms: &[f32]| {
            if steps[input] == 0 {
                result[own] += sum(terms);
            } else {
                let result = &mut result[own + start..][..terms.len()];
                result.iter_mut().zip(terms).for_each(|(result, term)| *result += term);
            }
        };
        if self.passed(input) {
            add(0, &data.dy[index * row..][columns]);
            return;
        }
        let mut buffer = [0f32; BLOCK];
        self.each_block(data, (index, columns), BLOCK, |range, dy, operands| {
            let buffer = &mut buffer[..range.len()];
            terms(self.kind, input, buffer, dy, operands);
            add(range.start, buffer);
        });
    }

    /// The sums that are the gradient of an input that is repeated.
    fn reduce(&self, input: usize, data: Data<'_>, result: &mut [f32], scratch: &mut [f32]) {
        let Broadcast { row, elements, .. } = self.broadcast;
        let (parts, each) = self.parts(input);
        let part = |index: usize, result: &mut [f32]| {
            result.fill(0.0);
            vectorized(
                #[inline(always)]
                || {
                    for segment in index * each..segments(elements, row).min((index + 1) * each) {
                        self.add(input, data, segment_place(row, segment), result);
                    }
                },
            );
        };
        if parts <= 1 {
            return part(0, result);
        }
        let length = result.len();
        let partial = &mut scratch[..parts * length];
        partial.par_chunks_mut(length).enumerate().for_each(|(index, result)| part(index, result));
        result.copy_from_slice(&partial[..length]);
        for part in partial[length..].chunks_exact(length) {
            result.iter_mut().zip(part).for_each(|(result, part)| *result += part);
        }
    }
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let read = |slot: usize| if self.needs(slot) { call.input::<f32>(slot) } else { &[] };
        let data = Data { a: read(0), b: read(1), y: read(OUTPUT), dy: call.input::<f32>(GRADIENT) };
        let scratch = if self.scratch() > 0 { call.scratch() } else { &mut [] };
        for input in 0..2 {
            if !call.has_output(input) {
                continue;
            }
            let result = call.output::<f32>(input);
            if self.whole[input] {
                each_segment(
                    result,
                    self.broadcast.row,
                    #[inline(always)]
                    |index, columns, result| {
                        self.each_block(data, (index, columns), SEGMENT, |range, dy, operands| {
                            terms(self.kind, input, &mut result[range], dy, operands);
                        });
                    },
                );
            } else {
                self.reduce(input, data, result, scratch);
            }
        }
        Ok(())
    }

    fn alias(&self, output: usize) -> Option<usize> {
        (self.passed(output) && self.whole[output]).then_some(GRADIENT)
    }

    fn reads(&self, input: usize) -> bool {
        input == GRADIENT || self.needs(input)
    }

    fn scratch(&self) -> usize {
        let partial = |input: usize| match self.parts(input) {
            (parts, _) if self.sums(input) && parts > 1 => parts * self.lengths[input],
            _ => 0,
        };
        partial(0).max(partial(1))
    }
}
