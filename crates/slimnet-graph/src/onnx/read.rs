//! ONNX files to graphs.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use prost::Message;

use super::budget::Budget;
use super::constant;
use super::error::{NEWEST, OLDEST, ReadError, ReadProblem};
use super::external::ExternalFiles;
use super::lift::{self, Input, Lifted, NotLifted, Source};
use super::proto::{GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto};
use super::sketch::Sketch;
use super::tensor::tensor_from_proto;
use super::{KeptParts, ModelInfo, SEMANTICS, memory_map, own, sort, subgraph, types, weigh};
use crate::graph::{DataForm, Graph, NodeId, Value, ValueId};
use crate::ops::attribute::Attributes;
use crate::ops::{OnnxNode, Op, slimnet};
use crate::validate::validate;

/// Reads a network from a file. Its weights are slices of the memory-mapped file; external data is looked for in the
/// file's folder.
///
/// # Errors
/// If the file cannot be read, or holds no valid network; the message says where and what to do.
pub fn read_file(path: &Path) -> Result<Graph, ReadError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    memory_map::read(path)
        .map_err(ReadProblem::Io)
        .and_then(|bytes| read(bytes, Some(directory)))
        .map_err(|problem| ReadError { file: Some(path.to_owned()), problem: Box::new(problem) })
}

/// Reads a network from the bytes of a file. Its weights are slices of them; external data is looked for in
/// `external_dir`.
///
/// # Errors
/// If the bytes hold no valid network; the message says where and what to do.
pub fn read_bytes(bytes: Bytes, external_dir: Option<&Path>) -> Result<Graph, ReadError> {
    read(bytes, external_dir).map_err(|problem| ReadError { file: None, problem: Box::new(problem) })
}

fn read(bytes: Bytes, directory: Option<&Path>) -> Result<Graph, ReadProblem> {
    let size = bytes.len();
    if weigh::is_too_heavy(&bytes) {
        return Err(ReadProblem::TooHeavy);
    }
    let mut model = ModelProto::decode(bytes)?;
    let Some(mut graph) = model.graph.take() else {
        let found = if size == 0 { "an empty file" } else { "a protobuf without one" };
        return Err(ReadProblem::NoGraph { found: found.into() });
    };
    let opsets = opsets(&model)?;
    let opset = opsets.iter().find(|(domain, _)| domain.is_empty()).map(|(_, version)| *version);
    match opset {
        None if opsets.is_empty() || graph.node.iter().any(|node| canonical_domain(node.domain()).is_empty()) => {
            return Err(ReadProblem::NoOpset);
        }
        Some(found) if !(OLDEST..=NEWEST).contains(&found) => return Err(ReadProblem::Opset { found }),
        _ => {}
    }
    let mut external = ExternalFiles::new(directory);
    for info in &mut model.training_info {
        info.initialization
            .iter_mut()
            .chain(&mut info.algorithm)
            .try_for_each(|graph| external.resolve_graph(graph))?;
    }
    for function in &mut model.functions {
        function.node.iter_mut().try_for_each(|node| external.resolve_node(node))?;
    }
    let key = |function: &super::proto::FunctionProto| {
        (canonical_domain(function.domain()).to_owned(), function.name().to_owned())
    };
    let mut reader = Reader {
        functions: model.functions.iter().filter(|function| !own::is_ours(function)).map(key).collect(),
        own: own::is_imported(&opsets),
        opset: opset.unwrap_or(SEMANTICS),
        external,
        budget: Budget::new(size),
        graph: Graph::new(graph.name()),
        sketch: Sketch::default(),
        needs_types: false,
        read: HashSet::new(),
        replaced: Vec::new(),
    };
    reader.graph.doc_string = std::mem::take(&mut graph.doc_string).unwrap_or_default();
    reader.graph.metadata = pairs(std::mem::take(&mut graph.metadata_props));
    reader.graph.model = ModelInfo {
        ir_version: model.ir_version(),
        opsets,
        producer_name: model.producer_name.unwrap_or_default(),
        producer_version: model.producer_version.unwrap_or_default(),
        domain: model.domain.unwrap_or_default(),
        model_version: model.model_version.unwrap_or_default(),
        doc_string: model.doc_string.unwrap_or_default(),
        metadata: pairs(model.metadata_props),
        functions: model.functions,
        kept: KeptParts {
            training_info: model.training_info,
            configuration: model.configuration,
            quantization_annotation: std::mem::take(&mut graph.quantization_annotation),
            value_info: !graph.value_info.is_empty(),
            ..KeptParts::default()
        },
    };
    reader.read_graph(graph)?;
    own::take_from(&mut reader.graph);
    validate(&reader.graph)?;
    Ok(reader.graph)
}

