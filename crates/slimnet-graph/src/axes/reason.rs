//! Why positions of an axis cannot be removed.

use std::fmt;

/// Why an axis, or some of its positions, must stay. Names are those of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The positions are those of an input that the caller gives.
    Input(String),
    /// The positions are those of an output that the caller gets.
    Output(String),
    /// The node's operator is not understood.
    Other {
        /// The node.
        node: String,
        /// Its operator with its domain.
        operator: String,
        /// Why it is not understood.
        why: String,
    },
    /// The operator has no rule by which positions of this axis could go.
    NoRule(String),
    /// The node computes something over all positions (a mean, a softmax, an index), which removal would change.
    Over(String),
    /// A window slides along the axis, or the kernel has it.
    Space(String),
    /// Positions are chosen by indices that are computed while running.
    ComputedIndex(String),
    /// The value's shape is not known.
    UnknownShape(String),
    /// The axis' length is not a known number.
    UnknownLength(String),
    /// The axis has one position.
    Single,
    /// One position is repeated along the axis of another tensor.
    Repeated(String),
    /// A length that would have to change is computed by nodes instead of standing in a constant.
    ComputedShape(String),
    /// The node makes the positions, all of them, from a shape.
    Made(String),
    /// The axis is merged with another whose length is not known.
    Merged(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(name) => write!(formatter, "reaches the graph's input {name:?}"),
            Self::Output(name) => write!(formatter, "reaches the graph's output {name:?}"),
            Self::Other { node, operator, why } => {
                write!(formatter, "reaches {node}, and {operator} is not understood ({why})")
            }
            Self::NoRule(node) => write!(formatter, "no rule says how {node} could do without positions of it"),
            Self::Over(node) => write!(formatter, "{node} computes over it"),
            Self::Space(node) => write!(formatter, "the window of {node} slides along it"),
            Self::ComputedIndex(node) => write!(formatter, "{node} chooses along it by computed indices"),
            Self::UnknownShape(value) => write!(formatter, "the shape of {value:?} is not known"),
            Self::UnknownLength(value) => write!(formatter, "its length in {value:?} is not a known number"),
            Self::Single => write!(formatter, "it has one position"),
            Self::Repeated(node) => write!(formatter, "{node} repeats it"),
            Self::ComputedShape(node) => {
                write!(formatter, "{node} gets its length from computed shapes (run `simplify` first)")
            }
            Self::Made(node) => write!(formatter, "{node} makes it from a shape"),
            Self::Merged(node) => write!(formatter, "{node} merges it with an axis of unknown length"),
        }
    }
}
