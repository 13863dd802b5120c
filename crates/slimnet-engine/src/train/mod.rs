//! Training and evaluation.

pub mod batch;
pub mod evaluate;

pub use batch::{Batch, Source, SourceError};
pub use evaluate::{EvaluateError, Evaluator, Metric, Score};
