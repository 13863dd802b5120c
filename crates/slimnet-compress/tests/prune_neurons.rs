//! Which neurons go, and that what is left computes what it should.

#[path = "../../slimnet-graph/tests/axes_support/mod.rs"]
mod axes_support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Instant;

use axes_support::{Random, difference, network, outputs, zeroed};
use slimnet_compress::prune::{Amount, NeuronChoice, PruneError, PrunedNeurons, Scope, measure, prune_neurons};
use slimnet_graph::axes::{CoupleOptions, Coupling, GroupId, couple};
use slimnet_graph::graph::Value;
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::attribute::Attributes;
use slimnet_graph::validate::validate;
use slimnet_graph::zoo::{ZooOptions, build};
use slimnet_graph::{Dim, ElementType, Graph, Op, Tensor, ValueId};

const GLOBAL: NeuronChoice = NeuronChoice { scope: Scope::Global, round: 1 };
const LAYER: NeuronChoice = NeuronChoice { scope: Scope::Layer, round: 1 };

fn coupled(graph: &mut Graph) -> Coupling {
    infer_graph(graph).unwrap();
    couple(graph, &CoupleOptions::default()).unwrap()
}

/// Prunes until so much of an amount is left.
fn prune_to(
    graph: &mut Graph,
    coupling: &Coupling,
    scores: &[f64],
    choice: NeuronChoice,
    (amount, part): (Amount, f64),
) -> Result<PrunedNeurons, PruneError> {
    let target = measure(graph, amount)? * part;
    let reached = |graph: &Graph| Ok(measure(graph, amount)? <= target);
    prune_neurons(graph, coupling, scores, &|_| false, choice, &reached)
}

/// What is wrong with pruning a random network, if anything; whether it lost something.
fn run(seed: u64) -> Result<bool, String> {
    let mut graph = network(seed);
    let coupling = coupled(&mut graph);
    let mut random = Random::new(seed ^ 0x5A5A);
    let scores: Vec<f64> = coupling.groups().map(|_| random.uniform()).collect();
    let scope = [Scope::Global, Scope::Layer][random.below(2)];
    let round = [1, 2, 4][random.below(3)];
    let amount = [Amount::Params, Amount::Macs, Amount::Bytes][random.below(3)];
    let part = 0.2 + 0.7 * random.uniform();
    let mut narrow = graph.clone();
    let pruned = match prune_to(&mut narrow, &coupling, &scores, NeuronChoice { scope, round }, (amount, part)) {
        Ok(pruned) => pruned,
        Err(PruneError::NothingRemovable { .. }) => return Ok(false),
        Err(error) => return Err(error.to_string()),
    };
    if !pruned.skipped.is_empty() {
        return Err(format!("skipped {:?}", pruned.skipped));
    }
    validate(&narrow).map_err(|error| error.to_string())?;
    let found = measure(&narrow, amount).unwrap() <= measure(&graph, amount).unwrap() * part;
    if found != pruned.reached {
        return Err(format!("says that the target is reached: {}, but {found}", pruned.reached));
    }
    // Integers of 64 bits speak of lengths, and are mended.
    let weights = |graph: &Graph| -> usize {
        let data = graph.values().filter_map(|(_, value)| value.data.as_ref());
        data.filter(|data| data.element_type() != ElementType::I64).map(Tensor::len).sum()
    };
    if weights(&graph) - weights(&narrow) != pruned.elements {
        return Err(format!("says that {} elements went", pruned.elements));
    }
    let least = measure(&narrow, amount).unwrap();
    if pruned.reached && round == 1 {
        more_needs_more(&graph, &coupling, &scores, (scope, amount), least, &pruned.groups)?;
    }
    let expected = outputs(&zeroed(&graph, &coupling, &pruned.groups), seed)?;
    match difference(&expected, &outputs(&narrow, seed)?) {
        error if error <= 1e-5 => Ok(true),
        error => Err(format!("outputs differ by {error}")),
    }
}

