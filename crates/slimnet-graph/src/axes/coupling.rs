//! What coupling finds: groups, the slices that they cover, and the axes that they form.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::labels::{Label, ReasonId};
use super::pass::{Axis, Pass, State};
use super::{CoupleOptions, Reason};
use crate::graph::{Graph, NodeId, ValueId};
use crate::infer::{GraphInferError, analyse};
use crate::ops::Role;

/// Handle of a group: positions that are removed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(u32);

impl GroupId {
    /// Position in tables indexed by group; below [`Coupling::group_count`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which of a parameter's slices belong to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// They compute the group's positions (or rescale or shift them).
    Writes,
    /// They are multiplied with the group's positions and summed: set to zero, they make the group unread.
    Reads,
}

/// Groups over a block of axes of a value, broadcast over its other axes. An element is removed if and only if any group
/// that covers it is.
#[derive(Debug, Clone)]
pub struct AxisCover {
    /// The axes, outermost first as the block nests; after a Transpose not ascending.
    pub axes: Vec<usize>,
    /// Their lengths.
    pub lengths: Vec<usize>,
    /// One group for each place of the block, row by row.
    pub groups: Arc<[GroupId]>,
    /// What the slices along these axes do.
    pub access: Access,
}

/// Slices of a parameter or statistic that belong to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The tensor.
    pub value: ValueId,
    /// Which of its covers.
    pub cover: usize,
    /// Places in the cover's block, ascending.
    pub positions: Vec<usize>,
    /// What the slices do.
    pub access: Access,
}

/// Rows that must stay equally long: heads, groups of a convolution, directions.
#[derive(Debug, Clone)]
pub struct Block {
    /// The node that asks for it.
    pub node: NodeId,
    /// Length of a row.
    pub inner: usize,
    /// One group for each place, row by row. From every row that does not go as a whole, equally many places go.
    pub groups: Arc<[GroupId]>,
}

/// Groups that lie side by side on some axis: what people call "the channels of layer 3" or "the residual stream".
#[derive(Debug, Clone)]
pub struct CoupledAxis {
    /// Name of the first parameter on it, else of the first value.
    pub name: String,
    /// The groups, ascending.
    pub groups: Vec<GroupId>,
    /// The covers on it: value and place in [`Coupling::covers`].
    pub covers: Vec<(ValueId, usize)>,
    /// Which of [`Coupling::blocks`] its groups are in.
    pub blocks: Vec<usize>,
}

#[derive(Debug, Clone, Default)]
struct Group {
    frozen: Option<ReasonId>,
    /// Groups that go with this one, if it stands for a whole row.
    members: Vec<GroupId>,
    /// Which rows it is a member of, in [`Coupling::rows`].
    rows: Vec<usize>,
    slices: Vec<Slice>,
    axis: usize,
}

/// Which slices of which tensors go together.
#[derive(Debug, Clone)]
pub struct Coupling {
    groups: Vec<Group>,
    covers: Vec<Vec<AxisCover>>,
    blocks: Vec<Block>,
    axes: Vec<CoupledAxis>,
    reasons: Vec<Reason>,
    rows: Vec<Row>,
    /// Groups of rows that lie side by side.
    row_axes: Vec<Arc<[GroupId]>>,
}

/// A group and one row that it stands for; it may stand for several, which go together.
type Row = (GroupId, Vec<GroupId>);

/// Finds which slices of which tensors go together. An axis of unknown length cannot lose positions. Linear in the lengths of the axes that reach parameters.
///
/// # Errors
/// If shapes cannot be inferred.
pub fn couple(graph: &Graph, options: &CoupleOptions) -> Result<Coupling, GraphInferError> {
    let mut pass = Pass::new(graph, options, analyse(graph)?);
    for node in graph.schedule()? {
        pass.note_dependence(node);
        pass.visit(node);
    }
    for &output in graph.outputs() {
        let reason = pass.reason(Reason::Output(graph.value(output).name.clone()));
        if let Some(mut state) = pass.load(output) {
            pass.fix_all(&mut state, reason);
        }
    }
    Ok(finish(pass))
}

