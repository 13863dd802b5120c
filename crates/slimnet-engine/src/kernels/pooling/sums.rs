//! Means and norms of windows: sums of rows, then of neighbours.

use rayon::prelude::*;

use super::choice::BLOCK;
use super::plane::Plane;
use super::{Kind, Slots};
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError};

/// Sums over windows of planes.
#[derive(Debug)]
struct Sums {
    plane: Plane,
    kind: Kind,
    /// For means: by what a column of windows is divided.
    counts: Vec<f32>,
    /// How many planes there are.
    planes: usize,
}

impl Sums {
    fn new(plane: Plane, kind: Kind, planes: usize) -> Self {
        let counts = match kind {
            Kind::Average { padding } => plane.column_counts(padding),
            _ => Vec::new(),
        };
        Self { plane, kind, counts, planes }
    }

    /// Blocks of planes, each of which has scratch memory of its own.
    fn blocks(&self) -> usize {
        self.planes.div_ceil(BLOCK)
    }
}

#[derive(Debug)]
struct Forward(Sums);

pub(super) fn prepare(plane: Plane, kind: Kind, planes: usize) -> Box<dyn Kernel> {
    Box::new(Forward(Sums::new(plane, kind, planes)))
}

impl Forward {
    #[inline(always)]
    fn plane(&self, x: &[f32], y: &mut [f32], sums: &mut [f32]) {
        let Sums { plane, kind, counts, .. } = &self.0;
        for (at, y) in plane.rows().zip(y.chunks_exact_mut(plane.axes[2].windows)) {
            sums.fill(0.0);
            for row in plane.rows_under(at) {
                sums.iter_mut().zip(&x[row]).for_each(|(sum, &x)| *sum += kind.term(x));
            }
            plane.across(
                sums,
                y,
                0.0,
                #[inline(always)]
                |sum, x| sum + x,
            );
            match *kind {
                Kind::Average { padding } => {
                    let rows = plane.row_counts(padding, at);
                    y.iter_mut().zip(counts).for_each(|(y, columns)| *y /= rows * columns);
                }
                Kind::Norm1 => {}
                Kind::Norm2 => y.iter_mut().for_each(|y| *y = y.sqrt()),
            }
        }
    }
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let plane = &self.0.plane;
        let (before, after) = (plane.before(), plane.after());
        let blocks = call.output::<f32>(0).par_chunks_mut(BLOCK * after);
        let blocks = blocks.zip(call.input::<f32>(0).par_chunks(BLOCK * before));
        blocks.zip(call.scratch().par_chunks_mut(plane.axes[2].length)).for_each(|((y, x), sums)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(after).zip(x.chunks_exact(before)) {
                        self.plane(x, y, sums);
                    }
                },
            );
        });
        Ok(())
    }

    fn scratch(&self) -> usize {
        self.0.blocks() * self.0.plane.axes[2].length
    }
}

#[derive(Debug)]
struct Backward {
    sums: Sums,
    slots: Slots,
}

pub(super) fn prepare_gradient(plane: Plane, kind: Kind, slots: Slots, planes: usize) -> Box<dyn Kernel> {
    Box::new(Backward { sums: Sums::new(plane, kind, planes), slots })
}

impl Backward {
    /// What a row of windows and a row of elements need.
    fn block_scratch(&self) -> usize {
        self.sums.plane.axes[2].windows + self.sums.plane.axes[2].length
    }

    /// `x` and `y` are empty where they do not count.
    #[inline(always)]
    fn plane(&self, dx: &mut [f32], dy: &[f32], x: &[f32], y: &[f32], memory: &mut [f32]) {
        let Sums { plane, kind, counts, .. } = &self.sums;
        let windows = plane.axes[2].windows;
        let (shares, spread) = memory.split_at_mut(windows);
        dx.fill(0.0);
        for (index, at) in plane.rows().enumerate() {
            let dy = &dy[index * windows..][..windows];
            if let Kind::Average { padding } = *kind {
                let rows = plane.row_counts(padding, at);
                for ((share, dy), columns) in shares.iter_mut().zip(dy).zip(counts) {
                    *share = dy / (rows * columns);
                }
            } else {
                for ((share, &dy), &y) in shares.iter_mut().zip(dy).zip(&y[index * windows..][..windows]) {
                    *share = kind.share(dy, y);
                }
            }
            plane.spread(shares, spread);
            for row in plane.rows_under(at) {
                dx[row].iter_mut().zip(&*spread).for_each(|(dx, share)| *dx += share);
            }
        }
        dx.iter_mut().zip(x).for_each(|(dx, &x)| *dx *= kind.slope(x));
    }
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let plane = &self.sums.plane;
        let (before, after) = (plane.before(), plane.after());
        let (dy, norm) = (call.input::<f32>(self.slots.dy), self.sums.kind.is_norm());
        let (x, y) = if norm { (call.input::<f32>(0), call.input::<f32>(self.slots.y)) } else { (&[][..], &[][..]) };
        let blocks = call.output::<f32>(0).par_chunks_mut(BLOCK * before).enumerate();
        blocks.zip(call.scratch().par_chunks_mut(self.block_scratch())).for_each(|((block, dx), memory)| {
            for (plane, dx) in dx.chunks_exact_mut(before).enumerate() {
                let plane = block * BLOCK + plane;
                let dy = &dy[plane * after..][..after];
                let (x, y) = if norm { (&x[plane * before..][..before], &y[plane * after..][..after]) } else { (x, y) };
                vectorized(
                    #[inline(always)]
                    || self.plane(dx, dy, x, y, memory),
                );
            }
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.slots.dy || (self.sums.kind.is_norm() && (input == 0 || input == self.slots.y))
    }

    fn scratch(&self) -> usize {
        self.sums.blocks() * self.block_scratch()
    }
}
