//! What layers, values and attributes are called in reports.

use std::collections::HashMap;

use slimnet_graph::graph::Dim;
use slimnet_graph::onnx::proto::AttributeProto;
use slimnet_graph::onnx::proto::attribute_proto::AttributeType;
use slimnet_graph::{Graph, NodeId, Tensor, Value};

/// Every node with a name of its own: the file's where no other node has it, else that of its first output.
pub fn names(graph: &Graph) -> Vec<(NodeId, String)> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for (_, node) in graph.nodes() {
        *times.entry(&node.name).or_default() += 1;
    }
    let name = |(id, node): (NodeId, &slimnet_graph::Node)| {
        let output = node.outputs().iter().flatten().next();
        let unique = !node.name.is_empty() && times.get(node.name.as_str()) == Some(&1);
        let name = if unique { &node.name } else { output.map_or(&node.name, |&output| &graph.value(output).name) };
        (id, name.clone())
    };
    graph.nodes().map(name).collect()
}

/// A shape as `[N, 3, 32, 32]`, `?` where nothing is known.
pub fn shape(shape: Option<&[Dim]>) -> String {
    let dim = |dim: &Dim| if dim.is_unknown() { "?".to_owned() } else { dim.to_string() };
    shape.map_or_else(|| "[…]".to_owned(), |dims| format!("[{}]", dims.iter().map(dim).collect::<Vec<_>>().join(", ")))
}

/// An element type and shape as `float32[N, 3]`.
pub fn value_type(value: &Value) -> String {
    if value.other_type.is_some() {
        return "no tensor".to_owned();
    }
    let element_type = value.element_type.map_or_else(|| "?".to_owned(), |element_type| element_type.to_string());
    format!("{element_type}{}", shape(value.shape.as_deref()))
}

/// A value as `x float32[N, 3]`.
pub fn typed(value: &Value) -> String {
    format!("{} {}", value.name, value_type(value))
}

/// A tensor's type as `float32[16, 3, 3, 3]`.
pub fn tensor_type(tensor: &Tensor) -> String {
    format!("{}{:?}", tensor.element_type(), tensor.shape())
}

/// The value of an attribute.
pub fn attribute_text(attribute: &AttributeProto) -> String {
    match attribute.r#type() {
        AttributeType::Int => attribute.i().to_string(),
        AttributeType::Float => attribute.f().to_string(),
        AttributeType::String => format!("{:?}", String::from_utf8_lossy(attribute.s())),
        AttributeType::Ints => format!("{:?}", attribute.ints),
        AttributeType::Floats => format!("{:?}", attribute.floats),
        AttributeType::Strings => {
            let texts = attribute.strings.iter().map(|text| String::from_utf8_lossy(text).into_owned());
            format!("{:?}", texts.collect::<Vec<_>>())
        }
        AttributeType::Tensor | AttributeType::Tensors | AttributeType::SparseTensor => "a tensor".to_owned(),
        _ => "a subgraph or type".to_owned(),
    }
}
