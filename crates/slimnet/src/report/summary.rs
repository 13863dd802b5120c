//! What a network has and costs, in a few numbers.

use std::fmt::Write;

use serde::Serialize;
use slimnet_graph::cost::{Cost, CostOptions, cost};
use slimnet_graph::graph::Dim;
use slimnet_graph::{Graph, ValueId};

use super::layer;
use super::number::{bytes, change, count, short};
use super::table::{Align, Table};
use crate::failure::{Failure, Result};

/// What a network has and costs; dimensions that are only named count as 1.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Summary {
    /// Size of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Number of nodes.
    pub nodes: u64,
    /// Number of parameters.
    pub parameters: u64,
    /// Those that are not 0.
    pub nonzero_parameters: u64,
    /// Bytes of the parameters and statistics.
    pub weight_bytes: u64,
    /// Multiply-accumulate operations of one run, of the nodes of which they are known.
    pub macs: u64,
    /// Nodes of which they are not known.
    pub nodes_of_unknown_macs: u64,
    /// Largest number of bytes of activations that are alive at one time; absent if a length is not known.
    pub peak_activation_bytes: Option<u64>,
}

/// An input or output of a network.
#[derive(Debug, Clone, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type; absent if it is not known.
    pub element_type: Option<String>,
    /// Its dimensions, numbers or names; absent if not even their number is known.
    pub shape: Option<Vec<Length>>,
    /// Element type and shape in words.
    #[serde(skip)]
    text: String,
}

/// A dimension: a number, or a name or expression of names.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Length {
    /// A number.
    Number(usize),
    /// A name or expression of names; `?` where nothing is known.
    Name(String),
}

/// A shape for JSON.
pub fn lengths(shape: &[Dim]) -> Vec<Length> {
    let length = |dim: &Dim| match dim.known() {
        Some(number) => Length::Number(number),
        None if dim.is_unknown() => Length::Name("?".to_owned()),
        None => Length::Name(dim.to_string()),
    };
    shape.iter().map(length).collect()
}

/// Inputs or outputs for reports.
pub fn ports(graph: &Graph, ids: &[ValueId]) -> Vec<Port> {
    let port = |&id: &ValueId| {
        let value = graph.value(id);
        Port {
            name: value.name.clone(),
            element_type: value.element_type.map(|element_type| element_type.to_string()),
            shape: value.shape.as_deref().map(lengths),
            text: layer::value_type(value),
        }
    };
    ids.iter().map(port).collect()
}

/// Inputs and outputs, one a line.
pub fn ports_text(inputs: &[Port], outputs: &[Port]) -> String {
    let named = |what: &'static str| move |port| (what, port);
    let all: Vec<(&str, &Port)> =
        inputs.iter().map(named("input")).chain(outputs.iter().map(named("output"))).collect();
    let width = all.iter().map(|(_, port)| port.name.chars().count()).max().unwrap_or(0).min(40);
    let mut text = String::new();
    for (what, port) in all {
        let _ = writeln!(text, "  {what:<6}  {:<width$}  {}", port.name, port.text);
    }
    text
}

impl Summary {
    /// Counts a network whose shapes are known.
    pub fn of(graph: &Graph, file_bytes: Option<u64>) -> Result<Self> {
        Ok(Self::sum(graph, &count_cost(graph)?, file_bytes))
    }

    /// The sums of a cost.
    pub fn sum(graph: &Graph, cost: &Cost, file_bytes: Option<u64>) -> Self {
        Self {
            file_bytes,
            nodes: graph.nodes().count() as u64,
            parameters: cost.parameters,
            nonzero_parameters: cost.nonzero_parameters,
            weight_bytes: cost.weight_bytes,
            macs: cost.macs,
            nodes_of_unknown_macs: cost.unknown_macs.len() as u64,
            peak_activation_bytes: cost.peak_activation_bytes,
        }
    }
}

/// A table of what a network has and costs before and after a change.
pub fn changes(before: &Summary, after: &Summary, width: Option<usize>) -> String {
    let mut table =
        Table::new([("", Align::Left), ("before", Align::Right), ("after", Align::Right), ("change", Align::Right)]);
    let mut row = |what: &str, show: fn(u64) -> String, before: u64, after: u64| {
        table.row([what.to_owned(), show(before), show(after), change(before, after)]);
    };
    if let (Some(before), Some(after)) = (before.file_bytes, after.file_bytes) {
        row("file", bytes, before, after);
    }
    row("nodes", count, before.nodes, after.nodes);
    row("parameters", count, before.parameters, after.parameters);
    row("parameters that are not 0", count, before.nonzero_parameters, after.nonzero_parameters);
    let macs = if before.nodes_of_unknown_macs == 0 { "MACs" } else { "MACs, where they are known" };
    row(macs, short, before.macs, after.macs);
    if let (Some(before), Some(after)) = (before.peak_activation_bytes, after.peak_activation_bytes) {
        row("peak of live activations", bytes, before, after);
    }
    format!("\n{}", table.lines(width))
}

/// A line that says for what a change did not pay, if there is something.
pub fn not_paid(before: &Summary, after: &Summary) -> Option<String> {
    let larger: Vec<&str> = [
        ("file", before.file_bytes.zip(after.file_bytes)),
        ("number of parameters", Some((before.parameters, after.parameters))),
        ("number of MACs", Some((before.macs, after.macs))),
        ("peak of live activations", before.peak_activation_bytes.zip(after.peak_activation_bytes)),
    ]
    .into_iter()
    .filter_map(|(what, figures)| figures.is_some_and(|(before, after)| after > before).then_some(what))
    .collect();
    let line = format!("  It did not pay for the {}: larger than before.\n", larger.join(" and the "));
    (!larger.is_empty()).then_some(line)
}

/// What a network whose shapes are known costs.
pub fn count_cost(graph: &Graph) -> Result<Cost> {
    cost(graph, &CostOptions::default()).map_err(|error| Failure::new("cannot count what the network costs", &error))
}
