//! Importance of groups against its definitions.

mod importance_support;

#[allow(dead_code, unused_imports)]
#[path = "../../slimnet-graph/tests/axes_support/mod.rs"]
mod axes_support;

use std::collections::BTreeSet;

use importance_support::*;
use slimnet_compress::importance::{Criterion, Evidence, ImportanceError, score_groups};
use slimnet_engine::Threads;
use slimnet_engine::job::JobOptions;
use slimnet_graph::axes::{Access, CoupleOptions, Coupling, GroupId, couple};
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::ops::product::MatMul;
use slimnet_graph::ops::quantization::DequantizeLinear;
use slimnet_graph::roles::{Role, roles};
use slimnet_graph::{ElementType, Op, Tensor};

fn coupled(graph: &Graph) -> Coupling {
    couple(graph, &CoupleOptions::default()).unwrap()
}

fn score(graph: &Graph, criterion: Criterion, evidence: Option<&Evidence>) -> Result<Vec<f64>, ImportanceError> {
    score_groups(graph, &coupled(graph), criterion, evidence, 1)
}

fn free(coupling: &Coupling) -> Vec<GroupId> {
    coupling.groups().filter(|&group| coupling.frozen(group).is_none()).collect()
}

/// The group and all that goes with it, if it is a whole row.
fn all_of(coupling: &Coupling, group: GroupId) -> BTreeSet<GroupId> {
    let own = BTreeSet::from([group]);
    if coupling.members(group).is_empty() { own } else { coupling.closure(&own) }
}

/// What the tensors hold for a group, by looking at every element: for a whole row what they hold for each of its members,
/// and what is its own only.
fn elements_of(
    graph: &Graph,
    coupling: &Coupling,
    group: GroupId,
    counts: impl Fn(ValueId) -> bool,
) -> Option<Vec<f64>> {
    let roles = roles(graph);
    let mut found = None;
    for (value, source) in graph.values().filter(|&(value, _)| roles[value.index()] == Some(Role::Parameter)) {
        let data = source.data.as_ref().filter(|data| data.element_type().is_float() && counts(value));
        for (at, element) in data.map(|data| data.to_f64s().unwrap()).into_iter().flatten().enumerate() {
            for member in all_of(coupling, group) {
                let own = BTreeSet::from([member]);
                let others = &all_of(coupling, member) - &own;
                let holds = |groups: &BTreeSet<GroupId>| covered(graph, coupling, groups, None, value, at);
                if holds(&own) && !holds(&others) {
                    found.get_or_insert_with(Vec::new).push(element);
                }
            }
        }
    }
    found
}

fn matrix_of(graph: &Graph) -> impl Fn(ValueId) -> bool + '_ {
    |value| graph.value(value).data.as_ref().is_some_and(|data| data.rank() >= 2)
}

/// Divided by the mean over what can be removed of the axis.
fn relative(coupling: &Coupling, scores: &[Option<f64>]) -> Vec<f64> {
    let mean = |group: GroupId| {
        let axis = &coupling.axes()[coupling.axis_of(group)].groups;
        let free = axis.iter().filter(|&&group| coupling.frozen(group).is_none());
        let judged: Vec<_> = free.filter_map(|group| scores[group.index()]).collect();
        judged.iter().sum::<f64>() / judged.len() as f64
    };
    let score = |group: GroupId| scores[group.index()].map_or(f64::INFINITY, |score| score / mean(group));
    coupling.groups().map(score).collect()
}

fn compare(coupling: &Coupling, found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    for group in free(coupling) {
        let (found, expected) = (found[group.index()], expected[group.index()]);
        let name = &coupling.axes()[coupling.axis_of(group)].name;
        if expected.is_finite() || found.is_finite() {
            assert_close(found, expected, expected.abs().max(1e-6), tolerance, &format!("{what}: {group:?} of {name}"));
        }
    }
}

