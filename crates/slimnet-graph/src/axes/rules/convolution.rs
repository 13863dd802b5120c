//! Convolutions: the weights' output axis labels the output's channels, their input axis reads the input's.

use std::sync::Arc;

use crate::axes::Reason;
use crate::axes::labels::Label;
use crate::axes::pass::{Alone, Axis, Pass, State};
use crate::graph::{NodeId, ValueId};

/// Where a convolution has its inputs, and its weights their axes.
pub(super) struct Layout {
    pub(super) x: usize,
    pub(super) weight: usize,
    /// The bias and whatever else has one element for each output channel (or one at all).
    pub(super) per_output: &'static [usize],
    pub(super) group: i64,
    /// Whether the weights are `[C, M / group, …]` instead of `[M, C / group, …]`.
    pub(super) transposed: bool,
}

impl Pass<'_> {
    pub(super) fn convolution(&mut self, node: NodeId, layout: &Layout) {
        let graph = self.graph;
        let operator = graph.node(node);
        let (Some(x_id), Some(w_id), Some(y_id)) =
            (operator.input(layout.x), operator.input(layout.weight), operator.output(0))
        else {
            return;
        };
        let (Some(mut x), Some(mut w), Some(lengths)) = (self.load(x_id), self.load(w_id), self.lengths(y_id)) else {
            let reason = self.unknown_shape(&[x_id, w_id], y_id);
            return self.give_up(node, reason);
        };
        let group = usize::try_from(layout.group).unwrap_or(0);
        let sizes = (x.rank() >= 2 && lengths.len() >= 2 && w.rank() >= 2 && group > 0)
            .then(|| grouped_sizes(&x, &w, group, layout.transposed))
            .flatten();
        let room = |sizes: &[usize; 3]| match sizes[0] {
            1 => 0,
            group => sizes[1].saturating_add(sizes[2]).saturating_add(sizes[1].saturating_mul(sizes[2] / group)),
        };
        let Some(sizes) = sizes.filter(|sizes| self.take_room(room(sizes))) else {
            let reason = self.because(Reason::NoRule, node);
            return self.give_up(node, reason);
        };
        let space = self.because(Reason::Space, node);
        for axis in 2..x.rank() {
            self.fix(&mut x, axis, space);
        }
        for axis in 2..w.rank() {
            self.fix(&mut w, axis, space);
        }
        let x_alone = self.alone(&mut x, 1);
        let y_alone = if group == 1 {
            let (read, written) = if layout.transposed { (0, 1) } else { (1, 0) };
            self.tie(&mut w, read, &x_alone);
            self.mark_reads(w_id, &w, read);
            self.alone(&mut w, written)
        } else {
            self.grouped(node, (w_id, &mut w), &x_alone, &sizes, layout.transposed)
        };
        let mut y = State::fixed(lengths, space);
        y.axes[0] = x.axes[0];
        if x.covered(0) {
            let batch = self.alone(&mut x, 0);
            y.set(0, &batch);
        }
        y.set(1, &y_alone);
        for input in layout.per_output.iter().filter_map(|&slot| operator.input(slot)) {
            self.tie_vector(input, &y_alone);
        }
        self.store(y_id, y);
    }

    /// Ties the only axis of a vector of one element for each position (a scalar stands for all).
    pub(super) fn tie_vector(&mut self, vector: ValueId, alone: &Alone) {
        let Some(mut state) = self.load(vector) else {
            if let Alone::Labels(labels) = alone {
                let reason = self.reason(Reason::UnknownShape(self.graph.value(vector).name.clone()));
                self.labels.freeze_all(labels, reason);
            }
            return;
        };
        if state.rank() == 1 && state.lengths[0] != Some(1) {
            self.tie(&mut state, 0, alone);
        }
    }

    /// The output channels of a grouped convolution. A group goes as a whole on both sides; within the groups that stay,
    /// equally many channels.
    fn grouped(
        &mut self,
        node: NodeId,
        (w_id, w): (ValueId, &mut State),
        x: &Alone,
        sizes: &[usize; 3],
        transposed: bool,
    ) -> Alone {
        let [group, inputs, outputs] = *sizes;
        let (inputs_each, outputs_each) = (inputs / group, outputs / group);
        let x_labels = self.labelled(x, inputs);
        let y_labels = if transposed {
            self.labels.fresh_axis(outputs)
        } else {
            let alone = self.alone(w, 0);
            self.labelled(&alone, outputs)
        };
        if inputs_each == 1 || outputs_each == 1 {
            // The group is one channel: all that belongs to it goes with it.
            let (one, many, each) = if inputs_each == 1 {
                (&x_labels, &y_labels, outputs_each)
            } else {
                (&y_labels, &x_labels, inputs_each)
            };
            if inputs_each == 1 {
                for (index, &label) in many.iter().enumerate() {
                    self.labels.unite(one[index / each], label);
                }
            } else {
                let rows = self.labels.rows(many, each);
                self.labels.unite_all(one, &rows);
            }
        } else {
            let (x_rows, y_rows) =
                (self.labels.rows(&x_labels, inputs_each), self.labels.rows(&y_labels, outputs_each));
            self.labels.unite_all(&x_rows, &y_rows);
        }
        self.block(&x_labels, inputs_each, node);
        self.block(&y_labels, outputs_each, node);
        // The weights' grouped axis: each row of their other axis has the labels of its own group's channels.
        let (rows, rows_each, columns, columns_each) = if transposed {
            (inputs, inputs_each, &y_labels, outputs_each)
        } else {
            (outputs, outputs_each, &x_labels, inputs_each)
        };
        if transposed {
            self.tie(w, 0, &Alone::Labels(x_labels.clone()));
            self.mark_reads(w_id, w, 0);
        }
        if columns_each > 1 {
            let labels: Arc<[Label]> = (0..rows)
                .flat_map(|row| columns[row / rows_each * columns_each..][..columns_each].iter().copied())
                .collect();
            self.tie_grouped_axis(w, rows, columns_each, &labels);
            if !transposed {
                self.mark_reads(w_id, w, 1);
            }
        }
        Alone::Labels(y_labels)
    }

    /// Labels for each of `count` positions, new and frozen ones if the axis is fixed.
    fn labelled(&mut self, alone: &Alone, count: usize) -> Arc<[Label]> {
        match alone {
            Alone::Labels(labels) => labels.clone(),
            Alone::Fixed(reason) => {
                let labels = self.labels.fresh_axis(count);
                self.labels.freeze_all(&labels, *reason);
                labels
            }
        }
    }

    /// Ties axis 1 of grouped weights, row by row.
    fn tie_grouped_axis(&mut self, w: &mut State, rows: usize, each: usize, labels: &Arc<[Label]>) {
        self.refresh(w);
        if w.axes[1] == Axis::Free {
            return self.adopt(w, &[0, 1], &[rows, each], labels);
        }
        let block = w.covers.iter().find(|cover| cover.axes == [0, 1]).cloned();
        if let Some(block) = block {
            return self.labels.unite_all(&block.labels, labels);
        }
        match self.alone(w, 1) {
            Alone::Labels(own) => {
                for (index, &label) in labels.iter().enumerate() {
                    self.labels.unite(own[index % each], label);
                }
            }
            Alone::Fixed(reason) => self.labels.freeze_all(labels, reason),
        }
    }
}

/// Groups, input and output channels of a convolution, if they are known and agree.
fn grouped_sizes(x: &State, w: &State, group: usize, transposed: bool) -> Option<[usize; 3]> {
    let (first, second) = (w.lengths[0]?, w.lengths[1]?.checked_mul(group)?);
    let (inputs, outputs) = if transposed { (first, second) } else { (second, first) };
    let agree = x.lengths[1].is_none_or(|channels| channels == inputs);
    (agree && inputs > 0 && outputs > 0 && inputs % group == 0 && outputs % group == 0)
        .then_some([group, inputs, outputs])
}
