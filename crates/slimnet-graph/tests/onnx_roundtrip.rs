//! Reading and writing keeps what a file has.

mod onnx_common;

use std::fs;

use onnx_common::*;
use prost::Message;
use slimnet_graph::onnx::proto::attribute_proto::AttributeType;
use slimnet_graph::onnx::proto::{
    AttributeProto, DeviceConfigurationProto, FunctionProto, ModelProto, NodeDeviceConfigurationProto, NodeProto,
    SparseTensorProto, TensorAnnotation, TensorProto, TrainingInfoProto, TypeProto, ValueInfoProto, type_proto,
};
use slimnet_graph::onnx::{WriteOptions, read_file, write_bytes, write_file, write_file_with};
use slimnet_graph::{Dim, ElementType, Graph, Op, Tensor};

#[test]
fn everything_around_the_nodes_returns() {
    let mut relu = node("Relu", &["x"], &["y"]);
    relu.name = Some("activation".into());
    relu.doc_string = Some("cuts".into());
    relu.metadata_props = vec![entry("key", "value")];
    relu.device_configurations =
        vec![NodeDeviceConfigurationProto { configuration_id: Some("two".into()), ..Default::default() }];
    let mut add = node("Add", &["y", "b"], &["z"]);
    add.name = Some("sum".into());
    let mut bias = floats_tensor("b", &[3], &[1.0, 2.0, 3.0]);
    bias.doc_string = Some("a bias".into());
    bias.metadata_props = vec![entry("trained", "no")];
    let mut proto = graph(vec![relu, add], vec![bias], vec![info("x", FLOAT, &["N", "2*N + 1", "?", "3"])], &[]);
    proto.output = vec![info("z", FLOAT, &["N", "2*N + 1", "?", "3"])];
    proto.input[0].doc_string = Some("the image".into());
    proto.input[0].metadata_props = vec![entry("layout", "NHWC")];
    let denoted = |info: &mut ValueInfoProto| {
        let Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation }) = &mut info.r#type
        else {
            panic!("a tensor");
        };
        *denotation = Some("IMAGE".into());
        tensor.shape.as_mut().unwrap().dim[0].denotation = Some("DATA_BATCH".into());
    };
    denoted(&mut proto.input[0]);
    proto.value_info = vec![info("y", FLOAT, &["N", "2*N + 1", "?", "3"])];
    proto.doc_string = Some("of the graph".into());
    proto.metadata_props = vec![entry("graph", "yes")];
    proto.quantization_annotation = vec![TensorAnnotation {
        tensor_name: Some("y".into()),
        quant_parameter_tensor_names: vec![entry("SCALE_TENSOR", "b")],
    }];
    let mut model = model(17, proto);
    model.ir_version = Some(11);
    model.opset_import.push(import("com.example", 3));
    model.producer_name = Some("maker".into());
    model.producer_version = Some("1.2".into());
    model.domain = Some("org.example".into());
    model.model_version = Some(7);
    model.doc_string = Some("of the model".into());
    model.metadata_props = vec![entry("slimnet.test", "1"), entry("other", "2")];
    model.training_info = vec![TrainingInfoProto::default()];
    model.configuration =
        vec![DeviceConfigurationProto { name: Some("two".into()), num_devices: Some(2), ..Default::default() }];
    model.functions = vec![FunctionProto {
        name: Some("Twice".into()),
        domain: Some("com.example".into()),
        input: strings(&["a"]),
        output: strings(&["b"]),
        node: vec![node("Add", &["a", "a"], &["b"])],
        opset_import: vec![import("", 17)],
        ..FunctionProto::default()
    }];
    assert_eq!(round_trip(&model), model);
}

