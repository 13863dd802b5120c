//! The table of operators in `docs/operators.md` is what a sample node of each operator shows. `UPDATE=1` rewrites it.

use std::collections::HashMap;
use std::path::Path;

use crate::samples;
use slimnet_graph::axes::{CoupleOptions, Reason, couple};
use slimnet_graph::cost::{CostOptions, cost};
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::infer::infer_graph;
use slimnet_graph::{Graph, Op, Tensor, onnx};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operators.md");

/// The oldest and newest operator set that is read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

const HEAD: &str = "# Operators

What slimnet understands of ONNX. Any other node is kept whole and written back as it was; so is a node of an operator
below whose attributes or inputs cannot be brought to the semantics of operator set 21.

- **Operator sets**: those in which such a node can be written and is read back.
- **Infer**: its outputs' element types and shapes are inferred.
- **Evaluate**: the reference evaluator computes it, and constants are folded through it.
- **Axis rule**: neuron pruning can follow axes through it (or knows why not); without a rule what reaches it is kept.
- **MACs**: it counts towards the multiply-accumulate operations.

Mask is an operator of slimnet's own, domain `slimnet`; files that hold it define it by standard operators.

Written from the code by `UPDATE=1 cargo test -p slimnet-graph operator_table`.

| Operator | Operator sets | Infer | Evaluate | Axis rule | MACs |
|---|---|---|---|---|---|
";

/// The operator sets in which a graph is written as it is and read back with its last node understood.
fn opsets(graph: &Graph) -> String {
    let returns = |&opset: &i64| {
        let mut graph = graph.clone();
        graph.model.opsets = vec![(String::new(), opset)];
        let Ok((bytes, written)) = onnx::write_bytes(&graph) else { return false };
        let again = onnx::read_bytes(bytes.into(), None).unwrap();
        written.raised_from.is_none() && again.nodes().all(|(_, node)| node.op.other().is_none())
    };
    let good: Vec<_> = OPSETS.filter(returns).collect();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for opset in good {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == opset => *last = opset,
            _ => runs.push((opset, opset)),
        }
    }
    let run = |(first, last)| if first == last { format!("{first}") } else { format!("{first}–{last}") };
    runs.into_iter().map(run).collect::<Vec<_>>().join(", ")
}

fn row(op_type: &str) -> String {
    let (mut graph, node, input) = samples::build(op_type);
    let opsets = opsets(&graph);
    let inferred = infer_graph(&mut graph).is_ok();
    let outputs: Vec<_> = graph.node(node).outputs().iter().flatten().copied().collect();
    let known = |value: &slimnet_graph::Value| value.element_type.is_some() && value.shape.is_some();
    let inferred = inferred && outputs.iter().all(|&output| known(graph.value(output)));
    let image = Tensor::from_values(samples::IMAGE.to_vec(), vec![0.5f32; samples::IMAGE.iter().product()]).unwrap();
    let evaluated = evaluate_graph(&graph, &HashMap::from([(input, image)]), 1 << 20);
    if let Err(error) = &evaluated {
        println!("{op_type}: {error}");
    }
    let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
    let name = graph.describe_node(node);
    let no_rule = |reason: Option<&Reason>| matches!(reason, Some(Reason::NoRule(node)) if *node == name);
    let has_rule = !coupling.groups().any(|group| no_rule(coupling.frozen(group)));
    let cost = cost(&graph, &CostOptions::default()).unwrap();
    let macs = cost.nodes.iter().find(|cost| cost.node == node).unwrap().macs.unwrap() > 0;
    let [inferred, evaluated, has_rule, macs] =
        [inferred, evaluated.is_ok(), has_rule, macs].map(|yes| if yes { "yes" } else { "–" });
    format!("| {op_type} | {opsets} | {inferred} | {evaluated} | {has_rule} | {macs} |\n")
}

#[test]
fn operator_table() {
    let table = HEAD.to_owned() + &Op::known_types().into_iter().map(row).collect::<String>();
    if std::env::var("UPDATE").is_ok() {
        std::fs::create_dir_all(Path::new(TABLE).parent().unwrap()).unwrap();
        std::fs::write(TABLE, &table).unwrap();
    }
    let committed = std::fs::read_to_string(TABLE).unwrap_or_default();
    let differing: Vec<_> = table.lines().filter(|line| !committed.lines().any(|other| other == *line)).collect();
    assert!(committed == table, "UPDATE=1 rewrites docs/operators.md, in which these lines differ:\n{differing:#?}");
}
