//! Optimisers: how parameters follow their gradients. Parameters, gradients and state are flat vectors.

pub mod schedule;

use rayon::prelude::*;

pub use schedule::Schedule;

/// Numbers smaller than this are written as 0: denormal numbers would slow every later product.
const LEAST: f32 = 1e-30;

/// Elements of a part of the work.
const PART: usize = 16 * 1024;

/// How parameters are moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent. g ← g + decay · p; v ← momentum · v + g; p ← p − rate · v, or with Nesterov's look ahead
    /// p ← p − rate · (g + momentum · v) (Sutskever et al. 2013, in the form that is usual today).
    Sgd {
        /// What stays of the velocity.
        momentum: f32,
        /// Whether to look ahead.
        nesterov: bool,
    },
    /// Adam with decay apart from the gradient. m ← β₁ m + (1−β₁) g; v ← β₂ v + (1−β₂) g²;
    /// p ← p − rate · (decay · p + m̂ / (√v̂ + ε)), m̂ and v̂ corrected for their start at 0 (Loshchilov and Hutter 2019).
    AdamW {
        /// What stays of the mean.
        beta1: f32,
        /// What stays of the mean square.
        beta2: f32,
        /// Added to the root of the mean square.
        epsilon: f32,
    },
}

impl Rule {
    /// SGD with a momentum of 0.9.
    pub const SGD: Self = Self::Sgd { momentum: 0.9, nesterov: false };
    /// `AdamW` as its authors set it.
    pub const ADAM_W: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

/// An optimiser and its state.
#[derive(Debug, Clone)]
pub struct Optimizer {
    rule: Rule,
    /// Decay of each part of the vector: (where it ends, decay).
    decays: Vec<(usize, f32)>,
    state: Vec<Vec<f32>>,
    steps: u64,
}

impl Optimizer {
    /// For a vector of parameters that consists of pieces: (length, decay).
    pub fn new(rule: Rule, pieces: impl IntoIterator<Item = (usize, f32)>) -> Self {
        let mut end = 0;
        let decays: Vec<_> = pieces
            .into_iter()
            .map(|(length, decay)| {
                end += length;
                (end, decay)
            })
            .collect();
        let vectors = match rule {
            Rule::Sgd { momentum: 0.0, .. } => 0,
            Rule::Sgd { .. } => 1,
            Rule::AdamW { .. } => 2,
        };
        Self { rule, decays, state: vec![vec![0.0; end]; vectors], steps: 0 }
    }

    /// How many steps it has made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Its vectors, to be saved.
    pub fn state(&self) -> &[Vec<f32>] {
        &self.state
    }

    /// Goes on from a saved state; `false` if that is of another optimiser or network.
    pub fn restore(&mut self, steps: u64, state: Vec<Vec<f32>>) -> bool {
        let fits = state.len() == self.state.len() && state.iter().zip(&self.state).all(|(a, b)| a.len() == b.len());
        if fits {
            (self.steps, self.state) = (steps, state);
        }
        fits
    }

