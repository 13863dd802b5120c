//! Training: steps over batches.

use std::time::{Duration, Instant};

use slimnet_graph::graph::{Graph, NodeId, ValueId};
use slimnet_graph::tensor::{ElementType, Tensor, TensorError};

use super::batch::{Batch, Source, SourceError};
use super::evaluate::batch_lengths;
use super::feed::Feed;
use super::options::TrainOptions;
use crate::differentiate::{DifferentiateError, differentiate};
use crate::job::{Job, JobError};
use crate::kernels::Context;
use crate::optimize::{Optimizer, norm};
use crate::plan::{Memory, Plan, PlanError, PlanOptions, RunError};
use crate::threads::Threads;

/// Why training cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The network has no gradient.
    #[error(transparent)]
    Differentiate(#[from] DifferentiateError),
    /// The job has no meaning in evaluation.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The job cannot be run at this size.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The job refused a batch.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A batch could not be had.
    #[error("{0}")]
    Source(SourceError),
    /// A batch has no data for an input.
    #[error("the data has nothing for the input {input:?} of the network or its loss; it has {found}")]
    Missing {
        /// The input.
        input: String,
        /// What there is.
        found: String,
    },
    /// No parameter has an influence on the loss.
    #[error("the loss depends on no parameter that can be trained")]
    NoGradient,
    /// The loss is not finite.
    #[error(
        "the loss is not finite at step {step}: {value:?}, computed by {node}, was the first that is not; try a lower rate or --clip"
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// The node that first computed something not finite.
        node: String,
        /// The value.
        value: String,
    },
    /// The loss of the network as it is is not finite.
    #[error(
        "the loss is not finite: {value:?}, computed by {node}, was the first that is not; look at the data and the weights"
    )]
    LossNotFinite {
        /// The node that first computed something not finite.
        node: String,
        /// The value.
        value: String,
    },
    /// A label that is no class.
    #[error("the label of sample {sample} of a batch is {found}; expected 0 to {}", classes.map_or("the number of classes less 1".into(), |classes| (classes - 1).to_string()))]
    Label {
        /// The place in the batch.
        sample: usize,
        /// The label.
        found: i64,
        /// Number of classes, if it is known.
        classes: Option<usize>,
    },
    /// A setting outside its range.
    #[error("{setting} is {found}; expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its range.
        expected: &'static str,
        /// What it is.
        found: f64,
    },
    /// A saved state of another network or other options.
    #[error("the saved state does not fit: {0}")]
    Restore(String),
}

/// Groups of the plan's states and results.
const PARAMETERS: usize = 0;
const STATISTICS: usize = 1;
const GRADIENTS: usize = 0;

/// Name of the losses of an epoch in a state.
const EPOCH_LOSS: &str = "epoch/loss";

/// A network in training.
#[derive(Debug)]
pub struct Trainer {
    graph: Graph,
    plan: Plan,
    total: ValueId,
    losses: Vec<(String, ValueId)>,
    feed: Feed,
    parameters: Vec<(String, ValueId)>,
    statistics: Vec<(String, ValueId)>,
    unreached: Vec<String>,
    /// Sum and number of the losses of the epoch so far.
    epoch_loss: (f64, u64),
    optimizer: Optimizer,
    average: Option<Vec<f32>>,
    options: TrainOptions,
    batches: usize,
}

/// What a trainer needs to go on elsewhere: tensors by name, and the number of steps done.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Parameters, statistics, and vectors of the optimiser.
    pub tensors: Vec<(String, Tensor)>,
}

