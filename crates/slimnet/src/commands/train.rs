//! `slimnet train NET --data D -o OUT`: trains a network.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use slimnet_data::Augmentation;
use slimnet_engine::Threads;
use slimnet_engine::job::{Job, JobOptions, Loss};
use slimnet_engine::optimize::Rule;
use slimnet_engine::train::checkpoint::{self, CheckpointError};
use slimnet_engine::train::{Control, Evaluator, Metric, Observer, Source, TrainOptions, Trainer};
use slimnet_graph::graph::Graph;
use slimnet_graph::zoo::random::Stream;

use super::eval;
use crate::arguments::{Global, LossName, OptimizerName, Train};
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::feed::{self, Feed, Opened};
use crate::files;
use crate::report::train::{EpochReport, ScoreReport, TrainReport};

/// Set by Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Trains and reports.
pub fn run(options: &Train, global: &Global, console: Console) -> Result<Outcome> {
    files::check_output(&options.output)?;
    let mut network = files::read(&options.network)?;
    let mut opened = feed::open(&options.data, &network)?;
    if !options.only_classes.is_empty() {
        opened.only_classes(&options.only_classes)?;
    }
    let output = eval::output(&options.data, &network)?;
    check_classes(&network, output, options.loss, &opened)?;
    let teachers = options.teachers.iter().map(|file| files::read(file)).collect::<Result<Vec<_>>>()?;
    let metric = match options.loss {
        Some(LossName::None) if opened.has_classes() => Some(Metric::Classes),
        Some(LossName::None) => None,
        loss => Some(eval::metric(loss, &opened)?),
    };
    let job = Job::build(&network, &job_options(options, metric, teachers))
        .map_err(|error| Failure::new("cannot train", &error).about(&options.network))?;
    let threads = eval::threads(global)?;
    let source = opened.training(options.data.batch, global.seed, augmentation(options))?;
    let train_options = train_options(options, global);
    let mut trainer = Trainer::new(&job, source.batches_per_epoch(), train_options.clone())
        .map_err(|error| Failure::new("cannot train", &error).about(&options.network))?;
    if let [first, others @ ..] = trainer.unreached() {
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        console.note(&format!("the loss does not depend on {first:?}{more}: left as it is"));
    }
    let file = options.checkpoint.clone().unwrap_or_else(|| beside(&options.output));
    let run = identity(options, global, &network, &opened)?;
    resume(options, &file, &run, &mut trainer, console)?;
    // Fails only if it is set already.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst));

    let lengths: std::collections::BTreeMap<_, _> = options.data.dims.iter().cloned().collect();
    let evaluator = |metric| Evaluator::new(network.clone(), output, metric, lengths.clone(), &trainer.names());
    let mut watcher = Watcher {
        console,
        threads: &threads,
        validation: validation(&opened, options.data.batch)?,
        evaluator: metric.map(evaluator),
        file: file.clone(),
        run,
        save_every: Duration::from_secs(options.save_every.max(1)),
        saved: Instant::now(),
        said: Instant::now(),
        begun: Instant::now(),
        epoch_begun: Instant::now(),
        first_step: trainer.step_number(),
        log: options.log.clone(),
        epochs: options.epochs,
        last: None,
    };
    let reported = reported(&opened, options.data.batch)?;
    let before = watcher.score(reported.as_ref())?;
    let finished = trainer.fit(&source, &threads, &mut watcher)?;
    if !finished {
        watcher.save(&trainer)?;
        let why = format!("interrupted after step {} of {}", trainer.step_number(), trainer.steps());
        return Err(Failure::because("training did not end", &why)
            .advise(&format!("the state is in {}; the same command with --resume goes on from it", file.display())));
    }
    let seconds = watcher.begun.elapsed().as_secs_f64();
    let steps = trainer.step_number() - watcher.first_step;
    watcher.take(&trainer)?;
    let after = watcher.score(reported.as_ref())?;
    let held_out = watcher.validation.take().map(|feed| ("validation", feed));
    let validation = watcher.score(held_out.as_ref())?;
    for (name, tensor) in trainer.values().map_err(|error| Failure::new("cannot train", &error))? {
        if let Some(id) = network.find_value(&name) {
            network.set_data(id, tensor);
        }
    }
    record(&mut network, &opened);
    let written = files::write(&network, &options.output)?;
    // What is left of it would only be in the way.
    let _ = std::fs::remove_file(&file);
    console.result(&TrainReport {
        command: "train",
        network: options.network.clone(),
        output: options.output.clone(),
        data: options.data.data.clone(),
        seed: global.seed,
        epochs: options.epochs,
        samples: opened.splits.train.len(),
        before,
        after,
        validation,
        loss: watcher.last,
        seconds,
        step_milliseconds: (steps > 0).then(|| 1e3 * seconds / steps as f64),
        memory_bytes: trainer.memory().total(),
        file_bytes: written.bytes,
    })?;
    Ok(Outcome::Done)
}

