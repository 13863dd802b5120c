//! Which groups go.

use std::collections::{BTreeSet, HashMap};

use crate::axes::{Coupling, GroupId};
use crate::graph::Graph;

use super::backward::{Need, Needs};

/// The highest need of any position of each group.
pub(super) fn group_needs(graph: &Graph, coupling: &Coupling, needs: &Needs) -> Vec<Need> {
    let mut highest = vec![Need::Unread; coupling.group_count()];
    for (value, source) in graph.values() {
        if source.data.is_some() {
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
pub(super) fn removable(coupling: &Coupling, needs: &[Need]) -> Vec<BTreeSet<GroupId>> {
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
    let mut chosen = vec![true; units.len()];
    loop {
        let groups = units.iter().zip(&chosen).filter(|(_, chosen)| **chosen).flat_map(|(unit, _)| unit).copied();
        let all = coupling.closure(&groups.collect());
        let mut spared: Vec<GroupId> = all.iter().copied().filter(|&group| !free(group)).collect();
        for axis in coupling.axes() {
            for &(value, place) in &axis.covers {
                let groups = &coupling.covers(value)[place].groups;
                if groups.iter().all(|group| all.contains(group)) {
                    spared.extend(groups.first());
                }
            }
        }
        // To spare a row is to spare one of its members.
        let mut changed = false;
        for group in spared {
            for spared in coupling.members(group).iter().take(1).chain([&group]) {
                for &unit in units_of.get(spared).into_iter().flatten() {
                    changed |= std::mem::replace(&mut chosen[unit], false);
                }
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
