//! Tensors seen with their axes in another order, and packed so.

use rayon::prelude::*;

use crate::kernels::matrix::Matrix;
use crate::kernels::vector::vectorized;

/// An axis: length, and distance of neighbours.
pub(super) type Axis = (usize, usize);

/// Elements of a part of the work.
const PART: usize = 8 * 1024;

pub(super) fn count(axes: &[Axis]) -> usize {
    axes.iter().map(|(length, _)| length).product()
}

/// Where the `index`th place of some axes is.
pub(super) fn offset(axes: &[Axis], mut index: usize) -> usize {
    let mut offset = 0;
    for (length, step) in axes.iter().rev() {
        offset += index % length * step;
        index /= length;
    }
    offset
}

/// Axes with those merged that are walked as one.
fn merged(axes: &[Axis]) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::new();
    for &(length, step) in axes {
        match merged.last_mut() {
            Some((outer, distance)) if *distance == length * step => (*outer, *distance) = (*outer * length, step),
            _ => merged.push((length, step)),
        }
    }
    merged
}

/// Axes that are walked as one, or none at all, as one.
pub(super) fn single(axes: &[Axis]) -> Option<Axis> {
    match merged(axes)[..] {
        [] => Some((1, 0)),
        [axis] => Some(axis),
        _ => None,
    }
}

/// A matrix of the elements from `start` on with these axes as rows and columns.
pub(super) fn matrix(data: &[f32], start: usize, rows: Axis, columns: Axis) -> Matrix<'_> {
    Matrix::strided(&data[start.min(data.len())..], rows.0, columns.0, rows.1, columns.1)
}

/// How one tensor is read in the order of another.
#[derive(Debug, Clone)]
struct Walk {
    /// Axes outside of the rows of what is written.
    outer: Vec<Axis>,
    /// The axis along such a row.
    row: Axis,
    /// Axes that are summed over.
    summed: Vec<Axis>,
}

impl Walk {
    fn new(axes: &[Axis], summed: &[Axis]) -> Self {
        let mut outer = merged(axes);
        let row = outer.pop().unwrap_or((1, 0));
        Self { outer, row, summed: merged(summed) }
    }

    /// `to[i] = Σ from[…]`.
    fn run(&self, from: &[f32], to: &mut [f32]) {
        let (length, step) = self.row;
        if to.is_empty() {
            return;
        }
        let rows = (PART / length).max(1);
        to.par_chunks_mut(rows * length).enumerate().for_each(|(part, to)| {
            vectorized(
                #[inline(always)]
                || {
                    for (index, to) in to.chunks_exact_mut(length).enumerate() {
                        let start = offset(&self.outer, part * rows + index);
                        match step {
                            _ if !self.summed.is_empty() => {
                                for (column, to) in to.iter_mut().enumerate() {
                                    *to = self.sum(from, start + column * step);
                                }
                            }
                            0 => to.fill(from[start]),
                            1 => to.copy_from_slice(&from[start..][..length]),
                            _ => {
                                let places = from[start..].iter().step_by(step);
                                to.iter_mut().zip(places).for_each(|(to, from)| *to = *from);
                            }
                        }
                    }
                },
            );
        });
    }

    /// The sum of the elements that differ from that at `start` along `summed` only.
    #[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
    #[inline(always)]
    fn sum(&self, from: &[f32], start: usize) -> f32 {
        let Some((&(length, step), outer)) = self.summed.split_last() else { return from[start] };
        if length == 0 {
            return 0.0;
        }
        let mut sum = 0f64;
        for index in 0..count(outer) {
            let from = &from[start + offset(outer, index)..];
            sum += from.iter().step_by(step.max(1)).take(length).map(|&value| f64::from(value)).sum::<f64>();
        }
        sum as f32
    }
}

/// How a tensor is seen: element `i` of the packed tensor is the sum of those elements of the tensor that differ from
/// its place along summed axes only.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Elements of the packed tensor.
    pub count: usize,
    /// Whether the packed tensor is the tensor itself.
    pub is_packed: bool,
    /// Whether axes are summed over.
    pub sums: bool,
    pack: Walk,
    /// From the packed tensor to the tensor; `None` if elements of it are in no packed one.
    unpack: Option<Walk>,
}

impl View {
    /// A tensor of `elements` as one with `axes`, outermost first, summed over the others.
    pub fn new(axes: &[Axis], summed: &[Axis], elements: usize) -> Self {
        let packed = count(axes);
        let mut all: Vec<(Axis, usize)> = summed.iter().map(|&axis| (axis, 0)).collect();
        let mut step = 1;
        for &(length, distance) in axes.iter().rev() {
            all.push(((length, distance), step));
            step *= length;
        }
        // In the order of the tensor, with steps in the packed one.
        all.sort_by_key(|((_, distance), _)| std::cmp::Reverse(*distance));
        let back: Vec<Axis> = all.iter().map(|((length, _), step)| (*length, *step)).collect();
        Self {
            count: packed,
            is_packed: summed.is_empty() && matches!(single(axes), Some((length, 0 | 1)) if length == elements),
            sums: !summed.is_empty(),
            pack: Walk::new(axes, summed),
            unpack: (packed * count(summed) == elements).then(|| Walk::new(&back, &[])),
        }
    }

    /// Packs: `packed[i] = Σ data[…]`.
    pub fn pack(&self, data: &[f32], packed: &mut [f32]) {
        self.pack.run(data, packed);
    }

    /// The reverse: each element gets the packed one that it went into, those that went into none 0.
    pub fn unpack(&self, packed: &[f32], data: &mut [f32]) {
        if let Some(walk) = &self.unpack {
            return walk.run(packed, data);
        }
        // Elements beside a diagonal. This is rare, and plain.
        data.fill(0.0);
        let Walk { outer, row: (length, step), summed } = &self.pack;
        for (index, packed) in packed.iter().enumerate() {
            let start = offset(outer, index / length) + index % length * step;
            (0..count(summed)).for_each(|index| data[start + offset(summed, index)] = *packed);
        }
    }
}
