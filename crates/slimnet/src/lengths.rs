//! Lengths for dimensions that a network only names.

use std::collections::{BTreeMap, BTreeSet};

use slimnet_graph::infer::infer_graph;
use slimnet_graph::{Dim, Graph};

use crate::failure::{Failure, Result};

/// Names of the lengths of the inputs, each with the one that is taken where nothing else is told: 1 for the first axis
/// (the batch), 64 for the height and width of an image, else 8. A window does not fit into an image of one pixel.
pub fn defaults(graph: &Graph) -> BTreeMap<String, usize> {
    let mut lengths = BTreeMap::new();
    for input in graph.free_inputs().map(|input| graph.value(input)) {
        let shape = input.shape.as_deref().unwrap_or_default();
        for (axis, dim) in shape.iter().enumerate() {
            let length = match (axis, shape.len()) {
                (0, _) => 1,
                (2.., 4..) => 64,
                _ => 8,
            };
            for name in dim.names() {
                lengths.entry(name.to_owned()).or_insert(length);
            }
        }
    }
    lengths
}

/// Refuses lengths (given by `--dim`) of dimensions that no input has.
pub fn check<'a>(graph: &Graph, given: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let known: BTreeSet<String> = defaults(graph).into_keys().collect();
    let Some(unknown) = given.into_iter().find(|name| !known.contains(*name)) else { return Ok(()) };
    let names: Vec<_> = known.into_iter().filter(|name| !name.starts_with('?')).collect();
    let known = if names.is_empty() { "it names none".to_owned() } else { names.join(", ") };
    Err(Failure::usage(&format!("--dim: no input has a dimension {unknown:?}; named are: {known}")))
}

/// The network with these dimensions of its inputs fixed, to count what it costs at this size.
pub fn fix(graph: &Graph, given: &BTreeMap<String, usize>) -> Result<Graph> {
    check(graph, given.keys())?;
    let mut fixed = graph.clone();
    if given.is_empty() {
        return Ok(fixed);
    }
    for input in graph.free_inputs() {
        for dim in fixed.value_mut(input).shape.iter_mut().flatten() {
            let number = |name: &str| given.get(name).and_then(|&length| i64::try_from(length).ok());
            if let (Some(length), true) = (dim.at(number), dim.known().is_none()) {
                *dim = Dim::from(length);
            }
        }
    }
    // What was inferred for other values speaks of the names.
    let computed: Vec<_> = fixed.values().filter(|(_, value)| value.producer().is_some()).map(|(id, _)| id).collect();
    for id in computed {
        fixed.value_mut(id).shape = None;
    }
    infer_graph(&mut fixed).map_err(|error| Failure::new("the network cannot have inputs of this size", &error))?;
    Ok(fixed)
}