#[test]
fn names_order_and_absent_inputs_of_nodes_return() {
    let nodes = [
        node("Clip", &["x", "", "top"], &["a"]),
        node("Dropout", &["a"], &["b", "mask"]),
        with(node("Split", &["b"], &["c", "d"]), vec![int("num_outputs", 2)]),
        with(node("LSTM", &["x3", "w", "r", "", "", "h"], &["", "h1"]), vec![int("hidden_size", 1)]),
    ];
    let zeros = |name: &str, dims: &[i64]| floats_tensor(name, dims, &vec![0.0; dims.iter().product::<i64>() as usize]);
    let initializers =
        vec![floats_tensor("top", &[], &[6.0]), zeros("w", &[1, 4, 2]), zeros("r", &[1, 4, 1]), zeros("h", &[1, 5, 1])];
    let inputs = vec![info("x", FLOAT, &["4", "2"]), info("x3", FLOAT, &["3", "5", "2"])];
    let model = model(18, graph(nodes.to_vec(), initializers, inputs, &["c", "d", "h1"]));
    assert_eq!(round_trip(&model), model);
}

#[test]
fn initializers_that_are_inputs_stay_inputs() {
    let inputs = vec![info("x", FLOAT, &["1", "3"]), info("b", FLOAT, &["3"])];
    let proto =
        graph(vec![node("Add", &["x", "b"], &["y"])], vec![floats_tensor("b", &[3], &[1.0; 3])], inputs, &["y"]);
    let mut model = model(9, proto);
    model.ir_version = Some(3);
    let graph = read(&model).unwrap();
    assert_eq!(graph.inputs().len(), 2);
    assert_eq!(graph.free_inputs().count(), 1);
    assert_eq!(written(&graph), model);
}

#[test]
fn constants_that_need_no_input_raise_the_format() {
    let mut model = model(9, graph(vec![node("Relu", &["x"], &["y"])], vec![], vec![info("x", FLOAT, &["3"])], &["y"]));
    model.ir_version = Some(3);
    let mut graph = read(&model).unwrap();
    let y = graph.find_value("y").unwrap();
    let bias = graph.add_constant("bias", Tensor::vector(vec![1f32; 3]));
    let z = graph.apply("z", slimnet_graph::ops::elementwise::Binary::Add, &[y, bias]);
    graph.add_output(z);
    assert_eq!(written(&graph).ir_version, Some(4));
}

#[test]
fn constant_nodes_of_every_form_become_data_and_return_in_place() {
    let forms: Vec<(AttributeProto, Tensor)> = vec![
        (tensor_attribute("value", floats_tensor("inner", &[2], &[1.0, 2.0])), Tensor::vector(vec![1f32, 2.0])),
        (float("value_float", 3.5), Tensor::scalar(3.5f32)),
        (floats("value_floats", &[1.0, 2.0]), Tensor::vector(vec![1f32, 2.0])),
        (int("value_int", -4), Tensor::scalar(-4i64)),
        (ints("value_ints", &[5, 6, 7]), Tensor::vector(vec![5i64, 6, 7])),
        (string("value_string", "text"), Tensor::from_strings(vec![], vec![b"text".to_vec()]).unwrap()),
        (
            AttributeProto {
                name: Some("value_strings".into()),
                r#type: Some(AttributeType::Strings.into()),
                strings: vec![b"a".to_vec(), b"b".to_vec()],
                ..AttributeProto::default()
            },
            Tensor::from_strings(vec![2], vec![b"a".to_vec(), b"b".to_vec()]).unwrap(),
        ),
        (
            AttributeProto {
                name: Some("sparse_value".into()),
                r#type: Some(AttributeType::SparseTensor.into()),
                sparse_tensor: Some(Box::new(sparse("", &[2, 3], &[7.0, 8.0], &[2], &[1, 5]))),
                ..AttributeProto::default()
            },
            Tensor::from_values(vec![2, 3], vec![0f32, 7.0, 0.0, 0.0, 0.0, 8.0]).unwrap(),
        ),
    ];
    for (attribute, expected) in forms {
        let mut constant = with(node("Constant", &[], &["c"]), vec![attribute]);
        constant.name = Some("the constant".into());
        constant.doc_string = Some("text".into());
        let nodes = vec![node("Identity", &["x"], &["y"]), constant, node("Identity", &["c"], &["z"])];
        let model = model(13, graph(nodes, vec![], vec![info("x", FLOAT, &["1"])], &["y", "z"]));
        let graph = read(&model).unwrap();
        let value = graph.value(graph.find_value("c").unwrap());
        assert_eq!(value.data.as_ref(), Some(&expected));
        assert_eq!(graph.nodes().count(), 2);
        let again = written(&graph).graph.unwrap();
        assert!(again.initializer.is_empty());
        let order: Vec<_> = again.node.iter().map(|node| (node.op_type(), node.name(), node.doc_string())).collect();
        assert_eq!(order, [("Identity", "", ""), ("Constant", "the constant", "text"), ("Identity", "", "")]);
        assert_eq!(
            slimnet_graph::onnx::tensor_from_proto(again.node[1].attribute[0].t.as_ref().unwrap()),
            Ok(expected)
        );
    }
}

