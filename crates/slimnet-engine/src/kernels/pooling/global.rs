//! Pooling over whole planes.

use rayon::prelude::*;

use super::{Kind, Slots};
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError};

/// Planes that are worth handing to another thread, given their length.
fn worth(length: usize) -> usize {
    (16 * 1024 / length).max(1)
}

/// Terms that are summed side by side.
const LANES: usize = 16;

/// Elements of a sum before halves are summed by themselves, so that rounding grows with the logarithm of a long sum.
const LONGEST: usize = 4096;

#[inline(always)]
fn sum(x: &[f32], term: impl Fn(f32) -> f32 + Copy) -> f32 {
    let mut total = 0f32;
    for x in x.chunks(LONGEST) {
        let mut lanes = [0f32; LANES];
        let whole = x.chunks_exact(LANES);
        let mut part: f32 = whole.remainder().iter().map(|&x| term(x)).sum();
        for x in whole {
            lanes.iter_mut().zip(x).for_each(|(lane, &x)| *lane += term(x));
        }
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        part += lanes[0];
        total += part;
    }
    total
}

#[derive(Debug)]
struct Forward {
    length: usize,
    kind: Kind,
}

pub(super) fn prepare(length: usize, kind: Kind) -> Box<dyn Kernel> {
    Box::new(Forward { length, kind })
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let worth = worth(self.length);
        let blocks = call.output::<f32>(0).par_chunks_mut(worth);
        blocks.zip(call.input::<f32>(0).par_chunks(worth * self.length)).for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, x) in y.iter_mut().zip(x.chunks_exact(self.length)) {
                        *y = match self.kind {
                            Kind::Average { .. } => {
                                sum(
                                    x,
                                    #[inline(always)]
                                    |x| x,
                                ) / self.length as f32
                            }
                            Kind::Norm1 => sum(x, f32::abs),
                            Kind::Norm2 => sum(
                                x,
                                #[inline(always)]
                                |x| x * x,
                            )
                            .sqrt(),
                        };
                    }
                },
            );
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Backward {
    length: usize,
    kind: Kind,
    slots: Slots,
}

pub(super) fn prepare_gradient(length: usize, kind: Kind, slots: Slots) -> Box<dyn Kernel> {
    Box::new(Backward { length, kind, slots })
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let dy = call.input::<f32>(self.slots.dy);
        let planes = call.output::<f32>(0).par_chunks_mut(self.length).zip(dy).with_min_len(worth(self.length));
        if let Kind::Average { .. } = self.kind {
            planes.for_each(|(dx, dy)| dx.fill(dy / self.length as f32));
            return Ok(());
        }
        let (x, y) = (call.input::<f32>(0), call.input::<f32>(self.slots.y));
        planes.zip(x.par_chunks(self.length).zip(y)).for_each(|((dx, &dy), (x, &y))| {
            let share = self.kind.share(dy, y);
            vectorized(
                #[inline(always)]
                || dx.iter_mut().zip(x).for_each(|(dx, &x)| *dx = share * self.kind.slope(x)),
            );
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.slots.dy || (self.kind.is_norm() && (input == 0 || input == self.slots.y))
    }
}

/// Place of the largest element, the first of several; of one that is no number, if there is one.
fn largest(x: &[f32]) -> usize {
    let mut best = 0;
    for (place, value) in x.iter().enumerate().skip(1) {
        if *value > x[best] || (value.is_nan() && !x[best].is_nan()) {
            best = place;
        }
    }
    best
}

/// The largest element of each plane.
#[derive(Debug)]
struct Max(usize);

pub(super) fn prepare_max(length: usize) -> Box<dyn Kernel> {
    Box::new(Max(length))
}

impl Kernel for Max {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let planes = call.output::<f32>(0).par_iter_mut().zip(call.input::<f32>(0).par_chunks(self.0));
        planes.with_min_len(worth(self.0)).for_each(|(y, x)| *y = x[largest(x)]);
        Ok(())
    }
}

#[derive(Debug)]
struct MaxBackward {
    length: usize,
    slots: Slots,
}

pub(super) fn prepare_max_gradient(length: usize, slots: Slots) -> Box<dyn Kernel> {
    Box::new(MaxBackward { length, slots })
}

impl Kernel for MaxBackward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let planes = call.output::<f32>(0).par_chunks_mut(self.length);
        let planes = planes.zip(call.input::<f32>(0).par_chunks(self.length)).zip(call.input::<f32>(self.slots.dy));
        planes.with_min_len(worth(self.length)).for_each(|((dx, x), dy)| {
            dx.fill(0.0);
            dx[largest(x)] = *dy;
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == self.slots.dy
    }
}
