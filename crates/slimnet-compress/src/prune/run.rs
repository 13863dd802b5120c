//! The loop: evaluate importance, remove the unimportant, recover; alright? If so, on; if not, back with half the step.

use serde::{Deserialize, Serialize};
use slimnet_engine::job::separate_statistics;
use slimnet_engine::train::{Control, EvaluateError, Score};
use slimnet_graph::cost::CostError;
use slimnet_graph::graph::Graph;
use slimnet_graph::infer::{GraphInferError, infer_graph};
use slimnet_graph::onnx::{self, ReadError, WriteError};
use slimnet_graph::ops::Role;
use slimnet_graph::roles::roles;

use super::PruneError;
use super::cut::{Attempt, Cutter, before};
use super::layers::{LayerChange, layers};
use super::request::Request;
use super::weights::mend_patterns;
use crate::importance::{Criterion, ImportanceError};
use crate::material::Material;
use crate::recover::{Recovered, TrainingError, Unfinished, Watch, recover};
use crate::store::{Store, StoreError};

/// Why the loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// Nothing can be removed.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// Importance cannot be judged.
    #[error(transparent)]
    Importance(#[from] ImportanceError),
    /// Importance is measured on data, and there is none.
    #[error("importance {0} is measured on data, and there is none")]
    NoData(Criterion),
    /// The network cannot recover.
    #[error(transparent)]
    Recover(#[from] TrainingError),
    /// The network cannot be measured on the validation samples.
    #[error("cannot evaluate on the validation samples: {0}")]
    Evaluate(#[from] EvaluateError),
    /// Coupled axes cannot be found.
    #[error(transparent)]
    Infer(#[from] GraphInferError),
    /// Costs cannot be counted.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// Unfinished work cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What was written cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Smallest step: the part of what is left that a round must be able to take away.
const SMALLEST_STEP: f64 = 0.01;

/// What became of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Accurate enough, but not small enough yet.
    Accurate,
    /// Accurate and small enough.
    Alright,
    /// Not accurate enough, even after recovery was doubled.
    Inaccurate,
    /// Training went astray.
    Diverged,
    /// So much cannot be removed: the rest is frozen, excluded or the last of its layer.
    Unreachable,
}

impl Verdict {
    /// Whether the loop goes on from what the round gave.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Accurate | Self::Alright)
    }
}

/// A score in a file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Right ones in percent, where something is right or wrong.
    pub accuracy: Option<f64>,
    /// Mean loss.
    pub loss: f64,
    /// Samples.
    pub samples: usize,
}

impl From<Score> for Measured {
    fn from(score: Score) -> Self {
        Self { accuracy: score.accuracy(), loss: score.loss, samples: score.samples }
    }
}

/// A round of the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Counted from 1.
    pub round: usize,
    /// What was to be left, as a part of the original.
    pub aim: f64,
    /// What is left, as a part of the original.
    pub left: f64,
    /// What was removed: weights, or neurons.
    pub removed: u64,
    /// Right after removal, on the validation samples.
    pub before: Option<Measured>,
    /// After recovery.
    pub after: Option<Measured>,
    /// Epochs of recovery.
    pub epochs: u64,
    /// Mean loss of the last epoch of recovery.
    pub training_loss: Option<f64>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why so much cannot go, where that is the verdict; or which round was the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Round {
    fn new(round: usize, aim: f64, left: f64) -> Self {
        Self {
            round,
            aim,
            left,
            removed: 0,
            before: None,
            after: None,
            epochs: 0,
            training_loss: None,
            verdict: Verdict::Unreachable,
            reason: None,
        }
    }
}

/// How the loop ended.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// The last network that was alright; the original if none was.
    pub network: Graph,
    /// The original on the validation samples.
    pub original: Option<Score>,
    /// Every round.
    pub rounds: Vec<Round>,
    /// What is left of what the target counts, as a part of the original.
    pub left: f64,
    /// What was to be left.
    pub aim: f64,
    /// What became of each layer's weight, in the order of the original.
    pub layers: Vec<LayerChange>,
}

impl Pruned {
    /// Whether the target was reached.
    pub fn reached(&self) -> bool {
        self.rounds.last().is_none_or(|round| round.verdict == Verdict::Alright)
    }

    /// The rounds on the way to the network.
    pub fn accepted(&self) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(|round| round.verdict.is_accepted())
    }

    /// Epochs of recovery on the way to the network.
    pub fn epochs(&self) -> u64 {
        self.accepted().map(|round| round.epochs).sum()
    }
}

/// Who looks on.
pub trait Look: Watch {
    /// Whether it should end, to go on later.
    fn is_interrupted(&self) -> bool {
        false
    }
    /// A round begins.
    fn begin(&mut self, round: usize, aim: f64);
    /// The network was cut and is going to recover.
    fn cut(&mut self, round: &Round);
    /// A round ended.
    fn end(&mut self, round: &Round);
}

