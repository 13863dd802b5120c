//! What `compress` reports.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::Report;
use super::number::{bytes, count, counted, short};
use super::summary::{Summary, changes, not_paid};
use super::table::{Align, Table};

/// What the steps of a recipe made of a network.
#[derive(Debug, Serialize)]
pub struct CompressReport {
    /// `compress`.
    pub command: &'static str,
    /// The network's file.
    pub network: PathBuf,
    /// The recipe's file.
    pub recipe: PathBuf,
    /// The file that was written.
    pub output: PathBuf,
    /// The folder of what the steps made.
    pub work: PathBuf,
    /// Seed of everything random.
    pub seed: u64,
    /// The steps that are done.
    pub steps: Vec<StepReport>,
    /// Steps that were not run, since one before them missed its target.
    pub left_out: usize,
    /// Whether the last step missed its target.
    pub target_missed: bool,
    /// The network before.
    pub before: Summary,
    /// The network after.
    pub after: Summary,
}

/// A step that is done.
#[derive(Debug, Serialize)]
pub struct StepReport {
    /// The command.
    pub command: String,
    /// Its options of the recipe.
    pub arguments: Vec<String>,
    /// Whether it was done before, by the same command.
    pub reused: bool,
    /// How long it took when it was run.
    pub seconds: f64,
    /// Whether it missed its target.
    pub target_missed: bool,
    /// The network that it made; absent if it only looked at one.
    pub summary: Option<Summary>,
    /// What it reported, in a few words.
    #[serde(skip)]
    pub headline: String,
    /// What it reported.
    pub report: Value,
}

/// What would be done.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    /// `compress`.
    pub command: &'static str,
    /// The network's file.
    pub network: PathBuf,
    /// The recipe's file.
    pub recipe: PathBuf,
    /// The steps in order.
    pub steps: Vec<PlannedStep>,
}

/// A step that would be run.
#[derive(Debug, Serialize)]
pub struct PlannedStep {
    /// The command.
    pub command: String,
    /// Its options of the recipe.
    pub arguments: Vec<String>,
    /// The whole command line.
    pub line: String,
}

impl Report for PlanReport {
    fn text(&self, _width: Option<usize>) -> String {
        let steps = counted(self.steps.len(), "step");
        let mut text = format!("{}: {steps} on {} (nothing is run)\n", self.recipe.display(), self.network.display());
        for (number, step) in (1..).zip(&self.steps) {
            let _ = writeln!(text, "  {number}  {}", step.line);
        }
        text
    }
}

impl Report for CompressReport {
    fn text(&self, width: Option<usize>) -> String {
        let (network, output, recipe) = (self.network.display(), self.output.display(), self.recipe.display());
        let mut text = format!("{network} → {output} by {recipe}\n\nSteps\n{}", self.steps_text(width));
        if let Some(last) = self.steps.last().filter(|last| last.target_missed) {
            let left_out = match self.left_out {
                0 => String::new(),
                number => format!(", and {} after it not run", counted(number, "step")),
            };
            let _ = writeln!(text, "  {} missed its target: its network is the result{left_out}.", last.command);
        }
        text += &changes(&self.before, &self.after, width);
        text += &not_paid(&self.before, &self.after).unwrap_or_default();
        let _ = writeln!(text, "\nWhat the steps made is in {}, which may be deleted.", self.work.display());
        text
    }
}

impl CompressReport {
    fn steps_text(&self, width: Option<usize>) -> String {
        let mut table = Table::new([
            ("", Align::Right),
            ("step", Align::Left),
            ("file", Align::Right),
            ("parameters", Align::Right),
            ("not 0", Align::Right),
            ("MACs", Align::Right),
            ("time", Align::Right),
            ("", Align::Left),
            ("result", Align::Left),
        ]);
        for (number, step) in (1..).zip(&self.steps) {
            let made = |show: fn(&Summary) -> String| step.summary.as_ref().map_or_else(String::new, show);
            table.row([
                count(number),
                step.command.clone(),
                made(|made| made.file_bytes.map_or_else(String::new, bytes)),
                made(|made| count(made.parameters)),
                made(|made| count(made.nonzero_parameters)),
                made(|made| short(made.macs)),
                format!("{:.1} s", step.seconds),
                if step.reused { "before" } else { "" }.to_owned(),
                step.headline.clone(),
            ]);
        }
        table.lines(width)
    }
}
