//! Pooling against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient};
use slimnet_graph::Op;
use slimnet_graph::ops::convolution::AutoPad;
use slimnet_graph::ops::pooling::{AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool};
use slimnet_graph::tensor::Tensor;
use slimnet_graph::zoo::random::Stream;

/// Numbers far enough apart that no small step changes their order.
fn distinct(shape: &[usize], stream: u64) -> Option<Tensor> {
    let count: u64 = shape.iter().product::<usize>() as u64;
    let mut order: Vec<u64> = (0..count).collect();
    for place in 0..count {
        order.swap(place as usize, (place + Stream::new(7, stream).below(place, count - place)) as usize);
    }
    Some(Tensor::from_values(shape.to_vec(), order.iter().map(|&x| x as f32 * 0.05 - 1.0).collect()).unwrap())
}

fn max_pool(kernel: &[i64], strides: &[i64], pads: &[i64], dilations: &[i64], ceil_mode: bool) -> Op {
    Op::MaxPool(MaxPool {
        auto_pad: AutoPad::NotSet,
        ceil_mode,
        dilations: dilations.to_vec(),
        kernel_shape: kernel.to_vec(),
        pads: pads.to_vec(),
        storage_order: false,
        strides: strides.to_vec(),
    })
}

fn average_pool(kernel: &[i64], strides: &[i64], pads: &[i64], ceil_mode: bool, count_include_pad: bool) -> Op {
    Op::AveragePool(AveragePool {
        auto_pad: AutoPad::NotSet,
        ceil_mode,
        count_include_pad,
        dilations: vec![],
        kernel_shape: kernel.to_vec(),
        pads: pads.to_vec(),
        strides: strides.to_vec(),
    })
}

#[test]
fn pooling() {
    let mut ops = vec![
        (max_pool(&[2, 2], &[2, 2], &[], &[], false), vec![2, 3, 6, 5]),
        (max_pool(&[3, 2], &[2, 1], &[1, 1, 1, 0], &[], false), vec![2, 2, 5, 5]),
        (max_pool(&[2, 2], &[2, 2], &[], &[2, 1], true), vec![1, 2, 7, 5]),
        (max_pool(&[3], &[2], &[1, 1], &[], true), vec![2, 2, 8]),
        (Op::GlobalAveragePool(GlobalAveragePool {}), vec![2, 3, 4, 5]),
        (Op::GlobalMaxPool(GlobalMaxPool {}), vec![2, 3, 4, 5]),
        (Op::GlobalAveragePool(GlobalAveragePool {}), vec![2, 3, 4]),
    ];
    for ceil_mode in [false, true] {
        for include in [false, true] {
            ops.push((average_pool(&[3, 2], &[2, 2], &[1, 0, 1, 1], ceil_mode, include), vec![2, 2, 6, 5]));
            ops.push((average_pool(&[2, 2], &[2, 2], &[], ceil_mode, include), vec![1, 3, 4, 4]));
        }
    }
    for (op, shape) in ops {
        let inputs = [distinct(&shape, 1)];
        let forward = compare_forward(&op, &inputs, 1, |_| false).unwrap();
        assert!(forward < 1e-5, "{op:?}: {forward}");
        let gradient = compare_gradient(&op, &inputs, 1, &[0], |_| false).unwrap();
        assert!(gradient < 1e-4, "gradient of {op:?}: {gradient}");
    }
}

#[test]
fn no_maximum_hides_what_is_no_number() {
    let x = Tensor::from_values(vec![1, 1, 2, 4], vec![1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0, 7.0, f32::INFINITY]).unwrap();
    let difference = compare_forward(&max_pool(&[2, 2], &[2, 2], &[], &[], false), &[Some(x)], 1, |_| false);
    assert_eq!(difference.unwrap(), 0.0);
}