/// The same target exactly takes the same, and one just below it takes all of that and more.
fn more_needs_more(
    graph: &Graph,
    coupling: &Coupling,
    scores: &[f64],
    (scope, amount): (Scope, Amount),
    least: f64,
    groups: &BTreeSet<GroupId>,
) -> Result<(), String> {
    let prune = |most: f64| {
        let reached = |graph: &Graph| Ok(measure(graph, amount)? <= most);
        let choice = NeuronChoice { scope, round: 1 };
        prune_neurons(&mut graph.clone(), coupling, scores, &|_| false, choice, &reached).unwrap()
    };
    let (equal, more) = (prune(least), prune(least - 1.0));
    if equal.groups == *groups && more.groups.is_superset(groups) && (more.groups != *groups || !more.reached) {
        return Ok(());
    }
    Err(format!("{groups:?} goes, then {:?} and {:?}", equal.groups, more.groups))
}

#[test]
fn what_is_left_equals_zeroed_readers_in_any_topology() {
    let results: Vec<_> = (0..400).map(|seed| (seed, run(seed))).collect();
    let wrong: Vec<_> = results.iter().filter(|(_, result)| result.is_err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let pruned = results.iter().filter(|(_, result)| *result == Ok(true)).count();
    assert!(pruned >= 300, "only {pruned} networks lost anything");
}

fn input(graph: &mut Graph, shape: &[usize]) -> ValueId {
    let mut value = Value::new("x");
    value.element_type = Some(ElementType::F32);
    value.shape = Some([Dim::named("N")].into_iter().chain(shape.iter().map(|&length| length.into())).collect());
    let id = graph.add_value(value).unwrap();
    graph.add_input(id).unwrap();
    id
}

fn apply(graph: &mut Graph, name: &str, attributes: &[(&str, i64)], inputs: &[ValueId]) -> ValueId {
    let mut all = Attributes::default();
    for (name, value) in attributes {
        all.put(name, value);
    }
    graph.apply(name, Op::read(name, all).unwrap().unwrap(), inputs)
}

fn layer(graph: &mut Graph, name: &str, operator: &str, shape: &[usize], x: ValueId) -> ValueId {
    let count: usize = shape.iter().product();
    let data = (0..count).map(|index| (index % 7) as f32 * 0.1 - 0.2).collect();
    let weight = graph.add_constant(name, Tensor::from_values(shape.to_vec(), data).unwrap());
    apply(graph, operator, &[], &[x, weight])
}

/// Dense layers of these widths.
fn dense(widths: &[usize]) -> Graph {
    let mut graph = Graph::new("dense");
    let mut x = input(&mut graph, &widths[..1]);
    for (index, pair) in widths.windows(2).enumerate() {
        x = layer(&mut graph, &format!("dense{index}"), "MatMul", pair, x);
        x = apply(&mut graph, "Relu", &[], &[x]);
    }
    graph.add_output(x);
    graph
}

fn shape(graph: &Graph, name: &str) -> Vec<usize> {
    graph.value(graph.find_value(name).unwrap()).data.as_ref().unwrap().shape().to_vec()
}

/// The groups of an axis of a parameter, in its order.
fn groups(graph: &Graph, coupling: &Coupling, name: &str, axis: usize) -> Vec<GroupId> {
    let covers = coupling.covers(graph.find_value(name).unwrap());
    covers.iter().find(|cover| cover.axes == [axis]).unwrap().groups.to_vec()
}

/// Scores of the outputs of parameters' axes 1; the rest is 0.
fn scored(graph: &Graph, coupling: &Coupling, given: &[(&str, &[f64])]) -> Vec<f64> {
    let mut scores = vec![0.0; coupling.group_count()];
    for (name, own) in given {
        for (group, &score) in groups(graph, coupling, name, 1).into_iter().zip(*own) {
            scores[group.index()] = score;
        }
    }
    scores
}

/// The positions of axis 1 of a parameter that went.
fn gone(graph: &Graph, coupling: &Coupling, name: &str, pruned: &PrunedNeurons) -> Vec<usize> {
    let groups = groups(graph, coupling, name, 1);
    (0..groups.len()).filter(|&place| pruned.groups.contains(&groups[place])).collect()
}

#[test]
fn the_least_important_go_and_no_more_than_needed() {
    let mut graph = dense(&[3, 6, 4, 2]);
    let coupling = coupled(&mut graph);
    let first = [0.9, 0.1, 0.8, 0.3, 0.7, 0.5];
    let second = [2.0, 0.2, 3.0, 0.6];
    let scores = scored(&graph, &coupling, &[("dense0", &first), ("dense1", &second)]);
    // Of 18 + 24 + 8 parameters the units of 0.1, 0.2 and 0.3 leave 4 · 3 + 4 · 3 + 3 · 2.
    for (most, expected) in [(30.0, [vec![1, 3], vec![1]]), (29.0, [vec![1, 3, 5], vec![1]])] {
        let mut narrow = graph.clone();
        let reached = |graph: &Graph| Ok(measure(graph, Amount::Params)? <= most);
        let pruned = prune_neurons(&mut narrow, &coupling, &scores, &|_| false, GLOBAL, &reached).unwrap();
        assert_eq!(["dense0", "dense1"].map(|name| gone(&graph, &coupling, name, &pruned)), expected);
        assert!(pruned.reached);
    }
    // In ranks: 1/6, 1/4, 2/6, 2/4 (before 3/6? both are one half: that of the first axis goes first).
    let mut narrow = graph.clone();
    let reached = |graph: &Graph| Ok(measure(graph, Amount::Params)? <= 21.0);
    let pruned = prune_neurons(&mut narrow, &coupling, &scores, &|_| false, LAYER, &reached).unwrap();
    let expected = [vec![1, 3, 5], vec![1, 3]];
    assert_eq!(["dense0", "dense1"].map(|name| gone(&graph, &coupling, name, &pruned)), expected);
    let lost: Vec<_> = pruned.axes.iter().map(|axis| (axis.name.as_str(), axis.before, axis.after)).collect();
    assert_eq!(lost, [("dense0", 6, 3), ("dense1", 4, 2)]);
    assert_eq!((pruned.elements, measure(&narrow, Amount::Params).unwrap()), (50 - 19, 19.0));
}

#[test]
fn a_target_that_is_reached_removes_nothing() {
    let mut graph = dense(&[3, 6, 2]);
    let coupling = coupled(&mut graph);
    let scores = vec![1.0; coupling.group_count()];
    let before = graph.clone();
    let pruned = prune_neurons(&mut graph, &coupling, &scores, &|_| true, GLOBAL, &|_| Ok(true)).unwrap();
    assert_eq!(pruned, PrunedNeurons { reached: true, ..PrunedNeurons::default() });
    assert_eq!(shape(&graph, "dense0"), shape(&before, "dense0"));
}

#[test]
fn a_target_out_of_reach_leaves_the_least_network_and_says_so() {
    let mut graph = dense(&[3, 6, 5, 2]);
    let coupling = coupled(&mut graph);
    let scores = vec![1.0; coupling.group_count()];
    let pruned = prune_neurons(&mut graph, &coupling, &scores, &|_| false, GLOBAL, &|_| Ok(false)).unwrap();
    assert!(!pruned.reached);
    assert_eq!(["dense0", "dense1", "dense2"].map(|name| shape(&graph, name)), [[3, 1], [1, 1], [1, 2]]);
}

#[test]
fn what_is_excluded_or_of_infinite_importance_stays() {
    let mut graph = dense(&[3, 6, 4, 2]);
    let coupling = coupled(&mut graph);
    let infinite = f64::INFINITY;
    let scores = scored(&graph, &coupling, &[("dense0", &[infinite, 1.0, infinite, 0.0, 0.0, infinite])]);
    let mut narrow = graph.clone();
    let excluded = |axis: &slimnet_graph::axes::CoupledAxis| axis.name == "dense1";
    let pruned = prune_neurons(&mut narrow, &coupling, &scores, &excluded, GLOBAL, &|_| Ok(false)).unwrap();
    assert_eq!(gone(&graph, &coupling, "dense0", &pruned), [1, 3, 4]);
    assert_eq!((pruned.reached, shape(&narrow, "dense1")), (false, vec![3, 4]));
    let all = prune_neurons(&mut narrow.clone(), &coupling, &scores, &|_| true, GLOBAL, &|_| Ok(false)).unwrap_err();
    assert!(matches!(all, PruneError::NothingRemovable { axes, excluded, .. } if axes == excluded), "{all}");
    let scores = vec![f64::INFINITY; scores.len()];
    let none = prune_neurons(&mut graph, &coupling, &scores, &|_| false, GLOBAL, &|_| Ok(false)).unwrap_err();
    assert!(matches!(none, PruneError::NothingRemovable { excluded: 0, .. }), "{none}");
}

#[test]
fn importance_must_fit_the_coupling() {
    let mut graph = dense(&[3, 6, 2]);
    let coupling = coupled(&mut graph);
    let mut scores = vec![1.0; coupling.group_count()];
    let mut attempt =
        |scores: &[f64]| prune_neurons(&mut graph, &coupling, scores, &|_| false, GLOBAL, &|_| Ok(false)).unwrap_err();
    assert!(matches!(attempt(&scores[1..]), PruneError::Scores { .. }));
    scores[2] = f64::NAN;
    assert!(matches!(attempt(&scores), PruneError::NotANumber { .. }));
}

#[test]
fn errors_of_the_target_are_handed_on_and_change_nothing() {
    let mut graph = dense(&[3, 6, 2]);
    let coupling = coupled(&mut graph);
    let scores = vec![1.0; coupling.group_count()];
    let failing = |graph: &Graph| match shape(graph, "dense0")[1] {
        6 | 1 => Ok(shape(graph, "dense0")[1] == 1),
        _ => Err(PruneError::NoWeights),
    };
    let error = prune_neurons(&mut graph, &coupling, &scores, &|_| false, GLOBAL, &failing).unwrap_err();
    assert!(matches!(error, PruneError::NoWeights));
    assert_eq!(shape(&graph, "dense0"), [3, 6]);
}

/// Every axis of a tensor that became shorter has a multiple of `round` left.
fn assert_rounded(before: &Graph, after: &Graph, round: usize) {
    for (id, value) in before.values() {
        let (Some(old), true) = (&value.data, after.has_value(id)) else { continue };
        let Some(new) = &after.value(id).data else { continue };
        for (&old, &new) in old.shape().iter().zip(new.shape()) {
            assert!(old == new || new % round == 0, "{} has {new} of {old} left", value.name);
        }
    }
}

#[test]
fn channels_left_are_multiples_and_the_target_is_still_met() {
    for name in ["vgg16-cifar", "resnet20", "mobilenet-v1", "lenet-5"] {
        let mut graph = build(name, &ZooOptions::default()).unwrap();
        let coupling = coupled(&mut graph);
        let mut random = Random::new(7);
        let scores: Vec<f64> = coupling.groups().map(|_| random.uniform()).collect();
        for (round, part) in [(8, 0.6), (4, 0.3), (16, 0.8)] {
            let mut narrow = graph.clone();
            let choice = NeuronChoice { scope: Scope::Global, round };
            let pruned = prune_to(&mut narrow, &coupling, &scores, choice, (Amount::Macs, part)).unwrap();
            assert!(pruned.reached, "{name} to {part} in multiples of {round}");
            assert_rounded(&graph, &narrow, round);
        }
    }
}

#[test]
fn rounding_takes_the_nearest_multiple_and_more_if_the_target_asks() {
    let mut graph = dense(&[3, 20, 12, 2]);
    let coupling = coupled(&mut graph);
    let rising: Vec<f64> = (0..20).map(f64::from).collect();
    let scores = scored(&graph, &coupling, &[("dense0", &rising), ("dense1", &[100.0; 12])]);
    let choice = NeuronChoice { scope: Scope::Global, round: 8 };
    // Parameters: 3 · a + a · b + b · 2, from 324 for 20 and 12. The first multiple leaves 16 and 12: 264.
    for (most, expected) in [(323.0, [16, 12]), (264.0, [16, 12]), (263.0, [8, 12]), (143.0, [8, 8]), (1.0, [8, 8])] {
        let mut narrow = graph.clone();
        let reached = |graph: &Graph| Ok(measure(graph, Amount::Params)? <= most);
        let pruned = prune_neurons(&mut narrow, &coupling, &scores, &|_| false, choice, &reached).unwrap();
        assert_eq!([shape(&narrow, "dense0")[1], shape(&narrow, "dense1")[1]], expected, "at most {most}");
        assert_eq!(pruned.reached, most > 100.0);
    }
    // An axis that has fewer than a multiple stays whole.
    let mut graph = dense(&[3, 7, 2]);
    let coupling = coupled(&mut graph);
    let scores = vec![1.0; coupling.group_count()];
    let error = prune_neurons(&mut graph, &coupling, &scores, &|_| false, choice, &|_| Ok(false)).unwrap_err();
    assert!(matches!(error, PruneError::NothingRemovable { .. }), "{error}");
}

#[test]
fn parts_of_a_concatenation_are_rounded_each() {
    let mut graph = Graph::new("concatenated");
    let x = input(&mut graph, &[3, 4, 4]);
    let a = layer(&mut graph, "a", "Conv", &[12, 3, 1, 1], x);
    let b = layer(&mut graph, "b", "Conv", &[10, 3, 1, 1], x);
    let joined = apply(&mut graph, "Concat", &[("axis", 1)], &[a, b]);
    let y = layer(&mut graph, "last", "Conv", &[2, 22, 1, 1], joined);
    graph.add_output(y);
    let coupling = coupled(&mut graph);
    let mut random = Random::new(3);
    let scores: Vec<f64> = coupling.groups().map(|_| random.uniform()).collect();
    let mut narrow = graph.clone();
    let choice = NeuronChoice { scope: Scope::Global, round: 4 };
    prune_to(&mut narrow, &coupling, &scores, choice, (Amount::Macs, 0.6)).unwrap();
    let left = ["a", "b"].map(|name| shape(&narrow, name)[0]);
    assert!(left.iter().all(|left| left % 4 == 0) && left[0] + left[1] <= 13, "{left:?}");
    // No part vanishes.
    let mut least = graph.clone();
    prune_neurons(&mut least, &coupling, &scores, &|_| false, GLOBAL, &|_| Ok(false)).unwrap();
    assert_eq!(["a", "b"].map(|name| shape(&least, name)[0]), [1, 1]);
}

#[test]
fn heads_and_their_positions_never_collide() {
    let mut graph = build("transformer-encoder", &ZooOptions::default()).unwrap();
    let coupling = coupled(&mut graph);
    let before = graph.clone();
    let rows = |group: GroupId| !coupling.members(group).is_empty();
    assert!(coupling.groups().any(rows), "no heads");
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let scores: Vec<f64> = coupling.groups().map(|_| random.uniform()).collect();
        for choice in [GLOBAL, LAYER, NeuronChoice { scope: Scope::Global, round: 4 }] {
            let mut narrow = graph.clone();
            let pruned = prune_to(&mut narrow, &coupling, &scores, choice, (Amount::Params, 0.6)).unwrap();
            assert!(pruned.reached && pruned.skipped.is_empty());
            validate(&narrow).unwrap();
        }
    }
    // Heads that matter less than anything else go as wholes, and then no position of the others.
    let scores: Vec<f64> = coupling.groups().map(|group| if rows(group) { 0.0 } else { 1.0 }).collect();
    let reached = |graph: &Graph| Ok(measure(graph, Amount::Params)? < measure(&before, Amount::Params)?);
    let pruned = prune_neurons(&mut graph, &coupling, &scores, &|_| false, GLOBAL, &reached).unwrap();
    let heads: BTreeSet<GroupId> = pruned.groups.iter().copied().filter(|&group| rows(group)).collect();
    assert_eq!(heads.len(), 1);
    assert_eq!(pruned.groups, coupling.closure(&heads));
    // All but one head of each layer, which keeps its positions.
    let mut least = before.clone();
    let pruned = prune_neurons(&mut least, &coupling, &scores, &|_| false, GLOBAL, &|_| Ok(false)).unwrap();
    for axis in coupling.axes().iter().filter(|axis| axis.groups.iter().all(|&group| rows(group))) {
        let left: Vec<GroupId> = axis.groups.iter().copied().filter(|group| !pruned.groups.contains(group)).collect();
        let positions = left.iter().flat_map(|&head| coupling.members(head));
        assert_eq!(left.len(), 1);
        assert!(positions.clone().count() > 1 && positions.clone().all(|position| !pruned.groups.contains(position)));
    }
}

