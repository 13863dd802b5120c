//! Pooling over windows of one to three spatial axes, and over whole planes.
// Helpers of inner loops must end up in the code that `vectorized` compiles.
#![allow(clippy::inline_always)]

mod choice;
mod columns;
mod global;
mod plane;
mod power;
mod sums;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::arrangement::{Arrangement, Layout, channels_second};
use super::window::Axis;
use super::{Family, NodeType, Prepared};
use columns::{What, Windows};
use plane::{Plane, plane_of};

/// The family.
pub(super) const FAMILY: Family = Family { forward: prepare, gradient: prepare_gradient, arrangement };

/// What the elements of a window become, except their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The mean, of the padding too if so.
    Average { padding: bool },
    /// The sum of sizes.
    Norm1,
    /// The root of the sum of squares.
    Norm2,
}

impl Kind {
    /// Whether it depends on the elements how they share in the gradient.
    fn is_norm(self) -> bool {
        !matches!(self, Self::Average { .. })
    }

    /// What an element contributes to a sum.
    #[inline(always)]
    fn term(self, x: f32) -> f32 {
        match self {
            Self::Average { .. } => x,
            Self::Norm1 => x.abs(),
            Self::Norm2 => x * x,
        }
    }

    /// The share in a gradient of a window with output `y`, before `slope`.
    #[inline(always)]
    fn share(self, dy: f32, y: f32) -> f32 {
        match self {
            // The norm of nothing but zeros has a kink.
            Self::Norm2 if y == 0.0 => 0.0,
            Self::Norm2 => dy / y,
            _ => dy,
        }
    }

    /// By what the share of an element is multiplied.
    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        match self {
            Self::Average { .. } => 1.0,
            Self::Norm1 if x == 0.0 => 0.0,
            Self::Norm1 => 1f32.copysign(x),
            Self::Norm2 => x,
        }
    }
}

/// A pooling whose form is known.
enum Form {
    Max {
        plane: Plane,
        column_major: bool,
    },
    Sum {
        plane: Plane,
        kind: Kind,
    },
    /// A norm of an exponent above 2.
    Power {
        plane: Plane,
        exponent: i32,
    },
    GlobalMax,
    Global(Kind),
}

fn norm(exponent: i64) -> Option<Kind> {
    match exponent {
        1 => Some(Kind::Norm1),
        2 => Some(Kind::Norm2),
        _ => None,
    }
}

impl Form {
    /// The form of an operator on `[N, C, …]`; `None` for what is left to the reference evaluator.
    fn of(op: &Op, x: &[usize], y: &[usize]) -> Option<Self> {
        let (spatial, windows) = (x.get(2..)?, y.get(2..)?);
        if spatial.is_empty() || x[..2] != y[..2] || x.contains(&0) || y.contains(&0) {
            return None;
        }
        macro_rules! plane {
            ($op:expr) => {
                plane_of($op.auto_pad, &$op.dilations, &$op.pads, &$op.strides, &$op.kernel_shape, spatial, windows)?
            };
        }
        Some(match op {
            Op::MaxPool(op) => Self::Max { plane: plane!(op), column_major: op.storage_order },
            Op::AveragePool(op) => {
                Self::Sum { plane: plane!(op), kind: Kind::Average { padding: op.count_include_pad } }
            }
            Op::LpPool(op) => match norm(op.p) {
                Some(kind) => Self::Sum { plane: plane!(op), kind },
                None => Self::Power { plane: plane!(op), exponent: i32::try_from(op.p).ok().filter(|&p| p > 2)? },
            },
            Op::GlobalAveragePool(_) => Self::Global(Kind::Average { padding: false }),
            Op::GlobalMaxPool(_) => Self::GlobalMax,
            Op::GlobalLpPool(op) => Self::Global(norm(op.p)?),
            _ => return None,
        })
    }
}

