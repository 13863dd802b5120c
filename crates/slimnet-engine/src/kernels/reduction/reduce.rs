//! Reductions over axes.

use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};

use super::sum;
use crate::kernels::broadcast::Broadcast;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// The shape of the output with reduced axes at length 1.
fn kept_shape(op: &Reduce, node: &NodeType<'_>, inputs: usize) -> Option<Vec<usize>> {
    let shape = &node.input(0)?.shape;
    let rank = shape.len() as i64;
    let axes = match node.input(1).filter(|_| inputs > 1) {
        Some(axes) => axes.integers()?,
        None => Vec::new(),
    };
    if axes.is_empty() {
        return Some(if op.noop_with_empty_axes { shape.clone() } else { vec![1; shape.len()] });
    }
    let mut kept = shape.clone();
    for axis in axes {
        *kept.get_mut(usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?)? = 1;
    }
    Some(kept)
}

/// A reduction: for each row of the input, where it goes in the output.
#[derive(Debug)]
struct Forward {
    kind: ReduceKind,
    place: Broadcast<1>,
    /// How many elements go into one.
    count: usize,
}

pub(super) fn prepare(kind: ReduceKind, node: &NodeType<'_>) -> Prepared {
    let slimnet_graph::Op::Reduce(_, op) = node.op else { return None };
    let x = node.input(0).filter(|x| x.is_f32())?;
    let kept = kept_shape(op, node, node.inputs.len())?;
    let outputs: usize = kept.iter().product();
    if x.is_empty() || outputs == 0 {
        return None;
    }
    let (place, count) = (Broadcast::new([&kept], &x.shape), x.len() / outputs);
    Some(match kind {
        ReduceKind::Sum => Box::new(sum::Forward::new(place, outputs, 1.0)),
        ReduceKind::Mean => Box::new(sum::Forward::new(place, outputs, count as f32)),
        _ => Box::new(Forward { kind, place, count }),
    })
}

impl Forward {
    /// What an element contributes.
    fn term(&self, x: f32) -> f32 {
        match self.kind {
            ReduceKind::L1 => x.abs(),
            ReduceKind::L2 | ReduceKind::SumSquare => x * x,
            _ => x,
        }
    }

    fn join(&self, a: f32, b: f32) -> f32 {
        match self.kind {
            ReduceKind::Max => {
                if b > a || b.is_nan() {
                    b
                } else {
                    a
                }
            }
            ReduceKind::Min => {
                if b < a || b.is_nan() {
                    b
                } else {
                    a
                }
            }
            ReduceKind::Prod => a * b,
            _ => a + b,
        }
    }

    /// Joins a row in halves, so that rounding grows with the logarithm of its length.
    fn row(&self, row: &[f32], term: &impl Fn(f32) -> f32) -> f32 {
        if row.len() <= 32 {
            return row[1..].iter().fold(term(row[0]), |a, &b| self.join(a, term(b)));
        }
        let (a, b) = row.split_at(row.len() / 2);
        self.join(self.row(a, term), self.row(b, term))
    }

    fn reduce(&self, x: &[f32], y: &mut [f32], start: f32, term: &impl Fn(usize, f32) -> f32) {
        y.fill(start);
        let steps = self.place.steps[0];
        for (index, row) in x.chunks_exact(self.place.row).enumerate() {
            let [place] = self.place.start(index);
            if steps == 0 {
                y[place] = self.join(y[place], self.row(row, &|x| term(place, x)));
            } else {
                let y = &mut y[place..][..self.place.row];
                y.iter_mut().zip(row).enumerate().for_each(|(i, (y, &x))| *y = self.join(*y, term(place + i, x)));
            }
        }
    }
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (x, y) = (call.input::<f32>(0), call.output::<f32>(0));
        if self.kind == ReduceKind::LogSumExp {
            let most = call.scratch();
            let largest = Self { kind: ReduceKind::Max, place: self.place.clone(), count: self.count };
            largest.reduce(x, most, f32::NEG_INFINITY, &|_, x| x);
            let shift = |place: usize| if most[place].is_finite() { most[place] } else { 0.0 };
            self.reduce(x, y, 0.0, &|place, x| (x - shift(place)).exp());
            y.iter_mut().enumerate().for_each(|(place, y)| *y = y.ln() + shift(place));
            return Ok(());
        }
        let start = match self.kind {
            ReduceKind::Max => f32::NEG_INFINITY,
            ReduceKind::Min => f32::INFINITY,
            ReduceKind::Prod => 1.0,
            _ => 0.0,
        };
        self.reduce(x, y, start, &|_, x| self.term(x));
        match self.kind {
            ReduceKind::L2 => y.iter_mut().for_each(|y| *y = y.sqrt()),
            ReduceKind::LogSum => y.iter_mut().for_each(|y| *y = y.ln()),
            _ => {}
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0
    }

