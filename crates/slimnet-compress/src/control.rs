//! Controls: what a pruned network has to be compared with.
//!
//! # What it does
//! [`reinitialise`] gives a network new random weights and leaves all else: the same architecture, to be trained from
//! nothing. What such training reaches is what the architecture alone is worth; only what the pruned network has
//! beyond it comes from the weights that pruning kept.
//!
//! # Equation
//! Each tensor is drawn as the layer that reads it asks for (of several readers the first), like a fresh network of
//! the zoo:
//!
//! | tensor | new elements |
//! |---|---|
//! | kernels of convolutions, matrices of products, weights of recurrent layers | [`Init::weight`] of both fans |
//! | biases of convolutions and products; vectors added directly behind a product | [`Init::bias`] |
//! | biases of recurrent layers and normalisations; other vectors that are added or subtracted; means | 0 |
//! | scales of normalisations, variances; what is multiplied or divided by | 1 |
//! | slopes of `PRelu` | 0.25 |
//! | tables for look-ups; what is added along several axes or joined to other tensors | normal, 0.02, cut at twice |
//!
//! The fans count the products that reach one output (in) or leave one input (out). A weight that must stay sparse
//! keeps its zeros, and its fans are multiplied by the part that is left, so that what arrives varies as it does in a
//! dense layer. What is added to an input or multiplied with it before the first layer prepares data and stays as it
//! is.
//!
//! # Parameters
//! `init`: one initialisation for all layers; without it He's (normal, variance 2 / fan in) where a rectifier follows,
//! Glorot's (uniform, variance 2 / (fan in + fan out)) elsewhere. `seed`: elements are a function of seed, name and
//! place; with the seed and initialisation that it was built with, an unchanged network of the zoo becomes again what it
//! was.
//!
//! # Cost
//! One random number a parameter.
//!
//! # When it hurts
//! A fair control is trained for as many steps as the pruned network was, in all. Architectures whose authors scale
//! some layers specially (by 1e-5 at the end of a block, say) start otherwise than they would.
//!
//! # Source
//! Z. Liu et al., Rethinking the Value of Network Pruning, ICLR 2019 (the control); K. He et al., Delving Deep into
//! Rectifiers, ICCV 2015; X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural
//! networks, AISTATS 2010; U. Evci et al., Gradient Flow in Sparse Neural Networks, AAAI 2022 (fans of sparse layers).

use std::collections::{BTreeSet, VecDeque};

use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, GraphError, NodeId, Use, ValueId};
use slimnet_graph::ops::Role;
use slimnet_graph::ops::elementwise::{Binary, Unary, Variadic};
use slimnet_graph::roles::{passes_data, roles};
use slimnet_graph::tensor::{Tensor, TensorError};
use slimnet_graph::zoo::Init;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

use crate::constraint::{ConstraintError, recorded};

/// Why a network cannot be initialised anew. It is then as it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ControlError {
    /// A parameter of which it is not known how it would start.
    #[error("{value:?} is read by {node}: it is not known how such a parameter is initialised")]
    Unknown {
        /// The parameter.
        value: String,
        /// What reads it.
        node: String,
    },
    /// A parameter of integers.
    #[error("{value:?} is quantized: initialise the network before it is quantized")]
    Quantized {
        /// The parameter.
        value: String,
    },
    /// A record that is not understood.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The graph's links are broken.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A tensor that cannot be read or made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    /// As the weight of a layer.
    Weight(Fans),
    /// As the bias of a layer with such a weight.
    Bias(Fans),
    /// All elements the same.
    Filled(f32),
    /// As vectors that are looked up.
    Table,
    /// As it is.
    Kept,
}

/// What a weight is between.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fans {
    /// The layer.
    node: NodeId,
    /// Products that reach one output.
    fan_in: usize,
    /// Products that leave one input.
    fan_out: usize,
}

/// Gives every parameter and statistic of a network the value that it would have in a fresh one: see the
/// [module](self). Returns how many tensors are new.
///
/// # Errors
/// If it is not known how a parameter starts, or it is quantized; the network is then as it was.
pub fn reinitialise(graph: &mut Graph, init: Option<Init>, seed: u64) -> Result<usize, ControlError> {
    let (learned, roles) = (behind_layers(graph)?, roles(graph));
    let mut new = Vec::new();
    for (id, _) in graph.values().filter(|(id, _)| matches!(roles[id.index()], Some(Role::Parameter | Role::Statistic)))
    {
        let start = start(graph, id, &learned)?;
        new.extend(drawn(graph, id, start, init, seed)?.map(|data| (id, data)));
    }
    let count = new.len();
    for (id, data) in new {
        graph.set_data(id, data);
    }
    Ok(count)
}

