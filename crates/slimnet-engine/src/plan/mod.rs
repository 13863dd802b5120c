//! Planned execution: the order of the nodes, a kernel for each, and where every tensor lies in memory, all decided once
//! for a graph at fixed shapes. A run then allocates nothing.

mod arena;
mod build;
mod fuse;
mod layout;
mod memory;
mod shapes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytemuck::Pod;
use slimnet_graph::graph::{GraphError, NodeId, ValueId};
use slimnet_graph::infer::GraphInferError;
use slimnet_graph::tensor::{ElementType, Tensor, TensorError};

use crate::kernels::call::Region;
use crate::kernels::{Call, Context, Kernel, KernelError, Zeros};
use arena::Arena;

/// Why a graph cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A dimension of an input has only a name.
    #[error("axis {axis} of input {input:?} has the length {dimension:?}, which is not known; give it a number")]
    Length {
        /// The input.
        input: String,
        /// Its axis.
        axis: usize,
        /// What is known of the length.
        dimension: String,
    },
    /// A type that only a run could tell.
    #[error("the {what} of {value:?} is not known before it runs (found {found}): it depends on data")]
    Unknown {
        /// The value.
        value: String,
        /// What is not known.
        what: &'static str,
        /// What is known of it.
        found: String,
    },
    /// Shapes that do not fit.
    #[error(transparent)]
    Infer(#[from] GraphInferError),
    /// Links that do not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A node without kernel.
    #[error("{node}: {error}")]
    Node {
        /// The node.
        node: String,
        /// Why it cannot be run.
        error: KernelError,
    },
    /// A value that has no fixed size, or elements of less than a byte.
    #[error("{value:?} is {found}, which cannot be computed with")]
    ElementType {
        /// The value.
        value: String,
        /// Its element type.
        found: ElementType,
    },
    /// Not enough memory.
    #[error("{bytes} bytes of memory cannot be had; make the batch smaller")]
    Memory {
        /// How many.
        bytes: usize,
    },
}

/// Why a run ended early.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// A node met a value that it does not allow.
    #[error("{node}: {error}")]
    Node {
        /// The node.
        node: String,
        /// What it met.
        error: KernelError,
    },
    /// A tensor of another type or shape than the plan is for.
    #[error("{value:?}: expected {expected}, found {found}")]
    Mismatch {
        /// The value.
        value: String,
        /// What the plan is for.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What a plan is made for.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Lengths of the dimensions that inputs only name.
    pub lengths: BTreeMap<String, usize>,
    /// Values whose data changes between runs (parameters, running statistics); it is taken from the graph at the start.
    /// Those of each group lie side by side, so that an optimiser can walk over them as one vector.
    pub states: Vec<Vec<ValueId>>,
    /// Values that are computed into memory of their own, groups side by side, like the gradients of a group of states.
    pub results: Vec<Vec<ValueId>>,
    /// Further values that can be looked at after a run, besides the graph's outputs.
    pub kept: Vec<ValueId>,
    /// States that get a new value after a successful run: (state, value).
    pub updates: Vec<(ValueId, ValueId)>,
    /// Whether kernels leave out weights that are zero.
    pub zeros: Zeros,
}

/// What a step does.
#[derive(Debug)]
enum Work {
    /// Runs a kernel.
    Kernel {
        kernel: Box<dyn Kernel>,
        inputs: Vec<Option<Region>>,
        outputs: Vec<Option<Region>>,
        scratch: Region,
        number: u64,
    },
    /// Copies bytes, where a value that is the same as another must have memory of its own.
    Copy { from: Place, to: Place },
}

/// One step of a run.
#[derive(Debug)]
struct Step {
    /// The node, for messages.
    node: String,
    /// The same in the graph; `None` for copies and moves to another layout, which belong to no node.
    id: Option<NodeId>,
    work: Work,
    /// The `float32` values that it computes.
    computed: Vec<(String, Place)>,
}

/// Offset and bytes in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: usize,
    bytes: usize,
}

/// A value that has memory.
#[derive(Debug, Clone)]
struct Slot {
    name: String,
    element_type: ElementType,
    shape: Vec<usize>,
    place: Place,
}

