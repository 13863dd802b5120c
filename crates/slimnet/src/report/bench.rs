//! What `bench` reports.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::Report;
use super::number::{bytes, count, counted, milliseconds, short};
use super::table::{Align, Table};

/// How many of the slowest nodes the text names; the JSON has all.
const SLOWEST: usize = 10;

/// How fast networks run or train.
#[derive(Debug, Serialize)]
pub struct BenchReport {
    /// `bench`.
    pub command: &'static str,
    /// What was measured: `run` or `train`.
    pub what: &'static str,
    /// What ran the networks: `own` (slimnet's engine), `ort` (ONNX Runtime), or several with commas between them.
    pub runtime: String,
    /// Version of ONNX Runtime, if it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ort_version: Option<String>,
    /// Instruction set that the own engine runs in.
    pub instruction_set: &'static str,
    /// Threads that they ran on.
    pub threads: usize,
    /// Seed of the inputs, and of the weights of new networks.
    pub seed: u64,
    /// The networks, each in each runtime: that which was asked for, then that which it is measured against.
    pub networks: Vec<BenchedNetwork>,
    /// One for each batch.
    pub measurements: Vec<MeasurementReport>,
}

/// A network that was measured.
#[derive(Debug, Serialize)]
pub struct BenchedNetwork {
    /// Its file, or the name of its architecture.
    pub network: String,
    /// What ran it: `own` or `ort`.
    pub runtime: &'static str,
    /// Lengths taken for dimensions that it only names, other than the batch.
    pub dims: BTreeMap<String, usize>,
}

/// What was measured at one batch.
#[derive(Debug, Serialize)]
pub struct MeasurementReport {
    /// Samples computed at once.
    pub batch: usize,
    /// Of each network.
    pub networks: Vec<Figures>,
    /// If there are two, time of the first as a part of the second's, over pairs of runs one after the other.
    pub ratio: Option<Spread>,
}

/// The middle of many measurements, and the range of four fifths of them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// Half of them are below.
    pub median: f64,
    /// A tenth of them is below.
    pub percentile_10: f64,
    /// A tenth of them is above.
    pub percentile_90: f64,
}

impl Spread {
    /// That of some numbers, interpolated between neighbours.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * values.len().saturating_sub(1) as f64;
            let value = |index: f64| values.get(index as usize).copied().unwrap_or(0.0);
            let (low, high) = (value(place.floor()), value(place.ceil()));
            low + (high - low) * place.fract()
        };
        Self { median: at(0.5), percentile_10: at(0.1), percentile_90: at(0.9) }
    }
}

/// How fast one network is at one batch.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Runs (or steps) that were measured.
    pub runs: usize,
    /// Time of one.
    pub milliseconds: Spread,
    /// Samples a second, at the median time.
    pub samples_per_second: f64,
    /// Multiply-accumulate operations of one run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
    /// Nodes that are missing there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes_of_unknown_macs: Option<u64>,
    /// MACs a second, at the median time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs_per_second: Option<f64>,
    /// Memory of the plan: weights, inputs, outputs, what lies between them; only of the own engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<usize>,
    /// The least that any placement could take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_lower_bound_bytes: Option<usize>,
    /// Memory of the optimiser, besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer_bytes: Option<usize>,
    /// Where the time goes, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators: Option<OperatorsReport>,
}

/// Where the time of a run goes.
#[derive(Debug, Serialize)]
pub struct OperatorsReport {
    /// Runs that were measured node by node.
    pub runs: usize,
    /// Sum of the median times of all nodes.
    pub milliseconds: f64,
    /// By operator, the slowest first.
    pub operators: Vec<OperatorTime>,
    /// Every node that runs, the slowest first.
    pub nodes: Vec<NodeTime>,
}

/// The time of all nodes of an operator.
#[derive(Debug, Default, Serialize)]
pub struct OperatorTime {
    /// The operator, or `copies` or `optimizer`.
    pub operator: String,
    /// How many nodes of it run.
    pub nodes: usize,
    /// Sum of their median times.
    pub milliseconds: f64,
    /// Part of the sum over all nodes.
    pub share: f64,
    /// Their MACs, where they have some.
    pub macs: Option<u64>,
}

/// The time of a node.
#[derive(Debug, Serialize)]
pub struct NodeTime {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Its median time.
    pub milliseconds: f64,
    /// Part of the sum over all nodes.
    pub share: f64,
    /// Its MACs, if it has some.
    pub macs: Option<u64>,
}

impl Report for BenchReport {
    fn text(&self, width: Option<usize>) -> String {
        let several = self.runtime.contains(',');
        let label =
            |BenchedNetwork { network, runtime, .. }: &BenchedNetwork| match (several, self.has_several_networks()) {
                (false, _) => network.clone(),
                (true, false) => (*runtime).to_owned(),
                (true, true) => format!("{network} in {runtime}"),
            };
        let labels: Vec<String> = self.networks.iter().map(label).collect();
        let networks = || self.networks.iter().step_by(self.runtime.split(',').count());
        let names: Vec<_> = networks().map(|network| network.network.as_str()).collect();
        let what = if self.what == "train" { "steps of training" } else { "runs" };
        let engine = |runtime| match &self.ort_version {
            Some(version) if runtime == "ort" => format!("ONNX Runtime {version}"),
            _ => format!("slimnet's own engine, {}", self.instruction_set),
        };
        let engines: Vec<_> = self.runtime.split(',').map(engine).collect();
        let (names, engines) = (names.join(" against "), engines.join(", and "));
        let mut text = format!("{names}: {what} in {engines}, {}\n", counted(self.threads, "thread"));
        for network in networks().filter(|network| !network.dims.is_empty()) {
            let dims = network.dims.iter().map(|(name, length)| format!("{name} = {length}")).collect::<Vec<_>>();
            let _ = writeln!(text, "  {} with {}", network.network, dims.join(", "));
        }
        text.push('\n');
        text += &self.times(width);
        for measurement in &self.measurements {
            if let (Some(ratio), [first, second]) = (&measurement.ratio, labels.as_slice()) {
                let _ = writeln!(
                    text,
                    "  At batch {}, {first} takes {:.3} of the time of {second} (80 % of pairs of runs: {:.3} to {:.3}).",
                    measurement.batch, ratio.median, ratio.percentile_10, ratio.percentile_90
                );
            }
        }
        let unknown = self.measurements.iter().flat_map(|measurement| &measurement.networks);
        if unknown.filter_map(|figures| figures.nodes_of_unknown_macs).any(|nodes| nodes > 0) {
            text += "  MACs of some nodes are not known and left out.\n";
        }
        for measurement in &self.measurements {
            for (name, figures) in labels.iter().zip(&measurement.networks) {
                if let Some(operators) = &figures.operators {
                    operators.text(&mut text, &format!("{name} at batch {}", measurement.batch), width);
                }
            }
        }
        text
    }

