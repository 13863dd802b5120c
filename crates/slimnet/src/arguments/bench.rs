//! The command line of `bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::values::{at_least_one, batch, measurable_loss, name_and_length, seconds};
use super::{LossName, OptimizerName};

/// Measures runs of a network on random inputs: after some runs to warm up, the time of each run.
/// `slimnet bench train` measures steps of training.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Bench {
    #[command(subcommand)]
    pub what: Option<BenchCommand>,
    /// Network to run: a file, or the name of an architecture (see new --list)
    #[arg(value_name = "NET", required = true)]
    pub network: Option<PathBuf>,
    #[command(flatten)]
    pub measurement: Measurement,
    /// What runs the network: slimnet's own engine or ONNX Runtime (ort); several are measured in turns
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "own")]
    pub runtime: Vec<RuntimeName>,
    /// The library of ONNX Runtime [default: $ORT_DYLIB_PATH, or the libonnxruntime that the system finds]
    #[allow(clippy::doc_markdown)] // shown as it is
    #[arg(long, value_name = "FILE")]
    pub ort: Option<PathBuf>,
    /// Samples computed at once; several sizes are measured one after the other [default: 1,64, or what the network is
    /// fixed to]
    #[arg(long, value_name = "COUNT", value_delimiter = ',', value_parser = batch)]
    pub batch: Vec<usize>,
}

/// What runs a network: slimnet's own engine, or ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RuntimeName {
    Own,
    Ort,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure steps of training: forward, backward, optimizer
    Train(BenchTrain),
}

#[derive(Debug, Args)]
pub struct BenchTrain {
    /// Network to train: a file, or the name of an architecture (see new --list)
    #[arg(value_name = "NET")]
    pub network: PathBuf,
    #[command(flatten)]
    pub measurement: Measurement,
    /// Samples of a step; several sizes are measured one after the other [default: 64, or what the network is fixed to]
    #[arg(long, value_name = "COUNT", value_delimiter = ',', value_parser = batch)]
    pub batch: Vec<usize>,
    /// How parameters follow their gradients
    #[arg(long, value_name = "NAME", default_value = "sgd")]
    pub optimizer: OptimizerName,
    /// What is minimised: ce, mse or bce
    #[arg(long, value_name = "LOSS", default_value = "ce", value_parser = measurable_loss())]
    pub loss: LossName,
    /// The output that the loss is for [default: the only one]
    #[arg(long = "output-name", value_name = "NAME")]
    pub output_name: Option<String>,
}

/// How time is measured.
#[derive(Debug, Args)]
#[command(next_help_heading = "Measurement")]
pub struct Measurement {
    /// Measure another network too, in turns with NET, and report the ratio of their times
    #[arg(long, value_name = "NET2")]
    pub against: Option<PathBuf>,
    /// How long each network is measured at each batch
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// Measure so many runs, however long they take
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub runs: Option<usize>,
    /// Measure node by node too: the time of each operator, and the slowest nodes
    #[arg(long)]
    pub operators: bool,
    /// Length of a dimension that the network only names, other than the batch [default: 64 for height and width, else 8]
    #[arg(long = "dim", value_name = "NAME=LENGTH", value_parser = name_and_length)]
    pub dims: Vec<(String, usize)>,
}
