//! Kernels that choose and put by indices against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, run};
use slimnet_engine::kernels::{Context, KernelError, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::index::{
    Gather, GatherElements, GatherNd, ScatterElements, ScatterNd, ScatterReduction as Reduction,
};
use slimnet_graph::ops::layout::ReverseSequence;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn random(shape: &[usize], stream: u64) -> Option<Tensor> {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(5, stream), normal).unwrap())
}

fn indices(shape: &[usize], values: &[i64]) -> Option<Tensor> {
    Some(Tensor::from_values(shape.to_vec(), values.to_vec()).unwrap())
}

/// Indices between −length and length.
fn any_indices(shape: &[usize], length: usize, stream: u64) -> Option<Tensor> {
    let count: usize = shape.iter().product();
    let numbers = Stream::new(9, stream);
    let index = |place| (numbers.bits(place as u64) % (2 * length as u64)) as i64 - length as i64;
    indices(shape, &(0..count).map(index).collect::<Vec<_>>())
}

fn check(op: impl Into<Op>, inputs: &[Option<Tensor>], wanted: &[usize]) {
    let op = op.into();
    let shapes: Vec<_> = inputs.iter().flatten().map(Tensor::shape).collect();
    let forward = compare_forward(&op, inputs, 1, |_| false).unwrap();
    assert!(forward < 1e-6, "{op:?} of {shapes:?}: {forward}");
    for &slot in wanted {
        let gradient = compare_gradient(&op, inputs, 1, &[slot], |_| false).unwrap();
        assert!(gradient < 1e-4, "gradient {slot} of {op:?} of {shapes:?}: {gradient}");
    }
    if wanted.is_empty() {
        return;
    }
    let gradient = compare_gradient(&op, inputs, 1, wanted, |_| false).unwrap();
    assert!(gradient < 1e-4, "gradient of {op:?} of {shapes:?}: {gradient}");
}

#[test]
fn slices_are_gathered() {
    for axis in [0, 1, -1] {
        check(Gather { axis }, &[random(&[3, 4, 5], 1), indices(&[2, 2], &[0, -1, 2, 0])], &[0]);
    }
    check(Gather { axis: 0 }, &[random(&[3, 4], 1), Some(Tensor::scalar(1i64))], &[0]);
    check(Gather { axis: 1 }, &[random(&[3, 4], 1), Some(Tensor::vector(vec![3i32, -4, 3]))], &[0]);
    check(Gather { axis: 1 }, &[random(&[2, 3, 0], 1), indices(&[2], &[0, -3])], &[0]);
    check(Gather { axis: 0 }, &[random(&[3, 4], 1), indices(&[0], &[])], &[0]);
    // Large enough to be divided: into blocks, and into rows of one block.
    let ops = [(0, &[40, 16][..]), (0, &[40, 3]), (1, &[20, 30, 5]), (2, &[4, 5, 9])];
    for (axis, shape) in ops {
        let at = axis as usize;
        let op = Gather { axis };
        let inputs = [random(shape, 1), any_indices(&[2000], shape[at], 2)];
        assert_eq!(compare_forward(&op.clone().into(), &inputs, 1, |_| false).unwrap(), 0.0);
        assert!(many_gradients_agree(&op.into(), &inputs), "gradient of Gather along {axis} of {shape:?}");
    }
}

