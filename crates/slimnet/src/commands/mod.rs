//! One module per command.

pub mod bench;
mod compress;
mod data;
mod diff;
mod eval;
mod inspect;
mod learning;
mod new;
mod prune;
mod simplify;
mod train;

use crate::arguments::{Arguments, Command};
use crate::console::Console;
use crate::failure::{Outcome, Result};

/// Runs the command that the command line asks for.
pub fn run(arguments: &Arguments, console: Console) -> Result<Outcome> {
    let global = &arguments.global;
    match &arguments.command {
        Command::New(options) => new::run(options, global, console),
        Command::Inspect(options) => inspect::run(options, console),
        Command::Simplify(options) => simplify::run(options, global, console),
        Command::Prune(options) => prune::run(options, global, console),
        Command::Compress(options) => compress::run(options, global, console),
        Command::Train(options) => train::run(options, global, console),
        Command::Eval(options) => eval::run(options, global, console),
        Command::Data(command) => data::run(command, console),
        Command::Bench(options) => bench::run(options, global, console),
        Command::Diff(options) => diff::run(options, global, console),
    }
}
