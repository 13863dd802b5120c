//! Files that are damaged or made to do harm: one clear message, never a panic, never endless memory.

mod onnx_common;

use std::fs;
use std::time::Instant;

use onnx_common::*;
use prost::Message;
use slimnet_graph::onnx::proto::tensor_proto::{DataLocation, Segment};
use slimnet_graph::onnx::proto::{ModelProto, NodeProto, TensorProto};
use slimnet_graph::onnx::{read_bytes, read_file, write_bytes};

/// A small valid model that uses a little of everything.
fn seed() -> ModelProto {
    let branch = graph(vec![node("Neg", &["r"], &["b"])], vec![], vec![], &["b"]);
    let choice = with(
        node("If", &["flag"], &["c"]),
        vec![graph_attribute("else_branch", branch.clone()), graph_attribute("then_branch", branch)],
    );
    let mut custom = with(node("Custom", &["c"], &["d"]), vec![floats("weights", &[1.0, 2.0]), string("kind", "new")]);
    custom.domain = Some("com.example".into());
    let constant = with(node("Constant", &[], &["k"]), vec![tensor_attribute("value", ints_tensor("", &[1], &[-1]))]);
    let nodes = vec![
        with(node("Conv", &["x", "w"], &["a"]), vec![ints("kernel_shape", &[1, 1]), ints("pads", &[0, 0, 0, 0])]),
        with(node("Clip", &["a"], &["r"]), vec![float("max", 6.0), float("min", 0.0)]),
        choice,
        custom,
        constant,
        node("Reshape", &["r", "k"], &["y"]),
        with(node("Softmax", &["r"], &["z"]), vec![int("axis", 1)]),
    ];
    let initializers = vec![floats_tensor("w", &[2, 1, 1, 1], &[1.0, 2.0])];
    let inputs = vec![info("x", FLOAT, &["N", "1", "3", "3"]), info("flag", BOOL, &[])];
    let mut proto = graph(nodes, initializers, inputs, &["y", "d", "z"]);
    proto.value_info = vec![info("a", FLOAT, &["N", "2", "3", "3"])];
    let mut model = model(9, proto);
    // Without its last field no truncated file is whole.
    model.opset_import.insert(0, import("com.example", 1));
    model
}

/// Reads and, if that succeeds, writes and reads again. Nothing may panic; what was read can be read again.
fn try_bytes(bytes: Vec<u8>) -> bool {
    let Ok(graph) = read_bytes(bytes.into(), None) else { return false };
    if let Ok((bytes, _)) = write_bytes(&graph) {
        read_bytes(bytes.into(), None).expect("what was written can be read");
    }
    true
}

