//! The forward pass that labels every value, and the moves that rules are made of.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::labels::{Label, Labels, ReasonId};
use super::{CoupleOptions, Reason};
use crate::graph::{Dim, Graph, NodeId, ValueId};
use crate::infer::Inference;
use crate::tensor::Tensor;

/// Labels over a block of axes of one value, broadcast over the other axes.
#[derive(Debug, Clone)]
pub(super) struct Cover {
    /// The axes from outermost to innermost *as the block nests*: after a Transpose these need not be ascending.
    pub(super) axes: Vec<usize>,
    /// Lengths of these axes.
    pub(super) lengths: Vec<usize>,
    /// One label for each place of the block, row by row.
    pub(super) labels: Arc<[Label]>,
    /// The covers of initializers that this is, under operators that only move or combine initializers' elements.
    pub(super) origins: Vec<(ValueId, usize)>,
}

impl Cover {
    fn has(&self, axis: usize) -> bool {
        self.axes.contains(&axis)
    }

    /// The same labels with every axis renamed.
    pub(super) fn renamed(&self, name: impl Fn(usize) -> usize) -> Self {
        Self { axes: self.axes.iter().map(|&axis| name(axis)).collect(), ..self.clone() }
    }
}

/// What is known of one axis of a value beside its covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// Covered by labels.
    Covered,
    /// No position may go, for this reason.
    Fixed(ReasonId),
    /// An axis of an initializer that no operator has asked for yet.
    Free,
}

/// Covers of a value.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Lengths; `None` where it is not a number.
    pub(super) lengths: Vec<Option<usize>>,
    /// Each axis.
    pub(super) axes: Vec<Axis>,
    /// Which axis of which initializer each axis is, under operators that only move or rescale elements.
    pub(super) origins: Vec<Option<(ValueId, usize)>>,
    /// The covers, in no particular order. One axis may be in several.
    pub(super) covers: Vec<Cover>,
}

/// One axis by itself.
#[derive(Debug, Clone)]
pub(super) enum Alone {
    /// A label for each position.
    Labels(Arc<[Label]>),
    /// No position may go.
    Fixed(ReasonId),
}

/// A block within which each row must lose equally many positions.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) labels: Arc<[Label]>,
    /// Length of a row.
    pub(super) inner: usize,
    pub(super) node: NodeId,
}

/// State of the pass.
pub(super) struct Pass<'g> {
    pub(super) graph: &'g Graph,
    pub(super) options: &'g CoupleOptions,
    pub(super) labels: Labels,
    pub(super) states: Vec<Option<State>>,
    pub(super) blocks: Vec<Block>,
    /// Covers of initializers that readers contract: (value, index of the cover).
    pub(super) reads: HashSet<(ValueId, usize)>,
    /// Whether each value depends on an input that the caller gives.
    depends: Vec<bool>,
    /// Shapes, and contents of small integer tensors.
    pub(super) types: Inference,
    pub(super) reasons: Vec<Reason>,
    reason_ids: HashMap<Reason, ReasonId>,
    /// How many labels shapes (not data) may still ask for: a file can claim lengths that it has no data for.
    room: usize,
}

/// Labels that any graph may have beyond those of its parameters.
const ROOM: usize = 1 << 24;

impl<'g> Pass<'g> {
    pub(super) fn new(graph: &'g Graph, options: &'g CoupleOptions, types: Inference) -> Self {
        let parameters = graph.values().filter_map(|(_, value)| value.data.as_ref()).map(Tensor::len).sum::<usize>();
        Self {
            graph,
            options,
            labels: Labels::default(),
            states: vec![None; graph.value_bound()],
            blocks: Vec::new(),
            reads: HashSet::new(),
            depends: graph.values().fold(vec![false; graph.value_bound()], |mut depends, (id, value)| {
                depends[id.index()] = value.data.is_none() && value.producer().is_none();
                depends
            }),
            types,
            reasons: Vec::new(),
            reason_ids: HashMap::new(),
            room: parameters.saturating_mul(8).saturating_add(ROOM),
        }
    }

    pub(super) fn reason(&mut self, reason: Reason) -> ReasonId {
        if let Some(&known) = self.reason_ids.get(&reason) {
            return known;
        }
        let id = self.reasons.len() as ReasonId;
        self.reasons.push(reason.clone());
        self.reason_ids.insert(reason, id);
        id
    }

    /// A reason about a node.
    pub(super) fn because(&mut self, make: impl Fn(String) -> Reason, node: NodeId) -> ReasonId {
        let reason = make(self.graph.describe_node(node));
        self.reason(reason)
    }

