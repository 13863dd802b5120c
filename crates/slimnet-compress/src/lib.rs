//! The techniques that make networks small, each a rewrite of the graph, and what drives them.
//!
//! A technique acts on the *deployed form* of a network: plain ONNX, in which a pruned weight is a zero. What a weight must
//! stay is a [`Constraint`] recorded on its value; [`lift()`] makes the *training form* of it, in which training cannot
//! break what was gained, and [`lower()`] leads back. Knows nothing of terminals and of where data comes from.

pub mod constraint;
pub mod control;
pub mod importance;
pub mod lift;
pub mod material;
mod pattern;
pub mod prune;
pub mod recover;
pub mod store;
pub mod weight;

pub use constraint::{Constraint, Keep};
pub use lift::{Lifted, Sparse, lift, lower};
