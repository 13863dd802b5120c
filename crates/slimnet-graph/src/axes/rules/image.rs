//! Pooling and resampling: windows slide along space, channels pass.

use super::shapes::Kept;
use crate::axes::Reason;
use crate::axes::pass::{Pass, State};
use crate::graph::NodeId;

impl Pass<'_> {
    /// Batch and channels pass; the other axes of the first input must stay.
    fn channels_pass(&mut self, node: NodeId) -> Option<()> {
        let (mut state, y, lengths) = self.one_to_one(node)?;
        let space = self.because(Reason::Space, node);
        for axis in 2..state.rank() {
            self.fix(&mut state, axis, space);
        }
        let mut result = State::fixed(lengths, space);
        let names: Vec<_> = (0..2.min(state.rank()).min(result.rank())).map(|axis| (axis, axis)).collect();
        self.carry(&mut result, &state, &names);
        self.store(y, result);
        Some(())
    }

    pub(super) fn pool(&mut self, node: NodeId) {
        self.channels_pass(node);
        if self.graph.node(node).output(1).is_some() {
            // Indices of a maximum count through channels too.
            let reason = self.because(Reason::ComputedIndex, node);
            self.give_up(node, reason);
        }
    }

    /// Sampling of images at places that other inputs give.
    pub(super) fn sampled(&mut self, node: NodeId) {
        let graph = self.graph;
        let reason = self.because(Reason::ComputedIndex, node);
        for &input in graph.node(node).inputs().iter().skip(1).flatten() {
            if let Some(mut state) = self.load(input) {
                self.fix_all(&mut state, reason);
            }
        }
        self.channels_pass(node);
    }

    pub(super) fn resize(&mut self, node: NodeId, whole: bool) {
        let Some((mut state, y, lengths)) = self.one_to_one(node) else { return };
        let space = self.because(Reason::Space, node);
        let sizes = self.graph.node(node).input(3).is_some();
        let mut names = Vec::new();
        for axis in 0..state.rank() {
            let same = lengths.get(axis) == Some(&state.lengths[axis]) && state.lengths[axis].is_some();
            // Sizes that stand in a constant are changed with the axis; scales are 1 here.
            let follows = !sizes
                || (whole && self.kept_entry(node, 3, axis) != Kept::Stuck)
                || self.known_input(node, 3).is_some();
            if same && axis < 2 && follows {
                names.push((axis, axis));
            } else {
                self.fix(&mut state, axis, space);
            }
        }
        let mut result = State::fixed(lengths, space);
        self.carry(&mut result, &state, &names);
        self.store(y, result);
    }
}
