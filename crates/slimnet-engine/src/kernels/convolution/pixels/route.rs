//! Where the pixels that a result is the sum of lie: offsets into the source, or into its copy with padding.
//!
//! Pixel `q` of the result is `Σ_k weights[k] · source[bases[q] + offsets[k]]`, `k` running over taps and channels. What
//! lies side by side in the source, all channels of a tap and often of taps in a row, is one [`Run`].

use super::super::geometry::{Geometry, RANK};
use super::super::passes::{self, Staging};

/// Most elements of a copy; beyond it, padding is all that there is.
const MOST_STAGED: usize = 1 << 28;

/// Elements of the source that lie side by side, relative to the base of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub offset: usize,
    pub length: usize,
}

/// Pixels of the result that are computed with the same taps.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    /// Where the taps of each pixel are relative to, and where it lies in the result; for a block of images.
    pub bases: Vec<usize>,
    pub places: Vec<usize>,
    /// What is read for a pixel; together as long as the taps times the channels.
    pub runs: Vec<Run>,
    /// Indices of the taps in a filter, in the order in which they are read.
    pub taps: Vec<usize>,
    /// Pixels of one image.
    pub pixels: usize,
}

impl Pass {
    /// Products of a pixel and a channel of the result.
    pub fn depth(&self) -> usize {
        self.runs.iter().map(|run| run.length).sum()
    }
}

/// A copy of an image with its padding.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    /// Lengths of image and copy.
    lengths: [usize; RANK],
    staged: [usize; RANK],
    /// Zeros before the first pixel; if negative, pixels left out.
    fronts: [isize; RANK],
    channels: usize,
}

impl Copy {
    /// Elements of the copy.
    pub fn len(&self) -> usize {
        self.staged.iter().product::<usize>() * self.channels
    }

    /// Pixels `first..end` of an axis of the copy are pixels of the image; the number of the first one in the image.
    fn inside(&self, axis: usize) -> (usize, usize, usize) {
        let (front, staged) = (self.fronts[axis], self.staged[axis]);
        let first = (front.max(0) as usize).min(staged);
        let skipped = (-front).max(0) as usize;
        let end = (first + self.lengths[axis].saturating_sub(skipped)).min(staged);
        (first, end, skipped)
    }

    /// Writes the copy.
    #[allow(clippy::inline_always)] // code of the widest vectors
    #[inline(always)]
    pub fn write(&self, image: &[f32], copy: &mut [f32]) {
        let row = self.staged[2] * self.channels;
        let [depths, rows, columns] = [0, 1, 2].map(|axis| self.inside(axis));
        let (first, end) = (columns.0 * self.channels, columns.1 * self.channels);
        for (depth, slab) in copy.chunks_exact_mut(self.staged[1] * row).enumerate() {
            if depth < depths.0 || depth >= depths.1 || rows.0 == rows.1 || first == end {
                slab.fill(0.0);
                continue;
            }
            let (before, rest) = slab.split_at_mut(rows.0 * row);
            let (inside, after) = rest.split_at_mut((rows.1 - rows.0) * row);
            before.fill(0.0);
            after.fill(0.0);
            let source = (depth - depths.0 + depths.2) * self.lengths[1] + rows.2;
            let source = &image[source * self.lengths[2] * self.channels..];
            let sources = source.chunks_exact(self.lengths[2] * self.channels);
            for (target, source) in inside.chunks_exact_mut(row).zip(sources) {
                let source = &source[columns.2 * self.channels..][..end - first];
                target[..first].fill(0.0);
                target[first..end].copy_from_slice(source);
                target[end..].fill(0.0);
            }
        }
    }
}

/// How the result of a convolution or transposed convolution is found.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// How the source is copied, unless it is read where it is.
    pub copy: Option<Copy>,
    /// Elements of an image of the source as it is read, of the source itself, and of the result.
    pub image: usize,
    pub source: usize,
    pub result: usize,
    pub passes: Vec<Pass>,
}

fn flat(numbers: [usize; RANK], lengths: [usize; RANK]) -> usize {
    (numbers[0] * lengths[1] + numbers[1]) * lengths[2] + numbers[2]
}

fn coordinates(place: usize, lengths: [usize; RANK]) -> [usize; RANK] {
    [place / (lengths[1] * lengths[2]), place / lengths[2] % lengths[1], place % lengths[2]]
}

/// From the axes to the windows, without dividing the source into phases.
fn gather(geometry: &Geometry) -> (Staging, passes::Pass) {
    let axes = &geometry.axes;
    let staged = axes.each_ref().map(|axis| (axis.windows - 1) * axis.stride + (axis.taps - 1) * axis.dilation + 1);
    let taps = axes.map(|axis| axis.taps);
    let place = |tap: usize| {
        let coordinates = coordinates(tap, taps);
        let places: [usize; RANK] = std::array::from_fn(|axis| coordinates[axis] * axes[axis].dilation);
        (0, flat(places, staged))
    };
    let pass = passes::Pass {
        starts: [0; RANK],
        steps: [1; RANK],
        counts: axes.map(|axis| axis.windows),
        taps: (0..geometry.taps()).collect(),
        places: (0..geometry.taps()).map(place).collect(),
    };
    let staging = Staging {
        lengths: axes.map(|axis| axis.length),
        steps: [1; RANK],
        fronts: axes.map(|axis| axis.begin as isize),
        phases: vec![[0; RANK]],
        staged,
    };
    (staging, pass)
}