/// Whether the gradient with respect to the data is that of the definition: adding what arrives, in the order of places.
fn many_gradients_agree(op: &Op, inputs: &[Option<Tensor>]) -> bool {
    let data = inputs[0].as_ref().unwrap();
    let numbers = Tensor::from_values(data.shape().to_vec(), (0..data.len() as i64).collect()).unwrap();
    let mut numbered = inputs.to_vec();
    numbered[0] = Some(numbers);
    let places = slimnet_engine::kernels::testing::reference(op, &numbered, 1).remove(0);
    let dy = random(places.shape(), 8);
    let mut expected = vec![0f32; data.len()];
    for (place, dy) in places.to_i64s().unwrap().iter().zip(dy.as_ref().unwrap().values::<f32>().unwrap().iter()) {
        expected[*place as usize] += dy;
    }
    let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: 2, outputs: 1 }));
    let all = [inputs[0].clone(), inputs[1].clone(), None, dy];
    let wanted = [Some(ValueType::new(ElementType::F32, data.shape().to_vec())), None];
    let found = run(&gradient, &all, &wanted, |_| false, Context::default()).unwrap();
    found[0].as_ref().unwrap().values::<f32>().unwrap()[..] == expected
}

#[test]
fn elements_are_gathered() {
    check(GatherElements { axis: 1 }, &[random(&[3, 4], 1), indices(&[2, 3], &[0, 3, 3, -1, 1, 2])], &[0]);
    check(GatherElements { axis: 0 }, &[random(&[3, 2], 1), indices(&[4, 2], &[0, 2, 2, -1, 1, 2, 0, 0])], &[0]);
    for axis in [0, 1, 2, -1] {
        check(GatherElements { axis }, &[random(&[3, 4, 5], 1), any_indices(&[3, 4, 5], 3, 3)], &[0]);
        check(GatherElements { axis }, &[random(&[3, 4, 5], 1), any_indices(&[2, 3, 2], 3, 3)], &[0]);
    }
    check(GatherElements { axis: 1 }, &[random(&[2, 3], 1), indices(&[2, 0], &[])], &[0]);
    for (axis, shape) in [(0, [300, 200]), (1, [300, 200]), (1, [150, 200])] {
        let op = Op::from(GatherElements { axis });
        let inputs = [random(&[300, 200], 1), any_indices(&shape, 200, 3)];
        assert_eq!(compare_forward(&op, &inputs, 1, |_| false).unwrap(), 0.0);
        assert!(many_gradients_agree(&op, &inputs));
    }
}

#[test]
fn tuples_gather() {
    let gather = |batch_dims, data: &[usize], shape: &[usize], length| {
        check(GatherNd { batch_dims }, &[random(data, 1), any_indices(shape, length, 4)], &[0]);
    };
    gather(0, &[3, 4, 5], &[6, 1], 3);
    gather(0, &[3, 4, 5], &[2, 3, 2], 3);
    gather(0, &[3, 4, 5], &[7, 3], 3);
    gather(0, &[3, 4], &[2], 3);
    gather(1, &[2, 4, 5], &[2, 1], 4);
    gather(1, &[2, 4, 5], &[2, 3, 2], 4);
    gather(2, &[2, 3, 4, 2], &[2, 3, 2, 1], 4);
    gather(0, &[3, 0], &[5, 1], 3);
    let large = [random(&[60, 40, 20], 1), any_indices(&[5000, 2], 40, 4)];
    let op = Op::from(GatherNd { batch_dims: 0 });
    assert_eq!(compare_forward(&op, &large, 1, |_| false).unwrap(), 0.0);
    assert!(many_gradients_agree(&op, &large));
}

