//! Pruning of neurons.
//!
//! # What it does
//!
//! Removes the least important neurons: output channels of convolutions, units of dense layers, attention heads and their
//! inner positions, with every slice of every tensor that goes with them. What is left is a smaller dense network, which any
//! runtime runs faster. Which neurons go together, and which must stay, say the coupled axes of the graph
//! ([`slimnet_graph::axes`]).
//!
//! # Equation
//!
//! Units u are the smallest sets of groups of coupled positions that can be removed. With the importance s of groups:
//!
//! s(u) = ∑_{g ∈ u} s(g) / |u|; the k units of least s(u) go, with the least k for which the target is reached.
//!
//! In the scope of layers, units go in the order of (their rank in their axis) / (units of the axis).
//!
//! # Parameters
//!
//! - The target, such as half of the MACs.
//! - Scope: the least important of the network, or the same part of each axis.
//! - Round: channels that are left are a multiple of it.
//! - The importance; what is excluded.
//!
//! # Cost
//!
//! One removal, a copy of the graph without its tensors and an inference of shapes, for each step of a bisection: about
//! log₂ of the number of units.
//!
//! # When it hurts
//!
//! It loses more accuracy than zeros at equal parameters, as whole neurons go. Channels that must stay (behind residual
//! additions, at inputs and outputs) leave the rest to the others. Odd numbers of channels can be slower than the next
//! multiple of 8.
//!
//! # Source
//!
//! Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient `ConvNets`, 2017. Molchanov, Tyree, Karras, Aila, Kautz:
//! Pruning Convolutional Neural Networks for Resource Efficient Inference, 2017. Coupling: Fang, Ma, Song, Bi Mi, Wang:
//! `DepGraph`: Towards Any Structural Pruning, 2023.

use std::collections::BTreeSet;

use slimnet_graph::axes::{CoupledAxis, Coupling, GroupId, Removal, RemoveError, remove};
use slimnet_graph::graph::Graph;

use super::ranking::Ranking;
use super::{PruneError, Scope};

/// Which neurons go. Whether neurons may go over which a normalisation or the like is computed, says the coupling
/// ([`slimnet_graph::axes::CoupleOptions::approximate`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeuronChoice {
    /// Among what the least important is looked for.
    pub scope: Scope,
    /// The number of channels that an axis keeps is a multiple of this where that is possible; 1 (or 0): any number.
    pub round: usize,
}

impl Default for NeuronChoice {
    fn default() -> Self {
        Self { scope: Scope::Global, round: 1 }
    }
}

/// What pruning of neurons did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrunedNeurons {
    /// Whether the target is reached. If not, the graph is as small as it can be, and can be measured.
    pub reached: bool,
    /// What was removed, with all that goes with it, in terms of the coupling.
    pub groups: BTreeSet<GroupId>,
    /// The axes that lost something.
    pub axes: Vec<PrunedAxis>,
    /// How many elements tensors of the file lost.
    pub elements: usize,
    /// Axes that lost nothing because the graph could not be mended.
    pub skipped: Vec<SkippedAxis>,
}

/// What an axis lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedAxis {
    /// Its name.
    pub name: String,
    /// How many channels (groups of coupled positions) it had.
    pub before: usize,
    /// How many it has.
    pub after: usize,
}

/// An axis that could not lose anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedAxis {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A smaller graph, and what it lost.
struct Smaller {
    graph: Graph,
    removal: Removal,
    groups: BTreeSet<GroupId>,
}