/// How the loop left off.
#[derive(Debug)]
pub enum Ended {
    /// At its end.
    Whole(Box<Pruned>),
    /// Whoever looks on ended it; the state is kept.
    Interrupted,
}

/// Where the loop is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    identity: String,
    rounds: Vec<Round>,
    /// Bits of numbers, so that they return exactly.
    progress: u64,
    step: u64,
    /// The file of the last network that was alright; none: that is the original.
    network: Option<String>,
}

impl State {
    /// Keeps it: what it names is on disk already, and what it no longer names can go.
    fn keep(&self, store: &Store) -> Result<(), StoreError> {
        store.keep_text(STATE, &serde_json::to_string_pretty(self).unwrap_or_default())?;
        for name in NETWORKS.iter().filter(|name| self.network.as_deref() != Some(**name)) {
            store.forget(name);
        }
        Ok(())
    }
}

const STATE: &str = "loop.json";
/// By turns, so that one is whole until the state names the other.
const NETWORKS: [&str; 2] = ["alright-1.onnx", "alright-2.onnx"];
/// States of a recovery and of its repetition.
const TRAININGS: [&str; 2] = ["recovery-1.checkpoint", "recovery-2.checkpoint"];

/// Prunes a network in rounds. `identity` says what all depends on: kept work of another is refused.
///
/// # Errors
/// If there is nothing to prune or something cannot be computed. A target that cannot be reached is none: the rounds tell.
pub fn prune(
    original: &Graph,
    request: &Request,
    excluded: &dyn Fn(&str) -> bool,
    material: &Material<'_>,
    (store, identity): (&Store, &str),
    look: &mut dyn Look,
) -> Result<Ended, LoopError> {
    let mut original = original.clone();
    separate_statistics(&mut original);
    check_numbers(&original)?;
    let cutter = Cutter::new(&original, request, excluded)?;
    let aim = cutter.aim();
    let score = material.score(&original)?;
    let mut state = State {
        identity: identity.to_owned(),
        rounds: Vec::new(),
        progress: 0f64.to_bits(),
        step: (1.0 / request.rounds.max(1) as f64).to_bits(),
        network: None,
    };
    let mut network = original.clone();
    if let Some(text) = store.text(STATE)? {
        let file = || store.path(STATE).unwrap_or_default();
        state = serde_json::from_str(&text).map_err(|_| StoreError::Damaged(file()))?;
        if state.identity != identity {
            return Err(StoreError::Other(file()).into());
        }
        if let Some(name) = &state.network {
            network = store.network(name)?;
        }
    } else {
        state.keep(store)?;
    }
    // Already small enough: nothing to do.
    let done = |state: &State, left: f64| match state.rounds.last() {
        Some(round) => round.verdict == Verdict::Alright,
        None => left <= aim,
    };
    while !done(&state, cutter.left(&network)?) {
        if look.is_interrupted() {
            return Ok(Ended::Interrupted);
        }
        let (mut progress, step) = (f64::from_bits(state.progress), f64::from_bits(state.step));
        let kept = |progress: f64| request.schedule.kept(progress, aim);
        // A network that comes pruned is further already.
        let already = cutter.left(&network)?;
        while already <= kept(progress + step) && progress + step < 1.0 - 1e-9 {
            progress += step;
        }
        // Steps of the schedule itself may be small; those that were halved may not be smaller.
        let failed = state.rounds.last().is_some_and(|round| !round.verdict.is_accepted());
        if failed && 1.0 - kept((progress + step).min(1.0)) / kept(progress) < SMALLEST_STEP {
            break;
        }
        // Steps of equal length end at 1 up to rounding.
        let next = if progress + step > 1.0 - 1e-9 { 1.0 } else { progress + step };
        let number = state.rounds.len() + 1;
        look.begin(number, kept(next));
        let unfinished = |name: &str| {
            let run = format!("{identity} round {number} {name}");
            store.path(name).map(|file| Unfinished { file, run })
        };
        let last = next >= 1.0;
        let mut round = Round::new(number, kept(next), already);
        let mut candidate = None;
        let cut = match cutter.cut(&network, kept(next), material)? {
            Attempt::Cut(cut) => Some(cut),
            Attempt::Short(why) => {
                round.reason = Some(why);
                None
            }
        };
        if let Some(cut) = cut {
            round.left = cutter.left(&cut.graph)?;
            round.removed = cut.removed;
            round.before = material.score(&cut.graph)?.map(Measured::from);
            look.cut(&round);
            if look.is_interrupted() {
                return Ok(Ended::Interrupted);
            }
            let neurons = cut.neurons;
            let mut graph = cut.graph;
            round.verdict = Verdict::Inaccurate;
            // Half the step may be the same cut, as channels are rounded: what became of it is known.
            let same = |earlier: &&Round| {
                let failed = matches!(earlier.verdict, Verdict::Inaccurate | Verdict::Diverged);
                failed && (earlier.left.to_bits(), earlier.removed) == (round.left.to_bits(), round.removed)
            };
            let known = state.rounds.last().filter(same);
            if let Some(earlier) = known {
                (round.verdict, round.after) = (earlier.verdict, earlier.after);
                round.reason = Some(format!("the same cut as in round {}", earlier.round));
            }
            let repetitions = if known.is_some() { &[][..] } else { &TRAININGS[..] };
            for (repetition, training) in repetitions.iter().copied().enumerate() {
                let again = repetition > 0;
                match recover(
                    graph,
                    before(neurons.as_ref(), &network),
                    &request.recovery,
                    (last, again),
                    material,
                    look,
                    unfinished(training),
                )? {
                    Recovered::Interrupted => return Ok(Ended::Interrupted),
                    Recovered::Diverged => {
                        round.verdict = Verdict::Diverged;
                        break;
                    }
                    Recovered::Whole { graph: recovered, epochs, loss } => {
                        graph = *recovered;
                        round.epochs += epochs;
                        round.training_loss = loss.or(round.training_loss);
                    }
                }
                let after = material.score(&graph)?;
                round.after = after.map(Measured::from);
                if request.accuracy.holds(score, after) {
                    mend_patterns(&mut graph).map_err(PruneError::from)?;
                    // Recovery may have removed what nobody reads any more, or added biases.
                    let small = cutter.is_small(&graph, aim)?;
                    round.verdict = if small { Verdict::Alright } else { Verdict::Accurate };
                    candidate = Some(graph);
                    break;
                }
                if request.recovery.training.is_none() {
                    break;
                }
            }
        }
        if let Some(candidate) = candidate {
            // What goes on is what a file would give back, so that a run that is taken up again is the same.
            network = reread(&candidate)?;
            state.progress = next.to_bits();
            round.left = cutter.left(&network)?;
            let name = NETWORKS[usize::from(state.network.as_deref() == Some(NETWORKS[0]))];
            store.keep_network(name, &network)?;
            state.network = Some(name.to_owned());
        } else {
            state.step = (step / 2.0).to_bits();
        }
        look.end(&round);
        state.rounds.push(round);
        state.keep(store)?;
        for name in TRAININGS {
            store.forget(name);
        }
    }
    let left = cutter.left(&network)?;
    let layers = layers(&original, &network).map_err(PruneError::from)?;
    Ok(Ended::Whole(Box::new(Pruned { network, original: score, rounds: state.rounds, left, aim, layers })))
}

