use super::{error_of, floats, ints, one};
use crate::ops::vision::{
    AspectRatioPolicy, CoordinateMode, GridPadding, GridSample, NearestMode, NonMaxSuppression, Resize, ResizeMode,
    RoiAlign, RoiCoordinateMode, RoiMode,
};
use crate::tensor::Tensor;
use crate::{Op, ops::attribute::Attributes};

fn resize(mode: ResizeMode, coordinate_transformation_mode: CoordinateMode) -> Resize {
    let Some(Ok(Op::Resize(op))) = Op::read("Resize", Attributes::default()) else { unreachable!() };
    Resize { coordinate_transformation_mode, mode, ..op }
}

fn scaled(op: Resize, data: &[f32], scale: f32) -> Vec<f64> {
    let data = floats(data);
    super::evaluate(op, &[Some(&data), None, Some(&floats(&[scale]))], 1).unwrap()[0].to_f64s().unwrap()
}

fn sized(op: Resize, data: &Tensor, sizes: &[i64]) -> Tensor {
    super::evaluate(op, &[Some(data), None, None, Some(&ints(sizes))], 1).unwrap().remove(0)
}

#[test]
fn coordinates_of_every_mode() {
    let data = [0.0, 1.0, 2.0, 3.0];
    let linear = |mode| scaled(resize(ResizeMode::Linear, mode), &data, 2.0);
    assert_eq!(linear(CoordinateMode::HalfPixel), [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]);
    assert_eq!(linear(CoordinateMode::HalfPixelSymmetric), linear(CoordinateMode::HalfPixel));
    assert_eq!(linear(CoordinateMode::PytorchHalfPixel), linear(CoordinateMode::HalfPixel));
    assert_eq!(linear(CoordinateMode::Asymmetric), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]);
    let corners = linear(CoordinateMode::AlignCorners);
    assert!(corners.iter().enumerate().all(|(place, value)| (value - place as f64 * 3.0 / 7.0).abs() < 1e-6));
    let single = |mode| sized(resize(ResizeMode::Linear, mode), &floats(&data), &[1]).to_f64s().unwrap();
    assert_eq!(single(CoordinateMode::HalfPixel), [1.5]);
    assert_eq!(single(CoordinateMode::PytorchHalfPixel), [0.0]);
    assert_eq!(single(CoordinateMode::AlignCorners), [0.0]);
}