/// The default domain has two names.
pub(super) fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn opsets(model: &ModelProto) -> Result<Vec<(String, i64)>, ReadProblem> {
    let mut versions: Vec<(String, i64)> = Vec::new();
    for import in &model.opset_import {
        let (domain, second) = (canonical_domain(import.domain()), import.version());
        match versions.iter().find(|(known, _)| known == domain) {
            Some((_, first)) if *first != second => {
                return Err(ReadProblem::TwoOpsets { domain: domain.to_owned(), first: *first, second });
            }
            Some(_) => {}
            None => versions.push((domain.to_owned(), second)),
        }
    }
    Ok(versions)
}

fn pairs(entries: Vec<StringStringEntryProto>) -> Vec<(String, String)> {
    entries.into_iter().map(|entry| (entry.key.unwrap_or_default(), entry.value.unwrap_or_default())).collect()
}

struct Reader {
    /// Functions of the model that are not ours.
    functions: HashSet<(String, String)>,
    /// Whether nodes of our own domain are ours.
    own: bool,
    opset: i64,
    external: ExternalFiles,
    budget: Budget,
    graph: Graph,
    sketch: Sketch,
    /// Whether the lifting of some node asks for types of what it reads.
    needs_types: bool,
    /// Names that nodes read, where lifting needs to know.
    read: HashSet<String>,
    /// Data that lifted nodes no longer read.
    replaced: Vec<ValueId>,
}

impl Reader {
    fn read_graph(&mut self, proto: GraphProto) -> Result<(), ReadProblem> {
        for (index, tensor) in proto.initializer.into_iter().enumerate() {
            self.add_initializer(index, tensor)?;
        }
        for (index, mut tensor) in proto.sparse_initializer.into_iter().enumerate() {
            let name = subgraph::sparse_name(&tensor).to_owned();
            self.external.resolve_sparse(&mut tensor)?;
            let data = constant::dense(&name, &tensor, &mut self.budget)?;
            self.add(Value::with_data(&name, data), || format!("sparse initializer {index}"))?;
        }
        for (index, info) in proto.input.into_iter().enumerate() {
            self.add_input(index, info)?;
        }
        let mut nodes = proto.node;
        self.add_computed_values(&mut nodes)?;
        self.needs_types = nodes.iter().any(|node| lift::asks_for_types(node.op_type(), self.opset));
        if lift::asks_what_is_read(self.opset) {
            let names =
                nodes.iter().flat_map(|node| node.input.iter().cloned().chain(subgraph::captures(&node.attribute)));
            self.read = names.chain(proto.output.iter().map(|output| output.name().to_owned())).collect();
        }
        if self.needs_types {
            nodes = self.sorted(nodes);
        }
        let mut seen = HashSet::new();
        for info in proto.output {
            let id = self.find(info.name(), || "the list of outputs".into())?;
            if !seen.insert(id) {
                return Err(ReadProblem::Duplicate { name: info.name().to_owned(), by: "the list of outputs".into() });
            }
            self.describe(id, info)?;
            self.graph.add_output(id);
        }
        for info in proto.value_info {
            if let Some(id) = self.graph.find_value(info.name()) {
                self.describe(id, info)?;
            }
        }
        nodes.into_iter().try_for_each(|node| self.add_node(node))?;
        for id in std::mem::take(&mut self.replaced) {
            if self.graph.has_value(id) {
                self.graph.remove_value(id);
            }
        }
        Ok(())
    }

    fn add(&mut self, value: Value, by: impl Fn() -> String) -> Result<ValueId, ReadProblem> {
        if value.name.is_empty() {
            return Err(ReadProblem::Unnamed { what: by() });
        }
        let name = value.name.clone();
        self.graph.add_value(value).map_err(|_| ReadProblem::Duplicate { name, by: by() })
    }

    fn find(&self, name: &str, by: impl Fn() -> String) -> Result<ValueId, ReadProblem> {
        self.graph.find_value(name).ok_or_else(|| ReadProblem::Undefined { name: name.to_owned(), by: by() })
    }

    fn add_initializer(&mut self, index: usize, mut tensor: TensorProto) -> Result<(), ReadProblem> {
        self.external.resolve(&mut tensor)?;
        let name = tensor.name.take().unwrap_or_default();
        let data = tensor_from_proto(&tensor).map_err(|problem| ReadProblem::Tensor { name: name.clone(), problem })?;
        let mut value = Value::with_data(&name, data);
        value.doc_string = tensor.doc_string.unwrap_or_default();
        value.metadata = pairs(tensor.metadata_props);
        self.add(value, || format!("initializer {index}")).map(|_| ())
    }

