//! Convolutions with weights that are mostly zeros, on tensors with their axes as ONNX has them.
#![allow(clippy::inline_always)] // code of the widest vectors

use crate::kernels::vector::arch;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::finish::Finish;
use super::lists::{Band, Packed, SLACK};
use super::shifted::{ALIGNMENT, Plane, Shifted};
use super::{CACHED, FEWEST_OF_A_TURN, MOST_PARTS, WORTH_A_PART, is_zero};
use crate::kernels::convolution::geometry::Geometry;
use crate::kernels::{Call, Epilogue, Kernel, KernelError};

/// Most positions that are worth being computed at once.
const MOST_POSITIONS: usize = 256;

/// Most elements of copies; beyond it, padding is all that there is.
const MOST_STAGED: usize = 1 << 27;

/// Where sums read.
#[derive(Debug)]
enum Source {
    /// In the tensor itself.
    Direct,
    /// In copies, of each group those that it needs, divided into turns.
    Staged(Shifted, Vec<Vec<Vec<Plane>>>),
}

/// The kernel. The sums of a group's channels are taken over the weights that are not zero.
#[derive(Debug)]
pub(super) struct SparseConvolution {
    geometry: Geometry,
    has_bias: bool,
    source: Source,
    /// For each group.
    lists: Vec<Packed>,
    /// Most copies of a turn.
    planes: usize,
    /// Images and channels of the result of a part of the work. If these are not all, there is one image alone.
    images_a_part: usize,
    channels_a_part: usize,
    finish: Finish,
}

/// The copies that the weights of a group, `[windowed, spread, taps]`, read.
fn planes(shifted: &Shifted, geometry: &Geometry, weights: &[f32]) -> Vec<Plane> {
    let inner = geometry.spread * geometry.taps();
    let used = (0..inner).filter(|column| weights.iter().skip(*column).step_by(inner).any(|&weight| !is_zero(weight)));
    let mut planes: Vec<_> =
        used.map(|column| shifted.place(column / geometry.taps(), column % geometry.taps()).0).collect();
    planes.sort_unstable();
    planes.dedup();
    planes
}

/// How many rows of windows are computed at once, for so many weights and copies of all groups: such that vectors are
/// full, blocks of them large, and few rows are copied twice.
fn rows_at_once(geometry: &Geometry, weights: usize, planes: usize) -> usize {
    let [_, rows, columns] = geometry.axes;
    let cost = |band: usize| {
        let vectors = |positions: usize| {
            let vectors = positions / SLACK;
            let blocks = vectors.div_ceil(16);
            vectors + 2 * blocks + if positions.is_multiple_of(SLACK) { 0 } else { 3 }
        };
        let sums =
            (rows.windows / band) * vectors(band * columns.windows) + vectors(rows.windows % band * columns.windows);
        let copied = (rows.windows + rows.windows.div_ceil(band) * Shifted::reach(&rows)) * columns.windows;
        // Rows of a band that does not stay in the cache are slow to read.
        let large = (band * columns.windows).saturating_sub(MOST_POSITIONS);
        weights * sums + planes * copied.div_ceil(SLACK / 2) + weights * large / SLACK
    };
    let most =
        (1..=rows.windows.min(64.max(4 * MOST_POSITIONS / columns.windows))).min_by_key(|&band| (cost(band), band));
    most.unwrap_or(1)
}

