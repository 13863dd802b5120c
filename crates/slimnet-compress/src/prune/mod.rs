//! Pruning: what is removed, how much of it, and in which steps.

mod amount;
mod cut;
mod error;
mod layers;
pub mod neurons;
mod ranking;
mod request;
mod run;
mod schedule;
pub mod weights;

pub use amount::{Amount, measure};
pub use error::PruneError;
pub use layers::LayerChange;
pub use neurons::{NeuronChoice, PrunedAxis, PrunedNeurons, SkippedAxis, prune_neurons};
pub use request::{Accuracy, Most, Request, Subject, Target};
pub use run::{Alone, Ended, Look, LoopError, Measured, Pruned, Round, Verdict, forget, has_progress, prune};
pub use schedule::Schedule;
pub use weights::{PrunedWeight, PrunedWeights, WeightChoice, prune_weights};

/// Among what the least important is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// The whole network: layers lose as much as they have to spare.
    #[default]
    Global,
    /// Each layer by itself: all lose the same part.
    Layer,
}
