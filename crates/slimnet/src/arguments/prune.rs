//! The command line of `prune`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use slimnet_compress::Keep;
use slimnet_compress::constraint::Pattern;
use slimnet_compress::importance::Criterion;
use slimnet_compress::prune::{Schedule as Pace, Scope};

use super::values::{WRITTEN, at_least_one, criterion, drop, keep, number, pace, part, pattern, scope};
use super::{Data, Learning};

#[derive(Debug, Clone, Args)]
#[command(mut_arg("data", |data| data.required(false)))] // by magnitude it goes without
pub struct Prune {
    /// Network to prune
    #[arg(value_name = "NET")]
    pub network: PathBuf,
    /// File to write (may be NET itself)
    #[arg(long, short, value_name = "OUT", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// Write nothing: show what would go if it went at once, without recovery
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    pub target: Targets,
    #[command(flatten)]
    pub recovery: RecoveryOptions,
    /// Also try the alternative: the same architecture trained from scratch for as many steps (scratch), the same amount
    /// chosen at random (random)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub control: Vec<ControlName>,
    #[command(flatten)]
    pub proof: ProofArguments,
    /// Go on from what the same command left
    #[arg(long)]
    pub resume: bool,
    /// Folder of unfinished work [default: OUT.work]
    #[arg(long, value_name = "DIR", value_hint = WRITTEN)]
    pub work: Option<PathBuf>,
    #[command(flatten)]
    pub data: Option<Data>,
    #[command(flatten)]
    pub learning: Learning,
}

/// What goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What goes")]
pub struct What {
    /// Single weights become 0
    #[arg(long, required_unless_present_any = ["neurons", "nm", "block"], conflicts_with = "neurons")]
    pub weights: bool,
    /// Neurons go as a whole: channels, filters, heads
    #[arg(long)]
    pub neurons: bool,
    /// Weights: of M neighbouring inputs N are left, such as 2:4
    #[arg(long, value_name = "N:M", value_parser = pattern(':'), conflicts_with_all = ["neurons", "block"])]
    pub nm: Option<Pattern>,
    /// Weights: blocks of outputs × inputs become 0 as a whole, such as 1x4
    #[arg(long, value_name = "RxC", value_parser = pattern('x'), conflicts_with = "neurons")]
    pub block: Option<Pattern>,
    /// How importance is judged: l1, l2, taylor, bn-scale, activation, lamp, fisher, geometric-median or random [default: l1
    /// for weights; taylor for neurons, l2 without data]
    #[arg(long, value_name = "NAME", value_parser = criterion())]
    pub importance: Option<Criterion>,
    /// Samples that importance is measured on, anew in every round
    #[arg(long, value_name = "COUNT", default_value = "1024", value_parser = at_least_one)]
    pub importance_samples: usize,
    /// Among what the least important is looked for: global or layer
    #[arg(long, value_name = "NAME", default_value = "global", value_parser = scope())]
    pub scope: Scope,
    /// Leave tensors alone whose names match; may be given several times
    #[arg(long, value_name = "REGEX")]
    pub exclude: Vec<String>,
    /// Neurons: keep multiples of so many channels where that can be
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = at_least_one, conflicts_with_all = ["weights", "nm", "block"])]
    pub round: usize,
    /// Neurons may go over which a normalisation, softmax, mean or maximum is computed, which changes what it gives
    #[arg(long, conflicts_with_all = ["weights", "nm", "block"])]
    pub approximate: bool,
    /// Which zeros of the network stay zeros: auto (recorded ones, and those of weights of which 30 % are 0), recorded or nothing
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = keep())]
    pub keep: Keep,
}

/// When it is alright.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Alright?")]
#[command(group = ArgGroup::new("small").required(true).args(["sparsity", "macs", "params", "bytes"]))]
pub struct Targets {
    /// Small enough: this part of the weights is 0, or of the neurons is gone (0 to 1)
    #[arg(long, value_name = "PART", value_parser = part)]
    pub sparsity: Option<f64>,
    /// Small enough: this part of the MACs is left (below 1), or so many
    #[arg(long, value_name = "PART|COUNT", value_parser = number)]
    pub macs: Option<f64>,
    /// Small enough: this part of the parameters is left (below 1), or so many; of weights those that are not 0 count
    #[arg(long, value_name = "PART|COUNT", value_parser = number)]
    pub params: Option<f64>,
    /// Small enough: the file has this part of its bytes (below 1), or so many (100kB)
    #[arg(long, value_name = "PART|BYTES", value_parser = number)]
    pub bytes: Option<f64>,
    /// Accurate enough: the accuracy on validation samples fell by at most so many percentage points (where nothing is right
    /// or wrong: the loss rose by at most so many percent) [default: 1]
    #[arg(long, value_name = "DROP", value_parser = drop)]
    pub max_drop: Option<f64>,
    /// Accurate enough: at least this accuracy on validation samples in percent (at most this loss). Better than --max-drop if
    /// the network has been trained on what is now held out
    #[arg(long, value_name = "PERCENT", value_parser = number, conflicts_with = "max_drop")]
    pub min_accuracy: Option<f64>,
    /// How fast it shrinks: one-shot, geometric (the same part of what is left each round) or cubic (more at first)
    #[arg(long, value_name = "NAME", default_value = "geometric", value_parser = pace())]
    pub pace: Pace,
    /// Rounds to the target, if none fails
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = rounds)]
    pub rounds: usize,
}

/// How it recovers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Recovery")]
pub struct RecoveryOptions {
    /// What is done after each cut, in this order: lossless (removes channels that carry nothing), statistics (measures batch
    /// normalization anew), least-squares (instead: solves layers that read removed neurons for what they computed), distillation (learns from the original),
    /// labels (learns from labels); or none [default: lossless,statistics,distillation; without data lossless]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub recover: Vec<RecoverName>,
    /// Epochs of training after each cut; as many again if it is not accurate enough then
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub epochs: u64,
    /// Epochs of training after the last cut [default: --epochs]
    #[arg(long, value_name = "COUNT")]
    pub final_epochs: Option<u64>,
    /// Network to learn from: a file, or self for the network as it was
    #[arg(long, value_name = "NET", default_value = "self")]
    pub teacher: PathBuf,
}

/// How the proof is measured.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Proof")]
pub struct ProofArguments {
    /// File of the ONNX Runtime library to measure with, too [default: $`ORT_DYLIB_PATH`, else where libraries are]
    #[arg(long, value_name = "FILE")]
    pub ort: Option<PathBuf>,
}

/// A step of recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RecoverName {
    /// Removes channels that carry no information
    Lossless,
    /// Measures statistics of batch normalization anew
    Statistics,
    /// Solves layers that read removed channels for what they computed
    LeastSquares,
    /// Learns from the original
    Distillation,
    /// Learns from labels
    Labels,
    /// Nothing is done
    None,
}

/// What pruning is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ControlName {
    /// The same architecture, trained from scratch for as many steps
    Scratch,
    /// The same amount, chosen at random
    Random,
}

/// A number of rounds: steps of less than a ten-thousandth would not end.
fn rounds(text: &str) -> Result<usize, String> {
    let count = at_least_one(text)?;
    if count > 10_000 { Err(format!("expected at most 10,000, found {count}")) } else { Ok(count) }
}
