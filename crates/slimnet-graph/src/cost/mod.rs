//! What a network costs: parameters, multiply-accumulate operations, bytes.

mod macs;
mod nonzero;

use std::collections::HashMap;

use crate::graph::{Dim, Graph, GraphError, NodeId, ValueId};
use crate::roles::{Role, passes_data, roles};
use crate::tensor::ElementType;

/// What cost is counted at.
#[derive(Debug, Clone, Default)]
pub struct CostOptions {
    /// Lengths of named dimensions, such as a batch `N`. Names of the inputs' shapes that are not here count as 1.
    pub dims: HashMap<String, usize>,
}

/// Why cost cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// A number does not fit in 64 bits.
    #[error("{node}: its cost does not fit in 64 bits")]
    TooLarge {
        /// The node, or what else it is that costs so much.
        node: String,
    },
    /// The nodes have no order.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Cost of a node. What is `None` depends on a length that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCost {
    /// The node.
    pub node: NodeId,
    /// Elements of the parameters that it is the first to use.
    pub parameters: u64,
    /// Those of them that do not stand for 0.
    pub nonzero_parameters: u64,
    /// Elements of the statistics that it is the first to use.
    pub statistics: u64,
    /// Bytes of these parameters and statistics.
    pub weight_bytes: u64,
    /// Multiply-accumulate operations.
    pub macs: Option<u64>,
    /// Bytes of what it computes.
    pub output_bytes: Option<u64>,
}

/// Cost of a graph.
///
/// - A parameter that several nodes share counts once, at the first node that uses it. What only passes it on (Identity,
///   Transpose, `DequantizeLinear`, …) does not use it. See [`crate::roles`] for what is a parameter.
/// - MACs are those of convolutions, matrix products (Gemm, `MatMul`, Einsum, attention's too), recurrent layers and their
///   integer forms; one for each product of two elements that is added up, padding included, bias additions not. All
///   other operators count 0. Nodes that depend on no input of the graph count 0 too: runtimes compute them once, when
///   they load the network.
/// - Activations live from the node that computes them to their last reader, in the order of [`Graph::schedule`]; inputs
///   and outputs of the graph belong to the caller, so that inputs live all the time and outputs to the end. Each value has
///   memory of its own: nothing is computed in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Of each node, in the order of execution.
    pub nodes: Vec<NodeCost>,
    /// Elements of all parameters.
    pub parameters: u64,
    /// Those that do not stand for 0.
    pub nonzero_parameters: u64,
    /// Elements of all statistics.
    pub statistics: u64,
    /// Bytes of all parameters and statistics.
    pub weight_bytes: u64,
    /// MACs of all nodes of which they are known.
    pub macs: u64,
    /// Nodes whose MACs are not known: they are missing in the sum.
    pub unknown_macs: Vec<NodeId>,
    /// Most bytes of activations that live at once; `None` if a length is not known.
    pub peak_activation_bytes: Option<u64>,
}

/// A number does not fit in 64 bits.
struct Overflow;

/// Product, 0 if one factor is.
fn product(factors: &[u64]) -> Result<u64, Overflow> {
    if factors.contains(&0) {
        return Ok(0);
    }
    factors.iter().try_fold(1u64, |product, &factor| product.checked_mul(factor)).ok_or(Overflow)
}

fn sum(terms: impl IntoIterator<Item = u64>) -> Result<u64, Overflow> {
    terms.into_iter().try_fold(0u64, u64::checked_add).ok_or(Overflow)
}

/// Counts the cost of a graph whose values have the shapes that [`crate::infer::infer_graph`] gives them.
///
/// # Errors
/// If the graph has a cycle or a number does not fit in 64 bits.
pub fn cost(graph: &Graph, options: &CostOptions) -> Result<Cost, CostError> {
    let schedule = graph.schedule()?;
    let counter = Counter::new(graph, options, &schedule);
    let owned = counter.owned_data(&schedule);
    let too_large = |node: String| move |Overflow| CostError::TooLarge { node };
    let mut nodes = Vec::with_capacity(schedule.len());
    for &node in &schedule {
        let data = owned.get(&node).map_or(&[][..], Vec::as_slice);
        nodes.push(counter.node(node, data).map_err(too_large(graph.describe_node(node)))?);
    }
    let of_all = |part: fn(&NodeCost) -> u64| sum(nodes.iter().map(part)).map_err(too_large("the network".into()));
    Ok(Cost {
        parameters: of_all(|node| node.parameters)?,
        nonzero_parameters: of_all(|node| node.nonzero_parameters)?,
        statistics: of_all(|node| node.statistics)?,
        weight_bytes: of_all(|node| node.weight_bytes)?,
        macs: of_all(|node| node.macs.unwrap_or(0))?,
        unknown_macs: nodes.iter().filter(|node| node.macs.is_none()).map(|node| node.node).collect(),
        peak_activation_bytes: counter.peak(&schedule).map_err(too_large("the network".into()))?,
        nodes,
    })
}

struct Counter<'a> {
    graph: &'a Graph,
    lengths: HashMap<&'a str, i64>,
    /// By value: whether it depends on what a caller gives.
    varies: Vec<bool>,
}

