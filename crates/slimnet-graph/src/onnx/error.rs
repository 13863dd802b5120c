//! What can be wrong with a file that is read, and with a graph that is written.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::TensorProtoError;
use crate::graph::GraphError;
use crate::ops::attribute::AttributeError;
use crate::validate::ValidateError;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub struct ReadError {
    /// The file; `None` if the network came as bytes.
    pub file: Option<PathBuf>,
    /// What is wrong with it.
    #[source]
    pub problem: Box<ReadProblem>,
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(formatter, "{}: {}", file.display(), self.problem),
            None => write!(formatter, "network: {}", self.problem),
        }
    }
}

/// What is wrong with a file that is read.
#[derive(Debug, thiserror::Error)]
pub enum ReadProblem {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is no ONNX protobuf, or not a whole one.
    #[error("is no ONNX file, or a damaged one: {0}; export or download it again")]
    Decode(#[from] prost::DecodeError),
    /// A file that would take far more memory than it has bytes.
    #[error(
        "holds so many empty parts that reading it would take more than 64 times its size; no exporter writes such files"
    )]
    TooHeavy,
    /// A model without a graph.
    #[error("holds no graph: expected an ONNX model, found {found}")]
    NoGraph {
        /// What there is instead.
        found: String,
    },
    /// The file does not say which version of the operators it uses.
    #[error("imports no version of the default operator set, expected one from {OLDEST} to {NEWEST}; export it again")]
    NoOpset,
    /// Two versions of one operator set.
    #[error("imports operator set {domain:?} twice, as versions {first} and {second}")]
    TwoOpsets {
        /// The set's domain.
        domain: String,
        /// The first version.
        first: i64,
        /// The other version.
        second: i64,
    },
    /// A version of the default operator set that is not known.
    #[error("uses operator set {found}, expected {OLDEST} to {NEWEST}; convert it with onnx.version_converter")]
    Opset {
        /// The file's version.
        found: i64,
    },
    /// A tensor that cannot be used.
    #[error("tensor {name:?}: {problem}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        problem: TensorProtoError,
    },
    /// A tensor in another file that cannot be had.
    #[error("tensor {name:?}: external data {location:?}: {problem}")]
    External {
        /// The tensor.
        name: String,
        /// The other file, as the tensor names it.
        location: String,
        /// What is wrong.
        problem: ExternalProblem,
    },
    /// A sparse tensor that cannot be used.
    #[error("sparse tensor {name:?}: {problem}")]
    Sparse {
        /// The tensor.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A name that must not be empty.
    #[error("{what} has no name")]
    Unnamed {
        /// What has none, such as "initializer 3".
        what: String,
    },
    /// A name that something else has already.
    #[error("two values are named {name:?}; names must be unique (found by {by})")]
    Duplicate {
        /// The name.
        name: String,
        /// Where it comes the second time.
        by: String,
    },
    /// A name that nothing defines.
    #[error("{by} reads {name:?}, which no input, initializer or node defines")]
    Undefined {
        /// The name.
        name: String,
        /// The reader.
        by: String,
    },
    /// A node whose output has another source already.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The parts of the network do not fit each other.
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    /// What the file says of a value is impossible.
    #[error("value {name:?}: {what}: expected {expected}, found {found}")]
    Value {
        /// The value.
        name: String,
        /// What is wrong, such as "dimension 1".
        what: String,
        /// What should be.
        expected: String,
        /// What is.
        found: String,
    },
    /// A node that its operator does not allow.
    #[error("{node}: {what}: expected {expected}, found {found}")]
    Node {
        /// The node.
        node: String,
        /// What is wrong, such as "number of inputs".
        what: String,
        /// What should be.
        expected: String,
        /// What is.
        found: String,
    },
    /// A node that lacks an attribute.
    #[error("{node}: {problem}")]
    Attribute {
        /// The node.
        node: String,
        /// What is wrong.
        problem: AttributeError,
    },
}

/// Why data in another file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ExternalProblem {
    /// There is no folder to look in.
    #[error("the network came without a folder; read it from its file")]
    NoFolder,
    /// The tensor names no file.
    #[error("the location is missing")]
    NoLocation,
    /// A file elsewhere.
    #[error("the location must stay inside the network's own folder; move the file there")]
    Outside,
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Offset or length is no number.
    #[error("{key} is {found:?}, expected a number that is not negative")]
    Number {
        /// Which.
        key: &'static str,
        /// What is there.
        found: String,
    },
    /// The file is too short.
    #[error("bytes {offset} to {offset}+{length} are asked for, the file has {file}")]
    TooShort {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Bytes that there are.
        file: u64,
    },
}

/// Oldest version of the default operator set that is read.
pub(super) const OLDEST: i64 = 7;
/// Newest version of the default operator set that is read and written.
pub(super) const NEWEST: i64 = 28;

/// Why a graph cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file cannot be written.
    #[error("{file}: cannot be written: {source}", file = file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The graph has no order of execution.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A value that nothing computes any more.
    #[error("{by} reads {name:?}, which nothing computes")]
    Undefined {
        /// The value.
        name: String,
        /// The reader.
        by: String,
    },
    /// Two nodes need different operator sets.
    #[error(
        "{pinned} is kept as it was and needs operator set {opset}, which cannot express {node}: {reason}; leave one out"
    )]
    Pinned {
        /// The node (or part of the file) that is kept whole.
        pinned: String,
        /// The version that it needs.
        opset: i64,
        /// The node that this version does not have.
        node: String,
        /// Why it does not have it.
        reason: String,
    },
    /// No operator set has a node.
    #[error("no operator set from {OLDEST} to {NEWEST} can express {node}: {reason}")]
    Inexpressible {
        /// The node.
        node: String,
        /// Why, in the newest set.
        reason: String,
    },
    /// The name of an operator of ours is another's in the file that the network was read from.
    #[error("{operator} cannot be written: the file has {found}; give that another name")]
    Taken {
        /// Our operator.
        operator: String,
        /// What the file has.
        found: String,
    },
    /// Without a second file the protobuf would be too large.
    #[error(
        "needs {bytes} bytes, more than the {limit} that a protobuf may have; write it to a file with external data"
    )]
    TooLarge {
        /// What it needs.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}
