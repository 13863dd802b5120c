//! What `diff` reports.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::Report;
use super::number::{count, counted, difference, percent};
use super::table::{Align, Table, wrap};
use crate::compare::Difference;
use crate::samples::{OutputDifference, SamplesReport};

/// How two networks differ.
#[derive(Debug, Serialize)]
pub struct DiffReport {
    /// `diff`.
    pub command: &'static str,
    /// File of the first network.
    pub first: PathBuf,
    /// File of the second network.
    pub second: PathBuf,
    /// The inputs; absent if outputs were not compared.
    pub samples: Option<SamplesReport>,
    /// How far apart the outputs are.
    pub outputs: Vec<OutputDifference>,
    /// The largest difference that was allowed.
    pub tolerance: Option<f64>,
    /// Whether every output is within it.
    pub within_tolerance: Option<bool>,
    /// How the layers differ.
    pub layers: LayersReport,
}

/// How the layers of two networks differ, matched by name.
#[derive(Debug, Default, Serialize)]
pub struct LayersReport {
    /// Number of layers that are the same in both.
    pub same: usize,
    /// Layers that are in both and differ.
    pub changed: Vec<LayerChanges>,
    /// Layers that only the second network has.
    pub added: Vec<LayerName>,
    /// Layers that only the first network has.
    pub removed: Vec<LayerName>,
}

/// A layer.
#[derive(Debug, Serialize)]
pub struct LayerName {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
}

/// What changed in a layer.
#[derive(Debug, Serialize)]
pub struct LayerChanges {
    /// Its name.
    pub name: String,
    /// Its operator in the first network.
    pub operator: String,
    /// All changes.
    pub changes: Vec<Change>,
}

/// One change in a layer.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// It is another operator.
    Operator {
        /// In the first network.
        before: String,
        /// In the second network.
        after: String,
    },
    /// An attribute has another value.
    Attribute {
        /// Its name.
        name: String,
        /// In the first network.
        before: String,
        /// In the second network.
        after: String,
    },
    /// A weight or constant has another element type or shape.
    Type {
        /// Its name in the first network.
        name: String,
        /// In the first network.
        before: String,
        /// In the second network.
        after: String,
    },
    /// A weight or constant has other values.
    Values {
        /// Its name in the first network.
        name: String,
        /// How they differ.
        #[serde(flatten)]
        difference: Difference,
    },
    /// It reads another value.
    Source {
        /// Which of its inputs.
        slot: usize,
        /// Name of the value in the first network.
        before: Option<String>,
        /// Name of the value in the second network.
        after: Option<String>,
        /// Whether the second network holds the value's data, which the first computes.
        is_constant_now: bool,
    },
}

impl Change {
    fn text(&self) -> String {
        match self {
            Self::Operator { before, after } => format!("{before} → {after}"),
            Self::Attribute { name, before, after } => format!("{name} {before} → {after}"),
            Self::Type { name, before, after } => format!("{name} {before} → {after}"),
            Self::Values { name, difference: values } => {
                let Difference { elements, unequal, not_comparable, .. } = *values;
                let share = percent(unequal, elements);
                let mut text = format!("{name}: {} of {} values ({share}) differ", count(unequal), count(elements));
                if unequal > not_comparable {
                    let _ = write!(text, " by at most {}", difference(values.largest_difference));
                }
                text
            }
            Self::Source { slot, after: Some(after), is_constant_now: true, .. } => {
                format!("input {slot}: now the constant {after}")
            }
            Self::Source { slot, before, after, .. } => {
                let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "nothing".to_owned());
                format!("input {slot}: {} → {}", name(before), name(after))
            }
        }
    }
}

impl Report for DiffReport {
    fn text(&self, width: Option<usize>) -> String {
        let mut text = format!("{} → {}\n", self.first.display(), self.second.display());
        if let Some(samples) = &self.samples {
            let _ = writeln!(text, "\nOutputs over {}", samples.text());
            text += &outputs_table(&self.outputs).lines(width);
        }
        if let (Some(tolerance), Some(within)) = (self.tolerance, self.within_tolerance) {
            let verdict = if within { "every output is within" } else { "an output differs by more than" };
            let _ = writeln!(text, "  {verdict} the tolerance of {tolerance}");
        }
        let layers = &self.layers;
        let _ = writeln!(
            text,
            "\nLayers: {} the same, {} changed, {} added, {} removed",
            count(layers.same as u64),
            count(layers.changed.len() as u64),
            count(layers.added.len() as u64),
            count(layers.removed.len() as u64),
        );
        let mut table = Table::new([("layer", Align::Left), ("operator", Align::Left), ("change", Align::Left)]);
        for layer in &layers.changed {
            for (place, change) in layer.changes.iter().enumerate() {
                let first = |text: &String| if place == 0 { text.clone() } else { String::new() };
                table.row([first(&layer.name), first(&layer.operator), change.text()]);
            }
        }
        if !table.is_empty() {
            text += &table.lines(width);
        }
        for (what, layers) in [("added", &layers.added), ("removed", &layers.removed)] {
            if !layers.is_empty() {
                let _ = writeln!(text, "  {what}:\n{}", wrap(&names_or_counts(layers), 4, width.unwrap_or(100)));
            }
        }
        text
    }
}

/// Few layers by name, many by how often each operator is there.
fn names_or_counts(layers: &[LayerName]) -> Vec<String> {
    if layers.len() <= 12 {
        return layers.iter().map(|layer| format!("{} {}", layer.operator, layer.name)).collect();
    }
    let mut operators: BTreeMap<&str, u64> = BTreeMap::new();
    for layer in layers {
        *operators.entry(&layer.operator).or_default() += 1;
    }
    operators.into_iter().map(|(operator, number)| format!("{} {operator}", count(number))).collect()
}

impl SamplesReport {
    /// The inputs in words: `16 random inputs (seed 0, normal, N = 1)`.
    pub fn text(&self) -> String {
        if self.count == 1 && !self.given.is_empty() {
            return counted(self.given.len(), "given input");
        }
        let mut facts = vec![self.distribution.clone(), format!("seed {}", self.seed)];
        facts.extend(self.dims.iter().map(|(name, length)| format!("{name} = {length}")));
        facts.extend((!self.given.is_empty()).then(|| format!("{} as given", self.given.join(", "))));
        format!("{} ({})", counted(self.count, "random input"), facts.join(", "))
    }
}

/// The table of differences of outputs.
pub fn outputs_table(outputs: &[OutputDifference]) -> Table {
    let mut table = Table::new([
        ("output", Align::Left),
        ("largest difference", Align::Right),
        ("relative to largest value", Align::Right),
        ("values that differ", Align::Right),
        ("NaN or infinite in one only", Align::Right),
    ]);
    for output in outputs {
        let Difference { elements, unequal, not_comparable, .. } = output.difference;
        table.row([
            output.name.clone(),
            difference(output.difference.largest_difference),
            output.relative_difference.map_or_else(|| "–".to_owned(), difference),
            percent(unequal, elements),
            if not_comparable == 0 { String::new() } else { count(not_comparable) },
        ]);
    }
    table
}
