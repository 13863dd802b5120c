//! What `prune` reports.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;
use slimnet_compress::prune::{Amount, LayerChange, Measured, Round, Verdict};

use super::Report;
use super::number::count;
use super::proof::{Accuracy, ProofReport};
use super::table::{Align, Table};
use super::train::ScoreReport;

/// A network that was pruned.
#[derive(Debug, Serialize)]
pub struct PruneReport {
    /// `prune`.
    pub command: &'static str,
    /// The network.
    pub network: PathBuf,
    /// The file that was written; absent if none was.
    pub output: Option<PathBuf>,
    /// `weights` or `neurons`.
    pub subject: &'static str,
    /// How zeros are arranged: `N:M`, `RxC`; absent if they are anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// How importance was judged.
    pub importance: &'static str,
    /// The data, if there was some.
    pub data: Option<String>,
    /// Seed of everything random.
    pub seed: u64,
    /// What the target counts: `sparsity`, `macs`, `params`, `bytes`.
    pub counted: &'static str,
    /// What was to be left of it, as a part of the original.
    pub aim: f64,
    /// What is left of it.
    pub left: f64,
    /// Whether the target was reached.
    pub reached: bool,
    /// The original on the validation samples.
    pub original: Option<Measured>,
    /// Every round.
    pub rounds: Vec<Round>,
    /// Each kernel and matrix, before and after.
    pub layers: Vec<LayerChange>,
    /// What is trained and has several axes, but is no weight that could become 0.
    pub left_alone: LeftAlone,
    /// What it is compared with.
    pub controls: Vec<ControlReport>,
    /// How good each network is.
    pub scores: Vec<NetworkScores>,
    /// Before and after.
    pub proof: ProofReport,
}

/// Tensors that pruning leaves as they are.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LeftAlone {
    /// Their names.
    pub tensors: Vec<String>,
    /// How many elements they have.
    pub elements: usize,
}

/// How good a network is on what is held out.
#[derive(Debug, Serialize)]
pub struct NetworkScores {
    /// `before`, `after`, or a control.
    pub network: &'static str,
    /// On validation and test samples.
    pub scores: Vec<ScoreReport>,
}

impl NetworkScores {
    /// The accuracy on a part, if there is such a thing.
    pub fn accuracy(&self, part: &str) -> Option<Accuracy> {
        let score = self.scores.iter().find(|score| score.part == part)?;
        Some(Accuracy::new(score.accuracy?, score.samples))
    }
}

/// A network that pruning is compared with.
#[derive(Debug, Serialize)]
pub struct ControlReport {
    /// `scratch` or `random`.
    pub control: &'static str,
    /// What is left of what the target counts, as a part of the original.
    pub left: f64,
    /// Epochs that it was trained for.
    pub epochs: u64,
    /// Mean loss of the last of them.
    pub training_loss: Option<f64>,
}

impl Report for PruneReport {
    fn headline(&self) -> String {
        let left = format!("{:.1} % of the {} left", 100.0 * self.left, self.counted_words());
        // Of the network that was kept, not of one that was given up.
        let kept = |round: &&Round| round.verdict.is_accepted();
        let score = self.rounds.iter().rev().find(kept).map_or(self.original, |round| round.after);
        match score {
            Some(_) => format!("{left}, {}", measured(score)),
            None => left,
        }
    }

    fn text(&self, width: Option<usize>) -> String {
        let to = match &self.output {
            Some(output) => format!(" → {}", output.display()),
            None => " (nothing is written)".to_owned(),
        };
        let pattern = self.pattern.as_ref().map_or_else(String::new, |pattern| format!(" {pattern}"));
        let mut text =
            format!("{}{to}: pruned {}{pattern} by {}\n", self.network.display(), self.subject, self.importance);
        if self.rounds.is_empty() {
            text += "  It is as small as was asked for already: nothing was removed.\n";
        } else {
            text += &self.rounds_text(width);
        }
        text += &self.proof.text(width);
        for network in &self.scores {
            for score in network.scores.iter().filter(|score| score.accuracy.is_none()) {
                let _ = writeln!(text, "  {}: {}", network.network, score.text());
            }
        }
        for control in &self.controls {
            let loss = control.training_loss.map_or_else(String::new, |loss| format!(", training loss {loss:.4}"));
            let ControlReport { control, left, epochs, .. } = control;
            let _ = writeln!(text, "  control {control}: {:.1} % left, {epochs} epochs{loss}", 100.0 * left);
        }
        text += &self.layers_text(width);
        // The last is of the smallest step.
        if let Some(reason) = self
            .rounds
            .iter()
            .rev()
            .filter(|round| round.verdict == Verdict::Unreachable)
            .find_map(|round| round.reason.as_ref())
        {
            let _ = writeln!(text, "  So much cannot go: {reason}.");
        }
        if self.rounds.iter().any(|round| round.verdict == Verdict::Diverged) {
            text += "  Training went astray: try a lower --rate, or --clip.\n";
        }
        if !self.reached {
            let _ = writeln!(
                text,
                "  The target was not reached: {:.1} % of the {} were to be left; {:.1} % is the nearest that is alright.",
                100.0 * self.aim,
                self.counted_words(),
                100.0 * self.left
            );
        }
        text
    }
}