    fn add_input(&mut self, index: usize, mut info: ValueInfoProto) -> Result<(), ReadProblem> {
        let known = self.graph.find_value(info.name());
        let id = match known {
            Some(id) => id,
            None => self.add(Value::new(info.name()), || format!("input {index}"))?,
        };
        let name = info.name.take().unwrap_or_default();
        self.graph.add_input(id).map_err(|_| ReadProblem::Duplicate { name, by: format!("input {index}") })?;
        self.describe(id, info)
    }

    fn describe(&mut self, id: ValueId, info: ValueInfoProto) -> Result<(), ReadProblem> {
        let value = self.graph.value_mut(id);
        if let Some(doc_string) = info.doc_string.filter(|text| !text.is_empty()) {
            value.doc_string = doc_string;
        }
        if !info.metadata_props.is_empty() {
            value.metadata = pairs(info.metadata_props);
        }
        let Some(proto) = info.r#type else { return Ok(()) };
        let described = types::read(&value.name, &proto)?;
        types::describe(value, described)?;
        if types::has_denotation(&proto) {
            let name = value.name.clone();
            self.graph.model.kept.denotations.insert(name, proto);
        }
        Ok(())
    }

    /// Adds what nodes compute, before any node reads it: files need not be sorted.
    fn add_computed_values(&mut self, nodes: &mut Vec<NodeProto>) -> Result<(), ReadProblem> {
        let functions = &self.functions;
        let is_constant = |node: &NodeProto| {
            let domain = canonical_domain(node.domain());
            node.op_type() == "Constant" && domain.is_empty() && !calls_function(functions, "", "Constant")
        };
        let constants: Vec<bool> = nodes.iter().map(is_constant).collect();
        for (node, &is_constant) in nodes.iter_mut().zip(&constants) {
            if !is_constant {
                for name in node.output.iter().filter(|name| !name.is_empty()) {
                    self.add(Value::new(name), || describe(node))?;
                }
                continue;
            }
            let [name] = &node.output[..] else {
                let (found, expected) = (node.output.len().to_string(), "1".to_owned());
                let node = describe(node);
                return Err(ReadProblem::Node { node, what: "number of outputs".into(), expected, found });
            };
            let name = name.clone();
            let data = constant::constant(node, &mut self.external, &mut self.budget)?;
            let mut value = Value::with_data(&name, data);
            value.form = DataForm::ConstantNode(node.name.take().unwrap_or_default());
            value.doc_string = node.doc_string.take().unwrap_or_default();
            value.metadata = pairs(std::mem::take(&mut node.metadata_props));
            self.add(value, || describe(node))?;
        }
        let mut constants = constants.into_iter();
        nodes.retain(|_| !constants.next().unwrap_or(false));
        Ok(())
    }

    /// Nodes in an order in which types are known when they are asked for.
    fn sorted(&self, nodes: Vec<NodeProto>) -> Vec<NodeProto> {
        let mut computed_by = vec![None; self.graph.value_bound()];
        for (place, node) in nodes.iter().enumerate() {
            for id in node.output.iter().filter_map(|name| self.graph.find_value(name)) {
                computed_by[id.index()] = Some(place);
            }
        }
        sort::sort(nodes, |node| {
            let values = node.input.iter().filter_map(|name| self.graph.find_value(name));
            values.filter_map(|id| computed_by[id.index()]).collect()
        })
    }

    fn add_node(&mut self, mut node: NodeProto) -> Result<(), ReadProblem> {
        let resolve = |names: &[String]| -> Result<Vec<Option<ValueId>>, ReadProblem> {
            let find = |name: &String| self.find(name, || describe(&node)).map(Some);
            names.iter().map(|name| if name.is_empty() { Ok(None) } else { find(name) }).collect()
        };
        let (inputs, outputs) = (resolve(&node.input)?, resolve(&node.output)?);
        let domain = canonical_domain(node.domain()).to_owned();
        let first_output = node.output.iter().find(|name| !name.is_empty()).cloned();
        if !node.device_configurations.is_empty() {
            let key = first_output.clone().unwrap_or_default();
            self.graph.model.kept.devices.insert(key, std::mem::take(&mut node.device_configurations));
        }
        let lifted = if let Some(reason) = self.why_kept(&node, &domain) {
            Err(NotLifted::Kept(reason))
        } else {
            let source = Source {
                op_type: node.op_type(),
                attributes: Attributes::new(&node.attribute),
                inputs: inputs.clone(),
                outputs: &outputs,
                graph: &self.graph,
                sketch: &self.sketch,
                budget: &mut self.budget,
                is_read: &|id| self.read.contains(self.graph.value(id).name.as_str()),
            };
            if domain.is_empty() { lift::lift(source, self.opset) } else { own::lift(source) }
        };
        let lifted = match lifted {
            Ok(lifted) => lifted,
            Err(NotLifted::Attribute(problem)) => {
                return Err(ReadProblem::Attribute { node: describe(&node), problem });
            }
            Err(NotLifted::Count { what, expected, found }) => {
                let (node, found) = (describe(&node), found.to_string());
                return Err(ReadProblem::Node { node, what: what.to_owned(), expected, found });
            }
            Err(NotLifted::Kept(reason)) => self.keep(&mut node, domain, inputs, reason)?,
        };
        self.add_lifted(node, lifted, outputs, &first_output.unwrap_or_default())
    }

