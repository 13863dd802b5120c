//! Pooling against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, reference, run, run_channels_last};
use slimnet_engine::kernels::{Context, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::convolution::AutoPad;
use slimnet_graph::ops::pooling::{AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::Stream;

/// Numbers far enough apart from each other and from 0 that no small step changes their order.
fn distinct(shape: &[usize], stream: u64) -> Option<Tensor> {
    let count: u64 = shape.iter().product::<usize>() as u64;
    let mut order: Vec<u64> = (0..count).collect();
    for place in 0..count {
        order.swap(place as usize, (place + Stream::new(7, stream).below(place, count - place)) as usize);
    }
    let step = 2.5 / (count as f32).max(50.0);
    Some(Tensor::from_values(shape.to_vec(), order.iter().map(|&x| x as f32 * step - 1.003).collect()).unwrap())
}

#[derive(Debug, Clone)]
struct Windows {
    kernel: Vec<i64>,
    strides: Vec<i64>,
    pads: Vec<i64>,
    dilations: Vec<i64>,
    auto_pad: AutoPad,
    ceil_mode: bool,
}

fn windows(kernel: &[i64], strides: &[i64], pads: &[i64], dilations: &[i64]) -> Windows {
    Windows {
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        pads: pads.to_vec(),
        dilations: dilations.to_vec(),
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
    }
}

macro_rules! pool {
    ($variant:ident, $windows:expr, $($own:ident: $value:expr),*) => {
        Op::$variant($variant {
            auto_pad: $windows.auto_pad,
            ceil_mode: $windows.ceil_mode,
            dilations: $windows.dilations.clone(),
            kernel_shape: $windows.kernel.clone(),
            pads: $windows.pads.clone(),
            strides: $windows.strides.clone(),
            $($own: $value),*
        })
    };
}

/// Every pooling with these windows.
fn pools(windows: &Windows) -> Vec<Op> {
    vec![
        pool!(MaxPool, windows, storage_order: false),
        pool!(MaxPool, windows, storage_order: true),
        pool!(AveragePool, windows, count_include_pad: false),
        pool!(AveragePool, windows, count_include_pad: true),
        pool!(LpPool, windows, p: 1),
        pool!(LpPool, windows, p: 2),
        pool!(LpPool, windows, p: 3),
        pool!(LpPool, windows, p: 4),
    ]
}

fn check(op: &Op, shape: &[usize]) {
    let inputs = [distinct(shape, 1)];
    for outputs in 1..=if matches!(op, Op::MaxPool(_)) { 2 } else { 1 } {
        let forward = compare_forward(op, &inputs, outputs, |_| false).unwrap();
        assert!(forward < 1e-5, "{op:?} {shape:?}: {forward}");
        let gradient = compare_gradient(op, &inputs, outputs, &[0], |_| false).unwrap();
        assert!(gradient < 1e-4, "gradient of {op:?} {shape:?}: {gradient}");
    }
}

fn check_all(windows: &Windows, shape: &[usize]) {
    for ceil_mode in [false, true] {
        for op in pools(&Windows { ceil_mode, ..windows.clone() }) {
            check(&op, shape);
        }
    }
}

#[test]
fn windows_over_one_axis() {
    check_all(&windows(&[3], &[2], &[1, 1], &[]), &[2, 2, 8]);
    check_all(&windows(&[2], &[3], &[0, 1], &[]), &[1, 3, 7]);
    check_all(&windows(&[3], &[], &[2, 0], &[2]), &[2, 1, 9]);
    check_all(&windows(&[1], &[], &[], &[]), &[1, 1, 1]);
}

#[test]
fn windows_over_two_axes() {
    check_all(&windows(&[2, 2], &[2, 2], &[], &[]), &[2, 3, 6, 5]);
    check_all(&windows(&[2, 2], &[2, 2], &[], &[]), &[5, 1, 4, 4]);
    check_all(&windows(&[3, 3], &[2, 2], &[1; 4], &[]), &[2, 3, 6, 7]);
    check_all(&windows(&[3, 2], &[2, 1], &[1, 1, 1, 0], &[]), &[2, 2, 5, 5]);
    check_all(&windows(&[2, 3], &[1, 3], &[1, 2, 0, 1], &[1, 2]), &[1, 2, 5, 9]);
    check_all(&windows(&[2, 2], &[2, 2], &[], &[2, 1]), &[1, 2, 7, 5]);
    for auto_pad in [AutoPad::SameUpper, AutoPad::SameLower, AutoPad::Valid] {
        let windows = windows(&[3, 2], &[2, 2], &[], &[]);
        for op in pools(&Windows { auto_pad, ..windows }) {
            check(&op, &[1, 2, 6, 5]);
        }
    }
}

#[test]
fn windows_over_three_axes() {
    check_all(&windows(&[2, 2, 2], &[2, 2, 2], &[], &[]), &[1, 2, 4, 5, 4]);
    check_all(&windows(&[1, 2, 2], &[1, 2, 2], &[], &[]), &[2, 1, 3, 4, 5]);
    check_all(&windows(&[3, 2, 2], &[2, 1, 2], &[1, 0, 1, 0, 1, 0], &[1, 2, 1]), &[1, 2, 4, 4, 3]);
}

#[test]
fn whole_planes() {
    for shape in [&[2, 3, 4][..], &[2, 3, 4, 5], &[1, 2, 2, 3, 3], &[2, 2, 8, 8], &[3, 1, 1, 1], &[1, 1, 3, 43]] {
        check(&Op::GlobalAveragePool(GlobalAveragePool {}), shape);
        check(&Op::GlobalMaxPool(GlobalMaxPool {}), shape);
        for p in [1, 2] {
            check(&Op::GlobalLpPool(GlobalLpPool { p }), shape);
        }
    }
    let large = [distinct(&[1, 2, 100, 301], 3)];
    assert!(compare_forward(&Op::GlobalAveragePool(GlobalAveragePool {}), &large, 1, |_| false).unwrap() < 1e-6);
}

#[test]
fn no_maximum_hides_what_is_no_number() {
    let values = [1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0, 7.0, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    for start in 0..values.len() {
        let values = (0..16).map(|place| values[(start + place) % values.len()]).collect();
        let x = [Some(Tensor::from_values(vec![1, 2, 2, 4], values).unwrap())];
        for windows in [windows(&[2, 2], &[2, 2], &[], &[]), windows(&[2, 3], &[], &[1, 0, 0, 1], &[])] {
            let op = pool!(MaxPool, windows, storage_order: false);
            for outputs in [1, 2] {
                assert_eq!(compare_forward(&op, &x, outputs, |_| false).unwrap(), 0.0, "{op:?} {start}");
            }
        }
        let global = Op::GlobalMaxPool(GlobalMaxPool {});
        assert_eq!(compare_forward(&global, &x, 1, |_| false).unwrap(), 0.0);
    }
}

#[test]
fn the_first_of_equal_elements_has_the_gradient() {
    let x = Tensor::from_values(vec![1, 1, 2, 2], vec![1f32; 4]).unwrap();
    for (kernel, expected) in [([2, 2], [1.0, 0.0, 0.0, 0.0]), ([1, 2], [1.0, 0.0, 1.0, 0.0])] {
        let windows = windows(&kernel, &kernel, &[], &[]);
        let of = pool!(MaxPool, windows, storage_order: false);
        let rows = 2 / kernel[0] as usize;
        let ones = Tensor::from_values(vec![1, 1, rows, 1], vec![1f32; rows]).unwrap();
        let op = Op::Gradient(Box::new(Gradient { of, inputs: 1, outputs: 1 }));
        let wanted = [Some(ValueType::new(ElementType::F32, vec![1, 1, 2, 2]))];
        let inputs = [Some(x.clone()), Some(ones.clone()), Some(ones)];
        let found = run(&op, &inputs, &wanted, |_| false, Context::default()).unwrap();
        assert_eq!(found[0].as_ref().unwrap().to_f64s().unwrap(), expected);
    }
}

#[test]
fn layouts_agree_on_ties() {
    for channels in [1, 3, 16, 19, 50] {
        for windows in [
            windows(&[2, 2], &[2, 2], &[], &[]),
            windows(&[3, 3], &[2, 2], &[1; 4], &[]),
            windows(&[3, 2], &[], &[2, 1, 0, 1], &[2, 1]),
        ] {
            let value = |place: usize| match Stream::new(3, 1).below(place as u64, 5) {
                0 => f32::NAN,
                1 => f32::NEG_INFINITY,
                other => other as f32,
            };
            let values = |shape: &[usize], value: &dyn Fn(usize) -> f32| {
                let count: usize = shape.iter().product();
                Some(Tensor::from_values(shape.to_vec(), (0..count).map(value).collect()).unwrap())
            };
            let x = values(&[2, channels, 6, 6], &value);
            let of = pool!(MaxPool, windows, storage_order: false);
            let y = reference(&of, std::slice::from_ref(&x), 1).remove(0);
            let dy = values(y.shape(), &|place| place as f32 + 1.0);
            let op = Op::Gradient(Box::new(Gradient { of, inputs: 1, outputs: 1 }));
            let wanted = [Some(ValueType::new(ElementType::F32, x.as_ref().unwrap().shape().to_vec()))];
            let inputs = [x, Some(y), dy];
            let plain = run(&op, &inputs, &wanted, |_| false, Context::default()).unwrap();
            let last = run_channels_last(&op, &inputs, &wanted, |_| false, Context::default()).unwrap().unwrap();
            let [plain, last] = [plain, last].map(|found| found[0].as_ref().unwrap().to_f64s().unwrap());
            assert_eq!(plain, last, "{windows:?} {channels}");
        }
    }
}

#[test]
fn windows_over_many_channels() {
    for channels in [16, 17, 24, 50, 72] {
        for windows in [windows(&[2, 2], &[2, 2], &[], &[]), windows(&[3, 2], &[2, 1], &[1, 0, 1, 1], &[])] {
            for op in pools(&windows) {
                let x = [distinct(&[3, channels, 13, 14], 2)];
                assert!(compare_forward(&op, &x, 1, |_| false).unwrap() < 1e-5, "{op:?} {channels}");
            }
        }
        check(&Op::GlobalAveragePool(GlobalAveragePool {}), &[2, channels, 2, 3]);
        check(&Op::GlobalMaxPool(GlobalMaxPool {}), &[2, channels, 2, 3]);
    }
}
