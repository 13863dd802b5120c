//! Kernels that move elements against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::arrangement::Layout;
use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, difference, reference, run};
use slimnet_engine::kernels::{Context, KernelError, NodeType, ValueType, Zeros, prepare};
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::index::Compress;
use slimnet_graph::ops::layout::{
    CenterCropPad, Concat, DepthToSpace, DepthToSpaceMode, Expand, Flatten, Pad, PadMode, Reshape, Slice, SpaceToDepth,
    Split, Squeeze, Tile, Transpose, Trilu, Unsqueeze,
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

/// Checks a movement that is large enough to be divided. Its gradient is what the definition, applied to the numbers of the
/// elements, says where each of them went.
fn check_large(op: impl Into<Op>, inputs: &[Option<Tensor>], outputs: usize, data: usize) {
    let op = op.into();
    let shapes: Vec<_> = inputs.iter().flatten().map(Tensor::shape).collect();
    let constant = |slot: usize| slot >= data && slot < inputs.len();
    assert_eq!(compare_forward(&op, inputs, outputs, constant).unwrap(), 0.0, "{op:?} of {shapes:?}");
    let (mut numbered, mut starts, mut next) = (inputs.to_vec(), vec![], 1);
    for input in numbered.iter_mut().take(data).flatten() {
        let end = next + input.len() as i64;
        *input = Tensor::from_values(input.shape().to_vec(), (next..end).collect()).unwrap();
        starts.push(next as usize);
        next = end;
    }
    // What is filled in comes from no element.
    for input in numbered.iter_mut().skip(data).flatten().filter(|input| input.element_type() == ElementType::F32) {
        *input = Tensor::from_values(input.shape().to_vec(), vec![0i64; input.len()]).unwrap();
    }
    let moved = reference(&op, &numbered, outputs);
    let mut expected = vec![0f64; next as usize];
    let mut all = inputs.to_vec();
    all.extend(vec![None; outputs]);
    for (output, places) in moved.iter().enumerate() {
        let dy = random(places.shape(), output as u64 + 50).unwrap();
        for (place, dy) in places.to_i64s().unwrap().iter().zip(dy.to_f64s().unwrap()) {
            expected[*place as usize] += dy;
        }
        all.push(Some(dy));
    }
    let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: inputs.len(), outputs }));
    let wanted: Vec<_> = (0..inputs.len())
        .map(|slot| {
            inputs[slot].as_ref().filter(|_| slot < data).map(|x| ValueType::new(ElementType::F32, x.shape().to_vec()))
        })
        .collect();
    let found = run(&gradient, &all, &wanted, constant, Context::default()).unwrap();
    for (slot, start) in starts.into_iter().enumerate() {
        let found = found[slot].as_ref().unwrap();
        let expected = expected[start..start + found.len()].iter().map(|&value| value as f32).collect();
        let expected = Tensor::from_values(found.shape().to_vec(), expected).unwrap();
        let most = difference(found, &expected);
        // Some are sums of hundreds of thousands of numbers.
        assert!(most < 5e-5, "gradient {slot} of {op:?} of {shapes:?}: {most}");
    }
}

#[test]
fn every_order_of_axes() {
    let orders = |rank: usize| {
        let mut orders = vec![vec![]];
        for axis in 0..rank as i64 {
            orders = orders
                .iter()
                .flat_map(|order: &Vec<i64>| {
                    (0..=order.len()).map(|place| [&order[..place], &[axis], &order[place..]].concat())
                })
                .collect();
        }
        orders
    };
    for shape in
        [&[19, 9, 25][..], &[3, 33, 17], &[9, 1, 8], &[2, 3, 4, 5], &[5, 16, 3, 9], &[40, 3, 24, 24], &[2, 0, 3]]
    {
        for order in orders(shape.len()) {
            check_large(Transpose { perm: Some(order) }, &[random(shape, 1)], 1, 1);
        }
    }
    check_large(Transpose { perm: None }, &[random(&[1000, 70], 1)], 1, 1);
    check_large(Transpose { perm: None }, &[random(&[3, 50_000], 1)], 1, 1);
    check_large(Transpose { perm: None }, &[random(&[50_000, 3], 1)], 1, 1);
    check_large(Transpose { perm: None }, &[random(&[], 1)], 1, 1);
    for data in [
        Tensor::from_values(vec![9, 70], (0..630).map(|value| value as u8).collect()).unwrap(),
        Tensor::from_values(vec![9, 70], (0..630i64).collect()).unwrap(),
        Tensor::from_values(vec![9, 70], (0..630).map(f64::from).collect()).unwrap(),
    ] {
        assert_eq!(compare_forward(&Transpose { perm: None }.into(), &[Some(data)], 1, |_| false).unwrap(), 0.0);
    }
}

