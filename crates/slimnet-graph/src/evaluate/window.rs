//! Windows that slide over spatial axes: where each tap of each window falls.

use std::ops::Range;

use super::{EvaluateError, invalid, unsupported};
use crate::ops::convolution::AutoPad;

/// More axes than any network has; a bound so that hostile files cannot exhaust the stack.
const MOST_AXES: usize = 16;

/// How a window moves, as attributes give it; empty lists are at their defaults.
pub(super) struct Movement<'a> {
    pub auto_pad: AutoPad,
    pub dilations: &'a [i64],
    pub pads: &'a [i64],
    pub strides: &'a [i64],
}

/// A window on one spatial axis: tap `t` of window `o` is at `o · stride + t · dilation − begin`.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// Length of the axis that windows lie on.
    pub length: i64,
    /// Number of taps.
    pub taps: i64,
    pub stride: i64,
    pub dilation: i64,
    /// Padding before and behind.
    pub begin: i64,
    pub end: i64,
    /// Number of windows.
    pub windows: i64,
}

impl Axis {
    /// The windows whose tap `tap` is not in the padding.
    pub fn windows_with(&self, tap: i64) -> Range<i64> {
        let place = tap * self.dilation - self.begin;
        let first = ceiling_quotient((-place).max(0), self.stride).min(self.windows);
        let end = ceiling_quotient((self.length - place).max(0), self.stride).min(self.windows);
        first..end.max(first)
    }

    /// The taps of window `window` that are at `from` or behind and before `to`.
    pub fn taps_within(&self, window: i64, from: i64, to: i64) -> Range<i64> {
        let place = window * self.stride - self.begin;
        let first = ceiling_quotient((from - place).max(0), self.dilation).min(self.taps);
        let end = ceiling_quotient((to - place).max(0), self.dilation).min(self.taps);
        first..end.max(first)
    }

    /// Where tap `tap` of window `window` is.
    pub fn place(&self, window: i64, tap: i64) -> i64 {
        window * self.stride + tap * self.dilation - self.begin
    }

    /// Whether all that the methods compute is small enough; extents of more than 2^62 do not occur.
    fn bounded(&self) -> bool {
        let products = [(self.windows, self.stride), (self.taps, self.dilation)];
        let extents = products.map(|(count, step)| i128::from(count) * i128::from(step));
        let sum: i128 =
            extents.iter().sum::<i128>() + [self.length, self.begin, self.end].map(i128::from).iter().sum::<i128>();
        sum < 1 << 62
    }
}

fn ceiling_quotient(dividend: i64, divisor: i64) -> i64 {
    dividend / divisor + i64::from(dividend % divisor != 0)
}

/// Element `index` of a list of one number an axis.
fn entry(list: &[i64], rank: usize, index: usize, default: i64, least: i64) -> Result<i64, EvaluateError> {
    match list.get(index) {
        _ if !list.is_empty() && list.len() != rank => {
            Err(invalid(format!("{list:?} is not one number for each of {rank}")))
        }
        None => Ok(default),
        Some(&number) if number < least => Err(invalid(format!("{number} is below {least}"))),
        Some(&number) => Ok(number),
    }
}

/// Begin and end of the padding along each axis.
fn padding(movement: &Movement<'_>, rank: usize, axis: usize) -> Result<(i64, i64), EvaluateError> {
    let pad = |index| entry(movement.pads, 2 * rank, index, 0, 0);
    Ok((pad(axis)?, pad(rank + axis)?))
}

fn count(length: usize) -> Result<i64, EvaluateError> {
    i64::try_from(length).map_err(|_| invalid("an axis is too long"))
}

fn halves(total: i64, auto_pad: AutoPad) -> (i64, i64) {
    if auto_pad == AutoPad::SameUpper { (total / 2, total - total / 2) } else { (total - total / 2, total / 2) }
}

fn axis_of(movement: &Movement<'_>, spatial: &[usize], kernel: &[i64], index: usize) -> Result<Axis, EvaluateError> {
    let rank = spatial.len();
    let axis = Axis {
        length: count(spatial[index])?,
        taps: entry(kernel, rank, index, 1, 1)?,
        stride: entry(movement.strides, rank, index, 1, 1)?,
        dilation: entry(movement.dilations, rank, index, 1, 1)?,
        begin: 0,
        end: 0,
        windows: 0,
    };
    if rank > MOST_AXES {
        return Err(unsupported(format!("{rank} spatial axes")));
    }
    if axis.bounded() { Ok(axis) } else { Err(invalid("a window's extent overflows")) }
}

