//! Reductions and their relatives along axes.

use super::joining::axis_of;
use crate::axes::Reason;
use crate::axes::pass::{Axis, Pass, State};
use crate::graph::NodeId;
use crate::ops::reduction::{ArgReduce, Reduce};

impl Pass<'_> {
    pub(super) fn reduction(&mut self, node: NodeId, reduce: &Reduce) {
        let Some((state, y, _)) = self.one_to_one(node) else { return };
        let given = self.graph.node(node).input(1).map(|_| self.integers(node, 1));
        let axes: Option<Vec<usize>> = match given {
            None => Some(Vec::new()),
            Some(None) => None,
            Some(Some(axes)) => axes.iter().map(|&axis| axis_of(axis, state.rank())).collect(),
        };
        match axes {
            None => {
                let reason = self.because(Reason::Over, node);
                self.give_up(node, reason);
            }
            Some(axes) if axes.is_empty() && reduce.noop_with_empty_axes => self.store(y, state),
            Some(axes) if axes.is_empty() => self.reduce(node, &(0..state.rank()).collect::<Vec<_>>(), reduce.keepdims),
            Some(axes) => self.reduce(node, &axes, reduce.keepdims),
        }
    }

    pub(super) fn arg_reduction(&mut self, node: NodeId, reduce: &ArgReduce) {
        let Some((state, ..)) = self.one_to_one(node) else { return };
        if let Some(axis) = axis_of(reduce.axis, state.rank()) {
            self.reduce(node, &[axis], reduce.keepdims);
        }
    }

    pub(super) fn top_k(&mut self, node: NodeId, axis: i64) {
        let Some((mut state, y, lengths)) = self.one_to_one(node) else { return };
        let Some(axis) = axis_of(axis, state.rank()) else { return };
        // How many are taken does not shrink with the axis, so approximation does not help.
        let over = self.because(Reason::Over, node);
        self.fix(&mut state, axis, over);
        let names: Vec<_> = (0..state.rank()).filter(|&other| other != axis).map(|axis| (axis, axis)).collect();
        let mut result = State::fixed(lengths, over);
        self.carry(&mut result, &state, &names);
        result.axes[axis] = Axis::Fixed(over);
        self.store(y, result.clone());
        if let Some(indices) = self.graph.node(node).output(1) {
            self.store(indices, result);
        }
    }

    pub(super) fn cumulative(&mut self, node: NodeId) {
        if let Some(&[axis]) = self.integers(node, 1).as_deref() {
            return self.normalized_over(node, &[axis]);
        }
        let over = self.because(Reason::Over, node);
        self.give_up(node, over);
    }
}