/// In networks of every kind of coupling: residual additions, concatenations, grouped and depthwise convolutions, heads,
/// tied weights, blocks of axes.
#[test]
fn magnitudes_of_random_networks_are_norms_over_all_slices() {
    let mut judged = 0;
    for seed in 0..60 {
        let mut graph = axes_support::network(seed);
        infer_graph(&mut graph).unwrap();
        // Dequantized integers have a test of their own.
        if graph.nodes().any(|(_, node)| matches!(node.op, Op::DequantizeLinear(_))) {
            continue;
        }
        let coupling = coupled(&graph);
        let elements: Vec<_> =
            coupling.groups().map(|group| elements_of(&graph, &coupling, group, matrix_of(&graph))).collect();
        let norm = |norm: &dyn Fn(&[f64]) -> f64| {
            let norms: Vec<_> = elements.iter().map(|elements| elements.as_deref().map(norm)).collect();
            relative(&coupling, &norms)
        };
        for (criterion, expected) in [
            (Criterion::L1, norm(&|elements| elements.iter().map(|element| element.abs()).sum())),
            (Criterion::L2, norm(&|elements| elements.iter().map(|element| element * element).sum::<f64>().sqrt())),
        ] {
            match score(&graph, criterion, None) {
                Ok(found) => compare(&coupling, &found, &expected, 1e-6, &format!("seed {seed}, {criterion}")),
                Err(error) => assert!(matches!(error, ImportanceError::Unjudged(_)), "seed {seed}: {error}"),
            }
        }
        judged += free(&coupling).len();
        for criterion in [Criterion::Lamp, Criterion::GeometricMedian, Criterion::Random, Criterion::BatchNormScale] {
            match score(&graph, criterion, None) {
                Ok(found) => assert!(found.iter().all(|score| *score >= 0.0), "seed {seed}, {criterion}"),
                Err(error) => assert!(matches!(error, ImportanceError::NoBatchNorm), "seed {seed}: {error}"),
            }
        }
    }
    assert!(judged > 1000, "{judged}");
}

/// The slope of each sample's loss when what reads a group grows by a factor: by the reference evaluator.
fn effects(graph: &Graph, coupling: &Coupling, group: GroupId, batch: &slimnet_engine::train::Batch) -> Vec<f64> {
    let all = all_of(coupling, group);
    let any = |access: Access| {
        let data = graph.values().filter_map(|(value, source)| Some((value, source.data.as_ref()?.len())));
        data.into_iter()
            .any(|(value, length)| (0..length).any(|at| covered(graph, coupling, &all, Some(access), value, at)))
    };
    let access = if any(Access::Reads) { Access::Reads } else { Access::Writes };
    let parameter = |value: ValueId| roles(graph)[value.index()] == Some(Role::Parameter);
    slopes(batch, |by| {
        with_elements(graph, |value, at, old| {
            let grows = parameter(value) && covered(graph, coupling, &all, Some(access), value, at);
            if grows { old * (1.0 + by) } else { old }
        })
    })
}

fn compare_with_effects(graph: &Graph, shape: &[usize]) {
    let coupling = coupled(graph);
    let batch = samples(6, shape);
    let source = Batches(vec![batch.clone()]);
    let (job, threads) = (JobOptions::default(), Threads::new(1).unwrap());
    let evidence = evidence(&source, &job, &threads, 3);
    let taylor = score(graph, Criterion::Taylor, Some(&evidence)).unwrap();
    let fisher = score(graph, Criterion::Fisher, Some(&evidence)).unwrap();
    let free = free(&coupling);
    let most = |scores: &[f64]| free.iter().map(|group| scores[group.index()]).fold(0.0, f64::max);
    let (most_taylor, most_fisher) = (most(&taylor), most(&fisher));
    assert!(most_taylor > 0.0 && most_fisher.is_finite());
    for group in free {
        let effects = effects(graph, &coupling, group, &batch);
        let square = |part: &[f64]| (part.iter().sum::<f64>() / part.len() as f64).powi(2);
        let mean = |size: usize| effects.chunks(size).map(square).sum::<f64>() / (6 / size) as f64;
        let what = format!("{group:?} of {}", coupling.axes()[coupling.axis_of(group)].name);
        assert_close(taylor[group.index()], mean(3), most_taylor, 2e-3, &format!("taylor of {what}"));
        assert_close(fisher[group.index()], mean(1), most_fisher, 2e-3, &format!("fisher of {what}"));
    }
}

/// A residual stream, a depthwise and a tied convolution, channels behind a flattening.
#[test]
fn taylor_and_fisher_are_squared_slopes_along_what_reads_a_group() {
    compare_with_effects(&convolutional(), &IMAGE);
}

/// Whole heads, values that a parameter reads, and queries and keys, which none does.
#[test]
fn taylor_and_fisher_of_attention() {
    let graph = attention();
    let coupling = coupled(&graph);
    let heads = free(&coupling).into_iter().filter(|&group| !coupling.members(group).is_empty()).count();
    assert_eq!(heads, 2);
    compare_with_effects(&graph, &TOKENS);
}

