//! Products of matrices the second of which is constant and mostly zeros: `y = x · Wᵀ + bias`.
#![allow(clippy::inline_always)] // code of the widest vectors

use crate::kernels::vector::arch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::finish::{Finish, clamp_one};
use super::lists::{Band, Packed, SLACK};
use super::lookup::Kind;
use super::shifted::ALIGNMENT;
use super::windows::Windows;
use super::{CACHED, FEWEST_OF_A_TURN, MOST_PARTS, WORTH_A_PART, is_zero};
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Epilogue, Kernel, KernelError};

/// Rows of inputs that are computed one by one; more are the lanes of vectors.
const FEW_ROWS: usize = 6;

/// Most rows of inputs that are turned into columns at once.
const MOST_ROWS: usize = 64;

/// A bias, as an input of a kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bias {
    pub slot: usize,
    /// What it is multiplied with.
    pub scale: f32,
    /// Whether there is one number for all columns.
    pub is_single: bool,
}

/// The kernel.
#[derive(Debug)]
pub(super) struct SparseProduct {
    rows: usize,
    inner: usize,
    columns: usize,
    bias: Option<Bias>,
    form: Form,
    finish: Finish,
}

#[derive(Debug)]
enum Form {
    /// Rows of inputs one by one.
    Windows(Windows),
    /// Inputs turned, so that vectors lie along `rows` rows of them.
    Lists { lists: Packed, rows_at_once: usize, rows_a_part: usize },
}

impl SparseProduct {
    /// The kernel for `rows` rows of inputs and weights `[columns, inner]`.
    pub fn new(rows: usize, weights: &[f32], inner: usize, bias: Option<Bias>) -> Self {
        let columns = weights.len() / inner.max(1);
        let form = if rows <= FEW_ROWS {
            Form::Windows(Windows::new(Kind::Widest, weights, columns, inner))
        } else {
            let turns = rows.div_ceil(MOST_ROWS);
            let rows_at_once = rows.div_ceil(turns).div_ceil(SLACK) * SLACK;
            let used = weights.iter().filter(|&&weight| !is_zero(weight)).count();
            let turns = (inner * rows_at_once / CACHED).min(used / (columns * FEWEST_OF_A_TURN)).max(1);
            let lists = Packed::new(weights, inner, inner.div_ceil(turns), |column| (column * rows_at_once) as u32);
            let parts = (lists.work().saturating_mul(rows) / WORTH_A_PART).clamp(1, MOST_PARTS);
            let rows_a_part = rows.div_ceil(rows_at_once).div_ceil(parts) * rows_at_once;
            Form::Lists { lists, rows_at_once, rows_a_part }
        };
        Self { rows, inner, columns, bias, form, finish: Finish::default() }
    }

    /// Scratch memory of one part: inputs and sums turned.
    fn space(&self) -> usize {
        match &self.form {
            Form::Windows(windows) => self.rows * windows.padded(),
            Form::Lists { rows_at_once, .. } => (self.inner + self.columns) * rows_at_once + ALIGNMENT,
        }
    }

    fn parts(&self) -> usize {
        match &self.form {
            Form::Windows(_) => 1,
            Form::Lists { rows_a_part, .. } => self.rows.div_ceil(*rows_a_part),
        }
    }

    /// Adds the bias to a row of the result.
    #[inline(always)]
    fn add_bias(&self, bias: &[f32], y: &mut [f32]) {
        match self.bias {
            Some(Bias { scale, is_single: true, .. }) => y.iter_mut().for_each(|y| *y += scale * bias[0]),
            Some(Bias { scale, .. }) => y.iter_mut().zip(bias).for_each(|(y, bias)| *y += scale * bias),
            None => (),
        }
    }
}

/// Adds and clamps a row of the result.
#[inline(always)]
fn finish(steps: &Finish, addend: Option<&[f32]>, y: &mut [f32]) {
    if let Some(addend) = addend {
        y.iter_mut().zip(addend).for_each(|(y, addend)| *y += addend);
    }
    if steps.clamp.is_some() {
        for y in y {
            *y = clamp_one(*y, steps.clamp);
        }
    }
}

