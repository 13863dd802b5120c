//! Operators that are told the shape of their result, and those that tell a shape.

use crate::axes::Reason;
use crate::axes::labels::Label;
use crate::axes::pass::{Alone, Axis, Pass, State};
use crate::graph::{Dim, Graph, NodeId, ValueId};
use crate::infer::Inference;
use crate::ops::Op;
use crate::ops::elementwise::Unary;

/// Where an element of a tensor that says a shape comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShapeEntry {
    /// A number in a constant.
    Literal(i64),
    /// The length of an axis of a value, at run time.
    Axis(ValueId, usize),
    /// Something else.
    Unknown,
}

/// What becomes of a length in a shape when positions of its axis go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It follows by itself, or stands in a constant that the node reads.
    Follows,
    /// It is the length of another value's axis.
    AxisOf(ValueId, usize),
    /// It would stay as it is.
    Stuck,
}

impl ShapeEntry {
    /// Follows element `index` of a tensor of at most one axis to where it comes from.
    fn of(graph: &Graph, types: &Inference, mut value: ValueId, mut index: usize) -> Self {
        loop {
            if let Some(data) = types.data(graph, value) {
                let known = data.to_i64s().ok().and_then(|data| data.get(index).copied());
                return known.map_or(Self::Unknown, Self::Literal);
            }
            let Some(producer) = graph.value(value).producer() else { return Self::Unknown };
            let node = graph.node(producer);
            let Some(first) = node.input(0) else { return Self::Unknown };
            let length = |value: ValueId| match types.shape(value) {
                Some([]) => Some(1),
                Some([length]) => length.known(),
                _ => None,
            };
            let literals = |slot: usize| types.data(graph, node.input(slot)?)?.to_i64s().ok();
            let place = |position: i64, length: usize| super::joining::axis_of(position, length);
            match &node.op {
                Op::Unary(Unary::Identity)
                | Op::Cast(_)
                | Op::Squeeze(_)
                | Op::Unsqueeze(_)
                | Op::Reshape(_)
                | Op::Flatten(_) => value = first,
                Op::Concat(_) => {
                    let mut found = None;
                    for &part in node.inputs().iter().flatten() {
                        let Some(length) = length(part) else { return Self::Unknown };
                        if index < length {
                            found = Some(part);
                            break;
                        }
                        index -= length;
                    }
                    let Some(part) = found else { return Self::Unknown };
                    value = part;
                }
                Op::Gather(_) => {
                    let chosen = literals(1).and_then(|indices| indices.get(index).copied());
                    let Some(position) = chosen.zip(length(first)).and_then(|(at, length)| place(at, length)) else {
                        return Self::Unknown;
                    };
                    (value, index) = (first, position);
                }
                Op::Slice(_) if literals(4).is_none_or(|steps| steps == [1]) => {
                    let start = literals(1).filter(|starts| starts.len() == 1).zip(length(first));
                    let Some((start, length)) = start else { return Self::Unknown };
                    let start = super::joining::slice_range(start[0], i64::MAX, length).start;
                    (value, index) = (first, start.saturating_add(index));
                }
                Op::Shape(shape) => {
                    let rank = types.shape(first).map_or(0, <[Dim]>::len);
                    let start = super::joining::slice_range(shape.start, i64::MAX, rank).start;
                    let axis = start.saturating_add(index);
                    return if axis < rank { Self::Axis(first, axis) } else { Self::Unknown };
                }
                _ => return Self::Unknown,
            }
        }
    }
}

