//! What is known of a tensor's elements, without keeping one entry an element.

use crate::graph::Dim;

/// One cell for each place along the axes that are told apart; along the others, whose length here is 1, a cell speaks
/// of every element.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern<T> {
    pub shape: Vec<usize>,
    pub cells: Vec<T>,
}

/// More cells than this are not kept: nothing is told apart then.
pub(super) const MOST_CELLS: usize = 1 << 18;

/// Number of cells of a shape, if they may be kept.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length))?;
    (1..=MOST_CELLS).contains(&count).then_some(count)
}

impl<T: Copy> Pattern<T> {
    /// The same for all elements.
    pub fn uniform(rank: usize, cell: T) -> Self {
        Self { shape: vec![1; rank], cells: vec![cell] }
    }

    /// Told apart along one axis.
    pub fn along(rank: usize, axis: usize, cells: Vec<T>) -> Self {
        let mut shape = vec![1; rank];
        shape[axis] = cells.len();
        Self { shape, cells }
    }

    /// Another pattern of the same shape.
    pub fn map<U>(&self, change: impl FnMut(T) -> U) -> Pattern<U> {
        Pattern { shape: self.shape.clone(), cells: self.cells.iter().copied().map(change).collect() }
    }

    /// The cell's number for every cell.
    pub fn numbered(&self, first: usize) -> Pattern<usize> {
        Pattern { shape: self.shape.clone(), cells: (first..first + self.cells.len()).collect() }
    }

    /// Product of the lengths after an axis.
    fn inner(&self, axis: usize) -> usize {
        self.shape[axis + 1..].iter().product()
    }

    /// For every cell its place along an axis.
    pub fn places(&self, axis: usize) -> impl Iterator<Item = usize> + use<T> {
        let (inner, length) = (self.inner(axis), self.shape[axis]);
        (0..self.cells.len()).map(move |cell| cell / inner % length)
    }

    /// Told apart along all axes of `shape`, which may be 1 more axis by axis in front; `None` where it does not
    /// broadcast.
    pub fn broadcast(&self, shape: &[usize]) -> Option<Self> {
        let extra = shape.len().checked_sub(self.shape.len())?;
        let total = count(shape)?;
        let mut cells = self.cells.clone();
        // From the last axis on, each axis of length 1 is repeated; what lies behind it is already as it should be.
        let mut done = 1;
        for axis in (0..shape.len()).rev() {
            let own = axis.checked_sub(extra).map_or(1, |axis| self.shape[axis]);
            if own != shape[axis] {
                if own != 1 {
                    return None;
                }
                cells = cells.chunks(done).flat_map(|chunk| chunk.repeat(shape[axis])).collect();
            }
            done *= shape[axis];
        }
        (cells.len() == total).then(|| Self { shape: shape.to_vec(), cells })
    }

    /// With the axes permuted.
    pub fn transpose(&self, perm: &[usize]) -> Option<Self> {
        if perm.len() != self.shape.len() || perm.iter().any(|&axis| axis >= self.shape.len()) {
            return None;
        }
        let shape: Vec<_> = perm.iter().map(|&axis| self.shape[axis]).collect();
        let strides: Vec<_> = perm.iter().map(|&axis| self.inner(axis)).collect();
        let cells = (0..count(&shape)?).map(|cell| {
            let (mut rest, mut source) = (cell, 0);
            for axis in (0..shape.len()).rev() {
                source += rest % shape[axis] * strides[axis];
                rest /= shape[axis];
            }
            self.cells[source]
        });
        let cells = cells.collect();
        Some(Self { shape, cells })
    }

    /// Along an axis the given places, or `fill` where there is none.
    pub fn pick(&self, axis: usize, places: &[Option<usize>], fill: T) -> Option<Self> {
        let (inner, length) = (self.inner(axis), self.shape[axis]);
        let mut shape = self.shape.clone();
        shape[axis] = places.len();
        let mut cells = Vec::with_capacity(count(&shape)?);
        for block in self.cells.chunks(inner * length) {
            for place in places {
                match place {
                    Some(place) => cells.extend_from_slice(block.get(place * inner..(place + 1) * inner)?),
                    None => cells.extend(std::iter::repeat_n(fill, inner)),
                }
            }
        }
        Some(Self { shape, cells })
    }

