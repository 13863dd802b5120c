//! Operators that join, cut, pad and repeat along an axis: labels shift.

use std::sync::Arc;

use crate::axes::Reason;
use crate::axes::labels::Label;
use crate::axes::pass::{Alone, Axis, Cover, Pass, State};
use crate::graph::{NodeId, ValueId};
use crate::ops::layout::{PadMode, Split};

/// An axis counted from either end.
pub(in crate::axes) fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&axis).then_some(axis as usize)
}

/// A cover with, along one of its axes, the positions that `chosen` lists; `None` in it takes the next of `fresh`.
fn choose(cover: &Cover, place: usize, chosen: &[Option<usize>], mut fresh: impl FnMut() -> Label) -> Cover {
    let inner: usize = cover.lengths[place + 1..].iter().product();
    let step = cover.lengths[place] * inner;
    let mut labels = Vec::with_capacity(cover.labels.len());
    for outer in cover.labels.chunks(step.max(1)) {
        for position in chosen {
            match position {
                Some(position) => labels.extend_from_slice(&outer[position * inner..(position + 1) * inner]),
                None => labels.extend((0..inner).map(|_| fresh())),
            }
        }
    }
    let mut lengths = cover.lengths.clone();
    lengths[place] = chosen.len();
    Cover { axes: cover.axes.clone(), lengths, labels: labels.into(), origins: Vec::new() }
}

