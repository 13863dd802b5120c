//! The best epoch of a training run.

use slimnet_graph::tensor::Tensor;

use super::evaluate::Score;
use super::trainer::State;

/// The parameters of the epoch that did best on the validation samples: most right ones, or the smallest loss where nothing
/// is right or wrong; of equal ones the first.
#[derive(Debug, Clone, Default)]
pub struct Best {
    found: Option<Found>,
}

#[derive(Debug, Clone)]
struct Found {
    epoch: u64,
    /// What is to be as large as possible.
    merit: f64,
    values: Vec<(String, Tensor)>,
}

const EPOCH: &str = "best/epoch";
const MERIT: &str = "best/merit";
const VALUE: &str = "best/value/";

impl Best {
    /// Keeps an epoch (counted from 0) if it is the best so far.
    pub fn offer(&mut self, epoch: u64, score: Score, values: Vec<(String, Tensor)>) {
        let merit = score.accuracy().unwrap_or(-score.loss);
        // What is no number is worse than anything.
        let merit = if merit.is_nan() { f64::NEG_INFINITY } else { merit };
        if self.found.as_ref().is_none_or(|found| merit > found.merit) {
            self.found = Some(Found { epoch, merit, values });
        }
    }

    /// The best epoch, counted from 0.
    pub fn epoch(&self) -> Option<u64> {
        self.found.as_ref().map(|found| found.epoch)
    }

    /// Parameters and statistics of the best epoch.
    pub fn into_values(self) -> Option<Vec<(String, Tensor)>> {
        self.found.map(|found| found.values)
    }

    /// What has to be saved to go on elsewhere.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let Some(found) = &self.found else { return Vec::new() };
        let mut tensors = vec![
            (EPOCH.to_owned(), Tensor::scalar(found.epoch as i64)),
            (MERIT.to_owned(), Tensor::scalar(found.merit)),
        ];
        tensors.extend(found.values.iter().map(|(name, tensor)| (format!("{VALUE}{name}"), tensor.clone())));
        tensors
    }

    /// From what was saved; `names` are those of parameters and statistics.
    pub fn restore(state: &State, names: &[String]) -> Self {
        let find = |name: &str| state.tensors.iter().find(|(found, _)| found == name).map(|(_, tensor)| tensor);
        let number = |name: &str| find(name)?.to_f64s().ok()?.first().copied();
        let value = |name: &String| Some((name.clone(), find(&format!("{VALUE}{name}"))?.clone()));
        let found = || {
            let values = names.iter().map(value).collect::<Option<Vec<_>>>()?;
            Some(Found { epoch: number(EPOCH)? as u64, merit: number(MERIT)?, values })
        };
        Self { found: found() }
    }
}
