//! Normal equations of a linear regression, summed up from samples, and their solution.

use slimnet_engine::Threads;
use slimnet_engine::kernels::matrix::{Matrix, multiply};

/// Σ over samples of `[x, 1]ᵀ · [x, 1, r]`, for features x and what is to be explained by them, r. Both are counted
/// from an origin near their means: where they vary little beside their size, differences of large sums would lose all
/// digits.
#[derive(Debug)]
pub(super) struct Equations {
    features: usize,
    outputs: usize,
    /// `[features + 1, features + 1 + outputs]`.
    products: Vec<f64>,
    /// Σ r².
    squares: f64,
    /// What features, the 1 and r are counted from: 0 for the 1. Empty until there are samples.
    origin: Vec<f32>,
    /// Scratch of `products`.
    part: Vec<f32>,
}

/// The least of Σ ‖r − W·x − b‖² + λ ‖W‖².
#[derive(Debug)]
pub(super) struct Solution {
    /// `[outputs, features]`.
    pub weights: Vec<f64>,
    /// One an output; 0 if none were asked for.
    pub offsets: Vec<f64>,
    /// Σ r².
    pub before: f64,
    /// Σ ‖r − W·x − b‖².
    pub after: f64,
}

/// Largest multiple of the mean of the diagonal that is tried where a smaller one is not enough to solve the
/// equations.
const MOST_RIDGE: f64 = 1.0;

/// The least of them that is tried after 0.
const LEAST_RIDGE: f64 = 1e-7;

impl Equations {
    pub fn new(features: usize, outputs: usize) -> Self {
        let length = (features + 1) * (features + 1 + outputs);
        Self { features, outputs, products: vec![0.0; length], squares: 0.0, origin: Vec::new(), part: Vec::new() }
    }

    /// Elements of a sample as [`Self::add`] takes them.
    pub fn width(&self) -> usize {
        self.features + 1 + self.outputs
    }

    /// Adds samples `[count, features + 1 + outputs]`, each x, 1, r, and changes them. Products are summed in `f32`
    /// within a call, in `f64` over calls; the same for any number of threads.
    pub fn add(&mut self, samples: &mut [f32], threads: &Threads) {
        let (width, rows) = (self.width(), self.features + 1);
        let count = samples.len() / width;
        if self.origin.is_empty() && count > 0 {
            let mean = |column: usize| samples.iter().skip(column).step_by(width).sum::<f32>() / count as f32;
            self.origin = (0..width).map(|column| if column == self.features { 0.0 } else { mean(column) }).collect();
        }
        for sample in samples.chunks_exact_mut(width) {
            sample.iter_mut().zip(&self.origin).for_each(|(value, origin)| *value -= origin);
        }
        self.part.resize(self.products.len(), 0.0);
        let part = &mut self.part;
        let samples = &*samples;
        let features = Matrix::strided(samples, count, rows, width, 1).transposed();
        threads.run(|| multiply(part, features, Matrix::new(samples, count, width), 1.0, false));
        self.products.iter_mut().zip(&self.part).for_each(|(sum, part)| *sum += f64::from(*part));
        let squares = samples.chunks_exact(width).flat_map(|sample| &sample[rows..]);
        self.squares += squares.map(|&value| f64::from(value).powi(2)).sum::<f64>();
    }

    /// Whether every sum is a finite number.
    pub fn is_finite(&self) -> bool {
        self.squares.is_finite() && self.products.iter().all(|product| product.is_finite())
    }

