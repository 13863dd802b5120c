//! Inference over a whole graph.

use std::borrow::Cow;
use std::collections::HashMap;

use super::contents::MOST_COMBINED;
use super::shapes::{certainly_differ, check_size};
use super::{CONTENTS_LIMIT, InferError, Inferred, Known, infer_op};
use crate::evaluate::evaluate_op;
use crate::graph::{Dim, Graph, GraphError, NodeId, Value, ValueId, display_shape, known_shape};
use crate::ops::Op;
use crate::tensor::{ElementType, Tensor, element_count};

/// Why the types of a graph cannot be inferred.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphInferError {
    /// There is no order of execution.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A node cannot have the inputs that it has.
    #[error("{node}: {error}; its inputs are {inputs}")]
    Node {
        /// Which node.
        node: String,
        /// What it reads, as far as known.
        inputs: String,
        /// What does not fit.
        error: InferError,
    },
    /// A shape of the file that no tensor can have.
    #[error("{value}: {error}")]
    Value {
        /// Name of the value.
        value: String,
        /// What is wrong with it.
        error: InferError,
    },
    /// The file declares another type for a value than its node computes.
    #[error(
        "{value:?}: the file declares {declared}, but {node} computes {computed}; correct or remove the declaration"
    )]
    Contradiction {
        /// Name of the value.
        value: String,
        /// The node that computes it.
        node: String,
        /// What the file declares.
        declared: String,
        /// What the node computes.
        computed: String,
    },
}

/// What inference knows of every value of a graph.
#[derive(Debug, Clone, Default)]
pub struct Inference {
    types: Vec<Inferred>,
    constants: HashMap<ValueId, Tensor>,
    /// Elements of contents and constants that may still be kept.
    room: usize,
}

/// Most elements of contents and constants that are kept for a graph in all: memory must not grow with the product of its
/// nodes and [`CONTENTS_LIMIT`].
const CONTENTS_IN_ALL: usize = 1 << 20;

impl Inference {
    /// Element type of a value.
    pub fn element_type(&self, id: ValueId) -> Option<ElementType> {
        self.types.get(id.index())?.element_type
    }

    /// Shape of a value.
    pub fn shape(&self, id: ValueId) -> Option<&[Dim]> {
        self.types.get(id.index())?.shape.as_deref()
    }

    /// Contents of a small integer or bool tensor of at most one axis (true is 1), where they are known without running
    /// the graph. Contents of initializers are in their data.
    pub fn contents(&self, id: ValueId) -> Option<&[Dim]> {
        self.types.get(id.index())?.contents.as_deref()
    }

    /// A computed tensor of at most [`CONTENTS_LIMIT`] elements that is known without running the graph and is not a
    /// matter of [`Self::contents`].
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(&id)
    }

    /// The data of a value, if it is known without running the graph: what the file holds, or a small tensor that follows
    /// from such data and from lengths that are numbers.
    pub fn data<'a>(&'a self, graph: &'a Graph, id: ValueId) -> Option<Cow<'a, Tensor>> {
        if let Some(data) = &graph.value(id).data {
            return Some(Cow::Borrowed(data));
        }
        small_tensor(&self.known(graph, id))
    }

    /// Takes room for `count` elements, if there is as much.
    fn take_room(&mut self, count: usize) -> bool {
        let left = self.room.checked_sub(count);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    fn known<'a>(&'a self, graph: &'a Graph, id: ValueId) -> Known<'a> {
        let types = &self.types[id.index()];
        Known {
            element_type: types.element_type,
            shape: types.shape.as_deref(),
            data: graph.value(id).data.as_ref().or_else(|| self.constant(id)),
            contents: types.contents.as_deref(),
        }
    }
}

/// Most inputs of a node that a message lists.
const MOST_DESCRIBED: usize = 8;

/// Infers the type of every value and writes nothing.
///
/// # Errors
/// If nodes form a cycle, have inputs that do not fit, or compute something else than the file declares.
pub fn analyse(graph: &Graph) -> Result<Inference, GraphInferError> {
    let types = vec![Inferred::default(); graph.value_bound()];
    let mut inference = Inference { types, constants: HashMap::new(), room: CONTENTS_IN_ALL };
    for (id, value) in graph.values() {
        if value.producer().is_none() {
            inference.types[id.index()] = declared_type(value)?;
        }
    }
    for id in graph.schedule()? {
        infer_node(graph, id, &mut inference)?;
    }
    Ok(inference)
}

