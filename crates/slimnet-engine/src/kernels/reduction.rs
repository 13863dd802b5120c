//! Reductions and softmax.

use slimnet_graph::ops::Gradient;

use super::{Family, NodeType, Prepared};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient };

fn prepare(_node: &NodeType<'_>) -> Prepared {
    None
}

fn prepare_gradient(_gradient: &Gradient, _node: &NodeType<'_>) -> Prepared {
    None
}
