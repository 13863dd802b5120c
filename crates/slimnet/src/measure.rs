//! Taking times.

use std::time::{Duration, Instant};

use slimnet_graph::NodeId;

use crate::failure::Result;

/// Part of the time of a measurement that goes before it, to warm up.
const WARM_UP: f64 = 0.1;
/// Runs to warm up where runs are counted.
const WARM_UP_RUNS: usize = 3;
/// A measurement has at least so many runs, however long they take.
const FEWEST_RUNS: usize = 3;
/// And at most so many: more say nothing new and take memory.
const MOST_RUNS: usize = 10_000_000;

/// Who is told how long a node took.
pub type Observe<'a> = &'a mut (dyn FnMut(Option<NodeId>, Duration) + Send);

/// What is measured.
pub trait Workload: Send {
    /// Computes once.
    fn run(&mut self) -> Result<()>;

    /// Computes once, node by node. Returns how long the optimiser took, if there is one.
    fn run_observed(&mut self, observe: Observe<'_>) -> Result<Option<Duration>>;
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Seconds for each workload.
    pub seconds: f64,
    /// Runs, if they are counted.
    pub runs: Option<usize>,
}

impl Budget {
    /// Whether a measurement of so many workloads may end.
    pub fn is_spent(self, rounds: usize, begun: Instant, workloads: usize) -> bool {
        let over = || begun.elapsed().as_secs_f64() >= self.seconds * workloads as f64 && rounds >= FEWEST_RUNS;
        rounds >= MOST_RUNS || self.runs.map_or_else(over, |runs| rounds >= runs)
    }
}

/// Times of all runs of each workload in milliseconds. The workloads take turns, so that whatever else the machine does
/// meets all alike.
pub fn measure(workloads: &mut [&mut dyn Workload], budget: Budget) -> Result<Vec<Vec<f64>>> {
    let (begun, enough) = (Instant::now(), WARM_UP * budget.seconds * workloads.len() as f64);
    for round in 1.. {
        workloads.iter_mut().try_for_each(|workload| workload.run())?;
        if begun.elapsed().as_secs_f64() >= enough || budget.runs.is_some_and(|runs| round >= runs.min(WARM_UP_RUNS)) {
            break;
        }
    }
    let mut times = vec![Vec::new(); workloads.len()];
    let begun = Instant::now();
    while !budget.is_spent(times[0].len(), begun, workloads.len()) {
        for (workload, times) in workloads.iter_mut().zip(&mut times) {
            let start = Instant::now();
            workload.run()?;
            times.push(milliseconds(start.elapsed()));
        }
    }
    Ok(times)
}

/// Times of the first as parts of those of the second, turn by turn.
pub fn ratios(first: &[f64], second: &[f64]) -> Vec<f64> {
    // A clock may not see the shortest runs.
    first.iter().zip(second).map(|(first, second)| first / second.max(1e-6)).collect()
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
