//! Between the deployed form of a network and its training form.
//!
//! What it does: in the deployed form a pruned weight is a zero, which the next step of training would move. [`lift`] puts a
//! `Mask` between every weight that must stay sparse and its readers; [`lower`] multiplies the masks in again.
//!
//! Equation: `readers read w · m`, where `m = 1` if `w ≠ 0` when it is lifted, else 0. So `∂L/∂w = m · ∂L/∂(w · m)`: what is
//! masked gets no gradient, and what is 0 stays 0 under momentum, weight decay, Adam and averages, which all are multiples
//! of weights and gradients.
//!
//! Parameters: [`Keep`], which weights are taken as sparse.
//!
//! Cost: one product for each element in each step of training, one byte of memory; none in the deployed form.
//!
//! When it hurts: a zero that is one by chance is kept as well; with 30 % exact zeros and more this does not happen.
//!
//! Source: Han et al., Learning both Weights and Connections for Efficient Neural Networks, 2015.

use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, NodeId, Use, Value, ValueId};
use slimnet_graph::ops::Role;
use slimnet_graph::ops::slimnet::Mask;
use slimnet_graph::roles::roles;
use slimnet_graph::tensor::{Tensor, TensorError};

use crate::constraint::{Constraint, ConstraintError, Keep, record_sparse, recorded};

/// The training form of a network.
#[derive(Debug, Clone)]
pub struct Lifted {
    /// The network with masks.
    pub graph: Graph,
    /// The weights that have one, in the order of values.
    pub sparse: Vec<Sparse>,
}

/// A weight whose zeros are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sparse {
    /// The weight.
    pub value: ValueId,
    /// How many of its elements are 0.
    pub zeros: usize,
    /// How many elements it has.
    pub elements: usize,
    /// Whether it had no record, but looks sparse ([`Keep::Auto`]); it has one now.
    pub found: bool,
}

/// The training form: every parameter of `float32` that is recorded as sparse gets a `Mask` between it and its readers, which
/// keeps what is not 0. The parameter keeps its name, its data and its record; a graph output stays the parameter itself.
/// Parameters of other element types are left as they are: they are not trained. With [`Keep::Nothing`] the graph is returned
/// as it is.
///
/// # Errors
/// If a record is not understood.
pub fn lift(graph: &Graph, keep: Keep) -> Result<Lifted, ConstraintError> {
    let mut graph = graph.clone();
    let mut sparse = Vec::new();
    if keep == Keep::Nothing {
        return Ok(Lifted { graph, sparse });
    }
    let found = if keep == Keep::Auto { record_sparse(&mut graph) } else { Vec::new() };
    let roles = roles(&graph);
    let parameters: Vec<ValueId> =
        graph.values().map(|(id, _)| id).filter(|id| roles[id.index()] == Some(Role::Parameter)).collect();
    for value in parameters {
        let Some(Constraint::Sparse(_)) = recorded(&graph, value)? else { continue };
        if let Some((zeros, elements)) = put_mask(&mut graph, value) {
            sparse.push(Sparse { value, zeros, elements, found: found.iter().any(|&(own, _)| own == value) });
        }
    }
    Ok(Lifted { graph, sparse })
}

/// Puts a mask of what is not 0 on a value of `float32`, unless all its readers are masks already. Returns how many of its
/// elements are 0, and how many there are.
fn put_mask(graph: &mut Graph, value: ValueId) -> Option<(usize, usize)> {
    let source = graph.value(value);
    let readers: Vec<Use> = source.readers().filter(|&reader| !is_mask_of(graph, reader)).collect();
    let data = source.data.as_ref().filter(|_| !readers.is_empty())?;
    let kept: Vec<u8> = data.values::<f32>().ok()?.iter().map(|&weight| u8::from(weight != 0.0)).collect();
    let counts = (kept.len() - kept.iter().map(|&kept| usize::from(kept)).sum::<usize>(), kept.len());
    let mask = Tensor::from_values(data.shape().to_vec(), kept).ok()?;
    let (name, element_type, shape) = (source.name.clone(), source.element_type, source.shape.clone());
    let mask = graph.add_constant(&format!("{name}/mask"), mask);
    let masked = graph.apply(&format!("{name}/masked"), Mask {}, &[value, mask]);
    let Value { element_type: own_type, shape: own_shape, .. } = graph.value_mut(masked);
    (*own_type, *own_shape) = (element_type, shape);
    for Use { node, slot } in readers {
        graph.set_input(node, slot, Some(masked));
    }
    Some(counts)
}

/// Whether a reader is a mask on what it reads.
fn is_mask_of(graph: &Graph, reader: Use) -> bool {
    reader.slot == 0 && matches!(graph.node(reader.node).op, Op::Mask(_))
}

/// The deployed form: every `Mask` of which both the weight and the mask are data goes, and what read it reads the weight
/// again, whose data becomes `w · mask`. (If something else reads the weight as it is, so that it cannot change, the product
/// becomes data of its own. A `Mask` that computes an output of the graph stays.) `lower(lift(g))` is `g`, but for the
/// records that [`Keep::Auto`] adds.
pub fn lower(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let masks: Vec<NodeId> =
        graph.nodes().filter(|(_, node)| matches!(node.op, Op::Mask(_))).map(|(id, _)| id).collect();
    for node in masks {
        remove_mask(&mut graph, node);
    }
    graph
}

/// Multiplies a mask in, if it and its weight are data.
fn remove_mask(graph: &mut Graph, node: NodeId) -> Option<()> {
    let operator = graph.node(node);
    let (weight, mask, masked) = (operator.input(0)?, operator.input(1)?, operator.output(0)?);
    let (data, kept) = (graph.value(weight).data.clone()?, graph.value(mask).data.clone()?);
    if graph.value(mask).is_input() || graph.outputs().contains(&masked) {
        return None;
    }
    let product = product(&data, &kept).ok()?;
    let same_mask = |reader: Use| is_mask_of(graph, reader) && graph.input_data(reader.node, 1) == Some(&kept);
    let may_change = !graph.outputs().contains(&weight) && graph.value(weight).readers().all(same_mask);
    graph.remove_node(node);
    if product == data || may_change {
        if product != data {
            graph.set_data(weight, product);
        }
        for Use { node, slot } in graph.value(masked).readers().collect::<Vec<_>>() {
            graph.set_input(node, slot, Some(weight));
        }
        graph.remove_value(masked);
    } else {
        graph.set_data(masked, product);
    }
    graph.remove_value(mask);
    Some(())
}

/// The product with a mask. What is kept keeps its bits, those of what is not a number included.
fn product(data: &Tensor, mask: &Tensor) -> Result<Tensor, TensorError> {
    let kept = mask.values::<u8>()?;
    if kept.iter().all(|&kept| kept == 1) {
        return Ok(data.clone());
    }
    if let Ok(weights) = data.values::<f32>() {
        let masked = |(&weight, &kept): (&f32, &u8)| if kept == 1 { weight } else { weight * f32::from(kept) };
        return Tensor::from_values(data.shape().to_vec(), weights.iter().zip(&*kept).map(masked).collect());
    }
    let products = data.to_f64s()?.iter().zip(&*kept).map(|(weight, &kept)| weight * f64::from(kept)).collect();
    Tensor::from_f64s(data.element_type(), data.shape().to_vec(), products)
}
