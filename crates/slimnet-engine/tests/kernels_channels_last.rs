//! Convolutions with channels last, in shapes that are awkward for them, and the steps that they take in.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::arrangement::{Arrangement, Layout, channels_last};
use slimnet_engine::kernels::call::Region;
use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, reference};
use slimnet_engine::kernels::{Call, Context, Epilogue, NodeType, ValueType, Zeros, arrangement, prepare};
use slimnet_graph::Op;
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn random(shape: &[usize], stream: u64) -> Option<Tensor> {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(9, stream), normal).unwrap())
}

fn conv(strides: &[i64], pads: &[i64], dilations: &[i64]) -> Op {
    let (strides, pads, dilations) = (strides.to_vec(), pads.to_vec(), dilations.to_vec());
    Op::Conv(Conv { auto_pad: AutoPad::NotSet, dilations, group: 1, kernel_shape: vec![], pads, strides })
}

fn transpose(strides: &[i64], pads: &[i64]) -> Op {
    Op::ConvTranspose(ConvTranspose {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: 1,
        kernel_shape: vec![],
        output_padding: vec![],
        output_shape: vec![],
        pads: pads.to_vec(),
        strides: strides.to_vec(),
    })
}

fn features(op: &Op, weights: &[usize]) -> usize {
    if matches!(op, Op::Conv(_)) { weights[0] } else { weights[1] }
}

/// Compares with the reference evaluator, with weights that are known early and not; `wanted` says whose gradients.
fn check(op: &Op, x: &[usize], weights: &[usize], wanted: &[usize]) {
    let inputs = [random(x, 1), random(weights, 2), random(&[features(op, weights)], 3)];
    let types = inputs.each_ref().map(|input| {
        let input = input.as_ref().unwrap();
        Some(ValueType::new(ElementType::F32, input.shape().to_vec()))
    });
    let y = reference(op, &inputs, 1).remove(0);
    let outputs = [Some(ValueType::new(ElementType::F32, y.shape().to_vec()))];
    let node = NodeType { op, inputs: &types, outputs: &outputs, layout: Layout::Plain, zeros: Zeros::default() };
    assert_eq!(arrangement(&node), Arrangement::ChannelsLast);
    for constant in [&[][..], &[1], &[2], &[1, 2]] {
        let forward = compare_forward(op, &inputs, 1, |slot| constant.contains(&slot)).unwrap();
        assert!(forward < 1e-5, "{op:?} {x:?} {weights:?} {constant:?}: {forward}");
    }
    if !wanted.is_empty() {
        let difference = compare_gradient(op, &inputs, 1, wanted, |_| false).unwrap();
        assert!(difference < 1e-4, "gradient of {op:?} {x:?} {weights:?}: {difference}");
    }
}

#[test]
fn odd_numbers_of_channels() {
    let all = [0, 1, 2];
    for (inputs, outputs) in [(1, 1), (1, 20), (3, 17), (17, 3), (17, 33), (20, 50), (33, 1), (48, 5), (5, 80)] {
        check(&conv(&[], &[1; 4], &[]), &[1, inputs, 3, 4], &[outputs, inputs, 3, 3], &[]);
        check(&conv(&[], &[], &[]), &[5, inputs, 2, 3], &[outputs, inputs, 1, 1], &[]);
        check(&transpose(&[2, 2], &[]), &[2, inputs, 3, 2], &[inputs, outputs, 2, 2], &[]);
    }
    for (inputs, outputs) in [(1, 3), (3, 17), (17, 3), (18, 20)] {
        check(&conv(&[], &[1; 4], &[]), &[2, inputs, 2, 3], &[outputs, inputs, 3, 3], &all);
        check(&transpose(&[2, 1], &[1, 0, 0, 1]), &[1, inputs, 2, 2], &[inputs, outputs, 2, 2], &all);
    }
}

#[test]
fn odd_windows() {
    let all = [0, 1, 2];
    check(&conv(&[3, 2], &[2, 0, 1, 3], &[1, 2]), &[5, 3, 7, 6], &[4, 3, 3, 2], &all);
    check(&conv(&[2, 2], &[], &[]), &[1, 2, 9, 8], &[17, 2, 1, 1], &all);
    check(&conv(&[], &[4, 4, 4, 4], &[2, 2]), &[1, 3, 2, 3], &[2, 3, 3, 3], &all);
    check(&conv(&[2], &[3, 1], &[]), &[5, 3, 11], &[17, 3, 4], &all);
    check(&conv(&[], &[1, 0, 1, 0, 1, 1], &[]), &[2, 3, 3, 4, 2], &[4, 3, 2, 3, 2], &all);
    check(&conv(&[], &[], &[]), &[7, 5, 3, 2], &[18, 5, 3, 2], &all);
    check(&transpose(&[3], &[2, 1]), &[2, 17, 5], &[17, 3, 4], &all);
    // Strides beyond the window: pixels that nothing reaches have the bias alone.
    check(&transpose(&[4, 3], &[]), &[1, 2, 3, 3], &[2, 3, 2, 2], &all);
    check(&conv(&[5, 4], &[], &[]), &[2, 3, 9, 9], &[4, 3, 2, 2], &all);
    // All numbers of pixels, and so all sizes of blocks and what remains of them.
    for length in 1..40 {
        check(&conv(&[], &[], &[]), &[1, 2, length], &[17, 2, 1], &[]);
        check(&conv(&[], &[1; 2], &[]), &[3, 4, length], &[16, 4, 3], &[1]);
    }
    for vectors in 1..=5 {
        for length in [1, 3, 7, 13, 25] {
            check(&conv(&[], &[], &[]), &[1, 9, length], &[vectors * 16 - 3, 9, 1], &[]);
            check(&conv(&[], &[], &[]), &[2, 9, length], &[vectors * 16, 9, 1], &[]);
        }
    }
}

