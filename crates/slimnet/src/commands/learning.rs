//! How networks are trained: what the command line asks for, in the library's words.

use std::collections::BTreeMap;

use slimnet_data::Augmentation;
use slimnet_engine::job::Loss;
use slimnet_engine::optimize::Rule;
use slimnet_engine::train::{Metric, TrainOptions};
use slimnet_graph::Op;
use slimnet_graph::graph::Graph;

use crate::arguments::{Learning, LossName, OptimizerName};

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