/// Removes the least important neurons until `reached(&graph)`, such as MACs ≤ half, with as few as that needs.
///
/// - `scores` are of the groups of the coupling, by [`GroupId::index`]; what has infinite importance stays. A unit of
///   several groups counts by their mean.
/// - `reached` must stay true once it is, as neurons go: the number of units is found by bisection. If it cannot become
///   true, all that can go is removed and the result says so; to go back, keep a copy of the graph, which shares its tensors.
/// - `excluded` axes lose nothing, and so do units that need something of them to go.
/// - Every tensor keeps at least one position of each axis, or `round` of them, or as many as it has.
/// - With `round` r, of the units that lie on the same axes of tensors so many stay that these have a multiple of r
///   channels; the number that is nearest to what the order of importance gives. If none fits, all stay. An axis that is
///   cut into parts of less than r channels cannot be rounded.
/// - Of units that share groups, such as heads and the positions of each head, those go that come first.
///
/// The coupling is not true of the graph any more afterwards.
///
/// # Errors
/// [`PruneError`]; the graph is then unchanged.
pub fn prune_neurons(
    graph: &mut Graph,
    coupling: &Coupling,
    scores: &[f64],
    excluded: &dyn Fn(&CoupledAxis) -> bool,
    choice: NeuronChoice,
    reached: &dyn Fn(&Graph) -> Result<bool, PruneError>,
) -> Result<PrunedNeurons, PruneError> {
    let mut ranking = Ranking::new(graph, coupling, scores, excluded, choice)?;
    if reached(graph)? {
        return Ok(PrunedNeurons { reached: true, ..PrunedNeurons::default() });
    }
    let (mut best, skipped) = smallest(graph, coupling, &mut ranking)?;
    if best.groups.is_empty() {
        return Err(nothing(coupling, excluded, &skipped));
    }
    let target = reached(&best.graph)?;
    let (mut too_few, mut enough) = (0, ranking.len());
    while target && enough - too_few > 1 {
        let middle = too_few.midpoint(enough);
        let smaller = without(graph, coupling, &ranking.first(middle))?;
        if reached(&smaller.graph)? {
            (enough, best) = (middle, smaller);
        } else {
            too_few = middle;
        }
    }
    let Smaller { graph: smaller, removal, groups } = best;
    *graph = smaller;
    let lost = removal.narrowed.iter();
    let elements = lost.map(|tensor| tensor.before.iter().product::<usize>() - tensor.after.iter().product::<usize>());
    let (elements, axes) = (elements.sum(), axes(coupling, &groups));
    Ok(PrunedNeurons { reached: target, groups, axes, elements, skipped })
}

fn without(graph: &Graph, coupling: &Coupling, groups: &BTreeSet<GroupId>) -> Result<Smaller, RemoveError> {
    let mut graph = graph.clone();
    let removal = remove(&mut graph, coupling, groups)?;
    Ok(Smaller { graph, removal, groups: coupling.closure(groups) })
}

/// The graph without all that can go. Axes whose units make the removal fail are taken out of the ranking.
fn smallest(
    graph: &Graph,
    coupling: &Coupling,
    ranking: &mut Ranking,
) -> Result<(Smaller, Vec<SkippedAxis>), PruneError> {
    let mut skipped = Vec::new();
    loop {
        let mut error = match without(graph, coupling, &ranking.first(ranking.len())) {
            Ok(smaller) => return Ok((smaller, skipped)),
            Err(error @ (RemoveError::Stale(_) | RemoveError::Tensor(_))) => return Err(error.into()),
            Err(error) => error,
        };
        let (mut works, mut fails) = (0, ranking.len());
        while fails - works > 1 {
            let middle = works.midpoint(fails);
            match without(graph, coupling, &ranking.first(middle)) {
                Ok(_) => works = middle,
                Err(own) => (fails, error) = (middle, own),
            }
        }
        // Nothing fails without any unit, so that there is one that makes the difference.
        let Some(last) = fails.checked_sub(1) else { return Err(error.into()) };
        let axis = ranking.axis(last);
        skipped.push(SkippedAxis { name: coupling.axes()[axis].name.clone(), reason: error.to_string() });
        ranking.drop_axis(axis);
    }
}

fn axes(coupling: &Coupling, gone: &BTreeSet<GroupId>) -> Vec<PrunedAxis> {
    let pruned = coupling.axes().iter().map(|axis| {
        let before = axis.groups.len();
        let lost = axis.groups.iter().filter(|group| gone.contains(group)).count();
        PrunedAxis { name: axis.name.clone(), before, after: before - lost }
    });
    pruned.filter(|axis| axis.after < axis.before).collect()
}

/// Why nothing can go.
fn nothing(coupling: &Coupling, excluded: &dyn Fn(&CoupledAxis) -> bool, skipped: &[SkippedAxis]) -> PruneError {
    let (out, rest): (Vec<_>, Vec<_>) = coupling.axes().iter().partition(|axis| excluded(axis));
    let fixed = rest.iter().filter(|axis| coupling.units(axis, |_| 0.0).is_empty()).count();
    let frozen = rest.iter().flat_map(|axis| axis.groups.iter().map(move |&group| (axis, coupling.frozen(group))));
    let mut reasons = skipped
        .iter()
        .map(|skipped| format!("{:?}: {}", skipped.name, skipped.reason))
        .chain(frozen.filter_map(|(axis, reason)| Some(format!("{:?} must stay, because it {}", axis.name, reason?))));
    let none = coupling.axes().is_empty().then(|| "no operator that is understood has a weight with axes".to_owned());
    let least = "what is left has no more than must stay, or infinite importance";
    let why = none.or_else(|| reasons.next()).unwrap_or_else(|| least.to_owned());
    PruneError::NothingRemovable { axes: coupling.axes().len(), excluded: out.len(), fixed, why }
}
