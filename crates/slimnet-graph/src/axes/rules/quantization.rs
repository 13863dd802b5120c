//! Quantization: scales and zero points along an axis follow it.

use super::joining::axis_of;
use crate::axes::Reason;
use crate::axes::pass::Pass;
use crate::graph::NodeId;

impl Pass<'_> {
    /// `QuantizeLinear` and `DequantizeLinear`.
    pub(super) fn scaled(&mut self, node: NodeId, axis: i64, block: i64) {
        let Some((mut state, y, _)) = self.one_to_one(node) else { return };
        let operator = self.graph.node(node);
        for &scale in operator.inputs().iter().skip(1).flatten() {
            let Some(mut own) = self.load(scale) else {
                let reason = self.unknown_shape(&[scale], y);
                return self.give_up(node, reason);
            };
            let Some(axis) = axis_of(axis, state.rank()) else { continue };
            if block != 0 && own.rank() == state.rank() {
                let reason = self.because(Reason::NoRule, node);
                for axis in 0..state.rank() {
                    self.fix(&mut state, axis, reason);
                    self.fix(&mut own, axis, reason);
                }
            } else if own.rank() == 1 && own.lengths[0] != Some(1) {
                let alone = self.alone(&mut state, axis);
                self.tie(&mut own, 0, &alone);
            }
        }
        self.store(y, state);
    }

    /// The scale is taken from all elements.
    pub(super) fn dynamic_quantize(&mut self, node: NodeId) {
        let Some((mut state, y, _)) = self.one_to_one(node) else { return };
        for axis in 0..state.rank() {
            self.freeze_over(node, &mut state, axis);
        }
        self.store(y, state);
        let over = self.because(Reason::Over, node);
        self.fixed_output(node, 1, over);
        self.fixed_output(node, 2, over);
    }

    /// A matrix product with scales or zero points, perhaps one for each row of the first or column of the second.
    pub(super) fn quantized_mat_mul(&mut self, node: NodeId, operands: [usize; 2], rows: &[usize], columns: &[usize]) {
        self.mat_mul(node, operands[0], operands[1]);
        let operator = self.graph.node(node);
        let Some(y) = operator.output(0) else { return };
        for (slots, from_end) in [(rows, 2), (columns, 1)] {
            for vector in slots.iter().filter_map(|&slot| operator.input(slot)) {
                let Some(mut state) = self.load(y) else { return };
                if state.rank() >= from_end && self.rank(vector) == Some(1) {
                    let axis = state.rank() - from_end;
                    let alone = self.alone(&mut state, axis);
                    self.tie_vector(vector, &alone);
                } else if self.rank(vector) != Some(0) && self.rank(vector) != Some(1) {
                    let reason = self.because(Reason::NoRule, node);
                    return self.give_up(node, reason);
                }
            }
        }
    }
}
