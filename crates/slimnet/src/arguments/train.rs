//! The command line of `train` and `eval`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use slimnet_compress::Keep;

use super::values::{WRITTEN, keep, seconds};
use super::{Data, Learning, PartName};

#[derive(Debug, Args)]
pub struct Eval {
    /// Network to evaluate
    #[arg(value_name = "NET")]
    pub network: PathBuf,
    #[command(flatten)]
    pub data: Data,
    /// What the network is measured by [default: ce for labels, mse for other targets]
    #[arg(long, value_name = "LOSS")]
    pub loss: Option<LossName>,
    /// Which samples [default: test if there are some, else validation, else all]
    #[arg(long, value_name = "PART")]
    pub part: Option<PartName>,
    /// Show each class by itself, too
    #[arg(long)]
    pub by_class: bool,
}

#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, clippy::struct_field_names)] // switches, named as on the command line
pub struct Train {
    /// Network to train
    #[arg(value_name = "NET")]
    pub network: PathBuf,
    /// File to write (may be NET itself)
    #[arg(long, short, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    pub data: Data,
    /// How often every sample is seen
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub epochs: u64,
    /// A network whose outputs are imitated; may be given several times
    #[arg(long = "teacher", value_name = "NET")]
    pub teachers: Vec<PathBuf>,
    /// How much a teacher counts beside the others, one a teacher in the same order [default: all the same]
    #[arg(long = "teacher-weight", value_name = "WEIGHT")]
    pub teacher_weights: Vec<f32>,
    /// Parameters that stay as they are: a name, or its beginning and *
    #[arg(long, value_name = "NAME")]
    pub freeze: Vec<String>,
    /// Weights that are trained though they are frozen or no parameters: a name, or its beginning and *
    #[arg(long, value_name = "NAME")]
    pub train: Vec<String>,
    /// Begin with new random weights instead of the network's (zeros that are kept stay zeros)
    #[arg(long)]
    pub fresh: bool,
    /// Which zeros of the network stay zeros: auto (recorded ones, and those of weights of which 30 % are 0), recorded or nothing
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = keep())]
    pub keep: Keep,
    /// Put batch normalization behind convolutions that have a bias and none, so that the network computes what it did
    #[arg(long)]
    pub insert_bn: bool,
    /// Measure the statistics of batch normalization anew at the end, on so many batches
    #[arg(long, value_name = "BATCHES")]
    pub reestimate_bn: Option<NonZeroUsize>,
    /// Write the epoch that was best on the validation samples, not the last
    #[arg(long)]
    pub best: bool,
    /// End when so many epochs in a row were not better on the validation samples than the best (which is written)
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<u64>,
    /// Keep the running statistics of batch normalization
    #[arg(long)]
    pub freeze_batch_norm: bool,
    /// Train on samples of these classes only, such as 0,1,2
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    pub only_classes: Vec<i64>,
    /// Where the state is saved while it trains [default: OUT.checkpoint]
    #[arg(long, value_name = "FILE", value_hint = WRITTEN)]
    pub checkpoint: Option<PathBuf>,
    /// Save the state every so many seconds, besides after each epoch
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub save_every: f64,
    /// Go on from the saved state of the same command
    #[arg(long)]
    pub resume: bool,
    /// Append a line of JSON after every epoch
    #[arg(long, value_name = "FILE", value_hint = WRITTEN)]
    pub log: Option<PathBuf>,
    #[command(flatten)]
    pub learning: Learning,
}

/// How parameters follow their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OptimizerName {
    /// Stochastic gradient descent
    Sgd,
    /// Adam with decoupled weight decay
    Adamw,
}

/// What a network is trained on or measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LossName {
    /// Cross-entropy with class labels
    Ce,
    /// Mean squared error
    Mse,
    /// Binary cross-entropy
    Bce,
    /// No labels
    None,
}