/// The new data of a parameter; `None` if it stays.
fn drawn(
    graph: &Graph,
    id: ValueId,
    start: Start,
    init: Option<Init>,
    seed: u64,
) -> Result<Option<Tensor>, ControlError> {
    let value = graph.value(id);
    let Some(data) = &value.data else { return Ok(None) };
    if start != Start::Kept && !data.element_type().is_float() {
        return Err(ControlError::Quantized { value: value.name.clone() });
    }
    let sparse = recorded(graph, id)?.is_some();
    let old = if sparse { data.to_f64s()? } else { Vec::new() };
    let left = old.iter().filter(|&&element| element != 0.0).count() as f64 / old.len().max(1) as f64;
    let part = |fan: usize| if sparse { (fan as f64 * left).round() as usize } else { fan };
    let init_of = |fans: &Fans| {
        init.unwrap_or_else(|| if rectified(graph, fans.node) { Init::KaimingFanIn } else { Init::XavierUniform })
    };
    let distribution = match start {
        Start::Kept => return Ok(None),
        Start::Filled(number) => Err(number),
        Start::Weight(fans) => Ok(init_of(&fans).weight(part(fans.fan_in), part(fans.fan_out))),
        Start::Bias(fans) => init_of(&fans).bias(fans.fan_in).ok_or(0.0),
        Start::Table => Ok(Distribution::TruncatedNormal { mean: 0.0, deviation: 0.02 }),
    };
    let (element_type, shape) = (data.element_type(), data.shape().to_vec());
    let new = match distribution {
        Ok(distribution) => tensor(element_type, shape, Stream::named(seed, &value.name), distribution)?,
        Err(number) => Tensor::from_f64s(element_type, shape, vec![f64::from(number); data.len()])?,
    };
    if !sparse {
        return Ok(Some(new));
    }
    let kept = new.to_f64s()?.into_iter().zip(old).map(|(new, old)| if old == 0.0 { old } else { new }).collect();
    Ok(Some(Tensor::from_f64s(element_type, data.shape().to_vec(), kept)?))
}

/// How a parameter or statistic starts: as what first reads it says.
fn start(graph: &Graph, id: ValueId, learned: &BTreeSet<ValueId>) -> Result<Start, ControlError> {
    // What hands it on unchanged is looked through.
    let mut open = VecDeque::from([id]);
    while let Some(seen) = open.pop_front() {
        for Use { node, slot } in graph.value(seen).readers() {
            let op = &graph.node(node).op;
            if passes_data(op) && slot == 0 {
                open.extend(graph.node(node).output(0));
            } else if op.slot_role(slot) != Role::Constant || op.other().is_some() {
                let unknown =
                    || ControlError::Unknown { value: graph.value(id).name.clone(), node: graph.describe_node(node) };
                return read_by(graph, Use { node, slot }, seen, learned).ok_or_else(unknown);
            }
        }
    }
    Ok(Start::Kept)
}

/// How data starts that arrives as `seen` in a slot of a node; `None` if that is not known.
fn read_by(graph: &Graph, Use { node, slot }: Use, seen: ValueId, learned: &BTreeSet<ValueId>) -> Option<Start> {
    let layer = graph.node(node);
    let weight = || fans(graph, node, slot, seen).map(Start::Weight);
    let prepares = |slot: usize| {
        let others = layer.inputs().iter().enumerate().filter(|(other, _)| *other != slot);
        !others.filter_map(|(_, other)| *other).any(|other| learned.contains(&other))
    };
    match (&layer.op, slot) {
        (Op::Conv(_) | Op::ConvTranspose(_), 1) | (Op::Gemm(_) | Op::MatMul(_), 0 | 1) => weight(),
        (Op::Lstm(_) | Op::Gru(_) | Op::Rnn(_), 1 | 2) => weight(),
        (Op::Lstm(_) | Op::Gru(_) | Op::Rnn(_), _) => Some(Start::Filled(0.0)),
        (Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_), _) => {
            // The bias is of the layer whose weight is in slot 1, unless that is the first factor.
            let of = |slot| fans(graph, node, slot, layer.input(slot)?);
            Some(of(1).map_or(Start::Filled(0.0), Start::Bias))
        }
        (Op::BatchNormalization(_), 3) => Some(Start::Filled(0.0)),
        (Op::BatchNormalization(_), 4) => Some(Start::Filled(1.0)),
        (op, 1 | 2) if normalizes(op) => Some(Start::Filled(if slot == 1 { 1.0 } else { 0.0 })),
        (Op::Gather(_), 0) | (Op::Concat(_) | Op::Expand(_) | Op::Where(_), _) => Some(Start::Table),
        (Op::Binary(Binary::PRelu), _) => Some(Start::Filled(0.25)),
        (Op::Binary(_) | Op::Variadic(_), _) if prepares(slot) => Some(Start::Kept),
        (Op::Binary(Binary::Mul | Binary::Div), _) => Some(Start::Filled(1.0)),
        (Op::Binary(Binary::Sub), _) => Some(Start::Filled(0.0)),
        (Op::Binary(Binary::Add) | Op::Variadic(Variadic::Sum), _) => {
            let lengths = graph.value(seen).known_shape()?;
            let vector = lengths.iter().filter(|&&length| length != 1).count() <= 1;
            let product = |input: ValueId| {
                let producer = graph.value(input).producer()?;
                let Op::MatMul(_) = graph.node(producer).op else { return None };
                fans(graph, producer, 1, graph.node(producer).input(1)?)
            };
            let bias = || layer.inputs().iter().flatten().find_map(|&input| product(input)).map(Start::Bias);
            Some(if vector { bias().unwrap_or(Start::Filled(0.0)) } else { Start::Table })
        }
        _ => None,
    }
}

