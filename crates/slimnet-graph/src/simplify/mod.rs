//! Makes a graph smaller without changing what it computes: constant folding, identities, duplicates, and channels that
//! carry no information.
//!
//! Passes run in turn until none changes anything; each is linear in the size of the graph. Graph inputs and outputs
//! keep their names, order and types. What changes is lossless up to rounding; the one exception, weights that are not
//! zero but vanish beside the rest of their tensor, is bounded by [`SimplifyOptions::dead`].

mod batch_norm;
mod chain;
mod channels;
mod duplicate;
mod edit;
mod fold;
mod identity;
mod padding;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

pub use channels::{ChannelsError, LayerChannels};

use crate::graph::{Graph, GraphError};
use crate::infer::{self, GraphInferError, Inference};

/// What [`simplify`] may do.
#[derive(Debug, Clone, PartialEq)]
pub struct SimplifyOptions {
    /// A weight or bias vanishes if its magnitude is at most this times `scale`, the largest magnitude in its tensor or
    /// 1, whichever is less; slices of vanishing weights count as zeros. An output of a layer from which such weights
    /// are removed moves by at most `dead · scale · (1 + Σ|x|)` over the layer's inputs `x`. 0: only exact zeros vanish.
    pub dead: f64,
    /// The largest result in bytes that folding may compute where the result is larger than what it replaces (a
    /// constant made by `Range`, `Expand` and the like).
    pub fold_limit_bytes: usize,
    /// Whether what only training needs stays for later training: `Dropout`, the identity in inference, and `Mask`, without
    /// which it would not be known which weights must stay 0.
    pub keep_training: bool,
    /// Whether batch normalisations are merged into the layers before them (training is better off with them).
    pub fold_batch_norm: bool,
    /// Whether channels without information are removed.
    pub remove_channels: bool,
}

impl Default for SimplifyOptions {
    fn default() -> Self {
        Self {
            dead: 1e-10,
            fold_limit_bytes: 64_000,
            keep_training: true,
            fold_batch_norm: false,
            remove_channels: true,
        }
    }
}

/// One kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// Parameters that the file also listed as inputs are inputs no more.
    ListedInputs,
    /// Nodes whose results are known were replaced by constants.
    Folded,
    /// Shapes computed at run time, in part unknown, were replaced by constants that say the same.
    ShapeTargets,
    /// Nodes that return their input were removed.
    Identities,
    /// Transposes and changes of shape in a row were joined.
    Chains,
    /// Explicit padding moved into the convolution or pooling behind it.
    Padding,
    /// Batch normalisations were merged into the layers before them.
    BatchNorms,
    /// Nodes that compute what another computes were removed.
    DuplicateNodes,
    /// Constants that equal another were removed.
    DuplicateConstants,
    /// Nodes that no output depends on were removed.
    UnreachableNodes,
    /// Channels that carry no information were removed (channels that go together count once).
    Channels,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::ListedInputs => "parameters no longer listed as inputs",
            Self::Folded => "nodes folded into constants",
            Self::ShapeTargets => "computed shapes made constant",
            Self::Identities => "identities removed",
            Self::Chains => "transposes and reshapes joined",
            Self::Padding => "pads merged into windows",
            Self::BatchNorms => "batch normalisations merged",
            Self::DuplicateNodes => "duplicate nodes removed",
            Self::DuplicateConstants => "duplicate constants removed",
            Self::UnreachableNodes => "unreachable nodes removed",
            Self::Channels => "channels removed",
        })
    }
}

/// What [`simplify`] did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SimplifyReport {
    /// How often each kind of change was made; kinds that did not occur are absent.
    pub changes: BTreeMap<Change, usize>,
    /// Names of the parameters that were listed as inputs.
    pub listed_inputs: Vec<String>,
    /// The layers that lost channels.
    pub layers: Vec<LayerChannels>,
    /// Why channels that carry no information had to stay, each reason once.
    pub refusals: Vec<String>,
}