/// Two grouped convolutions of the same eight channels, one of them shuffled: a group of the first and one channel of each
/// group would together leave the second's groups uneven.
#[test]
fn groups_and_channels_of_groups_never_collide() {
    let mut graph = Graph::new("shuffled");
    let x = input(&mut graph, &[3, 6, 6]);
    let y = layer(&mut graph, "first", "Conv", &[8, 3, 1, 1], x);
    let sizes = [[0i64, 2, 4, 6, 6].to_vec(), [0, 8, 6, 6].to_vec()];
    let [split, joined] = sizes.map(|sizes| graph.add_constant("sizes", Tensor::vector(sizes)));
    let shuffled = apply(&mut graph, "Reshape", &[], &[y, split]);
    let mut attributes = Attributes::default();
    attributes.put("perm", &vec![0i64, 2, 1, 3, 4]);
    let shuffled = graph.apply("shuffled", Op::read("Transpose", attributes).unwrap().unwrap(), &[shuffled]);
    let shuffled = apply(&mut graph, "Reshape", &[], &[shuffled, joined]);
    let branches = [("plain", y), ("mixed", shuffled)].map(|(name, from)| {
        let data = (0..32).map(|index| (index % 7) as f32 * 0.1 - 0.2).collect();
        let weight = graph.add_constant(name, Tensor::from_values(vec![8, 4, 1, 1], data).unwrap());
        let branch = apply(&mut graph, "Conv", &[("group", 2)], &[from, weight]);
        layer(&mut graph, "last", "Conv", &[2, 8, 1, 1], branch)
    });
    let sum = apply(&mut graph, "Add", &[], &branches);
    graph.add_output(sum);
    let coupling = coupled(&mut graph);
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let scores: Vec<f64> = coupling.groups().map(|_| random.uniform()).collect();
        for part in [0.8, 0.6, 0.4, 0.0] {
            let mut narrow = graph.clone();
            let pruned = prune_to(&mut narrow, &coupling, &scores, GLOBAL, (Amount::Params, part)).unwrap();
            assert_eq!(pruned.skipped, []);
            let expected = outputs(&zeroed(&graph, &coupling, &pruned.groups), seed).unwrap();
            assert!(difference(&expected, &outputs(&narrow, seed).unwrap()) <= 1e-5);
        }
    }
}

