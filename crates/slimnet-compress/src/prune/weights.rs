//! Pruning of weights.
//!
//! # What it does
//!
//! Sets the least important weights to 0. The shapes stay what they are: the network gets smaller for a format that leaves
//! zeros out, and faster for a kernel that does. Zeros may lie anywhere, or in a [pattern](Pattern) that hardware likes:
//! N of M neighbouring inputs, or whole blocks.
//!
//! # Equation
//!
//! With importance sᵢ of the elements i of the weights, in units u (single elements; of each group of M inputs the M − N
//! least important; blocks), of |u| elements each:
//!
//! s(u) = ∑_{i ∈ u, wᵢ ≠ 0} sᵢ / |u|, and wᵢ ← 0 for all i in the units of least s(u)
//!
//! until n elements are 0, where n is the least number with n / (number of elements) ≥ sparsity. What is 0 already counts.
//!
//! # Parameters
//!
//! - Sparsity, 0 to 1: the part of the elements that is 0 afterwards.
//! - Pattern: single weights, N:M, or blocks of R outputs × C inputs.
//! - Scope: the least important of all weights, or the same part of each tensor.
//! - The importance.
//!
//! # Cost
//!
//! Sorting the weights: O(n log n) in their number, and 16 bytes for each.
//!
//! # When it hurts
//!
//! Zeros save nothing in a dense format or a dense kernel. Importance of different layers must be comparable for the
//! global scope: magnitudes of layers of different width are not quite. Without training afterwards more than about half is
//! rarely forgiven. N:M and blocks lose more accuracy than single weights at equal sparsity.
//!
//! # Source
//!
//! Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, 2015. N:M: Mishra et al.:
//! Accelerating Sparse Deep Neural Networks, 2021. Blocks: Narang, Undersander, Diamos: Block-Sparse Recurrent Neural
//! Networks, 2017. Layers that vanish: Tanaka et al.: Pruning neural networks without any data by iteratively conserving
//! synaptic flow, 2020.

use std::collections::BTreeMap;

use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::tensor::{ElementType, Tensor};

use super::{PruneError, Scope};
use crate::constraint::{Constraint, ConstraintError, Pattern, record, recorded};
use crate::importance::WeightScores;
use crate::pattern::{Matrix, broken_patterns, is_possible};
use crate::weight::Weight;

/// Which weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WeightChoice {
    /// How zeros are arranged.
    pub pattern: Pattern,
    /// Among what the least important is looked for.
    pub scope: Scope,
}

/// What pruning of weights did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedWeights {
    /// Each weight that had importance, ordered by value.
    pub tensors: Vec<PrunedWeight>,
}

/// What pruning did to a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedWeight {
    /// The tensor.
    pub value: ValueId,
    /// How many elements it has.
    pub elements: usize,
    /// How many were 0 before.
    pub zeros_before: usize,
    /// How many are 0 now.
    pub zeros: usize,
    /// What was recorded: the pattern that its zeros have now, `None` if it has none.
    pub pattern: Option<Pattern>,
    /// Whether it was left as it was because it has fewer inputs than a group of N:M.
    pub too_small: bool,
}

impl PrunedWeights {
    /// The part of the elements that is 0 now.
    pub fn sparsity(&self) -> f64 {
        let sum = |count: fn(&PrunedWeight) -> usize| self.tensors.iter().map(count).sum::<usize>();
        sum(|tensor| tensor.zeros) as f64 / sum(|tensor| tensor.elements).max(1) as f64
    }
}

/// A weight that can be pruned.
struct Subject<'a> {
    value: ValueId,
    shape: Vec<usize>,
    values: Vec<f32>,
    scores: &'a [f32],
    matrix: Matrix,
    zeros: usize,
}

/// Elements that become 0 together.
struct Unit {
    importance: f32,
    /// Which weight it is in.
    subject: u32,
    /// Place among the weight's units.
    place: u32,
    /// How many of its elements are not 0 yet.
    nonzero: u32,
}

