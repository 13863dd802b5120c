//! Which layers read removed channels, and where the correction of each goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use slimnet_graph::Op;
use slimnet_graph::axes::{Access, Coupling, GroupId};
use slimnet_graph::graph::{Graph, GraphError, NodeId, ValueId};
use slimnet_graph::ops::elementwise::Binary;
use slimnet_graph::tensor::ElementType;

use super::RecoverError;
use super::least_squares::Before;
use super::window::Window;
use crate::constraint::recorded;
use crate::weight::{Weight, weights};

/// Why a weight that read removed channels was left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Several layers read it, and what suits one need not suit the others.
    Tied,
    /// It must stay sparse: a correction would fill its zeros.
    Constrained,
    /// Its inputs fall into groups.
    Grouped,
    /// Its layer is no convolution or matrix product with this weight as second factor.
    Operator(String),
    /// More products reach one output than [`Calibration::most_features`](super::Calibration::most_features).
    Large {
        /// How many.
        features: usize,
    },
    /// The removal did not leave it so: something else changed it since.
    Changed,
    /// The equations have no solution that is better than what there is.
    NoGain,
}

/// A weight that read removed channels and was left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Name of the weight.
    pub weight: String,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tied => write!(formatter, "several layers read it"),
            Self::Constrained => write!(formatter, "its zeros must stay zeros"),
            Self::Grouped => write!(formatter, "its inputs fall into groups"),
            Self::Operator(operator) => write!(formatter, "no correction is known for its layer ({operator})"),
            Self::Large { features } => write!(formatter, "{features} products reach each of its outputs: too many"),
            Self::Changed => write!(formatter, "it was changed after the removal"),
            Self::NoGain => write!(formatter, "no correction is better than none"),
        }
    }
}

/// Where a constant for each output of a layer can go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Offset {
    /// It is added to this data, `scale` times.
    Add { value: ValueId, scale: f64 },
    /// The layer gets a bias of its own, in slot 2.
    New,
    /// Nowhere.
    None,
}

/// A layer that reads removed channels, as the pruned network has it.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub node: NodeId,
    pub name: String,
    pub weight: Weight,
    pub x: ValueId,
    pub y: ValueId,
    pub window: Window,
    /// Channels of its input.
    pub inputs: usize,
    /// Products that reach one output.
    pub features: usize,
    /// Positions of the original's outputs that are left.
    pub outputs: Vec<usize>,
    /// How many outputs the original has.
    pub all_outputs: usize,
    /// The layer multiplies its weight by this.
    pub scale: f64,
    pub offset: Offset,
}

/// The layers that read removed channels, and the weights of such that cannot be mended.
pub(super) fn readers(
    pruned: &Graph,
    before: &Before<'_>,
    most_features: usize,
) -> Result<(Vec<Reader>, Vec<LeftOut>), RecoverError> {
    let gone = before.coupling.closure(before.removed);
    let known: BTreeMap<ValueId, Weight> = weights(pruned).into_iter().map(|weight| (weight.value, weight)).collect();
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for (value, source) in before.network.values() {
        let reads = before
            .coupling
            .covers(value)
            .iter()
            .any(|cover| cover.access == Access::Reads && cover.groups.iter().any(|group| gone.contains(group)));
        if source.data.is_none() || !reads {
            continue;
        }
        let reader = match known.get(&value) {
            _ if !pruned.has_value(value) || pruned.value(value).name != source.name => Err(Reason::Changed),
            _ if recorded(pruned, value)?.is_some() => Err(Reason::Constrained),
            Some(weight) => reader(pruned, before, &gone, weight, most_features),
            None => Err(Reason::Operator(operators(before.network, value))),
        };
        match reader {
            Ok(reader) => found.push(reader),
            Err(reason) => left_out.push(LeftOut { weight: source.name.clone(), reason }),
        }
    }
    Ok((found, left_out))
}

