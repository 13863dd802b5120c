//! What the command line asks for, in the library's words.

use slimnet_engine::job::{JobOptions, Teacher};
use slimnet_engine::train::statistics::Measurement;
use slimnet_engine::train::{Metric, TrainOptions};
use slimnet_graph::graph::Graph;

use crate::arguments::{Global, Train};
use crate::commands::learning::{self, augmentation, looks_folded};
use crate::failure::{Failure, Result};
use crate::feed::Opened;
use crate::files;
use crate::fingerprint::Fingerprint;

/// Batches that batch normalisation is measured on where it is put in.
const INSERTION_BATCHES: usize = 50;

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
    JobOptions {
        loss: learning::loss(&options.learning, metric),
        outputs: options.data.output_names.clone(),
        teachers,
        temperature: options.learning.temperature,
        alpha: options.learning.alpha.unwrap_or(0.9),
        classes: metric == Some(Metric::Classes),
        freeze_batch_norm: options.freeze_batch_norm,
        freeze: options.freeze.clone(),
        train: options.train.clone(),
    }
}

/// How the network is trained. One whose batch normalisation was folded away gets a tenth of the usual rate.
pub(super) fn train_options(options: &Train, global: &Global, folded: bool) -> TrainOptions {
    let lengths = options.data.dims.iter().cloned().collect();
    let rate = if folded { 0.1 } else { 1.0 };
    learning::train_options(&options.learning, (options.epochs, options.data.batch), global.seed, rate, lengths)
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
    let mut identity = Fingerprint::new();
    identity.network(network);
    for teacher in &options.teachers {
        identity.path(teacher)?;
    }
    let (learning, data) = (&options.learning, &options.data);
    let train = train_options(options, global, looks_folded(network));
    identity.text(&format!("{train:?} {:?}", augmentation(learning)));
    identity
        .text(&format!("{:?} {} {:?} {:?}", learning.loss, learning.label_smoothing, options.freeze, options.train));
    identity.text(&format!("{} {:?} {}", learning.temperature, learning.alpha, options.freeze_batch_norm));
    identity.text(&format!("{:?} {:?}", options.teacher_weights, data.output_names));
    identity.text(&format!("{} {:?} {:?}", options.best, options.patience, options.insert_bn));
    identity.text(&format!("{:?} {}", options.keep, options.fresh));
    identity.text(&format!("{} {:?} {:?}", data.data, opened.preprocessing, data.inputs));
    identity.text(&format!("{:?} {:?} {}", data.validation, data.test, data.split_seed));
    identity.text(&format!("{} {:?}", opened.splits.train.len(), options.only_classes));
    Ok(identity.hexadecimal())
}
