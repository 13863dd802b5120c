//! What `inspect` reports.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::Report;
use super::number::{bytes, count, counted, percent, short};
use super::summary::{Length, Port, Summary, ports_text};
use super::table::{Align, Table, wrap, wrap_words};

/// What a network is made of, what it costs, and what can be removed from it.
#[derive(Debug, Serialize)]
pub struct InspectReport {
    /// `inspect`.
    pub command: &'static str,
    /// The network's file.
    pub network: PathBuf,
    /// What the file says of itself.
    pub model: ModelReport,
    /// The network's inputs, those with data left out.
    pub inputs: Vec<Port>,
    /// The network's outputs.
    pub outputs: Vec<Port>,
    /// Every node, in order of execution.
    pub layers: Vec<LayerReport>,
    /// What its data is for.
    pub roles: RolesReport,
    /// What it has and costs in sum; dimensions that are only named count as 1.
    pub totals: Summary,
    /// Names that count as 1.
    pub counted_as_one: Vec<String>,
    /// Axes from which channels, heads or the like can be removed.
    pub axes: Vec<AxisReport>,
    /// Parameters of which a slice can be removed with some group of channels.
    pub reachable_parameters: u64,
    /// Why the other axes stay as they are.
    pub fixed: Vec<FixedReport>,
    /// Nodes that are kept whole.
    pub not_understood: Vec<NotUnderstood>,
}

/// What a file says of itself.
#[derive(Debug, Serialize)]
pub struct ModelReport {
    /// Name of the graph.
    pub name: String,
    /// Version of the file format.
    pub ir_version: i64,
    /// Version of the default operator set.
    pub opset: Option<i64>,
    /// All operator sets by domain, the default one under "".
    pub opsets: BTreeMap<String, i64>,
    /// The tool that wrote it, with its version.
    pub producer: String,
}

/// A node.
#[derive(Debug, Serialize)]
pub struct LayerReport {
    /// Its name, or that of its first output if it has none of its own.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Whether the operator is understood; the node is kept whole if not.
    pub understood: bool,
    /// Shape of its first output.
    pub output: Option<Vec<Length>>,
    /// Number of parameters, each counted at its first reader only.
    pub parameters: u64,
    /// Those that are not 0.
    pub nonzero_parameters: u64,
    /// Bytes of its parameters and statistics.
    pub weight_bytes: u64,
    /// Multiply-accumulate operations; absent if they depend on a length that is not known.
    pub macs: Option<u64>,
    /// Axes (by their number in `axes`) that its parameters read.
    pub reads: Vec<usize>,
    /// Axes that its parameters write.
    pub writes: Vec<usize>,
}

/// Data by what it is for.
#[derive(Debug, Default, Serialize)]
pub struct RolesReport {
    /// What training may change.
    pub parameters: RoleReport,
    /// What training measures.
    pub statistics: RoleReport,
    /// What stays.
    pub constants: RoleReport,
}

/// Data of one role.
#[derive(Debug, Default, Serialize)]
pub struct RoleReport {
    /// Number of tensors.
    pub tensors: u64,
    /// Number of their elements.
    pub elements: u64,
    /// Their size.
    pub bytes: u64,
}

/// A coupled axis: positions that only go together with the same positions of other tensors.
#[derive(Debug, Serialize)]
pub struct AxisReport {
    /// Its number, from 1.
    pub number: usize,
    /// The first parameter or value that it runs through.
    pub name: String,
    /// Number of groups of positions, each of which goes as a whole.
    pub groups: usize,
    /// Those of them that can be removed.
    pub removable: usize,
    /// How many groups go at a time, to keep every tensor rectangular: 1, or one from each row (head, group of a
    /// convolution); several numbers where it depends on the group.
    pub together: Vec<usize>,
    /// Whether groups stand for whole rows: the channels of a head, of a group of a convolution.
    pub whole_rows: bool,
    /// Fewest parameters that go with a group.
    pub fewest_parameters: u64,
    /// Most parameters that go with a group.
    pub most_parameters: u64,
    /// Groups that run through the same layers.
    pub spans: Vec<Span>,
    /// The parameters, statistics and constants on it.
    pub tensors: Vec<TensorReport>,
}