/// The windows of a convolution or pooling over axes of these lengths. With `ceil_mode` the last may hang over the end.
pub(super) fn slide(
    movement: &Movement<'_>,
    spatial: &[usize],
    kernel: &[i64],
    ceil_mode: bool,
) -> Result<Vec<Axis>, EvaluateError> {
    let one = |index| {
        let mut axis = axis_of(movement, spatial, kernel, index)?;
        let extent = (axis.taps - 1) * axis.dilation + 1;
        match movement.auto_pad {
            AutoPad::NotSet => (axis.begin, axis.end) = padding(movement, spatial.len(), index)?,
            AutoPad::Valid => {}
            AutoPad::SameUpper | AutoPad::SameLower => {
                let windows = ceiling_quotient(axis.length, axis.stride);
                let needed = i128::from(windows - 1) * i128::from(axis.stride) + i128::from(extent - axis.length);
                let total = i64::try_from(needed.max(0)).map_err(|_| invalid("a window's extent overflows"))?;
                (axis.begin, axis.end) = halves(total, movement.auto_pad);
            }
        }
        if !axis.bounded() {
            return Err(invalid("a window's padding overflows"));
        }
        let room = axis.length + axis.begin + axis.end - extent;
        if room < 0 {
            return Err(invalid(format!("a window of {extent} does not fit in {} padded elements", room + extent)));
        }
        axis.windows = room / axis.stride + 1;
        // A window that would start in the padding at the end is left out.
        let more = ceil_mode && room % axis.stride != 0;
        if more && axis.windows * axis.stride < axis.length + axis.begin {
            axis.windows += 1;
        }
        if axis.bounded() { Ok(axis) } else { Err(invalid("a window's extent overflows")) }
    };
    (0..spatial.len()).map(one).collect()
}

/// The windows of a transposed convolution of axes of lengths `spatial`: these lie on the axes of the *result*, one window
/// for each element of the input.
pub(super) fn slide_transposed(
    movement: &Movement<'_>,
    spatial: &[usize],
    kernel: &[i64],
    output_padding: &[i64],
    output_shape: &[i64],
) -> Result<Vec<Axis>, EvaluateError> {
    let rank = spatial.len();
    let one = |index| {
        let mut axis = axis_of(movement, spatial, kernel, index)?;
        axis.windows = axis.length;
        if !axis.bounded() {
            return Err(invalid("a window's extent overflows"));
        }
        let added = entry(output_padding, rank, index, 0, 0)?;
        let extent = (axis.taps - 1) * axis.dilation + 1;
        let whole = i128::from((axis.windows - 1) * axis.stride + extent) + i128::from(added);
        let same = matches!(movement.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        let wanted = match output_shape {
            [] if same => Some(axis.windows * axis.stride),
            [] => None,
            _ => Some(entry(output_shape, rank, index, 0, 0)?),
        };
        let length = if let Some(wanted) = wanted {
            let total = i64::try_from((whole - i128::from(wanted)).max(0)).map_err(|_| invalid("padding overflows"))?;
            (axis.begin, axis.end) = halves(total, movement.auto_pad);
            i128::from(wanted)
        } else {
            if movement.auto_pad == AutoPad::NotSet {
                (axis.begin, axis.end) = padding(movement, rank, index)?;
            }
            whole - i128::from(axis.begin) - i128::from(axis.end)
        };
        axis.length =
            i64::try_from(length).ok().filter(|length| *length >= 0).ok_or_else(|| invalid("padding is too large"))?;
        if axis.bounded() { Ok(axis) } else { Err(invalid("a window's extent overflows")) }
    };
    (0..rank).map(one).collect()
}

/// Calls `visit` with the coordinates of every element of a shape, in row-major order.
pub(super) fn for_each_place(
    shape: &[Range<i64>],
    mut visit: impl FnMut(&[i64]) -> Result<(), EvaluateError>,
) -> Result<(), EvaluateError> {
    if shape.iter().any(Range::is_empty) {
        return Ok(());
    }
    let mut place: Vec<_> = shape.iter().map(|range| range.start).collect();
    loop {
        visit(&place)?;
        let Some(axis) = (0..shape.len()).rev().find(|&axis| place[axis] + 1 < shape[axis].end) else { return Ok(()) };
        place[axis] += 1;
        for behind in axis + 1..shape.len() {
            place[behind] = shape[behind].start;
        }
    }
}
