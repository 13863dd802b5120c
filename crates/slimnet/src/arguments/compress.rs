//! The command line of `compress`.

use std::path::PathBuf;

use clap::Args;

/// Below the options: what a recipe looks like.
const RECIPE: &str = "\
Recipes:
  data = \"digits\"           # above the steps: for every step that takes it

  [[step]]
  command = \"train\"         # any command that takes one network NET
  epochs = 10               # its options: see slimnet train --help
  freeze = [\"conv1*\"]       # a list: several times, or separated by commas

  [[step]]
  command = \"simplify\"
  fold-batch-norm = true    # true: given; false: not given

Each step gets the network that the last one made. NET, --output, --resume, --dry-run and what
stands under \"Options of every command\" are no keys: compress gives them. Paths are those of the
current folder.

What steps make is kept in the folder OUT.work, which may be deleted. A step that is done is not
done again as long as its options, its network and the files that it reads stay the same; one that
was ended goes on. A step that misses its target (exit code 3) is the last one, and its network
the result.";

/// Runs the steps of a recipe one after the other, each a command with its options.
#[derive(Debug, Args)]
#[command(after_help = RECIPE)]
pub struct Compress {
    /// Network to compress
    #[arg(value_name = "NET")]
    pub network: PathBuf,
    /// The steps, as TOML
    #[arg(long, value_name = "R.toml")]
    pub recipe: PathBuf,
    /// File to write (may be NET itself)
    #[arg(long, short, value_name = "OUT", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// Check the recipe and show the command of each step, but run none
    #[arg(long)]
    pub dry_run: bool,
}
