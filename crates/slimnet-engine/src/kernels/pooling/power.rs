//! Norms of windows of exponents above 2, in double precision: powers leave the range of single precision soon.

use rayon::prelude::*;

use super::Slots;
use super::plane::Plane;
use crate::kernels::{Call, Kernel, KernelError};

#[derive(Debug)]
struct Forward {
    plane: Plane,
    exponent: i32,
}

pub(super) fn prepare(plane: Plane, exponent: i32) -> Box<dyn Kernel> {
    Box::new(Forward { plane, exponent })
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (before, after) = (self.plane.before(), self.plane.after());
        let planes = call.output::<f32>(0).par_chunks_mut(after).zip(call.input::<f32>(0).par_chunks(before));
        planes.for_each(|(y, x)| {
            for (at, y) in self.plane.rows().zip(y.chunks_exact_mut(self.plane.axes[2].windows)) {
                for (column, y) in y.iter_mut().enumerate() {
                    let mut sum = 0f64;
                    self.plane.each_place(at, column, |place| sum += f64::from(x[place].abs()).powi(self.exponent));
                    *y = sum.powf(1.0 / f64::from(self.exponent)) as f32;
                }
            }
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Backward {
    plane: Plane,
    exponent: i32,
    slots: Slots,
}

pub(super) fn prepare_gradient(plane: Plane, exponent: i32, slots: Slots) -> Box<dyn Kernel> {
    Box::new(Backward { plane, exponent, slots })
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (before, after) = (self.plane.before(), self.plane.after());
        let windows = self.plane.axes[2].windows;
        let (y, dy) = (call.input::<f32>(self.slots.y), call.input::<f32>(self.slots.dy));
        let gradients = y.par_chunks(after).zip(dy.par_chunks(after));
        let planes = call.output::<f32>(0).par_chunks_mut(before).zip(call.input::<f32>(0).par_chunks(before));
        planes.zip(gradients).for_each(|((dx, x), (y, dy))| {
            dx.fill(0.0);
            for (row, at) in self.plane.rows().enumerate() {
                for column in 0..windows {
                    let (y, dy) = (f64::from(y[row * windows + column]), f64::from(dy[row * windows + column]));
                    // The norm of nothing but zeros has a kink.
                    if y == 0.0 {
                        continue;
                    }
                    self.plane.each_place(at, column, |place| {
                        let x = f64::from(x[place]);
                        dx[place] += (dy * (x.abs() / y).powi(self.exponent - 1) * x.signum()) as f32;
                    });
                }
            }
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == self.slots.y || input == self.slots.dy
    }
}
