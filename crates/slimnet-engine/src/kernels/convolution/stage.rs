//! Copies of planes with their padding, divided into phases, and back.
#![allow(clippy::inline_always)] // code of the widest vectors

use super::geometry::RANK;
use super::passes::{Pass, Staging};

/// Elements `first..end` of a staged axis are elements of the plane.
#[inline(always)]
fn inside(staging: &Staging, axis: usize, phase: usize) -> (usize, usize) {
    let (step, staged) = (staging.steps[axis] as isize, staging.staged[axis] as isize);
    let ceiling = |place: isize| place.max(0).saturating_add(step - 1) / step;
    let missing = staging.fronts[axis] - phase as isize;
    let first = ceiling(missing).min(staged);
    let end = ceiling(staging.lengths[axis] as isize + missing).min(staged).max(first);
    (first as usize, end as usize)
}

/// Copies of rows are often shorter than a call of `memcpy` is worth.
#[inline(always)]
fn copy(target: &mut [f32], source: &[f32]) {
    if target.len() >= 64 {
        target.copy_from_slice(&source[..target.len()]);
    } else {
        target.iter_mut().zip(source).for_each(|(target, source)| *target = *source);
    }
}

/// Copies the elements of a plane that phase `phase` has.
#[inline(always)]
pub(super) fn write(staging: &Staging, phase: [usize; RANK], plane: &[f32], target: &mut [f32]) {
    let [_, height, width] = staging.staged;
    let limits = [0, 1, 2].map(|axis| inside(staging, axis, phase[axis]));
    let place = |axis: usize, index: usize| {
        ((index * staging.steps[axis] + phase[axis]) as isize - staging.fronts[axis]) as usize
    };
    let (first, end) = limits[2];
    let (row_length, step) = (staging.lengths[2], staging.steps[2]);
    for (depth, target) in target.chunks_exact_mut(height * width).enumerate() {
        if depth < limits[0].0 || depth >= limits[0].1 || limits[1].0 >= limits[1].1 || first >= end {
            target.fill(0.0);
            continue;
        }
        let slab = place(0, depth) * staging.lengths[1];
        target[..limits[1].0 * width].fill(0.0);
        target[limits[1].1 * width..].fill(0.0);
        for (row, target) in target.chunks_exact_mut(width).enumerate().take(limits[1].1).skip(limits[1].0) {
            let source = &plane[(slab + place(1, row)) * row_length..][..row_length][place(2, first)..];
            target[..first].fill(0.0);
            target[end..].fill(0.0);
            let target = &mut target[first..end];
            if step == 1 {
                copy(target, source);
            } else if step == 2 {
                // Pairs become shuffles of vectors; the last may be half.
                let (pairs, half) = source.as_chunks::<2>();
                let (whole, last) = target.split_at_mut(target.len().min(pairs.len()));
                whole.iter_mut().zip(pairs).for_each(|(target, pair)| *target = pair[0]);
                last.iter_mut().zip(half).for_each(|(target, source)| *target = *source);
            } else {
                target.iter_mut().zip(source.iter().step_by(step)).for_each(|(target, source)| *target = *source);
            }
        }
    }
}

/// Copies the positions of a pass to their places in a plane of the result.
#[inline(always)]
pub(super) fn take(staging: &Staging, pass: &Pass, result: &[f32], lengths: [usize; RANK], plane: &mut [f32]) {
    let [_, height, width] = staging.staged;
    let [depths, rows, count] = pass.counts;
    if pass.steps == [1; RANK] && rows == lengths[1] && count == lengths[2] && count == width && rows == height {
        let start = pass.starts[0] * rows * count;
        copy(&mut plane[start..][..depths * rows * count], result);
        return;
    }
    for depth in 0..depths {
        for row in 0..rows {
            let source = &result[(depth * height + row) * width..][..count];
            let place = |axis: usize, index: usize| pass.starts[axis] + index * pass.steps[axis];
            let target = &mut plane[(place(0, depth) * lengths[1] + place(1, row)) * lengths[2]..][..lengths[2]];
            let target = &mut target[pass.starts[2]..];
            if pass.steps[2] == 1 {
                copy(&mut target[..count], source);
            } else {
                let step = pass.steps[2];
                target.iter_mut().step_by(step).zip(source).for_each(|(target, source)| *target = *source);
            }
        }
    }
}

/// Copies a plane of windows to the pitch of the staged plane of what they lie on, with zeros between.
#[inline(always)]
pub(super) fn spread(staging: &Staging, counts: [usize; RANK], windows: &[f32], target: &mut [f32]) {
    let [_, height, width] = staging.staged;
    let [depths, rows, count] = counts;
    let mut windows = windows.chunks_exact(count);
    for (depth, target) in target.chunks_exact_mut(height * width).enumerate() {
        if depth >= depths {
            target.fill(0.0);
            continue;
        }
        target[rows * width..].fill(0.0);
        for (target, source) in target.chunks_exact_mut(width).take(rows).zip(&mut windows) {
            let (inside, outside) = target.split_at_mut(count);
            copy(inside, source);
            outside.fill(0.0);
        }
    }
}
