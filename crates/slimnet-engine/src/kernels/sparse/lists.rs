//! Lists of weights that are not zero, and sums of rows of a source that they are multiplied with.
//!
//! Each row of the result has the list of its weights with the places where the source is read for them; a block of
//! vectors of positions stays in registers over the whole list. Rows whose weights lie in the same places may be taken
//! four at a time, so that one vector of the source serves four sums.
#![allow(clippy::inline_always)] // code of the widest vectors

use std::ops::Range;

use pulp::Simd;

use super::finish::clamp;
use super::is_zero;

/// Weights of `M` rows that are multiplied with the same vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<const M: usize> {
    weights: [f32; M],
    /// Where in the source its first position is read.
    offset: u32,
}

/// The weights of rows, `M` of them together.
#[derive(Debug, Clone)]
pub(super) struct Lists<const M: usize> {
    entries: Vec<Entry<M>>,
    /// For each turn, where the list of each block of rows begins, and where the last ends.
    limits: Vec<usize>,
    /// Entries of `limits` of a turn.
    limits_a_turn: usize,
}

impl<const M: usize> Lists<M> {
    /// The lists of a matrix `[rows, inner]`, `rows` a multiple of `M`, in turns of so many columns.
    fn new(weights: &[f32], inner: usize, columns_a_turn: usize, offset: impl Fn(usize) -> u32) -> Self {
        let mut entries = Vec::new();
        let mut limits = Vec::new();
        for first in (0..inner).step_by(columns_a_turn) {
            limits.push(entries.len());
            for rows in weights.chunks_exact(M * inner) {
                for column in first..inner.min(first + columns_a_turn) {
                    let weights: [f32; M] = std::array::from_fn(|m| rows[m * inner + column]);
                    if !weights.iter().all(|&weight| is_zero(weight)) {
                        let weights = weights.map(|weight| if is_zero(weight) { 0.0 } else { weight });
                        entries.push(Entry { weights, offset: offset(column) });
                    }
                }
                limits.push(entries.len());
            }
        }
        Self { entries, limits, limits_a_turn: weights.len() / (M * inner) + 1 }
    }
}

/// The lists of a matrix, with as many rows together as is fastest.
#[derive(Debug, Clone)]
pub(super) enum Packed {
    One(Lists<1>),
    Four(Lists<4>),
}

/// Weights that are not zero, and columns in which one of four rows following each other has such a weight, times four.
fn counts(weights: &[f32], inner: usize) -> (usize, usize) {
    let one = weights.iter().filter(|&&weight| !is_zero(weight)).count();
    let of_four = |rows: &[f32]| (0..inner).filter(|k| (0..4).any(|m| !is_zero(rows[m * inner + k]))).count();
    (one, weights.chunks_exact(4 * inner).map(of_four).sum::<usize>() * 4)
}

/// How much faster a multiplication is with four rows together.
const GAIN_OF_FOUR: f64 = 1.4;

impl Packed {
    /// The lists of a matrix `[rows, inner]`, in turns of so many columns; `offset` says where the source of a column is
    /// read.
    pub fn new(weights: &[f32], inner: usize, columns_a_turn: usize, offset: impl Fn(usize) -> u32) -> Self {
        let (one, four) = counts(weights, inner);
        if (weights.len() / inner).is_multiple_of(4) && (four as f64) < one as f64 * GAIN_OF_FOUR {
            Self::Four(Lists::new(weights, inner, columns_a_turn, offset))
        } else {
            Self::One(Lists::new(weights, inner, columns_a_turn, offset))
        }
    }

