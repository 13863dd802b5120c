//! The gradient of an operator, as an operator.

use crate::ops::Op;

/// The vector–Jacobian product of one application of an operator: from gradients of a scalar with respect to the outputs
/// it computes those with respect to the inputs.
///
/// Inputs of the node, in this order, each possibly absent: the `inputs` inputs of the application, its `outputs` outputs,
/// and the gradients of these outputs (absent means zero). Output `i` is the gradient of input `i` and has its shape and
/// element type; absent where nobody wants it. A kernel need not read all that is linked.
///
/// Exists only in graphs that are being trained: no file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// The operator that was applied.
    pub of: Op,
    /// How many inputs the application has.
    pub inputs: usize,
    /// How many outputs the application has.
    pub outputs: usize,
}

impl Gradient {
    /// Slot of the node in which output `output` of the application is.
    pub fn output_slot(&self, output: usize) -> usize {
        self.inputs + output
    }

    /// Slot of the node in which the gradient of output `output` of the application is.
    pub fn gradient_slot(&self, output: usize) -> usize {
        self.inputs + self.outputs + output
    }
}