/// Infers the type of every value and writes it into the graph.
///
/// Inputs keep the types that they have, their unknown lengths get names. For a computed value the file's declaration
/// must agree with what its node computes, and counts where that is not known.
///
/// # Errors
/// As [`analyse`]; the graph is then unchanged.
pub fn infer_graph(graph: &mut Graph) -> Result<Inference, GraphInferError> {
    let inference = analyse(graph)?;
    let ids: Vec<_> = graph.values().map(|(id, _)| id).collect();
    for id in ids {
        let types = &inference.types[id.index()];
        let value = graph.value_mut(id);
        if value.other_type.is_none() {
            value.element_type = types.element_type;
            value.shape.clone_from(&types.shape);
        }
    }
    Ok(inference)
}

/// The type of a value that no node computes.
fn declared_type(value: &Value) -> Result<Inferred, GraphInferError> {
    if let Some(data) = &value.data {
        let shape = data.shape().iter().map(|&length| Dim::from(length)).collect();
        return Ok(Inferred { element_type: Some(data.element_type()), shape: Some(shape), contents: None });
    }
    check_declared(value)?;
    Ok(Inferred { element_type: value.element_type, shape: value.shape.clone(), contents: None })
}

/// Checks that a tensor can have the shape that the file declares.
fn check_declared(value: &Value) -> Result<(), GraphInferError> {
    let Some(shape) = &value.shape else { return Ok(()) };
    check_size(shape, || "shape".into()).map_err(|error| GraphInferError::Value { value: value.name.clone(), error })
}

fn infer_node(graph: &Graph, id: NodeId, inference: &mut Inference) -> Result<(), GraphInferError> {
    let node = graph.node(id);
    let inputs: Vec<_> = node.inputs().iter().map(|input| input.map(|input| inference.known(graph, input))).collect();
    let named = node.outputs().iter().flatten().next();
    let mut number = 0usize;
    let mut fresh = || {
        let dim = Dim::unknown(&format!("{}.{number}", named.map_or("", |&output| graph.value(output).name.as_str())));
        number += 1;
        dim
    };
    let results = infer_op(&node.op, &inputs, node.outputs().len(), &mut fresh).map_err(|error| {
        let describe =
            |&input: &Option<ValueId>| input.map_or_else(|| "none".into(), |input| describe(graph, input, inference));
        let mut inputs = node.inputs().iter().take(MOST_DESCRIBED).map(describe).collect::<Vec<_>>().join(", ");
        if node.inputs().len() > MOST_DESCRIBED {
            inputs += " and more";
        }
        GraphInferError::Node { node: graph.describe_node(id), inputs, error }
    })?;
    let mut constants = constant_results(&node.op, &inputs, &results).unwrap_or_default().into_iter();
    for (output, mut computed) in node.outputs().iter().zip(results) {
        let constant = constants.next();
        let Some(output) = *output else { continue };
        if let Some(constant) = constant.filter(|constant| inference.take_room(constant.len())) {
            inference.constants.insert(output, constant);
        }
        let contents = computed.contents.as_ref().map_or(0, Vec::len);
        if !inference.take_room(contents) {
            computed.contents = None;
        }
        let value = graph.value(output);
        check_declared(value)?;
        let joined = join(value, computed).map_err(|computed| GraphInferError::Contradiction {
            value: value.name.clone(),
            node: graph.describe_node(id),
            declared: show(value.element_type, value.shape.as_deref()),
            computed,
        })?;
        if let Some(shape) = &joined.shape {
            let named = |error| GraphInferError::Value { value: value.name.clone(), error };
            check_size(shape, || "shape".into()).map_err(named)?;
        }
        inference.types[output.index()] = joined;
    }
    Ok(())
}

