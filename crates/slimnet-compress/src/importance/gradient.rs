//! Means of gradients and their squares, which several criteria are made of.

use std::collections::BTreeMap;

use slimnet_graph::axes::Coupling;
use slimnet_graph::graph::{Graph, ValueId};

use super::ImportanceError;
use super::evidence::Slope;
use super::slices::{GroupSums, Parameter, Slices};
use crate::weight::Weight;

/// Which mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    /// That of gradients.
    One,
    /// That of their squares.
    Two,
}

/// The mean over runs of the gradients of weights, or of their squares; of those that the loss depends on.
pub(super) fn means(
    graph: &Graph,
    weights: &[Weight],
    slope: &mut Slope,
    power: Power,
) -> Result<BTreeMap<ValueId, Vec<f64>>, ImportanceError> {
    let mut sums: BTreeMap<ValueId, Vec<f64>> = BTreeMap::new();
    let name = |value: ValueId| graph.value(value).name.as_str();
    let count = slope.each(|gradients| {
        for weight in weights {
            let Some(gradient) = gradients.get(name(weight.value)) else { continue };
            let sums = sums.entry(weight.value).or_insert_with(|| vec![0.0; gradient.len()]);
            for (sum, &gradient) in sums.iter_mut().zip(gradient) {
                let gradient = f64::from(gradient);
                *sum += if power == Power::One { gradient } else { gradient * gradient };
            }
        }
    })?;
    sums.values_mut().flatten().for_each(|sum| *sum /= count as f64);
    Ok(sums)
}

/// The mean over runs of `(Σ_s w_s g_s)²` over the slices through which a group acts.
pub(super) fn mean_square_effects(
    graph: &Graph,
    coupling: &Coupling,
    mut slope: Slope,
) -> Result<GroupSums, ImportanceError> {
    let name = |value: ValueId| graph.value(value).name.as_str();
    let slices = Slices::new(graph, coupling, |value| slope.reaches(name(value)))?;
    let mut sums: GroupSums = vec![None; coupling.group_count()];
    let count = slope.each(|gradients| {
        let products = |parameter: &Parameter| {
            let gradient = gradients.get(name(parameter.value)).unwrap_or_default();
            let pairs = parameter.data.iter().zip(gradient);
            pairs.map(|(&weight, &gradient)| f64::from(weight) * f64::from(gradient)).collect()
        };
        for (sum, effect) in sums.iter_mut().zip(slices.effects(products)) {
            if let Some(effect) = effect {
                *sum.get_or_insert(0.0) += effect * effect;
            }
        }
    })?;
    Ok(sums.into_iter().map(|sum| sum.map(|sum| sum / count as f64)).collect())
}
