//! What is trained.

use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::ops::Role;
use slimnet_graph::roles::roles;
use slimnet_graph::tensor::ElementType;

use super::{JobError, JobOptions};

/// Whether a name is what a pattern says: itself, or what begins with the part before a `*` at the end.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

/// The `float32` data that is trained: parameters that are not frozen, and what is named to be trained.
pub(super) fn parameters(graph: &Graph, options: &JobOptions) -> Result<Vec<ValueId>, JobError> {
    let roles = roles(graph);
    let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| matches(pattern, name));
    let float = |id: ValueId| {
        let data = graph.value(id).data.as_ref();
        data.is_some_and(|data| data.element_type() == ElementType::F32 && !data.is_empty())
    };
    for (setting, patterns) in [("train", &options.train), ("freeze", &options.freeze)] {
        for pattern in patterns {
            let named =
                |(id, value): (ValueId, &slimnet_graph::graph::Value)| float(id) && matches(pattern, &value.name);
            if !graph.values().any(named) {
                return Err(JobError::Pattern { setting, pattern: pattern.clone() });
            }
        }
    }
    let trained = |id: ValueId| {
        let name = &graph.value(id).name;
        let role = roles[id.index()];
        // Statistics follow the data, not the gradient.
        let may = float(id) && role != Some(Role::Statistic);
        may && (any(&options.train, name) || (role == Some(Role::Parameter) && !any(&options.freeze, name)))
    };
    let found: Vec<_> = graph.values().map(|(id, _)| id).filter(|&id| trained(id)).collect();
    if found.is_empty() { Err(JobError::NoParameters) } else { Ok(found) }
}