/// Slices that overlap cut the channels into parts of less than a multiple.
#[test]
fn overlapping_slices_keep_at_least_a_multiple() {
    let mut graph = Graph::new("sliced");
    let x = input(&mut graph, &[3, 4, 4]);
    let y = layer(&mut graph, "first", "Conv", &[8, 3, 1, 1], x);
    let axes = graph.add_constant("axes", Tensor::vector(vec![1i64]));
    let branches = [("left", 0i64, 5i64), ("right", 3, 8)].map(|(name, start, end)| {
        let ends = [start, end].map(|end| graph.add_constant("end", Tensor::vector(vec![end])));
        let part = apply(&mut graph, "Slice", &[], &[y, ends[0], ends[1], axes]);
        layer(&mut graph, name, "Conv", &[2, 5, 1, 1], part)
    });
    let sum = apply(&mut graph, "Add", &[], &branches);
    graph.add_output(sum);
    let coupling = coupled(&mut graph);
    let scores = vec![1.0; coupling.group_count()];
    for (round, left) in [(1, [1, 1, 1]), (4, [8, 5, 5])] {
        let mut narrow = graph.clone();
        let choice = NeuronChoice { scope: Scope::Global, round };
        let result = prune_neurons(&mut narrow, &coupling, &scores, &|_| false, choice, &|_| Ok(false));
        assert_eq!(result.is_ok(), round == 1);
        let found = [shape(&narrow, "first")[0], shape(&narrow, "left")[1], shape(&narrow, "right")[1]];
        assert_eq!(found, left, "in multiples of {round}");
    }
}

