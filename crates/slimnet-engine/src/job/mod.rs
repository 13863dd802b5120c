//! Training jobs: one graph of a network, its frozen teachers and the losses.

mod distillation;
mod free_batch;
mod loss;
mod merge;
mod mode;
mod parameters;
pub mod scores;

use slimnet_graph::graph::{Graph, GraphError, ValueId, display_shape};
use slimnet_graph::infer::{GraphInferError, infer_graph};
use slimnet_graph::ops::elementwise::Binary;
use slimnet_graph::tensor::Tensor;

pub use free_batch::{fixed_batch, free_batch};
pub use mode::{batch_norm_meaning, evaluation_meaning, separate_statistics};

/// Why a job cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The output that the loss is for is not told, or there is none.
    #[error("the network has the outputs {found}; {expected}")]
    Outputs {
        /// What should be.
        expected: String,
        /// What there is.
        found: String,
    },
    /// An output that a loss cannot be taken of.
    #[error("output {output:?} has {found}; {loss} needs {expected}")]
    Output {
        /// The output.
        output: String,
        /// The loss.
        loss: &'static str,
        /// What it needs.
        expected: &'static str,
        /// What there is.
        found: String,
    },
    /// A teacher that does not fit.
    #[error("teacher {teacher}: {what}: the network has {expected}, the teacher {found}")]
    Teacher {
        /// Which, counted from 1.
        teacher: usize,
        /// What does not fit.
        what: String,
        /// What the network has.
        expected: String,
        /// What the teacher has.
        found: String,
    },
    /// A setting outside its range.
    #[error("{setting} is {found}; expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its range.
        expected: &'static str,
        /// What it is.
        found: f32,
    },
    /// A pattern that names nothing.
    #[error("{setting} {pattern:?} names no float32 weights of the network")]
    Pattern {
        /// What the pattern is for: `train` or `freeze`.
        setting: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// Batch normalisation that was stored as in training and must be run as in evaluation.
    #[error(
        "{node} is stored as in training and its new running statistics are read; it cannot be run as in evaluation"
    )]
    Mode {
        /// The node.
        node: String,
    },
    /// Nothing to learn from.
    #[error("there is neither a loss on labels nor a teacher: nothing to learn from")]
    NoLoss,
    /// Nothing to learn with.
    #[error("no parameter can be trained: the network has no float32 weights, or all are frozen")]
    NoParameters,
    /// Links that do not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Shapes that do not fit.
    #[error(transparent)]
    Infer(#[from] GraphInferError),
}

/// What a network is measured by on labels or targets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// Cross-entropy of softmax(x) with class labels (input `labels`, `int64`): −log softmax(x)_label.
    CrossEntropy {
        /// Part ε of the weight that all classes share: `(1−ε) · (−log p_label) + ε · mean over classes of −log p`.
        label_smoothing: f32,
    },
    /// Mean squared difference to the input `targets`.
    MeanSquaredError,
    /// Cross-entropy of sigmoid(x) with the input `targets`, each element by itself: log(1 + eˣ) − x · t.
    BinaryCrossEntropy,
    /// Labels are not looked at.
    #[default]
    None,
}

/// A network that is imitated.
#[derive(Debug, Clone)]
pub struct Teacher {
    /// The network.
    pub graph: Graph,
    /// How much it counts beside other teachers; only the ratio matters.
    pub weight: f32,
}

impl From<Graph> for Teacher {
    fn from(graph: Graph) -> Self {
        Self { graph, weight: 1.0 }
    }
}

/// What a job is made of, besides the network.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// The loss on labels.
    pub loss: Loss,
    /// The outputs that labels are for, each with a loss of its own; if there are several, losses are added. None named:
    /// the only output.
    pub outputs: Vec<String>,
    /// Networks whose outputs are imitated. With several, their softened probabilities (or outputs) are averaged.
    pub teachers: Vec<Teacher>,
    /// Temperature T > 0 of imitated scores.
    pub temperature: f32,
    /// Weight of the imitation, 0 to 1; the loss on labels has the rest.
    pub alpha: f32,
    /// With [`Loss::None`]: whether outputs that labels would be for are class scores, even if they end in no softmax.
    pub classes: bool,
    /// Whether batch normalisation keeps to its running statistics.
    pub freeze_batch_norm: bool,
    /// Names (or beginnings of names, ending in `*`) of parameters that are not trained.
    pub freeze: Vec<String>,
    /// Names (or beginnings of names, ending in `*`) of `float32` data that is trained though it is frozen or no parameter.
    pub train: Vec<String>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            loss: Loss::CrossEntropy { label_smoothing: 0.0 },
            outputs: Vec::new(),
            teachers: Vec::new(),
            temperature: 1.0,
            alpha: 0.5,
            classes: true,
            freeze_batch_norm: false,
            freeze: Vec::new(),
            train: Vec::new(),
        }
    }
}

