//! Types of all values of a graph whose inputs have fixed lengths.

use std::collections::{BTreeMap, HashMap};

use slimnet_graph::graph::{Dim, Graph, NodeId, ValueId, display_shape, known_shape};
use slimnet_graph::infer::{Inference, analyse};

use super::PlanError;
use crate::kernels::ValueType;

/// A graph whose inputs have fixed lengths, and what is known of its values.
pub(super) struct Fixed {
    pub graph: Graph,
    inference: Inference,
    /// Types of values that were added to the graph.
    added: HashMap<ValueId, ValueType>,
}

impl Fixed {
    /// Fixes the lengths of named dimensions. `states` have data that may change: nothing follows from it.
    pub fn new(graph: &Graph, lengths: &BTreeMap<String, usize>, states: &[ValueId]) -> Result<Self, PlanError> {
        let mut graph = graph.clone();
        let number = |name: &str| lengths.get(name).and_then(|&length| i64::try_from(length).ok());
        let inputs: Vec<_> = graph.free_inputs().collect();
        for input in inputs {
            let name = graph.value(input).name.clone();
            for (axis, dim) in graph.value_mut(input).shape.iter_mut().flatten().enumerate() {
                match dim.at(number) {
                    Some(length) => *dim = Dim::from(usize::try_from(length).unwrap_or(0)),
                    None => return Err(PlanError::Length { input: name, axis, dimension: dim.to_string() }),
                }
            }
        }
        let computed: Vec<_> =
            graph.values().filter(|(_, value)| value.producer().is_some()).map(|(id, _)| id).collect();
        for id in computed {
            graph.value_mut(id).shape = None;
        }
        for &state in states {
            let value = graph.value_mut(state);
            value.data = None;
            if !value.is_input() {
                graph.add_input(state)?;
            }
        }
        let inference = analyse(&graph)?;
        Ok(Self { graph, inference, added: HashMap::new() })
    }

    /// Says what a value is that was added to the graph.
    pub fn add_type(&mut self, value: ValueId, value_type: ValueType) {
        self.added.insert(value, value_type);
    }

    /// Type and shape of a value, with its data where that is known before a run.
    pub fn value_type(&self, id: ValueId) -> Result<ValueType, PlanError> {
        if let Some(added) = self.added.get(&id) {
            return Ok(added.clone());
        }
        let name = || self.graph.value(id).name.clone();
        let constant = self.inference.data(&self.graph, id).map(std::borrow::Cow::into_owned);
        if let Some(data) = constant {
            let element_type = data.element_type();
            return Ok(ValueType { element_type, shape: data.shape().to_vec(), constant: Some(data) });
        }
        let Some(element_type) = self.inference.element_type(id) else {
            return Err(PlanError::Unknown { value: name(), what: "element type", found: "none".into() });
        };
        let shape = self.inference.shape(id);
        if let Some(shape) = shape.and_then(known_shape) {
            Ok(ValueType { element_type, shape, constant: None })
        } else {
            let found = shape.map_or_else(|| "nothing".into(), display_shape);
            Err(PlanError::Unknown { value: name(), what: "shape", found })
        }
    }

    /// Whether all outputs of a node are known before a run.
    pub fn is_known(&self, node: NodeId) -> bool {
        let outputs = self.graph.node(node).outputs();
        let known = |output: ValueId| match self.added.get(&output) {
            Some(added) => added.constant.is_some(),
            None => self.inference.data(&self.graph, output).is_some(),
        };
        outputs.iter().flatten().all(|&output| known(output))
    }
}