/// A tensor on a coupled axis.
#[derive(Debug, Serialize)]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// Which of its axes, as a block, lie on the coupled axis.
    pub axes: Vec<usize>,
    /// Whether its slices write the positions, or read them (then zeros in them are as good as removal).
    pub access: &'static str,
}

/// Groups that run through the same layers.
#[derive(Debug, Serialize)]
pub struct Span {
    /// How many.
    pub groups: usize,
    /// The layers that have parameters on the axis.
    pub layers: Vec<String>,
}

/// Positions that stay, for one kind of reason.
#[derive(Debug, Default, Serialize)]
pub struct FixedReport {
    /// The reason, of the first of them.
    pub reason: String,
    /// All reasons of this kind.
    pub reasons: Vec<String>,
    /// Number of groups of positions.
    pub groups: usize,
    /// Elements of parameters on these positions (which another axis of theirs may reach all the same).
    pub parameters: u64,
    /// Layers with parameters on these positions.
    pub layers: Vec<String>,
}

/// A node that is kept whole.
#[derive(Debug, Serialize)]
pub struct NotUnderstood {
    /// Its name.
    pub name: String,
    /// Its operator, with the domain.
    pub operator: String,
    /// Why it is not understood.
    pub reason: String,
}

impl Report for InspectReport {
    fn text(&self, width: Option<usize>) -> String {
        let mut text = String::new();
        self.header(&mut text);
        self.layers(&mut text, width);
        self.totals(&mut text);
        self.axes(&mut text, width);
        self.not_understood(&mut text, width);
        text
    }
}

impl InspectReport {
    fn header(&self, text: &mut String) {
        let model = &self.model;
        let size = self.totals.file_bytes.map_or_else(String::new, |size| format!("{}, ", bytes(size)));
        let nodes = counted(self.layers.len(), "node");
        let opset = model.opset.map_or_else(String::new, |opset| format!(", opset {opset}"));
        let producer =
            if model.producer.is_empty() { String::new() } else { format!(", written by {}", model.producer) };
        let _ = writeln!(text, "{}: {size}{nodes}{opset}{producer}", self.network.display());
        *text += &ports_text(&self.inputs, &self.outputs);
    }

    fn layers(&self, text: &mut String, width: Option<usize>) {
        let mut table = Table::new([
            ("layer", Align::Left),
            ("operator", Align::Left),
            ("output", Align::Left),
            ("parameters", Align::Right),
            ("MACs", Align::Right),
            ("weights", Align::Right),
            ("axes", Align::Left),
        ]);
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        for layer in &self.layers {
            let counts = layer.macs.map_or(layer.understood, |macs| macs > 0);
            if layer.weight_bytes == 0 && !counts {
                *others.entry(&layer.operator).or_default() += 1;
                continue;
            }
            table.row([
                layer.short_name().to_owned(),
                layer.operator.clone(),
                layer.output.as_ref().map_or_else(|| "…".to_owned(), |shape| shape_text(shape)),
                count(layer.parameters),
                match layer.macs {
                    Some(0) => String::new(),
                    Some(macs) => count(macs),
                    None => "?".to_owned(),
                },
                bytes(layer.weight_bytes),
                layer.axes_text(),
            ]);
        }
        *text += "\nLayers with weights or MACs\n";
        if table.is_empty() {
            *text += "  none\n";
        } else {
            *text += &table.lines(width);
        }
        if !others.is_empty() {
            let mut others: Vec<_> = others.into_iter().collect();
            others.sort_by_key(|&(_, number)| std::cmp::Reverse(number));
            let names = others.iter().map(|(name, number)| format!("{} {name}", count(*number as u64)));
            let names: Vec<_> = names.collect();
            let _ = writeln!(text, "  and without:");
            let _ = writeln!(text, "{}", wrap(&names, 4, width.unwrap_or(100)));
        }
    }

