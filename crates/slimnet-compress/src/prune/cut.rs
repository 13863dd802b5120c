//! One cut: importance is evaluated, and the unimportant removed until so much is left.

use std::collections::BTreeSet;

use slimnet_graph::Op;
use slimnet_graph::axes::{CoupleOptions, CoupledAxis, Coupling, GroupId, couple};
use slimnet_graph::cost::{CostOptions, cost};
use slimnet_graph::graph::Graph;
use slimnet_graph::tensor::Tensor;

use super::{Amount, LoopError, Most, NeuronChoice, PruneError, Request, Subject, WeightChoice};
use super::{measure, prune_neurons, prune_weights};
use crate::constraint::{Constraint, Pattern, recorded};
use crate::importance::{Evidence, score_groups, score_weights};
use crate::material::Material;
use crate::recover::Before;
use crate::weight::{Weight, weights};

/// A network that was cut.
#[derive(Debug)]
pub(super) struct Cut {
    pub graph: Graph,
    /// How many weights or neurons went.
    pub removed: u64,
    /// Which neurons went.
    pub neurons: Option<Neurons>,
}

/// What became of a cut.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The network is as small as was asked.
    Cut(Box<Cut>),
    /// So much cannot go, and why.
    Short(String),
}

/// What a network was before neurons went, for layers that are solved for what they computed.
pub(super) fn before<'a>(neurons: Option<&'a Neurons>, network: &'a Graph) -> Option<Before<'a>> {
    neurons.map(|(coupling, removed)| Before { network, coupling, removed })
}

/// Neurons that went, and the coupled axes that they were on.
pub(super) type Neurons = (Coupling, BTreeSet<GroupId>);

/// Cuts networks that all come from one original.
pub(super) struct Cutter<'a> {
    request: &'a Request,
    excluded: &'a dyn Fn(&str) -> bool,
    /// What the original has of what the target counts.
    whole: f64,
    /// The weights that may become 0, by name: what falls short of a pattern later still counts.
    names: BTreeSet<String>,
}

impl<'a> Cutter<'a> {
    pub fn new(original: &Graph, request: &'a Request, excluded: &'a dyn Fn(&str) -> bool) -> Result<Self, PruneError> {
        let mut cutter = Self { request, excluded, whole: 1.0, names: BTreeSet::new() };
        if let Subject::Weights(pattern) = request.subject {
            let fits = |weight: &Weight| {
                let data = original.value(weight.value).data.as_ref();
                data.is_some_and(|data| fits(pattern, original, weight, data.shape()[weight.inputs]))
            };
            let names =
                weights(original).into_iter().filter(fits).map(|weight| original.value(weight.value).name.clone());
            cutter.names = names.filter(|name| !excluded(name)).collect();
            if cutter.names.is_empty() {
                return Err(PruneError::NoWeights);
            }
        }
        cutter.whole = match (request.subject, request.target.amount) {
            (Subject::Weights(_), Amount::Sparsity) => elements(original, &cutter.weights(original)) as f64,
            _ => cutter.count(original)?,
        };
        Ok(cutter)
    }

    /// What is to be left at the end, as a part of the original.
    pub fn aim(&self) -> f64 {
        match self.request.target.most {
            Most::Part(part) => part,
            Most::Count(count) => count / self.whole,
        }
    }

    /// What is left, as a part of the original.
    pub fn left(&self, graph: &Graph) -> Result<f64, PruneError> {
        Ok(self.count(graph)? / self.whole)
    }

    /// The weights that may be pruned, as far as they are still there.
    fn weights(&self, graph: &Graph) -> Vec<Weight> {
        let mut found = weights(graph);
        found.retain(|weight| self.names.contains(&graph.value(weight.value).name));
        found
    }

    /// Whether so little is left. The pattern N:M is whole where groups are cut off at the end, too, and the last weight of a
    /// tensor stays beyond what was asked.
    pub fn is_small(&self, graph: &Graph, aim: f64) -> Result<bool, PruneError> {
        let left = self.left(graph)?;
        let Subject::Weights(pattern) = self.request.subject else { return Ok(left <= aim + 1e-12) };
        let weights = self.weights(graph);
        if let (Pattern::NofM { left: some, group }, Amount::Sparsity) = (pattern, self.request.target.amount) {
            let whole = |weight: &Weight| recorded(graph, weight.value) == Ok(Some(Constraint::Sparse(pattern)));
            if aim >= some as f64 / group as f64 - 1e-9 && weights.iter().all(whole) {
                return Ok(true);
            }
        }
        let last = |weight: &&Weight| graph.value(weight.value).data.as_ref().map_or(0, nonzero_elements) == 1;
        let spare = weights.iter().filter(last).count();
        Ok(left <= aim + spare as f64 / self.whole + 1e-12)
    }

    /// What there is of what the target counts: of weights those that are not 0.
    fn count(&self, graph: &Graph) -> Result<f64, PruneError> {
        match (self.request.subject, self.request.target.amount) {
            (Subject::Weights(_), Amount::Sparsity) => Ok(nonzero(graph, &self.weights(graph)) as f64),
            (Subject::Weights(_), _) => Ok(cost(graph, &CostOptions::default())?.nonzero_parameters as f64),
            (Subject::Neurons { approximate, .. }, Amount::Sparsity) => {
                let coupling = couple(graph, &CoupleOptions { approximate, ..CoupleOptions::default() })?;
                let neuron = |&group: &GroupId| coupling.frozen(group).is_none() && coupling.members(group).is_empty();
                Ok(coupling.groups().filter(neuron).count() as f64)
            }
            (Subject::Neurons { .. }, amount) => measure(graph, amount),
        }
    }

