//! Reductions and softmax against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, run};
use slimnet_engine::kernels::{Context, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::normalization::{Softmax, SoftmaxKind};
use slimnet_graph::ops::reduction::{CumSum, Reduce, ReduceKind, TopK};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn positive(shape: &[usize]) -> Option<Tensor> {
    let uniform = Distribution::Uniform { low: 0.2, high: 2.0 };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(5, 1), uniform).unwrap())
}

#[test]
fn reductions() {
    for &kind in ReduceKind::ALL {
        for axes in [None, Some(vec![]), Some(vec![0]), Some(vec![-1]), Some(vec![0, 2]), Some(vec![1, 2])] {
            for keepdims in [false, true] {
                let op = Op::Reduce(kind, Reduce { keepdims, noop_with_empty_axes: false });
                let inputs = [positive(&[2, 3, 4]), axes.clone().map(Tensor::vector::<i64>)];
                let constant = |slot: usize| slot == 1;
                let forward = compare_forward(&op, &inputs, 1, constant).unwrap();
                assert!(forward < 1e-5, "{op:?} {axes:?}: {forward}");
                let gradient = compare_gradient(&op, &inputs, 1, &[0], constant).unwrap();
                assert!(gradient < 2e-4, "gradient of {op:?} {axes:?}: {gradient}");
            }
        }
    }
}

#[test]
fn long_sums_stay_exact() {
    let x = Some(Tensor::from_values(vec![3_000_000], vec![0.1f32; 3_000_000]).unwrap());
    let op = Op::Reduce(ReduceKind::Sum, Reduce { keepdims: false, noop_with_empty_axes: false });
    assert!(compare_forward(&op, &[x], 1, |_| false).unwrap() < 1e-6);
}

#[test]
fn softmax() {
    for kind in [SoftmaxKind::Softmax, SoftmaxKind::LogSoftmax] {
        for axis in [0, 1, -1] {
            let op = Op::Softmax(kind, Softmax { axis });
            for shape in [&[2, 3, 4][..], &[40, 5, 2]] {
                let forward = compare_forward(&op, &[positive(shape)], 1, |_| false).unwrap();
                assert!(forward < 1e-5, "{op:?}: {forward}");
            }
            let gradient = compare_gradient(&op, &[positive(&[2, 3, 4])], 1, &[0], |_| false).unwrap();
            assert!(gradient < 1e-4, "gradient of {op:?}: {gradient}");
        }
        let far = Some(Tensor::from_values(vec![1, 3], vec![1000f32, -1000.0, 999.0]).unwrap());
        assert!(compare_forward(&Op::Softmax(kind, Softmax { axis: 1 }), &[far], 1, |_| false).unwrap() < 1e-5);
    }
}

#[test]
fn softmax_of_rows_of_any_length() {
    for kind in [SoftmaxKind::Softmax, SoftmaxKind::LogSoftmax] {
        for length in [1, 2, 10, 15, 16, 17, 31, 32, 33, 49, 64, 1000] {
            for (shape, axis) in [([3, length], 1), ([length, 3], 0), ([length, 35], 0)] {
                let op = Op::Softmax(kind, Softmax { axis });
                let forward = compare_forward(&op, &[positive(&shape)], 1, |_| false).unwrap();
                assert!(forward < 2e-6, "{op:?} of {shape:?}: {forward}");
                if length < 50 {
                    let gradient = compare_gradient(&op, &[positive(&shape)], 1, &[0], |_| false).unwrap();
                    assert!(gradient < 1e-4, "gradient of {op:?} of {shape:?}: {gradient}");
                }
                // Far below 0 the largest must not be taken for 0; what is no number must not vanish.
                let mut values: Vec<f32> = (0..shape[0] * shape[1]).map(|index| -500.0 - (index % 7) as f32).collect();
                for wrong in [f32::NEG_INFINITY, f32::NAN, f32::INFINITY] {
                    let x = Tensor::from_values(shape.to_vec(), values.clone()).unwrap();
                    let forward = compare_forward(&op, &[Some(x)], 1, |_| false).unwrap();
                    assert!(forward < 2e-6, "{op:?} of {shape:?} before {wrong}: {forward}");
                    *values.last_mut().unwrap() = wrong;
                }
                let x = Tensor::from_values(shape.to_vec(), values).unwrap();
                assert!(compare_forward(&op, &[Some(x)], 1, |_| false).unwrap() < 2e-6, "{op:?} of {shape:?}");
            }
        }
    }
}