    fn totals(&self, text: &mut String) {
        let totals = &self.totals;
        let note = match self.counted_as_one.as_slice() {
            [] => String::new(),
            names => format!(" ({} counted as 1)", names.join(", ")),
        };
        let _ = writeln!(text, "\nTotals{note}");
        let nonzero = if totals.nonzero_parameters == totals.parameters {
            "all".to_owned()
        } else {
            format!("{} ({})", count(totals.nonzero_parameters), percent(totals.nonzero_parameters, totals.parameters))
        };
        let role = |role: &RoleReport| match role.tensors {
            0 => "none".to_owned(),
            tensors => {
                let tensors = counted(tensors as usize, "tensor");
                format!("{} in {tensors}, {}", count(role.elements), bytes(role.bytes))
            }
        };
        let macs = match totals.nodes_of_unknown_macs {
            0 => short(totals.macs),
            unknown => {
                let unknown = counted(unknown as usize, "node");
                format!("{}, and those of {unknown} that are not known", short(totals.macs))
            }
        };
        for (what, figure) in [
            ("parameters", role(&self.roles.parameters)),
            ("  of these not 0", nonzero),
            ("statistics", role(&self.roles.statistics)),
            ("constants", role(&self.roles.constants)),
            ("MACs", macs),
            ("peak of live activations", totals.peak_activation_bytes.map_or_else(|| "not known".to_owned(), bytes)),
        ] {
            let _ = writeln!(text, "  {what:<24}  {figure}");
        }
        if totals.nodes_of_unknown_macs > 0 && self.layers.iter().any(|layer| layer.operator == "Shape") {
            *text += "  Some shapes are computed while running; `slimnet simplify` makes known what can be.\n";
        }
    }

    fn axes(&self, text: &mut String, width: Option<usize>) {
        let removable: Vec<_> = self.axes.iter().filter(|axis| axis.removable > 0).collect();
        let share = percent(self.reachable_parameters, self.totals.parameters);
        let _ = writeln!(
            text,
            "\nRemovable: {} with {share} of the parameters",
            if removable.len() == 1 { "1 axis".to_owned() } else { format!("{} axes", removable.len()) },
        );
        let mut table = Table::new([
            ("axis", Align::Left),
            ("groups", Align::Right),
            ("fixed", Align::Right),
            ("what goes together", Align::Left),
            ("parameters a group", Align::Right),
            ("layers", Align::Left),
            ("runs through", Align::Left),
        ]);
        for axis in &removable {
            let fixed = axis.groups - axis.removable.min(axis.groups);
            let (fewest, most) = (axis.fewest_parameters, axis.most_parameters);
            table.row([
                format!("#{}", axis.number),
                count(axis.groups as u64),
                if fixed == 0 { String::new() } else { count(fixed as u64) },
                axis.removal_text(),
                if fewest == most { count(most) } else { format!("{} to {}", count(fewest), count(most)) },
                axis.spans_text(),
                axis.ends_text(),
            ]);
        }
        if !table.is_empty() {
            *text += &table.lines(width);
        }
        if !self.fixed.is_empty() {
            *text += "\nNot removable (parameters on another axis that is, are counted here too)\n";
        }
        for fixed in &self.fixed {
            let groups = counted(fixed.groups, "group");
            let alike = match fixed.reasons.len() {
                0 | 1 => String::new(),
                more => format!(", and {} alike", more - 1),
            };
            let parameters = count(fixed.parameters);
            let line =
                format!("{groups} with {parameters} parameters: {}{alike}; at {}", fixed.reason, ends(&fixed.layers));
            let mut words = line.split(' ').map(str::to_owned);
            let first = words.next().unwrap_or_default();
            let words = std::iter::once(format!("  {first}")).chain(words);
            let wrapped = wrap_words(words, 4, width.unwrap_or(100));
            // The first line hangs out.
            let _ = writeln!(text, "{}", wrapped.replacen("    ", "", 1));
        }
    }

