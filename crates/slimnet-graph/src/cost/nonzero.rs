//! How many elements of a parameter do not stand for 0.

use crate::graph::{Graph, ValueId};
use crate::ops::Op;
use crate::tensor::Tensor;

/// Elements that are neither 0 nor masked; of quantized parameters those that are not at their zero point.
pub(super) fn count(graph: &Graph, value: ValueId, tensor: &Tensor) -> u64 {
    let mask = mask_of(graph, value).and_then(|mask| mask.values::<u8>().ok());
    let kept = |index: usize| mask.as_ref().is_none_or(|mask| mask.get(index) != Some(&0));
    if let Ok(values) = tensor.values::<f32>() {
        return values.iter().enumerate().filter(|&(index, &value)| value != 0.0 && kept(index)).count() as u64;
    }
    let Ok(elements) = tensor.to_f64s() else { return tensor.len() as u64 };
    let Some(zeros) = ZeroPoints::of(graph, value, tensor) else {
        return elements.iter().enumerate().filter(|&(index, &element)| element != 0.0 && kept(index)).count() as u64;
    };
    elements.iter().enumerate().filter(|&(index, &element)| element != zeros.at(index)).count() as u64
}

/// The mask that the first reader of a parameter puts on it.
fn mask_of(graph: &Graph, value: ValueId) -> Option<&Tensor> {
    let first = graph.value(value).readers().next()?;
    let masks = matches!(graph.node(first.node).op, Op::Mask(_)) && first.slot == 0;
    graph.input_data(first.node, 1).filter(|_| masks)
}

/// The zero points that the first reader of a quantized parameter has for it.
struct ZeroPoints {
    points: Vec<f64>,
    /// Length of the axis that the points run along.
    length: usize,
    /// Elements in one step along it.
    inner: usize,
    /// Elements of the axis that share a point, if each block has points of its own.
    block: Option<usize>,
}

impl ZeroPoints {
    fn of(graph: &Graph, value: ValueId, tensor: &Tensor) -> Option<Self> {
        let first = graph.value(value).readers().next()?;
        let (slot, axis, block) = match (&graph.node(first.node).op, first.slot) {
            (Op::DequantizeLinear(op), 0) => (2, op.axis, op.block_size),
            (Op::QLinearConv(_), 3) => (5, 0, 0),
            (Op::ConvInteger(_), 1) => (3, 0, 0),
            (Op::QLinearMatMul(_), 0) => (2, -2, 0),
            (Op::QLinearMatMul(_), 3) => (5, -1, 0),
            (Op::MatMulInteger(_), 0) => (2, -2, 0),
            (Op::MatMulInteger(_), 1) => (3, -1, 0),
            _ => return None,
        };
        let points = graph.input_data(first.node, slot)?.to_f64s().ok().filter(|points| !points.is_empty())?;
        let shape = tensor.shape();
        let axis = usize::try_from(if axis < 0 { axis.checked_add(shape.len() as i64)? } else { axis }).ok();
        // A single point is for all elements, whatever the axis.
        let axis = axis.filter(|&axis| axis < shape.len() && points.len() > 1);
        let (length, inner) = axis.map_or((1, 1), |axis| (shape[axis], shape[axis + 1..].iter().product()));
        let block = usize::try_from(block).ok().filter(|&block| block > 0 && axis.is_some());
        Some(Self { points, length, inner, block })
    }

    /// The point of an element; only called for tensors that are not empty.
    fn at(&self, index: usize) -> f64 {
        let (outer, place, within) =
            (index / self.inner / self.length, index / self.inner % self.length, index % self.inner);
        let point = match self.block {
            _ if self.points.len() == 1 => 0,
            Some(block) => (outer * self.length.div_ceil(block) + place / block) * self.inner + within,
            None => place,
        };
        self.points.get(point).copied().unwrap_or(0.0)
    }
}
