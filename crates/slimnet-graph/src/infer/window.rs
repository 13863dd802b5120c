//! Sliding windows: what convolution and pooling have in common.

use super::call::{Call, Result, ensure, mismatch};
use super::shapes::certainly_differ;
use crate::graph::Dim;
use crate::ops::convolution::AutoPad;

/// The attributes of a sliding window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub auto_pad: AutoPad,
    pub dilations: &'a [i64],
    pub kernel_shape: &'a [i64],
    pub pads: &'a [i64],
    pub strides: &'a [i64],
}

/// Builds a [`Window`] from an operator's attributes.
macro_rules! window {
    ($op:expr) => {
        $crate::infer::window::Window {
            auto_pad: $op.auto_pad,
            dilations: &$op.dilations,
            kernel_shape: &$op.kernel_shape,
            pads: &$op.pads,
            strides: &$op.strides,
        }
    };
}
pub(super) use window;

/// How a length that the stride does not divide is rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rounding {
    Down,
    Up,
}

/// A spatial axis of a window, all attributes resolved.
pub(super) struct WindowAxis {
    /// Length of the kernel; `None` if the weights' shape is not known.
    pub kernel: Option<i64>,
    pub dilation: i64,
    pub stride: i64,
    pub begin: i64,
    pub end: i64,
}

impl WindowAxis {
    /// Length from the kernel's first to its last tap.
    pub fn extent(&self, what: &str) -> Result<Option<i64>> {
        let Some(kernel) = self.kernel else { return Ok(None) };
        let taps = (kernel - 1).checked_mul(self.dilation).and_then(|length| length.checked_add(1));
        taps.map(Some).ok_or_else(|| mismatch(what, "a window that fits into memory", format!("kernel {kernel}")))
    }
}

/// Checks that a list has one number of at least `least` for each of `count` axes, or is empty.
pub(super) fn check_list(list: &[i64], name: &str, count: usize, least: i64) -> Result<()> {
    ensure(list.is_empty() || list.len() == count, name, format!("{count} numbers"), format!("{list:?}"))?;
    match list.iter().find(|&&number| number < least) {
        Some(number) => Err(mismatch(name, format!("numbers of at least {least}"), number)),
        None => Ok(()),
    }
}

impl Window<'_> {
    /// The window's axes for `rank` spatial axes; `weights` are the kernel's lengths as the weights have them.
    pub fn axes(&self, rank: usize, weights: Option<&[Dim]>) -> Result<Vec<WindowAxis>> {
        check_list(self.kernel_shape, "kernel_shape", rank, 1)?;
        check_list(self.dilations, "dilations", rank, 1)?;
        check_list(self.strides, "strides", rank, 1)?;
        check_list(self.pads, "pads", rank.saturating_mul(2), 0)?;
        let given = |list: &[i64], place: usize, default: i64| list.get(place).copied().unwrap_or(default);
        let explicit = self.auto_pad == AutoPad::NotSet;
        (0..rank)
            .map(|axis| {
                let declared = self.kernel_shape.get(axis).copied();
                let own = weights.and_then(|weights| weights.get(axis));
                if let (Some(declared), Some(own)) = (declared, own) {
                    let what = format!("axis {axis} of kernel_shape");
                    ensure(!certainly_differ(&Dim::from(declared), own), what, own, declared)?;
                }
                let kernel = declared.or_else(|| own?.constant());
                if let Some(kernel) = kernel {
                    ensure(kernel >= 1, "length of the kernel", "at least 1", kernel)?;
                }
                Ok(WindowAxis {
                    kernel,
                    dilation: given(self.dilations, axis, 1),
                    stride: given(self.strides, axis, 1),
                    begin: if explicit { given(self.pads, axis, 0) } else { 0 },
                    end: if explicit { given(self.pads, axis + rank, 0) } else { 0 },
                })
            })
            .collect()
    }

    /// Lengths of the spatial axes after the window has slid over `spatial`.
    pub fn slide(
        &self,
        call: &mut Call<'_>,
        spatial: &[Dim],
        weights: Option<&[Dim]>,
        rounding: Rounding,
    ) -> Result<Vec<Dim>> {
        let axes = self.axes(spatial.len(), weights)?;
        let mut lengths = Vec::with_capacity(spatial.len());
        for (place, (axis, length)) in axes.iter().zip(spatial).enumerate() {
            let what = format!("spatial axis {place}");
            let positions = match (self.auto_pad, axis.extent(&what)?) {
                (AutoPad::SameUpper | AutoPad::SameLower, _) => ceil_divide(length, axis.stride),
                (_, Some(extent)) => positions(length, axis, extent, rounding, &what)?,
                (_, None) => None,
            };
            lengths.push(call.or_fresh(positions));
        }
        Ok(lengths)
    }
}

/// Quotient rounded up.
fn ceil_divide(length: &Dim, divisor: i64) -> Option<Dim> {
    length.add(&Dim::from(divisor.checked_sub(1)?))?.divide_floor(divisor)
}

fn positions(length: &Dim, axis: &WindowAxis, extent: i64, rounding: Rounding, what: &str) -> Result<Option<Dim>> {
    let overflow = || mismatch(what, "pads that fit into memory", format!("{} and {}", axis.begin, axis.end));
    let pads = axis.begin.checked_add(axis.end).ok_or_else(overflow)?;
    let Some(room) = pads.checked_sub(extent).and_then(|room| length.add(&Dim::from(room))) else {
        return Err(overflow());
    };
    if let Some(room) = room.constant() {
        let found = format!("{length} with pads {} and {}", axis.begin, axis.end);
        ensure(room >= 0, what, format!("at least the window's {extent}"), found)?;
    }
    let steps = match rounding {
        Rounding::Down => room.divide_floor(axis.stride),
        Rounding::Up => ceil_divide(&room, axis.stride),
    };
    let Some(steps) = steps else { return Ok(None) };
    // A window that would start behind the data and the padding before it does not count.
    let behind = || {
        let start = steps.scale(axis.stride)?;
        let limit = length.add(&Dim::from(axis.begin))?;
        start.subtract(&limit)?.constant()
    };
    if rounding == Rounding::Up {
        return Ok(match behind() {
            Some(distance) if distance >= 0 => Some(steps),
            Some(_) => steps.add(&Dim::from(1i64)),
            None => None,
        });
    }
    Ok(steps.add(&Dim::from(1i64)))
}
