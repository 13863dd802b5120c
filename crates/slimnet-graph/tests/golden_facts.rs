//! What is known of the coupled axes of well-known networks.

use std::collections::BTreeMap;

use slimnet_graph::axes::{self, CoupleOptions, CoupledAxis, Coupling, GroupId, couple};
use slimnet_graph::zoo::{self, ZooOptions};
use slimnet_graph::{Graph, infer};

struct Facts {
    graph: Graph,
    coupling: Coupling,
}

impl Facts {
    fn of(name: &str) -> Self {
        let mut graph = zoo::build(name, &ZooOptions::default()).unwrap();
        infer::infer_graph(&mut graph).unwrap();
        let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
        Self { graph, coupling }
    }

    /// The axes of which something can be removed.
    fn free_axes(&self) -> impl Iterator<Item = &CoupledAxis> {
        let free = |axis: &&CoupledAxis| axis.groups.iter().any(|&group| self.coupling.frozen(group).is_none());
        self.coupling.axes().iter().filter(free)
    }

    /// Names of the parameters and statistics that a group has slices of.
    fn tensors(&self, group: GroupId) -> impl Iterator<Item = &str> {
        self.coupling.slices(group).iter().map(|slice| self.graph.value(slice.value).name.as_str())
    }

    /// How many axes there are of each length, all their groups free.
    fn lengths(&self) -> BTreeMap<usize, usize> {
        let mut lengths = BTreeMap::new();
        for axis in self.free_axes() {
            assert!(axis.groups.iter().all(|&group| self.coupling.frozen(group).is_none()), "{}", axis.name);
            *lengths.entry(axis.groups.len()).or_default() += 1;
        }
        lengths
    }

    /// The share of parameters that removal can reach.
    fn reachable(&self) -> f64 {
        let (reachable, total) = self.coupling.reachable_parameters(&self.graph);
        reachable as f64 / total as f64
    }
}

/// Inner axes between the two convolutions of each block, and one residual stream: 16 of its groups run through all three
/// stages, 16 through the last two, 32 through the last alone.
fn check_resnet(name: &str, blocks: usize) {
    let facts = Facts::of(name);
    // The stream has as many groups as an inner axis of the last stage.
    let expected = BTreeMap::from([(16, blocks), (32, blocks), (64, blocks + 1)]);
    assert_eq!(facts.lengths(), expected, "{name}");
    let is_stream = |axis: &&CoupledAxis| facts.tensors(axis.groups[0]).any(|tensor| tensor.starts_with("linear"));
    let streams: Vec<_> = facts.free_axes().filter(is_stream).collect();
    assert_eq!((streams.len(), streams[0].groups.len()), (1, 64), "{name}");
    let mut stages: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    for &group in &streams[0].groups {
        let runs_through = |stage: &usize| {
            let prefix = format!("layer{stage}.");
            facts.tensors(group).any(|tensor| tensor.starts_with(&prefix))
        };
        *stages.entry((1..=3).filter(runs_through).collect()).or_default() += 1;
    }
    // A block of stage 2 or 3 reads what comes from the stage before.
    assert_eq!(stages, BTreeMap::from([(vec![1, 2, 3], 16), (vec![2, 3], 16), (vec![3], 32)]), "{name}");
    for axis in facts.free_axes().filter(|axis| !is_stream(axis)) {
        let block = axis.name.split(".conv").next().unwrap();
        let own = facts.tensors(axis.groups[0]).all(|tensor| tensor.starts_with(block));
        assert!(own && block.starts_with("layer"), "{name}: {}", axis.name);
    }
    assert!(facts.reachable() > 0.999, "{name}");
}

#[test]
fn resnet20_has_nine_inner_axes_and_one_stream() {
    check_resnet("resnet20", 3);
}

#[test]
fn resnet56_has_twenty_seven_inner_axes_and_one_stream() {
    check_resnet("resnet56", 9);
}

