//! Elementwise operators, with broadcasting.

mod binary;
mod function;
mod select;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::{Family, NodeType, Prepared, plain};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement: plain };

fn prepare(node: &NodeType<'_>) -> Prepared {
    match node.op {
        Op::Binary(kind) => binary::prepare(*kind, node),
        Op::Variadic(kind) => select::prepare_variadic(*kind, node),
        Op::Where(_) => select::prepare_where(node),
        op => function::prepare(op, node),
    }
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    match &gradient.of {
        Op::Binary(kind) => binary::prepare_gradient(*kind, gradient, node),
        Op::Variadic(kind) => select::prepare_variadic_gradient(*kind, gradient, node),
        Op::Where(_) => select::prepare_where_gradient(gradient, node),
        op => function::prepare_gradient(op, gradient, node),
    }
}
