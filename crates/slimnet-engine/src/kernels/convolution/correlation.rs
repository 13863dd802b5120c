//! Convolutions and transposed convolutions: sums of weights times shifted rows of a staged copy of the source.
#![allow(clippy::inline_always)] // code of the widest vectors

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::geometry::{Geometry, RANK};
use super::passes::{Pass, Staging, plan};
use super::stage;
use super::tile::{self, MOST_ROWS, SLACK, Sums};
use crate::kernels::vector::arch;

/// Most parts of a batch, or of an image.
pub(super) const MOST_PARTS: usize = 16;

/// Multiplications that are worth handing to another thread.
pub(super) const WORTH_A_PART: usize = 1 << 20;

/// Positions that are worth a pass over the weights.
pub(super) const POSITIONS: usize = 1024;

/// Elements of staged planes that stay in the cache of a processor.
pub(super) const CACHED: usize = 1 << 16;

/// Most elements of a staged copy; beyond it, padding is all that there is.
const MOST_STAGED: usize = 1 << 28;

/// Channels of a unit of work; the larger a group is, the more units it has.
const UNIT: usize = 32;

/// The largest divisor of `count` that is at most `most`.
pub(super) fn divisor(count: usize, most: usize) -> usize {
    (1..=most.min(count).max(1)).rev().find(|divisor| count.is_multiple_of(*divisor)).unwrap_or(1)
}

/// How many images are staged at once, so that positions are many and staged planes stay in the cache.
pub(super) fn images_at_once(plane: usize, staged: usize, images: usize) -> usize {
    (POSITIONS / plane.max(1)).min(CACHED / staged.max(1)).clamp(1, images.max(1))
}

/// A convolution (`to_windows`) or a transposed convolution of fixed sizes.
#[derive(Debug)]
pub(super) struct Correlation {
    images: usize,
    /// Channels of a group of source and result.
    inputs: usize,
    rows: usize,
    /// Units of channels of the result, and how many of them a group has.
    units: usize,
    units_a_group: usize,
    rows_a_unit: usize,
    taps: usize,
    to_windows: bool,
    staging: Staging,
    /// Each with the places in the staged planes of all channels.
    passes: Vec<(Pass, Vec<usize>)>,
    source_plane: usize,
    result_lengths: [usize; RANK],
    /// Images staged at once, images and units of a part of the work.
    block: usize,
    images_a_part: usize,
    units_a_part: usize,
    /// Rows of results that the registers hold.
    rows_at_once: usize,
}

/// Asks for the rows that the registers of the machine hold.
struct RowsAtOnce;

impl WithSimd for RowsAtOnce {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        tile::rows::<S>()
    }
}

impl Correlation {
    /// The plan for one way through the windows; `None` if the copy with its padding would be absurdly large.
    pub fn new(geometry: &Geometry, to_windows: bool) -> Option<Self> {
        let (staging, passes) = plan(geometry, to_windows);
        let (inputs, rows) =
            if to_windows { (geometry.spread, geometry.windowed) } else { (geometry.windowed, geometry.spread) };
        let channel = staging.staged.iter().try_fold(staging.phases.len(), |all, &one| all.checked_mul(one))?;
        let staged = channel.checked_mul(inputs).filter(|&staged| staged <= MOST_STAGED)?;
        let images = geometry.images;
        let parts = (geometry.work().saturating_mul(images) / WORTH_A_PART).clamp(1, MOST_PARTS);
        let images_a_part = images.div_ceil(parts);
        let rows_a_unit = if rows > 2 * UNIT { rows / (rows / divisor(rows, UNIT)) } else { rows };
        let units = geometry.groups * rows / rows_a_unit;
        // Few images are divided by channels too.
        let unit_parts = if images_a_part == 1 { parts / images } else { 1 };
        let units_a_part = units / divisor(units, unit_parts);
        let block = images_at_once(staging.plane(), staged, images_a_part);
        let plane = staging.plane();
        let phases = staging.phases.len();
        let offsets = |pass: &Pass| {
            let of_channel = |channel: usize| {
                pass.places.iter().map(move |(phase, place)| (channel * phases + phase) * block * plane + place)
            };
            (0..inputs).flat_map(of_channel).collect::<Vec<_>>()
        };
        let with_offsets = |pass: Pass| {
            let offsets = offsets(&pass);
            (pass, offsets)
        };
        Some(Self {
            images,
            inputs,
            rows,
            units,
            units_a_group: rows / rows_a_unit,
            rows_a_unit,
            taps: geometry.taps(),
            to_windows,
            source_plane: if to_windows { geometry.plane() } else { geometry.windows() },
            result_lengths: geometry.axes.map(|axis| if to_windows { axis.windows } else { axis.length }),
            passes: passes.into_iter().map(with_offsets).collect(),
            staging,
            block,
            images_a_part,
            units_a_part,
            rows_at_once: arch().dispatch(RowsAtOnce),
        })
    }

    fn groups(&self) -> usize {
        self.units / self.units_a_group
    }

    fn unit_weights(&self) -> usize {
        self.rows_a_unit * self.inputs * self.taps
    }

    fn result_plane(&self) -> usize {
        self.result_lengths.iter().product()
    }

    /// Elements of the staged copy, and of a block of results.
    fn staged(&self) -> usize {
        self.inputs * self.staging.phases.len() * self.block * self.staging.plane() + SLACK
    }

    fn pitch(&self) -> usize {
        self.block * self.staging.plane() + SLACK
    }

    fn space(&self) -> usize {
        self.staged() + MOST_ROWS * self.pitch()
    }

    fn parts(&self) -> usize {
        self.images.div_ceil(self.images_a_part) * (self.units / self.units_a_part)
    }

