//! Evaluation of `RoiAlign` and `NonMaxSuppression`.

use super::super::{Context, EvaluateError, invalid};
use crate::ops::vision::{NonMaxSuppression, RoiAlign, RoiCoordinateMode, RoiMode};
use crate::tensor::Tensor;

/// Most sampling points of a region along one axis: more than any image has pixels there.
const MOST_POINTS: f64 = 1e5;

pub(super) fn roi_align(op: &RoiAlign, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (data, regions, examples) = (context.input(0)?, context.input(1)?, context.input(2)?);
    let (&[batch, channels, height, width], &[count, 4]) = (data.shape(), regions.shape()) else {
        return Err(invalid(format!("regions of shape {:?} in images of {:?}", regions.shape(), data.shape())));
    };
    let size = |length: i64| usize::try_from(length).ok().filter(|&length| length > 0);
    let (Some(rows), Some(columns)) = (size(op.output_height), size(op.output_width)) else {
        return Err(invalid(format!("regions of {} by {} bins", op.output_height, op.output_width)));
    };
    if examples.shape() != [count] {
        return Err(invalid(format!("{count} regions with batch indices of shape {:?}", examples.shape())));
    }
    let shape = vec![count, channels, rows, columns];
    let mut results = Vec::with_capacity(context.room(data.element_type(), &shape)?);
    let (values, regions) = (data.to_f64s()?, regions.to_f64s()?);
    for (region, example) in regions.chunks(4).zip(examples.to_i64s()?) {
        let Some(example) = usize::try_from(example).ok().filter(|&example| example < batch) else {
            return Err(invalid(format!("batch index {example} of {batch} images")));
        };
        if height == 0 || width == 0 {
            return Err(invalid("regions of empty images"));
        }
        let [along_y, along_x] = [(1, height, rows), (0, width, columns)]
            .map(|(side, length, bins)| points(op, region[side], region[side + 2], length, bins));
        let (along_y, along_x) = (along_y?, along_x?);
        for channel in 0..channels {
            let image = &values[(example * channels + channel) * height * width..][..height * width];
            for rows in &along_y {
                results.extend(along_x.iter().map(|columns| pool(op.mode, image, width, rows, columns)));
            }
        }
    }
    Ok(Tensor::from_f64s(data.element_type(), shape, results)?)
}

/// A sampling point along one axis: two neighbours with their weights; `None` outside of the image.
type Point = Option<[(usize, f64); 2]>;

/// The sampling points of each bin along one axis.
fn points(op: &RoiAlign, start: f64, end: f64, length: usize, bins: usize) -> Result<Vec<Vec<Point>>, EvaluateError> {
    let half_pixel = op.coordinate_transformation_mode == RoiCoordinateMode::HalfPixel;
    let scale = f64::from(op.spatial_scale);
    let offset = if half_pixel { 0.5 } else { 0.0 };
    let (start, end) = (start * scale - offset, end * scale - offset);
    let extent = if half_pixel { end - start } else { (end - start).max(1.0) };
    let bin = extent / bins as f64;
    let count = if op.sampling_ratio > 0 { op.sampling_ratio as f64 } else { bin.ceil().max(0.0) };
    if !start.is_finite() || !bin.is_finite() || count * bins as f64 > MOST_POINTS {
        return Err(invalid(format!("a region from {start} to {end} in {bins} bins")));
    }
    let point = |index: usize, place: usize| {
        let place = start + index as f64 * bin + (place as f64 + 0.5) * bin / count;
        if place < -1.0 || place > length as f64 {
            return None;
        }
        let place = place.clamp(0.0, (length - 1) as f64);
        let low = place as usize;
        let part = place - low as f64;
        Some([(low, 1.0 - part), ((low + 1).min(length - 1), part)])
    };
    Ok((0..bins).map(|index| (0..count as usize).map(|place| point(index, place)).collect()).collect())
}

