//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use slimnet_engine::optimize::Schedule;
use slimnet_graph::zoo::Init;

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
#[derive(Debug, Args)]
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
    /// Compare two networks: how far apart their outputs are, and which layers differ
    Diff(Diff),
    /// Train a network on data, by labels or by the outputs of other networks
    Train(Train),
    /// Measure how good a network is on data
    Eval(Eval),
    /// Get data sets
    #[command(subcommand)]
    Data(DataCommand),
    /// Measure how fast a network runs, or trains, and how much memory it takes
    Bench(Bench),
}

/// Measures runs of a network in slimnet's own engine on random inputs: after some runs to warm up, the time of each run.
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
    /// Samples computed at once; several sizes are measured one after the other [default: 1,64, or what the network is
    /// fixed to]
    #[arg(long, value_name = "COUNT", value_delimiter = ',', value_parser = batch)]
    pub batch: Vec<usize>,
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

/// Where data comes from and how it is prepared. Preprocessing that is not given here is what the network's metadata says,
/// else what is usual for the data.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
#[allow(clippy::struct_field_names)] // named as on the command line
pub struct Data {
    /// digits (built in), mnist, fashion-mnist, cifar10, or a path: a folder of IDX or CIFAR files or of one folder of
    /// images a class, a .npz or .safetensors file, or records:FILE?…
    #[arg(long, value_name = "DATA")]
    pub data: String,
    /// Folder of the known data sets [default: $`SLIMNET_DATA`, else a cache folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Training samples held out to choose by, where the data has none of its own: a number or a part [default: a tenth, at
    /// most 5000]
    #[arg(long, value_name = "COUNT|PART")]
    pub validation: Option<String>,
    /// Samples held out for testing, where the data has none of its own: a number or a part [default: none]
    #[arg(long, value_name = "COUNT|PART")]
    pub test: Option<String>,
    /// Decides which samples are held out; keep it from command to command
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub split_seed: u64,
    /// Factor on every element, such as 1/255
    #[arg(long, value_name = "FACTOR")]
    pub scale: Option<String>,
    /// Subtracted after scaling: one number, or one a channel
    #[arg(long, value_name = "NUMBERS", allow_hyphen_values = true)]
    pub mean: Option<String>,
    /// What is left is divided by this: one number, or one a channel
    #[arg(long, value_name = "NUMBERS")]
    pub std: Option<String>,
    /// Order of the axes as stored: nchw, nhwc or nhw
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<String>,
    /// Added to every label
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub labels_offset: Option<String>,
    /// Resize images: the shorter side, or `HEIGHTxWIDTH`
    #[arg(long, value_name = "SIZE")]
    pub resize: Option<String>,
    /// Cut a window from the centre of images
    #[arg(long, value_name = "SIZE")]
    pub crop: Option<String>,
    /// Which array of the data an input of the network gets, where names differ
    #[arg(long = "input", value_name = "NAME=ARRAY", value_parser = name_and_text)]
    pub inputs: Vec<(String, String)>,
    /// The output that the labels are for [default: the only one]; training takes several, the first is measured
    #[arg(long = "output-name", value_name = "NAME")]
    pub output_names: Vec<String>,
    /// Samples computed at once
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    pub batch: usize,
    /// Length of a dimension that the network only names, other than the batch
    #[arg(long = "dim", value_name = "NAME=LENGTH", value_parser = name_and_length)]
    pub dims: Vec<(String, usize)>,
}

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
}

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // switches of the command line
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
    /// Highest rate [default: 0.05 for sgd, 0.001 for adamw]
    #[arg(long, value_name = "RATE")]
    pub rate: Option<f32>,
    /// How the rate changes: constant, cosine, linear, step:PARTS:FACTOR or exponential:END
    #[arg(long, value_name = "SCHEDULE", default_value = "cosine")]
    pub schedule: Schedule,
    /// Epochs in which the rate rises from 0
    #[arg(long, value_name = "EPOCHS", default_value_t = 0.0)]
    pub warm_up: f64,
    /// How parameters follow their gradients
    #[arg(long, value_name = "NAME", default_value = "sgd")]
    pub optimizer: OptimizerName,
    /// Momentum of sgd
    #[arg(long, value_name = "PART", default_value_t = 0.9)]
    pub momentum: f32,
    /// Look ahead along the momentum
    #[arg(long)]
    pub nesterov: bool,
    /// Decay of weights of two axes or more
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    pub weight_decay: f32,
    /// Shorten gradients that are longer than this
    #[arg(long, value_name = "LENGTH")]
    pub clip: Option<f32>,
    /// Write a running mean of the parameters, of which this part stays at each step
    #[arg(long, value_name = "PART")]
    pub average: Option<f32>,
    /// What is minimised [default: ce for labels, mse for other targets]
    #[arg(long, value_name = "LOSS")]
    pub loss: Option<LossName>,
    /// Part of the weight of a label that all classes share
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    pub label_smoothing: f32,
    /// A network whose outputs are imitated; may be given several times
    #[arg(long = "teacher", value_name = "NET")]
    pub teachers: Vec<PathBuf>,
    /// How much a teacher counts beside the others, one a teacher in the same order [default: all the same]
    #[arg(long = "teacher-weight", value_name = "WEIGHT")]
    pub teacher_weights: Vec<f32>,
    /// Temperature of imitated scores
    #[arg(long, value_name = "T", default_value_t = 4.0)]
    pub temperature: f32,
    /// Weight of the imitation; labels have the rest [default: 0.9; 1 with --loss none]
    #[arg(long, value_name = "PART")]
    pub alpha: Option<f32>,
    /// Parameters that stay as they are: a name, or its beginning and *
    #[arg(long, value_name = "NAME")]
    pub freeze: Vec<String>,
    /// Weights that are trained though they are frozen or no parameters: a name, or its beginning and *
    #[arg(long, value_name = "NAME")]
    pub train: Vec<String>,
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
    /// Move training images by up to so many pixels in each direction, with a border of zeros
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub augment_crop: usize,
    /// Mirror training images at random
    #[arg(long)]
    pub augment_flip: bool,
    /// Move training samples along their first spatial axis by up to so many places
    #[arg(long, value_name = "PLACES", default_value_t = 0)]
    pub augment_shift: usize,
    /// Blank a square of so many pixels in training images
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub augment_cutout: usize,
    /// Train on samples of these classes only, such as 0,1,2
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    pub only_classes: Vec<i64>,
    /// Where the state is saved while it trains [default: OUT.checkpoint]
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Save the state every so many seconds, besides after each epoch
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub save_every: u64,
    /// Go on from the saved state of the same command
    #[arg(long)]
    pub resume: bool,
    /// Append a line of JSON after every epoch
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
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

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PartName {
    /// What is trained on
    Train,
    /// What is chosen by
    Validation,
    /// What is only reported
    Test,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Download known data sets and check them byte by byte
    Fetch(Fetch),
}