impl SparseConvolution {
    /// The kernel for weights `[groups · windowed, spread, taps]`; `None` if copies would be absurdly large.
    pub fn new(geometry: &Geometry, weights: &[f32], has_bias: bool) -> Option<Self> {
        let of_group = geometry.weights() / geometry.groups;
        let taps = geometry.taps();
        let inner = geometry.spread * taps;
        let direct = geometry.windows() >= SLACK
            && geometry
                .axes
                .iter()
                .all(|axis| axis.taps == 1 && axis.stride == 1 && axis.begin == 0 && axis.windows == axis.length);
        let groups = || weights.chunks_exact(of_group);
        let used = weights.iter().filter(|&&weight| !is_zero(weight)).count();
        let whole_vectors = geometry.windows().is_multiple_of(SLACK);
        // Channels of a turn, so that what it reads stays in the innermost cache.
        let channels_a_turn = |of_channel: usize| {
            let turns = (geometry.spread * of_channel).div_ceil(CACHED);
            let most = used / (geometry.groups * geometry.windowed * FEWEST_OF_A_TURN);
            geometry.spread.div_ceil(turns.min(most).max(1))
        };
        let (source, channels) = if direct {
            let block = geometry.windows().min(MOST_POSITIONS);
            (Source::Direct, if whole_vectors { channels_a_turn(block) } else { geometry.spread })
        } else {
            let all = Shifted::new(geometry.axes, geometry.axes[1].windows);
            let planes: Vec<_> = groups().map(|weights| planes(&all, geometry, weights)).collect();
            let count: usize = planes.iter().map(Vec::len).sum();
            let shifted = Shifted::new(geometry.axes, rows_at_once(geometry, used, count));
            let channels = channels_a_turn(count * shifted.plane / (geometry.groups * geometry.spread));
            let turns = |planes: &Vec<Plane>| -> Vec<Vec<Plane>> {
                let turn = |first| planes.iter().filter(move |plane| plane[0] / channels == first).copied().collect();
                (0..geometry.spread.div_ceil(channels)).map(turn).collect()
            };
            (Source::Staged(shifted, planes.iter().map(turns).collect()), channels)
        };
        let planes = match &source {
            Source::Direct => 0,
            Source::Staged(_, groups) => groups.iter().flatten().map(Vec::len).max()?,
        };
        if let Source::Staged(shifted, _) = &source {
            shifted.plane.checked_mul(planes).filter(|&staged| staged <= MOST_STAGED)?;
        }
        let lists: Vec<_> = groups()
            .enumerate()
            .map(|(group, weights)| {
                Packed::new(weights, inner, channels * taps, |column| match &source {
                    Source::Direct => (column * geometry.plane()) as u32,
                    Source::Staged(shifted, groups) => {
                        let channel = column / taps;
                        let (plane, offset) = shifted.place(channel, column % taps);
                        let index = groups[group][channel / channels].binary_search(&plane).unwrap_or(0);
                        (index * shifted.plane + offset) as u32
                    }
                })
            })
            .collect();
        u32::try_from(geometry.spread.checked_mul(geometry.plane())?).ok()?;
        let work: usize = lists.iter().map(Packed::work).sum::<usize>().saturating_mul(geometry.windows());
        let (images, channels) = (geometry.images, geometry.groups * geometry.windowed);
        let parts = (work.saturating_mul(images) / WORTH_A_PART).clamp(1, MOST_PARTS);
        let images_a_part = images.div_ceil(parts);
        // Few images are divided by channels too, where lists begin.
        let channel_parts = if images_a_part == 1 { parts / images } else { 1 };
        let together = lists.iter().map(Packed::together).max().unwrap_or(1);
        let channels_a_part = channels.div_ceil(channel_parts.max(1)).div_ceil(together) * together;
        Some(Self {
            geometry: *geometry,
            has_bias,
            planes,
            source,
            lists,
            images_a_part,
            channels_a_part: if channels_a_part >= channels { channels } else { channels_a_part },
            finish: Finish::default(),
        })
    }

    /// Elements of the copies of a part.
    fn space(&self) -> usize {
        match &self.source {
            Source::Direct => 0,
            Source::Staged(shifted, _) => self.planes * shifted.plane + SLACK + ALIGNMENT,
        }
    }

    fn channels(&self) -> usize {
        self.geometry.groups * self.geometry.windowed
    }

    /// Parts along the channels.
    fn channel_parts(&self) -> usize {
        self.channels().div_ceil(self.channels_a_part)
    }

    fn parts(&self) -> usize {
        self.geometry.images.div_ceil(self.images_a_part) * self.channel_parts()
    }
}

impl Kernel for SparseConvolution {
    fn kept_bytes(&self) -> usize {
        self.lists.iter().map(Packed::bytes).sum()
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let geometry = &self.geometry;
        let (source, addend) = (call.input::<f32>(0), self.finish.addend(call));
        let bias: &[f32] = if self.has_bias { call.input(2) } else { &[] };
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut [] };
        let result = call.output::<f32>(0);
        let image = geometry.groups * geometry.spread * geometry.plane();
        let part = |index: usize, result: &mut [f32], space: &mut [f32]| {
            let images = index / self.channel_parts() * self.images_a_part;
            let first = index % self.channel_parts() * self.channels_a_part;
            let addend = addend.map(|addend| {
                let start = (images * self.channels() + first) * geometry.windows();
                &addend[start..][..result.len()]
            });
            let source = &source[images * image..];
            arch().dispatch(Part { of: self, first, source, bias, addend, result, space });
        };
        if self.parts() == 1 {
            part(0, result, scratch);
            return Ok(());
        }
        // Parts are images with all channels, or channels of one image.
        let windows = geometry.windows();
        let of_images = self.images_a_part * self.channels() * windows;
        let space = self.space();
        let of_channels = self.channels_a_part * windows;
        let pieces = result.par_chunks_mut(of_images).enumerate();
        let count = self.channel_parts();
        if space == 0 {
            pieces.for_each(|(images, result)| {
                let length = if count == 1 { result.len() } else { of_channels };
                let pieces = result.par_chunks_mut(length).enumerate();
                pieces.for_each(|(channels, result)| part(images * count + channels, result, &mut []));
            });
        } else {
            pieces.zip(scratch.par_chunks_mut(space * count)).for_each(|((images, result), spaces)| {
                let length = if count == 1 { result.len() } else { of_channels };
                let pieces = result.par_chunks_mut(length).zip(spaces.par_chunks_mut(space)).enumerate();
                pieces.for_each(|(channels, (result, space))| part(images * count + channels, result, space));
            });
        }
        Ok(())
    }

    fn scratch(&self) -> usize {
        self.parts() * self.space()
    }

    fn reads(&self, input: usize) -> bool {
        input != 1
    }

    fn skips_zeros(&self) -> bool {
        true
    }

    fn absorb(&mut self, step: &Epilogue) -> bool {
        self.finish.absorb(step)
    }
}