impl Pass<'_> {
    /// A result that has, along one axis, chosen positions of the input, or new ones; the other axes pass.
    pub(super) fn chosen(
        &mut self,
        node: NodeId,
        state: &mut State,
        axis: usize,
        chosen: &[Option<usize>],
        lengths: Vec<Option<usize>>,
    ) -> State {
        if state.axes[axis] == Axis::Free {
            self.alone(state, axis);
        }
        let length = state.lengths[axis].unwrap_or(0);
        let own: Vec<Cover> = state.covers.iter().filter(|cover| cover.axes.contains(&axis)).cloned().collect();
        let labels: usize = own.iter().map(|cover| cover.labels.len() / length.max(1)).sum();
        let fits = lengths.get(axis) == Some(&Some(chosen.len()))
            && chosen.iter().flatten().all(|&place| place < length)
            && self.take_room(labels.saturating_mul(chosen.len()));
        let single = self.reason(Reason::Single);
        let mut result = State::fixed(lengths, single);
        let names: Vec<(usize, usize)> =
            (0..state.rank()).filter(|&other| other != axis).map(|axis| (axis, axis)).collect();
        if !fits || chosen.is_empty() {
            let reason = self.because(Reason::NoRule, node);
            self.fix(state, axis, reason);
            self.carry(&mut result, state, &names);
            result.axes[axis] = Axis::Fixed(if let Axis::Fixed(known) = state.axes[axis] { known } else { reason });
            return result;
        }
        result.take(state, &names);
        result.axes[axis] = state.axes[axis];
        if chosen.len() == 1 && length > 1 {
            // The only position of the result must stay, and with it whatever shares a block with it.
            for cover in own {
                let alone = self.alone_in(&cover, axis);
                let kept: Vec<Label> = chosen.iter().flatten().map(|&position| alone[position]).collect();
                self.labels.freeze_all(if cover.axes.len() > 1 { &cover.labels } else { &kept }, single);
            }
            result.axes[axis] = Axis::Fixed(single);
            return result;
        }
        for cover in own {
            let Some(place) = cover.axes.iter().position(|&own| own == axis) else { continue };
            let labels = &mut self.labels;
            let cover = choose(&cover, place, chosen, || labels.fresh());
            if cover.axes.len() > 1 {
                self.block(&cover.labels, *cover.lengths.last().unwrap_or(&1), node);
            }
            result.covers.push(cover);
        }
        result
    }

    /// Takes blocks apart of which this is an inner axis: the same of its positions go from every row.
    fn take_apart(&mut self, state: &mut State, axis: usize) {
        let inner = |cover: &Cover| cover.axes.contains(&axis) && cover.axes[0] != axis;
        let (blocks, rest) = std::mem::take(&mut state.covers).into_iter().partition(inner);
        state.covers = rest;
        for block in blocks {
            for &own in &block.axes {
                let labels = self.alone_in(&block, own);
                let (axes, lengths) = (vec![own], vec![labels.len()]);
                state.covers.push(Cover { axes, lengths, labels, origins: block.origins.clone() });
            }
        }
    }

    pub(super) fn concat(&mut self, node: NodeId, axis: i64) {
        let graph = self.graph;
        let operator = graph.node(node);
        let Some(y) = operator.output(0) else { return };
        let inputs: Vec<ValueId> = operator.inputs().iter().flatten().copied().collect();
        let states: Option<Vec<State>> = inputs.iter().map(|&input| self.load(input)).collect();
        let (Some(mut states), Some(lengths)) = (states, self.lengths(y)) else {
            let reason = self.unknown_shape(&inputs, y);
            return self.give_up(node, reason);
        };
        let rank = lengths.len();
        let Some(axis) = axis_of(axis, rank).filter(|_| states.iter().all(|state| state.rank() == rank)) else {
            let reason = self.because(Reason::NoRule, node);
            return self.give_up(node, reason);
        };
        if states.iter().all(|state| !matches!(state.axes[axis], Axis::Covered | Axis::Free)) {
            let reason = match states.first().map(|state| state.axes[axis]) {
                Some(Axis::Fixed(reason)) => reason,
                _ => self.because(Reason::NoRule, node),
            };
            let mut result = self.across(node, &mut states, axis, lengths);
            result.axes[axis] = Axis::Fixed(reason);
            return self.store(y, result);
        }
        if let Some(cover) = concat_block(&states, axis) {
            let mut result = self.across(node, &mut states, axis, lengths);
            for &axis in &cover.axes {
                result.axes[axis] = Axis::Covered;
                result.covers.retain(|own| !cover.axes.contains(&own.axes[0]));
            }
            self.block(&cover.labels, *cover.lengths.last().unwrap_or(&1), node);
            result.covers.push(cover);
            return self.store(y, result);
        }
        let alone: Vec<Alone> = states.iter_mut().map(|state| self.alone(state, axis)).collect();
        let mut labels: Vec<Label> = Vec::new();
        let total = lengths[axis].unwrap_or(0);
        let mut known = self.take_room(total);
        for (state, alone) in states.iter().zip(&alone) {
            match (alone, state.lengths[axis]) {
                (Alone::Labels(own), _) => labels.extend_from_slice(own),
                (Alone::Fixed(reason), Some(length)) if known => {
                    let own = self.labels.fresh_axis(length);
                    self.labels.freeze_all(&own, *reason);
                    labels.extend_from_slice(&own);
                }
                (Alone::Fixed(_), _) => known = false,
            }
        }
        let mut result = self.across(node, &mut states, axis, lengths);
        if known {
            result.set(axis, &Alone::Labels(labels.into()));
        } else {
            let reason = self.reason(Reason::UnknownLength(graph.value(y).name.clone()));
            self.labels.freeze_all(&labels, reason);
            result.axes[axis] = Axis::Fixed(reason);
        }
        self.store(y, result);
    }

    /// Ties all axes but one of tensors that are joined along it.
    fn across(&mut self, node: NodeId, states: &mut [State], axis: usize, lengths: Vec<Option<usize>>) -> State {
        let single = self.reason(Reason::Single);
        let mut others = Vec::with_capacity(states.len());
        for state in states.iter() {
            let mut rest = State::fixed(state.lengths.clone(), single);
            rest.lengths[axis] = Some(1);
            let names: Vec<_> = (0..state.rank()).filter(|&other| other != axis).map(|axis| (axis, axis)).collect();
            self.carry(&mut rest, state, &names);
            others.push(rest);
        }
        let mut lengths_without = lengths.clone();
        lengths_without[axis] = Some(1);
        let mut result = self.broadcast(node, &mut others, lengths_without);
        result.lengths = lengths;
        result
    }

    pub(super) fn split(&mut self, node: NodeId, split: &Split) {
        let graph = self.graph;
        let operator = graph.node(node);
        let Some(x) = operator.input(0) else { return };
        let outputs: Vec<(usize, ValueId)> =
            operator.outputs().iter().enumerate().filter_map(|(slot, output)| Some((slot, (*output)?))).collect();
        let Some(mut state) = self.load(x) else {
            let reason = self.reason(Reason::UnknownShape(graph.value(x).name.clone()));
            return self.give_up(node, reason);
        };
        let sizes = self.split_sizes(node, split, &state);
        let axis = axis_of(split.axis, state.rank());
        let (Some(axis), Some(sizes)) = (axis, sizes) else {
            let reason = self.because(Reason::NoRule, node);
            return self.give_up(node, reason);
        };
        for (slot, output) in outputs {
            let start: usize = sizes[..slot].iter().sum();
            let chosen: Vec<_> = (start..start + sizes[slot]).map(Some).collect();
            let mut lengths = state.lengths.clone();
            lengths[axis] = Some(sizes[slot]);
            let result = self.chosen(node, &mut state, axis, &chosen, lengths);
            self.store(output, result);
        }
        if operator.input(1).is_some_and(|sizes| self.known_data(sizes).is_none()) {
            let reason = self.because(Reason::ComputedShape, node);
            self.fix(&mut state, axis, reason);
        }
    }

    /// Lengths of a Split's parts, as far as they fit the axis.
    pub(in crate::axes) fn split_sizes(&self, node: NodeId, split: &Split, state: &State) -> Option<Vec<usize>> {
        let axis = axis_of(split.axis, state.rank())?;
        let length = state.lengths[axis];
        let parts = self.graph.node(node).outputs().len();
        let sizes: Vec<usize> = if let Some(given) = self.integers(node, 1) {
            given.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<_>>()?
        } else if self.graph.node(node).input(1).is_some() {
            return None;
        } else {
            let each = length?.div_ceil(parts.max(1));
            let sizes = (0..parts).map(|part| each.min(length.unwrap_or(0).saturating_sub(part * each)));
            sizes.collect()
        };
        (sizes.len() == parts && length.is_some_and(|length| sizes.iter().sum::<usize>() == length)).then_some(sizes)
    }

    /// Integers of a constant input, or contents that inference found.
    pub(in crate::axes) fn integers(&self, node: NodeId, slot: usize) -> Option<Vec<i64>> {
        let input = self.graph.node(node).input(slot)?;
        match self.known_data(input) {
            Some(data) => data.to_i64s().ok(),
            None => self.types.contents(input)?.iter().map(crate::graph::Dim::constant).collect(),
        }
    }

    pub(super) fn slice(&mut self, node: NodeId) {
        let Some((mut state, y, lengths)) = self.one_to_one(node) else { return };
        let operator = self.graph.node(node);
        let rank = state.rank();
        let starts = self.integers(node, 1);
        let axes = match operator.input(3) {
            Some(_) => self.integers(node, 3),
            None => starts.as_ref().map(|starts| (0..starts.len() as i64).collect()),
        };
        let ends = self.integers(node, 2);
        let steps = match operator.input(4) {
            Some(_) => self.integers(node, 4),
            None => starts.as_ref().map(|starts| vec![1; starts.len()]),
        };
        let axes: Option<Vec<usize>> = axes.and_then(|axes| axes.iter().map(|&axis| axis_of(axis, rank)).collect());
        let Some(axes) = axes else {
            let reason = self.because(Reason::ComputedIndex, node);
            return self.give_up(node, reason);
        };
        let mut before_blocks: Vec<(Arc<[Label]>, usize)> = Vec::new();
        for (index, &axis) in axes.iter().enumerate() {
            if matches!(state.axes[axis], Axis::Fixed(_)) || state.lengths[axis] == Some(1) {
                state.lengths[axis] = lengths[axis];
                continue;
            }
            let at = |list: &Option<Vec<i64>>| list.as_ref().and_then(|list| list.get(index)).copied();
            let constant = [1, 2].iter().all(|&slot| self.known_input(node, slot).is_some());
            let chosen = match (at(&starts), at(&ends), at(&steps), state.lengths[axis]) {
                (Some(start), Some(end), Some(1), Some(length)) if constant => Some(slice_range(start, end, length)),
                _ => None,
            };
            let Some(range) = chosen else {
                let reason = self.because(Reason::NoRule, node);
                for &axis in &axes {
                    self.fix(&mut state, axis, reason);
                }
                let mut result = State::fixed(lengths, reason);
                let names: Vec<_> = (0..rank).filter(|other| !axes.contains(other)).map(|axis| (axis, axis)).collect();
                self.carry(&mut result, &state, &names);
                return self.store(y, result);
            };
            for cover in state.covers.iter().filter(|cover| cover.axes.contains(&axis) && cover.axes[0] != axis) {
                // As many positions before the slice in every row.
                let place = cover.axes.iter().position(|&own| own == axis).unwrap_or(0);
                let before: Vec<_> = (0..range.start).map(Some).collect();
                let before = choose(cover, place, &before, || 0);
                let inner = before.lengths.last().copied().unwrap_or(1);
                before_blocks.push((before.labels, inner));
            }
            let mut next = state.lengths.clone();
            next[axis] = Some(range.len());
            let chosen: Vec<_> = range.map(Some).collect();
            state = self.chosen(node, &mut state, axis, &chosen, next);
        }
        for (labels, inner) in before_blocks {
            self.block(&labels, inner, node);
        }
        self.store(y, state);
    }

    pub(super) fn pad(&mut self, node: NodeId, mode: PadMode) {
        let Some((mut state, y, lengths)) = self.one_to_one(node) else { return };
        let operator = self.graph.node(node);
        let rank = state.rank();
        let pads = self.integers(node, 1);
        let axes = match operator.input(3) {
            Some(_) => self.integers(node, 3),
            None => Some((0..rank as i64).collect()),
        };
        let axes: Option<Vec<usize>> = axes.and_then(|axes| axes.iter().map(|&axis| axis_of(axis, rank)).collect());
        let (Some(axes), Some(pads)) = (axes, pads) else {
            let reason = self.because(Reason::ComputedShape, node);
            return self.give_up(node, reason);
        };
        let literal = self.known_input(node, 1).is_some();
        for (index, &axis) in axes.iter().enumerate() {
            let (begin, end) = (pads.get(index).copied(), pads.get(index + axes.len()).copied());
            let (Some(begin), Some(end)) = (begin, end) else { continue };
            if (begin, end) == (0, 0) {
                continue;
            }
            let can = mode == PadMode::Constant && literal && begin >= 0 && end >= 0;
            let length = state.lengths[axis];
            let total = lengths[axis];
            if let (true, Axis::Covered | Axis::Free, Some(length), Some(total)) =
                (can && self.take_room(total.unwrap_or(0)), state.axes[axis], length, total)
            {
                let (begin, end) = (begin as usize, end as usize);
                if begin.checked_add(length).and_then(|sum| sum.checked_add(end)) == Some(total) {
                    let chosen: Vec<_> = std::iter::repeat_n(None, begin)
                        .chain((0..length).map(Some))
                        .chain(std::iter::repeat_n(None, end))
                        .collect();
                    self.take_apart(&mut state, axis);
                    let mut next = state.lengths.clone();
                    next[axis] = Some(total);
                    state = self.chosen(node, &mut state, axis, &chosen, next);
                    continue;
                }
            }
            let reason = self.because(if literal { Reason::NoRule } else { Reason::ComputedShape }, node);
            self.fix(&mut state, axis, reason);
            let fixed = if let Axis::Fixed(known) = state.axes[axis] { known } else { reason };
            let mut next = state.lengths.clone();
            next[axis] = total;
            let mut result = State::fixed(next, fixed);
            let names: Vec<_> = (0..rank).filter(|&other| other != axis).map(|axis| (axis, axis)).collect();
            self.carry(&mut result, &state, &names);
            state = result;
        }
        state.lengths = lengths;
        state.origins.iter_mut().for_each(|origin| *origin = None);
        self.store(y, state);
    }

    pub(super) fn gather(&mut self, node: NodeId, axis: i64) {
        let Some((mut state, y, lengths)) = self.one_to_one(node) else { return };
        let rank = state.rank();
        let operator = self.graph.node(node);
        let Some((axis, indices)) = axis_of(axis, rank).zip(operator.input(1)) else { return };
        let Some(index_rank) = self.rank(indices) else {
            let reason = self.unknown_shape(&[indices], y);
            return self.give_up(node, reason);
        };
        let literal = self.known_input(node, 1).is_some_and(|data| data.rank() <= 1);
        let chosen: Option<Vec<usize>> = match (literal, state.lengths[axis]) {
            (true, Some(length)) => {
                self.integers(node, 1).and_then(|indices| indices.iter().map(|&index| axis_of(index, length)).collect())
            }
            _ => None,
        };
        match chosen {
            Some(chosen) if index_rank == 1 => {
                let chosen: Vec<_> = chosen.into_iter().map(Some).collect();
                self.take_apart(&mut state, axis);
                let mut result = self.chosen(node, &mut state, axis, &chosen, lengths);
                result.origins[axis] = None;
                self.store(y, result);
            }
            _ => {
                let over = self.because(Reason::ComputedIndex, node);
                self.fix(&mut state, axis, over);
                let mut result = State::fixed(lengths, over);
                let shift = |other: usize| if other < axis { other } else { (other + index_rank).saturating_sub(1) };
                let names: Vec<_> =
                    (0..rank).filter(|&other| other != axis).map(|other| (other, shift(other))).collect();
                if names.iter().all(|&(_, to)| to < result.rank()) {
                    self.carry(&mut result, &state, &names);
                }
                if let Some(mut indices) = self.load(indices) {
                    self.fix_all(&mut indices, over);
                }
                self.store(y, result);
            }
        }
    }
}

