//! Reshape and its relatives, Transpose: labels move as the data does.

use std::sync::Arc;

use crate::axes::Reason;
use crate::axes::labels::{Label, ReasonId};
use crate::axes::pass::{Axis, Cover, Pass, State};
use crate::graph::{Dim, NodeId, ValueId};

/// Consecutive axes of the input that hold the same elements as consecutive axes of the output.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    from: std::ops::Range<usize>,
    to: std::ops::Range<usize>,
    /// Whether all lengths in it are numbers.
    known: bool,
}

/// Cuts two shapes of equally many elements into segments as small as can be.
fn segments(from: &[Dim], to: &[Dim]) -> Vec<Segment> {
    let mut result = Vec::new();
    let (mut i, mut j) = (0, 0);
    let (mut i_end, mut j_end) = (from.len(), to.len());
    let mut tail = Vec::new();
    while i < i_end || j < j_end {
        let Some((more_i, more_j)) = matching(from[i..i_end].iter(), to[j..j_end].iter()) else { break };
        result.push(segment(from, to, i..i + more_i, j..j + more_j));
        (i, j) = (i + more_i, j + more_j);
    }
    while i < i_end || j < j_end {
        let Some((more_i, more_j)) = matching(from[i..i_end].iter().rev(), to[j..j_end].iter().rev()) else { break };
        tail.push(segment(from, to, i_end - more_i..i_end, j_end - more_j..j_end));
        (i_end, j_end) = (i_end - more_i, j_end - more_j);
    }
    if i < i_end || j < j_end {
        result.push(Segment { from: i..i_end, to: j..j_end, known: false });
    }
    result.extend(tail.into_iter().rev());
    result
}

fn segment(from: &[Dim], to: &[Dim], i: std::ops::Range<usize>, j: std::ops::Range<usize>) -> Segment {
    let known = from[i.clone()].iter().chain(&to[j.clone()]).all(|dim| dim.known().is_some_and(|length| length > 0));
    Segment { from: i, to: j, known }
}

/// How many dimensions from the start of both have equal products.
fn matching<'a>(
    mut from: impl Iterator<Item = &'a Dim>,
    mut to: impl Iterator<Item = &'a Dim>,
) -> Option<(usize, usize)> {
    let one = Dim::from(1i64);
    let (mut i, mut j) = (0, 0);
    let (mut left, mut right) = (one.clone(), one.clone());
    loop {
        let smaller = match (left.known(), right.known()) {
            (Some(left), Some(right)) => Some(left <= right),
            (Some(1), None) => Some(true),
            (None, Some(1)) => Some(false),
            _ => None,
        };
        if smaller? {
            match from.next() {
                Some(dim) => (left, i) = (left.multiply(dim)?, i + 1),
                None if left == one && j == 0 => (right, j) = (right.multiply(to.next()?)?, j + 1),
                None => return None,
            }
        } else {
            (right, j) = (right.multiply(to.next()?)?, j + 1);
        }
        if left == right {
            return Some((i, j));
        }
    }
}

