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
        let blocks: [Block<S, WHOLE>; COUNT] = std::array::from_fn(|index| Block::new(simd, self.columns, at + index));
        let centre = blocks.map(|block| block.load(self.centre, 0));
        let zero = simd.splat_f32s(0.0);
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
            Task::Normalize { x, added: [], mean, factor, bias, steps } => {
                self.each(
                    simd,
                    #[inline(always)]
                    |block: Block<S, WHOLE>, row| {
                        let away = simd.sub_f32s(block.load(x, row), block.load(mean, 0));
                        let value = simd.mul_add_e_f32s(away, block.load(factor, 0), block.load(bias, 0));
                        steps.limited(simd, value)
                    },
                );
            }
            Task::Normalize { x, added, mean, factor, bias, steps } => {
                self.each(
                    simd,
                    #[inline(always)]
                    |block: Block<S, WHOLE>, row| {
                        let away = simd.sub_f32s(block.load(x, row), block.load(mean, 0));
                        let value = simd.mul_add_e_f32s(away, block.load(factor, 0), block.load(bias, 0));
                        steps.limited(simd, simd.add_f32s(value, block.load(added, row)))
                    },
                );
            }
            Task::Gradient { x, dy, mean, factor, constant, linear } => {
                self.each(
                    simd,
                    #[inline(always)]
                    |block: Block<S, WHOLE>, row| {
                        let away = simd.sub_f32s(block.load(x, row), block.load(mean, 0));
                        let value = simd.sub_f32s(block.load(dy, row), block.load(constant, 0));
                        let value = simd.sub_f32s(value, simd.mul_f32s(away, block.load(linear, 0)));
                        simd.mul_f32s(value, block.load(factor, 0))
                    },
                );
            }
            Task::Scale { dy, factor } => {
                self.each(
                    simd,
                    #[inline(always)]
                    |block: Block<S, WHOLE>, row| simd.mul_f32s(block.load(dy, row), block.load(factor, 0)),
                );
            }
        }
    }
}

impl Write<'_> {
    #[inline(always)]
    fn each<S: Simd, const WHOLE: bool>(self, simd: S, value: impl Fn(Block<S, WHOLE>, usize) -> S::f32s) {
        for row in 0..self.output.len() / self.columns {
            for index in 0..Block::<S, WHOLE>::count(self.columns) {
                let block = Block::new(simd, self.columns, index);
                block.store(self.output, row, value(block, row));
            }
        }
    }
}
