//! Where the time of a run goes, node by node.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use slimnet_graph::cost::Cost;
use slimnet_graph::{Graph, NodeId, Op};

use crate::failure::Result;
use crate::measure::{Budget, Workload, milliseconds};
use crate::report::bench::{NodeTime, OperatorTime, OperatorsReport, Spread};
use crate::report::layer;

/// More runs node by node take memory and say nothing new.
const MOST_RUNS: usize = 1000;

/// What nodes are called in reports, and their MACs where they are counted.
pub struct Labels(HashMap<NodeId, (String, String, Option<u64>)>);

impl Labels {
    /// Those of a graph.
    pub fn new(graph: &Graph, cost: &Cost) -> Self {
        let macs: HashMap<_, _> = cost.nodes.iter().filter_map(|node| Some((node.node, node.macs?))).collect();
        let label = |(id, name): (NodeId, String)| {
            let operator = match &graph.node(id).op {
                Op::Gradient(gradient) => format!("{} (gradient)", gradient.of.op_type()),
                op => op.op_type().to_owned(),
            };
            (id, (name, operator, macs.get(&id).copied().filter(|&macs| macs > 0)))
        };
        Self(layer::names(graph).into_iter().map(label).collect())
    }
}

/// Where time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Node(NodeId),
    Copies,
    Optimizer,
}

/// Median times of all nodes, and their sums by operator.
pub fn by_operator(workload: &mut dyn Workload, labels: &Labels, budget: Budget) -> Result<OperatorsReport> {
    let mut times: BTreeMap<Place, Vec<f64>> = BTreeMap::new();
    let (begun, mut runs) = (Instant::now(), 0);
    while runs < MOST_RUNS && !budget.is_spent(runs, begun, 1) {
        // A node may have several steps.
        let mut add = |place, time| {
            let of_place = times.entry(place).or_default();
            of_place.resize(runs + 1, 0.0);
            of_place[runs] += milliseconds(time);
        };
        let optimizer = workload.run_observed(&mut |node, time| add(node.map_or(Place::Copies, Place::Node), time))?;
        if let Some(time) = optimizer {
            add(Place::Optimizer, time);
        }
        runs += 1;
    }
    let mut nodes: Vec<_> = times.into_iter().map(|(place, times)| (place, Spread::of(times).median)).collect();
    nodes.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let total: f64 = nodes.iter().map(|(_, time)| time).sum();
    let share = |time: f64| if total > 0.0 { time / total } else { 0.0 };
    let mut operators: Vec<OperatorTime> = Vec::new();
    let mut reported = Vec::new();
    for (place, milliseconds) in nodes {
        let (name, operator, macs) = match place {
            Place::Node(id) => labels.0.get(&id).cloned().unwrap_or_default(),
            Place::Copies => (String::new(), "copies".to_owned(), None),
            Place::Optimizer => (String::new(), "optimizer".to_owned(), None),
        };
        let index = operators.iter().position(|known| known.operator == operator).unwrap_or_else(|| {
            operators.push(OperatorTime { operator: operator.clone(), ..OperatorTime::default() });
            operators.len() - 1
        });
        let sum = &mut operators[index];
        sum.milliseconds += milliseconds;
        sum.macs = sum.macs.map_or(macs, |sum| Some(sum.saturating_add(macs.unwrap_or(0))));
        if let Place::Node(_) = place {
            sum.nodes += 1;
            reported.push(NodeTime { name, operator, milliseconds, share: share(milliseconds), macs });
        }
    }
    operators.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
    for sum in &mut operators {
        sum.share = share(sum.milliseconds);
    }
    Ok(OperatorsReport { runs, milliseconds: total, operators, nodes: reported })
}
