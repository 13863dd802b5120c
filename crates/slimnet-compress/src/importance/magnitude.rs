//! Magnitude.
//!
//! # What it does
//! Takes small weights for unimportant. Needs no data and is the strongest simple rule: pruned in several rounds with
//! training in between, it comes close to the criteria that look at the loss.
//!
//! # Equation
//! Single weights: `|w|` (L1) or `w²` (L2). Their order is the same; sums over a block are its L1 norm and the square of its
//! L2 norm.
//!
//! Groups: the norm over all slices of tensors of two axes or more that belong to the group, those that write it and those
//! that read it, `Σ_s |w_s|` (L1) or `√(Σ_s w_s²)` (L2), divided by the mean over the groups of its axis that can be
//! removed. Biases, scales and slopes are left out: they are on another scale. A whole row has the norm over the slices of
//! all its members and its own. An element that two slices of a group share counts once.
//!
//! # Parameters
//! None.
//!
//! # Cost
//! One pass over the weights.
//!
//! # When it hurts
//! Where scales differ for no reason: a filter in front of batch normalisation can be multiplied by any number without
//! changing the network. Between layers, too: that is why groups are compared after division by the mean of their axis, by
//! which an axis of which nothing can be spared loses as many as any other.
//!
//! # Source
//! Han, Pool, Tran, Dally 2015 (arXiv 1506.02626) for weights; Li, Kadav, Durdanovic, Samet, Graf 2017 (arXiv 1608.08710) for
//! filters; Fang, Ma, Song, Mi, Wang 2023 (arXiv 2301.12900) for the norm over all slices that go together and its division
//! by the mean.

use slimnet_graph::axes::Coupling;
use slimnet_graph::graph::Graph;

use super::slices::{GroupSums, Parameter, Slices};
use super::{ImportanceError, WeightScores, of_each};
use crate::weight::Weight;

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    L1,
    L2,
}

pub(super) fn weights(graph: &Graph, weights: &[Weight], norm: Norm) -> Result<WeightScores, ImportanceError> {
    of_each(graph, weights, |_, data| {
        let score = |weight: f32| if norm == Norm::L1 { weight.abs() } else { weight * weight };
        data.iter().map(|&weight| score(weight)).collect()
    })
}

pub(super) fn groups(graph: &Graph, coupling: &Coupling, norm: Norm) -> Result<GroupSums, ImportanceError> {
    let slices = matrices(graph, coupling)?;
    Ok(slices.relative(match norm {
        Norm::L1 => slices.sums(|parameter| parameter.data.iter().map(|&weight| f64::from(weight.abs())).collect()),
        Norm::L2 => squares(&slices).into_iter().map(|sum| sum.map(f64::sqrt)).collect(),
    }))
}

/// Slices of tensors of two axes or more.
pub(super) fn matrices<'a>(graph: &Graph, coupling: &'a Coupling) -> Result<Slices<'a>, ImportanceError> {
    Slices::new(graph, coupling, |value| graph.value(value).data.as_ref().is_some_and(|data| data.rank() >= 2))
}

/// Sums of squares.
pub(super) fn squares(slices: &Slices) -> GroupSums {
    let square = |&weight: &f32| f64::from(weight) * f64::from(weight);
    slices.sums(|parameter: &Parameter| parameter.data.iter().map(square).collect())
}
