//! `slimnet diff A B`: how far apart two networks are, and in which layers they differ.

use std::collections::{BTreeMap, BTreeSet};

use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::{Graph, Op, Value, ValueId, graph};

use crate::arguments::{Diff, Global};
use crate::compare::Difference;
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::report::diff::{Change, DiffReport, LayerChanges, LayerName, LayersReport};
use crate::report::layer;
use crate::samples::{OutputDifference, Samples, compare_outputs};
use crate::{files, npy};

/// Compares the two networks.
pub fn run(options: &Diff, global: &Global, console: Console) -> Result<Outcome> {
    let (first, second) = (files::read(&options.first)?, files::read(&options.second)?);
    let mut samples = Samples {
        count: options.samples,
        seed: global.seed,
        dims: options.dims.iter().cloned().collect(),
        range: options.range,
        given: BTreeMap::new(),
    };
    let (mut outputs, mut samples_report) = (Vec::new(), None);
    if samples.count > 0 {
        same_interface(&first, &second)?;
        for (name, file) in &options.inputs {
            samples.give(&first, name, || npy::read(file))?;
        }
        if first.free_inputs().all(|input| samples.given.contains_key(&first.value(input).name)) {
            // With nothing random in them all samples would be the same.
            samples.count = 1;
        }
        samples_report = Some(samples.report(&first)?);
        samples.announce(console);
        outputs = compare_outputs(&first, &second, &samples, global.threads())?;
    } else if options.tolerance.is_some() || !options.dims.is_empty() || !options.inputs.is_empty() {
        return Err(Failure::usage("--samples 0 compares no outputs: leave out --tolerance, --dim and --input"));
    }
    let exceeds = |tolerance: f64| outputs.iter().any(|output: &OutputDifference| output.difference.exceeds(tolerance));
    let within_tolerance = options.tolerance.map(|tolerance| !exceeds(tolerance));
    let report = DiffReport {
        command: "diff",
        first: options.first.clone(),
        second: options.second.clone(),
        samples: samples_report,
        outputs,
        tolerance: options.tolerance,
        within_tolerance,
        layers: compare_layers(&first, &second)?,
    };
    console.result(&report)?;
    Ok(if within_tolerance == Some(false) { Outcome::TargetMissed } else { Outcome::Done })
}

/// Refuses networks that cannot be given the same inputs, or whose outputs have other names or types.
fn same_interface(first: &Graph, second: &Graph) -> Result<()> {
    let inputs = |graph: &Graph| graph.free_inputs().collect::<Vec<_>>();
    same_values("inputs", (first, &inputs(first)), (second, &inputs(second)))?;
    same_values("outputs", (first, first.outputs()), (second, second.outputs()))
}

fn same_values(what: &str, first: (&Graph, &[ValueId]), second: (&Graph, &[ValueId])) -> Result<()> {
    let describe = |(graph, ids): (&Graph, &[ValueId])| {
        ids.iter().map(|&id| layer::typed(graph.value(id))).collect::<Vec<_>>().join(", ")
    };
    let names = |(graph, ids): (&Graph, &[ValueId])| -> BTreeSet<String> {
        ids.iter().map(|&id| graph.value(id).name.clone()).collect()
    };
    let fit = |&id: &ValueId| {
        let (a, b) = (first.0.value(id), second.0.find_value(&first.0.value(id).name).map(|id| second.0.value(id)));
        let Some(b) = b else { return false };
        let types = a.element_type.is_none() || b.element_type.is_none() || a.element_type == b.element_type;
        let fits = |(a, b): (&graph::Dim, &graph::Dim)| a.known().is_none() || b.known().is_none() || a == b;
        let shapes = match (&a.shape, &b.shape) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(fits),
            _ => true,
        };
        types && shapes
    };
    if names(first) == names(second) && first.1.iter().all(fit) {
        return Ok(());
    }
    let why = format!("their {what} differ: the first has {}, the second {}", describe(first), describe(second));
    Err(Failure::because("cannot compare the networks", &why).advise("--samples 0 compares their layers only"))
}