    /// Bytes that the lists take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::One(lists) => size_of_val(lists.entries.as_slice()) + size_of_val(lists.limits.as_slice()),
            Self::Four(lists) => size_of_val(lists.entries.as_slice()) + size_of_val(lists.limits.as_slice()),
        }
    }

    /// Rows that are taken together.
    pub fn together(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Four(_) => 4,
        }
    }

    /// Multiplications for one position.
    pub fn work(&self) -> usize {
        match self {
            Self::One(lists) => lists.entries.len(),
            Self::Four(lists) => 4 * lists.entries.len(),
        }
    }

    /// How many turns there are.
    pub fn turns(&self) -> usize {
        match self {
            Self::One(lists) => lists.limits.len() / lists.limits_a_turn,
            Self::Four(lists) => lists.limits.len() / lists.limits_a_turn,
        }
    }

    /// Computes the sums of some rows, which begin and end where blocks do.
    #[inline(always)]
    pub fn compute<S: Simd>(&self, simd: S, rows: Range<usize>, band: &mut Band<'_>) {
        match self {
            Self::One(lists) => compute(simd, lists, rows, band),
            Self::Four(lists) => compute(simd, lists, rows, band),
        }
    }
}

/// Positions that are computed with the same lists: `result[r · pitch + q] = finish(bias[r] + Σ weight · source[offset +
/// q])`, for `q` below `positions`. The columns of the weights may be taken in turns, so that what is read in one stays in
/// the innermost cache; sums wait in the result in between.
#[derive(Debug)]
pub(super) struct Band<'a> {
    /// Which turn this is.
    pub turn: usize,
    /// Whether sums begin with the bias and what they are finished with, or are continued.
    pub is_first: bool,
    pub is_last: bool,
    /// What is read at the offsets. If there are fewer positions than a vector has, or several turns and positions that
    /// do not fill vectors, it has [`SLACK`] elements more.
    pub source: &'a [f32],
    pub positions: usize,
    /// One number a row, or none.
    pub bias: &'a [f32],
    /// What is added, at the same places as the result.
    pub addend: Option<&'a [f32]>,
    pub clamp: Option<(f32, f32)>,
    pub result: &'a mut [f32],
    /// Distance of the rows of result and addend.
    pub pitch: usize,
}

/// Elements of a vector of the widest kind.
pub(super) const SLACK: usize = 16;

/// Vectors of a block that fit the registers.
#[inline(always)]
fn most_vectors<S: Simd>(rows: usize) -> usize {
    match (S::REGISTER_COUNT >= 32, rows) {
        (true, 1) => 16,
        (true, _) => 6,
        (false, 1) => 12,
        (false, _) => 3,
    }
}

#[inline(always)]
fn compute<S: Simd, const M: usize>(simd: S, lists: &Lists<M>, rows: Range<usize>, band: &mut Band<'_>) {
    let lanes = S::F32_LANES;
    if band.positions < lanes {
        return columns::<S, M, 1, 4, true>(simd, lists, rows, band, 0);
    }
    let vectors = band.positions / lanes;
    let blocks = vectors.div_ceil(most_vectors::<S>(M));
    let mut position = 0;
    for block in 0..blocks {
        let count = (block + 1) * vectors / blocks - block * vectors / blocks;
        macro_rules! sizes {
            ($($n:literal $sets:literal)*) => {
                match count {
                    // The guard keeps blocks out of the code that do not fit the registers.
                    $($n if $n <= most_vectors::<S>(M) => {
                        columns::<S, M, $n, $sets, false>(simd, lists, rows.clone(), band, position);
                    })*
                    _ => unreachable!("blocks have at most as many vectors as fit"),
                }
            };
        }
        if M == 1 {
            sizes!(1 4 2 4 3 2 4 2 5 2 6 1 7 1 8 1 9 1 10 1 11 1 12 1 13 1 14 1 15 1 16 1);
        } else {
            sizes!(1 2 2 1 3 1 4 1 5 1 6 1);
        }
        position += count * lanes;
    }
    if position == band.positions {
    } else if band.is_first && band.is_last {
        // The last vector may overlap the one before, whose elements it computes again.
        columns::<S, M, 1, 4, false>(simd, lists, rows, band, band.positions - lanes);
    } else {
        // Of sums that are continued, none must be computed twice.
        columns::<S, M, 1, 4, true>(simd, lists, rows, band, position);
    }
}