#[test]
fn sums_in_parts() {
    for kind in [ReduceKind::Sum, ReduceKind::Mean] {
        for axes in [vec![0], vec![1], vec![2], vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]] {
            for shape in [[64, 49, 33], [2, 20_001, 3], [3, 2, 20_001]] {
                let op = Op::Reduce(kind, Reduce { keepdims: false, noop_with_empty_axes: false });
                let inputs = [positive(&shape), Some(Tensor::vector::<i64>(axes.clone()))];
                let forward = compare_forward(&op, &inputs, 1, |slot| slot == 1).unwrap();
                assert!(forward < 1e-5, "{op:?} of {shape:?} over {axes:?}: {forward}");
            }
        }
    }
}

#[test]
fn running_sums() {
    for (exclusive, reverse) in [(false, false), (false, true), (true, false), (true, true)] {
        let op = Op::from(CumSum { exclusive, reverse });
        for axis in [0, 1, -1] {
            for shape in [&[2, 3, 4][..], &[1, 1, 1], &[2, 0, 3], &[3, 7, 70]] {
                let inputs = [positive(shape), Some(Tensor::scalar(axis))];
                let forward = compare_forward(&op, &inputs, 1, |slot| slot == 1).unwrap();
                assert!(forward < 1e-6, "{op:?} of {shape:?} along {axis}: {forward}");
                if shape.iter().product::<usize>() < 100 {
                    let gradient = compare_gradient(&op, &inputs, 1, &[0], |slot| slot == 1).unwrap();
                    assert!(gradient < 1e-4, "gradient of {op:?} of {shape:?} along {axis}: {gradient}");
                }
            }
        }
        let long = Some(Tensor::from_values(vec![1_000_000], vec![0.1f32; 1_000_000]).unwrap());
        assert!(compare_forward(&op, &[long, Some(Tensor::scalar(0i64))], 1, |slot| slot == 1).unwrap() < 1e-6);
        // An axis that is known only when it runs.
        let inputs = [positive(&[2, 3]), Some(Tensor::scalar(1i64))];
        assert!(compare_forward(&op, &inputs, 1, |_| false).unwrap() < 1e-6);
    }
}

#[test]
fn the_largest_are_found() {
    for largest in [false, true] {
        for axis in [0, 1, -1] {
            for count in [0i64, 1, 2, 3] {
                let op = Op::from(TopK { axis, largest, sorted: true });
                for shape in [&[3, 4, 5][..], &[3, 3, 3], &[40, 30, 20], &[3, 3, 0]] {
                    if shape[if axis < 0 { 2 } else { axis as usize }] < count as usize {
                        continue;
                    }
                    let inputs = [positive(shape), Some(Tensor::vector(vec![count]))];
                    let forward = compare_forward(&op, &inputs, 2, |slot| slot == 1).unwrap();
                    assert!(forward == 0.0, "{op:?} of {shape:?}: {forward}");
                    if shape.iter().product::<usize>() < 100 {
                        let gradient = compare_gradient(&op, &inputs, 2, &[0], |slot| slot == 1).unwrap();
                        assert!(gradient < 1e-4, "gradient of {op:?} of {shape:?}: {gradient}");
                    }
                }
            }
        }
        // Ties and NaN.
        let values = vec![1.0, f32::NAN, 2.0, -0.0, 0.0, 2.0, f32::INFINITY, -1.0, f32::NAN, f32::NEG_INFINITY];
        for count in 1i64..=10 {
            let inputs = [Some(Tensor::vector(values.clone())), Some(Tensor::vector(vec![count]))];
            let op = Op::from(TopK { axis: 0, largest, sorted: false });
            assert!(compare_forward(&op, &inputs, 2, |slot| slot == 1).unwrap() == 0.0);
        }
    }
}

#[test]
fn indices_that_nobody_keeps_are_found_again() {
    let op = Op::from(TopK { axis: 0, largest: true, sorted: true });
    let (x, count) = (Tensor::vector(vec![1f32, 5.0, 3.0]), Tensor::vector(vec![2i64]));
    let kind = |length: usize| Some(ValueType::new(ElementType::F32, vec![length]));
    let inputs = [Some(x.clone()), Some(count.clone())];
    let found = run(&op, &inputs, &[kind(2), None], |slot| slot == 1, Context::default()).unwrap();
    assert_eq!(found[0].as_ref().unwrap().values::<f32>().unwrap()[..], [5.0, 3.0]);
    let gradient = Op::Gradient(Box::new(Gradient { of: op, inputs: 2, outputs: 2 }));
    let all = [Some(x), Some(count), None, None, Some(Tensor::vector(vec![7f32, 8.0])), None];
    let found = run(&gradient, &all, &[kind(3), None], |slot| slot == 1, Context::default()).unwrap();
    assert_eq!(found[0].as_ref().unwrap().values::<f32>().unwrap()[..], [0.0, 7.0, 8.0]);
}