    fn not_understood(&self, text: &mut String, width: Option<usize>) {
        if self.not_understood.is_empty() {
            return;
        }
        let _ = writeln!(text, "\nNot understood, kept as they are: {}", counted(self.not_understood.len(), "node"));
        let mut kinds: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for node in &self.not_understood {
            kinds.entry((&node.operator, &node.reason)).or_default().push(node.name.clone());
        }
        let mut table = Table::new([
            ("nodes", Align::Right),
            ("operator", Align::Left),
            ("reason", Align::Left),
            ("where", Align::Left),
        ]);
        for ((operator, reason), nodes) in kinds {
            table.row([count(nodes.len() as u64), operator.to_owned(), reason.to_owned(), ends(&nodes)]);
        }
        *text += &table.lines(width);
    }
}

impl LayerReport {
    /// The name without what exporters append, the operator, which stands beside it.
    fn short_name(&self) -> &str {
        let name = self.name.strip_suffix(&self.operator).and_then(|name| name.strip_suffix('/'));
        name.filter(|name| !name.is_empty()).unwrap_or(&self.name)
    }

    /// The axes that it leads from and to: `#1 → #2`.
    fn axes_text(&self) -> String {
        let list = |axes: &[usize]| axes.iter().map(|axis| format!("#{axis}")).collect::<Vec<_>>().join(" ");
        match (self.reads.is_empty(), self.writes.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!("→ {}", list(&self.writes)),
            (false, true) => format!("{} →", list(&self.reads)),
            (false, false) if self.reads == self.writes => list(&self.writes),
            (false, false) => format!("{} → {}", list(&self.reads), list(&self.writes)),
        }
    }
}

impl AxisReport {
    /// What goes at a time.
    fn removal_text(&self) -> String {
        match (self.together.as_slice(), self.whole_rows) {
            ([1], true) => "whole rows, each alone".to_owned(),
            ([1], false) => "each alone".to_owned(),
            ([rows], _) => format!("1 from each of {rows} rows"),
            (together, _) => {
                let together: Vec<_> = together.iter().map(usize::to_string).collect();
                format!("{} at a time", together.join(" or "))
            }
        }
    }

    /// Through how many layers the groups run: `5`, or `16 through 21, 32 through 7` where that differs.
    fn spans_text(&self) -> String {
        let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
        for span in &self.spans {
            *lengths.entry(span.layers.len()).or_default() += span.groups;
        }
        match lengths.into_iter().rev().collect::<Vec<_>>().as_slice() {
            [(layers, _)] => count(*layers as u64),
            lengths if lengths.len() <= 4 => {
                let text = |(layers, groups): &(usize, usize)| format!("{} through {layers}", count(*groups as u64));
                lengths.iter().map(text).collect::<Vec<_>>().join(", ")
            }
            lengths => {
                let (most, least) = (lengths.first(), lengths.last());
                let layers = |length: Option<&(usize, usize)>| length.map_or(0, |(layers, _)| *layers);
                format!("{} to {}", layers(least), layers(most))
            }
        }
    }

    fn ends_text(&self) -> String {
        let longest = self.spans.iter().max_by_key(|span| span.layers.len());
        longest.map_or_else(|| self.name.clone(), |span| ends(&span.layers))
    }
}

/// The first and last of many names.
fn ends(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first, second] => format!("{first}, {second}"),
        [first, .., last] => format!("{first} … {last}"),
    }
}

fn shape_text(shape: &[Length]) -> String {
    let length = |length: &Length| match length {
        Length::Number(number) => number.to_string(),
        Length::Name(name) => name.clone(),
    };
    format!("[{}]", shape.iter().map(length).collect::<Vec<_>>().join(", "))
}
