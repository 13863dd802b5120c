//! Layer-adaptive magnitude (LAMP).
//!
//! # What it does
//! Scales magnitudes so that one threshold for the whole network gives each layer a sensible sparsity: a weight is compared
//! with what would be left of its tensor.
//!
//! # Equation
//! `score(w_u) = w_u² / Σ_{v ≥ u} w_v²` with the weights of a tensor in ascending order of magnitude, equal ones in their
//! order in the tensor. The largest weight has the score 1, so that no tensor loses its last weight before all others have.
//!
//! Groups: the same of an axis, with the square of a group's L2 norm (as in `l2`, before it is divided by the mean) in place
//! of `w²`.
//!
//! # Parameters
//! None.
//!
//! # Cost
//! Sorting the weights.
//!
//! # When it hurts
//! At low sparsity it differs little from magnitude. Small layers are spared even if they are not needed.
//!
//! # Source
//! Lee, Park, Mo, Ahn, Shin 2021, "Layer-adaptive sparsity for the magnitude-based pruning" (arXiv 2010.07611). The form for
//! groups is ours.

use slimnet_graph::axes::{Coupling, GroupId};
use slimnet_graph::graph::Graph;

use super::magnitude::{matrices, squares};
use super::slices::GroupSums;
use super::{ImportanceError, WeightScores, of_each};
use crate::weight::Weight;

pub(super) fn weights(graph: &Graph, weights: &[Weight]) -> Result<WeightScores, ImportanceError> {
    of_each(graph, weights, |_, data| {
        let squares: Vec<f64> = data.iter().map(|&weight| f64::from(weight) * f64::from(weight)).collect();
        adapted(&squares).into_iter().map(|score| score as f32).collect()
    })
}

pub(super) fn groups(graph: &Graph, coupling: &Coupling) -> Result<GroupSums, ImportanceError> {
    let mut scores = squares(&matrices(graph, coupling)?);
    for axis in coupling.axes() {
        let judged: Vec<GroupId> =
            axis.groups.iter().copied().filter(|group| scores[group.index()].is_some()).collect();
        let own: Vec<f64> = judged.iter().filter_map(|group| scores[group.index()]).collect();
        for (group, score) in judged.iter().zip(adapted(&own)) {
            scores[group.index()] = Some(score);
        }
    }
    Ok(scores)
}

/// Each square divided by the sum of itself and all that come after it in ascending order.
fn adapted(squares: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..squares.len()).collect();
    order.sort_by(|&a, &b| squares[a].total_cmp(&squares[b]));
    let mut scores = vec![0.0; squares.len()];
    let mut left = 0.0;
    for index in order.into_iter().rev() {
        left += squares[index];
        // Among zeros nothing is left to compare with.
        scores[index] = if left > 0.0 { squares[index] / left } else { 0.0 };
    }
    scores
}