impl Kernel for SparseProduct {
    fn kept_bytes(&self) -> usize {
        match &self.form {
            Form::Windows(windows) => windows.bytes(),
            Form::Lists { lists, .. } => lists.bytes(),
        }
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (x, addend) = (call.input::<f32>(0), self.finish.addend(call));
        let bias: &[f32] = self.bias.map_or(&[], |bias| call.input(bias.slot));
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut [] };
        let y = call.output::<f32>(0);
        if y.is_empty() {
            return Ok(());
        }
        match &self.form {
            Form::Windows(windows) => {
                windows.run(x, scratch);
                let rows = y.chunks_exact_mut(self.columns).zip(scratch.chunks_exact(windows.padded()));
                vectorized(
                    #[inline(always)]
                    || {
                        for (row, (y, sums)) in rows.enumerate() {
                            y.iter_mut().zip(&windows.sums).for_each(|(y, &place)| *y = sums[place as usize]);
                            self.add_bias(bias, y);
                            finish(&self.finish, addend.map(|addend| &addend[row * self.columns..]), y);
                        }
                    },
                );
            }
            Form::Lists { lists, rows_at_once, rows_a_part } => {
                let part = |index: usize, y: &mut [f32], space: &mut [f32]| {
                    let first = index * rows_a_part;
                    let x = &x[first * self.inner..][..y.len() / self.columns * self.inner];
                    let addend = addend.map(|addend| &addend[first * self.columns..][..y.len()]);
                    arch().dispatch(Part { of: self, lists, at_once: *rows_at_once, x, bias, addend, y, space });
                };
                if self.parts() == 1 {
                    part(0, y, scratch);
                } else {
                    let spaces = scratch.par_chunks_mut(self.space());
                    y.par_chunks_mut(rows_a_part * self.columns)
                        .zip(spaces)
                        .enumerate()
                        .for_each(|(index, (y, space))| part(index, y, space));
                }
            }
        }
        Ok(())
    }

    fn scratch(&self) -> usize {
        self.parts() * self.space()
    }

    fn reads(&self, input: usize) -> bool {
        input != 1
    }

    fn skips_zeros(&self) -> bool {
        true
    }

    fn absorb(&mut self, step: &Epilogue) -> bool {
        self.finish.absorb(step)
    }
}

/// The work on some rows of inputs, some at once.
struct Part<'a> {
    of: &'a SparseProduct,
    lists: &'a Packed,
    at_once: usize,
    x: &'a [f32],
    bias: &'a [f32],
    addend: Option<&'a [f32]>,
    y: &'a mut [f32],
    space: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, lists, at_once, x, bias, addend, y, space } = self;
        let (inner, columns) = (of.inner, of.columns);
        let aligned = space.as_ptr().align_offset(ALIGNMENT * size_of::<f32>()).min(ALIGNMENT);
        let (turned, rest) = space[aligned..].split_at_mut(inner * at_once);
        let sums = &mut rest[..columns * at_once];
        for (turn, y) in y.chunks_mut(at_once * columns).enumerate() {
            let rows = y.len() / columns;
            let x = &x[turn * at_once * inner..][..rows * inner];
            transpose(x, rows, inner, turned, at_once);
            let positions = rows.div_ceil(SLACK) * SLACK;
            let turns = lists.turns();
            for turn in 0..turns {
                let result = &mut *sums;
                let mut band = Band {
                    turn,
                    is_first: turn == 0,
                    is_last: turn + 1 == turns,
                    source: turned,
                    positions,
                    bias: &[],
                    addend: None,
                    clamp: None,
                    result,
                    pitch: at_once,
                };
                lists.compute(simd, 0..columns, &mut band);
            }
            transpose_back(sums, at_once, y, columns);
            for (row, y) in y.chunks_exact_mut(columns).enumerate() {
                of.add_bias(bias, y);
                finish(&of.finish, addend.map(|addend| &addend[(turn * at_once + row) * columns..]), y);
            }
        }
    }
}

/// Rows of a block that is transposed.
const BLOCK: usize = 16;

/// `to[k · pitch + row] = from[row · inner + k]`; rows up to the next multiple of a vector become zero.
#[inline(always)]
fn transpose(from: &[f32], rows: usize, inner: usize, to: &mut [f32], pitch: usize) {
    for first in (0..rows).step_by(BLOCK) {
        let count = BLOCK.min(rows - first);
        let from = &from[first * inner..][..count * inner];
        for (k, to) in to.chunks_exact_mut(pitch).enumerate().take(inner) {
            let to = &mut to[first..][..BLOCK];
            if count < BLOCK {
                to.fill(0.0);
            }
            to.iter_mut().zip(from[k..].iter().step_by(inner)).for_each(|(to, from)| *to = *from);
        }
    }
}

/// `to[row · columns + column] = from[column · pitch + row]`.
#[inline(always)]
fn transpose_back(from: &[f32], pitch: usize, to: &mut [f32], columns: usize) {
    for first in (0..columns).step_by(BLOCK) {
        let count = BLOCK.min(columns - first);
        for (row, to) in to.chunks_exact_mut(columns).enumerate() {
            let from = from[first * pitch + row..].iter().step_by(pitch);
            to[first..][..count].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
}
