//! Closed-form correction of the layers that read removed channels.
//!
//! # What it does
//! A layer whose input lost channels computes something else than before. Its weights for the channels that are left
//! (and its bias) are chosen anew, such that on calibration data its outputs come as near as can be to those of the
//! original: what a removed channel said is taken from others that say nearly the same. Layers are mended in the order
//! of execution. What a layer reads comes from the pruned network with all layers before it mended, what it is to
//! compute from the original; so it makes up for the errors of the layers before it, too.
//!
//! # Equation
//! ΔW, Δb = argmin Σ ‖(W₀·x₀ + b₀) − (W·x + b) − (ΔW·x + Δb)‖² + λ ‖ΔW‖²
//!
//! over samples and positions, where x is a patch of a convolution's input (zeros in the padding) or a row of a
//! matrix, W₀, x₀ and b₀ are the original's, W, x and b the pruned network's. With means taken out, G = Σ x·xᵀ, P = Σ
//! x·rᵀ and r the difference of the two results: (G + λ I)·ΔWᵀ = P, solved by Cholesky's factorisation in double
//! precision; λ = ridge · mean of the diagonal of G. The penalty is on the change, not on the weights: the less the
//! data says, the nearer they stay to what they were. Δb goes into the layer's bias, into the mean of the batch
//! normalisation behind it, or into a bias of its own; where a product of matrices has no addend there is none.
//!
//! # Parameters
//! [`Calibration`]: how much data; `rows`, how many patches of each layer; `ridge`; `most_features`, the largest patch.
//! Statistics of batch normalisation are best left alone: outputs are brought back to where the statistics were
//! measured.
//!
//! # Cost
//! Both networks are run on the calibration data once for each layer in a row, up to that layer. For F = inputs · taps
//! features a layer takes rows · F² operations and F³ / 6 for the factorisation, and 12 F² bytes.
//!
//! # When it hurts
//! With fewer rows than a few times F, or from few samples, the weights are fitted to the calibration data alone: give
//! more data or more ridge. An activation behind the layer is not seen: errors count alike where it is flat and where
//! it is steep. A correction is for the layer's output, not for the network's: after it, training still helps. Data
//! that is prepared otherwise than in training does little harm, as both networks see it; statistics of batch
//! normalisation that are measured anew on such data can cost more than the removal.
//!
//! # Source
//! Y. He, X. Zhang, J. Sun, Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017, section 3.1 (step
//! ii); J.-H. Luo, J. Wu, W. Lin, `ThiNet`, ICCV 2017, section 3.2.3. The penalty on the change is ours.

use std::collections::{BTreeMap, BTreeSet};

use slimnet_engine::Threads;
use slimnet_engine::job::{evaluation_meaning, free_batch};
use slimnet_engine::train::statistics::Measurement;
use slimnet_engine::train::{EvaluateError, Probe, Source};
use slimnet_graph::Op;
use slimnet_graph::axes::{Coupling, GroupId};
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::tensor::Tensor;
use slimnet_graph::zoo::random::Stream;

use super::RecoverError;
use super::equations::{Equations, Solution};
use super::readers::{LeftOut, Offset, Reader, Reason, levels, readers};
use super::window::Windows;

/// What a network was before groups were removed from it.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// The network.
    pub network: &'a Graph,
    /// Its coupled axes.
    pub coupling: &'a Coupling,
    /// The groups that [`remove`](slimnet_graph::axes::remove()) was given.
    pub removed: &'a BTreeSet<GroupId>,
}

/// What layers are mended by.
#[derive(Debug, Clone)]
pub struct Calibration {
    /// The data: batches of the first epoch of a source.
    pub data: Measurement,
    /// How many patches of a layer are looked at, spread evenly over the batches and their positions; at least four
    /// times as many as a patch has elements, at most all.
    pub rows: usize,
    /// λ as a multiple of the mean square of a feature about its mean, 0 or more.
    pub ridge: f64,
    /// Layers with more products to an output are left out.
    pub most_features: usize,
}

impl Default for Calibration {
    /// 8 batches of 64 samples, 16384 patches, a ridge of 1e-3, at most 4608 features: 512 channels of 3 × 3.
    fn default() -> Self {
        let data = Measurement { batch: 64, batches: 8, lengths: BTreeMap::new() };
        Self { data, rows: 16_384, ridge: 1e-3, most_features: 4608 }
    }
}

