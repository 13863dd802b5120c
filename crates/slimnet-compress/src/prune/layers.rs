//! What pruning did, layer by layer.

use serde::Serialize;
use slimnet_graph::graph::Graph;

use super::cut::nonzero_elements;
use crate::constraint::{Constraint, ConstraintError, Pattern, recorded};
use crate::weight::{Weight, weights};

/// What pruning did to a weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerChange {
    /// The tensor.
    pub weight: String,
    /// Its shape before.
    pub shape: Vec<usize>,
    /// Its shape now; `None` if it is gone.
    pub shape_after: Option<Vec<usize>>,
    /// Elements that were not 0 before.
    pub nonzero: usize,
    /// Elements that are not 0 now.
    pub nonzero_after: usize,
    /// The pattern that its zeros have: `N:M` or `RxC`.
    pub pattern: Option<String>,
    /// The pattern that its zeros had and do not have any more.
    pub pattern_lost: Option<String>,
}

/// What became of each weight.
pub(super) fn layers(original: &Graph, network: &Graph) -> Result<Vec<LayerChange>, ConstraintError> {
    let special = |graph: &Graph, value| {
        let Some(Constraint::Sparse(pattern)) = recorded(graph, value)? else { return Ok(None) };
        Ok((pattern != Pattern::Single).then(|| pattern.to_string()))
    };
    let change = |weight: Weight| {
        let name = &original.value(weight.value).name;
        let after = network.find_value(name).and_then(|value| Some((value, network.value(value).data.as_ref()?)));
        let before = original.value(weight.value).data.as_ref();
        let (had, pattern) = (
            special(original, weight.value)?,
            match after {
                Some((value, _)) => special(network, value)?,
                None => None,
            },
        );
        Ok(LayerChange {
            weight: name.clone(),
            shape: before.map_or_else(Vec::new, |data| data.shape().to_vec()),
            shape_after: after.map(|(_, data)| data.shape().to_vec()),
            nonzero: before.map_or(0, nonzero_elements),
            nonzero_after: after.map_or(0, |(_, data)| nonzero_elements(data)),
            pattern_lost: had.filter(|had| after.is_some() && pattern.as_ref() != Some(had)),
            pattern,
        })
    };
    weights(original).into_iter().map(change).collect()
}
