//! Importance of single weights against its definitions.

mod importance_support;

use importance_support::*;
use slimnet_compress::importance::{Criterion, Evidence, ImportanceError, WeightScores, score_weights};
use slimnet_compress::weight::weights;
use slimnet_engine::Threads;
use slimnet_engine::job::{JobOptions, Loss};
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::ops::layout::Transpose;
use slimnet_graph::ops::product::{Gemm, MatMul};
use slimnet_graph::{Op, Tensor};

fn score(graph: &Graph, criterion: Criterion, evidence: Option<&Evidence>) -> Result<WeightScores, ImportanceError> {
    score_weights(graph, &weights(graph), criterion, evidence, 1)
}

/// A network of one matrix `w`.
fn matrix(rows: usize, elements: &[f32]) -> (Graph, ValueId) {
    let (mut graph, x) = with_input(&[rows]);
    let data = Tensor::from_values(vec![rows, elements.len() / rows], elements.to_vec()).unwrap();
    let w = graph.add_constant("w", data);
    let y = graph.apply("y", MatMul {}, &[x, w]);
    (finished(graph, y), w)
}

#[test]
fn magnitudes_are_absolute_values_and_squares() {
    let (graph, w) = matrix(2, &[1.0, -2.0, 0.0, 0.5, -0.25, 4.0]);
    assert_eq!(score(&graph, Criterion::L1, None).unwrap()[&w], [1.0, 2.0, 0.0, 0.5, 0.25, 4.0]);
    assert_eq!(score(&graph, Criterion::L2, None).unwrap()[&w], [1.0, 4.0, 0.0, 0.25, 0.0625, 16.0]);
}

#[test]
fn lamp_compares_with_what_would_be_left() {
    let (graph, w) = matrix(2, &[1.0, -2.0, 0.0, 3.0, 2.0, 0.0]);
    let found = &score(&graph, Criterion::Lamp, None).unwrap()[&w];
    // Of equal weights the first goes first.
    assert_eq!(*found, [1.0 / 18.0, 4.0 / 17.0, 0.0, 1.0, 4.0 / 13.0, 0.0]);
    let (graph, w) = matrix(2, &[0.0; 4]);
    assert_eq!(score(&graph, Criterion::Lamp, None).unwrap()[&w], [0.0; 4]);
}

#[test]
fn chance_depends_on_seed_and_name_alone() {
    let (graph, w) = matrix(2, &[1.0; 64]);
    let draw = |graph: &Graph, seed| score_weights(graph, &weights(graph), Criterion::Random, None, seed).unwrap();
    let first = draw(&graph, 1);
    let mean = first[&w].iter().sum::<f32>() / 64.0;
    assert!((0.35..0.65).contains(&mean) && first[&w].iter().all(|score| (0.0..1.0).contains(score)), "{mean}");
    assert_ne!(first, draw(&graph, 2));
    let (mut other, _) = matrix(2, &[7.0; 64]);
    assert_eq!(first, draw(&other, 1));
    other.rename(w, "v");
    assert_ne!(first, draw(&other, 1));
}

/// Slopes of single weights of all tensors, some of each, against differences of the loss.
fn compare_with_slopes(graph: &Graph, batch: &Batches, found: &WeightScores, definition: impl Fn(f64, &[f64]) -> f64) {
    let [all] = batch.0.as_slice() else { panic!("one batch") };
    for (&value, scores) in found {
        let elements = graph.value(value).data.as_ref().unwrap().to_f64s().unwrap();
        let most = scores.iter().fold(0.0f32, |most, &score| most.max(score));
        assert!(most > 0.0 && scores.len() == elements.len());
        for at in (0..elements.len()).step_by(1 + elements.len() / 10) {
            let slopes = slopes(all, |by| {
                with_elements(graph, |other, place, old| old + if (other, place) == (value, at) { by } else { 0.0 })
            });
            let expected = definition(elements[at], &slopes);
            let what = format!("{:?}, element {at}", graph.value(value).name);
            assert_close(f64::from(scores[at]), expected, f64::from(most), 2e-3, &what);
        }
    }
}

#[test]
fn taylor_is_weight_times_mean_slope() {
    let graph = convolutional();
    let source = Batches(vec![samples(6, &IMAGE)]);
    let (job, threads) = (JobOptions::default(), Threads::new(1).unwrap());
    // Two batches of 3: the mean of their gradients is that of all samples.
    let found = score(&graph, Criterion::Taylor, Some(&evidence(&source, &job, &threads, 3))).unwrap();
    assert_eq!(found.len(), 6);
    compare_with_slopes(&graph, &source, &found, |weight, slopes| {
        (weight * slopes.iter().sum::<f64>() / slopes.len() as f64).abs()
    });
}