#[test]
fn large_movements_and_their_gradients() {
    for (axis, lengths) in [(0, [3, 40, 1]), (1, [7, 0, 80]), (-1, [300, 1, 31])] {
        let shape = |length: usize| {
            let mut shape = [30, 20, 70];
            shape[if axis < 0 { 2 } else { axis as usize }] = length;
            shape
        };
        let inputs: Vec<_> =
            lengths.iter().enumerate().map(|(slot, &length)| random(&shape(length), slot as u64)).collect();
        check_large(Concat { axis }, &inputs, 1, 3);
        let total = random(&shape(lengths.iter().sum()), 1);
        let lengths: Vec<_> = lengths.iter().map(|&length| length as i64).collect();
        check_large(Split { axis, num_outputs: None }, &[total, integers(&lengths)], 3, 1);
    }
    let slice = |shape: &[usize], starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        let inputs = [random(shape, 1), integers(starts), integers(ends), integers(axes), integers(steps)];
        check_large(Slice {}, &inputs, 1, 1);
    };
    slice(&[40, 50, 60], &[3, 5], &[30, -5], &[0, -1], &[1, 1]);
    slice(&[40, 50, 60], &[-1, 59], &[i64::MIN, 3], &[1, 2], &[-3, -1]);
    slice(&[40, 50, 60], &[0], &[i64::MAX], &[1], &[7]);
    slice(&[40, 50, 60], &[10], &[10], &[1], &[1]);
    slice(&[100_000], &[1], &[99_998], &[0], &[1]);
    for mode in [PadMode::Constant, PadMode::Edge, PadMode::Reflect, PadMode::Wrap] {
        let pad = |shape: &[usize], pads: &[i64]| {
            check_large(Pad { mode }, &[random(shape, 1), integers(pads)], 1, 1);
        };
        pad(&[6, 3, 40, 40], &[0, 0, 4, 3, 0, 0, 2, 5]);
        pad(&[50, 3, 30], &[2, 1, 0, 1, 4, 0]);
        pad(&[50, 30], &[-3, -1, 5, 40]);
        pad(&[200, 1], &[0, 300, 0, 2]);
        pad(&[70_000], &[40_000, 10]);
    }
    let value = [random(&[3, 4], 1), integers(&[1, 2]), Some(Tensor::scalar(2.5f32)), integers(&[-1])];
    check_large(Pad { mode: PadMode::Constant }, &value, 1, 1);
    for (shape, repeats) in [
        (&[30, 40][..], &[7, 9][..]),
        (&[3, 1, 50], &[1, 90, 5]),
        (&[200], &[400]),
        (&[100, 200], &[1, 1]),
        (&[2, 3], &[0, 2]),
        (&[2, 3, 1, 2], &[3, 1, 2, 1]),
    ] {
        check_large(Tile {}, &[random(shape, 1), integers(repeats)], 1, 1);
    }
    for (from, to) in [
        (&[70][..], &[300, 70][..]),
        (&[40, 1], &[40, 900]),
        (&[3, 8, 1, 1], &[3, 8, 50, 60]),
        (&[5, 1, 60], &[4, 5, 200, 60]),
        (&[1, 70, 1], &[30, 70, 20]),
        (&[1], &[50_000]),
        (&[], &[3, 4]),
        (&[2, 1], &[2, 0]),
        (&[30, 40], &[1, 1]),
    ] {
        check_large(Expand {}, &[random(from, 1), integers(to)], 1, 1);
    }
    for upper in [false, true] {
        for diagonal in [i64::MIN, -7, 0, 3, 400, i64::MAX] {
            check_large(Trilu { upper }, &[random(&[4, 60, 170], 1), Some(Tensor::scalar(diagonal))], 1, 1);
        }
        check_large(Trilu { upper }, &[random(&[3, 3], 1)], 1, 1);
        check_large(Trilu { upper }, &[random(&[2, 0, 3], 1)], 1, 1);
    }
    for mode in [DepthToSpaceMode::DepthColumnRow, DepthToSpaceMode::ColumnRowDepth] {
        for blocksize in [1, 2, 3] {
            check_large(DepthToSpace { blocksize, mode }, &[random(&[3, 36, 20, 30], 1)], 1, 1);
        }
    }
    for blocksize in [1, 2, 5] {
        check_large(SpaceToDepth { blocksize }, &[random(&[3, 4, 40, 50], 1)], 1, 1);
    }
}