/// What a target counts, in JSON.
pub fn counted(amount: Amount) -> &'static str {
    match amount {
        Amount::Sparsity => "sparsity",
        Amount::Macs => "macs",
        Amount::Params => "params",
        Amount::Bytes => "bytes",
    }
}

impl PruneReport {
    fn counted_words(&self) -> &'static str {
        match (self.counted, self.subject) {
            ("macs", _) => "MACs",
            ("params", _) => "parameters",
            ("bytes", _) => "bytes",
            (_, subject) => subject,
        }
    }

    /// The layers that changed; of very many the first.
    fn layers_text(&self, width: Option<usize>) -> String {
        const MOST: usize = 30;
        let changed = |layer: &&LayerChange| {
            layer.shape_after.as_ref() != Some(&layer.shape) || layer.nonzero != layer.nonzero_after
        };
        let layers: Vec<_> = self.layers.iter().filter(changed).collect();
        let mut text = String::new();
        if !layers.is_empty() {
            let mut table = Table::new([
                ("weight", Align::Left),
                ("shape", Align::Left),
                ("not zero", Align::Right),
                ("left", Align::Right),
                ("zeros", Align::Left),
            ]);
            for layer in layers.iter().take(MOST) {
                let after = layer.shape_after.as_ref().map_or_else(|| "gone".to_owned(), |shape| lengths(shape));
                let shape = if layer.shape_after.as_ref() == Some(&layer.shape) {
                    after
                } else {
                    format!("{} → {after}", lengths(&layer.shape))
                };
                let part = layer.nonzero_after as f64 / layer.nonzero.max(1) as f64;
                let zeros = match (&layer.pattern, &layer.pattern_lost) {
                    (_, Some(lost)) => format!("no longer {lost}"),
                    (Some(pattern), _) => pattern.clone(),
                    _ => String::new(),
                };
                let nonzero = count(layer.nonzero_after as u64);
                table.row([layer.weight.clone(), shape, nonzero, format!("{:.1} %", 100.0 * part), zeros]);
            }
            text += &table.lines(width);
            if layers.len() > MOST {
                let _ = writeln!(text, "  … and {} more (--json has all)", layers.len() - MOST);
            }
            text.push('\n');
        }
        if !self.left_alone.tensors.is_empty() {
            let LeftAlone { tensors, elements } = &self.left_alone;
            let named: Vec<_> = tensors.iter().take(3).map(|name| format!("{name:?}")).collect();
            let more = if tensors.len() > named.len() { ", …" } else { "" };
            let _ = writeln!(
                text,
                "  Left alone, as no kernel or matrix of float32 that a layer multiplies with: {} parameters ({}{more})",
                count(*elements as u64),
                named.join(", ")
            );
        }
        text
    }

    fn rounds_text(&self, width: Option<usize>) -> String {
        let mut table = Table::new([
            ("round", Align::Right),
            ("left", Align::Right),
            ("removed", Align::Right),
            ("before recovery", Align::Right),
            ("after", Align::Right),
            ("epochs", Align::Right),
            ("verdict", Align::Left),
        ]);
        if let Some(original) = self.original {
            let blank = String::new;
            table.row([
                "0".into(),
                "100.0 %".into(),
                blank(),
                blank(),
                measured(Some(original)),
                blank(),
                "original".into(),
            ]);
        }
        for round in &self.rounds {
            table.row([
                round.round.to_string(),
                format!("{:.1} %", 100.0 * round.left),
                count(round.removed),
                measured(round.before),
                measured(round.after),
                round.epochs.to_string(),
                words(round).to_owned(),
            ]);
        }
        table.lines(width)
    }
}

/// `8×16×3×3`.
fn lengths(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// A score in a few letters.
fn measured(score: Option<Measured>) -> String {
    match score {
        None => String::new(),
        Some(Measured { accuracy: Some(accuracy), .. }) => format!("{accuracy:.2} %"),
        Some(Measured { loss, .. }) => format!("loss {loss:.4}"),
    }
}

fn words(round: &Round) -> &'static str {
    match round.verdict {
        Verdict::Accurate if round.after.is_none() => "not small enough yet (accuracy is not asked)",
        Verdict::Alright if round.after.is_none() => "small enough (accuracy is not asked)",
        Verdict::Accurate => "accurate, not small enough yet",
        Verdict::Alright => "alright",
        Verdict::Inaccurate => "not accurate enough: back, half the step",
        Verdict::Diverged => "training went astray: back, half the step",
        Verdict::Unreachable => "so much cannot go: back, half the step",
    }
}

/// A round in one line.
pub fn round_text(round: &Round) -> String {
    let mut text = format!("round {}: {:.1} % left", round.round, 100.0 * round.left);
    if round.removed > 0 {
        let _ = write!(text, ", {} removed", count(round.removed));
    }
    if round.before.is_some() {
        let _ = write!(text, ", {}", measured(round.before));
    }
    if round.after.is_some() {
        let _ = write!(text, ", {} after recovery", measured(round.after));
    }
    let reason = round.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("{text}: {}{reason}", words(round))
}
