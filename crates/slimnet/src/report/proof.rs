//! What a proof reports.

use std::fmt::Write;

use serde::Serialize;

use super::Report;
use super::bench::Spread;
use super::number::{bytes, change, change_to, count, counted, difference, milliseconds, percent, points, short};
use super::table::{Align, Table, wrap_words};
use crate::compare::Difference;

/// Columns of lines of words where no width is told.
const WIDTH: usize = 100;

/// Networks side by side; each is compared with the first.
#[derive(Debug, Clone, Serialize)]
pub struct ProofReport {
    /// Threads of each runtime.
    pub threads: usize,
    /// Instruction set that the own engine runs in.
    pub instruction_set: &'static str,
    /// Version of ONNX Runtime; `null` where its library is not found.
    pub ort_version: Option<String>,
    /// Seed of the random inputs.
    pub seed: u64,
    /// The networks.
    pub networks: Vec<NetworkProof>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
    /// Networks that the runtimes do not agree on.
    pub disagreements: Vec<String>,
    /// What did not pay.
    pub verdicts: Vec<String>,
}

/// What is known of a network.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkProof {
    /// What it is called.
    pub network: String,
    /// Size of its file.
    pub file_bytes: u64,
    /// Number of parameters.
    pub parameters: u64,
    /// Those that are not 0.
    pub nonzero_parameters: u64,
    /// Multiply-accumulate operations of one run at batch 1.
    pub macs: u64,
    /// Nodes that are missing there.
    pub nodes_of_unknown_macs: u64,
    /// How fast it is, batch by batch.
    pub batches: Vec<BatchProof>,
    /// How far outputs of the own engine are from those of ONNX Runtime, on random inputs.
    pub difference_of_runtimes: Option<Difference>,
    /// Accuracy on the validation samples.
    pub validation: Option<Accuracy>,
    /// Accuracy on the test samples.
    pub test: Option<Accuracy>,
}

impl NetworkProof {
    /// The share of parameters that are 0.
    pub fn zeros(&self) -> f64 {
        1.0 - self.nonzero_parameters as f64 / self.parameters.max(1) as f64
    }
}

/// How fast a network is at a batch, and what memory it takes.
#[derive(Debug, Clone, Serialize)]
pub struct BatchProof {
    /// Samples computed at once.
    pub batch: usize,
    /// Memory of the plan of the own engine: weights, inputs, outputs, and the most that lies between them at one time.
    pub memory_bytes: Option<usize>,
    /// In the own engine, zeros multiplied like any other number.
    pub own_dense: Option<Timing>,
    /// In the own engine with the kernels that it chooses, if some of them leave zeros out.
    pub own_sparse: Option<Timing>,
    /// In ONNX Runtime.
    pub ort: Option<Timing>,
}

/// How long runs take.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Timing {
    /// Runs that were measured.
    pub runs: usize,
    /// Time of one.
    pub milliseconds: Spread,
    /// The median time as a part of the first network's in the same runtime; runs were taken in turn. With sparse kernels the
    /// first network has its own, if it has some.
    pub part_of_first: Option<f64>,
}

/// How often a network is right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    /// Samples that are right, in percent.
    #[serde(rename = "accuracy")]
    pub percent: f64,
    /// Samples.
    pub samples: usize,
    /// Difference to the first network in percentage points; filled in by the proof.
    pub difference: Option<f64>,
}

impl Accuracy {
    /// An accuracy in percent on so many samples.
    pub fn new(percent: f64, samples: usize) -> Self {
        Self { percent, samples, difference: None }
    }
}

/// A value with how it differs from the first network's.
fn changed(value: &str, change: Option<String>) -> String {
    change.map_or_else(|| value.to_owned(), |change| format!("{value} ({change})"))
}

fn time(timing: Option<&Timing>, is_first: bool) -> String {
    let Some(timing) = timing else { return "–".to_owned() };
    let change = timing.part_of_first.filter(|_| !is_first).map(change_to);
    changed(&milliseconds(timing.milliseconds.median), change)
}

