//! How a command ends: done, target not reached, or one failure with everything that its reader needs.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is done.
    Done,
    /// All is done, but the result is not within what was asked for.
    TargetMissed,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// The file, the network or the machine.
    Failed,
    /// The command line.
    Usage,
    /// The program.
    Internal,
}

/// Why a command could not do its work.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    kind: Kind,
    /// What could not be done; empty where the command line itself is wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    what: String,
    /// The file that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// Why: where in the file, what was found and what was expected.
    why: String,
    /// What the reader can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// A result of a part of a command.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// `what` could not be done because of `why`.
    pub fn new(what: &str, why: &dyn Error) -> Self {
        Self::because(what, &chain(why))
    }

    /// `what` could not be done because of `why`, in words.
    pub fn because(what: &str, why: &str) -> Self {
        Self { kind: Kind::Failed, what: what.to_owned(), file: None, why: why.to_owned(), advice: None }
    }

    /// The command line asks for something that there is not.
    pub fn usage(why: &str) -> Self {
        Self { kind: Kind::Usage, ..Self::because("", why) }
    }

    /// What a panic left behind.
    pub fn internal(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let failure = Self { kind: Kind::Internal, ..Self::because("a mistake in slimnet itself", text) };
        failure.advise("please report it with the command and the network that led to it")
    }

    /// The same, about a file.
    pub fn about(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    /// The same, with what to do about it.
    pub fn advise(self, advice: &str) -> Self {
        Self { advice: Some(advice.to_owned()), ..self }
    }

    /// The same, with more to do about it.
    pub fn advise_also(self, advice: &str) -> Self {
        let advice = self.advice.iter().map(String::as_str).chain([advice]).collect::<Vec<_>>().join("\n  ");
        Self { advice: Some(advice), ..self }
    }

    /// The same, in a part of what was to be done.
    pub fn within(self, part: &str) -> Self {
        let what = if self.what.is_empty() { part.to_owned() } else { format!("{part}: {}", self.what) };
        Self { what, ..self }
    }

    /// The program's exit code for it.
    pub fn exit_code(&self) -> u8 {
        if self.kind == Kind::Usage { 2 } else { 1 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.what.is_empty() {
            write!(formatter, "{}", self.what)?;
            if let Some(file) = &self.file {
                write!(formatter, " {}", file.display())?;
            }
            write!(formatter, ": ")?;
        }
        write!(formatter, "{}", self.why)?;
        if let Some(advice) = &self.advice {
            write!(formatter, "\n  {advice}")?;
        }
        Ok(())
    }
}

/// An error and what it came from, each cause said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors say their cause's words themselves.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_everything_once() {
        let missing = std::io::Error::other("no such thing");
        let failure = Failure::new("cannot read", &missing).about(Path::new("a.onnx")).advise("look again");
        assert_eq!(failure.to_string(), "cannot read a.onnx: no such thing\n  look again");
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(Failure::usage("no such option").exit_code(), 2);
        let failure = failure.within("step 1").advise_also("and again");
        assert_eq!(failure.to_string(), "step 1: cannot read a.onnx: no such thing\n  look again\n  and again");
        assert_eq!(Failure::usage("no such option").within("step 1").to_string(), "step 1: no such option");
    }
}