/// Runs a convolution of `[2, 3, 4, 5]` by `[18, 3, 3, 3]` with steps after it, in memory of channels last.
fn with_steps(steps: &[Epilogue], x: &Tensor, further: &Tensor) -> (Vec<bool>, Vec<f32>) {
    let op = conv(&[], &[1; 4], &[]);
    let moved = |tensor: &Tensor| {
        let perm = Some(vec![0, 2, 3, 1]);
        let op = Op::Transpose(slimnet_graph::ops::layout::Transpose { perm });
        reference(&op, &[Some(tensor.clone())], 1).remove(0)
    };
    let inputs = [moved(x), random(&[18, 3, 3, 3], 2).unwrap(), random(&[18], 3).unwrap(), moved(further)];
    let types = inputs.each_ref().map(|input| Some(ValueType::new(ElementType::F32, input.shape().to_vec())));
    let outputs = [Some(ValueType::new(ElementType::F32, channels_last(&[2, 18, 4, 5])))];
    let mut kernel = prepare(&NodeType {
        op: &op,
        inputs: &types[..3],
        outputs: &outputs,
        layout: Layout::ChannelsLast,
        zeros: Zeros::default(),
    })
    .unwrap();
    let taken = steps.iter().map(|step| kernel.absorb(step)).collect();
    let mut data = inputs.each_ref().map(|input| input.values::<f32>().unwrap().into_owned());
    let regions = data.each_mut().map(|data| Some(Region::of(data.as_mut_slice())));
    let (mut result, mut scratch) = (vec![f32::NAN; 2 * 18 * 4 * 5], vec![f32::NAN; kernel.scratch()]);
    let result_region = [Some(Region::of(result.as_mut_slice()))];
    // SAFETY: every region is a vector of its own, which lives to the end of this function.
    #[allow(unsafe_code)]
    let mut call =
        unsafe { Call::new(&regions, &result_region, Region::of(scratch.as_mut_slice()), Context::default()) };
    kernel.run(&mut call).unwrap();
    let back = Op::Transpose(slimnet_graph::ops::layout::Transpose { perm: Some(vec![0, 3, 1, 2]) });
    let result = Tensor::from_values(vec![2, 4, 5, 18], result).unwrap();
    (taken, reference(&back, &[Some(result)], 1).remove(0).values::<f32>().unwrap().into_owned())
}

#[test]
fn steps_that_follow_are_taken_in() {
    let (x, further) = (random(&[2, 3, 4, 5], 1).unwrap(), random(&[2, 18, 4, 5], 4).unwrap());
    let (add, clamp) = (Epilogue::Add { slot: 3 }, Epilogue::Clamp { low: 0.0, high: 1.5 });
    let (_, plain) = with_steps(&[], &x, &further);
    let further_values = further.values::<f32>().unwrap().into_owned();
    let added: Vec<f32> = plain.iter().zip(&further_values).map(|(y, z)| y + z).collect();
    let clamped = |values: &[f32]| values.iter().map(|value| value.clamp(0.0, 1.5)).collect::<Vec<_>>();
    assert_eq!(with_steps(&[add], &x, &further), (vec![true], added.clone()));
    assert_eq!(with_steps(&[clamp], &x, &further), (vec![true], clamped(&plain)));
    assert_eq!(with_steps(&[add, clamp], &x, &further), (vec![true, true], clamped(&added)));
    assert_eq!(with_steps(&[clamp, add], &x, &further), (vec![true, false], clamped(&plain)));
    assert_eq!(with_steps(&[add, add], &x, &further), (vec![true, false], added));
    assert_eq!(with_steps(&[clamp, clamp], &x, &further), (vec![true, false], clamped(&plain)));
}

/// What is not a number stays so, and reaches no pixel that it does not lie under.
#[test]
fn not_a_number_survives_limits() {
    let mut values = random(&[2, 3, 4, 5], 1).unwrap().values::<f32>().unwrap().into_owned();
    values[0] = f32::NAN;
    let x = Tensor::from_values(vec![2, 3, 4, 5], values).unwrap();
    let further = random(&[2, 18, 4, 5], 4).unwrap();
    let (_, found) = with_steps(&[Epilogue::Clamp { low: 0.0, high: f32::INFINITY }], &x, &further);
    for (index, value) in found.iter().enumerate() {
        let (image, row, column) = (index / (18 * 20), index / 5 % 4, index % 5);
        assert_eq!(value.is_nan(), image == 0 && row < 2 && column < 2, "{index}");
    }
}
