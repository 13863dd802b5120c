//! Windows: convolutions, pooling, resizing.

use slimnet_graph::Op;
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};
use slimnet_graph::ops::pooling::{AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool};
use slimnet_graph::ops::vision::{AspectRatioPolicy, CoordinateMode, NearestMode, Resize, ResizeMode};
use slimnet_graph::tensor::{ElementType, Tensor};

use super::check::{Case, Random, axes_of, check, integers, with_known};

fn entries(random: &mut Random, count: usize, least: i64, most: i64) -> Vec<i64> {
    if random.chance(4) { vec![] } else { (0..count).map(|_| random.range(least, most)).collect() }
}

const AUTO_PADS: [AutoPad; 6] =
    [AutoPad::NotSet, AutoPad::NotSet, AutoPad::NotSet, AutoPad::SameUpper, AutoPad::SameLower, AutoPad::Valid];

/// Lengths of spatial axes.
fn spatial(random: &mut Random, rank: usize) -> Vec<usize> {
    let most = [1, 65, 17, 7, 4][rank];
    let mut lengths: Vec<_> = (0..rank).map(|_| random.length(most)).collect();
    if random.chance(3) {
        for length in &mut lengths {
            *length = 1 + *length % 8;
        }
    }
    lengths
}

/// Weights of which, now and then, most are zeros, some filters altogether.
fn weights_with_zeros(random: &mut Random, shape: &[usize]) -> Option<Tensor> {
    let dense = random.floats(shape)?;
    let kept = random.pick(&[100, 100, 100, 30, 10, 2, 0]);
    let filter: usize = shape[1..].iter().product();
    let empty = random.below(shape[0].max(1) + 1);
    let mut values = dense.to_f64s().ok()?;
    for (place, value) in values.iter_mut().enumerate() {
        if kept < 100 && (random.below(100) >= kept || place / filter.max(1) == empty) {
            *value = 0.0;
        }
    }
    Tensor::from_f64s(ElementType::F32, shape.to_vec(), values).ok()
}

#[test]
fn convolutions() {
    check("convolution", 600, |random| {
        let rank = random.pick(&[1, 1, 2, 2, 2, 3, 4]);
        let group = random.pick(&[1, 1, 2, 3, 5]);
        let depthwise = random.chance(5);
        let (of_group, filters) =
            if depthwise { (1, random.pick(&[1, 1, 2])) } else { (1 + random.below(5), random.length(65)) };
        let of_group = if group == 1 && !depthwise { random.length(33).max(1) } else { of_group };
        let group = if depthwise { random.length(33).max(1) } else { group };
        let mut shape = vec![random.pick(&[1, 1, 2, 3, 9]), group * of_group];
        let on_axes = spatial(random, rank);
        shape.extend(&on_axes);
        let mut weights = vec![group * filters, of_group];
        let mut kernel: Vec<usize> = (0..rank).map(|_| random.pick(&[1, 1, 2, 3, 3, 5])).collect();
        if random.chance(6) {
            kernel = on_axes.iter().map(|length| (*length).min(6)).collect();
        }
        weights.extend(&kernel);
        let auto_pad = random.pick(&AUTO_PADS);
        let pads = if auto_pad == AutoPad::NotSet { entries(random, 2 * rank, 0, 4) } else { vec![] };
        let op = Conv {
            auto_pad,
            dilations: entries(random, rank, 1, 3),
            group: group as i64,
            kernel_shape: vec![],
            pads,
            strides: entries(random, rank, 1, 4),
        };
        let bias = if random.chance(2) { random.floats(&[group * filters]) } else { None };
        let mut inputs = vec![random.floats(&shape), weights_with_zeros(random, &weights)];
        let mut wanted = if rank > 3 { vec![] } else { vec![0, 1] };
        if bias.is_some() {
            inputs.push(bias);
            if rank < 4 {
                wanted.push(2);
            }
        }
        let constant = if random.chance(2) { vec![1] } else { vec![] };
        Case { constant, wanted, ..Case::new(op, inputs) }
    });
}

#[test]
fn transposed_convolutions() {
    check("transposed", 600, |random| {
        let rank = random.pick(&[1, 1, 2, 2, 2, 3, 4]);
        let group = random.pick(&[1, 1, 2, 3]);
        let (of_group, filters) = (1 + random.below(5), random.length(9));
        let mut shape = vec![random.pick(&[1, 1, 2, 3, 9]), group * of_group];
        let on_windows: Vec<_> = spatial(random, rank).into_iter().map(|length| length.min(9)).collect();
        shape.extend(&on_windows);
        let mut weights = vec![group * of_group, filters];
        let kernel: Vec<usize> = (0..rank).map(|_| random.pick(&[1, 1, 2, 3, 3, 5])).collect();
        weights.extend(&kernel);
        let auto_pad = random.pick(&AUTO_PADS);
        let pads = if auto_pad == AutoPad::NotSet { entries(random, 2 * rank, 0, 2) } else { vec![] };
        let strides = entries(random, rank, 1, 4);
        let output_padding = if random.chance(3) { entries(random, rank, 0, 2) } else { vec![] };
        let output_shape = if random.chance(6) {
            (0..rank)
                .map(|axis| {
                    let stride = strides.get(axis).copied().unwrap_or(1);
                    (on_windows[axis] as i64 * stride + random.range(-1, 3)).max(1)
                })
                .collect()
        } else {
            vec![]
        };
        let op = ConvTranspose {
            auto_pad,
            dilations: entries(random, rank, 1, 3),
            group: group as i64,
            kernel_shape: vec![],
            output_padding,
            output_shape,
            pads,
            strides,
        };
        let bias = if random.chance(2) { random.floats(&[group * filters]) } else { None };
        let mut inputs = vec![random.floats(&shape), random.floats(&weights)];
        let mut wanted = if rank > 3 { vec![] } else { vec![0, 1] };
        if bias.is_some() {
            inputs.push(bias);
            if rank < 4 {
                wanted.push(2);
            }
        }
        Case { wanted, ..Case::new(op, inputs) }
    });
}

