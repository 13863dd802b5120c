//! Evaluation of whole graphs.

use std::collections::HashMap;

use super::{EvaluateError, evaluate_op};
use crate::graph::{Dim, Graph, GraphError, NodeId, ValueId};
use crate::tensor::Tensor;

/// Why a graph cannot be evaluated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GraphEvaluateError {
    /// A value that is needed has neither data nor a node that computes it.
    #[error("{0:?} was not given")]
    MissingInput(String),
    /// What was given is not what the graph declares.
    #[error("{value}: found {found}")]
    WrongInput {
        /// Name, element type and shape as declared (lengths of names that other inputs have settled filled in).
        value: String,
        /// What was given.
        found: String,
    },
    /// A node that cannot be evaluated.
    #[error("{node}: {source}")]
    Node {
        /// Which, in words.
        node: String,
        /// Why.
        source: EvaluateError,
    },
    /// A graph that is none.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Results of a graph's outputs. `inputs` are its free inputs (others may be given too: a value that is given is neither
/// computed nor taken from the file); no tensor that a node computes may be larger than `limit` bytes.
///
/// # Errors
/// If an input is missing or is not as declared, or a node cannot be evaluated.
#[allow(clippy::implicit_hasher)] // the standard map serves every caller
pub fn evaluate_graph(
    graph: &Graph,
    inputs: &HashMap<ValueId, Tensor>,
    limit: usize,
) -> Result<HashMap<ValueId, Tensor>, GraphEvaluateError> {
    evaluate_values(graph, inputs, graph.outputs(), limit)
}

/// As [`evaluate_graph`], for any values. Only the nodes that these depend on are evaluated.
///
/// # Errors
/// As [`evaluate_graph`].
#[allow(clippy::implicit_hasher)] // as above
pub fn evaluate_values(
    graph: &Graph,
    inputs: &HashMap<ValueId, Tensor>,
    wanted: &[ValueId],
    limit: usize,
) -> Result<HashMap<ValueId, Tensor>, GraphEvaluateError> {
    check_inputs(graph, inputs)?;
    let order = needed_nodes(graph, inputs, wanted)?;
    // How often each computed value is still read; a wanted one is read once more, by the caller.
    let mut uses = vec![0usize; graph.value_bound()];
    let reads = order.iter().flat_map(|&id| graph.node(id).inputs()).flatten();
    for value in reads.chain(wanted) {
        uses[value.index()] += 1;
    }
    let mut computed: HashMap<ValueId, Tensor> = HashMap::new();
    for id in order {
        let node = graph.node(id);
        let arguments: Vec<_> = node
            .inputs()
            .iter()
            .map(|input| input.map(|value| look_up(graph, inputs, &computed, value)).transpose())
            .collect::<Result<_, _>>()?;
        let results = evaluate_op(&node.op, &arguments, node.outputs().len(), limit)
            .map_err(|source| GraphEvaluateError::Node { node: graph.describe_node(id), source })?;
        for value in node.inputs().iter().flatten() {
            uses[value.index()] -= 1;
            if uses[value.index()] == 0 {
                computed.remove(value);
            }
        }
        for (output, result) in node.outputs().iter().zip(results) {
            if let Some(output) = output.filter(|output| uses[output.index()] > 0 && !inputs.contains_key(output)) {
                computed.insert(output, result);
            }
        }
    }
    wanted.iter().map(|&value| Ok((value, look_up(graph, inputs, &computed, value)?.clone()))).collect()
}

fn look_up<'a>(
    graph: &'a Graph,
    inputs: &'a HashMap<ValueId, Tensor>,
    computed: &'a HashMap<ValueId, Tensor>,
    value: ValueId,
) -> Result<&'a Tensor, GraphEvaluateError> {
    let found = inputs.get(&value).or_else(|| graph.value(value).data.as_ref()).or_else(|| computed.get(&value));
    found.ok_or_else(|| GraphEvaluateError::MissingInput(graph.value(value).name.clone()))
}

/// The nodes that `wanted` depends on, in an order of execution.
fn needed_nodes(
    graph: &Graph,
    inputs: &HashMap<ValueId, Tensor>,
    wanted: &[ValueId],
) -> Result<Vec<NodeId>, GraphEvaluateError> {
    let producer = |value: ValueId| {
        let given = inputs.contains_key(&value) || graph.value(value).data.is_some();
        graph.value(value).producer().filter(|_| !given)
    };
    let mut needed = vec![false; graph.node_bound()];
    let mut stack: Vec<_> = wanted.iter().copied().filter_map(producer).collect();
    while let Some(id) = stack.pop() {
        if !std::mem::replace(&mut needed[id.index()], true) {
            stack.extend(graph.node(id).inputs().iter().flatten().copied().filter_map(producer));
        }
    }
    let mut order = graph.schedule()?;
    order.retain(|id| needed[id.index()]);
    Ok(order)
}

/// Checks what is given against what the graph declares; a name must stand for the same length everywhere.
fn check_inputs(graph: &Graph, inputs: &HashMap<ValueId, Tensor>) -> Result<(), GraphEvaluateError> {
    let mut given: Vec<_> = inputs.iter().collect();
    // Which of two contradicting inputs is named must not depend on the map's order.
    given.sort_by_key(|(value, _)| **value);
    let mut lengths: HashMap<&str, i64> = HashMap::new();
    for (id, tensor) in &given {
        let Some(shape) = &graph.value(**id).shape else { continue };
        for (dim, &length) in shape.iter().zip(tensor.shape()) {
            if let Some(name) = dim.as_name() {
                lengths.entry(name).or_insert(length as i64);
            }
        }
    }
    for (id, tensor) in &given {
        let value = graph.value(**id);
        let type_fits = value.element_type.is_none_or(|element_type| element_type == tensor.element_type());
        let settled = value.shape.as_ref().map(|shape| {
            shape.iter().map(|dim| dim.at(|name| lengths.get(name).copied()).map_or(dim.clone(), Dim::from)).collect()
        });
        let shape_fits = settled.as_ref().is_none_or(|settled: &Vec<Dim>| {
            settled.len() == tensor.rank()
                && settled
                    .iter()
                    .zip(tensor.shape())
                    .all(|(dim, &length)| dim.constant().is_none_or(|known| known == length as i64))
        });
        if !type_fits || !shape_fits {
            let mut declared = value.clone();
            declared.shape = settled;
            let found = format!("{}{:?}", tensor.element_type(), tensor.shape());
            return Err(GraphEvaluateError::WrongInput { value: declared.describe(), found });
        }
    }
    Ok(())
}
