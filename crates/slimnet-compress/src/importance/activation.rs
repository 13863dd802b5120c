//! Weight times activation (Wanda).
//!
//! # What it does
//! Takes a weight for unimportant if it is small or what it is multiplied with is. Needs data, but neither labels nor
//! gradients.
//!
//! # Equation
//! Single weights: `|w_ij| · ‖x_j‖₂ / mean over j of the same`, where `x_j` is everything that the weight is multiplied with in
//! all samples: of a convolution the input channel at the places that the tap falls on (0 in the padding). The original
//! compares the weights of one output i only; dividing by the mean of the output's row makes rows comparable, so that one
//! threshold for the whole network takes about equally much from each.
//!
//! Groups: `√(Σ_s w_s² ‖x_s‖²)` over the slices that read the group: how much of the inputs of the layers behind is lost with
//! it, if neurons are uncorrelated. Groups that no layer reads have the sum over the slices that write them. Divided by the
//! mean over the groups of the axis that can be removed, as magnitude is.
//!
//! Layers are those of [`crate::weight::weights`]; groups that none of them reads or writes are never removed (their score is
//! infinite).
//!
//! # Parameters
//! Data ([`super::Evidence`]; its loss is not looked at), samples and their number a batch.
//!
//! # Cost
//! `Σ x²` is the gradient with respect to w of the layer applied to x², which the engine computes: one forward pass, every layer
//! once more on x², and the gradient of its weights, for each batch.
//!
//! # When it hurts
//! What a layer computes is kept, not what the network needs of it: inputs that are large but irrelevant to the loss count.
//!
//! # Source
//! Sun, Liu, Bair, Kolter 2024, "A simple and effective pruning approach for large language models" (arXiv 2306.11695). The
//! division by the mean and the form for groups are ours; An, Zhao, Yu, Tang, Wang 2024 (arXiv 2312.11983) do similarly.

use std::collections::BTreeMap;

use slimnet_engine::Job;
use slimnet_engine::job::{evaluation_meaning, free_batch};
use slimnet_graph::Op;
use slimnet_graph::axes::Coupling;
use slimnet_graph::graph::{Graph, NodeId, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};

use super::evidence::Slope;
use super::slices::{GroupSums, Parameter, Slices};
use super::{Evidence, ImportanceError, WeightScores, of_each};
use crate::weight::{self, Weight};

pub(super) fn weights(graph: &Graph, weights: &[Weight], evidence: &Evidence) -> Result<WeightScores, ImportanceError> {
    let squares = squares(graph, weights, evidence)?;
    of_each(graph, weights, |weight, data| {
        let Some(squares) = squares.get(&weight.value) else { return Vec::new() };
        let products = data.iter().zip(squares).map(|(&weight, square)| f64::from(weight.abs()) * square.sqrt());
        let products: Vec<f64> = products.collect();
        let rows = rows(graph, weight);
        let mut sums = vec![(0.0, 0usize); rows.iter().max().map_or(0, |last| last + 1)];
        for (&row, product) in rows.iter().zip(&products) {
            sums[row] = (sums[row].0 + product, sums[row].1 + 1);
        }
        let relative = |(&row, product): (&usize, f64)| {
            let (sum, count) = sums[row];
            if sum > 0.0 { (product * count as f64 / sum) as f32 } else { product as f32 }
        };
        rows.iter().zip(products).map(relative).collect()
    })
}

pub(super) fn groups(graph: &Graph, coupling: &Coupling, evidence: &Evidence) -> Result<GroupSums, ImportanceError> {
    let squares = squares(graph, &weight::weights(graph), evidence)?;
    let slices = Slices::new(graph, coupling, |value| squares.contains_key(&value))?;
    let sums = slices.effects(|parameter: &Parameter| {
        let pairs = parameter.data.iter().zip(&squares[&parameter.value]);
        pairs.map(|(&weight, square)| f64::from(weight).powi(2) * square).collect()
    });
    Ok(slices.relative(sums.into_iter().map(|sum| sum.map(f64::sqrt)).collect()))
}