    /// After a change of shape `from` → `to` that keeps the order of elements; `None` where it cannot be followed.
    pub fn reshape(&self, from: &[Dim], to: &[Dim]) -> Option<Self> {
        if from.len() != self.shape.len() {
            return None;
        }
        let front = from.iter().zip(to).take_while(|(from, to)| from == to).count();
        let back = from[front..].iter().rev().zip(to[front..].iter().rev()).take_while(|(from, to)| from == to).count();
        let (middle, new) = (&from[front..from.len() - back], &to[front..to.len() - back]);
        let own = &self.shape[front..from.len() - back];
        let mut before = self.shape[..front].to_vec();
        let mut after = before.clone();
        if own.iter().all(|&length| length == 1) {
            before.extend(own);
            after.extend(std::iter::repeat_n(1, new.len()));
        } else {
            let lengths = |dims: &[Dim]| dims.iter().map(|dim| dim.known().filter(|&length| length > 0)).collect();
            let (middle, new): (Option<Vec<_>>, Option<Vec<_>>) = (lengths(middle), lengths(new));
            for (old, new) in segments(&middle?, &new?)? {
                // Within a segment axes are told apart all or not at all.
                let apart = own[old.clone()].iter().any(|&length| length > 1);
                let choose = |dims: &[Dim]| {
                    dims.iter().map(|dim| if apart { dim.known().unwrap_or(1) } else { 1 }).collect::<Vec<_>>()
                };
                before.extend(choose(&from[front..][old]));
                after.extend(choose(&to[front..][new]));
            }
        }
        let behind = &self.shape[from.len() - back..];
        before.extend(behind);
        after.extend(behind);
        Some(Self { shape: after, cells: self.broadcast(&before)?.cells })
    }

    /// One cell for each place along an axis: `join` of all cells there.
    pub fn project(&self, axis: usize, join: impl Fn(T, T) -> T) -> Option<Vec<T>> {
        let places = self.places(axis);
        join_by(&self.cells, places, self.shape[axis], join)
    }

    /// One cell for each place of a block of axes of the given lengths, in their order: `join` of all cells there.
    pub fn project_block(&self, axes: &[usize], lengths: &[usize], join: impl Fn(T, T) -> T) -> Option<Vec<T>> {
        let mut shape = self.shape.clone();
        for (&axis, &length) in axes.iter().zip(lengths) {
            *shape.get_mut(axis)? = length;
        }
        let whole = self.broadcast(&shape)?;
        let mut targets = vec![0; whole.cells.len()];
        for (&axis, &length) in axes.iter().zip(lengths) {
            targets.iter_mut().zip(whole.places(axis)).for_each(|(target, place)| *target = *target * length + place);
        }
        join_by(&whole.cells, targets, count(lengths)?, join)
    }

    /// Not told apart along some axes: `join` of all cells there.
    pub fn collapse(&self, axes: impl Fn(usize) -> bool, join: impl Fn(T, T) -> T) -> Option<Self> {
        let shape: Vec<_> =
            self.shape.iter().enumerate().map(|(axis, &length)| if axes(axis) { 1 } else { length }).collect();
        let cells = join_by(&self.cells, targets(&self.shape, &shape)?, count(&shape)?, join)?;
        Some(Self { shape, cells })
    }
}

/// `join` of all cells that have the same target, for each target below `count`; `None` where one has none.
fn join_by<T: Copy>(
    cells: &[T],
    targets: impl IntoIterator<Item = usize>,
    count: usize,
    join: impl Fn(T, T) -> T,
) -> Option<Vec<T>> {
    let mut joined: Vec<Option<T>> = vec![None; count];
    for (&cell, target) in cells.iter().zip(targets) {
        joined[target] = Some(joined[target].map_or(cell, |known| join(known, cell)));
    }
    joined.into_iter().collect()
}

/// For every cell of `shape` the cell of `small` that speaks of it, where `small` (aligned at the end) has length 1
/// along some axes.
pub(super) fn targets(shape: &[usize], small: &[usize]) -> Option<Vec<usize>> {
    let numbered = Pattern { shape: small.to_vec(), cells: (0..small.iter().product()).collect::<Vec<usize>>() };
    Some(numbered.broadcast(shape)?.cells)
}

/// Cuts two lists of lengths with one product into the shortest pieces of equal products.
fn segments(from: &[usize], to: &[usize]) -> Option<Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>> {
    let mut pieces = Vec::new();
    let (mut old, mut new) = (0, 0);
    while old < from.len() || new < to.len() {
        let (old_start, new_start) = (old, new);
        let (mut left, mut right) = (1usize, 1usize);
        loop {
            if left < right || (old == old_start && old < from.len()) {
                left = left.checked_mul(*from.get(old)?)?;
                old += 1;
            } else {
                right = right.checked_mul(*to.get(new)?)?;
                new += 1;
            }
            if left == right {
                break;
            }
        }
        pieces.push((old_start..old, new_start..new));
    }
    Some(pieces)
}
