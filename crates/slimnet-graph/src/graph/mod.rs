//! The graph: values, nodes, and the edits that keep their links true.

pub mod dim;
mod node;
mod value;

use std::collections::{HashMap, HashSet};
use std::fmt;

pub use dim::{Dim, Shape, display_shape, known_shape};
pub use node::Node;
pub use value::{DataForm, Use, Value};

use crate::Op;
use crate::onnx::ModelInfo;
use crate::tensor::Tensor;

/// Handle of a value of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

/// Handle of a node of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl ValueId {
    /// Position in tables indexed by value; below [`Graph::value_bound`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// Position in tables indexed by node; below [`Graph::node_bound`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ValueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "value#{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "node#{}", self.0)
    }
}

/// Why an edit or a traversal of a graph is impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two values would have one name.
    #[error("two values are named {0:?}")]
    DuplicateName(String),
    /// A value would be computed by two nodes, or by one and be an input too.
    #[error("{value:?} is computed by {node:?} and has another source already")]
    TwoSources {
        /// Name of the value.
        value: String,
        /// The second source.
        node: String,
    },
    /// Nodes that wait for each other.
    #[error("nodes form a cycle through {0:?}")]
    Cycle(String),
}

/// A network.
///
/// Links between nodes and values change only through the methods here, so that producers and readers are always true.
/// Nodes are kept in the order in which they were added; [`Graph::schedule`] gives an order of execution.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The file's name of it.
    pub name: String,
    /// The file's text about it.
    pub doc_string: String,
    /// The graph's own `metadata_props` (the model's are in [`ModelInfo::metadata`]).
    pub metadata: Vec<(String, String)>,
    /// What the file says of the model around the graph.
    pub model: ModelInfo,
    values: Vec<Option<Value>>,
    nodes: Vec<Option<Node>>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    names: HashMap<String, ValueId>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    // --- looking -----------------------------------------------------------------------------------------------------

    /// The value of a handle.
    ///
    /// # Panics
    /// If the handle is of another graph or the value was removed: a mistake of the calling code, never of a file.
    pub fn value(&self, id: ValueId) -> &Value {
        self.values[id.index()].as_ref().expect("handle of a removed value")
    }

    /// The value of a handle, to change what is no link.
    ///
    /// # Panics
    /// As [`Graph::value`].
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        self.values[id.index()].as_mut().expect("handle of a removed value")
    }

    /// The node of a handle.
    ///
    /// # Panics
    /// As [`Graph::value`].
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes[id.index()].as_ref().expect("handle of a removed node")
    }

    /// The node of a handle, to change what is no link.
    ///
    /// # Panics
    /// As [`Graph::value`].
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.index()].as_mut().expect("handle of a removed node")
    }

    /// Whether the node is (still) there.
    pub fn has_node(&self, id: NodeId) -> bool {
        self.nodes.get(id.index()).is_some_and(Option::is_some)
    }

    /// Whether the value is (still) there.
    pub fn has_value(&self, id: ValueId) -> bool {
        self.values.get(id.index()).is_some_and(Option::is_some)
    }

    /// Every value, in the order of its handle.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().filter_map(|(index, value)| Some((ValueId(index as u32), value.as_ref()?)))
    }

    /// Every node, in the order in which it was added.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((NodeId(index as u32), node.as_ref()?)))
    }

    /// One more than the largest index of a value: the length of a table by value.
    pub fn value_bound(&self) -> usize {
        self.values.len()
    }

    /// One more than the largest index of a node: the length of a table by node.
    pub fn node_bound(&self) -> usize {
        self.nodes.len()
    }

    /// The graph's inputs, in order. One that has data is an initializer that the file also lists as an input.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The graph's outputs, in order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// The inputs that a caller has to give: those without data.
    pub fn free_inputs(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs.iter().copied().filter(|&input| self.value(input).data.is_none())
    }

    /// The value with this name.
    pub fn find_value(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// The data of an input of a node, if the file holds it.
    pub fn input_data(&self, node: NodeId, slot: usize) -> Option<&Tensor> {
        self.value(self.node(node).input(slot)?).data.as_ref()
    }

    /// What to call a node in messages: its name, or its operator and first output where it has none.
    pub fn describe_node(&self, id: NodeId) -> String {
        let node = self.node(id);
        let operator = node.op.op_type();
        if !node.name.is_empty() {
            return format!("{operator} {:?}", node.name);
        }
        let output = node.outputs.iter().flatten().next().map_or("", |&output| self.value(output).name.as_str());
        format!("{operator} computing {output:?}")
    }

    /// An order in which every node comes after those that it reads from; the order of adding wherever that allows.
    ///
    /// # Errors
    /// [`GraphError::Cycle`], naming a node on the cycle.
    pub fn schedule(&self) -> Result<Vec<NodeId>, GraphError> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let mut state = vec![State::New; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        // Depth first with a stack of our own: the depth of a graph is not bounded by that of the call stack.
        let mut stack: Vec<(NodeId, usize)> = Vec::new();
        for (root, _) in self.nodes() {
            if state[root.index()] != State::New {
                continue;
            }
            state[root.index()] = State::Open;
            stack.push((root, 0));
            while let Some((id, next)) = stack.last_mut() {
                let node = self.node(*id);
                let Some(input) = node.inputs.get(*next) else {
                    state[id.index()] = State::Done;
                    order.push(*id);
                    stack.pop();
                    continue;
                };
                *next += 1;
                let Some(source) = input.and_then(|input| self.value(input).producer) else { continue };
                match state[source.index()] {
                    State::Done => {}
                    State::Open => return Err(GraphError::Cycle(self.describe_node(source))),
                    State::New => {
                        state[source.index()] = State::Open;
                        stack.push((source, 0));
                    }
                }
            }
        }
        Ok(order)
    }

    // --- building ----------------------------------------------------------------------------------------------------

    /// A name that no value has: `wish`, or `wish` with a number behind it.
    pub fn fresh_name(&self, wish: &str) -> String {
        let wish = if wish.is_empty() { "value" } else { wish };
        if !self.names.contains_key(wish) {
            return wish.to_owned();
        }
        let name = |number: usize| format!("{wish}_{number}");
        // Numbers are mostly given out in order: doubling, then halving, finds a free one without trying them all.
        let mut above = 1usize;
        while self.names.contains_key(&name(above)) {
            above *= 2;
        }
        let mut below = above / 2;
        while above - below > 1 {
            let middle = below.midpoint(above);
            if self.names.contains_key(&name(middle)) {
                below = middle;
            } else {
                above = middle;
            }
        }
        name(above)
    }

    /// Adds a value without source; the links in it are ignored.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`] if the name is taken.
    pub fn add_value(&mut self, mut value: Value) -> Result<ValueId, GraphError> {
        if self.names.contains_key(&value.name) {
            return Err(GraphError::DuplicateName(value.name));
        }
        value.producer = None;
        value.readers.clear();
        value.is_input = false;
        if let Some(data) = &value.data {
            value.element_type = Some(data.element_type());
            value.shape = Some(data.shape().iter().map(|&dim| Dim::from(dim)).collect());
        }
        let id = ValueId(self.values.len() as u32);
        self.names.insert(value.name.clone(), id);
        self.values.push(Some(value));
        Ok(id)
    }

    /// Adds a value of which only the name is known, under a fresh name like `wish`.
    pub fn add_intermediate(&mut self, wish: &str) -> ValueId {
        self.add_fresh(Value { name: self.fresh_name(wish), ..Value::default() })
    }

    /// Adds a value with data under a fresh name like `wish`.
    pub fn add_constant(&mut self, wish: &str, data: Tensor) -> ValueId {
        self.add_fresh(Value { name: self.fresh_name(wish), data: Some(data), ..Value::default() })
    }

    /// Adds a value whose name was made by [`Graph::fresh_name`].
    fn add_fresh(&mut self, value: Value) -> ValueId {
        self.add_value(value).expect("fresh names are not taken")
    }

    /// Adds a node that reads and computes the given values.
    ///
    /// # Errors
    /// [`GraphError::TwoSources`] if an output has a source already.
    pub fn add_node(
        &mut self,
        name: &str,
        op: Op,
        inputs: Vec<Option<ValueId>>,
        outputs: Vec<Option<ValueId>>,
    ) -> Result<NodeId, GraphError> {
        let mut seen = HashSet::new();
        for output in outputs.iter().flatten() {
            let value = self.value(*output);
            let twice = !seen.insert(*output);
            if twice || value.producer.is_some() || value.data.is_some() || value.is_input {
                return Err(GraphError::TwoSources { value: value.name.clone(), node: name.to_owned() });
            }
        }
        let id = NodeId(self.nodes.len() as u32);
        for (slot, input) in inputs.iter().enumerate() {
            if let Some(input) = input {
                self.value_mut(*input).readers.insert(Use { node: id, slot });
            }
        }
        for output in outputs.iter().flatten() {
            self.value_mut(*output).producer = Some(id);
        }
        let (doc_string, metadata) = (String::new(), Vec::new());
        self.nodes.push(Some(Node { name: name.to_owned(), op, doc_string, metadata, inputs, outputs }));
        Ok(id)
    }

    /// Adds a node with one output, an intermediate value named like `name`.
    ///
    /// # Panics
    /// If an input is a handle of another graph, as [`Graph::value`].
    pub fn apply(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let output = self.add_intermediate(name);
        let inputs = inputs.iter().copied().map(Some).collect();
        self.add_node(name, op.into(), inputs, vec![Some(output)]).expect("the output is new");
        output
    }

    /// Makes a value an input of the graph (after those that there are).
    ///
    /// # Errors
    /// If it has a source already.
    pub fn add_input(&mut self, id: ValueId) -> Result<(), GraphError> {
        let value = self.value(id);
        if value.producer.is_some() || value.is_input {
            return Err(GraphError::TwoSources { value: value.name.clone(), node: "the graph's inputs".into() });
        }
        self.value_mut(id).is_input = true;
        self.inputs.push(id);
        Ok(())
    }

    /// Makes a value an output of the graph (after those that there are).
    pub fn add_output(&mut self, id: ValueId) {
        self.outputs.push(id);
    }

    // --- changing ----------------------------------------------------------------------------------------------------

    /// Keeps only the inputs for which `keep` holds.
    pub fn retain_inputs(&mut self, keep: impl Fn(&Value) -> bool) {
        let values = &mut self.values;
        self.inputs.retain(|id| {
            let Some(value) = values[id.index()].as_mut() else { return false };
            value.is_input = keep(value);
            value.is_input
        });
    }

    /// Keeps only the outputs for which `keep` holds.
    pub fn retain_outputs(&mut self, keep: impl Fn(ValueId) -> bool) {
        self.outputs.retain(|&id| keep(id));
    }

    /// Gives a value other data (and with it element type and shape).
    pub fn set_data(&mut self, id: ValueId, data: Tensor) {
        let value = self.value_mut(id);
        value.element_type = Some(data.element_type());
        value.shape = Some(data.shape().iter().map(|&dim| Dim::from(dim)).collect());
        value.data = Some(data);
    }

    /// Gives a value another name, which is made unique.
    pub fn rename(&mut self, id: ValueId, wish: &str) {
        let old = std::mem::take(&mut self.value_mut(id).name);
        self.names.remove(&old);
        let name = self.fresh_name(wish);
        self.names.insert(name.clone(), id);
        self.value_mut(id).name = name;
    }

    /// Lets a node read another value at `slot` (slots in between become absent).
    pub fn set_input(&mut self, node: NodeId, slot: usize, input: Option<ValueId>) {
        let inputs = &mut self.node_mut(node).inputs;
        if inputs.len() <= slot {
            inputs.resize(slot + 1, None);
        }
        let old = std::mem::replace(&mut inputs[slot], input);
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        if let Some(old) = old {
            self.value_mut(old).readers.remove(&Use { node, slot });
        }
        if let Some(input) = input {
            self.value_mut(input).readers.insert(Use { node, slot });
        }
    }

    /// Replaces all inputs of a node.
    pub fn set_inputs(&mut self, node: NodeId, inputs: &[Option<ValueId>]) {
        for slot in (0..self.node(node).inputs.len().max(inputs.len())).rev() {
            self.set_input(node, slot, inputs.get(slot).copied().flatten());
        }
    }

    /// Lets a node compute another value at `slot`, which has no source yet (slots in between become absent). The old value
    /// stays, without source.
    ///
    /// # Errors
    /// [`GraphError::TwoSources`] if the value has a source already.
    pub fn set_output(&mut self, node: NodeId, slot: usize, output: ValueId) -> Result<(), GraphError> {
        let value = self.value(output);
        if value.producer.is_some() || value.data.is_some() || value.is_input {
            return Err(GraphError::TwoSources { value: value.name.clone(), node: self.describe_node(node) });
        }
        let outputs = &mut self.node_mut(node).outputs;
        if outputs.len() <= slot {
            outputs.resize(slot + 1, None);
        }
        if let Some(old) = outputs[slot].replace(output) {
            self.value_mut(old).producer = None;
        }
        self.value_mut(output).producer = Some(node);
        Ok(())
    }

    /// Lets a node leave out an optional output. The value stays, without source.
    pub fn drop_output(&mut self, node: NodeId, slot: usize) {
        let Some(output) = self.node_mut(node).outputs.get_mut(slot).and_then(Option::take) else { return };
        self.value_mut(output).producer = None;
        let outputs = &mut self.node_mut(node).outputs;
        while outputs.last() == Some(&None) {
            outputs.pop();
        }
    }

    /// Lets every reader of `old` read `new`. A graph output keeps its name: if `old` is one, `new` takes its place and
    /// its name, unless `new` is itself named from outside (an input, an output, an initializer); then the output stays
    /// `old` and `false` is returned: something must still compute it.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) -> bool {
        if old == new {
            return true;
        }
        for Use { node, slot } in self.value(old).readers.iter().copied().collect::<Vec<_>>() {
            self.set_input(node, slot, Some(new));
        }
        if !self.outputs.contains(&old) {
            return true;
        }
        let named_from_outside = self.value(new).is_input || self.outputs.contains(&new);
        if named_from_outside || self.value(new).producer.is_none() {
            return false;
        }
        let name = self.value(old).name.clone();
        self.rename(old, &format!("{name}_replaced"));
        self.rename(new, &name);
        for output in &mut self.outputs {
            if *output == old {
                *output = new;
            }
        }
        true
    }

    /// Removes a node. Its outputs stay, without source.
    pub fn remove_node(&mut self, id: NodeId) {
        let Some(node) = self.nodes[id.index()].take() else { return };
        for (slot, input) in node.inputs.iter().enumerate() {
            if let Some(input) = input {
                self.value_mut(*input).readers.remove(&Use { node: id, slot });
            }
        }
        for output in node.outputs.iter().flatten() {
            self.value_mut(*output).producer = None;
        }
    }

    /// Removes a value that nothing reads or computes and that is neither input nor output; `false` if it is in use.
    pub fn remove_value(&mut self, id: ValueId) -> bool {
        let value = self.value(id);
        let used = !value.readers.is_empty() || value.producer.is_some();
        if used || value.is_input || self.outputs.contains(&id) {
            return false;
        }
        let name = value.name.clone();
        self.names.remove(&name);
        self.values[id.index()] = None;
        true
    }

    /// Removes every node that no output depends on, and every value that is then without use (free inputs stay).
    /// Returns how many nodes and values went. Linear in the size of the graph.
    pub fn remove_unreachable(&mut self) -> (usize, usize) {
        let mut live = vec![false; self.nodes.len()];
        let mut stack: Vec<NodeId> = self.outputs.iter().filter_map(|&output| self.value(output).producer).collect();
        while let Some(id) = stack.pop() {
            if std::mem::replace(&mut live[id.index()], true) {
                continue;
            }
            stack.extend(self.node(id).inputs.iter().flatten().filter_map(|&input| self.value(input).producer));
        }
        let dead: Vec<_> = self.nodes().map(|(id, _)| id).filter(|id| !live[id.index()]).collect();
        for &id in &dead {
            self.remove_node(id);
        }
        for id in live.iter().enumerate().filter(|(_, live)| **live).map(|(index, _)| NodeId(index as u32)) {
            // Optional outputs that nobody reads are left out where they end the list.
            while let Some(Some(last)) = self.node(id).outputs.last().copied() {
                let unread = self.value(last).readers.is_empty() && !self.outputs.contains(&last);
                if !unread || self.node(id).outputs.len() == 1 || !self.node(id).op.may_drop_outputs() {
                    break;
                }
                let slot = self.node(id).outputs.len() - 1;
                self.drop_output(id, slot);
            }
        }
        let kept: HashSet<_> = self.outputs.iter().copied().collect();
        let mut removed = 0;
        for index in 0..self.values.len() {
            let Some(value) = &self.values[index] else { continue };
            let used = !value.readers.is_empty() || value.producer.is_some();
            if !used && !value.is_input && !kept.contains(&ValueId(index as u32)) {
                self.names.remove(&value.name);
                self.values[index] = None;
                removed += 1;
            }
        }
        (dead.len(), removed)
    }
}