/// A layer that was mended.
#[derive(Debug, Clone, PartialEq)]
pub struct MendedLayer {
    /// Its weight.
    pub weight: String,
    /// Squared distance of its outputs from the original's as a part of their variance, before and after; the layers
    /// before it were mended in both.
    pub error: [f64; 2],
}

/// What was mended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mended {
    /// The layers, in the order in which they were mended.
    pub layers: Vec<MendedLayer>,
    /// Weights that read removed channels and were left as they are.
    pub left_out: Vec<LeftOut>,
}

/// Gives the layers that read removed channels the weights by which their outputs come nearest to the original's on
/// the data. `pruned` is what [`remove`](slimnet_graph::axes::remove()) made of `before`: call it directly afterwards.
/// Deterministic for any number of threads.
///
/// # Errors
/// If one of the networks cannot be run on the data; `pruned` is then as it was.
pub fn least_squares(
    pruned: &mut Graph,
    before: &Before<'_>,
    source: &dyn Source,
    options: &Calibration,
    threads: &Threads,
) -> Result<Mended, RecoverError> {
    check(options)?;
    let (readers, left_out) = readers(pruned, before, options.most_features)?;
    let mut mended = Mended { layers: Vec::new(), left_out };
    if readers.is_empty() {
        return Ok(mended);
    }
    let levels = levels(pruned, &readers)?;
    let mut result = pruned.clone();
    let mut running = running(pruned)?;
    let original = self::running(before.network)?;
    for wave in waves(&readers, &levels) {
        let measured = measure([&running, &original], &wave, source, options, threads)?;
        for (reader, Measured { equations, variance }) in wave.into_iter().zip(measured) {
            let weight = result.value(reader.weight.value).name.clone();
            if !equations.is_finite() || !variance.is_finite() {
                return Err(RecoverError::NotFinite { layer: reader.name.clone() });
            }
            let solution = equations.solve(options.ridge, reader.offset != Offset::None);
            // Rounding may leave a solution of no use with more error than none.
            let Some(solution) = solution.filter(|solution| solution.after < solution.before) else {
                mended.left_out.push(LeftOut { weight, reason: Reason::NoGain });
                continue;
            };
            for graph in [&mut result, &mut running] {
                correct(graph, reader, &solution)?;
            }
            // Outputs that never vary have only their error to be measured by.
            let unit = if variance > 0.0 { variance } else { solution.before };
            let error = [solution.before, solution.after.max(0.0)].map(|error| error / unit);
            mended.layers.push(MendedLayer { weight, error });
        }
    }
    *pruned = result;
    Ok(mended)
}

fn check(options: &Calibration) -> Result<(), RecoverError> {
    if !(options.ridge >= 0.0 && options.ridge.is_finite()) {
        let found = options.ridge.to_string();
        return Err(RecoverError::Option { option: "ridge", expected: "a number from 0 on", found });
    }
    Ok(())
}

/// The network as in evaluation, for any number of samples where it allows that; values keep their handles.
fn running(network: &Graph) -> Result<Graph, RecoverError> {
    let mut graph = free_batch(network).unwrap_or_else(|| network.clone());
    evaluation_meaning(&mut graph)?;
    infer_graph(&mut graph)?;
    Ok(graph)
}

/// Elements that the sums of layers measured at once may have: 256 MB.
const MOST_SUMS: usize = 1 << 25;

/// Layers that can be measured at once, because none reads what another computes; in the order of execution.
fn waves<'a>(readers: &'a [Reader], levels: &[usize]) -> Vec<Vec<&'a Reader>> {
    let mut order: Vec<_> = readers.iter().zip(levels.iter().copied()).collect();
    order.sort_by_key(|(reader, level)| (*level, reader.node));
    let mut waves: Vec<Vec<&Reader>> = Vec::new();
    let mut open = (usize::MAX, 0usize);
    for (reader, level) in order {
        let sums = (reader.features + 1) * (reader.features + 1 + reader.outputs.len());
        let together = open.1.saturating_add(sums);
        match waves.last_mut() {
            Some(wave) if open.0 == level && together <= MOST_SUMS => {
                wave.push(reader);
                open.1 = together;
            }
            _ => {
                waves.push(vec![reader]);
                open = (level, sums);
            }
        }
    }
    waves
}

