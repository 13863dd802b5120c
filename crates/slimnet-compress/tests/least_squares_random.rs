//! Mending never makes a layer worse, in any topology.

#[allow(dead_code, unused_imports)] // only its networks are needed
#[path = "../../slimnet-graph/tests/axes_support/mod.rs"]
mod axes_support;
mod calibration;

use std::collections::BTreeSet;

use axes_support::{Random, network};
use calibration::{Images, calibration, output_distance};
use slimnet_compress::recover::{Before, Calibration, least_squares};
use slimnet_engine::Threads;
use slimnet_graph::axes::{CoupleOptions, GroupId, couple, remove};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::validate::validate;

#[test]
fn errors_never_grow() {
    let threads = Threads::new(2).unwrap();
    let (mut mended_layers, mut left_out, mut outputs) = (0, 0, 0);
    for seed in 0..120 {
        let mut graph = network(seed);
        infer_graph(&mut graph).unwrap();
        let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
        let mut random = Random::new(seed);
        let mut removed: BTreeSet<GroupId> = BTreeSet::new();
        for axis in coupling.axes() {
            let units = coupling.units(axis, |_| 0.0);
            let count = if units.is_empty() { 0 } else { random.below(units.len()).min(2) };
            removed.extend(units.into_iter().take(count).flatten());
        }
        let mut pruned = graph.clone();
        if removed.is_empty() || remove(&mut pruned, &coupling, &removed).is_err() {
            continue;
        }
        let before = Before { network: &graph, coupling: &coupling, removed: &removed };
        let options = Calibration { ridge: 1e-3, ..calibration() };
        let report = least_squares(&mut pruned, &before, &Images(6), &options, &threads).unwrap();
        validate(&pruned).unwrap();
        for layer in &report.layers {
            assert!(layer.error[1] <= layer.error[0], "seed {seed}: {layer:?}");
        }
        mended_layers += report.layers.len();
        left_out += report.left_out.len();
        // Where the last layer is the output, what the report says of it is what is there.
        let last = report.layers.last();
        let is_output = last.is_some_and(|layer| {
            let weight = pruned.find_value(&layer.weight).unwrap();
            let reader = pruned.value(weight).readers().next().unwrap().node;
            pruned.outputs().iter().any(|&output| pruned.value(output).producer() == Some(reader))
        });
        if let Some(last) = last.filter(|_| is_output) {
            let (found, said) = (output_distance(&pruned, &graph, &Images(6)).powi(2), last.error[1]);
            assert!((found - said).abs() <= 0.01 * said + 1e-6, "seed {seed}: {found} is left, {said} was said");
            outputs += 1;
        }
    }
    assert!(mended_layers > 150 && left_out > 10 && outputs > 30, "{mended_layers} {left_out} {outputs}");
}
