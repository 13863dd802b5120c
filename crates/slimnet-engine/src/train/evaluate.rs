//! How good a network is on labelled samples.

use std::collections::{BTreeMap, HashMap};

use slimnet_graph::graph::{Dim, Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::tensor::{Tensor, TensorError};

use super::batch::{Batch, SourceError};
use crate::job::scores::{Activation, ending, scores};
use crate::job::{JobError, evaluation_meaning, fixed_batch, free_batch};
use crate::kernels::Context;
use crate::plan::{Memory, Plan, PlanError, PlanOptions, RunError};
use crate::threads::Threads;

/// Why a network cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// No samples could be had.
    #[error("{0}")]
    Source(SourceError),
    /// The network cannot be run at this size.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The network refused the data.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The network cannot be run as in evaluation.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A tensor that cannot be read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Data and network do not fit.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What does not fit.
        what: String,
        /// What the network has.
        expected: String,
        /// What the data has.
        found: String,
    },
    /// There is nothing to evaluate on.
    #[error("there are no samples")]
    Empty,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// Cross-entropy with the labels, and how often the largest output is the labelled one. The output is `[N, K]` or
    /// `[N, K, …]`.
    #[default]
    Classes,
    /// Mean of squared differences to the target.
    SquaredError,
    /// Binary cross-entropy with the target, and how often both are on the same side of a half.
    Binary,
}

/// How good a network is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Samples (or labelled positions, where an output has several a sample).
    pub samples: usize,
    /// How many were right; `None` where the metric does not say.
    pub correct: Option<usize>,
    /// Mean loss.
    pub loss: f64,
}

impl Score {
    /// How many are right, in percent.
    pub fn accuracy(&self) -> Option<f64> {
        Some(100.0 * self.correct? as f64 / self.samples as f64)
    }

    /// How many are wrong.
    pub fn errors(&self) -> Option<usize> {
        Some(self.samples - self.correct?)
    }
}

/// How often samples of a class were right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassScore {
    /// Samples of the class.
    pub samples: usize,
    /// How many of them were right.
    pub correct: usize,
}

/// Evaluates a network, again and again with other data of its parameters.
#[derive(Debug)]
pub struct Evaluator {
    graph: Graph,
    output: ValueId,
    metric: Metric,
    /// What losses are taken of.
    scores: ValueId,
    class_axis: usize,
    lengths: BTreeMap<String, usize>,
    states: Vec<ValueId>,
    plans: HashMap<usize, Plan>,
    changed: HashMap<ValueId, Tensor>,
    by_class: Vec<ClassScore>,
}

impl Evaluator {
    /// For an output of a network. `lengths` are those of named dimensions other than the batch; `states` are names of
    /// values whose data [`Self::set`] will change. Nodes that were stored as in training have their meaning in evaluation.
    ///
    /// # Errors
    /// If the output has no axis of classes and classes are measured.
    pub fn new(
        graph: Graph,
        output: ValueId,
        metric: Metric,
        lengths: BTreeMap<String, usize>,
        states: &[String],
    ) -> Result<Self, EvaluateError> {
        let mut graph = free_batch(&graph).unwrap_or(graph);
        evaluation_meaning(&mut graph)?;
        infer_graph(&mut graph).map_err(JobError::from)?;
        let end = ending(&graph, output);
        if metric == Metric::Binary && matches!(end.activation, Activation::Softmax | Activation::LogSoftmax) {
            return Err(EvaluateError::Mismatch {
                what: format!("what output {:?} ends in", graph.value(output).name),
                expected: "scores or a sigmoid, for binary cross-entropy".into(),
                found: "a softmax: its numbers depend on each other".into(),
            });
        }
        let class_axis = match end.class_axis() {
            Some(axis) => axis,
            None if metric != Metric::Classes => 1,
            None => {
                return Err(EvaluateError::Mismatch {
                    what: format!("classes of output {:?}", graph.value(output).name),
                    expected: "an axis of their own".into(),
                    found: "a softmax along an axis that a later reshape merges with others".into(),
                });
            }
        };
        let states = states.iter().filter_map(|name| graph.find_value(name)).collect();
        let (plans, changed) = (HashMap::new(), HashMap::new());
        // Losses are taken of scores: probabilities of 0 and 1 have lost them.
        let scores = match metric {
            Metric::SquaredError => output,
            Metric::Classes | Metric::Binary => scores(&mut graph, output, &end).map_err(JobError::from)?,
        };
        infer_graph(&mut graph).map_err(JobError::from)?;
        let by_class = Vec::new();
        Ok(Self { graph, output, metric, scores, class_axis, lengths, states, plans, changed, by_class })
    }

    /// Gives a parameter or statistic other data.
    pub fn set(&mut self, name: &str, data: Tensor) {
        if let Some(id) = self.graph.find_value(name) {
            self.changed.insert(id, data);
        }
    }

    /// Memory of the plan for the largest batch so far.
    pub fn memory(&self) -> Option<Memory> {
        self.plans.iter().max_by_key(|(batch, _)| **batch).map(|(_, plan)| plan.memory())
    }

