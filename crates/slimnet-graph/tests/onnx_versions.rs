//! Every change between operator sets 7 and 28: what nodes mean inside, and that they return.

mod onnx_common;

use std::collections::HashMap;

use onnx_common::*;
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::onnx::proto::{NodeProto, TensorProto, ValueInfoProto};
use slimnet_graph::onnx::{SEMANTICS, read_bytes, write_bytes};
use slimnet_graph::ops::vision::{CoordinateMode, NearestMode, ResizeMode, RoiCoordinateMode};
use slimnet_graph::zoo::{ZooOptions, build};
use slimnet_graph::{Graph, Op, Tensor};

/// A model of one node (or a few) that reads `x` and computes `y`.
fn single(opset: i64, shape: &[&str], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Graph {
    read(&model(opset, graph(nodes, initializers, vec![info("x", FLOAT, shape)], &["y"]))).unwrap()
}

/// Reads the model and checks that writing it gives the same nodes, initializers and operator set.
fn returns(opset: i64, shape: &[&str], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Graph {
    let original = model(opset, graph(nodes, initializers, vec![info("x", FLOAT, shape)], &["y"]));
    let read = read(&original).unwrap();
    assert_eq!(written(&read), original);
    read
}

fn only_op(graph: &Graph) -> &Op {
    let mut nodes = graph.nodes();
    let (_, node) = nodes.next().unwrap();
    assert!(nodes.next().is_none(), "expected one node");
    &node.op
}

/// The data at the inputs of the last node.
fn data(graph: &Graph) -> Vec<Option<Tensor>> {
    let (_, node) = graph.nodes().last().unwrap();
    node.inputs().iter().map(|input| graph.value((*input)?).data.clone()).collect()
}

fn integers(values: &[i64]) -> Tensor {
    Tensor::vector(values.to_vec())
}

fn reason(graph: &Graph) -> String {
    graph.nodes().find_map(|(_, node)| node.op.other()).expect("a node that is kept whole").reason.clone()
}

#[test]
fn attributes_that_became_inputs_return() {
    let cases: Vec<(i64, NodeProto, Vec<Option<Tensor>>)> = vec![
        (
            7,
            with(node("Clip", &["x"], &["y"]), vec![float("max", 6.0), float("min", 0.0)]),
            vec![None, Some(Tensor::scalar(0f32)), Some(Tensor::scalar(6f32))],
        ),
        (10, with(node("Clip", &["x"], &["y"]), vec![float("max", 6.0)]), vec![None, None, Some(Tensor::scalar(6f32))]),
        (
            10,
            with(node("Pad", &["x"], &["y"]), vec![ints("pads", &[0, 1, 0, 1]), float("value", 2.0)]),
            vec![None, Some(integers(&[0, 1, 0, 1])), Some(Tensor::scalar(2f32))],
        ),
        (
            9,
            with(node("Slice", &["x"], &["y"]), vec![ints("axes", &[1]), ints("ends", &[4]), ints("starts", &[1])]),
            vec![None, Some(integers(&[1])), Some(integers(&[4])), Some(integers(&[1]))],
        ),
        (12, with(node("Squeeze", &["x"], &["y"]), vec![ints("axes", &[0])]), vec![None, Some(integers(&[0]))]),
        (12, node("Squeeze", &["x"], &["y"]), vec![None]),
        (12, with(node("Unsqueeze", &["x"], &["y"]), vec![ints("axes", &[0, 3])]), vec![None, Some(integers(&[0, 3]))]),
        (
            17,
            with(node("ReduceMean", &["x"], &["y"]), vec![ints("axes", &[1]), int("keepdims", 0)]),
            vec![None, Some(integers(&[1]))],
        ),
        (17, node("ReduceL2", &["x"], &["y"]), vec![None]),
        (12, with(node("ReduceSum", &["x"], &["y"]), vec![ints("axes", &[-1])]), vec![None, Some(integers(&[-1]))]),
        (
            11,
            with(node("Dropout", &["x"], &["y"]), vec![float("ratio", 0.25)]),
            vec![None, Some(Tensor::scalar(0.25f32))],
        ),
    ];
    for (opset, node, inputs) in cases {
        let label = format!("{} in operator set {opset}", node.op_type());
        let graph = returns(opset, &["1", "6"], vec![node], vec![]);
        assert_eq!(data(&graph), inputs, "{label}");
    }
    let split = with(node("Split", &["x"], &["y", "z"]), vec![int("axis", 1), ints("split", &[2, 4])]);
    assert_eq!(data(&returns(12, &["1", "6"], vec![split], vec![])), [None, Some(integers(&[2, 4]))]);
    let top = with(node("TopK", &["x"], &["y", "i"]), vec![int("k", 3)]);
    assert_eq!(data(&returns(9, &["1", "6"], vec![top], vec![])), [None, Some(integers(&[3]))]);
}

#[test]
fn numbers_have_the_element_type_of_the_data() {
    let clip = with(node("Clip", &["x"], &["y"]), vec![float("max", 6.0)]);
    let half = model(9, graph(vec![clip.clone()], vec![], vec![info("x", 10, &["3"])], &["y"]));
    let read_half = read(&half).unwrap();
    assert_eq!(data(&read_half)[2].as_ref().unwrap().element_type(), slimnet_graph::ElementType::F16);
    assert_eq!(written(&read_half), half);
    let mut custom = node("Custom", &["x"], &["a"]);
    custom.domain = Some("com.example".into());
    let clip = with(node("Clip", &["a"], &["y"]), vec![float("max", 6.0)]);
    assert!(single(9, &["3"], vec![custom, clip], vec![]).nodes().last().unwrap().1.op.other().is_some());
}

fn values_of(graph: &Graph, values: &[f32], shape: &[usize]) -> Vec<f32> {
    let input = Tensor::from_values(shape.to_vec(), values.to_vec()).unwrap();
    let inputs = HashMap::from([(graph.inputs()[0], input)]);
    let results = evaluate_graph(graph, &inputs, 1 << 20).unwrap();
    results[&graph.outputs()[0]].to_f64s().unwrap().into_iter().map(|value| value as f32).collect()
}

#[test]
fn old_softmax_takes_all_later_axes_together() {
    let softmax = |axis: i64| with(node("Softmax", &["x"], &["y"]), vec![int("axis", axis)]);
    for opset in [7, 11, 12] {
        let graph = returns(opset, &["2", "2", "2"], vec![softmax(1)], vec![]);
        let result = values_of(&graph, &[0.0; 8], &[2, 2, 2]);
        assert_eq!(result, [0.25; 8], "one softmax over the last two axes");
        let graph = returns(opset, &["2", "2", "2"], vec![softmax(2)], vec![]);
        assert_eq!(values_of(&graph, &[0.0; 8], &[2, 2, 2]), [0.5; 8]);
        assert!(matches!(only_op(&graph), Op::Softmax(..)));
        // Later axes of length 1 change nothing.
        assert!(matches!(only_op(&returns(opset, &["N", "5", "1", "1"], vec![softmax(1)], vec![])), Op::Softmax(..)));
        // The number of axes is not known, so that both forms must be right.
        let reshape = node("Reshape", &["x", "s"], &["a"]);
        let hidden = with(node("Hardmax", &["a"], &["y"]), vec![int("axis", 1)]);
        let unknown = model(opset, graph_of_unknown_rank(vec![reshape, hidden]));
        assert_eq!(written(&read(&unknown).unwrap()), unknown);
    }
    // The default axis was 1, and is the last one since operator set 13.
    let old = returns(12, &["2", "3"], vec![softmax(1)], vec![]);
    assert!(matches!(only_op(&old), Op::Softmax(_, softmax) if softmax.axis == 1));
    let new = returns(13, &["2", "3"], vec![node("Softmax", &["x"], &["y"])], vec![]);
    assert!(matches!(only_op(&new), Op::Softmax(_, softmax) if softmax.axis == -1));
    let default = single(11, &["2", "2", "2"], vec![node("LogSoftmax", &["x"], &["y"])], vec![]);
    assert_eq!(default.nodes().count(), 4, "the default axis 1 is not the last of three");
}

fn graph_of(
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
) -> slimnet_graph::onnx::proto::GraphProto {
    graph(nodes, initializers, inputs, &["y"])
}

fn graph_of_unknown_rank(nodes: Vec<NodeProto>) -> slimnet_graph::onnx::proto::GraphProto {
    let shape: ValueInfoProto = info("s", INT64, &["R"]);
    graph(nodes, vec![], vec![info("x", FLOAT, &["24"]), shape], &["y"])
}

#[test]
fn old_images_are_resized_asymmetrically() {
    let upsample =
        with(node("Upsample", &["x"], &["y"]), vec![string("mode", "nearest"), floats("scales", &[1.0, 2.0])]);
    let expect = |graph: &Graph, mode, nearest| {
        let Op::Resize(resize) = only_op(graph) else { panic!("a Resize") };
        assert_eq!(resize.coordinate_transformation_mode, CoordinateMode::Asymmetric);
        assert_eq!((resize.mode, resize.nearest_mode), (mode, nearest));
    };
    expect(&returns(7, &["1", "3"], vec![upsample], vec![]), ResizeMode::Nearest, NearestMode::Floor);
    let scaled = |op: &str, mode: &str| with(node(op, &["x", "s"], &["y"]), vec![string("mode", mode)]);
    let scales = |values: &[f32]| vec![floats_tensor("s", &[2], values)];
    let graph = returns(9, &["1", "3"], vec![scaled("Upsample", "linear")], scales(&[1.0, 2.0]));
    expect(&graph, ResizeMode::Linear, NearestMode::Floor);
    let graph = returns(10, &["1", "4"], vec![scaled("Resize", "nearest")], scales(&[1.0, 0.6]));
    expect(&graph, ResizeMode::Nearest, NearestMode::Ceil);
    assert_eq!(values_of(&graph, &[1.0, 2.0, 3.0, 4.0], &[1, 4]), [1.0, 3.0]);
    let graph = returns(10, &["1", "3"], vec![scaled("Resize", "nearest")], scales(&[1.0, 2.0]));
    expect(&graph, ResizeMode::Nearest, NearestMode::Floor);
    let mixed = single(10, &["4", "4"], vec![scaled("Resize", "nearest")], scales(&[0.5, 2.0]));
    assert!(reason(&mixed).contains("grows along one axis"));
    // Upsample is gone in operator set 10.
    assert!(
        reason(&single(10, &["1", "3"], vec![scaled("Upsample", "nearest")], scales(&[1.0, 2.0])))
            .contains("is not in")
    );
    // Operator sets 11 and 12 want empty tensors where nothing is given.
    let sized = node("Resize", &["x", "e", "e", "n"], &["y"]);
    let initializers = vec![floats_tensor("e", &[0], &[]), ints_tensor("n", &[2], &[1, 6])];
    let graph = returns(11, &["1", "3"], vec![sized], initializers);
    assert_eq!(graph.nodes().next().unwrap().1.inputs().iter().flatten().count(), 2);
    // Found by fuzzing: where the file's own empty tensor cannot be used again, one is made for both.
    let inputs = vec![info("x", FLOAT, &["1", "3"]), info("e", FLOAT, &["0"])];
    let sized = node("Resize", &["x", "", "", "n"], &["y"]);
    let sized = graph_of(vec![sized], vec![ints_tensor("n", &[2], &[1, 6])], inputs);
    let model = written(&read(&model(11, sized)).unwrap());
    assert_eq!(model.graph.as_ref().unwrap().node[0].input, ["x", "y_empty", "y_empty", "n"]);
    assert_eq!(round_trip(&model), model);
    let for_nn = with(
        node("Resize", &["x", "e", "s"], &["y"]),
        vec![string("coordinate_transformation_mode", "tf_half_pixel_for_nn")],
    );
    let initializers = vec![floats_tensor("e", &[0], &[]), floats_tensor("s", &[2], &[1.0, 2.0])];
    assert!(reason(&single(11, &["1", "3"], vec![for_nn], initializers)).contains("tf_half_pixel_for_nn"));
}

#[test]
fn other_changes_of_meaning() {
    // BatchNormalization: statistics for each element; outputs of training.
    let ones = |name: &str| floats_tensor(name, &[2], &[1.0; 2]);
    let parameters = || vec![ones("s"), ones("b"), ones("m"), ones("v")];
    let norm = |outputs: &[&str]| node("BatchNormalization", &["x", "s", "b", "m", "v"], outputs);
    let spatial = with(norm(&["y"]), vec![int("spatial", 0)]);
    assert!(reason(&single(7, &["1", "2"], vec![spatial], parameters())).contains("spatial"));
    let training = norm(&["y", "m2", "v2", "m3", "v3"]);
    assert!(reason(&single(9, &["1", "2"], vec![training], parameters())).contains("training"));
    returns(9, &["1", "2"], vec![norm(&["y"])], parameters());

    // Dropout: a mask of the data's type that nobody reads, or that somebody does.
    let dropped = single(7, &["2"], vec![node("Dropout", &["x"], &["y", "mask"])], vec![]);
    assert_eq!(dropped.nodes().next().unwrap().1.outputs().len(), 1);
    assert_eq!(dropped.find_value("mask"), None);
    let read_mask = vec![node("Dropout", &["x"], &["a", "mask"]), node("Add", &["a", "mask"], &["y"])];
    assert!(reason(&single(7, &["2"], read_mask, vec![])).contains("mask"));
    returns(10, &["2"], vec![node("Dropout", &["x"], &["y", "mask"])], vec![]);

    // GroupNormalization: scale and bias for each group, then for each channel.
    let group = with(node("GroupNormalization", &["x", "s", "b"], &["y"]), vec![int("num_groups", 2)]);
    let per_group = || vec![floats_tensor("s", &[2], &[1.0, 2.0]), floats_tensor("b", &[2], &[3.0, 4.0])];
    let lifted = single(18, &["1", "4", "3"], vec![group.clone()], per_group());
    assert_eq!(data(&lifted)[1], Some(Tensor::vector(vec![1f32, 1.0, 2.0, 2.0])));
    let back = written(&lifted);
    assert_eq!(back.opset_import[0].version, Some(18));
    assert_eq!(values_of(&read(&back).unwrap(), &[1.0; 12], &[1, 4, 3]), values_of(&lifted, &[1.0; 12], &[1, 4, 3]));
    assert!(reason(&single(18, &["1", "C", "3"], vec![group], per_group())).contains("number of channels"));

    // RoiAlign: the default moved by half a pixel.
    let align = node("RoiAlign", &["x", "r", "i"], &["y"]);
    let initializers = vec![floats_tensor("r", &[1, 4], &[0.0, 0.0, 1.0, 1.0]), ints_tensor("i", &[1], &[0])];
    let graph = returns(11, &["1", "1", "4", "4"], vec![align], initializers);
    let Op::RoiAlign(align) = only_op(&graph) else { panic!("a RoiAlign") };
    assert_eq!(align.coordinate_transformation_mode, RoiCoordinateMode::OutputHalfPixel);

    // GridSample: other names of the modes.
    let sample = with(node("GridSample", &["x", "g"], &["y"]), vec![string("mode", "bicubic")]);
    let grid = vec![floats_tensor("g", &[1, 1, 1, 2], &[0.0; 2])];
    let graph = returns(16, &["1", "1", "4", "4"], vec![sample], grid);
    assert!(matches!(only_op(&graph), Op::GridSample(sample) if sample.mode == ResizeMode::Cubic));

    // Scatter got a new name.
    let scatter = node("Scatter", &["x", "i", "u"], &["y"]);
    let initializers = vec![ints_tensor("i", &[1], &[0]), floats_tensor("u", &[1], &[1.0])];
    assert!(matches!(only_op(&returns(9, &["3"], vec![scatter], initializers)), Op::ScatterElements(_)));

    // ConvTranspose: the odd element of computed padding changed sides.
    let transpose = with(node("ConvTranspose", &["x", "w"], &["y"]), vec![string("auto_pad", "SAME_UPPER")]);
    let weights = || vec![floats_tensor("w", &[1, 1, 3], &[1.0; 3])];
    assert!(reason(&single(10, &["1", "1", "4"], vec![transpose.clone()], weights())).contains("padding"));
    returns(11, &["1", "1", "4"], vec![transpose], weights());
}

#[test]
fn what_came_after_the_semantics_inside_is_kept_whole() {
    let unsigned = |opset: i64, element_type: i32, node: NodeProto| {
        let inputs = vec![info("x", element_type, &["2"]), info("z", element_type, &["2"])];
        read(&model(opset, graph(vec![node], vec![], inputs, &["y"]))).unwrap()
    };
    let shift = with(node("BitShift", &["x", "z"], &["y"]), vec![string("direction", "LEFT")]);
    assert!(matches!(only_op(&unsigned(28, 2, shift.clone())), Op::BitShift(_)));
    assert!(reason(&unsigned(28, 6, shift)).contains("sign"));
    let modulus = node("Mod", &["x", "z"], &["y"]);
    assert!(matches!(only_op(&unsigned(28, 6, modulus.clone())), Op::Mod(_)));
    assert!(reason(&unsigned(28, 1, modulus)).contains("divisor"));
    let to_depth =
        |mode: &str| with(node("SpaceToDepth", &["x"], &["y"]), vec![int("blocksize", 2), string("mode", mode)]);
    assert!(matches!(only_op(&single(28, &["1", "1", "2", "2"], vec![to_depth("DCR")], vec![])), Op::SpaceToDepth(_)));
    assert!(reason(&single(28, &["1", "1", "2", "2"], vec![to_depth("CRD")], vec![])).contains("CRD"));
    let cast = |mode: &str| with(node("Cast", &["x"], &["y"]), vec![string("round_mode", mode), int("to", 24)]);
    assert!(matches!(only_op(&single(24, &["2"], vec![cast("up")], vec![])), Op::Cast(_)));
    assert!(reason(&single(24, &["2"], vec![cast("nearest")], vec![])).contains("nearest"));
    let quantize = |name: &str, value: i64| {
        let inputs = vec![floats_tensor("s", &[], &[0.5])];
        single(23, &["2"], vec![with(node("QuantizeLinear", &["x", "s"], &["y"]), vec![int(name, value)])], inputs)
    };
    assert!(matches!(only_op(&quantize("precision", 0)), Op::QuantizeLinear(_)));
    assert!(reason(&quantize("precision", 10)).contains("precision"));
    let dequantize = |value: i64| {
        let made = with(node("DequantizeLinear", &["x", "s"], &["y"]), vec![int("output_dtype", value)]);
        let inputs = vec![info("x", 2, &["2"])];
        read(&model(23, graph(vec![made], vec![floats_tensor("s", &[], &[0.5])], inputs, &["y"]))).unwrap()
    };
    assert!(matches!(only_op(&dequantize(1)), Op::DequantizeLinear(_)));
    assert!(reason(&dequantize(10)).contains("output_dtype"));
}

#[test]
fn a_node_that_is_too_new_raises_the_operator_set() {
    let mut graph = single(11, &["2", "3"], vec![node("Relu", &["x"], &["a"]), node("Neg", &["a"], &["y"])], vec![]);
    let a = graph.find_value("a").unwrap();
    let gelu =
        slimnet_graph::ops::elementwise::Gelu { approximate: slimnet_graph::ops::elementwise::GeluApproximation::None };
    let output = graph.apply("gelu", gelu, &[a]);
    graph.add_output(output);
    let (bytes, written) = write_bytes(&graph).unwrap();
    assert_eq!((written.opset, written.raised_from), (20, Some(11)));
    assert_eq!(read_bytes(bytes.into(), None).unwrap().model.opset(), Some(20));

    // A node of the default domain that is kept whole stays what it is only in its own operator set.
    let unknown = node("NoSuchOperator", &["a"], &["b"]);
    let mut graph =
        single(11, &["2", "3"], vec![node("Relu", &["x"], &["a"]), unknown, node("Neg", &["b"], &["y"])], vec![]);
    let a = graph.find_value("a").unwrap();
    let output = graph.apply("gelu", gelu_again(), &[a]);
    graph.add_output(output);
    let error = write_bytes(&graph).unwrap_err().to_string();
    assert!(error.contains("NoSuchOperator computing \"b\"") && error.contains("Gelu \"gelu\""), "{error}");
}

fn gelu_again() -> slimnet_graph::ops::elementwise::Gelu {
    slimnet_graph::ops::elementwise::Gelu { approximate: slimnet_graph::ops::elementwise::GeluApproximation::Tanh }
}

#[test]
fn axes_from_the_back_are_counted_from_the_front_in_old_sets() {
    let reduce = with(node("ReduceMax", &["x"], &["y"]), vec![ints("axes", &[-1])]);
    let mut graph = single(17, &["2", "3", "4"], vec![reduce], vec![]);
    graph.model.opsets = vec![(String::new(), 9)];
    let model = written(&graph);
    assert_eq!(model.opset_import[0].version, Some(9));
    assert_eq!(model.graph.unwrap().node[0].attribute, [ints("axes", &[2])]);
}

/// Inputs of a graph with numbers that follow from their place; unknown lengths are 1.
fn inputs_of(graph: &Graph) -> HashMap<slimnet_graph::ValueId, Tensor> {
    let input = |id: slimnet_graph::ValueId| {
        let value = graph.value(id);
        let shape: Vec<usize> = value.shape.as_ref().unwrap().iter().map(|dim| dim.known().unwrap_or(1)).collect();
        let count: usize = shape.iter().product();
        let values = (0..count).map(|place| ((place * 37) % 101) as f64 / 50.0 - 1.0).collect();
        (id, Tensor::from_f64s(value.element_type.unwrap(), shape, values).unwrap())
    };
    graph.free_inputs().map(input).collect()
}

#[test]
fn networks_compute_the_same_in_every_operator_set() {
    for name in ["lenet-5", "resnet8", "transformer-encoder"] {
        let mut graph = build(name, &ZooOptions::default()).unwrap();
        let expected = results(&graph);
        for opset in 7..=28 {
            graph.model.opsets = vec![(String::new(), opset)];
            let (bytes, written) = write_bytes(&graph).unwrap();
            assert!(written.opset >= opset && (opset > SEMANTICS || written.opset <= SEMANTICS), "{name} {written:?}");
            let again = read_bytes(bytes.into(), None).unwrap();
            assert!(again.nodes().all(|(_, node)| node.op.other().is_none()), "{name} in {opset}");
            assert_eq!(results(&again), expected, "{name} in operator set {opset}");
        }
    }
}

fn results(graph: &Graph) -> Vec<Tensor> {
    let mut results = evaluate_graph(graph, &inputs_of(graph), 1 << 28).unwrap();
    graph.outputs().iter().map(|output| results.remove(output).unwrap()).collect()
}
