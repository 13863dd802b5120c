//! Dense convolutions and transposed convolutions of images with channels last, `[N, spatial…, C]`.
//!
//! All channels of a pixel lie side by side. A block of the result, some pixels by some vectors of channels, stays in
//! registers while it grows over all taps and channels of the source ([`tile`]); where these lie is worked out once
//! ([`route`]). So neither narrow images nor strides leave vectors half empty, only channels that do not fill one.

/// Writes a loop over `0..$count` out, so that what is indexed by it stays in registers, however long the body is.
macro_rules! each {
    ($index:ident in 0..$count:ident $body:block) => {
        each!($index $count $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($index:ident in 0..$count:ident of 4 $body:block) => {
        each!($index $count $body 0 1 2 3)
    };
    ($index:ident $count:ident $body:block $($number:literal)*) => {
        $(if $number < $count {
            let $index: usize = $number;
            $body
        })*
    };
}

mod columns;
mod correlation;
mod route;
mod tile;
mod weights;

use crate::kernels::vector::arch;
use pulp::{Simd, WithSimd};

use self::columns::sum_columns;
use self::correlation::Correlation;
use self::route::Route;
use self::tile::Ending;
use self::weights::WeightGradient;
use super::geometry::Geometry;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use crate::kernels::{Call, Epilogue, Kernel, KernelError, NodeType, Prepared, ValueType};

/// What block sizes depend on.
#[derive(Debug, Clone, Copy)]
struct Machine {
    /// Elements of a vector.
    lanes: usize,
    /// Vector registers.
    registers: usize,
}

impl Machine {
    /// That of the instruction set that kernels run in here.
    fn find() -> Self {
        struct Find;
        impl WithSimd for Find {
            type Output = Machine;

            fn with_simd<S: Simd>(self, _: S) -> Machine {
                Machine { lanes: S::F32_LANES, registers: S::REGISTER_COUNT }
            }
        }
        arch().dispatch(Find)
    }
}

/// Whether there is a kernel for a node of this geometry, an operator or a gradient.
pub(super) fn takes(node: &NodeType<'_>, geometry: &Geometry, to_windows: bool) -> bool {
    let gradient = matches!(node.op, Op::Gradient(_));
    let possible = |way: bool, wanted: bool| !wanted || Route::possible(geometry, way);
    geometry.groups == 1
        && !geometry.is_empty()
        && possible(to_windows, !gradient)
        && possible(true, gradient && node.output(1).is_some())
        && possible(!to_windows, gradient && node.output(0).is_some())
}

/// Prepares the operator of a geometry of one group in which something is multiplied.
pub(super) fn prepare(node: &NodeType<'_>, geometry: &Geometry, to_windows: bool) -> Prepared {
    let correlation = Correlation::new(geometry, to_windows)?;
    let constant =
        |slot: usize| node.input(slot)?.constant.as_ref()?.values::<f32>().ok().map(std::borrow::Cow::into_owned);
    let packed = match (constant(1), constant(2), node.input(2)) {
        (Some(weights), bias, bias_type) if bias.is_some() || bias_type.is_none() => {
            Some(Packed::new(&correlation, &weights, &bias.unwrap_or_default()))
        }
        _ => None,
    };
    Some(Box::new(Forward { correlation, packed, bias: node.input(2).is_some(), add: None, clamp: None }))
}

/// Prepares the gradient of an operator of a geometry of one group in which something is multiplied.
pub(super) fn prepare_gradient(
    gradient: &Gradient,
    node: &NodeType<'_>,
    geometry: &Geometry,
    to_windows: bool,
) -> Prepared {
    let wanted = |slot: usize| slot < gradient.inputs && node.output(slot).is_some();
    let input = if wanted(0) { Some(Correlation::new(geometry, !to_windows)?) } else { None };
    let weights = if wanted(1) { Some(WeightGradient::new(geometry)?) } else { None };
    Some(Box::new(Backward {
        slot: gradient.gradient_slot(0),
        to_windows,
        input,
        weights,
        bias: wanted(2).then(|| node.output(2).map_or(0, ValueType::len)),
    }))
}

/// Packed weights that are the same in every run.
#[derive(Debug)]
struct Packed {
    data: Vec<f32>,
    /// Where they begin, so that no vector lies in two lines of the cache.
    start: usize,
}

impl Packed {
    fn new(correlation: &Correlation, weights: &[f32], bias: &[f32]) -> Self {
        const LINE: usize = 16;
        let mut data = vec![0.0; correlation.packed() + LINE];
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        correlation.pack(weights, bias, &mut data[start..]);
        Self { data, start }
    }
}

#[derive(Debug)]
struct Forward {
    correlation: Correlation,
    /// Packed weights, if they are the same in every run.
    packed: Option<Packed>,
    bias: bool,
    /// The input that is added to the result.
    add: Option<usize>,
    /// Limits of the result.
    clamp: Option<(f32, f32)>,
}

/// Elements of packed weights in scratch memory, so that what follows is at the start of a line of the cache.
fn padded(packed: usize) -> usize {
    packed.next_multiple_of(16)
}

impl Kernel for Forward {
    fn kept_bytes(&self) -> usize {
        self.packed.as_ref().map_or(0, |packed| size_of_val(packed.data.as_slice()))
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let mut nothing = [];
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut nothing };
        let addend = self.add.map_or(&[][..], |slot| call.input::<f32>(slot));
        let ending = Ending { addend, clamp: self.clamp };
        let (source, result) = (call.input(0), call.output(0));
        if let Some(packed) = &self.packed {
            self.correlation.run(source, &packed.data[packed.start..], ending, result, scratch);
        } else {
            let (packed, scratch) = scratch.split_at_mut(padded(self.correlation.packed()));
            let bias = if self.bias { call.input::<f32>(2) } else { &[] };
            self.correlation.pack(call.input(1), bias, packed);
            self.correlation.run(source, packed, ending, result, scratch);
        }
        Ok(())
    }

    fn scratch(&self) -> usize {
        let packed = if self.packed.is_some() { 0 } else { padded(self.correlation.packed()) };
        packed + self.correlation.scratch()
    }

    fn reads(&self, input: usize) -> bool {
        // Weights that are packed already are not read.
        self.packed.is_none() || !matches!(input, 1 | 2) || self.add == Some(input)
    }

    fn absorb(&mut self, step: &Epilogue) -> bool {
        match *step {
            Epilogue::Add { slot } if self.add.is_none() && self.clamp.is_none() => self.add = Some(slot),
            Epilogue::Clamp { low, high } if self.clamp.is_none() => self.clamp = Some((low, high)),
            _ => return false,
        }
        true
    }
}

#[derive(Debug)]
struct Backward {
    /// Slot of the gradient of the output.
    slot: usize,
    to_windows: bool,
    /// How the gradients of input and weights are computed, if they are wanted.
    input: Option<Correlation>,
    weights: Option<WeightGradient>,
    /// Channels of the bias, if its gradient is wanted.
    bias: Option<usize>,
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let dy = call.input::<f32>(self.slot);
        let mut nothing = [];
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut nothing };
        if let Some(correlation) = &self.input {
            let (packed, scratch) = scratch.split_at_mut(padded(correlation.packed()));
            correlation.pack(call.input(1), &[], packed);
            correlation.run(dy, packed, Ending { addend: &[], clamp: None }, call.output(0), scratch);
        }
        if let Some(gradient) = &self.weights {
            let x = call.input::<f32>(0);
            let (windows, axes) = if self.to_windows { (dy, x) } else { (x, dy) };
            gradient.run(windows, axes, call.output(1), scratch);
        }
        if self.bias.is_some() {
            sum_columns(call.output(2), dy, scratch);
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.slot || (input == 0 && self.weights.is_some()) || (input == 1 && self.input.is_some())
    }

    fn scratch(&self) -> usize {
        let input = |correlation: &Correlation| padded(correlation.packed()) + correlation.scratch();
        let products =
            self.input.as_ref().map_or(0, input).max(self.weights.as_ref().map_or(0, WeightGradient::scratch));
        products.max(self.bias.unwrap_or(0) * columns::MOST_PARTS)
    }
}