    fn scratch(&self) -> usize {
        // One place for each output; there are no more than starts of rows say.
        if self.kind == ReduceKind::LogSumExp { self.place.elements / self.count } else { 0 }
    }
}

/// The gradient of a reduction, which each element gets a share of.
#[derive(Debug)]
struct Backward {
    kind: ReduceKind,
    place: Broadcast<1>,
    count: usize,
    output: usize,
}

pub(super) fn prepare_gradient(kind: ReduceKind, op: &Reduce, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let x = node.input(0).filter(|x| x.is_f32() && !x.is_empty())?;
    node.input(gradient.gradient_slot(0))?;
    let kept = kept_shape(op, node, gradient.inputs)?;
    let outputs: usize = kept.iter().product();
    if outputs == 0 {
        return None;
    }
    let place = Broadcast::new([&kept], &x.shape);
    let (count, slot) = (x.len() / outputs, gradient.gradient_slot(0));
    Some(match kind {
        ReduceKind::Sum => Box::new(sum::Backward { place, divisor: 1.0, gradient: slot }),
        ReduceKind::Mean => Box::new(sum::Backward { place, divisor: count as f32, gradient: slot }),
        _ => Box::new(Backward { kind, place, count, output: gradient.output_slot(0) }),
    })
}

impl Backward {
    fn reads_input(&self) -> bool {
        self.kind != ReduceKind::LogSum
    }

    fn reads_output(&self) -> bool {
        !matches!(self.kind, ReduceKind::SumSquare | ReduceKind::L1)
    }

    /// Slot of the gradient of the output.
    fn gradient(&self) -> usize {
        self.output + 1
    }
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let x = if self.reads_input() { call.input::<f32>(0) } else { &[] };
        let y = if self.reads_output() { call.input::<f32>(self.output) } else { &[] };
        let (dy, dx) = (call.input::<f32>(self.gradient()), call.output::<f32>(0));
        let Broadcast { row, steps: [step], .. } = self.place;
        // Of a maximum all that attain it get an equal share.
        let chooses = matches!(self.kind, ReduceKind::Max | ReduceKind::Min);
        let shares = if chooses || self.kind == ReduceKind::Prod { call.scratch() } else { &mut [] };
        let at = |index: usize| self.place.start(index / row)[0] + index % row * step;
        if chooses {
            shares.fill(0.0);
            x.iter()
                .enumerate()
                .filter(|(index, x)| **x == y[at(*index)])
                .for_each(|(index, _)| shares[at(index)] += 1.0);
        }
        for (index, dx) in dx.iter_mut().enumerate() {
            let place = at(index);
            let slope = match self.kind {
                ReduceKind::Sum | ReduceKind::Mean => unreachable!("these have kernels of their own"),
                ReduceKind::L1 => {
                    if x[index] == 0.0 {
                        0.0
                    } else {
                        x[index].signum()
                    }
                }
                ReduceKind::L2 => {
                    if y[place] == 0.0 {
                        0.0
                    } else {
                        x[index] / y[place]
                    }
                }
                ReduceKind::SumSquare => 2.0 * x[index],
                ReduceKind::LogSum => (-y[place]).exp(),
                ReduceKind::LogSumExp => (x[index] - y[place]).exp(),
                ReduceKind::Max | ReduceKind::Min => {
                    if x[index] == y[place] {
                        1.0 / shares[place]
                    } else {
                        0.0
                    }
                }
                ReduceKind::Prod => {
                    // The product of the others: the quotient says nothing where an element is 0.
                    if x[index] == 0.0 {
                        let others = x.iter().enumerate().filter(|(other, _)| *other != index && at(*other) == place);
                        others.map(|(_, x)| x).product()
                    } else {
                        y[place] / x[index]
                    }
                }
            };
            *dx = slope * dy[place];
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient() || (input == 0 && self.reads_input()) || (input == self.output && self.reads_output())
    }

    fn scratch(&self) -> usize {
        match self.kind {
            ReduceKind::Max | ReduceKind::Min | ReduceKind::Prod => self.place.elements / self.count,
            _ => 0,
        }
    }
}
