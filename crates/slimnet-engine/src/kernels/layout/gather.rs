//! Choosing slices or elements along an axis by indices that are known only when it runs: embeddings, labels.

use slimnet_graph::tensor::ElementType;

use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Sizes of one application. `Gather` has `[outer, axis, inner]` and indices `[count]`, for all `outer`; `GatherElements`
/// has `[outer, axis, inner]` and indices `[outer', count, inner']` of their own for each element.
#[derive(Debug, Clone)]
struct Sizes {
    axis: usize,
    inner: usize,
    count: usize,
    indices: ElementType,
    /// Of `GatherElements`: shapes of the data and of the indices, and which axis.
    elements: Option<(Vec<usize>, Vec<usize>, usize)>,
}

impl Sizes {
    fn of(axis: i64, elements: bool, node: &NodeType<'_>) -> Option<Self> {
        let (data, indices) = (node.input(0)?, node.input(1)?);
        let rank = data.shape.len();
        let place =
            usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|&place| place < rank)?;
        if !matches!(indices.element_type, ElementType::I64 | ElementType::I32) {
            return None;
        }
        Some(Self {
            axis: data.shape[place],
            inner: data.shape[place + 1..].iter().product(),
            count: indices.len(),
            indices: indices.element_type,
            elements: elements.then(|| (data.shape.clone(), indices.shape.clone(), place)),
        })
    }

    /// The index at a place of the indices, counted from the front.
    fn index(&self, call: &Call<'_>, place: usize) -> Result<usize, KernelError> {
        let index = match self.indices {
            ElementType::I64 => call.input::<i64>(1)[place],
            _ => i64::from(call.input::<i32>(1)[place]),
        };
        let length = self.axis as i64;
        let from_front = if index < 0 { index + length } else { index };
        if (0..length).contains(&from_front) {
            return Ok(from_front as usize);
        }
        Err(KernelError::Value(format!("index {index} at place {place} is outside an axis of length {length}")))
    }

    /// For each element of the output of `GatherElements`, its place in the data.
    fn each_element(&self, call: &Call<'_>, mut visit: impl FnMut(usize, usize)) -> Result<(), KernelError> {
        let Some((data, shape, axis)) = &self.elements else { return Ok(()) };
        for place in 0..self.count {
            let index = self.index(call, place)?;
            let (mut rest, mut stride, mut offset) = (place, 1, 0);
            for position in (0..shape.len()).rev() {
                let own = if position == *axis { index } else { rest % shape[position] };
                rest /= shape[position];
                offset += own * stride;
                stride *= data[position];
            }
            visit(place, offset);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Forward {
    sizes: Sizes,
    bytes: usize,
}

pub(super) fn prepare(axis: i64, elements: bool, node: &NodeType<'_>) -> Prepared {
    let bytes = node.input(0)?.element_type.bits().filter(|bits| *bits >= 8)? / 8;
    Some(Box::new(Forward { sizes: Sizes::of(axis, elements, node)?, bytes }))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let Self { sizes, bytes } = self;
        let (x, y) = (call.input_bytes(0), call.output_bytes(0));
        if sizes.elements.is_some() {
            return sizes.each_element(call, |place, source| {
                y[place * bytes..][..*bytes].copy_from_slice(&x[source * bytes..][..*bytes]);
            });
        }
        let slice = sizes.inner * bytes;
        for (row, y) in y.chunks_exact_mut(slice.max(1)).enumerate() {
            let (outer, place) = (row / sizes.count, row % sizes.count);
            let index = sizes.index(call, place)?;
            y.copy_from_slice(&x[(outer * sizes.axis + index) * slice..][..slice]);
        }
        Ok(())
    }
}

/// Slot of the gradient of the output.
const GRADIENT: usize = 3;

#[derive(Debug)]
struct Backward(Sizes);

pub(super) fn prepare_gradient(axis: i64, elements: bool, node: &NodeType<'_>) -> Prepared {
    if !node.input(0)?.is_f32() || node.output(1).is_some() {
        return None;
    }
    node.input(GRADIENT)?;
    Some(Box::new(Backward(Sizes::of(axis, elements, node)?)))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.0;
        let (dy, dx) = (call.input::<f32>(GRADIENT), call.output::<f32>(0));
        dx.fill(0.0);
        if sizes.elements.is_some() {
            return sizes.each_element(call, |place, source| dx[source] += dy[place]);
        }
        for (row, dy) in dy.chunks_exact(sizes.inner.max(1)).enumerate() {
            let (outer, place) = (row / sizes.count, row % sizes.count);
            let index = sizes.index(call, place)?;
            let dx = &mut dx[(outer * sizes.axis + index) * sizes.inner..][..sizes.inner];
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 1 || input == GRADIENT
    }
}
