//! Taking a whole graph into another.

use std::collections::HashMap;

use slimnet_graph::graph::{Graph, GraphError, Value, ValueId};

/// Adds the nodes and values of `part` to `graph`, their names behind `prefix`; `inputs` says which value of `graph`
/// stands for each free input. Returns which value stands for each value of `part`.
pub(super) fn merge(
    graph: &mut Graph,
    part: &Graph,
    prefix: &str,
    inputs: &HashMap<ValueId, ValueId>,
) -> Result<HashMap<ValueId, ValueId>, GraphError> {
    let mut places = inputs.clone();
    for (id, value) in part.values() {
        if places.contains_key(&id) {
            continue;
        }
        let name = graph.fresh_name(&format!("{prefix}{}", value.name));
        // Shapes are inferred anew: dimensions have the names of the inputs of `graph`.
        let copy = match &value.data {
            Some(data) => Value::with_data(&name, data.clone()),
            None => Value::new(&name),
        };
        places.insert(id, graph.add_value(copy)?);
    }
    for (_, node) in part.nodes() {
        let place = |values: &[Option<ValueId>]| values.iter().map(|value| value.map(|value| places[&value])).collect();
        let (inputs, outputs) = (place(node.inputs()), place(node.outputs()));
        graph.add_node(&format!("{prefix}{}", node.name), node.op.clone(), inputs, outputs)?;
    }
    Ok(places)
}