/// Sets the least important weights to 0 until `sparsity` of all elements of `weights` are 0, and records the constraint.
///
/// - A weight without scores is left alone and counts in no sum. Elements of infinite importance stay.
/// - The number of zeros is the least whose part of the elements (under [`Scope::Layer`]: of each tensor) is `sparsity` or
///   more, above it by less than a block or the M − N elements of a group. What is 0 stays 0 and counts.
/// - Of equally important units those go first that come first: in the order of the values, and within one as a matrix of
///   outputs × (taps of the kernel · inputs), row by row.
/// - No tensor loses its most important unit, unless `sparsity` is 1: a layer without weights computes nothing.
/// - N:M: groups are M inputs side by side at the same output and tap. At the end of inputs that M does not divide, the
///   rest r is a group of its own, of which ⌈N·r/M⌉ stay. A weight of fewer than M inputs stays dense. A `sparsity` below
///   what the pattern gives prunes the least important groups, so that a schedule can approach it; one above it gives the
///   pattern and no more.
/// - Blocks of R × C divide the matrix, inputs within taps; blocks at the edges are smaller. One counts by the mean of its
///   elements.
/// - The pattern is recorded once a weight has it; before, or after zeros that break it, an earlier record that still holds
///   stays, else single zeros are recorded. Recorded or not, zeros are kept by training.
///
/// # Errors
/// [`PruneError`]; the graph is then unchanged.
pub fn prune_weights(
    graph: &mut Graph,
    weights: &[Weight],
    scores: &WeightScores,
    choice: WeightChoice,
    sparsity: f64,
) -> Result<PrunedWeights, PruneError> {
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(PruneError::Sparsity(sparsity));
    }
    if !is_possible(choice.pattern) {
        return Err(PruneError::Pattern(choice.pattern));
    }
    let mut subjects = subjects(graph, weights, scores)?;
    if subjects.is_empty() {
        return Err(PruneError::NoWeights);
    }
    let earlier = subjects.iter().map(|subject| recorded(graph, subject.value)).collect::<Result<Vec<_>, _>>()?;
    let before: Vec<usize> = subjects.iter().map(|subject| subject.zeros).collect();
    let chosen = choose(&subjects, choice, sparsity);
    for (subject, chosen) in subjects.iter_mut().zip(chosen) {
        subject.set_to_zero(choice.pattern, &chosen);
    }
    let mut tensors = Vec::with_capacity(subjects.len());
    for ((subject, earlier), zeros_before) in subjects.into_iter().zip(earlier).zip(before) {
        let Subject { value, shape, values, matrix, zeros, .. } = subject;
        let earlier = earlier.map(|Constraint::Sparse(pattern)| pattern);
        let wished = [Some(choice.pattern), earlier].into_iter().flatten();
        let mut special = wished.filter(|&pattern| pattern != Pattern::Single && matrix.has(pattern, &values));
        let pattern = if zeros == 0 { earlier } else { special.next().or(Some(Pattern::Single)) };
        let (elements, too_small) = (values.len(), matrix.too_small(choice.pattern));
        if zeros > zeros_before {
            graph.set_data(value, Tensor::from_values(shape, values)?);
        }
        // What was 0 all over before begins at 0: it was not pruned.
        let untouched = zeros == elements && zeros_before == zeros && earlier.is_none();
        if let Some(pattern) = pattern.filter(|_| !untouched) {
            record(graph, value, Constraint::Sparse(pattern));
        }
        tensors.push(PrunedWeight { value, elements, zeros_before, zeros, pattern, too_small });
    }
    Ok(PrunedWeights { tensors })
}

/// Records single zeros for weights that no longer have the pattern that is recorded: removed inputs move groups.
pub(super) fn mend_patterns(graph: &mut Graph) -> Result<(), ConstraintError> {
    for value in broken_patterns(graph)? {
        record(graph, value, Constraint::Sparse(Pattern::Single));
    }
    Ok(())
}

/// The weights that have scores, once each, checked.
fn subjects<'a>(graph: &Graph, weights: &[Weight], scores: &'a WeightScores) -> Result<Vec<Subject<'a>>, PruneError> {
    let weights: BTreeMap<ValueId, &Weight> = weights.iter().map(|weight| (weight.value, weight)).collect();
    let scored = weights.into_values().filter_map(|weight| Some((weight, scores.get(&weight.value)?)));
    scored.map(|(weight, scores)| Subject::new(graph, weight, scores)).collect()
}