impl Report for ProofReport {
    fn text(&self, width: Option<usize>) -> String {
        let ort = match &self.ort_version {
            Some(version) => format!("ort (ONNX Runtime {version})"),
            None => "ort (ONNX Runtime, not found)".to_owned(),
        };
        let threads = counted(self.threads, "thread");
        let engines = format!("own (slimnet's engine, {}) and {ort}", self.instruction_set);
        let mut text = format!("medians of runs in turn, {threads}, in {engines}\n\n");
        text += &self.table().lines(width);
        let sections =
            [("not measured", &self.notes), ("not equal", &self.disagreements), ("did not pay", &self.verdicts)];
        for (what, lines) in sections {
            if !lines.is_empty() {
                let _ = writeln!(text, "\n  {what}:");
            }
            for line in lines {
                // Errors may have lines of advice.
                let words = line.split_whitespace().map(str::to_owned);
                let wrapped = wrap_words(words, 6, width.unwrap_or(WIDTH));
                let _ = writeln!(text, "    – {}", wrapped.trim_start());
            }
        }
        text
    }
}

impl ProofReport {
    fn table(&self) -> Table {
        let headings = self.networks.iter().map(|network| (network.network.as_str(), Align::Right));
        let mut table = Table::new(std::iter::once(("", Align::Left)).chain(headings));
        let mut row = |heading: String, cell: &dyn Fn(&NetworkProof, bool) -> String| {
            let cells = self.networks.iter().enumerate().map(|(index, network)| cell(network, index == 0));
            let cells: Vec<_> = cells.collect();
            if cells.iter().any(|cell| cell != "–") {
                table.row(std::iter::once(heading).chain(cells));
            }
        };
        let Some(first) = self.networks.first() else { return table };
        let mut counts = |heading: &str, shown: fn(u64) -> String, of: fn(&NetworkProof) -> u64| {
            row(heading.to_owned(), &|network, is_first| {
                let change = (!is_first).then(|| change(of(first), of(network)));
                changed(&shown(of(network)), change)
            });
        };
        counts("file", bytes, |network| network.file_bytes);
        counts("parameters", count, |network| network.parameters);
        counts("not zero", count, |network| network.nonzero_parameters);
        counts("MACs", short, |network| network.macs);
        row("zeros".to_owned(), &|network, _| {
            percent(network.parameters.saturating_sub(network.nonzero_parameters), network.parameters)
        });
        for (place, batch) in first.batches.iter().map(|batch| batch.batch).enumerate() {
            let of = |network: &NetworkProof| network.batches.get(place).cloned();
            let sparse = self.networks.iter().filter_map(of).any(|batch| batch.own_sparse.is_some());
            let heading = |what: &str| format!("batch {batch}: {what}");
            row(heading(if sparse { "own, zeros multiplied" } else { "own" }), &|network, is_first| {
                time(of(network).and_then(|batch| batch.own_dense).as_ref(), is_first)
            });
            row(heading("own, zeros left out"), &|network, is_first| {
                time(of(network).and_then(|batch| batch.own_sparse).as_ref(), is_first)
            });
            row(heading("ort"), &|network, is_first| match &self.ort_version {
                Some(_) => time(of(network).and_then(|batch| batch.ort).as_ref(), is_first),
                None => "not found".to_owned(),
            });
            let memory = |network: &NetworkProof| of(network).and_then(|batch| batch.memory_bytes);
            row(heading("peak memory of own"), &|network, is_first| {
                let Some(found) = memory(network) else { return "–".to_owned() };
                let before = memory(first).filter(|_| !is_first);
                changed(&bytes(found as u64), before.map(|before| change(before as u64, found as u64)))
            });
        }
        row("own differs from ort by".to_owned(), &|network, _| {
            let found = network.difference_of_runtimes;
            found.map_or_else(|| "–".to_owned(), |found| difference(found.largest_difference))
        });
        let mut accuracies = |part: &str, of: fn(&NetworkProof) -> Option<Accuracy>| {
            let samples = self.networks.iter().find_map(of).map_or(0, |accuracy| accuracy.samples);
            row(format!("accuracy, {part} ({})", counted(samples, "sample")), &|network, _| {
                let Some(found) = of(network) else { return "–".to_owned() };
                changed(&format!("{:.2} %", found.percent), found.difference.map(points))
            });
        };
        accuracies("validation", |network| network.validation);
        accuracies("test", |network| network.test);
        table
    }
}
