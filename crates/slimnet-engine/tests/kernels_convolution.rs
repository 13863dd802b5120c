//! Convolutions and transposed convolutions against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, run};
use slimnet_engine::kernels::{Context, ValueType};
use slimnet_engine::threads::Threads;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn random(shape: &[usize], stream: u64) -> Option<Tensor> {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(5, stream), normal).unwrap())
}

fn conv(group: i64, strides: &[i64], pads: &[i64], dilations: &[i64], auto_pad: AutoPad) -> Op {
    let (strides, pads, dilations) = (strides.to_vec(), pads.to_vec(), dilations.to_vec());
    Op::Conv(Conv { auto_pad, dilations, group, kernel_shape: vec![], pads, strides })
}

fn transpose(group: i64, strides: &[i64], pads: &[i64], dilations: &[i64], output_padding: &[i64]) -> ConvTranspose {
    ConvTranspose {
        auto_pad: AutoPad::NotSet,
        dilations: dilations.to_vec(),
        group,
        kernel_shape: vec![],
        output_padding: output_padding.to_vec(),
        output_shape: vec![],
        pads: pads.to_vec(),
        strides: strides.to_vec(),
    }
}

/// Compares forward and, if asked, all gradients together and each alone, with and without the bias of `features`.
fn check(op: &Op, x: &[usize], weights: &[usize], features: usize, gradient: bool) {
    let inputs = [random(x, 1), random(weights, 2), random(&[features], 3)];
    for inputs in [&inputs[..], &inputs[..2]] {
        let forward = compare_forward(op, inputs, 1, |_| false).unwrap();
        assert!(forward < 1e-5, "{op:?} {x:?} {weights:?}: {forward}");
        if gradient {
            let wanted: Vec<usize> = (0..inputs.len()).collect();
            let difference = compare_gradient(op, inputs, 1, &wanted, |_| false).unwrap();
            assert!(difference < 1e-4, "gradient of {op:?} {x:?} {weights:?}: {difference}");
            for &one in &wanted {
                let difference = compare_gradient(op, inputs, 1, &[one], |_| false).unwrap();
                assert!(difference < 1e-4, "gradient {one} of {op:?} {x:?} {weights:?}: {difference}");
            }
        }
    }
}

fn check_conv(op: &Op, x: &[usize], weights: &[usize], gradient: bool) {
    check(op, x, weights, weights[0], gradient);
}

fn check_transpose(op: ConvTranspose, x: &[usize], weights: &[usize]) {
    let features = weights[1] * op.group as usize;
    check(&Op::ConvTranspose(op), x, weights, features, true);
}

#[test]
fn convolutions() {
    use AutoPad::{NotSet, SameLower, SameUpper, Valid};
    check_conv(&conv(1, &[], &[], &[], NotSet), &[2, 2, 4, 5], &[3, 2, 1, 1], true);
    check_conv(&conv(1, &[], &[1, 1, 1, 1], &[], NotSet), &[2, 2, 4, 5], &[3, 2, 3, 3], true);
    check_conv(&conv(1, &[2, 3], &[1, 0, 2, 1], &[], NotSet), &[2, 2, 5, 7], &[3, 2, 3, 2], true);
    check_conv(&conv(1, &[1, 2], &[2, 2, 2, 2], &[2, 2], NotSet), &[1, 2, 5, 6], &[2, 2, 3, 3], true);
    check_conv(&conv(2, &[], &[1, 1, 1, 1], &[], NotSet), &[2, 4, 3, 4], &[6, 2, 3, 3], true);
    check_conv(&conv(3, &[], &[1, 1, 1, 1], &[], NotSet), &[2, 3, 4, 5], &[3, 1, 3, 3], true);
    check_conv(&conv(2, &[2, 2], &[], &[], SameUpper), &[2, 2, 5, 6], &[4, 1, 3, 3], true);
    check_conv(&conv(1, &[2, 2], &[], &[], SameLower), &[1, 1, 5, 6], &[1, 1, 2, 3], true);
    check_conv(&conv(1, &[2], &[1, 2], &[], NotSet), &[2, 2, 7], &[3, 2, 3], true);
    check_conv(&conv(1, &[], &[], &[], Valid), &[3, 1, 5, 5], &[2, 1, 5, 5], true);
    // The kernel is wider than what lies under it.
    check_conv(&conv(1, &[], &[3, 3, 3, 3], &[], NotSet), &[1, 1, 2, 2], &[1, 1, 5, 5], true);
}

