//! How a network is trained.

use std::collections::BTreeMap;

use super::trainer::TrainError;
use crate::optimize::{Rule, Schedule};

/// How a network is trained.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// How often every sample is seen.
    pub epochs: u64,
    /// Samples a step.
    pub batch: usize,
    /// Seed of dropout and other random choices of nodes.
    pub seed: u64,
    /// How parameters are moved.
    pub rule: Rule,
    /// Highest rate.
    pub rate: f32,
    /// How the rate changes.
    pub schedule: Schedule,
    /// Epochs in which the rate rises from 0.
    pub warm_up: f64,
    /// Decay of weights (parameters of two axes or more).
    pub weight_decay: f32,
    /// Longest gradient; longer ones are shortened to it.
    pub clip: Option<f32>,
    /// What stays of a running mean of the parameters at each step, if the result is to be that mean.
    pub average: Option<f32>,
    /// Lengths of named dimensions other than the batch.
    pub lengths: BTreeMap<String, usize>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 64,
            seed: 0,
            rule: Rule::SGD,
            rate: 0.05,
            schedule: Schedule::Cosine,
            warm_up: 0.0,
            weight_decay: 0.0,
            clip: None,
            average: None,
            lengths: BTreeMap::new(),
        }
    }
}

impl TrainOptions {
    /// Refuses settings that mean nothing.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let rule = match self.rule {
            Rule::Sgd { momentum, .. } => ("the momentum", momentum, (0.0..1.0).contains(&momentum), "0 to below 1"),
            Rule::AdamW { .. } => ("the rate", self.rate, true, ""),
        };
        let least = |value: f32| value >= 0.0 && value.is_finite();
        let (clip, average) = (self.clip.unwrap_or(1.0), self.average.unwrap_or(0.0));
        let warm_up = self.warm_up >= 0.0 && self.warm_up.is_finite();
        let settings = [
            ("the rate", self.rate, least(self.rate), "0 or more"),
            ("the weight decay", self.weight_decay, least(self.weight_decay), "0 or more"),
            ("the longest gradient (clip)", clip, clip > 0.0, "a number above 0"),
            ("the part that stays of the mean (average)", average, (0.0..1.0).contains(&average), "0 to below 1"),
            ("the warm-up", self.warm_up as f32, warm_up, "0 or more epochs"),
            rule,
        ];
        match settings.into_iter().find(|(_, _, allowed, _)| !allowed) {
            Some((setting, found, _, expected)) => {
                Err(TrainError::Setting { setting, expected, found: f64::from(found) })
            }
            None => Ok(()),
        }
    }
}