fn sparse(name: &str, dims: &[i64], values: &[f32], index_dims: &[i64], indices: &[i64]) -> SparseTensorProto {
    SparseTensorProto {
        values: Some(floats_tensor(name, &[values.len() as i64], values)),
        indices: Some(ints_tensor("", index_dims, indices)),
        dims: dims.to_vec(),
    }
}

#[test]
fn sparse_initializers_become_dense() {
    let mut proto = graph(vec![node("Identity", &["s"], &["y"])], vec![], vec![], &["y"]);
    proto.sparse_initializer = vec![sparse("s", &[2, 3], &[7.0, 8.0], &[2, 2], &[0, 1, 1, 2])];
    let mut model = model(13, proto);
    let graph = read(&model).unwrap();
    let data = graph.value(graph.find_value("s").unwrap()).data.clone().unwrap();
    assert_eq!(data.values::<f32>().unwrap().as_ref(), [0.0, 7.0, 0.0, 0.0, 0.0, 8.0]);

    let sparse_of = |model: &mut ModelProto, made| model.graph.as_mut().unwrap().sparse_initializer = vec![made];
    sparse_of(&mut model, sparse("s", &[2, 3], &[7.0], &[1], &[6]));
    assert!(refusal(&model).contains("indices of shape [1] do not fit"));
    sparse_of(&mut model, sparse("s", &[1 << 20, 1 << 20], &[7.0], &[1], &[6]));
    assert!(refusal(&model).contains("100 times larger than the file"));
    // Found by fuzzing: the product of the lengths is 0, but not that of the first two.
    sparse_of(&mut model, sparse("s", &[1 << 40, 1 << 40, 0], &[7.0], &[1], &[0]));
    assert!(refusal(&model).contains("indices of shape [1] do not fit"));
    sparse_of(&mut model, sparse("s", &[2, -3], &[7.0], &[1], &[0]));
    assert!(refusal(&model).contains("dimension -3 is negative"));
}

#[test]
fn data_in_typed_fields_is_read() {
    let typed = |data_type: i32, fill: fn(&mut TensorProto)| {
        let mut tensor =
            TensorProto { name: Some("c".into()), dims: vec![2], data_type: Some(data_type), ..Default::default() };
        fill(&mut tensor);
        let model = model(21, graph(vec![node("Identity", &["c"], &["y"])], vec![tensor], vec![], &["y"]));
        let graph = read(&model).unwrap();
        graph.value(graph.find_value("c").unwrap()).data.clone().unwrap()
    };
    assert_eq!(typed(1, |t| t.float_data = vec![1.0, 2.0]), Tensor::vector(vec![1f32, 2.0]));
    assert_eq!(typed(11, |t| t.double_data = vec![1.0, 2.0]), Tensor::vector(vec![1f64, 2.0]));
    assert_eq!(typed(7, |t| t.int64_data = vec![1, -2]), Tensor::vector(vec![1i64, -2]));
    assert_eq!(typed(6, |t| t.int32_data = vec![1, -2]), Tensor::vector(vec![1i32, -2]));
    assert_eq!(typed(13, |t| t.uint64_data = vec![1, 2]), Tensor::vector(vec![1u64, 2]));
    assert_eq!(typed(12, |t| t.uint64_data = vec![1, 2]), Tensor::vector(vec![1u32, 2]));
    assert_eq!(typed(3, |t| t.int32_data = vec![1, -2]), Tensor::vector(vec![1i8, -2]));
    assert_eq!(typed(10, |t| t.int32_data = vec![0x3C00, 0xC000]).to_f64s().unwrap(), [1.0, -2.0]);
    assert_eq!(typed(16, |t| t.int32_data = vec![0x3F80, 0xC000]).to_f64s().unwrap(), [1.0, -2.0]);
    assert_eq!(typed(22, |t| t.int32_data = vec![0xE1]).to_i64s().unwrap(), [1, -2]);
    assert_eq!(typed(9, |t| t.int32_data = vec![1, 0]).to_i64s().unwrap(), [1, 0]);
}