/// Labels of a concatenation within blocks that all inputs share.
fn concat_block(states: &[State], axis: usize) -> Option<Cover> {
    let blocks: Option<Vec<&Cover>> = states
        .iter()
        .map(|state| {
            let mut own = state.covers.iter().filter(|cover| cover.axes.contains(&axis));
            own.next().filter(|cover| cover.axes.len() > 1 && own.next().is_none())
        })
        .collect();
    let blocks = blocks?;
    let first = *blocks.first()?;
    let place = first.axes.iter().position(|&own| own == axis)?;
    let alike = |block: &&Cover| {
        block.axes == first.axes
            && (0..first.axes.len()).all(|other| other == place || block.lengths[other] == first.lengths[other])
    };
    if first.axes.len() != 2 || !blocks.iter().all(alike) {
        return None;
    }
    let inner: usize = first.lengths[place + 1..].iter().product();
    let outer: usize = first.lengths[..place].iter().product();
    let labels: Arc<[Label]> = (0..outer)
        .flat_map(|row| {
            blocks.iter().flat_map(move |block| {
                let step = block.lengths[place] * inner;
                block.labels[row * step..(row + 1) * step].iter().copied()
            })
        })
        .collect();
    let mut lengths = first.lengths.clone();
    lengths[place] = blocks.iter().map(|block| block.lengths[place]).sum();
    Some(Cover { axes: first.axes.clone(), lengths, labels, origins: Vec::new() })
}

/// The positions that a Slice of step 1 takes.
pub(in crate::axes) fn slice_range(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let place = |position: i64| {
        let position = if position < 0 { position.saturating_add(length) } else { position };
        position.clamp(0, length) as usize
    };
    place(start)..place(end).max(place(start))
}