impl Trainer {
    /// Makes a job ready, for epochs of so many batches.
    ///
    /// # Errors
    /// If the network cannot be differentiated or run.
    pub fn new(job: &Job, batches: usize, options: TrainOptions) -> Result<Self, TrainError> {
        options.check()?;
        let mut graph = job.graph.clone();
        let gradients = differentiate(&mut graph, job.total, &job.parameters)?;
        let pairs = || job.parameters.iter().zip(&gradients);
        let name = |id: ValueId| (graph.value(id).name.clone(), id);
        let parameters: Vec<_> = pairs().filter(|(_, gradient)| gradient.is_some()).map(|(&id, _)| name(id)).collect();
        let unreached = pairs().filter(|(_, gradient)| gradient.is_none()).map(|(&id, _)| name(id).0).collect();
        if parameters.is_empty() {
            return Err(TrainError::NoGradient);
        }
        let statistics: Vec<_> = job.updates.iter().map(|(state, _)| name(*state)).collect();
        let ids = |named: &[(String, ValueId)]| named.iter().map(|(_, id)| *id).collect::<Vec<_>>();
        let mut kept: Vec<_> = job.losses.iter().map(|(_, id)| *id).collect();
        kept.push(job.total);
        let plan = Plan::new(
            &graph,
            &PlanOptions {
                lengths: batch_lengths(&graph, options.batch, &options.lengths),
                states: vec![ids(&parameters), ids(&statistics)],
                results: vec![gradients.iter().flatten().copied().collect()],
                kept,
                updates: job.updates.clone(),
                ..PlanOptions::default()
            },
        )?;
        let starts: Vec<_> = parameters.iter().map(|(_, id)| plan.range(*id).start).collect();
        let ends = starts.iter().skip(1).copied().chain([plan.state(PARAMETERS).len()]);
        let decay = |id: ValueId| if plan.value_type(id).1.len() > 1 { options.weight_decay } else { 0.0 };
        let pieces = starts.iter().zip(ends).zip(&parameters).map(|((start, end), (_, id))| (end - start, decay(*id)));
        let optimizer = Optimizer::new(options.rule, pieces);
        let average = options.average.map(|_| plan.state(PARAMETERS).to_vec());
        Ok(Self {
            feed: Feed::new(&graph, job),
            graph,
            total: job.total,
            losses: job.losses.clone(),
            plan,
            parameters,
            statistics,
            unreached,
            epoch_loss: (0.0, 0),
            optimizer,
            average,
            options,
            batches,
        })
    }

    /// Parameters that have no influence on the loss and stay as they are.
    pub fn unreached(&self) -> &[String] {
        &self.unreached
    }

    /// Steps done.
    pub fn step_number(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.options.epochs.saturating_mul(self.batches as u64)
    }

    /// Memory of a step, without the optimiser's state.
    pub fn memory(&self) -> Memory {
        self.plan.memory()
    }

    /// Bytes of the optimiser's state.
    pub fn optimizer_bytes(&self) -> usize {
        self.optimizer.state().iter().map(|values| size_of_val(values.as_slice())).sum()
    }

