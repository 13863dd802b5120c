//! What each rule says, on networks small enough to see through.

use std::collections::BTreeSet;

use slimnet_graph::axes::{CoupleOptions, CoupledAxis, Coupling, GroupId, Reason, RemoveError, couple, remove};
use slimnet_graph::graph::Value;
use slimnet_graph::onnx::proto::AttributeProto;
use slimnet_graph::ops::OnnxNode;
use slimnet_graph::ops::attribute::Attributes;
use slimnet_graph::{Dim, ElementType, Graph, Op, Tensor, ValueId};

fn input(graph: &mut Graph, shape: &[i64]) -> ValueId {
    let mut value = Value::new("x");
    value.element_type = Some(ElementType::F32);
    let dims = shape.iter().map(|&length| if length < 0 { Dim::named("N") } else { Dim::from(length) });
    value.shape = Some(dims.collect());
    let id = graph.add_value(value).unwrap();
    graph.add_input(id).unwrap();
    id
}

fn weight(graph: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
    let count: usize = shape.iter().product();
    let data = (0..count).map(|index| index as f32 * 0.01 + 0.1).collect();
    graph.add_constant(name, Tensor::from_values(shape.to_vec(), data).unwrap())
}

fn integers(graph: &mut Graph, values: &[i64]) -> ValueId {
    graph.add_constant("integers", Tensor::vector(values.to_vec()))
}

fn op(name: &str, attributes: &[(&str, i64)]) -> Op {
    let mut all = Attributes::default();
    for (name, value) in attributes {
        all.put(name, value);
    }
    Op::read(name, all).unwrap().unwrap()
}

fn apply(graph: &mut Graph, name: &str, attributes: &[(&str, i64)], inputs: &[ValueId]) -> ValueId {
    graph.apply(name, op(name, attributes), inputs)
}

/// `x [N, 3, 8, 8]`, a 1×1 convolution to `channels`, the rest by `body`, and a 1×1 convolution to 2.
fn between(channels: usize, body: impl Fn(&mut Graph, ValueId) -> ValueId, width: usize) -> Graph {
    let mut graph = Graph::new("between");
    let x = input(&mut graph, &[-1, 3, 8, 8]);
    let first = weight(&mut graph, "first", &[channels, 3, 1, 1]);
    let y = apply(&mut graph, "Conv", &[], &[x, first]);
    let y = body(&mut graph, y);
    let last = weight(&mut graph, "last", &[2, width, 1, 1]);
    let y = apply(&mut graph, "Conv", &[], &[y, last]);
    graph.add_output(y);
    graph
}

fn coupled(graph: &Graph) -> Coupling {
    couple(graph, &CoupleOptions::default()).unwrap()
}

/// The axis that a parameter's first cover over `axes` is on.
fn axis<'a>(graph: &Graph, coupling: &'a Coupling, name: &str, axes: &[usize]) -> &'a CoupledAxis {
    let covers = coupling.covers(graph.find_value(name).unwrap());
    let cover = covers.iter().find(|cover| cover.axes == axes).unwrap();
    &coupling.axes()[coupling.axis_of(cover.groups[0])]
}

fn reasons(coupling: &Coupling, axis: &CoupledAxis) -> Vec<Reason> {
    let all: BTreeSet<String> =
        axis.groups.iter().filter_map(|&group| coupling.frozen(group)).map(|reason| format!("{reason:?}")).collect();
    let first = axis.groups.iter().filter_map(|&group| coupling.frozen(group)).take(all.len().min(1));
    first.cloned().collect()
}

fn shape(graph: &Graph, name: &str) -> Vec<usize> {
    graph.value(graph.find_value(name).unwrap()).known_shape().unwrap()
}

/// Removes the groups at these positions of a parameter's axis.
fn cut(graph: &mut Graph, name: &str, axis: usize, positions: &[usize]) -> Result<(), RemoveError> {
    let coupling = coupled(graph);
    let covers = coupling.covers(graph.find_value(name).unwrap());
    let cover = covers.iter().find(|cover| cover.axes == [axis]).unwrap();
    let groups: BTreeSet<GroupId> = positions.iter().map(|&position| cover.groups[position]).collect();
    remove(graph, &coupling, &groups).map(|_| ())
}