    /// Elements of scratch memory.
    pub fn scratch(&self) -> usize {
        self.units * self.unit_weights() + self.parts() * self.space()
    }

    /// Rows of the block `index` of as many as a unit has.
    fn row_blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, blocks) = (self.rows_a_unit, self.rows_a_unit.div_ceil(self.rows_at_once));
        (0..blocks).map(move |block| (block * rows / blocks, (block + 1) * rows / blocks))
    }

    /// Writes the weights of a unit in the order in which they are read.
    fn pack(&self, unit: usize, weights: &[f32], packed: &mut [f32]) {
        let (group, first) = (unit / self.units_a_group, unit % self.units_a_group * self.rows_a_unit);
        // Distances of inputs and rows in the weights.
        let (input_step, row_step) =
            if self.to_windows { (self.taps, self.inputs * self.taps) } else { (self.rows * self.taps, self.taps) };
        let start = group * self.rows * self.inputs * self.taps + first * row_step;
        let mut packed = packed.iter_mut();
        for (pass, _) in &self.passes {
            for (row, end) in self.row_blocks() {
                for input in 0..self.inputs {
                    for &tap in &pass.taps {
                        let weights = &weights[start + row * row_step + input * input_step + tap..];
                        packed
                            .by_ref()
                            .zip(weights.iter().step_by(row_step).take(end - row))
                            .for_each(|(packed, weight)| *packed = *weight);
                    }
                }
            }
        }
    }

    /// Computes the result, `[images, groups · rows, …]`, from a source `[images, groups · inputs, …]`. `bias` is one
    /// number a channel of the result, or empty.
    pub fn run(&self, source: &[f32], weights: &[f32], bias: &[f32], result: &mut [f32], scratch: &mut [f32]) {
        let (packed, scratch) = scratch.split_at_mut(self.units * self.unit_weights());
        packed
            .par_chunks_mut(self.unit_weights())
            .with_min_len(4096usize.div_ceil(self.unit_weights()))
            .enumerate()
            .for_each(|(unit, packed)| self.pack(unit, weights, packed));
        let packed = &*packed;
        let unit_parts = self.units / self.units_a_part;
        let of_part = self.images_a_part * self.units_a_part * self.rows_a_unit * self.result_plane();
        result.par_chunks_mut(of_part).zip(scratch.par_chunks_mut(self.space())).enumerate().for_each(
            |(part, (result, space))| {
                let first_image = part / unit_parts * self.images_a_part;
                let first_unit = part % unit_parts * self.units_a_part;
                let source = &source[first_image * self.groups() * self.inputs * self.source_plane..];
                arch().dispatch(Part { of: self, first_unit, source, packed, bias, result, space });
            },
        );
    }
}

/// The work on some images and units.
struct Part<'a> {
    of: &'a Correlation,
    first_unit: usize,
    source: &'a [f32],
    packed: &'a [f32],
    bias: &'a [f32],
    result: &'a mut [f32],
    space: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, first_unit, source, packed, bias, result, space } = self;
        let (staged, sums) = space.split_at_mut(of.staged());
        let plane = of.staging.plane();
        let image = of.groups() * of.inputs * of.source_plane;
        let unit_result = of.rows_a_unit * of.result_plane();
        let images = of.units_a_part * unit_result * of.block;
        for (block, result) in result.chunks_mut(images).enumerate() {
            let count = result.len() / (of.units_a_part * unit_result);
            let source = &source[block * of.block * image..][..count * image];
            let mut staged_group = None;
            for unit in first_unit..first_unit + of.units_a_part {
                let group = unit / of.units_a_group;
                if staged_group != Some(group) {
                    staged_group = Some(group);
                    for (number, source) in source.chunks_exact(image).enumerate() {
                        let source = &source[group * of.inputs * of.source_plane..];
                        stage_image(&of.staging, source, of.source_plane, of.inputs, (number, of.block), staged);
                    }
                }
                let mut weights = &packed[unit * of.unit_weights()..][..of.unit_weights()];
                for (pass, offsets) in &of.passes {
                    let [_, height, width] = of.staging.staged;
                    let [depths, rows, columns] = pass.counts;
                    let last = ((depths - 1) * height + rows - 1) * width + columns;
                    for (row, end) in of.row_blocks() {
                        let (own, rest) = weights.split_at((end - row) * offsets.len());
                        weights = rest;
                        let first_row = unit * of.rows_a_unit + row;
                        let bias = if bias.is_empty() { bias } else { &bias[first_row..][..end - row] };
                        let positions = (count - 1) * plane + last;
                        let of_block = Sums { bias, weights: own, offsets, staged, positions, pitch: of.pitch() };
                        of_block.compute(simd, end - row, sums);
                        for number in 0..count {
                            let start = (number * of.units_a_part + unit - first_unit) * unit_result;
                            let result = &mut result[start + row * of.result_plane()..];
                            let sums = sums.chunks_exact(of.pitch()).take(end - row);
                            for (result, sums) in result.chunks_exact_mut(of.result_plane()).zip(sums) {
                                stage::take(&of.staging, pass, &sums[number * plane..], of.result_lengths, result);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Stages the channels of a group of an image as number `number` of `block` images.
#[inline(always)]
pub(super) fn stage_image(
    staging: &Staging,
    source: &[f32],
    source_plane: usize,
    channels: usize,
    (number, block): (usize, usize),
    staged: &mut [f32],
) {
    let plane = staging.plane();
    let mut targets = staged.chunks_exact_mut(block * plane);
    for source in source.chunks_exact(source_plane).take(channels) {
        for (&phase, target) in staging.phases.iter().zip(&mut targets) {
            stage::write(staging, phase, source, &mut target[number * plane..][..plane]);
        }
    }
}