#[test]
fn fisher_is_squared_weight_times_mean_square_of_single_slopes() {
    let graph = convolutional();
    let source = Batches(vec![samples(6, &IMAGE)]);
    let (job, threads) = (JobOptions::default(), Threads::new(1).unwrap());
    let found = score(&graph, Criterion::Fisher, Some(&evidence(&source, &job, &threads, 3))).unwrap();
    compare_with_slopes(&graph, &source, &found, |weight, slopes| {
        weight.powi(2) * slopes.iter().map(|slope| slope * slope).sum::<f64>() / slopes.len() as f64
    });
}

/// Without labels the network's own choice stands for them.
#[test]
fn without_labels_the_network_chooses() {
    let graph = convolutional();
    let given = samples(6, &IMAGE);
    let x = graph.find_value("x").unwrap();
    let inputs = std::collections::HashMap::from([(x, given.values[0].1.clone())]);
    let outputs = slimnet_graph::evaluate::evaluate_graph(&graph, &inputs, 1 << 24).unwrap();
    let logits = outputs[&graph.outputs()[0]].to_f64s().unwrap();
    let largest = |row: &[f64]| (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as i64;
    let labels = Tensor::vector(logits.chunks(CLASSES).map(largest).collect::<Vec<_>>());
    assert_ne!(labels, given.values[1].1);
    let mut labelled = given.clone();
    labelled.values[1].1 = labels;
    let mut bare = given;
    bare.values.truncate(1);
    let threads = Threads::new(1).unwrap();
    let (with, without) = (Batches(vec![labelled]), Batches(vec![bare]));
    let on_labels = JobOptions::default();
    // With itself as teacher.
    let none = JobOptions { loss: Loss::None, teachers: vec![graph.clone().into()], ..JobOptions::default() };
    for criterion in [Criterion::Taylor, Criterion::Fisher] {
        let expected = score(&graph, criterion, Some(&evidence(&with, &on_labels, &threads, 6))).unwrap();
        let found = score(&graph, criterion, Some(&evidence(&without, &none, &threads, 6))).unwrap();
        assert_eq!(found, expected);
    }
}

/// Outputs that are no scores have no choice of their own; a teacher must be another network.
#[test]
fn values_are_compared_with_a_teacher_that_differs() {
    let graph = convolutional();
    let source = Batches(vec![samples(6, &IMAGE)]);
    let threads = Threads::new(1).unwrap();
    let judge = |teachers: Vec<slimnet_engine::job::Teacher>| {
        let job = JobOptions { loss: Loss::None, classes: false, teachers, ..JobOptions::default() };
        score(&graph, Criterion::Fisher, Some(&evidence(&source, &job, &threads, 6)))
    };
    assert!(matches!(judge(vec![]), Err(ImportanceError::NoLabels(_))));
    // A rounding error away from itself.
    let near = with_elements(&graph, |_, _, element| element * 1.000_000_3);
    assert!(matches!(judge(vec![near.into()]), Err(ImportanceError::OwnTeacher)));
    let far = with_elements(&graph, |_, _, element| element * 1.1);
    assert_eq!(judge(vec![far.into()]).unwrap().len(), 6);
}

/// Sums of squares of what each tap of a convolution falls on, by its definition.
fn squares_of_conv(x: &[f64], [n, c, h, w]: [usize; 4], shape: &[usize], op: &Conv, out: [usize; 2]) -> Vec<f64> {
    let (each, group) = (shape[1], op.group as usize);
    let mut squares = vec![0.0; shape.iter().product()];
    for (at, square) in squares.iter_mut().enumerate() {
        let (kx, ky) = (at % shape[3], at / shape[3] % shape[2]);
        let (i, o) = (at / shape[3] / shape[2] % each, at / shape[3] / shape[2] / each);
        let channel = o / (shape[0] / group) * each + i;
        for (sample, oy, ox) in places([n, out[0], out[1]]) {
            let y = (oy as i64 * op.strides[0] + ky as i64 * op.dilations[0]) - op.pads[0];
            let x_ = (ox as i64 * op.strides[1] + kx as i64 * op.dilations[1]) - op.pads[1];
            if (0..h as i64).contains(&y) && (0..w as i64).contains(&x_) {
                *square += x[((sample * c + channel) * h + y as usize) * w + x_ as usize].powi(2);
            }
        }
    }
    squares
}

fn places([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |at| (at / c / b, at / c % b, at % c))
}

/// Scores by definition: relative to the mean of the row.
fn by_rows(weights: &[f64], squares: &[f64], row: impl Fn(usize) -> usize) -> Vec<f64> {
    let products: Vec<_> = weights.iter().zip(squares).map(|(weight, square)| weight.abs() * square.sqrt()).collect();
    let mean = |at: usize| {
        let own: Vec<_> = (0..products.len()).filter(|&other| row(other) == row(at)).map(|at| products[at]).collect();
        own.iter().sum::<f64>() / own.len() as f64
    };
    (0..products.len()).map(|at| products[at] / mean(at)).collect()
}

fn compare_activation(graph: &Graph, batch: &Batches, w: ValueId, expected: &[f64]) {
    let (job, threads) = (JobOptions::default(), Threads::new(1).unwrap());
    for batch_size in [1, 2, 4] {
        let found =
            &score(graph, Criterion::Activation, Some(&evidence(batch, &job, &threads, batch_size))).unwrap()[&w];
        assert_eq!(found.len(), expected.len());
        for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            assert_close(f64::from(found), expected, 1.0, 1e-4, &format!("element {at}"));
        }
    }
}