#[test]
fn elements_are_scattered() {
    for reduction in [Reduction::None, Reduction::Add] {
        for axis in [0, 1, -1] {
            for shape in [[3, 4, 5], [2, 3, 2], [1, 1, 1], [3, 0, 5]] {
                let inputs = [random(&[3, 4, 5], 1), any_indices(&shape, 3, 5), random(&shape, 2)];
                check(ScatterElements { axis, reduction }, &inputs, &[0, 2]);
            }
            let updates = [random(&[3, 40, 5], 1), any_indices(&[3, 40, 5], 3, 5), random(&[3, 40, 5], 2)];
            check(ScatterElements { axis, reduction }, &updates, &[2]);
        }
    }
    for reduction in [Reduction::Mul, Reduction::Max, Reduction::Min] {
        let inputs = [random(&[3, 4], 1), any_indices(&[3, 4], 3, 5), random(&[3, 4], 2)];
        check(ScatterElements { axis: 1, reduction }, &inputs, &[]);
        let wrong = compare_gradient(&ScatterElements { axis: 1, reduction }.into(), &inputs, 1, &[0], |_| false);
        assert!(matches!(wrong, Err(KernelError::Unsupported(_))));
    }
    let nan = [
        Some(Tensor::vector(vec![1.0, f32::NAN, 3.0])),
        indices(&[3], &[0, 1, 0]),
        Some(Tensor::vector(vec![f32::NAN, 5.0, 9.0])),
    ];
    check(ScatterElements { axis: 0, reduction: Reduction::Max }, &nan, &[]);
    let large = [random(&[300, 100], 1), any_indices(&[300, 100], 100, 5), random(&[300, 100], 2)];
    check(ScatterElements { axis: 1, reduction: Reduction::None }, &large, &[]);
}

#[test]
fn slices_are_scattered() {
    for reduction in [Reduction::None, Reduction::Add] {
        for (data, shape, updates) in [
            (&[5, 3][..], &[4, 1][..], &[4, 3][..]),
            (&[5, 3], &[7, 2], &[7]),
            (&[3, 3, 2], &[2, 4, 2], &[2, 4, 2]),
            (&[4], &[6, 1], &[6]),
            (&[4, 2], &[0, 1], &[0, 2]),
        ] {
            let inputs = [random(data, 1), any_indices(shape, 3, 6), random(updates, 2)];
            check(ScatterNd { reduction }, &inputs, &[0, 2]);
        }
        let large = [random(&[300, 64], 1), any_indices(&[500, 1], 300, 6), random(&[500, 64], 2)];
        check(ScatterNd { reduction }, &large, &[]);
    }
}

#[test]
fn the_last_update_is_the_one_that_counts() {
    let op = Op::from(ScatterNd { reduction: Reduction::None });
    let gradient = Op::Gradient(Box::new(Gradient { of: op, inputs: 3, outputs: 1 }));
    let vector = |values: Vec<f32>| Some(Tensor::vector(values));
    let places = indices(&[3, 1], &[1, 0, -2]);
    let all = [vector(vec![0.0; 3]), places, vector(vec![0.0; 3]), None, vector(vec![1.0, 2.0, 3.0])];
    let kind = || Some(ValueType::new(ElementType::F32, vec![3]));
    let found = run(&gradient, &all, &[kind(), None, kind()], |_| false, Context::default()).unwrap();
    assert_eq!(found[0].as_ref().unwrap().values::<f32>().unwrap()[..], [0.0, 0.0, 3.0]);
    assert_eq!(found[2].as_ref().unwrap().values::<f32>().unwrap()[..], [0.0, 1.0, 2.0]);
}

