//! Subgraphs of nodes that are kept whole: which values of the outer graph they read, and renaming these inside.
//!
//! The depth of subgraphs is bounded by the recursion limit of the protobuf decoder.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto};

/// Names of the outer graph that the subgraphs of these attributes read, in alphabetical order.
pub(super) fn captures(attributes: &[AttributeProto]) -> Vec<String> {
    let mut free = BTreeSet::new();
    graphs(attributes).for_each(|graph| free.extend(free_names(graph)));
    free.into_iter().map(str::to_owned).collect()
}

/// Whether any attribute holds a graph.
pub(super) fn has_graphs(attributes: &[AttributeProto]) -> bool {
    graphs(attributes).next().is_some()
}

fn graphs(attributes: &[AttributeProto]) -> impl Iterator<Item = &GraphProto> {
    attributes.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

fn free_names(graph: &GraphProto) -> BTreeSet<&str> {
    let mut free: BTreeSet<&str> = graph.output.iter().map(|output| output.name()).collect();
    for node in &graph.node {
        free.extend(node.input.iter().map(String::as_str));
        graphs(&node.attribute).for_each(|inner| free.extend(free_names(inner)));
    }
    let defined: HashSet<&str> = defined_names(graph).collect();
    free.retain(|name| !name.is_empty() && !defined.contains(name));
    free
}

fn defined_names(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().map(|input| input.name());
    let initializers = graph.initializer.iter().map(|tensor| tensor.name());
    let outputs = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str));
    inputs.chain(initializers).chain(graph.sparse_initializer.iter().map(sparse_name)).chain(outputs)
}

/// The name of a sparse initializer: that of its values.
pub(super) fn sparse_name(tensor: &SparseTensorProto) -> &str {
    tensor.values.as_ref().map_or("", |values| values.name())
}

/// Renames values of the outer graph inside the subgraphs of these attributes. An inner value that has one of the new
/// names already gets another, so that it does not hide the outer one.
pub(super) fn rename(attributes: &mut [AttributeProto], names: &HashMap<String, String>) {
    if names.is_empty() {
        return;
    }
    for attribute in attributes {
        attribute
            .g
            .as_deref_mut()
            .into_iter()
            .chain(&mut attribute.graphs)
            .for_each(|graph| rename_graph(graph, names));
    }
}

fn rename_graph(graph: &mut GraphProto, outer: &HashMap<String, String>) {
    let defined: HashSet<String> = defined_names(graph).map(str::to_owned).collect();
    let targets: HashSet<&String> = outer.values().collect();
    let mut names = outer.clone();
    names.retain(|old, _| !defined.contains(old));
    for name in defined.iter().filter(|name| targets.contains(name)) {
        let fresh = (1usize..)
            .map(|number| format!("{name}_inner{number}"))
            .find(|fresh| !defined.contains(fresh) && !targets.contains(fresh))
            .unwrap_or_default();
        names.insert(name.clone(), fresh);
    }
    let apply = |name: &mut String| {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    };
    graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info).for_each(|value| {
        value.name.iter_mut().for_each(apply);
    });
    let sparse = graph.sparse_initializer.iter_mut().filter_map(|tensor| tensor.values.as_mut());
    graph.initializer.iter_mut().chain(sparse).for_each(|tensor| tensor.name.iter_mut().for_each(apply));
    for NodeProto { input, output, attribute, .. } in &mut graph.node {
        input.iter_mut().chain(output).for_each(apply);
        rename(attribute, &names);
    }
}