/// Results of an operator whose inputs are all small and known: what exporters write to compute shapes, pads and scales
/// also goes through matrices and floating-point numbers.
fn constant_results(op: &Op, inputs: &[Option<Known<'_>>], results: &[Inferred]) -> Option<Vec<Tensor>> {
    let number = |dim: &Dim| dim.constant().is_some();
    let is_known = |result: &Inferred| result.contents.as_ref().is_some_and(|contents| contents.iter().all(number));
    let is_small = |result: &Inferred| {
        let shape = result.shape.as_ref().and_then(|shape| known_shape(shape));
        shape.is_some_and(|shape| element_count(&shape).is_ok_and(|count| count <= CONTENTS_LIMIT))
    };
    let inputs_are_few = inputs.len() <= MOST_COMBINED;
    if !inputs_are_few || !is_cheap(op) || results.iter().all(is_known) || !results.iter().all(is_small) {
        return None;
    }
    let tensors: Vec<_> = inputs.iter().map(|input| input.as_ref().map(small_tensor)).collect();
    if tensors.iter().any(|tensor| matches!(tensor, Some(None))) {
        return None;
    }
    let tensors: Vec<_> = tensors.iter().map(|tensor| tensor.as_ref()?.as_deref()).collect();
    evaluate_op(op, &tensors, results.len(), CONTENTS_LIMIT * size_of::<i64>()).ok()
}

/// The tensor that an input is known to be, if it is small.
fn small_tensor<'a>(input: &Known<'a>) -> Option<Cow<'a, Tensor>> {
    if let Some(data) = input.data {
        // Strings may be of any length.
        let small = data.len() <= CONTENTS_LIMIT && data.element_type() != ElementType::String;
        return small.then_some(Cow::Borrowed(data));
    }
    let numbers: Vec<i128> = input.contents?.iter().map(|dim| dim.constant().map(i128::from)).collect::<Option<_>>()?;
    Tensor::from_i128s(input.element_type?, known_shape(input.shape?)?, numbers).ok().map(Cow::Owned)
}

/// Operators whose time is linear in the size of their inputs and outputs, and that take part in computing shapes.
fn is_cheap(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(_)
            | Op::Binary(_)
            | Op::Variadic(_)
            | Op::Mod(_)
            | Op::Clip(_)
            | Op::Where(_)
            | Op::Cast(_)
            | Op::CastLike(_)
            | Op::Reduce(..)
            | Op::CumSum(_)
            | Op::Reshape(_)
            | Op::Flatten(_)
            | Op::Squeeze(_)
            | Op::Unsqueeze(_)
            | Op::Transpose(_)
            | Op::Expand(_)
            | Op::Concat(_)
            | Op::Split(_)
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Tile(_)
            | Op::Trilu(_)
            | Op::Gather(_)
            | Op::GatherElements(_)
            | Op::GatherNd(_)
            | Op::ScatterElements(_)
            | Op::ScatterNd(_)
            | Op::Range(_)
            | Op::Size(_)
            | Op::ConstantOfShape(_)
            | Op::EyeLike(_)
    )
}

/// Name and type of a value in messages.
fn describe(graph: &Graph, id: ValueId, inference: &Inference) -> String {
    format!("{:?} {}", graph.value(id).name, show(inference.element_type(id), inference.shape(id)))
}

fn show(element_type: Option<ElementType>, shape: Option<&[Dim]>) -> String {
    let element_type = element_type.map_or_else(|| "?".into(), |element_type| element_type.to_string());
    format!("{element_type}{}", shape.map_or_else(|| "[?]".into(), display_shape))
}

/// What a node computes, with the file's declaration where that says more. The error is what it computes.
fn join(value: &Value, computed: Inferred) -> Result<Inferred, String> {
    let contradiction = |computed: &Inferred| Err(show(computed.element_type, computed.shape.as_deref()));
    if let (Some(declared), Some(own)) = (value.element_type, computed.element_type)
        && declared != own
    {
        return contradiction(&computed);
    }
    let shape = match (&value.shape, &computed.shape) {
        (Some(declared), Some(own)) => {
            if declared.len() != own.len() || declared.iter().zip(own).any(|(declared, own)| impossible(declared, own))
            {
                return contradiction(&computed);
            }
            Some(declared.iter().zip(own).map(|(declared, own)| joined_length(declared, own).clone()).collect())
        }
        (declared, own) => own.clone().or_else(|| declared.clone()),
    };
    Ok(Inferred { element_type: computed.element_type.or(value.element_type), shape, contents: computed.contents })
}

fn impossible(declared: &Dim, own: &Dim) -> bool {
    let numbers = declared.constant().is_some() && own.constant().is_some();
    numbers && certainly_differ(declared, own)
}

fn joined_length<'a>(declared: &'a Dim, own: &'a Dim) -> &'a Dim {
    if own.is_unknown() && !declared.is_unknown() { declared } else { own }
}