/// `If` whose branches read `a`, `b` and, two levels down, `c`; the inner `d` hides nothing.
fn nested() -> NodeProto {
    let inner = graph(vec![node("Add", &["c", "d"], &["e"])], vec![], vec![], &["e"]);
    let inner_if = with(
        node("If", &["b"], &["f"]),
        vec![graph_attribute("else_branch", inner.clone()), graph_attribute("then_branch", inner)],
    );
    let then = graph(vec![node("Neg", &["a"], &["d"]), inner_if], vec![], vec![], &["f"]);
    let constant =
        with(node("Constant", &[], &["g"]), vec![tensor_attribute("value", floats_tensor("", &[2], &[0.0; 2]))]);
    let other = graph(vec![constant, node("Add", &["g", "a"], &["h"])], vec![], vec![], &["h"]);
    with(node("If", &["b"], &["y"]), vec![graph_attribute("else_branch", other), graph_attribute("then_branch", then)])
}

fn nested_model() -> ModelProto {
    let nodes = vec![node("Relu", &["x"], &["a"]), node("Exp", &["x"], &["c"]), nested()];
    model(17, graph(nodes, vec![], vec![info("x", FLOAT, &["2"]), info("b", BOOL, &[])], &["y"]))
}

#[test]
fn subgraphs_are_kept_and_their_captures_are_inputs() {
    let model = nested_model();
    let graph = read(&model).unwrap();
    let (_, kept) = graph.nodes().find(|(_, node)| node.op.other().is_some()).unwrap();
    let other = kept.op.other().unwrap();
    assert_eq!(other.captures, ["a", "b", "c"]);
    assert_eq!(other.reason, "holds subgraphs");
    let names: Vec<_> = kept.inputs().iter().flatten().map(|&id| graph.value(id).name.as_str()).collect();
    assert_eq!(names, ["b", "a", "b", "c"]);
    assert_eq!(written(&graph), model);
}

#[test]
fn renamed_values_are_renamed_inside_subgraphs() {
    let mut graph = read(&nested_model()).unwrap();
    // "d" is the name of an inner value, which must give way.
    for (old, new) in [("a", "a2"), ("c", "d")] {
        let id = graph.find_value(old).unwrap();
        graph.rename(id, new);
    }
    let again = read(&written(&graph)).unwrap();
    let (_, kept) = again.nodes().find(|(_, node)| node.op.other().is_some()).unwrap();
    assert_eq!(kept.op.other().unwrap().captures, ["a2", "b", "d"]);
    let text = format!("{:?}", kept.op.other().unwrap().attributes);
    assert!(text.contains("\"d_inner0\""), "{text}");
    assert!(!text.contains("\"c\""), "{text}");
}

#[test]
fn what_is_not_understood_is_kept_whole_with_its_reason() {
    let mut custom = with(node("Quant", &["x", "", "x"], &["a", ""]), vec![int("bits", 2)]);
    custom.domain = Some("com.example".into());
    let mut call = node("Twice", &["a"], &["b"]);
    call.domain = Some("local".into());
    let unknown = node("NoSuchOperator", &["b"], &["c"]);
    let strange = with(node("Relu", &["c"], &["d"]), vec![int("strength", 3)]);
    let mut model =
        model(17, graph(vec![custom, call, unknown, strange], vec![], vec![info("x", FLOAT, &["2"])], &["d"]));
    model.opset_import.extend([import("com.example", 1), import("local", 1)]);
    model.functions =
        vec![FunctionProto { name: Some("Twice".into()), domain: Some("local".into()), ..FunctionProto::default() }];
    let graph = read(&model).unwrap();
    let reasons: Vec<_> = graph.nodes().map(|(_, node)| node.op.other().unwrap().reason.clone()).collect();
    assert_eq!(
        reasons,
        [
            "domain \"com.example\" is not known",
            "calls a function of the model",
            "operator NoSuchOperator is not known",
            "operator set 17 has no attribute \"strength\" of Relu"
        ]
    );
    assert_eq!(written(&graph), model);
}