#[test]
fn an_axis_that_cannot_be_mended_is_left_out_and_named() {
    let mut graph = Graph::new("split");
    let x = input(&mut graph, &[3, 4, 4]);
    let y = layer(&mut graph, "first", "Conv", &[6, 3, 1, 1], x);
    let y = layer(&mut graph, "second", "Conv", &[8, 6, 1, 1], y);
    // A split whose first part is left out.
    let mut attributes = Attributes::default();
    attributes.put("axis", &1i64);
    let sizes = graph.add_constant("sizes", Tensor::vector(vec![4i64, 4]));
    let part = graph.add_intermediate("part");
    let split = Op::read("Split", attributes).unwrap().unwrap();
    graph.add_node("split", split, vec![Some(y), Some(sizes)], vec![None, Some(part)]).unwrap();
    let y = layer(&mut graph, "last", "Conv", &[2, 4, 1, 1], part);
    graph.add_output(y);
    let coupling = coupled(&mut graph);
    let scores = vec![1.0; coupling.group_count()];
    let pruned = prune_neurons(&mut graph, &coupling, &scores, &|_| false, LAYER, &|_| Ok(false)).unwrap();
    let skipped: Vec<_> = pruned.skipped.iter().map(|axis| axis.name.as_str()).collect();
    assert_eq!(skipped, ["second"]);
    assert!(pruned.skipped[0].reason.contains("one of its parts is left out"), "{}", pruned.skipped[0].reason);
    assert_eq!([shape(&graph, "first")[0], shape(&graph, "second")[0]], [1, 8]);
}

