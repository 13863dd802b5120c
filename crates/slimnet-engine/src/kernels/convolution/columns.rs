//! Windows of an image as the columns of a matrix, and back.

use super::Sizes;

/// Writes the windows of the channels of a group into `columns`, `[inputs · taps, positions]`; padding is 0.
pub(super) fn write(sizes: &Sizes, image: &[f32], columns: &mut [f32]) {
    let [rows, across] = &sizes.axes;
    let mut targets = columns.chunks_exact_mut(sizes.positions());
    for plane in image.chunks_exact(sizes.plane()) {
        for row_tap in 0..rows.taps {
            let in_rows = rows.windows_with(row_tap);
            for tap in 0..across.taps {
                let Some(target) = targets.next() else { return };
                let inside = across.windows_with(tap);
                for (row, target) in target.chunks_exact_mut(across.windows).enumerate() {
                    if !in_rows.contains(&row) || inside.is_empty() {
                        target.fill(0.0);
                        continue;
                    }
                    target[..inside.start].fill(0.0);
                    target[inside.end..].fill(0.0);
                    let source = &plane[rows.place(row, row_tap) * across.length + across.place(inside.start, tap)..];
                    let target = &mut target[inside.clone()];
                    if across.stride == 1 {
                        target.copy_from_slice(&source[..target.len()]);
                    } else {
                        target.iter_mut().zip(source.iter().step_by(across.stride)).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }
}

/// Adds columns to the places of the image from which [`write`] takes them.
pub(super) fn add(sizes: &Sizes, columns: &[f32], image: &mut [f32]) {
    let [rows, across] = &sizes.axes;
    let mut sources = columns.chunks_exact(sizes.positions());
    for plane in image.chunks_exact_mut(sizes.plane()) {
        for row_tap in 0..rows.taps {
            let in_rows = rows.windows_with(row_tap);
            for tap in 0..across.taps {
                let Some(source) = sources.next() else { return };
                let inside = across.windows_with(tap);
                if inside.is_empty() {
                    continue;
                }
                for row in in_rows.clone() {
                    let source = &source[row * across.windows..][inside.clone()];
                    let target = rows.place(row, row_tap) * across.length + across.place(inside.start, tap);
                    let target = &mut plane[target..];
                    if across.stride == 1 {
                        target.iter_mut().zip(source).for_each(|(to, from)| *to += from);
                    } else {
                        target.iter_mut().step_by(across.stride).zip(source).for_each(|(to, from)| *to += from);
                    }
                }
            }
        }
    }
}