    /// The last score class by class; empty if classes were not measured.
    pub fn by_class(&self) -> &[ClassScore] {
        &self.by_class
    }

    /// The plan for a batch of so many samples.
    fn plan(&mut self, samples: usize) -> Result<&mut Plan, EvaluateError> {
        if !self.plans.contains_key(&samples) {
            let options = PlanOptions {
                lengths: batch_lengths(&self.graph, samples, &self.lengths),
                states: vec![self.states.clone()],
                kept: vec![self.output, self.scores],
                ..PlanOptions::default()
            };
            self.plans.insert(samples, Plan::new(&self.graph, &options)?);
        }
        let changed = &self.changed;
        let plan = self.plans.entry(samples).or_insert_with(|| unreachable!("just inserted"));
        for (id, data) in changed {
            plan.set(*id, data)?;
        }
        Ok(plan)
    }

    /// The score over all batches. A batch has the network's inputs by name, and `labels` (`int64`, `[N]`) or `targets`
    /// (`float32`, like the output).
    ///
    /// # Errors
    /// If the data cannot be had or does not fit the network.
    pub fn evaluate(
        &mut self,
        batches: impl Iterator<Item = Result<Batch, SourceError>>,
        threads: &Threads,
    ) -> Result<Score, EvaluateError> {
        let mut score = Score { correct: (self.metric != Metric::SquaredError).then_some(0), ..Score::default() };
        let mut loss = 0f64;
        self.by_class.clear();
        for batch in batches {
            let batch = batch.map_err(EvaluateError::Source)?;
            let [output, scores] = self.values(&batch, [self.output, self.scores], threads)?;
            let part = self.score(&output, &scores, &batch)?;
            score.samples += part.samples;
            score.correct = score.correct.zip(part.correct).map(|(all, part)| all + part);
            loss += part.loss * part.samples as f64;
        }
        if score.samples == 0 {
            return Err(EvaluateError::Empty);
        }
        score.loss = loss / score.samples as f64;
        Ok(score)
    }

    /// The output on a batch, cut to its samples.
    ///
    /// # Errors
    /// If the data does not fit the network.
    pub fn run(&mut self, batch: &Batch, threads: &Threads) -> Result<Tensor, EvaluateError> {
        let [output] = self.values(batch, [self.output], threads)?;
        Ok(output)
    }

    /// Values on a batch, cut to its samples.
    fn values<const N: usize>(
        &mut self,
        batch: &Batch,
        wanted: [ValueId; N],
        threads: &Threads,
    ) -> Result<[Tensor; N], EvaluateError> {
        let fixed = fixed_batch(&self.graph);
        let size = fixed.unwrap_or(batch.samples);
        let inputs: Vec<_> =
            self.graph.free_inputs().map(|input| (input, self.graph.value(input).name.clone())).collect();
        let mut results = [const { Vec::new() }; N];
        let plan = self.plan(size)?;
        for start in (0..batch.samples).step_by(size.max(1)) {
            let count = size.min(batch.samples - start);
            for (input, name) in &inputs {
                let found = batch.values.iter().find(|(given, _)| given == name);
                let Some((_, data)) = found else {
                    return Err(EvaluateError::Mismatch {
                        what: format!("input {name:?} of the network"),
                        expected: "data of this name".into(),
                        found: batch.values.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", "),
                    });
                };
                plan.set(*input, &part(data, start, count, size)?)?;
            }
            threads.run(|| plan.run(Context::default()))?;
            for (result, value) in results.iter_mut().zip(wanted) {
                let tensor = plan.tensor(value)?;
                if tensor.shape().first() != Some(&size) {
                    let found = format!("{:?}", tensor.shape());
                    let what = format!("output {:?}", self.graph.value(self.output).name);
                    return Err(EvaluateError::Mismatch {
                        what,
                        expected: format!("one row a sample, [{size}, …]"),
                        found,
                    });
                }
                let bytes = tensor.bytes().map(AsRef::as_ref).unwrap_or_default();
                result.extend_from_slice(&bytes[..bytes.len() / size.max(1) * count]);
            }
        }
        let plan = &self.plans[&size];
        let mut tensors = Vec::with_capacity(N);
        for (result, value) in results.into_iter().zip(wanted) {
            let (element_type, shape) = plan.value_type(value);
            let shape = [&[batch.samples], &shape[1..]].concat();
            tensors.push(Tensor::from_bytes(element_type, shape, result.into())?);
        }
        tensors.try_into().map_err(|_| EvaluateError::Empty)
    }

    /// The score of a batch by the output and the scores that it was computed from.
    fn score(&mut self, output: &Tensor, scores: &Tensor, batch: &Batch) -> Result<Score, EvaluateError> {
        let values = scores.to_f64s()?;
        let given = |name: &str| {
            let found = batch.values.iter().find(|(given, _)| given == name);
            found.map(|(_, data)| data).ok_or_else(|| EvaluateError::Mismatch {
                what: "what to compare with".into(),
                expected: name.to_owned(),
                found: "none".into(),
            })
        };
        if self.metric == Metric::Classes {
            let labels = given("labels")?.to_i64s()?;
            let layout = (output.shape(), self.class_axis);
            return classes(layout, &output.to_f64s()?, &values, &labels, &mut self.by_class);
        }
        let targets = given("targets")?;
        if targets.len() != values.len() {
            return Err(EvaluateError::Mismatch {
                what: "targets".into(),
                expected: format!("{:?}, as the output", output.shape()),
                found: format!("{:?}", targets.shape()),
            });
        }
        let targets = targets.to_f64s()?;
        let samples = batch.samples;
        let pairs = values.iter().zip(&targets);
        if self.metric == Metric::SquaredError {
            let loss = pairs.map(|(x, t)| (x - t).powi(2)).sum::<f64>() / values.len() as f64;
            return Ok(Score { samples, correct: None, loss });
        }
        let correct = pairs.clone().filter(|(x, t)| (**x > 0.0) == (**t > 0.5)).count();
        let entropy = |(&x, &t): (&f64, &f64)| x.max(0.0) - x * t + (-x.abs()).exp().ln_1p();
        let loss = pairs.map(entropy).sum::<f64>() / values.len() as f64;
        Ok(Score { samples: values.len(), correct: Some(correct), loss })
    }
}

