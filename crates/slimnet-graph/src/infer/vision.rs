//! Operators of detectors and image networks.

use super::Inferred;
use super::call::{Call, FLOAT32, FLOATS, INT64, NUMBERS, Result, axes_of, ensure, mismatch, output};
use super::shapes::agree;
use crate::graph::{Dim, Shape};
use crate::ops::vision::{AspectRatioPolicy, CoordinateMode, GridSample, Resize, ResizeMode, RoiAlign};
use crate::tensor::ElementType;

/// What Resize is told about the shape of its result.
enum Target {
    Scales(Option<Vec<f64>>),
    Sizes(Option<Vec<Dim>>),
}

pub(super) fn resize(op: &Resize, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 4, 1)?;
    let element_type = call.class(0, NUMBERS)?;
    call.class(1, FLOATS)?;
    call.class(2, FLOAT32)?;
    call.class(3, INT64)?;
    for slot in 1..4 {
        call.rank(slot, 1)?;
    }
    // An empty tensor is the older way to leave an input out.
    let given = |slot| call.has(slot) && call.length(slot) != Some(0);
    let target = match (given(2), given(3)) {
        (true, true) => return Err(mismatch("inputs 2 (scales) and 3 (sizes)", "one of them", "both")),
        (false, false) => return Err(mismatch("inputs 2 (scales) and 3 (sizes)", "one of them", "neither")),
        (true, false) => Target::Scales(call.reals(2)),
        (false, true) => Target::Sizes(call.contents(3).map(std::borrow::Cow::into_owned)),
    };
    let slot = if matches!(target, Target::Scales(_)) { 2 } else { 3 };
    let Some(data) = call.rank_at_least(0, 1)? else { return Ok(vec![output(element_type, None)]) };
    let axes = match &op.axes {
        Some(axes) => axes_of(axes, data.len(), "axes")?,
        None => (0..data.len()).collect(),
    };
    if let Some(length) = call.length(slot) {
        ensure(length == axes.len(), format!("length of input {slot}"), axes.len(), length)?;
    }
    let crop = op.coordinate_transformation_mode == CoordinateMode::TfCropAndResize;
    if crop {
        ensure(given(1), "input 1 (roi)", "one for tf_crop_and_resize", "none")?;
        if let Some(length) = call.length(1) {
            ensure(length == 2 * axes.len(), "length of input 1 (roi)", 2 * axes.len(), length)?;
        }
    }
    let mut shape = data.to_vec();
    match target {
        Target::Scales(scales) => {
            if let Some(scales) = &scales {
                let bad = scales.iter().find(|scale| !scale.is_finite() || **scale <= 0.0);
                ensure(bad.is_none(), "input 2 (scales)", "positive numbers", format!("{scales:?}"))?;
            }
            let region = if crop { call.reals(1) } else { None };
            for (place, &axis) in axes.iter().enumerate() {
                let scale = scales.as_ref().and_then(|scales| scales.get(place).copied());
                let part = match (crop, &region) {
                    (false, _) => Some(1.0),
                    (true, Some(region)) => region.get(place).zip(region.get(place + axes.len())).map(|(b, e)| e - b),
                    (true, None) => None,
                };
                let length = scale.zip(part).and_then(|(scale, part)| scaled(&data[axis], scale, part));
                shape[axis] = call.or_fresh(length);
            }
        }
        Target::Sizes(sizes) => {
            if let Some(sizes) = &sizes {
                let bad = sizes.iter().any(|size| size.constant().is_some_and(|size| size < 0));
                ensure(!bad, "input 3 (sizes)", "at least 0", crate::graph::display_shape(sizes))?;
            }
            let sizes = sizes.and_then(|sizes| sized(op, data, &axes, &sizes));
            for (place, &axis) in axes.iter().enumerate() {
                let length = sizes.as_ref().and_then(|sizes| sizes.get(place).cloned());
                shape[axis] = call.or_fresh(length);
            }
        }
    }
    for (axis, (own, new)) in data.iter().zip(&shape).enumerate() {
        let from_nothing = own.constant() == Some(0) && new.constant().is_some_and(|new| new > 0);
        ensure(!from_nothing, format!("axis {axis} of input 0"), "elements to sample", "none")?;
    }
    Ok(vec![output(element_type, Some(shape))])
}