/// Refuses parameters that are not numbers: whatever is judged by them is chance.
fn check_numbers(graph: &Graph) -> Result<(), PruneError> {
    let roles = roles(graph);
    for (id, value) in graph.values().filter(|(id, _)| roles[id.index()] == Some(Role::Parameter)) {
        let values = value.data.as_ref().and_then(|data| data.values::<f32>().ok());
        if let Some(index) = values.and_then(|values| values.iter().position(|number| number.is_nan())) {
            return Err(PruneError::NotANumber { what: format!("{:?}", graph.value(id).name), index });
        }
    }
    Ok(())
}

/// Whether there is kept work that is worth going on from: a round, or training.
pub fn has_progress(store: &Store) -> bool {
    if TRAININGS.iter().any(|name| store.path(name).is_some_and(|file| file.exists())) {
        return true;
    }
    let state = store.text(STATE).ok().flatten().and_then(|text| serde_json::from_str::<State>(&text).ok());
    state.is_some_and(|state| !state.rounds.is_empty())
}

/// Forgets what was kept. Returns whether there was some.
///
/// # Errors
/// If the state is not one of this loop: it is somebody else's file, and stays.
pub fn forget(store: &Store) -> Result<bool, StoreError> {
    let text = store.text(STATE)?;
    if text.as_ref().is_some_and(|text| serde_json::from_str::<State>(text).is_err()) {
        return Err(StoreError::Foreign(store.path(STATE).unwrap_or_default()));
    }
    let [first, second] = NETWORKS;
    let [training, repetition] = TRAININGS;
    store.clear(&[STATE, first, second, training, repetition]);
    Ok(text.is_some())
}

/// The network as its file would give it back.
fn reread(graph: &Graph) -> Result<Graph, LoopError> {
    let (bytes, _) = onnx::write_bytes(graph)?;
    let mut graph = onnx::read_bytes(bytes.into(), None)?;
    infer_graph(&mut graph)?;
    Ok(graph)
}

/// Nobody looks on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Watch for Alone {
    fn step(&mut self, _step: u64, _steps: u64, _loss: f64) -> Control {
        Control::Continue
    }
}

impl Look for Alone {
    fn begin(&mut self, _round: usize, _aim: f64) {}
    fn cut(&mut self, _round: &Round) {}
    fn end(&mut self, _round: &Round) {}
}
