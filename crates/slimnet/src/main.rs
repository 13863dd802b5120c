//! The `slimnet` program: looks at trained neural networks and makes them small.
//!
//! One module per command under [`commands`]; each makes one data structure under [`report`], from which both the text
//! and the JSON are written. Results go to stdout, notes and errors to stderr.

mod arguments;
mod commands;
mod compare;
mod console;
mod failure;
mod feed;
mod files;
mod fingerprint;
mod interrupt;
mod lengths;
mod measure;
mod npy;
mod proof;
mod recipe;
mod report;
mod runtime;
mod samples;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use arguments::Arguments;
use console::Console;
use failure::{Failure, Outcome};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return bad_usage(&error),
    };
    let console = Console::new(&arguments.global);
    // A panic is a mistake of ours: it must still end in one message and the exit code of a failure.
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| commands::run(&arguments, console)))
        .unwrap_or_else(|panic| Err(Failure::internal(panic.as_ref())));
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::TargetMissed) => ExitCode::from(3),
        Err(failure) => {
            console.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints what the argument parser has to say, which may be the help that was asked for.
fn bad_usage(error: &clap::Error) -> ExitCode {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked_for && std::env::args_os().any(|argument| argument == "--json") {
        let failure = Failure::usage(error.render().to_string().trim().trim_start_matches("error: "));
        Console::json().failure(&failure);
    } else {
        // A reader that has gone away is no failure.
        let _ = error.print();
    }
    ExitCode::from(if asked_for { 0 } else { 2 })
}
