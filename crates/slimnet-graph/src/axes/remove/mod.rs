//! Removal of groups: tensors are narrowed, and what speaks of their lengths is mended.

mod kept;
mod mend;

use std::collections::BTreeSet;

use super::coupling::rows_equal;
use super::{Coupling, GroupId};
use crate::graph::{Dim, Graph, ValueId};
use crate::infer::{GraphInferError, infer_graph};
use crate::tensor::TensorError;
use kept::Kept;

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// How many groups went, with those that had to go with them.
    pub groups: usize,
    /// Every tensor of the file that became narrower.
    pub narrowed: Vec<Narrowed>,
}

/// A tensor that became narrower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowed {
    /// The tensor.
    pub value: ValueId,
    /// Its shape before.
    pub before: Vec<usize>,
    /// Its shape now.
    pub after: Vec<usize>,
}

/// Why groups cannot be removed. The graph is then as it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RemoveError {
    /// One of them must stay.
    #[error("positions of {axis:?} must stay: it {reason}")]
    Frozen {
        /// Name of the axis.
        axis: String,
        /// Why.
        reason: String,
    },
    /// Rows (heads, groups of a convolution) would become unequally long.
    #[error(
        "{node} needs rows of equal length: remove equally many positions from each row of {length}, or whole rows"
    )]
    Uneven {
        /// The node that has the rows.
        node: String,
        /// Length of a row.
        length: usize,
    },
    /// Nothing would be left of a tensor.
    #[error("nothing would be left of {0:?}: keep at least one position")]
    Empty(String),
    /// A tensor would not be rectangular.
    #[error("{0:?} would not be rectangular: remove equally many positions from each of its rows")]
    Ragged(String),
    /// Something that speaks of a length cannot be changed.
    #[error("{node} cannot be mended: {what}")]
    Stuck {
        /// The node.
        node: String,
        /// What stands in the way, and what would help.
        what: String,
    },
    /// The coupling is of another graph, or the graph changed since.
    #[error("the graph is not the one that was coupled: {0}")]
    Stale(String),
    /// The graph's shapes cannot be inferred, before or after.
    #[error("shapes do not fit: {0}")]
    Infer(#[from] GraphInferError),
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Removes groups, with those that go with them ([`Coupling::closure`]). Handles of nodes and values stay what they were;
/// the coupling is not true of the graph any more and has to be found anew.
///
/// # Errors
/// [`RemoveError`]; the graph is then unchanged.
pub fn remove(graph: &mut Graph, coupling: &Coupling, groups: &BTreeSet<GroupId>) -> Result<Removal, RemoveError> {
    let all = coupling.closure(groups);
    for &group in &all {
        if let Some(reason) = coupling.frozen(group) {
            let axis = coupling.axes()[coupling.axis_of(group)].name.clone();
            return Err(RemoveError::Frozen { axis, reason: reason.to_string() });
        }
    }
    for block in coupling.blocks() {
        if !rows_equal(block, &all) {
            return Err(RemoveError::Uneven { node: graph.describe_node(block.node), length: block.inner });
        }
    }
    // All is done on copies, which share the tensors' data.
    let mut before = graph.clone();
    let types = infer_graph(&mut before)?;
    let kept = Kept::new(&before, coupling, &all)?;
    let mut changed = before.clone();
    let mut removal = Removal { groups: all.len(), narrowed: Vec::new() };
    for value in kept.values() {
        if let Some(data) = &graph.value(value).data {
            let narrow = kept.narrow(value, data)?;
            removal.narrowed.push(Narrowed { value, before: data.shape().to_vec(), after: narrow.shape().to_vec() });
            changed.set_data(value, narrow);
        } else if let Some(shape) = &mut changed.value_mut(value).shape {
            for (axis, dim) in shape.iter_mut().enumerate() {
                if let Some(length) = kept.length(value, axis) {
                    *dim = Dim::from(length);
                }
            }
        }
    }
    mend::mend(&mut changed, &before, &types, &kept)?;
    // Whatever was mended wrongly, or is computed while running and did not follow, contradicts the new shapes.
    infer_graph(&mut changed)?;
    *graph = changed;
    Ok(removal)
}
