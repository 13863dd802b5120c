//! What the command line asks for, in the library's words.

use std::path::Path;

use slimnet_data::Augmentation;
use slimnet_engine::job::{JobOptions, Loss, Teacher};
use slimnet_engine::optimize::Rule;
use slimnet_engine::train::statistics::Measurement;
use slimnet_engine::train::{Metric, TrainOptions};
use slimnet_graph::Op;
use slimnet_graph::graph::Graph;
use slimnet_graph::zoo::random::Stream;

use crate::arguments::{Global, LossName, OptimizerName, Train};
use crate::failure::{Failure, Result};
use crate::feed::Opened;
use crate::files;

/// Batches that batch normalisation is measured on where it is put in.
const INSERTION_BATCHES: usize = 50;

/// Convolutions from which on a network without any normalisation is taken for one whose normalisation was folded away.
const DEEP: usize = 6;

/// The teachers, with their weights.
pub(super) fn teachers(options: &Train) -> Result<Vec<Teacher>> {
    let weights = &options.teacher_weights;
    if !weights.is_empty() && weights.len() != options.teachers.len() {
        let (found, expected) = (weights.len(), options.teachers.len());
        return Err(Failure::usage(&format!("--teacher-weight: expected one a teacher, {expected}, found {found}")));
    }
    let read = |(index, file): (usize, &std::path::PathBuf)| {
        let weight = weights.get(index).copied().unwrap_or(1.0);
        Ok(Teacher { graph: files::read(file)?, weight })
    };
    options.teachers.iter().enumerate().map(read).collect()
}

pub(super) fn job_options(options: &Train, metric: Option<Metric>, teachers: Vec<Teacher>) -> JobOptions {
    let loss = match (options.loss, metric) {
        (Some(LossName::None), _) | (_, None) => Loss::None,
        (Some(LossName::Bce), _) => Loss::BinaryCrossEntropy,
        (_, Some(Metric::Classes)) => Loss::CrossEntropy { label_smoothing: options.label_smoothing },
        (_, Some(Metric::SquaredError)) => Loss::MeanSquaredError,
        (_, Some(Metric::Binary)) => Loss::BinaryCrossEntropy,
    };
    JobOptions {
        loss,
        outputs: options.data.output_names.clone(),
        teachers,
        temperature: options.temperature,
        alpha: options.alpha.unwrap_or(0.9),
        classes: metric == Some(Metric::Classes),
        freeze_batch_norm: options.freeze_batch_norm,
        freeze: options.freeze.clone(),
        train: options.train.clone(),
    }
}

pub(super) fn augmentation(options: &Train) -> Augmentation {
    Augmentation {
        crop: options.augment_crop,
        flip: options.augment_flip,
        shift: options.augment_shift,
        cutout: options.augment_cutout,
    }
}

/// How the network is trained. One whose batch normalisation was folded away gets a tenth of the usual rate.
pub(super) fn train_options(options: &Train, global: &Global, folded: bool) -> TrainOptions {
    let (rule, rate) = match options.optimizer {
        OptimizerName::Sgd => (Rule::Sgd { momentum: options.momentum, nesterov: options.nesterov }, 0.05),
        OptimizerName::Adamw => (Rule::ADAM_W, 0.001),
    };
    TrainOptions {
        epochs: options.epochs,
        batch: options.data.batch,
        seed: global.seed,
        rule,
        rate: options.rate.unwrap_or(if folded { rate / 10.0 } else { rate }),
        schedule: options.schedule.clone(),
        warm_up: options.warm_up,
        weight_decay: options.weight_decay,
        clip: options.clip,
        average: options.average,
        lengths: options.data.dims.iter().cloned().collect(),
    }
}

/// Whether a network looks as if its batch normalisation was folded away: deep, and without any.
pub(super) fn looks_folded(network: &Graph) -> bool {
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

/// What statistics of batch normalisation are measured on.
pub(super) fn measurement(options: &Train, batches: Option<usize>) -> Measurement {
    Measurement {
        batch: options.data.batch,
        batches: batches.unwrap_or(INSERTION_BATCHES),
        lengths: options.data.dims.iter().cloned().collect(),
    }
}

/// What tells this run from others: whatever its result depends on.
pub(super) fn identity(options: &Train, global: &Global, network: &Graph, opened: &Opened) -> Result<String> {
    let mut hash = 0u64;
    let mut mix = |text: &str| hash = Stream::named(hash, text).bits(0);
    for (_, value) in network.values() {
        mix(&value.name);
        if let Some(bytes) = value.data.as_ref().and_then(|data| data.bytes()) {
            bytes.chunks(4096).for_each(|chunk| mix(&format!("{chunk:?}")));
        }
    }
    for (_, node) in network.nodes() {
        mix(&format!("{} {:?} {:?} {:?}", node.name, node.op, node.inputs(), node.outputs()));
    }
    for teacher in &options.teachers {
        read(teacher)?.chunks(4096).for_each(|chunk| mix(&format!("{chunk:?}")));
    }
    mix(&format!("{:?} {:?}", train_options(options, global, looks_folded(network)), augmentation(options)));
    mix(&format!("{:?} {} {:?} {:?}", options.loss, options.label_smoothing, options.freeze, options.train));
    mix(&format!("{} {:?} {}", options.temperature, options.alpha, options.freeze_batch_norm));
    mix(&format!("{:?} {:?}", options.teacher_weights, options.data.output_names));
    mix(&format!("{} {:?} {:?}", options.best, options.patience, options.insert_bn));
    mix(&format!("{} {:?} {:?}", options.data.data, opened.preprocessing, options.data.inputs));
    mix(&format!("{:?} {:?} {}", options.data.validation, options.data.test, options.data.split_seed));
    mix(&format!("{} {:?}", opened.splits.train.len(), options.only_classes));
    Ok(format!("{hash:016x}"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| Failure::new("cannot read the teacher", &error).about(file))
}
