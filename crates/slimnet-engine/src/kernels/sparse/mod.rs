//! Products with weights that are constant and mostly zeros, as those of pruned networks are.
//!
//! Only weights that are not zero are stored and multiplied. Vectors of positions of a convolution, or of rows of inputs
//! of a matrix product, are multiplied with one weight after the other ([`lists`]); for one row of inputs the lanes of
//! vectors are rows of the weights ([`windows`]).
//!
//! What is not a number, or infinite, in an input makes a sum of the dense product NaN even where its weight is zero;
//! here such a weight is left out, or not, as is faster; of a row with an infinite input any sum may be NaN. Weights below 1e-30 in magnitude count as zeros: they are
//! pruned ones that were trained on or came out of a fold, they change nothing, and denormal numbers are slow.

mod convolution;
mod finish;
mod lists;
mod lookup;
mod product;
mod shifted;
#[cfg(test)]
mod tests;
mod windows;

use slimnet_graph::Op;
use slimnet_graph::tensor::{ElementType, Tensor};

use self::convolution::SparseConvolution;
use self::product::{Bias, SparseProduct};
use super::arrangement::Layout;
use super::convolution::geometry::Geometry;
use super::{NodeType, Prepared, Zeros};

/// Most parts of the work.
const MOST_PARTS: usize = 16;

/// Multiplications that are worth handing to another thread.
const WORTH_A_PART: usize = 1 << 19;

/// Elements of a source that stay in the innermost cache of a processor.
const CACHED: usize = 7 << 10;

/// Fewest weights of a row of the result in a turn, so that it is worth to load its sums and to store them again.
const FEWEST_OF_A_TURN: usize = 8;

/// Magnitude below which a weight counts as zero.
const SMALLEST: f32 = 1e-30;

/// Whether a weight is left out.
fn is_zero(weight: f32) -> bool {
    weight.abs() < SMALLEST
}

/// Share of zeros from which on a convolution is faster with only the others than the dense one with channels last: of
/// several taps, of one, and of images whose copies do not stay in the cache. Measured (`benches/sparse.rs`).
const ZEROS_OF_WINDOWS: f64 = 0.78;
const ZEROS_OF_PIXELS: f64 = 0.85;
const ZEROS_OF_LARGE_IMAGES: f64 = 0.95;

/// Elements of the copies of an image from which on they do not stay in the cache.
const LARGE_IMAGE: usize = 1 << 17;

/// Share of zeros from which on a matrix product is faster with only the others.
const ZEROS_OF_PRODUCT: f64 = 0.65;

/// The elements of a tensor of `float32`.
fn values(tensor: &Tensor) -> Option<Vec<f32>> {
    if tensor.element_type() != ElementType::F32 {
        return None;
    }
    let bytes = tensor.bytes()?;
    Some(bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
}

/// The share of weights that count as zero.
fn zeros(weights: &[f32]) -> f64 {
    let count = weights.iter().filter(|&&weight| is_zero(weight)).count();
    count as f64 / weights.len().max(1) as f64
}

/// The constant weights of a convolution, `[O, I / group, taps…]`, if it is faster and allowed to leave out those that
/// are zero. It then wants its tensors in the plain layout.
pub(super) fn worthwhile(node: &NodeType<'_>, geometry: &Geometry) -> Option<Vec<f32>> {
    let weights = node.input(1)?.constant.as_ref()?;
    if !matches!(node.op, Op::Conv(_)) || node.zeros == Zeros::Multiplied {
        return None;
    }
    // Each tap along a row reads a copy of its own; a single channel has too few products to leave some out.
    let copies = geometry.spread * geometry.axes[2].taps * geometry.plane();
    let least = match geometry.taps() {
        _ if geometry.spread == 1 && geometry.groups > 1 => return None,
        1 => ZEROS_OF_PIXELS,
        _ if copies > LARGE_IMAGE => ZEROS_OF_LARGE_IMAGES,
        _ => ZEROS_OF_WINDOWS,
    };
    values(weights).filter(|weights| zeros(weights) >= least)
}

/// Prepares a convolution whose weights are constant and mostly zeros; `None` for all others.
pub(super) fn prepare_convolution(node: &NodeType<'_>, geometry: &Geometry) -> Prepared {
    if node.layout != Layout::Plain {
        return None;
    }
    convolution(node, geometry, &worthwhile(node, geometry)?)
}

fn convolution(node: &NodeType<'_>, geometry: &Geometry, weights: &[f32]) -> Prepared {
    let has_bias = node.input(2).is_some();
    let whole = geometry.groups == 1
        && geometry.axes.iter().all(|axis| {
            axis.windows == 1 && axis.begin == 0 && axis.length == axis.taps && (axis.taps == 1 || axis.dilation == 1)
        });
    if whole {
        let bias = has_bias.then_some(Bias { slot: 2, scale: 1.0, is_single: false });
        let inner = geometry.spread * geometry.taps();
        return Some(Box::new(SparseProduct::new(geometry.images, weights, inner, bias)));
    }
    Some(Box::new(SparseConvolution::new(geometry, weights, has_bias)?))
}

/// Prepares `Gemm` or `MatMul` with a constant second operand that is mostly zeros; `None` for all others.
pub(super) fn prepare_product(node: &NodeType<'_>) -> Prepared {
    let weights = values(node.input(1)?.constant.as_ref()?)?;
    if node.zeros == Zeros::Multiplied || zeros(&weights) < ZEROS_OF_PRODUCT {
        return None;
    }
    matrix_product(node, &weights)
}

fn matrix_product(node: &NodeType<'_>, weights: &[f32]) -> Prepared {
    let (a, b) = (&node.input(0)?.shape, &node.input(1)?.shape);
    let &[b0, b1] = b.as_slice() else { return None };
    if a.is_empty() || weights.is_empty() {
        return None;
    }
    let transposed = |scale: f32| {
        let column = |column: usize| (0..b0).map(move |row| scale * weights[row * b1 + column]);
        (0..b1).flat_map(column).collect::<Vec<_>>()
    };
    let (weights, inner, bias) = match node.op {
        Op::MatMul(_) => (transposed(1.0), b0, None),
        Op::Gemm(op) if !op.transA => {
            let columns = if op.transB { b0 } else { b1 };
            let bias = match node.input(2).map(|bias| bias.shape.as_slice()) {
                None => None,
                _ if op.beta == 0.0 => None,
                Some([] | [1] | [1, 1]) => Some(true),
                Some(&[length] | &[1, length]) if length == columns => Some(false),
                Some(_) => return None,
            };
            let bias = bias.map(|is_single| Bias { slot: 2, scale: op.beta, is_single });
            if op.transB {
                (weights.iter().map(|weight| op.alpha * weight).collect(), b1, bias)
            } else {
                (transposed(op.alpha), b0, bias)
            }
        }
        _ => return None,
    };
    let rows = node.input(0)?.len() / inner;
    Some(Box::new(SparseProduct::new(rows, &weights, inner, bias)))
}