#[test]
fn poolings() {
    check("pooling", 3000, |random| {
        let rank = random.pick(&[1, 1, 2, 2, 2, 3, 4]);
        let mut shape = vec![random.pick(&[1, 1, 2, 3]), random.pick(&[1, 2, 3, 5])];
        shape.extend(spatial(random, rank));
        let x = random.floats(&shape);
        let kernel_shape: Vec<i64> = (0..rank).map(|_| random.pick(&[1, 2, 2, 3, 3, 4])).collect();
        let auto_pad = random.pick(&AUTO_PADS);
        let pads = if auto_pad == AutoPad::NotSet { entries(random, 2 * rank, 0, 3) } else { vec![] };
        let (dilations, strides) = (entries(random, rank, 1, 3), entries(random, rank, 1, 4));
        let ceil_mode = random.chance(2);
        let mut outputs = 1;
        let op: Op = match random.below(6) {
            0 | 1 => {
                outputs += random.below(2);
                let storage_order = random.chance(2);
                MaxPool { auto_pad, ceil_mode, dilations, kernel_shape, pads, storage_order, strides }.into()
            }
            2 => {
                let count_include_pad = random.chance(2);
                AveragePool { auto_pad, ceil_mode, count_include_pad, dilations, kernel_shape, pads, strides }.into()
            }
            3 => {
                let p = random.range(1, 4);
                LpPool { auto_pad, ceil_mode, dilations, kernel_shape, p, pads, strides }.into()
            }
            4 if random.chance(2) => GlobalAveragePool {}.into(),
            4 => GlobalMaxPool {}.into(),
            _ => GlobalLpPool { p: random.range(1, 2) }.into(),
        };
        let wanted = if rank > 3 || shape.contains(&0) { vec![] } else { vec![0] };
        Case { outputs, wanted, ..Case::new(op, vec![x]) }
    });
}

#[test]
fn resizing() {
    check("resizing", 400, |random| {
        let rank = random.pick(&[1, 2, 3, 4, 4, 5]);
        let most = [0, 33, 17, 8, 5, 3][rank];
        let shape: Vec<usize> = (0..rank).map(|_| random.length(most).max(1)).collect();
        let axes = random.chance(3).then(|| axes_of(random, rank));
        let count = axes.as_ref().map_or(rank, Vec::len);
        let mode = random.pick(&[ResizeMode::Nearest, ResizeMode::Linear, ResizeMode::Cubic]);
        let coordinate_transformation_mode = random.pick(&[
            CoordinateMode::HalfPixel,
            CoordinateMode::HalfPixelSymmetric,
            CoordinateMode::PytorchHalfPixel,
            CoordinateMode::AlignCorners,
            CoordinateMode::Asymmetric,
            CoordinateMode::TfCropAndResize,
        ]);
        let roi = (coordinate_transformation_mode == CoordinateMode::TfCropAndResize).then(|| {
            let ends =
                (0..2 * count).map(|at| random.pick(&[0.0, 0.1, -0.25, 0.5]) + if at < count { 0.0 } else { 0.75 });
            Tensor::vector(ends.collect::<Vec<f32>>())
        });
        let changed = |random: &mut Random| !random.chance(3);
        let by_scales = random.chance(2);
        let (scales, sizes) = if by_scales {
            let scales: Vec<f32> = (0..count)
                .map(|_| if changed(random) { random.pick(&[0.5, 2.0, 1.7, 0.6, 0.26, 1.1]) } else { 1.0 })
                .collect();
            (Some(Tensor::vector(scales)), None)
        } else {
            let sizes: Vec<i64> =
                shape.iter().cycle().take(count).map(|&length| random.range(1, 2 * length as i64)).collect();
            (None, integers(&sizes))
        };
        // Inference and the evaluator differ in what size is left of what is cropped.
        let crops = coordinate_transformation_mode == CoordinateMode::TfCropAndResize;
        let (scales, sizes) = match scales {
            Some(_) if crops && !with_known() => (None, integers(&vec![3; count])),
            scales => (scales, sizes),
        };
        let policy = if by_scales {
            AspectRatioPolicy::Stretch
        } else {
            random.pick(&[
                AspectRatioPolicy::Stretch,
                AspectRatioPolicy::Stretch,
                AspectRatioPolicy::NotLarger,
                AspectRatioPolicy::NotSmaller,
            ])
        };
        let op = Resize {
            antialias: mode != ResizeMode::Nearest && random.chance(4),
            axes,
            coordinate_transformation_mode,
            cubic_coeff_a: random.pick(&[-0.75, -0.5]),
            exclude_outside: random.chance(4),
            extrapolation_value: random.pick(&[0.0, 2.5]),
            keep_aspect_ratio_policy: policy,
            mode,
            nearest_mode: random.pick(&[
                NearestMode::RoundPreferFloor,
                NearestMode::RoundPreferCeil,
                NearestMode::Floor,
                NearestMode::Ceil,
            ]),
        };
        let mut inputs = vec![random.floats(&shape), roi, scales, sizes];
        while inputs.last().is_some_and(Option::is_none) {
            inputs.pop();
        }
        Case { constant: vec![1, 2, 3], ..Case::new(op, inputs) }
    });
}
