//! Recovery by training: the rewritten network learns from the original, from labels, or from both.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use slimnet_engine::Threads;
use slimnet_engine::job::{Job, JobError, JobOptions};
use slimnet_engine::train::checkpoint::{self, CheckpointError};
use slimnet_engine::train::{Control, Observer, Source, TrainError, TrainOptions, Trainer};
use slimnet_graph::graph::Graph;

use super::RecoverError;
use crate::constraint::{ConstraintError, Keep};
use crate::lift::{lift, lower};

/// How a network is trained after it was rewritten.
#[derive(Debug, Clone)]
pub struct Training {
    /// What is learned: from teachers (the original, usually), from labels.
    pub job: JobOptions,
    /// How. The number of epochs is that of a recovery.
    pub options: TrainOptions,
}

/// Where the state of an unfinished training lies, and what tells it from others.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// The file.
    pub file: PathBuf,
    /// What all that the result depends on is hashed to.
    pub run: String,
}

/// Who looks on.
pub trait Watch {
    /// Called after each step: steps done, steps in all, mean loss of the epoch so far. Returns whether to go on.
    fn step(&mut self, step: u64, steps: u64, loss: f64) -> Control;
}

/// Why a network cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// There is no job to make of it.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A step without training failed.
    #[error(transparent)]
    Mend(#[from] RecoverError),
    /// It cannot be trained.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Its constraints cannot be read.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// Its state cannot be kept or taken up again.
    #[error("the state of training: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// How training ended.
#[derive(Debug)]
pub enum Trained {
    /// At its end: the network, and the mean loss of the last epoch, if one was trained now.
    Whole(Box<Graph>, Option<f64>),
    /// Somewhere the loss was not finite; says where.
    Diverged(String),
    /// Whoever looks on ended it; the state is kept.
    Interrupted,
}

/// How often the state is kept.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// Trains a network in its training form and returns it in its deployed form: what its weights must stay they stay.
///
/// # Errors
/// If it cannot be trained.
pub fn train(
    graph: &Graph,
    training: &Training,
    source: &dyn Source,
    threads: &Threads,
    watch: &mut dyn Watch,
    unfinished: Option<Unfinished>,
) -> Result<Trained, TrainingError> {
    let mut lifted = lift(graph, Keep::Recorded)?.graph;
    let job = Job::build(&lifted, &training.job)?;
    let mut trainer = Trainer::new(&job, source.batches_per_epoch(), training.options.clone())?;
    if let Some(unfinished) = unfinished.as_ref().filter(|unfinished| unfinished.file.exists()) {
        match checkpoint::read(&unfinished.file, &unfinished.run) {
            Ok(state) => trainer.restore(&state)?,
            // Of an earlier round.
            Err(CheckpointError::OtherRun) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut looking = Looking { watch, unfinished, kept: Instant::now(), loss: None };
    match trainer.fit(source, threads, &mut looking) {
        Ok(true) => {}
        Ok(false) => {
            looking.keep(&trainer)?;
            return Ok(Trained::Interrupted);
        }
        Err(TrainingError::Train(error @ TrainError::NotFinite { .. })) => {
            return Ok(Trained::Diverged(error.to_string()));
        }
        Err(error) => return Err(error),
    }
    for (name, tensor) in trainer.values()? {
        if let Some(id) = lifted.find_value(&name) {
            lifted.set_data(id, tensor);
        }
    }
    Ok(Trained::Whole(Box::new(lower(&lifted)), looking.loss))
}

struct Looking<'a> {
    watch: &'a mut dyn Watch,
    unfinished: Option<Unfinished>,
    kept: Instant,
    loss: Option<f64>,
}

impl Looking<'_> {
    fn keep(&mut self, trainer: &Trainer) -> Result<(), TrainingError> {
        self.kept = Instant::now();
        if let Some(Unfinished { file, run }) = &self.unfinished {
            checkpoint::write(&trainer.state(), run, file)?;
        }
        Ok(())
    }
}

impl Observer<TrainingError> for Looking<'_> {
    fn after_step(&mut self, trainer: &Trainer, loss: f64) -> Result<Control, TrainingError> {
        if self.kept.elapsed() >= KEEP_EVERY {
            self.keep(trainer)?;
        }
        Ok(self.watch.step(trainer.step_number(), trainer.steps(), loss))
    }

    fn after_epoch(&mut self, trainer: &Trainer, _epoch: u64, loss: f64) -> Result<Control, TrainingError> {
        self.loss = Some(loss);
        if trainer.step_number() == trainer.steps() {
            // For a run that is cut off after it, before what it is for is done.
            self.keep(trainer)?;
            return Ok(Control::Continue);
        }
        self.after_step(trainer, loss)
    }
}
