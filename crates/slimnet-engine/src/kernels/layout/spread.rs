//! Adding up what the elements of an input were spread to: gradients of repeating and of padding with copies.

use rayon::prelude::*;

use super::walk::{MOST_AXES, PART};
use crate::kernels::vector::vectorized;

/// Where the places of an axis were spread to. Offsets of all axes are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spread {
    /// Place p to offset p · step.
    Step(usize),
    /// The only place to so many offsets, a step apart.
    Repeated { count: usize, step: usize },
    /// Place p to `offsets[starts[p]..starts[p + 1]]`.
    Many { starts: Vec<usize>, offsets: Vec<usize> },
}

/// An axis and where its places were spread to.
pub(super) type Axis = (usize, Spread);

/// Elements of a row that stand side by side where they were spread to.
#[derive(Debug, Clone, Copy)]
struct Run {
    target: usize,
    source: usize,
    length: usize,
}

/// How a row, the last axis, is added up.
#[derive(Debug)]
enum Row {
    Step(usize),
    Repeated { count: usize, step: usize },
    Runs(Vec<Run>),
}

/// For each element of an output the sum of elements of an input.
#[derive(Debug)]
pub(super) struct Sums {
    outer: Vec<Axis>,
    row: Row,
    width: usize,
    /// Elements of the output of a part of the work.
    part: usize,
    elements: usize,
}

impl Sums {
    /// Sums with these axes, of an input of `spread` elements. `None` if there are too many axes.
    pub fn new(axes: Vec<Axis>, spread: usize) -> Option<Self> {
        let elements: usize = axes.iter().map(|(length, _)| length).product();
        let mut joined = Vec::<Axis>::new();
        for (length, spread) in axes {
            if length == 1 && matches!(spread, Spread::Step(_)) {
                continue;
            }
            // An axis continues the one before it if that goes on where this one ends.
            match (joined.last_mut(), &spread) {
                (Some((outer, Spread::Step(far))), Spread::Step(near)) if *far == near * length => {
                    *outer *= length;
                    *far = *near;
                }
                (Some((_, Spread::Repeated { count, step: far })), Spread::Repeated { count: inner, step: near })
                    if *far == near * inner =>
                {
                    *count *= inner;
                    *far = *near;
                }
                _ => joined.push((length, spread)),
            }
        }
        let (width, last) = joined.pop().unwrap_or((1, Spread::Step(1)));
        if joined.len() >= MOST_AXES {
            return None;
        }
        let row = match last {
            Spread::Step(step) => Row::Step(step),
            Spread::Repeated { count, step } => Row::Repeated { count, step },
            Spread::Many { starts, offsets } => Row::Runs(runs(&starts, &offsets)),
        };
        // As much work as elements are added up, in whole rows if there are several.
        let part = (PART * elements.max(1)).div_ceil(spread.max(1)).max(64);
        let part = if width < part { part / width.max(1) * width } else { part };
        Some(Self { outer: joined, row, width, part: part.max(1), elements })
    }

    /// Elements of the output.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Adds up.
    pub fn add(&self, dy: &[f32], dx: &mut [f32]) {
        if dx.len() <= self.part {
            return self.piece(dy, 0, dx);
        }
        dx.par_chunks_mut(self.part).enumerate().for_each(|(index, dx)| self.piece(dy, index * self.part, dx));
    }

    fn piece(&self, dy: &[f32], first: usize, mut dx: &mut [f32]) {
        dx.fill(0.0);
        let mut done = first;
        while !dx.is_empty() {
            let (row, from) = (done / self.width, done % self.width);
            let mut places = [0; MOST_AXES];
            let mut rest = row;
            for (place, (length, _)) in places.iter_mut().zip(&self.outer).rev() {
                *place = rest % length;
                rest /= length;
            }
            let (row, left) = dx.split_at_mut((self.width - from).min(dx.len()));
            done += row.len();
            self.outer(dy, 0, &places, from, row, 0);
            dx = left;
        }
    }

    /// Adds all rows that a row was spread to, from axis `axis` on.
    fn outer(&self, dy: &[f32], base: usize, places: &[usize], from: usize, dx: &mut [f32], axis: usize) {
        let Some((_, spread)) = self.outer.get(axis) else { return self.row(dy, base, from, dx) };
        let mut next = |offset: usize| self.outer(dy, base + offset, places, from, dx, axis + 1);
        match spread {
            Spread::Step(step) => next(places[axis] * step),
            Spread::Repeated { count, step } => (0..*count).for_each(|index| next(index * step)),
            Spread::Many { starts, offsets } => {
                let place = places[axis];
                offsets[starts[place]..starts[place + 1]].iter().for_each(|&offset| next(offset));
            }
        }
    }

    fn row(&self, dy: &[f32], base: usize, from: usize, dx: &mut [f32]) {
        match &self.row {
            Row::Step(1) => add(dx, &dy[base + from..]),
            Row::Step(step) => {
                dx.iter_mut().enumerate().for_each(|(place, dx)| *dx += dy[base + (from + place) * step]);
            }
            Row::Repeated { count, step: 1 } => dx[0] += sum(&dy[base..][..*count]),
            Row::Repeated { count, step } => dx[0] += (0..*count).map(|index| dy[base + index * step]).sum::<f32>(),
            Row::Runs(runs) => {
                let end = from + dx.len();
                for run in runs {
                    let (start, stop) = (run.target.max(from), (run.target + run.length).min(end));
                    if start < stop {
                        add(&mut dx[start - from..stop - from], &dy[base + run.source + start - run.target..]);
                    }
                }
            }
        }
    }
}

/// `dx += dy`, as far as `dx` goes.
fn add(dx: &mut [f32], dy: &[f32]) {
    let dy = &dy[..dx.len()];
    vectorized(
        #[inline(always)]
        || dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy),
    );
}

/// The sum of a row, in sums of their own for every eighth element.
fn sum(row: &[f32]) -> f32 {
    vectorized(
        #[inline(always)]
        || {
            let mut sums = [0f32; 8];
            let eights = row.chunks_exact(8);
            let rest: f32 = eights.remainder().iter().sum();
            for eight in eights {
                sums.iter_mut().zip(eight).for_each(|(sum, value)| *sum += value);
            }
            sums.iter().sum::<f32>() + rest
        },
    )
}

/// What places were spread to as runs, in the order of where they were spread to.
fn runs(starts: &[usize], offsets: &[usize]) -> Vec<Run> {
    let mut pairs: Vec<_> = starts
        .windows(2)
        .enumerate()
        .flat_map(|(target, bounds)| offsets[bounds[0]..bounds[1]].iter().map(move |&source| (source, target)))
        .collect();
    pairs.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for (source, target) in pairs {
        match runs.last_mut() {
            Some(last) if last.source + last.length == source && last.target + last.length == target => {
                last.length += 1;
            }
            _ => runs.push(Run { target, source, length: 1 }),
        }
    }
    runs
}
