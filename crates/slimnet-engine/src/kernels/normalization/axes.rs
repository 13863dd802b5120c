//! Normalisation over any axes without scale and bias: `LpNormalization` and `MeanVarianceNormalization`.
//!
//! Both are `y = (x − centre) · factor`. Sums are in `float64`, as the definitions' divisors may be tiny.

use std::ops::Range;

use rayon::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::shared::Shared;
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// What is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The sum of the magnitudes.
    Norm1,
    /// The root of the sum of squares.
    Norm2,
    /// The standard deviation, after the mean is subtracted.
    MeanVariance,
}

/// Columns that are computed together: lanes of a sum, and statistics of as many groups where groups are columns.
const COLUMNS: usize = 64;

/// Numbers for each column.
type Columns = [f64; COLUMNS];

/// An axis: length, and distance of neighbours.
type Axis = (usize, usize);

/// Sizes of one application. Adjacent axes of the same kind are one; the innermost is walked as rows.
#[derive(Debug, Clone)]
struct Sizes {
    kind: Kind,
    /// Axes outside of rows along which groups differ.
    kept: Vec<Axis>,
    /// Axes outside of rows that belong to groups.
    inside: Vec<Axis>,
    /// Length of a row.
    row: usize,
    /// Whether a row belongs to one group; otherwise each column of it to one of its own.
    whole_rows: bool,
}

/// Where the `index`th place of some axes is.
fn offset(axes: &[Axis], mut index: usize) -> usize {
    let mut offset = 0;
    for (length, step) in axes.iter().rev() {
        offset += index % length * step;
        index /= length;
    }
    offset
}

fn count(axes: &[Axis]) -> usize {
    axes.iter().map(|(length, _)| length).product()
}

impl Sizes {
    fn of(op: &Op, shape: &[usize]) -> Option<Self> {
        let (kind, axes) = match op {
            Op::LpNormalization(op) if op.p == 1 => (Kind::Norm1, std::slice::from_ref(&op.axis)),
            Op::LpNormalization(op) if op.p == 2 => (Kind::Norm2, std::slice::from_ref(&op.axis)),
            Op::MeanVarianceNormalization(op) => (Kind::MeanVariance, op.axes.as_slice()),
            _ => return None,
        };
        let mut inside = vec![false; shape.len()];
        for &axis in axes {
            *inside.get_mut(usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok()?)? = true;
        }
        let mut merged: Vec<(usize, bool)> = Vec::new();
        for (&length, &inside) in shape.iter().zip(&inside).filter(|(length, _)| **length != 1) {
            match merged.last_mut() {
                Some((last, kind)) if *kind == inside => *last *= length,
                _ => merged.push((length, inside)),
            }
        }
        let (row, whole_rows) = merged.pop().unwrap_or((1, true));
        let mut sizes = Self { kind, kept: Vec::new(), inside: Vec::new(), row, whole_rows };
        let mut step = row;
        for (length, inside) in merged.into_iter().rev() {
            let list = if inside { &mut sizes.inside } else { &mut sizes.kept };
            list.insert(0, (length, step));
            step *= length;
        }
        Some(sizes)
    }

    /// Blocks of columns of a row that are computed together.
    fn blocks(&self) -> usize {
        if self.whole_rows { 1 } else { self.row.div_ceil(COLUMNS) }
    }

    /// Parts that are independent: a group, or neighbouring ones whose elements are columns of the same rows.
    fn parts(&self) -> usize {
        if self.row == 0 || count(&self.inside) == 0 { 0 } else { count(&self.kept) * self.blocks() }
    }

    /// Elements of a group.
    fn count(&self) -> f64 {
        (count(&self.inside) * if self.whole_rows { self.row } else { 1 }) as f64
    }

    /// Where the rows of a part lie.
    fn rows(&self, part: usize) -> impl Iterator<Item = Range<usize>> {
        let first = if self.whole_rows { 0 } else { part % self.blocks() * COLUMNS };
        let length = if self.whole_rows { self.row } else { COLUMNS.min(self.row - first) };
        let start = offset(&self.kept, part / self.blocks()) + first;
        (0..count(&self.inside)).map(move |index| {
            let start = start + offset(&self.inside, index);
            start..start + length
        })
    }

    /// The sum over the elements of each group, for each column.
    #[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
    #[inline(always)]
    fn sum(&self, part: usize, [a, b]: [&[f32]; 2], term: impl Fn(f64, f64, usize) -> f64) -> Columns {
        let mut sums = [0f64; COLUMNS];
        for range in self.rows(part) {
            for (a, b) in a[range.clone()].chunks(COLUMNS).zip(b[range].chunks(COLUMNS)) {
                for (column, ((sum, &a), &b)) in sums.iter_mut().zip(a).zip(b).enumerate() {
                    *sum += term(f64::from(a), f64::from(b), column);
                }
            }
        }
        if self.whole_rows { [sums.iter().sum::<f64>(); COLUMNS] } else { sums }
    }

