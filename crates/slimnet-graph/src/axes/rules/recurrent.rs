//! Recurrent layers: the state's units label every gate's rows, the recurrent columns and the outputs.

use std::sync::Arc;

use crate::axes::Reason;
use crate::axes::labels::Label;
use crate::axes::pass::{Axis, Cover, Pass, State};
use crate::graph::{NodeId, ValueId, known_shape};

impl Pass<'_> {
    /// A layer with `gates` gates. Directions keep equally many units, and none goes as a whole.
    pub(super) fn recurrent(&mut self, node: NodeId, batch_first: bool, gates: usize, peepholes: bool) {
        let graph = self.graph;
        let operator = graph.node(node);
        let inputs: Vec<Option<ValueId>> = (0..8).map(|slot| operator.input(slot)).collect();
        let (Some(x), Some(w_id), Some(r_id)) = (inputs[0], inputs[1], inputs[2]) else { return };
        let reason = self.because(Reason::NoRule, node);
        let shape = self.types.shape(r_id).and_then(known_shape);
        let (Some(mut x), Some(mut w), Some(mut r), Some(&[directions, rows, units])) =
            (self.load(x), self.load(w_id), self.load(r_id), shape.as_deref())
        else {
            return self.give_up(node, reason);
        };
        // Labels of the units, repeated for every gate of the weights, the recurrent weights and the biases.
        let room = directions.saturating_mul(units).saturating_mul(6 * gates);
        if x.rank() != 3 || w.rank() != 3 || Some(rows) != units.checked_mul(gates) || !self.take_room(room) {
            return self.give_up(node, reason);
        }
        for axis in 0..2 {
            self.fix(&mut x, axis, reason);
        }
        let read = self.alone(&mut x, 2);
        self.tie(&mut w, 2, &read);
        self.mark_reads(w_id, &w, 2);
        let labels = self.labels.fresh_axis(directions * units);
        if units < 2 {
            self.labels.freeze_all(&labels, reason);
        }
        if directions > 1 {
            let whole = self.labels.rows(&labels, units);
            self.labels.freeze_all(&whole, reason);
            self.block(&labels, units, node);
        }
        let repeated = |times: usize| -> Arc<[Label]> {
            labels.chunks(units.max(1)).flat_map(|row| std::iter::repeat_n(row, times).flatten().copied()).collect()
        };
        let each = |times: usize| [directions, times * units];
        self.tie_directed(&mut w, &[0, 1], each(gates), &repeated(gates));
        self.tie_directed(&mut r, &[0, 1], each(gates), &repeated(gates));
        self.tie_directed(&mut r, &[0, 2], each(1), &labels);
        self.mark_reads(r_id, &r, 2);
        let states = if batch_first { [1, 2] } else { [0, 2] };
        let mut others: Vec<(usize, [usize; 2], usize)> = vec![(3, [0, 1], 2 * gates), (5, states, 1)];
        if peepholes {
            others.extend([(6, states, 1), (7, [0, 1], 3)]);
        }
        for (slot, axes, times) in others {
            if let Some(mut state) = inputs[slot].and_then(|input| self.load(input)) {
                self.tie_directed(&mut state, &axes, each(times), &repeated(times));
            }
        }
        for (slot, &output) in operator.outputs().iter().enumerate() {
            let Some((output, lengths)) = output.and_then(|output| Some((output, self.lengths(output)?))) else {
                continue;
            };
            let directed = match (slot, batch_first) {
                (0, false) => [1, 3],
                (0, true) => [2, 3],
                (_, false) => [0, 2],
                (_, true) => [1, 2],
            };
            let mut state = State::fixed(lengths, reason);
            if directed[1] < state.rank() {
                let cover = directed_cover(&directed, each(1), &labels);
                cover.axes.iter().for_each(|&axis| state.axes[axis] = Axis::Covered);
                state.covers.push(cover);
            }
            self.store(output, state);
        }
    }

    /// Ties (direction, unit) axes to labels.
    fn tie_directed(&mut self, state: &mut State, axes: &[usize; 2], lengths: [usize; 2], labels: &Arc<[Label]>) {
        let cover = directed_cover(axes, lengths, labels);
        if cover.axes.iter().any(|&axis| axis >= state.rank()) || lengths[1] < 2 {
            return;
        }
        self.refresh(state);
        if let Some(own) = state.covers.iter().find(|own| own.axes == cover.axes) {
            return self.labels.unite_all(&own.labels, labels);
        }
        let unit = cover.axes[cover.axes.len() - 1];
        if state.axes[unit] == Axis::Free {
            return self.adopt(state, &cover.axes, &cover.lengths, labels);
        }
        for &axis in &cover.axes {
            let alone = self.alone(state, axis);
            self.tie_block(&cover, axis, &alone);
        }
    }
}

/// A cover over (direction, unit), or over units alone where there is one direction.
fn directed_cover(axes: &[usize; 2], lengths: [usize; 2], labels: &Arc<[Label]>) -> Cover {
    let skip = usize::from(lengths[0] == 1);
    Cover {
        axes: axes[skip..].to_vec(),
        lengths: lengths[skip..].to_vec(),
        labels: labels.clone(),
        origins: Vec::new(),
    }
}
