//! Resizing against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, difference, reference, run};
use slimnet_engine::kernels::{Context, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::vision::{AspectRatioPolicy, CoordinateMode, NearestMode, Resize, ResizeMode};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn random(shape: &[usize]) -> Option<Tensor> {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(5, 1), normal).unwrap())
}

fn resize(mode: ResizeMode, coordinate_transformation_mode: CoordinateMode) -> Resize {
    Resize {
        antialias: false,
        axes: None,
        coordinate_transformation_mode,
        cubic_coeff_a: -0.75,
        exclude_outside: false,
        extrapolation_value: 0.0,
        keep_aspect_ratio_policy: AspectRatioPolicy::Stretch,
        mode,
        nearest_mode: NearestMode::RoundPreferFloor,
    }
}

fn check(op: Resize, inputs: &[Option<Tensor>]) {
    let op = Op::Resize(op);
    let constant = |slot: usize| slot > 0;
    let forward = compare_forward(&op, inputs, 1, constant).unwrap();
    assert!(forward < 2e-6, "{op:?} {inputs:?}: {forward}");
    let gradient = gradient_difference(&op, inputs);
    assert!(gradient < 1e-5, "gradient of {op:?} {inputs:?}: {gradient}");
}

/// Compares the gradient with the operator's results on unit vectors: it is linear, and scales have to stay `float32`,
/// which finite differences in `float64` cannot leave them.
fn gradient_difference(op: &Op, inputs: &[Option<Tensor>]) -> f64 {
    let shape = inputs[0].as_ref().unwrap().shape().to_vec();
    let count: usize = shape.iter().product();
    let on = |values: Vec<f32>| {
        let mut inputs = inputs.to_vec();
        inputs[0] = Some(Tensor::from_values(shape.clone(), values).unwrap());
        reference(op, &inputs, 1).remove(0)
    };
    let nothing = on(vec![0.0; count]);
    let dy = random(nothing.shape()).unwrap();
    let (nothing_at, weights) = (nothing.to_f64s().unwrap(), dy.to_f64s().unwrap());
    let expected = (0..count).map(|element| {
        let y = on((0..count).map(|place| f32::from(u8::from(place == element))).collect()).to_f64s().unwrap();
        y.iter().zip(&nothing_at).zip(&weights).map(|((y, nothing), weight)| (y - nothing) * weight).sum::<f64>() as f32
    });
    let expected = Tensor::from_values(shape.clone(), expected.collect()).unwrap();
    let mut all = inputs.to_vec();
    all.extend([Some(nothing), Some(dy)]);
    let of = Gradient { of: op.clone(), inputs: inputs.len(), outputs: 1 };
    let wanted = [Some(ValueType::new(ElementType::F32, shape.clone()))];
    let constant = |slot: usize| (1..inputs.len()).contains(&slot);
    let found = run(&Op::Gradient(Box::new(of)), &all, &wanted, constant, Context::default()).unwrap();
    difference(found[0].as_ref().unwrap(), &expected)
}

fn scaled(op: Resize, shape: &[usize], scales: &[f32]) {
    check(op, &[random(shape), None, Some(Tensor::vector(scales.to_vec()))]);
}

fn sized(op: Resize, shape: &[usize], sizes: &[i64]) {
    check(op, &[random(shape), None, None, Some(Tensor::vector(sizes.to_vec()))]);
}

const MODES: [ResizeMode; 3] = [ResizeMode::Nearest, ResizeMode::Linear, ResizeMode::Cubic];

const COORDINATES: [CoordinateMode; 5] = [
    CoordinateMode::HalfPixel,
    CoordinateMode::HalfPixelSymmetric,
    CoordinateMode::PytorchHalfPixel,
    CoordinateMode::AlignCorners,
    CoordinateMode::Asymmetric,
];

#[test]
fn every_mode_up_and_down() {
    for mode in MODES {
        for coordinates in COORDINATES {
            let op = resize(mode, coordinates);
            scaled(op.clone(), &[1, 2, 3, 4], &[1.0, 1.0, 2.0, 2.0]);
            scaled(op.clone(), &[2, 1, 5, 4], &[1.0, 1.0, 0.6, 1.3]);
            sized(op.clone(), &[1, 2, 4, 5], &[1, 2, 7, 1]);
            sized(op.clone(), &[1, 1, 4, 5], &[1, 1, 4, 5]);
            sized(op.clone(), &[1, 1, 1, 3], &[1, 1, 4, 2]);
            sized(op, &[2, 4, 3], &[3, 2, 5]);
        }
    }
}

#[test]
fn nearest_rounds_as_told() {
    for nearest_mode in
        [NearestMode::RoundPreferFloor, NearestMode::RoundPreferCeil, NearestMode::Floor, NearestMode::Ceil]
    {
        for coordinates in COORDINATES {
            let op = Resize { nearest_mode, ..resize(ResizeMode::Nearest, coordinates) };
            scaled(op.clone(), &[1, 1, 5, 3], &[1.0, 1.0, 1.5, 2.0]);
            sized(op, &[1, 2, 7, 5], &[1, 2, 3, 9]);
        }
    }
}

#[test]
fn filters_stretch_and_exclude() {
    for mode in [ResizeMode::Linear, ResizeMode::Cubic] {
        for (antialias, exclude_outside) in [(true, false), (false, true), (true, true)] {
            let op = Resize { antialias, exclude_outside, ..resize(mode, CoordinateMode::HalfPixel) };
            sized(op.clone(), &[1, 2, 9, 8], &[1, 2, 4, 11]);
            scaled(op, &[1, 1, 6, 5], &[1.0, 1.0, 0.5, 0.7]);
        }
    }
}

#[test]
fn some_axes_and_a_kept_ratio() {
    for policy in [AspectRatioPolicy::NotLarger, AspectRatioPolicy::NotSmaller] {
        let op = Resize {
            axes: Some(vec![-1, 1]),
            keep_aspect_ratio_policy: policy,
            ..resize(ResizeMode::Linear, CoordinateMode::HalfPixel)
        };
        sized(op, &[2, 4, 3], &[7, 6]);
    }
}

#[test]
fn a_region_with_a_value_outside() {
    for mode in MODES {
        let op = Resize { extrapolation_value: 9.0, ..resize(mode, CoordinateMode::TfCropAndResize) };
        let region = Tensor::vector(vec![0f32, 0.0, -0.3, 0.2, 1.0, 1.0, 0.9, 1.4]);
        let sizes = Tensor::vector(vec![1i64, 2, 6, 5]);
        check(op, &[random(&[1, 2, 5, 4]), Some(region), None, Some(sizes)]);
    }
}

#[test]
fn sizes_that_are_not_known_are_left_to_the_reference_evaluator() {
    let op = Op::Resize(resize(ResizeMode::Linear, CoordinateMode::HalfPixel));
    let inputs = [random(&[1, 1, 3, 4]), None, None, Some(Tensor::vector(vec![1i64, 1, 5, 6]))];
    assert!(compare_forward(&op, &inputs, 1, |_| false).unwrap() < 1e-6);
    assert!(compare_gradient(&op, &inputs, 1, &[0], |_| false).is_err());
}
