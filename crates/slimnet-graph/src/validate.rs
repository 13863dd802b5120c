//! Validation: what passes cannot make a later stage panic.

use std::collections::HashSet;

use crate::graph::{Dim, Graph, Node, NodeId, Use, ValueId, display_shape};
use crate::infer::{GraphInferError, analyse};
use crate::ops::Op;

/// Why a graph is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// A value that is read, or given out, and that nothing gives.
    #[error(
        "{reader} reads {value:?}: expected a node that computes it, data, or a graph input of that name, found none; \
         was the file cut out of a larger one?"
    )]
    NoSource {
        /// Name of the value.
        value: String,
        /// What reads it: a node, or the graph as its output.
        reader: String,
    },
    /// A value without name.
    #[error("{0} has no name: expected each value to have one")]
    NoName(ValueId),
    /// Two parts of a graph that contradict each other; a mistake of a rewrite, never of a file.
    #[error("{what}: expected {expected}, found {found}; this is a mistake in slimnet, please report it")]
    Broken {
        /// Where.
        what: String,
        /// What should be.
        expected: String,
        /// What is.
        found: String,
    },
    /// A node whose subgraphs read values that are not among its inputs.
    #[error("{node}: expected an input for each of the {expected} values that its subgraphs read, found {found}")]
    Captures {
        /// Which node.
        node: String,
        /// Values that its subgraphs read.
        expected: usize,
        /// Inputs for them.
        found: usize,
    },
    /// Nodes whose types do not fit.
    #[error(transparent)]
    Infer(#[from] GraphInferError),
}

/// Checks that a graph is whole: links agree, everything that is read has a source, names are unique, there is an order of
/// execution, data has the type of its value, and every node accepts its inputs ([`analyse`]). Linear in the size of the
/// graph.
///
/// # Errors
/// The first thing that does not hold.
pub fn validate(graph: &Graph) -> Result<(), ValidateError> {
    let inputs: HashSet<_> = graph.inputs().iter().copied().collect();
    if inputs.len() != graph.inputs().len() {
        return Err(broken("inputs of the graph", "each value once", "one twice"));
    }
    for &id in graph.inputs() {
        check_handle(graph, Some(id), "inputs of the graph")?;
    }
    let mut computed = vec![false; graph.value_bound()];
    let mut reads = 0usize;
    for (id, node) in graph.nodes() {
        check_node(graph, id, node, &mut computed)?;
        reads += node.inputs().iter().flatten().count();
    }
    for (id, value) in graph.values() {
        check_value(graph, id, inputs.contains(&id), computed[id.index()])?;
        reads = reads.wrapping_sub(value.readers().len());
    }
    // Each reader that a value knows of does read it; as many as there are inputs means that none is missing.
    if reads != 0 {
        return Err(broken("readers of values", "every node that reads them", "others"));
    }
    for &output in graph.outputs() {
        check_handle(graph, Some(output), "outputs of the graph")?;
        check_source(graph, output, || "the graph's list of outputs".into())?;
    }
    analyse(graph)?;
    Ok(())
}

fn broken(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> ValidateError {
    ValidateError::Broken { what: what.into(), expected: expected.into(), found: found.into() }
}

fn check_handle(graph: &Graph, id: Option<ValueId>, what: &str) -> Result<(), ValidateError> {
    match id {
        Some(id) if !graph.has_value(id) => {
            Err(broken(what, "values of the graph", format!("{id}, which is not there")))
        }
        _ => Ok(()),
    }
}

fn check_source(graph: &Graph, id: ValueId, reader: impl FnOnce() -> String) -> Result<(), ValidateError> {
    let value = graph.value(id);
    if value.producer().is_none() && value.data.is_none() && !value.is_input() {
        return Err(ValidateError::NoSource { value: value.name.clone(), reader: reader() });
    }
    Ok(())
}

fn check_node(graph: &Graph, id: NodeId, node: &Node, computed: &mut [bool]) -> Result<(), ValidateError> {
    for &value in node.inputs().iter().chain(node.outputs()) {
        // A node is described by its values, so these are looked at first.
        check_handle(graph, value, &format!("values of {id}"))?;
    }
    for input in node.inputs().iter().flatten() {
        check_source(graph, *input, || graph.describe_node(id))?;
    }
    for output in node.outputs().iter().flatten() {
        let twice = std::mem::replace(&mut computed[output.index()], true);
        if twice || graph.value(*output).producer() != Some(id) {
            let what = format!("producer of {:?}", graph.value(*output).name);
            return Err(broken(what, graph.describe_node(id), "another"));
        }
    }
    if let Op::Other(other) = &node.op {
        let expected = other.captures.len();
        let captured = node.inputs().len().checked_sub(expected).map(|start| &node.inputs()[start..]);
        let found = captured.map_or(node.inputs().len(), |captured| captured.iter().flatten().count());
        if captured.is_none() || found != expected {
            return Err(ValidateError::Captures { node: graph.describe_node(id), expected, found });
        }
    }
    Ok(())
}

fn check_value(graph: &Graph, id: ValueId, listed: bool, computed: bool) -> Result<(), ValidateError> {
    let value = graph.value(id);
    if value.name.is_empty() {
        return Err(ValidateError::NoName(id));
    }
    let name = || format!("value {:?}", value.name);
    if graph.find_value(&value.name) != Some(id) {
        return Err(broken(name(), "the only one of its name", "another that has it"));
    }
    if value.is_input() != listed {
        return Err(broken(name(), "one that is an input if the graph lists it", "a contradiction"));
    }
    if value.producer().is_some() != computed {
        return Err(broken(name(), "its producer to compute it", "one that does not"));
    }
    if computed && (value.data.is_some() || value.is_input()) {
        return Err(broken(name(), "one source", "a node and data or an input"));
    }
    for Use { node, slot } in value.readers() {
        if !graph.has_node(node) || graph.node(node).input(slot) != Some(id) {
            return Err(broken(name(), "readers that read it", format!("{node}, which does not at input {slot}")));
        }
    }
    if let Some(data) = &value.data {
        let shape: Vec<_> = data.shape().iter().map(|&length| Dim::from(length)).collect();
        if value.element_type != Some(data.element_type()) || value.shape.as_ref() != Some(&shape) {
            let found = format!("{}{}", data.element_type(), display_shape(&shape));
            return Err(broken(format!("data of {:?}", value.name), value.describe(), found));
        }
    }
    Ok(())
}
