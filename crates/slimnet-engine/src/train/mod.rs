//! Training and evaluation.

pub mod batch;
pub mod best;
pub mod checkpoint;
pub mod evaluate;
pub mod options;
pub mod statistics;
pub mod trainer;

pub use batch::{Batch, Source, SourceError};
pub use best::Best;
pub use evaluate::{EvaluateError, Evaluator, Metric, Score};
pub use options::TrainOptions;
pub use trainer::{Control, Observer, State, TrainError, Trainer};
