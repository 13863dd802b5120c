//! Recovery: what is done for a network after something was removed from it.

use slimnet_engine::train::statistics::{Measurement, reestimate_batch_norm};
use slimnet_graph::graph::Graph;

use super::RecoverError;
use super::least_squares::{Before, Calibration, least_squares};
use super::lossless::remove_dead_channels;
use super::training::{Trained, Training, TrainingError, Unfinished, Watch, train};
use crate::material::Material;
use crate::pattern::broken_patterns;

/// How a network recovers, in this order; each step is optional.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// Whether channels that carry no information any more are removed, unless a pattern of zeros would break.
    pub lossless: bool,
    /// Batches on which statistics of batch normalisation are measured anew, unless layers are solved: what computes what it did
    /// is normalised as it was.
    pub statistics: Option<usize>,
    /// How layers that read removed channels are solved for what they computed.
    pub least_squares: Option<Calibration>,
    /// How it is trained, from the original or from labels.
    pub training: Option<Training>,
    /// Epochs after the last cut, if they are not those of every other.
    pub final_epochs: Option<u64>,
}

/// What became of a network.
#[derive(Debug)]
pub enum Recovered {
    /// It went through all steps.
    Whole {
        /// It.
        graph: Box<Graph>,
        /// Epochs of training.
        epochs: u64,
        /// Mean loss of the last of them.
        loss: Option<f64>,
    },
    /// In training the loss was not finite.
    Diverged,
    /// Whoever looks on ended it; the state is kept.
    Interrupted,
}

/// Lets a network recover; `before` is what it was before neurons were removed. `last`: it is at the target. `again`: it
/// recovered once and was not accurate enough; it is only trained, for as long again.
///
/// # Errors
/// If a step cannot be computed.
pub fn recover(
    mut graph: Graph,
    before: Option<Before<'_>>,
    recovery: &Recovery,
    (last, again): (bool, bool),
    material: &Material<'_>,
    watch: &mut dyn Watch,
    unfinished: Option<Unfinished>,
) -> Result<Recovered, TrainingError> {
    if !again {
        mend(&mut graph, before, recovery, material)?;
    }
    let epochs = recovery.training.as_ref().map_or(0, |training| training.options.epochs);
    let epochs = recovery.final_epochs.filter(|_| last).unwrap_or(epochs);
    let (Some(training), Some(source), 1..) = (&recovery.training, material.training, epochs) else {
        return Ok(Recovered::Whole { graph: Box::new(graph), epochs: 0, loss: None });
    };
    let mut training = training.clone();
    training.options.epochs = epochs;
    Ok(match train(&graph, &training, source, material.threads, watch, unfinished)? {
        Trained::Whole(graph, loss) => Recovered::Whole { graph, epochs, loss },
        Trained::Diverged(_) => Recovered::Diverged,
        Trained::Interrupted => Recovered::Interrupted,
    })
}

/// The steps without training.
fn mend(
    graph: &mut Graph,
    before: Option<Before<'_>>,
    recovery: &Recovery,
    material: &Material<'_>,
) -> Result<(), RecoverError> {
    if recovery.lossless {
        // Removed inputs move the groups of patterns; what has its pattern now keeps it, and its dead channels.
        let broken = broken_patterns(graph)?.len();
        let mut smaller = graph.clone();
        remove_dead_channels(&mut smaller)?;
        if broken_patterns(&smaller)?.len() <= broken {
            *graph = smaller;
        }
    }
    let Some(source) = material.training else { return Ok(()) };
    if let (Some(calibration), Some(before)) = (&recovery.least_squares, before) {
        least_squares(graph, &before, source, calibration, material.threads)?;
    } else if let Some(batches) = recovery.statistics {
        let options = Measurement { batch: material.batch, batches, lengths: material.lengths.clone() };
        reestimate_batch_norm(graph, source, &options, material.threads)?;
    }
    Ok(())
}
