//! What nodes mean in training and in evaluation.

use std::collections::{BTreeMap, HashMap};

use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, NodeId, ValueId};
use slimnet_graph::tensor::{ElementType, Tensor};

use super::JobError;

/// Gives batch normalisation (unless its statistics are frozen) and dropout their meaning in training. Returns running
/// statistics and their new values.
pub(super) fn training_meaning(
    graph: &mut Graph,
    freeze_batch_norm: bool,
) -> Result<Vec<(ValueId, ValueId)>, JobError> {
    let updates =
        if freeze_batch_norm { evaluate_batch_norms(graph).map(|()| Vec::new()) } else { batch_norm_meaning(graph) }?;
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let node = graph.node(id).clone();
        let (Op::Dropout(_), Some(result)) = (&node.op, node.output(0)) else { continue };
        let training = Tensor::from_f64s(ElementType::Bool, vec![], vec![1.0]).ok();
        let training = training.map(|training| graph.add_constant("training", training));
        let mut inputs = node.inputs().to_vec();
        inputs.resize(3, None);
        inputs[2] = training;
        let mut outputs = node.outputs().to_vec();
        outputs.resize(2, None);
        let name = format!("{}/mask", graph.value(result).name);
        outputs[1] = outputs[1].or_else(|| Some(graph.add_intermediate(&name)));
        graph.remove_node(id);
        graph.add_node(&node.name, node.op, inputs, outputs)?;
    }
    Ok(updates)
}

/// Makes batch normalisation use the statistics of its batch. Returns running statistics and their new values.
///
/// # Errors
/// If there is no order of execution.
pub fn batch_norm_meaning(graph: &mut Graph) -> Result<Vec<(ValueId, ValueId)>, JobError> {
    // Statistics that several nodes share are updated by one after the other, in the order of execution.
    let mut updates = BTreeMap::new();
    for id in graph.schedule()? {
        let mut node = graph.node(id).clone();
        let Some(result) = node.output(0) else { continue };
        let Op::BatchNormalization(op) = &mut node.op else { continue };
        op.training_mode = true;
        let name = graph.value(result).name.clone();
        let mut inputs = node.inputs().to_vec();
        let mut outputs = node.outputs().to_vec();
        outputs.resize(5, None);
        for (slot, part) in [(1, "mean"), (2, "variance"), (3, "batch_mean"), (4, "batch_deviation")] {
            outputs[slot] = outputs[slot].or_else(|| Some(graph.add_intermediate(&format!("{name}/{part}"))));
        }
        for slot in [3, 4] {
            let (Some(state), Some(new)) = (inputs[slot], outputs[slot - 2]) else { continue };
            // Statistics that are no data of the file (computed ones) stay as they are.
            if graph.value(state).data.is_some() {
                inputs[slot] = updates.insert(state, new).or(Some(state));
            }
        }
        graph.remove_node(id);
        graph.add_node(&node.name, node.op, inputs, outputs)?;
    }
    Ok(updates.into_iter().collect())
}

/// Gives batch normalisation and dropout that were stored as in training their meaning in evaluation.
///
/// # Errors
/// If new running statistics are read: they would not be computed.
pub fn evaluation_meaning(graph: &mut Graph) -> Result<(), JobError> {
    evaluate_batch_norms(graph)?;
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        if matches!(graph.node(id).op, Op::Dropout(_)) && graph.node(id).input(2).is_some() {
            graph.set_input(id, 2, None);
        }
    }
    Ok(())
}

fn evaluate_batch_norms(graph: &mut Graph) -> Result<(), JobError> {
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    ids.into_iter().try_for_each(|id| evaluate_batch_norm(graph, id))
}

fn evaluate_batch_norm(graph: &mut Graph, id: NodeId) -> Result<(), JobError> {
    let mut node = graph.node(id).clone();
    let Op::BatchNormalization(op) = &mut node.op else { return Ok(()) };
    if !op.training_mode {
        return Ok(());
    }
    op.training_mode = false;
    let read = |output: ValueId| graph.value(output).readers().len() > 0 || graph.outputs().contains(&output);
    if node.outputs().iter().skip(1).flatten().any(|&output| read(output)) {
        return Err(JobError::Mode { node: graph.describe_node(id) });
    }
    let (inputs, outputs) = (node.inputs().to_vec(), vec![node.output(0)]);
    graph.remove_node(id);
    graph.add_node(&node.name, node.op, inputs, outputs)?;
    Ok(())
}

/// Gives running statistics values of their own where the file has them share one with something else: exporters write
/// tensors of equal contents once, so that scale and variance of a fresh normalisation are one tensor. Normalisations that
/// share scale and bias too are one that is applied twice, and keep sharing. Returns how many values were added.
pub fn separate_statistics(graph: &mut Graph) -> usize {
    let normalizes = |op: &Op| matches!(op, Op::BatchNormalization(_));
    let ids: std::collections::BTreeSet<_> =
        graph.nodes().filter(|(_, node)| normalizes(&node.op)).map(|(id, _)| id).collect();
    let mut owners = HashMap::new();
    let mut copies = HashMap::new();
    for &id in &ids {
        for (slot, part) in [(3, "mean"), (4, "variance")] {
            let node = graph.node(id);
            let owner = (node.input(1), node.input(2), slot);
            let Some((state, data)) =
                node.input(slot).and_then(|state| Some((state, graph.value(state).data.clone()?)))
            else {
                continue;
            };
            let other = |reader: slimnet_graph::graph::Use| reader.slot != slot || !ids.contains(&reader.node);
            let mixed = *owners.entry(state).or_insert(owner) != owner || graph.value(state).readers().any(other);
            if !mixed {
                continue;
            }
            let name = format!("{}/{part}", graph.value(state).name);
            let copy = *copies.entry((state, owner)).or_insert_with(|| graph.add_constant(&name, data));
            graph.set_input(id, slot, Some(copy));
        }
    }
    copies.len()
}