/// Refuses labels beyond the classes of the network before anything is computed.
fn check_classes(
    network: &Graph,
    output: slimnet_graph::graph::ValueId,
    loss: Option<LossName>,
    opened: &Opened,
) -> Result<()> {
    let classes = network.value(output).shape.as_ref().and_then(|shape| shape.get(1)?.known());
    match classes {
        Some(classes) if opened.has_classes() && matches!(loss, None | Some(LossName::Ce)) => {
            opened.splits.require_classes(classes).map_err(|error| Failure::new("data and network do not fit", &error))
        }
        _ => Ok(()),
    }
}

fn job_options(options: &Train, metric: Option<Metric>, teachers: Vec<Graph>) -> JobOptions {
    let loss = match (options.loss, metric) {
        (Some(LossName::None), _) | (_, None) => Loss::None,
        (_, Some(Metric::Classes)) => Loss::CrossEntropy { label_smoothing: options.label_smoothing },
        (_, Some(Metric::SquaredError)) => Loss::MeanSquaredError,
        (_, Some(Metric::Binary)) => Loss::BinaryCrossEntropy,
    };
    JobOptions {
        loss,
        output: options.data.output_name.clone(),
        teachers,
        temperature: options.temperature,
        alpha: options.alpha.unwrap_or(0.9),
        classes: metric == Some(Metric::Classes),
        freeze_batch_norm: options.freeze_batch_norm,
        freeze: options.freeze.clone(),
    }
}

fn augmentation(options: &Train) -> Augmentation {
    Augmentation {
        crop: options.augment_crop,
        flip: options.augment_flip,
        shift: options.augment_shift,
        cutout: options.augment_cutout,
    }
}

fn train_options(options: &Train, global: &Global) -> TrainOptions {
    let (rule, rate) = match options.optimizer {
        OptimizerName::Sgd => (Rule::Sgd { momentum: options.momentum, nesterov: options.nesterov }, 0.05),
        OptimizerName::Adamw => (Rule::ADAM_W, 0.001),
    };
    TrainOptions {
        epochs: options.epochs,
        batch: options.data.batch,
        seed: global.seed,
        rule,
        rate: options.rate.unwrap_or(rate),
        schedule: options.schedule.clone(),
        warm_up: options.warm_up,
        weight_decay: options.weight_decay,
        clip: options.clip,
        average: options.average,
        lengths: options.data.dims.iter().cloned().collect(),
    }
}

/// The file of the state beside an output.
fn beside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".checkpoint");
    PathBuf::from(name)
}

/// What tells this run from others: whatever its result depends on.
fn identity(options: &Train, global: &Global, network: &Graph, opened: &Opened) -> Result<String> {
    let mut hash = 0u64;
    let mut mix = |text: &str| hash = Stream::named(hash, text).bits(0);
    for (_, value) in network.values() {
        mix(&value.name);
        if let Some(bytes) = value.data.as_ref().and_then(|data| data.bytes()) {
            for chunk in bytes.chunks(4096) {
                mix(&format!("{chunk:?}"));
            }
        }
    }
    for teacher in &options.teachers {
        let bytes =
            std::fs::read(teacher).map_err(|error| Failure::new("cannot read the teacher", &error).about(teacher))?;
        bytes.chunks(4096).for_each(|chunk| mix(&format!("{chunk:?}")));
    }
    mix(&format!("{:?} {:?}", train_options(options, global), augmentation(options)));
    mix(&format!("{:?} {} {:?}", options.loss, options.label_smoothing, options.freeze));
    mix(&format!("{} {:?} {}", options.temperature, options.alpha, options.freeze_batch_norm));
    mix(&format!("{} {:?} {:?}", options.data.data, opened.preprocessing, options.data.inputs));
    mix(&format!("{:?} {}", options.data.validation, options.data.split_seed));
    mix(&format!("{} {:?}", opened.splits.train.len(), options.only_classes));
    Ok(format!("{hash:016x}"))
}

/// Goes on from a saved state, if that was asked for and there is one.
fn resume(options: &Train, file: &Path, run: &str, trainer: &mut Trainer, console: Console) -> Result<()> {
    if !options.resume {
        return Ok(());
    }
    if !file.exists() {
        console.note(&format!("there is no {}: training begins at the beginning", file.display()));
        return Ok(());
    }
    let state = checkpoint::read(file, run).map_err(|error| {
        let failure = Failure::new("cannot go on from", &error).about(file);
        match error {
            CheckpointError::OtherRun => {
                failure.advise("give the same options, network and data, or begin without --resume")
            }
            _ => failure,
        }
    })?;
    trainer.restore(&state).map_err(|error| Failure::new("cannot go on from", &error).about(file))?;
    console.note(&format!("going on after step {} of {}", trainer.step_number(), trainer.steps()));
    Ok(())
}

