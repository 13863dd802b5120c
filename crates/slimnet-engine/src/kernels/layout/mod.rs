//! Operators that move elements: reshaping, transposing, joining, cutting, padding, indexing.

mod address;
mod gather;
mod join;
mod moved;
mod reverse;
mod scatter;
mod spread;
mod triangle;
mod walk;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::elementwise::Unary;

use super::{Call, Family, Kernel, KernelError, NodeType, Prepared, plain};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement: plain };

/// The bytes of an input under another shape.
#[derive(Debug)]
struct Same(usize);

impl Kernel for Same {
    fn run(&self, _call: &mut Call<'_>) -> Result<(), KernelError> {
        Ok(())
    }

    fn alias(&self, _output: usize) -> Option<usize> {
        Some(self.0)
    }
}

/// Whether the operator only changes the shape.
fn is_reshape(op: &Op) -> bool {
    matches!(op, Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Unary(Unary::Identity))
}

fn prepare(node: &NodeType<'_>) -> Prepared {
    match node.op {
        op if is_reshape(op) => Some(Box::new(Same(0))),
        op @ (Op::Gather(_) | Op::GatherElements(_) | Op::GatherNd(_)) => gather::prepare(op, node),
        op @ (Op::ScatterElements(_) | Op::ScatterNd(_)) => scatter::prepare(op, node),
        op @ (Op::Concat(_) | Op::Split(_)) => join::prepare(op, node),
        Op::ReverseSequence(op) => reverse::prepare(op, node),
        Op::Trilu(op) => triangle::prepare(op, node),
        op => moved::prepare(op, node),
    }
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    match &gradient.of {
        op if is_reshape(op) => {
            let slot = gradient.gradient_slot(0);
            node.input(slot).map(|_| Box::new(Same(slot)) as Box<dyn Kernel>)
        }
        Op::Gather(_) | Op::GatherElements(_) | Op::GatherNd(_) => gather::prepare_gradient(gradient, node),
        Op::ScatterElements(_) | Op::ScatterNd(_) => scatter::prepare_gradient(gradient, node),
        Op::Concat(_) | Op::Split(_) => join::prepare_gradient(gradient, node),
        Op::ReverseSequence(op) => reverse::prepare_gradient(op, gradient, node),
        Op::Trilu(op) => triangle::prepare_gradient(op, gradient, node),
        op => moved::prepare_gradient(op, gradient, node),
    }
}
