//! Reductions, softmax, running sums and the largest elements.

mod cumulative;
mod reduce;
mod softmax;
mod sum;
mod top;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::{Family, NodeType, Prepared, plain};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement: plain };

fn prepare(node: &NodeType<'_>) -> Prepared {
    match node.op {
        Op::Reduce(kind, _) => reduce::prepare(*kind, node),
        Op::Softmax(kind, op) => softmax::prepare(*kind, op.axis, node),
        Op::CumSum(op) => cumulative::prepare(op, node),
        Op::TopK(op) => top::prepare(op, node),
        _ => None,
    }
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    match &gradient.of {
        Op::Reduce(kind, op) => reduce::prepare_gradient(*kind, op, gradient, node),
        Op::Softmax(kind, op) => softmax::prepare_gradient(*kind, op.axis, node),
        Op::CumSum(op) => cumulative::prepare_gradient(op, gradient, node),
        Op::TopK(op) => top::prepare_gradient(op, gradient, node),
        _ => None,
    }
}
