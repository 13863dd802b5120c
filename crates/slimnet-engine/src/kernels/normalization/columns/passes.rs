//! The passes over memory: sums of columns, and rows of columns that are written.

use pulp::Simd;

use super::BLOCK;
use crate::kernels::channels::{Block, Steps, Work};

/// Sums of some blocks.
pub(super) struct Gather<'a> {
    pub columns: usize,
    pub x: &'a [f32],
    pub dy: Option<&'a [f32]>,
    pub centre: &'a [f32],
    pub sums: &'a mut [f32],
}

impl Work for Gather<'_> {
    #[inline(always)]
    fn run<S: Simd, const WHOLE: bool>(mut self, simd: S) {
        let length = BLOCK * self.columns;
        let count = Block::<S, WHOLE>::count(self.columns);
        for (index, sums) in std::mem::take(&mut self.sums).chunks_exact_mut(2 * self.columns).enumerate() {
            let x = &self.x[index * length..];
            let x = &x[..length.min(x.len())];
            let dy = self.dy.map(|dy| &dy[index * length..][..x.len()]);
            let mut at = 0;
            while at < count {
                if at + 4 <= count {
                    self.block::<S, WHOLE, 4>(simd, at, [x, dy.unwrap_or(x)], sums);
                    at += 4;
                } else {
                    self.block::<S, WHOLE, 1>(simd, at, [x, dy.unwrap_or(x)], sums);
                    at += 1;
                }
            }
        }
    }
}

impl Gather<'_> {
    #[inline(always)]
    fn block<S: Simd, const WHOLE: bool, const COUNT: usize>(
        &self,
        simd: S,
        at: usize,
        [x, dy]: [&[f32]; 2],
        sums: &mut [f32],
    ) {
        let zero = simd.splat_f32s(0.0);
        let mut blocks = [Block::<S, WHOLE>::new(simd, self.columns, at); COUNT];
        let mut centre = [zero; COUNT];
        for index in 0..COUNT {
            blocks[index] = Block::new(simd, self.columns, at + index);
            centre[index] = blocks[index].load(self.centre, 0);
        }
        let (mut first, mut second) = ([zero; COUNT], [zero; COUNT]);
        let rows = x.len() / self.columns;
        if self.dy.is_some() {
            for row in 0..rows {
                for index in 0..COUNT {
                    let away = simd.sub_f32s(blocks[index].load(x, row), centre[index]);
                    let gradient = blocks[index].load(dy, row);
                    first[index] = simd.add_f32s(first[index], gradient);
                    second[index] = simd.mul_add_e_f32s(away, gradient, second[index]);
                }
            }
        } else {
            for row in 0..rows {
                for index in 0..COUNT {
                    let away = simd.sub_f32s(blocks[index].load(x, row), centre[index]);
                    first[index] = simd.add_f32s(first[index], away);
                    second[index] = simd.mul_add_e_f32s(away, away, second[index]);
                }
            }
        }
        let (firsts, seconds) = sums.split_at_mut(self.columns);
        for index in 0..COUNT {
            blocks[index].store(firsts, 0, first[index]);
            blocks[index].store(seconds, 0, second[index]);
        }
    }
}

/// What an element becomes; operands other than `x` begin where it does, numbers are those of the columns.
#[derive(Clone, Copy)]
pub(super) enum Task<'a> {
    /// `(x − mean) · factor + bias`, plus what is added if that is not empty.
    Normalize { x: &'a [f32], added: &'a [f32], mean: &'a [f32], factor: &'a [f32], bias: &'a [f32], steps: Steps },
    /// `factor · (dy − constant − (x − mean) · linear)`.
    Gradient { x: &'a [f32], dy: &'a [f32], mean: &'a [f32], factor: &'a [f32], constant: &'a [f32], linear: &'a [f32] },
    /// `factor · dy`.
    Scale { dy: &'a [f32], factor: &'a [f32] },
}

