//! Convolutions against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient};
use slimnet_graph::Op;
use slimnet_graph::ops::convolution::{AutoPad, Conv};
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

fn check_conv(op: &Op, x: &[usize], weights: &[usize], gradient: bool) {
    let inputs = [random(x, 1), random(weights, 2), random(&weights[..1], 3)];
    for inputs in [&inputs[..], &inputs[..2]] {
        let forward = compare_forward(op, inputs, 1, |_| false).unwrap();
        assert!(forward < 1e-5, "{op:?} {x:?} {weights:?}: {forward}");
        if gradient {
            let wanted: Vec<usize> = (0..inputs.len()).collect();
            let difference = compare_gradient(op, inputs, 1, &wanted, |_| false).unwrap();
            assert!(difference < 1e-4, "gradient of {op:?} {x:?} {weights:?}: {difference}");
            for &one in &wanted {
                assert!(compare_gradient(op, inputs, 1, &[one], |_| false).unwrap() < 1e-4);
            }
        }
    }
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
    check_conv(&conv(32, &[2, 2], &[1; 4], &[], AutoPad::NotSet), &[2, 32, 24, 24], &[32, 1, 3, 3], false);
}
