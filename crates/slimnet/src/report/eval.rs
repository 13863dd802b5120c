//! What `eval` reports.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::Report;
use super::number::{bytes, count, milliseconds, short};
use super::summary::Summary;
use super::train::ScoreReport;

/// How good a network is, and what it costs.
#[derive(Debug, Serialize)]
pub struct EvalReport {
    /// `eval`.
    pub command: &'static str,
    /// The network's file.
    pub network: PathBuf,
    /// The data, as it was asked for.
    pub data: String,
    /// Which samples of it.
    pub part: &'static str,
    /// How many.
    pub samples: usize,
    /// How many were right.
    pub correct: Option<usize>,
    /// How many were wrong.
    pub errors: Option<usize>,
    /// How many were right, in percent.
    pub accuracy: Option<f64>,
    /// Mean loss.
    pub loss: f64,
    /// Class by class, in order; empty where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassReport>,
    /// Whether a person wants to see the classes.
    #[serde(skip)]
    pub show_classes: bool,
    /// Accuracy of always naming the most frequent class, from 0 to 1.
    #[serde(skip)]
    pub chance: Option<f64>,
    /// Median time of one sample.
    pub latency_milliseconds: Option<f64>,
    /// On how many threads.
    pub threads: usize,
    /// Memory of a run on a whole batch.
    pub memory_bytes: Option<usize>,
    /// What it costs.
    #[serde(flatten)]
    pub summary: Summary,
}

/// How often samples of a class were right.
#[derive(Debug, Serialize)]
pub struct ClassReport {
    /// Samples of the class.
    pub samples: usize,
    /// How many of them were right.
    pub correct: usize,
}

impl EvalReport {
    /// Whether the accuracy says no more than guessing would.
    pub fn near_chance(&self) -> bool {
        self.accuracy
            .zip(self.chance)
            .is_some_and(|(accuracy, chance)| accuracy < 100.0 * (chance + (1.0 - chance) * 0.1))
    }
}

impl Report for EvalReport {
    fn text(&self, _width: Option<usize>) -> String {
        let samples = count(self.samples as u64);
        let mut text = format!("{} on {samples} {} samples of {}\n", self.network.display(), self.part, self.data);
        if let (Some(accuracy), Some(errors)) = (self.accuracy, self.errors) {
            let _ = writeln!(text, "  accuracy  {accuracy:.2} % ({} wrong)", count(errors as u64));
        }
        let _ = writeln!(text, "  loss      {:.4}", self.loss);
        for (class, ClassReport { samples, correct }) in self.classes.iter().enumerate().filter(|_| self.show_classes) {
            let accuracy = 100.0 * *correct as f64 / (*samples).max(1) as f64;
            let (samples, wrong) = (count(*samples as u64), count((samples - correct) as u64));
            let _ = writeln!(text, "  class {class:<3} {accuracy:.2} % of {samples} ({wrong} wrong)");
        }
        if let Some(size) = self.summary.file_bytes {
            let _ = writeln!(text, "  file      {}", bytes(size));
        }
        let Summary { parameters, macs, .. } = self.summary;
        let _ = writeln!(text, "  costs     {} parameters, {} MACs", count(parameters), short(macs));
        if let Some(latency) = self.latency_milliseconds {
            let threads = if self.threads == 1 { "1 thread".into() } else { format!("{} threads", self.threads) };
            let _ = writeln!(text, "  latency   {} a sample alone (own engine, {threads})", milliseconds(latency));
        }
        if let Some(memory) = self.memory_bytes {
            let _ = writeln!(text, "  memory    {} for a batch", bytes(memory as u64));
        }
        text
    }

    fn headline(&self) -> String {
        let Self { part, samples, errors, accuracy, loss, .. } = *self;
        ScoreReport { part, samples, errors, accuracy, loss }.text()
    }
}