/// The operators that read a value.
fn operators(graph: &Graph, value: ValueId) -> String {
    let names: BTreeSet<_> = graph.value(value).readers().map(|at| graph.node(at.node).op.op_type()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn reader(
    pruned: &Graph,
    before: &Before<'_>,
    gone: &BTreeSet<GroupId>,
    weight: &Weight,
    most_features: usize,
) -> Result<Reader, Reason> {
    if !read_once(pruned, weight) {
        return Err(Reason::Tied);
    }
    let node = pruned.node(weight.node);
    let other = || Reason::Operator(node.op.op_type().to_owned());
    let (group, scale) = match &node.op {
        Op::Conv(conv) => (conv.group, 1.0),
        Op::ConvTranspose(conv) => (conv.group, 1.0),
        // A product with the weight in front, or with an input given transposed, has its samples side by side.
        Op::Gemm(gemm) if weight.slot == 1 && !gemm.transA && gemm.alpha != 0.0 => (1, f64::from(gemm.alpha)),
        Op::MatMul(_) if weight.slot == 1 => (1, 1.0),
        _ => return Err(other()),
    };
    if group != 1 {
        return Err(Reason::Grouped);
    }
    let window = Window::of(&node.op).ok_or_else(other)?;
    let data = |graph: &'_ Graph| graph.value(weight.value).data.as_ref().map(|data| data.shape().to_vec());
    let (Some(shape), Some(whole)) = (data(pruned), data(before.network)) else { return Err(Reason::Changed) };
    let taps: usize = (0..shape.len())
        .filter(|&axis| axis != weight.outputs && axis != weight.inputs)
        .fold(1, |taps, axis| taps * shape[axis]);
    // Taps that arrive in another order than they lie in would be mended at wrong places.
    if taps > 1 && node.input(weight.slot) != Some(weight.value) {
        return Err(other());
    }
    let kept = |axis| kept(before.coupling, weight.value, axis, whole[axis], gone);
    let (outputs, inputs) = (kept(weight.outputs)?, kept(weight.inputs)?);
    let mut expected = whole.clone();
    (expected[weight.outputs], expected[weight.inputs]) = (outputs.len(), inputs.len());
    let same_layer = before.network.has_node(weight.node)
        && before.network.node(weight.node).op.op_type() == node.op.op_type()
        && before.network.node(weight.node).output(0) == node.output(0);
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return Err(Reason::Changed) };
    if expected != shape || !same_layer {
        return Err(Reason::Changed);
    }
    let features = inputs.len() * taps;
    if features > most_features {
        return Err(Reason::Large { features });
    }
    let offset = offset(pruned, weight.node, outputs.len());
    Ok(Reader {
        node: weight.node,
        name: pruned.describe_node(weight.node),
        weight: weight.clone(),
        x,
        y,
        window,
        inputs: inputs.len(),
        features,
        outputs,
        all_outputs: whole[weight.outputs],
        scale,
        offset,
    })
}

/// Whether one slot of one layer reads a weight, through whatever it reaches it.
fn read_once(graph: &Graph, weight: &Weight) -> bool {
    let mut value = weight.value;
    loop {
        let mut readers = graph.value(value).readers();
        let (Some(only), None) = (readers.next(), readers.next()) else { return false };
        if graph.outputs().contains(&value) {
            return false;
        }
        if only.node == weight.node {
            return true;
        }
        let Some(next) = graph.node(only.node).output(0) else { return false };
        value = next;
    }
}

/// The positions along an axis of a value that stay, where they are the same in every row.
fn kept(
    coupling: &Coupling,
    value: ValueId,
    axis: usize,
    length: usize,
    gone: &BTreeSet<GroupId>,
) -> Result<Vec<usize>, Reason> {
    let mut stays = vec![true; length];
    for cover in coupling.covers(value).iter().filter(|cover| cover.axes.contains(&axis)) {
        let loses = cover.groups.iter().any(|group| gone.contains(group));
        if loses && (cover.axes.len() > 1 || cover.groups.len() != length) {
            return Err(Reason::Grouped);
        }
        if loses {
            stays.iter_mut().zip(cover.groups.iter()).for_each(|(stays, group)| *stays &= !gone.contains(group));
        }
    }
    Ok((0..length).filter(|&position| stays[position]).collect())
}

/// Where a constant for each of `outputs` outputs of a layer can go without changing anything else.
fn offset(graph: &Graph, node: NodeId, outputs: usize) -> Offset {
    let layer = graph.node(node);
    // One element for each output, which nobody else reads.
    let own = |value: ValueId| {
        let found = graph.value(value);
        let data = found.data.as_ref()?;
        let fits = data.element_type() == ElementType::F32 && data.len() == outputs;
        let lies_last = data.rank() == 0 || data.shape().last() == Some(&outputs);
        (fits && lies_last && found.readers().len() == 1 && !graph.outputs().contains(&value)).then_some(value)
    };
    let add = |value, scale| Offset::Add { value, scale };
    let beta = match &layer.op {
        Op::Gemm(gemm) => f64::from(gemm.beta),
        _ => 1.0,
    };
    if !matches!(layer.op, Op::MatMul(_))
        && let Some(bias) = layer.input(2)
    {
        return own(bias).filter(|_| beta != 0.0).map_or(Offset::None, |bias| add(bias, 1.0 / beta));
    }
    let only_reader = layer.output(0).and_then(|y| {
        let mut readers = graph.value(y).readers();
        let (Some(only), None) = (readers.next(), readers.next()) else { return None };
        (!graph.outputs().contains(&y)).then(|| (only.slot, graph.node(only.node)))
    });
    let product = matches!(layer.op, Op::MatMul(_));
    let after = only_reader.and_then(|(slot, reader)| match &reader.op {
        // What is added before a normalisation is what is taken from its mean.
        Op::BatchNormalization(_) if slot == 0 && !product => Some(add(reader.input(3).and_then(own)?, -1.0)),
        Op::Binary(Binary::Add) if product => Some(add(reader.input(1 - slot).and_then(own)?, 1.0)),
        _ => None,
    });
    after.unwrap_or(if product { Offset::None } else { Offset::New })
}

/// How many of these layers lie behind each other on the longest way to each layer's input: what a layer reads is
/// final once all layers of lower levels are.
pub(super) fn levels(graph: &Graph, readers: &[Reader]) -> Result<Vec<usize>, GraphError> {
    let solved: BTreeSet<NodeId> = readers.iter().map(|reader| reader.node).collect();
    let mut levels: HashMap<ValueId, usize> = HashMap::new();
    for id in graph.schedule()? {
        let node = graph.node(id);
        let level = node.inputs().iter().flatten().filter_map(|input| levels.get(input)).max().copied().unwrap_or(0);
        let level = level + usize::from(solved.contains(&id));
        levels.extend(node.outputs().iter().flatten().map(|&output| (output, level)));
    }
    Ok(readers.iter().map(|reader| levels.get(&reader.x).copied().unwrap_or(0)).collect())
}
