//! Elementwise operators, with broadcasting.

mod binary;
mod binary_gradient;
mod function;
mod mask;
mod select;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::arrangement::Arrangement;
use super::{Family, NodeType, Prepared, ValueType};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement };

/// Kernels broadcast by shapes alone, so that axes may have any order that is the same for all operands.
fn arrangement(node: &NodeType<'_>) -> Arrangement {
    let op = match node.op {
        Op::Gradient(gradient) => &gradient.of,
        op => op,
    };
    let known = match op {
        Op::Binary(kind) => binary::is_arithmetic(*kind) && node.all_f32(),
        Op::Variadic(_) => node.all_f32(),
        Op::Where(_) => node.input(1).is_some_and(ValueType::is_f32),
        op => function::is_function(op) && node.all_f32(),
    };
    if known { Arrangement::Elementwise } else { Arrangement::Plain }
}

fn prepare(node: &NodeType<'_>) -> Prepared {
    match node.op {
        Op::Binary(kind) => binary::prepare(*kind, node),
        Op::Variadic(kind) => select::prepare_variadic(*kind, node),
        Op::Where(_) => select::prepare_where(node),
        Op::Mask(_) => mask::prepare(node),
        op => function::prepare(op, node),
    }
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    match &gradient.of {
        Op::Binary(kind) => binary_gradient::prepare_gradient(*kind, node),
        Op::Variadic(kind) => select::prepare_variadic_gradient(*kind, gradient, node),
        Op::Where(_) => select::prepare_where_gradient(gradient, node),
        Op::Mask(_) => mask::prepare_gradient(gradient, node),
        op => function::prepare_gradient(op, gradient, node),
    }
}