#[test]
fn nearest_rounds_as_told() {
    let nearest = |nearest_mode| {
        let op = Resize { nearest_mode, ..resize(ResizeMode::Nearest, CoordinateMode::Asymmetric) };
        scaled(op, &[0.0, 1.0, 2.0], 2.0)
    };
    assert_eq!(nearest(NearestMode::RoundPreferFloor), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    assert_eq!(nearest(NearestMode::RoundPreferCeil), [0.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    assert_eq!(nearest(NearestMode::Floor), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    assert_eq!(nearest(NearestMode::Ceil), [0.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
}

#[test]
fn a_region_is_cropped_and_extrapolated() {
    let op = Resize { extrapolation_value: 9.0, ..resize(ResizeMode::Linear, CoordinateMode::TfCropAndResize) };
    let data = floats(&[0.0, 1.0, 2.0, 3.0]);
    let crop = |mode, start: f32, end: f32| {
        let op = Resize { mode, ..op.clone() };
        let region = floats(&[start, end]);
        super::evaluate(op, &[Some(&data), Some(&region), None, Some(&ints(&[3]))], 1).unwrap()[0].to_f64s().unwrap()
    };
    assert_eq!(crop(ResizeMode::Linear, 0.0, 1.0), [0.0, 1.5, 3.0]);
    assert_eq!(crop(ResizeMode::Linear, 0.5, 1.5), [1.5, 3.0, 9.0]);
    assert_eq!(crop(ResizeMode::Nearest, -1.0, 1.0), [9.0, 0.0, 3.0]);
    assert_eq!(crop(ResizeMode::Cubic, f32::NAN, 1.0), [9.0; 3]);
}

#[test]
fn filters_keep_constants_and_antialias_averages() {
    for mode in [ResizeMode::Linear, ResizeMode::Cubic] {
        for antialias in [false, true] {
            for exclude_outside in [false, true] {
                let op = Resize { antialias, exclude_outside, ..resize(mode, CoordinateMode::HalfPixel) };
                for scale in [0.3, 0.5, 1.0, 1.7] {
                    let flat = scaled(op.clone(), &[2.5; 10], scale);
                    assert!(flat.iter().all(|value| (value - 2.5).abs() < 1e-6), "{op:?} {scale}: {flat:?}");
                }
            }
        }
    }
    let op = Resize { antialias: true, ..resize(ResizeMode::Linear, CoordinateMode::HalfPixel) };
    // A triangle of half width 2 around 0.5: weights 1, 3, 3, 1 on places −1 to 2, the first of which repeats the edge.
    assert_eq!(scaled(op, &[8.0, 0.0, 0.0, 0.0], 0.5)[0], 4.0);
}

#[test]
fn sizes_may_keep_the_aspect_ratio() {
    let image = Tensor::from_values(vec![1, 4, 8], vec![0f32; 32]).unwrap();
    let shape = |keep_aspect_ratio_policy| {
        let op = Resize {
            axes: Some(vec![-2, 2]),
            keep_aspect_ratio_policy,
            ..resize(ResizeMode::Nearest, CoordinateMode::HalfPixel)
        };
        sized(op, &image, &[6, 6]).shape().to_vec()
    };
    assert_eq!(shape(AspectRatioPolicy::Stretch), [1, 6, 6]);
    assert_eq!(shape(AspectRatioPolicy::NotLarger), [1, 3, 6]);
    assert_eq!(shape(AspectRatioPolicy::NotSmaller), [1, 6, 12]);
}

#[test]
fn hostile_resizes_are_refused() {
    let op = || resize(ResizeMode::Cubic, CoordinateMode::HalfPixel);
    let data = floats(&[1.0, 2.0]);
    let fails = |scales: Option<&Tensor>, sizes: Option<&Tensor>| {
        super::evaluate(op(), &[Some(&data), None, scales, sizes], 1).unwrap_err();
    };
    for scale in [f32::NAN, -1.0, f32::INFINITY, 1e30] {
        let scales = floats(&[scale]);
        let results = super::evaluate(op(), &[Some(&data), None, Some(&scales)], 1);
        assert!(results.is_err() || results.unwrap()[0].is_empty(), "{scale}");
    }
    fails(Some(&floats(&[1.0, 1.0])), None);
    fails(None, Some(&ints(&[i64::MAX])));
    fails(None, Some(&ints(&[-1])));
    fails(None, None);
    fails(Some(&floats(&[1.0])), Some(&ints(&[2])));
    let empty = floats(&[]);
    super::evaluate(op(), &[Some(&empty), None, None, Some(&ints(&[3]))], 1).unwrap_err();
    assert!(sized(op(), &empty, &[0]).is_empty());
}

#[test]
fn grids_see_padding() {
    let image = floats(&[1.0, 2.0, 3.0, 4.0]).reshaped(vec![1, 1, 2, 2]).unwrap();
    let sample = |mode, padding_mode, align_corners, x: f32, y: f32| {
        let grid = floats(&[x, y]).reshaped(vec![1, 1, 1, 2]).unwrap();
        one(GridSample { align_corners, mode, padding_mode }, &[&image, &grid]).to_f64s().unwrap()[0]
    };
    assert_eq!(sample(ResizeMode::Linear, GridPadding::Zeros, false, 0.0, 0.0), 2.5);
    assert_eq!(sample(ResizeMode::Linear, GridPadding::Zeros, true, 1.0, -1.0), 2.0);
    assert_eq!(sample(ResizeMode::Linear, GridPadding::Zeros, false, 1.0, 1.0), 1.0);
    assert_eq!(sample(ResizeMode::Linear, GridPadding::Border, false, 9.0, 9.0), 4.0);
    assert_eq!(sample(ResizeMode::Nearest, GridPadding::Reflection, false, 1.6, -0.9), 2.0);
    assert_eq!(sample(ResizeMode::Nearest, GridPadding::Zeros, false, f32::NAN, 0.0), 0.0);
    assert_eq!(sample(ResizeMode::Nearest, GridPadding::Border, false, f32::INFINITY, -1.0), 2.0);
    sample(ResizeMode::Cubic, GridPadding::Reflection, true, 1e30, f32::NEG_INFINITY);
    let grid = floats(&[0.0; 3]).reshaped(vec![1, 1, 1, 3]).unwrap();
    let op = GridSample { align_corners: true, mode: ResizeMode::Linear, padding_mode: GridPadding::Border };
    error_of(op.clone(), &[&image, &grid]);
    let empty = Tensor::from_values(vec![1, 1, 0, 2], Vec::<f32>::new()).unwrap();
    error_of(op, &[&empty, &floats(&[0.0; 2]).reshaped(vec![1, 1, 1, 2]).unwrap()]);
}

#[test]
fn regions_are_pooled() {
    let image = Tensor::from_values(vec![1, 1, 4, 4], (0..16).map(|value| value as f32).collect()).unwrap();
    let op = RoiAlign {
        coordinate_transformation_mode: RoiCoordinateMode::OutputHalfPixel,
        mode: RoiMode::Average,
        output_height: 1,
        output_width: 1,
        sampling_ratio: 1,
        spatial_scale: 1.0,
    };
    let align = |op: RoiAlign, region: [f32; 4]| {
        let regions = floats(&region).reshaped(vec![1, 4]).unwrap();
        super::evaluate(op, &[Some(&image), Some(&regions), Some(&ints(&[0]))], 1)
    };
    assert_eq!(align(op.clone(), [0.0, 0.0, 2.0, 4.0]).unwrap()[0].to_f64s().unwrap(), [9.0]);
    assert_eq!(align(op.clone(), [50.0, 50.0, 60.0, 60.0]).unwrap()[0].to_f64s().unwrap(), [0.0]);
    align(RoiAlign { output_width: 0, ..op.clone() }, [0.0; 4]).unwrap_err();
    align(RoiAlign { sampling_ratio: i64::MAX, ..op.clone() }, [0.0; 4]).unwrap_err();
    align(RoiAlign { sampling_ratio: 0, ..op.clone() }, [0.0, 0.0, 1e30, 1e30]).unwrap_err();
    align(op.clone(), [f32::NAN; 4]).unwrap_err();
    error_of(op, &[&image, &floats(&[0.0; 4]).reshaped(vec![1, 4]).unwrap(), &ints(&[1])]);
}

#[test]
fn overlapping_boxes_are_dropped() {
    let boxes = floats(&[0.0, 0.0, 1.0, 1.0, 1.0, 1.1, 0.0, 0.1, 5.0, 5.0, 6.0, 6.0]).reshaped(vec![1, 3, 4]).unwrap();
    let scores = floats(&[0.5, 0.9, 0.9]).reshaped(vec![1, 1, 3]).unwrap();
    let choose = |most: i64, overlap: f32, least: f32| {
        let (most, overlap, least) = (Tensor::scalar(most), Tensor::scalar(overlap), Tensor::scalar(least));
        one(NonMaxSuppression { center_point_box: false }, &[&boxes, &scores, &most, &overlap, &least])
    };
    assert_eq!(choose(3, 0.5, 0.0).to_i64s().unwrap(), [0, 0, 1, 0, 0, 2]);
    assert_eq!(choose(3, 0.9, 0.0).to_i64s().unwrap(), [0, 0, 1, 0, 0, 2, 0, 0, 0]);
    assert_eq!(choose(1, 0.5, 0.0).to_i64s().unwrap(), [0, 0, 1]);
    assert_eq!(choose(-1, 0.5, 0.0).shape(), [0, 3]);
    assert_eq!(choose(3, 0.5, 0.95).shape(), [0, 3]);
    assert_eq!(one(NonMaxSuppression { center_point_box: true }, &[&boxes, &scores]).shape(), [0, 3]);
    error_of(NonMaxSuppression { center_point_box: true }, &[&scores, &scores]);
}
