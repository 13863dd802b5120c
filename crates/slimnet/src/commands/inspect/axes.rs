//! Which channels, heads and the like can be removed, and why the others cannot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::{Discriminant, discriminant};

use slimnet_graph::axes::{Access, CoupledAxis, Coupling, GroupId, Reason};
use slimnet_graph::roles::{Role, passes_data, roles};
use slimnet_graph::{Graph, NodeId, ValueId};

use crate::report::inspect::{AxisReport, FixedReport, Span, TensorReport};

/// What the coupled axes of a network say for a report.
pub struct Axes<'a> {
    graph: &'a Graph,
    coupling: &'a Coupling,
    roles: Vec<Option<Role>>,
    /// Names of nodes.
    names: &'a HashMap<NodeId, String>,
    /// Number in the report of each of the coupling's axes that can lose something.
    numbers: HashMap<usize, usize>,
    /// The groups that can be removed, alone or with others.
    removable: BTreeSet<GroupId>,
    /// Which of a tensor's readers use it, behind nodes that only pass it on.
    users: HashMap<ValueId, Vec<NodeId>>,
}

/// Axes of a node.
#[derive(Debug, Default)]
pub struct NodeAxes {
    /// Numbers of the axes that its parameters read.
    pub reads: Vec<usize>,
    /// Numbers of the axes that its parameters write.
    pub writes: Vec<usize>,
}

impl<'a> Axes<'a> {
    /// Looks at what coupling has found.
    pub fn new(graph: &'a Graph, coupling: &'a Coupling, names: &'a HashMap<NodeId, String>) -> Self {
        let mut axes = Self {
            graph,
            coupling,
            roles: roles(graph),
            names,
            numbers: HashMap::new(),
            removable: BTreeSet::new(),
            users: HashMap::new(),
        };
        for (id, value) in graph.values() {
            if value.data.is_some() {
                axes.users.insert(id, users(graph, id));
            }
        }
        for (place, axis) in coupling.axes().iter().enumerate() {
            let removable: Vec<GroupId> = coupling.units(axis, |_| 0.0).into_iter().flatten().collect();
            let reaches = removable.iter().any(|&group| axes.parameters(group) > 0);
            if reaches {
                let number = axes.numbers.len() + 1;
                axes.numbers.insert(place, number);
                axes.removable.extend(removable);
            }
        }
        axes
    }

    fn is_parameter(&self, value: ValueId) -> bool {
        self.roles.get(value.index()).copied().flatten() == Some(Role::Parameter)
    }

    /// Elements of parameters that go with a group.
    fn parameters(&self, group: GroupId) -> u64 {
        let members = self.coupling.members(group).iter().flat_map(|&member| self.coupling.slices(member));
        let slices = self.coupling.slices(group).iter().chain(members);
        let elements = slices.filter(|slice| self.is_parameter(slice.value)).map(|slice| {
            let places = self.coupling.covers(slice.value).get(slice.cover).map_or(1, |cover| cover.groups.len());
            let length = self.graph.value(slice.value).data.as_ref().map_or(0, slimnet_graph::Tensor::len);
            (length / places.max(1) * slice.positions.len()) as u64
        });
        elements.sum()
    }

    /// Nodes that use parameters or statistics of a group.
    fn layers(&self, group: GroupId) -> BTreeSet<NodeId> {
        let members = self.coupling.members(group).iter().flat_map(|&member| self.coupling.slices(member));
        let slices = self.coupling.slices(group).iter().chain(members);
        let weights = slices.filter(|slice| self.roles[slice.value.index()] != Some(Role::Constant));
        weights.filter_map(|slice| self.users.get(&slice.value)).flatten().copied().collect()
    }

    fn layer_names(&self, nodes: &BTreeSet<NodeId>) -> Vec<String> {
        nodes.iter().filter_map(|node| self.names.get(node)).cloned().collect()
    }

    /// The axes that can lose something.
    pub fn removable(&self) -> Vec<AxisReport> {
        let axes = self.coupling.axes().iter().enumerate();
        axes.filter_map(|(place, axis)| Some(self.axis(*self.numbers.get(&place)?, axis))).collect()
    }

    fn axis(&self, number: usize, axis: &CoupledAxis) -> AxisReport {
        let removable: Vec<GroupId> =
            axis.groups.iter().copied().filter(|group| self.removable.contains(group)).collect();
        let parameters = removable.iter().map(|&group| self.parameters(group));
        let mut spans: BTreeMap<BTreeSet<NodeId>, usize> = BTreeMap::new();
        for &group in &removable {
            *spans.entry(self.layers(group)).or_default() += 1;
        }
        let mut spans: Vec<_> =
            spans.into_iter().map(|(nodes, groups)| Span { groups, layers: self.layer_names(&nodes) }).collect();
        spans.sort_by_key(|span| std::cmp::Reverse(span.layers.len()));
        let units = self.coupling.units(axis, |_| 0.0);
        AxisReport {
            number,
            name: axis.name.clone(),
            groups: axis.groups.len(),
            removable: removable.len(),
            together: units.iter().map(Vec::len).collect::<BTreeSet<_>>().into_iter().collect(),
            whole_rows: axis.groups.iter().any(|&group| !self.coupling.members(group).is_empty()),
            fewest_parameters: parameters.clone().min().unwrap_or(0),
            most_parameters: parameters.max().unwrap_or(0),
            spans,
            tensors: self.tensors(axis),
        }
    }