    /// Why a node is kept whole without looking at its operator.
    fn why_kept(&self, node: &NodeProto, domain: &str) -> Option<String> {
        if calls_function(&self.functions, domain, node.op_type()) {
            return Some("calls a function of the model".into());
        }
        let own = self.own && domain == slimnet::DOMAIN && node.overload().is_empty();
        if !domain.is_empty() && !own {
            return Some(format!("domain {domain:?} is not known"));
        }
        subgraph::has_graphs(&node.attribute).then(|| "holds subgraphs".into())
    }

    fn keep(
        &mut self,
        node: &mut NodeProto,
        domain: String,
        inputs: Vec<Option<ValueId>>,
        reason: String,
    ) -> Result<Lifted, ReadProblem> {
        self.external.resolve_node(node)?;
        let captures = subgraph::captures(&node.attribute);
        let mut inputs: Vec<Input> = inputs.into_iter().map(Input::from).collect();
        for name in &captures {
            inputs.push(Input::Value(self.find(name, || format!("a subgraph of {}", describe(node)))?));
        }
        let kept = OnnxNode {
            domain,
            op_type: node.op_type.take().unwrap_or_default(),
            overload: node.overload.take().unwrap_or_default(),
            attributes: std::mem::take(&mut node.attribute),
            captures,
            reason,
        };
        let outputs = node.output.len();
        Ok(Lifted { before: Vec::new(), op: Op::Other(Box::new(kept)), inputs, outputs, replaced: Vec::new() })
    }

    fn add_lifted(
        &mut self,
        node: NodeProto,
        lifted: Lifted,
        mut outputs: Vec<Option<ValueId>>,
        first_output: &str,
    ) -> Result<(), ReadProblem> {
        let mut before = Vec::new();
        for (what, op, inputs) in lifted.before {
            let inputs = self.make_inputs(inputs, &before, first_output);
            let output = self.graph.add_intermediate(&format!("{first_output}_{what}"));
            let name = if node.name().is_empty() { String::new() } else { format!("{}_{what}", node.name()) };
            self.add_understood(&name, op, inputs, vec![Some(output)])?;
            before.push(output);
        }
        let inputs = self.make_inputs(lifted.inputs, &before, first_output);
        let dropped = outputs.split_off(lifted.outputs.min(outputs.len()));
        let id = self.add_understood(node.name(), lifted.op, inputs, outputs)?;
        for id in dropped.into_iter().flatten() {
            self.graph.remove_value(id);
        }
        self.replaced.extend(lifted.replaced);
        let made = self.graph.node_mut(id);
        made.doc_string = node.doc_string.unwrap_or_default();
        made.metadata = pairs(node.metadata_props);
        Ok(())
    }

    fn make_inputs(&mut self, inputs: Vec<Input>, before: &[ValueId], first_output: &str) -> Vec<Option<ValueId>> {
        let make = |input: Input| match input {
            Input::Absent => None,
            Input::Value(id) => Some(id),
            Input::Before(place) => before.get(place).copied(),
            Input::Constant(what, data) => Some(self.graph.add_constant(&format!("{first_output}_{what}"), data)),
        };
        inputs.into_iter().map(make).collect()
    }

    fn add_understood(
        &mut self,
        name: &str,
        op: Op,
        inputs: Vec<Option<ValueId>>,
        outputs: Vec<Option<ValueId>>,
    ) -> Result<NodeId, ReadProblem> {
        let id = self.graph.add_node(name, op, inputs, outputs)?;
        if self.needs_types {
            self.sketch.add(&self.graph, id);
        }
        Ok(id)
    }
}

fn calls_function(functions: &HashSet<(String, String)>, domain: &str, op_type: &str) -> bool {
    !functions.is_empty() && functions.contains(&(domain.to_owned(), op_type.to_owned()))
}

/// What to call a node in messages.
pub(super) fn describe(node: &NodeProto) -> String {
    let operator = node.op_type();
    match node.name() {
        "" => format!("{operator} computing {:?}", node.output.first().map_or("", String::as_str)),
        name => format!("{operator} {name:?}"),
    }
}
