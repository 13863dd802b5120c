//! Matrix products.

mod einsum;
mod gemm;
mod matmul;
mod view;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::{Family, NodeType, Prepared, plain, sparse};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement: plain };

fn prepare(node: &NodeType<'_>) -> Prepared {
    if !node.all_f32() {
        return None;
    }
    if let Some(kernel) = sparse::prepare_product(node) {
        return Some(kernel);
    }
    match node.op {
        Op::Gemm(op) => gemm::prepare(op, node),
        Op::MatMul(_) => matmul::prepare(node),
        Op::Einsum(op) => einsum::prepare(op, node),
        _ => None,
    }
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    if !node.all_f32() {
        return None;
    }
    match &gradient.of {
        Op::Gemm(op) => gemm::prepare_gradient(op, gradient, node),
        Op::MatMul(_) => matmul::prepare_gradient(gradient, node),
        Op::Einsum(op) => einsum::prepare_gradient(op, gradient, node),
        _ => None,
    }
}
