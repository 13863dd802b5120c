//! Kernels that move elements against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient};
use slimnet_graph::Op;
use slimnet_graph::ops::index::{Gather, GatherElements};
use slimnet_graph::ops::layout::{
    Concat, DepthToSpace, DepthToSpaceMode, Expand, Flatten, Pad, PadMode, Reshape, Slice, SpaceToDepth, Split,
    Squeeze, Tile, Transpose, Trilu, Unsqueeze,
};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn random(shape: &[usize], stream: u64) -> Option<Tensor> {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(5, stream), normal).unwrap())
}

fn integers(values: &[i64]) -> Option<Tensor> {
    Some(Tensor::vector(values.to_vec()))
}

fn check(op: impl Into<Op>, inputs: &[Option<Tensor>], outputs: usize, wanted: &[usize]) {
    let op = op.into();
    let constant = |slot: usize| !wanted.contains(&slot);
    let forward = compare_forward(&op, inputs, outputs, constant).unwrap();
    assert!(forward == 0.0, "{op:?}: {forward}");
    let gradient = compare_gradient(&op, inputs, outputs, wanted, constant).unwrap();
    assert!(gradient < 1e-4, "gradient of {op:?}: {gradient}");
}

#[test]
fn shapes_change_without_work() {
    check(Reshape { allowzero: false }, &[random(&[2, 3, 4], 1), integers(&[4, -1])], 1, &[0]);
    check(Flatten { axis: 2 }, &[random(&[2, 3, 4], 1)], 1, &[0]);
    check(Squeeze {}, &[random(&[2, 1, 4], 1), integers(&[1])], 1, &[0]);
    check(Unsqueeze {}, &[random(&[2, 4], 1), integers(&[0, 3])], 1, &[0]);
}

#[test]
fn elements_move() {
    for perm in [None, Some(vec![0, 2, 1]), Some(vec![1, 0, 2]), Some(vec![2, 0, 1])] {
        check(Transpose { perm }, &[random(&[2, 3, 4], 1)], 1, &[0]);
    }
    check(Concat { axis: 1 }, &[random(&[2, 3, 2], 1), random(&[2, 1, 2], 2), random(&[2, 2, 2], 3)], 1, &[0, 1, 2]);
    check(Concat { axis: -1 }, &[random(&[2, 3], 1), random(&[2, 1], 2)], 1, &[1]);
    check(Split { axis: 1, num_outputs: None }, &[random(&[2, 5], 1), integers(&[2, 3])], 2, &[0]);
    check(Split { axis: 0, num_outputs: Some(3) }, &[random(&[5, 2], 1)], 3, &[0]);
    let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        check(
            Slice {},
            &[random(&[5, 4], 1), integers(starts), integers(ends), integers(axes), integers(steps)],
            1,
            &[0],
        );
    };
    slice(&[1], &[4], &[0], &[2]);
    slice(&[-1, 0], &[-9, 3], &[0, 1], &[-2, 1]);
    for mode in [PadMode::Constant, PadMode::Edge, PadMode::Reflect, PadMode::Wrap] {
        check(Pad { mode }, &[random(&[3, 4], 1), integers(&[1, 2, 2, 1])], 1, &[0]);
    }
    let inputs = [random(&[3, 4], 1), integers(&[1, -1, 0, 2]), Some(Tensor::scalar(2.5f32))];
    check(Pad { mode: PadMode::Constant }, &inputs, 1, &[0]);
    check(Tile {}, &[random(&[2, 3], 1), integers(&[2, 3])], 1, &[0]);
    check(Expand {}, &[random(&[2, 1, 3], 1), integers(&[2, 2, 4, 3])], 1, &[0]);
    check(Trilu { upper: false }, &[random(&[2, 4, 4], 1), Some(Tensor::scalar(1i64))], 1, &[0]);
    for mode in [DepthToSpaceMode::DepthColumnRow, DepthToSpaceMode::ColumnRowDepth] {
        check(DepthToSpace { blocksize: 2, mode }, &[random(&[1, 8, 2, 3], 1)], 1, &[0]);
    }
    check(SpaceToDepth { blocksize: 2 }, &[random(&[1, 2, 4, 2], 1)], 1, &[0]);
}

#[test]
fn large_moves_are_divided() {
    for (op, outputs) in
        [(Op::from(Transpose { perm: Some(vec![1, 0]) }), 1), (Op::from(Split { axis: 1, num_outputs: Some(2) }), 2)]
    {
        assert_eq!(compare_forward(&op, &[random(&[300, 402], 1)], outputs, |_| false).unwrap(), 0.0);
    }
    let pad = Pad { mode: PadMode::Constant };
    assert_eq!(
        compare_forward(&pad.into(), &[random(&[300, 300], 1), integers(&[50, 2, 30, 1])], 1, |slot| slot > 0).unwrap(),
        0.0
    );
}

#[test]
fn indices_choose() {
    let indices = |shape: &[usize], values: &[i64]| Some(Tensor::from_values(shape.to_vec(), values.to_vec()).unwrap());
    for axis in [0, 1, -1] {
        check(Gather { axis }, &[random(&[3, 4, 5], 1), indices(&[2, 2], &[0, -1, 2, 0])], 1, &[0]);
    }
    check(Gather { axis: 0 }, &[random(&[3, 4], 1), Some(Tensor::scalar(1i64))], 1, &[0]);
    check(GatherElements { axis: 1 }, &[random(&[3, 4], 1), indices(&[2, 3], &[0, 3, 3, -1, 1, 2])], 1, &[0]);
    let wrong = compare_forward(&Gather { axis: 0 }.into(), &[random(&[3, 4], 1), indices(&[1], &[2])], 1, |_| false);
    assert!(wrong.is_ok());
}
