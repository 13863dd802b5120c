//! Statistics of batch normalisation, measured on data.

use std::collections::BTreeMap;

use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::Binary;
use slimnet_graph::ops::normalization::BatchNormalization;
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::tensor::Tensor;

use super::batch::Source;
use super::evaluate::EvaluateError;
use super::probe::Probe;
use crate::job::{JobError, batch_norm_meaning, evaluation_meaning, free_batch, separate_statistics};
use crate::threads::Threads;

/// What statistics are measured on.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Samples a batch.
    pub batch: usize,
    /// How many batches of the first epoch (at most all).
    pub batches: usize,
    /// Lengths of named dimensions other than the batch.
    pub lengths: BTreeMap<String, usize>,
}

/// Mean and variance of each channel.
#[derive(Debug, Clone, PartialEq)]
struct Moments {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

/// Measures values `[N, C, …]` of a graph over batches.
fn measure(
    graph: &Graph,
    values: &[ValueId],
    source: &dyn Source,
    options: &Measurement,
    threads: &Threads,
) -> Result<Vec<Moments>, EvaluateError> {
    let mut graph = graph.clone();
    let mut kept = Vec::new();
    for &value in values {
        let rank = graph.value(value).shape.as_ref().map_or(4, Vec::len) as i64;
        let axes = Tensor::vector((0..rank).filter(|&axis| axis != 1).collect::<Vec<_>>());
        let axes = graph.add_constant("axes", axes);
        let op = || Op::Reduce(ReduceKind::Mean, Reduce { keepdims: true, noop_with_empty_axes: false });
        let mean = graph.apply("mean", op(), &[value, axes]);
        let centred = graph.apply("centred", Binary::Sub, &[value, mean]);
        let square = graph.apply("square", Binary::Mul, &[centred, centred]);
        kept.push((mean, graph.apply("variance", op(), &[square, axes])));
    }
    infer_graph(&mut graph).map_err(JobError::from)?;
    let looked_at: Vec<_> = kept.iter().flat_map(|&(mean, variance)| [mean, variance]).collect();
    let mut probe = Probe::new(&graph, &looked_at, options.batch, &options.lengths)?;
    let mut sums = vec![Moments { mean: Vec::new(), variance: Vec::new() }; values.len()];
    let mut count = 0usize;
    for batch in source.epoch(0, 0).take(options.batches.max(1)) {
        probe.run(&batch.map_err(EvaluateError::Source)?, threads)?;
        count += 1;
        for (sum, &(mean, variance)) in sums.iter_mut().zip(&kept) {
            let (mean, variance) = (probe.get(mean), probe.get(variance));
            sum.mean.resize(mean.len(), 0.0);
            sum.variance.resize(mean.len(), 0.0);
            for channel in 0..mean.len() {
                let (mean, variance) = (f64::from(mean[channel]), f64::from(variance[channel]));
                sum.mean[channel] += mean;
                // Mean squares until the end.
                sum.variance[channel] += variance + mean * mean;
            }
        }
    }
    if count == 0 {
        return Err(EvaluateError::Empty);
    }
    for sum in &mut sums {
        for (mean, square) in sum.mean.iter_mut().zip(&mut sum.variance) {
            *mean /= count as f64;
            *square = (*square / count as f64 - *mean * *mean).max(0.0);
        }
    }
    Ok(sums)
}

/// The moments of several of as many elements together.
fn pool(parts: &[Moments]) -> Moments {
    let channels = parts.first().map_or(0, |part| part.mean.len());
    let mean_of = |value: &dyn Fn(&Moments) -> f64| parts.iter().map(value).sum::<f64>() / parts.len() as f64;
    let mean: Vec<_> = (0..channels).map(|channel| mean_of(&|part| part.mean[channel])).collect();
    let square = |channel: usize| mean_of(&|part| part.variance[channel] + part.mean[channel].powi(2));
    let variance = (0..channels).map(|channel| (square(channel) - mean[channel].powi(2)).max(0.0)).collect();
    Moments { mean, variance }
}

fn vector(values: impl Iterator<Item = f64>) -> Tensor {
    Tensor::vector(values.map(|value| value as f32).collect())
}

/// Measures the running statistics of batch normalisation anew: each node gets mean and variance of what it is fed with while
/// all of them normalise by their batches. Training leaves a mean over its last steps only, and of weights that still moved.
/// Returns how many nodes were measured.
///
/// # Errors
/// If the network cannot be run on the data.
pub fn reestimate_batch_norm(
    network: &mut Graph,
    source: &dyn Source,
    options: &Measurement,
    threads: &Threads,
) -> Result<usize, EvaluateError> {
    separate_statistics(network);
    let mut graph = free_batch(network).unwrap_or_else(|| network.clone());
    evaluation_meaning(&mut graph)?;
    infer_graph(&mut graph).map_err(JobError::from)?;
    let mut values = Vec::new();
    let mut states = Vec::new();
    for (_, node) in graph.nodes() {
        let data = |slot: usize| node.input(slot).filter(|&state| graph.value(state).data.is_some());
        if let (Op::BatchNormalization(_), Some(x), Some(mean), Some(variance)) =
            (&node.op, node.input(0), data(3), data(4))
        {
            values.push(x);
            states.push([mean, variance].map(|state| graph.value(state).name.clone()));
        }
    }
    if values.is_empty() {
        return Ok(0);
    }
    batch_norm_meaning(&mut graph)?;
    infer_graph(&mut graph).map_err(JobError::from)?;
    let moments = measure(&graph, &values, source, options, threads)?;
    // Where a normalisation is applied several times, each use counts alike.
    let mut pooled: BTreeMap<&[String; 2], Vec<Moments>> = BTreeMap::new();
    for (names, moments) in states.iter().zip(moments) {
        pooled.entry(names).or_default().push(moments);
    }
    for ([mean, variance], uses) in pooled {
        let moments = pool(&uses);
        for (name, values) in [(mean, moments.mean), (variance, moments.variance)] {
            if let Some(id) = network.find_value(name) {
                network.set_data(id, vector(values.into_iter()));
            }
        }
    }
    Ok(values.len())
}

/// Puts batch normalisation behind each convolution with a bias whose result is neither normalised already nor an output of
/// the network: where it was before it was folded away. Mean and variance are measured on the data, scale and bias chosen so
/// that the network computes what it did; the bias of the convolution goes into them. Returns how many were put in.
///
/// # Errors
/// If the network cannot be run on the data.
pub fn insert_batch_norm(
    network: &mut Graph,
    source: &dyn Source,
    options: &Measurement,
    threads: &Threads,
) -> Result<usize, EvaluateError> {
    let normalizes =
        |op: &Op| matches!(op, Op::BatchNormalization(_) | Op::InstanceNormalization(_) | Op::GroupNormalization(_));
    let mut places = Vec::new();
    for (id, node) in network.nodes() {
        let (Op::Conv(_) | Op::ConvTranspose(_)) = node.op else { continue };
        let bias = node.input(2).and_then(|bias| network.value(bias).data.clone());
        let (Some(result), Some(bias)) = (node.output(0), bias) else { continue };
        let normalized = network.value(result).readers().any(|reader| normalizes(&network.node(reader.node).op));
        if !normalized && !network.outputs().contains(&result) {
            places.push((id, result, bias.to_f64s()?));
        }
    }
    if places.is_empty() {
        return Ok(0);
    }
    let mut graph = free_batch(network).unwrap_or_else(|| network.clone());
    evaluation_meaning(&mut graph)?;
    infer_graph(&mut graph).map_err(JobError::from)?;
    let results: Vec<_> = places.iter().map(|(_, result, _)| *result).collect();
    let moments = measure(&graph, &results, source, options, threads)?;
    let op = BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: false };
    for ((id, result, bias), moments) in places.iter().zip(moments) {
        let name = network.node(*id).name.clone();
        let node = if name.is_empty() { network.value(*result).name.clone() } else { name };
        let deviation = moments.variance.iter().map(|variance| (variance + f64::from(op.epsilon)).sqrt());
        let parts = [
            ("scale", vector(deviation)),
            ("bias", vector(moments.mean.iter().copied())),
            ("mean", vector(moments.mean.iter().zip(bias).map(|(mean, bias)| mean - bias))),
            ("variance", vector(moments.variance.iter().copied())),
        ];
        let parts = parts.map(|(part, data)| network.add_constant(&format!("{node}/batch_norm/{part}"), data));
        let normalized = network.add_intermediate(&format!("{node}/batch_norm"));
        network.replace_uses(*result, normalized);
        let old = network.node(*id).input(2);
        network.set_input(*id, 2, None);
        // It may be that of another layer, too.
        if let Some(old) = old.filter(|&old| network.value(old).readers().len() == 0) {
            network.remove_value(old);
        }
        let inputs = std::iter::once(*result).chain(parts).map(Some).collect();
        let op = Op::BatchNormalization(op.clone());
        network.add_node(&format!("{node}/batch_norm"), op, inputs, vec![Some(normalized)]).map_err(JobError::from)?;
    }
    infer_graph(network).map_err(JobError::from)?;
    Ok(places.len())
}
