//! Convolutions as products of matrices, image by image.

use rayon::prelude::*;

use super::{Sizes, channel_sums, columns};
use crate::kernels::matrix::{Matrix, multiply_here};
use crate::kernels::{Call, Kernel, KernelError};

/// Most parts into which the images of a batch are divided.
const MOST_PARTS: usize = 8;

impl Sizes {
    /// Images of a part; all parts but the last have as many.
    fn images_a_part(&self) -> usize {
        self.images.div_ceil(MOST_PARTS)
    }

    fn parts(&self) -> usize {
        self.images.div_ceil(self.images_a_part())
    }

    /// Elements of the columns of a group.
    fn columns(&self) -> usize {
        if self.is_pointwise() { 0 } else { self.inner() * self.positions() }
    }

    /// The columns of a group of an image, in `space` if they have to be written.
    fn columns_of<'a>(&self, group: &'a [f32], space: &'a mut [f32]) -> Matrix<'a> {
        let data: &[f32] = if self.is_pointwise() {
            group
        } else {
            columns::write(self, group, space);
            space
        };
        Matrix::new(data, self.inner(), self.positions())
    }

    /// Images and groups of one part of a batch.
    fn group_input(&self) -> usize {
        self.inputs * self.plane()
    }

    fn group_output(&self) -> usize {
        self.outputs * self.positions()
    }

    fn group_weights(&self) -> usize {
        self.outputs * self.inner()
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
        let mut nothing = [];
        let scratch: &mut [f32] = if sizes.columns() > 0 { call.scratch() } else { &mut nothing };
        let images = sizes.images_a_part();
        let work = |x: &[f32], y: &mut [f32], space: &mut [f32]| {
            for (x, y) in x.chunks_exact(sizes.input()).zip(y.chunks_exact_mut(sizes.output())) {
                for (channel, y) in y.chunks_exact_mut(sizes.positions()).enumerate().filter(|_| self.bias) {
                    y.fill(bias[channel]);
                }
                let groups = x.chunks_exact(sizes.group_input()).zip(y.chunks_exact_mut(sizes.group_output()));
                for ((x, y), weights) in groups.zip(weights.chunks_exact(sizes.group_weights())) {
                    let weights = Matrix::new(weights, sizes.outputs, sizes.inner());
                    multiply_here(y, weights, sizes.columns_of(x, space), 1.0, self.bias);
                }
            }
        };
        let y = call.output::<f32>(0);
        let parts = y.par_chunks_mut(images * sizes.output()).zip(x.par_chunks(images * sizes.input()));
        if sizes.columns() > 0 {
            parts.zip(scratch.par_chunks_mut(sizes.columns())).for_each(|((y, x), space)| work(x, y, space));
        } else {
            parts.for_each(|(y, x)| work(x, y, &mut []));
        }
        Ok(())
    }

    fn scratch(&self) -> usize {
        self.sizes.parts() * self.sizes.columns()
    }
}

#[derive(Debug)]
pub(super) struct Backward {
    pub sizes: Sizes,
    pub gradient: usize,
    pub wanted: [bool; 3],
}

impl Backward {
    /// Scratch memory of a part: columns, and a sum of the weights' gradient.
    fn space(&self) -> usize {
        self.sizes.columns() + if self.wanted[1] { self.sizes.weights() } else { 0 }
    }

    /// The gradient of some images.
    fn part(&self, x: &[f32], weights: &[f32], dy: &[f32], dx: &mut [f32], space: &mut [f32]) {
        let sizes = &self.sizes;
        let (space, dweights) = space.split_at_mut(sizes.columns());
        for (image, dy) in dy.chunks_exact(sizes.output()).enumerate() {
            for (group, dy) in dy.chunks_exact(sizes.group_output()).enumerate() {
                let dy = Matrix::new(dy, sizes.outputs, sizes.positions());
                let place = image * sizes.input() + group * sizes.group_input();
                if self.wanted[1] {
                    let columns = sizes.columns_of(&x[place..][..sizes.group_input()], space);
                    let dweights = &mut dweights[group * sizes.group_weights()..][..sizes.group_weights()];
                    multiply_here(dweights, dy, columns.transposed(), 1.0, image > 0);
                }
                if self.wanted[0] {
                    let weights = &weights[group * sizes.group_weights()..][..sizes.group_weights()];
                    let weights = Matrix::new(weights, sizes.outputs, sizes.inner()).transposed();
                    let dx = &mut dx[place..][..sizes.group_input()];
                    if sizes.is_pointwise() {
                        multiply_here(dx, weights, dy, 1.0, false);
                    } else {
                        multiply_here(space, weights, dy, 1.0, false);
                        dx.fill(0.0);
                        columns::add(sizes, space, dx);
                    }
                }
            }
        }
    }
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let dy = call.input::<f32>(self.gradient);
        let x = if self.wanted[1] { call.input::<f32>(0) } else { &[] };
        let weights = if self.wanted[0] { call.input::<f32>(1) } else { &[] };
        if self.wanted[0] || self.wanted[1] {
            let mut nothing = [];
            let scratch: &mut [f32] = if self.space() > 0 { call.scratch() } else { &mut nothing };
            let images = sizes.images_a_part();
            let of_part = |data: &'_ [f32], part: usize, each: usize| {
                let range = part * images * each..((part + 1) * images * each).min(data.len());
                range.start.min(data.len())..range.end
            };
            let part = |part: usize, dx: &mut [f32], space: &mut [f32]| {
                let x = &x[of_part(x, part, sizes.input())];
                self.part(x, weights, &dy[of_part(dy, part, sizes.output())], dx, space);
            };
            match (self.wanted[0], self.space()) {
                (true, 0) => {
                    let dx = call.output::<f32>(0).par_chunks_mut(images * sizes.input());
                    dx.enumerate().for_each(|(index, dx)| part(index, dx, &mut []));
                }
                (true, space) => {
                    let dx = call.output::<f32>(0).par_chunks_mut(images * sizes.input());
                    let parts = dx.zip(scratch.par_chunks_mut(space)).enumerate();
                    parts.for_each(|(index, (dx, space))| part(index, dx, space));
                }
                (false, space) => {
                    scratch.par_chunks_mut(space).enumerate().for_each(|(index, space)| part(index, &mut [], space));
                }
            }
            if self.wanted[1] {
                let dweights = call.output::<f32>(1);
                dweights.fill(0.0);
                for space in scratch.chunks_exact(self.space()) {
                    let part = &space[sizes.columns()..];
                    dweights.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                }
            }
        }
        if self.wanted[2] {
            channel_sums(call.output(2), dy, sizes.positions());
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient || (input == 0 && self.wanted[1]) || (input == 1 && self.wanted[0])
    }

    fn scratch(&self) -> usize {
        self.sizes.parts() * self.space()
    }
}
