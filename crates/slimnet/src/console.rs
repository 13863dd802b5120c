//! Where words go: results to stdout, notes and failures to stderr.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::Global;
use crate::failure::{Failure, Result};
use crate::report::json::pretty;
use crate::report::{Report, plain_lines};

/// Columns of a terminal that does not say how wide it is.
const TERMINAL_WIDTH: usize = 100;

/// A command's result that was kept for another command's instead of being written.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// In a few words.
    pub headline: String,
    /// As text.
    pub text: String,
    /// As JSON.
    pub report: Value,
}

/// The program's two streams and how they are written.
#[derive(Debug, Clone, Copy)]
pub struct Console<'a> {
    json: bool,
    quiet: bool,
    /// Where results go instead of stdout.
    kept: Option<&'a RefCell<Kept>>,
}

impl<'a> Console<'a> {
    /// As the command line asks for.
    pub fn new(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet, kept: None }
    }

    /// One that writes JSON, for when there is no command line to ask.
    pub fn json() -> Self {
        Self { json: true, quiet: false, kept: None }
    }

    /// As this one, but the result is kept, for a command that is a part of another.
    pub fn keeping(self, kept: &'a RefCell<Kept>) -> Self {
        Self { kept: Some(kept), ..self }
    }

    /// Says something that is no result.
    pub fn note(self, text: &str) {
        if !self.quiet {
            // Nowhere is left to complain when stderr is gone.
            let _ = writeln!(io::stderr(), "{}", plain_lines(text));
        }
    }

    /// Says why there is no result.
    pub fn failure(self, failure: &Failure) {
        let text = if self.json {
            serde_json::to_string(&json!({ "error": failure })).unwrap_or_else(|_| failure.to_string())
        } else {
            plain_lines(&format!("error: {failure}"))
        };
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Writes a command's result, or keeps it.
    ///
    /// # Errors
    /// If stdout cannot be written; a reader that has gone away (`| head`) is no error.
    pub fn result<R: Report + Serialize>(self, report: &R) -> Result<()> {
        let cannot = |error: &dyn std::error::Error| Failure::new("cannot write the result to stdout", error);
        let value = || serde_json::to_value(report).map_err(|error| cannot(&error));
        if let Some(kept) = self.kept {
            let (headline, text) = (report.headline(), report.text(width()));
            *kept.borrow_mut() = Kept { headline, text, report: value()? };
            return Ok(());
        }
        let mut text = if self.json { pretty(&value()?) } else { plain_lines(&report.text(width())) };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(cannot(&error)),
            _ => Ok(()),
        }
    }
}

/// How wide tables may be; `None` where nobody looks at them on a screen.
fn width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    io::stdout().is_terminal().then(|| columns.unwrap_or(TERMINAL_WIDTH))
}

/// A line on a terminal that is written over as work goes on; elsewhere nothing.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    shown: bool,
    last: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_millis(200);
    const CELLS: usize = 24;

    /// For the command line's wishes.
    pub fn new(global: &Global) -> Self {
        let terminal = io::stderr().is_terminal() && !global.quiet;
        Self { terminal, shown: false, last: Instant::now() }
    }

    /// Whether there is a terminal, where progress is shown.
    pub fn is_shown(&self) -> bool {
        self.terminal
    }

    /// Whether it is time to show how far the work is.
    pub fn is_due(&self) -> bool {
        self.terminal && self.last.elapsed() >= Self::EVERY
    }

    /// Shows which part of the work is done.
    pub fn show(&mut self, part: f64, text: &str) {
        self.last = Instant::now();
        self.shown = true;
        let full = (part.clamp(0.0, 1.0) * Self::CELLS as f64) as usize;
        let bar: String = (0..Self::CELLS).map(|cell| if cell < full { '#' } else { '.' }).collect();
        // Back to the first column, the line erased.
        let _ = write!(io::stderr(), "\r\x1b[2K{bar} {:3.0} % {}", 100.0 * part, plain_lines(text));
        let _ = io::stderr().flush();
    }

    /// Shows what is being done, where progress is shown.
    pub fn begin(&mut self, text: &str) {
        if self.terminal {
            self.show(0.0, text);
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}