fn validation(opened: &Opened, batch: usize) -> Result<Option<Feed>> {
    if opened.splits.validation.is_empty() {
        return Ok(None);
    }
    opened.evaluation(&opened.splits.validation, batch).map(Some)
}

/// The samples that are only reported: those of the test, if there are some.
fn reported(opened: &Opened, batch: usize) -> Result<Option<(&'static str, Feed)>> {
    match &opened.splits.test {
        Some(test) if !test.is_empty() => Ok(Some(("test", opened.evaluation(test, batch)?))),
        _ => Ok(None),
    }
}

/// Writes down in the network how its data is prepared.
fn record(network: &mut Graph, opened: &Opened) {
    for (key, value) in opened.preprocessing.to_metadata() {
        let metadata = &mut network.model.metadata;
        match metadata.iter_mut().find(|(found, _)| *found == key) {
            Some((_, old)) => *old = value,
            None => metadata.push((key, value)),
        }
    }
}

/// Looks on while a network is trained.
struct Watcher<'a> {
    console: Console,
    threads: &'a Threads,
    validation: Option<Feed>,
    evaluator: Option<Evaluator>,
    file: PathBuf,
    run: String,
    save_every: Duration,
    saved: Instant,
    said: Instant,
    begun: Instant,
    epoch_begun: Instant,
    first_step: u64,
    log: Option<PathBuf>,
    epochs: u64,
    last: Option<f64>,
}

impl Watcher<'_> {
    fn save(&mut self, trainer: &Trainer) -> Result<()> {
        self.saved = Instant::now();
        checkpoint::write(&trainer.state(), &self.run, &self.file)
            .map_err(|error| Failure::new("cannot save the state of training to", &error).about(&self.file))
    }

    /// Gives the evaluator the values that training has reached.
    fn take(&mut self, trainer: &Trainer) -> Result<()> {
        if let Some(evaluator) = &mut self.evaluator {
            let values = trainer.values().map_err(|error| Failure::new("cannot train", &error))?;
            for (name, tensor) in values {
                evaluator.set(&name, tensor);
            }
        }
        Ok(())
    }

    fn score(&mut self, feed: Option<&(&'static str, Feed)>) -> Result<Option<ScoreReport>> {
        let (Some((part, feed)), Some(evaluator)) = (feed, &mut self.evaluator) else { return Ok(None) };
        let score = evaluator
            .evaluate(feed.batches(), self.threads)
            .map_err(|error| Failure::new(&format!("cannot evaluate on the {part} samples"), &error))?;
        let (accuracy, errors) = (score.accuracy(), score.errors());
        Ok(Some(ScoreReport { part, samples: score.samples, errors, accuracy, loss: score.loss }))
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
}

impl Observer<Failure> for Watcher<'_> {
    fn after_step(&mut self, trainer: &Trainer, loss: f64) -> Result<Control> {
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Ok(Control::Stop);
        }
        if self.saved.elapsed() >= self.save_every {
            self.save(trainer)?;
        }
        if self.said.elapsed() >= Duration::from_secs(20) {
            self.said = Instant::now();
            let (step, steps) = (trainer.step_number(), trainer.steps());
            self.console.note(&format!("step {step} of {steps}: loss {loss:.4}, {}", self.left(trainer)));
        }
        Ok(Control::Continue)
    }

    fn after_epoch(&mut self, trainer: &Trainer, epoch: u64, loss: f64) -> Result<Control> {
        self.take(trainer)?;
        let feed = self.validation.take().map(|feed| ("validation", feed));
        let validation = self.score(feed.as_ref())?;
        self.validation = feed.map(|(_, feed)| feed);
        self.last = Some(loss);
        let seconds = self.epoch_begun.elapsed().as_secs_f64();
        (self.epoch_begun, self.said) = (Instant::now(), Instant::now());
        let score = validation.as_ref().map_or_else(String::new, |score| format!(", {}", score.text()));
        let (number, left) = (epoch + 1, self.left(trainer));
        self.console.note(&format!("epoch {number} of {}: loss {loss:.4}{score}, {seconds:.1} s, {left}", self.epochs));
        if let Some(log) = &self.log {
            let report = EpochReport { epoch: number, loss, validation, seconds };
            append(log, &report).map_err(|error| Failure::new("cannot write the log", &error).about(log))?;
        }
        self.save(trainer)?;
        Ok(if INTERRUPTED.load(Ordering::SeqCst) { Control::Stop } else { Control::Continue })
    }
}

fn append(log: &Path, report: &EpochReport) -> std::io::Result<()> {
    let line = serde_json::to_string(report).map_err(std::io::Error::other)?;
    writeln!(OpenOptions::new().create(true).append(true).open(log)?, "{line}")
}

impl From<slimnet_engine::train::TrainError> for Failure {
    fn from(error: slimnet_engine::train::TrainError) -> Self {
        Self::new("cannot train", &error)
    }
}
