//! Graphs to ONNX files.

use std::collections::HashSet;

use prost::Message;

use super::error::{NEWEST, OLDEST, WriteError};
use super::lift::Input;
use super::lower::{self, Lowered};
use super::proto::attribute_proto::AttributeType;
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use super::sketch::Sketch;
use super::{SEMANTICS, own, types};
use crate::graph::{DataForm, Graph, NodeId, Value, ValueId};
use crate::tensor::ElementType;

use super::tensor_to_proto;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// Whether weights go to a second file (they do in any case if the first would be too large for a protobuf).
    pub external: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Version of the default operator set of the file.
    pub opset: i64,
    /// The version that the network was read with, if not every node could be expressed in it.
    pub raised_from: Option<i64>,
    /// Size of the file in bytes, external data included.
    pub bytes: u64,
    /// Of these, bytes of external data.
    pub external_bytes: u64,
}

/// Protobuf messages must be smaller than 2 GiB.
pub(super) const PROTOBUF_LIMIT: usize = i32::MAX as usize;

/// Writes a network as the bytes of one ONNX file, in the operator set that it was read with, or else the least that can
/// express it.
///
/// # Errors
/// If no operator set can express it, or it is too large for one protobuf.
pub fn write_bytes(graph: &Graph) -> Result<(Vec<u8>, Written), WriteError> {
    let (model, mut written) = to_proto(graph)?;
    let bytes = model.encoded_len();
    if bytes > PROTOBUF_LIMIT {
        return Err(WriteError::TooLarge { bytes, limit: PROTOBUF_LIMIT });
    }
    written.bytes = bytes as u64;
    Ok((model.encode_to_vec(), written))
}

/// Size in bytes of what [`write_bytes`] would write, without writing it: tensors are not copied.
///
/// # Errors
/// As [`write_bytes`].
pub fn written_size(graph: &Graph) -> Result<u64, WriteError> {
    let bytes = to_proto(graph)?.0.encoded_len();
    if bytes > PROTOBUF_LIMIT {
        return Err(WriteError::TooLarge { bytes, limit: PROTOBUF_LIMIT });
    }
    Ok(bytes as u64)
}

/// The network as a protobuf with all data inside, and what to say of it (without sizes).
pub(super) fn to_proto(graph: &Graph) -> Result<(ModelProto, Written), WriteError> {
    let order = graph.schedule()?;
    let (opset, nodes) = lower_all(graph, &order)?;
    let info = &graph.model;
    let mut opsets = info.opsets.clone();
    match opsets.iter_mut().find(|(domain, _)| domain.is_empty()) {
        Some((_, version)) => *version = opset,
        None if order.iter().any(|&id| graph.node(id).op.other().is_none()) => opsets.push((String::new(), opset)),
        None => {}
    }
    let mut functions = info.functions.clone();
    own::declare(graph, opset, &mut functions, &mut opsets)?;
    let import = |(domain, version): &(String, i64)| OperatorSetIdProto {
        domain: Some(domain.clone()),
        version: Some(*version),
    };
    let graph_proto = Writer::new(graph).write(nodes)?;
    let model = ModelProto {
        ir_version: Some(ir_version(graph, &graph_proto, !functions.is_empty())),
        opset_import: opsets.iter().map(import).collect(),
        producer_name: text(&info.producer_name),
        producer_version: text(&info.producer_version),
        domain: text(&info.domain),
        model_version: Some(info.model_version),
        doc_string: text(&info.doc_string),
        graph: Some(graph_proto),
        metadata_props: entries(&info.metadata),
        training_info: info.kept.training_info.clone(),
        functions,
        configuration: info.kept.configuration.clone(),
    };
    let raised_from = info.opset().filter(|&own| own != opset);
    Ok((model, Written { opset, raised_from, bytes: 0, external_bytes: 0 }))
}

/// Every node in the file's own operator set if that has them all, else in the least above that does.
fn lower_all(graph: &Graph, order: &[NodeId]) -> Result<(i64, Vec<(NodeId, Lowered)>), WriteError> {
    let own = graph.model.opset().unwrap_or(SEMANTICS).clamp(OLDEST, NEWEST);
    let sketch = Sketch::of(graph, order);
    let mut opset = own;
    'higher: loop {
        let mut nodes = Vec::with_capacity(order.len());
        for &id in order {
            let reason = match lower::lower(graph, &sketch, id, opset) {
                Ok(node) => {
                    nodes.push((id, node));
                    continue;
                }
                Err(reason) => reason,
            };
            let node = graph.describe_node(id);
            if let Some(pinned) = pin(graph, order) {
                return Err(WriteError::Pinned { pinned, opset: own, node, reason });
            }
            let enough = |&version: &i64| lower::lower(graph, &sketch, id, version).is_ok();
            opset = ((opset + 1)..=NEWEST).find(enough).ok_or(WriteError::Inexpressible { node, reason })?;
            continue 'higher;
        }
        let swallowed: HashSet<NodeId> = nodes.iter().flat_map(|(_, node)| node.swallowed.iter().copied()).collect();
        nodes.retain(|(id, _)| !swallowed.contains(id));
        return Ok((opset, nodes));
    }
}