impl JobOptions {
    fn check(&self) -> Result<(), JobError> {
        let wrong = |setting, expected, found| Err(JobError::Setting { setting, expected, found });
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return wrong("the temperature", "a number above 0", self.temperature);
        }
        if !(0.0..=1.0).contains(&self.alpha) {
            return wrong("the weight of the imitation (alpha)", "0 to 1", self.alpha);
        }
        if let Loss::CrossEntropy { label_smoothing } = self.loss
            && !(0.0..=1.0).contains(&label_smoothing)
        {
            return wrong("the label smoothing", "0 to 1", label_smoothing);
        }
        match self.teachers.iter().find(|teacher| !(teacher.weight > 0.0 && teacher.weight.is_finite())) {
            Some(teacher) => wrong("the weight of a teacher", "a number above 0", teacher.weight),
            None => Ok(()),
        }
    }
}

/// A training job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Network, teachers and losses. Values of the network keep their names.
    pub graph: Graph,
    /// The loss that is minimised.
    pub total: ValueId,
    /// The losses that it consists of, by name: `loss/label`, `loss/distillation`.
    pub losses: Vec<(String, ValueId)>,
    /// What is trained.
    pub parameters: Vec<ValueId>,
    /// Running statistics, and their new values.
    pub updates: Vec<(ValueId, ValueId)>,
    /// Inputs that hold class labels, and the number of classes if it is known.
    pub labels: Vec<(ValueId, Option<usize>)>,
    /// Names of the outputs that are imitated.
    pub imitated: Vec<String>,
}

impl Job {
    /// Puts a job together. Running statistics get values of their own first ([`separate_statistics`]; do the same with the
    /// network, if results shall be written back into it by name). A network that was exported for a fixed number of samples is freed of it where that is possible.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn build(network: &Graph, options: &JobOptions) -> Result<Self, JobError> {
        options.check()?;
        let mut graph = free_batch(network).unwrap_or_else(|| network.clone());
        separate_statistics(&mut graph);
        infer_graph(&mut graph)?;
        let parameters = parameters::parameters(&graph, options)?;
        let labelled = outputs(&graph, &options.outputs)?;
        let updates = mode::training_meaning(&mut graph, options.freeze_batch_norm)?;
        infer_graph(&mut graph)?;
        let mut targets = loss::Targets::default();
        let mut on_labels = Vec::new();
        for &output in &labelled {
            on_labels.extend(loss::on_labels(&mut graph, output, options.loss, &mut targets)?);
        }
        let mut losses = Vec::new();
        if let Some(loss) = loss::sum(&mut graph, "loss/labels", &on_labels) {
            losses.push(("loss/label".to_owned(), loss, 1.0 - options.alpha));
        }
        let mut imitated = Vec::new();
        if !options.teachers.is_empty() {
            let inputs: Vec<_> = graph.free_inputs().filter(|&input| !targets.contains(input)).collect();
            let (loss, outputs) = distillation::distillation(&mut graph, &labelled, &inputs, options)?;
            losses.push(("loss/distillation".to_owned(), loss, options.alpha));
            imitated = outputs.into_iter().map(|output| graph.value(output).name.clone()).collect();
        }
        if let [(_, _, weight)] = losses.as_mut_slice() {
            *weight = 1.0;
        }
        let mut parts = Vec::new();
        for (_, loss, weight) in &losses {
            parts.push(if *weight == 1.0 {
                *loss
            } else {
                let weight = graph.add_constant("loss/weight", Tensor::scalar(*weight));
                graph.apply("loss/part", Binary::Mul, &[*loss, weight])
            });
        }
        let total = loss::sum(&mut graph, "loss/sum", &parts).ok_or(JobError::NoLoss)?;
        infer_graph(&mut graph)?;
        let losses = losses.into_iter().map(|(name, loss, _)| (name, loss)).collect();
        Ok(Self { graph, total, losses, parameters, updates, labels: targets.labels, imitated })
    }
}

/// The outputs that labels are for.
fn outputs(graph: &Graph, names: &[String]) -> Result<Vec<ValueId>, JobError> {
    let outputs = graph.outputs();
    let found = || outputs.iter().map(|&id| format!("{:?}", graph.value(id).name)).collect::<Vec<_>>().join(", ");
    let wrong = |expected: String| JobError::Outputs { expected, found: found() };
    match (names, outputs) {
        ([], [only]) => Ok(vec![*only]),
        ([], _) => Err(wrong("say which of them labels are for".to_owned())),
        (names, _) => names
            .iter()
            .enumerate()
            .map(|(place, name)| {
                if names[..place].contains(name) {
                    return Err(wrong(format!("{name:?} is named twice")));
                }
                let output = outputs.iter().copied().find(|&id| graph.value(id).name == *name);
                output.ok_or_else(|| wrong(format!("there is none named {name:?}")))
            })
            .collect(),
    }
}

/// The shape of a value, in words.
fn shape_text(graph: &Graph, value: ValueId) -> String {
    graph.value(value).shape.as_deref().map_or_else(|| "of unknown length".into(), display_shape)
}
