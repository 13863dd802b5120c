//! `slimnet train NET --data D -o OUT`: trains a network.

mod options;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use slimnet_compress::constraint::settle;
use slimnet_compress::control::reinitialise;
use slimnet_compress::{Sparse, lift, lower};
use slimnet_engine::job::{Job, separate_statistics};
use slimnet_engine::train::checkpoint::{self, CheckpointError};
use slimnet_engine::train::statistics::{insert_batch_norm, reestimate_batch_norm};
use slimnet_engine::train::{Best, Evaluator, Metric, Source, Trainer};
use slimnet_graph::graph::Graph;

use super::eval;
use super::learning::{augmentation, looks_folded};
use crate::arguments::{Global, LossName, Train};
use crate::console::{Console, Progress};
use crate::failure::{Failure, Outcome, Result};
use crate::feed::{self, Feed, Opened};
use crate::report::number::{counted, percent};
use crate::report::train::{ScoreReport, TrainReport};
use crate::{files, interrupt};
use options::{identity, job_options, measurement, teachers, train_options};
use watch::{Watcher, score};

/// Trains and reports.
pub fn run(options: &Train, global: &Global, console: Console) -> Result<Outcome> {
    let mut options = options.clone();
    files::check_output(&options.output)?;
    let file = options.checkpoint.clone().unwrap_or_else(|| files::beside(&options.output, ".checkpoint"));
    check_files(&options, &file)?;
    let mut network = files::read(&options.network)?;
    let cannot = |error: &dyn std::error::Error| Failure::new("cannot train", error).about(&options.network);
    let mut opened = feed::open(&options.data, &network)?;
    if !options.only_classes.is_empty() {
        opened.only_classes(&options.only_classes)?;
    }
    let samples = opened.splits.train.len();
    if options.data.batch > samples && samples > 0 {
        console.note(&format!("there are {samples} samples to train on: that many are computed at once (--batch)"));
        options.data.batch = samples;
    }
    opened.add_lengths(&network, &mut options.data.dims);
    let options = &options;
    let output = eval::output(&options.data, &network)?;
    let metric = match options.learning.loss {
        Some(LossName::None) if opened.has_classes() => Some(Metric::Classes),
        Some(LossName::None) => None,
        loss => Some(eval::metric(loss, &mut opened, &network, output)?),
    };
    opened.check_classes(&network, output, metric)?;
    let teachers = teachers(options)?;
    let threads = eval::threads(global)?;
    let source = opened.training(options.data.batch, global.seed, augmentation(&options.learning))?;
    separate_statistics(&mut network);
    if options.fresh {
        settle(&mut network, options.keep);
        reinitialise(&mut network, None, global.seed).map_err(|error| cannot(&error))?;
    }
    let lifted = lift(&network, options.keep).map_err(|error| cannot(&error))?;
    if let Some(note) = sparse_note(&lifted.sparse) {
        console.note(&note);
    }
    network = lifted.graph;
    let run = identity(options, global, &network, &opened)?;
    let folded = looks_folded(&network) && !options.insert_bn;
    if folded && options.learning.rate.is_none() {
        console.note(
            "the network has no normalization (perhaps it was folded away): a tenth of the usual rate is used; --rate \
             sets another, --insert-bn puts batch normalization back",
        );
    }
    if options.insert_bn {
        let count = insert_batch_norm(&mut network, &source, &measurement(options, None), &threads);
        let count = count.map_err(|error| cannot(&error))?;
        if count == 0 {
            return Err(Failure::because(
                "cannot train",
                "--insert-bn: no convolution with a bias lacks normalization",
            )
            .about(&options.network));
        }
        console.note(&format!("batch normalization put behind {count} convolutions"));
    }
    let job = Job::build(&network, &job_options(options, metric, teachers)).map_err(|error| cannot(&error))?;
    if job.imitated.len() > 1 || (!job.imitated.is_empty() && network.outputs().len() > 1) {
        console.note(&format!("imitated outputs: {}", job.imitated.join(", ")));
    }
    let settings = train_options(options, global, folded);
    let mut trainer = Trainer::new(&job, source.batches_per_epoch(), settings).map_err(|error| cannot(&error))?;
    if let [first, others @ ..] = trainer.unreached() {
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        console.note(&format!("the loss does not depend on {first:?}{more}: left as it is"));
    }
    let held_out = validation(&opened, options.data.batch)?;
    let choose = options.best || options.patience.is_some();
    if choose && (held_out.is_none() || metric.is_none()) {
        return Err(Failure::usage("--best and --patience need validation samples and something to measure"));
    }
    let evaluator = |network: &Graph, metric: Metric, names: &[String]| {
        let lengths = options.data.dims.iter().cloned().collect();
        Evaluator::new(network.clone(), output, metric, lengths, names).map_err(|error| cannot(&error))
    };
    let names = trainer.names();
    let watched = match (metric, &held_out) {
        (Some(metric), Some(feed)) => Some((evaluator(&network, metric, &names)?, feed)),
        _ => None,
    };
    let mut watcher = Watcher {
        console,
        progress: Progress::new(global),
        threads: &threads,
        validation: watched,
        best: choose.then(Best::default),
        patience: options.patience,
        file: file.clone(),
        run,
        save_every: Duration::from_secs_f64(options.save_every),
        saved: Instant::now(),
        said: Instant::now(),
        begun: Instant::now(),
        epoch_begun: Instant::now(),
        first_step: 0,
        log: options.log.clone(),
        epochs: options.epochs,
        last: None,
    };
    resume(options, &mut watcher, &mut trainer)?;
    interrupt::watch();

    let reported = reported(&opened, options.data.batch)?;
    let measure = |network: &Graph, part: &'static str, feed: Option<&Feed>| -> Result<Option<ScoreReport>> {
        let (Some(metric), Some(feed)) = (metric, feed) else { return Ok(None) };
        Ok(Some(score(&mut evaluator(network, metric, &[])?, part, feed, &threads)?.1))
    };
    let before = measure(&network, "test", reported.as_ref())?;
    (watcher.begun, watcher.epoch_begun) = (Instant::now(), Instant::now());
    let epochs_done = trainer.step_number() / (source.batches_per_epoch() as u64).max(1);
    let finished = watcher.patience_is_over(epochs_done) || trainer.fit(&source, &threads, &mut watcher)?;
    watcher.progress.clear();
    let epochs_done = trainer.step_number() / (source.batches_per_epoch() as u64).max(1);
    if !finished && !watcher.patience_is_over(epochs_done) {
        watcher.save(&trainer)?;
        let why = format!("interrupted after step {} of {}", trainer.step_number(), trainer.steps());
        return Err(Failure::because("training did not end", &why)
            .advise(&format!("the state is in {}; the same command with --resume goes on from it", file.display())));
    }
    let seconds = watcher.begun.elapsed().as_secs_f64();
    let steps = trainer.step_number() - watcher.first_step;
    let best_epoch = watcher.best.as_ref().and_then(Best::epoch).map(|epoch| epoch + 1);
    let values = match watcher.best.take().and_then(Best::into_values) {
        Some(values) => values,
        None => trainer.values().map_err(|error| cannot(&error))?,
    };
    for (name, tensor) in values {
        if let Some(id) = network.find_value(&name) {
            network.set_data(id, tensor);
        }
    }
    network = lower(&network);
    if let Some(batches) = options.reestimate_bn {
        let count = reestimate_batch_norm(&mut network, &source, &measurement(options, Some(batches.get())), &threads);
        if count.map_err(|error| cannot(&error))? == 0 {
            console.note("--reestimate-bn: the network has no batch normalization");
        }
    }
    let after = measure(&network, "test", reported.as_ref())?;
    let validation = measure(&network, "validation", held_out.as_ref())?;
    opened.record(&mut network);
    let written = files::write(&network, &options.output).map_err(|failure| {
        failure.advise(&format!("the state is in {}; with --resume the result is written at once", file.display()))
    })?;
    // What is left of it would only be in the way.
    let _ = std::fs::remove_file(&file);
    console.result(&TrainReport {
        command: "train",
        network: options.network.clone(),
        output: options.output.clone(),
        data: options.data.data.clone(),
        seed: global.seed,
        epochs: epochs_done,
        best_epoch,
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

/// How many weights stay sparse, if any.
fn sparse_note(sparse: &[Sparse]) -> Option<String> {
    let all = |part: fn(&Sparse) -> usize| sparse.iter().map(part).sum::<usize>() as u64;
    let zeros = percent(all(|weight| weight.zeros), all(|weight| weight.elements));
    let found = sparse.iter().filter(|weight| weight.found).count();
    let kept = format!("{} kept sparse: {zeros} of the elements stay 0", counted(sparse.len(), "weight"));
    match (sparse.len(), found) {
        (0, _) => None,
        (_, 0) => Some(kept),
        _ => Some(format!("{kept} ({found} taken as sparse for the zeros alone, which --keep recorded does not)")),
    }
}

/// Refuses to write over what is read, or over what is no state of training.
fn check_files(options: &Train, state: &Path) -> Result<()> {
    let data = Path::new(&options.data.data);
    let read = || options.teachers.iter().map(PathBuf::as_path).chain([data]);
    let mut written = vec![("--checkpoint", state)];
    written.extend(options.log.as_deref().map(|log| ("--log", log)));
    for (option, file) in &written {
        let taken =
            read().chain([options.network.as_path(), options.output.as_path()]).find(|other| files::same(file, other));
        if let Some(taken) = taken {
            let why = format!("{option} would write over {}, which is read or written otherwise", taken.display());
            return Err(Failure::usage(&why));
        }
    }
    if let Some(taken) = read().find(|other| files::same(&options.output, other)) {
        return Err(Failure::usage(&format!("--output would write over {}, which is read", taken.display())));
    }
    if let [(_, state), (_, log)] = written.as_slice()
        && files::same(state, log)
    {
        return Err(Failure::usage("--log and --checkpoint are one file"));
    }
    if let Some(folder) = options.log.as_deref().and_then(Path::parent).filter(|folder| *folder != Path::new(""))
        && !folder.is_dir()
    {
        return Err(Failure::usage(&format!("--log: there is no folder {}", folder.display())));
    }
    if state.exists() && !checkpoint::is_checkpoint(state) && !options.resume {
        return Err(Failure::because("cannot save the state of training to", "there is another file of this name")
            .about(state)
            .advise("say --checkpoint FILE, or move it away"));
    }
    Ok(())
}

/// Goes on from a saved state, if that was asked for and there is one.
fn resume(options: &Train, watcher: &mut Watcher<'_>, trainer: &mut Trainer) -> Result<()> {
    let file = watcher.file.clone();
    if !options.resume {
        if file.exists() {
            watcher.console.note(&format!(
                "training begins at the beginning; the state in {} is given up (--resume goes on from it)",
                file.display()
            ));
        }
        return Ok(());
    }
    if !file.exists() {
        watcher.console.note(&format!("there is no {}: training begins at the beginning", file.display()));
        return Ok(());
    }
    let state = checkpoint::read(&file, &watcher.run).map_err(|error| {
        let failure = Failure::new("cannot go on from", &error).about(&file);
        match error {
            CheckpointError::Read(_) | CheckpointError::Other | CheckpointError::Damaged => {
                failure.advise("begin without --resume")
            }
            CheckpointError::OtherRun => {
                failure.advise("give the same options, network and data, or begin without --resume")
            }
            _ => failure,
        }
    })?;
    trainer.restore(&state).map_err(|error| Failure::new("cannot go on from", &error).about(&file))?;
    if let Some(best) = &mut watcher.best {
        *best = Best::restore(&state, &trainer.names());
    }
    watcher.first_step = trainer.step_number();
    watcher.console.note(&format!("going on after step {} of {}", trainer.step_number(), trainer.steps()));
    Ok(())
}

fn validation(opened: &Opened, batch: usize) -> Result<Option<Feed>> {
    if opened.splits.validation.is_empty() {
        return Ok(None);
    }
    opened.evaluation(&opened.splits.validation, batch).map(Some)
}

/// The samples that are only reported: those of the test, if there are some.
fn reported(opened: &Opened, batch: usize) -> Result<Option<Feed>> {
    let test = opened.splits.test.as_ref().filter(|test| !test.is_empty());
    test.map(|test| opened.evaluation(test, batch)).transpose()
}

impl From<slimnet_engine::train::TrainError> for Failure {
    fn from(error: slimnet_engine::train::TrainError) -> Self {
        Self::new("cannot train", &error)
    }
}
