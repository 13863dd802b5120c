//! Kernels: what computes a node of fixed types and shapes.
//!
//! A kernel is *prepared* once for a node and then run any number of times on slices. It allocates nothing when it runs:
//! what it needs besides inputs and outputs it asks for as [`Kernel::scratch`]. Work is divided into parts that depend on
//! the shapes alone, never on the number of threads, and sums over parts are added in the order of the parts; so results
//! have the same bits on any number of threads.
//!
//! Each family of operators has one module, which prepares the operators themselves and their gradients
//! ([`slimnet_graph::ops::Gradient`]). What no family knows is computed by the reference evaluator (`reference`), which
//! is slow but knows every operator; gradients have no such refuge.

pub mod arrangement;
mod broadcast;
pub mod call;
mod channels;
mod convolution;
mod elementwise;
mod functions;
mod layout;
pub mod matrix;
mod normalization;
pub mod parallel;
mod pooling;
mod product;
mod reach;
mod recurrent;
mod reduction;
mod reference;
mod sparse;
pub mod testing;
mod vector;
mod vision;
mod window;

use std::fmt;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::tensor::{ElementType, Tensor};

use arrangement::{Arrangement, Layout};
pub use call::{Call, Context};
pub use vector::instruction_set;

/// Element type and shape of a value at run time.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueType {
    /// The element type.
    pub element_type: ElementType,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// The data, if it is the same in every run (never that of a parameter).
    pub constant: Option<Tensor>,
}

impl ValueType {
    /// A value whose data is not known before it runs.
    pub fn new(element_type: ElementType, shape: Vec<usize>) -> Self {
        Self { element_type, shape, constant: None }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it holds `float32`.
    pub fn is_f32(&self) -> bool {
        self.element_type == ElementType::F32
    }

    /// The integers of a constant, such as axes or a shape.
    pub fn integers(&self) -> Option<Vec<i64>> {
        self.constant.as_ref()?.to_i64s().ok()
    }
}

/// What kernels do with constant weights that are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zeros {
    /// They are left out where that is faster.
    #[default]
    Skipped,
    /// They are multiplied like any other number: what the same network would cost without zeros.
    Multiplied,
}

/// A node of fixed types and shapes.
#[derive(Debug, Clone, Copy)]
pub struct NodeType<'a> {
    /// What it computes.
    pub op: &'a Op,
    /// Types of its inputs; `None` where one is absent.
    pub inputs: &'a [Option<ValueType>],
    /// Types of its outputs; `None` where one is absent.
    pub outputs: &'a [Option<ValueType>],
    /// Where the channels of its tensors lie. If they are last, the shapes in `inputs` and `outputs` are
    /// `[N, spatial…, C]` for all tensors that follow the layout ([`arrangement::follows_layout`]); attributes mean what
    /// they mean in ONNX.
    pub layout: Layout,
    /// What to do with weights that are zero.
    pub zeros: Zeros,
}

impl<'a> NodeType<'a> {
    /// The type of an input, if it is present.
    pub fn input(&self, slot: usize) -> Option<&'a ValueType> {
        self.inputs.get(slot)?.as_ref()
    }

    /// The type of an output, if it is present.
    pub fn output(&self, slot: usize) -> Option<&'a ValueType> {
        self.outputs.get(slot)?.as_ref()
    }

    /// Whether every input that is present holds `float32`.
    pub fn all_f32(&self) -> bool {
        self.inputs.iter().flatten().all(ValueType::is_f32)
    }
}

/// Why a node cannot be run, or not go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// There is no kernel for the operator in this form.
    #[error("cannot be run: {0}")]
    Unsupported(String),
    /// A value that the operator does not allow, such as an index outside its axis.
    #[error("{0}")]
    Value(String),
}

/// A step element by element that a kernel may do before it stores a result ([`Kernel::absorb`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Epilogue {
    /// `y = x + input[slot]`, an input of the shape and layout of the output that is added to the kernel's inputs.
    Add {
        /// The slot of the further input.
        slot: usize,
    },
    /// `y = min(max(x, low), high)`; what is not a number stays so.
    Clamp {
        /// The lower limit.
        low: f32,
        /// The upper limit, perhaps infinite.
        high: f32,
    },
}

