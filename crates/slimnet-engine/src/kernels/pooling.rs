//! Pooling.

use rayon::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::window::{Axis, Movement, axes};
use super::{Call, Family, Kernel, KernelError, NodeType, Prepared};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient };

/// What a window becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Max,
    /// The mean, of the padding too if so.
    Average {
        padding: bool,
    },
}

/// Windows over planes.
#[derive(Debug, Clone, Copy)]
struct Pool {
    kind: Kind,
    axes: [Axis; 2],
}

impl Pool {
    fn of(op: &Op, x: &[usize], y: &[usize]) -> Option<Self> {
        let (spatial, windows) = (x.get(2..)?, y.get(2..)?);
        macro_rules! movement {
            ($op:expr) => {
                Movement { auto_pad: $op.auto_pad, dilations: &$op.dilations, pads: &$op.pads, strides: &$op.strides }
            };
        }
        let (kind, axes) = match op {
            Op::MaxPool(op) => (Kind::Max, axes(movement!(op), spatial, &op.kernel_shape, windows)?),
            Op::AveragePool(op) => {
                let kind = Kind::Average { padding: op.count_include_pad };
                (kind, axes(movement!(op), spatial, &op.kernel_shape, windows)?)
            }
            Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) => {
                let length = spatial.iter().product();
                let axis = Axis { length, taps: length, stride: 1, dilation: 1, begin: 0, end: 0, windows: 1 };
                let row = Axis { length: 1, taps: 1, ..axis };
                (
                    if matches!(op, Op::GlobalMaxPool(_)) { Kind::Max } else { Kind::Average { padding: false } },
                    [row, axis],
                )
            }
            _ => return None,
        };
        (axes[0].length * axes[1].length > 0 && axes[0].windows * axes[1].windows > 0).then_some(Self { kind, axes })
    }

    /// Elements of a plane before and after.
    fn planes(&self) -> (usize, usize) {
        let [rows, columns] = self.axes;
        (rows.length * columns.length, rows.windows * columns.windows)
    }

    /// Place of the largest element of a window, the first of several; of one that is no number, if there is one.
    fn largest(&self, x: &[f32], row: usize, column: usize) -> Option<usize> {
        let [rows, columns] = &self.axes;
        let mut best: Option<usize> = None;
        for tap in rows.taps_of(row) {
            let start = rows.place(row, tap) * columns.length;
            for tap in columns.taps_of(column) {
                let place = start + columns.place(column, tap);
                if best.is_none_or(|best| x[place] > x[best] || (x[place].is_nan() && !x[best].is_nan())) {
                    best = Some(place);
                }
            }
        }
        best
    }

    /// By what a window's sum is divided.
    fn count(&self, padding: bool, row: usize, column: usize) -> f32 {
        let [rows, columns] = &self.axes;
        let count = if padding {
            rows.padded_taps(row) * columns.padded_taps(column)
        } else {
            rows.taps_of(row).len() * columns.taps_of(column).len()
        };
        count.max(1) as f32
    }

    fn forward(&self, x: &[f32], y: &mut [f32]) {
        let [rows, columns] = &self.axes;
        for row in 0..rows.windows {
            for column in 0..columns.windows {
                let y = &mut y[row * columns.windows + column];
                *y = match self.kind {
                    Kind::Max => self.largest(x, row, column).map_or(f32::NEG_INFINITY, |place| x[place]),
                    Kind::Average { padding } => {
                        let taps = columns.taps_of(column);
                        let mut sum = 0f32;
                        for tap in rows.taps_of(row) {
                            let start = rows.place(row, tap) * columns.length;
                            if columns.dilation == 1 && !taps.is_empty() {
                                let first = start + columns.place(column, taps.start);
                                sum += x[first..first + taps.len()].iter().sum::<f32>();
                            } else {
                                sum += taps.clone().map(|tap| x[start + columns.place(column, tap)]).sum::<f32>();
                            }
                        }
                        sum / self.count(padding, row, column)
                    }
                };
            }
        }
    }

    fn backward(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let [rows, columns] = &self.axes;
        dx.fill(0.0);
        for row in 0..rows.windows {
            for column in 0..columns.windows {
                let dy = dy[row * columns.windows + column];
                match self.kind {
                    Kind::Max => {
                        if let Some(place) = self.largest(x, row, column) {
                            dx[place] += dy;
                        }
                    }
                    Kind::Average { padding } => {
                        let share = dy / self.count(padding, row, column);
                        for tap in rows.taps_of(row) {
                            let start = rows.place(row, tap) * columns.length;
                            for tap in columns.taps_of(column) {
                                dx[start + columns.place(column, tap)] += share;
                            }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
struct Forward(Pool);

fn prepare(node: &NodeType<'_>) -> Prepared {
    let x = node.input(0).filter(|x| x.is_f32())?;
    // Indices of maxima are rare: the reference evaluator gives them.
    if node.output(1).is_some() {
        return None;
    }
    Some(Box::new(Forward(Pool::of(node.op, &x.shape, &node.output(0)?.shape)?)))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (before, after) = self.0.planes();
        let planes = call.output::<f32>(0).par_chunks_mut(after).zip(call.input::<f32>(0).par_chunks(before));
        planes.with_min_len(4).for_each(|(y, x)| self.0.forward(x, y));
        Ok(())
    }
}

#[derive(Debug)]
struct Backward {
    pool: Pool,
    gradient: usize,
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let x = node.input(0).filter(|x| x.is_f32())?;
    let slot = gradient.gradient_slot(0);
    let dy = node.input(slot)?;
    Some(Box::new(Backward { pool: Pool::of(&gradient.of, &x.shape, &dy.shape)?, gradient: slot }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (before, after) = self.pool.planes();
        let dy = call.input::<f32>(self.gradient).par_chunks(after);
        let dx = call.output::<f32>(0).par_chunks_mut(before);
        if self.reads(0) {
            let planes = dx.zip(call.input::<f32>(0).par_chunks(before)).zip(dy);
            planes.with_min_len(4).for_each(|((dx, x), dy)| self.pool.backward(x, dy, dx));
        } else {
            dx.zip(dy).with_min_len(4).for_each(|(dx, dy)| self.pool.backward(&[], dy, dx));
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient || (input == 0 && self.pool.kind == Kind::Max)
    }
}
