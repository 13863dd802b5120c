//! What is asked of pruning.

use slimnet_engine::job::JobOptions;
use slimnet_engine::train::Score;

use super::{Amount, Schedule, Scope};
use crate::constraint::Pattern;
use crate::importance::Criterion;
use crate::recover::Recovery;

/// What goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Single weights, in a pattern.
    Weights(Pattern),
    /// Whole neurons: channels, filters, heads.
    Neurons {
        /// Numbers of kept channels are multiples of it where that can be.
        round: usize,
        /// Whether neurons may go over which a normalisation or softmax is computed.
        approximate: bool,
    },
}

/// When a network is small enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// What is counted.
    pub amount: Amount,
    /// What may be left of it.
    pub most: Most,
}

/// What may be left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Most {
    /// A part of what the original has.
    Part(f64),
    /// So much.
    Count(f64),
}

/// When a network is accurate enough, on the validation samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accuracy {
    /// It may lose so much: percentage points of accuracy, or percent of the loss where nothing is right or wrong.
    MostDrop(f64),
    /// It must have so much: percent of accuracy, or at most this loss where nothing is right or wrong.
    AtLeast(f64),
    /// It is not asked.
    Any,
}

impl Accuracy {
    /// Whether a network is accurate enough; one that cannot be measured is.
    pub fn holds(self, original: Option<Score>, now: Option<Score>) -> bool {
        let Some(now) = now else { return true };
        let accuracy = now.accuracy();
        // Rounding must not decide on a drop of exactly what is allowed.
        let enough = |accuracy: f64, least: f64| accuracy >= least - 1e-9;
        match (self, accuracy, original) {
            (Self::Any, _, _) | (Self::MostDrop(_), _, None) => true,
            (Self::AtLeast(least), Some(accuracy), _) => enough(accuracy, least),
            (Self::AtLeast(most), None, _) => now.loss <= most,
            (Self::MostDrop(drop), Some(accuracy), Some(original)) => {
                original.accuracy().is_none_or(|before| enough(accuracy, before - drop))
            }
            (Self::MostDrop(part), None, Some(original)) => now.loss <= original.loss * (1.0 + part / 100.0),
        }
    }
}

/// What is asked of pruning.
#[derive(Debug, Clone)]
pub struct Request {
    /// What goes.
    pub subject: Subject,
    /// What is important.
    pub criterion: Criterion,
    /// Among what the least important is looked for.
    pub scope: Scope,
    /// When it is small enough.
    pub target: Target,
    /// When it is accurate enough.
    pub accuracy: Accuracy,
    /// In which steps.
    pub schedule: Schedule,
    /// In how many, if none fails.
    pub rounds: usize,
    /// How it recovers.
    pub recovery: Recovery,
    /// The loss by which importance is judged, where the criterion needs one.
    pub judged_by: JobOptions,
    /// Samples that importance is measured on.
    pub importance_samples: usize,
    /// Seed of everything random.
    pub seed: u64,
}
