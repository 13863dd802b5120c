//! Normalisations and dropout against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, run};
use slimnet_engine::kernels::{Context, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::normalization::{
    BatchNormalization, Dropout, GroupNormalization, InstanceNormalization, LayerNormalization, LpNormalization, Lrn,
    MeanVarianceNormalization, RmsNormalization,
};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn random(shape: &[usize], mean: f64, deviation: f64, stream: u64) -> Option<Tensor> {
    let normal = Distribution::Normal { mean, deviation };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(5, stream), normal).unwrap())
}

fn check(op: impl Into<Op>, inputs: &[Option<Tensor>], outputs: usize, wanted: &[usize]) {
    let op = op.into();
    let forward = compare_forward(&op, inputs, outputs, |_| false).unwrap();
    assert!(forward < 1e-5, "{op:?}: {forward}");
    if !wanted.is_empty() {
        let gradient = compare_gradient(&op, inputs, outputs, wanted, |_| false).unwrap();
        assert!(gradient < 1e-3, "gradient of {op:?}: {gradient}");
    }
}

fn channels(count: usize) -> [Option<Tensor>; 4] {
    let variance = Distribution::Uniform { low: 0.5, high: 2.0 };
    let variance = tensor(ElementType::F32, vec![count], Stream::new(8, 0), variance).unwrap();
    [random(&[count], 1.0, 0.3, 2), random(&[count], 0.0, 1.0, 3), random(&[count], 0.0, 1.0, 4), Some(variance)]
}

fn batch(x: Option<Tensor>, count: usize) -> Vec<Option<Tensor>> {
    std::iter::once(x).chain(channels(count)).collect()
}

