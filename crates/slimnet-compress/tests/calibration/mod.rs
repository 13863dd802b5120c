//! Random images to mend and measure networks on.
#![allow(dead_code)] // each test takes what it needs

use std::collections::{BTreeMap, HashMap};

use slimnet_compress::recover::Calibration;
use slimnet_engine::train::statistics::Measurement;
use slimnet_engine::train::{Batch, Source, SourceError};
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::graph::Graph;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

/// Samples of a batch.
pub const BATCH: usize = 8;

/// Batches of random images `[8, 3, 6, 6]` for the input `input`.
pub struct Images(pub usize);

impl Default for Images {
    fn default() -> Self {
        Self(24)
    }
}

impl Images {
    fn batch(index: usize) -> Batch {
        let normal = Distribution::Normal { mean: 0.3, deviation: 1.0 };
        let x = tensor(ElementType::F32, vec![BATCH, 3, 6, 6], Stream::new(9, index as u64), normal).unwrap();
        Batch { values: vec![("input".into(), x)], samples: BATCH }
    }
}

impl Source for Images {
    fn batches_per_epoch(&self) -> usize {
        self.0
    }

    fn epoch(&self, _epoch: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch, SourceError>> + '_> {
        Box::new((first..self.0).map(|index| Ok(Self::batch(index))))
    }
}

/// All batches, all places, next to no ridge.
pub fn calibration() -> Calibration {
    let data = Measurement { batch: BATCH, batches: usize::MAX, lengths: BTreeMap::new() };
    Calibration { data, rows: usize::MAX / 2, ridge: 1e-7, most_features: 2500 }
}

/// What a network computes on all batches.
fn outputs(graph: &Graph, images: &Images) -> Vec<f64> {
    let all: Vec<f32> = (0..images.0)
        .flat_map(|index| Images::batch(index).values[0].1.values::<f32>().unwrap().into_owned())
        .collect();
    let input = graph.inputs()[0];
    let data = Tensor::from_values(vec![images.0 * BATCH, 3, 6, 6], all).unwrap();
    let results = evaluate_graph(graph, &HashMap::from([(input, data)]), 1 << 28).unwrap();
    graph.outputs().iter().flat_map(|output| results[output].to_f64s().unwrap()).collect()
}

/// Root of the mean squared distance of two networks' outputs as a part of the deviation of the second's, each element
/// of a sample's output about its own mean.
pub fn output_distance(graph: &Graph, original: &Graph, images: &Images) -> f64 {
    let (found, expected) = (outputs(graph, images), outputs(original, images));
    assert_eq!(found.len(), expected.len());
    let samples = images.0 * BATCH;
    let columns = expected.len() / samples;
    let mean = |column: usize| expected.iter().skip(column).step_by(columns).sum::<f64>() / samples as f64;
    let means: Vec<f64> = (0..columns).map(mean).collect();
    let error: f64 = found.iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum();
    let variance: f64 = expected.iter().enumerate().map(|(index, b)| (b - means[index % columns]).powi(2)).sum();
    (error / variance).sqrt()
}