fn normalizes(op: &Op) -> bool {
    matches!(op, Op::BatchNormalization(_) | Op::InstanceNormalization(_) | Op::LayerNormalization(_))
        || matches!(op, Op::GroupNormalization(_) | Op::RmsNormalization(_))
}

/// The fans of a weight that arrives as `seen` in a slot of a layer.
fn fans(graph: &Graph, node: NodeId, slot: usize, seen: ValueId) -> Option<Fans> {
    let shape = graph.value(seen).known_shape()?;
    let number = |number: i64| usize::try_from(number).ok().filter(|&number| number > 0);
    let (fan_in, fan_out) = match (&graph.node(node).op, shape.as_slice()) {
        (Op::Conv(conv), [outputs, inputs, taps @ ..]) => {
            let taps: usize = taps.iter().product();
            (inputs * taps, outputs / number(conv.group)? * taps)
        }
        (Op::ConvTranspose(conv), [inputs, outputs, taps @ ..]) => {
            let taps: usize = taps.iter().product();
            // Only one of as many taps as the stride is long meets an output.
            let met = conv.strides.iter().try_fold(taps, |taps, &stride| Some(taps.div_ceil(number(stride)?)))?;
            (inputs / number(conv.group)? * met, outputs * taps)
        }
        (Op::Gemm(gemm), &[rows, columns]) => {
            let outputs_first = if slot == 1 { gemm.transB } else { !gemm.transA };
            if outputs_first { (columns, rows) } else { (rows, columns) }
        }
        (Op::MatMul(_), &[inputs]) => (inputs, 1),
        (Op::MatMul(_), &[.., rows, columns]) => {
            if slot == 1 {
                (rows, columns)
            } else {
                (columns, rows)
            }
        }
        // Gates side by side, each of as many rows as there are units.
        (Op::Lstm(_), &[_, rows, inputs]) => (inputs, rows / 4),
        (Op::Gru(_), &[_, rows, inputs]) => (inputs, rows / 3),
        (Op::Rnn(_), &[_, rows, inputs]) => (inputs, rows),
        _ => return None,
    };
    Some(Fans { node, fan_in, fan_out })
}

/// Whether the first nonlinearity behind a layer is a rectifier or one like it, which lets about half of what it reads
/// pass.
fn rectified(graph: &Graph, layer: NodeId) -> bool {
    let mut seen = BTreeSet::new();
    let mut open: VecDeque<ValueId> = graph.node(layer).output(0).into_iter().collect();
    while let Some(value) = open.pop_front() {
        if !seen.insert(value) {
            continue;
        }
        for reader in graph.value(value).readers() {
            let node = graph.node(reader.node);
            match &node.op {
                Op::Unary(Unary::Relu | Unary::HardSwish | Unary::Mish | Unary::Softplus) => return true,
                Op::Binary(Binary::PRelu) | Op::LeakyRelu(_) | Op::Elu(_) | Op::Selu(_) | Op::Celu(_) => return true,
                Op::Clip(_) | Op::Gelu(_) | Op::Swish(_) | Op::ThresholdedRelu(_) => return true,
                op if normalizes(op) || passes_data(op) => open.extend(node.output(0)),
                Op::Binary(Binary::Add | Binary::Sub) | Op::Variadic(_) | Op::Dropout(_) | Op::Concat(_) => {
                    open.extend(node.output(0));
                }
                Op::MaxPool(_) | Op::AveragePool(_) | Op::GlobalMaxPool(_) | Op::GlobalAveragePool(_) | Op::Pad(_) => {
                    open.extend(node.output(0));
                }
                _ => {}
            }
        }
    }
    false
}

/// The values that depend on what some layer computed.
fn behind_layers(graph: &Graph) -> Result<BTreeSet<ValueId>, GraphError> {
    let mut behind = BTreeSet::new();
    for id in graph.schedule()? {
        let node = graph.node(id);
        let layer = matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_) | Op::Gather(_))
            || matches!(node.op, Op::Lstm(_) | Op::Gru(_) | Op::Rnn(_) | Op::Einsum(_));
        if layer || node.inputs().iter().flatten().any(|input| behind.contains(input)) {
            behind.extend(node.outputs().iter().flatten());
        }
    }
    Ok(behind)
}
