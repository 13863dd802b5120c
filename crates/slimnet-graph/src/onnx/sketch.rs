//! Element types and shapes as far as each node alone gives them, in one pass: what lifting and lowering need to know of a
//! graph that nothing was inferred of yet.

use crate::graph::{DataForm, Dim, Graph, NodeId, Shape, Value, ValueId};
use crate::infer::{Inferred, Known, infer_op};
use crate::tensor::{ElementType, Tensor};

/// What was found of each value.
#[derive(Default)]
pub(super) struct Sketch {
    found: Vec<(Option<ElementType>, Option<Shape>)>,
    unknown: usize,
    /// An empty `float32` vector that the graph has: what a file had where reading left an input out.
    pub(super) empty_vector: Option<ValueId>,
}

impl Sketch {
    /// What is known of all values of a graph, with nodes in this order.
    pub(super) fn of(graph: &Graph, order: &[NodeId]) -> Self {
        let empty = |data: &Tensor| data.element_type() == ElementType::F32 && data.shape() == [0];
        let is_empty = |value: &Value| {
            let stands_alone = value.form == DataForm::Initializer && !value.is_input();
            stands_alone && value.data.as_ref().is_some_and(empty)
        };
        let empty_vector = graph.values().find(|(_, value)| is_empty(value)).map(|(id, _)| id);
        let mut sketch = Self { empty_vector, ..Self::default() };
        for &id in order {
            sketch.add(graph, id);
        }
        sketch
    }

    pub(super) fn element_type(&self, graph: &Graph, id: ValueId) -> Option<ElementType> {
        graph.value(id).element_type.or_else(|| self.found.get(id.index())?.0)
    }

    pub(super) fn shape<'a>(&'a self, graph: &'a Graph, id: ValueId) -> Option<&'a [Dim]> {
        graph.value(id).shape.as_deref().or_else(|| self.found.get(id.index())?.1.as_deref())
    }

    /// Finds what a node computes from what was found of its inputs.
    pub(super) fn add(&mut self, graph: &Graph, id: NodeId) {
        let node = graph.node(id);
        if node.op.other().is_some() {
            return;
        }
        let known = |input: &Option<ValueId>| {
            input.map(|input| Known {
                element_type: self.element_type(graph, input),
                shape: self.shape(graph, input),
                data: graph.value(input).data.as_ref(),
                contents: None,
            })
        };
        let inputs: Vec<_> = node.inputs().iter().map(known).collect();
        let mut unknown = self.unknown;
        let mut fresh = || {
            unknown += 1;
            Dim::unknown(&format!("sketch{unknown}"))
        };
        // A node that does not fit its inputs is for validation to refuse, with a better message than could be given here.
        let inferred = infer_op(&node.op, &inputs, node.outputs().len(), &mut fresh).unwrap_or_default();
        self.unknown = unknown;
        self.found.resize(graph.value_bound(), (None, None));
        for (output, Inferred { element_type, shape, .. }) in node.outputs().iter().zip(inferred) {
            if let Some(output) = output {
                self.found[output.index()] = (element_type, shape);
            }
        }
    }
}
