//! Training jobs: one graph of a network, its frozen teachers and the losses.

mod loss;
mod merge;

use slimnet_graph::Op;
use slimnet_graph::graph::{Graph, GraphError, ValueId, display_shape};
use slimnet_graph::infer::{GraphInferError, infer_graph};
use slimnet_graph::ops::Role;
use slimnet_graph::ops::elementwise::{Binary, Unary};
use slimnet_graph::ops::normalization::SoftmaxKind;
use slimnet_graph::roles::roles;
use slimnet_graph::tensor::{ElementType, Tensor};

/// Why a job cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The output that the loss is for is not told, or there is none.
    #[error("the network has the outputs {found}; {expected}")]
    Output {
        /// What should be.
        expected: String,
        /// What there is.
        found: String,
    },
    /// The output has another shape than the loss needs.
    #[error("output {output:?} has the shape {found}; {loss} needs {expected}")]
    Shape {
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

/// What a job is made of, besides the network.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// The loss on labels.
    pub loss: Loss,
    /// The output that labels are for, if there are several.
    pub output: Option<String>,
    /// Networks whose outputs are imitated. With several, their softened probabilities (or outputs) are averaged.
    pub teachers: Vec<Graph>,
    /// Temperature T of imitated class scores.
    pub temperature: f32,
    /// Weight of the imitation; the loss on labels has the rest.
    pub alpha: f32,
    /// Whether outputs of the teachers are class scores, compared by cross-entropy at the temperature; else by their mean
    /// squared difference.
    pub classes: bool,
    /// Whether batch normalisation keeps to its running statistics.
    pub freeze_batch_norm: bool,
    /// Names (or beginnings of names, ending in `*`) of parameters that are not trained.
    pub freeze: Vec<String>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            loss: Loss::CrossEntropy { label_smoothing: 0.0 },
            output: None,
            teachers: Vec::new(),
            temperature: 1.0,
            alpha: 0.5,
            classes: true,
            freeze_batch_norm: false,
            freeze: Vec::new(),
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
}

impl Job {
    /// Puts a job together.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn build(network: &Graph, options: &JobOptions) -> Result<Self, JobError> {
        let mut graph = network.clone();
        infer_graph(&mut graph)?;
        let parameters = parameters(&graph, &options.freeze);
        if parameters.is_empty() {
            return Err(JobError::NoParameters);
        }
        let output = output(&graph, options.output.as_deref())?;
        let updates = training_meaning(&mut graph, options.freeze_batch_norm)?;
        let mut losses = Vec::new();
        if let Some(loss) = loss::on_labels(&mut graph, output, options.loss)? {
            losses.push(("loss/label".to_owned(), loss, 1.0 - options.alpha));
        }
        if !options.teachers.is_empty() {
            let loss = loss::distillation(&mut graph, output, options)?;
            losses.push(("loss/distillation".to_owned(), loss, options.alpha));
        }
        if let [(_, _, weight)] = losses.as_mut_slice() {
            *weight = 1.0;
        }
        let total = losses.iter().fold(None, |sum: Option<ValueId>, (_, loss, weight)| {
            let part = if *weight == 1.0 {
                *loss
            } else {
                let weight = graph.add_constant("loss/weight", Tensor::scalar(*weight));
                graph.apply("loss/part", Binary::Mul, &[*loss, weight])
            };
            Some(sum.map_or(part, |sum| graph.apply("loss/sum", Binary::Add, &[sum, part])))
        });
        let total = total.ok_or(JobError::NoLoss)?;
        infer_graph(&mut graph)?;
        let losses = losses.into_iter().map(|(name, loss, _)| (name, loss)).collect();
        Ok(Self { graph, total, losses, parameters, updates })
    }
}

/// The output that the loss is for.
fn output(graph: &Graph, name: Option<&str>) -> Result<ValueId, JobError> {
    let outputs = graph.outputs();
    let found = || outputs.iter().map(|&id| format!("{:?}", graph.value(id).name)).collect::<Vec<_>>().join(", ");
    let wrong = |expected: String| JobError::Output { expected, found: found() };
    match (name, outputs) {
        (Some(name), _) => {
            let output = outputs.iter().copied().find(|&id| graph.value(id).name == name);
            output.ok_or_else(|| wrong(format!("there is none named {name:?}")))
        }
        (None, [only]) => Ok(*only),
        (None, _) => Err(wrong("say which one the loss is for".to_owned())),
    }
}

/// The `float32` parameters that are not frozen.
fn parameters(graph: &Graph, freeze: &[String]) -> Vec<ValueId> {
    let roles = roles(graph);
    let frozen = |name: &str| {
        freeze.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        })
    };
    let trained = |id: ValueId| {
        let value = graph.value(id);
        let float = value.data.as_ref().is_some_and(|data| data.element_type() == ElementType::F32 && !data.is_empty());
        float && roles[id.index()] == Some(Role::Parameter) && !frozen(&value.name)
    };
    graph.values().map(|(id, _)| id).filter(|&id| trained(id)).collect()
}

/// Gives batch normalisation and dropout their meaning in training. Returns running statistics and their new values.
fn training_meaning(graph: &mut Graph, freeze_batch_norm: bool) -> Result<Vec<(ValueId, ValueId)>, JobError> {
    let mut updates = Vec::new();
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let mut node = graph.node(id).clone();
        let Some(result) = node.output(0) else { continue };
        let name = graph.value(result).name.clone();
        let mut inputs = node.inputs().to_vec();
        let mut outputs = vec![Some(result)];
        match &mut node.op {
            Op::BatchNormalization(op) if !freeze_batch_norm => {
                op.training_mode = true;
                for part in ["mean", "variance", "batch_mean", "batch_deviation"] {
                    outputs.push(Some(graph.add_intermediate(&format!("{name}/{part}"))));
                }
                for slot in [3, 4] {
                    if let (Some(state), Some(new)) = (inputs[slot], outputs[slot - 2]) {
                        updates.push((state, new));
                    }
                }
            }
            Op::Dropout(_) => {
                let training = Tensor::from_f64s(ElementType::Bool, vec![], vec![1.0]).ok();
                inputs.resize(3, None);
                inputs[2] = training.map(|training| graph.add_constant("training", training));
                outputs.push(Some(graph.add_intermediate(&format!("{name}/mask"))));
            }
            _ => continue,
        }
        graph.remove_node(id);
        graph.add_node(&node.name, node.op, inputs, outputs)?;
    }
    // Statistics that are no data of the file (computed ones) stay as they are.
    updates.retain(|(state, _)| graph.value(*state).data.is_some());
    Ok(updates)
}

/// What an output is computed from before a softmax or sigmoid at the end.
pub fn logits(graph: &Graph, output: ValueId) -> ValueId {
    let mut value = output;
    while let Some(id) = graph.value(value).producer() {
        let node = graph.node(id);
        let Some(input) = node.input(0) else { break };
        match &node.op {
            Op::Softmax(SoftmaxKind::Softmax | SoftmaxKind::LogSoftmax, _) | Op::Unary(Unary::Sigmoid) => return input,
            Op::Unary(Unary::Identity) => {}
            // The shape may change behind the softmax only if the loss does not see it: it must be the same.
            Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_)
                if graph.value(input).shape == graph.value(value).shape => {}
            _ => break,
        }
        value = input;
    }
    output
}

/// The shape of a value, in words.
fn shape_text(graph: &Graph, value: ValueId) -> String {
    graph.value(value).shape.as_deref().map_or_else(|| "of unknown length".into(), display_shape)
}