impl SimplifyReport {
    /// Whether anything changed.
    pub fn changed(&self) -> bool {
        !self.changes.is_empty()
    }

    fn count(&mut self, change: Change, count: usize) -> bool {
        if count > 0 {
            *self.changes.entry(change).or_default() += count;
        }
        count > 0
    }

    fn note_refusal(&mut self, reason: String) {
        if !self.refusals.contains(&reason) {
            self.refusals.push(reason);
        }
    }

    /// Adds what layers lost; one that is there already lost more.
    fn add_layers(&mut self, layers: Vec<LayerChannels>) {
        let places: HashMap<_, _> =
            self.layers.iter().enumerate().map(|(place, old)| (old.layer.clone(), place)).collect();
        for layer in layers {
            match places.get(&layer.layer).and_then(|&place| self.layers.get_mut(place)) {
                Some(known) => {
                    known.unread += layer.unread;
                    known.zero += layer.zero;
                    known.constant += layer.constant;
                }
                None => self.layers.push(layer),
            }
        }
    }
}

/// Why a graph cannot be simplified.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimplifyError {
    /// The graph's links are broken.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph's types do not fit.
    #[error(transparent)]
    Infer(#[from] GraphInferError),
    /// Channels could not be removed.
    #[error(transparent)]
    Channels(#[from] ChannelsError),
}

/// No real network comes near it; it bounds the time that a hostile one can take.
const MOST_ROUNDS: usize = 100;

/// Simplifies a graph in place.
///
/// # Errors
/// If the graph is not valid; the graph may then be partly simplified, which computes the same.
pub fn simplify(graph: &mut Graph, options: &SimplifyOptions) -> Result<SimplifyReport, SimplifyError> {
    let mut report = SimplifyReport::default();
    drop_listed_inputs(graph, &mut report);
    for _ in 0..MOST_ROUNDS {
        let inference = infer::infer_graph(graph)?;
        if rewrite(graph, &inference, options, &mut report)? {
            continue;
        }
        if !options.remove_channels || !channels::remove(graph, options, &mut report)? {
            break;
        }
    }
    Ok(report)
}

/// Files up to IR version 3 list every initializer as an input too, which would let a caller replace it: nothing could
/// be folded. None is meant so.
fn drop_listed_inputs(graph: &mut Graph, report: &mut SimplifyReport) {
    let listed = graph.inputs().iter().map(|&input| graph.value(input)).filter(|value| value.data.is_some());
    report.listed_inputs = listed.map(|value| value.name.clone()).collect();
    graph.retain_inputs(|value| value.data.is_none());
    report.count(Change::ListedInputs, report.listed_inputs.len());
}

/// One round of the passes that look at nodes.
fn rewrite(
    graph: &mut Graph,
    inference: &Inference,
    options: &SimplifyOptions,
    report: &mut SimplifyReport,
) -> Result<bool, GraphError> {
    let order = graph.schedule()?;
    let mut changed = false;
    changed |= report.count(Change::Identities, identity::remove(graph, &order, options));
    changed |= report.count(Change::Folded, fold::fold(graph, &order, inference, options));
    changed |= report.count(Change::ShapeTargets, target::make_constant(graph, &order, inference));
    changed |= report.count(Change::Chains, chain::join(graph, &order));
    changed |= report.count(Change::Padding, padding::merge(graph, &order));
    if options.fold_batch_norm {
        changed |= report.count(Change::BatchNorms, batch_norm::merge(graph, &order));
    }
    changed |= report.count(Change::DuplicateNodes, duplicate::merge_nodes(graph, &order));
    changed |= report.count(Change::DuplicateConstants, duplicate::merge_constants(graph));
    let (nodes, values) = graph.remove_unreachable();
    changed |= report.count(Change::UnreachableNodes, nodes);
    Ok(changed || values > 0)
}