    fn headline(&self) -> String {
        let time = |measurement: &MeasurementReport| {
            let first = measurement.networks.first()?;
            Some(format!("{} at batch {}", milliseconds(first.milliseconds.median), measurement.batch))
        };
        self.measurements.iter().filter_map(time).collect::<Vec<_>>().join(", ")
    }
}

impl BenchReport {
    fn has_several_networks(&self) -> bool {
        self.networks.iter().any(|network| network.network != self.networks[0].network)
    }

    /// The table of times.
    fn times(&self, width: Option<usize>) -> String {
        let mut table = Table::new([
            ("batch", Align::Right),
            ("network", Align::Left),
            ("runtime", Align::Left),
            ("median", Align::Right),
            ("10 %", Align::Right),
            ("90 %", Align::Right),
            ("runs", Align::Right),
            ("samples/s", Align::Right),
            ("MACs", Align::Right),
            ("MMAC/s", Align::Right),
            ("memory", Align::Right),
            ("at least", Align::Right),
            ("optimizer", Align::Right),
        ]);
        for measurement in &self.measurements {
            for (network, figures) in self.networks.iter().zip(&measurement.networks) {
                let time = &figures.milliseconds;
                let size = |size: usize| bytes(size as u64);
                table.row([
                    count(measurement.batch as u64),
                    if self.has_several_networks() { network.network.clone() } else { String::new() },
                    if self.runtime.contains(',') { network.runtime.to_owned() } else { String::new() },
                    milliseconds(time.median),
                    milliseconds(time.percentile_10),
                    milliseconds(time.percentile_90),
                    count(figures.runs as u64),
                    count(figures.samples_per_second.round() as u64),
                    figures.macs.map_or_else(String::new, short),
                    figures.macs_per_second.map_or_else(String::new, |rate| count((rate / 1e6).round() as u64)),
                    figures.memory_bytes.map_or_else(String::new, size),
                    figures.memory_lower_bound_bytes.map_or_else(String::new, size),
                    figures.optimizer_bytes.map_or_else(String::new, size),
                ]);
            }
        }
        table.lines(width)
    }
}

/// MACs a second in millions, where there are some.
fn rate(macs: Option<u64>, milliseconds: f64) -> String {
    let rate = macs.filter(|_| milliseconds > 0.0).map(|macs| macs as f64 / milliseconds / 1e3);
    rate.map_or_else(String::new, |rate| count(rate.round() as u64))
}

impl OperatorsReport {
    fn text(&self, text: &mut String, what: &str, width: Option<usize>) {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let runs = counted(self.runs, "run");
        let time = milliseconds(self.milliseconds);
        let _ = writeln!(text, "\n{what}, node by node: {time} in all (sum of medians over {runs})");
        let mut table = Table::new([
            ("operator", Align::Left),
            ("nodes", Align::Right),
            ("time", Align::Right),
            ("share", Align::Right),
            ("MACs", Align::Right),
            ("MMAC/s", Align::Right),
        ]);
        for operator in &self.operators {
            table.row([
                operator.operator.clone(),
                if operator.nodes == 0 { String::new() } else { count(operator.nodes as u64) },
                milliseconds(operator.milliseconds),
                percent(operator.share),
                operator.macs.map_or_else(String::new, short),
                rate(operator.macs, operator.milliseconds),
            ]);
        }
        *text += &table.lines(width);
        let mut table = Table::new([
            ("slowest nodes", Align::Left),
            ("operator", Align::Left),
            ("time", Align::Right),
            ("share", Align::Right),
            ("MACs", Align::Right),
            ("MMAC/s", Align::Right),
        ]);
        for node in self.nodes.iter().take(SLOWEST) {
            table.row([
                node.name.clone(),
                node.operator.clone(),
                milliseconds(node.milliseconds),
                percent(node.share),
                node.macs.map_or_else(String::new, short),
                rate(node.macs, node.milliseconds),
            ]);
        }
        if !table.is_empty() {
            text.push('\n');
            *text += &table.lines(width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_interpolated() {
        let spread = Spread::of((0..=10).rev().map(f64::from).collect());
        assert_eq!((spread.median, spread.percentile_10, spread.percentile_90), (5.0, 1.0, 9.0));
        let pair = Spread::of(vec![3.0, 1.0]);
        assert!((pair.median - 2.0).abs() < 1e-12 && (pair.percentile_90 - 2.8).abs() < 1e-12);
        assert_eq!(Spread::of(vec![7.0]).percentile_10, 7.0);
        assert_eq!(Spread::of(Vec::new()).median, 0.0);
    }
}
