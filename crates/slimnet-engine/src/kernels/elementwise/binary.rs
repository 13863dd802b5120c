//! Functions of two numbers, with broadcasting.

use std::ops::Range;

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::elementwise::Binary;

use crate::kernels::broadcast::Broadcast;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Elements of a part.
const PART: usize = 16 * 1024;

#[derive(Debug)]
struct Forward {
    kind: Binary,
    broadcast: Broadcast<2>,
    same: bool,
    whole: [bool; 2],
}

pub(super) fn is_arithmetic(kind: Binary) -> bool {
    matches!(kind, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Pow | Binary::PRelu)
}

pub(super) fn prepare(kind: Binary, node: &NodeType<'_>) -> Prepared {
    if !is_arithmetic(kind) || !node.all_f32() {
        return None;
    }
    let (a, b, y) = (node.input(0)?, node.input(1)?, node.output(0)?);
    let broadcast = Broadcast::new([&a.shape, &b.shape], &y.shape);
    let whole = [broadcast.is_whole(0), broadcast.is_whole(1)];
    Some(Box::new(Forward { kind, broadcast, same: a.shape == b.shape, whole }))
}

/// Runs `$body` with `$f` being the function of `kind`, each in a copy of its own that the compiler can vectorise.
macro_rules! with_function {
    ($kind:expr, $f:ident, $body:expr) => {
        match $kind {
            Binary::Sub => {
                let $f = |a: f32, b: f32| a - b;
                $body
            }
            Binary::Mul => {
                let $f = |a: f32, b: f32| a * b;
                $body
            }
            Binary::Div => {
                let $f = |a: f32, b: f32| a / b;
                $body
            }
            Binary::Pow => {
                let $f = |a: f32, b: f32| a.powf(b);
                $body
            }
            Binary::PRelu => {
                let $f = |a: f32, b: f32| if a < 0.0 { a * b } else { a };
                $body
            }
            // The only other that is prepared.
            _ => {
                let $f = |a: f32, b: f32| a + b;
                $body
            }
        }
    };
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        if self.same {
            with_function!(self.kind, f, call.zip([0, 1], 0, f));
            return Ok(());
        }
        let Broadcast { row, steps, .. } = self.broadcast;
        let fused = call.fused::<f32, 2>([0, 1], 0);
        let ([a, b], y, place) = (fused.inputs, fused.output, fused.place);
        if y.is_empty() {
            return Ok(());
        }
        let rows_a_part = (PART / row).max(1);
        with_function!(self.kind, f, {
            y.par_chunks_mut(row * rows_a_part).enumerate().for_each(|(part, y)| {
                for (index, y) in y.chunks_mut(row).enumerate() {
                    let [start_a, start_b] = self.broadcast.start(part * rows_a_part + index);
                    match (place, steps) {
                        (Some(0), [_, 0]) => y.iter_mut().for_each(|y| *y = f(*y, b[start_b])),
                        (Some(0), _) => y.iter_mut().zip(&b[start_b..]).for_each(|(y, &b)| *y = f(*y, b)),
                        (Some(_), [0, _]) => y.iter_mut().for_each(|y| *y = f(a[start_a], *y)),
                        (Some(_), _) => y.iter_mut().zip(&a[start_a..]).for_each(|(y, &a)| *y = f(a, *y)),
                        (None, [1, 1]) => {
                            let (a, b) = (&a[start_a..][..row], &b[start_b..][..row]);
                            y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b));
                        }
                        (None, [1, _]) => {
                            y.iter_mut().zip(&a[start_a..][..row]).for_each(|(y, &a)| *y = f(a, b[start_b]));
                        }
                        (None, [_, 1]) => {
                            y.iter_mut().zip(&b[start_b..][..row]).for_each(|(y, &b)| *y = f(a[start_a], b));
                        }
                        (None, _) => y.fill(f(a[start_a], b[start_b])),
                    }
                }
            });
        });
        Ok(())
    }

    fn in_place(&self, input: usize, _output: usize) -> bool {
        self.same || self.whole.get(input).copied().unwrap_or(false)
    }
}

#[derive(Debug)]
struct Backward {
    kind: Binary,
    broadcast: Broadcast<2>,
    whole: [bool; 2],
    wanted: [bool; 2],
    elements: usize,
}

/// Slots of the gradient node.
const OUTPUT: usize = 2;
const GRADIENT: usize = 3;