/// The value of one bin.
fn pool(mode: RoiMode, image: &[f64], width: usize, rows: &[Point], columns: &[Point]) -> f64 {
    let samples = rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column)));
    let corners = |(row, column): (&Point, &Point)| {
        let (Some(row), Some(column)) = (row, column) else { return [0.0; 4] };
        let value = |y: usize, x: usize| image[row[y].0 * width + column[x].0] * row[y].1 * column[x].1;
        [value(0, 0), value(0, 1), value(1, 0), value(1, 1)]
    };
    match mode {
        RoiMode::Average => {
            let count = (rows.len() * columns.len()).max(1);
            samples.map(|sample| corners(sample).iter().sum::<f64>()).sum::<f64>() / count as f64
        }
        // ONNX takes the maximum of the weighted corners, not of their sums.
        RoiMode::Max => samples.flat_map(corners).reduce(f64::max).unwrap_or(0.0),
    }
}

/// A box by its edges.
#[derive(Debug, Clone, Copy)]
struct Edges {
    low: [f64; 2],
    high: [f64; 2],
}

impl Edges {
    fn new(numbers: &[f64], center_point_box: bool) -> Self {
        let &[a, b, c, d] = numbers else { return Self { low: [0.0; 2], high: [0.0; 2] } };
        if center_point_box {
            Self { low: [a - c / 2.0, b - d / 2.0], high: [a + c / 2.0, b + d / 2.0] }
        } else {
            Self { low: [a.min(c), b.min(d)], high: [a.max(c), b.max(d)] }
        }
    }

    fn area(&self) -> f64 {
        (self.high[0] - self.low[0]).max(0.0) * (self.high[1] - self.low[1]).max(0.0)
    }

    /// Area of the intersection divided by that of the union.
    fn overlap(&self, other: &Self) -> f64 {
        let shared = Self {
            low: [self.low[0].max(other.low[0]), self.low[1].max(other.low[1])],
            high: [self.high[0].min(other.high[0]), self.high[1].min(other.high[1])],
        };
        let (intersection, own, others) = (shared.area(), self.area(), other.area());
        if own <= 0.0 || others <= 0.0 { 0.0 } else { intersection / (own + others - intersection) }
    }
}

pub(super) fn non_max_suppression(op: &NonMaxSuppression, context: &Context<'_>) -> Result<Tensor, EvaluateError> {
    let (boxes, scores) = (context.input(0)?, context.input(1)?);
    let (&[batch, count, 4], &[score_batch, classes, scored]) = (boxes.shape(), scores.shape()) else {
        return Err(invalid(format!("boxes of shape {:?} with scores of {:?}", boxes.shape(), scores.shape())));
    };
    if batch != score_batch || count != scored {
        return Err(invalid(format!("boxes of shape {:?} with scores of {:?}", boxes.shape(), scores.shape())));
    }
    let number = |slot| match context.optional(slot).map(Tensor::to_f64s).transpose()?.as_deref() {
        None | Some([]) => Ok(None),
        Some(&[number]) => Ok(Some(number)),
        Some(numbers) => Err(invalid(format!("input {slot} has {} elements instead of one", numbers.len()))),
    };
    // The conversion saturates, at 0 for negative numbers.
    let most = number(2)?.unwrap_or(0.0) as usize;
    let (most_overlap, least_score) = (number(3)?.unwrap_or(0.0), number(4)?);
    let (boxes, scores) = (boxes.to_f64s()?, scores.to_f64s()?);
    let edges: Vec<_> = boxes.chunks(4).map(|numbers| Edges::new(numbers, op.center_point_box)).collect();
    let mut chosen = Vec::new();
    // Empty batches or boxes leave no scores, whatever the other lengths.
    for (group, scores) in scores.chunks(count.max(1)).enumerate() {
        let (example, class) = (group / classes, group % classes);
        let mut candidates: Vec<_> =
            (0..count).filter(|&index| least_score.is_none_or(|least| scores[index] > least)).collect();
        // Of equal scores the first box wins.
        candidates.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut kept: Vec<usize> = Vec::new();
        for index in candidates {
            if kept.len() >= most {
                break;
            }
            let edges_of = |index: usize| edges[example * count + index];
            if kept.iter().all(|&better| edges_of(index).overlap(&edges_of(better)) <= most_overlap) {
                kept.push(index);
                chosen.extend([example as i64, class as i64, index as i64]);
            }
        }
        context.room(crate::ElementType::I64, &[chosen.len()])?;
    }
    Ok(Tensor::from_values(vec![chosen.len() / 3, 3], chosen)?)
}