/// Translates labels to groups.
fn finish(mut pass: Pass<'_>) -> Coupling {
    let graph = pass.graph;
    let states: Vec<(ValueId, State)> = graph
        .values()
        .filter(|(value, _)| pass.states[value.index()].is_some())
        .map(|(value, _)| value)
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|value| Some((value, pass.load(value)?)))
        .collect();
    for (_, state) in &states {
        for cover in &state.covers {
            // An axis that was given up after it had labels.
            let given_up = cover.axes.iter().find_map(|&axis| match state.axes[axis] {
                Axis::Fixed(reason) => Some(reason),
                Axis::Covered | Axis::Free => None,
            });
            if let Some(reason) = given_up {
                pass.labels.freeze_all(&cover.labels, reason);
            }
        }
    }
    let rows = pass.labels.settle_rows();
    let mut names: HashMap<Label, GroupId> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    // By place in memory, which the entry keeps alive.
    let mut shared: HashMap<usize, Translated> = HashMap::new();
    let mut covers: Vec<Vec<AxisCover>> = vec![Vec::new(); graph.value_bound()];
    let mut translate = |pass: &mut Pass<'_>, labels: &Arc<[Label]>| -> Arc<[GroupId]> {
        let key = Arc::as_ptr(labels).cast::<Label>() as usize;
        if let Some((_, known)) = shared.get(&key).filter(|(kept, _)| kept.len() == labels.len()) {
            return known.clone();
        }
        let translated: Arc<[GroupId]> = labels
            .iter()
            .map(|&label| {
                let root = pass.labels.find(label);
                *names.entry(root).or_insert_with(|| {
                    let frozen = pass.labels.frozen(root);
                    groups.push(Group { frozen, ..Group::default() });
                    GroupId(groups.len() as u32 - 1)
                })
            })
            .collect();
        shared.insert(key, (labels.clone(), translated.clone()));
        translated
    };
    for (value, state) in states {
        for (place, cover) in state.covers.into_iter().enumerate() {
            let reads = cover.origins.iter().chain([&(value, place)]).any(|origin| pass.reads.contains(origin));
            let access = if reads { Access::Reads } else { Access::Writes };
            let groups = translate(&mut pass, &cover.labels);
            covers[value.index()].push(AxisCover { axes: cover.axes, lengths: cover.lengths, groups, access });
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut seen: HashSet<(Vec<GroupId>, usize)> = HashSet::new();
    for block in std::mem::take(&mut pass.blocks) {
        let translated = translate(&mut pass, &block.labels);
        if seen.insert((translated.to_vec(), block.inner)) {
            blocks.push(Block { node: block.node, inner: block.inner, groups: translated });
        }
    }
    let row_axes: Vec<Arc<[GroupId]>> =
        pass.labels.row_axes().iter().map(|labels| translate(&mut pass, labels)).collect();
    let mut known: Vec<Row> = Vec::new();
    for (row, members) in rows {
        let (Some(&row), Some(members)) =
            (names.get(&row), members.iter().map(|member| names.get(member).copied()).collect::<Option<Vec<_>>>())
        else {
            continue;
        };
        for member in &members {
            groups[member.index()].rows.push(known.len());
        }
        let own = &mut groups[row.index()].members;
        own.extend_from_slice(&members);
        own.sort_unstable();
        own.dedup();
        known.push((row, members));
    }
    let reasons = pass.reasons;
    let mut coupling = Coupling { groups, covers, blocks, axes: Vec::new(), reasons, rows: known, row_axes };
    coupling.list_slices(graph);
    coupling.list_axes(graph);
    coupling
}

/// Labels and the groups that they are.
type Translated = (Arc<[Label]>, Arc<[GroupId]>);

/// Union-find over groups, for the axes that they form.
struct Families(Vec<usize>);

impl Families {
    fn find(&mut self, mut index: usize) -> usize {
        while self.0[index] != index {
            self.0[index] = self.0[self.0[index]];
            index = self.0[index];
        }
        index
    }
}

impl Coupling {
    fn list_slices(&mut self, graph: &Graph) {
        for (value, source) in graph.values() {
            if source.data.is_none() {
                continue;
            }
            for (cover, own) in self.covers[value.index()].iter().enumerate() {
                for (position, group) in own.groups.iter().enumerate() {
                    let slices = &mut self.groups[group.index()].slices;
                    match slices.last_mut() {
                        Some(last) if last.value == value && last.cover == cover => last.positions.push(position),
                        _ => slices.push(Slice { value, cover, positions: vec![position], access: own.access }),
                    }
                }
            }
        }
    }

    fn list_axes(&mut self, graph: &Graph) {
        let mut families = Families((0..self.groups.len()).collect());
        let mut seen: HashSet<usize> = HashSet::new();
        for groups in self.covers.iter().flatten().map(|cover| &cover.groups).chain(&self.row_axes) {
            if !seen.insert(Arc::as_ptr(groups).cast::<GroupId>() as usize) {
                continue;
            }
            for pair in groups.windows(2) {
                let (a, b) = (families.find(pair[0].index()), families.find(pair[1].index()));
                families.0[a.max(b)] = a.min(b);
            }
        }
        let mut places: HashMap<usize, usize> = HashMap::new();
        for index in 0..self.groups.len() {
            let root = families.find(index);
            let place = *places.entry(root).or_insert_with(|| {
                self.axes.push(CoupledAxis { name: String::new(), groups: vec![], covers: vec![], blocks: vec![] });
                self.axes.len() - 1
            });
            self.axes[place].groups.push(GroupId(index as u32));
            self.groups[index].axis = place;
        }
        let mut worths = vec![0; self.axes.len()];
        for (value, source) in graph.values() {
            for (place, cover) in self.covers[value.index()].iter().enumerate() {
                let Some(first) = cover.groups.first() else { continue };
                let axis = &mut self.axes[self.groups[first.index()].axis];
                // Best named after what writes it, else after what reads it, else after a value.
                let worth = match (&source.data, cover.access) {
                    (Some(_), Access::Writes) => 3,
                    (Some(_), Access::Reads) => 2,
                    (None, _) => 1,
                };
                let best = &mut worths[self.groups[first.index()].axis];
                if worth > *best {
                    *best = worth;
                    axis.name.clone_from(&source.name);
                    axis.covers.insert(0, (value, place));
                } else {
                    axis.covers.push((value, place));
                }
            }
        }
        for index in 0..self.axes.len() {
            if !self.axes[index].name.is_empty() {
                continue;
            }
            // Whole rows that no value has as an axis: named after what they consist of.
            let members = self.axes[index].groups.iter().flat_map(|&group| self.members(group));
            let named = members.map(|&member| &self.axes[self.axis_of(member)].name).find(|name| !name.is_empty());
            self.axes[index].name = named.cloned().unwrap_or_default();
        }
        for (place, block) in self.blocks.iter().enumerate() {
            let axes: BTreeSet<usize> = block.groups.iter().map(|group| self.groups[group.index()].axis).collect();
            for axis in axes {
                self.axes[axis].blocks.push(place);
            }
        }
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Every group.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..self.groups.len() as u32).map(GroupId)
    }

    /// The axes that the groups form.
    pub fn axes(&self) -> &[CoupledAxis] {
        &self.axes
    }

    /// The axis that a group is on, in [`Coupling::axes`].
    pub fn axis_of(&self, group: GroupId) -> usize {
        self.groups[group.index()].axis
    }

    /// Blocks whose rows must stay equally long.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The covers of a value.
    pub fn covers(&self, value: ValueId) -> &[AxisCover] {
        self.covers.get(value.index()).map_or(&[], Vec::as_slice)
    }

    /// The slices of parameters, statistics and constants that belong to a group itself (for a whole row: not those of its
    /// members).
    pub fn slices(&self, group: GroupId) -> &[Slice] {
        &self.groups[group.index()].slices
    }

    /// The groups that a group stands for, if it is a whole row (a head, a group of a convolution): it is removed if and
    /// only if all of them are.
    pub fn members(&self, group: GroupId) -> &[GroupId] {
        &self.groups[group.index()].members
    }

    /// Why a group cannot be removed; `None` if it can.
    pub fn frozen(&self, group: GroupId) -> Option<&Reason> {
        self.groups[group.index()].frozen.and_then(|reason| self.reasons.get(reason as usize))
    }

    /// The groups with all that goes with them: members of whole rows, and rows of which nothing is left.
    pub fn closure(&self, groups: &BTreeSet<GroupId>) -> BTreeSet<GroupId> {
        let mut all = groups.clone();
        let mut stack: Vec<GroupId> = groups.iter().copied().collect();
        while let Some(group) = stack.pop() {
            let Group { members, rows, .. } = &self.groups[group.index()];
            let whole = |row: &&Row| row.1.iter().all(|member| all.contains(member));
            let rows: Vec<GroupId> = rows.iter().map(|&row| &self.rows[row]).filter(whole).map(|row| row.0).collect();
            stack.extend(members.iter().copied().chain(rows).filter(|&next| all.insert(next)));
        }
        all
    }

    /// The smallest sets of groups of an axis that can be removed, each by itself or with any others of the list as long as
    /// something is left: single groups, or, where rows must stay equally long, one from each row. Those that rank lowest
    /// come together and first. Whole rows (heads) are on an axis of their own.
    pub fn units(&self, axis: &CoupledAxis, rank: impl Fn(GroupId) -> f64) -> Vec<Vec<GroupId>> {
        let mut units: Vec<Vec<GroupId>> = axis.groups.iter().map(|&group| vec![group]).collect();
        let weight = |unit: &[GroupId]| -> f64 {
            let frozen = unit.iter().any(|&group| self.frozen(group).is_some());
            if frozen { f64::INFINITY } else { unit.iter().map(|&group| rank(group)).sum() }
        };
        for &block in &axis.blocks {
            units = balanced(&self.blocks[block], units, &weight);
        }
        units.retain(|unit| unit.iter().all(|&group| self.frozen(group).is_none()) && self.row_fits(unit));
        units.sort_by(|a, b| weight(a).total_cmp(&weight(b)));
        units
    }

    /// Whether a unit with all that goes with it leaves the rows of every block equally long.
    fn row_fits(&self, unit: &[GroupId]) -> bool {
        if unit.iter().all(|&group| self.members(group).is_empty()) {
            return true;
        }
        let all = self.closure(&unit.iter().copied().collect());
        let axes: BTreeSet<usize> = all.iter().map(|&group| self.axis_of(group)).collect();
        let mut blocks = axes.iter().flat_map(|&axis| &self.axes[axis].blocks);
        all.iter().all(|&group| self.frozen(group).is_none())
            && blocks.all(|&block| rows_equal(&self.blocks[block], &all))
    }

    /// The share of a graph's parameters that lie on at least one group that is not frozen.
    pub fn reachable_parameters(&self, graph: &Graph) -> (usize, usize) {
        let (mut reachable, mut total) = (0, 0);
        for (value, source) in graph.values() {
            let Some(data) = &source.data else { continue };
            let parameter =
                source.readers().any(|reader| graph.node(reader.node).op.slot_role(reader.slot) == Role::Parameter);
            if !parameter || (!data.element_type().is_float() && data.rank() < 2) {
                continue;
            }
            total += data.len();
            let share = self.covers(value).iter().map(|cover| {
                let free = cover.groups.iter().filter(|&&group| self.frozen(group).is_none()).count();
                free * (data.len() / cover.groups.len().max(1))
            });
            reachable += share.max().unwrap_or(0);
        }
        (reachable, total)
    }
}