/// A hidden layer of three neurons behind `[2]`, perhaps with its weights as integers.
fn hidden(first: [f32; 6], second: [f32; 6], quantized: bool) -> (Graph, ValueId) {
    let (mut graph, x) = with_input(&[2]);
    let w = if quantized {
        let data = Tensor::from_f64s(ElementType::I8, vec![2, 3], first.iter().map(|&x| f64::from(x)).collect());
        let w = graph.add_constant("first", data.unwrap());
        let scale = graph.add_constant("scales", Tensor::vector(vec![0.5f32, 1.0, 10.0]));
        graph.apply("dequantized", DequantizeLinear { axis: 1, block_size: 0 }, &[w, scale])
    } else {
        graph.add_constant("first", Tensor::from_values(vec![2, 3], first.to_vec()).unwrap())
    };
    let h = graph.apply("h", MatMul {}, &[x, w]);
    let h = graph.apply("r", Unary::Relu, &[h]);
    let v = graph.add_constant("second", Tensor::from_values(vec![3, 2], second.to_vec()).unwrap());
    let y = graph.apply("y", MatMul {}, &[h, v]);
    let v = graph.find_value("second").unwrap();
    (finished(graph, y), v)
}

/// Scores of the neurons of [`hidden`], in their order.
fn neurons(graph: &Graph, v: ValueId, criterion: Criterion, evidence: Option<&Evidence>) -> Vec<f64> {
    let coupling = coupled(graph);
    let scores = score(graph, criterion, evidence).unwrap();
    coupling
        .covers(v)
        .iter()
        .find(|cover| cover.axes == [0])
        .unwrap()
        .groups
        .iter()
        .map(|g| scores[g.index()])
        .collect()
}

#[test]
fn norms_take_what_writes_and_what_reads_a_neuron() {
    let (graph, v) = hidden([1.0, 0.0, -3.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 2.0, -2.0], false);
    // |1| + |2| + |1| = 4, 0, 3 + 2 + 2 = 7, and squares 6, 0, 17.
    for (criterion, norms) in [(Criterion::L1, [4.0, 0.0, 7.0]), (Criterion::L2, [6f64.sqrt(), 0.0, 17f64.sqrt()])] {
        let mean = norms.iter().sum::<f64>() / 3.0;
        for (found, norm) in neurons(&graph, v, criterion, None).iter().zip(norms) {
            assert_close(*found, norm / mean, 1.0, 1e-12, criterion.name());
        }
    }
    assert_eq!(neurons(&graph, v, Criterion::Lamp, None), [6.0 / 23.0, 0.0, 1.0]);
}

#[test]
fn integers_count_as_what_they_are_dequantized_to() {
    let second = [1.0, 0.0, 0.0, 0.0, 2.0, -2.0];
    let (plain, v) = hidden([1.0, 2.0, -30.0, 2.0, 0.0, 40.0], second, false);
    let (quantized, q) = hidden([2.0, 2.0, -3.0, 4.0, 0.0, 4.0], second, true);
    for criterion in [Criterion::L1, Criterion::L2, Criterion::Lamp, Criterion::GeometricMedian] {
        assert_eq!(neurons(&plain, v, criterion, None), neurons(&quantized, q, criterion, None), "{criterion}");
    }
}

#[test]
fn the_neuron_in_the_middle_is_the_least_important() {
    // Points (0, 0), (3, 4), (6, 8) write the neurons: sums of distances 15, 10, 15; large readers do not matter.
    let (graph, v) = hidden([0.0, 3.0, 6.0, 0.0, 4.0, 8.0], [0.0, 0.0, 100.0, 100.0, 0.0, 0.0], false);
    let found = neurons(&graph, v, Criterion::GeometricMedian, None);
    for (found, expected) in found.iter().zip([1.125, 0.75, 1.125]) {
        assert_close(*found, expected, 1.0, 1e-12, "geometric median");
    }
}

/// `√(Σ w² ‖x‖²)` over the readers: what the neuron adds to the layer behind.
#[test]
fn activation_of_a_neuron_is_its_norm_times_its_readers() {
    let first = [1.0, -0.5, 0.3, 0.2, 1.0, -2.0];
    let second = [1.0, 2.0, 0.5, -1.0, 0.0, 3.0];
    let (graph, v) = hidden(first, second, false);
    let batch = samples(5, &[2]);
    let x = batch.values[0].1.to_f64s().unwrap();
    let neuron = |at: usize| {
        let value = |x: &[f64]| (x[0] * f64::from(first[at]) + x[1] * f64::from(first[3 + at])).max(0.0).powi(2);
        let readers = second[2 * at..][..2].iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
        (x.chunks(2).map(value).sum::<f64>() * readers).sqrt()
    };
    let mean = (0..3).map(neuron).sum::<f64>() / 3.0;
    let source = Batches(vec![batch]);
    let (job, threads) = (JobOptions::default(), Threads::new(2).unwrap());
    let found = neurons(&graph, v, Criterion::Activation, Some(&evidence(&source, &job, &threads, 5)));
    for (at, &found) in found.iter().enumerate() {
        assert_close(found, neuron(at) / mean, 1.0, 1e-5, "activation");
    }
}