#[test]
fn convolutions_of_real_networks() {
    for (x, weights, stride) in [
        ([9, 3, 32, 32], [16, 3, 3, 3], 1),
        ([2, 16, 32, 32], [32, 16, 3, 3], 2),
        ([17, 64, 8, 8], [64, 64, 3, 3], 1),
        ([3, 20, 12, 12], [50, 20, 5, 5], 1),
        ([2, 24, 24, 24], [48, 24, 1, 1], 1),
        ([2, 24, 24, 24], [48, 24, 1, 1], 2),
    ] {
        let pad = weights[2] / 2;
        let pads = [pad as i64; 4];
        check_conv(&conv(1, &[stride, stride], &pads, &[], AutoPad::NotSet), &x, &weights, false);
    }
    check(&conv(32, &[2, 2], &[1; 4], &[], AutoPad::NotSet), &[2, 32, 24, 24], &[32, 1, 3, 3], 32, false);
}

#[test]
fn odd_convolutions() {
    use AutoPad::{NotSet, SameLower, SameUpper};
    // Three axes.
    check_conv(&conv(1, &[], &[1; 6], &[], NotSet), &[2, 2, 3, 2, 4], &[2, 2, 3, 3, 3], true);
    check_conv(&conv(2, &[2, 1, 3], &[1, 0, 2, 0, 1, 1], &[1, 2, 2], NotSet), &[1, 2, 4, 3, 5], &[2, 1, 2, 2, 2], true);
    check_conv(&conv(1, &[2, 2, 2], &[], &[], SameLower), &[1, 2, 3, 4, 2], &[3, 2, 2, 3, 1], true);
    // Strides larger than the kernel: elements that no window sees.
    check_conv(&conv(1, &[3, 4], &[], &[], NotSet), &[2, 2, 8, 9], &[2, 2, 2, 1], true);
    check_conv(&conv(1, &[4], &[2, 0], &[], NotSet), &[2, 1, 9], &[2, 1, 2], true);
    // One window, or windows that lie in the padding alone.
    check_conv(&conv(1, &[], &[], &[], NotSet), &[5, 3, 4, 4], &[7, 3, 4, 4], true);
    check_conv(&conv(1, &[7, 1], &[], &[2, 1], NotSet), &[3, 2, 5, 6], &[3, 2, 3, 3], true);
    check_conv(&conv(1, &[2, 1], &[5, 4, 6, 0], &[], NotSet), &[1, 1, 3, 4], &[2, 1, 2, 2], true);
    check_conv(&conv(1, &[], &[0, 9], &[5], NotSet), &[1, 2, 3], &[2, 2, 3], true);
    // Everything of length 1.
    check_conv(&conv(1, &[], &[], &[], NotSet), &[1, 1, 1], &[1, 1, 1], true);
    check_conv(&conv(1, &[], &[], &[], NotSet), &[21, 3, 1, 1], &[5, 3, 1, 1], true);
    // Strides and dilations with a common divisor, and without.
    check_conv(&conv(1, &[4, 2], &[3, 2, 3, 2], &[2, 3], NotSet), &[2, 1, 9, 8], &[2, 1, 3, 3], true);
    check_conv(&conv(4, &[2], &[], &[3], SameUpper), &[3, 4, 11], &[8, 1, 3], true);
    check_conv(&conv(2, &[2, 2], &[1; 4], &[], NotSet), &[2, 4, 5, 5], &[2, 2, 3, 3], true);
    // More rows and columns than a block has, with all remainders.
    for channels in [1, 5, 9, 10, 13, 15, 19] {
        check_conv(&conv(1, &[], &[1; 4], &[], NotSet), &[1, 2, 3, 4], &[channels, 2, 3, 3], true);
    }
    for width in 14..20 {
        check_conv(&conv(1, &[], &[1; 4], &[], NotSet), &[2, 1, 3, width], &[2, 1, 3, 3], false);
    }
}

