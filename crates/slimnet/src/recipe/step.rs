//! A step of a recipe as a command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Command, Parser};
use toml::{Table, Value};

use super::{RecipeError, key};
use crate::arguments::{Arguments, Global, WRITTEN};

/// Options that `compress` gives to its steps.
const OWN: [&str; 3] = ["dry-run", "output", "resume"];

/// A command that is run on a network, with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The command's name.
    pub command: String,
    /// Whether it writes a network, else it only looks at one.
    pub makes_network: bool,
    /// Whether it can go on where it was ended.
    pub resumes: bool,
    /// Options of the recipe, as arguments.
    pub options: Vec<String>,
    /// Whether what each option names is written by the command.
    written: Vec<bool>,
}

/// Commands by what they are asked for, for people.
pub(super) fn commands(program: &Command, wanted: fn(&Command) -> bool) -> String {
    let names = program.get_subcommands().filter(|command| takes_network(command) && wanted(command));
    names.map(Command::get_name).collect::<Vec<_>>().join(", ")
}

pub(super) fn makes_network(command: &Command) -> bool {
    has(command, "output")
}

/// Whether a command works on one network, and is not the one that runs recipes: a recipe that ran itself would never
/// end.
fn takes_network(command: &Command) -> bool {
    let names: Vec<_> = command.get_positionals().map(|positional| positional.get_value_names()).collect();
    let [Some([name])] = names.as_slice() else { return false };
    name.as_str() == "NET" && !has(command, "recipe")
}

fn has(command: &Command, option: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(option))
}

/// Refuses options that are `compress`'s own or of every command.
pub(super) fn refuse_own(program: &Command, place: &str, key: &str) -> Result<(), RecipeError> {
    if OWN.contains(&key) || has(program, key) {
        return Err(RecipeError::Own { place: place.to_owned(), key: key.to_owned() });
    }
    Ok(())
}

impl Step {
    /// The step with number `step` that has these keys, and the keys above the steps that it takes.
    pub(super) fn new<'a>(
        program: &Command,
        step: usize,
        keys: &Table,
        shared: &'a Table,
    ) -> Result<(Self, Vec<&'a str>), RecipeError> {
        let known = || commands(program, |_| true);
        let Some(name) = keys.get("command") else { return Err(RecipeError::NoCommand { step, known: known() }) };
        let name = name.as_str().map_or_else(|| format!("({})", name.type_str()), str::to_owned);
        let unknown = || RecipeError::Command { step, command: name.clone(), known: known() };
        let command = program.find_subcommand(&name).filter(|command| takes_network(command)).ok_or_else(unknown)?;
        let taken: Vec<&str> = shared.keys().map(String::as_str).filter(|key| is_key(command, key)).collect();
        let mut made = Self {
            command: name.clone(),
            makes_network: makes_network(command),
            resumes: has(command, "resume"),
            options: Vec::new(),
            written: Vec::new(),
        };
        let above = shared.iter().filter(|(key, _)| taken.contains(&key.as_str()) && !keys.contains_key(*key));
        for (key, value) in above.chain(keys.iter().filter(|(key, _)| *key != "command")) {
            refuse_own(program, &format!("step {step} ({name})"), key)?;
            made.add(command, step, key, value)?;
        }
        let example =
            made.arguments(Path::new("NET"), made.makes_network.then(|| Path::new("OUT")), &Global::default());
        parse_line(&example).map_err(|why| RecipeError::Options { step, command: name, why })?;
        Ok((made, taken))
    }

    fn add(&mut self, command: &Command, step: usize, key: &str, value: &Value) -> Result<(), RecipeError> {
        let name = || self.command.clone();
        let option = command.get_arguments().find(|option| option.get_long() == Some(key));
        let option = option.ok_or_else(|| {
            let known: Vec<_> = command.get_arguments().filter_map(|option| option.get_long()).collect();
            let known = known.into_iter().filter(|key| is_key(command, key)).collect::<Vec<_>>().join(", ");
            RecipeError::Key { step, command: name(), key: key.to_owned(), known }
        })?;
        let arguments = key::arguments(option, key, value).map_err(|expected| RecipeError::Value {
            step,
            command: name(),
            key: key.to_owned(),
            found: value.type_str(),
            expected,
        })?;
        self.written.resize(self.written.len() + arguments.len(), option.get_value_hint() == WRITTEN);
        self.options.extend(arguments);
        Ok(())
    }

    /// The command line on this network. Options of every command are handed on; of `--json` the caller sees to.
    pub fn arguments(&self, network: &Path, output: Option<&Path>, global: &Global) -> Vec<OsString> {
        let with = |option: &str, path: &Path| {
            let mut argument = OsString::from(option);
            argument.push(path);
            argument
        };
        let mut arguments = vec!["slimnet".into(), self.command.clone().into(), plain(network).into_os_string()];
        arguments.extend(output.map(|output| with("--output=", output)));
        arguments.extend(self.options.iter().map(OsString::from));
        arguments.push(format!("--seed={}", global.seed).into());
        arguments.extend(global.threads.map(|threads| format!("--threads={threads}").into()));
        arguments.extend(global.quiet.then(|| "--quiet".into()));
        arguments
    }

    /// Whatever the options say that may be the name of a file or folder that is read.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        let values = self.options.iter().zip(&self.written).filter(|(_, written)| !**written);
        let values = values.filter_map(|(option, _)| option.split_once('=')).map(|(_, value)| value);
        // Files also stand in `NAME=FILE`, `records:FILE?…` and `FILE?split=FILE`.
        values.flat_map(|value| std::iter::once(value).chain(value.split(['=', ':', '?', ','])))
    }
}

/// What the program's parser makes of a command line; the error is what it says, without its hints.
pub fn parse_line(arguments: &[OsString]) -> Result<Arguments, String> {
    Arguments::try_parse_from(arguments).map_err(|error| {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        text.split("\n\n").next().unwrap_or(text).to_owned()
    })
}

/// Whether a recipe may set an option of a command.
fn is_key(command: &Command, key: &str) -> bool {
    has(command, key) && !OWN.contains(&key)
}

/// The path, so that it is not taken for an option.
fn plain(path: &Path) -> PathBuf {
    let is_option_like = path.as_os_str().as_encoded_bytes().starts_with(b"-");
    if is_option_like { Path::new(".").join(path) } else { path.to_owned() }
}

/// A command line as it would be typed.
pub fn command_line(arguments: &[OsString]) -> String {
    let quoted = |argument: &OsString| {
        let text = argument.to_string_lossy();
        let is_plain = |letter: char| letter.is_alphanumeric() || "-_=./:,+@%".contains(letter);
        if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
