//! Reductions and softmax.

mod reduce;
mod softmax;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::{Family, NodeType, Prepared};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient };

fn prepare(node: &NodeType<'_>) -> Prepared {
    match node.op {
        Op::Reduce(kind, _) => reduce::prepare(*kind, node),
        Op::Softmax(kind, op) => softmax::prepare(*kind, op.axis, node),
        _ => None,
    }
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    match &gradient.of {
        Op::Reduce(kind, op) => reduce::prepare_gradient(*kind, op, gradient, node),
        Op::Softmax(kind, op) => softmax::prepare_gradient(*kind, op.axis, node),
        _ => None,
    }
}
