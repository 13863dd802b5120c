//! The command line's words for data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{batch, name_and_length, name_and_text};

/// Where data comes from and how it is prepared. Preprocessing that is not given here is what the network's metadata says,
/// else what is usual for the data.
#[derive(Debug, Clone, Args)]
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
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = batch)]
    pub batch: usize,
    /// Length of a dimension that the network only names, other than the batch
    #[arg(long = "dim", value_name = "NAME=LENGTH", value_parser = name_and_length)]
    pub dims: Vec<(String, usize)>,
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
