//! What `new` reports.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::Report;
use super::number::{bytes, count, short};
use super::summary::{Port, Summary, ports_text};
use super::table::{Align, Table};

/// A network that was made.
#[derive(Debug, Serialize)]
pub struct NewReport {
    /// `new`.
    pub command: &'static str,
    /// The architecture's name.
    pub architecture: String,
    /// Seed of the weights.
    pub seed: u64,
    /// The file that was written.
    pub output: PathBuf,
    /// The network's inputs.
    pub inputs: Vec<Port>,
    /// The network's outputs.
    pub outputs: Vec<Port>,
    /// What it costs.
    #[serde(flatten)]
    pub summary: Summary,
}

/// The architectures that there are.
#[derive(Debug, Serialize)]
pub struct ListReport {
    /// `new`.
    pub command: &'static str,
    /// All of them.
    pub architectures: Vec<ArchitectureReport>,
}

/// An architecture.
#[derive(Debug, Serialize)]
pub struct ArchitectureReport {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// The paper or code that it comes from.
    pub source: &'static str,
    /// Default channels, height and width of the input.
    pub input: [usize; 3],
    /// Default number of classes.
    pub classes: usize,
    /// Default initialisation.
    pub init: &'static str,
    /// The options that it takes.
    pub options: Vec<&'static str>,
}

impl Report for NewReport {
    fn text(&self, _width: Option<usize>) -> String {
        let mut text = format!("{}: {} with seed {}\n", self.output.display(), self.architecture, self.seed);
        text += &ports_text(&self.inputs, &self.outputs);
        let Summary { parameters, macs, .. } = self.summary;
        let size = self.summary.file_bytes.map_or_else(String::new, |size| format!(", {}", bytes(size)));
        let _ = writeln!(text, "  {} parameters, {} MACs{size}", count(parameters), short(macs));
        text
    }
}

impl Report for ListReport {
    fn text(&self, width: Option<usize>) -> String {
        let mut table = Table::new([
            ("architecture", Align::Left),
            ("input", Align::Left),
            ("classes", Align::Right),
            ("takes", Align::Left),
            ("what it is", Align::Left),
        ]);
        for architecture in &self.architectures {
            let own = |option: &&&str| !["classes", "channels", "init", "seed"].contains(*option);
            let options: Vec<_> = architecture.options.iter().filter(own).map(|option| format!("--{option}")).collect();
            table.row([
                architecture.name.to_owned(),
                architecture.input.map(|length| length.to_string()).join("×"),
                architecture.classes.to_string(),
                options.join(" "),
                architecture.description.to_owned(),
            ]);
        }
        format!("{}\nAll take --classes, --channels, --init and --seed.\n", table.lines(width))
    }
}
