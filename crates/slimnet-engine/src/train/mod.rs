//! Training and evaluation.

pub mod batch;
pub mod checkpoint;
pub mod evaluate;
pub mod trainer;

pub use batch::{Batch, Source, SourceError};
pub use evaluate::{EvaluateError, Evaluator, Metric, Score};
pub use trainer::{Control, Observer, State, TrainError, TrainOptions, Trainer};
