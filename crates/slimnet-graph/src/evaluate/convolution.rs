//! Convolutions, as matrix products of the weights with the elements that each tap sees.

use super::product::{multiply_add, transposed};
use super::quantization::{centered, requantized};
use super::window::{Axis, Movement, for_each_place, slide, slide_transposed};
use super::{Context, EvaluateError, invalid};
use crate::ops::convolution::{Conv, ConvInteger, ConvTranspose, QLinearConv};
use crate::tensor::{ElementType, Tensor, element_count};

/// Most elements of the block of taps that is multiplied at once.
const BLOCK: usize = 1 << 16;

/// A convolution of `[batch, groups · channels, …]` to `[batch, groups · features, …]`. For a transposed convolution the
/// input lies on the windows and the result on the axes.
struct Convolution {
    batch: usize,
    groups: usize,
    /// Channels of the input in a group.
    channels: usize,
    /// Channels of the result in a group.
    features: usize,
    axes: Vec<Axis>,
    /// Number of elements of one channel where the axes lie, and where the windows are.
    plane: usize,
    windows: usize,
    taps: usize,
}

/// What all convolutions have as attributes.
struct Attributes<'a> {
    movement: Movement<'a>,
    kernel_shape: &'a [i64],
    group: i64,
}

macro_rules! attributes_of {
    ($op:expr) => {
        Attributes {
            movement: Movement {
                auto_pad: $op.auto_pad,
                dilations: &$op.dilations,
                pads: &$op.pads,
                strides: &$op.strides,
            },
            kernel_shape: &$op.kernel_shape,
            group: $op.group,
        }
    };
}

impl Convolution {
    /// Checks shapes against each other. `axes` makes the axes from spatial shape and kernel.
    fn new(
        attributes: &Attributes<'_>,
        x: &[usize],
        w: &[usize],
        transposed: bool,
        axes: impl Fn(&[usize], &[i64]) -> Result<Vec<Axis>, EvaluateError>,
    ) -> Result<Self, EvaluateError> {
        let mismatch = || invalid(format!("input of shape {x:?} and weights of shape {w:?} do not fit"));
        let ([batch, channels, spatial @ ..], [w0, w1, kernel @ ..]) = (x, w) else { return Err(mismatch()) };
        let kernel =
            kernel.iter().map(|&taps| i64::try_from(taps)).collect::<Result<Vec<_>, _>>().map_err(|_| mismatch())?;
        let groups = usize::try_from(attributes.group).ok().filter(|&groups| groups > 0).ok_or_else(mismatch)?;
        let per_group = |count: usize| if count.is_multiple_of(groups) { Ok(count / groups) } else { Err(mismatch()) };
        let own_kernel = attributes.kernel_shape.is_empty() || attributes.kernel_shape == kernel;
        let (channels, features) = if transposed { (per_group(*channels)?, *w1) } else { (*w1, per_group(*w0)?) };
        let fits = channels.checked_mul(groups) == Some(x[1]) && (!transposed || *w0 == x[1]);
        if !own_kernel || !fits || spatial.is_empty() || kernel.len() != spatial.len() {
            return Err(mismatch());
        }
        let axes = axes(spatial, &kernel)?;
        let size = |length: fn(&Axis) -> i64| {
            element_count(&axes.iter().map(|axis| length(axis) as usize).collect::<Vec<_>>())
        };
        let (plane, windows, taps) = (size(|axis| axis.length)?, size(|axis| axis.windows)?, size(|axis| axis.taps)?);
        Ok(Self { batch: *batch, groups, channels, features, axes, plane, windows, taps })
    }

    fn result_shape(&self, length: fn(&Axis) -> i64) -> Result<Vec<usize>, EvaluateError> {
        let features = self.groups.checked_mul(self.features).ok_or_else(|| invalid("too many channels"))?;
        Ok([self.batch, features].into_iter().chain(self.axes.iter().map(|axis| length(axis) as usize)).collect())
    }

    /// The places of all taps.
    fn tap_places(&self) -> Result<Vec<Vec<i64>>, EvaluateError> {
        let mut places = Vec::new();
        let ranges: Vec<_> = self.axes.iter().map(|axis| 0..axis.taps).collect();
        for_each_place(&ranges, |place| {
            places.push(place.to_vec());
            Ok(())
        })?;
        Ok(places)
    }

    /// How many rows of one element a window fit in a block.
    fn block_rows(&self) -> usize {
        (BLOCK / self.windows.max(1)).max(4)
    }

