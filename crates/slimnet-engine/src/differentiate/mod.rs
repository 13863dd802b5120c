//! Differentiation, a rewrite of the graph: it appends the nodes that compute gradients.

mod flow;

use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, GraphError, NodeId, ValueId};
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::elementwise::Binary;
use slimnet_graph::tensor::{ElementType, Tensor};

pub use flow::{Flow, flow};

/// Why a graph cannot be differentiated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DifferentiateError {
    /// There is no order of execution.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A node between a parameter and the loss has no gradient.
    #[error("{node} cannot be trained: {reason}; it lies between {parameter:?} and the loss")]
    Operator {
        /// The node.
        node: String,
        /// Why not.
        reason: String,
        /// A parameter whose gradient would pass through it.
        parameter: String,
    },
    /// A value of another element type than `float32` would need a gradient.
    #[error("{value:?} is {found}; only float32 can be trained")]
    ElementType {
        /// The value.
        value: String,
        /// Its element type.
        found: ElementType,
    },
}

/// Appends nodes that compute the gradients of `loss` (the sum of its elements) with respect to `wanted`, and returns them;
/// `None` where the loss does not depend on a value, or only through operators whose gradient is zero everywhere.
///
/// Every node between the wanted values and the loss gets one node [`Op::Gradient`]; gradients that meet are added in the
/// order of execution, so that the result does not depend on anything else. Element types must have been inferred.
///
/// # Errors
/// If a node on the way has no gradient, or a value on it is not `float32`.
pub fn differentiate(
    graph: &mut Graph,
    loss: ValueId,
    wanted: &[ValueId],
) -> Result<Vec<Option<ValueId>>, DifferentiateError> {
    let schedule = graph.schedule()?;
    let origin = reached(graph, &schedule, wanted);
    let mut gradients: Vec<Option<ValueId>> = vec![None; graph.value_bound()];
    let seed = Tensor::scalar(1f32);
    let shape = graph.value(loss).shape.clone().unwrap_or_default();
    let seed = match slimnet_graph::graph::known_shape(&shape) {
        Some(shape) if !shape.is_empty() => {
            let count = shape.iter().product();
            Tensor::from_values(shape, vec![1f32; count]).unwrap_or(seed)
        }
        _ => seed,
    };
    if origin[loss.index()].is_some() {
        gradients[loss.index()] = Some(graph.add_constant("gradient/seed", seed));
    }
    for node in schedule.into_iter().rev() {
        let arriving = graph.node(node).outputs().iter().flatten().any(|output| gradients[output.index()].is_some());
        if arriving {
            step_back(graph, node, &origin, &mut gradients)?;
        }
    }
    Ok(wanted.iter().map(|value| gradients[value.index()]).collect())
}

/// For every value one of the wanted ones on which it depends in a way that can carry a gradient.
fn reached(graph: &Graph, schedule: &[NodeId], wanted: &[ValueId]) -> Vec<Option<ValueId>> {
    let mut origin = vec![None; graph.value_bound()];
    for &value in wanted {
        origin[value.index()] = Some(value);
    }
    for &id in schedule {
        let node = graph.node(id);
        let flow = flow(&node.op);
        let from = node
            .inputs()
            .iter()
            .enumerate()
            .filter(|(slot, _)| flow.may_pass(*slot))
            .find_map(|(_, input)| origin[(*input)?.index()]);
        for output in node.outputs().iter().flatten() {
            let float = graph.value(*output).element_type.is_none_or(ElementType::is_float);
            if origin[output.index()].is_none() && float {
                origin[output.index()] = from;
            }
        }
    }
    origin
}

/// Appends the gradient of one node.
fn step_back(
    graph: &mut Graph,
    id: NodeId,
    origin: &[Option<ValueId>],
    gradients: &mut Vec<Option<ValueId>>,
) -> Result<(), DifferentiateError> {
    let node = graph.node(id).clone();
    let flow = flow(&node.op);
    let goes_to = |slot: usize, input: Option<ValueId>| {
        input.filter(|input| flow.may_pass(slot) && origin[input.index()].is_some())
    };
    let targets: Vec<_> = node.inputs().iter().enumerate().map(|(slot, &input)| goes_to(slot, input)).collect();
    let Some(&first) = targets.iter().flatten().next() else { return Ok(()) };
    let parameter = || origin[first.index()].map_or_else(String::new, |value| graph.value(value).name.clone());
    if let Flow::Unsupported(reason) = flow {
        let node = graph.describe_node(id);
        return Err(DifferentiateError::Operator { node, reason: reason.to_owned(), parameter: parameter() });
    }
    for value in targets.iter().flatten() {
        let value = graph.value(*value);
        if let Some(found) = value.element_type.filter(|&found| found != ElementType::F32) {
            return Err(DifferentiateError::ElementType { value: value.name.clone(), found });
        }
    }
    let mut inputs = node.inputs().to_vec();
    inputs.extend(node.outputs());
    inputs.extend(node.outputs().iter().map(|output| gradients[(*output)?.index()]));
    let outputs: Vec<_> = targets
        .iter()
        .map(|target| target.map(|target| graph.add_intermediate(&format!("gradient/{}", graph.value(target).name))))
        .collect();
    let gradient = Gradient { of: node.op.clone(), inputs: node.inputs().len(), outputs: node.outputs().len() };
    let name = format!("gradient of {}", node.name);
    graph.add_node(&name, Op::Gradient(Box::new(gradient)), inputs, outputs.clone())?;
    gradients.resize(graph.value_bound(), None);
    for (target, computed) in targets.iter().zip(outputs) {
        let (Some(target), Some(computed)) = (*target, computed) else { continue };
        copy_type(graph, target, computed);
        gradients[target.index()] = Some(match gradients[target.index()] {
            None => computed,
            Some(before) => {
                let sum = graph.apply("", Binary::Add, &[before, computed]);
                copy_type(graph, target, sum);
                sum
            }
        });
        gradients.resize(graph.value_bound(), None);
    }
    Ok(())
}

/// A gradient has the element type and shape of what it is the gradient of.
fn copy_type(graph: &mut Graph, from: ValueId, to: ValueId) {
    let (element_type, shape) = (graph.value(from).element_type, graph.value(from).shape.clone());
    let value = graph.value_mut(to);
    value.element_type = element_type;
    value.shape = shape;
}