#[test]
fn truncated_at_every_length() {
    let whole = seed().encode_to_vec();
    assert!(try_bytes(whole.clone()));
    for length in 0..whole.len() {
        assert!(!try_bytes(whole[..length].to_vec()), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn every_bit_flipped() {
    let whole = seed().encode_to_vec();
    let mut refused = 0;
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            refused += usize::from(!try_bytes(bytes));
        }
    }
    assert!(refused > whole.len(), "{refused}");
}

#[test]
fn not_onnx_at_all() {
    for bytes in [&b""[..], b"hello, world", b"\x89PNG\r\n\x1a\n", &[0xFF; 64], &[0; 64]] {
        assert!(read_bytes(bytes.to_vec().into(), None).is_err(), "{bytes:?}");
    }
    let missing = read_file("no/such/file.onnx".as_ref()).unwrap_err().to_string();
    assert!(missing.starts_with("no/such/file.onnx: cannot be read"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    assert!(read_file(folder.path()).unwrap_err().to_string().contains("not a regular file"));
    let text = folder.path().join("text.onnx");
    fs::write(&text, "no protobuf").unwrap();
    let message = read_file(&text).unwrap_err().to_string();
    assert!(message.contains("text.onnx: is no ONNX file"), "{message}");
}

#[test]
fn operator_sets_outside_the_range() {
    let relu = || graph(vec![node("Relu", &["x"], &["y"])], vec![], vec![info("x", FLOAT, &["2"])], &["y"]);
    for (opset, valid) in
        [(i64::MIN, false), (0, false), (6, false), (7, true), (28, true), (29, false), (i64::MAX, false)]
    {
        assert_eq!(read(&model(opset, relu())).is_ok(), valid, "{opset}");
    }
    let mut none = model(17, relu());
    none.opset_import.clear();
    assert!(refusal(&none).contains("imports no version of the default operator set"));
    let mut two = model(17, relu());
    two.opset_import.push(import("ai.onnx", 18));
    assert!(refusal(&two).contains("twice, as versions 17 and 18"));
    let mut empty = model(17, relu());
    empty.graph = None;
    assert!(refusal(&empty).contains("holds no graph"));
}

/// The message for a model with these nodes and initializers that reads `x`, a `[2, 3]`, and computes `y`.
fn refused(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> String {
    refusal(&model(17, graph(nodes, initializers, vec![info("x", FLOAT, &["2", "3"])], &["y"])))
}

#[test]
fn names_that_lead_nowhere_or_to_two_places() {
    let message = refused(vec![node("Relu", &["nothing"], &["y"])], vec![]);
    assert_eq!(message, "network: Relu computing \"y\" reads \"nothing\", which no input, initializer or node defines");
    assert!(refused(vec![], vec![]).contains("the list of outputs reads \"y\""));
    assert!(refused(vec![node("Relu", &["x"], &["y"]), node("Neg", &["x"], &["y"])], vec![]).contains("two values"));
    assert!(refused(vec![node("Split", &["x"], &["y", "y"])], vec![]).contains("two values are named \"y\""));
    assert!(refused(vec![node("Relu", &["x"], &["x"])], vec![]).contains("two values are named \"x\""));
    let twice = vec![floats_tensor("w", &[1], &[1.0]), floats_tensor("w", &[1], &[1.0])];
    assert!(refused(vec![node("Add", &["x", "w"], &["y"])], twice).contains("found by initializer 1"));
    assert!(refused(vec![node("Relu", &["x"], &["y"])], vec![floats_tensor("", &[1], &[1.0])]).contains("has no name"));
    assert!(refused(vec![node("Relu", &["x"], &["w"])], vec![floats_tensor("w", &[1], &[1.0])]).contains("two values"));
    let same = graph(
        vec![node("Relu", &["x"], &["y"])],
        vec![],
        vec![info("x", FLOAT, &["2"]), info("x", FLOAT, &["2"])],
        &["y"],
    );
    assert!(refusal(&model(17, same)).contains("found by input 1"));
    let same = graph(vec![node("Relu", &["x"], &["y"])], vec![], vec![info("x", FLOAT, &["2"])], &["y", "y"]);
    assert!(refusal(&model(17, same)).contains("two values are named \"y\""));
    let captured = graph(vec![node("Neg", &["elsewhere"], &["b"])], vec![], vec![], &["b"]);
    let choice = with(node("If", &["x"], &["y"]), vec![graph_attribute("then_branch", captured)]);
    assert!(refused(vec![choice], vec![]).contains("a subgraph of If computing \"y\" reads \"elsewhere\""));
}

#[test]
fn cycles() {
    let message = refused(vec![node("Add", &["x", "b"], &["y"]), node("Neg", &["y"], &["b"])], vec![]);
    assert!(message.contains("cycle through"), "{message}");
    assert!(refused(vec![node("Add", &["x", "y"], &["y"])], vec![]).contains("cycle"));
}

#[test]
fn nodes_that_their_operators_do_not_allow() {
    let message = refused(vec![node("Relu", &["x", "x"], &["y"])], vec![]);
    assert_eq!(message, "network: Relu computing \"y\": number of inputs: expected 1, found 2");
    assert!(refused(vec![node("Add", &["x"], &["y"])], vec![]).contains("number of inputs: expected 2, found 1"));
    assert!(
        refused(vec![node("Relu", &["x"], &["y", "z"])], vec![]).contains("number of outputs: expected 1, found 2")
    );
    assert!(refused(vec![node("Concat", &["x"], &["y"])], vec![]).contains("\"axis\" is missing"));
    assert!(refused(vec![node("Constant", &[], &["y"])], vec![]).contains("expected one value, found 0 attributes"));
    let unsqueeze = graph(vec![node("Unsqueeze", &["x"], &["y"])], vec![], vec![info("x", FLOAT, &["2"])], &["y"]);
    assert!(refusal(&model(11, unsqueeze)).contains("\"axes\" is missing"));
    let transpose = with(node("Transpose", &["x"], &["y"]), vec![ints("perm", &[0, 7])]);
    assert!(refused(vec![transpose], vec![]).contains("Transpose computing \"y\""));
}

#[test]
fn tensors_that_do_not_fit_their_shape() {
    let add = || vec![node("Add", &["x", "w"], &["y"])];
    let wrong = |change: fn(&mut TensorProto)| {
        let mut tensor = floats_tensor("w", &[3], &[1.0; 3]);
        change(&mut tensor);
        refused(add(), vec![tensor])
    };
    assert!(wrong(|t| t.dims = vec![4]).contains("needs 16 bytes, found 12"));
    assert!(wrong(|t| t.dims = vec![-3]).contains("dimension -3 is negative"));
    assert!(wrong(|t| t.dims = vec![1 << 40, 1 << 40]).contains("too many elements"));
    assert!(wrong(|t| t.dims = vec![i64::MAX, 3]).contains("too many elements"));
    assert!(wrong(|t| t.data_type = Some(99)).contains("element type 99 is not known"));
    assert!(wrong(|t| t.data_type = None).contains("element type 0 is not known"));
    assert!(wrong(|t| t.raw_data = None).contains("needs 3 values, found 0"));
    assert!(wrong(|t| t.segment = Some(Segment { begin: Some(0), end: Some(1) })).contains("segments"));
    assert!(wrong(|t| t.data_location = Some(DataLocation::External.into())).contains("external data"));
    assert!(wrong(|t| (t.data_type, t.raw_data) = (Some(8), None)).contains("needs 3"));
}

#[test]
fn shapes_that_lie() {
    let lying = |value: Vec<slimnet_graph::onnx::proto::ValueInfoProto>| {
        let mut proto = graph(vec![node("Relu", &["x"], &["y"])], vec![], vec![info("x", FLOAT, &["2", "3"])], &["y"]);
        proto.value_info = value;
        refusal(&model(17, proto))
    };
    assert!(lying(vec![info("y", FLOAT, &["2", "4"])]).contains("\"y\""));
    assert!(lying(vec![info("y", INT64, &["2", "3"])]).contains("\"y\""));
    assert!(lying(vec![info("y", FLOAT, &["2", "-3"])]).contains("dimension 1: expected a length"));
    assert!(lying(vec![info("y", 99, &["2", "3"])]).contains("element type"));
    let inputs = vec![info("x", FLOAT, &["2"]), info("w", FLOAT, &["5"])];
    let proto =
        graph(vec![node("Add", &["x", "w"], &["y"])], vec![floats_tensor("w", &[2], &[1.0; 2])], inputs, &["y"]);
    assert!(refusal(&model(9, proto)).contains("expected that of its data, float32[2], found float32[5]"));
}

#[test]
fn external_data_outside_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(folder.path().join("secret"), [0u8; 64]).unwrap();
    fs::write(inner.join("data"), [0u8; 64]).unwrap();
    std::os::unix::fs::symlink("../secret", inner.join("link")).unwrap();
    let path = inner.join("net.onnx");
    let read_with = |entries: &[(&str, &str)]| {
        let mut tensor = floats_tensor("w", &[2, 3], &[]);
        tensor.raw_data = None;
        tensor.data_location = Some(DataLocation::External.into());
        tensor.external_data = entries.iter().map(|(key, value)| entry(key, value)).collect();
        let proto =
            graph(vec![node("Add", &["x", "w"], &["y"])], vec![tensor], vec![info("x", FLOAT, &["2", "3"])], &["y"]);
        fs::write(&path, model(17, proto).encode_to_vec()).unwrap();
        read_file(&path).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(read_with(&[("location", "data"), ("length", "24")]), Ok(()));
    assert_eq!(read_with(&[("location", "./data"), ("offset", "40"), ("length", "24"), ("checksum", "?")]), Ok(()));
    let absolute = folder.path().join("secret");
    for location in ["../secret", "link", absolute.to_str().unwrap(), "a/../../secret", "/etc/passwd"] {
        let message = read_with(&[("location", location), ("length", "24")]).unwrap_err();
        assert!(message.contains("must stay inside"), "{location}: {message}");
    }
    for (entries, expected) in [
        (&[("location", "data"), ("offset", "41"), ("length", "24")][..], "has 64"),
        (&[("location", "data"), ("offset", "18446744073709551615"), ("length", "24")], "has 64"),
        (&[("location", "data"), ("length", "24"), ("offset", "-1")], "offset is \"-1\""),
        (&[("location", "data"), ("length", "many")], "length is \"many\""),
        (&[("location", "data"), ("length", "20")], "needs 24 bytes, found 20"),
        (&[("location", "missing")], "cannot be read"),
        (&[("location", ".")], "not a regular file"),
        (&[("location", "")], "location is missing"),
        (&[], "location is missing"),
    ] {
        let message = read_with(entries).unwrap_err();
        assert!(message.contains(expected), "{entries:?}: {message}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut inner = graph(vec![node("Neg", &["x"], &["b"])], vec![], vec![], &["b"]);
    for _ in 0..200 {
        inner = graph(
            vec![with(node("If", &["x"], &["b"]), vec![graph_attribute("then_branch", inner)])],
            vec![],
            vec![],
            &["b"],
        );
    }
    let deep = with(node("If", &["x"], &["y"]), vec![graph_attribute("then_branch", inner)]);
    assert!(refused(vec![deep], vec![]).contains("is no ONNX file"));
}

#[test]
fn many_empty_parts_are_refused_before_they_take_memory() {
    // Each empty attribute takes two bytes in the file.
    let mut attributes = Vec::new();
    for _ in 0..1_000_000 {
        attributes.extend_from_slice(&[0x2A, 0]);
    }
    let wrap = |key: u8, content: &[u8]| {
        let mut bytes = vec![key];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend_from_slice(content);
        bytes
    };
    let bytes = wrap(0x3A, &wrap(0x0A, &attributes));
    let start = Instant::now();
    let message = read_bytes(bytes.clone().into(), None).unwrap_err().to_string();
    assert!(message.contains("empty parts"), "{message}");
    // A group, which protobuf decoders skip, must not hide what comes after it.
    let hidden = [&[0x0B, 0x0C][..], &bytes].concat();
    assert!(read_bytes(hidden.into(), None).unwrap_err().to_string().contains("empty parts"));
    assert!(start.elapsed().as_secs() < 10);
}
