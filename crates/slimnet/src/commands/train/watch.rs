//! Looking on while a network is trained: progress, validation, saving, ending.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use slimnet_engine::Threads;
use slimnet_engine::train::{Best, Control, Evaluator, Observer, Score, Trainer, checkpoint};

use crate::console::{Console, Progress};
use crate::failure::{Failure, Result};
use crate::feed::Feed;
use crate::interrupt;
use crate::report::train::{EpochReport, ScoreReport};

/// How often progress is said where no line can be written over.
const SAY_EVERY: Duration = Duration::from_secs(20);

/// Measures a network on samples; they have a name such as `validation`.
pub(super) fn score(
    evaluator: &mut Evaluator,
    part: &'static str,
    feed: &Feed,
    threads: &Threads,
) -> Result<(Score, ScoreReport)> {
    let score = evaluator
        .evaluate(feed.batches(), threads)
        .map_err(|error| Failure::new(&format!("cannot evaluate on the {part} samples"), &error))?;
    Ok((score, ScoreReport::of(part, score)))
}

/// Looks on while a network is trained.
pub(super) struct Watcher<'a> {
    pub console: Console<'a>,
    pub progress: Progress,
    pub threads: &'a Threads,
    /// What the network is measured on after each epoch.
    pub validation: Option<(Evaluator, &'a Feed)>,
    /// The best epoch so far, if the result is to be that.
    pub best: Option<Best>,
    /// Epochs without a better one after which training ends.
    pub patience: Option<u64>,
    pub file: PathBuf,
    pub run: String,
    pub save_every: Duration,
    pub saved: Instant,
    pub said: Instant,
    pub begun: Instant,
    pub epoch_begun: Instant,
    pub first_step: u64,
    pub log: Option<PathBuf>,
    pub epochs: u64,
    pub last: Option<f64>,
}

impl Watcher<'_> {
    /// Saves the state of training.
    pub fn save(&mut self, trainer: &Trainer) -> Result<()> {
        self.saved = Instant::now();
        let mut state = trainer.state();
        state.tensors.extend(self.best.iter().flat_map(Best::tensors));
        checkpoint::write(&state, &self.run, &self.file)
            .map_err(|error| Failure::new("cannot save the state of training to", &error).about(&self.file))
    }

    /// Whether there has been no better epoch for as long as was asked for, after so many epochs.
    pub fn patience_is_over(&self, epochs: u64) -> bool {
        match (&self.best, self.patience) {
            (Some(best), Some(patience)) => best.epoch().is_some_and(|best| epochs.saturating_sub(best) > patience),
            _ => false,
        }
    }

    /// What is left, in words.
    fn left(&self, trainer: &Trainer) -> String {
        let done = trainer.step_number() - self.first_step;
        let left = trainer.steps() - trainer.step_number();
        let seconds = self.begun.elapsed().as_secs_f64() / done.max(1) as f64 * left as f64;
        match seconds {
            0.0..=90.0 => format!("{seconds:.0} s left"),
            0.0..=5400.0 => format!("{:.0} min left", seconds / 60.0),
            _ => format!("{:.1} h left", seconds / 3600.0),
        }
    }

    /// Measures the network as it is, and keeps it if it is the best so far.
    fn validate(&mut self, trainer: &Trainer, epoch: u64) -> Result<Option<ScoreReport>> {
        let Some((evaluator, feed)) = &mut self.validation else { return Ok(None) };
        let values = trainer.values().map_err(|error| Failure::new("cannot train", &error))?;
        for (name, tensor) in &values {
            evaluator.set(name, tensor.clone());
        }
        let (score, report) = score(evaluator, "validation", feed, self.threads)?;
        if let Some(best) = &mut self.best {
            best.offer(epoch, score, values);
        }
        Ok(Some(report))
    }
}

impl Observer<Failure> for Watcher<'_> {
    fn after_step(&mut self, trainer: &Trainer, loss: f64) -> Result<Control> {
        if interrupt::requested() {
            return Ok(Control::Stop);
        }
        if self.saved.elapsed() >= self.save_every {
            self.save(trainer)?;
        }
        if self.progress.is_due() {
            let (step, steps) = (trainer.step_number(), trainer.steps());
            let epoch = step as f64 / steps.max(1) as f64 * self.epochs as f64;
            let text = format!("epoch {epoch:.1} of {}: loss {loss:.4}, {}", self.epochs, self.left(trainer));
            self.progress.show(step as f64 / steps.max(1) as f64, &text);
        } else if !self.progress.is_shown() && self.said.elapsed() >= SAY_EVERY {
            self.said = Instant::now();
            let (step, steps) = (trainer.step_number(), trainer.steps());
            self.console.note(&format!("step {step} of {steps}: loss {loss:.4}, {}", self.left(trainer)));
        }
        Ok(Control::Continue)
    }

    fn after_epoch(&mut self, trainer: &Trainer, epoch: u64, loss: f64) -> Result<Control> {
        let validation = self.validate(trainer, epoch)?;
        self.last = Some(loss);
        let seconds = self.epoch_begun.elapsed().as_secs_f64();
        (self.epoch_begun, self.said) = (Instant::now(), Instant::now());
        let score = validation.as_ref().map_or_else(String::new, |score| format!(", {}", score.text()));
        let (number, left) = (epoch + 1, self.left(trainer));
        self.progress.clear();
        self.console.note(&format!("epoch {number} of {}: loss {loss:.4}{score}, {seconds:.1} s, {left}", self.epochs));
        if let Some(log) = &self.log {
            let report = EpochReport { epoch: number, loss, validation, seconds };
            append(log, &report).map_err(|error| Failure::new("cannot write the log", &error).about(log))?;
        }
        self.save(trainer)?;
        let stop = interrupt::requested() || self.patience_is_over(number);
        Ok(if stop { Control::Stop } else { Control::Continue })
    }
}

fn append(log: &Path, report: &EpochReport) -> std::io::Result<()> {
    let line = serde_json::to_string(report).map_err(std::io::Error::other)?;
    writeln!(OpenOptions::new().create(true).append(true).open(log)?, "{line}")
}