#[test]
fn batch_normalization() {
    for shape in [
        &[4, 3][..],
        &[2, 3, 5],
        &[2, 3, 3, 7],
        &[3, 2, 5, 7],
        &[130, 3],
        &[70, 5, 2],
        &[5, 70, 1],
        &[2, 11, 3, 3],
        &[1, 3],
    ] {
        let inputs = batch(random(shape, 0.5, 2.0, 1), shape[1]);
        check(BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: false }, &inputs, 1, &[0, 1, 2]);
        let training = BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: true };
        check(training.clone(), &inputs, 5, &[]);
        // The statistics are no part of the loss: their gradients are left out.
        let op = Op::from(training);
        let forward = slimnet_engine::kernels::testing::reference(&op, &inputs, 5);
        let dy = random(shape, 0.0, 1.0, 7);
        let mut all = inputs.clone();
        all.extend(forward.into_iter().map(Some));
        all.extend([dy.clone(), None, None, None, None]);
        let types: Vec<_> = [0, 1, 2]
            .iter()
            .map(|&slot| Some(ValueType::new(ElementType::F32, inputs[slot].as_ref().unwrap().shape().to_vec())))
            .chain([None, None])
            .collect();
        let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: 5, outputs: 5 }));
        let found = run(&gradient, &all, &types, |_| false, Context::default()).unwrap();
        let weights = dy.unwrap().to_f64s().unwrap();
        let scalar = |slot: usize, element: usize, step: f64| {
            let mut doubles: Vec<_> = inputs
                .iter()
                .map(|input| input.as_ref().unwrap())
                .map(|input| (input.shape().to_vec(), input.to_f64s().unwrap()))
                .collect();
            doubles[slot].1[element] += step;
            let doubles: Vec<_> =
                doubles.into_iter().map(|(shape, values)| Some(Tensor::from_values(shape, values).unwrap())).collect();
            let y = slimnet_engine::kernels::testing::reference(&op, &doubles, 1)[0].to_f64s().unwrap();
            y.iter().zip(&weights).map(|(y, weight)| y * weight).sum::<f64>()
        };
        for slot in 0..3 {
            let found = found[slot].as_ref().unwrap().to_f64s().unwrap();
            for (element, found) in found.iter().enumerate() {
                let expected = (scalar(slot, element, 1e-4) - scalar(slot, element, -1e-4)) / 2e-4;
                assert!(
                    (found - expected).abs() < 1e-3 * expected.abs().max(1.0),
                    "{shape:?} {slot} {element}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn variance_survives_a_large_mean() {
    let inputs = batch(random(&[8, 2, 40], 1000.0, 1.0, 1), 2);
    let op = Op::from(BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: true });
    assert!(compare_forward(&op, &inputs, 5, |_| false).unwrap() < 1e-3);
}

#[test]
fn normalisation_of_groups() {
    let inputs = |places: &[usize]| {
        vec![random(&[2, 4, 3, 2], 0.5, 2.0, 1), random(places, 1.0, 0.3, 2), random(places, 0.0, 1.0, 3)]
    };
    for axis in [-1, 2] {
        let places: &[usize] = if axis == -1 { &[2] } else { &[3, 2] };
        check(LayerNormalization { axis, epsilon: 1e-5, stash_type: 1 }, &inputs(places), 1, &[0, 1, 2]);
        check(LayerNormalization { axis, epsilon: 1e-5, stash_type: 1 }, &inputs(places)[..2], 1, &[0, 1]);
        check(RmsNormalization { axis, epsilon: 1e-5, stash_type: 1 }, &inputs(places)[..2], 1, &[0, 1]);
    }
    check(InstanceNormalization { epsilon: 1e-5 }, &inputs(&[4]), 1, &[0, 1, 2]);
    check(GroupNormalization { epsilon: 1e-5, num_groups: 2, stash_type: 1 }, &inputs(&[4]), 1, &[0, 1, 2]);
    let op = Op::from(LayerNormalization { axis: -1, epsilon: 1e-5, stash_type: 1 });
    assert!(compare_gradient(&op, &inputs(&[2]), 1, &[0, 1, 2], |_| false).is_ok(), "there is a gradient");
}

/// The outputs of a node and of its gradient on a number of threads, with a gradient of the first output only.
fn outputs_and_gradients(op: &Op, inputs: &[Option<Tensor>], outputs: usize, threads: usize) -> Vec<Tensor> {
    let types = |values: &[Option<Tensor>], count: usize| -> Vec<Option<ValueType>> {
        let of = |value: &Tensor| ValueType::new(ElementType::F32, value.shape().to_vec());
        (0..values.len()).map(|slot| values[slot].as_ref().filter(|_| slot < count).map(of)).collect()
    };
    let expected: Vec<_> =
        slimnet_engine::kernels::testing::reference(op, inputs, outputs).into_iter().map(Some).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut found = run(op, inputs, &types(&expected, outputs), |_| false, Context::default()).unwrap();
        let mut all = [inputs, &found, &[random(expected[0].as_ref().unwrap().shape(), 0.2, 1.0, 9)]].concat();
        all.resize(inputs.len() + 2 * outputs, None);
        let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: inputs.len(), outputs }));
        found.extend(run(&gradient, &all, &types(inputs, 3), |_| false, Context::default()).unwrap());
        found.into_iter().flatten().collect()
    })
}

#[test]
fn threads_change_no_bit() {
    let layer = |shape: &[usize], places: usize| {
        [random(shape, 0.5, 2.0, 1), random(&[places], 1.0, 0.3, 2), random(&[places], 0.0, 1.0, 3)].to_vec()
    };
    let training = Op::from(BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: true });
    let mut cases = Vec::new();
    for shape in [[130, 90, 1, 1], [40, 64, 3, 3], [20, 8, 19, 19]] {
        cases.push((training.clone(), batch(random(&shape, 0.5, 2.0, 1), shape[1]), 5));
    }
    cases.push((LayerNormalization { axis: -1, epsilon: 1e-5, stash_type: 1 }.into(), layer(&[700, 93], 93), 1));
    cases.push((InstanceNormalization { epsilon: 1e-5 }.into(), layer(&[9, 40, 9, 9], 40), 1));
    cases.push((Lrn { alpha: 0.1, beta: 0.75, bias: 1.0, size: 5 }.into(), layer(&[9, 40, 9, 9], 1)[..1].to_vec(), 1));
    cases.push((LpNormalization { axis: 1, p: 2 }.into(), layer(&[9, 40, 9, 9], 1)[..1].to_vec(), 1));
    for (op, inputs, outputs) in cases {
        assert_eq!(outputs_and_gradients(&op, &inputs, outputs, 1), outputs_and_gradients(&op, &inputs, outputs, 3));
        assert!(compare_forward(&op, &inputs, outputs, |_| false).unwrap() < 1e-5, "{op:?}");
    }
}