/// The layers that differ, matched by name.
fn compare_layers(first: &Graph, second: &Graph) -> Result<LayersReport> {
    let (names, others) = (layer::names(first), layer::names(second));
    let by_name: BTreeMap<&str, _> = others.iter().map(|(id, name)| (name.as_str(), *id)).collect();
    let mut report = LayersReport::default();
    let mut matched = BTreeSet::new();
    for (id, name) in &names {
        let node = first.node(*id);
        let Some(&other) = by_name.get(name.as_str()) else {
            report.removed.push(LayerName { name: name.clone(), operator: node.op.op_type().to_owned() });
            continue;
        };
        matched.insert(other);
        let mut changes = Vec::new();
        let (a, b) = (&node.op, &second.node(other).op);
        if a.op_type() == b.op_type() {
            changes.extend(attribute_changes(a, b));
        } else {
            let (before, after) = (a.op_type().to_owned(), b.op_type().to_owned());
            changes.push(Change::Operator { before, after });
        }
        changes.extend(input_changes((first, *id), (second, other))?);
        if changes.is_empty() {
            report.same += 1;
        } else {
            report.changed.push(LayerChanges { name: name.clone(), operator: a.op_type().to_owned(), changes });
        }
    }
    let added = others.iter().filter(|(id, _)| !matched.contains(id));
    report.added = added
        .map(|(id, name)| LayerName { name: name.clone(), operator: second.node(*id).op.op_type().to_owned() })
        .collect();
    Ok(report)
}

fn attribute_changes(first: &Op, second: &Op) -> Vec<Change> {
    let texts = |op: &Op| -> BTreeMap<String, _> {
        op.attributes().into_protos().into_iter().map(|attribute| (attribute.name().to_owned(), attribute)).collect()
    };
    let (first, second) = (texts(first), texts(second));
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let changed = names.into_iter().filter(|&name| first.get(name) != second.get(name));
    let text = |attribute: Option<&_>| attribute.map_or_else(|| "default".to_owned(), layer::attribute_text);
    changed
        .map(|name| Change::Attribute {
            name: name.clone(),
            before: text(first.get(name)),
            after: text(second.get(name)),
        })
        .collect()
}

fn input_changes(first: (&Graph, graph::NodeId), second: (&Graph, graph::NodeId)) -> Result<Vec<Change>> {
    let (a, b) = (first.0.node(first.1), second.0.node(second.1));
    let mut changes = Vec::new();
    for slot in 0..a.inputs().len().max(b.inputs().len()) {
        let a = a.input(slot).map(|id| first.0.value(id));
        let b = b.input(slot).map(|id| second.0.value(id));
        let name = a.or(b).map_or_else(String::new, |value| value.name.clone());
        let data = |value: Option<&Value>| value.and_then(|value| value.data.clone());
        match (data(a), data(b)) {
            (Some(before), Some(after)) if before == after => {}
            (Some(before), Some(after)) => {
                let (old, new) = (layer::tensor_type(&before), layer::tensor_type(&after));
                if old != new {
                    changes.push(Change::Type { name, before: old, after: new });
                    continue;
                }
                let mut difference = Difference::default();
                let add = difference.add(&before, &after);
                add.map_err(|error| Failure::new(&format!("cannot compare the values of {name:?}"), &error))?;
                changes.push(Change::Values { name, difference });
            }
            (before_data, after_data) => {
                let is_constant_now = before_data.is_none() && after_data.is_some() && a.is_some();
                let text = |graph, value: Option<&Value>| value.map(|value| source(graph, value).name.clone());
                let (before, after) = (text(first.0, a), text(second.0, b));
                if before != after || is_constant_now {
                    changes.push(Change::Source { slot, before, after, is_constant_now });
                }
            }
        }
    }
    Ok(changes)
}

/// The value that comes through identities: removing one is no change of those that read it.
fn source<'a>(graph: &'a Graph, value: &'a Value) -> &'a Value {
    let mut value = value;
    while let Some(node) = value.producer().map(|producer| graph.node(producer)) {
        match (&node.op, node.input(0)) {
            (Op::Unary(Unary::Identity), Some(input)) => value = graph.value(input),
            _ => break,
        }
    }
    value
}
