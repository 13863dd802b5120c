//! The graph of a neural network and everything that can be said of it without training or data.
//!
//! A network is a [`Graph`]: typed [values](Value) and [nodes](Node). A technique is a rewrite of it. This crate reads
//! and writes graphs as ONNX, infers shapes, evaluates them plainly (the oracle of every kernel), counts their cost,
//! finds which slices of which tensors go together ([`axes`]) and makes them smaller without changing what they compute
//! ([`simplify`]).

#[cfg(not(target_endian = "little"))]
compile_error!("tensor data is kept as the little-endian bytes of ONNX files; big-endian machines are not supported");

pub mod axes;
pub mod cost;
pub mod evaluate;
pub mod graph;
pub mod infer;
pub mod onnx;
pub mod ops;
pub mod roles;
pub mod simplify;
pub mod tensor;
pub mod validate;
pub mod zoo;

pub use graph::{Dim, Graph, Node, NodeId, Shape, Value, ValueId};
pub use ops::Op;
pub use tensor::{ElementType, Tensor};