/// The output that each element of a weight belongs to.
fn rows(graph: &Graph, weight: &Weight) -> Vec<usize> {
    let Some(data) = &graph.value(weight.value).data else { return Vec::new() };
    let shape = data.shape();
    let place = |element: usize, axis: usize| element / shape[axis + 1..].iter().product::<usize>() % shape[axis];
    // Transposed convolutions have the outputs of a group only, and the inputs say which group it is.
    let groups = match &graph.node(weight.node).op {
        Op::ConvTranspose(op) => usize::try_from(op.group).unwrap_or(1),
        _ => 1,
    };
    let row = |element: usize| {
        let group = place(element, weight.inputs) * groups / shape[weight.inputs];
        group * shape[weight.outputs] + place(element, weight.outputs)
    };
    (0..data.len()).map(row).collect()
}

/// For each element of each weight the sum of the squares of what it is multiplied with, wherever it is used.
fn squares(
    network: &Graph,
    weights: &[Weight],
    evidence: &Evidence,
) -> Result<BTreeMap<ValueId, Vec<f64>>, ImportanceError> {
    let mut graph = free_batch(network).unwrap_or_else(|| network.clone());
    evaluation_meaning(&mut graph)?;
    let mut copies = Vec::new();
    let mut sums = Vec::new();
    for weight in weights {
        let value = graph.value(weight.value);
        let Some(data) = value.data.clone() else { continue };
        let copy = graph.add_constant(&format!("squared/{}", value.name.clone()), data);
        copies.push((weight.value, copy));
        sums.extend(layers_on_squares(&mut graph, weight.value, copy));
    }
    let total = sums.into_iter().reduce(|sum, part| graph.apply("squared/sum", Binary::Add, &[sum, part]));
    let Some(total) = total else { return Ok(BTreeMap::new()) };
    infer_graph(&mut graph)?;
    let name = |copy: ValueId| graph.value(copy).name.clone();
    let named: Vec<_> = copies.iter().map(|&(value, copy)| (value, name(copy))).collect();
    let job = Job {
        total,
        losses: Vec::new(),
        parameters: copies.into_iter().map(|(_, copy)| copy).collect(),
        updates: Vec::new(),
        labels: Vec::new(),
        imitated: Vec::new(),
        graph,
    };
    let mut squares: BTreeMap<ValueId, Vec<f64>> = BTreeMap::new();
    Slope::of_job(&job, evidence, evidence.batch)?.each(|gradients| {
        for (value, name) in &named {
            let Some(gradient) = gradients.get(name) else { continue };
            let sums = squares.entry(*value).or_insert_with(|| vec![0.0; gradient.len()]);
            // Products of squares with ones: only rounding could make one negative.
            sums.iter_mut().zip(gradient).for_each(|(sum, &square)| *sum += f64::from(square).max(0.0));
        }
    })?;
    Ok(squares)
}

/// Adds every layer that reads a weight once more, with the copy in its place and the square of its input, and without bias.
/// Returns the sums of their results.
fn layers_on_squares(graph: &mut Graph, weight: ValueId, copy: ValueId) -> Vec<ValueId> {
    let mut sums = Vec::new();
    let mut places = vec![(weight, copy)];
    while let Some((original, copy)) = places.pop() {
        let readers: Vec<_> = graph.value(original).readers().collect();
        for reader in readers {
            let node = graph.node(reader.node);
            let moved = matches!(node.op, Op::Unary(Unary::Identity) | Op::Transpose(_)) && reader.slot == 0;
            let (op, output) = (node.op.clone(), node.output(0));
            if let (true, Some(output)) = (moved, output) {
                places.push((output, graph.apply("squared/weight", op, &[copy])));
            } else if let Some(result) = on_square(graph, reader.node, reader.slot, copy) {
                let reduce = Reduce { keepdims: false, noop_with_empty_axes: false };
                sums.push(graph.apply("squared/part", Op::Reduce(ReduceKind::Sum, reduce), &[result]));
            }
        }
    }
    sums
}

/// The result of a layer on the square of its input, with another weight.
fn on_square(graph: &mut Graph, layer: NodeId, slot: usize, weight: ValueId) -> Option<ValueId> {
    let node = graph.node(layer).clone();
    let op = match (node.op.clone(), slot) {
        (op @ (Op::Conv(_) | Op::ConvTranspose(_)), 1) | (op @ Op::MatMul(_), 0 | 1) => op,
        (Op::Gemm(op), 0 | 1) => Op::Gemm(slimnet_graph::ops::product::Gemm { alpha: 1.0, ..op }),
        _ => return None,
    };
    let x = node.input(1 - slot)?;
    let square = graph.apply("squared/input", Binary::Mul, &[x, x]);
    let inputs = if slot == 1 { [square, weight] } else { [weight, square] };
    Some(graph.apply("squared/result", op, &inputs))
}
