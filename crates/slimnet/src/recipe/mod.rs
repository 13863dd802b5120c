//! Recipes: the steps of `compress`, each a command of this program.
//!
//! Nothing about a command is known here. Which commands there are, which options they take and how, what they default
//! to and what is wrong with a value: all of that the parser of the command line is asked.

mod key;
mod step;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::CommandFactory;
use toml::{Table, Value};

use crate::arguments::Arguments;
use crate::failure::{Failure, Result};

pub use step::{Step, command_line, parse_line};

/// A recipe is written by hand: what is larger is another file.
const LARGEST: u64 = 1_000_000;

/// What is wrong with a recipe.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// The file is larger than any recipe.
    #[error("it has more than {LARGEST} bytes; expected a recipe")]
    Size,
    /// It is not TOML.
    #[error("line {line} is no TOML: {why}")]
    Toml {
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// There is nothing to do.
    #[error("it has no steps; expected [[step]], below it command = \"…\" and the options of that command as keys")]
    NoSteps,
    /// `step` is something else.
    #[error("\"step\" is of the type {found}; expected tables: [[step]]")]
    NotSteps {
        /// The type that it has.
        found: &'static str,
    },
    /// A step does not say what to do.
    #[error("step {step} has no command; expected command = \"…\" with one of: {known}")]
    NoCommand {
        /// Counted from 1.
        step: usize,
        /// The commands that can be a step.
        known: String,
    },
    /// A step names what is no command, or none that takes a network.
    #[error("step {step}: {command:?} is no command that takes one network; those are: {known}")]
    Command {
        /// Counted from 1.
        step: usize,
        /// What it says.
        command: String,
        /// The commands that can be a step.
        known: String,
    },
    /// The command has no such option.
    #[error("step {step} ({command}): there is no option {key:?}; {command} takes: {known}")]
    Key {
        /// Counted from 1.
        step: usize,
        /// Its command.
        command: String,
        /// What it says.
        key: String,
        /// The options that the command has.
        known: String,
    },
    /// An option that the recipe cannot set.
    #[error("{place}: {key:?} is no key of recipes: compress itself gives it to its steps")]
    Own {
        /// Where it stands.
        place: String,
        /// What it says.
        key: String,
    },
    /// A key above the steps that is of no use.
    #[error("above the steps: no step takes an option {key:?}")]
    Shared {
        /// What it says.
        key: String,
    },
    /// A value of another type than the option takes.
    #[error("step {step} ({command}): {key:?} is of the type {found}; expected {expected}")]
    Value {
        /// Counted from 1.
        step: usize,
        /// Its command.
        command: String,
        /// What it says.
        key: String,
        /// The type that it has.
        found: &'static str,
        /// What the option takes.
        expected: &'static str,
    },
    /// The command does not take these options.
    #[error("step {step} ({command}): {why}")]
    Options {
        /// Counted from 1.
        step: usize,
        /// Its command.
        command: String,
        /// What the command's parser says.
        why: String,
    },
    /// All steps only look.
    #[error("no step makes a network; those that do are: {known}")]
    NothingMade {
        /// The commands that make a network.
        known: String,
    },
}

/// Reads the steps of a recipe and checks each as if it were given on the command line.
///
/// # Errors
/// If the file cannot be read, or says what is no recipe: then a usage failure that names step, key and what there is.
pub fn read(path: &Path) -> Result<Vec<Step>> {
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    file.map_err(|error| Failure::new("cannot read the recipe", &error).about(path))?;
    let steps = if text.len() as u64 > LARGEST { Err(RecipeError::Size) } else { parse(&text) };
    steps.map_err(|error| Failure::usage(&error.to_string()).within("cannot use the recipe").about(path))
}

fn parse(text: &str) -> std::result::Result<Vec<Step>, RecipeError> {
    let mut shared: Table = toml::from_str(text).map_err(|error| RecipeError::Toml {
        line: error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count()),
        why: error.message().to_owned(),
    })?;
    let tables = match shared.remove("step") {
        None => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(RecipeError::NotSteps { found: other.type_str() }),
    };
    let program = Arguments::command();
    let mut unused: BTreeSet<&str> = shared.keys().map(String::as_str).collect();
    let mut steps = Vec::new();
    for (place, table) in tables.into_iter().enumerate() {
        let Value::Table(keys) = table else { return Err(RecipeError::NotSteps { found: "array of other things" }) };
        let (step, taken) = Step::new(&program, place + 1, &keys, &shared)?;
        for key in taken {
            unused.remove(key);
        }
        steps.push(step);
    }
    if steps.is_empty() {
        return Err(RecipeError::NoSteps);
    }
    if let Some(key) = unused.first() {
        step::refuse_own(&program, "above the steps", key)?;
        return Err(RecipeError::Shared { key: (*key).to_owned() });
    }
    if !steps.iter().any(|step| step.makes_network) {
        return Err(RecipeError::NothingMade { known: step::commands(&program, step::makes_network) });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Command, Global};

    fn global() -> Global {
        Global { json: true, quiet: false, seed: 7, threads: None }
    }

    #[test]
    fn steps_are_command_lines() {
        let steps = parse(
            "data = 'digits'\nepochs = 3\nbatch = 32\n\
             [[step]]\ncommand = 'simplify'\ndead = 0\n\
             [[step]]\ncommand = 'train'\nepochs = 5\nnesterov = true\nbatch = false\n\
             [[step]]\ncommand = 'eval'\npart = 'validation'\n",
        )
        .unwrap();
        let line = |place: usize| {
            let output = steps[place].makes_network.then(|| Path::new("out.onnx"));
            command_line(&steps[place].arguments(Path::new("net.onnx"), output, &global()))
        };
        assert_eq!(line(0), "slimnet simplify net.onnx --output=out.onnx --dead=0 --seed=7");
        assert_eq!(line(1), "slimnet train net.onnx --output=out.onnx --data=digits --epochs=5 --nesterov --seed=7");
        assert_eq!(line(2), "slimnet eval net.onnx --batch=32 --data=digits --part=validation --seed=7");
        let parsed = parse_line(&steps[1].arguments(Path::new("-n"), Some(Path::new("-o")), &global())).unwrap();
        let Command::Train(train) = &parsed.command else { panic!("{parsed:?}") };
        assert_eq!((train.epochs, train.learning.nesterov, parsed.global.seed, train.data.batch), (5, true, 7, 64));
        assert_eq!((train.network.as_path(), train.output.as_path()), (Path::new("./-n"), Path::new("-o")));
    }

    #[test]
    fn what_a_step_reads_is_told_from_what_it_writes() {
        let text = "[[step]]\ncommand = 'train'\ndata = 'records:a.bin?split=b'\nteacher = ['t', 'u']\nlog = 'l'\n";
        let steps = parse(text).unwrap();
        let reads: BTreeSet<_> = steps[0].reads().collect();
        for read in ["records:a.bin?split=b", "a.bin", "b", "t", "u"] {
            assert!(reads.contains(read), "{read}: {reads:?}");
        }
        assert!(!reads.contains("l"), "{reads:?}");
    }
}
