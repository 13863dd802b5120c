//! Normalisations and dropout.

mod axes;
mod batch;
mod columns;
mod dropout;
mod layer;
mod local;
mod shared;
mod sums;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::arrangement::Arrangement;
use super::{Family, NodeType, Prepared};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement };

fn prepare(node: &NodeType<'_>) -> Prepared {
    match node.op {
        Op::Dropout(_) => dropout::prepare(node),
        _ if !node.all_f32() => None,
        Op::BatchNormalization(op) => batch::prepare(op, node),
        Op::Lrn(op) => local::prepare(op, node),
        op @ (Op::LpNormalization(_) | Op::MeanVarianceNormalization(_)) => axes::prepare(op, node),
        op => layer::prepare(op, node),
    }
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    match &gradient.of {
        Op::Dropout(_) => dropout::prepare_gradient(gradient, node),
        _ if !node.all_f32() => None,
        Op::BatchNormalization(op) => batch::prepare_gradient(op, gradient, node),
        Op::Lrn(op) => local::prepare_gradient(op, gradient, node),
        op @ (Op::LpNormalization(_) | Op::MeanVarianceNormalization(_)) => axes::prepare_gradient(op, gradient, node),
        op => layer::prepare_gradient(op, gradient, node),
    }
}

fn arrangement(node: &NodeType<'_>) -> Arrangement {
    let batch = match node.op {
        Op::Gradient(gradient) => matches!(gradient.of, Op::BatchNormalization(_)),
        // Statistics alone are left to the reference evaluator.
        op => matches!(op, Op::BatchNormalization(_)) && node.output(0).is_some(),
    };
    match node.input(0) {
        Some(x) if batch && node.all_f32() => columns::arrangement(&x.shape),
        _ => Arrangement::Plain,
    }
}
