//! Gradients of weights: dot products of the windows' channels with shifted rows of the channels that they lie on.
#![allow(clippy::inline_always)] // code of the widest vectors

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::correlation::{MOST_PARTS, WORTH_A_PART, divisor, images_at_once, stage_image};
use super::geometry::{Geometry, RANK};
use super::passes::{Staging, plan};
use super::stage;
use super::tile::{SLACK, dots, dots_at_once};
use crate::kernels::vector::arch;

/// Most elements of sums of parts, unless there is one part alone.
const MOST_SUMS: usize = 1 << 21;

/// Positions are read in vectors of at most so many.
const LANES: usize = 16;

/// Most rows of a block of dot products.
const ROWS: usize = 4;

/// The gradient of the weights for fixed sizes.
#[derive(Debug)]
pub(super) struct WeightGradient {
    images: usize,
    spread: usize,
    /// Filters of a unit, which belong to one group; units, and units of a group.
    rows_a_unit: usize,
    units: usize,
    units_a_group: usize,
    staging: Staging,
    counts: [usize; RANK],
    /// Where each weight of a filter is read.
    offsets: Vec<usize>,
    plane: usize,
    windows: usize,
    block: usize,
    images_a_part: usize,
    units_a_part: usize,
}

impl WeightGradient {
    /// The plan; `None` if the copy with its padding would be absurdly large.
    pub fn new(geometry: &Geometry) -> Option<Self> {
        let (staging, mut passes) = plan(geometry, true);
        let pass = passes.pop()?;
        let channel = staging.staged.iter().try_fold(staging.phases.len(), |all, &one| all.checked_mul(one))?;
        let staged = channel.checked_mul(geometry.spread).filter(|&staged| staged <= 1 << 28)?;
        let (images, weights) = (geometry.images, geometry.weights());
        let parts = (geometry.work().saturating_mul(images) / WORTH_A_PART).clamp(1, MOST_PARTS);
        let image_parts = parts.min(images).min((MOST_SUMS / weights).max(1));
        let images_a_part = images.div_ceil(image_parts);
        let unit_parts = parts / image_parts;
        let units_a_group = divisor(geometry.windowed, unit_parts);
        let units = geometry.groups * units_a_group;
        let units_a_part = units / divisor(units, unit_parts);
        let block = images_at_once(staging.plane(), staged, images_a_part);
        let (plane, phases) = (staging.plane(), staging.phases.len());
        let of_channel = |channel: usize| {
            pass.places.iter().map(move |(phase, place)| (channel * phases + phase) * block * plane + place)
        };
        Some(Self {
            images,
            spread: geometry.spread,
            rows_a_unit: geometry.windowed / units_a_group,
            units,
            units_a_group,
            counts: pass.counts,
            offsets: (0..geometry.spread).flat_map(of_channel).collect(),
            plane: geometry.plane(),
            windows: geometry.windows(),
            block,
            images_a_part,
            units_a_part,
            staging,
        })
    }

    fn part_sums(&self) -> usize {
        self.units_a_part * self.rows_a_unit * self.offsets.len()
    }

    fn staged(&self) -> usize {
        self.spread * self.staging.phases.len() * self.block * self.staging.plane() + SLACK
    }

    fn pitch(&self) -> usize {
        (self.block * self.staging.plane()).div_ceil(LANES) * LANES
    }

    fn space(&self) -> usize {
        self.part_sums() + self.staged() + ROWS * self.pitch()
    }

    fn image_parts(&self) -> usize {
        self.images.div_ceil(self.images_a_part)
    }

    /// Elements of scratch memory.
    pub fn scratch(&self) -> usize {
        self.image_parts() * (self.units / self.units_a_part) * self.space()
    }

    /// Computes the gradient from what has one element a window and what lies on the axes.
    pub fn run(&self, windows: &[f32], axes: &[f32], gradient: &mut [f32], scratch: &mut [f32]) {
        let unit_parts = self.units / self.units_a_part;
        scratch.par_chunks_mut(self.space()).take(self.image_parts() * unit_parts).enumerate().for_each(
            |(part, space)| {
                let first_image = part / unit_parts * self.images_a_part;
                let images = self.images_a_part.min(self.images - first_image);
                let first_unit = part % unit_parts * self.units_a_part;
                arch().dispatch(Part { of: self, first_image, images, first_unit, windows, axes, space });
            },
        );
        let scratch = &*scratch;
        gradient.par_chunks_mut(self.part_sums()).enumerate().for_each(|(unit_part, gradient)| {
            for part in 0..self.image_parts() {
                let sums = &scratch[(part * unit_parts + unit_part) * self.space()..][..gradient.len()];
                if part == 0 {
                    gradient.copy_from_slice(sums);
                } else {
                    gradient.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
                }
            }
        });
    }
}

/// The work on some images and units.
struct Part<'a> {
    of: &'a WeightGradient,
    first_image: usize,
    images: usize,
    first_unit: usize,
    windows: &'a [f32],
    axes: &'a [f32],
    space: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, first_image, images, first_unit, windows, axes, space } = self;
        let (row_block, column_block) = dots_at_once::<S>();
        let (sums, space) = space.split_at_mut(of.part_sums());
        let (staged, rows) = space.split_at_mut(of.staged());
        sums.fill(0.0);
        let slack = staged.len() - SLACK;
        staged[slack..].fill(0.0);
        let groups = of.units / of.units_a_group;
        let plane = of.staging.plane();
        let inner = of.offsets.len();
        // Where the last position of an image is; offsets from behind it would reach out of the staged planes.
        let [_, height, width] = of.staging.staged;
        let last = ((of.counts[0] - 1) * height + of.counts[1] - 1) * width + of.counts[2];
        for start in (0..images).step_by(of.block) {
            let count = of.block.min(images - start);
            let positions = (count - 1) * plane + last;
            let used = positions.div_ceil(S::F32_LANES) * S::F32_LANES;
            if count < of.block {
                // What is read behind the last image must be numbers.
                staged[..slack].chunks_exact_mut(of.block * plane).for_each(|planes| planes[count * plane..].fill(0.0));
            }
            let mut staged_group = None;
            for unit in first_unit..first_unit + of.units_a_part {
                let group = unit / of.units_a_group;
                if staged_group != Some(group) {
                    staged_group = Some(group);
                    for number in 0..count {
                        let place = (first_image + start + number) * groups + group;
                        let source = &axes[place * of.spread * of.plane..][..of.spread * of.plane];
                        stage_image(&of.staging, source, of.plane, of.spread, (number, of.block), staged);
                    }
                }
                let unit_sums = &mut sums[(unit - first_unit) * of.rows_a_unit * inner..][..of.rows_a_unit * inner];
                for (block, sums) in unit_sums.chunks_mut(row_block * inner).enumerate() {
                    let row_count = sums.len() / inner;
                    for (row, target) in rows.chunks_exact_mut(of.pitch()).take(row_count).enumerate() {
                        let channel = unit * of.rows_a_unit + block * row_block + row;
                        for number in 0..count {
                            let place = (first_image + start + number) * of.units * of.rows_a_unit + channel;
                            let source = &windows[place * of.windows..][..of.windows];
                            stage::spread(&of.staging, of.counts, source, &mut target[number * plane..][..plane]);
                        }
                        if used > count * plane {
                            target[count * plane..used].fill(0.0);
                        }
                    }
                    for (index, offsets) in of.offsets.chunks(column_block).enumerate() {
                        let sums = &mut sums[index * column_block..];
                        dots(simd, (row_count, (rows, of.pitch())), (staged, offsets), used, sums, inner);
                    }
                }
            }
        }
    }
}