impl<'a> Counter<'a> {
    fn new(graph: &'a Graph, options: &'a CostOptions, schedule: &[NodeId]) -> Self {
        let mut varies = vec![false; graph.value_bound()];
        let mut lengths = HashMap::new();
        for input in graph.free_inputs() {
            varies[input.index()] = true;
            let names = graph.value(input).shape.iter().flatten().flat_map(Dim::names);
            lengths.extend(names.filter(|name| !name.starts_with('?')).map(|name| (name, 1)));
        }
        let given =
            options.dims.iter().filter_map(|(name, &length)| Some((name.as_str(), i64::try_from(length).ok()?)));
        lengths.extend(given);
        for &id in schedule {
            let node = graph.node(id);
            // What is not understood may be random, or read something else.
            let any = node.op.other().is_some() || node.inputs().iter().flatten().any(|input| varies[input.index()]);
            for output in node.outputs().iter().flatten() {
                varies[output.index()] = any;
            }
        }
        Self { graph, lengths, varies }
    }

    /// Parameters and statistics by the node that they are counted at, with whether they are parameters.
    fn owned_data(&self, schedule: &[NodeId]) -> HashMap<NodeId, Vec<(ValueId, bool)>> {
        let mut place = vec![usize::MAX; self.graph.node_bound()];
        for (index, node) in schedule.iter().enumerate() {
            place[node.index()] = index;
        }
        let mut owned: HashMap<_, Vec<_>> = HashMap::new();
        let roles = roles(self.graph);
        for (value, _) in self.graph.values() {
            let Some(role) = roles[value.index()].filter(|&role| role != Role::Constant) else { continue };
            let mut reached = value;
            let owner = loop {
                let readers = self.graph.value(reached).readers();
                let Some(first) = readers.min_by_key(|reader| place[reader.node.index()]) else { break None };
                let node = self.graph.node(first.node);
                match node.output(0).filter(|&output| {
                    first.slot == 0 && passes_data(&node.op) && self.graph.value(output).readers().len() > 0
                }) {
                    Some(output) => reached = output,
                    None => break Some(first.node),
                }
            };
            if let Some(owner) = owner {
                owned.entry(owner).or_default().push((value, role == Role::Parameter));
            }
        }
        owned
    }

    fn node(&self, id: NodeId, data: &[(ValueId, bool)]) -> Result<NodeCost, Overflow> {
        let node = self.graph.node(id);
        let mut cost = NodeCost {
            node: id,
            parameters: 0,
            nonzero_parameters: 0,
            statistics: 0,
            weight_bytes: 0,
            macs: Some(0),
            output_bytes: Some(0),
        };
        for &(value, is_parameter) in data {
            let Some(tensor) = &self.graph.value(value).data else { continue };
            let count = tensor.len() as u64;
            if is_parameter {
                cost.parameters = sum([cost.parameters, count])?;
                cost.nonzero_parameters = sum([cost.nonzero_parameters, nonzero::count(self.graph, value, tensor)])?;
            } else {
                cost.statistics = sum([cost.statistics, count])?;
            }
            cost.weight_bytes = sum([cost.weight_bytes, tensor.byte_len() as u64])?;
        }
        let outputs = || node.outputs().iter().flatten();
        if outputs().any(|output| self.varies[output.index()]) {
            cost.macs = macs::count(&node.op, node.inputs().len(), &|slot| self.shape(node.input(slot)?), &|| {
                self.shape(node.output(0)?)
            })?;
        }
        for &output in outputs() {
            cost.output_bytes = match (cost.output_bytes, self.bytes(output)?) {
                (Some(bytes), Some(more)) => Some(sum([bytes, more])?),
                _ => None,
            };
        }
        Ok(cost)
    }

    fn shape(&self, value: ValueId) -> Option<Vec<u64>> {
        let shape = self.graph.value(value).shape.as_ref()?;
        let length = |dim: &Dim| u64::try_from(dim.at(|name| self.lengths.get(name).copied())?).ok();
        shape.iter().map(length).collect()
    }

    fn bytes(&self, value: ValueId) -> Result<Option<u64>, Overflow> {
        let bits = self.graph.value(value).element_type.and_then(ElementType::bits);
        let (Some(shape), Some(bits)) = (self.shape(value), bits) else { return Ok(None) };
        let count = product(&shape)?;
        let bits = u128::from(count) * bits as u128;
        u64::try_from(bits.div_ceil(8)).map(Some).map_err(|_| Overflow)
    }

    fn peak(&self, schedule: &[NodeId]) -> Result<Option<u64>, Overflow> {
        let mut bytes = vec![0; self.graph.value_bound()];
        for (id, _) in self.graph.values().filter(|(id, _)| self.varies[id.index()]) {
            let Some(size) = self.bytes(id)? else { return Ok(None) };
            bytes[id.index()] = size;
        }
        let mut waiting = vec![0usize; bytes.len()];
        for (id, value) in self.graph.values() {
            waiting[id.index()] = value.readers().len();
        }
        // The caller's: never freed.
        for id in self.graph.free_inputs().chain(self.graph.outputs().iter().copied()) {
            waiting[id.index()] = usize::MAX;
        }
        let mut live = sum(self.graph.free_inputs().map(|input| bytes[input.index()]))?;
        let mut peak = live;
        for &id in schedule {
            let node = self.graph.node(id);
            let outputs = || node.outputs().iter().flatten().map(|output| output.index());
            live = sum(outputs().map(|output| bytes[output]).chain([live]))?;
            peak = peak.max(live);
            for input in node.inputs().iter().flatten().map(|input| input.index()) {
                waiting[input] = waiting[input].saturating_sub(1);
                if waiting[input] == 0 {
                    live -= bytes[input];
                }
            }
            live -= outputs().filter(|&output| waiting[output] == 0).map(|output| bytes[output]).sum::<u64>();
        }
        Ok(Some(peak))
    }
}