    fn tensors(&self, axis: &CoupledAxis) -> Vec<TensorReport> {
        let with_data = axis.covers.iter().filter(|(value, _)| self.graph.value(*value).data.is_some());
        let tensor = |&(value, place): &(ValueId, usize)| {
            let cover = self.coupling.covers(value).get(place)?;
            let access = if cover.access == Access::Reads { "reads" } else { "writes" };
            Some(TensorReport { name: self.graph.value(value).name.clone(), axes: cover.axes.clone(), access })
        };
        with_data.filter_map(tensor).collect()
    }

    /// Elements of parameters of which a slice can be removed.
    pub fn reachable_parameters(&self) -> u64 {
        let parameters = self.graph.values().filter(|(id, _)| self.is_parameter(*id));
        parameters
            .map(|(id, value)| self.reachable(id, value.data.as_ref().map_or(0, slimnet_graph::Tensor::len)))
            .sum()
    }

    fn reachable(&self, value: ValueId, length: usize) -> u64 {
        let of_cover = |cover: &slimnet_graph::axes::AxisCover| {
            let free = cover.groups.iter().filter(|group| self.removable.contains(group)).count();
            (length / cover.groups.len().max(1) * free) as u64
        };
        self.coupling.covers(value).iter().map(of_cover).max().unwrap_or(0)
    }

    /// Why other groups stay, alike reasons together.
    pub fn fixed(&self) -> Vec<FixedReport> {
        let mut kinds: HashMap<Option<Discriminant<Reason>>, usize> = HashMap::new();
        let mut report: Vec<FixedReport> = Vec::new();
        let mut layers: Vec<BTreeSet<NodeId>> = Vec::new();
        let mut reasons: Vec<BTreeSet<String>> = Vec::new();
        for group in self.coupling.groups().filter(|group| !self.removable.contains(group)) {
            let parameters = self.parameters(group);
            if parameters == 0 {
                continue;
            }
            let reason = self.coupling.frozen(group);
            let text = reason
                .map_or_else(|| "no removal of it leaves every tensor rectangular".to_owned(), ToString::to_string);
            let place = *kinds.entry(reason.map(discriminant)).or_insert_with(|| {
                report.push(FixedReport { reason: text.clone(), ..FixedReport::default() });
                layers.push(BTreeSet::new());
                reasons.push(BTreeSet::new());
                report.len() - 1
            });
            report[place].groups += 1;
            report[place].parameters += parameters;
            layers[place].extend(self.layers(group));
            reasons[place].insert(text);
        }
        for ((report, layers), reasons) in report.iter_mut().zip(layers).zip(reasons) {
            report.layers = self.layer_names(&layers);
            report.reasons = reasons.into_iter().collect();
        }
        report.sort_by_key(|fixed| std::cmp::Reverse(fixed.parameters));
        report
    }

    /// The axes of the parameters of each node.
    pub fn of_nodes(&self) -> HashMap<NodeId, NodeAxes> {
        let mut nodes: HashMap<NodeId, NodeAxes> = HashMap::new();
        for (id, value) in self.graph.values() {
            if value.data.is_none() || self.roles[id.index()] == Some(Role::Constant) {
                continue;
            }
            for cover in self.coupling.covers(id) {
                let Some(&group) = cover.groups.first() else { continue };
                let Some(&number) = self.numbers.get(&self.coupling.axis_of(group)) else { continue };
                for user in self.users.get(&id).into_iter().flatten() {
                    let node = nodes.entry(*user).or_default();
                    let axes = if cover.access == Access::Reads { &mut node.reads } else { &mut node.writes };
                    if !axes.contains(&number) {
                        axes.push(number);
                    }
                }
            }
        }
        nodes
    }
}

/// The nodes that use data, behind those that only pass it on.
fn users(graph: &Graph, value: ValueId) -> Vec<NodeId> {
    let mut users = Vec::new();
    let mut chain = vec![value];
    while let Some(value) = chain.pop() {
        for reader in graph.value(value).readers() {
            let node = graph.node(reader.node);
            match node.output(0) {
                Some(output) if reader.slot == 0 && passes_data(&node.op) => chain.push(output),
                _ => users.push(reader.node),
            }
        }
    }
    users
}
