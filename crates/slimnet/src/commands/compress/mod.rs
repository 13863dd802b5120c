//! `slimnet compress NET --recipe R.toml -o OUT`: runs the steps of a recipe, each a command of this program.

mod work;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::arguments::{Compress, Global};
use crate::console::{Console, Kept};
use crate::failure::{Failure, Outcome, Result};
use crate::fingerprint::Fingerprint;
use crate::recipe::{self, Step, command_line, parse_line};
use crate::report::compress::{CompressReport, PlanReport, PlannedStep, StepReport};
use crate::report::summary::Summary;
use crate::{files, interrupt};
use work::{Finished, Folder, Progress, network_in};

/// Runs the steps and reports.
pub fn run(options: &Compress, global: &Global, console: Console) -> Result<Outcome> {
    let steps = recipe::read(&options.recipe)?;
    let output = options.output.as_deref().filter(|_| !options.dry_run);
    let Some(output) = output else {
        console.result(&plan(options, global, &steps))?;
        return Ok(Outcome::Done);
    };
    files::check_output(output)?;
    check_reads(options, output, &steps)?;
    let work = work_folder(output);
    let before = summary(&options.network)?;
    let mut network = options.network.clone();
    let mut rows: Vec<StepReport> = Vec::new();
    for (number, step) in (1..).zip(&steps) {
        let place = format!("step {number} ({})", step.command);
        let go_on = format!("what is done is kept in {}: the same compress goes on from there", work.display());
        if interrupt::requested() {
            return Err(Failure::because("compress did not end", &format!("interrupted before {place}")).advise(&go_on));
        }
        let folder = folder_of(&work, number, step);
        let done = (Runner { step, network: &network, place: &place, of: steps.len(), global, console }).run(&folder);
        let done = done.map_err(|failure| failure.within(&place).advise_also(&go_on))?;
        if let Some(made) = done.network {
            network = made;
        }
        let Finished { seconds, target_missed, headline, report, .. } = done.finished;
        let summary = step.makes_network.then(|| summary(&network)).transpose()?;
        let (command, arguments) = (step.command.clone(), step.options.clone());
        rows.push(StepReport {
            command,
            arguments,
            reused: done.reused,
            seconds,
            target_missed,
            summary,
            headline,
            report,
        });
        if target_missed {
            break;
        }
    }
    let written = files::write(&files::read(&network)?, output)?;
    let after = Summary { file_bytes: Some(written.bytes), ..summary(&network)? };
    let missed = rows.last().is_some_and(|row| row.target_missed);
    console.result(&CompressReport {
        command: "compress",
        network: options.network.clone(),
        recipe: options.recipe.clone(),
        output: output.to_owned(),
        work,
        seed: global.seed,
        left_out: steps.len() - rows.len(),
        steps: rows,
        target_missed: missed,
        before,
        after,
    })?;
    Ok(if missed { Outcome::TargetMissed } else { Outcome::Done })
}

/// The command lines of all steps.
fn plan(options: &Compress, global: &Global, steps: &[Step]) -> PlanReport {
    let work = work_folder(options.output.as_deref().unwrap_or(Path::new("OUT")));
    let mut network = options.network.clone();
    let mut planned = Vec::new();
    for (number, step) in (1..).zip(steps) {
        let made = step.makes_network.then(|| network_in(&folder_of(&work, number, step)));
        let line = command_line(&step.arguments(&network, made.as_deref(), global));
        planned.push(PlannedStep { command: step.command.clone(), arguments: step.options.clone(), line });
        network = made.unwrap_or(network);
    }
    PlanReport { command: "compress", network: options.network.clone(), recipe: options.recipe.clone(), steps: planned }
}

/// The folder of what steps make, beside the output.
fn work_folder(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".work");
    PathBuf::from(name)
}

fn folder_of(work: &Path, number: usize, step: &Step) -> PathBuf {
    work.join(format!("{number}-{}", step.command))
}

/// What the network in a file has and costs.
fn summary(file: &Path) -> Result<Summary> {
    let network = files::read(file)?;
    Summary::of(&network, Some(files::size(&network, file)?))
}

/// Refuses to write over the recipe, or over a file that a step reads: the second time it would give something else.
fn check_reads(options: &Compress, output: &Path, steps: &[Step]) -> Result<()> {
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    let Some(written) = whole(output) else { return Ok(()) };
    let reads = steps.iter().flat_map(Step::reads).map(Path::new).chain([options.recipe.as_path()]);
    match reads.into_iter().find(|read| whole(read).as_ref() == Some(&written)) {
        Some(read) => Err(Failure::usage(&format!("--output would write over {}, which is read", read.display()))),
        None => Ok(()),
    }
}

/// Runs a step on a network.
struct Runner<'a> {
    step: &'a Step,
    network: &'a Path,
    place: &'a str,
    of: usize,
    global: &'a Global,
    console: Console<'a>,
}

/// What became of a step.
struct Done {
    finished: Finished,
    /// Whether it was done already.
    reused: bool,
    /// The network that it made.
    network: Option<PathBuf>,
}

impl Runner<'_> {
    /// Does what is left to do of the step, whose work is in this folder.
    fn run(&self, folder: &Path) -> Result<Done> {
        let (folder, progress) = Folder::open(folder, self.fingerprint()?)?;
        let made = self.step.makes_network.then(|| folder.network());
        if let Progress::Finished(finished) = progress {
            self.console.note(&format!("{} of {}: done already", self.place, self.of));
            return Ok(Done { finished, reused: true, network: made });
        }
        let mut arguments = self.step.arguments(self.network, made.as_deref(), self.global);
        if self.step.resumes && matches!(progress, Progress::Begun) {
            arguments.push("--resume".into());
        }
        self.console.note(&format!("{} of {}: {}", self.place, self.of, command_line(&arguments)));
        let parsed = parse_line(&arguments).map_err(|why| Failure::usage(&why))?;
        let (kept, begun) = (RefCell::new(Kept::default()), Instant::now());
        let outcome = super::run(&parsed, self.console.keeping(&kept))?;
        let seconds = begun.elapsed().as_secs_f64();
        let Kept { headline, text, report } = kept.into_inner();
        // A note, not a result: stdout holds one report, as text as well as with --json.
        self.console.note(text.trim_end());
        if let Some(made) = made.as_ref().filter(|made| !made.exists()) {
            return Err(Failure::because("it wrote no network to", "there is no such file").about(made));
        }
        let finished = folder.finish(seconds, outcome == Outcome::TargetMissed, (headline, report))?;
        Ok(Done { finished, reused: false, network: made })
    }

    /// Of all that decides what the step gives: not of threads and of where files lie.
    fn fingerprint(&self) -> Result<String> {
        let mut fingerprint = Fingerprint::new();
        let (version, seed) = (env!("CARGO_PKG_VERSION"), self.global.seed.to_string());
        let words = [version, &seed, &self.step.command];
        words.into_iter().chain(self.step.options.iter().map(String::as_str)).for_each(|word| fingerprint.text(word));
        fingerprint.path(self.network)?;
        self.step.reads().try_for_each(|read| fingerprint.path(Path::new(read)))?;
        Ok(fingerprint.hexadecimal())
    }
}
