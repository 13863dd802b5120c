//! Looking on while a network is pruned.

use std::time::{Duration, Instant};

use slimnet_compress::prune::{Look, Round};
use slimnet_compress::recover::Watch;
use slimnet_engine::train::Control;

use crate::console::{Console, Progress};
use crate::interrupt;
use crate::report::prune::round_text;

/// How often progress is said where no line can be written over.
const SAY_EVERY: Duration = Duration::from_secs(20);

/// Says how far the work is.
pub(super) struct Watcher<'a> {
    pub console: Console<'a>,
    pub progress: Progress,
    pub what: String,
    pub said: Instant,
}

impl<'a> Watcher<'a> {
    pub fn new(console: Console<'a>, progress: Progress) -> Self {
        Self { console, progress, what: String::new(), said: Instant::now() }
    }
}

impl Watch for Watcher<'_> {
    fn step(&mut self, step: u64, steps: u64, loss: f64) -> Control {
        if interrupt::requested() {
            return Control::Stop;
        }
        let part = step as f64 / steps.max(1) as f64;
        if self.progress.is_due() {
            self.progress.show(part, &format!("{}: loss {loss:.4}", self.what));
        } else if !self.progress.is_shown() && self.said.elapsed() >= SAY_EVERY {
            self.said = Instant::now();
            self.console.note(&format!("{}: step {step} of {steps}, loss {loss:.4}", self.what));
        }
        Control::Continue
    }
}

impl Look for Watcher<'_> {
    fn is_interrupted(&self) -> bool {
        interrupt::requested()
    }

    fn begin(&mut self, round: usize, aim: f64) {
        self.what = format!("round {round}");
        self.said = Instant::now();
        self.progress.begin(&format!("round {round}: to {:.1} % of the original", 100.0 * aim));
    }

    fn cut(&mut self, round: &Round) {
        self.what = format!("round {}: {:.1} % left", round.round, 100.0 * round.left);
    }

    fn end(&mut self, round: &Round) {
        self.progress.clear();
        self.console.note(&round_text(round));
    }
}