    /// The graph of a step: the job and its gradients.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Name, element type and shape of everything that a batch must have.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, ElementType, &[usize])> {
        self.feed.inputs.iter().map(|(name, id)| {
            let (element_type, shape) = self.plan.value_type(*id);
            (name.as_str(), element_type, shape)
        })
    }

    /// The rate of the next step.
    pub fn rate(&self) -> f32 {
        let warm_up = (self.options.warm_up * self.batches as f64) as u64;
        (f64::from(self.options.rate) * self.options.schedule.factor(self.step_number(), self.steps(), warm_up)) as f32
    }

    /// Trains on a batch. Returns the loss.
    ///
    /// # Errors
    /// If the batch does not fit, or the loss is not finite: parameters are then as before.
    pub fn step(&mut self, batch: &Batch, threads: &Threads) -> Result<f32, TrainError> {
        self.feed.set(&mut self.plan, batch)?;
        let context = self.context();
        threads.run(|| self.plan.compute(context))?;
        let loss = self.check_loss(context)?;
        threads.run(|| self.move_parameters());
        Ok(loss)
    }

    /// Trains as [`Self::step`] and tells how long each node of [`Self::graph`] took, as [`Plan::compute_observed`] does.
    /// Returns how long the optimiser took.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_observed(
        &mut self,
        batch: &Batch,
        threads: &Threads,
        observe: impl FnMut(Option<NodeId>, Duration) + Send,
    ) -> Result<Duration, TrainError> {
        self.feed.set(&mut self.plan, batch)?;
        let context = self.context();
        threads.run(|| self.plan.compute_observed(context, observe))?;
        self.check_loss(context)?;
        let start = Instant::now();
        threads.run(|| self.move_parameters());
        Ok(start.elapsed())
    }

    fn context(&self) -> Context {
        Context { seed: self.options.seed, step: self.step_number(), node: 0 }
    }

    /// The loss of the last run, which must be finite.
    fn check_loss(&mut self, context: Context) -> Result<f32, TrainError> {
        let loss = self.plan.get::<f32>(self.total)[0];
        if !loss.is_finite() {
            let (node, value) =
                self.plan.find_not_finite(context)?.unwrap_or_else(|| ("the sum".into(), "loss".into()));
            return Err(TrainError::NotFinite { step: context.step, node, value });
        }
        Ok(loss)
    }

    /// Lets the statistics follow the batch and the parameters their gradients.
    fn move_parameters(&mut self) {
        self.plan.update();
        let rate = self.rate();
        let Self { plan, optimizer, average, options, .. } = self;
        let (parameters, gradients) = plan.state_and_result(PARAMETERS, GRADIENTS);
        let factor = options.clip.map_or(1.0, |most| (f64::from(most) / norm(gradients).max(1e-30)).min(1.0) as f32);
        optimizer.step(parameters, gradients, rate, factor);
        if let (Some(average), Some(stays)) = (average, options.average) {
            average.iter_mut().zip(&*parameters).for_each(|(mean, now)| *mean = stays * *mean + (1.0 - stays) * now);
        }
    }

    /// The losses of the last step, by name.
    pub fn losses(&self) -> impl Iterator<Item = (&str, f32)> {
        self.losses.iter().map(|(name, id)| (name.as_str(), self.plan.get::<f32>(*id)[0]))
    }

    /// Names of what training changes.
    pub fn names(&self) -> Vec<String> {
        self.parameters.iter().chain(&self.statistics).map(|(name, _)| name.clone()).collect()
    }

    /// Parameters (their mean, if that was asked for) and statistics as they are now.
    ///
    /// # Errors
    /// Never for a trainer that was made.
    pub fn values(&self) -> Result<Vec<(String, Tensor)>, TrainError> {
        let mut values = Vec::new();
        for (name, id) in self.parameters.iter().chain(&self.statistics) {
            let tensor = match &self.average {
                Some(average) if self.parameters.iter().any(|(_, parameter)| parameter == id) => {
                    let shape = self.plan.value_type(*id).1.to_vec();
                    Tensor::from_values(shape, average[self.plan.range(*id)].to_vec())?
                }
                _ => self.plan.tensor(*id)?,
            };
            values.push((name.clone(), tensor));
        }
        Ok(values)
    }

    /// Everything that is needed to go on.
    pub fn state(&self) -> State {
        let vector = |name: String, values: &[f32]| (name, Tensor::vector(values.to_vec()));
        let mut tensors = vec![
            vector("parameters".into(), self.plan.state(PARAMETERS)),
            vector("statistics".into(), self.plan.state(STATISTICS)),
        ];
        tensors.extend(self.average.iter().map(|average| vector("average".into(), average)));
        let (sum, count) = self.epoch_loss;
        tensors.push((EPOCH_LOSS.into(), Tensor::vector(vec![sum, count as f64])));
        let vectors = self.optimizer.state().iter().enumerate();
        tensors.extend(vectors.map(|(index, values)| vector(format!("optimizer/{index}"), values)));
        State { step: self.step_number(), tensors }
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// If it is of another network or other options; the trainer is then as it was.
    pub fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        let vector = |name: &str, length: usize| {
            let found = state.tensors.iter().find(|(given, _)| given == name);
            let (_, tensor) = found.ok_or_else(|| TrainError::Restore(format!("{name:?} is missing")))?;
            let values = tensor.values::<f32>()?.into_owned();
            if values.len() == length {
                return Ok(values);
            }
            Err(TrainError::Restore(format!("{name:?} has {} numbers, expected {length}", values.len())))
        };
        let parameters = vector("parameters", self.plan.state(PARAMETERS).len())?;
        let statistics = vector("statistics", self.plan.state(STATISTICS).len())?;
        let average = self.average.as_ref().map(|average| vector("average", average.len())).transpose()?;
        let lengths: Vec<_> = self.optimizer.state().iter().map(Vec::len).collect();
        let vectors = lengths.iter().enumerate().map(|(index, &length)| vector(&format!("optimizer/{index}"), length));
        let vectors = vectors.collect::<Result<Vec<_>, TrainError>>()?;
        if !self.optimizer.restore(state.step, vectors) {
            return Err(TrainError::Restore("it is of another optimiser".into()));
        }
        self.plan.state_mut(PARAMETERS).copy_from_slice(&parameters);
        self.plan.state_mut(STATISTICS).copy_from_slice(&statistics);
        self.average = average;
        let epoch_loss = state.tensors.iter().find(|(name, _)| name == EPOCH_LOSS);
        self.epoch_loss = match epoch_loss.map(|(_, tensor)| tensor.to_f64s()).transpose()?.as_deref() {
            Some(&[sum, count]) => (sum, count as u64),
            _ => (0.0, 0),
        };
        Ok(())
    }

    /// Mean loss of the epoch so far.
    fn epoch_mean(&self) -> f64 {
        let (sum, count) = self.epoch_loss;
        sum / count.max(1) as f64
    }

    /// Trains from where the trainer is to the end, or until the observer ends it. Returns whether the end was reached.
    ///
    /// # Errors
    /// If a step fails, or the observer does.
    pub fn fit<E: From<TrainError>>(
        &mut self,
        source: &dyn Source,
        threads: &Threads,
        observer: &mut dyn Observer<E>,
    ) -> Result<bool, E> {
        let batches = self.batches as u64;
        while self.step_number() < self.steps() {
            let epoch = self.step_number() / batches;
            for batch in source.epoch(epoch, (self.step_number() % batches) as usize) {
                let batch = batch.map_err(TrainError::Source)?;
                let loss = f64::from(self.step(&batch, threads)?);
                self.epoch_loss = (self.epoch_loss.0 + loss, self.epoch_loss.1 + 1);
                if self.step_number().is_multiple_of(batches) {
                    break;
                }
                if observer.after_step(self, self.epoch_mean())? == Control::Stop {
                    return Ok(false);
                }
            }
            if !self.step_number().is_multiple_of(batches) {
                return Err(TrainError::Source("an epoch ended early".into()).into());
            }
            let mean = self.epoch_mean();
            self.epoch_loss = (0.0, 0);
            if observer.after_epoch(self, epoch, mean)? == Control::Stop {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether training goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It does.
    Continue,
    /// It ends here.
    Stop,
}

/// Who looks on: shows progress, saves, evaluates, ends.
pub trait Observer<E> {
    /// Called after every step but the last of an epoch, with the mean loss of the epoch so far.
    ///
    /// # Errors
    /// If training must not go on.
    fn after_step(&mut self, trainer: &Trainer, loss: f64) -> Result<Control, E>;

    /// Called after every epoch, with its mean loss.
    ///
    /// # Errors
    /// If training must not go on.
    fn after_epoch(&mut self, trainer: &Trainer, epoch: u64, loss: f64) -> Result<Control, E>;
}