#[test]
fn transposed_convolutions() {
    check_transpose(transpose(1, &[], &[], &[], &[]), &[2, 3, 4, 5], &[3, 2, 1, 1]);
    check_transpose(transpose(1, &[], &[1; 4], &[], &[]), &[2, 3, 4, 5], &[3, 2, 3, 3]);
    check_transpose(transpose(1, &[2, 2], &[1; 4], &[], &[1, 1]), &[2, 3, 4, 3], &[3, 2, 3, 3]);
    check_transpose(transpose(1, &[3, 2], &[0, 1, 2, 0], &[2, 1], &[1, 0]), &[1, 2, 3, 4], &[2, 3, 2, 3]);
    check_transpose(transpose(2, &[2, 2], &[], &[], &[]), &[2, 4, 3, 3], &[4, 3, 2, 2]);
    check_transpose(transpose(3, &[2, 2], &[1; 4], &[], &[]), &[2, 3, 3, 4], &[3, 1, 3, 3]);
    check_transpose(transpose(1, &[5], &[], &[], &[]), &[2, 2, 4], &[2, 3, 2]);
    check_transpose(transpose(1, &[2], &[3, 4], &[3], &[1]), &[2, 2, 5], &[2, 3, 3]);
    check_transpose(transpose(1, &[2, 1, 2], &[1, 0, 1, 0, 1, 1], &[], &[1, 0, 0]), &[1, 2, 2, 3, 2], &[2, 2, 3, 2, 3]);
    check_transpose(transpose(1, &[2, 2], &[], &[], &[]), &[9, 3, 1, 1], &[3, 4, 4, 4]);
    check_transpose(transpose(1, &[], &[], &[], &[]), &[1, 1, 1], &[1, 1, 1]);
    // Padding that cuts away whole windows.
    check_transpose(transpose(1, &[1, 2], &[2, 3, 1, 2], &[], &[]), &[2, 2, 5, 6], &[2, 1, 2, 2]);
    for auto_pad in [AutoPad::SameUpper, AutoPad::SameLower, AutoPad::Valid] {
        for kernel in [[3, 3], [2, 4], [1, 1]] {
            let op = ConvTranspose { auto_pad, ..transpose(1, &[2, 3], &[], &[], &[]) };
            check_transpose(op, &[1, 2, 3, 4], &[2, 2, kernel[0], kernel[1]]);
        }
        for output_shape in [[6, 9], [5, 8], [9, 12]] {
            let op =
                ConvTranspose { auto_pad, output_shape: output_shape.to_vec(), ..transpose(1, &[2, 3], &[], &[], &[]) };
            check_transpose(op, &[1, 2, 3, 3], &[2, 2, 3, 3]);
        }
    }
    let op = ConvTranspose { output_shape: vec![10], ..transpose(2, &[3], &[], &[2], &[2]) };
    check_transpose(op, &[2, 2, 4], &[2, 2, 3]);
}

/// Maps of real sizes, whose rows are longer than the slack behind a staged plane; finite differences of the weights alone.
#[test]
fn gradients_of_weights_over_large_maps() {
    let check = |op: &Op, x: &[usize], weights: &[usize]| {
        let inputs = [random(x, 1), random(weights, 2)];
        let difference = compare_gradient(op, &inputs, 1, &[1], |_| false).unwrap();
        assert!(difference < 1e-4, "{op:?} {x:?} {weights:?}: {difference}");
    };
    for stride in [1, 2] {
        let of = |group, pad| conv(group, &[stride, stride], &[pad; 4], &[], AutoPad::NotSet);
        check(&of(1, 1), &[2, 3, 32, 32], &[2, 3, 3, 3]);
        check(&of(1, 0), &[3, 1, 28, 28], &[3, 1, 5, 5]);
        check(&of(1, 0), &[17, 2, 12, 12], &[2, 2, 5, 5]);
        check(&of(3, 1), &[3, 3, 24, 100], &[3, 1, 3, 3]);
        check(&of(1, 4), &[1, 1, 40, 300], &[1, 1, 7, 5]);
        check(&Op::ConvTranspose(transpose(1, &[stride, stride], &[1; 4], &[], &[])), &[2, 1, 40, 80], &[1, 2, 3, 3]);
    }
    check(&conv(1, &[], &[8; 4], &[4, 4], AutoPad::NotSet), &[2, 1, 40, 70], &[2, 1, 5, 3]);
    check(&conv(1, &[1], &[1; 2], &[], AutoPad::NotSet), &[2, 2, 400], &[2, 2, 3]);
}

/// Gradients of a sum over nothing are zero; that of the bias is what reaches the output.
#[test]
fn empty_convolutions() {
    let op = conv(1, &[], &[1; 4], &[], AutoPad::NotSet);
    check_conv(&op, &[0, 2, 3, 3], &[2, 2, 3, 3], true);
    for (x, weights) in [([2, 0, 3, 3], [3, 0, 3, 3]), ([2, 2, 3, 3], [0, 2, 3, 3])] {
        let inputs = [random(&x, 1), random(&weights, 2)];
        let views = inputs.each_ref().map(Option::as_ref);
        let error = slimnet_graph::evaluate::evaluate_op(&op, &views, 1, 1 << 30).unwrap_err().to_string();
        assert!(error.contains("at least 1"), "{error}");
    }
    check_conv(&conv(1, &[], &[2; 4], &[], AutoPad::NotSet), &[2, 2, 0, 3], &[3, 2, 3, 3], true);
}