    /// The centre and the factor of each column, and the standard deviation if it is what is divided by.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn statistics(&self, part: usize, x: &[f32]) -> [Columns; 3] {
        let divided = |sums: Columns| sums.map(|sum| sum / self.count());
        let zero = [0f64; COLUMNS];
        let inverse = |norm: f64| if norm == 0.0 { 0.0 } else { 1.0 / norm };
        match self.kind {
            Kind::Norm1 => [zero, self.sum(part, [x, x], |x, _, _| x.abs()).map(inverse), zero],
            Kind::Norm2 => [zero, self.sum(part, [x, x], |x, _, _| x * x).map(|sum| inverse(sum.sqrt())), zero],
            Kind::MeanVariance => {
                let mean = divided(self.sum(part, [x, x], |x, _, _| x));
                let squares = self.sum(part, [x, x], |x, _, column| (x - mean[column]) * (x - mean[column]));
                let deviation = divided(squares).map(f64::sqrt);
                // The definition adds this to the standard deviation, not to the variance.
                [mean, deviation.map(|deviation| 1.0 / (deviation + ADDED)), deviation]
            }
        }
    }

    /// Computes the elements of a part of an output.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn write(&self, part: usize, output: &Shared, [a, b]: [&[f32]; 2], value: impl Fn(f64, f64, usize) -> f64) {
        for range in self.rows(part) {
            // SAFETY: the elements of a part belong to one thread.
            #[allow(unsafe_code)]
            let output = unsafe { output.row(range.clone()) };
            let inputs = a[range.clone()].chunks(COLUMNS).zip(b[range].chunks(COLUMNS));
            for (output, (a, b)) in output.chunks_mut(COLUMNS).zip(inputs) {
                for (column, (output, (&a, &b))) in output.iter_mut().zip(a.iter().zip(b)).enumerate() {
                    *output = value(f64::from(a), f64::from(b), column % COLUMNS) as f32;
                }
            }
        }
    }
}

/// What the definition of `MeanVarianceNormalization` adds to the standard deviation.
const ADDED: f64 = 1e-9;

#[derive(Debug)]
struct Forward(Sizes);

pub(super) fn prepare(op: &Op, node: &NodeType<'_>) -> Prepared {
    Some(Box::new(Forward(Sizes::of(op, &node.input(0)?.shape)?)))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.0;
        let x = call.input::<f32>(0);
        let y = Shared::new(call.output(0));
        (0..sizes.parts()).into_par_iter().for_each(|part| {
            vectorized(
                #[inline(always)]
                || {
                    let [centre, factor, _] = sizes.statistics(part, x);
                    sizes.write(part, &y, [x, x], |x, _, column| (x - centre[column]) * factor[column]);
                },
            );
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Backward {
    sizes: Sizes,
    gradient: usize,
}

pub(super) fn prepare_gradient(op: &Op, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let sizes = Sizes::of(op, &node.input(0)?.shape)?;
    let gradient = gradient.gradient_slot(0);
    node.input(gradient)?;
    Some(Box::new(Backward { sizes, gradient }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let Self { sizes, gradient } = self;
        let (x, dy) = (call.input::<f32>(0), call.input::<f32>(*gradient));
        let dx = Shared::new(call.output(0));
        (0..sizes.parts()).into_par_iter().for_each(|part| {
            vectorized(
                #[inline(always)]
                || {
                    let [centre, factor, deviation] = sizes.statistics(part, x);
                    let both = [x, dy];
                    let y = |x: f64, column: usize| (x - centre[column]) * factor[column];
                    let along = sizes.sum(part, both, |x, dy, column| dy * y(x, column));
                    match sizes.kind {
                        Kind::Norm1 => {
                            let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
                            sizes.write(part, &dx, both, |x, dy, column| {
                                factor[column] * (dy - sign(x) * along[column])
                            });
                        }
                        Kind::Norm2 => {
                            let slope = |x, dy, column: usize| factor[column] * (dy - y(x, column) * along[column]);
                            sizes.write(part, &dx, both, slope);
                        }
                        Kind::MeanVariance => {
                            let constant = sizes.sum(part, both, |_, dy, _| dy).map(|sum| sum / sizes.count());
                            let mut linear = along;
                            for (linear, deviation) in linear.iter_mut().zip(deviation) {
                                // Where all are equal the deviation has no slope; what is normalised is 0 then.
                                let ratio = if deviation == 0.0 { 0.0 } else { (deviation + ADDED) / deviation };
                                *linear *= ratio / sizes.count();
                            }
                            let slope = |x, dy, column: usize| {
                                factor[column] * (dy - constant[column] - y(x, column) * linear[column])
                            };
                            sizes.write(part, &dx, both, slope);
                        }
                    }
                },
            );
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == self.gradient
    }
}
