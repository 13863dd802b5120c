//! The order in which neurons go, and which of them can go together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use slimnet_graph::Graph;
use slimnet_graph::axes::{CoupledAxis, Coupling, GroupId};

use super::{NeuronChoice, PruneError, Scope};

/// Places that groups take on the axes of tensors: for each list of groups (a *lane*: the channels of a tensor, or of
/// several) how many.
type Places = BTreeMap<u32, u32>;

/// Units in the order in which they go. Any of them can be removed together.
pub(super) struct Ranking {
    candidates: Vec<Candidate>,
    classes: Vec<Class>,
}

/// A unit with all that goes with it.
struct Candidate {
    axis: usize,
    groups: BTreeSet<GroupId>,
}

/// Units that take the same places, of which so many must stay that the tensors have the wished number of channels.
#[derive(Default)]
struct Class {
    /// How many units there are, with those that must stay.
    count: usize,
    /// The number of units that stay should be a multiple of this.
    step: usize,
    /// Which of the candidates are of the class, ascending.
    candidates: Vec<usize>,
}

/// A unit before it is known whether it can go.
struct Wish {
    axis: usize,
    /// What it is ordered by.
    key: f64,
    groups: BTreeSet<GroupId>,
    places: Places,
    may_go: bool,
}

impl Ranking {
    /// Orders the units of all axes that are not excluded.
    pub(super) fn new(
        graph: &Graph,
        coupling: &Coupling,
        scores: &[f64],
        excluded: &dyn Fn(&CoupledAxis) -> bool,
        choice: NeuronChoice,
    ) -> Result<Self, PruneError> {
        check(coupling, scores)?;
        let lanes = Lanes::new(graph, coupling, choice.round.max(1));
        let excluded: Vec<bool> = coupling.axes().iter().map(excluded).collect();
        let mut wishes = Vec::new();
        for (axis, _) in excluded.iter().enumerate().filter(|(_, excluded)| !**excluded) {
            wishes.extend(units(coupling, scores, axis, choice.scope).into_iter().map(|(key, unit)| {
                let groups = coupling.closure(&unit.into_iter().collect());
                let barred = |&group: &GroupId| excluded[coupling.axis_of(group)] || coupling.frozen(group).is_some();
                let may_go = key < f64::INFINITY && !groups.iter().any(barred);
                Wish { axis, key, places: lanes.places(&groups), groups, may_go }
            }));
        }
        // Stable: of equals those of the first axis go first.
        wishes.sort_by(|a, b| a.key.total_cmp(&b.key));
        Ok(lanes.admit(wishes))
    }

    /// How many units there are.
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Which axis a unit is on.
    pub(super) fn axis(&self, candidate: usize) -> usize {
        self.candidates[candidate].axis
    }

    /// Takes an axis' units out.
    pub(super) fn drop_axis(&mut self, axis: usize) {
        let mut places = Vec::new();
        let mut next = 0;
        self.candidates.retain(|candidate| {
            let stays = candidate.axis != axis;
            places.push(stays.then_some(next));
            next += usize::from(stays);
            stays
        });
        for class in &mut self.classes {
            class.candidates = class.candidates.iter().filter_map(|&candidate| places[candidate]).collect();
        }
    }

    /// What goes if the first units go and the rest is rounded. More units mean a larger set, with all of a smaller one.
    pub(super) fn first(&self, count: usize) -> BTreeSet<GroupId> {
        let chosen = self.classes.iter().flat_map(|class| &class.candidates[..class.rounded(count)]);
        chosen.flat_map(|&candidate| &self.candidates[candidate].groups).copied().collect()
    }
}

impl Class {
    /// How many go if the first `count` units of all are to: the nearest number that leaves a multiple of the step, or none.
    fn rounded(&self, count: usize) -> usize {
        let wanted = self.candidates.partition_point(|&candidate| candidate < count);
        let fits = |gone: &usize| *gone == 0 || (self.count - gone).is_multiple_of(self.step);
        let below = (0..=wanted).rev().find(fits).unwrap_or(0);
        let above = (wanted..=self.candidates.len()).find(fits);
        above.filter(|above| above - wanted <= wanted - below).unwrap_or(below)
    }
}

fn check(coupling: &Coupling, scores: &[f64]) -> Result<(), PruneError> {
    let expected = coupling.group_count();
    if scores.len() != expected {
        return Err(PruneError::Scores { what: "the coupling".into(), expected, found: scores.len() });
    }
    let nan = coupling.groups().find(|group| scores[group.index()].is_nan());
    nan.map_or(Ok(()), |group| {
        let axis = &coupling.axes()[coupling.axis_of(group)];
        let index = axis.groups.iter().position(|&own| own == group).unwrap_or(0);
        Err(PruneError::NotANumber { what: format!("the axis {:?}", axis.name), index })
    })
}

