//! The oracle that removal is compared with.

use std::collections::{BTreeSet, HashMap};

use slimnet_graph::axes::{Access, Coupling, GroupId};
use slimnet_graph::ops::elementwise::Binary;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::{ElementType, Graph, Op, Tensor, ValueId};

/// Examples in a batch.
const BATCH: usize = 2;

/// Which elements of a value stay, as 1 and 0 in the shape of its covered axes (the others have length 1).
fn mask(coupling: &Coupling, value: ValueId, shape: &[usize], removed: &BTreeSet<GroupId>) -> Vec<f64> {
    let count = shape.iter().product();
    let mut mask = vec![1.0; count];
    for (index, entry) in mask.iter_mut().enumerate() {
        let mut rest = index;
        let mut position = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            position[axis] = rest % shape[axis];
            rest /= shape[axis];
        }
        for cover in coupling.covers(value) {
            let place =
                cover.axes.iter().zip(&cover.lengths).fold(0, |place, (&axis, length)| place * length + position[axis]);
            if removed.contains(&cover.groups[place]) {
                *entry = 0.0;
            }
        }
    }
    mask
}

/// The network with every parameter slice that reads removed positions set to zero. Where two computed tensors are
/// multiplied, one of them is: its removed positions are masked.
pub fn zeroed(graph: &Graph, coupling: &Coupling, removed: &BTreeSet<GroupId>) -> Graph {
    let removed = coupling.closure(removed);
    let mut result = graph.clone();
    for (value, source) in graph.values() {
        let Some(data) = &source.data else { continue };
        for cover in coupling.covers(value).iter().filter(|cover| cover.access == Access::Reads) {
            let shape = data.shape();
            let mut values = result.value(value).data.as_ref().unwrap().to_f64s().unwrap();
            for (index, entry) in values.iter_mut().enumerate() {
                let mut rest = index;
                let mut position = vec![0; shape.len()];
                for axis in (0..shape.len()).rev() {
                    position[axis] = rest % shape[axis];
                    rest /= shape[axis];
                }
                let place = cover
                    .axes
                    .iter()
                    .zip(&cover.lengths)
                    .fold(0, |place, (&axis, length)| place * length + position[axis]);
                if removed.contains(&cover.groups[place]) {
                    *entry = 0.0;
                }
            }
            result.set_data(value, Tensor::from_f64s(data.element_type(), shape.to_vec(), values).unwrap());
        }
    }
    let computed = |value: ValueId| graph.value(value).producer().is_some();
    for (node, operator) in graph.nodes().filter(|(_, node)| matches!(node.op, Op::MatMul(_))) {
        let (Some(a), Some(b)) = (operator.input(0), operator.input(1)) else { continue };
        if !computed(a) || !computed(b) {
            continue;
        }
        let rank = graph.value(a).shape.as_ref().unwrap().len();
        let mut shape = vec![1; rank];
        for cover in coupling.covers(a) {
            cover.axes.iter().zip(&cover.lengths).for_each(|(&axis, &length)| shape[axis] = length);
        }
        let data = mask(coupling, a, &shape, &removed);
        let data = result.add_constant("mask", Tensor::from_f64s(ElementType::F32, shape, data).unwrap());
        let masked = result.apply("masked", Binary::Mul, &[a, data]);
        result.set_input(node, 0, Some(masked));
    }
    result
}

/// What a network computes for a random batch.
pub fn outputs(graph: &Graph, seed: u64) -> Result<Vec<f64>, String> {
    let input = graph.inputs()[0];
    let distribution = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    let data = tensor(ElementType::F32, vec![BATCH, 3, 6, 6], Stream::named(seed, "input"), distribution).unwrap();
    let results = slimnet_graph::evaluate::evaluate_graph(graph, &HashMap::from([(input, data)]), 1 << 24);
    let results = results.map_err(|error| error.to_string())?;
    Ok(graph.outputs().iter().flat_map(|output| results[output].to_f64s().unwrap()).collect())
}

/// Largest difference, relative to the largest magnitude.
pub fn difference(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let scale = a.iter().fold(1e-3f64, |scale, value| scale.max(value.abs()));
    a.iter().zip(b).fold(0.0f64, |most, (a, b)| {
        let own = (a - b).abs() / scale;
        if own.is_nan() { f64::INFINITY } else { most.max(own) }
    })
}
