//! Constants that a layer's removed input channels gave to its outputs, moved into its bias.

use crate::graph::{Graph, NodeId, Use};
use crate::ops::Op;
use crate::ops::elementwise::Binary;
use crate::simplify::edit;
use crate::tensor::{ElementType, Tensor, TensorError};

use super::linear::spread;

/// Adds a constant to each output channel of a convolution or matrix product.
pub(super) fn add(graph: &mut Graph, node: NodeId, constants: &[f64]) -> Result<(), TensorError> {
    if matches!(graph.node(node).op, Op::MatMul(_)) {
        return match added_vector(graph, node, constants.len()) {
            Some(at) => add_to(graph, at, 1.0, constants),
            None => append(graph, node, constants),
        };
    }
    let old_scale = match &mut graph.node_mut(node).op {
        Op::Gemm(gemm) => std::mem::replace(&mut gemm.beta, 1.0),
        _ => 1.0,
    };
    add_to(graph, Use { node, slot: 2 }, f64::from(old_scale), constants)
}

/// Puts `scale · old + constants` in the place of a bias, which may be absent.
fn add_to(graph: &mut Graph, at: Use, scale: f64, constants: &[f64]) -> Result<(), TensorError> {
    let old = graph.input_data(at.node, at.slot).and_then(|old| Some((spread(old, constants.len())?, old.clone())));
    let mut sums = constants.to_vec();
    let (element_type, mut shape) = match &old {
        Some((values, old)) => {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * scale);
            (old.element_type(), old.shape().to_vec())
        }
        None => (element_type(graph, at.node), Vec::new()),
    };
    if shape.iter().product::<usize>() != sums.len() || shape.is_empty() {
        shape = vec![sums.len()];
    }
    edit::set_parameter(graph, at.node, at.slot, "bias", Tensor::from_f64s(element_type, shape, sums)?);
    Ok(())
}

fn element_type(graph: &Graph, node: NodeId) -> ElementType {
    let output = graph.node(node).output(0).and_then(|output| graph.value(output).element_type);
    output.unwrap_or(ElementType::F32)
}

/// The slot of an addition that alone reads a product and adds a vector of one number a column.
fn added_vector(graph: &Graph, node: NodeId, columns: usize) -> Option<Use> {
    let product = graph.node(node).output(0)?;
    let readers: Vec<_> = graph.value(product).readers().collect();
    let [reader] = readers[..] else { return None };
    if graph.outputs().contains(&product) || !matches!(graph.node(reader.node).op, Op::Binary(Binary::Add)) {
        return None;
    }
    let slot = 1 - reader.slot;
    let data = graph.input_data(reader.node, slot)?;
    (data.shape() == [columns]).then_some(Use { node: reader.node, slot })
}

/// Adds a vector behind a product.
fn append(graph: &mut Graph, node: NodeId, constants: &[f64]) -> Result<(), TensorError> {
    let Some(product) = graph.node(node).output(0) else { return Ok(()) };
    let name = edit::output_name(graph, node).to_owned();
    let vector = Tensor::from_f64s(element_type(graph, node), vec![constants.len()], constants.to_vec())?;
    let vector = graph.add_constant(&format!("{name}.bias"), vector);
    let sum = graph.apply(&format!("{name}.sum"), Op::Binary(Binary::Add), &[vector, vector]);
    let (element_type, shape) = (graph.value(product).element_type, graph.value(product).shape.clone());
    graph.value_mut(sum).element_type = element_type;
    graph.value_mut(sum).shape = shape;
    // The addition reads the product only once everything else reads the sum.
    graph.replace_uses(product, sum);
    if let Some(addition) = graph.value(sum).producer() {
        graph.set_input(addition, 0, Some(product));
    }
    Ok(())
}
