//! A key of a recipe as arguments of a command line.

use clap::{Arg, ArgAction};
use toml::Value;

/// The arguments that the option `name` has for a key's value: none, one, or one for each item of a list. The error
/// says what was expected.
///
/// `true` gives a switch and `false` nothing, also for an option that takes a value: so a step can leave out what is
/// set above the steps. A list repeats an option that may be given several times; any other gets its items separated
/// by commas.
pub fn arguments(option: &Arg, name: &str, value: &Value) -> Result<Vec<String>, &'static str> {
    let is_switch = !option.get_action().takes_values();
    let with = |text: String| format!("--{name}={text}");
    match value {
        Value::Boolean(false) => Ok(Vec::new()),
        Value::Boolean(true) if is_switch => Ok(vec![format!("--{name}")]),
        _ if is_switch => Err("true or false"),
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(text).collect();
            let texts = texts.ok_or("a list of numbers or texts")?;
            Ok(match option.get_action() {
                ArgAction::Append => texts.into_iter().map(with).collect(),
                _ if texts.is_empty() => Vec::new(),
                _ => vec![with(texts.join(","))],
            })
        }
        value => Ok(vec![with(text(value).ok_or("a number, a text or a list of them")?)]),
    }
}

/// A number or text as it is written on a command line.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, CommandFactory};

    use crate::arguments::Arguments;

    fn given(train: &Command, line: &str) -> Result<Vec<String>, &'static str> {
        let keys: toml::Table = toml::from_str(line).unwrap();
        let (name, value) = keys.iter().next().unwrap();
        let option = train.get_arguments().find(|option| option.get_long() == Some(name)).unwrap();
        arguments(option, name, value)
    }

    #[test]
    fn values_become_what_the_option_takes() {
        let command = Arguments::command();
        let train = command.find_subcommand("train").unwrap();
        for (line, expected) in [
            ("nesterov = true", vec!["--nesterov"]),
            ("nesterov = false", vec![]),
            ("epochs = 10", vec!["--epochs=10"]),
            ("epochs = false", vec![]),
            ("rate = 1e-3", vec!["--rate=0.001"]),
            ("rate = 2.0", vec!["--rate=2"]),
            ("labels-offset = -1", vec!["--labels-offset=-1"]),
            ("schedule = 'step:3:0.1'", vec!["--schedule=step:3:0.1"]),
            // May be given several times.
            ("freeze = 'conv1*'", vec!["--freeze=conv1*"]),
            ("freeze = ['a b', '--c']", vec!["--freeze=a b", "--freeze=--c"]),
            ("freeze = []", vec![]),
            ("only-classes = [0, 2]", vec!["--only-classes=0", "--only-classes=2"]),
            // Is given once, and takes a list.
            ("mean = [0.5, 1, '1/4']", vec!["--mean=0.5,1,1/4"]),
            ("mean = []", vec![]),
        ] {
            assert_eq!(given(train, line), Ok(expected.into_iter().map(str::to_owned).collect()), "{line}");
        }
        for line in [
            "nesterov = 1",
            "nesterov = 'true'",
            "nesterov = [true]",
            "epochs = true",
            "epochs = 2020-01-01",
            "dim = {N = 3}",
            "freeze = [['a']]",
            "freeze = [true]",
        ] {
            assert!(given(train, line).is_err(), "{line}");
        }
    }
}
