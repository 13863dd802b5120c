//! Convolutions and transposed convolutions of images with channels last.
#![allow(clippy::inline_always)] // code of the widest vectors

use crate::kernels::vector::arch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::correlation::{MOST_PARTS, WORTH_A_PART, divisor};
use super::super::geometry::Geometry;
use super::Machine;
use super::route::{Pass, Route};
use super::tile::{Ending, MOST_VECTORS, Tile, pixels_at_once};

/// Pixels that are worth a pass over the weights.
const PIXELS: usize = 256;

/// Pixels that a part of several images has at least, so that weights are not read for too few.
const PIXELS_A_PART: usize = 32;

/// Elements of the source that are read again and again, and so should stay in the cache of a processor.
const CACHED: usize = 1 << 16;

/// Most parts of an image.
const MOST_PIXEL_PARTS: usize = 4;

/// Channels whose weights are packed side by side.
const PACKED: usize = 8;

/// Weights that are worth handing to another thread.
const WORTH_PACKING: usize = 1 << 14;

/// Some vectors of channels of the result.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: usize,
    channels: usize,
    vectors: usize,
}

/// What one block of channels and one pass need, and where their weights lie among the packed ones.
#[derive(Debug, Clone, Copy)]
struct Task {
    pass: usize,
    block: Block,
    weights: usize,
    /// Pixels computed at once if the block of images is full.
    at_once: usize,
}

/// A convolution (`to_windows`) or a transposed convolution of fixed sizes.
#[derive(Debug)]
pub(super) struct Correlation {
    machine: Machine,
    route: Route,
    images: usize,
    /// Channels of the source and of the result, and taps of a filter.
    inputs: usize,
    channels: usize,
    taps: usize,
    to_windows: bool,
    tasks: Vec<Task>,
    /// Elements of the packed weights.
    packed: usize,
    /// Images of a part of the work, and of a block, whose copies are there at once.
    images_a_part: usize,
    block: usize,
    /// Pixels of a part, if an image is divided.
    pixels_a_part: Option<usize>,
}

/// Blocks of channels that take the least time on so many pixels.
fn blocks(pixels: usize, channels: usize, machine: Machine) -> Vec<Block> {
    let vectors = channels.div_ceil(machine.lanes);
    let divided = |most: usize| {
        let count = vectors.div_ceil(most);
        (0..count).map(move |index| (index * vectors / count, (index + 1) * vectors / count))
    };
    let cost =
        |most: usize| divided(most).map(|(start, end)| pixels_at_once(pixels, end - start, machine).1).sum::<f64>();
    let best = (1..=MOST_VECTORS).min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(1);
    let block = |(start, end): (usize, usize)| {
        let (first, vectors) = (start * machine.lanes, end - start);
        Block { first, channels: (vectors * machine.lanes).min(channels - first), vectors }
    };
    divided(best).map(block).collect()
}

impl Correlation {
    /// The plan for one way through the windows; `None` if the copy with its padding would be absurdly large.
    pub fn new(geometry: &Geometry, to_windows: bool) -> Option<Self> {
        let machine = Machine::find();
        let mut route = Route::new(geometry, to_windows)?;
        let (inputs, channels) =
            if to_windows { (geometry.spread, geometry.windowed) } else { (geometry.windowed, geometry.spread) };
        let images = geometry.images;
        let parts = (geometry.work().saturating_mul(images) / WORTH_A_PART).clamp(1, MOST_PARTS);
        let pixels = route.passes.iter().map(|pass| pass.pixels).max().unwrap_or(1).max(1);
        let images_a_part = images.div_ceil(parts).max(PIXELS_A_PART.div_ceil(pixels)).min(images);
        let block = (PIXELS / pixels).min(CACHED / route.image.max(1)).clamp(1, images_a_part);
        let pixel_parts = (parts / images).min(MOST_PIXEL_PARTS);
        let divided = pixel_parts > 1 && route.in_order();
        let pixels_a_part = divided.then(|| pixels / divisor(pixels, pixel_parts)).filter(|&part| part < pixels);
        route.repeat(block);
        let mut packed = 0;
        let mut tasks = Vec::new();
        let blocks = blocks(pixels_a_part.unwrap_or(pixels * block), channels, machine);
        for (number, pass) in route.passes.iter().enumerate() {
            for &block in &blocks {
                let count = pixels_a_part.unwrap_or(pass.bases.len());
                let (at_once, _) = pixels_at_once(count, block.vectors, machine);
                tasks.push(Task { pass: number, block, weights: packed, at_once });
                packed += block.vectors * machine.lanes * (1 + pass.depth());
            }
        }
        let taps = geometry.taps();
        Some(Self {
            machine,
            route,
            images,
            inputs,
            channels,
            taps,
            to_windows,
            tasks,
            packed,
            images_a_part,
            block,
            pixels_a_part,
        })
    }