/// The units of an axis, with what they are ordered by: the mean importance of their groups, or the part of the axis that
/// has gone when it is their turn. Infinity: they must stay.
fn units(coupling: &Coupling, scores: &[f64], axis: usize, scope: Scope) -> Vec<(f64, Vec<GroupId>)> {
    let axis = &coupling.axes()[axis];
    let units = coupling.units(axis, |group| scores[group.index()]);
    let mean = |unit: &[GroupId]| unit.iter().map(|group| scores[group.index()]).sum::<f64>() / unit.len() as f64;
    let mut units: Vec<(f64, Vec<GroupId>)> = units.into_iter().map(|unit| (mean(&unit), unit)).collect();
    units.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    if scope == Scope::Layer {
        let count = units.len();
        let keys = units.iter_mut().enumerate().filter(|(_, (key, _))| *key < f64::INFINITY);
        keys.for_each(|(place, (key, _))| *key = (place + 1) as f64 / count as f64);
    }
    // Groups that are in no unit stay, and count.
    let listed: HashSet<GroupId> = units.iter().flat_map(|(_, unit)| unit).copied().collect();
    let rest = axis.groups.iter().filter(|group| !listed.contains(group));
    units.extend(rest.map(|&group| (f64::INFINITY, vec![group])));
    units
}

/// How many places the lists of groups have that are axes of tensors.
struct Lanes {
    /// Of each group, the lanes it is in.
    of_group: Vec<Places>,
    /// Of each lane, how many places are left, and how many must be.
    left: Vec<(u32, u32)>,
    /// Whether the places of each lane are to be a multiple of `round`; whole rows (heads) are not.
    rounded: Vec<bool>,
    round: usize,
}

impl Lanes {
    fn new(graph: &Graph, coupling: &Coupling, round: usize) -> Self {
        let mut lanes =
            Self { of_group: vec![Places::new(); coupling.group_count()], left: vec![], rounded: vec![], round };
        // Tensors share their lists.
        let mut seen = HashSet::new();
        for cover in graph.values().flat_map(|(value, _)| coupling.covers(value)) {
            if !seen.insert(cover.groups.as_ptr()) {
                continue;
            }
            let lane = lanes.left.len() as u32;
            let rows = cover.groups.iter().any(|&group| !coupling.members(group).is_empty());
            let length = cover.groups.len() as u32;
            let least = if rows { 1 } else { u32::try_from(round).unwrap_or(u32::MAX) };
            lanes.left.push((length, least.min(length)));
            lanes.rounded.push(!rows);
            for group in cover.groups.iter() {
                *lanes.of_group[group.index()].entry(lane).or_default() += 1;
            }
        }
        lanes
    }

    fn places(&self, groups: &BTreeSet<GroupId>) -> Places {
        let mut all = Places::new();
        for (&lane, &count) in groups.iter().flat_map(|group| &self.of_group[group.index()]) {
            *all.entry(lane).or_default() += count;
        }
        all
    }

    /// The least number of units of which all lanes have a multiple of `round` places.
    fn step(&self, places: &Places) -> usize {
        let rounded = places.iter().filter(|(lane, _)| self.rounded[**lane as usize]);
        let steps = rounded.map(|(_, &count)| self.round / greatest_common_divisor(self.round, count as usize));
        steps.fold(1, |all, step| all / greatest_common_divisor(all, step) * step)
    }

    /// Takes the units in turn, and leaves out what would empty a tensor or shares groups with an earlier unit: a head and
    /// one position of each head cannot go together.
    fn admit(mut self, wishes: Vec<Wish>) -> Ranking {
        let mut ranking = Ranking { candidates: Vec::new(), classes: Vec::new() };
        let mut known: HashMap<(usize, Places), usize> = HashMap::new();
        let mut gone: HashSet<GroupId> = HashSet::new();
        for Wish { axis, groups, places, may_go, .. } in wishes {
            let step = self.step(&places);
            let next = ranking.classes.len();
            let class = *known.entry((axis, places.clone())).or_insert(next);
            if class == next {
                ranking.classes.push(Class { step, ..Class::default() });
            }
            let class = &mut ranking.classes[class];
            class.count += 1;
            let fits = |(&lane, &count): (&u32, &u32)| {
                let (left, least) = self.left[lane as usize];
                left >= count && left - count >= least
            };
            if !may_go || groups.iter().any(|group| gone.contains(group)) || !places.iter().all(fits) {
                continue;
            }
            for (&lane, &count) in &places {
                self.left[lane as usize].0 -= count;
            }
            gone.extend(&groups);
            class.candidates.push(ranking.candidates.len());
            ranking.candidates.push(Candidate { axis, groups });
        }
        ranking
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
