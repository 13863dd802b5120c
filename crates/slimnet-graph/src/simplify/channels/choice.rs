//! Which groups go.

use std::collections::{BTreeSet, HashMap};

use crate::axes::{AxisCover, Coupling, GroupId};
use crate::graph::{Graph, NodeId};

use super::backward::{Need, Needs};

/// The highest need of any position of each group. Weights and what is computed from weights alone (dequantised ones)
/// are no matter: what needs them shows in what is computed with them.
pub(super) fn group_needs(graph: &Graph, order: &[NodeId], coupling: &Coupling, needs: &Needs) -> Vec<Need> {
    let mut fixed = vec![false; graph.value_bound()];
    for (value, source) in graph.values() {
        fixed[value.index()] = source.data.is_some();
    }
    for &node in order {
        let node = graph.node(node);
        // What is not understood may draw random numbers.
        let understood = node.op.other().is_none();
        let from_weights = understood && node.inputs().iter().flatten().all(|input| fixed[input.index()]);
        node.outputs().iter().flatten().for_each(|output| fixed[output.index()] = from_weights);
    }
    let mut highest = vec![Need::Unread; coupling.group_count()];
    for (value, _) in graph.values() {
        if fixed[value.index()] {
            continue;
        }
        let own = needs.get(value.index()).and_then(Option::as_ref);
        for cover in coupling.covers(value) {
            let block = own.and_then(|own| own.project_block(&cover.axes, &cover.lengths, Need::max));
            let block = block.unwrap_or_else(|| vec![Need::Needed; cover.groups.len()]);
            for (group, need) in cover.groups.iter().zip(block) {
                let known = &mut highest[group.index()];
                *known = need.max(*known);
            }
        }
    }
    highest
}

/// Sets of groups that can go, one for each axis; together they leave something of every tensor.
pub(super) fn removable(graph: &Graph, coupling: &Coupling, needs: &[Need]) -> Vec<BTreeSet<GroupId>> {
    let free = |group: GroupId| needs[group.index()] < Need::Needed && coupling.frozen(group).is_none();
    let mut units: Vec<Vec<GroupId>> = Vec::new();
    for axis in coupling.axes() {
        if axis.groups.iter().any(|&group| free(group)) {
            let rank = |group| if free(group) { 0.0 } else { 1.0 };
            let own = coupling.units(axis, rank).into_iter().filter(|unit| unit.iter().all(|&group| free(group)));
            units.extend(own);
        }
    }
    let mut units_of: HashMap<GroupId, Vec<usize>> = HashMap::new();
    for (place, unit) in units.iter().enumerate() {
        for &group in unit {
            units_of.entry(group).or_default().push(place);
        }
    }
    let mut rows_of: HashMap<GroupId, Vec<GroupId>> = HashMap::new();
    for row in coupling.groups() {
        for &member in coupling.members(row) {
            rows_of.entry(member).or_default().push(row);
        }
    }
    let mut chosen = vec![true; units.len()];
    loop {
        let groups = units.iter().zip(&chosen).filter(|(_, chosen)| **chosen).flat_map(|(unit, _)| unit).copied();
        let all = coupling.closure(&groups.collect());
        let mut spared: Vec<GroupId> = all.iter().copied().filter(|&group| !free(group)).collect();
        for (value, _) in graph.values() {
            spared.extend(first_if_all_goes(coupling.covers(value), &all));
        }
        // To spare a row is to spare one of its members, to spare a member is to spare its rows.
        let mut changed = false;
        let mut seen = BTreeSet::new();
        while let Some(group) = spared.pop() {
            if seen.insert(group) {
                for &unit in units_of.get(&group).into_iter().flatten() {
                    changed |= std::mem::replace(&mut chosen[unit], false);
                }
                spared.extend(coupling.members(group).first());
                spared.extend(rows_of.get(&group).into_iter().flatten());
            }
        }
        if !changed {
            let mut sets: HashMap<usize, BTreeSet<GroupId>> = HashMap::new();
            for (unit, _) in units.iter().zip(&chosen).filter(|(_, chosen)| **chosen) {
                let axis = unit.first().map_or(0, |&group| coupling.axis_of(group));
                sets.entry(axis).or_default().extend(unit);
            }
            let mut sets: Vec<_> = sets.into_iter().collect();
            sets.sort_unstable_by_key(|(axis, _)| *axis);
            return sets.into_iter().map(|(_, set)| set).collect();
        }
    }
}

/// The groups that cover a value's first element, if every element goes.
fn first_if_all_goes(covers: &[AxisCover], gone: &BTreeSet<GroupId>) -> Vec<GroupId> {
    let mut axes: Vec<(usize, usize)> =
        covers.iter().flat_map(|cover| cover.axes.iter().copied().zip(cover.lengths.iter().copied())).collect();
    axes.sort_unstable();
    axes.dedup();
    let goes = |cover: &AxisCover, index: usize| gone.contains(&cover.groups[index]);
    let alone = axes.len() == covers.iter().map(|cover| cover.axes.len()).sum::<usize>();
    let all_goes = if alone {
        // Covers of different axes cross: an element stays where each of them has one that does.
        covers.iter().any(|cover| (0..cover.groups.len()).all(|index| goes(cover, index)))
    } else {
        let count: usize = axes.iter().map(|(_, length)| length).product();
        (0..count).all(|element| {
            let place_along = |axis: usize| {
                let inner: usize =
                    axes.iter().rev().take_while(|(other, _)| *other > axis).map(|(_, length)| length).product();
                element / inner
            };
            covers.iter().any(|cover| {
                let places = cover.axes.iter().zip(&cover.lengths);
                goes(cover, places.fold(0, |index, (&axis, &length)| index * length + place_along(axis) % length))
            })
        })
    };
    if all_goes { covers.iter().filter_map(|cover| cover.groups.first().copied()).collect() } else { Vec::new() }
}
