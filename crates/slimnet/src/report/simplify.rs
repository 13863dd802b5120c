//! What `simplify` reports.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::Report;
use super::diff::outputs_table;
use super::number::count;
use super::summary::{Summary, changes, not_paid};
use super::table::{Align, Table};
use crate::samples::{OutputDifference, SamplesReport};

/// What became of a network.
#[derive(Debug, Serialize)]
pub struct SimplifyReport {
    /// `simplify`.
    pub command: &'static str,
    /// The network's file.
    pub network: PathBuf,
    /// The file that was written; absent if none was.
    pub output: Option<PathBuf>,
    /// What was done, and how often.
    pub passes: Vec<PassReport>,
    /// Parameters that were listed as inputs and are no more.
    pub listed_inputs: Vec<String>,
    /// Layers that lost channels.
    pub layers: Vec<LayerReport>,
    /// Why some channels without information stay.
    pub refusals: Vec<String>,
    /// The network before.
    pub before: Summary,
    /// The network after.
    pub after: Summary,
    /// Version of the default operator set that was written.
    pub opset: Option<i64>,
    /// The version that the file had, if it had to be raised.
    pub opset_raised_from: Option<i64>,
    /// How far apart the outputs are; absent if that was not asked for.
    pub check: Option<Check>,
}

/// A kind of change.
#[derive(Debug, Serialize)]
pub struct PassReport {
    /// What was changed.
    pub what: String,
    /// How often.
    pub count: usize,
}

/// A layer that lost output channels.
#[derive(Debug, Serialize)]
pub struct LayerReport {
    /// Its name.
    pub layer: String,
    /// Its operator.
    pub operator: String,
    /// Output channels before.
    pub channels_before: usize,
    /// Output channels after.
    pub channels_after: usize,
    /// Channels that went because nothing reads them.
    pub unread: usize,
    /// Channels that went because they are always 0.
    pub zero: usize,
    /// Channels that went because they are always the same number.
    pub constant: usize,
}

/// A comparison of outputs before and after.
#[derive(Debug, Serialize)]
pub struct Check {
    /// The inputs.
    pub samples: SamplesReport,
    /// How far apart the outputs are.
    pub outputs: Vec<OutputDifference>,
    /// Why they could not be compared.
    pub not_compared: Option<String>,
    /// Whether they differ by more than rounding explains.
    pub suspicious: bool,
}

impl Report for SimplifyReport {
    fn text(&self, width: Option<usize>) -> String {
        let mut text = match &self.output {
            Some(output) => format!("{} → {}\n", self.network.display(), output.display()),
            None => format!("{} (nothing is written)\n", self.network.display()),
        };
        self.passes_text(&mut text, width);
        text += &self.table_text(width);
        if let Some(from) = self.opset_raised_from {
            let to = self.opset.unwrap_or_default();
            let _ = writeln!(text, "  The operator set had to be raised from {from} to {to}.");
        }
        if let Some(check) = &self.check {
            check.text(&mut text, width);
        }
        text
    }

    fn headline(&self) -> String {
        let pass = |pass: &PassReport| format!("{} {}", count(pass.count as u64), pass.what);
        let passes: Vec<_> = self.passes.iter().map(pass).collect();
        if passes.is_empty() { "nothing to simplify".to_owned() } else { passes.join(", ") }
    }
}

impl SimplifyReport {
    fn passes_text(&self, text: &mut String, width: Option<usize>) {
        if self.passes.is_empty() {
            *text += "\nNothing to simplify: no constants to fold, no identities, no channels without information.\n";
            return;
        }
        *text += "\nChanges\n";
        let most = self.passes.iter().map(|pass| count(pass.count as u64).len()).max().unwrap_or(0);
        for pass in &self.passes {
            let _ = writeln!(text, "  {:>most$}  {}", count(pass.count as u64), pass.what);
        }
        let mut table = Table::new([
            ("layer", Align::Left),
            ("operator", Align::Left),
            ("channels", Align::Right),
            ("left", Align::Right),
            ("unread", Align::Right),
            ("always 0", Align::Right),
            ("constant", Align::Right),
        ]);
        let some = |number: usize| if number == 0 { String::new() } else { count(number as u64) };
        for layer in &self.layers {
            table.row([
                layer.layer.clone(),
                layer.operator.clone(),
                count(layer.channels_before as u64),
                count(layer.channels_after as u64),
                some(layer.unread),
                some(layer.zero),
                some(layer.constant),
            ]);
        }
        if !table.is_empty() {
            *text += "\nChannels that carried no information\n";
            *text += &table.lines(width);
        }
        for refusal in &self.refusals {
            let _ = writeln!(text, "  Kept although it carries no information: {refusal}");
        }
    }

    fn table_text(&self, width: Option<usize>) -> String {
        let (before, after) = (&self.before, &self.after);
        let text = changes(before, after, width);
        match not_paid(before, after) {
            Some(not_paid) => text + &not_paid,
            None if !self.passes.is_empty() && before.parameters == after.parameters && before.macs == after.macs => {
                text + "  Only the graph became simpler: parameters and MACs are as before.\n"
            }
            None => text,
        }
    }
}

impl Check {
    fn text(&self, text: &mut String, width: Option<usize>) {
        if let Some(reason) = &self.not_compared {
            let _ = writeln!(text, "\nOutputs before and after were not compared: {reason}");
            return;
        }
        let _ = writeln!(text, "\nOutputs before and after, over {}", self.samples.text());
        *text += &outputs_table(&self.outputs).lines(width);
        if self.suspicious {
            *text +=
                "  Warning: they differ by more than rounding explains. Compare with --dead 0, and please report it.\n";
        }
    }
}