    /// The sums counted from 0.
    fn counted_from_zero(mut self) -> Self {
        let (features, width) = (self.features, self.width());
        let sums = self.products.split_off(features * width);
        let count = sums[features];
        let origin = |column: usize| f64::from(self.origin[column]);
        let shift = |i: usize, j: usize| origin(i) * sums[j] + sums[i] * origin(j) + count * origin(i) * origin(j);
        for (i, row) in self.products.chunks_exact_mut(width).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, product)| *product += shift(i, j));
        }
        for output in features + 1..width {
            self.squares += shift(output, output);
        }
        self.products.extend(sums.iter().enumerate().map(|(column, sum)| sum + count * origin(column)));
        self.origin.fill(0.0);
        self
    }

    /// The solution with `ridge` times the mean of the diagonal as λ, or a larger multiple where that is needed to
    /// have one; with b or without. `None` if there are no samples or no multiple is enough.
    pub fn solve(self, ridge: f64, with_offset: bool) -> Option<Solution> {
        let (features, outputs, width) = (self.features, self.outputs, self.width());
        if self.origin.is_empty() {
            return None;
        }
        let Self { products: mut matrix, squares, origin, .. } =
            if with_offset { self } else { self.counted_from_zero() };
        let ones = matrix.split_off(features * width);
        let count = ones[features];
        // Means are taken out, which is solving for b first.
        let share = if with_offset { 1.0 / count } else { 0.0 };
        let sums = &ones[features + 1..];
        let mut right = vec![0.0; outputs * features];
        for (i, row) in matrix.chunks_exact_mut(width).enumerate() {
            let mean = row[features] * share;
            row.iter_mut().zip(&ones).for_each(|(product, sum)| *product -= mean * sum);
            (0..outputs).for_each(|output| right[output * features + i] = row[features + 1 + output]);
        }
        let ridge = factorise(&mut matrix, features, width, ridge)?;
        let mut weights = right.clone();
        let mut before = squares;
        let mut after = squares - sums.iter().map(|sum| sum * sum * share).sum::<f64>();
        let mut offsets = vec![0.0; outputs];
        let (origin, target) = origin.split_at(features + 1);
        for output in 0..outputs {
            let own = &mut weights[output * features..][..features];
            substitute(&matrix, width, own);
            // (G + λ)·w = p, so the squares shrink by 2 w·p − w·G·w = w·p + λ w·w.
            after -= dot(own, &right[output * features..][..features]) + ridge * dot(own, own);
            let target = f64::from(target[output]);
            before += 2.0 * target * sums[output] + count * target * target;
            let from_origin = own.iter().zip(origin).map(|(weight, &origin)| weight * f64::from(origin)).sum::<f64>();
            if with_offset {
                offsets[output] = target - from_origin + (sums[output] - dot(own, &ones[..features])) * share;
            }
        }
        Some(Solution { weights, offsets, before, after })
    }
}

/// Replaces the lower triangle of the first `n` columns of `[n, width]`, a symmetric matrix, by the Cholesky factor of
/// it and λ on the diagonal. Returns λ: `ridge` times the mean of the diagonal or, if that leaves no factor, the least
/// multiple in steps of ten that does; `None` if none does.
fn factorise(matrix: &mut [f64], n: usize, width: usize, ridge: f64) -> Option<f64> {
    let diagonal: Vec<f64> = (0..n).map(|i| matrix[i * width + i]).collect();
    let mean = diagonal.iter().sum::<f64>() / n.max(1) as f64;
    let unit = if mean > 0.0 { mean } else { 1.0 };
    let mut ridge = ridge;
    loop {
        (0..n).for_each(|i| matrix[i * width + i] = diagonal[i] + ridge * unit);
        if cholesky(matrix, n, width) {
            return Some(ridge * unit);
        }
        ridge = (ridge * 10.0).max(LEAST_RIDGE);
        if ridge > MOST_RIDGE {
            return None;
        }
        // The upper triangle is as it was.
        for i in 0..n {
            (0..i).for_each(|j| matrix[i * width + j] = matrix[j * width + i]);
        }
    }
}