/// Cross-entropy of the scores and top-1 of the output along the axis of the classes, with a label for each place of the other axes.
fn classes(
    (shape, axis): (&[usize], usize),
    output: &[f64],
    scores: &[f64],
    labels: &[i64],
    by_class: &mut Vec<ClassScore>,
) -> Result<Score, EvaluateError> {
    let classes = shape.get(axis).copied().unwrap_or(1);
    let outer: usize = shape.iter().take(axis).product();
    let inner: usize = shape.iter().skip(axis + 1).product();
    if labels.len() != outer * inner {
        return Err(EvaluateError::Mismatch {
            what: "number of labels".into(),
            expected: (outer * inner).to_string(),
            found: labels.len().to_string(),
        });
    }
    let mut score = Score { samples: labels.len(), correct: Some(0), loss: 0.0 };
    by_class.resize(classes, ClassScore::default());
    let mut row = vec![0f64; classes];
    for (position, &label) in labels.iter().enumerate() {
        let start = position / inner * classes * inner + position % inner;
        let mut take = |values: &[f64]| {
            row.iter_mut().enumerate().for_each(|(class, value)| *value = values[start + class * inner]);
            row.clone()
        };
        let (output, row) = (take(output), take(scores));
        let Some(label) = usize::try_from(label).ok().filter(|&label| label < classes) else {
            return Err(EvaluateError::Mismatch {
                what: format!("label of sample {position}"),
                expected: format!("0 to {}, as the network has {classes} classes", classes.saturating_sub(1)),
                found: label.to_string(),
            });
        };
        // The first of equal largest values, and none if a value is no number.
        let largest = |best: usize, (class, value): (usize, &f64)| if *value > output[best] { class } else { best };
        let best = output.iter().enumerate().fold(0, largest);
        let right = best == label && output.iter().all(|value| !value.is_nan());
        score.correct = score.correct.map(|correct| correct + usize::from(right));
        by_class[label].samples += 1;
        by_class[label].correct += usize::from(right);
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        score.loss += most + row.iter().map(|value| (value - most).exp()).sum::<f64>().ln() - row[label];
    }
    score.loss /= score.samples.max(1) as f64;
    Ok(score)
}

/// Samples `start..start + count` of a tensor, filled up with copies of the first of them to `size`.
fn part(data: &Tensor, start: usize, count: usize, size: usize) -> Result<Tensor, TensorError> {
    let samples = data.shape().first().copied().unwrap_or(0);
    if start == 0 && samples == size {
        return Ok(data.clone());
    }
    let bytes = data.bytes().map(AsRef::as_ref).unwrap_or_default();
    let each = bytes.len() / samples.max(1);
    let mut result = bytes[start * each..(start + count) * each].to_vec();
    for _ in count..size {
        result.extend_from_slice(&bytes[start * each..(start + 1) * each]);
    }
    let mut shape = data.shape().to_vec();
    shape[0] = size;
    Tensor::from_bytes(data.element_type(), shape, result.into())
}

/// Lengths of the dimensions that inputs only name: `samples` for those of first axes, else as given.
pub fn batch_lengths(graph: &Graph, samples: usize, given: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let mut lengths = given.clone();
    let first = |input: ValueId| {
        graph
            .value(input)
            .shape
            .as_ref()?
            .first()
            .map(Dim::names)
            .map(|names| names.map(str::to_owned).collect::<Vec<_>>())
    };
    for name in graph.free_inputs().filter_map(first).flatten() {
        lengths.entry(name).or_insert(samples);
    }
    lengths
}
