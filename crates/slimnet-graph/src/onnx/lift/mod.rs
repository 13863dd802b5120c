//! Nodes of a file's operator set in the semantics that the program has inside.
//!
//! Most operators differ between versions only in element types and in attributes that came later with a default that
//! keeps the old meaning: these need nothing. Attributes that became inputs are listed in [`super::schema`]; what else
//! changed is in [`rules`]. What cannot be expressed, or uses what came after the semantics inside, is kept whole.

mod rules;

pub(super) use rules::is_last;

use super::budget::Budget;
use super::schema::{self, Form, Version};
use super::sketch::Sketch;
use crate::graph::{Dim, Graph, ValueId};
use crate::ops::Op;
use crate::ops::attribute::{AttributeError, Attributes};
use crate::tensor::{ElementType, Tensor};

/// A node of a file.
pub(super) struct Source<'a> {
    pub(super) op_type: &'a str,
    pub(super) attributes: Attributes,
    pub(super) inputs: Vec<Option<ValueId>>,
    pub(super) outputs: &'a [Option<ValueId>],
    /// The graph so far, with the values that the node reads.
    pub(super) graph: &'a Graph,
    /// What is known of them.
    pub(super) sketch: &'a Sketch,
    /// What data made of shapes may take of memory.
    pub(super) budget: &'a mut Budget,
    /// Whether anything reads a value, or it is an output of the graph.
    pub(super) is_read: &'a dyn Fn(ValueId) -> bool,
}

/// What a node reads.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// Nothing: an optional input that is absent.
    Absent,
    /// A value of the graph.
    Value(ValueId),
    /// The output of one of [`Lifted::before`].
    Before(usize),
    /// An attribute that is an input on the other side; the text says which.
    Constant(&'static str, Tensor),
}

impl From<Option<ValueId>> for Input {
    fn from(value: Option<ValueId>) -> Self {
        value.map_or(Self::Absent, Self::Value)
    }
}

/// A node in the semantics inside.
pub(super) struct Lifted {
    /// Nodes of one output that come before it, each with a word for its name.
    pub(super) before: Vec<(&'static str, Op, Vec<Input>)>,
    pub(super) op: Op,
    pub(super) inputs: Vec<Input>,
    /// How many of the node's outputs stay.
    pub(super) outputs: usize,
    /// Data that the node read and no longer does: it goes where nothing else reads it.
    pub(super) replaced: Vec<ValueId>,
}

/// Why a node is kept whole instead, or is wrong.
pub(super) enum NotLifted {
    /// It is kept whole, for this reason.
    Kept(String),
    /// It lacks an attribute.
    Attribute(AttributeError),
    /// It has too few or too many inputs or outputs.
    Count {
        /// Which of them.
        what: &'static str,
        /// How many its operator has.
        expected: String,
        /// How many it has.
        found: usize,
    },
}

impl From<AttributeError> for NotLifted {
    fn from(error: AttributeError) -> Self {
        match error {
            AttributeError::Missing(_) => Self::Attribute(error),
            _ => Self::Kept(error.to_string()),
        }
    }
}

/// The data of a value, if the file holds it and no caller can give other data.
pub(super) fn fixed_data(graph: &Graph, id: ValueId) -> Option<&Tensor> {
    let value = graph.value(id);
    value.data.as_ref().filter(|_| !value.is_input())
}

fn kept<T>(reason: impl Into<String>) -> Result<T, NotLifted> {
    Err(NotLifted::Kept(reason.into()))
}

/// Whether [`Source::is_read`] matters in an operator set.
pub(super) fn asks_what_is_read(opset: i64) -> bool {
    opset < 10
}

/// Whether lifting an operator asks for element types or shapes of what a node reads.
pub(super) fn asks_for_types(op_type: &str, opset: i64) -> bool {
    schema::moved(op_type).any(|moved| opset < moved.since && moved.form == Form::Number)
        || rules::asks_for_types(op_type, opset)
}

/// Lifts a node of the default domain from operator set `opset`.
pub(super) fn lift(node: Source<'_>, opset: i64) -> Result<Lifted, NotLifted> {
    let op_type = node.op_type;
    let Some(version) = schema::find(op_type, opset) else {
        let place = if schema::is_known(op_type) { format!("in operator set {opset}") } else { "known".into() };
        return kept(format!("operator {op_type} is not {place}"));
    };
    check(&node, version, opset)?;
    let mut draft = Draft {
        op_type,
        inputs: node.inputs.iter().copied().map(Input::from).collect(),
        attributes: node.attributes,
        outputs: node.outputs,
        graph: node.graph,
        sketch: node.sketch,
        budget: node.budget,
        is_read: node.is_read,
        before: Vec::new(),
        replaced: Vec::new(),
        kept_outputs: node.outputs.len(),
    };
    for moved in schema::moved(op_type).filter(|moved| opset < moved.since) {
        draft.move_to_input(moved.attribute, moved.slot, moved.form)?;
    }
    rules::apply(&mut draft, opset)?;
    draft.finish()
}

fn check(node: &Source<'_>, version: &Version, opset: i64) -> Result<(), NotLifted> {
    let count = |values: &[Option<ValueId>]| values.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    for (what, found, range) in [
        ("number of inputs", count(&node.inputs), version.inputs),
        ("number of outputs", count(node.outputs), version.outputs),
    ] {
        if !schema::fits(found, range) {
            return Err(NotLifted::Count { what, expected: schema::range(range), found });
        }
    }
    match node.attributes.names().find(|name| !version.has_attribute(name)) {
        Some(unknown) => kept(format!("operator set {opset} has no attribute {unknown:?} of {}", node.op_type)),
        None => Ok(()),
    }
}

/// A node on its way.
struct Draft<'a> {
    op_type: &'a str,
    attributes: Attributes,
    inputs: Vec<Input>,
    outputs: &'a [Option<ValueId>],
    graph: &'a Graph,
    sketch: &'a Sketch,
    budget: &'a mut Budget,
    is_read: &'a dyn Fn(ValueId) -> bool,
    before: Vec<(&'static str, Op, Vec<Input>)>,
    kept_outputs: usize,
    replaced: Vec<ValueId>,
}

impl Draft<'_> {
    fn value(&self, slot: usize) -> Option<ValueId> {
        match self.inputs.get(slot) {
            Some(Input::Value(id)) => Some(*id),
            _ => None,
        }
    }

