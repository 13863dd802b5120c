//! Small valid networks that together use everything the reader knows.

#[path = "../../crates/slimnet-graph/tests/onnx_common/mod.rs"]
pub mod make;

use make::*;
use slimnet_graph::onnx::proto::tensor_proto::DataLocation;
use slimnet_graph::onnx::proto::{
    FunctionProto, ModelProto, NodeDeviceConfigurationProto, NodeProto, SparseTensorProto, TensorAnnotation,
    TrainingInfoProto,
};
use slimnet_graph::onnx::write_bytes;
use slimnet_graph::ops::Op;
use slimnet_graph::zoo::{ZooOptions, build};

/// Every seed.
pub fn all() -> Vec<ModelProto> {
    let mut seeds = vec![everything(), around(), external()];
    seeds.extend(versions());
    seeds.extend(operators());
    seeds.extend(["lenet-300-100"].into_iter().filter_map(zoo));
    seeds
}

fn zoo(name: &str) -> Option<ModelProto> {
    let mut graph = build(name, &ZooOptions::default()).ok()?;
    // Only the structure matters: without weights the seed is small.
    let weights: Vec<_> = graph.values().filter(|(_, value)| value.data.is_some()).map(|(id, _)| id).collect();
    for id in weights {
        let tiny = graph.value(id).data.as_ref().is_some_and(|data| data.byte_len() <= 64);
        if !tiny {
            graph.value_mut(id).data = None;
            graph.add_input(id).ok()?;
        }
    }
    let (bytes, _) = write_bytes(&graph).ok()?;
    prost::Message::decode(&bytes[..]).ok()
}

fn zeros(name: &str, dims: &[i64]) -> slimnet_graph::onnx::proto::TensorProto {
    floats_tensor(name, dims, &vec![0.5; dims.iter().product::<i64>() as usize])
}

/// Convolution, subgraphs, a custom domain, a constant node, old attributes.
fn everything() -> ModelProto {
    let inner = graph(vec![node("Add", &["r", "q"], &["e"])], vec![], vec![], &["e"]);
    let inner_if = with(node("If", &["flag"], &["f"]), vec![graph_attribute("then_branch", inner)]);
    let branch = graph(vec![node("Neg", &["r"], &["q"]), inner_if], vec![], vec![], &["f"]);
    let choice = with(
        node("If", &["flag"], &["c"]),
        vec![graph_attribute("else_branch", branch.clone()), graph_attribute("then_branch", branch)],
    );
    let mut custom =
        with(node("Custom", &["c", "", "r"], &["d"]), vec![floats("weights", &[1.0]), string("kind", "a")]);
    custom.domain = Some("com.example".into());
    let nodes = vec![
        with(node("Conv", &["x", "w"], &["a"]), vec![ints("kernel_shape", &[1, 1]), ints("pads", &[0, 0, 0, 0])]),
        with(node("Clip", &["a"], &["r"]), vec![float("max", 6.0), float("min", 0.0)]),
        choice,
        custom,
        with(node("Constant", &[], &["k"]), vec![tensor_attribute("value", ints_tensor("", &[1], &[-1]))]),
        node("Reshape", &["r", "k"], &["y"]),
        with(node("Softmax", &["r"], &["z"]), vec![int("axis", 1)]),
    ];
    let inputs = vec![info("x", FLOAT, &["N", "1", "3", "3"]), info("flag", BOOL, &[])];
    let mut proto = graph(nodes, vec![zeros("w", &[2, 1, 1, 1])], inputs, &["y", "d", "z"]);
    proto.value_info = vec![info("a", FLOAT, &["N", "2", "3", "3"])];
    let mut model = model(9, proto);
    model.opset_import.push(import("com.example", 1));
    model
}

