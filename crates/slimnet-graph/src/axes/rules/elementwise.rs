//! Operators that act on each element alone, with broadcasting: equal positions go together.

use std::sync::Arc;

use crate::axes::Reason;
use crate::axes::labels::{Label, ReasonId};
use crate::axes::pass::{Alone, Axis, Cover, Pass, State};
use crate::graph::{NodeId, ValueId};

impl Pass<'_> {
    /// An output whose covers are those of one input of the same shape.
    pub(in crate::axes) fn unchanged(&mut self, node: NodeId, input: usize) {
        let graph = self.graph;
        let node = graph.node(node);
        if let (Some(input), Some(output)) = (node.input(input), node.output(0))
            && let Some(state) = self.load(input)
        {
            self.store(output, state);
        }
    }

    /// An elementwise operator of the inputs at `slots`.
    pub(in crate::axes) fn elementwise(&mut self, node: NodeId, slots: &[usize]) {
        let graph = self.graph;
        let Some(output) = graph.node(node).output(0) else { return };
        let inputs: Vec<ValueId> = slots.iter().filter_map(|&slot| graph.node(node).input(slot)).collect();
        let states: Option<Vec<State>> = inputs.iter().map(|&input| self.load(input)).collect();
        let (Some(mut states), Some(lengths)) = (states, self.lengths(output)) else {
            let reason = self.unknown_shape(&inputs, output);
            return self.give_up(node, reason);
        };
        let state = self.broadcast(node, &mut states, lengths);
        self.store(output, state);
    }

    /// The reason that one of these has no shape.
    pub(in crate::axes) fn unknown_shape(&mut self, inputs: &[ValueId], output: ValueId) -> ReasonId {
        let graph = self.graph;
        let unknown = inputs.iter().find(|input| self.types.shape(**input).is_none()).unwrap_or(&output);
        self.reason(Reason::UnknownShape(graph.value(*unknown).name.clone()))
    }

    /// Ties states that are broadcast against each other, and gives the result's.
    pub(in crate::axes) fn broadcast(
        &mut self,
        node: NodeId,
        states: &mut [State],
        lengths: Vec<Option<usize>>,
    ) -> State {
        let rank = lengths.len();
        for state in states.iter_mut() {
            self.refresh(state);
            lift(state, rank);
        }
        let single = self.reason(Reason::Single);
        let mut result = State::fixed(lengths, single);
        let mut done = vec![false; rank];
        for axis in 0..rank {
            if done[axis] {
                continue;
            }
            let component = component(states, axis);
            for &axis in &component {
                done[axis] = true;
            }
            if let [axis] = component[..] {
                self.broadcast_axis(node, states, axis, &mut result);
            } else {
                self.broadcast_block(states, &component, &mut result);
            }
        }
        result
    }

    /// An axis that no block includes.
    fn broadcast_axis(&mut self, node: NodeId, states: &mut [State], axis: usize, result: &mut State) {
        // A covered axis first: its labels are then adopted by those that are free; a fixed one freezes the others.
        let mut order: Vec<usize> = (0..states.len()).filter(|&index| states[index].lengths[axis] != Some(1)).collect();
        order.sort_by_key(|&index| match states[index].axes[axis] {
            Axis::Covered => 0,
            Axis::Fixed(_) => 1,
            Axis::Free => 2,
        });
        let Some((&first, rest)) = order.split_first() else { return };
        if rest.is_empty() {
            if states[first].lengths[axis] != result.lengths[axis] {
                let reason = self.because(Reason::Repeated, node);
                return self.fix(&mut states[first], axis, reason);
            }
            return result.take(&states[first], &[(axis, axis)]);
        }
        let alone = self.alone(&mut states[first], axis);
        for &other in rest {
            if states[other].lengths[axis] == result.lengths[axis] || states[other].lengths[axis].is_none() {
                self.tie(&mut states[other], axis, &alone);
            }
        }
        let fixed = order.iter().find_map(|&index| match states[index].axes[axis] {
            Axis::Fixed(reason) => Some(reason),
            _ => None,
        });
        match (alone, fixed) {
            (_, Some(reason)) => {
                // An axis of unknown length may be longer than the labels.
                for &index in &order {
                    self.fix(&mut states[index], axis, reason);
                }
                result.axes[axis] = Axis::Fixed(reason);
            }
            (alone, None) => {
                result.set(axis, &alone);
                if let Some(own) = result.covers.last_mut() {
                    own.origins = common_origins(states.iter().filter(|state| state.lengths[axis] != Some(1)), &[axis]);
                }
                result.origins[axis] = states[first].origins[axis];
            }
        }
    }

    /// Axes that blocks tie to each other.
    fn broadcast_block(&mut self, states: &mut [State], axes: &[usize], result: &mut State) {
        let within = |state: &State| -> Vec<Cover> {
            state.covers.iter().filter(|cover| cover.axes.iter().all(|axis| axes.contains(axis))).cloned().collect()
        };
        let Some(reference) = states.iter().flat_map(within).max_by_key(|cover| cover.axes.len()) else { return };
        let covers_all = axes.iter().all(|axis| reference.axes.contains(axis));
        for state in states.iter_mut() {
            let takes_part: Vec<_> = axes.iter().copied().filter(|&axis| state.lengths[axis] != Some(1)).collect();
            if takes_part.is_empty() {
                continue;
            }
            if covers_all && takes_part.len() == axes.len() && axes.iter().all(|&axis| state.axes[axis] == Axis::Free) {
                self.adopt(state, &reference.axes, &reference.lengths, &reference.labels);
                continue;
            }
            let mut open = takes_part;
            for cover in within(state) {
                open.retain(|axis| !cover.axes.contains(axis));
                if cover.axes == reference.axes {
                    self.labels.unite_all(&cover.labels, &reference.labels);
                    continue;
                }
                for &axis in &cover.axes {
                    let other = Alone::Labels(self.alone_in(&cover, axis));
                    self.tie_block(&reference, axis, &other);
                }
            }
            for axis in open {
                let other = self.alone(state, axis);
                self.tie_block(&reference, axis, &other);
            }
        }
        let origins = common_origins(states.iter(), &reference.axes);
        let mut extra: Vec<Cover> = Vec::new();
        for axis in axes.iter().copied().filter(|axis| !reference.axes.contains(axis)) {
            let mut singles = State::fixed(result.lengths.clone(), 0);
            self.broadcast_axis_labels(states, axis, &mut singles);
            extra.append(&mut singles.covers);
            result.axes[axis] = singles.axes[axis];
        }
        for &axis in &reference.axes {
            result.axes[axis] = Axis::Covered;
        }
        result.covers.push(Cover { origins, ..reference });
        result.covers.append(&mut extra);
    }

    /// An axis of a component that the component's largest block leaves out: every block is taken apart along it.
    fn broadcast_axis_labels(&mut self, states: &mut [State], axis: usize, result: &mut State) {
        let mut first: Option<Alone> = None;
        for state in states.iter_mut().filter(|state| state.lengths[axis] != Some(1)) {
            match &first {
                None => first = Some(self.alone(state, axis)),
                Some(first) => self.tie(state, axis, first),
            }
        }
        if let Some(first) = first {
            result.set(axis, &first);
        }
    }

    /// Ties one axis of a block to labels or to a reason why it must stay.
    pub(in crate::axes) fn tie_block(&mut self, block: &Cover, axis: usize, other: &Alone) {
        let Some(place) = block.axes.iter().position(|&own| own == axis) else { return };
        let inner: usize = block.lengths[place + 1..].iter().product();
        let at = |labels: &Arc<[Label]>, index: usize| labels[index / inner % block.lengths[place]];
        if place == 0 {
            let rows = self.labels.rows(&block.labels, inner);
            match other {
                Alone::Labels(labels) => self.labels.unite_all(&rows, labels),
                Alone::Fixed(reason) => self.labels.freeze_all(&rows, *reason),
            }
            return;
        }
        match other {
            Alone::Labels(labels) => {
                for (index, &label) in block.labels.iter().enumerate() {
                    self.labels.unite(label, at(labels, index));
                }
            }
            Alone::Fixed(reason) => self.fix_within(block, axis, *reason),
        }
    }
}