    /// Whether there is room for so many labels, which is then taken.
    pub(super) fn take_room(&mut self, count: usize) -> bool {
        let left = self.room.checked_sub(count);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    /// Data of a value that is known without running the graph.
    pub(super) fn known_data(&self, value: ValueId) -> Option<Cow<'_, Tensor>> {
        self.types.data(self.graph, value)
    }

    /// [`Self::known_data`] of an input of a node.
    pub(super) fn known_input(&self, node: NodeId, slot: usize) -> Option<Cow<'_, Tensor>> {
        self.known_data(self.graph.node(node).input(slot)?)
    }

    // --- states ------------------------------------------------------------------------------------------------------

    /// Lengths of a value's axes; `None` if not even their number is known.
    pub(super) fn lengths(&self, value: ValueId) -> Option<Vec<Option<usize>>> {
        Some(self.types.shape(value)?.iter().map(Dim::known).collect())
    }

    /// The state of a value as far as it is known now. `None` if not even the number of its axes is.
    pub(super) fn load(&mut self, value: ValueId) -> Option<State> {
        if self.states[value.index()].is_none() {
            let state = self.first_state(value)?;
            self.states[value.index()] = Some(state);
        }
        let mut state = self.states[value.index()].clone()?;
        self.refresh(&mut state);
        Some(state)
    }

    fn first_state(&mut self, value: ValueId) -> Option<State> {
        let lengths = self.lengths(value)?;
        let graph = self.graph;
        let source = graph.value(value);
        if source.data.is_none() {
            let reason = match source.producer() {
                None => Reason::Input(source.name.clone()),
                Some(node) => Reason::NoRule(graph.describe_node(node)),
            };
            let reason = self.reason(reason);
            return Some(State::fixed(lengths, reason));
        }
        let single = self.reason(Reason::Single);
        let axes = lengths.iter().map(|length| match length {
            Some(0 | 1) | None => Axis::Fixed(single),
            Some(_) => Axis::Free,
        });
        let origins = (0..lengths.len()).map(|axis| Some((value, axis))).collect();
        Some(State { axes: axes.collect(), lengths, origins, covers: Vec::new() })
    }

    /// Gives free axes the covers or the reason that their initializer got meanwhile.
    pub(super) fn refresh(&mut self, state: &mut State) {
        let mut sources: Vec<ValueId> = Vec::new();
        for (axis, origin) in state.axes.iter_mut().zip(&state.origins) {
            let (Axis::Free, Some((source, place))) = (*axis, origin) else { continue };
            let Some(known) = &self.states[source.index()] else { continue };
            if known.axes[*place] != Axis::Free {
                *axis = known.axes[*place];
                sources.push(*source);
            }
        }
        sources.dedup();
        for source in sources {
            let Some(known) = &self.states[source.index()] else { continue };
            for (place, cover) in known.covers.iter().enumerate() {
                let here = |&axis: &usize| state.origins.iter().position(|&own| own == Some((source, axis)));
                let there = state.covers.iter().any(|own| own.origins.contains(&(source, place)));
                if let (false, Some(axes)) = (there, cover.axes.iter().map(here).collect::<Option<Vec<_>>>()) {
                    state.covers.push(Cover { axes, origins: vec![(source, place)], ..cover.clone() });
                }
            }
        }
    }

    /// Keeps the state of a computed value.
    pub(super) fn store(&mut self, value: ValueId, mut state: State) {
        if self.labels.muted {
            for cover in &mut state.covers {
                cover.labels = self.labels.fresh_axis(cover.labels.len());
                cover.origins.clear();
            }
        }
        self.states[value.index()] = Some(state);
    }

    /// Makes a free axis' initializer fixed along it.
    pub(super) fn fix(&mut self, state: &mut State, axis: usize, reason: ReasonId) {
        self.refresh(state);
        match state.axes[axis] {
            Axis::Fixed(_) => {}
            Axis::Free => {
                state.axes[axis] = Axis::Fixed(reason);
                if let Some((origin, place)) = state.origins[axis]
                    && let Some(source) = &mut self.states[origin.index()]
                    && !self.labels.muted
                {
                    source.axes[place] = Axis::Fixed(reason);
                }
            }
            Axis::Covered => {
                for cover in state.covers.iter().filter(|cover| cover.has(axis)) {
                    self.fix_within(cover, axis, reason);
                }
            }
        }
    }

    /// No position of one axis of a cover may go by itself: of its outermost axis none at all, of others only with the
    /// whole row that they are in.
    pub(super) fn fix_within(&mut self, cover: &Cover, axis: usize, reason: ReasonId) {
        let Some(place) = cover.axes.iter().position(|&own| own == axis) else { return };
        let inner: usize = cover.lengths[place + 1..].iter().product();
        if place == 0 {
            let rows = self.labels.rows(&cover.labels, inner);
            return self.labels.freeze_all(&rows, reason);
        }
        for row in cover.labels.chunks(cover.lengths[place] * inner) {
            for (index, &label) in row.iter().enumerate() {
                self.labels.unite(row[index % inner], label);
            }
        }
    }

    /// Fixes every axis.
    pub(super) fn fix_all(&mut self, state: &mut State, reason: ReasonId) {
        for axis in 0..state.axes.len() {
            self.fix(state, axis, reason);
        }
    }

    /// Gives a node's inputs and outputs up: nothing along them can be removed.
    pub(super) fn give_up(&mut self, node: NodeId, reason: ReasonId) {
        let graph = self.graph;
        for &input in graph.node(node).inputs().iter().flatten() {
            if let Some(mut state) = self.load(input) {
                self.fix_all(&mut state, reason);
            }
        }
        for slot in 0..graph.node(node).outputs().len() {
            self.fixed_output(node, slot, reason);
        }
    }

    /// Lets an output have no covers.
    pub(super) fn fixed_output(&mut self, node: NodeId, slot: usize, reason: ReasonId) {
        let Some(output) = self.graph.node(node).output(slot) else { return };
        if let Some(lengths) = self.lengths(output) {
            self.store(output, State::fixed(lengths, reason));
        }
    }

    // --- covers ------------------------------------------------------------------------------------------------------

    /// Covers axes of an initializer by these labels (as they nest along `axes`).
    pub(super) fn adopt(&mut self, state: &mut State, axes: &[usize], lengths: &[usize], labels: &Arc<[Label]>) {
        let labels = if self.labels.muted { self.labels.fresh_axis(labels.len()) } else { labels.clone() };
        let origins: Option<Vec<_>> = axes.iter().map(|&axis| state.origins[axis]).collect();
        let mut cover = Cover { axes: axes.to_vec(), lengths: lengths.to_vec(), labels, origins: Vec::new() };
        if let Some(origins) = origins
            && let Some(&(origin, _)) = origins.first()
            && origins.iter().all(|(other, _)| *other == origin)
            && let Some(source) = &mut self.states[origin.index()]
        {
            source.covers.push(Cover { axes: origins.iter().map(|(_, place)| *place).collect(), ..cover.clone() });
            cover.origins = vec![(origin, source.covers.len() - 1)];
            for (_, place) in origins {
                source.axes[place] = Axis::Covered;
            }
        }
        for &axis in axes {
            state.axes[axis] = Axis::Covered;
        }
        state.covers.push(cover);
    }

    /// One axis by itself. Labels of a block are united along its other axes, except where the axis is the block's
    /// outermost one: then a position stands for its whole row.
    pub(super) fn alone(&mut self, state: &mut State, axis: usize) -> Alone {
        self.refresh(state);
        if let (Axis::Free, Some(length)) = (state.axes[axis], state.lengths[axis]) {
            let labels = self.labels.fresh_axis(length);
            self.adopt(state, &[axis], &[length], &labels);
        }
        if let Axis::Fixed(reason) = state.axes[axis] {
            return Alone::Fixed(reason);
        }
        let mut united: Option<Arc<[Label]>> = None;
        for cover in state.covers.iter().filter(|cover| cover.has(axis)) {
            let labels = self.alone_in(cover, axis);
            match &united {
                None => united = Some(labels),
                Some(first) => self.labels.unite_all(first, &labels),
            }
        }
        united.map_or_else(|| Alone::Fixed(self.reason(Reason::Single)), Alone::Labels)
    }

    /// One axis of a cover by itself.
    pub(super) fn alone_in(&mut self, cover: &Cover, axis: usize) -> Arc<[Label]> {
        let place = cover.axes.iter().position(|&own| own == axis).unwrap_or(0);
        let inner: usize = cover.lengths[place + 1..].iter().product();
        if place == 0 {
            return self.labels.rows(&cover.labels, inner);
        }
        let length = cover.lengths[place];
        let position = |index: usize| index / inner % length;
        let mut first = vec![None; length];
        for (index, &label) in cover.labels.iter().enumerate() {
            match first[position(index)] {
                None => first[position(index)] = Some(label),
                Some(other) => self.labels.unite(other, label),
            }
        }
        first.into_iter().flatten().collect()
    }

    /// Ties one axis of a state to labels or to a reason why it must stay.
    pub(super) fn tie(&mut self, state: &mut State, axis: usize, other: &Alone) {
        self.refresh(state);
        match (other, state.axes[axis], state.lengths[axis]) {
            (Alone::Labels(labels), Axis::Free | Axis::Covered, Some(length)) if labels.len() != length => {
                // Inference has refused this; should it not have, nothing may come of it.
                let reason = self.reason(Reason::Single);
                self.labels.freeze_all(labels, reason);
                self.fix(state, axis, reason);
            }
            (Alone::Labels(labels), Axis::Free, Some(length)) => self.adopt(state, &[axis], &[length], labels),
            (Alone::Labels(labels), Axis::Fixed(reason), _) => self.labels.freeze_all(labels, reason),
            (Alone::Labels(labels), ..) => {
                if let Alone::Labels(own) = self.alone(state, axis) {
                    self.labels.unite_all(&own, labels);
                }
            }
            (Alone::Fixed(reason), ..) => {
                if state.axes[axis] == Axis::Free {
                    // It gets labels, so that the parameter's slices are listed with the reason.
                    self.alone(state, axis);
                }
                self.fix(state, axis, *reason);
            }
        }
    }

    /// Notes whether what a node computes depends on the graph's inputs.
    pub(super) fn note_dependence(&mut self, node: NodeId) {
        let node = self.graph.node(node);
        if node.inputs().iter().flatten().any(|input| self.depends[input.index()]) {
            node.outputs().iter().flatten().for_each(|output| self.depends[output.index()] = true);
        }
    }

    /// Notes that a reader contracts an axis of `value`: what it reads there are the slices of an initializer, unless the
    /// value is computed from the graph's inputs (then an initializer under it was written into the value, not read).
    pub(super) fn mark_reads(&mut self, value: ValueId, state: &State, axis: usize) {
        if self.depends[value.index()] {
            return;
        }
        let origins = state.covers.iter().filter(|cover| cover.has(axis)).flat_map(|cover| &cover.origins).copied();
        self.reads.extend(origins);
    }

    /// Requires that rows of `inner` consecutive labels lose equally many.
    pub(super) fn block(&mut self, labels: &Arc<[Label]>, inner: usize, node: NodeId) {
        if inner > 1 && labels.len() > inner && !self.labels.muted {
            self.blocks.push(Block { labels: labels.clone(), inner, node });
        }
    }
}

