//! The inner loops: blocks of sums that stay in registers.
#![allow(clippy::inline_always)] // code of the widest vectors

use pulp::Simd;

/// Elements that may be read behind the last position.
pub(super) const SLACK: usize = 64;

/// Most rows of a block of results.
pub(super) const MOST_ROWS: usize = 8;

/// Rows of a block of results that fit the registers, with three vectors each.
#[inline(always)]
pub(super) fn rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MOST_ROWS } else { 4 }
}

/// One block of `M` rows and `N` vectors from `position` on.
#[inline(always)]
fn block<S: Simd, const M: usize, const N: usize>(simd: S, sums: &Sums<'_>, position: usize, result: &mut [f32]) {
    let width = N * S::F32_LANES;
    let mut totals = [[simd.splat_f32s(0.0); N]; M];
    if !sums.bias.is_empty() {
        for (total, &bias) in totals.iter_mut().zip(sums.bias) {
            *total = [simd.splat_f32s(bias); N];
        }
    }
    let staged = &sums.staged[position..];
    for (weights, &offset) in sums.weights.as_chunks::<M>().0.iter().zip(sums.offsets) {
        let values = S::as_simd_f32s(&staged[offset..][..width]).0;
        let values: [S::f32s; N] = std::array::from_fn(|n| values[n]);
        for (total, &weight) in totals.iter_mut().zip(weights) {
            let weight = simd.splat_f32s(weight);
            for (total, &value) in total.iter_mut().zip(&values) {
                *total = simd.mul_add_e_f32s(weight, value, *total);
            }
        }
    }
    for (row, total) in totals.iter().enumerate() {
        let result = S::as_mut_simd_f32s(&mut result[row * sums.pitch + position..][..width]).0;
        result.copy_from_slice(total);
    }
}

/// Rows of results: `result[m, q] = bias[m] + Σ_k weights[k, m] · staged[offsets[k] + q]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums<'a> {
    /// One number a row, or none.
    pub bias: &'a [f32],
    pub weights: &'a [f32],
    pub offsets: &'a [usize],
    /// Has [`SLACK`] elements more than are needed.
    pub staged: &'a [f32],
    pub positions: usize,
    /// Distance of the rows of the result, at least the positions and [`SLACK`].
    pub pitch: usize,
}

#[inline(always)]
fn row_block<S: Simd, const M: usize>(simd: S, sums: &Sums<'_>, result: &mut [f32]) {
    let lanes = S::F32_LANES;
    let mut position = 0;
    while position < sums.positions {
        match (sums.positions - position).div_ceil(lanes) {
            1 => block::<S, M, 1>(simd, sums, position, result),
            2 | 4 => {
                block::<S, M, 2>(simd, sums, position, result);
                position += lanes;
            }
            _ => {
                block::<S, M, 3>(simd, sums, position, result);
                position += 2 * lanes;
            }
        }
        position += lanes;
    }
}

impl Sums<'_> {
    /// Computes so many rows.
    #[inline(always)]
    pub fn compute<S: Simd>(&self, simd: S, rows: usize, result: &mut [f32]) {
        match rows {
            1 => row_block::<S, 1>(simd, self, result),
            2 => row_block::<S, 2>(simd, self, result),
            3 => row_block::<S, 3>(simd, self, result),
            4 => row_block::<S, 4>(simd, self, result),
            5 => row_block::<S, 5>(simd, self, result),
            6 => row_block::<S, 6>(simd, self, result),
            7 => row_block::<S, 7>(simd, self, result),
            _ => row_block::<S, 8>(simd, self, result),
        }
    }
}

/// Rows and columns of a block of dot products that fit the registers.
#[inline(always)]
pub(super) fn dots_at_once<S: Simd>() -> (usize, usize) {
    if S::REGISTER_COUNT >= 32 { (4, 6) } else { (4, 3) }
}

/// Dot products: `sums[m · pitch + k] += Σ_q rows[m][q] · columns[k][q]`, `q` below `count`, a multiple of the lanes.
#[inline(always)]
fn dot_block<S: Simd, const M: usize, const N: usize>(
    simd: S,
    rows: (&[f32], usize),
    columns: (&[f32], &[usize]),
    count: usize,
    sums: &mut [f32],
    pitch: usize,
) {
    let rows: [&[S::f32s]; M] = std::array::from_fn(|m| S::as_simd_f32s(&rows.0[m * rows.1..][..count]).0);
    let columns: [&[S::f32s]; N] = std::array::from_fn(|n| S::as_simd_f32s(&columns.0[columns.1[n]..][..count]).0);
    let mut totals = [[simd.splat_f32s(0.0); N]; M];
    for step in 0..count / S::F32_LANES {
        let values: [S::f32s; N] = std::array::from_fn(|n| columns[n][step]);
        for (total, row) in totals.iter_mut().zip(&rows) {
            let weight = row[step];
            for (total, &value) in total.iter_mut().zip(&values) {
                *total = simd.mul_add_e_f32s(weight, value, *total);
            }
        }
    }
    for (m, total) in totals.iter().enumerate() {
        for (sum, &total) in sums[m * pitch..][..N].iter_mut().zip(total) {
            *sum += simd.reduce_sum_f32s(total);
        }
    }
}

/// `sums[m · pitch + k] += Σ_q rows[m · row_pitch + q] · columns[offsets[k] + q]` for `q` below `count`.
#[inline(always)]
pub(super) fn dots<S: Simd>(
    simd: S,
    (row_count, rows): (usize, (&[f32], usize)),
    columns: (&[f32], &[usize]),
    count: usize,
    sums: &mut [f32],
    pitch: usize,
) {
    macro_rules! blocks {
        ($($m:literal)*; $n:tt) => { match row_count { $($m => blocks!(@ $m $n),)* _ => unreachable!("rows") } };
        (@ $m:literal [$($n:literal)*]) => {
            match columns.1.len() {
                $($n => dot_block::<S, $m, $n>(simd, rows, columns, count, sums, pitch),)*
                _ => unreachable!("columns"),
            }
        };
    }
    blocks!(1 2 3 4; [1 2 3 4 5 6]);
}
