//! The samples that pruning is fed with.

use std::collections::BTreeMap;

use slimnet_compress::material::Material;
use slimnet_data::Target;
use slimnet_engine::Threads;
use slimnet_engine::train::{Metric, Source};
use slimnet_graph::graph::Graph;

use crate::arguments::{Global, LossName, Prune};
use crate::commands::{eval, learning};
use crate::failure::{Failure, Result};
use crate::feed::{self, Feed, Opened};
use crate::report::prune::NetworkScores;
use crate::report::train::ScoreReport;

/// The samples of a data set for a network.
pub(super) struct Samples {
    pub opened: Opened,
    pub training: Feed,
    pub validation: Option<Feed>,
    pub test: Option<Feed>,
    /// What is measured, and the name of the output; `None` without labels.
    pub metric: Option<(Metric, String)>,
    pub batch: usize,
    pub lengths: BTreeMap<String, usize>,
}

impl Samples {
    /// Opens the data that the command line names.
    pub fn open(options: &Prune, global: &Global, network: &Graph) -> Result<Option<Self>> {
        let Some(data) = &options.data else { return Ok(None) };
        let mut opened = feed::open(data, network)?;
        let samples = opened.splits.train.len();
        let batch = data.batch.min(samples.max(1));
        let mut dims = data.dims.clone();
        opened.add_lengths(network, &mut dims);
        let labelled = !matches!(opened.splits.train.dataset().target(), Target::None);
        let metric = match options.learning.loss {
            Some(LossName::None) if opened.has_classes() => Some(Metric::Classes),
            Some(LossName::None) => None,
            loss if labelled || loss.is_some() => {
                let output = eval::output(data, network)?;
                Some(eval::metric(loss, &mut opened, network, output)?)
            }
            None | Some(_) => None,
        };
        let name = |metric| -> Result<(Metric, String)> {
            let output = eval::output(data, network)?;
            opened.check_classes(network, output, Some(metric))?;
            Ok((metric, network.value(output).name.clone()))
        };
        let metric = metric.map(name).transpose()?;
        let training = opened.training(batch, global.seed, learning::augmentation(&options.learning))?;
        let validation = &opened.splits.validation;
        let validation = (!validation.is_empty()).then(|| opened.evaluation(validation, batch)).transpose()?;
        let test = opened.splits.test.as_ref().filter(|test| !test.is_empty());
        let test = test.map(|test| opened.evaluation(test, batch)).transpose()?;
        let lengths = dims.into_iter().collect();
        Ok(Some(Self { opened, training, validation, test, metric, batch, lengths }))
    }

    /// The same for techniques.
    pub fn material<'a>(&'a self, threads: &'a Threads) -> Material<'a> {
        Material {
            training: Some(&self.training),
            validation: self.validation.as_ref().map(|feed| feed as &dyn Source),
            batch: self.batch,
            metric: self.metric.as_ref().map(|(metric, name)| (*metric, name.as_str())),
            lengths: &self.lengths,
            threads,
        }
    }

    /// Refuses what needs labels where there are none.
    pub fn require_labels(&self, what: &str) -> Result<()> {
        if self.metric.is_some() {
            return Ok(());
        }
        let data = &self.opened.splits.name;
        Err(Failure::usage(&format!("{what} needs labels or targets, and the data {data:?} has none")))
    }
}

impl NetworkScores {
    /// Measures a network on all that is held out.
    pub(super) fn measure(
        network: &'static str,
        graph: &Graph,
        samples: Option<&Samples>,
        material: &Material<'_>,
    ) -> Result<Self> {
        let held_out = samples.map_or([None, None], |samples| [samples.validation.as_ref(), samples.test.as_ref()]);
        let mut scores = Vec::new();
        for (part, feed) in ["validation", "test"].into_iter().zip(held_out) {
            let Some(feed) = feed else { continue };
            let score = material.score_on(graph, feed);
            let score =
                score.map_err(|error| Failure::new(&format!("cannot evaluate on the {part} samples"), &error))?;
            scores.extend(score.map(|score| ScoreReport::of(part, score)));
        }
        Ok(Self { network, scores })
    }
}
