//! The largest element of each window.

use rayon::prelude::*;

use super::Slots;
use super::plane::Plane;
use crate::kernels::vector::vectorized;
use crate::kernels::window::Axis;
use crate::kernels::{Call, Kernel, KernelError};

impl Plane {
    /// Place of the largest element of a window, the first of several; of one that is no number, if there is one.
    #[inline(always)]
    fn largest(&self, x: &[f32], at: (usize, usize), column: usize) -> Option<usize> {
        let (first, count) = self.inside[2][column];
        let dilation = self.axes[2].dilation;
        let mut best = None;
        let mut most = f32::NEG_INFINITY;
        for row in self.rows_under(at) {
            for tap in 0..count {
                let place = row.start + first + tap * dilation;
                let value = x[place];
                if value > most || best.is_none() || (value.is_nan() && !most.is_nan()) {
                    (best, most) = (Some(place), value);
                }
            }
        }
        best
    }

    /// Whether windows are adjacent squares of four on planes of two axes.
    fn is_quarter(&self) -> bool {
        let [depths, rows, columns] = self.axes;
        let halves = |axis: Axis| {
            (axis.taps, axis.stride, axis.dilation, axis.begin) == (2, 2, 1, 0) && axis.windows * 2 <= axis.length
        };
        depths.is_pointwise() && halves(rows) && halves(columns)
    }

    /// Calls `visit` with every window of four adjacent elements and the place of its largest.
    #[inline(always)]
    fn each_quarter(&self, x: &[f32], mut visit: impl FnMut(usize, usize)) {
        let [_, rows, columns] = self.axes;
        let mut window = 0;
        for plane in 0..self.axes[0].windows {
            for row in 0..rows.windows {
                let start = (plane * rows.length + 2 * row) * columns.length;
                let above = &x[start..][..2 * columns.windows];
                let below = &x[start + columns.length..][..2 * columns.windows];
                for (column, (above, below)) in above.chunks_exact(2).zip(below.chunks_exact(2)).enumerate() {
                    let better = |a: (f32, usize), b: (f32, usize)| {
                        if b.0 > a.0 || (b.0.is_nan() && !a.0.is_nan()) { b } else { a }
                    };
                    let left = start + 2 * column;
                    let first = better((above[0], left), (above[1], left + 1));
                    let second = better((below[0], left + columns.length), (below[1], left + columns.length + 1));
                    visit(window, better(first, second).1);
                    window += 1;
                }
            }
        }
    }
}

/// The larger one, or the one that is no number.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

#[derive(Debug)]
struct Forward {
    plane: Plane,
    column_major: bool,
    /// Which of the values and their places are wanted.
    outputs: [bool; 2],
    /// How many planes there are.
    planes: usize,
}

pub(super) fn prepare(plane: Plane, column_major: bool, outputs: [bool; 2], planes: usize) -> Box<dyn Kernel> {
    Box::new(Forward { plane, column_major, outputs, planes })
}

/// Planes of a block: what one thread does at a time, with a row of scratch memory.
pub(super) const BLOCK: usize = 4;

impl Forward {
    /// Values alone: first the largest of every column, then of neighbours.
    #[inline(always)]
    fn values(&self, x: &[f32], y: &mut [f32], most: &mut [f32]) {
        for (at, y) in self.plane.rows().zip(y.chunks_exact_mut(self.plane.axes[2].windows)) {
            let mut rows = self.plane.rows_under(at);
            let Some(first) = rows.next() else {
                y.fill(f32::NEG_INFINITY);
                continue;
            };
            most.copy_from_slice(&x[first]);
            for row in rows {
                most.iter_mut().zip(&x[row]).for_each(|(most, &x)| *most = larger(*most, x));
            }
            self.plane.across(most, y, f32::NEG_INFINITY, larger);
        }
    }

    /// Where in the operator's numbering a place of the plane is.
    fn number(&self, place: usize) -> usize {
        if !self.column_major {
            return place;
        }
        let [depths, rows, columns] = self.plane.axes.map(|axis| axis.length);
        let (depth, row, column) = (place / (rows * columns), place / columns % rows, place % columns);
        (column * rows + row) * depths + depth
    }

    fn places(&self, plane: usize, x: &[f32], places: &mut [i64]) {
        let columns = self.plane.axes[2].windows;
        for (at, places) in self.plane.rows().zip(places.chunks_exact_mut(columns)) {
            for (column, target) in places.iter_mut().enumerate() {
                let place = self.plane.largest(x, at, column).unwrap_or(0);
                *target = (plane * x.len() + self.number(place)) as i64;
            }
        }
    }
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (before, after) = (self.plane.before(), self.plane.after());
        let x = call.input::<f32>(0);
        if self.outputs[1] {
            let planes = call.output::<i64>(1).par_chunks_mut(after).zip(x.par_chunks(before)).enumerate();
            planes.for_each(|(plane, (places, x))| self.places(plane, x, places));
        }
        if self.outputs[0] {
            let y = call.output::<f32>(0).par_chunks_mut(BLOCK * after).zip(x.par_chunks(BLOCK * before));
            y.zip(call.scratch().par_chunks_mut(self.plane.axes[2].length)).for_each(|((y, x), most)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (y, x) in y.chunks_exact_mut(after).zip(x.chunks_exact(before)) {
                            self.values(x, y, most);
                        }
                    },
                );
            });
        }
        Ok(())
    }

    fn scratch(&self) -> usize {
        if self.outputs[0] { self.planes.div_ceil(BLOCK) * self.plane.axes[2].length } else { 0 }
    }
}

#[derive(Debug)]
struct Backward {
    plane: Plane,
    slots: Slots,
}

pub(super) fn prepare_gradient(plane: Plane, slots: Slots) -> Box<dyn Kernel> {
    Box::new(Backward { plane, slots })
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (before, after) = (self.plane.before(), self.plane.after());
        let planes = call.output::<f32>(0).par_chunks_mut(before).zip(call.input::<f32>(0).par_chunks(before));
        let planes = planes.zip(call.input::<f32>(self.slots.dy).par_chunks(after)).with_min_len(BLOCK);
        let quarter = self.plane.is_quarter();
        planes.for_each(|((dx, x), dy)| {
            dx.fill(0.0);
            vectorized(
                #[inline(always)]
                || {
                    if quarter {
                        self.plane.each_quarter(x, |window, place| dx[place] = dy[window]);
                        return;
                    }
                    for (at, dy) in self.plane.rows().zip(dy.chunks_exact(self.plane.axes[2].windows)) {
                        for (column, dy) in dy.iter().enumerate() {
                            if let Some(place) = self.plane.largest(x, at, column) {
                                dx[place] += dy;
                            }
                        }
                    }
                },
            );
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == self.slots.dy
    }
}