#[test]
fn ends_and_unknown_operators_freeze() {
    let graph = between(
        4,
        |graph, y| {
            let attributes = vec![AttributeProto::default()];
            let other = OnnxNode {
                domain: "com.foo".into(),
                op_type: "Bar".into(),
                overload: String::new(),
                attributes,
                captures: vec![],
                reason: "its domain is not known".into(),
            };
            apply(graph, "Relu", &[], &[y]);
            let z = graph.apply("bar", Op::Other(Box::new(other)), &[y]);
            graph.value_mut(z).shape = graph.value(y).shape.clone();
            graph.add_output(z);
            apply(graph, "Relu", &[], &[y])
        },
        4,
    );
    let coupling = coupled(&graph);
    let inner = axis(&graph, &coupling, "first", &[0]);
    assert!(matches!(&reasons(&coupling, inner)[..], [Reason::Other { operator, .. }] if operator == "com.foo.Bar"));
    let ends = [("first", 1), ("last", 0)].map(|(name, place)| axis(&graph, &coupling, name, &[place]));
    assert!(matches!(&reasons(&coupling, ends[0])[..], [Reason::Input(name)] if name == "x"));
    assert!(matches!(&reasons(&coupling, ends[1])[..], [Reason::Output(_)]));
    assert!(ends.iter().all(|axis| coupling.units(axis, |_| 0.0).is_empty()));
}

#[test]
fn what_is_computed_over_an_axis_freezes_it_unless_approximate() {
    for (name, attributes) in
        [("Softmax", vec![("axis", 1)]), ("LRN", vec![("size", 3)]), ("LpNormalization", vec![("axis", 1)])]
    {
        let graph = between(4, |graph, y| apply(graph, name, &attributes, &[y]), 4);
        let exact = coupled(&graph);
        let inner = axis(&graph, &exact, "first", &[0]);
        assert!(matches!(&reasons(&exact, inner)[..], [Reason::Over(_)]), "{name}");
        let approximate = couple(&graph, &CoupleOptions { approximate: true, without_rule: None }).unwrap();
        let inner = axis(&graph, &approximate, "first", &[0]);
        assert_eq!(approximate.units(inner, |_| 0.0).len(), 4, "{name}");
    }
}

#[test]
fn constants_of_slices_pads_splits_and_gathers_are_mended() {
    constants_are_mended(integers);
}

#[test]
fn what_follows_from_constants_is_mended_like_them() {
    // As exporters compute the Pads of ResNet's option-A shortcuts.
    constants_are_mended(|graph, values| {
        let halves = values.split_at(values.len() / 2);
        let halves = [integers(graph, halves.0), integers(graph, halves.1)];
        apply(graph, "Concat", &[("axis", 0)], &halves)
    });
}

fn constants_are_mended(integers: impl Fn(&mut Graph, &[i64]) -> ValueId) {
    let mut graph = between(
        6,
        |graph, y| {
            let (starts, ends, axes) = (integers(graph, &[1]), integers(graph, &[-1]), integers(graph, &[1]));
            let y = apply(graph, "Slice", &[], &[y, starts, ends, axes]);
            let pads = integers(graph, &[0, 1, 0, 0, 0, 2, 0, 0]);
            let y = apply(graph, "Pad", &[], &[y, pads]);
            let indices = integers(graph, &[6, 2, 1, 3]);
            apply(graph, "Gather", &[("axis", 1)], &[y, indices])
        },
        4,
    );
    // Position 2 is the second of the slice, the third after padding, and the second that Gather chooses.
    cut(&mut graph, "first", 0, &[0, 2]).unwrap();
    assert_eq!(shape(&graph, "first"), [4, 3, 1, 1]);
    assert_eq!(shape(&graph, "last"), [2, 3, 1, 1]);
    let constant = |operator: &str, slot: usize| {
        let (node, _) = graph.nodes().find(|(_, node)| node.op.op_type() == operator).unwrap();
        let input = graph.node(node).input(slot).unwrap();
        slimnet_graph::infer::analyse(&graph).unwrap().data(&graph, input).unwrap().to_i64s().unwrap()
    };
    assert_eq!((constant("Slice", 1), constant("Slice", 2)), (vec![0], vec![3]));
    assert_eq!(constant("Pad", 1), [0, 1, 0, 0, 0, 2, 0, 0]);
    assert_eq!(constant("Gather", 1), [5, 1, 2]);
}