/// The copy, the passes, and how far apart the bases of neighbouring pixels are.
fn plan(geometry: &Geometry, to_windows: bool) -> (Staging, Vec<passes::Pass>, [usize; RANK]) {
    if to_windows {
        let (staging, pass) = gather(geometry);
        (staging, vec![pass], geometry.axes.map(|axis| axis.stride))
    } else {
        let (staging, passes) = passes::plan(geometry, false);
        (staging, passes, [1; RANK])
    }
}

impl Route {
    /// Whether the copy with its padding is of a sensible size.
    pub fn possible(geometry: &Geometry, to_windows: bool) -> bool {
        let (staging, ..) = plan(geometry, to_windows);
        let channels = if to_windows { geometry.spread } else { geometry.windowed };
        let length = staging.staged.iter().try_fold(channels, |all, &one| all.checked_mul(one));
        length.is_some_and(|length| length <= MOST_STAGED)
    }

    /// From the axes to the windows (`to_windows`) or back; `None` if the copy with its padding would be absurdly large.
    pub fn new(geometry: &Geometry, to_windows: bool) -> Option<Self> {
        let (staging, passes, strides) = plan(geometry, to_windows);
        let (channels, results) =
            if to_windows { (geometry.spread, geometry.windowed) } else { (geometry.windowed, geometry.spread) };
        let result_lengths = geometry.axes.map(|axis| if to_windows { axis.windows } else { axis.length });
        let Staging { lengths, staged, fronts, .. } = staging;
        if !Self::possible(geometry, to_windows) {
            return None;
        }
        // All that is read is there.
        let whole =
            (0..RANK).all(|axis| fronts[axis] <= 0 && staged[axis] + fronts[axis].unsigned_abs() <= lengths[axis]);
        let copy = Copy { lengths, staged, fronts, channels };
        let (pitch, start) =
            if whole { (lengths, flat(fronts.map(isize::unsigned_abs), lengths)) } else { (staged, 0) };
        let of_pass = |pass: &passes::Pass| {
            let count: usize = pass.counts.iter().product();
            let positions = (0..count).map(|position| coordinates(position, pass.counts));
            let base = |at: [usize; RANK]| {
                let at: [usize; RANK] = std::array::from_fn(|axis| at[axis] * strides[axis]);
                (start + flat(at, pitch)) * channels
            };
            let place = |at: [usize; RANK]| {
                let at: [usize; RANK] = std::array::from_fn(|axis| pass.starts[axis] + at[axis] * pass.steps[axis]);
                flat(at, result_lengths) * results
            };
            // Taps in the order in which they lie in the source.
            let offset = |place: usize| flat(coordinates(place, staged), pitch) * channels;
            let mut taps: Vec<_> =
                pass.taps.iter().zip(&pass.places).map(|(&tap, &(_, place))| (offset(place), tap)).collect();
            taps.sort_unstable();
            let mut runs: Vec<Run> = Vec::new();
            for &(offset, _) in &taps {
                match runs.last_mut() {
                    Some(run) if run.offset + run.length == offset => run.length += channels,
                    _ => runs.push(Run { offset, length: channels }),
                }
            }
            Pass {
                bases: positions.clone().map(base).collect(),
                places: positions.map(place).collect(),
                runs,
                taps: taps.into_iter().map(|(_, tap)| tap).collect(),
                pixels: count,
            }
        };
        let source = lengths.iter().product::<usize>() * channels;
        Some(Self {
            image: if whole { source } else { copy.len() },
            source,
            result: result_lengths.iter().product::<usize>() * results,
            passes: passes.iter().map(of_pass).collect(),
            copy: (!whole).then_some(copy),
        })
    }

    /// Repeats the pixels for as many images side by side.
    pub fn repeat(&mut self, images: usize) {
        for pass in &mut self.passes {
            for image in 1..images {
                for pixel in 0..pass.pixels {
                    pass.bases.push(pass.bases[pixel] + image * self.image);
                    pass.places.push(pass.places[pixel] + image * self.result);
                }
            }
        }
    }

    /// Whether the pixels of the result are computed in their order, in one pass.
    pub fn in_order(&self) -> bool {
        let [pass] = self.passes.as_slice() else { return false };
        pass.places.is_sorted()
            && pass.pixels > 0
            && self.result.is_multiple_of(pass.pixels)
            && pass.places.iter().enumerate().all(|(pixel, &place)| place == pixel * (self.result / pass.pixels))
    }
}