impl Pass<'_> {
    /// An operator that keeps the elements and their order and changes the shape.
    pub(super) fn reshape(&mut self, node: NodeId) {
        let graph = self.graph;
        let operator = graph.node(node);
        let (Some(x), Some(y)) = (operator.input(0), operator.output(0)) else { return };
        let (Some(mut state), Some(from), Some(to)) = (self.load(x), self.types.shape(x), self.types.shape(y)) else {
            let reason = self.unknown_shape(&[x], y);
            return self.give_up(node, reason);
        };
        let (segments, lengths) = (segments(from, to), to.iter().map(Dim::known).collect());
        let single = self.reason(Reason::Single);
        let merged = self.because(Reason::Merged, node);
        let mut result = State::fixed(lengths, single);
        for segment in &segments {
            self.open_segment(&mut state, segment, &mut result, merged);
        }
        for cover in std::mem::take(&mut state.covers) {
            let labels = cover.labels.clone();
            let Some(moved) = self.move_cover(&state, cover, &segments, &result.lengths) else {
                self.labels.freeze_all(&labels, merged);
                continue;
            };
            moved.axes.iter().for_each(|&axis| result.axes[axis] = Axis::Covered);
            if moved.axes.len() > 1 {
                self.block(&moved.labels, *moved.lengths.last().unwrap_or(&1), node);
            }
            result.covers.push(moved);
        }
        self.store(y, result);
    }

    /// Says of the output's axes in a segment what is known without covers.
    fn open_segment(&mut self, state: &mut State, segment: &Segment, result: &mut State, merged: ReasonId) {
        let long = |lengths: &[Option<usize>], range: &std::ops::Range<usize>| -> Vec<usize> {
            range.clone().filter(|&axis| lengths[axis] != Some(1)).collect()
        };
        let (from, to) = (long(&state.lengths, &segment.from), long(&result.lengths, &segment.to));
        if let ([from], [to]) = (&from[..], &to[..]) {
            result.axes[*to] = state.axes[*from];
            result.origins[*to] = state.origins[*from];
            return;
        }
        for &axis in &from {
            if !segment.known {
                self.fix(state, axis, merged);
            } else if state.axes[axis] == Axis::Free {
                self.alone(state, axis);
            }
        }
        let reason =
            from.iter().find_map(|&axis| if let Axis::Fixed(reason) = state.axes[axis] { Some(reason) } else { None });
        for axis in to {
            result.axes[axis] = Axis::Fixed(reason.unwrap_or(merged));
        }
    }

    /// A cover in the new shape. `None` if nothing is left of it.
    fn move_cover(
        &mut self,
        state: &State,
        mut cover: Cover,
        segments: &[Segment],
        to_lengths: &[Option<usize>],
    ) -> Option<Cover> {
        // Axes of the output are called `rank + axis` until none of the input's is left.
        let rank = state.rank();
        for segment in segments {
            if !cover.axes.iter().any(|axis| segment.from.contains(axis)) {
                continue;
            }
            if !segment.known {
                return None;
            }
            let from: Vec<usize> = segment.from.clone().filter(|&axis| state.lengths[axis] != Some(1)).collect();
            let to: Vec<usize> = segment.to.clone().filter(|&axis| to_lengths[axis] != Some(1)).collect();
            let order: Vec<usize> = cover.axes.iter().copied().filter(|axis| segment.from.contains(axis)).collect();
            let start = cover.axes.iter().position(|axis| segment.from.contains(axis))?;
            let together = cover.axes[start..].iter().take(order.len()).eq(order.iter());
            if from.len() > 1 && !(together && order.is_sorted()) {
                // The order in which positions are kept would differ from the order in which they lie: only the same
                // positions of every row can go.
                let last = *cover.axes.last()?;
                let labels = self.alone_in(&cover, last);
                let lengths = vec![labels.len()];
                cover = Cover { axes: vec![last], lengths, labels, origins: cover.origins.clone() };
                if !segment.from.contains(&last) {
                    continue;
                }
            }
            let total = expanded_len(&cover, &from, &state.lengths)?;
            if total > cover.labels.len() && !self.take_room(total) {
                return None;
            }
            cover = expand(&cover, &from, &state.lengths)?;
            let start = cover.axes.iter().position(|axis| segment.from.contains(axis))?;
            let new_lengths: Vec<usize> = to.iter().map(|&axis| to_lengths[axis].unwrap_or(1)).collect();
            cover.axes.splice(start..start + from.len(), to.iter().map(|&axis| rank + axis));
            cover.lengths.splice(start..start + from.len(), new_lengths);
        }
        let mut cover = self.reduced(cover);
        cover.axes.iter_mut().for_each(|axis| *axis = axis.saturating_sub(rank));
        (!cover.axes.is_empty()).then_some(cover)
    }

    /// Leaves out axes along which the labels do not change.
    fn reduced(&mut self, mut cover: Cover) -> Cover {
        let mut place = 0;
        while place < cover.axes.len() && cover.axes.len() > 1 {
            let (length, inner) = (cover.lengths[place], cover.lengths[place + 1..].iter().product::<usize>());
            let constant = cover.labels.chunks(length * inner).all(|chunk| {
                chunk.iter().zip(&chunk[inner..]).all(|(&a, &b)| self.labels.find(a) == self.labels.find(b))
            });
            if constant {
                cover.labels =
                    cover.labels.chunks(length * inner).flat_map(|chunk| chunk[..inner].iter().copied()).collect();
                cover.axes.remove(place);
                cover.lengths.remove(place);
            } else {
                place += 1;
            }
        }
        cover
    }

    pub(super) fn transpose(&mut self, node: NodeId, perm: Option<&[i64]>) {
        let graph = self.graph;
        let operator = graph.node(node);
        let (Some(x), Some(y)) = (operator.input(0), operator.output(0)) else { return };
        let Some(state) = self.load(x) else {
            let reason = self.unknown_shape(&[x], y);
            return self.give_up(node, reason);
        };
        let rank = state.rank();
        let perm: Vec<usize> = match perm {
            None => (0..rank).rev().collect(),
            Some(perm) => perm.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect(),
        };
        let mut seen = perm.clone();
        seen.sort_unstable();
        if !seen.iter().copied().eq(0..rank) {
            let reason = self.because(Reason::NoRule, node);
            return self.give_up(node, reason);
        }
        let single = self.reason(Reason::Single);
        let lengths = perm.iter().map(|&axis| state.lengths[axis]).collect();
        let mut result = State::fixed(lengths, single);
        result.take(&state, &perm.iter().copied().enumerate().map(|(to, from)| (from, to)).collect::<Vec<_>>());
        self.store(y, result);
    }

    /// The only input and output of a node, with the input's state.
    pub(super) fn one_to_one(&mut self, node: NodeId) -> Option<(State, ValueId, Vec<Option<usize>>)> {
        let graph = self.graph;
        let operator = graph.node(node);
        let (x, y) = (operator.input(0)?, operator.output(0)?);
        let (Some(state), Some(lengths)) = (self.load(x), self.lengths(y)) else {
            let reason = self.unknown_shape(&[x], y);
            self.give_up(node, reason);
            return None;
        };
        Some((state, y, lengths))
    }
}