#[test]
fn activation_of_convolutions_with_stride_padding_dilation_and_groups() {
    for (group, strides, pads, dilations) in
        [(1, [1, 1], [0, 0, 0, 0], [1, 1]), (2, [2, 1], [1, 2, 0, 1], [1, 2]), (4, [1, 2], [1, 1, 1, 1], [2, 1])]
    {
        let (n, c, h, w, outputs) = (4, 4, 6, 7, 8);
        let (mut graph, x) = with_input(&[c, h, w]);
        let shape = [outputs, c / group, 3, 2];
        let data = normal(&shape, "kernel", 1.0);
        let weight = graph.add_constant("w", data.clone());
        let bias = graph.add_constant("b", normal(&[outputs], "bias", 9.0));
        let op = Conv {
            auto_pad: AutoPad::NotSet,
            dilations: dilations.to_vec(),
            group: group as i64,
            kernel_shape: vec![],
            pads: pads.to_vec(),
            strides: strides.to_vec(),
        };
        let y = graph.apply("y", op.clone(), &[x, weight, bias]);
        let graph = finished(graph, y);
        let dims = graph.value(y).shape.clone().unwrap();
        let out = [dims[2].known().unwrap(), dims[3].known().unwrap()];
        let batch = samples(n, &[c, h, w]);
        let squares = squares_of_conv(&batch.values[0].1.to_f64s().unwrap(), [n, c, h, w], &shape, &op, out);
        let expected = by_rows(&data.to_f64s().unwrap(), &squares, |at| at / (c / group * 6));
        compare_activation(&graph, &Batches(vec![batch]), weight, &expected);
    }
}

#[test]
fn activation_of_a_transposed_convolution_with_groups() {
    let (n, c, h, w, group, each) = (4, 4, 3, 4, 2, 3);
    let (mut graph, x) = with_input(&[c, h, w]);
    let shape = [c, each, 2, 3];
    let data = normal(&shape, "kernel", 1.0);
    let weight = graph.add_constant("w", data.clone());
    let op = ConvTranspose {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: group as i64,
        kernel_shape: vec![],
        output_padding: vec![],
        output_shape: vec![],
        pads: vec![1, 0, 0, 1],
        strides: vec![2, 1],
    };
    let y = graph.apply("y", op, &[x, weight]);
    let graph = finished(graph, y);
    let dims = graph.value(y).shape.clone().unwrap();
    let out = [dims[2].known().unwrap() as i64, dims[3].known().unwrap() as i64];
    let batch = samples(n, &[c, h, w]);
    let values = batch.values[0].1.to_f64s().unwrap();
    let square = |at: usize| {
        let (kx, ky, channel) = (at % 3, at / 3 % 2, at / 6 / each);
        let inside = |&(_, iy, ix): &(usize, usize, usize)| {
            let (y, x) = (2 * iy as i64 + ky as i64 - 1, ix as i64 + kx as i64);
            (0..out[0]).contains(&y) && (0..out[1]).contains(&x)
        };
        let falls = places([n, h, w]).filter(inside);
        falls.map(|(sample, iy, ix)| values[((sample * c + channel) * h + iy) * w + ix].powi(2)).sum::<f64>()
    };
    let squares: Vec<_> = (0..c * each * 6).map(square).collect();
    let row = |at: usize| at / 6 / each / (c / group) * each + at / 6 % each;
    let expected = by_rows(&data.to_f64s().unwrap(), &squares, row);
    compare_activation(&graph, &Batches(vec![batch]), weight, &expected);
}

