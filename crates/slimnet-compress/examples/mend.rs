//! What closed-form recovery gives back: a part of the removable neurons of every axis goes, the smallest first, and
//! the accuracy is measured with and without mending, without any training.
//!
//! `cargo run --release -p slimnet-compress --example mend -- NET.onnx DATA [DATA_DIR] [PART] [BATCHES] [RIDGE]`

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use slimnet_compress::recover::{Before, Calibration, least_squares};
use slimnet_data::{Augmentation, Loader, LoaderOptions, OpenOptions, Preprocessing, Split};
use slimnet_engine::Threads;
use slimnet_engine::train::evaluate::Metric;
use slimnet_engine::train::statistics::{Measurement, reestimate_batch_norm};
use slimnet_engine::train::{Batch, Evaluator, Source, SourceError};
use slimnet_graph::axes::{CoupleOptions, Coupling, GroupId, couple, remove};
use slimnet_graph::graph::Graph;
use slimnet_graph::onnx::read_file;
use slimnet_graph::simplify::{SimplifyOptions, simplify};
use slimnet_graph::tensor::Tensor;

/// Batches for a network with one input.
struct Feed {
    loader: Loader,
    input: String,
}

impl Feed {
    fn new(split: &Split, options: LoaderOptions, input: &str) -> Self {
        Self { loader: Loader::new(split.clone(), options).unwrap(), input: input.to_owned() }
    }

    fn batch(&self, samples: &slimnet_data::Batch) -> Result<Batch, SourceError> {
        let array = &samples.inputs()[0];
        let images = Tensor::from_values(array.shape.clone(), array.values.clone())?;
        let labels = Tensor::vector(samples.labels().unwrap_or_default().to_vec());
        Ok(Batch { values: vec![(self.input.clone(), images), ("labels".into(), labels)], samples: samples.len() })
    }
}

impl Source for Feed {
    fn batches_per_epoch(&self) -> usize {
        self.loader.batches_per_epoch()
    }

    fn epoch(&self, epoch: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch, SourceError>> + '_> {
        Box::new(self.loader.epoch(epoch, first).map(|samples| self.batch(&samples?)))
    }
}

/// L1 norm of what computes a group's positions.
fn magnitude(graph: &Graph, coupling: &Coupling, group: GroupId) -> f64 {
    let slices = coupling.slices(group).iter();
    let norm = |slice: &slimnet_graph::axes::Slice| {
        let data = graph.value(slice.value).data.as_ref().unwrap();
        let values = data.to_f64s().unwrap();
        let cover = &coupling.covers(slice.value)[slice.cover];
        let &[axis] = cover.axes.as_slice() else { return 0.0 };
        let inner: usize = data.shape()[axis + 1..].iter().product();
        let length = data.shape()[axis];
        let own = values.iter().enumerate().filter(|(index, _)| slice.positions.contains(&(index / inner % length)));
        own.map(|(_, value)| value.abs()).sum()
    };
    slices.map(norm).sum()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |index: usize, default: &str| arguments.get(index).map_or(default.to_owned(), Clone::clone);
    let part: f64 = text(3, "0.3").parse().unwrap();
    let batches: usize = text(4, "8").parse().unwrap();
    let ridge: f64 = text(5, "1e-3").parse().unwrap();
    let threads = Threads::new(0).unwrap();
    let mut graph = read_file(Path::new(&text(0, ""))).unwrap();
    simplify(&mut graph, &SimplifyOptions::default()).unwrap();
    let data_dir = arguments.get(2).map(|folder| Path::new(folder).to_owned());
    let open = OpenOptions { data_dir, ..OpenOptions::default() };
    let splits = slimnet_data::Source::parse(&text(1, "digits")).unwrap().open(&open).unwrap();
    let input = graph.value(graph.free_inputs().next().unwrap()).name.clone();
    let mut preprocessing =
        Preprocessing::from_metadata(&graph.model.metadata).unwrap().unwrap_or(splits.preprocessing);
    for (key, value) in arguments.iter().skip(6).filter_map(|pair| pair.split_once('=')) {
        preprocessing.set(key, value).unwrap();
    }
    let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
    let mut removed = BTreeSet::new();
    for axis in coupling.axes() {
        let units = coupling.units(axis, |group| magnitude(&graph, &coupling, group));
        let count = ((units.len() as f64 * part).round() as usize).min(units.len().saturating_sub(1));
        removed.extend(units.into_iter().take(count).flatten());
    }
    let mut pruned = graph.clone();
    remove(&mut pruned, &coupling, &removed).unwrap();
    let accuracy = |graph: &Graph| {
        let output = graph.outputs()[0];
        let mut evaluator = Evaluator::new(graph.clone(), output, Metric::Classes, BTreeMap::new(), &[]).unwrap();
        let test = splits.test.as_ref().unwrap_or(&splits.validation);
        let feed = Feed::new(test, LoaderOptions::evaluation(250, preprocessing.clone()), &input);
        evaluator.evaluate(feed.epoch(0, 0), &threads).unwrap().accuracy().unwrap()
    };
    let loader = LoaderOptions::training(64, 0, preprocessing.clone(), Augmentation::default());
    let feed = Feed::new(&splits.train, loader, &input);
    let data = Measurement { batch: 64, batches, lengths: BTreeMap::new() };
    let normalized = |graph: &Graph| {
        let mut graph = graph.clone();
        reestimate_batch_norm(&mut graph, &feed, &data, &threads).unwrap();
        accuracy(&graph)
    };
    println!("original                {:6.2} %", accuracy(&graph));
    println!("  normalised anew       {:6.2} %", normalized(&graph));
    println!("removed                 {:6.2} %", accuracy(&pruned));
    println!("  normalised anew       {:6.2} %", normalized(&pruned));
    let start = Instant::now();
    let before = Before { network: &graph, coupling: &coupling, removed: &removed };
    let options = Calibration { data: data.clone(), ridge, ..Calibration::default() };
    let mended = least_squares(&mut pruned, &before, &feed, &options, &threads).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("  least squares         {:6.2} %  ({seconds:.1} s)", accuracy(&pruned));
    println!("  both                  {:6.2} %", normalized(&pruned));
    for layer in &mended.layers {
        let [before, after] = layer.error.map(|error| 100.0 * error);
        println!("{:40} {before:8.2} % → {after:6.2} % of the variance", layer.weight);
    }
    for left in &mended.left_out {
        println!("{:40} left as it is: {}", left.weight, left.reason);
    }
}