/// Sum of products in eight lanes, which fill vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_lanes, a_rest) = a.as_chunks::<8>();
    let (b_lanes, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// Rows of a block of the factorisation: as many as stay in the cache while all rows below are updated with them.
const BLOCK: usize = 32;

/// Replaces the lower triangle of the first `n` columns of `[n, width]` by its Cholesky factor L, L·Lᵀ = A. `false` if
/// it is not positive definite.
fn cholesky(matrix: &mut [f64], n: usize, width: usize) -> bool {
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let (above, below) = matrix.split_at_mut(end * width);
        for i in start..end {
            let (known, row) = above.split_at_mut(i * width);
            for j in start..i {
                let other = &known[j * width..];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let pivot = row[i] - dot(&row[..i], &row[..i]);
            // NaN is no pivot either.
            if !(pivot > 0.0 && pivot.is_finite()) {
                return false;
            }
            row[i] = pivot.sqrt();
        }
        for row in below.chunks_exact_mut(width) {
            for j in start..end {
                let other = &above[j * width..];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
        }
    }
    true
}

/// Solves L·Lᵀ·x = b in place.
fn substitute(factor: &[f64], width: usize, x: &mut [f64]) {
    let n = x.len();
    for i in 0..n {
        let row = &factor[i * width..][..n];
        x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
    }
    for i in (0..n).rev() {
        let row = &factor[i * width..][..n];
        x[i] /= row[i];
        let own = x[i];
        x[..i].iter_mut().zip(row).for_each(|(x, factor)| *x -= own * factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimnet_graph::zoo::random::Stream;

    /// Samples of three features far from 0, the third next to a sum of the others, and two outputs of them.
    fn samples(count: usize) -> Vec<f32> {
        let stream = Stream::new(1, 1);
        let sample = |index: usize| {
            let normal = |which: u64| stream.normal(4 * index as u64 + which);
            let (a, b) = (300.0 + normal(0), normal(1));
            let c = a + b + 0.01 * normal(2);
            [a, b, c, 1.0, 2.0 * a - b + 5.0 + 0.1 * normal(3), c - 400.0].map(|value| value as f32)
        };
        (0..count).flat_map(sample).collect()
    }

    fn error(samples: &[f32], weights: &[f64], offsets: &[f64]) -> f64 {
        let residual = |sample: &[f32], output: usize| {
            let sum: f64 = (0..3).map(|i| weights[3 * output + i] * f64::from(sample[i])).sum();
            (f64::from(sample[4 + output]) - sum - offsets[output]).powi(2)
        };
        samples.chunks_exact(6).map(|sample| residual(sample, 0) + residual(sample, 1)).sum()
    }

    #[test]
    fn solutions_are_least_and_errors_true() {
        let threads = Threads::new(1).unwrap();
        let samples = samples(500);
        for with_offset in [true, false] {
            let mut equations = Equations::new(3, 2);
            for part in samples.chunks(6 * 130) {
                equations.add(&mut part.to_vec(), &threads);
            }
            assert!(equations.is_finite());
            let found = equations.solve(0.0, with_offset).unwrap();
            assert_eq!(found.offsets.iter().all(|&offset| offset == 0.0), !with_offset);
            let (before, after) =
                (error(&samples, &[0.0; 6], &[0.0; 2]), error(&samples, &found.weights, &found.offsets));
            assert!((found.before / before - 1.0).abs() < 1e-4, "{} {before}", found.before);
            assert!((found.after - after).abs() < 0.01 * after + 1e-2, "{} {after}", found.after);
            // Anything else is worse.
            for index in 0..6 {
                let mut other = found.weights.clone();
                other[index] += 1e-2;
                assert!(error(&samples, &other, &found.offsets) > after, "{with_offset} {index}");
            }
        }
    }

    #[test]
    fn nothing_follows_from_nothing() {
        assert!(Equations::new(2, 1).solve(1e-3, true).is_none());
        // Features that never vary say nothing; the mean of what is to be explained is explained by b.
        let mut equations = Equations::new(1, 1);
        equations.add(&mut [3.0, 1.0, 5.0, 3.0, 1.0, 7.0], &Threads::new(1).unwrap());
        let found = equations.solve(0.0, true).unwrap();
        assert_eq!((found.weights[0], found.offsets[0], found.after), (0.0, 6.0, 2.0));
    }

    #[test]
    fn a_singular_matrix_gets_the_ridge_that_it_needs() {
        // Rank 1, and a column that is none of the matrix.
        let matrix = [1.0, 2.0, 7.0, 2.0, 4.0, 7.0];
        let mut factor = matrix;
        let ridge = factorise(&mut factor, 2, 3, 0.0).unwrap();
        assert!(ridge > 0.0 && ridge < 1e-5, "{ridge}");
        let found = factor[3] * factor[3] + factor[4] * factor[4];
        assert!((found - 4.0 - ridge).abs() < 1e-9 && factor[5] == 7.0, "{factor:?}");
        assert!(factorise(&mut [-1.0], 1, 1, 0.0).is_none());
    }

    #[test]
    fn factors_are_those_of_the_matrix() {
        for n in [1, 5, 31, 32, 33, 100] {
            let stream = Stream::new(2, n as u64);
            let root: Vec<f64> = (0..n * n).map(|index| stream.normal(index as u64)).collect();
            let product = |i: usize, j: usize| dot(&root[i * n..][..n], &root[j * n..][..n]) + f64::from(i == j);
            let matrix: Vec<f64> = (0..n * n).map(|index| product(index / n, index % n)).collect();
            let mut factor = matrix.clone();
            assert!(cholesky(&mut factor, n, n));
            let right: Vec<f64> = (0..n).map(|index| stream.normal(1 << 40 | index as u64)).collect();
            let mut x = right.clone();
            substitute(&factor, n, &mut x);
            for i in 0..n {
                assert!((dot(&matrix[i * n..][..n], &x) - right[i]).abs() < 1e-7, "{n} {i}");
            }
        }
        assert!(!cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2, 2));
        assert!(!cholesky(&mut [f64::NAN], 1, 1));
    }
}