/// A matrix that two layers read, one of them through a Transpose and with a negative factor.
#[test]
fn activation_counts_every_use() {
    let (mut graph, x) = with_input(&[3]);
    let data = normal(&[3, 3], "matrix", 1.0);
    let w = graph.add_constant("w", data.clone());
    let h = graph.apply("h", MatMul {}, &[x, w]);
    let moved = graph.apply("moved", Transpose { perm: None }, &[w]);
    let y = graph.apply("y", Gemm { alpha: -2.0, beta: 1.0, transA: false, transB: true }, &[h, moved]);
    let graph = finished(graph, y);
    let batch = samples(4, &[3]);
    let (x, m) = (batch.values[0].1.to_f64s().unwrap(), data.to_f64s().unwrap());
    let mut squares = vec![0.0; 9];
    for sample in 0..4 {
        let x = &x[3 * sample..][..3];
        for (input, output) in (0..9).map(|at| (at / 3, at % 3)) {
            let hidden: f64 = (0..3).map(|k| x[k] * m[3 * k + input]).sum();
            squares[3 * input + output] += x[input].powi(2) + hidden.powi(2);
        }
    }
    let expected = by_rows(&m, &squares, |at| at % 3);
    compare_activation(&graph, &Batches(vec![batch]), w, &expected);
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
    for criterion in Criterion::ALL {
        let found = score(&graph, criterion, None);
        match criterion {
            Criterion::BatchNormScale | Criterion::GeometricMedian => {
                assert!(matches!(found, Err(ImportanceError::SingleWeights(_))), "{criterion}");
            }
            _ if criterion.needs_data() => {
                assert!(matches!(found, Err(ImportanceError::NoData(_))), "{criterion}");
            }
            _ => assert_eq!(found.unwrap().len(), 6),
        }
    }
    let wide = graph.find_value("wide").unwrap();
    let broken = with_elements(&graph, |value, at, old| if (value, at) == (wide, 3) { f64::NAN } else { old });
    for criterion in [Criterion::L1, Criterion::L2, Criterion::Lamp, Criterion::Random] {
        let error = score(&broken, criterion, None).unwrap_err().to_string();
        assert!(error.contains("element 3 of \"wide\" is NaN"), "{error}");
    }
    let (job, threads) = (JobOptions::default(), Threads::new(1).unwrap());
    let mut source = Batches(vec![samples(4, &IMAGE)]);
    assert!(score(&broken, Criterion::Fisher, Some(&evidence(&source, &job, &threads, 4))).is_err());
    source.0[0].values.truncate(1);
    let error = score(&graph, Criterion::Fisher, Some(&evidence(&source, &job, &threads, 4))).unwrap_err();
    assert!(error.to_string().contains("labels"), "{error}");
    let none = Batches(vec![]);
    let error = score(&graph, Criterion::Taylor, Some(&evidence(&none, &job, &threads, 4))).unwrap_err();
    assert!(matches!(error, ImportanceError::NoSamples(_)), "{error}");
}

/// A network that was exported for several samples has no gradients of single ones.
#[test]
fn networks_for_a_fixed_number_of_samples() {
    let (mut graph, x) = with_input(&[3]);
    graph.value_mut(x).shape.as_mut().unwrap()[0] = 2usize.into();
    let w = graph.add_constant("w", normal(&[3, CLASSES], "w", 1.0));
    let y = graph.apply("y", MatMul {}, &[x, w]);
    // A sum over the samples: the number cannot be freed.
    let axes = graph.add_constant("axes", Tensor::vector(vec![0i64]));
    let reduce = slimnet_graph::ops::reduction::Reduce { keepdims: true, noop_with_empty_axes: false };
    let sum = graph.apply("sum", Op::Reduce(slimnet_graph::ops::reduction::ReduceKind::Sum, reduce), &[y, axes]);
    let y = graph.apply("both", slimnet_graph::ops::elementwise::Binary::Add, &[y, sum]);
    let y = graph.apply("tanh", Unary::Tanh, &[y]);
    graph.add_output(y);
    infer_graph(&mut graph).unwrap();
    let (job, threads) = (JobOptions::default(), Threads::new(1).unwrap());
    let source = Batches(vec![samples(5, &[3])]);
    let error = score(&graph, Criterion::Fisher, Some(&evidence(&source, &job, &threads, 1))).unwrap_err();
    assert!(matches!(error, ImportanceError::FixedBatch(2)), "{error}");
    assert_eq!(score(&graph, Criterion::Taylor, Some(&evidence(&source, &job, &threads, 1))).unwrap()[&w].len(), 12);
}