pub(super) fn prepare_gradient(kind: Binary, _gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    if !is_arithmetic(kind) || !node.all_f32() {
        return None;
    }
    let (a, b, dy) = (node.input(0)?, node.input(1)?, node.input(GRADIENT)?);
    let broadcast = Broadcast::new([&a.shape, &b.shape], &dy.shape);
    let whole = [broadcast.is_whole(0), broadcast.is_whole(1)];
    let wanted = [node.output(0).is_some(), node.output(1).is_some()];
    Some(Box::new(Backward { kind, broadcast, whole, wanted, elements: dy.len() }))
}

impl Backward {
    /// The factor on the gradient of the output for one input.
    fn slope(kind: Binary, input: usize, a: f32, b: f32, y: f32) -> f32 {
        match (kind, input) {
            (Binary::Sub, 1) => -1.0,
            (Binary::Mul, 0) => b,
            (Binary::Mul, _) => a,
            (Binary::Div, 0) => 1.0 / b,
            (Binary::Div, _) => -a / (b * b),
            // A constant has slope 0, also at 0.
            (Binary::Pow, 0) => {
                if b == 0.0 {
                    0.0
                } else {
                    b * a.powf(b - 1.0)
                }
            }
            (Binary::Pow, _) => {
                if a == 0.0 && b >= 0.0 {
                    0.0
                } else {
                    y * a.ln()
                }
            }
            (Binary::PRelu, 0) if a < 0.0 => b,
            (Binary::PRelu, 0) => 1.0,
            (Binary::PRelu, _) if a < 0.0 => a,
            (Binary::PRelu, _) => 0.0,
            _ => 1.0,
        }
    }

    fn needs(&self, input: usize) -> bool {
        match self.kind {
            Binary::Add | Binary::Sub => false,
            Binary::Mul => (input == 1 && self.wanted[0]) || (input == 0 && self.wanted[1]),
            Binary::Pow => input < 2 || (input == OUTPUT && self.wanted[1]),
            _ => input < 2,
        }
    }
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let read = |slot: usize| if self.needs(slot) { call.input::<f32>(slot) } else { &[] };
        let (a, b, y, dy) = (read(0), read(1), read(OUTPUT), call.input::<f32>(GRADIENT));
        let Broadcast { row, steps, .. } = self.broadcast;
        let at = |data: &[f32], index: usize| if data.is_empty() { 0.0 } else { data[index] };
        let rows = self.elements / row.max(1);
        for input in 0..2 {
            if !call.has_output(input) {
                continue;
            }
            let result = call.output::<f32>(input);
            // The slope at element `column` of a row.
            let term = |row_index: usize, [start_a, start_b]: [usize; 2], column: usize| {
                let place = row_index * row + column;
                let (a, b) = (at(a, start_a + column * steps[0]), at(b, start_b + column * steps[1]));
                dy[place] * Self::slope(self.kind, input, a, b, at(y, place))
            };
            if self.whole[input] {
                let rows_a_part = (PART / row.max(1)).max(1);
                result.par_chunks_mut((row * rows_a_part).max(1)).enumerate().for_each(|(part, result)| {
                    for (index, result) in result.chunks_mut(row).enumerate() {
                        let index = part * rows_a_part + index;
                        let start = self.broadcast.start(index);
                        result.iter_mut().enumerate().for_each(|(column, result)| *result = term(index, start, column));
                    }
                });
                continue;
            }
            result.fill(0.0);
            for index in 0..rows {
                let start = self.broadcast.start(index);
                let own = start[input];
                if steps[input] == 0 {
                    let sum = blocked_sum(0..row, &|column| term(index, start, column));
                    result[own] += sum;
                } else {
                    let result = &mut result[own..][..row];
                    result.iter_mut().enumerate().for_each(|(column, result)| *result += term(index, start, column));
                }
            }
        }
        Ok(())
    }

    fn alias(&self, output: usize) -> Option<usize> {
        let passed = self.kind == Binary::Add || (self.kind == Binary::Sub && output == 0);
        (passed && self.whole[output]).then_some(GRADIENT)
    }

    fn reads(&self, input: usize) -> bool {
        input == GRADIENT || self.needs(input)
    }
}

/// A sum in halves, so that rounding grows with the logarithm of its length.
fn blocked_sum(range: Range<usize>, term: &impl Fn(usize) -> f32) -> f32 {
    if range.len() <= 64 {
        return range.map(term).sum();
    }
    let middle = range.start.midpoint(range.end);
    blocked_sum(range.start..middle, term) + blocked_sum(middle..range.end, term)
}