/// What surrounds nodes: functions, metadata, sparse data, devices.
fn around() -> ModelProto {
    let mut call = node("Twice", &["x"], &["a"]);
    call.domain = Some("local".into());
    let mut add = node("Add", &["a", "s"], &["y"]);
    add.doc_string = Some("text".into());
    add.metadata_props = vec![entry("key", "value")];
    add.device_configurations =
        vec![NodeDeviceConfigurationProto { configuration_id: Some("two".into()), ..Default::default() }];
    let mut proto = graph(vec![call, add], vec![], vec![info("x", FLOAT, &["2", "3"])], &["y"]);
    proto.sparse_initializer = vec![SparseTensorProto {
        values: Some(floats_tensor("s", &[2], &[1.0, 2.0])),
        indices: Some(ints_tensor("", &[2, 2], &[0, 1, 1, 2])),
        dims: vec![2, 3],
    }];
    proto.quantization_annotation =
        vec![TensorAnnotation { tensor_name: Some("y".into()), quant_parameter_tensor_names: vec![entry("a", "b")] }];
    proto.metadata_props = vec![entry("key", "value")];
    let mut model = model(21, proto);
    model.opset_import.push(import("local", 1));
    model.metadata_props = vec![entry("slimnet.test", "1")];
    model.training_info = vec![TrainingInfoProto::default()];
    model.functions = vec![FunctionProto {
        name: Some("Twice".into()),
        domain: Some("local".into()),
        input: strings(&["a"]),
        output: strings(&["b"]),
        node: vec![node("Add", &["a", "a"], &["b"])],
        opset_import: vec![import("", 21)],
        ..FunctionProto::default()
    }];
    model
}

fn external() -> ModelProto {
    let mut weights = zeros("w", &[2, 3]);
    weights.raw_data = None;
    weights.data_location = Some(DataLocation::External.into());
    weights.external_data = vec![entry("location", "data"), entry("offset", "8"), entry("length", "24")];
    model(17, graph(vec![node("Add", &["x", "w"], &["y"])], vec![weights], vec![info("x", FLOAT, &["2", "3"])], &["y"]))
}

fn one(
    opset: i64,
    shape: &[&str],
    node: NodeProto,
    initializers: Vec<slimnet_graph::onnx::proto::TensorProto>,
) -> ModelProto {
    model(opset, graph(vec![node], initializers, vec![info("x", FLOAT, shape)], &["y"]))
}