#[test]
fn values_that_are_no_tensors_keep_their_type() {
    let sequence = TypeProto {
        value: Some(type_proto::Value::SequenceType(Box::new(type_proto::Sequence {
            elem_type: info("", FLOAT, &["N"]).r#type.map(Box::new),
        }))),
        ..TypeProto::default()
    };
    let input = ValueInfoProto { name: Some("s".into()), r#type: Some(sequence), ..ValueInfoProto::default() };
    let proto =
        graph(vec![node("SequenceAt", &["s", "i"], &["y"])], vec![ints_tensor("i", &[], &[0])], vec![input], &["y"]);
    let model = model(17, proto);
    let graph = read(&model).unwrap();
    assert!(graph.value(graph.find_value("s").unwrap()).other_type.is_some());
    assert_eq!(written(&graph), model);
}

#[test]
fn unsorted_files_are_sorted() {
    let nodes = vec![node("Exp", &["b"], &["c"]), node("Neg", &["a"], &["b"]), node("Abs", &["x"], &["a"])];
    let mut model = model(17, graph(nodes, vec![], vec![info("x", FLOAT, &["2"])], &["c"]));
    model.graph.as_mut().unwrap().value_info = vec![info("b", FLOAT, &["2"]), info("a", FLOAT, &["2"])];
    let sorted = round_trip(&model);
    // Found by fuzzing: once sorted, a file stays as it is.
    assert_eq!(round_trip(&sorted), sorted);
    let again = sorted.graph.unwrap();
    assert_eq!(again.node.iter().map(NodeProto::op_type).collect::<Vec<_>>(), ["Abs", "Neg", "Exp"]);
}

#[test]
fn the_default_domain_has_two_names() {
    let mut relu = node("Relu", &["x"], &["y"]);
    relu.domain = Some("ai.onnx".into());
    let mut model = model(17, graph(vec![relu], vec![], vec![info("x", FLOAT, &["2"])], &["y"]));
    model.opset_import = vec![import("ai.onnx", 17)];
    let graph = read(&model).unwrap();
    assert!(graph.nodes().all(|(_, node)| matches!(node.op, Op::Unary(_))));
    assert_eq!(graph.model.opset(), Some(17));
}

#[test]
fn dimensions_are_numbers_names_expressions_or_unknown() {
    let model = model(
        17,
        graph(
            vec![node("Relu", &["x"], &["y"])],
            vec![],
            vec![info("x", FLOAT, &["4", "N", "2*N + 1", "?", "?y"])],
            &["y"],
        ),
    );
    let graph = read(&model).unwrap();
    let shape = graph.value(graph.inputs()[0]).shape.clone().unwrap();
    let n = Dim::named("N");
    assert_eq!(shape[..3], [Dim::from(4i64), n.clone(), n.scale(2).unwrap().add(&Dim::from(1i64)).unwrap()]);
    assert!(shape[3].is_unknown() && shape[4].is_unknown() && shape[3] != shape[4]);
}

fn weights_model() -> (ModelProto, Tensor) {
    let values: Vec<f32> = (0..1000).map(|value| value as f32).collect();
    let initializers = vec![floats_tensor("w", &[10, 100], &values), floats_tensor("b", &[100], &[0.5; 100])];
    let proto =
        graph(vec![node("Gemm", &["x", "w", "b"], &["y"])], initializers, vec![info("x", FLOAT, &["N", "10"])], &["y"]);
    (model(13, proto), Tensor::from_values(vec![10, 100], values).unwrap())
}

fn weights_of(graph: &Graph) -> Tensor {
    graph.value(graph.find_value("w").unwrap()).data.clone().unwrap()
}

#[test]
fn external_data_is_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let (model, weights) = weights_model();
    let path = folder.path().join("net.onnx");
    let written = write_file_with(&read(&model).unwrap(), &path, WriteOptions { external: true }).unwrap();
    let data = fs::metadata(folder.path().join("net.onnx.data")).unwrap().len();
    assert_eq!((written.external_bytes, data), (4000, 4000), "the bias is too small to go elsewhere");
    assert_eq!(written.bytes, data + fs::metadata(&path).unwrap().len());
    let graph = read_file(&path).unwrap();
    assert_eq!(weights_of(&graph), weights);
    // Read from another file, the network is whole again.
    let whole = folder.path().join("whole.onnx");
    write_file(&graph, &whole).unwrap();
    assert_eq!(ModelProto::decode(&fs::read(whole).unwrap()[..]).unwrap(), model);
    // A network may be written over the file whose data it still uses.
    write_file_with(&graph, &path, WriteOptions { external: true }).unwrap();
    assert_eq!(weights_of(&read_file(&path).unwrap()), weights);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing temporary stays");
}