impl Pass<'_> {
    /// What becomes of the entry for `axis` in the shape that the input at `slot` says.
    pub(super) fn kept_entry(&self, node: NodeId, slot: usize, axis: usize) -> Kept {
        let graph = self.graph;
        let Some(input) = graph.node(node).input(slot) else { return Kept::Follows };
        if self.known_data(input).is_some() {
            return Kept::Follows;
        }
        match ShapeEntry::of(graph, &self.types, input, axis) {
            ShapeEntry::Literal(-1) => Kept::Follows,
            ShapeEntry::Literal(0) if matches!(graph.node(node).op, Op::Reshape(_)) => Kept::Follows,
            ShapeEntry::Axis(value, axis) => Kept::AxisOf(value, axis),
            ShapeEntry::Literal(_) | ShapeEntry::Unknown => Kept::Stuck,
        }
    }

    /// Freezes axes of a result whose lengths come from computed shapes that would not change with them.
    fn check_entries(&mut self, node: NodeId, slot: usize) {
        let graph = self.graph;
        let Some(y) = graph.node(node).output(0) else { return };
        if graph.node(node).input(slot).is_none_or(|shape| self.known_data(shape).is_some()) {
            return;
        }
        let Some(mut state) = self.load(y) else { return };
        for axis in (0..state.rank()).filter(|&axis| state.axes[axis] == Axis::Covered).collect::<Vec<_>>() {
            let follows = match self.kept_entry(node, slot, axis) {
                Kept::Follows => true,
                Kept::Stuck => false,
                Kept::AxisOf(value, from) => {
                    let own = self.alone_roots(&mut state.clone(), axis);
                    let other = self.load(value).and_then(|mut other| self.alone_roots(&mut other, from));
                    own.is_some() && own == other
                }
            };
            if !follows {
                let reason = self.because(Reason::ComputedShape, node);
                self.fix(&mut state, axis, reason);
            }
        }
    }

    fn alone_roots(&mut self, state: &mut State, axis: usize) -> Option<Vec<Label>> {
        let single = state.covers.iter().find(|cover| cover.axes == [axis])?.labels.clone();
        Some(single.iter().map(|&label| self.labels.find(label)).collect())
    }

    pub(super) fn reshape_to(&mut self, node: NodeId) {
        self.reshape(node);
        self.check_entries(node, 1);
    }

    pub(super) fn expand(&mut self, node: NodeId) {
        self.elementwise(node, &[0]);
        self.check_entries(node, 1);
    }

    /// Repetition of whole axes.
    pub(super) fn tile(&mut self, node: NodeId) {
        let Some((mut state, y, lengths)) = self.one_to_one(node) else { return };
        let repeats = self.integers(node, 1);
        let repeated = self.because(Reason::Repeated, node);
        let mut names = Vec::new();
        for axis in 0..state.rank() {
            let times = repeats.as_ref().and_then(|repeats| repeats.get(axis).copied());
            if times == Some(1) || state.lengths[axis] == Some(1) {
                names.push((axis, axis));
            } else {
                self.fix(&mut state, axis, repeated);
            }
        }
        let mut result = State::fixed(lengths, repeated);
        self.carry(&mut result, &state, &names);
        self.store(y, result);
    }

    /// A shape that is used for anything but shapes is a number that removal would change.
    pub(super) fn shape_of(&mut self, node: NodeId) {
        let graph = self.graph;
        let operator = graph.node(node);
        let (Some(x), Some(y)) = (operator.input(0), operator.output(0)) else { return };
        let made = self.because(Reason::ComputedShape, node);
        if (matches!(operator.op, Op::Size(_)) || self.escapes(y))
            && let Some(mut state) = self.load(x)
        {
            for axis in 0..state.rank() {
                if let Alone::Labels(labels) = self.alone_if_covered(&mut state, axis) {
                    self.labels.freeze_all(&labels, made);
                }
            }
            self.fix_all(&mut state, made);
        }
        self.fixed_output(node, 0, made);
    }

    fn alone_if_covered(&mut self, state: &mut State, axis: usize) -> Alone {
        if state.covered(axis) { self.alone(state, axis) } else { Alone::Fixed(0) }
    }

    /// Whether a tensor that says a shape is read as anything else.
    fn escapes(&self, value: ValueId) -> bool {
        let graph = self.graph;
        let mut stack = vec![value];
        let mut seen = std::collections::HashSet::new();
        while let Some(value) = stack.pop() {
            if !seen.insert(value) {
                continue;
            }
            if graph.outputs().contains(&value) {
                return true;
            }
            for reader in graph.value(value).readers() {
                let node = graph.node(reader.node);
                match (&node.op, reader.slot) {
                    (Op::Reshape(_) | Op::Expand(_), 1) | (Op::Resize(_), 3) | (Op::ConstantOfShape(_), 0) => {}
                    (Op::Gather(_) | Op::Slice(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Reshape(_), 0) => {
                        stack.extend(node.output(0));
                    }
                    (Op::Unary(Unary::Identity) | Op::Concat(_), _) => stack.extend(node.output(0)),
                    (Op::Cast(cast), _) if cast.to.is_integer() => stack.extend(node.output(0)),
                    _ => return true,
                }
            }
        }
        false
    }
}