/// The covers of initializers that a result along these axes is made of, if nothing else is in it.
fn common_origins<'a>(states: impl Iterator<Item = &'a State>, axes: &[usize]) -> Vec<(ValueId, usize)> {
    let mut all = Vec::new();
    for state in states {
        let own = state.covers.iter().find(|cover| cover.axes == axes).map(|cover| &cover.origins);
        match own {
            Some(origins) if !origins.is_empty() => all.extend_from_slice(origins),
            _ => return Vec::new(),
        }
    }
    all
}

/// Puts axes of length 1 before the others, up to `rank` of them.
fn lift(state: &mut State, rank: usize) {
    let more = rank.saturating_sub(state.rank());
    for cover in &mut state.covers {
        cover.axes.iter_mut().for_each(|axis| *axis += more);
    }
    state.lengths.splice(0..0, std::iter::repeat_n(Some(1), more));
    state.axes.splice(0..0, std::iter::repeat_n(Axis::Fixed(0), more));
    state.origins.splice(0..0, std::iter::repeat_n(None, more));
}

/// The axes that covers of any of the states tie to this one, ascending.
fn component(states: &[State], axis: usize) -> Vec<usize> {
    let mut axes = vec![axis];
    let mut next = 0;
    while next < axes.len() {
        let axis = axes[next];
        next += 1;
        for cover in states.iter().flat_map(|state| &state.covers).filter(|cover| cover.axes.contains(&axis)) {
            for &other in &cover.axes {
                if !axes.contains(&other) {
                    axes.push(other);
                }
            }
        }
    }
    axes.sort_unstable();
    axes
}