    /// `values` is all zeros, of the result's size.
    fn forward(&self, x: &[f64], w: &[f64], values: &mut [f64]) -> Result<(), EvaluateError> {
        if values.is_empty() || self.channels == 0 {
            return Ok(());
        }
        let tap_places = self.tap_places()?;
        let depth = self.channels * self.taps;
        let mut rows = vec![0.0; self.block_rows().min(depth) * self.windows];
        for number in 0..self.batch * self.groups {
            let group = number % self.groups;
            let x = &x[number * self.channels * self.plane..][..self.channels * self.plane];
            let w = &w[group * self.features * depth..][..self.features * depth];
            let result = &mut values[number * self.features * self.windows..][..self.features * self.windows];
            for first in (0..depth).step_by(self.block_rows()) {
                let count = self.block_rows().min(depth - first);
                for (place, row) in (first..first + count).zip(rows.chunks_exact_mut(self.windows)) {
                    let (channel, tap) = (place / self.taps, place % self.taps);
                    gather(&x[channel * self.plane..][..self.plane], &self.axes, &tap_places[tap], row);
                }
                multiply_add(&w[first..], depth, &rows, count, result, self.windows);
            }
        }
        Ok(())
    }

    /// `values` is all zeros, of the result's size.
    fn transposed(&self, x: &[f64], w: &[f64], values: &mut [f64]) -> Result<(), EvaluateError> {
        if x.is_empty() || w.is_empty() || values.is_empty() {
            return Ok(());
        }
        let tap_places = self.tap_places()?;
        let depth = self.features * self.taps;
        let mut rows = vec![0.0; self.block_rows().min(depth) * self.windows];
        for group in 0..self.groups {
            let w = transposed(&w[group * self.channels * depth..][..self.channels * depth], self.channels, depth);
            for example in 0..self.batch {
                let number = example * self.groups + group;
                let x = &x[number * self.channels * self.windows..][..self.channels * self.windows];
                let result = &mut values[number * self.features * self.plane..][..self.features * self.plane];
                for first in (0..depth).step_by(self.block_rows()) {
                    let count = self.block_rows().min(depth - first);
                    let rows = &mut rows[..count * self.windows];
                    rows.fill(0.0);
                    let w = &w[first * self.channels..];
                    multiply_add(w, self.channels, x, self.channels, rows, self.windows);
                    for (place, row) in (first..first + count).zip(rows.chunks_exact(self.windows)) {
                        let (feature, tap) = (place / self.taps, place % self.taps);
                        let plane = &mut result[feature * self.plane..][..self.plane];
                        scatter(plane, &self.axes, &tap_places[tap], row);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds `bias[channel]` to each channel of a result whose channels have `plane` elements.
    fn add_bias(&self, values: &mut [f64], plane: usize, bias: Option<&Tensor>) -> Result<(), EvaluateError> {
        let Some(bias) = bias else { return Ok(()) };
        let biases = bias.to_f64s()?;
        if bias.rank() != 1 || biases.len() != self.groups * self.features {
            return Err(invalid(format!(
                "bias of shape {:?} for {} channels",
                bias.shape(),
                self.groups * self.features
            )));
        }
        for (place, channel) in values.chunks_exact_mut(plane.max(1)).enumerate() {
            let bias = biases[place % biases.len()];
            for value in channel {
                *value += bias;
            }
        }
        Ok(())
    }
}

/// What tap `tap` sees in each window, zeros in the padding.
fn gather(plane: &[f64], axes: &[Axis], tap: &[i64], row: &mut [f64]) {
    let ([axis, inner_axes @ ..], [own_tap, inner_tap @ ..]) = (axes, tap) else { return };
    let seen = axis.windows_with(*own_tap);
    if row.is_empty() || seen.is_empty() {
        row.fill(0.0);
        return;
    }
    let (first, end) = (seen.start as usize, seen.end as usize);
    let (start, stride) = (axis.place(seen.start, *own_tap) as usize, axis.stride as usize);
    if inner_axes.is_empty() {
        row[..first].fill(0.0);
        row[end..].fill(0.0);
        for (value, &seen) in row[first..end].iter_mut().zip(plane[start..].iter().step_by(stride)) {
            *value = seen;
        }
        return;
    }
    let (inner_row, inner_plane) = (row.len() / axis.windows as usize, plane.len() / axis.length as usize);
    row[..first * inner_row].fill(0.0);
    row[end * inner_row..].fill(0.0);
    for (place, row) in row[first * inner_row..end * inner_row].chunks_exact_mut(inner_row).enumerate() {
        gather(&plane[(start + place * stride) * inner_plane..][..inner_plane], inner_axes, inner_tap, row);
    }
}

/// Adds a row of one element a window where tap `tap` of the windows is; what falls into the padding is lost.
fn scatter(plane: &mut [f64], axes: &[Axis], tap: &[i64], row: &[f64]) {
    let ([axis, inner_axes @ ..], [own_tap, inner_tap @ ..]) = (axes, tap) else { return };
    let seen = axis.windows_with(*own_tap);
    if row.is_empty() || plane.is_empty() || seen.is_empty() {
        return;
    }
    let (first, end) = (seen.start as usize, seen.end as usize);
    let (start, stride) = (axis.place(seen.start, *own_tap) as usize, axis.stride as usize);
    if inner_axes.is_empty() {
        for (value, &added) in plane[start..].iter_mut().step_by(stride).zip(&row[first..end]) {
            *value += added;
        }
        return;
    }
    let (inner_row, inner_plane) = (row.len() / axis.windows as usize, plane.len() / axis.length as usize);
    for (place, row) in row[first * inner_row..end * inner_row].chunks_exact(inner_row).enumerate() {
        scatter(&mut plane[(start + place * stride) * inner_plane..][..inner_plane], inner_axes, inner_tap, row);
    }
}

/// A convolution of these numbers, without bias: its shape, values and geometry.
fn convolved(
    attributes: &Attributes<'_>,
    (x, x_shape): (&[f64], &[usize]),
    (w, w_shape): (&[f64], &[usize]),
    room: impl Fn(&[usize]) -> Result<usize, EvaluateError>,
) -> Result<(Convolution, Vec<usize>, Vec<f64>), EvaluateError> {
    let axes = |spatial: &[usize], kernel: &[i64]| slide(&attributes.movement, spatial, kernel, false);
    let convolution = Convolution::new(attributes, x_shape, w_shape, false, axes)?;
    let shape = convolution.result_shape(|axis| axis.windows)?;
    let mut values = vec![0.0; room(&shape)?];
    convolution.forward(x, w, &mut values)?;
    Ok((convolution, shape, values))
}

pub(super) fn conv(op: &Conv, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let (x, w) = (context.input(0)?, context.input(1)?);
    let room = |shape: &[usize]| context.room(x.element_type(), shape);
    let (x_values, w_values) = (x.to_f64s()?, w.to_f64s()?);
    let (convolution, shape, mut values) =
        convolved(&attributes_of!(op), (&x_values, x.shape()), (&w_values, w.shape()), room)?;
    convolution.add_bias(&mut values, convolution.windows, context.optional(2))?;
    Ok(vec![Tensor::from_f64s(x.element_type(), shape, values)?])
}

pub(super) fn conv_transpose(op: &ConvTranspose, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let (x, w) = (context.input(0)?, context.input(1)?);
    let attributes = attributes_of!(op);
    let axes = |spatial: &[usize], kernel: &[i64]| {
        slide_transposed(&attributes.movement, spatial, kernel, &op.output_padding, &op.output_shape)
    };
    let convolution = Convolution::new(&attributes, x.shape(), w.shape(), true, axes)?;
    let shape = convolution.result_shape(|axis| axis.length)?;
    let mut values = vec![0.0; context.room(x.element_type(), &shape)?];
    convolution.transposed(&x.to_f64s()?, &w.to_f64s()?, &mut values)?;
    convolution.add_bias(&mut values, convolution.plane, context.optional(2))?;
    Ok(vec![Tensor::from_f64s(x.element_type(), shape, values)?])
}

/// A zero point or scale of weights: one number, or one for each feature, shaped to broadcast over the weights.
fn per_feature(tensor: &Tensor, rank: usize) -> Result<Tensor, EvaluateError> {
    match *tensor.shape() {
        [count] if count != 1 => {
            let mut shape = vec![1; rank];
            *shape.first_mut().ok_or_else(|| invalid("the weights have no axes"))? = count;
            Ok(tensor.reshaped(shape)?)
        }
        _ => Ok(tensor.clone()),
    }
}

/// The exact sums of products of a convolution of integers, with zero points that padding takes too.
fn integer_convolution(
    attributes: &Attributes<'_>,
    (x, x_zero): (&Tensor, Option<&Tensor>),
    (w, w_zero): (&Tensor, Option<&Tensor>),
    room: impl Fn(&[usize]) -> Result<usize, EvaluateError>,
) -> Result<(Convolution, Vec<usize>, Vec<f64>), EvaluateError> {
    let w_zero = w_zero.map(|zero| per_feature(zero, w.rank())).transpose()?;
    let (x_values, w_values) = (centered(x, x_zero)?, centered(w, w_zero.as_ref())?);
    convolved(attributes, (&x_values, x.shape()), (&w_values, w.shape()), room)
}

pub(super) fn conv_integer(op: &ConvInteger, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let room = |shape: &[usize]| context.room(ElementType::I32, shape);
    let (x, w) = ((context.input(0)?, context.optional(2)), (context.input(1)?, context.optional(3)));
    let (_, shape, sums) = integer_convolution(&attributes_of!(op), x, w, room)?;
    let sums = sums.into_iter().map(|sum| sum as i128).collect();
    Ok(vec![Tensor::from_i128s(ElementType::I32, shape, sums)?])
}

pub(super) fn q_linear_conv(op: &QLinearConv, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let zero = context.input(7)?;
    let room = |shape: &[usize]| context.room(zero.element_type(), shape);
    let (x, w) = ((context.input(0)?, context.optional(2)), (context.input(3)?, context.optional(5)));
    let (convolution, shape, mut sums) = integer_convolution(&attributes_of!(op), x, w, room)?;
    convolution.add_bias(&mut sums, convolution.windows, context.optional(8))?;
    // The weights' scales lie along axis 1 of the result.
    let w_scale = per_feature(context.input(4)?, shape.len() - 1)?;
    requantized(&shape, &sums, &[context.input(1)?, &w_scale], context.input(6)?, zero)
}