#[test]
fn a_deep_network_takes_a_handful_of_removals() {
    const LAYERS: usize = 1000;
    let mut graph = Graph::new("deep");
    let mut x = input(&mut graph, &[3, 4, 4]);
    for index in 0..LAYERS {
        let inputs = if index == 0 { 3 } else { 32 };
        let y = layer(&mut graph, &format!("conv{index}"), "Conv", &[32, inputs, 1, 1], x);
        // Half of the layers lie on one residual stream.
        x = if index % 2 == 0 && index > 0 { apply(&mut graph, "Add", &[], &[x, y]) } else { y };
        x = apply(&mut graph, "Relu", &[], &[x]);
    }
    let y = layer(&mut graph, "last", "Conv", &[2, 32, 1, 1], x);
    graph.add_output(y);
    let coupling = coupled(&mut graph);
    let mut random = Random::new(1);
    let scores: Vec<f64> = coupling.groups().map(|_| random.uniform()).collect();
    let target = measure(&graph, Amount::Macs).unwrap() / 2.0;
    let calls = Cell::new(0);
    let start = Instant::now();
    let reached = |graph: &Graph| {
        calls.set(calls.get() + 1);
        Ok(measure(graph, Amount::Macs)? <= target)
    };
    let pruned = prune_neurons(&mut graph, &coupling, &scores, &|_| false, GLOBAL, &reached).unwrap();
    let units: usize = coupling.axes().iter().map(|axis| axis.groups.len()).sum();
    println!("{units} groups, {} removals, {} ms", calls.get(), start.elapsed().as_millis());
    assert!(pruned.reached && calls.get() <= 3 + units.ilog2());
}
