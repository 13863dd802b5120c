//! Products with a sparse matrix for one row, or a few: lanes over rows of the weights.
//!
//! Sixteen (or eight) rows of the weights are the lanes of a vector. A step takes from each of them its next weight that
//! is not zero, if the input that it is multiplied with lies in the step's window of a few vectors of inputs; inputs are
//! brought into the lanes by a permutation of registers, which is far quicker than a gather from memory. The window
//! follows the row that is the furthest behind. Rows are sorted by their number of weights, so that those of a slice
//! come to their end together.
#![allow(clippy::inline_always)] // code of the widest vectors

use pulp::Simd;
use rayon::prelude::*;

use super::is_zero;
use super::lookup::{Kind, Lookup, MOST_LANES, WINDOW, WithLookup, dispatch};

/// Steps that are taken in turns, so that additions need not wait for each other.
const TURNS: usize = 4;

/// Weights of a part of the work that are worth handing to another thread.
const WORTH_A_PART: usize = 1 << 18;

/// The weights.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    kind: Kind,
    inner: usize,
    lanes: usize,
    /// Where the steps of each slice begin, and where the last ends.
    limits: Vec<usize>,
    /// Where the window of a step begins.
    starts: Vec<u32>,
    /// For each step and lane, the place in the window, and the weight.
    places: Vec<u8>,
    weights: Vec<f32>,
    /// Where the sum of each row of the weights is.
    pub sums: Vec<u32>,
    slices_a_part: usize,
}

/// Asks for elements of a vector, and of a window.
struct Reach;

impl WithLookup for Reach {
    type Output = (usize, usize);

    fn with_lookup<S: Simd, L: Lookup<S>>(self, _: S, _: L) -> (usize, usize) {
        (S::F32_LANES, L::REACH)
    }
}

impl Windows {
    /// Bytes that weights and their places take.
    pub fn bytes(&self) -> usize {
        let numbers = size_of_val(self.limits.as_slice()) + size_of_val(self.weights.as_slice());
        numbers
            + size_of_val(self.starts.as_slice())
            + size_of_val(self.places.as_slice())
            + size_of_val(self.sums.as_slice())
    }

    /// The weights `[rows, inner]`.
    pub fn new(kind: Kind, weights: &[f32], rows: usize, inner: usize) -> Self {
        let (lanes, reach) = dispatch(kind, Reach);
        let row = |row: usize| {
            let row = weights[row * inner..][..inner].iter().enumerate();
            row.filter(|(_, weight)| !is_zero(**weight)).map(|(column, &weight)| (column, weight)).collect::<Vec<_>>()
        };
        let lists: Vec<_> = (0..rows).map(row).collect();
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(lists[row].len()));
        let mut sums = vec![0; rows];
        order.iter().enumerate().for_each(|(place, &row)| sums[row] = place as u32);
        let mut found = Self {
            kind,
            inner,
            lanes,
            limits: vec![0],
            starts: Vec::new(),
            places: Vec::new(),
            weights: Vec::new(),
            sums,
            slices_a_part: 0,
        };
        for rows in order.chunks(lanes) {
            found.slice(&rows.iter().map(|&row| lists[row].as_slice()).collect::<Vec<_>>(), reach);
        }
        let slices = found.limits.len() - 1;
        let parts = (found.weights.len() / WORTH_A_PART).clamp(1, super::MOST_PARTS);
        found.slices_a_part = slices.div_ceil(parts).max(1);
        found
    }

    /// Appends the steps of a slice.
    fn slice(&mut self, rows: &[&[(usize, f32)]], reach: usize) {
        let mut next = vec![0; rows.len()];
        loop {
            let pending = rows.iter().zip(&next).filter_map(|(row, &next)| row.get(next));
            let Some(first) = pending.map(|(column, _)| *column).min() else { break };
            let start = first.min(self.inner.saturating_sub(reach));
            self.starts.push(start as u32);
            for lane in 0..self.lanes {
                let entry = rows.get(lane).and_then(|row| row.get(next[lane]));
                let (place, weight) = match entry {
                    Some((column, weight)) if *column < start + reach => {
                        next[lane] += 1;
                        (column - start, *weight)
                    }
                    _ => (0, 0.0),
                };
                self.places.push(place as u8);
                self.weights.push(weight);
            }
        }
        while !self.starts.len().is_multiple_of(TURNS) {
            self.starts.push(0);
            self.places.extend(std::iter::repeat_n(0, self.lanes));
            self.weights.extend(std::iter::repeat_n(0.0, self.lanes));
        }
        self.limits.push(self.starts.len());
    }

    /// Steps times lanes: what a product costs.
    #[cfg(test)]
    pub fn work(&self) -> usize {
        self.weights.len()
    }

    /// Sums of one row of inputs, rounded up to whole vectors.
    pub fn padded(&self) -> usize {
        (self.limits.len() - 1) * self.lanes
    }

    /// Computes for each row of inputs the sums of all rows of the weights, in the order that [`Self::sums`] says.
    pub fn run(&self, inputs: &[f32], sums: &mut [f32]) {
        if self.padded() == 0 || inputs.is_empty() {
            return sums.fill(0.0);
        }
        for (inputs, sums) in inputs.chunks_exact(self.inner).zip(sums.chunks_exact_mut(self.padded())) {
            let length = self.slices_a_part * self.lanes;
            let part = |(index, sums): (usize, &mut [f32])| {
                let mut short = [0f32; WINDOW];
                let inputs = if self.inner < WINDOW {
                    short[..self.inner].copy_from_slice(inputs);
                    &short
                } else {
                    inputs
                };
                dispatch(self.kind, Part { of: self, first: index * self.slices_a_part, inputs, sums });
            };
            if length >= self.padded() {
                part((0, sums));
            } else {
                sums.par_chunks_mut(length).enumerate().for_each(part);
            }
        }
    }
}

/// The work of some slices.
struct Part<'a> {
    of: &'a Windows,
    first: usize,
    inputs: &'a [f32],
    sums: &'a mut [f32],
}

impl WithLookup for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_lookup<S: Simd, L: Lookup<S>>(self, simd: S, lookup: L) {
        let Self { of, first, inputs, sums } = self;
        debug_assert!(S::F32_LANES <= MOST_LANES);
        let weights = S::as_simd_f32s(&of.weights).0;
        for (slice, sums) in S::as_mut_simd_f32s(sums).0.iter_mut().enumerate() {
            let steps = of.limits[first + slice]..of.limits[first + slice + 1];
            let starts = of.starts[steps.clone()].as_chunks::<TURNS>().0;
            let weights = weights[steps.clone()].as_chunks::<TURNS>().0;
            let places =
                of.places[steps.start * S::F32_LANES..steps.end * S::F32_LANES].chunks_exact(TURNS * S::F32_LANES);
            let mut totals = [simd.splat_f32s(0.0); TURNS];
            for ((starts, weights), places) in starts.iter().zip(weights).zip(places) {
                for turn in 0..TURNS {
                    let table = &inputs[starts[turn] as usize..][..L::REACH];
                    let found = lookup.look_up(simd, table, &places[turn * S::F32_LANES..][..S::F32_LANES]);
                    totals[turn] = simd.mul_add_e_f32s(weights[turn], found, totals[turn]);
                }
            }
            let [a, b, c, d] = totals;
            *sums = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
        }
    }
}
