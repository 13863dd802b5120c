//! What `train` reports.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;
use slimnet_engine::train::Score;

use super::Report;
use super::number::{bytes, count};

/// How good a network is on some samples.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreReport {
    /// Which samples.
    pub part: &'static str,
    /// How many.
    pub samples: usize,
    /// How many were wrong.
    pub errors: Option<usize>,
    /// How many were right, in percent.
    pub accuracy: Option<f64>,
    /// Mean loss.
    pub loss: f64,
}

impl ScoreReport {
    /// What was measured on samples that have a name such as `validation`.
    pub fn of(part: &'static str, score: Score) -> Self {
        let (accuracy, errors) = (score.accuracy(), score.errors());
        Self { part, samples: score.samples, errors, accuracy, loss: score.loss }
    }

    /// In a few words.
    pub fn text(&self) -> String {
        match (self.accuracy, self.errors) {
            (Some(accuracy), Some(errors)) => {
                format!("{} {accuracy:.2} % ({} wrong, loss {:.4})", self.part, count(errors as u64), self.loss)
            }
            _ => format!("{} loss {:.4}", self.part, self.loss),
        }
    }
}

/// An epoch.
#[derive(Debug, Clone, Serialize)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean loss in training.
    pub loss: f64,
    /// On the validation samples, if there are some.
    pub validation: Option<ScoreReport>,
    /// How long it took.
    pub seconds: f64,
}

/// A network that was trained.
#[derive(Debug, Serialize)]
pub struct TrainReport {
    /// `train`.
    pub command: &'static str,
    /// The network that was trained.
    pub network: PathBuf,
    /// The file that was written.
    pub output: PathBuf,
    /// The data.
    pub data: String,
    /// Seed of everything random.
    pub seed: u64,
    /// How often every sample was seen.
    pub epochs: u64,
    /// The epoch whose parameters were written, if the best one was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_epoch: Option<u64>,
    /// Samples that were trained on.
    pub samples: usize,
    /// Before training, on the samples that are reported.
    pub before: Option<ScoreReport>,
    /// After it.
    pub after: Option<ScoreReport>,
    /// After it, on the validation samples.
    pub validation: Option<ScoreReport>,
    /// Mean loss of the last epoch.
    pub loss: Option<f64>,
    /// How long the epochs of this process took.
    pub seconds: f64,
    /// Milliseconds a step, mean.
    pub step_milliseconds: Option<f64>,
    /// Memory of a step.
    pub memory_bytes: usize,
    /// Size of the file.
    pub file_bytes: u64,
}

impl Report for TrainReport {
    fn text(&self, _width: Option<usize>) -> String {
        let mut text = format!(
            "{}: trained {} epochs on {} samples of {}\n",
            self.output.display(),
            self.epochs,
            count(self.samples as u64),
            self.data
        );
        if let Some(epoch) = self.best_epoch {
            let _ = writeln!(text, "  best    epoch {epoch} by validation");
        }
        for (when, score) in [("before", &self.before), ("after", &self.after), ("after", &self.validation)] {
            if let Some(score) = score {
                let _ = writeln!(text, "  {when:<7} {}", score.text());
            }
        }
        if let Some(milliseconds) = self.step_milliseconds {
            let _ = writeln!(text, "  time    {:.1} s, {milliseconds:.2} ms a step", self.seconds);
        }
        let _ = writeln!(text, "  memory  {} a step", bytes(self.memory_bytes as u64));
        let _ = writeln!(text, "  file    {}", bytes(self.file_bytes));
        text
    }

    fn headline(&self) -> String {
        match (self.after.as_ref().or(self.validation.as_ref()), self.loss) {
            (Some(score), _) => score.text(),
            (None, Some(loss)) => format!("training loss {loss:.4}"),
            (None, None) => String::new(),
        }
    }
}
