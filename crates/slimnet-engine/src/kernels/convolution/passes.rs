//! How a convolution becomes sums of shifted rows.
//!
//! The source is copied ("staged") with its padding, and so divided into phases that a strided window becomes a window of
//! stride 1: element `u · step + a − front` of an axis is element `u` of phase `a`. Then tap `t` of all windows is the
//! staged plane, read from an offset on: position `q` of the result is `Σ_k weights[k] · staged[offsets[k] + q]`, where
//! result and staged plane have the same pitch. What the result has more columns than windows is computed and dropped.
//!
//! For a transposed convolution the *result* is divided into phases instead, each of which is a pass of its own.

use super::geometry::{Axis, Geometry, RANK};

/// How the elements of a plane lie in their staged copy.
#[derive(Debug, Clone)]
pub(super) struct Staging {
    /// Lengths of the plane.
    pub lengths: [usize; RANK],
    pub steps: [usize; RANK],
    /// Zeros before the first element; if negative, elements left out.
    pub fronts: [isize; RANK],
    pub phases: Vec<[usize; RANK]>,
    /// Lengths of a staged plane of one phase.
    pub staged: [usize; RANK],
}

impl Staging {
    /// Elements of one phase.
    pub fn plane(&self) -> usize {
        self.staged.iter().product()
    }
}

/// A part of the result that is computed with the same taps everywhere.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    /// Position `q` of an axis is element `starts + q · steps` of the result.
    pub starts: [usize; RANK],
    pub steps: [usize; RANK],
    pub counts: [usize; RANK],
    /// Indices of the taps in a filter, and where the staged plane is read for them: phase, then offset in it.
    pub taps: Vec<usize>,
    pub places: Vec<(usize, usize)>,
}

/// What an axis contributes to a pass.
struct AxisPass {
    start: usize,
    count: usize,
    /// Tap, its phase, and the shift in it.
    taps: Vec<(usize, usize, usize)>,
}

/// What an axis contributes to staging and passes.
struct AxisPlan {
    length: usize,
    step: usize,
    front: isize,
    phases: Vec<usize>,
    staged: usize,
    result_step: usize,
    passes: Vec<AxisPass>,
}

/// From the axes to the windows.
fn gather(axis: &Axis) -> AxisPlan {
    let step = axis.step();
    let mut phases: Vec<_> = (0..axis.taps).map(|tap| tap * axis.dilation % step).collect();
    phases.sort_unstable();
    phases.dedup();
    let taps = (0..axis.taps).map(|tap| {
        let place = tap * axis.dilation;
        let phase = phases.binary_search(&(place % step)).expect("every tap has a phase");
        (tap, phase, place / step)
    });
    let taps: Vec<_> = taps.collect();
    let reach = (axis.taps - 1) * axis.dilation / step;
    let pass = AxisPass { start: 0, count: axis.windows, taps };
    AxisPlan {
        length: axis.length,
        step,
        front: axis.begin as isize,
        phases,
        staged: axis.windows + reach,
        result_step: 1,
        passes: vec![pass],
    }
}

/// From the windows to the axes.
fn scatter(axis: &Axis) -> AxisPlan {
    let step = axis.step();
    // First window of each phase's first element, and taps with how many windows they look back.
    let mut found = Vec::new();
    for phase in 0..step.min(axis.length + axis.begin) {
        let first = axis.begin.saturating_sub(phase).div_ceil(step);
        let end = (axis.length + axis.begin - phase).div_ceil(step);
        if first < end {
            let start = first * step + phase - axis.begin;
            let taps = (0..axis.taps).filter(|tap| tap * axis.dilation % step == phase);
            let taps: Vec<_> = taps.map(|tap| (tap, tap * axis.dilation / step)).collect();
            found.push((start, first, end - first, taps));
        }
    }
    let places = found.iter().flat_map(|(_, first, count, taps)| {
        taps.iter().map(move |(_, back)| (*first as isize - *back as isize, *count))
    });
    let low = places.clone().map(|(place, _)| place).min().unwrap_or(0);
    let staged = places.map(|(place, count)| (place - low) as usize + count).max().unwrap_or(1);
    let count = found.iter().map(|(_, _, count, _)| *count).max().unwrap_or(1);
    let pass = |(start, first, count, taps): (usize, usize, usize, Vec<(usize, usize)>)| {
        let shift = |back: usize| (first as isize - back as isize - low) as usize;
        AxisPass { start, count, taps: taps.into_iter().map(|(tap, back)| (tap, 0, shift(back))).collect() }
    };
    AxisPlan {
        length: axis.windows,
        step: 1,
        front: -low,
        phases: vec![0],
        staged: staged.max(count),
        result_step: step,
        passes: found.into_iter().map(pass).collect(),
    }
}

/// All combinations of one entry of each of three lists.
fn combinations<T: Copy>(lists: [&[T]; RANK]) -> Vec<[T; RANK]> {
    let [a, b, c] = lists;
    a.iter().flat_map(|&a| b.iter().flat_map(move |&b| c.iter().map(move |&c| [a, b, c]))).collect()
}

/// Staging and passes from the axes to the windows (`to_windows`) or the other way.
pub(super) fn plan(geometry: &Geometry, to_windows: bool) -> (Staging, Vec<Pass>) {
    let plans = geometry.axes.each_ref().map(if to_windows { gather } else { scatter });
    let staging = Staging {
        lengths: plans.each_ref().map(|plan| plan.length),
        steps: plans.each_ref().map(|plan| plan.step),
        fronts: plans.each_ref().map(|plan| plan.front),
        phases: combinations(plans.each_ref().map(|plan| plan.phases.as_slice())),
        staged: plans.each_ref().map(|plan| plan.staged),
    };
    let all = plans.each_ref().map(|plan| plan.passes.iter().collect::<Vec<_>>());
    let passes = combinations(all.each_ref().map(Vec::as_slice)).into_iter().map(|passes| {
        let taps = combinations(passes.map(|pass| pass.taps.as_slice()));
        let flat = |numbers: [usize; RANK], lengths: [usize; RANK]| {
            (numbers[0] * lengths[1] + numbers[1]) * lengths[2] + numbers[2]
        };
        let phase_counts = plans.each_ref().map(|plan| plan.phases.len());
        let place = |taps: &[(usize, usize, usize); RANK]| {
            (flat(taps.map(|tap| tap.1), phase_counts), flat(taps.map(|tap| tap.2), staging.staged))
        };
        Pass {
            starts: passes.map(|pass| pass.start),
            steps: plans.each_ref().map(|plan| plan.result_step),
            counts: passes.map(|pass| pass.count),
            taps: taps.iter().map(|taps| flat(taps.map(|tap| tap.0), geometry.axes.map(|axis| axis.taps))).collect(),
            places: taps.iter().map(place).collect(),
        }
    });
    let passes = passes.collect();
    (staging, passes)
}