#[test]
fn a_file_that_cannot_be_written_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    fs::write(&path, b"precious").unwrap();
    let mut graph = read(&weights_model().0).unwrap();
    let dangling = graph.add_intermediate("dangling");
    graph.add_output(dangling);
    let error = write_file(&graph, &path).unwrap_err().to_string();
    assert_eq!(error, "the list of outputs reads \"dangling\", which nothing computes");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = folder.path().join("missing/net.onnx");
    assert!(write_file(&read(&weights_model().0).unwrap(), &missing).unwrap_err().to_string().contains("net.onnx"));
}

#[test]
fn large_files_are_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let count = 1 << 19;
    let weights = floats_tensor("w", &[count], &vec![0.25; count as usize]);
    let model =
        model(13, graph(vec![node("Add", &["x", "w"], &["y"])], vec![weights], vec![info("x", FLOAT, &["1"])], &["y"]));
    fs::write(&path, model.encode_to_vec()).unwrap();
    let graph = read_file(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(weights_of(&graph).values::<f32>().unwrap().iter().sum::<f32>(), 0.25 * count as f32);
}

#[test]
fn one_hundred_thousand_nodes_take_linear_time() {
    let chain = |count: usize| {
        let mut nodes = Vec::new();
        for index in 0..count {
            let (from, to) = (format!("v{index}"), format!("v{}", index + 1));
            nodes.push(node(["Relu", "Neg", "Exp"][index % 3], &[&from], &[&to]));
        }
        model(13, graph(nodes, vec![], vec![info("v0", FLOAT, &["N", "8"])], &[&format!("v{count}")])).encode_to_vec()
    };
    let time = |bytes: Vec<u8>| {
        let start = std::time::Instant::now();
        let graph = slimnet_graph::onnx::read_bytes(bytes.into(), None).unwrap();
        write_bytes(&graph).unwrap();
        start.elapsed().as_secs_f64()
    };
    let (small, large) = (time(chain(10_000)), time(chain(100_000)));
    // Ten times the nodes: about ten times the time; a hundred times would be quadratic.
    assert!(large < 40.0 * small.max(0.01), "{small} s for 10,000 nodes, {large} s for 100,000");
}

#[test]
fn small_element_types_raise_the_format_version() {
    for (element_type, expected) in
        [(ElementType::F32, 8), (ElementType::F8E4M3FN, 9), (ElementType::I4, 10), (ElementType::U2, 13)]
    {
        let mut graph = Graph::new("test");
        graph.model.ir_version = 8;
        let data = Tensor::from_f64s(element_type, vec![2], vec![1.0, 0.0]).unwrap();
        let constant = graph.add_constant("c", data);
        let output = graph.apply("y", slimnet_graph::ops::layout::Transpose { perm: None }, &[constant]);
        graph.add_output(output);
        graph.model.opsets = vec![(String::new(), 13)];
        let model = written(&graph);
        assert_eq!(model.ir_version, Some(expected), "{element_type}");
        let opset = [(ElementType::F32, 13), (ElementType::F8E4M3FN, 21), (ElementType::I4, 21), (ElementType::U2, 25)];
        let (_, opset) = opset.into_iter().find(|(own, _)| *own == element_type).unwrap();
        assert_eq!(model.opset_import[0].version, Some(opset), "{element_type}");
    }
}
