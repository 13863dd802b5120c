//! Convolutions of each channel by itself: every group has one input channel.

use rayon::prelude::*;

use super::{Sizes, channel_sums};
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError};

/// Calls `visit` for every tap and every row of windows that has it: with the tap's number, the places of the row's first
/// window in the output and of its tap in the input, and how many windows follow.
fn each_row(sizes: &Sizes, mut visit: impl FnMut(usize, usize, usize, usize)) {
    let [rows, across] = &sizes.axes;
    for row_tap in 0..rows.taps {
        for tap in 0..across.taps {
            let inside = across.windows_with(tap);
            if inside.is_empty() {
                continue;
            }
            for row in rows.windows_with(row_tap) {
                let output = row * across.windows + inside.start;
                let input = rows.place(row, row_tap) * across.length + across.place(inside.start, tap);
                visit(row_tap * across.taps + tap, output, input, inside.len());
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Forward {
    pub sizes: Sizes,
    pub bias: bool,
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let (x, weights) = (call.input::<f32>(0), call.input::<f32>(1));
        let bias = if self.bias { call.input::<f32>(2) } else { &[] };
        let channels = sizes.groups * sizes.outputs;
        let stride = sizes.axes[1].stride;
        call.output::<f32>(0).par_chunks_mut(sizes.positions()).with_min_len(8).enumerate().for_each(|(plane, y)| {
            let (image, channel) = (plane / channels, plane % channels);
            let x = &x[(image * sizes.groups + channel / sizes.outputs) * sizes.plane()..][..sizes.plane()];
            let weights = &weights[channel * sizes.inner()..][..sizes.inner()];
            y.fill(if self.bias { bias[channel] } else { 0.0 });
            vectorized(
                #[inline(always)]
                || {
                    each_row(sizes, |tap, output, input, count| {
                        let (weight, y, x) = (weights[tap], &mut y[output..][..count], &x[input..]);
                        if stride == 1 {
                            y.iter_mut().zip(&x[..count]).for_each(|(y, x)| *y += weight * x);
                        } else {
                            y.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, x)| *y += weight * x);
                        }
                    });
                },
            );
        });
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Backward {
    pub sizes: Sizes,
    pub gradient: usize,
    pub wanted: [bool; 3],
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let dy = call.input::<f32>(self.gradient);
        let channels = sizes.groups * sizes.outputs;
        let stride = sizes.axes[1].stride;
        if self.wanted[0] {
            let weights = call.input::<f32>(1);
            call.output::<f32>(0).par_chunks_mut(sizes.plane()).with_min_len(8).enumerate().for_each(|(plane, dx)| {
                dx.fill(0.0);
                let (image, group) = (plane / sizes.groups, plane % sizes.groups);
                for channel in group * sizes.outputs..(group + 1) * sizes.outputs {
                    let dy = &dy[(image * channels + channel) * sizes.positions()..][..sizes.positions()];
                    let weights = &weights[channel * sizes.inner()..][..sizes.inner()];
                    vectorized(
                        #[inline(always)]
                        || {
                            each_row(sizes, |tap, output, input, count| {
                                let (weight, dy, dx) = (weights[tap], &dy[output..][..count], &mut dx[input..]);
                                if stride == 1 {
                                    dx[..count].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += weight * dy);
                                } else {
                                    dx.iter_mut().step_by(stride).zip(dy).for_each(|(dx, dy)| *dx += weight * dy);
                                }
                            });
                        },
                    );
                }
            });
        }
        if self.wanted[1] {
            let x = call.input::<f32>(0);
            call.output::<f32>(1).par_chunks_mut(sizes.inner()).with_min_len(4).enumerate().for_each(
                |(channel, sums)| {
                    sums.fill(0.0);
                    for image in 0..sizes.images {
                        let dy = &dy[(image * channels + channel) * sizes.positions()..][..sizes.positions()];
                        let x = &x[(image * sizes.groups + channel / sizes.outputs) * sizes.plane()..][..sizes.plane()];
                        each_row(sizes, |tap, output, input, count| {
                            let (dy, x) = (&dy[output..][..count], &x[input..]);
                            sums[tap] += dy.iter().zip(x.iter().step_by(stride)).map(|(dy, x)| dy * x).sum::<f32>();
                        });
                    }
                },
            );
        }
        if self.wanted[2] {
            channel_sums(call.output(2), dy, sizes.positions());
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient || (input == 0 && self.wanted[1]) || (input == 1 && self.wanted[0])
    }
}
