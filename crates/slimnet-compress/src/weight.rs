//! The weights of a network: which tensors multiply what flows through it, and along which of their axes.

use std::collections::BTreeMap;

use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, NodeId, ValueId};
use slimnet_graph::tensor::ElementType;

/// A tensor of the file that a layer multiplies with what it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The parameter, `float32`.
    pub value: ValueId,
    /// The first layer that reads it.
    pub node: NodeId,
    /// In which of its inputs.
    pub slot: usize,
    /// Its axis of outputs.
    pub outputs: usize,
    /// Its axis of inputs (of a grouped convolution: those of a group).
    pub inputs: usize,
}

/// The weights of a network, ordered by value; one that several layers read counts once, as that of the first.
///
/// Weights are the kernels of Conv and `ConvTranspose`, the matrices of Gemm and `MatMul` (of two axes), read directly or
/// through Transpose and Identity, and through `Mask` in the training form. Biases, scales, slopes and tables are none.
pub fn weights(graph: &Graph) -> Vec<Weight> {
    let mut found: BTreeMap<ValueId, Weight> = BTreeMap::new();
    for (node, layer) in graph.nodes() {
        let (slots, rank_two): (&[usize], bool) = match layer.op {
            Op::Conv(_) | Op::ConvTranspose(_) => (&[1], false),
            Op::Gemm(_) | Op::MatMul(_) => (&[0, 1], true),
            _ => continue,
        };
        for &slot in slots {
            let Some((value, order)) = layer.input(slot).and_then(|input| source(graph, input)) else { continue };
            let Some(data) = &graph.value(value).data else { continue };
            let fits = data.element_type() == ElementType::F32 && !data.is_empty() && data.rank() >= 2;
            if !fits || (rank_two && data.rank() != 2) {
                continue;
            }
            // Axes of outputs and inputs as the layer sees them.
            let (outputs, inputs) = match &layer.op {
                Op::ConvTranspose(_) => (1, 0),
                Op::Gemm(gemm) if if slot == 1 { !gemm.transB } else { gemm.transA } => (1, 0),
                Op::MatMul(_) if slot == 1 => (1, 0),
                _ => (0, 1),
            };
            let axis = |axis: usize| order.as_ref().map_or(Some(axis), |order| order.get(axis).copied());
            let (Some(outputs), Some(inputs)) = (axis(outputs), axis(inputs)) else { continue };
            found.entry(value).or_insert(Weight { value, node, slot, outputs, inputs });
        }
    }
    found.into_values().collect()
}

/// The data that a value is, seen through Identity, Mask and Transpose, and the order in which its axes arrive.
fn source(graph: &Graph, value: ValueId) -> Option<(ValueId, Option<Vec<usize>>)> {
    let mut order: Option<Vec<usize>> = None;
    let mut value = value;
    while let Some(producer) = graph.value(value).producer() {
        let node = graph.node(producer);
        match &node.op {
            Op::Unary(slimnet_graph::ops::elementwise::Unary::Identity) | Op::Mask(_) => {}
            Op::Transpose(transpose) => {
                let rank = graph.value(value).shape.as_ref()?.len();
                let own: Vec<usize> = match &transpose.perm {
                    None => (0..rank).rev().collect(),
                    Some(perm) => perm.iter().map(|&axis| axis as usize).collect(),
                };
                order = Some(order.map_or(own.clone(), |order| order.iter().map(|&axis| own[axis]).collect()));
            }
            _ => return None,
        }
        value = node.input(0)?;
    }
    graph.value(value).data.is_some().then_some((value, order))
}
