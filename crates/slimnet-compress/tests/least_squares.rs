//! Closed-form correction of layers that read removed channels.

mod calibration;

use std::collections::BTreeSet;

use calibration::{Images, calibration, output_distance};
use slimnet_compress::constraint::{Constraint, Pattern, record};
use slimnet_compress::recover::{Before, Calibration, Mended, Reason, RecoverError, least_squares};
use slimnet_engine::Threads;
use slimnet_graph::axes::{CoupleOptions, GroupId, couple, remove};
use slimnet_graph::graph::{Dim, Graph, ValueId};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};
use slimnet_graph::ops::elementwise::Binary;
use slimnet_graph::ops::product::{Gemm, MatMul};
use slimnet_graph::tensor::Tensor;
use slimnet_graph::validate::validate;
use slimnet_graph::zoo::random::Distribution;
use slimnet_graph::zoo::{Builder, Conv2d, Init, Padding};

const NORMAL: Distribution = Distribution::Normal { mean: 0.1, deviation: 0.5 };

/// A network on images `[N, 3, 6, 6]`.
fn network(layers: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> Graph {
    let mut net = Builder::new("net", 1, Init::PyTorch);
    let shape = [Dim::named("N"), Dim::from(3usize), Dim::from(6usize), Dim::from(6usize)];
    let input = net.input("input", &shape).unwrap();
    let output = layers(&mut net, input);
    net.output("output", output);
    net.finish()
}

/// The first layer: six channels.
fn first(net: &mut Builder, x: ValueId) -> ValueId {
    net.conv2d("first", x, Conv2d::new(6, 3)).unwrap()
}

/// Makes channels of the layer `first` combinations of the others: channel 4 is 0.5 · channel 0 − channel 1, channel 5
/// is channel 2.
fn make_redundant(graph: &mut Graph) {
    let weight = graph.find_value("first.weight").unwrap();
    let data = graph.value(weight).data.clone().unwrap();
    let mut values = data.values::<f32>().unwrap().into_owned();
    let each = data.len() / 6;
    for index in 0..each {
        values[4 * each + index] = 0.5 * values[index] - values[each + index];
        values[5 * each + index] = values[2 * each + index];
    }
    graph.set_data(weight, Tensor::from_values(data.shape().to_vec(), values).unwrap());
}

/// The groups of channels of a layer.
fn channels(graph: &Graph, weight: &str, wanted: &[usize]) -> BTreeSet<GroupId> {
    let coupling = couple(graph, &CoupleOptions::default()).unwrap();
    let cover = coupling.covers(graph.find_value(weight).unwrap()).iter().find(|cover| cover.axes == [0]).unwrap();
    wanted.iter().map(|&channel| cover.groups[channel]).collect()
}

/// Removes groups and mends what read them: the network before and after mending.
fn prune(graph: &Graph, removed: &BTreeSet<GroupId>, options: &Calibration) -> (Graph, Graph, Mended) {
    let coupling = couple(graph, &CoupleOptions::default()).unwrap();
    let mut pruned = graph.clone();
    remove(&mut pruned, &coupling, removed).unwrap();
    let (mut mended, threads) = (pruned.clone(), Threads::new(2).unwrap());
    let before = Before { network: graph, coupling: &coupling, removed };
    let report = least_squares(&mut mended, &before, &Images::default(), options, &threads).unwrap();
    validate(&mended).unwrap();
    (pruned, mended, report)
}

/// Channels 4 and 5 of the first layer go; whatever reads the others computes what it did.
fn recovers(layers: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> Mended {
    let mut graph = network(|net, x| {
        let x = first(net, x);
        layers(net, x)
    });
    make_redundant(&mut graph);
    let (pruned, mended, report) = prune(&graph, &channels(&graph, "first.weight", &[4, 5]), &calibration());
    let (lost, left) = (distance(&pruned, &graph), distance(&mended, &graph));
    assert!(lost > 0.05, "the removal cost nothing: {lost}");
    assert!(left < 1e-3, "{left} of {lost} is left: {report:?}");
    assert!(report.layers.iter().all(|layer| layer.error[1] < 1e-5), "{report:?}");
    report
}

/// How far the outputs of two networks are apart.
fn distance(graph: &Graph, original: &Graph) -> f64 {
    output_distance(graph, original, &Images::default())
}

fn conv(stride: usize, padding: Padding, dilation: usize, bias: bool) -> Conv2d {
    Conv2d { stride, padding, dilation, bias, ..Conv2d::new(5, 3) }
}

#[test]
fn convolutions_take_over_what_redundant_channels_said() {
    let forms = [
        conv(1, Padding::Each(1), 1, true),
        conv(2, Padding::Each(0), 1, false),
        conv(2, Padding::Same, 1, true),
        conv(1, Padding::Each(2), 2, false),
        Conv2d { kernel: [3, 1], ..conv(1, Padding::Each(1), 1, true) },
    ];
    for form in forms {
        let report = recovers(|net, x| net.conv2d("reader", x, form).unwrap());
        assert_eq!(report.layers.len(), 1);
        assert_eq!(report.layers[0].weight, "reader.weight");
    }
    let automatic = |auto_pad| {
        let (dilations, kernel_shape, pads) = (vec![1, 1], vec![3, 3], Vec::new());
        Conv { auto_pad, dilations, group: 1, kernel_shape, pads, strides: vec![2, 2] }
    };
    for auto_pad in [AutoPad::SameLower, AutoPad::SameUpper, AutoPad::Valid] {
        recovers(|net, x| {
            let weight = net.parameter("w", vec![4, 6, 3, 3], NORMAL).unwrap();
            net.apply("reader", automatic(auto_pad), &[x, weight]).unwrap()
        });
    }
    recovers(|net, x| {
        let weight = net.parameter("w", vec![6, 4, 3, 3], NORMAL).unwrap();
        let (strides, pads, output_padding) = (vec![2, 2], vec![1, 0, 0, 1], vec![1, 0]);
        let (auto_pad, dilations, kernel_shape, output_shape) = (AutoPad::NotSet, vec![], vec![], vec![]);
        let group = 1;
        let op =
            ConvTranspose { auto_pad, dilations, group, kernel_shape, output_padding, output_shape, pads, strides };
        net.apply("reader", op, &[x, weight]).unwrap()
    });
}

/// An image's places as tokens, channels last.
fn tokens(net: &mut Builder, x: ValueId) -> ValueId {
    let x = net.reshape("tokens", x, &[0, 0, -1]).unwrap();
    net.transpose("last", x, &[0, 2, 1]).unwrap()
}

#[test]
fn products_take_over_what_redundant_channels_said() {
    // A flattened image: each channel is read at every place.
    recovers(|net, x| {
        let x = net.average_pool("pool", x, 3).unwrap();
        let x = net.flatten("flatten", x).unwrap();
        net.linear("reader", x, 7).unwrap()
    });
    // Tokens: a product of a three-axis tensor, with the bias added behind it.
    recovers(|net, x| {
        let x = tokens(net, x);
        net.linear("reader", x, 7).unwrap()
    });
    // A product without bias, its weight given transposed.
    recovers(|net, x| {
        let x = tokens(net, x);
        let weight = net.parameter("w", vec![7, 6], NORMAL).unwrap();
        let weight = net.transpose("wt", weight, &[1, 0]).unwrap();
        net.apply("reader", MatMul {}, &[x, weight]).unwrap()
    });
    // Scales of Gemm, the weight as it is multiplied.
    recovers(|net, x| {
        let x = net.average_pool("pool", x, 6).unwrap();
        let x = net.flatten("flatten", x).unwrap();
        let weight = net.parameter("w", vec![6, 7], NORMAL).unwrap();
        let bias = net.parameter("b", vec![1, 7], NORMAL).unwrap();
        let op = Gemm { alpha: 0.5, beta: -2.0, transA: false, transB: false };
        net.apply("reader", op, &[x, weight, bias]).unwrap()
    });
}

#[test]
fn readers_behind_joints_are_mended() {
    // Behind a concatenation the channels of one part go.
    recovers(|net, x| {
        let y = net.conv2d("other", x, Conv2d { bias: true, ..Conv2d::new(5, 3) }).unwrap();
        let y = net.relu("relu", y).unwrap();
        let x = net.concat("join", &[y, x], 1).unwrap();
        net.conv2d("reader", x, conv(1, Padding::Each(1), 1, true)).unwrap()
    });
    // Two readers at once, whose results are added; the removed channels are redundant for both.
    let report = recovers(|net, x| {
        let a = net.conv2d("a", x, conv(1, Padding::Each(1), 1, true)).unwrap();
        let b = net.conv2d("b", x, Conv2d::new(5, 1)).unwrap();
        net.add("sum", a, b).unwrap()
    });
    assert_eq!(report.layers.len(), 2);
}

/// A removed channel is always 3: its reader needs a constant. The reader is the layers behind the channels.
fn recovers_constant(reader: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> (Graph, Graph, Graph) {
    let mut graph = network(|net, x| {
        let x = net.conv2d("first", x, Conv2d { bias: true, ..Conv2d::new(6, 3) }).unwrap();
        reader(net, x)
    });
    let weight = graph.find_value("first.weight").unwrap();
    let mut values = graph.value(weight).data.as_ref().unwrap().values::<f32>().unwrap().into_owned();
    values[5 * 27..].fill(0.0);
    graph.set_data(weight, Tensor::from_values(vec![6, 3, 3, 3], values).unwrap());
    let bias = graph.find_value("first.bias").unwrap();
    graph.set_data(bias, Tensor::vector(vec![0.1f32, 0.2, 0.3, 0.4, 0.5, 3.0]));
    let (pruned, mended, report) = prune(&graph, &channels(&graph, "first.weight", &[5]), &calibration());
    let (lost, left) = (distance(&pruned, &graph), distance(&mended, &graph));
    assert!(lost > 0.05 && left < 1e-4, "{left} of {lost} is left: {report:?}");
    (graph, pruned, mended)
}

#[test]
fn constants_go_where_they_cost_nothing() {
    let count = |graph: &Graph| graph.values().count();
    // Batch normalisation behind a reader without bias: its mean takes the constant.
    let (_, pruned, mended) = recovers_constant(|net, x| {
        let x = net.conv2d("reader", x, Conv2d::new(4, 1)).unwrap();
        net.batch_norm("norm", x, 1e-5).unwrap()
    });
    assert_eq!(count(&mended), count(&pruned));
    // A bias of its own.
    let (_, pruned, mended) =
        recovers_constant(|net, x| net.conv2d("reader", x, Conv2d { bias: true, ..Conv2d::new(4, 1) }).unwrap());
    assert_eq!(count(&mended), count(&pruned));
    // Neither.
    let (_, pruned, mended) = recovers_constant(|net, x| net.conv2d("reader", x, Conv2d::new(4, 1)).unwrap());
    assert_eq!(count(&mended), count(&pruned) + 1);
    // What is added behind a product.
    let (_, pruned, mended) = recovers_constant(|net, x| {
        let x = tokens(net, x);
        net.linear("reader", x, 4).unwrap()
    });
    assert_eq!(count(&mended), count(&pruned));
}

#[test]
fn addends_that_others_read_stay() {
    let graph = network(|net, x| {
        let x = first(net, x);
        let x = net.relu("relu", x).unwrap();
        let x = tokens(net, x);
        let weight = net.parameter("w", vec![6, 4], NORMAL).unwrap();
        let product = net.apply("product", MatMul {}, &[x, weight]).unwrap();
        let bias = net.parameter("bias", vec![4], NORMAL).unwrap();
        let sum = net.apply("sum", Binary::Add, &[bias, product]).unwrap();
        net.multiply("again", sum, bias).unwrap()
    });
    let (pruned, mended, report) = prune(&graph, &channels(&graph, "first.weight", &[0, 1]), &calibration());
    let bias = graph.find_value("bias").unwrap();
    assert_eq!(pruned.value(bias).data, mended.value(bias).data);
    assert!(report.layers[0].error[1] < report.layers[0].error[0]);
    assert!(distance(&mended, &graph) < distance(&pruned, &graph));
}

/// A residual network: errors of the layers before are corrected, too.
fn residual(net: &mut Builder, x: ValueId) -> ValueId {
    let x = net.conv2d("stem", x, Conv2d { bias: true, ..Conv2d::new(8, 3) }).unwrap();
    let mut x = net.relu("relu", x).unwrap();
    for block in ["one", "two"] {
        let body = |net: &mut Builder| {
            let y = net.conv2d("a", x, Conv2d::new(8, 3))?;
            let y = net.batch_norm("norm", y, 1e-5)?;
            let y = net.relu("relu1", y)?;
            let y = net.conv2d("b", y, Conv2d { bias: true, ..Conv2d::new(8, 3) })?;
            let x = net.add("add", x, y)?;
            net.relu("relu2", x)
        };
        x = net.scope(block, body).unwrap();
    }
    let x = net.global_average_pool("pool", x).unwrap();
    let x = net.flatten("flatten", x).unwrap();
    net.linear("head", x, 5).unwrap()
}

#[test]
fn residual_streams_are_mended_layer_by_layer() {
    let graph = network(residual);
    let mut removed = channels(&graph, "stem.weight", &[1, 6]);
    removed.extend(channels(&graph, "one.a.weight", &[0, 3]));
    removed.extend(channels(&graph, "two.a.weight", &[2, 5]));
    let (pruned, mended, report) = prune(&graph, &removed, &calibration());
    let order: Vec<_> = report.layers.iter().map(|layer| layer.weight.as_str()).collect();
    assert_eq!(order, ["one.a.weight", "one.b.weight", "two.a.weight", "two.b.weight", "head.weight"]);
    assert!(report.left_out.is_empty());
    let (lost, left) = (distance(&pruned, &graph), distance(&mended, &graph));
    assert!(left < 0.7 * lost, "{left} of {lost}");
    // The last layer is the output: what the report says of it is what is left in fact.
    let said = report.layers.last().unwrap().error[1];
    assert!((left * left - said).abs() < 0.02 * said, "{} {said}", left * left);
}

#[test]
fn bits_are_the_same_on_any_number_of_threads() {
    let graph = network(residual);
    let removed = channels(&graph, "one.a.weight", &[0, 3]);
    let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
    let on = |threads: usize| {
        let mut pruned = graph.clone();
        remove(&mut pruned, &coupling, &removed).unwrap();
        let before = Before { network: &graph, coupling: &coupling, removed: &removed };
        let options = Calibration { rows: 100, ..calibration() };
        least_squares(&mut pruned, &before, &Images::default(), &options, &Threads::new(threads).unwrap()).unwrap();
        pruned.values().filter_map(|(_, value)| value.data.clone()).collect::<Vec<_>>()
    };
    assert_eq!(on(1), on(3));
}

/// The reason for which the reader of the removed channels is left as it is.
fn refuses(layers: impl FnOnce(&mut Builder, ValueId) -> ValueId, options: &Calibration) -> Reason {
    let graph = network(|net, x| {
        let x = first(net, x);
        layers(net, x)
    });
    let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
    let channel = *channels(&graph, "first.weight", &[0]).first().unwrap();
    let axis = &coupling.axes()[coupling.axis_of(channel)];
    let unit: BTreeSet<GroupId> = coupling.units(axis, |_| 0.0)[0].iter().copied().collect();
    let (pruned, mended, report) = prune(&graph, &unit, options);
    assert!(report.layers.is_empty());
    for (id, value) in pruned.values() {
        assert_eq!(value.data, mended.value(id).data);
    }
    report.left_out[0].reason.clone()
}

#[test]
fn what_cannot_be_mended_is_left_and_named() {
    let plain = |net: &mut Builder, x| net.conv2d("reader", x, Conv2d::new(4, 3)).unwrap();
    let small = Calibration { most_features: 20, ..calibration() };
    assert_eq!(refuses(plain, &small), Reason::Large { features: 45 });
    let grouped = |net: &mut Builder, x| {
        let x = net.conv2d("reader", x, Conv2d { groups: 2, ..Conv2d::new(4, 3) }).unwrap();
        net.conv2d("behind", x, Conv2d::new(4, 1)).unwrap()
    };
    assert_eq!(refuses(grouped, &calibration()), Reason::Grouped);
    let tied = |net: &mut Builder, x| {
        let weight = net.parameter("w", vec![4, 6, 1, 1], NORMAL).unwrap();
        let (auto_pad, group, dilations) = (AutoPad::NotSet, 1, vec![]);
        let (kernel_shape, pads, strides) = (vec![], vec![], vec![]);
        let op = Conv { auto_pad, dilations, group, kernel_shape, pads, strides };
        let a = net.apply("a", op.clone(), &[x, weight]).unwrap();
        let b = net.relu("relu", x).unwrap();
        let b = net.apply("b", op, &[b, weight]).unwrap();
        net.add("sum", a, b).unwrap()
    };
    assert_eq!(refuses(tied, &calibration()), Reason::Tied);
    let in_front = |net: &mut Builder, x| {
        let weight = net.parameter("w", vec![4, 6], NORMAL).unwrap();
        let x = net.reshape("rows", x, &[0, 0, -1]).unwrap();
        net.apply("reader", MatMul {}, &[weight, x]).unwrap()
    };
    assert_eq!(refuses(in_front, &calibration()), Reason::Operator("MatMul".into()));
}

#[test]
fn weights_that_must_stay_sparse_are_left() {
    let mut graph = network(|net, x| {
        let x = first(net, x);
        net.conv2d("reader", x, Conv2d::new(4, 3)).unwrap()
    });
    let weight = graph.find_value("reader.weight").unwrap();
    record(&mut graph, weight, Constraint::Sparse(Pattern::Single));
    let removed = channels(&graph, "first.weight", &[4]);
    let (_, _, report) = prune(&graph, &removed, &calibration());
    assert_eq!(report.left_out[0].reason, Reason::Constrained);
    // A record that is not understood must not be broken silently.
    graph.value_mut(weight).metadata[0].1 = "clustered 16".into();
    let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
    let mut pruned = graph.clone();
    remove(&mut pruned, &coupling, &removed).unwrap();
    let before = Before { network: &graph, coupling: &coupling, removed: &removed };
    let threads = Threads::new(1).unwrap();
    let error = least_squares(&mut pruned, &before, &Images::default(), &calibration(), &threads).unwrap_err();
    assert!(matches!(error, RecoverError::Constraint(_)), "{error}");
}

#[test]
fn errors_leave_the_network_as_it_was() {
    let mut graph = network(residual);
    let bias = graph.find_value("stem.bias").unwrap();
    graph.set_data(bias, Tensor::vector(vec![f32::NAN; 8]));
    let removed = channels(&graph, "one.a.weight", &[0, 3]);
    let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
    let mut pruned = graph.clone();
    remove(&mut pruned, &coupling, &removed).unwrap();
    let untouched = pruned.clone();
    let before = Before { network: &graph, coupling: &coupling, removed: &removed };
    let threads = Threads::new(1).unwrap();
    let mut mend = |images: &Images, options: &Calibration| {
        least_squares(&mut pruned, &before, images, options, &threads).unwrap_err().to_string()
    };
    let all = Images::default();
    assert!(mend(&all, &calibration()).contains("not finite"));
    assert!(mend(&all, &Calibration { ridge: -1.0, ..calibration() }).contains("ridge"));
    assert!(mend(&Images(0), &calibration()).contains("no samples"));
    for (id, value) in untouched.values() {
        let same = |data: Option<&Tensor>| data.map(|data| data.bytes().cloned());
        assert_eq!(same(value.data.as_ref()), same(pruned.value(id).data.as_ref()));
    }
}

#[test]
fn a_network_for_single_samples_is_mended() {
    let mut graph = network(residual);
    let input = graph.inputs()[0];
    graph.value_mut(input).shape = Some([1usize, 3, 6, 6].map(Dim::from).to_vec());
    infer_graph(&mut graph).unwrap();
    let removed = channels(&graph, "one.a.weight", &[0, 3]);
    let (_, mended, report) = prune(&graph, &removed, &calibration());
    assert!(report.layers[0].error[1] < report.layers[0].error[0]);
    assert_eq!(mended.value(input).known_shape(), Some(vec![1, 3, 6, 6]));
}

#[test]
fn more_ridge_changes_less() {
    let graph = network(residual);
    let removed = channels(&graph, "two.a.weight", &[0, 3]);
    let moved = |ridge: f64| {
        let (pruned, mended, report) = prune(&graph, &removed, &Calibration { ridge, ..calibration() });
        let weight = pruned.find_value("two.b.weight").unwrap();
        let [a, b] = [&pruned, &mended].map(|graph| graph.value(weight).data.as_ref().unwrap().to_f64s().unwrap());
        let distance: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
        (distance, report.layers[0].error[1])
    };
    let (little, much) = (moved(1e-4), moved(1.0));
    assert!(much.0 < 0.5 * little.0 && much.1 > little.1, "{little:?} {much:?}");
    // Without any the least is reached, if need be by a little.
    assert!(moved(0.0).1 <= little.1 + 1e-6);
}