/// What was measured of a layer.
struct Measured {
    equations: Equations,
    /// Σ of squares of the original's outputs about their means.
    variance: f64,
}

/// A graph that ends in some values of another, with the same handles.
fn up_to(graph: &Graph, values: &[ValueId]) -> Result<Graph, RecoverError> {
    let mut graph = graph.clone();
    graph.retain_outputs(|_| false);
    for &value in values {
        graph.add_output(value);
    }
    graph.remove_unreachable();
    infer_graph(&mut graph)?;
    Ok(graph)
}

/// Sums up the equations of layers over the data. `graphs` are the pruned network and the original.
fn measure(
    graphs: [&Graph; 2],
    wave: &[&Reader],
    source: &dyn Source,
    options: &Calibration,
    threads: &Threads,
) -> Result<Vec<Measured>, RecoverError> {
    let looked_at = |values: BTreeSet<ValueId>, graph: &Graph| {
        let values: Vec<_> = values.into_iter().collect();
        Probe::new(&up_to(graph, &values)?, &values, options.data.batch, &options.data.lengths)
            .map_err(RecoverError::from)
    };
    let mut pruned = looked_at(wave.iter().flat_map(|reader| [reader.x, reader.y]).collect(), graphs[0])?;
    let mut original = looked_at(wave.iter().map(|reader| reader.y).collect(), graphs[1])?;
    let mut samplers =
        wave.iter().map(|reader| Sampler::new(reader, &pruned, &original, graphs[0])).collect::<Result<Vec<_>, _>>()?;
    let batches = options.data.batches.clamp(1, source.batches_per_epoch().max(1));
    let mut count = 0;
    for batch in source.epoch(0, 0).take(batches) {
        let batch = batch.map_err(EvaluateError::Source)?;
        pruned.run(&batch, threads)?;
        original.run(&batch, threads)?;
        for (sampler, reader) in samplers.iter_mut().zip(wave) {
            let rows = options.rows.max(4 * reader.features).div_ceil(batches);
            sampler.look([pruned.get(reader.x), pruned.get(reader.y), original.get(reader.y)], rows, count, threads);
        }
        count += 1;
    }
    if count == 0 {
        return Err(EvaluateError::Empty.into());
    }
    Ok(samplers.into_iter().map(Sampler::finish).collect())
}

/// Samples that are multiplied at once.
const ROWS_AT_ONCE: usize = 1024;

/// Takes patches of a layer's input with what its outputs lack.
struct Sampler<'a> {
    reader: &'a Reader,
    windows: Windows,
    equations: Equations,
    stream: Stream,
    /// Sums and sums of squares of the original's outputs, and how many there were.
    sums: Vec<[f64; 2]>,
    count: usize,
}

impl<'a> Sampler<'a> {
    fn new(reader: &'a Reader, pruned: &Probe, original: &Probe, graph: &Graph) -> Result<Self, RecoverError> {
        let (x, y, whole) = (pruned.shape(reader.x), pruned.shape(reader.y), original.shape(reader.y));
        let mismatch = |expected: &[usize]| RecoverError::Mismatch {
            layer: reader.name.clone(),
            expected: format!("{expected:?}"),
            found: format!("{y:?} from {x:?}"),
        };
        let weight = graph.node(reader.node).input(reader.weight.slot).map(|weight| graph.value(weight));
        let weight = weight.and_then(slimnet_graph::Value::known_shape).unwrap_or_default();
        let windows = reader.window.at(x, y, &weight).ok_or_else(|| mismatch(whole))?;
        let all = windows.samples * windows.places;
        let lengths = [x, y, whole].map(|shape| shape.iter().product::<usize>());
        let expected =
            [windows.samples * windows.plane * reader.inputs, all * reader.outputs.len(), all * reader.all_outputs];
        if lengths != expected {
            return Err(mismatch(whole));
        }
        Ok(Self {
            reader,
            windows,
            equations: Equations::new(reader.features, reader.outputs.len()),
            stream: Stream::named(0, &reader.name),
            sums: vec![[0.0; 2]; reader.outputs.len()],
            count: 0,
        })
    }