/// How many labels [`expand`] makes.
fn expanded_len(cover: &Cover, axes: &[usize], lengths: &[Option<usize>]) -> Option<usize> {
    let lacking = axes.iter().filter(|axis| !cover.axes.contains(axis));
    lacking.map(|&axis| lengths[axis]).try_fold(cover.labels.len(), |total, length| total.checked_mul(length?))
}

/// The cover over all of `axes`, which are consecutive in the value, with labels repeated along those that it lacks. Those
/// that it has must be consecutive and ascending in it.
fn expand(cover: &Cover, axes: &[usize], lengths: &[Option<usize>]) -> Option<Cover> {
    let start = cover.axes.iter().position(|axis| axes.contains(axis))?;
    let count = cover.axes.iter().filter(|axis| axes.contains(axis)).count();
    if count == axes.len() {
        return Some(cover.clone());
    }
    let mut all_axes = cover.axes.clone();
    all_axes.splice(start..start + count, axes.iter().copied());
    let length = |axis: usize| match cover.axes.iter().position(|&own| own == axis) {
        Some(place) => Some(cover.lengths[place]),
        None => lengths[axis],
    };
    let all_lengths: Vec<usize> = all_axes.iter().map(|&axis| length(axis)).collect::<Option<_>>()?;
    let total = expanded_len(cover, axes, lengths)?;
    let labels: Arc<[Label]> = (0..total)
        .map(|index| {
            let (mut rest, mut source, mut stride) = (index, 0, 1);
            for (place, &axis) in all_axes.iter().enumerate().rev() {
                let position = rest % all_lengths[place];
                rest /= all_lengths[place];
                if cover.axes.contains(&axis) {
                    source += position * stride;
                    stride *= all_lengths[place];
                }
            }
            cover.labels[source]
        })
        .collect();
    Some(Cover { axes: all_axes, lengths: all_lengths, labels, origins: cover.origins.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(from: &[&str], to: &[&str]) -> Vec<(Vec<usize>, Vec<usize>, bool)> {
        let dims = |names: &[&str]| -> Vec<Dim> {
            names.iter().map(|name| name.parse::<i64>().map_or_else(|_| Dim::parse(name), Dim::from)).collect()
        };
        let segments = segments(&dims(from), &dims(to));
        segments.into_iter().map(|segment| (segment.from.collect(), segment.to.collect(), segment.known)).collect()
    }

    #[test]
    fn segments_are_small() {
        assert_eq!(cut(&["N", "6", "7"], &["N", "42"]), [(vec![0], vec![0], false), (vec![1, 2], vec![1], true)]);
        assert_eq!(cut(&["N", "T", "6"], &["N", "T", "2", "3"]).last(), Some(&(vec![2], vec![2, 3], true)));
        assert_eq!(cut(&["6"], &["1", "6", "1"]), [(vec![0], vec![0, 1], true), (vec![], vec![2], true)]);
        let merged = cut(&["N", "T", "6"], &["?m", "6"]);
        assert_eq!(merged, [(vec![0, 1], vec![0], false), (vec![2], vec![1], true)]);
        assert_eq!(cut(&["4", "6"], &["6", "4"]), [(vec![0, 1], vec![0, 1], true)]);
    }
}