#[test]
fn gradients_of_many_groups_are_added() {
    // More groups than one part of the work has.
    let (groups, length) = (700, 93);
    let inputs =
        [random(&[groups, length], 0.5, 2.0, 1), random(&[length], 1.0, 0.3, 2), random(&[length], 0.0, 1.0, 3)];
    let op = Op::from(LayerNormalization { axis: -1, epsilon: 1e-5, stash_type: 1 });
    let found = outputs_and_gradients(&op, &inputs, 1, 2);
    let numbers = |tensor: &Tensor| tensor.to_f64s().unwrap();
    let (x, scale) = (numbers(inputs[0].as_ref().unwrap()), numbers(inputs[1].as_ref().unwrap()));
    let dy = numbers(random(&[groups, length], 0.2, 1.0, 9).as_ref().unwrap());
    let [mut dx, mut dscale, mut dbias] = [vec![0f64; x.len()], vec![0f64; length], vec![0f64; length]];
    for start in (0..x.len()).step_by(length) {
        let mean = |value: &dyn Fn(usize) -> f64| (0..length).map(value).sum::<f64>() / length as f64;
        let centre = mean(&|i| x[start + i]);
        let inverse = 1.0 / (mean(&|i| (x[start + i] - centre).powi(2)) + 1e-5).sqrt();
        let along = |i: usize| (x[start + i] - centre) * inverse;
        let constant = mean(&|i| dy[start + i] * scale[i]);
        let linear = mean(&|i| dy[start + i] * scale[i] * along(i));
        for i in 0..length {
            dx[start + i] = inverse * (dy[start + i] * scale[i] - constant - along(i) * linear);
            dscale[i] += along(i) * dy[start + i];
            dbias[i] += dy[start + i];
        }
    }
    for (found, expected) in found[1..].iter().zip([dx, dscale, dbias]) {
        let far = numbers(found).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-3, "{far}");
    }
}

#[test]
fn local_response_normalisation() {
    for shape in [&[2, 5][..], &[1, 1, 3], &[2, 7, 3, 2], &[1, 4, 10, 14], &[2, 0, 3], &[0, 3, 2], &[2, 3, 0]] {
        let x = random(shape, 0.5, 2.0, 1);
        for (size, alpha, beta, bias) in
            [(1, 0.5, 0.75, 1.0), (3, 1e-2, 0.75, 2.0), (4, 0.3, 0.5, 1.0), (5, 0.3, 1.3, 0.5), (50, 0.3, 0.75, 1.0)]
        {
            check(Lrn { alpha, beta, bias, size }, std::slice::from_ref(&x), 1, &[0]);
        }
    }
}

#[test]
fn normalisation_over_any_axes() {
    let shapes =
        [&[7][..], &[1], &[2, 5], &[3, 2, 4], &[2, 3, 2, 5], &[3, 70], &[70, 3], &[2, 130], &[2, 1, 66], &[2, 0, 3]];
    for shape in shapes {
        let x = [random(shape, 0.5, 2.0, 1)];
        let rank = shape.len() as i64;
        for axis in -rank..rank {
            check(LpNormalization { axis, p: 1 }, &x, 1, &[0]);
            check(LpNormalization { axis, p: 2 }, &x, 1, &[0]);
        }
        for chosen in 1..1 << rank {
            let axes: Vec<i64> = (0..rank).filter(|axis| chosen >> axis & 1 == 1).collect();
            // A group of one has no deviation, and nearly none is what finite differences see.
            if axes.iter().map(|&axis| shape[axis as usize]).product::<usize>() != 1 {
                check(MeanVarianceNormalization { axes }, &x, 1, &[0]);
            }
        }
    }
    let zeros = [Some(Tensor::from_values(vec![2, 3], vec![0f32; 6]).unwrap())];
    for op in [Op::from(LpNormalization { axis: 1, p: 2 }), MeanVarianceNormalization { axes: vec![1] }.into()] {
        assert_eq!(compare_forward(&op, &zeros, 1, |_| false).unwrap(), 0.0);
    }
}