#[test]
fn separable_chains_run_from_pointwise_to_pointwise() {
    let facts = Facts::of("ds-cnn");
    assert_eq!(facts.lengths(), BTreeMap::from([(64, 5)]));
    for (place, axis) in facts.free_axes().enumerate() {
        // Written by a pointwise convolution (the first: the ordinary one), through the next block's depthwise one, to
        // that block's pointwise one (the last: to the linear layer).
        let before = if place == 0 { "conv.weight".into() } else { format!("blocks.{}.pointwise.weight", place - 1) };
        let behind = if place == 4 { "fc.weight".into() } else { format!("blocks.{place}.pointwise.weight") };
        let tensors: Vec<_> = facts.tensors(axis.groups[0]).collect();
        assert!(tensors.contains(&before.as_str()) && tensors.contains(&behind.as_str()), "{tensors:?}");
        let depthwise = format!("blocks.{place}.depthwise.weight");
        assert_eq!(tensors.contains(&depthwise.as_str()), place < 4, "{tensors:?}");
    }
    let facts = Facts::of("mobilenet-v1");
    let lengths = [(32, 1), (64, 1), (128, 2), (256, 2), (512, 6), (1024, 2)];
    assert_eq!(facts.lengths(), BTreeMap::from(lengths));
}

#[test]
fn plain_networks_have_an_axis_for_each_hidden_layer() {
    for (name, lengths) in [
        ("lenet-300-100", &[(100, 1), (300, 1)][..]),
        ("lenet-5", &[(20, 1), (50, 1), (500, 1)]),
        ("conv4", &[(64, 2), (128, 2), (256, 2)]),
        ("vgg16-cifar", &[(64, 2), (128, 2), (256, 3), (512, 6)]),
        // Three inner axes, and three streams: the shortcuts are convolutions.
        ("resnet8", &[(16, 2), (32, 2), (64, 2)]),
    ] {
        let facts = Facts::of(name);
        assert_eq!(facts.lengths(), lengths.iter().copied().collect(), "{name}");
        assert!(facts.reachable() > 0.99, "{name}: {}", facts.reachable());
    }
}

#[test]
fn attention_loses_whole_heads_or_equally_much_of_each() {
    let mut facts = Facts::of("transformer-encoder");
    for layer in 0..2 {
        let axis = |name: &str| {
            let name = format!("layers.{layer}.{name}");
            facts.free_axes().find(|axis| axis.name == name).unwrap_or_else(|| panic!("{name} is free"))
        };
        let units =
            |name: &str| -> Vec<usize> { facts.coupling.units(axis(name), |_| 0.0).iter().map(Vec::len).collect() };
        // Four heads of 16: one place of each of them goes at a time.
        assert_eq!(units("self_attn.q_proj.weight"), [4; 16]);
        assert_eq!(units("self_attn.v_proj.weight"), [4; 16]);
        assert_eq!(units("self_attn.scores"), [1; 4]);
        assert_eq!(units("linear1.weight"), [1; 128]);
    }
    assert_eq!(facts.lengths().values().sum::<usize>(), 2 * 4);
    let heads = facts.free_axes().find(|axis| axis.name == "layers.0.self_attn.scores").unwrap();
    let head = facts.coupling.closure(&[heads.groups[1]].into());
    axes::remove(&mut facts.graph, &facts.coupling, &head).unwrap();
    infer::infer_graph(&mut facts.graph).unwrap();
    let shape = |name: &str| facts.graph.value(facts.graph.find_value(name).unwrap()).known_shape().unwrap();
    for part in ["q", "k", "v"] {
        assert_eq!(shape(&format!("layers.0.self_attn.{part}_proj.weight")), [64, 48]);
    }
    assert_eq!(shape("layers.0.self_attn.out_proj.weight"), [48, 64]);
    assert_eq!(shape("layers.1.self_attn.out_proj.weight"), [64, 64]);
}

#[test]
fn ends_are_frozen_and_say_why() {
    let facts = Facts::of("lenet-5");
    let reasons = |name: &str, axis: usize| {
        let value = facts.graph.find_value(name).unwrap();
        let mut reasons: Vec<_> = Vec::new();
        for cover in facts.coupling.covers(value).iter().filter(|cover| cover.axes == [axis]) {
            reasons
                .extend(cover.groups.iter().filter_map(|&group| facts.coupling.frozen(group)).map(ToString::to_string));
        }
        reasons.dedup();
        reasons
    };
    assert!(reasons("conv1.weight", 0).is_empty());
    assert_eq!(reasons("fc2.weight", 0), ["reaches the graph's output \"logits\""]);
}
