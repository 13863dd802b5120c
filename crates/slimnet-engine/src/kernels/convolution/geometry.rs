//! What a convolution and a transposed convolution have in common.
//!
//! Windows slide over axes. A convolution reads where the axes lie and writes one element a window; a transposed
//! convolution reads one element a window and writes where the axes lie. Both have weights of shape
//! `[channels of the windows, channels of the axes / group, taps]`.

use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};

use crate::kernels::window;

/// Most spatial axes.
pub(in crate::kernels) const RANK: usize = 3;

/// A window on one spatial axis: tap `t` of window `o` is at `o · stride + t · dilation − begin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct Axis {
    /// Length of the axis that windows lie on.
    pub length: usize,
    /// Number of windows.
    pub windows: usize,
    /// Number of taps.
    pub taps: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Padding before the axis.
    pub begin: usize,
}

impl Axis {
    /// An axis of length 1, for what has fewer axes.
    const NONE: Self = Self { length: 1, windows: 1, taps: 1, stride: 1, dilation: 1, begin: 0 };

    /// Distance of the first tap from the last, plus one.
    fn extent(&self) -> Option<usize> {
        (self.taps.checked_sub(1)?).checked_mul(self.dilation)?.checked_add(1)
    }

    /// Elements from the first tap of the first window to the last of the last.
    fn whole(&self) -> Option<usize> {
        (self.windows.checked_sub(1)?).checked_mul(self.stride)?.checked_add(self.extent()?)
    }

    /// The stride, or what serves as one: a single window may be thought to move by its whole extent, so that its taps
    /// are as far apart as the elements of different channels.
    pub fn step(&self) -> usize {
        if self.windows == 1 { self.stride.max((self.taps - 1) * self.dilation + 1) } else { self.stride }
    }
}

impl From<Axis> for window::Axis {
    /// The padding behind does not matter to where taps are.
    fn from(axis: Axis) -> Self {
        let Axis { length, windows, taps, stride, dilation, begin } = axis;
        Self { length, taps, stride, dilation, begin, end: 0, windows }
    }
}

/// Sizes of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct Geometry {
    pub images: usize,
    pub groups: usize,
    /// Channels of a group that have one element a window.
    pub windowed: usize,
    /// Channels of a group whose elements lie on the axes.
    pub spread: usize,
    pub axes: [Axis; RANK],
}

/// The attributes that both kinds have.
struct Attributes<'a> {
    group: i64,
    strides: &'a [i64],
    dilations: &'a [i64],
}

/// Entry of an attribute of one number an axis; `None` if it is not as long as it must be or below `least`.
fn entry(list: &[i64], length: usize, index: usize, default: usize, least: usize) -> Option<usize> {
    if list.is_empty() {
        return Some(default);
    }
    if list.len() != length {
        return None;
    }
    usize::try_from(list[index]).ok().filter(|&number| number >= least)
}

/// The smaller or the larger half of a padding is in front.
fn front(total: usize, auto_pad: AutoPad) -> usize {
    if auto_pad == AutoPad::SameUpper { total / 2 } else { total - total / 2 }
}

impl Geometry {
    /// The geometry of a convolution of these shapes; `None` if it has more than three axes.
    pub fn of_conv(op: &Conv, x: &[usize], weights: &[usize], y: &[usize]) -> Option<Self> {
        let attributes = Attributes { group: op.group, strides: &op.strides, dilations: &op.dilations };
        let begin = |axis: &Axis, index: usize| match op.auto_pad {
            AutoPad::NotSet => entry(&op.pads, 2 * (x.len() - 2), index, 0, 0),
            AutoPad::Valid => Some(0),
            _ => Some(front(axis.whole()?.saturating_sub(axis.length), op.auto_pad)),
        };
        Self::of(&attributes, x, y, weights, begin)
    }

    /// The geometry of a transposed convolution of these shapes.
    pub fn of_conv_transpose(op: &ConvTranspose, x: &[usize], weights: &[usize], y: &[usize]) -> Option<Self> {
        let attributes = Attributes { group: op.group, strides: &op.strides, dilations: &op.dilations };
        let rank = x.len().checked_sub(2)?;
        let begin = |axis: &Axis, index: usize| {
            let added = entry(&op.output_padding, rank, index, 0, 0)?;
            let same = matches!(op.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
            if same || !op.output_shape.is_empty() {
                return Some(front(axis.whole()?.checked_add(added)?.saturating_sub(axis.length), op.auto_pad));
            }
            if op.auto_pad == AutoPad::NotSet { entry(&op.pads, 2 * rank, index, 0, 0) } else { Some(0) }
        };
        Self::of(&attributes, y, x, weights, begin)
    }

    fn of(
        attributes: &Attributes<'_>,
        on_axes: &[usize],
        on_windows: &[usize],
        weights: &[usize],
        begin: impl Fn(&Axis, usize) -> Option<usize>,
    ) -> Option<Self> {
        let rank = on_axes.len().checked_sub(2)?;
        if rank > RANK || on_windows.len() != rank + 2 || weights.len() != rank + 2 {
            return None;
        }
        let groups = usize::try_from(attributes.group).ok().filter(|&groups| groups > 0)?;
        let mut axes = [Axis::NONE; RANK];
        for index in 0..rank {
            let mut axis = Axis {
                length: on_axes[2 + index],
                windows: on_windows[2 + index],
                taps: weights[2 + index],
                stride: entry(attributes.strides, rank, index, 1, 1)?,
                dilation: entry(attributes.dilations, rank, index, 1, 1)?,
                begin: 0,
            };
            if axis.windows > 0 && axis.taps > 0 {
                axis.begin = begin(&axis, index)?;
                axis.whole()?.checked_add(axis.length)?.checked_add(axis.begin)?;
            }
            axes[RANK - rank + index] = axis;
        }
        let geometry =
            Self { images: on_axes[0], groups, windowed: on_windows[1] / groups, spread: on_axes[1] / groups, axes };
        let fits = on_windows[0] == on_axes[0]
            && weights[0] == groups * geometry.windowed
            && weights[1] == geometry.spread
            && on_axes[1] == groups * geometry.spread
            && on_windows[1] == weights[0];
        fits.then_some(geometry)
    }

    /// Taps of a window.
    pub fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps).product()
    }

    /// Windows of a channel.
    pub fn windows(&self) -> usize {
        self.axes.iter().map(|axis| axis.windows).product()
    }

    /// Elements of a channel where the axes lie.
    pub fn plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.length).product()
    }

    /// Elements of the weights.
    pub fn weights(&self) -> usize {
        self.groups * self.windowed * self.spread * self.taps()
    }

    /// Whether nothing is multiplied.
    pub fn is_empty(&self) -> bool {
        self.images == 0 || self.weights() == 0 || self.windows() == 0 || self.plane() == 0
    }

    /// Multiplications of one image.
    pub fn work(&self) -> usize {
        self.weights().saturating_mul(self.windows())
    }
}