/// Operators whose meaning changed, in the old form.
fn versions() -> Vec<ModelProto> {
    let s = |values: &[f32]| floats_tensor("s", &[values.len() as i64], values);
    vec![
        one(
            7,
            &["1", "3"],
            with(node("Upsample", &["x"], &["y"]), vec![string("mode", "nearest"), floats("scales", &[1.0, 2.0])]),
            vec![],
        ),
        one(
            9,
            &["1", "3"],
            with(node("Upsample", &["x", "s"], &["y"]), vec![string("mode", "linear")]),
            vec![s(&[1.0, 2.0])],
        ),
        one(
            10,
            &["1", "3"],
            with(node("Resize", &["x", "s"], &["y"]), vec![string("mode", "nearest")]),
            vec![s(&[1.0, 0.5])],
        ),
        one(
            11,
            &["1", "3"],
            node("Resize", &["x", "e", "e", "n"], &["y"]),
            vec![zeros("e", &[0]), ints_tensor("n", &[2], &[1, 6])],
        ),
        one(9, &["3"], node("Scatter", &["x", "i", "s"], &["y"]), vec![ints_tensor("i", &[1], &[0]), s(&[1.0])]),
        one(
            9,
            &["1", "3"],
            with(node("Pad", &["x"], &["y"]), vec![ints("pads", &[0, 1, 0, 1]), float("value", 2.0)]),
            vec![],
        ),
        one(
            9,
            &["1", "3"],
            with(node("Slice", &["x"], &["y"]), vec![ints("axes", &[1]), ints("ends", &[2]), ints("starts", &[0])]),
            vec![],
        ),
        one(9, &["1", "3"], with(node("TopK", &["x"], &["y", "i"]), vec![int("k", 2)]), vec![]),
        one(11, &["1", "3"], with(node("Squeeze", &["x"], &["y"]), vec![ints("axes", &[0])]), vec![]),
        one(11, &["1", "3"], with(node("Unsqueeze", &["x"], &["y"]), vec![ints("axes", &[0, 3])]), vec![]),
        one(
            11,
            &["1", "4"],
            with(node("Split", &["x"], &["y", "z"]), vec![int("axis", 1), ints("split", &[1, 3])]),
            vec![],
        ),
        one(13, &["1", "4"], with(node("ReduceMean", &["x"], &["y"]), vec![ints("axes", &[-1])]), vec![]),
        one(11, &["2", "2", "2"], with(node("LogSoftmax", &["x"], &["y"]), vec![int("axis", 1)]), vec![]),
        one(7, &["2", "2"], with(node("Dropout", &["x"], &["y", "mask"]), vec![float("ratio", 0.5)]), vec![]),
        one(
            8,
            &["1", "2"],
            with(node("BatchNormalization", &["x", "s", "s", "s", "s"], &["y"]), vec![int("spatial", 1)]),
            vec![s(&[1.0, 2.0])],
        ),
        one(
            18,
            &["1", "4", "3"],
            with(node("GroupNormalization", &["x", "s", "s"], &["y"]), vec![int("num_groups", 2)]),
            vec![s(&[1.0, 2.0])],
        ),
        one(
            12,
            &["1", "1", "4", "4"],
            node("RoiAlign", &["x", "r", "i"], &["y"]),
            vec![zeros("r", &[1, 4]), ints_tensor("i", &[1], &[0])],
        ),
        one(
            16,
            &["1", "1", "4", "4"],
            with(node("GridSample", &["x", "g"], &["y"]), vec![string("mode", "bilinear")]),
            vec![zeros("g", &[1, 2, 2, 2])],
        ),
        one(24, &["2"], with(node("Cast", &["x"], &["y"]), vec![string("round_mode", "up"), int("to", 10)]), vec![]),
        one(23, &["2"], node("QuantizeLinear", &["x", "s"], &["y"]), vec![floats_tensor("s", &[], &[0.5])]),
        one(28, &["2"], node("Mod", &["x", "s"], &["y"]), vec![s(&[1.0, 2.0])]),
        one(
            28,
            &["1", "1", "2", "2"],
            with(node("SpaceToDepth", &["x"], &["y"]), vec![int("blocksize", 2), string("mode", "DCR")]),
            vec![],
        ),
        one(
            17,
            &["3", "5", "2"],
            with(node("LSTM", &["x", "w", "r"], &["y", "", "z"]), vec![int("hidden_size", 1)]),
            vec![zeros("w", &[1, 4, 2]), zeros("r", &[1, 4, 1])],
        ),
        one(
            13,
            &["2", "3"],
            with(node("Einsum", &["x", "w"], &["y"]), vec![string("equation", "ij,jk->ik")]),
            vec![zeros("w", &[3, 2])],
        ),
        one(13, &["2", "3"], node("Gemm", &["x", "w"], &["y"]), vec![zeros("w", &[3, 2])]),
        one(
            17,
            &["1", "2", "6"],
            with(node("ConvTranspose", &["x", "w"], &["y"]), vec![ints("strides", &[2]), ints("output_padding", &[1])]),
            vec![zeros("w", &[2, 1, 3])],
        ),
    ]
}

/// Every operator that a node with one to three inputs and no attributes can be.
fn operators() -> Vec<ModelProto> {
    let mut seeds = Vec::new();
    for operator in Op::known_types() {
        for inputs in [&["x"][..], &["x", "w"], &["x", "n"], &["x", "w", "w"], &["x", "n", "w"]] {
            let initializers = vec![zeros("w", &[2]), ints_tensor("n", &[2], &[1, 0])];
            let model = one(21, &["2", "2"], node(operator, inputs, &["y"]), initializers);
            if read(&model).is_ok() {
                seeds.push(model);
                break;
            }
        }
    }
    seeds
}
