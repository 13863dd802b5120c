//! Sums and means over axes, and their gradients: what networks reduce most.

use rayon::prelude::*;

use crate::kernels::broadcast::Broadcast;
use crate::kernels::parallel::{SEGMENT, each_segment, segment_place, segments};
use crate::kernels::vector::{sum, vectorized};
use crate::kernels::{Call, Kernel, KernelError};

/// Most parts of a sum that are computed independently.
const MOST_PARTS: usize = 16;

/// A sum over axes.
#[derive(Debug)]
pub(super) struct Forward {
    /// Where in the output the elements of the input go.
    place: Broadcast<1>,
    /// Elements of the output.
    length: usize,
    /// The divisor of a mean, else 1.
    divisor: f32,
    /// Parts of the output that have rows of their own, one after the other.
    groups: usize,
}

impl Forward {
    /// Of an input and an output that are not empty.
    pub fn new(place: Broadcast<1>, length: usize, divisor: f32) -> Self {
        let groups = match place.outer() {
            Some((groups, [step])) if step * groups == length => groups,
            _ => 1,
        };
        Self { place, length, divisor, groups }
    }

    /// Parts of the sum, and segments in each, if all that there is goes into one group.
    fn parts(&self) -> (usize, usize) {
        let Broadcast { row, elements, .. } = self.place;
        let most = elements / (4 * self.length).max(SEGMENT / 2);
        let segments = segments(elements, row);
        let each = segments.div_ceil(most.clamp(1, MOST_PARTS)).max(1);
        (segments.div_ceil(each), each)
    }

    /// Adds segments of rows to the part of the output that begins at `first`.
    fn add(&self, x: &[f32], segments: std::ops::Range<usize>, y: &mut [f32], first: usize) {
        let Broadcast { row, steps: [step], .. } = self.place;
        vectorized(
            #[inline(always)]
            || {
                y.fill(0.0);
                for segment in segments {
                    let (index, columns) = segment_place(row, segment);
                    let place = self.place.start(index)[0] + columns.start * step - first;
                    let x = &x[index * row..][columns];
                    if step == 0 {
                        y[place] += sum(x);
                    } else {
                        y[place..][..x.len()].iter_mut().zip(x).for_each(|(y, x)| *y += x);
                    }
                }
                if self.divisor != 1.0 {
                    for y in y {
                        *y /= self.divisor;
                    }
                }
            },
        );
    }
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (x, y) = (call.input::<f32>(0), call.output::<f32>(0));
        let Broadcast { row, elements, .. } = self.place;
        let all = segments(elements, row);
        if self.groups > 1 {
            let (length, each) = (self.length / self.groups, all / self.groups);
            let groups = (SEGMENT * self.groups / elements).max(1);
            let part = |(part, y): (usize, &mut [f32])| {
                let first = part * groups;
                self.add(x, first * each..(first * each + y.len() / length * each), y, first * length);
            };
            if groups >= self.groups {
                part((0, y));
            } else {
                y.par_chunks_mut(groups * length).enumerate().for_each(part);
            }
            return Ok(());
        }
        let (parts, each) = self.parts();
        if parts <= 1 {
            self.add(x, 0..all, y, 0);
            return Ok(());
        }
        let partial = call.scratch();
        partial.par_chunks_mut(self.length).enumerate().for_each(|(index, y)| {
            self.add(x, index * each..all.min((index + 1) * each), y, 0);
        });
        y.copy_from_slice(&partial[..self.length]);
        for part in partial[self.length..].chunks_exact(self.length) {
            y.iter_mut().zip(part).for_each(|(y, part)| *y += part);
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0
    }

    fn scratch(&self) -> usize {
        let parts = self.parts().0;
        if self.groups > 1 || parts <= 1 { 0 } else { parts * self.length }
    }
}

/// The gradient of a sum: each element gets that of its sum, divided if it was a mean.
#[derive(Debug)]
pub(super) struct Backward {
    pub place: Broadcast<1>,
    pub divisor: f32,
    /// Slot of the gradient of the output.
    pub gradient: usize,
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let dy = call.input::<f32>(self.gradient);
        let Broadcast { row, steps: [step], .. } = self.place;
        let slope = 1.0 / self.divisor;
        each_segment(
            call.output(0),
            row,
            #[inline(always)]
            |index, columns, dx| {
                let start = self.place.start(index)[0] + columns.start * step;
                if step == 0 {
                    dx.fill(slope * dy[start]);
                } else {
                    dx.iter_mut().zip(&dy[start..]).for_each(|(dx, dy)| *dx = slope * dy);
                }
            },
        );
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient
    }
}