/// Whether every row of a block that does not go as a whole loses equally many places.
pub(super) fn rows_equal(block: &Block, removed: &BTreeSet<GroupId>) -> bool {
    let mut common = None;
    block.groups.chunks(block.inner).all(|row| {
        let gone = row.iter().filter(|group| removed.contains(group)).count();
        gone == row.len() || *common.get_or_insert(gone) == gone
    })
}

/// Joins units until each takes equally much from every row of a block.
fn balanced(block: &Block, units: Vec<Vec<GroupId>>, weight: &dyn Fn(&[GroupId]) -> f64) -> Vec<Vec<GroupId>> {
    let rows = block.groups.len() / block.inner;
    let mut counts: HashMap<GroupId, Vec<usize>> = HashMap::new();
    for (place, &group) in block.groups.iter().enumerate() {
        counts.entry(group).or_insert_with(|| vec![0; rows])[place / block.inner] += 1;
    }
    let count = |unit: &[GroupId]| {
        let mut sum = vec![0; rows];
        for own in unit.iter().filter_map(|group| counts.get(group)) {
            sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
        sum
    };
    let mut result = Vec::new();
    let mut single_rows: HashMap<usize, Vec<Vec<Vec<GroupId>>>> = HashMap::new();
    let mut rest: Vec<GroupId> = Vec::new();
    for unit in units {
        let sum = count(&unit);
        let hit: Vec<usize> = (0..rows).filter(|&row| sum[row] > 0).collect();
        match hit[..] {
            _ if sum.iter().all(|&own| own == sum[0]) => result.push(unit),
            [row] => single_rows.entry(sum[row]).or_insert_with(|| vec![Vec::new(); rows])[row].push(unit),
            _ => rest.extend(unit),
        }
    }
    let mut multiplicities: Vec<_> = single_rows.into_iter().collect();
    multiplicities.sort_unstable_by_key(|(multiplicity, _)| *multiplicity);
    for (_, mut by_row) in multiplicities {
        let common = by_row.iter().map(Vec::len).min().unwrap_or(0);
        for row in &mut by_row {
            row.sort_by(|a, b| weight(a).total_cmp(&weight(b)));
        }
        let mut rows: Vec<_> = by_row.into_iter().map(Vec::into_iter).collect();
        for _ in 0..common {
            result.push(rows.iter_mut().filter_map(Iterator::next).flatten().collect());
        }
        rest.extend(rows.into_iter().flatten().flatten());
    }
    // Whatever is left is, as a whole, equally much of every row.
    if !rest.is_empty() {
        result.push(rest);
    }
    result
}
