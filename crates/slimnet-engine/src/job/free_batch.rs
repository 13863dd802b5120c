//! Networks that were exported for a fixed number of samples.

use std::collections::BTreeMap;

use slimnet_graph::Op;
use slimnet_graph::graph::{Dim, Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::tensor::Tensor;
use slimnet_graph::zoo::random::Stream;

use super::mode::evaluation_meaning;
use crate::kernels::Context;
use crate::plan::{Plan, PlanOptions};
use crate::train::evaluate::batch_lengths;

/// Seed of the samples that tell whether a freed network keeps them apart.
const FREED: u64 = 0x0f_eed0;

/// The number of samples that the network's inputs are fixed to, if they are.
pub fn fixed_batch(graph: &Graph) -> Option<usize> {
    graph.free_inputs().find_map(|input| graph.value(input).shape.as_ref()?.first()?.known())
}

/// The network for any number of samples, if it was exported for a fixed one and only its declared shapes and its reshapes
/// say so; `None` if it has no fixed number, or other nodes depend on it.
pub fn free_batch(network: &Graph) -> Option<Graph> {
    let fixed = fixed_batch(network)?;
    let mut graph = network.clone();
    infer_graph(&mut graph).ok()?;
    let before: Vec<_> = graph.values().map(|(id, value)| (id, value.shape.clone())).collect();
    let name = graph.fresh_name("batch");
    let inputs: Vec<_> = graph.free_inputs().collect();
    for input in inputs {
        let first = graph.value_mut(input).shape.as_mut()?.first_mut()?;
        if first.known() != Some(fixed) {
            return None;
        }
        *first = Dim::named(&name);
    }
    let reshapes: Vec<_> =
        graph.nodes().filter(|(_, node)| matches!(node.op, Op::Reshape(_))).map(|(id, _)| id).collect();
    for id in reshapes {
        let Some(mut lengths) = graph.input_data(id, 1).and_then(|data| data.to_i64s().ok()) else { continue };
        if lengths.first() != Some(&(fixed as i64)) {
            continue;
        }
        // 0 takes the length of the same axis of the input; that is the batch too, or the shapes below do not come out.
        lengths[0] = if lengths.contains(&-1) { 0 } else { -1 };
        let lengths = graph.add_constant("shape", Tensor::vector(lengths));
        graph.set_input(id, 1, Some(lengths));
    }
    let computed: Vec<_> = graph.values().filter(|(_, value)| value.producer().is_some()).map(|(id, _)| id).collect();
    for id in computed {
        graph.value_mut(id).shape = None;
    }
    infer_graph(&mut graph).ok()?;
    // With the number that it had, every shape must be what it was: else a length was changed that was not the batch.
    let number = |found: &str| (found == name).then_some(fixed as i64);
    let at_fixed = |dim: &Dim| {
        dim.at(number).and_then(|length| usize::try_from(length).ok()).map_or_else(|| dim.clone(), Dim::from)
    };
    let same = |(id, shape): &(ValueId, Option<Vec<Dim>>)| {
        let now = graph.value(*id).shape.as_ref().map(|shape| shape.iter().map(at_fixed).collect::<Vec<_>>());
        now == *shape
    };
    if !before.iter().all(same) {
        return None;
    }
    let batch = Dim::named(&name);
    let follows = |&output: &_| graph.value(output).shape.as_ref().and_then(|shape| shape.first()) == Some(&batch);
    let follow = graph.outputs().iter().all(follows);
    (follow && samples_stay_apart(network, &graph, fixed)).then_some(graph)
}

/// Whether the freed network computes of two batches at once what the network computes of each: it may compute over the axis
/// of the samples, which was no matter as long as that had one place.
fn samples_stay_apart(network: &Graph, freed: &Graph, fixed: usize) -> bool {
    let outputs = |graph: &Graph, samples: usize, first: usize| {
        let mut graph = graph.clone();
        evaluation_meaning(&mut graph).ok()?;
        infer_graph(&mut graph).ok()?;
        // Other axes that are only named are as long as is needed for a difference to show.
        let mut lengths = batch_lengths(&graph, samples, &BTreeMap::new());
        let dims = graph.free_inputs().filter_map(|input| graph.value(input).shape.clone()).flatten();
        for dim in dims.collect::<Vec<_>>() {
            for name in dim.names() {
                lengths.entry(name.to_owned()).or_insert(8);
            }
        }
        let mut plan = Plan::new(&graph, &PlanOptions { lengths, ..PlanOptions::default() }).ok()?;
        for (number, input) in graph.free_inputs().enumerate() {
            let (element_type, shape) = plan.value_type(input);
            let each = shape[1..].iter().product::<usize>();
            let stream = Stream::new(FREED, number as u64);
            let place = |element: usize| (first * each + element) as u64;
            let float = element_type.is_float();
            let value = |element| {
                if float { stream.normal(place(element)) } else { stream.below(place(element), 2) as f64 }
            };
            let values = (0..samples * each).map(value).collect();
            let tensor = Tensor::from_f64s(element_type, shape.to_vec(), values).ok()?;
            plan.set(input, &tensor).ok()?;
        }
        plan.run(Context::default()).ok()?;
        graph.outputs().iter().map(|&output| plan.tensor(output).ok()?.to_f64s().ok()).collect::<Option<Vec<_>>>()
    };
    let found = || {
        let (both, one, two) =
            (outputs(freed, 2 * fixed, 0)?, outputs(network, fixed, 0)?, outputs(network, fixed, fixed)?);
        let apart = |((both, one), two): ((&Vec<f64>, Vec<f64>), Vec<f64>)| {
            let expected = [one, two].concat();
            let size = expected.iter().fold(0f64, |size, value| size.max(value.abs()));
            // NaN is no equality.
            let equal = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-4 * size;
            both.len() == expected.len() && both.iter().zip(&expected).all(equal)
        };
        Some(both.iter().zip(one).zip(two).all(apart))
    };
    found().unwrap_or(false)
}
