//! Networks with zeros in their weights.

use slimnet_compress::Constraint;
use slimnet_compress::constraint::{Pattern, record};
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::ops::Role;
use slimnet_graph::roles::roles;
use slimnet_graph::tensor::Tensor;
use slimnet_graph::zoo::random::Stream;

/// What is recorded.
pub const SPARSE: Constraint = Constraint::Sparse(Pattern::Single);

/// Sets this part of each weight (a parameter of two axes or more) to 0 and records it. Returns how many there are.
pub fn prune(graph: &mut Graph, part: f64, seed: u64) -> usize {
    let roles = roles(graph);
    let weight = |id: &ValueId| {
        let data = graph.value(*id).data.as_ref();
        roles[id.index()] == Some(Role::Parameter) && data.is_some_and(|data| data.rank() >= 2)
    };
    let weights: Vec<ValueId> = graph.values().map(|(id, _)| id).filter(weight).collect();
    let mut pruned = 0;
    for &id in &weights {
        let value = graph.value(id);
        let Some(data) = value.data.as_ref().filter(|data| data.values::<f32>().is_ok()) else { continue };
        let stream = Stream::named(seed, &value.name);
        let zeroed = |(index, &weight): (usize, &f32)| if stream.uniform(index as u64) < part { 0.0 } else { weight };
        let values = data.values::<f32>().unwrap().iter().enumerate().map(zeroed).collect();
        let data = Tensor::from_values(data.shape().to_vec(), values).unwrap();
        graph.set_data(id, data);
        record(graph, id, SPARSE);
        pruned += 1;
    }
    pruned
}