/// What is kept whole and therefore means the same only in the file's own operator set.
fn pin(graph: &Graph, order: &[NodeId]) -> Option<String> {
    let pins = |id: &&NodeId| graph.node(**id).op.other().is_some_and(|kept| kept.domain.is_empty());
    let training = || (!graph.model.kept.training_info.is_empty()).then(|| "the file's training_info".to_owned());
    order.iter().find(pins).map(|&id| graph.describe_node(id)).or_else(training)
}

/// The file's version of the format, or the first that has all that is used.
fn ir_version(graph: &Graph, proto: &GraphProto, functions: bool) -> i64 {
    let inputs: HashSet<&str> = proto.input.iter().map(ValueInfoProto::name).collect();
    let mut needed = graph.model.ir_version.max(3);
    // Until version 3 every initializer had to be an input too.
    if proto.initializer.iter().any(|tensor| !inputs.contains(tensor.name())) {
        needed = needed.max(4);
    }
    if functions {
        needed = needed.max(8);
    }
    for (_, value) in graph.values() {
        needed = needed.max(match value.element_type {
            Some(ElementType::U4 | ElementType::I4) => 10,
            Some(ElementType::F4E2M1) => 11,
            Some(ElementType::F8E8M0) => 12,
            Some(ElementType::U2 | ElementType::I2) => 13,
            Some(element_type) if element_type.is_float8() => 9,
            _ => 4.min(needed),
        });
    }
    needed
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn entries(pairs: &[(String, String)]) -> Vec<StringStringEntryProto> {
    let entry =
        |(key, value): &(String, String)| StringStringEntryProto { key: Some(key.clone()), value: Some(value.clone()) };
    pairs.iter().map(entry).collect()
}

struct Writer<'a> {
    graph: &'a Graph,
    is_output: HashSet<ValueId>,
    /// Data that attributes hold in the file's operator set instead.
    absorbed: HashSet<ValueId>,
    /// Names of initializers that only the file's operator set needs.
    made: HashSet<String>,
    /// The one of them that is empty.
    empty: Option<String>,
    proto: GraphProto,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph) -> Self {
        let is_output = graph.outputs().iter().copied().collect();
        let proto = GraphProto {
            name: Some(graph.name.clone()),
            doc_string: text(&graph.doc_string),
            quantization_annotation: graph.model.kept.quantization_annotation.clone(),
            metadata_props: entries(&graph.metadata),
            ..GraphProto::default()
        };
        Self { graph, is_output, absorbed: HashSet::new(), made: HashSet::new(), empty: None, proto }
    }

    fn write(mut self, nodes: Vec<(NodeId, Lowered)>) -> Result<GraphProto, WriteError> {
        let graph = self.graph;
        self.find_absorbed(&nodes);
        for (id, value) in graph.values() {
            let written = value.form == DataForm::Initializer && !self.absorbed.contains(&id);
            if let Some(data) = value.data.as_ref().filter(|_| written || value.is_input()) {
                let described = !value.is_input() && !self.is_output.contains(&id);
                let mut tensor = tensor_to_proto(&value.name, data);
                tensor.doc_string = text(&value.doc_string).filter(|_| described);
                tensor.metadata_props = if described { entries(&value.metadata) } else { Vec::new() };
                self.proto.initializer.push(tensor);
            }
        }
        // In the order of the nodes, from which a file that was not sorted may have differed.
        let outputs = |(id, _): &(NodeId, Lowered)| graph.node(*id).outputs().to_vec();
        let computed: Vec<ValueId> = nodes.iter().flat_map(outputs).flatten().collect();
        self.write_nodes(nodes)?;
        for &id in graph.outputs() {
            self.defined(id, "the list of outputs")?;
        }
        self.proto.input = graph.inputs().iter().map(|&id| self.info(id)).collect();
        self.proto.output = graph.outputs().iter().map(|&id| self.info(id)).collect();
        if graph.model.kept.value_info {
            let known = |value: &Value| value.element_type.is_some() || value.other_type.is_some();
            let wanted = |id: &ValueId| known(graph.value(*id)) && !self.is_output.contains(id);
            self.proto.value_info = computed.into_iter().filter(wanted).map(|id| self.info(id)).collect();
        }
        Ok(self.proto)
    }

    /// Finds the data whose every reader holds it in an attribute.
    fn find_absorbed(&mut self, nodes: &[(NodeId, Lowered)]) {
        let mut read = vec![false; self.graph.value_bound()];
        for (id, node) in nodes {
            let inputs = node.inputs.iter().filter_map(|input| match input {
                Input::Value(value) => Some(*value),
                _ => None,
            });
            inputs.chain(lower::captured(self.graph, *id)).for_each(|value| read[value.index()] = true);
        }
        let absorbed = |(id, value): (ValueId, &Value)| {
            let named = value.is_input() || self.is_output.contains(&id);
            (value.data.is_some() && !named && value.readers().len() > 0 && !read[id.index()]).then_some(id)
        };
        self.absorbed = self.graph.values().filter_map(absorbed).collect();
    }

    /// Writes the nodes, with the constants among them where they were: before what was added after them.
    fn write_nodes(&mut self, nodes: Vec<(NodeId, Lowered)>) -> Result<(), WriteError> {
        let graph = self.graph;
        let is_node = |(id, value): &(ValueId, &Value)| {
            matches!(value.form, DataForm::ConstantNode(_))
                && value.data.is_some()
                && !value.is_input()
                && !self.absorbed.contains(id)
        };
        let constants: Vec<ValueId> = graph.values().filter(is_node).map(|(id, _)| id).collect();
        let mut written = vec![false; graph.value_bound()];
        let mut waiting = constants.iter().copied().peekable();
        for (id, lowered) in nodes {
            let node = graph.node(id);
            let first_output = node.outputs().iter().flatten().next().copied();
            while let Some(constant) = waiting.next_if(|&constant| first_output.is_some_and(|output| constant < output))
            {
                self.write_constant(constant, &mut written);
            }
            for &input in node.inputs().iter().flatten() {
                let value = graph.value(input);
                if value.data.is_some() && constants.binary_search(&input).is_ok() {
                    self.write_constant(input, &mut written);
                }
                self.defined(input, &node.name)?;
            }
            self.write_node(id, lowered);
        }
        waiting.for_each(|constant| self.write_constant(constant, &mut written));
        Ok(())
    }

    fn write_constant(&mut self, id: ValueId, written: &mut [bool]) {
        let value = self.graph.value(id);
        let (DataForm::ConstantNode(name), Some(data)) = (&value.form, &value.data) else { return };
        if std::mem::replace(&mut written[id.index()], true) {
            return;
        }
        let attribute = AttributeProto {
            name: Some("value".into()),
            r#type: Some(AttributeType::Tensor.into()),
            t: Some(Box::new(tensor_to_proto("", data))),
            ..AttributeProto::default()
        };
        self.proto.node.push(NodeProto {
            output: vec![value.name.clone()],
            name: text(name),
            op_type: Some("Constant".into()),
            attribute: vec![attribute],
            doc_string: text(&value.doc_string),
            metadata_props: entries(&value.metadata),
            ..NodeProto::default()
        });
    }

    fn write_node(&mut self, id: NodeId, lowered: Lowered) {
        let node = self.graph.node(id);
        let name_of = |value: &Option<ValueId>| value.map_or(String::new(), |id| self.graph.value(id).name.clone());
        let output: Vec<String> = node.outputs().iter().map(name_of).collect();
        let first_output = output.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
        let mut input = Vec::with_capacity(lowered.inputs.len());
        for operand in lowered.inputs {
            input.push(match operand {
                Input::Absent => String::new(),
                Input::Value(id) => self.graph.value(id).name.clone(),
                Input::Before(_) => String::new(),
                Input::Constant(what, data) => {
                    // Empty tensors stand for inputs that are absent: one serves them all.
                    let known = self.empty.clone().filter(|_| data.is_empty());
                    known.unwrap_or_else(|| {
                        let name = self.fresh_name(&format!("{first_output}_{what}"));
                        self.proto.initializer.push(tensor_to_proto(&name, &data));
                        self.empty = self.empty.take().or_else(|| data.is_empty().then(|| name.clone()));
                        name
                    })
                }
            });
        }
        let kept = node.op.other();
        self.proto.node.push(NodeProto {
            input,
            output,
            name: text(&node.name),
            op_type: Some(lowered.op_type),
            domain: text(node.op.domain()),
            overload: kept.and_then(|kept| text(&kept.overload)),
            attribute: lowered.attributes,
            doc_string: text(&node.doc_string),
            metadata_props: entries(&node.metadata),
            device_configurations: self.graph.model.kept.devices.get(&first_output).cloned().unwrap_or_default(),
        });
    }

    fn fresh_name(&mut self, wish: &str) -> String {
        let mut name = self.graph.fresh_name(wish);
        let mut number = 1usize;
        while self.made.contains(&name) {
            name = self.graph.fresh_name(&format!("{wish}__{number}"));
            number += 1;
        }
        self.made.insert(name.clone());
        name
    }

    fn defined(&self, id: ValueId, by: &str) -> Result<(), WriteError> {
        let value = self.graph.value(id);
        if value.producer().is_some() || value.data.is_some() || value.is_input() {
            return Ok(());
        }
        Err(WriteError::Undefined { name: value.name.clone(), by: by.to_owned() })
    }

    fn info(&self, id: ValueId) -> ValueInfoProto {
        let value = self.graph.value(id);
        let mut proto = types::write(value);
        if let (Some(own), Some(original)) = (&mut proto, self.graph.model.kept.denotations.get(&value.name)) {
            types::restore_denotation(own, original);
        }
        ValueInfoProto {
            name: Some(value.name.clone()),
            r#type: proto,
            doc_string: text(&value.doc_string),
            metadata_props: entries(&value.metadata),
        }
    }
}

/// Tensors of the main graph, to move their data elsewhere.
pub(super) fn initializers(model: &mut ModelProto) -> impl Iterator<Item = &mut TensorProto> {
    model.graph.iter_mut().flat_map(|graph| &mut graph.initializer)
}
