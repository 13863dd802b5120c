//! Small ONNX models made by hand.
#![allow(dead_code)] // each test file uses its own part

use prost::Message;
use slimnet_graph::Graph;
use slimnet_graph::onnx::proto::attribute_proto::AttributeType;
use slimnet_graph::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use slimnet_graph::onnx::proto::type_proto::{self, Tensor as TensorType};
use slimnet_graph::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use slimnet_graph::onnx::{ReadError, read_bytes, write_bytes};

pub const FLOAT: i32 = 1;
pub const INT64: i32 = 7;
pub const BOOL: i32 = 9;

pub fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.into()),
        input: strings(inputs),
        output: strings(outputs),
        ..NodeProto::default()
    }
}

pub fn with(mut node: NodeProto, attributes: Vec<AttributeProto>) -> NodeProto {
    node.attribute = attributes;
    node
}

fn attribute(name: &str, r#type: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(r#type.into()), ..AttributeProto::default() }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

pub fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { floats: values.to_vec(), ..attribute(name, AttributeType::Floats) }
}

pub fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}

pub fn tensor_attribute(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(Box::new(value)), ..attribute(name, AttributeType::Tensor) }
}

pub fn graph_attribute(name: &str, value: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(Box::new(value)), ..attribute(name, AttributeType::Graph) }
}

/// A value of some type; a word that is no number is a named dimension, `?` an unknown one.
pub fn info(name: &str, element_type: i32, shape: &[&str]) -> ValueInfoProto {
    let dim = |word: &&str| Dimension {
        value: match (word.parse::<i64>(), *word) {
            (Ok(length), _) => Some(dimension::Value::DimValue(length)),
            (_, "?") => None,
            (_, name) => Some(dimension::Value::DimParam(name.into())),
        },
        ..Dimension::default()
    };
    let shape = Some(TensorShapeProto { dim: shape.iter().map(dim).collect() });
    let tensor = TensorType { elem_type: Some(element_type), shape };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

/// A value of which the file says nothing.
pub fn untyped(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }
}

pub fn floats_tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(FLOAT),
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..TensorProto::default()
    }
}

pub fn ints_tensor(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(INT64),
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..TensorProto::default()
    }
}

pub fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) }
}

/// A graph with untyped outputs.
pub fn graph(
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: &[&str],
) -> GraphProto {
    GraphProto {
        name: Some("test".into()),
        node: nodes,
        initializer: initializers,
        input: inputs,
        output: outputs.iter().map(|name| untyped(name)).collect(),
        ..GraphProto::default()
    }
}

pub fn model(opset: i64, graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        model_version: Some(0),
        opset_import: vec![import("", opset)],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

pub fn import(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) }
}

pub fn read(model: &ModelProto) -> Result<Graph, ReadError> {
    read_bytes(model.encode_to_vec().into(), None)
}

/// Reads and writes a model.
pub fn round_trip(model: &ModelProto) -> ModelProto {
    written(&read(model).unwrap())
}

pub fn written(graph: &Graph) -> ModelProto {
    ModelProto::decode(&write_bytes(graph).unwrap().0[..]).unwrap()
}

/// The message of a model that must be refused.
pub fn refusal(model: &ModelProto) -> String {
    read(model).expect_err("the model must be refused").to_string()
}
