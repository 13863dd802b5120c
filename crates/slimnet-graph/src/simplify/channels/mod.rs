//! Lossless removal of channels that carry no information.
//!
//! Two passes over the graph tell what is known of every channel: forward, whether it is the same number whatever the
//! input is ([`forward`]); backward, whether anything that an output depends on reads it ([`backward`]). Weights that
//! vanish beside the rest of their tensor count as zeros in both. A group of coupled positions all of which are unread,
//! or constant and read only by layers that can take the constant into their bias, can go.

mod backward;
mod bias;
mod choice;
mod forward;
mod linear;
mod movement;
mod pattern;

use std::collections::BTreeSet;

use crate::axes::{self, CoupleOptions, Coupling, GroupId, RemoveError};
use crate::graph::{Graph, GraphError, NodeId, ValueId};
use crate::infer::GraphInferError;
use crate::tensor::TensorError;

use super::{Change, SimplifyOptions, SimplifyReport, edit};
use backward::Need;
use forward::Constants;
pub(super) use linear::spread;

/// The channels that a layer lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerChannels {
    /// The layer's name, or that of its output where it has none.
    pub layer: String,
    /// Its operator.
    pub operator: String,
    /// Output channels that it had.
    pub before: usize,
    /// Channels that went because nothing reads them.
    pub unread: usize,
    /// Channels that went because they are always 0.
    pub zero: usize,
    /// Channels that went because they are always the same number, which their readers' biases now hold.
    pub constant: usize,
}

impl LayerChannels {
    /// Output channels that are left.
    pub fn after(&self) -> usize {
        self.before.saturating_sub(self.unread + self.zero + self.constant)
    }
}

/// Why channels cannot be removed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ChannelsError {
    /// The graph's links are broken.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph's types do not fit.
    #[error(transparent)]
    Infer(#[from] GraphInferError),
    /// A bias cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What is known of a graph before channels are removed.
struct Analysis {
    order: Vec<NodeId>,
    constants: Constants,
    coupling: Coupling,
    /// The need of each group.
    needs: Vec<Need>,
    dead: f64,
}

/// Removes what carries no information; whether anything did.
pub(super) fn remove(
    graph: &mut Graph,
    options: &SimplifyOptions,
    report: &mut SimplifyReport,
) -> Result<bool, ChannelsError> {
    let order = graph.schedule()?;
    let Some(constants) = forward::constants(graph, &order, options.dead) else { return Ok(false) };
    let needs = backward::needs(graph, &order, &constants, options.dead);
    let anything = needs.iter().flatten().any(|pattern| pattern.cells.iter().any(|&need| need < Need::Needed));
    if !anything {
        return Ok(false);
    }
    let coupling = axes::couple(graph, &CoupleOptions::default())?;
    let needs = choice::group_needs(graph, &order, &coupling, &needs);
    let analysis = Analysis { order, constants, coupling, needs, dead: options.dead };
    let sets = choice::removable(graph, &analysis.coupling, &analysis.needs);
    if sets.is_empty() {
        return Ok(false);
    }
    let all = sets.iter().flatten().copied().collect();
    if remove_groups(graph, &analysis, &all, report)?.is_ok() {
        return Ok(true);
    }
    // One axis that cannot be narrowed must not keep the others.
    for set in &sets {
        match remove_groups(graph, &analysis, set, report)? {
            Ok(()) => return Ok(true),
            Err(error) => report.note_refusal(error.to_string()),
        }
    }
    Ok(false)
}

/// A layer and what the removed ones of its input channels gave to its remaining outputs.
struct Contribution {
    node: NodeId,
    constants: Vec<f64>,
}

fn remove_groups(
    graph: &mut Graph,
    analysis: &Analysis,
    groups: &BTreeSet<GroupId>,
    report: &mut SimplifyReport,
) -> Result<Result<(), RemoveError>, ChannelsError> {
    let removed = analysis.coupling.closure(groups);
    let mut contributions = Vec::new();
    let mut layers = Vec::new();
    for &node in &analysis.order {
        let Some(layer) = linear::linear(graph, node, analysis.dead) else { continue };
        let (Some(input), Some(output)) = (graph.node(node).input(0), graph.node(node).output(0)) else { continue };
        let going_out = gone(&analysis.coupling, output, layer.output_axis, layer.groups * layer.outputs, &removed);
        layers.extend(layer_report(graph, analysis, node, &going_out));
        let count = layer.groups * layer.inputs;
        let going_in = gone(&analysis.coupling, input, layer.input_axis, count, &removed);
        let known = forward::operand(graph, input, &analysis.constants)
            .and_then(|known| forward::channels(&known, layer.input_axis, count, forward::agree));
        let Some(known) = known.filter(|_| going_in.iter().any(Option::is_some)) else { continue };
        // Such a layer gives what goes to outputs alone that nothing reads.
        if !layer.takes_bias {
            continue;
        }
        let mut sums = vec![0.0; going_out.len()];
        for (output, input, weight) in layer.joined() {
            if going_in[input].is_some() && !known[input].is_nan() {
                sums[output] += known[input] * weight;
            }
        }
        let constants: Vec<f64> =
            sums.iter().zip(&going_out).filter(|(_, gone)| gone.is_none()).map(|(&sum, _)| sum).collect();
        if constants.iter().any(|&sum| sum != 0.0) {
            contributions.push(Contribution { node, constants });
        }
    }
    let removal = match axes::remove(graph, &analysis.coupling, groups) {
        Ok(removal) => removal,
        Err(error) => return Ok(Err(error)),
    };
    for Contribution { node, constants } in contributions {
        bias::add(graph, node, &constants)?;
    }
    report.count(Change::Channels, removal.groups);
    report.add_layers(layers);
    Ok(Ok(()))
}

/// For each place along an axis of a value the group by which it goes, if it does.
fn gone(
    coupling: &Coupling,
    value: ValueId,
    axis: usize,
    length: usize,
    removed: &BTreeSet<GroupId>,
) -> Vec<Option<GroupId>> {
    let mut gone = vec![None; length];
    for cover in coupling.covers(value) {
        let Some(place) = cover.axes.iter().position(|&own| own == axis) else { continue };
        if cover.lengths[place] != length {
            continue;
        }
        let inner: usize = cover.lengths[place + 1..].iter().product();
        // A place goes if all of the block there does.
        let mut stays = vec![false; length];
        let mut by = vec![None; length];
        for (index, group) in cover.groups.iter().enumerate() {
            let at = index / inner.max(1) % length;
            stays[at] |= !removed.contains(group);
            by[at] = Some(*group);
        }
        for ((gone, stays), by) in gone.iter_mut().zip(stays).zip(by) {
            *gone = gone.or(by.filter(|_| !stays));
        }
    }
    gone
}

fn layer_report(graph: &Graph, analysis: &Analysis, node: NodeId, gone: &[Option<GroupId>]) -> Option<LayerChannels> {
    let count = |need| gone.iter().flatten().filter(|group| analysis.needs[group.index()] == need).count();
    let name = &graph.node(node).name;
    let layer = LayerChannels {
        layer: if name.is_empty() { edit::output_name(graph, node).to_owned() } else { name.clone() },
        operator: graph.node(node).op.op_type().to_owned(),
        before: gone.len(),
        unread: count(Need::Unread),
        zero: count(Need::Zero),
        constant: count(Need::Constant),
    };
    (layer.after() < layer.before).then_some(layer)
}