    /// Elements of the packed weights.
    pub fn packed(&self) -> usize {
        self.packed
    }

    /// Elements of the copies of a part.
    fn copies(&self) -> usize {
        if self.route.copy.is_some() { self.block * self.route.image } else { 0 }
    }

    /// Elements of scratch memory beside packed weights.
    pub fn scratch(&self) -> usize {
        let parts = if self.pixels_a_part.is_some() { 1 } else { self.images.div_ceil(self.images_a_part) };
        parts * self.copies()
    }

    /// Elements of the packed weights of a task.
    fn task_length(&self, task: &Task) -> usize {
        task.block.vectors * self.machine.lanes * (1 + self.route.passes[task.pass].depth())
    }

    /// Writes bias (one number a channel, or nothing) and weights in the order in which they are read.
    pub fn pack(&self, weights: &[f32], bias: &[f32], packed: &mut [f32]) {
        self.pack_tasks(&self.tasks, weights, bias, &mut packed[..self.packed]);
    }

    /// Packs for some tasks, whose weights lie one after the other.
    fn pack_tasks(&self, tasks: &[Task], weights: &[f32], bias: &[f32], packed: &mut [f32]) {
        if tasks.len() > 1 && packed.len() >= WORTH_PACKING {
            let (left, right) = tasks.split_at(tasks.len() / 2);
            let (left_packed, right_packed) = packed.split_at_mut(right[0].weights - left[0].weights);
            rayon::join(
                || self.pack_tasks(left, weights, bias, left_packed),
                || self.pack_tasks(right, weights, bias, right_packed),
            );
            return;
        }
        let mut rest = packed;
        for task in tasks {
            let (own, others) = rest.split_at_mut(self.task_length(task));
            rest = others;
            self.pack_task(task, weights, bias, own);
        }
    }

    fn pack_task(&self, task: &Task, weights: &[f32], bias: &[f32], packed: &mut [f32]) {
        let Block { first, channels, vectors } = task.block;
        // Distances of inputs and channels in the weights.
        let (input_step, channel_step) =
            if self.to_windows { (self.taps, self.inputs * self.taps) } else { (self.channels * self.taps, self.taps) };
        let width = vectors * self.machine.lanes;
        let (start, rows) = packed.split_at_mut(width);
        start.fill(0.0);
        if !bias.is_empty() {
            start[..channels].copy_from_slice(&bias[first..][..channels]);
        }
        if channels < width {
            rows.chunks_exact_mut(width).for_each(|row| row[channels..].fill(0.0));
        }
        let taps = &self.route.passes[task.pass].taps;
        let length = (self.inputs - 1) * input_step + self.taps;
        let filter = |channel: usize| &weights[(first + channel) * channel_step..][..length];
        // The filters of a few channels are read side by side.
        let whole = channels - channels % PACKED;
        for channel in (0..whole).step_by(PACKED) {
            let filters: [&[f32]; PACKED] = std::array::from_fn(|n| filter(channel + n));
            for input in 0..self.inputs {
                for (index, &tap) in taps.iter().enumerate() {
                    let row = &mut rows[(index * self.inputs + input) * width + channel..][..PACKED];
                    row.iter_mut()
                        .zip(&filters)
                        .for_each(|(packed, filter)| *packed = filter[input * input_step + tap]);
                }
            }
        }
        for channel in whole..channels {
            let filter = filter(channel);
            for input in 0..self.inputs {
                for (index, &tap) in taps.iter().enumerate() {
                    rows[(index * self.inputs + input) * width + channel] = filter[input * input_step + tap];
                }
            }
        }
    }

