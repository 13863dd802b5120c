//! Empirical Fisher information.
//!
//! # What it does
//! Estimates from the gradients of single samples how curved the loss is along a weight or neuron, and with that how much
//! is lost without it. Unlike the first-order estimate it does not vanish at a minimum, where the gradients of samples
//! cancel each other but their squares do not.
//!
//! # Equation
//! With `g_n` the gradient of the loss of sample n: single weights `w² · E_n[g_n²]`, groups `E_n[(Σ_s w_s g_{s,n})²]`, over
//! the same slices s as `taylor`. (The second-order expansion at a minimum with the Fisher information as Hessian is half of
//! this.) Scores are compared across layers as they are. Groups and weights on which the loss does not depend are never
//! removed: groups have an infinite score, weights none.
//!
//! # Parameters
//! Data and a loss ([`super::Evidence`]), and how many samples are looked at. The size of a batch is 1: the gradient of a batch
//! is a mean, whose square is another thing.
//!
//! # Cost
//! One forward and one backward pass for each sample, one by one.
//!
//! # When it hurts
//! With labels that the network is sure of gradients are small and only the samples that it gets wrong are heard. Weights
//! are judged one by one: what two of them do together is not seen, except within a group.
//!
//! # Source
//! Theis, Korshunova, Tejani, Huszár 2018, "Faster gaze prediction with dense networks and Fisher pruning" (arXiv 1801.05787);
//! Liu, Zhang, Kuang, Zhou, Xue, Wang, Chen, Yang, Liao, Zhang 2021, "Group Fisher pruning" (arXiv 2108.00708).

use slimnet_graph::axes::Coupling;
use slimnet_graph::graph::Graph;

use super::evidence::Slope;
use super::gradient::{self, Power};
use super::slices::GroupSums;
use super::{Evidence, ImportanceError, WeightScores, of_each};
use crate::weight::Weight;

pub(super) fn weights(graph: &Graph, weights: &[Weight], evidence: &Evidence) -> Result<WeightScores, ImportanceError> {
    let means = gradient::means(graph, weights, &mut Slope::of_samples(graph, evidence)?, Power::Two)?;
    of_each(graph, weights, |weight, data| {
        let Some(means) = means.get(&weight.value) else { return Vec::new() };
        data.iter().zip(means).map(|(&weight, mean)| (f64::from(weight).powi(2) * mean) as f32).collect()
    })
}

pub(super) fn groups(graph: &Graph, coupling: &Coupling, evidence: &Evidence) -> Result<GroupSums, ImportanceError> {
    gradient::mean_square_effects(graph, coupling, Slope::of_samples(graph, evidence)?)
}