impl State {
    /// No axis can lose positions.
    pub(super) fn fixed(lengths: Vec<Option<usize>>, reason: ReasonId) -> Self {
        let rank = lengths.len();
        Self { axes: vec![Axis::Fixed(reason); rank], origins: vec![None; rank], lengths, covers: Vec::new() }
    }

    /// The number of axes.
    pub(super) fn rank(&self) -> usize {
        self.axes.len()
    }

    /// Sets an axis that has no covers yet.
    pub(super) fn set(&mut self, axis: usize, alone: &Alone) {
        match (alone, self.lengths[axis]) {
            (Alone::Labels(labels), Some(length)) if labels.len() == length => {
                let (axes, lengths) = (vec![axis], vec![length]);
                self.covers.push(Cover { axes, lengths, labels: labels.clone(), origins: Vec::new() });
                self.axes[axis] = Axis::Covered;
            }
            (Alone::Fixed(reason), _) => self.axes[axis] = Axis::Fixed(*reason),
            _ => {}
        }
    }

    /// Whether any cover includes the axis.
    pub(super) fn covered(&self, axis: usize) -> bool {
        self.axes[axis] == Axis::Covered
    }

    /// Takes over what another state has along some axes, under other names; covers that are not within these axes are
    /// left out.
    pub(super) fn take(&mut self, other: &Self, names: &[(usize, usize)]) {
        let name = |axis: usize| names.iter().find(|(from, _)| *from == axis).map(|(_, to)| *to);
        for &(from, to) in names {
            self.axes[to] = other.axes[from];
            self.origins[to] = other.origins[from];
        }
        for cover in &other.covers {
            if cover.axes.iter().all(|&axis| name(axis).is_some()) {
                self.covers.push(cover.renamed(|axis| name(axis).unwrap_or(axis)));
            }
        }
    }
}