    fn element_type(&self, slot: usize) -> Option<ElementType> {
        self.sketch.element_type(self.graph, self.value(slot)?)
    }

    fn shape(&self, slot: usize) -> Option<&[Dim]> {
        self.sketch.shape(self.graph, self.value(slot)?)
    }

    /// The data at an input that no caller can change.
    fn data(&self, slot: usize) -> Option<&Tensor> {
        match self.inputs.get(slot) {
            Some(Input::Constant(_, data)) => Some(data),
            _ => fixed_data(self.graph, self.value(slot)?),
        }
    }

    fn set_input(&mut self, slot: usize, input: Input) {
        while self.inputs.len() <= slot {
            self.inputs.push(Input::Absent);
        }
        self.inputs[slot] = input;
    }

    fn move_to_input(&mut self, attribute: &'static str, slot: usize, form: Form) -> Result<(), NotLifted> {
        let data = match form {
            Form::Ints => self.attributes.take::<Vec<i64>>(attribute)?.map(Tensor::vector),
            Form::Int => self.attributes.take::<i64>(attribute)?.map(|number| Tensor::vector(vec![number])),
            Form::Float => self.attributes.take::<f32>(attribute)?.map(Tensor::scalar),
            Form::Floats => self.attributes.take::<Vec<f32>>(attribute)?.map(Tensor::vector),
            Form::Number => {
                let Some(number) = self.attributes.take::<f32>(attribute)? else { return Ok(()) };
                let Some(element_type) = self.element_type(0) else {
                    return kept(format!("the element type of input 0, and so of {attribute}, is not known"));
                };
                let scalar = Tensor::from_f64s(element_type, Vec::new(), vec![f64::from(number)]);
                Some(scalar.map_err(|error| NotLifted::Kept(format!("{attribute}: {error}")))?)
            }
        };
        if let Some(data) = data {
            self.set_input(slot, Input::Constant(attribute, data));
        }
        Ok(())
    }

    fn finish(self) -> Result<Lifted, NotLifted> {
        let Some(op) = Op::read(self.op_type, self.attributes) else {
            return kept(format!("operator {} is not known", self.op_type));
        };
        let Self { before, inputs, kept_outputs, replaced, .. } = self;
        Ok(Lifted { before, op: op?, inputs, outputs: kept_outputs, replaced })
    }
}