#[test]
fn dropout_keeps_the_mean_and_passes_what_it_kept() {
    let x = Some(Tensor::from_values(vec![50_000], vec![1f32; 50_000]).unwrap());
    let op = Op::from(Dropout { seed: None });
    let dropped = |ratio: f32, training: bool, step: u64| {
        let flag = Tensor::from_f64s(ElementType::Bool, vec![], vec![f64::from(u8::from(training))]).unwrap();
        let inputs = [x.clone(), Some(Tensor::scalar(ratio)), Some(flag)];
        let types = [
            Some(ValueType::new(ElementType::F32, vec![50_000])),
            Some(ValueType::new(ElementType::Bool, vec![50_000])),
        ];
        let context = Context { seed: 1, step, node: 7 };
        let outputs = run(&op, &inputs, &types, |slot| slot > 0, context).unwrap();
        let y = outputs[0].clone().unwrap();
        let mut all: Vec<_> = inputs.to_vec();
        all.extend(outputs);
        all.extend([x.clone(), None]);
        let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: 3, outputs: 2 }));
        let dx = run(&gradient, &all, &[types[0].clone(), None, None], |slot| slot == 1 || slot == 2, context).unwrap();
        // With an input and a gradient of one everywhere both are the mask, scaled.
        assert_eq!(dx[0].as_ref(), Some(&y));
        let y = y.values::<f32>().unwrap().to_vec();
        if training && ratio > 0.0 {
            // Which elements are dropped is a function of seed, step, node and element that never changes.
            let (stream, least) = (context.stream(), (f64::from(ratio) * 2f64.powi(32)) as u64);
            for (index, y) in y.iter().enumerate() {
                let number = stream.bits(index as u64 / 2);
                let bits = if index % 2 == 0 { number >> 32 } else { number & 0xFFFF_FFFF };
                assert_eq!(*y != 0.0, bits >= least, "{index}");
            }
        }
        y
    };
    assert!(dropped(0.3, false, 0).iter().all(|&y| y == 1.0));
    assert!(dropped(0.0, true, 0).iter().all(|&y| y == 1.0));
    assert!(dropped(1.0, true, 0).iter().all(|&y| y == 0.0));
    for ratio in [0.1f32, 0.5, 0.9] {
        let y = dropped(ratio, true, 0);
        let kept = y.iter().filter(|&&y| y != 0.0).count() as f64 / 50_000.0;
        assert!((kept - f64::from(1.0 - ratio)).abs() < 0.01, "{ratio}: {kept}");
        assert!(y.iter().all(|&y| y == 0.0 || (y - 1.0 / (1.0 - ratio)).abs() < 1e-5));
        assert_eq!(y, dropped(ratio, true, 0));
        assert_ne!(y, dropped(ratio, true, 1));
    }
}

#[test]
fn batch_normalization_of_many_columns() {
    // Rows of one vector, of a part of one, of several blocks and of several parts.
    for shape in [
        vec![2, 1, 5],
        vec![5, 3, 4, 4],
        vec![1, 8, 12, 12],
        vec![3, 17, 5],
        vec![2, 50, 3, 2],
        vec![4, 64, 2, 2],
        vec![3, 80, 9, 11],
        vec![9, 16, 40, 40],
        vec![2, 3, 2, 3, 4],
    ] {
        let (count, small) = (shape[1], shape.iter().product::<usize>() < 300);
        let inputs = batch(random(&shape, 3.0, 2.0, 1), count);
        let wanted: &[usize] = if small { &[0, 1, 2] } else { &[] };
        check(BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: false }, &inputs, 1, wanted);
        let training = Op::from(BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: true });
        assert!(compare_forward(&training, &inputs, 3, |_| false).unwrap() < 1e-5, "{shape:?}");
    }
}