/// A length times a scale, rounded down; the product is taken in `float32`, as runtimes do.
fn scaled(length: &Dim, scale: f64, part: f64) -> Option<Dim> {
    if let Some(number) = length.constant() {
        let product = (number as f32 * part as f32 * scale as f32).floor();
        return (0.0..1e18).contains(&product).then(|| Dim::from(product as i64));
    }
    let whole = scale * part;
    (whole.fract() == 0.0 && (1.0..1e9).contains(&whole)).then(|| length.scale(whole as i64))?
}

/// The sizes that a policy makes of those that were asked for.
fn sized(op: &Resize, data: &[Dim], axes: &[usize], sizes: &[Dim]) -> Option<Shape> {
    if op.keep_aspect_ratio_policy == AspectRatioPolicy::Stretch {
        return Some(sizes.to_vec());
    }
    let pairs = axes.iter().zip(sizes).map(|(&axis, size)| Some((data[axis].constant()?, size.constant()?)));
    let pairs: Vec<(i64, i64)> = pairs.collect::<Option<_>>()?;
    let scales = pairs.iter().filter(|(own, _)| *own > 0).map(|(own, size)| *size as f64 / *own as f64);
    let scale = match op.keep_aspect_ratio_policy {
        AspectRatioPolicy::NotLarger => scales.fold(f64::INFINITY, f64::min),
        _ => scales.fold(0.0, f64::max),
    };
    // Halves go up, as in the definition.
    let rounded = |own: i64| Some((own as f64 * scale + 0.5).floor()).filter(|length| *length < 1e18);
    pairs.iter().map(|(own, _)| rounded(*own).map(|length| Dim::from(length as i64))).collect()
}

pub(super) fn grid_sample(op: &GridSample, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 2, 1)?;
    let element_type = call.class(0, NUMBERS)?;
    call.class(1, FLOATS)?;
    let (data, grid) = (call.rank_at_least(0, 3)?, call.rank_at_least(1, 3)?);
    let (Some(data), Some(grid)) = (data, grid) else { return Ok(vec![output(element_type, None)]) };
    call.rank(1, data.len())?;
    let cubic = op.mode == ResizeMode::Cubic;
    ensure(!cubic || data.len() == 4, "rank of input 0", "4 for mode cubic", data.len())?;
    let spatial = data.len() - 2;
    agree(&grid[grid.len() - 1], &Dim::from(spatial), || "last axis of input 1 (grid)".into())?;
    let batch = agree(&grid[0], &data[0], || "axis 0 of input 1 (grid)".into())?.clone();
    let shape = [batch, data[1].clone()].into_iter().chain(grid[1..=spatial].iter().cloned()).collect();
    Ok(vec![output(element_type, Some(shape))])
}

pub(super) fn roi_align(op: &RoiAlign, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 3, 1)?;
    let element_type = call.same([0, 1], FLOATS)?;
    call.class(2, INT64)?;
    for (length, name) in [(op.output_height, "output_height"), (op.output_width, "output_width")] {
        ensure(length >= 1, name, "at least 1", length)?;
    }
    ensure(op.sampling_ratio >= 0, "sampling_ratio", "at least 0", op.sampling_ratio)?;
    let data = call.rank(0, 4)?;
    call.has_shape(1, &[None, Some(&Dim::from(4i64))])?;
    let (regions, batches) = (call.shape(1).map(|rois| &rois[0]), call.rank(2, 1)?.map(|batches| &batches[0]));
    let count = match (regions, batches) {
        (Some(regions), Some(batches)) => Some(agree(batches, regions, || "axis 0 of input 2".into())?.clone()),
        (regions, batches) => regions.or(batches).cloned(),
    };
    let channels = data.map(|data| data[1].clone());
    let (count, channels) = (call.or_fresh(count), call.or_fresh(channels));
    let shape = vec![count, channels, Dim::from(op.output_height), Dim::from(op.output_width)];
    Ok(vec![output(element_type, Some(shape))])
}

pub(super) fn non_max_suppression(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(2, 5, 1)?;
    call.same([0, 1], FLOAT32)?;
    call.class(2, INT64)?;
    call.same([3, 4], FLOAT32)?;
    for slot in 2..5 {
        call.single(slot)?;
    }
    call.has_shape(0, &[None, None, Some(&Dim::from(4i64))])?;
    let scores = call.rank(1, 3)?;
    if let (Some([batch, count, _]), Some([batches, _, counts])) = (call.shape(0), scores) {
        agree(batches, batch, || "axis 0 of input 1 (scores)".into())?;
        agree(counts, count, || "axis 2 of input 1 (scores)".into())?;
    }
    let shape = vec![call.fresh(), Dim::from(3i64)];
    Ok(vec![output(Some(ElementType::I64), Some(shape))])
}