/// Some rows of an output.
pub(super) struct Write<'a> {
    pub columns: usize,
    pub task: Task<'a>,
    pub output: &'a mut [f32],
}

impl Work for Write<'_> {
    #[inline(always)]
    fn run<S: Simd, const WHOLE: bool>(self, simd: S) {
        match self.task {
            Task::Normalize { x, added: [], mean, factor, bias, steps } => self.each(
                simd,
                [mean, factor, bias],
                #[inline(always)]
                |block: Block<S, WHOLE>, row, [mean, factor, bias]| {
                    let away = simd.sub_f32s(block.load(x, row), mean);
                    steps.limited(simd, simd.mul_add_e_f32s(away, factor, bias))
                },
            ),
            Task::Normalize { x, added, mean, factor, bias, steps } => self.each(
                simd,
                [mean, factor, bias],
                #[inline(always)]
                |block: Block<S, WHOLE>, row, [mean, factor, bias]| {
                    let away = simd.sub_f32s(block.load(x, row), mean);
                    let value = simd.mul_add_e_f32s(away, factor, bias);
                    steps.limited(simd, simd.add_f32s(value, block.load(added, row)))
                },
            ),
            Task::Gradient { x, dy, mean, factor, constant, linear } => self.each(
                simd,
                [mean, factor, constant, linear],
                #[inline(always)]
                |block: Block<S, WHOLE>, row, [mean, factor, constant, linear]| {
                    let away = simd.sub_f32s(block.load(x, row), mean);
                    let value = simd.sub_f32s(block.load(dy, row), constant);
                    simd.mul_f32s(simd.sub_f32s(value, simd.mul_f32s(away, linear)), factor)
                },
            ),
            Task::Scale { dy, factor } => self.each(
                simd,
                [factor],
                #[inline(always)]
                |block: Block<S, WHOLE>, row, [factor]| simd.mul_f32s(block.load(dy, row), factor),
            ),
        }
    }
}

impl Write<'_> {
    /// `value` is given the block, the row, and the numbers of its columns. It is handed on by value: called through a
    /// reference it would not be compiled for the vectors.
    #[inline(always)]
    fn each<S: Simd, const WHOLE: bool, const NUMBERS: usize>(
        mut self,
        simd: S,
        numbers: [&[f32]; NUMBERS],
        value: impl Fn(Block<S, WHOLE>, usize, [S::f32s; NUMBERS]) -> S::f32s + Copy,
    ) {
        let count = Block::<S, WHOLE>::count(self.columns);
        let mut at = 0;
        while at < count {
            if at + 4 <= count {
                self.blocks::<S, WHOLE, 4, NUMBERS>(simd, at, numbers, value);
                at += 4;
            } else {
                self.blocks::<S, WHOLE, 1, NUMBERS>(simd, at, numbers, value);
                at += 1;
            }
        }
    }

    /// Neighbouring blocks of all rows.
    #[inline(always)]
    fn blocks<S: Simd, const WHOLE: bool, const COUNT: usize, const NUMBERS: usize>(
        &mut self,
        simd: S,
        at: usize,
        numbers: [&[f32]; NUMBERS],
        value: impl Fn(Block<S, WHOLE>, usize, [S::f32s; NUMBERS]) -> S::f32s + Copy,
    ) {
        let mut blocks = [Block::<S, WHOLE>::new(simd, self.columns, at); COUNT];
        let mut columns = [[simd.splat_f32s(0.0); NUMBERS]; COUNT];
        for index in 0..COUNT {
            blocks[index] = Block::new(simd, self.columns, at + index);
            for number in 0..NUMBERS {
                columns[index][number] = blocks[index].load(numbers[number], 0);
            }
        }
        for row in 0..self.output.len() / self.columns {
            for index in 0..COUNT {
                blocks[index].store(self.output, row, value(blocks[index], row, columns[index]));
            }
        }
    }
}
