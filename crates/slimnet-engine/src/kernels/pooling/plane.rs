//! Where windows lie on a plane of up to three axes.

use std::ops::Range;

use slimnet_graph::ops::convolution::AutoPad;

use crate::kernels::window::{Axis, Movement, axes};

/// Windows over planes: depth, rows, columns. Axes that are not there have length 1.
#[derive(Debug)]
pub(super) struct Plane {
    pub axes: [Axis; 3],
    /// For each axis and window: the place of its first tap inside, and how many taps are inside.
    pub inside: [Vec<(usize, usize)>; 3],
    /// For each axis and window: how many taps are inside or in the padding.
    padded: [Vec<usize>; 3],
    /// For each tap of a row: the windows in which it is inside, and its place in the first of them.
    taps: Vec<(Range<usize>, usize)>,
}

/// The windows of an operator; `None` for more than three spatial axes.
pub(super) fn plane_of(
    auto_pad: AutoPad,
    dilations: &[i64],
    pads: &[i64],
    strides: &[i64],
    kernel: &[i64],
    spatial: &[usize],
    windows: &[usize],
) -> Option<Plane> {
    let rank = spatial.len();
    let fits = |list: &[i64], count: usize| list.is_empty() || list.len() == count;
    if rank > 3 || kernel.len() != rank || !fits(dilations, rank) || !fits(strides, rank) || !fits(pads, 2 * rank) {
        return None;
    }
    let one = |index: usize| {
        let of = |list: &'_ [i64], default: i64| list.get(index).copied().unwrap_or(default);
        let (dilation, stride) = (of(dilations, 1), of(strides, 1));
        if kernel[index] < 1 || dilation < 1 || stride < 1 {
            return None;
        }
        let pads = [of(pads, 0), pads.get(rank + index).copied().unwrap_or(0)];
        let movement = Movement { auto_pad, dilations: &[dilation], pads: &pads, strides: &[stride] };
        Some(axes(movement, &spatial[index..=index], &kernel[index..=index], &windows[index..=index])?[1])
    };
    let none = Axis { length: 1, taps: 1, stride: 1, dilation: 1, begin: 0, end: 0, windows: 1 };
    let mut found = [none; 3];
    for index in 0..rank {
        found[3 - rank + index] = one(index)?;
    }
    Some(Plane::new(found))
}

impl Plane {
    /// The plane of depth, rows and columns.
    pub fn new(axes: [Axis; 3]) -> Self {
        let inside = axes.map(|axis| {
            let place = |window: usize| {
                let taps = axis.taps_of(window);
                (if taps.is_empty() { 0 } else { axis.place(window, taps.start) }, taps.len())
            };
            (0..axis.windows).map(place).collect()
        });
        let padded = axes.map(|axis| (0..axis.windows).map(|window| axis.padded_taps(window)).collect());
        let columns = axes[2];
        let taps =
            (0..columns.taps).map(|tap| (tap, columns.windows_with(tap))).filter(|(_, windows)| !windows.is_empty());
        let taps = taps.map(|(tap, windows)| (windows.clone(), columns.place(windows.start, tap))).collect();
        Self { axes, inside, padded, taps }
    }

    /// Elements of a plane before.
    pub fn before(&self) -> usize {
        self.axes.iter().map(|axis| axis.length).product()
    }

    /// Elements of a plane after.
    pub fn after(&self) -> usize {
        self.axes.iter().map(|axis| axis.windows).product()
    }

    /// Depth and row of every row of windows.
    #[inline(always)]
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let [depths, rows, _] = self.axes.map(|axis| axis.windows);
        (0..depths).flat_map(move |depth| (0..rows).map(move |row| (depth, row)))
    }

    /// The rows of elements that a row of windows sees.
    #[inline(always)]
    pub fn rows_under(&self, (depth, row): (usize, usize)) -> impl Iterator<Item = Range<usize>> + use<> {
        let [depths, rows, columns] = self.axes;
        let ((first_depth, depth_count), (first_row, row_count)) = (self.inside[0][depth], self.inside[1][row]);
        (0..depth_count).flat_map(move |depth| {
            let depth = (first_depth + depth * depths.dilation) * rows.length;
            (0..row_count).map(move |row| {
                let start = (depth + first_row + row * rows.dilation) * columns.length;
                start..start + columns.length
            })
        })
    }

    /// By what the sum of a window is divided for its mean: what depth and row contribute.
    #[inline(always)]
    pub fn row_counts(&self, padding: bool, (depth, row): (usize, usize)) -> f32 {
        let count = |axis: usize, window: usize| {
            if padding { self.padded[axis][window] } else { self.inside[axis][window].1 }
        };
        (count(0, depth) * count(1, row)) as f32
    }

    /// By what the sum of a window is divided for its mean: what the column contributes.
    pub fn column_counts(&self, padding: bool) -> Vec<f32> {
        (0..self.axes[2].windows)
            .map(|window| if padding { self.padded[2][window] } else { self.inside[2][window].1 } as f32)
            .collect()
    }

    /// Joins the elements of a row that each window sees.
    #[inline(always)]
    pub fn across(&self, row: &[f32], y: &mut [f32], start: f32, join: impl Fn(f32, f32) -> f32) {
        y.fill(start);
        let stride = self.axes[2].stride;
        for (windows, place) in &self.taps {
            let (y, row) = (&mut y[windows.clone()], &row[*place..]);
            if stride == 1 {
                y.iter_mut().zip(row).for_each(|(y, &x)| *y = join(*y, x));
            } else if stride == 2 {
                // Pairs, of which the last may lack its second.
                let (last, others) = y.split_last_mut().expect("no tap without windows");
                others.iter_mut().zip(row.chunks_exact(2)).for_each(|(y, pair)| *y = join(*y, pair[0]));
                *last = join(*last, row[2 * others.len()]);
            } else {
                y.iter_mut().zip(row.iter().step_by(stride)).for_each(|(y, &x)| *y = join(*y, x));
            }
        }
    }

    /// Adds to each element of a row what the windows that see it share out.
    #[inline(always)]
    pub fn spread(&self, shares: &[f32], row: &mut [f32]) {
        row.fill(0.0);
        let stride = self.axes[2].stride;
        for (windows, place) in &self.taps {
            let (shares, row) = (&shares[windows.clone()], &mut row[*place..]);
            if stride == 1 {
                row.iter_mut().zip(shares).for_each(|(x, share)| *x += share);
            } else {
                row.iter_mut().step_by(stride).zip(shares).for_each(|(x, share)| *x += share);
            }
        }
    }

    /// Calls `visit` with the places of all elements of a window.
    #[inline(always)]
    pub fn each_place(&self, at: (usize, usize), column: usize, mut visit: impl FnMut(usize)) {
        let (first, count) = self.inside[2][column];
        let dilation = self.axes[2].dilation;
        for row in self.rows_under(at) {
            for tap in 0..count {
                visit(row.start + first + tap * dilation);
            }
        }
    }
}
