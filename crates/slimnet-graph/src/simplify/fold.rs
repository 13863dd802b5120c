//! Constant folding.

use std::collections::{BTreeSet, HashMap};

use crate::evaluate::evaluate_op;
use crate::graph::{DataForm, Dim, Graph, NodeId, ValueId};
use crate::infer::Inference;
use crate::ops::Op;
use crate::roles::{Role, role_of};
use crate::tensor::Tensor;

use super::SimplifyOptions;

/// Floating-point data up to this size speaks of a shape (scales of a Resize); above it may be weights.
const SMALL_BYTES: usize = 64;

/// Bytes that evaluation may read in any graph, and for each byte of data in it. No network comes near; many nodes that
/// each read all of a large constant would.
const LEAST_WORK: usize = 1 << 26;
const WORK_PER_BYTE: usize = 64;

/// Replaces nodes by constants where all inputs are data, or where inference knows the contents of every output.
/// Returns how many.
pub(super) fn fold(graph: &mut Graph, order: &[NodeId], inference: &Inference, options: &SimplifyOptions) -> usize {
    let mut folded = 0;
    let mut roles = HashMap::new();
    let data = graph.values().filter_map(|(_, value)| value.data.as_ref());
    let bytes = data.fold(0usize, |sum, data| sum.saturating_add(data.byte_len()));
    let mut budget = bytes.saturating_mul(WORK_PER_BYTE).saturating_add(LEAST_WORK);
    for &node in order {
        if !graph.has_node(node) || !is_pure(&graph.node(node).op, options) {
            continue;
        }
        let outputs = graph.node(node).outputs().to_vec();
        let results = from_contents(graph, &outputs, inference)
            .or_else(|| budget_for(graph, node, &mut budget).and_then(|()| evaluate(graph, node, options, &mut roles)));
        let Some(results) = results else { continue };
        let name = graph.node(node).name.clone();
        graph.remove_node(node);
        for (output, result) in outputs.into_iter().zip(results) {
            let Some(output) = output else { continue };
            let is_output = graph.outputs().contains(&output);
            graph.set_data(output, result);
            // Not every runtime takes an initializer as an output.
            let form = if is_output { DataForm::ConstantNode(name.clone()) } else { DataForm::Initializer };
            graph.value_mut(output).form = form;
        }
        folded += 1;
    }
    folded
}

/// Whether a node may be replaced by its result. Dequantisation of constants may not: it is how quantized weights are
/// kept small. Masks may only where nothing is trained any more: the result would no longer say which weights stay 0.
fn is_pure(op: &Op, options: &SimplifyOptions) -> bool {
    match op {
        Op::Other(_) | Op::Dropout(_) | Op::DequantizeLinear(_) => false,
        Op::Mask(_) => !options.keep_training,
        _ => true,
    }
}

fn from_contents(graph: &Graph, outputs: &[Option<ValueId>], inference: &Inference) -> Option<Vec<Tensor>> {
    let tensor = |output: ValueId| {
        let value = graph.value(output);
        let numbers: Option<Vec<_>> = inference.contents(output)?.iter().map(Dim::constant).collect();
        let numbers = numbers?.into_iter().map(i128::from).collect();
        Tensor::from_i128s(value.element_type?, value.known_shape()?, numbers).ok()
    };
    outputs.iter().map(|output| tensor((*output)?)).collect()
}

/// Takes the bytes that a node reads from what may still be read, if all of them are data.
fn budget_for(graph: &Graph, node: NodeId, budget: &mut usize) -> Option<()> {
    let mut read = 0usize;
    for input in graph.node(node).inputs().iter().flatten() {
        read = read.saturating_add(graph.value(*input).data.as_ref()?.byte_len());
    }
    *budget = budget.checked_sub(read)?;
    Some(())
}

/// Roles of the data that was asked for, each of which can have many readers.
type Roles = HashMap<ValueId, Option<Role>>;

fn evaluate(graph: &Graph, node: NodeId, options: &SimplifyOptions, roles: &mut Roles) -> Option<Vec<Tensor>> {
    let (op, outputs) = (&graph.node(node).op, graph.node(node).outputs().len());
    let ids = graph.node(node).inputs();
    let data = |id: Option<ValueId>| id.map_or(Some(None), |id| graph.value(id).data.as_ref().map(Some));
    let inputs: Vec<Option<&Tensor>> = ids.iter().map(|&id| data(id)).collect::<Option<_>>()?;
    let distinct: BTreeSet<ValueId> = ids.iter().flatten().copied().collect();
    let (own, shared): (Vec<_>, Vec<_>) = distinct.iter().partition(|&&input| is_read_only_by(graph, input, node));
    // A folded copy of weights that others read too would train apart from them.
    let is_parameter = |value: &ValueId| {
        let data = graph.value(*value).data.as_ref();
        let small = data.is_none_or(|data| !data.element_type().is_float() || data.byte_len() <= SMALL_BYTES);
        !small && *roles.entry(*value).or_insert_with(|| role_of(graph, *value)) == Some(Role::Parameter)
    };
    if distinct.is_empty() || shared.iter().any(is_parameter) {
        return None;
    }
    // Bytes that nothing needs once the node is gone.
    let own = own.iter().filter_map(|&value| graph.value(value).data.as_ref());
    let freed = own.fold(0usize, |sum, data| sum.saturating_add(data.byte_len()));
    let results = evaluate_op(op, &inputs, outputs, freed.max(options.fold_limit_bytes)).ok()?;
    // Growth is for tables of shapes, indices and masks. Stretching weights would bloat the file, widening them would
    // undo what made them narrow, multiplying them out would undo a factorisation.
    let float = results.iter().any(|result| result.element_type().is_float());
    let widens = matches!(op, Op::Cast(_) | Op::CastLike(_));
    let may_grow = matches!(op, Op::Range(_)) || !(float || widens);
    let limit = freed.max(if may_grow { options.fold_limit_bytes } else { SMALL_BYTES });
    let total = results.iter().fold(0usize, |sum, result| sum.saturating_add(result.byte_len()));
    (results.len() == outputs && total <= limit).then_some(results)
}

fn is_read_only_by(graph: &Graph, value: ValueId, node: NodeId) -> bool {
    graph.value(value).readers().all(|at| at.node == node) && !graph.outputs().contains(&value)
}
