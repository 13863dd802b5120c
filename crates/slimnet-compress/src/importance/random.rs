//! Chance.
//!
//! # What it does
//! Draws importance at random: the control. A criterion that is not better than this at equal sparsity and equal recovery
//! knows nothing.
//!
//! # Equation
//! `score ~ U[0, 1)`, of a weight by seed, name of its tensor and place in it, of a group by seed and its number.
//!
//! # Parameters
//! `--seed`.
//!
//! # Cost
//! None.
//!
//! # When it hurts
//! Always. How much, is what is measured.
//!
//! # Source
//! Random pruning as baseline: Liu, Chen, Chen, Atashgahi, Yin, Kou, Shen, Pechenizkiy, Wang, Mocanu 2022, "The unreasonable
//! effectiveness of random pruning" (arXiv 2202.02643).

use slimnet_graph::axes::Coupling;
use slimnet_graph::graph::Graph;
use slimnet_graph::zoo::random::Stream;

use super::slices::GroupSums;
use super::{ImportanceError, WeightScores, of_each};
use crate::weight::Weight;

pub(super) fn weights(graph: &Graph, weights: &[Weight], seed: u64) -> Result<WeightScores, ImportanceError> {
    of_each(graph, weights, |weight, data| {
        let stream = Stream::named(seed, &format!("importance/{}", graph.value(weight.value).name));
        (0..data.len() as u64).map(|element| stream.uniform(element) as f32).collect()
    })
}

pub(super) fn groups(coupling: &Coupling, seed: u64) -> GroupSums {
    let stream = Stream::named(seed, "importance of groups");
    coupling.groups().map(|group| Some(stream.uniform(group.index() as u64))).collect()
}
