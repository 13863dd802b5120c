//! Lossless removal of what pruning of weights left unread or constant.
//!
//! # What it does
//! When all weights that read a channel are 0, nothing reads it; when all that compute it are, it is its bias. Such
//! channels go, and a constant goes into the biases of the layers that read it. Dead weights leave dead channels, so
//! that this is repeated until nothing changes. What training needs stays: batch normalisation, dropout, and the
//! records of what weights must stay, also of weights that a shape or a transposition reaches through a constant that
//! was computed.
//!
//! # Equation
//! W·x + V·c + b = W·x + (b + V·c), where c are the channels that are always the same, V what reads them.
//!
//! # Parameters
//! None: only exact zeros vanish, so that the network computes what it did up to rounding.
//!
//! # Cost
//! Linear in the size of the network, for each round.
//!
//! # When it hurts
//! A channel that is dead could be revived by training as long as it is there; and a network with fewer channels than
//! another is no longer of the same architecture. A pattern of zeros (2:4, blocks) that was counted from the first
//! input on is counted from another one when inputs go; pruning then keeps the channels ([`super::Recovery`]).
//!
//! # Source
//! The lossless part of `simplify` ([`slimnet_graph::simplify`]).

use slimnet_graph::graph::{Graph, Use, ValueId};
use slimnet_graph::roles::passes_data;
use slimnet_graph::simplify::{SimplifyError, SimplifyOptions, SimplifyReport, simplify};

use crate::constraint::KEY;

/// Removes channels that carry no information and what else a network can do without in training, in place.
///
/// # Errors
/// If the graph is not valid; it may then be partly simplified, which computes the same.
pub fn remove_dead_channels(graph: &mut Graph) -> Result<SimplifyReport, Box<SimplifyError>> {
    hand_records_on(graph);
    let names = moved_names(graph);
    let options = SimplifyOptions { dead: 0.0, ..SimplifyOptions::default() };
    let report = simplify(graph, &options)?;
    // What is still computed is no weight.
    let computed: Vec<ValueId> = graph.values().filter(|(_, value)| value.data.is_none()).map(|(id, _)| id).collect();
    for id in computed {
        graph.value_mut(id).metadata.retain(|(key, _)| key != KEY);
    }
    // What is left of a weight in another shape takes its name over: options speak of weights by name.
    for (weight, moved, name) in names {
        if !graph.has_value(weight) && graph.has_value(moved) && graph.value(moved).data.is_some() {
            graph.rename(moved, &name);
        }
    }
    Ok(report)
}

/// Weights, what they are in another shape, and their names; where several are made of one weight, the first.
fn moved_names(graph: &Graph) -> Vec<(ValueId, ValueId, String)> {
    let mut names = Vec::new();
    for (weight, value) in graph.values().filter(|(_, value)| value.data.is_some()) {
        let mut moved = weight;
        loop {
            let passing = |at: &Use| at.slot == 0 && passes_data(&graph.node(at.node).op);
            let next = graph.value(moved).readers().find(passing).and_then(|at| graph.node(at.node).output(0));
            let Some(next) = next.filter(|next| !graph.outputs().contains(next)) else { break };
            names.push((weight, next, value.name.clone()));
            moved = next;
        }
    }
    names
}

/// Gives what is a recorded weight in another shape the weight's record: folding may leave only that.
fn hand_records_on(graph: &mut Graph) {
    let record = |graph: &Graph, id| graph.value(id).metadata.iter().find(|(key, _)| key == KEY).cloned();
    let mut open: Vec<ValueId> = graph.values().filter(|(_, value)| value.data.is_some()).map(|(id, _)| id).collect();
    open.retain(|&id| record(graph, id).is_some());
    while let Some(id) = open.pop() {
        let Some(own) = record(graph, id) else { continue };
        let passing = graph.value(id).readers().filter(|at| at.slot == 0 && passes_data(&graph.node(at.node).op));
        let next: Vec<ValueId> = passing.filter_map(|at| graph.node(at.node).output(0)).collect();
        for value in next.into_iter().filter(|&value| record(graph, value).is_none()).collect::<Vec<_>>() {
            graph.value_mut(value).metadata.push(own.clone());
            open.push(value);
        }
    }
}