/// Bytes that a plan takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// States, results, constants and inputs, which are there all the time.
    pub resident: usize,
    /// Weights that kernels keep in the order in which they read them, instead of as constants.
    pub packed: usize,
    /// Intermediate values and scratch memory.
    pub transient: usize,
    /// The least that the intermediate values could take: what is needed at once in the step that needs most.
    pub transient_lower_bound: usize,
}

impl Memory {
    /// All bytes.
    pub fn total(self) -> usize {
        self.resident + self.packed + self.transient
    }

    /// The least bytes that any placement of intermediate values could do with.
    pub fn lower_bound(self) -> usize {
        self.resident + self.packed + self.transient_lower_bound
    }
}

/// A graph, ready to run at fixed shapes.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    slots: BTreeMap<ValueId, Slot>,
    states: Vec<Place>,
    results: Vec<Place>,
    updates: Vec<(Place, Place)>,
    memory: Memory,
    // Regions of steps point into it: it is dropped last and never moves.
    arena: Arena,
}

impl Plan {
    /// Bytes that it takes.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// How many steps a run has.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether a run has nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many steps leave out weights that are zero.
    pub fn steps_that_skip_zeros(&self) -> usize {
        let skips = |step: &&Step| matches!(&step.work, Work::Kernel { kernel, .. } if kernel.skips_zeros());
        self.steps.iter().filter(skips).count()
    }

    fn slot(&self, value: ValueId) -> &Slot {
        self.slots.get(&value).expect("a value that the plan was asked to keep")
    }

    /// Type and shape of an input, state, result or kept value.
    ///
    /// # Panics
    /// If the value is none of these: a mistake of the calling code.
    pub fn value_type(&self, value: ValueId) -> (ElementType, &[usize]) {
        let slot = self.slot(value);
        (slot.element_type, &slot.shape)
    }

    /// Elements of an input, state, result or kept value.
    ///
    /// # Panics
    /// If the value is none of these, or its elements have another size.
    pub fn get<T: Pod>(&self, value: ValueId) -> &[T] {
        let place = self.slot(value).place;
        self.arena.slice(place.offset, place.bytes)
    }

    /// Elements of an input or state, to be changed.
    ///
    /// # Panics
    /// As [`Self::get`].
    pub fn get_mut<T: Pod>(&mut self, value: ValueId) -> &mut [T] {
        let place = self.slot(value).place;
        self.arena.slice_mut(place.offset, place.bytes)
    }

    /// An input, state, result or kept value as a tensor of its own.
    ///
    /// # Errors
    /// Never for values of a plan that was built; the types are checked again.
    ///
    /// # Panics
    /// As [`Self::get`].
    pub fn tensor(&self, value: ValueId) -> Result<Tensor, RunError> {
        let slot = self.slot(value);
        let bytes = self.arena.slice::<u8>(slot.place.offset, slot.place.bytes).to_vec();
        Ok(Tensor::from_bytes(slot.element_type, slot.shape.clone(), bytes.into())?)
    }

    /// Gives an input or state its data.
    ///
    /// # Errors
    /// [`RunError::Mismatch`] if the tensor has another type or shape.
    ///
    /// # Panics
    /// As [`Self::get`].
    pub fn set(&mut self, value: ValueId, tensor: &Tensor) -> Result<(), RunError> {
        let slot = self.slot(value);
        let place = slot.place;
        match tensor.bytes().filter(|_| tensor.element_type() == slot.element_type && tensor.shape() == slot.shape) {
            Some(bytes) => {
                self.arena.slice_mut::<u8>(place.offset, place.bytes).copy_from_slice(bytes);
                Ok(())
            }
            None => Err(RunError::Mismatch {
                value: slot.name.clone(),
                expected: format!("{} {:?}", slot.element_type, slot.shape),
                found: format!("{} {:?}", tensor.element_type(), tensor.shape()),
            }),
        }
    }

    /// A group of states as one vector, and a group of results beside it (padding between tensors is 0).
    ///
    /// # Panics
    /// If there are no such groups, or they are not `float32`.
    pub fn state_and_result(&mut self, states: usize, results: usize) -> (&mut [f32], &[f32]) {
        let (states, results) = (self.states[states], self.results[results]);
        let (read, write) = self.arena.two((results.offset, results.bytes), (states.offset, states.bytes));
        (write, read)
    }