/// Adds the products of one entry.
#[inline(always)]
fn step<S: Simd, const M: usize, const N: usize>(
    simd: S,
    entry: &Entry<M>,
    source: &[f32],
    totals: &mut [[S::f32s; N]; M],
) {
    let values = S::as_simd_f32s(&source[entry.offset as usize..][..N * S::F32_LANES]).0;
    for (total, &weight) in totals.iter_mut().zip(&entry.weights) {
        let weight = simd.splat_f32s(weight);
        for (total, &value) in total.iter_mut().zip(values) {
            *total = simd.mul_add_e_f32s(weight, value, *total);
        }
    }
}

/// Adds the products of a list. Sums are passed as values: those whose address is known outside of the loop would be
/// stored in each turn of it.
#[inline(always)]
fn accumulate<S: Simd, const M: usize, const N: usize, const SETS: usize>(
    simd: S,
    entries: &[Entry<M>],
    source: &[f32],
    mut totals: [[[S::f32s; N]; M]; SETS],
) -> [[[S::f32s; N]; M]; SETS] {
    let (whole, rest) = entries.as_chunks::<SETS>();
    for entries in whole {
        for (entry, totals) in entries.iter().zip(&mut totals) {
            step(simd, entry, source, totals);
        }
    }
    for entry in rest {
        step(simd, entry, source, &mut totals[0]);
    }
    totals
}

/// `N` vectors from `position` on of all rows. Entries are added up in `SETS` turns, so that additions need not wait for
/// each other. `PARTIAL` if fewer elements than a vector has are stored.
#[inline(always)]
fn columns<S: Simd, const M: usize, const N: usize, const SETS: usize, const PARTIAL: bool>(
    simd: S,
    lists: &Lists<M>,
    rows: Range<usize>,
    band: &mut Band<'_>,
    position: usize,
) {
    let width = if PARTIAL { band.positions - position } else { N * S::F32_LANES };
    // A matrix of zeros alone has nothing to read.
    let source = &band.source[position.min(band.source.len())..];
    let limits = &lists.limits[band.turn * lists.limits_a_turn..][..lists.limits_a_turn];
    let limits = &limits[rows.start / M..=rows.end / M];
    for (block, limits) in limits.windows(2).enumerate() {
        let entries = &lists.entries[limits[0]..limits[1]];
        let mut totals = [[[simd.splat_f32s(0.0); N]; M]; SETS];
        if !band.is_first {
            for (row, total) in totals[0].iter_mut().enumerate() {
                let result = &band.result[(block * M + row) * band.pitch + position..][..width];
                if PARTIAL {
                    total[0] = simd.partial_load_f32s(result);
                } else {
                    total.iter_mut().zip(S::as_simd_f32s(result).0).for_each(|(total, &sum)| *total = sum);
                }
            }
        } else if !band.bias.is_empty() {
            for (total, &bias) in totals[0].iter_mut().zip(&band.bias[block * M..]) {
                *total = [simd.splat_f32s(bias); N];
            }
        }
        let totals = accumulate(simd, entries, source, totals);
        for (row, place) in (block * M..).take(M).map(|row| row * band.pitch + position).enumerate() {
            let mut sums: [S::f32s; N] = totals[0][row];
            for set in &totals[1..] {
                sums.iter_mut().zip(&set[row]).for_each(|(sum, &other)| *sum = simd.add_f32s(*sum, other));
            }
            if let Some(addend) = band.addend.filter(|_| band.is_last) {
                let addend = &addend[place..][..width];
                if PARTIAL {
                    sums[0] = simd.add_f32s(sums[0], simd.partial_load_f32s(addend));
                } else {
                    let addend = S::as_simd_f32s(addend).0;
                    sums.iter_mut().zip(addend).for_each(|(sum, &addend)| *sum = simd.add_f32s(*sum, addend));
                }
            }
            if band.is_last && band.clamp.is_some() {
                // In a loop: functions of arrays are not always compiled for the vectors.
                for sum in &mut sums {
                    *sum = clamp(simd, *sum, band.clamp);
                }
            }
            let result = &mut band.result[place..][..width];
            if PARTIAL {
                simd.partial_store_f32s(result, sums[0]);
            } else {
                S::as_mut_simd_f32s(result).0.iter_mut().zip(&sums).for_each(|(result, &sum)| *result = sum);
            }
        }
    }
}