    /// The part of the weights that must be 0 for so much to be left.
    fn sparsity(&self, graph: &Graph, weights: &[Weight], left: f64) -> Result<f64, PruneError> {
        let others = match self.request.target.amount {
            Amount::Sparsity => 0.0,
            _ => self.count(graph)? - nonzero(graph, weights) as f64,
        };
        // Never all of them: what is left of nothing computes nothing.
        let kept = (left * self.whole - others).max(1.0);
        Ok((1.0 - kept / elements(graph, weights).max(1) as f64).clamp(0.0, 1.0))
    }

    /// What importance is measured on, if the criterion needs that.
    fn evidence<'m>(&'m self, material: &Material<'m>) -> Result<Option<Evidence<'m>>, LoopError> {
        if !self.request.criterion.needs_data() {
            return Ok(None);
        }
        let source = material.training.ok_or(LoopError::NoData(self.request.criterion))?;
        Ok(Some(Evidence {
            source,
            job: &self.request.judged_by,
            batch: material.batch,
            samples: self.request.importance_samples,
            lengths: material.lengths.clone(),
            threads: material.threads,
        }))
    }

    /// Cuts a network until `left` of the original is left, if so much can go.
    pub fn cut(&self, graph: &Graph, left: f64, material: &Material<'_>) -> Result<Attempt, LoopError> {
        let Request { criterion, scope, seed, .. } = *self.request;
        let evidence = self.evidence(material)?;
        let mut graph = graph.clone();
        match self.request.subject {
            Subject::Weights(pattern) => {
                let weights = self.weights(&graph);
                let scores = score_weights(&graph, &weights, criterion, evidence.as_ref(), seed)?;
                let sparsity = self.sparsity(&graph, &weights, left)?;
                let choice = WeightChoice { pattern, scope };
                let pruned = prune_weights(&mut graph, &weights, &scores, choice, sparsity)?;
                // A pattern has so many zeros and no more, and each tensor keeps something.
                let least = self.left(&graph)?;
                if !self.is_small(&graph, left)? {
                    let pattern = if pattern == Pattern::Single { "" } else { ", as the pattern has no more zeros" };
                    return Ok(Attempt::Short(format!(
                        "{:.1} % is the least that can be left{pattern}",
                        100.0 * least
                    )));
                }
                let lost = pruned.tensors.iter().map(|tensor| tensor.zeros - tensor.zeros_before);
                let removed = lost.sum::<usize>() as u64;
                Ok(Attempt::Cut(Box::new(Cut { graph, removed, neurons: None })))
            }
            Subject::Neurons { round, approximate } => {
                let coupling = couple(&graph, &CoupleOptions { approximate, ..CoupleOptions::default() })?;
                let scores = score_groups(&graph, &coupling, criterion, evidence.as_ref(), seed)?;
                let choice = NeuronChoice { scope, round };
                let excluded = |axis: &CoupledAxis| {
                    axis.covers.iter().any(|(value, _)| (self.excluded)(&graph.value(*value).name))
                };
                let mut cut = graph.clone();
                let reached = |graph: &Graph| Ok(self.left(graph)? <= left + 1e-12);
                let pruned = match prune_neurons(&mut cut, &coupling, &scores, &excluded, choice, &reached) {
                    // All that could go is gone.
                    Err(PruneError::NothingRemovable { why, .. }) if self.left(&graph)? < 1.0 => {
                        return Ok(Attempt::Short(why));
                    }
                    Err(PruneError::NothingRemovable { axes, excluded, fixed, why }) if round > 1 => {
                        let why = format!("{why} (--round {round} keeps at least so many channels of every layer)");
                        return Err(PruneError::NothingRemovable { axes, excluded, fixed, why }.into());
                    }
                    pruned => pruned?,
                };
                if !pruned.reached {
                    let least = format!("{:.1} % is the least that can be left", 100.0 * self.left(&cut)?);
                    return Ok(Attempt::Short(match pruned.skipped.first() {
                        Some(axis) => format!("{least}; {:?} must stay: {}", axis.name, axis.reason),
                        None => least,
                    }));
                }
                let lost = pruned.axes.iter().map(|axis| axis.before - axis.after);
                let removed = lost.sum::<usize>() as u64;
                Ok(Attempt::Cut(Box::new(Cut { graph: cut, removed, neurons: Some((coupling, pruned.groups)) })))
            }
        }
    }
}

/// Whether a weight can have a pattern. Weights of fewer inputs than a group of N:M cannot and stay dense; nor can groups of a
/// transposed convolution whose inputs are no multiple of it, as they lie side by side.
fn fits(pattern: Pattern, graph: &Graph, weight: &Weight, inputs: usize) -> bool {
    let Pattern::NofM { group, .. } = pattern else { return true };
    let parts = match &graph.node(weight.node).op {
        Op::ConvTranspose(convolution) => usize::try_from(convolution.group).unwrap_or(1).max(1),
        _ => 1,
    };
    inputs / parts >= group && (parts == 1 || (inputs / parts).is_multiple_of(group))
}

fn elements(graph: &Graph, weights: &[Weight]) -> usize {
    weights.iter().filter_map(|weight| graph.value(weight.value).data.as_ref()).map(Tensor::len).sum()
}

fn nonzero(graph: &Graph, weights: &[Weight]) -> usize {
    weights.iter().filter_map(|weight| graph.value(weight.value).data.as_ref()).map(nonzero_elements).sum()
}

/// How many elements of a tensor of `float32` are not 0.
pub(super) fn nonzero_elements(data: &Tensor) -> usize {
    data.values::<f32>().map_or(0, |values| values.iter().filter(|&&value| value != 0.0).count())
}