    /// A group of states as one vector (padding between tensors is 0).
    ///
    /// # Panics
    /// If there is no such group, or it is not `float32`.
    pub fn state(&self, group: usize) -> &[f32] {
        let place = self.states[group];
        self.arena.slice(place.offset, place.bytes)
    }

    /// A group of states as one vector, to be changed.
    ///
    /// # Panics
    /// As [`Self::state`].
    pub fn state_mut(&mut self, group: usize) -> &mut [f32] {
        let place = self.states[group];
        self.arena.slice_mut(place.offset, place.bytes)
    }

    /// Where a state or result lies in its group's vector, in elements of four bytes.
    ///
    /// # Panics
    /// If the value is neither.
    pub fn range(&self, value: ValueId) -> std::ops::Range<usize> {
        let place = self.slot(value).place;
        let inside =
            |group: &&Place| group.offset <= place.offset && place.offset + place.bytes <= group.offset + group.bytes;
        let group = self.states.iter().chain(&self.results).find(inside).expect("a state or a result");
        let start = (place.offset - group.offset) / size_of::<f32>();
        start..start + place.bytes / size_of::<f32>()
    }

    /// Computes everything, then gives states their new values.
    ///
    /// # Errors
    /// If a node meets a value that it does not allow. States are then as they were.
    pub fn run(&mut self, context: Context) -> Result<(), RunError> {
        self.compute(context)?;
        self.update();
        Ok(())
    }

    /// Computes everything and leaves states as they are.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn compute(&mut self, context: Context) -> Result<(), RunError> {
        (0..self.steps.len()).try_for_each(|index| self.step(index, context))
    }

    /// Computes as [`Self::compute`] and tells after each step how long it took: the node of the graph that was planned (`None` for
    /// copies and moves to another layout, which belong to no node) and the time. A node may have several steps, one after the other, or none.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn compute_observed(
        &mut self,
        context: Context,
        mut observe: impl FnMut(Option<NodeId>, Duration),
    ) -> Result<(), RunError> {
        for index in 0..self.steps.len() {
            let start = Instant::now();
            self.step(index, context)?;
            observe(self.steps[index].id, start.elapsed());
        }
        Ok(())
    }

    /// Gives states the new values that were computed last.
    pub fn update(&mut self) {
        for index in 0..self.updates.len() {
            let (state, new) = self.updates[index];
            let (read, write) = self.arena.two::<u8>((new.offset, new.bytes), (state.offset, state.bytes));
            write.copy_from_slice(read);
        }
    }

    /// Runs as [`Self::run`], but leaves states as they are, and looks for the first step that computes something that is
    /// not finite from inputs that are. Returns the node and the value.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn find_not_finite(&mut self, context: Context) -> Result<Option<(String, String)>, RunError> {
        for index in 0..self.steps.len() {
            self.step(index, context)?;
            for (name, place) in &self.steps[index].computed {
                let values = self.arena.slice::<f32>(place.offset, place.bytes);
                if values.iter().any(|value| !value.is_finite()) {
                    return Ok(Some((self.steps[index].node.clone(), name.clone())));
                }
            }
        }
        Ok(None)
    }

    fn step(&mut self, index: usize, context: Context) -> Result<(), RunError> {
        let step = &self.steps[index];
        match &step.work {
            Work::Copy { from, to } => {
                let (read, write) = self.arena.two::<u8>((from.offset, from.bytes), (to.offset, to.bytes));
                write.copy_from_slice(read);
            }
            Work::Kernel { kernel, inputs, outputs, scratch, number } => {
                let context = Context { node: *number, ..context };
                // SAFETY: regions lie in the arena, which `self` owns and which is borrowed mutably for the run; the plan
                // gives outputs and scratch memory places of their own, or an input's place where the kernel allows it.
                #[allow(unsafe_code)]
                let mut call = unsafe { Call::new(inputs, outputs, *scratch, context) };
                kernel.run(&mut call).map_err(|error| RunError::Node { node: step.node.clone(), error })?;
            }
        }
        Ok(())
    }
}
