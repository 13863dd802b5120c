//! Training and evaluation.

pub mod batch;
pub mod best;
pub mod checkpoint;
pub mod evaluate;
mod feed;
pub mod gradients;
pub mod options;
pub mod probe;
pub mod statistics;
pub mod trainer;

pub use batch::{Batch, Source, SourceError};
pub use best::Best;
pub use evaluate::{EvaluateError, Evaluator, Metric, Score};
pub use gradients::Gradients;
pub use options::TrainOptions;
pub use probe::Probe;
pub use trainer::{Control, Observer, State, TrainError, Trainer};
