//! Normalisations, softmax, dropout.

use super::joining::axis_of;
use crate::axes::Reason;
use crate::axes::pass::{Alone, Pass, State};
use crate::graph::NodeId;

impl Pass<'_> {
    pub(super) fn dropout(&mut self, node: NodeId) {
        self.unchanged(node, 0);
        let operator = self.graph.node(node);
        if let (Some(mask), Some(output)) = (operator.output(1), operator.output(0))
            && let Some(state) = self.load(output)
        {
            self.store(mask, state);
        }
    }

    /// Batch and instance normalisation: every other input has an element for each channel.
    pub(super) fn batch_normalization(&mut self, node: NodeId) {
        let Some((mut state, y, _)) = self.one_to_one(node) else { return };
        let operator = self.graph.node(node);
        if state.rank() < 2 {
            return self.store(y, state);
        }
        let alone = self.alone(&mut state, 1);
        for &vector in operator.inputs().iter().skip(1).flatten() {
            self.tie_vector(vector, &alone);
        }
        let length = state.lengths[1];
        self.store(y, state);
        for &statistic in operator.outputs().iter().skip(1).flatten() {
            let single = self.reason(Reason::Single);
            let mut vector = State::fixed(vec![length], single);
            vector.set(0, &alone);
            self.store(statistic, vector);
        }
    }

    /// Layer and root-mean-square normalisation over the axes from `axis` on.
    pub(super) fn layer_normalization(&mut self, node: NodeId, axis: i64) {
        let Some((mut state, y, lengths)) = self.one_to_one(node) else { return };
        let operator = self.graph.node(node);
        let Some(first) = axis_of(axis, state.rank()) else { return };
        for axis in first..state.rank() {
            self.freeze_over(node, &mut state, axis);
        }
        for &scale in operator.inputs().iter().skip(1).flatten() {
            let Some(scale) = self.load(scale) else {
                let reason = self.unknown_shape(&[scale], y);
                return self.give_up(node, reason);
            };
            state = self.broadcast(node, &mut [state, scale], lengths.clone());
        }
        self.store(y, state);
        for slot in 1..operator.outputs().len() {
            let over = self.because(Reason::Over, node);
            if operator.output(slot).is_some()
                && let Some(mut state) = self.load(y)
            {
                self.fix_all(&mut state, over);
                self.fixed_output(node, slot, over);
            }
        }
    }

    /// A group's channels share their mean: a group goes as a whole, unless approximation is allowed.
    pub(super) fn group_normalization(&mut self, node: NodeId, groups: i64) {
        let Some((mut state, y, _)) = self.one_to_one(node) else { return };
        let operator = self.graph.node(node);
        let groups = usize::try_from(groups).unwrap_or(0);
        let channels = state.lengths.get(1).copied().flatten().unwrap_or(0);
        if state.rank() < 2 || groups == 0 || channels % groups != 0 {
            let reason = self.because(Reason::NoRule, node);
            return self.give_up(node, reason);
        }
        let alone = self.alone(&mut state, 1);
        for &vector in operator.inputs().iter().skip(1).flatten() {
            self.tie_vector(vector, &alone);
        }
        let each = (channels / groups).max(1);
        if let Alone::Labels(labels) = &alone {
            if groups == 1 && !self.options.approximate {
                let over = self.because(Reason::Over, node);
                self.labels.freeze_all(labels, over);
            } else if self.options.approximate {
                self.block(labels, each, node);
            } else {
                for group in labels.chunks(each) {
                    for &label in group {
                        self.labels.unite(group[0], label);
                    }
                }
            }
        }
        self.store(y, state);
    }

    /// Something over some axes, whose result has the input's shape.
    pub(super) fn normalized_over(&mut self, node: NodeId, axes: &[i64]) {
        let Some((mut state, y, _)) = self.one_to_one(node) else { return };
        for axis in axes.iter().filter_map(|&axis| axis_of(axis, state.rank())).collect::<Vec<_>>() {
            self.freeze_over(node, &mut state, axis);
        }
        self.store(y, state);
    }

    /// Some axes must stay; the result has the input's shape.
    pub(super) fn fixed_axes(&mut self, node: NodeId, axes: &[i64]) {
        let Some((mut state, y, _)) = self.one_to_one(node) else { return };
        let reason = self.because(Reason::NoRule, node);
        for axis in axes.iter().filter_map(|&axis| axis_of(axis, state.rank())).collect::<Vec<_>>() {
            self.fix(&mut state, axis, reason);
        }
        self.store(y, state);
    }
}