#[test]
fn a_shape_that_two_nodes_share_is_copied() {
    let mut graph = Graph::new("shared");
    let x = input(&mut graph, &[-1, 6]);
    let target = integers(&mut graph, &[-1, 2, 3]);
    let weights = ["a", "b"].map(|name| weight(&mut graph, name, &[6, 6]));
    let mut parts = Vec::new();
    for w in weights {
        let y = apply(&mut graph, "MatMul", &[], &[x, w]);
        parts.push(apply(&mut graph, "Reshape", &[], &[y, target]));
    }
    for (part, name) in parts.into_iter().zip(["c", "d"]) {
        let w = weight(&mut graph, name, &[3, 4]);
        let y = apply(&mut graph, "MatMul", &[], &[part, w]);
        graph.add_output(y);
    }
    let coupling = coupled(&graph);
    let axis = axis(&graph, &coupling, "a", &[1]).clone();
    let units = coupling.units(&axis, |_| 0.0);
    assert_eq!(units.len(), 3, "one position of each row goes with the same of the other");
    remove(&mut graph, &coupling, &units[0].iter().copied().collect()).unwrap();
    assert_eq!((shape(&graph, "a"), shape(&graph, "c")), (vec![6, 4], vec![2, 4]));
    assert_eq!((shape(&graph, "b"), shape(&graph, "d")), (vec![6, 6], vec![3, 4]));
}