/// What computes a node.
pub trait Kernel: Send + Sync + fmt::Debug {
    /// Computes the outputs.
    ///
    /// # Errors
    /// [`KernelError::Value`] if a value is not allowed. Outputs are then unspecified.
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError>;

    /// How many `f32` of scratch memory a run needs. Its contents at the start are unspecified.
    fn scratch(&self) -> usize {
        0
    }

    /// Bytes that the kernel itself keeps between runs: weights that were packed when it was prepared.
    fn kept_bytes(&self) -> usize {
        0
    }

    /// Whether the data of an input is read at all; memory of what nobody reads is given to others.
    fn reads(&self, _input: usize) -> bool {
        true
    }

    /// Whether weights that are zero are left out.
    fn skips_zeros(&self) -> bool {
        false
    }

    /// Whether `output` may lie in the memory of `input`, which is then overwritten. Both have the same number of bytes.
    /// Only for kernels that read element `i` of that input before writing element `i` of the output, and never after
    /// ([`Call::map`], [`Call::zip`] and their kin care for it).
    fn in_place(&self, _input: usize, _output: usize) -> bool {
        false
    }

    /// Takes an elementwise step that follows into the kernel, which then computes both. Steps are offered in their order,
    /// and at most once after this returned false. They are done to the first output.
    fn absorb(&mut self, _step: &Epilogue) -> bool {
        false
    }

    /// The input whose bytes `output` is, unchanged, so that nothing needs to be copied. A kernel all of whose outputs are
    /// such is not run.
    fn alias(&self, _output: usize) -> Option<usize> {
        None
    }
}

/// A prepared kernel; `None` if the family has none for this node.
pub type Prepared = Option<Box<dyn Kernel>>;

/// Prepares the kernel of a node.
///
/// # Errors
/// [`KernelError::Unsupported`] if there is none.
pub fn prepare(node: &NodeType<'_>) -> Result<Box<dyn Kernel>, KernelError> {
    if node.outputs.len() > call::MOST_OUTPUTS {
        let (found, most) = (node.outputs.len(), call::MOST_OUTPUTS);
        return Err(KernelError::Unsupported(format!("{found} outputs (of a gradient: inputs) are more than {most}")));
    }
    if let Op::Gradient(gradient) = node.op {
        return prepare_gradient(gradient, node).ok_or_else(|| {
            KernelError::Unsupported(format!("{} has no gradient in this form or element type", gradient.of.op_type()))
        });
    }
    let found = FAMILIES.iter().find_map(|family| (family.forward)(node));
    match found {
        Some(kernel) => Ok(kernel),
        None => reference::prepare(node),
    }
}

/// Prepares the kernel of the gradient of an operator. `node` is the gradient node.
fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    FAMILIES.iter().find_map(|family| (family.gradient)(gradient, node))
}

/// A family of operators.
struct Family {
    /// Prepares an operator of the family.
    forward: fn(&NodeType<'_>) -> Prepared,
    /// Prepares the gradient of one.
    gradient: fn(&Gradient, &NodeType<'_>) -> Prepared,
    /// What the family can do with an operator of its own, or the gradient of one, on tensors with channels last.
    arrangement: fn(&NodeType<'_>) -> Arrangement,
}

/// For families that take all tensors as ONNX has them.
fn plain(_: &NodeType<'_>) -> Arrangement {
    Arrangement::Plain
}

/// What can be done with a node (described in its plain layout) whose tensors have their channels last.
pub fn arrangement(node: &NodeType<'_>) -> Arrangement {
    let found = FAMILIES.iter().map(|family| (family.arrangement)(node)).find(|found| *found != Arrangement::Plain);
    found.unwrap_or(Arrangement::Plain)
}

/// All families; the first that knows a node has it.
const FAMILIES: &[Family] = &[
    elementwise::FAMILY,
    layout::FAMILY,
    reduction::FAMILY,
    convolution::FAMILY,
    product::FAMILY,
    normalization::FAMILY,
    pooling::FAMILY,
    recurrent::FAMILY,
    vision::FAMILY,
];
