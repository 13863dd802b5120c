//! Staged planes whose rows have no padding: one copy for each tap of the last axis.
//!
//! A copy for tap `t` has, where window `x` of a row is, the element that the tap lies on, or zero. So positions of
//! windows follow each other without gaps, in the copies as in the result, whatever the padding and the stride; and
//! where a row has as many windows as a vector has elements, all reads are aligned. Taps of the middle axis are rows of
//! the same copy, or of that of another phase if the axis is strided. Taps of the first of three axes have copies too.
#![allow(clippy::inline_always)] // code of the widest vectors

use crate::kernels::convolution::geometry::{Axis, RANK};

/// A copy: which channel, which tap of the first axis, which phase of the second, which tap of the third.
pub(super) type Plane = [usize; 4];

/// How a source is copied.
#[derive(Debug, Clone)]
pub(super) struct Shifted {
    axes: [Axis; RANK],
    /// Rows of windows that are computed at once.
    pub rows: usize,
    /// Elements of a copy, a multiple of those of a vector.
    pub plane: usize,
}

/// Elements to which copies are aligned.
pub(super) const ALIGNMENT: usize = 16;

impl Shifted {
    /// Copies for `rows` rows of windows at once.
    pub fn new(axes: [Axis; RANK], rows: usize) -> Self {
        let plane = ((rows + Self::reach(&axes[1])) * axes[2].windows).div_ceil(ALIGNMENT) * ALIGNMENT;
        Self { axes, rows, plane }
    }

    /// Rows of a copy beyond those of the windows.
    pub fn reach(axis: &Axis) -> usize {
        (axis.taps - 1) * axis.dilation / axis.step()
    }

    /// The copy in which a tap of a channel is read, and the offset in it.
    pub fn place(&self, channel: usize, tap: usize) -> (Plane, usize) {
        let [_, rows, columns] = self.axes;
        let (tap, column) = (tap / columns.taps, tap % columns.taps);
        let (depth, row) = (tap / rows.taps, tap % rows.taps * rows.dilation);
        ([channel, depth, row % rows.step(), column], row / rows.step() * columns.windows)
    }

    /// Writes a copy for the windows of `depth` and of the rows from `first` on, from a source of its channel.
    #[inline(always)]
    pub fn write(&self, plane: Plane, (depth, first): (usize, usize), source: &[f32], target: &mut [f32]) {
        let [_, depth_tap, phase, tap] = plane;
        let [depths, rows, columns] = self.axes;
        let width = columns.windows;
        let count = self.rows.min(rows.windows - first) + Self::reach(&rows);
        let target = &mut target[..count * width];
        let Some(depth) = inside(depth * depths.stride + depth_tap * depths.dilation, &depths) else {
            return target.fill(0.0);
        };
        let source = &source[depth * rows.length * columns.length..][..rows.length * columns.length];
        // Windows whose tap lies inside of a row.
        let shift = tap * columns.dilation;
        let start = columns.begin.saturating_sub(shift).div_ceil(columns.stride).min(width);
        let end = (columns.length + columns.begin).saturating_sub(shift).div_ceil(columns.stride).clamp(start, width);
        if start == end {
            return target.fill(0.0);
        }
        // Rows of the copy that lie inside of the source.
        let step = rows.step();
        let before = first * step + phase;
        let top = rows.begin.saturating_sub(before).div_ceil(step).min(count);
        let bottom = (rows.length + rows.begin).saturating_sub(before).div_ceil(step).clamp(top, count);
        clear(&mut target[..top * width]);
        clear(&mut target[bottom * width..]);
        if top == bottom {
            return;
        }
        let source_row = |row: usize| before + row * step - rows.begin;
        let target = &mut target[top * width..bottom * width];
        let column = start * columns.stride + shift - columns.begin;
        if step == 1 && columns.stride == 1 && columns.length == width {
            // All rows in one piece; what came into a row from its neighbour is cleared.
            let source = &source[source_row(top) * width..source_row(bottom - 1) * width + width];
            let length = target.len() - start - (width - end);
            copy(&mut target[start..][..length], &source[column..][..length]);
            clear_columns(target, width, start, end);
            return;
        }
        clear_columns(target, width, start, end);
        for (row, target) in target.chunks_exact_mut(width).enumerate() {
            let source = &source[source_row(top + row) * columns.length..][..columns.length][column..];
            let target = &mut target[start..end];
            match columns.stride {
                1 => target.iter_mut().zip(source).for_each(|(target, source)| *target = *source),
                2 => {
                    // Pairs become shuffles of vectors; the last may be half.
                    let (pairs, half) = source.as_chunks::<2>();
                    let (whole, last) = target.split_at_mut(target.len().min(pairs.len()));
                    whole.iter_mut().zip(pairs).for_each(|(target, pair)| *target = pair[0]);
                    last.iter_mut().zip(half).for_each(|(target, source)| *target = *source);
                }
                stride => {
                    target.iter_mut().zip(source.iter().step_by(stride)).for_each(|(target, source)| *target = *source);
                }
            }
        }
    }
}

/// The element of an axis at a place counted from the begin of its padding.
fn inside(place: usize, axis: &Axis) -> Option<usize> {
    place.checked_sub(axis.begin).filter(|&place| place < axis.length)
}

/// Fills the columns before `start` and from `end` on with zeros. They are few, and short rows would each need a call.
#[inline(always)]
fn clear_columns(target: &mut [f32], width: usize, start: usize, end: usize) {
    for column in (0..start).chain(end..width) {
        target[column..].iter_mut().step_by(width).for_each(|element| *element = 0.0);
    }
}

/// Elements that are worth a call of a library's function.
const WORTH_A_CALL: usize = 512;

#[inline(always)]
fn clear(target: &mut [f32]) {
    let (vectors, rest) = target.as_chunks_mut::<8>();
    for vector in vectors {
        *vector = [0.0; 8];
    }
    for element in rest {
        *element = 0.0;
    }
}

#[inline(always)]
fn copy(target: &mut [f32], source: &[f32]) {
    if target.len() >= WORTH_A_CALL {
        return target.copy_from_slice(source);
    }
    let (vectors, rest) = target.as_chunks_mut::<16>();
    let (sources, source_rest) = source.as_chunks::<16>();
    vectors.iter_mut().zip(sources).for_each(|(target, source)| *target = *source);
    rest.iter_mut().zip(source_rest).for_each(|(target, source)| *target = *source);
}