impl<'a> Subject<'a> {
    fn new(graph: &Graph, weight: &Weight, scores: &'a [f32]) -> Result<Self, PruneError> {
        let value = weight.value;
        if !graph.has_value(value) {
            return Err(PruneError::Weight { value: format!("{value:?}"), found: "not in the graph".into() });
        }
        let name = &graph.value(value).name;
        let wrong = |found: String| PruneError::Weight { value: name.clone(), found };
        let data = graph.value(value).data.as_ref().ok_or_else(|| wrong("computed".into()))?;
        if data.element_type() != ElementType::F32 {
            return Err(wrong(data.element_type().to_string()));
        }
        let shape = data.shape().to_vec();
        let matrix = Matrix::new(&shape, weight.outputs, weight.inputs);
        let small = u32::try_from(data.len()).is_ok();
        let matrix = matrix.filter(|_| small).ok_or_else(|| wrong(format!("of shape {shape:?}")))?;
        let values = data.values::<f32>()?.into_owned();
        if scores.len() != values.len() {
            return Err(PruneError::Scores { what: format!("{name:?}"), expected: values.len(), found: scores.len() });
        }
        if let Some(index) = scores.iter().position(|score| score.is_nan()) {
            return Err(PruneError::NotANumber { what: format!("{name:?}"), index });
        }
        let zeros = values.iter().filter(|&&value| value == 0.0).count();
        Ok(Self { value, shape, values, scores, matrix, zeros })
    }

    /// The units that are not 0 already, least important first, without those that must stay.
    fn units(&self, place: usize, pattern: Pattern, all_may_go: bool) -> Vec<Unit> {
        let mut units = Vec::new();
        let mut next = 0;
        self.matrix.units(pattern, &self.values, self.scores, &mut |unit| {
            let own = unit.iter().filter(|&&element| self.values[element] != 0.0);
            let (sum, nonzero) =
                own.fold((0.0, 0), |(sum, count), &element| (sum + f64::from(self.scores[element]), count + 1));
            if nonzero > 0 {
                let importance = (sum / unit.len() as f64) as f32;
                units.push(Unit { importance, subject: place as u32, place: next, nonzero });
            }
            next += 1;
        });
        units.sort_unstable_by(order);
        if !all_may_go && !matches!(pattern, Pattern::NofM { .. }) {
            units.pop();
        }
        units.retain(|unit| unit.importance < f32::INFINITY);
        units
    }

    /// Sets the units at these places to 0.
    fn set_to_zero(&mut self, pattern: Pattern, places: &[u32]) {
        let mut elements = Vec::new();
        let (mut next, mut chosen) = (0, places.iter().peekable());
        self.matrix.units(pattern, &self.values, self.scores, &mut |unit| {
            if chosen.next_if(|&&place| place == next).is_some() {
                elements.extend_from_slice(unit);
            }
            next += 1;
        });
        for element in elements.into_iter().filter(|&element| self.values[element] != 0.0).collect::<Vec<_>>() {
            self.values[element] = 0.0;
            self.zeros += 1;
        }
    }
}

/// Least important first, of equals the first.
fn order(a: &Unit, b: &Unit) -> std::cmp::Ordering {
    a.importance.total_cmp(&b.importance).then((a.subject, a.place).cmp(&(b.subject, b.place)))
}

/// Of each weight the units that become 0, ascending.
fn choose(subjects: &[Subject], choice: WeightChoice, sparsity: f64) -> Vec<Vec<u32>> {
    let mut chosen = vec![Vec::new(); subjects.len()];
    let units = |place: usize| subjects[place].units(place, choice.pattern, sparsity >= 1.0);
    let mut take = |mut units: Vec<Unit>, among: &[Subject]| {
        let elements: usize = among.iter().map(|subject| subject.values.len()).sum();
        let mut zeros: usize = among.iter().map(|subject| subject.zeros).sum();
        let wanted = least_count(sparsity, elements);
        units.sort_unstable_by(order);
        for unit in units {
            if zeros >= wanted {
                break;
            }
            zeros += unit.nonzero as usize;
            chosen[unit.subject as usize].push(unit.place);
        }
    };
    match choice.scope {
        Scope::Global => take((0..subjects.len()).flat_map(units).collect(), subjects),
        Scope::Layer => (0..subjects.len()).for_each(|place| take(units(place), &subjects[place..=place])),
    }
    for places in &mut chosen {
        places.sort_unstable();
    }
    chosen
}

/// The least count that is `part` or more of `all`.
fn least_count(part: f64, all: usize) -> usize {
    let count = (part * all as f64) as usize;
    let enough = |count: usize| count as f64 / all as f64 >= part;
    if count > 0 && enough(count - 1) {
        count - 1
    } else if enough(count) {
        count
    } else {
        count + 1
    }
}
