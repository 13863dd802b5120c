//! How networks are trained: what the command line asks for, in the library's words.

use std::collections::BTreeMap;
use std::path::Path;

use slimnet_data::Augmentation;
use slimnet_engine::job::Loss;
use slimnet_engine::optimize::Rule;
use slimnet_engine::train::{Metric, TrainOptions};
use slimnet_graph::Op;
use slimnet_graph::graph::Graph;
use slimnet_graph::zoo::random::Stream;

use crate::arguments::{Learning, LossName, OptimizerName};
use crate::failure::{Failure, Result};

/// Convolutions from which on a network without any normalisation is taken for one whose normalisation was folded away.
const DEEP: usize = 6;

/// The loss on labels or targets.
pub fn loss(options: &Learning, metric: Option<Metric>) -> Loss {
    match (options.loss, metric) {
        (Some(LossName::None), _) | (_, None) => Loss::None,
        (Some(LossName::Bce), _) => Loss::BinaryCrossEntropy,
        (_, Some(Metric::Classes)) => Loss::CrossEntropy { label_smoothing: options.label_smoothing },
        (_, Some(Metric::SquaredError)) => Loss::MeanSquaredError,
        (_, Some(Metric::Binary)) => Loss::BinaryCrossEntropy,
    }
}

/// What is done to training samples.
pub fn augmentation(options: &Learning) -> Augmentation {
    Augmentation {
        crop: options.augment_crop,
        flip: options.augment_flip,
        shift: options.augment_shift,
        cutout: options.augment_cutout,
    }
}

/// How a network is trained; `part` is that of the usual rate where none is told.
pub fn train_options(
    options: &Learning,
    (epochs, batch): (u64, usize),
    seed: u64,
    part: f32,
    lengths: BTreeMap<String, usize>,
) -> TrainOptions {
    let (rule, rate) = match options.optimizer {
        OptimizerName::Sgd => (Rule::Sgd { momentum: options.momentum, nesterov: options.nesterov }, 0.05),
        OptimizerName::Adamw => (Rule::ADAM_W, 0.001),
    };
    TrainOptions {
        epochs,
        batch,
        seed,
        rule,
        rate: options.rate.unwrap_or(rate * part),
        schedule: options.schedule.clone(),
        warm_up: options.warm_up,
        weight_decay: options.weight_decay,
        clip: options.clip,
        average: options.average,
        lengths,
    }
}

/// Whether a network looks as if its batch normalisation was folded away: deep, and without any.
pub fn looks_folded(network: &Graph) -> bool {
    let count = |wanted: fn(&Op) -> bool| network.nodes().filter(|(_, node)| wanted(&node.op)).count();
    let normalizes = |op: &Op| {
        matches!(
            op,
            Op::BatchNormalization(_)
                | Op::InstanceNormalization(_)
                | Op::GroupNormalization(_)
                | Op::LayerNormalization(_)
                | Op::RmsNormalization(_)
        )
    };
    count(normalizes) == 0 && count(|op| matches!(op, Op::Conv(_))) >= DEEP
}

/// A hash of all that a result depends on.
#[derive(Debug, Default)]
pub struct Identity(u64);

impl Identity {
    /// Mixes a text in.
    pub fn mix(&mut self, text: &str) {
        self.0 = Stream::named(self.0, text).bits(0);
    }

    /// Mixes a network in.
    pub fn network(&mut self, network: &Graph) {
        for (_, value) in network.values() {
            self.mix(&format!("{} {:?}", value.name, value.metadata));
            if let Some(bytes) = value.data.as_ref().and_then(|data| data.bytes()) {
                bytes.chunks(4096).for_each(|chunk| self.mix(&format!("{chunk:?}")));
            }
        }
        for (_, node) in network.nodes() {
            self.mix(&format!("{} {:?} {:?} {:?}", node.name, node.op, node.inputs(), node.outputs()));
        }
    }

    /// Mixes the contents of a network's file in.
    pub fn file(&mut self, file: &Path) -> Result<()> {
        let bytes = std::fs::read(file).map_err(|error| Failure::new("cannot read the teacher", &error).about(file))?;
        bytes.chunks(4096).for_each(|chunk| self.mix(&format!("{chunk:?}")));
        Ok(())
    }

    /// The hash in letters.
    pub fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}
