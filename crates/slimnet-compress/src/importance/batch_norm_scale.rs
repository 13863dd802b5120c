//! Scale of batch normalisation.
//!
//! # What it does
//! Takes neurons for unimportant whose normalised value is multiplied with a small number. Needs no data.
//!
//! # Equation
//! `score = mean over the batch normalisations of the neuron of |γ|`. It is compared across layers as it is: behind
//! normalisation all neurons have the same scale. A whole row has the sum over its members.
//!
//! # Parameters
//! None. Neurons without batch normalisation are never removed (their score is infinite), and a network in which no neuron
//! that can be removed has one is refused: `simplify` folds it away, so prune before that.
//!
//! # Cost
//! None.
//!
//! # When it hurts
//! Where training did not make scales sparse (network slimming adds `λ Σ |γ|` to the loss for that), scales differ little
//! and say little. What the layers behind do with a neuron is not looked at.
//!
//! # Source
//! Liu, Li, Shen, Huang, Yan, Zhang 2017, "Learning efficient convolutional networks through network slimming" (arXiv
//! 1708.06519).

use slimnet_graph::Op;
use slimnet_graph::axes::Coupling;
use slimnet_graph::graph::{Graph, ValueId};

use super::ImportanceError;
use super::slices::{GroupSums, Slices};

pub(super) fn groups(graph: &Graph, coupling: &Coupling) -> Result<GroupSums, ImportanceError> {
    let normalizes = |node| matches!(graph.node(node).op, Op::BatchNormalization(_));
    let is_scale =
        |value: ValueId| graph.value(value).readers().any(|reader| reader.slot == 1 && normalizes(reader.node));
    let slices = Slices::new(graph, coupling, is_scale)?;
    let mut sums: GroupSums = vec![None; coupling.group_count()];
    let mut counts = vec![0usize; coupling.group_count()];
    for parameter in &slices.parameters {
        for spread in &parameter.spreads {
            for (scale, group) in parameter.data.iter().zip(&spread.groups) {
                *sums[group.index()].get_or_insert(0.0) += f64::from(scale.abs());
                counts[group.index()] += 1;
            }
        }
    }
    let means = sums.into_iter().zip(counts).map(|(sum, count)| sum.map(|sum| sum / count as f64));
    Ok(slices.with_members(&means.collect::<GroupSums>()))
}