/// The work on some images, or on some channels of an image.
struct Part<'a> {
    of: &'a SparseConvolution,
    /// The first channel of the result.
    first: usize,
    source: &'a [f32],
    bias: &'a [f32],
    addend: Option<&'a [f32]>,
    result: &'a mut [f32],
    space: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, first, source, bias, addend, result, space } = self;
        let Geometry { groups, windowed, spread, .. } = of.geometry;
        let (plane, windows) = (of.geometry.plane(), of.geometry.windows());
        let channels = if of.channel_parts() == 1 { of.channels() } else { result.len() / windows };
        let aligned = space.as_ptr().align_offset(ALIGNMENT * size_of::<f32>()).min(ALIGNMENT).min(space.len());
        let space = &mut space[aligned..];
        for (number, result) in result.chunks_exact_mut(channels * windows).enumerate() {
            let source = &source[number * groups * spread * plane..][..groups * spread * plane];
            let addend = addend.map(|addend| &addend[number * channels * windows..][..channels * windows]);
            for group in first / windowed..(first + channels).div_ceil(windowed) {
                // Rows of the group's lists, and where they are among the channels of this part.
                let start = first.max(group * windowed);
                let end = (first + channels).min((group + 1) * windowed);
                let rows = start - group * windowed..end - group * windowed;
                let bias = if bias.is_empty() { bias } else { &bias[start..end] };
                let part = (start - first) * windows..(end - first) * windows;
                let source = &source[group * spread * plane..][..spread * plane];
                let addend = addend.map(|addend| &addend[part.clone()]);
                group_sums(simd, of, (group, rows), source, bias, addend, &mut result[part], space);
            }
        }
    }
}

/// The sums of some rows of a group, for an image.
#[allow(clippy::too_many_arguments)] // all of what a part is made of
#[inline(always)]
fn group_sums<S: Simd>(
    simd: S,
    of: &SparseConvolution,
    (group, rows): (usize, Range<usize>),
    source: &[f32],
    bias: &[f32],
    addend: Option<&[f32]>,
    result: &mut [f32],
    space: &mut [f32],
) {
    let (lists, clamp, pitch) = (&of.lists[group], of.finish.clamp, of.geometry.windows());
    match &of.source {
        Source::Direct => {
            for turn in 0..lists.turns() {
                let (is_first, is_last) = (turn == 0, turn + 1 == lists.turns());
                let result = &mut *result;
                let mut band =
                    Band { turn, is_first, is_last, source, positions: pitch, bias, addend, clamp, result, pitch };
                lists.compute(simd, rows.clone(), &mut band);
            }
        }
        Source::Staged(shifted, groups) => {
            let [depths, heights, columns] = of.geometry.axes;
            let plane = of.geometry.plane();
            for depth in 0..depths.windows {
                for first in (0..heights.windows).step_by(shifted.rows) {
                    let start = (depth * heights.windows + first) * columns.windows;
                    let positions = shifted.rows.min(heights.windows - first) * columns.windows;
                    for (turn, planes) in groups[group].iter().enumerate() {
                        for (place, target) in planes.iter().zip(space.chunks_exact_mut(shifted.plane)) {
                            let source = &source[place[0] * plane..][..plane];
                            shifted.write(*place, (depth, first), source, target);
                        }
                        let (is_first, is_last) = (turn == 0, turn + 1 == lists.turns());
                        let addend = addend.map(|addend| &addend[start..]);
                        let (source, result) = (&*space, &mut result[start..]);
                        let mut band =
                            Band { turn, is_first, is_last, source, positions, bias, addend, clamp, result, pitch };
                        lists.compute(simd, rows.clone(), &mut band);
                    }
                }
            }
        }
    }
}
