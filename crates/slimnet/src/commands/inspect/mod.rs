//! `slimnet inspect NET`: what a network is made of, what it costs and what can be removed from it.

mod axes;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use slimnet_graph::axes::{CoupleOptions, couple};
use slimnet_graph::cost::{Cost, NodeCost};
use slimnet_graph::onnx::ModelInfo;
use slimnet_graph::roles::{Role, roles};
use slimnet_graph::{Dim, Graph, NodeId};

use axes::{Axes, NodeAxes};

use crate::arguments::Inspect;
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::files;
use crate::report::inspect::{InspectReport, LayerReport, ModelReport, NotUnderstood, RolesReport};
use crate::report::layer;
use crate::report::summary::{Summary, count_cost, lengths, ports};

/// Looks at the network.
pub fn run(options: &Inspect, console: Console) -> Result<Outcome> {
    let read = files::read(&options.network)?;
    let bytes = files::size(&read, &options.network)?;
    let graph = crate::lengths::fix(&read, &options.dims.iter().cloned().collect())?;
    let cost = count_cost(&graph)?;
    let couple_options = CoupleOptions { approximate: options.approximate, ..CoupleOptions::default() };
    let coupling = couple(&graph, &couple_options)
        .map_err(|error| Failure::new("cannot couple the axes", &error).about(&options.network))?;
    let names: HashMap<NodeId, String> = layer::names(&graph).into_iter().collect();
    let axes = Axes::new(&graph, &coupling, &names);
    let report = InspectReport {
        command: "inspect",
        network: options.network.clone(),
        model: model(&graph.name, &graph.model),
        inputs: ports(&graph, &graph.free_inputs().collect::<Vec<_>>()),
        outputs: ports(&graph, graph.outputs()),
        layers: layers(&graph, &cost, &names, &axes),
        roles: count_roles(&graph),
        totals: Summary::sum(&graph, &cost, Some(bytes)),
        counted_as_one: names_of_lengths(&graph),
        axes: axes.removable(),
        reachable_parameters: axes.reachable_parameters(),
        fixed: axes.fixed(),
        not_understood: not_understood(&graph, &names),
    };
    console.result(&report)?;
    Ok(Outcome::Done)
}

fn model(name: &str, model: &ModelInfo) -> ModelReport {
    ModelReport {
        name: name.to_owned(),
        ir_version: model.ir_version,
        opset: model.opset(),
        opsets: model.opsets.iter().cloned().collect::<BTreeMap<_, _>>(),
        producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
    }
}

fn layers(graph: &Graph, cost: &Cost, names: &HashMap<NodeId, String>, axes: &Axes<'_>) -> Vec<LayerReport> {
    let mut axes = axes.of_nodes();
    let layer = |cost: &NodeCost| {
        let node = graph.node(cost.node);
        let NodeAxes { reads, writes } = axes.remove(&cost.node).unwrap_or_default();
        LayerReport {
            name: names.get(&cost.node).cloned().unwrap_or_default(),
            operator: node.op.op_type().to_owned(),
            understood: node.op.other().is_none(),
            output: node.output(0).and_then(|output| graph.value(output).shape.as_deref().map(lengths)),
            parameters: cost.parameters,
            nonzero_parameters: cost.nonzero_parameters,
            weight_bytes: cost.weight_bytes,
            macs: cost.macs,
            reads,
            writes,
        }
    };
    cost.nodes.iter().map(layer).collect()
}

fn count_roles(graph: &Graph) -> RolesReport {
    let roles = roles(graph);
    let mut report = RolesReport::default();
    for (id, value) in graph.values() {
        let (Some(role), Some(data)) = (roles[id.index()], &value.data) else { continue };
        let role = match role {
            Role::Parameter => &mut report.parameters,
            Role::Statistic => &mut report.statistics,
            Role::Constant => &mut report.constants,
        };
        role.tensors += 1;
        role.elements += data.len() as u64;
        role.bytes += data.byte_len() as u64;
    }
    report
}

/// Names of dimensions, which cost counts as 1.
fn names_of_lengths(graph: &Graph) -> Vec<String> {
    let names: BTreeSet<&str> = graph
        .free_inputs()
        .flat_map(|input| graph.value(input).shape.iter().flatten())
        .flat_map(Dim::names)
        .filter(|name| !name.starts_with('?'))
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

fn not_understood(graph: &Graph, names: &HashMap<NodeId, String>) -> Vec<NotUnderstood> {
    let others = graph.nodes().filter_map(|(id, node)| Some((node.op.other()?, names.get(&id)?)));
    let others = others.map(|(node, name)| NotUnderstood {
        name: name.clone(),
        operator: match node.domain.as_str() {
            "" => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        },
        reason: node.reason.clone(),
    });
    others.collect()
}
