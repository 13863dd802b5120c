//! Values: what flows along the edges of a graph.

use crate::graph::{NodeId, Shape};
use crate::onnx::proto;
use crate::tensor::{ElementType, Tensor};
use std::collections::BTreeSet;

/// How a file holds a value's data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DataForm {
    /// As an initializer.
    #[default]
    Initializer,
    /// As the output of a `Constant` node with this name.
    ConstantNode(String),
}

/// One slot of a node that reads a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Use {
    /// The reader.
    pub node: NodeId,
    /// Which of its inputs.
    pub slot: usize,
}

/// A tensor that flows along an edge, or one that the file holds.
#[derive(Debug, Clone, Default)]
pub struct Value {
    /// Unique in the graph, never empty.
    pub name: String,
    /// What is known of the element type.
    pub element_type: Option<ElementType>,
    /// What is known of the shape; `None` if not even the number of axes is.
    pub shape: Option<Shape>,
    /// The type of a value that is no tensor (sequence, map, optional, sparse), kept whole.
    pub other_type: Option<proto::TypeProto>,
    /// The data of an initializer or `Constant` node. Element type and shape are then the data's.
    pub data: Option<Tensor>,
    /// How the file holds the data; means nothing without data.
    pub form: DataForm,
    /// The file's text about it.
    pub doc_string: String,
    /// The file's `metadata_props` of it.
    pub metadata: Vec<(String, String)>,
    pub(super) producer: Option<NodeId>,
    pub(super) readers: BTreeSet<Use>,
    pub(super) is_input: bool,
}

impl Value {
    /// A value of which only the name is known.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// A value with data, which also gives its element type and shape when the value joins a graph.
    pub fn with_data(name: &str, data: Tensor) -> Self {
        Self { data: Some(data), ..Self::new(name) }
    }

    /// The node that computes it.
    pub fn producer(&self) -> Option<NodeId> {
        self.producer
    }

    /// Whether it is an input of the graph.
    pub fn is_input(&self) -> bool {
        self.is_input
    }

    /// Every slot of every node that reads it, in order.
    pub fn readers(&self) -> impl ExactSizeIterator<Item = Use> + '_ {
        self.readers.iter().copied()
    }

    /// The shape in numbers, if all are known.
    pub fn known_shape(&self) -> Option<Vec<usize>> {
        super::dim::known_shape(self.shape.as_ref()?)
    }

    /// What to call it in messages: `name float32[N, 3]`.
    pub fn describe(&self) -> String {
        let element_type = self.element_type.map_or_else(|| "?".into(), |element_type| element_type.to_string());
        let shape = self.shape.as_ref().map_or_else(|| "[?]".into(), |shape| super::dim::display_shape(shape));
        format!("{} {element_type}{shape}", self.name)
    }
}
