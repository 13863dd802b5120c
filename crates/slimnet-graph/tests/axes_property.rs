//! Removing groups equals setting every parameter slice that reads them to zero, in any topology.

mod axes_support;

use std::collections::{BTreeMap, BTreeSet};

use axes_support::{Random, difference, network, outputs, zeroed};
use slimnet_graph::axes::{CoupleOptions, Coupling, GroupId, RemoveError, couple, remove};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::validate::validate;

/// What came of one random removal.
#[derive(Debug, PartialEq)]
enum Outcome {
    Equal,
    /// Nothing could be removed, or nothing would have been left of a tensor.
    Nothing,
    Wrong(String),
}

/// Random units of some axes; never all of one.
fn choose(coupling: &Coupling, random: &mut Random) -> BTreeSet<GroupId> {
    let mut chosen = BTreeSet::new();
    for axis in coupling.axes() {
        if random.below(2) == 0 {
            continue;
        }
        let ranks: BTreeMap<GroupId, f64> = axis.groups.iter().map(|&group| (group, random.uniform())).collect();
        let units = coupling.units(axis, |group| ranks[&group]);
        let most = units.len().saturating_sub(1).min(3);
        let count = if most == 0 { 0 } else { 1 + random.below(most) };
        chosen.extend(units.into_iter().take(count).flatten());
    }
    chosen
}

fn run(seed: u64, without_rule: Option<&'static str>) -> Outcome {
    let mut graph = network(seed);
    infer_graph(&mut graph).unwrap();
    let coupling = couple(&graph, &CoupleOptions { approximate: false, without_rule }).unwrap();
    let chosen = choose(&coupling, &mut Random::new(seed ^ 0xA5A5));
    if chosen.is_empty() {
        return Outcome::Nothing;
    }
    let mut narrow = graph.clone();
    match remove(&mut narrow, &coupling, &chosen) {
        Ok(_) => {}
        Err(RemoveError::Empty(_)) => return Outcome::Nothing,
        Err(error) => return Outcome::Wrong(error.to_string()),
    }
    if let Err(error) = validate(&narrow) {
        return Outcome::Wrong(error.to_string());
    }
    let expected = outputs(&zeroed(&graph, &coupling, &chosen), seed).unwrap();
    match outputs(&narrow, seed) {
        Ok(found) => match difference(&expected, &found) {
            error if error <= 1e-5 => Outcome::Equal,
            error => Outcome::Wrong(format!("outputs differ by {error}")),
        },
        Err(error) => Outcome::Wrong(error),
    }
}

const SEEDS: u64 = 300;

#[test]
fn removal_equals_zeroed_readers() {
    let mut equal = 0;
    let mut wrong = Vec::new();
    for seed in 0..SEEDS {
        match run(seed, None) {
            Outcome::Equal => equal += 1,
            Outcome::Nothing => {}
            Outcome::Wrong(why) => wrong.push(format!("seed {seed}: {why}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(equal * 10 >= SEEDS * 8, "only {equal} of {SEEDS} networks lost anything");
}

/// Each rule of an operator that the generator draws, left out, makes the property fail.
#[test]
fn every_rule_is_needed() {
    let rules = [
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Concat",
        "Conv",
        "Conv/grouped",
        "ConvTranspose",
        "DequantizeLinear",
        "Einsum",
        "Expand",
        "Flatten",
        "GRU",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GroupNormalization",
        "InstanceNormalization",
        "LSTM",
        "LayerNormalization",
        "Mask",
        "MatMul",
        "Max",
        "MaxPool",
        "Mul",
        "Neg",
        "PRelu",
        "Pad",
        "RNN",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
        "Where",
    ];
    let caught = |rule| (0..SEEDS).any(|seed| matches!(run(seed, Some(rule)), Outcome::Wrong(_)));
    let missed: Vec<_> = rules.into_iter().filter(|&rule| !caught(rule)).collect();
    assert!(missed.is_empty(), "the property holds without the rules of {missed:?}");
}