    /// Looks at `rows` places of a batch (at most all): input and output of the layer, output of the original.
    fn look(&mut self, [x, y, whole]: [&[f32]; 3], rows: usize, batch: usize, threads: &Threads) {
        let all = self.windows.samples * self.windows.places;
        let rows = rows.min(all);
        let mut taps = Vec::new();
        let mut patches = Vec::new();
        for start in (0..rows).step_by(ROWS_AT_ONCE) {
            patches.clear();
            for row in start..rows.min(start + ROWS_AT_ONCE) {
                // One place at random of each of as many equal stretches.
                let jitter = self.stream.uniform((batch * rows + row) as u64);
                let place = (((row as f64 + jitter) * all as f64 / rows as f64) as usize).min(all - 1);
                self.patch(place, [x, y, whole], &mut taps, &mut patches);
            }
            self.equations.add(&mut patches, threads);
        }
    }

    /// Appends the features at a place, a 1, and what the outputs there lack.
    fn patch(&mut self, place: usize, [x, y, whole]: [&[f32]; 3], taps: &mut Vec<Option<usize>>, to: &mut Vec<f32>) {
        let Windows { plane, places, .. } = self.windows;
        let (sample, place) = (place / places, place % places);
        self.windows.taps(place, taps);
        for channel in 0..self.reader.inputs {
            let own = &x[(sample * self.reader.inputs + channel) * plane..][..plane];
            to.extend(taps.iter().map(|tap| tap.map_or(0.0, |tap| own[tap])));
        }
        to.push(1.0);
        let outputs = self.reader.outputs.len();
        for (output, &original) in self.reader.outputs.iter().enumerate() {
            let wanted = whole[(sample * self.reader.all_outputs + original) * places + place];
            to.push(wanted - y[(sample * outputs + output) * places + place]);
            self.sums[output][0] += f64::from(wanted);
            self.sums[output][1] += f64::from(wanted).powi(2);
        }
        self.count += 1;
    }

    fn finish(self) -> Measured {
        let count = self.count.max(1) as f64;
        let variance = self.sums.iter().map(|[sum, square]| square - sum * sum / count).sum();
        Measured { equations: self.equations, variance }
    }
}

/// Adds a solution to a layer's weight and bias.
fn correct(graph: &mut Graph, reader: &Reader, solution: &Solution) -> Result<(), RecoverError> {
    let weight = &reader.weight;
    let Some(data) = graph.value(weight.value).data.clone() else { return Ok(()) };
    let shape = data.shape();
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let (output_stride, input_stride) = (stride(weight.outputs), stride(weight.inputs));
    // Taps are the axes that are left, in order; they lie side by side.
    let taps = reader.features / reader.inputs.max(1);
    let mut values = data.values::<f32>()?.into_owned();
    for (output, row) in solution.weights.chunks_exact(reader.features).enumerate() {
        for (feature, change) in row.iter().enumerate() {
            let (input, tap) = (feature / taps, feature % taps);
            let value = &mut values[output * output_stride + input * input_stride + tap];
            *value = (f64::from(*value) + change / reader.scale) as f32;
        }
    }
    graph.set_data(weight.value, Tensor::from_values(shape.to_vec(), values)?);
    offset(graph, reader, &solution.offsets)
}

/// Adds a constant to each output of a layer.
fn offset(graph: &mut Graph, reader: &Reader, offsets: &[f64]) -> Result<(), RecoverError> {
    match reader.offset {
        Offset::None => {}
        Offset::Add { value, scale } => {
            let Some(data) = graph.value(value).data.clone() else { return Ok(()) };
            let values = data.values::<f32>()?;
            let sum = |(value, offset): (&f32, &f64)| (f64::from(*value) + scale * offset) as f32;
            let values = values.iter().zip(offsets).map(sum).collect();
            graph.set_data(value, Tensor::from_values(data.shape().to_vec(), values)?);
        }
        Offset::New => {
            let name = format!("{}.bias", graph.value(reader.weight.value).name);
            let bias = graph.add_constant(&name, Tensor::vector(offsets.iter().map(|&offset| offset as f32).collect()));
            graph.set_input(reader.node, 2, Some(bias));
            if let Op::Gemm(gemm) = &mut graph.node_mut(reader.node).op {
                gemm.beta = 1.0;
            }
        }
    }
    Ok(())
}
