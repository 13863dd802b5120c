//! `slimnet prune NET --data D -o OUT`: removes what is unimportant, in rounds with recovery.

mod controls;
mod options;
mod samples;
mod watch;

use std::path::Path;

use slimnet_compress::constraint::{Pattern, settle};
use slimnet_compress::material::Material;
use slimnet_compress::prune::{self, Ended, Subject};
use slimnet_compress::store::Store;
use slimnet_graph::graph::Graph;

use super::eval;
use crate::arguments::{Global, Prune};
use crate::console::{Console, Progress};
use crate::failure::{Failure, Outcome, Result};
use crate::proof::{Entry, ProofOptions, prove};
use crate::report::prune::{NetworkScores, PruneReport, counted};
use crate::{files, interrupt};
use samples::Samples;
use watch::Watcher;

/// Prunes and reports.
pub fn run(options: &Prune, global: &Global, console: Console<'_>) -> Result<Outcome> {
    let output = options.output.as_deref().filter(|_| !options.dry_run);
    if let Some(output) = output {
        files::check_output(output)?;
        let read = options.data.iter().map(|data| Path::new(&data.data)).chain([options.recovery.teacher.as_path()]);
        if let Some(taken) = read.into_iter().find(|read| files::same(read, output)) {
            return Err(Failure::usage(&format!("--output would write over {}, which is read", taken.display())));
        }
    }
    let mut network = files::read(&options.network)?;
    let original_bytes = files::size(&network, &options.network)?;
    let cannot = |error: &dyn std::error::Error| Failure::new("cannot prune", error).about(&options.network);
    let excluded = options::excluded(&options.what, &network)?;
    let threads = eval::threads(global)?;
    let samples = Samples::open(options, global, &network)?;
    for (value, part) in settle(&mut network, options.what.keep) {
        let name = &network.value(value).name;
        console.note(&format!("{:.0} % of {name:?} is 0 already and stays so (--keep)", 100.0 * part));
    }
    if let Some(samples) = &samples {
        // Before anything is counted: it has its bytes.
        samples.opened.record(&mut network);
    }
    // A library that cannot be used is better known before the work than after it.
    crate::runtime::find(options.proof.ort.as_deref())?;
    let original = network;
    let mut request = options::request(options, global, &original, samples.as_ref(), console)?;
    if options.dry_run {
        options::as_dry_run(&mut request);
    }
    let nothing = std::collections::BTreeMap::new();
    let material = match &samples {
        Some(samples) => samples.material(&threads),
        None => {
            Material { training: None, validation: None, batch: 1, metric: None, lengths: &nothing, threads: &threads }
        }
    };
    let (store, identity) = store(options, global, &original, (samples.as_ref(), output), console)?;
    interrupt::watch();
    let mut watcher = Watcher::new(console, Progress::new(global));
    let ended = prune::prune(&original, &request, &excluded, &material, (&store, &identity), &mut watcher);
    watcher.progress.clear();
    if ended.is_err() && !options.resume && !prune::has_progress(&store) {
        // Nothing was done that could go on.
        let _ = prune::forget(&store);
    }
    let Ended::Whole(pruned) = ended.map_err(|error| cannot(&error))? else {
        let advice = match store.path("") {
            Some(folder) => format!("the work is in {}; the same command with --resume goes on", folder.display()),
            None => String::new(),
        };
        return Err(Failure::because("pruning did not end", "interrupted").advise(&advice));
    };
    let pruned = *pruned;
    let result = pruned.network.clone();
    // Controls may fail: the result is there by then, unless it takes the place of what they begin with.
    let (early, late) = match output {
        Some(output) if files::same(output, &options.network) => (None, Some(output)),
        output => (output, None),
    };
    let write = |output: Option<&Path>| output.map(|output| files::write(&result, output)).transpose();
    let early = write(early)?;
    let controls = if options.dry_run || pruned.accepted().next().is_none() {
        if !options.dry_run && !options.control.is_empty() {
            console.note("no control: nothing was removed that it could be compared with");
        }
        Vec::new()
    } else {
        controls::run(&options.control, &request, &original, &pruned, &excluded, &material, &mut watcher)?
    };
    let bytes = early.or(write(late)?).map(|written| written.bytes);
    let mut networks = vec![("before", &original, Some(original_bytes)), ("after", &result, bytes)];
    networks.extend(controls.iter().map(|control| (control.name, &control.network, None)));
    let mut scores = Vec::new();
    let mut entries = Vec::new();
    for (label, graph, file_bytes) in networks {
        let score = NetworkScores::measure(label, graph, samples.as_ref(), &material)?;
        let (validation, test) = (score.accuracy("validation"), score.accuracy("test"));
        entries.push(Entry { label: label.to_owned(), graph, file_bytes, validation, test });
        scores.push(score);
    }
    console.note("measuring …");
    let dims = material.lengths.clone();
    let ort = options.proof.ort.clone();
    let mut proof = prove(
        &entries,
        &ProofOptions { threads: global.threads(), seed: global.seed, dims, ort, ..ProofOptions::default() },
    )?;
    // What is left of it would only be in the way.
    let _ = prune::forget(&store);
    let reached = pruned.reached();
    if pruned.accepted().any(|round| round.after.is_none()) {
        proof.notes.push(format!("accuracy is not asked: {}", options::without_accuracy(samples.as_ref())));
    }
    let (subject, pattern) = match request.subject {
        Subject::Weights(Pattern::Single) => ("weights", None),
        Subject::Weights(pattern) => ("weights", Some(pattern.to_string())),
        Subject::Neurons { .. } => ("neurons", None),
    };
    console.result(&PruneReport {
        command: "prune",
        network: options.network.clone(),
        output: output.map(Into::into),
        subject,
        pattern,
        importance: request.criterion.name(),
        data: options.data.as_ref().map(|data| data.data.clone()),
        seed: global.seed,
        counted: counted(request.target.amount),
        aim: pruned.aim,
        left: pruned.left,
        reached,
        original: pruned.original.map(Into::into),
        rounds: pruned.rounds,
        left_alone: options::left_alone(&original, request.subject),
        layers: pruned.layers,
        controls: controls.iter().map(controls::Control::report).collect(),
        scores,
        proof,
    })?;
    Ok(if reached { Outcome::Done } else { Outcome::TargetMissed })
}

/// Where unfinished work is kept, and what tells it from other work.
fn store(
    options: &Prune,
    global: &Global,
    original: &Graph,
    (samples, output): (Option<&Samples>, Option<&Path>),
    console: Console<'_>,
) -> Result<(Store, String)> {
    let Some(output) = output else { return Ok((Store::default(), String::new())) };
    let folder = options.work.clone().unwrap_or_else(|| files::beside(output, ".work"));
    let identity = options::identity(options, global, original, samples)?;
    let cannot = |error: &dyn std::error::Error| Failure::new("cannot keep unfinished work", error);
    let there = folder.exists();
    if there && !options.resume {
        let earlier = Store::new(&folder).map_err(|error| cannot(&error))?;
        if prune::forget(&earlier).map_err(|error| cannot(&error))? {
            console.note(&format!("the work in {} is given up (--resume goes on from it)", folder.display()));
        }
    } else if !there && options.resume {
        console.note(&format!("there is no {}: pruning begins at the beginning", folder.display()));
    }
    let store = Store::new(&folder).map_err(|error| cannot(&error))?;
    Ok((store, identity))
}