    /// Moves the parameters; the gradients are taken times `factor`.
    ///
    /// # Panics
    /// If the vectors are not as long as the pieces.
    pub fn step(&mut self, parameters: &mut [f32], gradients: &[f32], rate: f32, factor: f32) {
        let length = self.decays.last().map_or(0, |(end, _)| *end);
        assert!(parameters.len() == length && gradients.len() == length, "vectors as long as the pieces");
        self.steps += 1;
        let steps = self.steps as i32;
        let (rule, decays) = (self.rule, &self.decays);
        let mut empty = [Vec::new(), Vec::new()];
        let [first, second] = &mut empty;
        let (first, second) = match self.state.as_mut_slice() {
            [a, b, ..] => (a, b),
            [a] => (a, second),
            [] => (first, second),
        };
        let pieces = parameters.par_chunks_mut(PART).zip(gradients.par_chunks(PART)).enumerate();
        match rule {
            Rule::Sgd { momentum: 0.0, .. } => pieces.for_each(|(part, (p, g))| {
                each_decay(decays, part, p.len(), |range, decay| {
                    for (p, g) in p[range.clone()].iter_mut().zip(&g[range]) {
                        *p = flushed(*p - rate * (factor * g + decay * *p));
                    }
                });
            }),
            Rule::Sgd { momentum, nesterov } => {
                pieces.zip(first.par_chunks_mut(PART)).for_each(|((part, (p, g)), v)| {
                    each_decay(decays, part, p.len(), |range, decay| {
                        let vectors = p[range.clone()].iter_mut().zip(&g[range.clone()]).zip(&mut v[range]);
                        for ((p, g), v) in vectors {
                            let g = factor * g + decay * *p;
                            *v = flushed(momentum * *v + g);
                            let step = if nesterov { g + momentum * *v } else { *v };
                            *p = flushed(*p - rate * step);
                        }
                    });
                });
            }
            Rule::AdamW { beta1, beta2, epsilon } => {
                let (whole1, whole2) = (1.0 - beta1.powi(steps), 1.0 - beta2.powi(steps));
                let state = first.par_chunks_mut(PART).zip(second.par_chunks_mut(PART));
                pieces.zip(state).for_each(|((part, (p, g)), (m, v))| {
                    each_decay(decays, part, p.len(), |range, decay| {
                        let moments = m[range.clone()].iter_mut().zip(&mut v[range.clone()]);
                        for ((p, g), (m, v)) in p[range.clone()].iter_mut().zip(&g[range]).zip(moments) {
                            let g = factor * g;
                            *m = flushed(beta1 * *m + (1.0 - beta1) * g);
                            *v = flushed(beta2 * *v + (1.0 - beta2) * g * g);
                            let step = (*m / whole1) / ((*v / whole2).sqrt() + epsilon);
                            *p = flushed(*p - rate * (decay * *p + step));
                        }
                    });
                });
            }
        }
    }
}

/// 0 for what is too small to matter.
fn flushed(value: f32) -> f32 {
    if value.abs() < LEAST { 0.0 } else { value }
}

/// Calls `work` on the stretches of a part that have one decay.
fn each_decay(decays: &[(usize, f32)], part: usize, length: usize, mut work: impl FnMut(std::ops::Range<usize>, f32)) {
    let start = part * PART;
    let mut from = start;
    let mut piece = decays.partition_point(|(end, _)| *end <= start);
    while from < start + length {
        let (end, decay) = decays[piece];
        let to = end.min(start + length);
        work(from - start..to - start, decay);
        from = to;
        piece += 1;
    }
}

/// √Σ g², the same on any number of threads.
pub fn norm(gradients: &[f32]) -> f64 {
    squares(gradients).sqrt()
}

/// Σ g², halves by themselves: which halves depends on the length alone.
fn squares(values: &[f32]) -> f64 {
    if values.len() <= PART {
        return values.chunks(256).map(|chunk| f64::from(chunk.iter().map(|g| g * g).sum::<f32>())).sum();
    }
    let (left, right) = values.split_at(values.len() / 2);
    let (left, right) = rayon::join(|| squares(left), || squares(right));
    left + right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sgd_follows_its_equations() {
        for nesterov in [false, true] {
            let mut optimizer = Optimizer::new(Rule::Sgd { momentum: 0.5, nesterov }, [(1, 0.1), (1, 0.0)]);
            let (mut p, mut v) = ([1.0f32, 2.0], [0f32; 2]);
            let mut found = p.to_vec();
            for step in 0..3 {
                let g = [0.5 + step as f32, -1.0];
                optimizer.step(&mut found, &[2.0 * g[0], 2.0 * g[1]], 0.1, 0.5);
                for i in 0..2 {
                    let g = g[i] + if i == 0 { 0.1 * p[i] } else { 0.0 };
                    v[i] = 0.5 * v[i] + g;
                    p[i] -= 0.1 * if nesterov { g + 0.5 * v[i] } else { v[i] };
                }
                assert!((found[0] - p[0]).abs() < 1e-6 && (found[1] - p[1]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn adamw_follows_its_equations() {
        let mut optimizer = Optimizer::new(Rule::ADAM_W, [(1, 0.01)]);
        let (mut p, mut m, mut v) = (1f64, 0f64, 0f64);
        let mut found = [1f32];
        for step in 1..=4 {
            let g = 0.3 * f64::from(step);
            optimizer.step(&mut found, &[g as f32], 0.1, 1.0);
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (mean, square) = (m / (1.0 - 0.9f64.powi(step)), v / (1.0 - 0.999f64.powi(step)));
            p -= 0.1 * (0.01 * p + mean / (square.sqrt() + 1e-8));
            assert!((f64::from(found[0]) - p).abs() < 1e-5);
        }
    }

    #[test]
    fn long_vectors_change_nothing_and_small_numbers_vanish() {
        let length = 3 * PART + 77;
        let pieces = [(100, 0.1), (2 * PART, 0.2), (length - 100 - 2 * PART, 0.0)];
        let start: Vec<f32> = (0..length).map(|i| (i % 13) as f32 - 6.0).collect();
        let gradients: Vec<f32> = (0..length).map(|i| (i % 7) as f32 - 3.0).collect();
        for rule in [Rule::SGD, Rule::ADAM_W, Rule::Sgd { momentum: 0.0, nesterov: false }] {
            let mut whole = start.clone();
            Optimizer::new(rule, pieces).step(&mut whole, &gradients, 0.1, 1.0);
            for (index, decay) in [(5, 0.1), (PART + 3, 0.2), (length - 1, 0.0)] {
                let mut one = [start[index]];
                Optimizer::new(rule, [(1, decay)]).step(&mut one, &[gradients[index]], 0.1, 1.0);
                assert_eq!(one[0], whole[index]);
            }
        }
        let mut tiny = [1e-31f32];
        Optimizer::new(Rule::SGD, [(1, 0.0)]).step(&mut tiny, &[0.0], 0.1, 1.0);
        assert_eq!(tiny[0], 0.0);
        assert!((norm(&[3.0, 4.0]) - 5.0).abs() < 1e-12);
    }

    #[test]
    fn a_saved_state_goes_on() {
        let mut a = Optimizer::new(Rule::ADAM_W, [(2, 0.0)]);
        let mut p = [1f32, 2.0];
        a.step(&mut p, &[0.1, 0.2], 0.1, 1.0);
        let mut b = Optimizer::new(Rule::ADAM_W, [(2, 0.0)]);
        assert!(b.restore(a.steps(), a.state().to_vec()));
        let mut q = p;
        a.step(&mut p, &[0.1, 0.2], 0.1, 1.0);
        b.step(&mut q, &[0.1, 0.2], 0.1, 1.0);
        assert_eq!(p, q);
        assert!(!Optimizer::new(Rule::SGD, [(2, 0.0)]).restore(1, a.state().to_vec()));
    }
}
