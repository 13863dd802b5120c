//! The command line.

mod bench;
mod compress;
mod data;
mod learning;
mod prune;
mod train;
mod values;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use slimnet_graph::zoo::Init;

pub use bench::{Bench, BenchCommand, BenchTrain, Measurement, RuntimeName};
pub use compress::Compress;
pub use data::{Data, DataCommand, PartName};
pub use learning::Learning;
pub use prune::{ControlName, Prune, RecoverName, Targets, What};
pub use train::{Eval, LossName, OptimizerName, Train};
pub use values::WRITTEN;
use values::{init, name_and_file, name_and_length, range};

/// Makes trained neural networks (ONNX) small and fast.
///
/// Results go to stdout, notes and errors to stderr. Exit codes: 0 done, 1 failed, 2 bad usage, 3 done but the target was
/// not reached.
#[derive(Debug, Parser)]
#[command(name = "slimnet", version, subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Write the result, or the error, as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but the result and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Seed of everything random: the same seed gives the same bits
    #[arg(long, global = true, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Threads to compute on; changes no result [default: one a processor]
    #[arg(long, global = true, value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
}

impl Global {
    /// How many threads to compute on.
    pub fn threads(&self) -> usize {
        self.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one
pub enum Command {
    /// Make an untrained network of a known architecture
    New(New),
    /// Show what a network is made of, what it costs and what can be removed from it
    Inspect(Inspect),
    /// Make a network smaller without changing what it computes
    Simplify(Simplify),
    /// Run the steps of a recipe one after the other
    Compress(Compress),
    /// Compare two networks: how far apart their outputs are, and which layers differ
    Diff(Diff),
    /// Train a network on data, by labels or by the outputs of other networks
    Train(Train),
    /// Remove what is unimportant: weights or whole neurons, in rounds with recovery
    Prune(Prune),
    /// Measure how good a network is on data
    Eval(Eval),
    /// Get data sets
    #[command(subcommand)]
    Data(DataCommand),
    /// Measure how fast a network runs, or trains, and how much memory it takes
    Bench(Bench),
}
#[derive(Debug, Args)]
pub struct New {
    /// Name of the architecture (see --list)
    #[arg(value_name = "ARCH", required_unless_present = "list")]
    pub architecture: Option<String>,
    /// File to write
    #[arg(long, short, value_name = "NET", required_unless_present = "list")]
    pub output: Option<PathBuf>,
    /// List the architectures and the options that each takes
    #[arg(long)]
    pub list: bool,
    /// Number of classes
    #[arg(long, value_name = "COUNT")]
    pub classes: Option<usize>,
    /// Channels of the input
    #[arg(long, value_name = "COUNT")]
    pub channels: Option<usize>,
    /// Factor on the number of channels of every inner layer
    #[arg(long, value_name = "FACTOR")]
    pub width: Option<f64>,
    /// Height and width of the input image
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<usize>,
    /// How weights are initialised
    #[arg(long, value_name = "NAME", value_parser = init())]
    pub init: Option<Init>,
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// Network to look at
    #[arg(value_name = "NET")]
    pub network: PathBuf,
    /// Take axes as removable too where removal changes what a normalisation, softmax, mean or maximum over them gives
    #[arg(long)]
    pub approximate: bool,
    /// Length of a dimension that the network only names, for what it costs [default: 1]
    #[arg(long = "dim", value_name = "NAME=LENGTH", value_parser = name_and_length)]
    pub dims: Vec<(String, usize)>,
}

#[derive(Debug, Args)]
pub struct Simplify {
    /// Network to simplify
    #[arg(value_name = "NET")]
    pub network: PathBuf,
    /// File to write (may be NET itself)
    #[arg(long, short, value_name = "OUT", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// Write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Weights are dead when smaller than this part of the largest of their tensor
    #[arg(long, value_name = "PART", default_value = "1e-10")]
    pub dead: f64,
    /// Fold batch normalization into the layers before it (a network that shall be trained on is better off with it)
    #[arg(long)]
    pub fold_batch_norm: bool,
    /// On how many random inputs to compare the outputs before and after; 0 compares nothing
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    pub check: usize,
    /// Length of a dimension that the network only names [default: for costs 1; in the random inputs 1 for the batch, 64
    /// for height and width, else 8]
    #[arg(long = "dim", value_name = "NAME=LENGTH", value_parser = name_and_length)]
    pub dims: Vec<(String, usize)>,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// First network
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// Second network
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// Number of random inputs; 0 compares layers only
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    pub samples: usize,
    /// Length of a dimension that the networks only name [default: 1 for the batch, 64 for height and width, else 8]
    #[arg(long = "dim", value_name = "NAME=LENGTH", value_parser = name_and_length)]
    pub dims: Vec<(String, usize)>,
    /// Random inputs are uniform in this range [default: normally distributed, integers uniform in 0 to 9]
    #[arg(long, value_name = "LOW,HIGH", value_parser = range, allow_hyphen_values = true)]
    pub range: Option<(f64, f64)>,
    /// Give this input from a file (.npy) instead of random numbers
    #[arg(long = "input", value_name = "NAME=FILE.npy", value_parser = name_and_file)]
    pub inputs: Vec<(String, PathBuf)>,
    /// End with exit code 3 if an output differs by more than this
    #[arg(long, value_name = "DIFFERENCE")]
    pub tolerance: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
