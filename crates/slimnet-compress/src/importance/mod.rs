//! Importance: how much would be lost with a weight or a neuron.
//!
//! [`score_weights`] judges single weights, [`score_groups`] the groups of coupled axes, by one [`Criterion`] of several; each has
//! a module that says what it does. Parameters are judged, never statistics or constants.

mod activation;
mod batch_norm_scale;
mod error;
mod evidence;
mod fisher;
mod geometric_median;
mod gradient;
mod lamp;
mod loss;
mod magnitude;
mod random;
mod slices;
mod taylor;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use slimnet_graph::axes::{Coupling, GroupId};
use slimnet_graph::graph::{Graph, ValueId};

use crate::weight::Weight;
pub use error::ImportanceError;
pub use evidence::Evidence;
use magnitude::Norm;

/// How importance is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Criterion {
    /// Magnitude, the sum of absolute values.
    L1,
    /// Magnitude, the root of the sum of squares.
    L2,
    /// First-order Taylor expansion of the loss.
    Taylor,
    /// Scale of the batch normalisation behind a neuron.
    BatchNormScale,
    /// Weight times the norm of what it is multiplied with.
    Activation,
    /// Layer-adaptive magnitude.
    Lamp,
    /// Empirical Fisher information from gradients of single samples.
    Fisher,
    /// Distance from the geometric median of the neurons of the layer.
    GeometricMedian,
    /// Chance: the control.
    Random,
}

impl Criterion {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::L1,
        Self::L2,
        Self::Taylor,
        Self::BatchNormScale,
        Self::Activation,
        Self::Lamp,
        Self::Fisher,
        Self::GeometricMedian,
        Self::Random,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Taylor => "taylor",
            Self::BatchNormScale => "bn-scale",
            Self::Activation => "activation",
            Self::Lamp => "lamp",
            Self::Fisher => "fisher",
            Self::GeometricMedian => "geometric-median",
            Self::Random => "random",
        }
    }

    /// Whether it is measured on data.
    pub fn needs_data(self) -> bool {
        matches!(self, Self::Taylor | Self::Activation | Self::Fisher)
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Criterion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|criterion| criterion.name() == text).ok_or_else(|| format!("expected {}", names()))
    }
}

/// Importance of single weights: for each tensor as many numbers as it has elements, in its order. What is not here is not
/// pruned.
pub type WeightScores = BTreeMap<ValueId, Vec<f32>>;

/// The importance of single weights of a network in its deployed form: never NaN, and 0 where nothing would be lost.
/// Weights on which a loss does not depend are left out, and so are tensors that are not `float32`.
///
/// # Errors
/// If the criterion cannot judge single weights, or is measured on data that there is not; if a weight is not finite.
pub fn score_weights(
    graph: &Graph,
    weights: &[Weight],
    criterion: Criterion,
    evidence: Option<&Evidence>,
    seed: u64,
) -> Result<WeightScores, ImportanceError> {
    let data = evidence.ok_or(ImportanceError::NoData(criterion));
    let scores = match criterion {
        Criterion::L1 => magnitude::weights(graph, weights, Norm::L1),
        Criterion::L2 => magnitude::weights(graph, weights, Norm::L2),
        Criterion::Taylor => taylor::weights(graph, weights, data?),
        Criterion::Activation => activation::weights(graph, weights, data?),
        Criterion::Lamp => lamp::weights(graph, weights),
        Criterion::Fisher => fisher::weights(graph, weights, data?),
        Criterion::Random => random::weights(graph, weights, seed),
        Criterion::BatchNormScale | Criterion::GeometricMedian => Err(ImportanceError::SingleWeights(criterion)),
    }?;
    if scores.is_empty() && !weights.is_empty() {
        return Err(ImportanceError::Unjudged(criterion));
    }
    let wrong = scores.iter().find(|(_, scores)| scores.iter().any(|score| score.is_nan()));
    match wrong {
        Some((&value, _)) => Err(ImportanceError::NotMeasured { criterion, what: graph.value(value).name.clone() }),
        None => Ok(scores),
    }
}

/// The importance of the groups of a network in its deployed form, by [`slimnet_graph::axes::GroupId::index`]: never NaN, 0
/// where nothing would be lost, and infinite where the criterion has nothing to judge by: such a group is never to be
/// removed. Numbers of groups that are frozen mean nothing.
///
/// # Errors
/// If the criterion is measured on data that there is not, or can judge no group that could be removed; if a weight is not
/// finite.
pub fn score_groups(
    graph: &Graph,
    coupling: &Coupling,
    criterion: Criterion,
    evidence: Option<&Evidence>,
    seed: u64,
) -> Result<Vec<f64>, ImportanceError> {
    let data = evidence.ok_or(ImportanceError::NoData(criterion));
    let scores = match criterion {
        Criterion::L1 => magnitude::groups(graph, coupling, Norm::L1)?,
        Criterion::L2 => magnitude::groups(graph, coupling, Norm::L2)?,
        Criterion::Taylor => taylor::groups(graph, coupling, data?)?,
        Criterion::BatchNormScale => batch_norm_scale::groups(graph, coupling)?,
        Criterion::Activation => activation::groups(graph, coupling, data?)?,
        Criterion::Lamp => lamp::groups(graph, coupling)?,
        Criterion::Fisher => fisher::groups(graph, coupling, data?)?,
        Criterion::GeometricMedian => geometric_median::groups(graph, coupling)?,
        Criterion::Random => random::groups(coupling, seed),
    };
    let mut free = coupling.groups().filter(|&group| coupling.frozen(group).is_none()).peekable();
    if free.peek().is_some() && free.all(|group| scores[group.index()].is_none()) {
        return Err(match criterion {
            Criterion::BatchNormScale => ImportanceError::NoBatchNorm,
            _ => ImportanceError::Unjudged(criterion),
        });
    }
    let wrong = |group: &GroupId| scores[group.index()].is_some_and(|score| !score.is_finite());
    if let Some(group) = coupling.groups().find(wrong) {
        let what = coupling.axes()[coupling.axis_of(group)].name.clone();
        return Err(ImportanceError::NotMeasured { criterion, what });
    }
    Ok(scores.into_iter().map(|score| score.unwrap_or(f64::INFINITY)).collect())
}

/// Scores of each weight from its elements; those of which nothing is said are left out.
fn of_each(
    graph: &Graph,
    weights: &[Weight],
    score: impl Fn(&Weight, &[f32]) -> Vec<f32>,
) -> Result<WeightScores, ImportanceError> {
    let mut scores = WeightScores::new();
    for weight in weights {
        if let Some(data) = slices::finite_elements(graph, weight.value)? {
            scores.insert(weight.value, score(weight, &data));
        }
    }
    scores.retain(|_, scores| !scores.is_empty());
    Ok(scores)
}