#[derive(Debug, Args)]
pub struct Fetch {
    /// mnist, fashion-mnist or cifar10
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Folder to put them in [default: $`SLIMNET_DATA`, else a cache folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
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

fn init() -> impl TypedValueParser<Value = Init> {
    PossibleValuesParser::new(Init::ALL.map(Init::name))
        .try_map(|name| Init::from_name(&name).ok_or("no such initialisation"))
}

/// The losses that measure something.
fn measurable_loss() -> impl TypedValueParser<Value = LossName> {
    PossibleValuesParser::new(["ce", "mse", "bce"])
        .try_map(|name| <LossName as clap::ValueEnum>::from_str(&name, false))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.trim().parse::<usize>().ok().filter(|&number| number > 0);
    number.ok_or_else(|| format!("expected a whole number of 1 or more, found {text:?}"))
}

/// More samples at once fit into no memory.
const LARGEST_BATCH: usize = 1 << 24;

fn batch(text: &str) -> Result<usize, String> {
    let number = text.trim().parse::<usize>().ok().filter(|number| (1..=LARGEST_BATCH).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {LARGEST_BATCH}, found {text:?}"))
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("expected a number above 0, found {text:?}"))
}

fn split_name(text: &str) -> Result<(String, &str), String> {
    // Names may hold "=", lengths and most paths do not.
    let (name, value) = text.rsplit_once('=').ok_or_else(|| format!("expected NAME=…, found {text:?}"))?;
    Ok((name.to_owned(), value))
}

fn name_and_length(text: &str) -> Result<(String, usize), String> {
    let (name, length) = split_name(text)?;
    let length = length.parse().map_err(|_| format!("expected a length behind '=', found {length:?}"))?;
    Ok((name, length))
}

fn name_and_file(text: &str) -> Result<(String, PathBuf), String> {
    split_name(text).map(|(name, file)| (name, PathBuf::from(file)))
}

fn name_and_text(text: &str) -> Result<(String, String), String> {
    split_name(text).map(|(name, text)| (name, text.to_owned()))
}

fn range(text: &str) -> Result<(f64, f64), String> {
    let expected = || format!("expected two numbers such as 0,1 with the smaller one first, found {text:?}");
    let (low, high) = text.split_once(',').ok_or_else(expected)?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(expected);
    let (low, high) = (number(low)?, number(high)?);
    if low < high { Ok((low, high)) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn values_are_checked() {
        assert_eq!(range("-1,1"), Ok((-1.0, 1.0)));
        for wrong in ["1", "1,1", "2,1", "a,b", "0,inf", "NaN,1"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
        assert_eq!(name_and_length("a=b=3"), Ok(("a=b".into(), 3)));
        assert!(name_and_length("N").is_err());
        assert!(name_and_length("N=-1").is_err());
        assert!(at_least_one("64").is_ok() && seconds("0.5").is_ok());
        for wrong in ["0", "-1", "NaN", "inf", ""] {
            assert!(at_least_one(wrong).is_err() && seconds(wrong).is_err() && batch(wrong).is_err(), "{wrong}");
        }
    }
}