#[test]
fn indices_outside_are_named() {
    let refused = |op: Op, inputs: &[Option<Tensor>], shape: &[usize], message: &str| {
        let output = ValueType::new(ElementType::F32, shape.to_vec());
        let forward = run(&op, inputs, &[Some(output)], |_| false, Context::default());
        assert_eq!(forward, Err(KernelError::Value(message.into())), "{op:?}");
        let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: inputs.len(), outputs: 1 }));
        let all = [inputs, &[None, random(shape, 3)]].concat();
        let kinds: Vec<_> = inputs
            .iter()
            .flatten()
            .map(|input| {
                (input.element_type() == ElementType::F32)
                    .then(|| ValueType::new(ElementType::F32, input.shape().to_vec()))
            })
            .collect();
        let backward = run(&gradient, &all, &kinds, |_| false, Context::default());
        assert_eq!(backward, Err(KernelError::Value(message.into())), "gradient of {op:?}");
    };
    let data = || random(&[3, 4], 1);
    let gather = Op::from(Gather { axis: 0 });
    let message = "index 3 is outside of axis 0 of length 3";
    refused(gather.clone(), &[data(), indices(&[2], &[-3, 3])], &[2, 4], message);
    let message = "index -4 is outside of axis 0 of length 3";
    refused(gather, &[data(), Some(Tensor::vector(vec![-4i32]))], &[1, 4], message);
    let message = "index 9 is outside of axis 1 of length 4";
    refused(GatherElements { axis: -1 }.into(), &[data(), indices(&[1, 2], &[0, 9])], &[1, 2], message);
    refused(GatherNd { batch_dims: 0 }.into(), &[data(), indices(&[2, 2], &[2, 3, 0, 9])], &[2], message);
    refused(GatherNd { batch_dims: 1 }.into(), &[data(), indices(&[3, 1], &[0, 9, 1])], &[3], message);
    for reduction in [Reduction::None, Reduction::Add] {
        let op = ScatterElements { axis: 1, reduction };
        refused(op.into(), &[data(), indices(&[1, 2], &[0, 9]), random(&[1, 2], 2)], &[3, 4], message);
        let op = ScatterNd { reduction };
        refused(op.into(), &[data(), indices(&[1, 2], &[0, 9]), random(&[1], 2)], &[3, 4], message);
    }
    let extreme = "index -9223372036854775808 is outside of axis 0 of length 0";
    refused(Gather { axis: 0 }.into(), &[random(&[0, 4], 1), indices(&[1], &[i64::MIN])], &[1, 4], extreme);
    let op = ReverseSequence { batch_axis: 1, time_axis: 0 };
    let message = "length 4 of sequence 1 is not one of 0 to 3";
    refused(op.into(), &[data(), indices(&[4], &[0, 4, 1, 1])], &[3, 4], message);
}

#[test]
fn sequences_are_reversed() {
    let reverse = |batch_axis, time_axis, shape: &[usize], lengths: &[i64]| {
        let op = ReverseSequence { batch_axis, time_axis };
        check(op, &[random(shape, 1), indices(&[lengths.len()], lengths)], &[0]);
    };
    reverse(1, 0, &[4, 3], &[0, 4, 2]);
    reverse(0, 1, &[3, 4], &[1, 3, 4]);
    reverse(1, 0, &[4, 3, 2], &[3, 4, 2]);
    reverse(0, 1, &[2, 4, 3, 2], &[3, 4]);
    reverse(1, 0, &[4, 0], &[]);
    reverse(1, 0, &[0, 2], &[0, 0]);
    let op = Op::from(ReverseSequence { batch_axis: 1, time_axis: 0 });
    let large = [random(&[50, 40, 30], 1), indices(&[40], &(0..40).collect::<Vec<_>>())];
    assert_eq!(compare_forward(&op, &large, 1, |_| false).unwrap(), 0.0);
}

#[test]
fn elements_of_every_size_move() {
    let data: Vec<_> = [ElementType::U8, ElementType::I16, ElementType::F64]
        .into_iter()
        .map(|kind| Tensor::from_f64s(kind, vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        .map(|tensor| {
            tensor.or_else(|_| Tensor::from_i128s(ElementType::U8, vec![3, 2], vec![1, 2, 3, 4, 5, 6])).unwrap()
        })
        .collect();
    for data in data {
        let inputs = [Some(data.clone()), indices(&[2], &[2, 0])];
        assert_eq!(compare_forward(&Gather { axis: 0 }.into(), &inputs, 1, |_| false).unwrap(), 0.0);
        let inputs = [Some(data.clone()), indices(&[3, 2], &[2, 0, 0, 1, 1, 2]), Some(data)];
        let op = Op::from(ScatterElements { axis: 0, reduction: Reduction::None });
        assert_eq!(compare_forward(&op, &inputs, 1, |_| false).unwrap(), 0.0);
        let op = Op::from(ScatterElements { axis: 0, reduction: Reduction::Add });
        assert_eq!(compare_forward(&op, &inputs, 1, |_| false).unwrap(), 0.0);
    }
}
