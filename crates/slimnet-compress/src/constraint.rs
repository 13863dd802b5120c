//! What a weight must stay, recorded on its value.

use std::fmt;
use std::str::FromStr;

use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::ops::Role;
use slimnet_graph::roles::roles;

/// Key of the record in the `metadata_props` of a tensor.
pub const KEY: &str = "slimnet.keep";

/// How zeros are arranged in a weight, as a matrix of outputs × inputs (with the taps of a kernel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pattern {
    /// Anywhere.
    #[default]
    Single,
    /// At least `zeros` of each `group` inputs that lie side by side are 0: "2:4" has 2 of 4 left.
    NofM {
        /// How many of a group are left.
        left: usize,
        /// Length of a group.
        group: usize,
    },
    /// Blocks of `outputs` × `inputs` are 0 or not as a whole: "1x4" is 1 output by 4 inputs.
    Block {
        /// Outputs of a block.
        outputs: usize,
        /// Inputs of a block.
        inputs: usize,
    },
}

/// What a weight must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// Its zeros stay zeros.
    Sparse(Pattern),
}

/// A record that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is to be kept as {found:?}, which this version does not know; expected sparse, sparse N:M or sparse RxC"
)]
pub struct ConstraintError {
    /// The value.
    pub value: String,
    /// What its record says.
    pub found: String,
}

/// Which zeros are kept when a network is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Those of recorded constraints, and of weights of which 30 % or more are exactly 0, but not all.
    #[default]
    Auto,
    /// Those of recorded constraints.
    Recorded,
    /// None.
    Nothing,
}

/// Part of a weight that is exactly 0 from which on [`Keep::Auto`] takes it as sparse.
const SPARSE: f64 = 0.3;

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => write!(formatter, "single weights"),
            Self::NofM { left, group } => write!(formatter, "{left}:{group}"),
            Self::Block { outputs, inputs } => write!(formatter, "{outputs}x{inputs}"),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    /// `N:M` or `RxC`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected N:M with N < M ≤ 64, such as 2:4, or RxC with at most 4096 elements, such as 4x1, found {text:?}"
            )
        };
        let pair = |separator| {
            let (first, second) = text.split_once(separator)?;
            Some((first.trim().parse::<usize>().ok()?, second.trim().parse::<usize>().ok()?))
        };
        match (pair(':'), pair('x')) {
            (Some((left, group)), _) if (1..group).contains(&left) && group <= 64 => Ok(Self::NofM { left, group }),
            (_, Some((outputs, inputs))) if outputs >= 1 && inputs >= 1 && outputs.saturating_mul(inputs) <= 4096 => {
                Ok(Self::Block { outputs, inputs })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sparse(Pattern::Single) => write!(formatter, "sparse"),
            Self::Sparse(pattern) => write!(formatter, "sparse {pattern}"),
        }
    }
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sparse").map(str::trim) {
            Some("") => Ok(Self::Sparse(Pattern::Single)),
            Some(pattern) => pattern.parse().map(Self::Sparse),
            None => Err(format!("expected sparse, found {text:?}")),
        }
    }
}

/// The constraint that is recorded for a value.
///
/// # Errors
/// If there is a record that is not understood.
pub fn recorded(graph: &Graph, value: ValueId) -> Result<Option<Constraint>, ConstraintError> {
    let value = graph.value(value);
    let Some((_, text)) = value.metadata.iter().find(|(key, _)| key == KEY) else { return Ok(None) };
    let wrong = |_| ConstraintError { value: value.name.clone(), found: text.clone() };
    text.parse().map(Some).map_err(wrong)
}

/// Records what a value must stay, in place of an earlier record.
pub fn record(graph: &mut Graph, value: ValueId, constraint: Constraint) {
    let metadata = &mut graph.value_mut(value).metadata;
    metadata.retain(|(key, _)| key != KEY);
    metadata.push((KEY.to_owned(), constraint.to_string()));
}

/// Records weights that look sparse and have no record. Returns them with the part that is 0.
pub fn record_sparse(graph: &mut Graph) -> Vec<(ValueId, f64)> {
    let roles = roles(graph);
    let zeros = |id: ValueId| {
        let data = graph.value(id).data.as_ref()?;
        let weight = roles[id.index()] == Some(Role::Parameter) && data.rank() >= 2;
        let values = data.values::<f32>().ok().filter(|values| weight && !values.is_empty())?;
        Some(values.iter().filter(|&&value| value == 0.0).count() as f64 / values.len() as f64)
    };
    let unrecorded = |id: &ValueId| graph.value(*id).metadata.iter().all(|(key, _)| key != KEY);
    let ids = graph.values().map(|(id, _)| id).filter(unrecorded);
    // What is 0 all over is a weight that begins at 0, not a pruned one.
    let sparse = |part: &f64| (SPARSE..1.0).contains(part);
    let found: Vec<_> = ids.filter_map(|id| Some((id, zeros(id).filter(sparse)?))).collect();
    for &(id, _) in &found {
        record(graph, id, Constraint::Sparse(Pattern::Single));
    }
    found
}

/// Settles which zeros are kept, once and for all that follows: looks for weights that look sparse, or forgets all records.
/// Returns the weights that were newly found, with the part that is 0.
pub fn settle(graph: &mut Graph, keep: Keep) -> Vec<(ValueId, f64)> {
    match keep {
        Keep::Auto => record_sparse(graph),
        Keep::Recorded => Vec::new(),
        Keep::Nothing => {
            let ids: Vec<_> = graph.values().map(|(id, _)| id).collect();
            for id in ids {
                graph.value_mut(id).metadata.retain(|(key, _)| key != KEY);
            }
            Vec::new()
        }
    }
}
