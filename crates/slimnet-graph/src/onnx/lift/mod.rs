//! Nodes of a file's operator set in the semantics that the program has inside.

use crate::graph::ValueId;
use crate::onnx::SEMANTICS;
use crate::ops::Op;
use crate::ops::attribute::{AttributeError, Attributes};
use crate::tensor::Tensor;

/// A node of a file, with what its lifting may need to know.
pub(super) struct Source<'a> {
    pub(super) op_type: &'a str,
    pub(super) attributes: Attributes,
    pub(super) inputs: Vec<Option<ValueId>>,
    /// Which outputs the node has and something could read.
    pub(super) outputs: &'a [Option<ValueId>],
}

/// What a lifted node reads.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// Nothing: an optional input that is absent.
    Absent,
    /// A value of the file.
    Value(ValueId),
    /// An attribute that became an input; the text says which.
    Constant(&'static str, Tensor),
}

impl From<Option<ValueId>> for Input {
    fn from(value: Option<ValueId>) -> Self {
        value.map_or(Self::Absent, Self::Value)
    }
}

/// A node in the semantics inside.
pub(super) struct Lifted {
    pub(super) op: Op,
    pub(super) inputs: Vec<Input>,
}

/// Why a node is kept whole instead, or is wrong.
pub(super) enum NotLifted {
    /// It is kept whole, for this reason.
    Kept(String),
    /// The file is wrong.
    Wrong(AttributeError),
}

impl From<AttributeError> for NotLifted {
    fn from(error: AttributeError) -> Self {
        match error {
            AttributeError::Missing(_) => Self::Wrong(error),
            _ => Self::Kept(error.to_string()),
        }
    }
}

/// Lifts a node of the default domain from operator set `version`.
pub(super) fn lift(node: Source<'_>, version: i64) -> Result<Lifted, NotLifted> {
    if !(18..=SEMANTICS).contains(&version) {
        return Err(NotLifted::Kept(format!("operator set {version} is not lifted")));
    }
    let _ = node.outputs;
    let op = Op::read(node.op_type, node.attributes)
        .ok_or_else(|| NotLifted::Kept(format!("operator {} is not known", node.op_type)))??;
    Ok(Lifted { op, inputs: node.inputs.into_iter().map(Input::from).collect() })
}
