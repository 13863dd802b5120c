//! Operators of our own in files: nodes of our own domain, and for each operator one local function of standard operators,
//! so that other runtimes compute them too.

use std::collections::BTreeSet;

use super::error::{NEWEST, WriteError};
use super::lift::{Lifted, NotLifted, Source};
use super::lower::Lowered;
use super::proto::{FunctionProto, NodeProto, OperatorSetIdProto};
use super::read::canonical_domain;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::slimnet::{DOMAIN, VERSION};

/// The operator set that brought local functions (and `CastLike`, which makes ours serve every type).
const SINCE: i64 = 15;

/// The function that an operator of our own is, in an operator set of the default domain.
fn definition(op_type: &str, opset: i64) -> Option<FunctionProto> {
    let node = |op_type: &str, inputs: [&str; 2], output: &str| NodeProto {
        op_type: Some(op_type.to_owned()),
        input: inputs.map(str::to_owned).to_vec(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    let (inputs, output, node) = match op_type {
        "Mask" => {
            (["w", "mask"], "y", vec![node("CastLike", ["mask", "w"], "factor"), node("Mul", ["w", "factor"], "y")])
        }
        _ => return None,
    };
    Some(FunctionProto {
        name: Some(op_type.to_owned()),
        domain: Some(DOMAIN.to_owned()),
        input: inputs.map(str::to_owned).to_vec(),
        output: vec![output.to_owned()],
        node,
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) }],
        ..FunctionProto::default()
    })
}

/// Whether a function of a file computes what we mean by its name. Texts and declared types say nothing of that.
pub(super) fn is_ours(function: &FunctionProto) -> bool {
    let [import] = &function.opset_import[..] else { return false };
    let known = canonical_domain(import.domain()).is_empty() && (SINCE..=NEWEST).contains(&import.version());
    let expected = definition(function.name(), import.version()).filter(|_| known && function.domain() == DOMAIN);
    let Some(expected) = expected else { return false };
    let plain = function.overload().is_empty() && function.attribute.is_empty() && function.attribute_proto.is_empty();
    let computes = |node: &NodeProto, expected: &NodeProto| {
        let standard = canonical_domain(node.domain()).is_empty() && node.overload().is_empty();
        standard
            && node.op_type == expected.op_type
            && (&node.input, &node.output, &node.attribute) == (&expected.input, &expected.output, &expected.attribute)
    };
    plain
        && (&function.input, &function.output) == (&expected.input, &expected.output)
        && function.node.len() == expected.node.len()
        && function.node.iter().zip(&expected.node).all(|(node, expected)| computes(node, expected))
}

/// Whether nodes of our domain can be ours in a model.
pub(super) fn is_imported(opsets: &[(String, i64)]) -> bool {
    opsets.iter().any(|(domain, version)| domain == DOMAIN && *version == VERSION)
}

/// Takes what [`declare`] adds out of a model that was read, unless something that is kept whole could use it.
pub(super) fn take_from(graph: &mut Graph) {
    let kept = graph.nodes().any(|(_, node)| node.op.other().is_some());
    if kept || !graph.model.kept.training_info.is_empty() || !graph.model.functions.iter().all(is_ours) {
        return;
    }
    graph.model.functions.clear();
    graph.model.opsets.retain(|(domain, version)| domain != DOMAIN || *version != VERSION);
}

/// Adds the functions of the operators of our own that a graph has, and the import of their domain.
///
/// # Errors
/// If the names of these are used for something else in the file that the graph was read from.
pub(super) fn declare(
    graph: &Graph,
    opset: i64,
    functions: &mut Vec<FunctionProto>,
    opsets: &mut Vec<(String, i64)>,
) -> Result<(), WriteError> {
    let own = graph.nodes().map(|(_, node)| &node.op).filter(|op| op.is_own());
    let used: BTreeSet<&str> = own.map(Op::op_type).collect();
    let Some(first) = used.first() else { return Ok(()) };
    let taken = |operator: &str, found| Err(WriteError::Taken { operator: format!("{DOMAIN}.{operator}"), found });
    if let Some((_, version)) = opsets.iter().find(|(domain, version)| domain == DOMAIN && *version != VERSION) {
        return taken(first, format!("version {version} of domain {DOMAIN:?}, not version {VERSION}"));
    }
    let means = |function: &FunctionProto| function.domain() == DOMAIN && used.contains(function.name());
    if let Some(other) = functions.iter().find(|function| means(function) && !is_ours(function)) {
        return taken(other.name(), "a function of this name that computes something else".into());
    }
    functions.retain(|function| !means(function));
    functions.extend(used.iter().filter_map(|op_type| definition(op_type, opset)));
    if !is_imported(opsets) {
        opsets.push((DOMAIN.to_owned(), VERSION));
    }
    Ok(())
}

/// Reads a node of our domain.
pub(super) fn lift(node: Source<'_>) -> Result<Lifted, NotLifted> {
    let op = match Op::read(node.op_type, node.attributes) {
        Some(op) => op?,
        None => return Err(unknown(node.op_type)),
    };
    if !op.is_own() {
        return Err(unknown(node.op_type));
    }
    let inputs = node.inputs.into_iter().map(Into::into).collect();
    Ok(Lifted { before: Vec::new(), op, inputs, outputs: node.outputs.len(), replaced: Vec::new() })
}

fn unknown(op_type: &str) -> NotLifted {
    NotLifted::Kept(format!("domain {DOMAIN:?} has no operator {op_type} in version {VERSION}"))
}

/// Writes a node of our domain.
///
/// # Errors
/// Why the operator set does not allow it.
pub(super) fn lower(node: &Node, opset: i64) -> Result<Lowered, String> {
    if opset < SINCE {
        return Err(format!("it is a local function, which came with operator set {SINCE}"));
    }
    let (op_type, attributes) = (node.op.op_type().to_owned(), node.op.attributes().into_protos());
    let inputs = node.inputs().iter().copied().map(Into::into).collect();
    Ok(Lowered { op_type, attributes, inputs, swallowed: Vec::new() })
}
