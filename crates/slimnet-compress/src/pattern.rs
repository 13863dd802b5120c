//! Weights as matrices, and which of their elements become 0 together.

use slimnet_graph::graph::{Graph, ValueId};

use crate::constraint::{Constraint, ConstraintError, Pattern, recorded};
use crate::weight::weights;

/// A weight as a matrix of outputs × (taps · inputs): the columns of one tap of a kernel lie side by side, in the order of
/// the inputs, and the taps in the order of the tensor. Elements are named by their offset in the tensor.
pub(crate) struct Matrix {
    outputs: usize,
    inputs: usize,
    output_stride: usize,
    input_stride: usize,
    /// Offset of each tap.
    taps: Vec<usize>,
}

impl Matrix {
    /// `None` if the tensor has no such axes or no elements.
    pub(crate) fn new(shape: &[usize], output_axis: usize, input_axis: usize) -> Option<Self> {
        let (&outputs, &inputs) = (shape.get(output_axis)?, shape.get(input_axis)?);
        if output_axis == input_axis || shape.contains(&0) {
            return None;
        }
        let stride = |axis: usize| -> usize { shape[axis + 1..].iter().product() };
        let mut taps = vec![0];
        for axis in (0..shape.len()).filter(|&axis| axis != output_axis && axis != input_axis) {
            taps = taps.iter().flat_map(|tap| (0..shape[axis]).map(move |place| tap + place * stride(axis))).collect();
        }
        Some(Self { outputs, inputs, output_stride: stride(output_axis), input_stride: stride(input_axis), taps })
    }

    fn offset(&self, output: usize, column: usize) -> usize {
        output * self.output_stride + self.taps[column / self.inputs] + column % self.inputs * self.input_stride
    }

    /// Visits tiles of `rows` × `columns`, row by row. Those at the edges are smaller; none crosses a multiple of `edge`
    /// columns.
    fn tiles(&self, rows: usize, columns: usize, edge: usize, visit: &mut dyn FnMut(&[usize])) {
        let width = self.taps.len() * self.inputs;
        let mut tile = Vec::new();
        for top in (0..self.outputs).step_by(rows) {
            let bottom = top.saturating_add(rows).min(self.outputs);
            for start in (0..width).step_by(edge) {
                let end = start.saturating_add(edge).min(width);
                for left in (start..end).step_by(columns) {
                    let right = left.saturating_add(columns).min(end);
                    tile.clear();
                    for row in top..bottom {
                        tile.extend((left..right).map(|column| self.offset(row, column)));
                    }
                    visit(&tile);
                }
            }
        }
    }

    /// Visits the tiles that a pattern speaks of: elements, groups of N:M (of one output and one tap), blocks. There are
    /// none if the weight is too small for the pattern.
    fn pattern_tiles(&self, pattern: Pattern, visit: &mut dyn FnMut(&[usize])) {
        match pattern {
            Pattern::Single => self.tiles(1, 1, self.inputs, visit),
            Pattern::NofM { group, .. } if self.inputs < group => {}
            Pattern::NofM { group, .. } => self.tiles(1, group, self.inputs, visit),
            Pattern::Block { outputs, inputs } => self.tiles(outputs, inputs, self.taps.len() * self.inputs, visit),
        }
    }

    /// Whether the weight has too few inputs for the pattern.
    pub(crate) fn too_small(&self, pattern: Pattern) -> bool {
        matches!(pattern, Pattern::NofM { group, .. } if self.inputs < group)
    }

    /// Visits what becomes 0 together, always in the same order: whole tiles, or of a group of N:M all but its most
    /// important elements. What is 0 is the least important; of equals the first go.
    pub(crate) fn units(&self, pattern: Pattern, values: &[f32], scores: &[f32], visit: &mut dyn FnMut(&[usize])) {
        let mut order: Vec<usize> = Vec::new();
        self.pattern_tiles(pattern, &mut |tile| {
            let Pattern::NofM { left, group } = pattern else { return visit(tile) };
            order.clear();
            order.extend_from_slice(tile);
            // A stable sort: of equals the first stay first.
            order.sort_by(|&a, &b| (values[a] != 0.0).cmp(&(values[b] != 0.0)).then(scores[a].total_cmp(&scores[b])));
            visit(&order[..tile.len() - stay(left, group, tile.len())]);
        });
    }

    /// Whether the zeros of a weight are arranged in a pattern.
    pub(crate) fn has(&self, pattern: Pattern, values: &[f32]) -> bool {
        let mut all = !self.too_small(pattern);
        self.pattern_tiles(pattern, &mut |tile| {
            let zeros = tile.iter().filter(|&&element| values[element] == 0.0).count();
            all &= match pattern {
                Pattern::Single => true,
                Pattern::NofM { left, group } => tile.len() - zeros <= stay(left, group, tile.len()),
                Pattern::Block { .. } => zeros == 0 || zeros == tile.len(),
            };
        });
        all
    }
}

/// How many elements of a group of N:M stay; of one that is cut off at the end, the same part, rounded up.
fn stay(left: usize, group: usize, length: usize) -> usize {
    if length == group { left } else { (left * length).div_ceil(group) }
}

/// Whether there can be such a pattern.
pub(crate) fn is_possible(pattern: Pattern) -> bool {
    match pattern {
        Pattern::Single => true,
        Pattern::NofM { left, group } => (1..group).contains(&left),
        Pattern::Block { outputs, inputs } => outputs >= 1 && inputs >= 1,
    }
}

/// The weights whose zeros do not have the pattern that is recorded for them: removed inputs move groups.
///
/// # Errors
/// If a record is not understood.
pub(crate) fn broken_patterns(graph: &Graph) -> Result<Vec<ValueId>, ConstraintError> {
    let mut broken = Vec::new();
    for weight in weights(graph) {
        let Some(Constraint::Sparse(pattern)) = recorded(graph, weight.value)? else { continue };
        let data = graph.value(weight.value).data.as_ref();
        let values = data.and_then(|data| Some((data.shape(), data.values::<f32>().ok()?)));
        let holds = values.is_some_and(|(shape, values)| {
            Matrix::new(shape, weight.outputs, weight.inputs).is_some_and(|matrix| matrix.has(pattern, &values))
        });
        if pattern != Pattern::Single && !holds {
            broken.push(weight.value);
        }
    }
    Ok(broken)
}
