//! Reductions and softmax against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient};
use slimnet_graph::Op;
use slimnet_graph::ops::normalization::{Softmax, SoftmaxKind};
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
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