#[test]
fn scales_are_judged_where_there_are_some() {
    let graph = convolutional();
    let coupling = coupled(&graph);
    let scores = score(&graph, Criterion::BatchNormScale, None).unwrap();
    let scale = graph.find_value("scale").unwrap();
    let scales = graph.value(scale).data.as_ref().unwrap().to_f64s().unwrap();
    let normalized = &coupling.covers(scale)[0].groups;
    for (group, scale) in normalized.iter().zip(scales) {
        assert_eq!(scores[group.index()], scale.abs());
    }
    // The hidden dense layer has none: never to be removed.
    let dense = graph.find_value("dense_bias").unwrap();
    for group in coupling.covers(dense)[0].groups.iter() {
        assert_eq!((scores[group.index()], coupling.frozen(*group)), (f64::INFINITY, None));
    }
    let (bare, _) = hidden([1.0; 6], [1.0; 6], false);
    assert!(matches!(score(&bare, Criterion::BatchNormScale, None), Err(ImportanceError::NoBatchNorm)));
}

#[test]
fn chance_depends_on_the_seed() {
    let graph = convolutional();
    let coupling = coupled(&graph);
    let draw = |seed| score_groups(&graph, &coupling, Criterion::Random, None, seed).unwrap();
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert!(draw(1).iter().all(|score| (0.0..1.0).contains(score)));
}

#[test]
fn scores_do_not_depend_on_threads() {
    let graph = convolutional();
    let source = Batches(vec![samples(16, &IMAGE), samples(16, &IMAGE)]);
    let job = JobOptions::default();
    for criterion in [Criterion::Taylor, Criterion::Fisher, Criterion::Activation] {
        let run = |count| {
            let threads = Threads::new(count).unwrap();
            score(&graph, criterion, Some(&evidence(&source, &job, &threads, 16))).unwrap()
        };
        assert_eq!(run(1), run(3), "{criterion}");
    }
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let graph = convolutional();
    for criterion in Criterion::ALL.into_iter().filter(|criterion| criterion.needs_data()) {
        assert!(matches!(score(&graph, criterion, None), Err(ImportanceError::NoData(_))), "{criterion}");
    }
    let tied = graph.find_value("tied").unwrap();
    let broken = with_elements(&graph, |value, at, old| if (value, at) == (tied, 2) { f64::INFINITY } else { old });
    for criterion in [Criterion::L1, Criterion::L2, Criterion::Lamp, Criterion::GeometricMedian] {
        let error = score(&broken, criterion, None).unwrap_err().to_string();
        assert!(error.contains("element 2 of \"tied\" is inf"), "{error}");
    }
}

/// Weights that are not reached by the loss are never removed.
#[test]
fn neurons_on_which_the_loss_does_not_depend_stay() {
    let (mut graph, _) = hidden([1.0, -0.5, 0.3, 0.2, 1.0, -2.0], [1.0, 2.0, 0.5, -1.0, 0.0, 3.0], false);
    let x = graph.find_value("x").unwrap();
    let first = graph.add_constant("other_first", normal(&[2, 3], "other_first", 1.0));
    let h = graph.apply("other_h", MatMul {}, &[x, first]);
    let h = graph.apply("other_r", Unary::Relu, &[h]);
    let second = graph.add_constant("other_second", normal(&[3, 2], "other_second", 1.0));
    let y = graph.apply("other_y", MatMul {}, &[h, second]);
    graph.add_output(y);
    infer_graph(&mut graph).unwrap();
    let mut batch = samples(4, &[2]);
    batch.values[1].1 = Tensor::vector(vec![0i64, 1, 1, 0]);
    let source = Batches(vec![batch]);
    let threads = Threads::new(1).unwrap();
    let job = JobOptions { outputs: vec!["y".into()], ..JobOptions::default() };
    let coupling = coupled(&graph);
    let scores = score(&graph, Criterion::Taylor, Some(&evidence(&source, &job, &threads, 4))).unwrap();
    let other = graph.find_value("other_second").unwrap();
    for group in free(&coupling) {
        let stays = coupling.slices(group).iter().any(|slice| slice.value == other);
        assert_eq!(scores[group.index()] == f64::INFINITY, stays, "{group:?}");
    }
}