#[test]
fn the_middle_is_kept() {
    for (shape, lengths, axes) in [
        (&[5, 6][..], &[3, 9][..], None),
        (&[4, 7], &[9, 2], None),
        (&[50, 60, 70], &[40, 91], Some(vec![-1, 0])),
        (&[3, 4], &[0], Some(vec![1])),
        (&[0, 4], &[2], Some(vec![0])),
    ] {
        check_large(CenterCropPad { axes }, &[random(shape, 1), integers(lengths)], 1, 1);
    }
    check(CenterCropPad { axes: None }, &[random(&[3, 4], 1), integers(&[4, 3])], 1, &[0]);
}

#[test]
fn places_are_kept_by_a_condition() {
    let condition = |flags: &[bool]| {
        let numbers = flags.iter().map(|&flag| i128::from(flag)).collect();
        Some(Tensor::from_i128s(ElementType::Bool, vec![flags.len()], numbers).unwrap())
    };
    for axis in [None, Some(0), Some(1), Some(-2)] {
        check_large(Compress { axis }, &[random(&[3, 4, 2], 1), condition(&[true, false, true])], 1, 1);
        check_large(Compress { axis }, &[random(&[3, 4, 2], 1), condition(&[false, true])], 1, 1);
        check_large(Compress { axis }, &[random(&[3, 4, 2], 1), condition(&[false])], 1, 1);
    }
    // A condition that is known only when it runs is left to the reference, and is not differentiated.
    let inputs = [random(&[3, 4], 1), condition(&[true, false, true])];
    let op = Op::from(Compress { axis: Some(0) });
    assert_eq!(compare_forward(&op, &inputs, 1, |_| false).unwrap(), 0.0);
    assert!(matches!(compare_gradient(&op, &inputs, 1, &[0], |_| false), Err(KernelError::Unsupported(_))));
}

#[test]
fn gradients_that_do_not_arrive_are_zero() {
    let split = Op::from(Split { axis: 1, num_outputs: Some(2) });
    let gradient = Op::Gradient(Box::new(Gradient { of: split, inputs: 1, outputs: 2 }));
    let inputs = [random(&[2, 4], 1), None, None, None, random(&[2, 2], 2)];
    let wanted = [Some(ValueType::new(ElementType::F32, vec![2, 4]))];
    let found = run(&gradient, &inputs, &wanted, |_| false, Context::default()).unwrap();
    let dy = inputs[4].as_ref().unwrap().to_f64s().unwrap();
    assert_eq!(found[0].as_ref().unwrap().to_f64s().unwrap(), [0.0, 0.0, dy[0], dy[1], 0.0, 0.0, dy[2], dy[3]]);
}

#[test]
fn what_moves_nothing_is_not_run() {
    let x = Some(ValueType::new(ElementType::F32, vec![3, 1, 4]));
    let y = Some(ValueType::new(ElementType::F32, vec![1, 3, 4]));
    let op = Op::from(Transpose { perm: Some(vec![1, 0, 2]) });
    let kernel =
        prepare(&NodeType { op: &op, inputs: &[x], outputs: &[y], layout: Layout::Plain, zeros: Zeros::default() })
            .unwrap();
    assert_eq!(kernel.alias(0), Some(0));
}