/// Whether windows have kernels for channels that come last.
fn arrangement(node: &NodeType<'_>) -> Arrangement {
    let (op, outputs, y) = match node.op {
        Op::Gradient(gradient) => (&gradient.of, gradient.outputs, node.input(gradient.gradient_slot(0))),
        op => (op, node.outputs.iter().flatten().count(), node.output(0)),
    };
    let found = || {
        let (x, y) = (node.input(0)?, y?);
        (outputs == 1 && x.is_f32() && y.is_f32()).then(|| windows(op, &x.shape, &y.shape)).flatten()
    };
    if found().is_some() { Arrangement::ChannelsLast } else { Arrangement::Plain }
}

/// The windows of an operator that has kernels for channels that come last; shapes are in ONNX's order. A whole plane is one
/// window.
fn windows(op: &Op, x: &[usize], y: &[usize]) -> Option<Windows> {
    let whole = || {
        let mut axes = [Axis { length: 1, taps: 1, stride: 1, dilation: 1, begin: 0, end: 0, windows: 1 }; 3];
        let first = (axes.len() + 2).checked_sub(x.len())?;
        for (axis, &length) in axes[first..].iter_mut().zip(&x[2..]) {
            (axis.length, axis.taps) = (length, length);
        }
        Some(Plane::new(axes))
    };
    let (what, plane) = match Form::of(op, x, y)? {
        Form::Max { plane, .. } => (What::Max, plane),
        Form::Sum { plane, kind: Kind::Average { padding } } => (What::Average { padding }, plane),
        Form::GlobalMax => (What::Max, whole()?),
        Form::Global(Kind::Average { .. }) => (What::Average { padding: false }, whole()?),
        _ => return None,
    };
    Windows::new(what, plane, x[1])
}

fn prepare(node: &NodeType<'_>) -> Prepared {
    let x = node.input(0).filter(|x| x.is_f32())?;
    if node.layout == Layout::ChannelsLast {
        let windows = windows(node.op, &channels_second(&x.shape), &channels_second(&node.output(0)?.shape))?;
        return node.output(1).is_none().then(|| columns::prepare(windows));
    }
    let shape = &node.output(0).or(node.output(1))?.shape;
    let form = Form::of(node.op, &x.shape, shape)?;
    let length = x.shape[2..].iter().product();
    let planes = x.shape[0] * x.shape[1];
    if let Form::Max { plane, column_major } = form {
        let outputs = [0, 1].map(|output| node.output(output).is_some());
        return Some(choice::prepare(plane, column_major, outputs, planes));
    }
    node.output(0)?;
    Some(match form {
        Form::Sum { plane, kind } => sums::prepare(plane, kind, planes),
        Form::Power { plane, exponent } => power::prepare(plane, exponent),
        Form::Global(kind) => global::prepare(length, kind),
        Form::Max { .. } | Form::GlobalMax => global::prepare_max(length),
    })
}

fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let x = node.input(0).filter(|x| x.is_f32())?;
    let slots = Slots { y: gradient.output_slot(0), dy: gradient.gradient_slot(0) };
    let dy = node.input(slots.dy).filter(|dy| dy.is_f32())?;
    if node.layout == Layout::ChannelsLast {
        let windows = windows(&gradient.of, &channels_second(&x.shape), &channels_second(&dy.shape))?;
        return Some(columns::prepare_gradient(windows, slots));
    }
    let form = Form::of(&gradient.of, &x.shape, &dy.shape)?;
    let length = x.shape[2..].iter().product();
    // Norms read what they gave.
    let y = node.input(slots.y).filter(|y| y.shape == dy.shape);
    Some(match form {
        Form::Max { plane, .. } => choice::prepare_gradient(plane, slots),
        Form::GlobalMax => global::prepare_max_gradient(length, slots),
        Form::Sum { kind, .. } | Form::Global(kind) if kind.is_norm() && y.is_none() => return None,
        Form::Sum { plane, kind } => sums::prepare_gradient(plane, kind, slots, x.shape[0] * x.shape[1]),
        Form::Global(kind) => global::prepare_gradient(length, kind, slots),
        Form::Power { plane, exponent } => {
            y?;
            power::prepare_gradient(plane, exponent, slots)
        }
    })
}

/// Slots of a gradient node.
#[derive(Debug, Clone, Copy)]
struct Slots {
    /// The output of the operator.
    y: usize,
    /// Its gradient.
    dy: usize,
}
