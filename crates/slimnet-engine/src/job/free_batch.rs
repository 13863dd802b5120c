//! Networks that were exported for a fixed number of samples.

use slimnet_graph::Op;
use slimnet_graph::graph::{Dim, Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::tensor::Tensor;

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
    graph.outputs().iter().all(follows).then_some(graph)
}
