//! Windows that slide over one or two spatial axes.

use std::ops::Range;

use slimnet_graph::ops::convolution::AutoPad;

/// A window on one spatial axis: tap `t` of window `o` is at `o · stride + t · dilation − begin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    /// Length of the axis that windows lie on.
    pub length: usize,
    /// Number of taps.
    pub taps: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Padding before and behind.
    pub begin: usize,
    pub end: usize,
    /// Number of windows.
    pub windows: usize,
}

impl Axis {
    /// An axis of length 1, for what has fewer axes than two.
    const NONE: Self = Self { length: 1, taps: 1, stride: 1, dilation: 1, begin: 0, end: 0, windows: 1 };

    /// The windows whose tap `tap` is not in the padding.
    pub fn windows_with(&self, tap: usize) -> Range<usize> {
        let place = tap * self.dilation;
        let first = self.begin.saturating_sub(place).div_ceil(self.stride).min(self.windows);
        let end = (self.length + self.begin).saturating_sub(place).div_ceil(self.stride).min(self.windows);
        first..end.max(first)
    }

    /// Where tap `tap` of window `window` is, which is not in the padding before.
    pub fn place(&self, window: usize, tap: usize) -> usize {
        window * self.stride + tap * self.dilation - self.begin
    }

    /// The taps of a window that lie on the axis.
    pub fn taps_of(&self, window: usize) -> Range<usize> {
        let start = window * self.stride;
        let first = self.begin.saturating_sub(start).div_ceil(self.dilation).min(self.taps);
        let end = (self.length + self.begin).saturating_sub(start).div_ceil(self.dilation).min(self.taps);
        first..end.max(first)
    }

    /// How many taps of a window lie on the axis or its padding.
    pub fn padded_taps(&self, window: usize) -> usize {
        let start = window * self.stride;
        (self.length + self.begin + self.end).saturating_sub(start).div_ceil(self.dilation).min(self.taps)
    }

    /// Whether every element is a window of its own.
    pub fn is_pointwise(&self) -> bool {
        self.taps == 1 && self.stride == 1 && self.begin == 0 && self.end == 0
    }
}

/// How a window moves, as attributes give it; empty lists are at their defaults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Movement<'a> {
    pub auto_pad: AutoPad,
    pub dilations: &'a [i64],
    pub pads: &'a [i64],
    pub strides: &'a [i64],
}

/// Height and width of windows over `spatial` (one or two axes) that give `windows`; `None` for more axes.
pub(super) fn axes(movement: Movement<'_>, spatial: &[usize], kernel: &[i64], windows: &[usize]) -> Option<[Axis; 2]> {
    let rank = spatial.len();
    if rank > 2 || kernel.len() != rank || windows.len() != rank {
        return None;
    }
    let entry = |list: &[i64], index: usize, default: usize| match list.get(index) {
        None => Some(default),
        Some(&number) => usize::try_from(number).ok(),
    };
    let mut found = [Axis::NONE; 2];
    for index in 0..rank {
        let mut axis = Axis {
            length: spatial[index],
            taps: usize::try_from(kernel[index]).ok()?,
            stride: entry(movement.strides, index, 1)?,
            dilation: entry(movement.dilations, index, 1)?,
            begin: 0,
            end: 0,
            windows: windows[index],
        };
        let needed = (axis.windows.max(1) - 1) * axis.stride + (axis.taps.max(1) - 1) * axis.dilation + 1;
        let total = needed.saturating_sub(axis.length);
        (axis.begin, axis.end) = match movement.auto_pad {
            AutoPad::NotSet => (entry(movement.pads, index, 0)?, entry(movement.pads, rank + index, 0)?),
            AutoPad::Valid => (0, 0),
            AutoPad::SameUpper => (total / 2, total - total / 2),
            AutoPad::SameLower => (total - total / 2, total / 2),
        };
        found[2 - rank + index] = axis;
    }
    Some(found)
}
