//! First-order Taylor expansion of the loss.
//!
//! # What it does
//! Estimates from the slope of the loss how much it would change if a weight or neuron were 0.
//!
//! # Equation
//! With `g` the gradient of the loss of a batch: single weights `|w · mean over batches of g|`; groups
//! `mean over batches of (Σ_s w_s g_s)²`.
//!
//! The slices s are those that read the group: to remove it is to set these to 0, and `−Σ_s w_s g_s` is what the loss changes
//! by in first order. Groups that no parameter reads (queries and keys of attention, which meet in a product of
//! activations) have the sum over the slices that write them, which sees both sides of the product. Scores are compared
//! across layers as they are. Groups and weights on which the loss does not depend are never removed: groups have an
//! infinite score, weights none.
//!
//! # Parameters
//! Data and a loss ([`super::Evidence`]), samples and their number a batch.
//!
//! # Cost
//! One forward and one backward pass for each batch.
//!
//! # When it hurts
//! At a minimum of the loss the mean gradient is 0 and what is left of it noise; that is why squares of single batches are
//! averaged for groups. The expansion says nothing of large changes: remove little at a time.
//!
//! # Source
//! Molchanov, Tyree, Karras, Aila, Kautz 2017 (arXiv 1611.06440); Molchanov, Mallya, Tyree, Frosio, Kautz 2019 (arXiv
//! 1906.10771).

use slimnet_graph::axes::Coupling;
use slimnet_graph::graph::Graph;

use super::evidence::Slope;
use super::gradient::{self, Power};
use super::slices::GroupSums;
use super::{Evidence, ImportanceError, WeightScores, of_each};
use crate::weight::Weight;

pub(super) fn weights(graph: &Graph, weights: &[Weight], evidence: &Evidence) -> Result<WeightScores, ImportanceError> {
    let means = gradient::means(graph, weights, &mut Slope::of_batches(graph, evidence)?, Power::One)?;
    of_each(graph, weights, |weight, data| {
        let Some(means) = means.get(&weight.value) else { return Vec::new() };
        data.iter().zip(means).map(|(&weight, mean)| (f64::from(weight) * mean).abs() as f32).collect()
    })
}

pub(super) fn groups(graph: &Graph, coupling: &Coupling, evidence: &Evidence) -> Result<GroupSums, ImportanceError> {
    gradient::mean_square_effects(graph, coupling, Slope::of_batches(graph, evidence)?)
}
