//! Nodes: applications of operators.

use crate::graph::ValueId;

/// A node: one application of an operator.
#[derive(Debug, Clone)]
pub struct Node {
    /// The file's name of it; may be empty, need not be unique.
    pub name: String,
    /// What it computes.
    pub op: crate::Op,
    /// The file's text about it.
    pub doc_string: String,
    /// The file's `metadata_props` of it.
    pub metadata: Vec<(String, String)>,
    pub(super) inputs: Vec<Option<ValueId>>,
    pub(super) outputs: Vec<Option<ValueId>>,
}

impl Node {
    /// What it reads; `None` where an optional input is absent. For [`crate::Op::Other`] with subgraphs the values that
    /// these capture follow the inputs proper.
    pub fn inputs(&self) -> &[Option<ValueId>] {
        &self.inputs
    }

    /// What it computes; `None` where an optional output is absent.
    pub fn outputs(&self) -> &[Option<ValueId>] {
        &self.outputs
    }

    /// The input at `slot`, if there is one.
    pub fn input(&self, slot: usize) -> Option<ValueId> {
        self.inputs.get(slot).copied().flatten()
    }

    /// The output at `slot`, if there is one.
    pub fn output(&self, slot: usize) -> Option<ValueId> {
        self.outputs.get(slot).copied().flatten()
    }
}
