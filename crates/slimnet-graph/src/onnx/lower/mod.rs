//! Nodes in the operator set of the file that is written: the way back of [`super::lift`].

mod rules;

use super::lift::{Input, fixed_data};
use super::own;
use super::proto::AttributeProto;
use super::schema::{self, Form, Moved, Version};
use super::sketch::Sketch;
use super::subgraph;
use crate::graph::{Dim, Graph, Node, NodeId, ValueId};
use crate::ops::Op;
use crate::ops::attribute::Attributes;
use crate::tensor::{ElementType, Tensor};

/// A node as the file gets it.
pub(super) struct Lowered {
    pub(super) op_type: String,
    pub(super) attributes: Vec<AttributeProto>,
    pub(super) inputs: Vec<Input>,
    /// Nodes that this one does the work of: they are not written.
    pub(super) swallowed: Vec<NodeId>,
}

/// The node in operator set `opset`.
///
/// # Errors
/// Why that operator set cannot express it, in words.
pub(super) fn lower(graph: &Graph, sketch: &Sketch, id: NodeId, opset: i64) -> Result<Lowered, String> {
    let node = graph.node(id);
    if let Op::Other(kept) = &node.op {
        let mut attributes = kept.attributes.clone();
        let new = captured(graph, id).map(|value| graph.value(value).name.clone());
        let names = kept.captures.iter().cloned().zip(new).filter(|(old, new)| old != new);
        subgraph::rename(&mut attributes, &names.collect());
        let inputs = node.inputs().iter().take(proper_inputs(graph, id)).copied().map(Input::from).collect();
        return Ok(Lowered { op_type: kept.op_type.clone(), attributes, inputs, swallowed: Vec::new() });
    }
    if node.op.is_own() {
        return own::lower(node, opset);
    }
    let mut draft = Draft {
        graph,
        sketch,
        node,
        op_type: node.op.op_type().to_owned(),
        attributes: node.op.attributes(),
        inputs: node.inputs().iter().copied().map(Input::from).collect(),
        swallowed: Vec::new(),
    };
    rules::apply(&mut draft, opset)?;
    let operator = draft.op_type.clone();
    for moved in schema::moved(&operator).filter(|moved| opset < moved.since) {
        draft.move_to_attribute(moved)?;
    }
    draft.finish(opset)
}

/// Number of inputs of a node that are no captures of its subgraphs.
fn proper_inputs(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    node.inputs().len().saturating_sub(node.op.other().map_or(0, |kept| kept.captures.len()))
}

/// The values that the subgraphs of a node that is kept whole read, in the order of [`crate::ops::OnnxNode::captures`].
pub(super) fn captured(graph: &Graph, id: NodeId) -> impl Iterator<Item = ValueId> + '_ {
    graph.node(id).inputs().iter().skip(proper_inputs(graph, id)).flatten().copied()
}

/// A node on its way.
struct Draft<'a> {
    graph: &'a Graph,
    sketch: &'a Sketch,
    node: &'a Node,
    op_type: String,
    attributes: Attributes,
    inputs: Vec<Input>,
    swallowed: Vec<NodeId>,
}

impl Draft<'_> {
    fn has(&self, slot: usize) -> bool {
        !matches!(self.inputs.get(slot), None | Some(Input::Absent))
    }

    fn element_type(&self, slot: usize) -> Option<ElementType> {
        match self.inputs.get(slot)? {
            Input::Value(id) => self.sketch.element_type(self.graph, *id),
            Input::Constant(_, data) => Some(data.element_type()),
            Input::Absent | Input::Before(_) => None,
        }
    }

    fn shape(&self, slot: usize) -> Option<&[Dim]> {
        match self.inputs.get(slot)? {
            Input::Value(id) => self.sketch.shape(self.graph, *id),
            _ => None,
        }
    }

    fn data(&self, slot: usize) -> Option<&Tensor> {
        match self.inputs.get(slot)? {
            Input::Value(id) => fixed_data(self.graph, *id),
            Input::Constant(_, data) => Some(data),
            Input::Absent | Input::Before(_) => None,
        }
    }

    fn set_input(&mut self, slot: usize, input: Input) {
        while self.inputs.len() <= slot {
            self.inputs.push(Input::Absent);
        }
        self.inputs[slot] = input;
    }

    fn move_to_attribute(&mut self, moved: &Moved) -> Result<(), String> {
        let name = moved.attribute;
        if !self.has(moved.slot) {
            return Ok(());
        }
        let Some(data) = self.data(moved.slot).cloned() else {
            return Err(format!("{name} is an attribute there and is no constant here"));
        };
        let wrong = |found: &Tensor| format!("{name} of shape {:?} cannot be an attribute", found.shape());
        let integers = || data.to_i64s().map_err(|error| format!("{name}: {error}"));
        let floats = || {
            let numbers = data.to_f64s().map_err(|error| format!("{name}: {error}"))?;
            let narrow = |number: f64| {
                let narrowed = number as f32;
                let same = f64::from(narrowed) == number || number.is_nan();
                same.then_some(narrowed).ok_or_else(|| format!("{name} = {number} does not fit a float32 attribute"))
            };
            numbers.into_iter().map(narrow).collect::<Result<Vec<f32>, String>>()
        };
        match moved.form {
            Form::Ints | Form::Floats if data.rank() > 1 => return Err(wrong(&data)),
            Form::Ints => self.attributes.put(name, &integers()?),
            Form::Floats => self.attributes.put(name, &floats()?),
            Form::Int => self.attributes.put(name, integers()?.first().ok_or_else(|| wrong(&data))?),
            Form::Number | Form::Float => self.attributes.put(name, floats()?.first().ok_or_else(|| wrong(&data))?),
        }
        self.inputs[moved.slot] = Input::Absent;
        Ok(())
    }

    fn finish(mut self, opset: i64) -> Result<Lowered, String> {
        while matches!(self.inputs.last(), Some(Input::Absent)) {
            self.inputs.pop();
        }
        let Some(version) = schema::find(&self.op_type, opset) else {
            return Err(format!("operator set {opset} has no operator {}", self.op_type));
        };
        if let Some(unknown) = self.attributes.names().find(|name| !version.has_attribute(name)) {
            return Err(format!("operator set {opset} has no attribute {unknown:?} of {}", self.op_type));
        }
        let counts =
            [("inputs", self.inputs.len(), version.inputs), ("outputs", self.node.outputs().len(), version.outputs)];
        for (what, found, range) in counts {
            if !schema::fits(found, range) {
                let expected = schema::range(range);
                return Err(format!("in operator set {opset} it has {expected} {what}, here {found}"));
            }
        }
        self.check_types(version, opset)?;
        let attributes = self.attributes.into_protos();
        Ok(Lowered { op_type: self.op_type, attributes, inputs: self.inputs, swallowed: self.swallowed })
    }

    fn check_types(&self, version: &Version, opset: i64) -> Result<(), String> {
        for slot in 0..self.inputs.len() {
            if let Some(found) = self.element_type(slot).filter(|&found| !version.allows_input(slot, found)) {
                return Err(format!("in operator set {opset} input {slot} cannot be {found}"));
            }
        }
        for (slot, output) in self.node.outputs().iter().enumerate() {
            let found = output.and_then(|output| self.sketch.element_type(self.graph, output));
            if let Some(found) = found.filter(|&found| !version.allows_output(slot, found)) {
                return Err(format!("in operator set {opset} output {slot} cannot be {found}"));
            }
        }
        Ok(())
    }
}