#[test]
fn groups_of_a_convolution_stay_equal() {
    let grouped = |graph: &mut Graph, y: ValueId| {
        let w = weight(graph, "grouped", &[4, 3, 1, 1]);
        apply(graph, "Conv", &[("group", 2)], &[y, w])
    };
    let graph = between(6, grouped, 4);
    let refused = cut(&mut graph.clone(), "first", 0, &[1]);
    assert!(matches!(refused, Err(RemoveError::Uneven { length: 3, .. })), "{refused:?}");
    let mut different = graph.clone();
    cut(&mut different, "first", 0, &[1, 5]).unwrap();
    assert_eq!(shape(&different, "grouped"), [4, 2, 1, 1]);
    let mut whole = graph.clone();
    cut(&mut whole, "first", 0, &[0, 1, 2]).unwrap();
    assert_eq!((shape(&whole, "grouped"), shape(&whole, "last")), (vec![2, 3, 1, 1], vec![2, 2, 1, 1]));
    let group = whole.nodes().filter_map(|(_, node)| match &node.op {
        Op::Conv(conv) => Some(conv.group),
        _ => None,
    });
    assert_eq!(group.collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn refused_removals_change_nothing() {
    let graph = between(3, |graph, y| apply(graph, "Relu", &[], &[y]), 3);
    let mut same = graph.clone();
    assert!(matches!(cut(&mut same, "first", 0, &[0, 1, 2]), Err(RemoveError::Empty(_))));
    assert!(matches!(cut(&mut same, "last", 0, &[0]), Err(RemoveError::Frozen { .. })));
    for (id, value) in graph.values() {
        assert_eq!(value.data, same.value(id).data);
    }
}

#[test]
fn a_shape_used_as_a_number_freezes() {
    let graph = between(
        4,
        |graph, y| {
            let shape = apply(graph, "Shape", &[("start", 1), ("end", 2)], &[y]);
            let scale = graph.apply("scale", op("Cast", &[("to", 1)]), &[shape]);
            apply(graph, "Mul", &[], &[y, scale])
        },
        4,
    );
    let coupling = coupled(&graph);
    assert!(matches!(&reasons(&coupling, axis(&graph, &coupling, "first", &[0]))[..], [Reason::ComputedShape(_)]));
}

#[test]
fn claimed_lengths_take_no_memory() {
    let mut graph = Graph::new("hostile");
    let x = input(&mut graph, &[-1, 1 << 40, 2]);
    let w = weight(&mut graph, "w", &[2, 4]);
    let y = apply(&mut graph, "MatMul", &[], &[x, w]);
    let target = integers(&mut graph, &[0, -1]);
    let y = apply(&mut graph, "Reshape", &[], &[y, target]);
    let y = apply(&mut graph, "Relu", &[], &[y]);
    graph.add_output(y);
    let coupling = coupled(&graph);
    assert!(coupling.group_count() < 100);
    assert!(coupling.groups().all(|group| coupling.frozen(group).is_some()));
}

#[test]
fn a_generated_image_loses_whole_channels() {
    let mut graph = Graph::new("generator");
    let x = input(&mut graph, &[-1, 5]);
    let w = weight(&mut graph, "w", &[5, 16]);
    let y = apply(&mut graph, "MatMul", &[], &[x, w]);
    let target = integers(&mut graph, &[-1, 4, 2, 2]);
    let y = apply(&mut graph, "Reshape", &[], &[y, target]);
    let last = weight(&mut graph, "last", &[2, 4, 1, 1]);
    let y = apply(&mut graph, "Conv", &[], &[y, last]);
    graph.add_output(y);
    cut(&mut graph, "last", 1, &[1]).unwrap();
    assert_eq!((shape(&graph, "w"), shape(&graph, "last")), (vec![5, 12], vec![2, 3, 1, 1]));
}

/// `x [N, 5]` to two rows of `length`, then `body`, then each row on its own to two features, and all to two.
fn in_rows(length: usize, left: usize, body: impl Fn(&mut Graph, ValueId) -> ValueId) -> Graph {
    let mut graph = Graph::new("rows");
    let x = input(&mut graph, &[-1, 5]);
    let w = weight(&mut graph, "w", &[5, 2 * length]);
    let y = apply(&mut graph, "MatMul", &[], &[x, w]);
    let target = integers(&mut graph, &[-1, 2, length as i64]);
    let y = apply(&mut graph, "Reshape", &[], &[y, target]);
    let y = body(&mut graph, y);
    let axes = integers(&mut graph, &[2]);
    let y = apply(&mut graph, "Unsqueeze", &[], &[y, axes]);
    let last = weight(&mut graph, "last", &[2, left, 2]);
    let y = apply(&mut graph, "MatMul", &[], &[y, last]);
    let target = integers(&mut graph, &[0, -1]);
    let y = apply(&mut graph, "Reshape", &[], &[y, target]);
    let end = weight(&mut graph, "end", &[4, 2]);
    let y = apply(&mut graph, "MatMul", &[], &[y, end]);
    graph.add_output(y);
    graph
}

/// Every unit of the axis that `w` writes can be removed by itself, however its positions rank.
fn every_unit_goes(graph: &Graph) -> usize {
    let coupling = coupled(graph);
    let mut count = 0;
    for step in 1..7 {
        let rank = |group: GroupId| (group.index() * step % 7) as f64;
        let units = coupling.units(axis(graph, &coupling, "w", &[1]), rank);
        for unit in &units {
            remove(&mut graph.clone(), &coupling, &unit.iter().copied().collect()).unwrap();
        }
        count = units.len();
    }
    count
}

#[test]
fn rows_lose_equally_many_positions_before_a_slice() {
    let graph = in_rows(5, 2, |graph, y| {
        let (starts, ends, axes) = (integers(graph, &[2]), integers(graph, &[4]), integers(graph, &[2]));
        apply(graph, "Slice", &[], &[y, starts, ends, axes])
    });
    assert_eq!(every_unit_goes(&graph), 5);
}

#[test]
fn what_a_gather_chooses_within_rows_goes_from_every_row() {
    let graph = in_rows(4, 3, |graph, y| {
        let indices = integers(graph, &[3, 0, 2]);
        apply(graph, "Gather", &[("axis", 2)], &[y, indices])
    });
    assert_eq!(every_unit_goes(&graph), 4);
}

#[test]
fn a_recurrent_layer_says_its_new_size() {
    let mut graph = Graph::new("recurrent");
    let x = input(&mut graph, &[7, -1, 3]);
    let (w, r) = (weight(&mut graph, "w", &[1, 16, 3]), weight(&mut graph, "r", &[1, 16, 4]));
    let y = apply(&mut graph, "LSTM", &[("hidden_size", 4)], &[x, w, r]);
    let last = weight(&mut graph, "last", &[4, 2]);
    let y = apply(&mut graph, "MatMul", &[], &[y, last]);
    graph.add_output(y);
    cut(&mut graph, "last", 0, &[1]).unwrap();
    assert_eq!((shape(&graph, "w"), shape(&graph, "r")), (vec![1, 12, 3], vec![1, 12, 3]));
    let size = graph.nodes().find_map(|(_, node)| match &node.op {
        Op::Lstm(lstm) => lstm.hidden_size,
        _ => None,
    });
    assert_eq!(size, Some(3));
}

#[test]
fn padding_within_rows_goes_from_every_row() {
    let graph = in_rows(3, 6, |graph, y| {
        let pads = integers(graph, &[0, 0, 1, 0, 0, 2]);
        apply(graph, "Pad", &[], &[y, pads])
    });
    // What is born at the Pad lies on the same axis.
    assert_eq!(every_unit_goes(&graph), 6);
}

#[test]
fn rows_that_are_joined_vanish_together() {
    let mut graph = Graph::new("joined");
    let x = input(&mut graph, &[-1, 5]);
    let target = integers(&mut graph, &[-1, 2, 3]);
    let parts = ["a", "b"].map(|name| {
        let w = weight(&mut graph, name, &[5, 6]);
        let y = apply(&mut graph, "MatMul", &[], &[x, w]);
        apply(&mut graph, "Reshape", &[], &[y, target])
    });
    let y = apply(&mut graph, "Concat", &[("axis", 2)], &parts);
    let target = integers(&mut graph, &[-1, 12]);
    let y = apply(&mut graph, "Reshape", &[], &[y, target]);
    let last = weight(&mut graph, "last", &[12, 2]);
    let y = apply(&mut graph, "MatMul", &[], &[y, last]);
    graph.add_output(y);
    // The first row of one part is also the first of the other.
    let mut whole = graph.clone();
    cut(&mut whole, "a", 1, &[0, 1, 2]).unwrap();
    assert_eq!(["a", "b"].map(|name| shape(&whole, name)), [vec![5, 3], vec![5, 3]]);
    assert_eq!(shape(&whole, "last"), [6, 2]);
    // Within the rows each part loses what it likes.
    cut(&mut graph, "a", 1, &[0, 5]).unwrap();
    assert_eq!(["a", "b", "last"].map(|name| shape(&graph, name)), [vec![5, 4], vec![5, 6], vec![10, 2]]);
}

#[test]
fn a_row_with_a_frozen_position_stays() {
    let graph = in_rows(3, 3, |graph, y| {
        // One position of the first row is an output by itself.
        let target = integers(graph, &[-1, 6]);
        let z = apply(graph, "Reshape", &[], &[y, target]);
        let (starts, ends, axes) = (integers(graph, &[1]), integers(graph, &[2]), integers(graph, &[1]));
        let z = apply(graph, "Slice", &[], &[z, starts, ends, axes]);
        graph.add_output(z);
        apply(graph, "Relu", &[], &[y])
    });
    let coupling = coupled(&graph);
    let covers = coupling.covers(graph.find_value("w").unwrap());
    let groups = &covers.iter().find(|cover| cover.axes == [1]).unwrap().groups;
    let rows: Vec<GroupId> = coupling.groups().filter(|&group| !coupling.members(group).is_empty()).collect();
    let first = rows.iter().find(|&&row| coupling.members(row).contains(&groups[0])).unwrap();
    assert!(coupling.frozen(groups[1]).is_some() && coupling.frozen(groups[0]).is_none());
    let free = rows.iter().filter(|&&row| coupling.frozen(row).is_none()).count();
    assert!(coupling.frozen(*first).is_some());
    assert_eq!(free, rows.len() - 1);
}