    /// Computes the result from a source and packed weights.
    pub fn run(&self, source: &[f32], packed: &[f32], ending: Ending<'_>, result: &mut [f32], scratch: &mut [f32]) {
        let Route { copy, image, source: source_image, result: result_image, .. } = &self.route;
        if let Some(pixels) = self.pixels_a_part {
            for (number, result) in result.chunks_exact_mut(*result_image).enumerate() {
                let source = &source[number * source_image..][..*source_image];
                let source = match copy {
                    Some(copy) => {
                        copy.write(source, &mut scratch[..*image]);
                        &scratch[..*image]
                    }
                    None => source,
                };
                let length = pixels * self.channels;
                result.par_chunks_mut(length).enumerate().for_each(|(part, result)| {
                    let addend = ending.addend.get(number * result_image + part * length..).unwrap_or(&[]);
                    let ending = Ending { addend, ..ending };
                    let pixels = (part * pixels, (part + 1) * pixels);
                    arch().dispatch(Part {
                        of: self,
                        pixels: Some(pixels),
                        source,
                        packed,
                        ending,
                        result,
                        space: &mut [],
                    });
                });
            }
            return;
        }
        let work = |part: usize, result: &mut [f32], space: &mut [f32]| {
            let first = part * self.images_a_part;
            let source = &source[first * source_image..];
            let ending = Ending { addend: ending.addend.get(first * result_image..).unwrap_or(&[]), ..ending };
            arch().dispatch(Part { of: self, pixels: None, source, packed, ending, result, space });
        };
        if self.images <= self.images_a_part {
            return work(0, result, scratch);
        }
        let results = result.par_chunks_mut(self.images_a_part * result_image).enumerate();
        if self.copies() == 0 {
            results.for_each(|(part, result)| work(part, result, &mut []));
        } else {
            let spaces = scratch.par_chunks_mut(self.copies());
            results.zip(spaces).for_each(|((part, result), space)| work(part, result, space));
        }
    }

    /// Computes the pixels `pixels` (of the first image; else all of `count` images) from the source as it is read.
    #[inline(always)]
    fn compute<S: Simd>(
        &self,
        simd: S,
        part: &Part<'_>,
        (count, pixels): (usize, Option<(usize, usize)>),
        source: &[f32],
        ending: Ending<'_>,
        result: &mut [f32],
    ) {
        for task in &self.tasks {
            let pass: &Pass = &self.route.passes[task.pass];
            let (start, end) = pixels.unwrap_or((0, count * pass.pixels));
            let (vectors, whole) = (task.block.vectors, pixels.is_some() || count == self.block);
            let at_once = if whole { task.at_once } else { pixels_at_once(end - start, vectors, self.machine).0 };
            let tile = Tile {
                source,
                runs: &pass.runs,
                bases: &pass.bases[start..end],
                places: &pass.places[start..end],
                origin: pixels.map_or(0, |_| pass.places[start]),
                weights: &part.packed[task.weights..][..self.task_length(task)],
                first: task.block.first,
                channels: task.block.channels,
                ending,
            };
            tile.compute(simd, vectors, at_once, result);
        }
    }
}

/// The work on some images, or some pixels of one.
struct Part<'a> {
    of: &'a Correlation,
    /// First pixel and end, of one image that is read as it is to be.
    pixels: Option<(usize, usize)>,
    source: &'a [f32],
    packed: &'a [f32],
    ending: Ending<'a>,
    result: &'a mut [f32],
    space: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let of = self.of;
        let result = std::mem::take(&mut self.result);
        let space = std::mem::take(&mut self.space);
        let Route { copy, image, source: source_image, result: result_image, .. } = &of.route;
        let step = if self.pixels.is_some() { result.len() } else { of.block * result_image };
        for (number, result) in result.chunks_mut(step).enumerate() {
            let first = number * of.block;
            let count = if self.pixels.is_some() { 1 } else { result.len() / result_image };
            let addend = self.ending.addend.get(first * result_image..).unwrap_or(&[]);
            let ending = Ending { addend, ..self.ending };
            let source = if let (Some(copy), None) = (copy, self.pixels) {
                let sources = self.source[first * source_image..].chunks_exact(*source_image);
                for (source, space) in sources.zip(space.chunks_exact_mut(*image)).take(count) {
                    copy.write(source, space);
                }
                &space[..count * image]
            } else {
                &self.source[first * source_image..]
            };
            of.compute(simd, &self, (count, self.pixels), source, ending, result);
        }
    }
}
