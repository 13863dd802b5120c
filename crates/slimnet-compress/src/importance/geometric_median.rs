//! Distance from the geometric median.
//!
//! # What it does
//! Takes neurons for unimportant whose weights are in the middle of those of their layer: others can stand in for them.
//! Unlike magnitude it can remove large ones.
//!
//! # Equation
//! `score_i = Σ_j ‖w_i − w_j‖₂` over the neurons j of the same tensor, `w_i` all that the tensor has for the neuron: the
//! geometric median is where this sum is least. It is taken in every tensor of two axes or more that writes the neuron,
//! divided by its mean over the tensor, and averaged over the tensors; then divided by the mean of the axis, as magnitude
//! is. Of a group with several neurons in a tensor all of them together are `w_i`.
//!
//! # Parameters
//! None.
//!
//! # Cost
//! `C² · D / 2` multiplications for a tensor of C neurons of D weights each: milliseconds for convolutions, minutes for dense
//! layers of thousands of neurons.
//!
//! # When it hurts
//! With few neurons a layer there is no crowd to be in the middle of. A neuron alone in its tensor is never removed (its
//! score is infinite). What reads the neuron is not looked at.
//!
//! # Source
//! He, Liu, Wang, Hu, Yang 2019, "Filter pruning via geometric median" (arXiv 1811.00250).

use std::collections::BTreeMap;

use slimnet_graph::axes::{Access, Coupling, GroupId};
use slimnet_graph::graph::Graph;

use super::ImportanceError;
use super::magnitude::matrices;
use super::slices::{GroupSums, Parameter, Spread};

pub(super) fn groups(graph: &Graph, coupling: &Coupling) -> Result<GroupSums, ImportanceError> {
    let slices = matrices(graph, coupling)?;
    let mut sums = vec![(0.0, 0usize); coupling.group_count()];
    for parameter in &slices.parameters {
        for spread in parameter.spreads.iter().filter(|spread| spread.access == Access::Writes) {
            for (group, distance) in distances(parameter, spread) {
                let (sum, count) = &mut sums[group.index()];
                (*sum, *count) = (*sum + distance, *count + 1);
            }
        }
    }
    let means = sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / count as f64));
    Ok(slices.relative(slices.with_members(&means.collect::<GroupSums>())))
}

/// How far each group of a tensor is from the others, relative to the mean. Groups of other lengths are not compared.
fn distances(parameter: &Parameter, spread: &Spread) -> Vec<(GroupId, f64)> {
    let mut vectors: BTreeMap<GroupId, Vec<f32>> = BTreeMap::new();
    for (run, &group) in parameter.data.chunks_exact(spread.run).zip(&spread.groups) {
        vectors.entry(group).or_default().extend(run);
    }
    let mut by_length: BTreeMap<usize, Vec<(GroupId, Vec<f32>)>> = BTreeMap::new();
    for (group, vector) in vectors {
        by_length.entry(vector.len()).or_default().push((group, vector));
    }
    let alike = by_length.into_values().filter(|alike| alike.len() > 1);
    alike.flat_map(|alike| relative_distances(&alike)).collect()
}

fn relative_distances(vectors: &[(GroupId, Vec<f32>)]) -> Vec<(GroupId, f64)> {
    let mut sums = vec![0.0; vectors.len()];
    for (first, (_, a)) in vectors.iter().enumerate() {
        for (second, (_, b)) in vectors.iter().enumerate().skip(first + 1) {
            let distance = distance(a, b);
            sums[first] += distance;
            sums[second] += distance;
        }
    }
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    let relative = |sum: f64| if mean > 0.0 { sum / mean } else { 0.0 };
    vectors.iter().zip(sums).map(|((group, _), sum)| (*group, relative(sum))).collect()
}

/// Sums side by side, which the processor can add at once.
const LANES: usize = 8;

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(square).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += square((&a[lane], &b[lane]));
        }
    }
    (sums.iter().sum::<f64>() + rest).sqrt()
}