/// Shapes whose work is divided in every way: by images, by channels, with several images staged at once.
#[test]
fn bits_do_not_depend_on_threads() {
    for (x, weights, group, stride) in [
        ([33, 16, 16, 16], [16, 16, 3, 3], 1, 1),
        ([2, 96, 14, 14], [96, 96, 3, 3], 1, 2),
        ([1, 128, 9, 9], [130, 128, 3, 3], 1, 1),
        ([19, 64, 8, 8], [64, 1, 3, 3], 64, 1),
        ([40, 200, 1, 1], [300, 200, 1, 1], 1, 1),
    ] {
        let pads = [weights[2] as i64 / 2; 4];
        let op = conv(group, &[stride, stride], &pads, &[], AutoPad::NotSet);
        check_conv(&op, &x, &weights, false);
        let inputs = [random(&x, 1), random(&weights, 2)];
        let y = slimnet_engine::kernels::testing::reference(&op, &inputs, 1).remove(0);
        let y_type = Some(ValueType::new(ElementType::F32, y.shape().to_vec()));
        let types = inputs
            .each_ref()
            .map(|input| Some(ValueType::new(ElementType::F32, input.as_ref().unwrap().shape().to_vec())));
        let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: 2, outputs: 1 }));
        let all = [inputs[0].clone(), inputs[1].clone(), Some(y.clone()), random(y.shape(), 4)];
        let on = |threads: usize| {
            Threads::new(threads).unwrap().run(|| {
                let mut found =
                    run(&op, &inputs, std::slice::from_ref(&y_type), |_| false, Context::default()).unwrap();
                found.extend(run(&gradient, &all, &types, |_| false, Context::default()).unwrap());
                found.into_iter().map(|tensor| tensor.unwrap().bytes().unwrap().to_vec()).collect::<Vec<_>>()
            })
        };
        let one = on(1);
        assert!(one == on(2) && one == on(3), "{x:?} {weights:?}");
    }
}

#[test]
fn depthwise_convolutions() {
    use AutoPad::{NotSet, SameLower, SameUpper};
    for channels in [2, 3, 8, 16, 17, 24, 32, 50, 80, 112] {
        let deep = channels as i64;
        check_conv(&conv(deep, &[], &[1; 4], &[], NotSet), &[2, channels, 4, 5], &[channels, 1, 3, 3], channels < 18);
        check_conv(
            &conv(deep, &[2, 2], &[1; 4], &[], NotSet),
            &[1, channels, 5, 4],
            &[channels, 1, 3, 3],
            channels < 18,
        );
    }
    for (x, kernel, strides, pads, dilations) in [
        (&[5, 3, 5, 6][..], &[3, 3][..], &[3, 2][..], &[0, 2, 1, 1][..], &[][..]),
        (&[2, 17, 6, 4], &[5, 5], &[], &[2; 4], &[]),
        (&[1, 17, 7, 6], &[3, 3], &[1, 1], &[2, 1, 0, 3], &[2, 2]),
        // The kernel is wider than what lies under it; windows in the padding alone.
        (&[2, 4, 2, 2], &[5, 7], &[], &[3, 3, 3, 4], &[]),
        (&[1, 18, 2, 1], &[3, 3], &[], &[4, 5, 3, 6], &[]),
        (&[2, 3, 1, 1], &[3, 3], &[], &[1; 4], &[]),
        (&[2, 17, 2, 2], &[3, 3], &[], &[0, 1, 1, 1], &[]),
        (&[2, 5, 3, 9], &[1, 4], &[1, 3], &[0, 1, 0, 2], &[1, 2]),
        (&[2, 3, 4, 4], &[1, 1], &[2, 1], &[], &[]),
        (&[2, 17, 9], &[3], &[], &[1, 1], &[]),
        (&[3, 16, 9], &[3], &[2], &[2, 0], &[3]),
        (&[2, 5, 3, 4, 3], &[3, 3, 3], &[], &[1; 6], &[]),
        (&[1, 17, 3, 2, 4], &[2, 2, 3], &[2, 1, 1], &[1, 0, 2, 0, 1, 0], &[1, 2, 1]),
    ] {
        let weights: Vec<usize> = [x[1], 1].into_iter().chain(kernel.iter().copied()).collect();
        check_conv(&conv(x[1] as i64, strides, pads, dilations, NotSet), x, &weights, true);
    }
    check_conv(&conv(3, &[2, 2], &[], &[], SameUpper), &[2, 3, 5, 6], &[3, 1, 3, 3], true);
    check_conv(&conv(9, &[2, 3], &[], &[], SameLower), &[1, 9, 5, 6], &[9, 1, 2, 3], true);
    // Several parts.
    check_conv(&conv(64, &[], &[1; 4], &[], NotSet), &[9, 64, 12, 12], &[64, 1, 3, 3], false);
    check_conv(&conv(40, &[2, 2], &[1; 4], &[], NotSet), &[9, 40, 24, 24], &[40, 1, 5, 5], false);
}
