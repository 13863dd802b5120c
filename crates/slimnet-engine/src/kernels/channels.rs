//! Vectors along the channels of tensors whose channels come last.
// Helpers of inner loops must end up in the code that is compiled for the machine's vectors.
#![allow(clippy::inline_always)]

use crate::kernels::vector::arch;
use pulp::{Simd, WithSimd};

use super::Epilogue;

/// Work on vectors of channels.
pub(super) trait Work {
    /// Does it. `WHOLE` says that the channels fill vectors without a rest.
    fn run<S: Simd, const WHOLE: bool>(self, simd: S);
}

/// Does work on tensors of `channels` channels in code for the machine's vectors.
pub(super) fn dispatch(channels: usize, work: impl Work) {
    let work = Any { channels, work };
    // Where only half a vector would be filled, shorter ones do more.
    #[cfg(target_arch = "x86_64")]
    if matches!(arch(), pulp::Arch::V4(_))
        && !channels.is_multiple_of(16)
        && (channels.is_multiple_of(8) || channels < 8)
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Simd::vectorize(simd, work);
    }
    arch().dispatch(work);
}

struct Any<W> {
    channels: usize,
    work: W,
}

impl<W: Work> WithSimd for Any<W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.channels.is_multiple_of(S::F32_LANES) {
            self.work.run::<S, true>(simd);
        } else {
            self.work.run::<S, false>(simd);
        }
    }
}

/// One vector of the channels of every pixel.
#[derive(Clone, Copy)]
pub(super) struct Block<S, const WHOLE: bool> {
    pub simd: S,
    /// Length of a pixel and place of the block in it: in vectors if they are whole, else in elements.
    unit: usize,
    at: usize,
    /// Elements of the block.
    width: usize,
}

impl<S: Simd, const WHOLE: bool> Block<S, WHOLE> {
    /// Number of blocks of a pixel.
    #[inline(always)]
    pub fn count(channels: usize) -> usize {
        channels.div_ceil(S::F32_LANES)
    }

    #[inline(always)]
    pub fn new(simd: S, channels: usize, index: usize) -> Self {
        if WHOLE {
            Self { simd, unit: channels / S::F32_LANES, at: index, width: S::F32_LANES }
        } else {
            let at = index * S::F32_LANES;
            Self { simd, unit: channels, at, width: S::F32_LANES.min(channels - at) }
        }
    }

    /// The block of a pixel. Lanes behind the last channel hold zeros.
    #[inline(always)]
    pub fn load(self, data: &[f32], pixel: usize) -> S::f32s {
        let place = pixel * self.unit + self.at;
        if WHOLE { S::as_simd_f32s(data).0[place] } else { self.simd.partial_load_f32s(&data[place..][..self.width]) }
    }

    #[inline(always)]
    pub fn store(self, data: &mut [f32], pixel: usize, value: S::f32s) {
        let place = pixel * self.unit + self.at;
        if WHOLE {
            S::as_mut_simd_f32s(data).0[place] = value;
        } else {
            self.simd.partial_store_f32s(&mut data[place..][..self.width], value);
        }
    }
}

/// What is done to a result before it is stored: a tensor is added, then values are limited.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steps {
    add: Option<usize>,
    clamp: Option<(f32, f32)>,
}

impl Steps {
    /// Takes a step in, if it comes in this order.
    pub fn absorb(&mut self, step: &Epilogue) -> bool {
        match *step {
            _ if self.clamp.is_some() => return false,
            Epilogue::Add { .. } if self.add.is_some() => return false,
            Epilogue::Add { slot } => self.add = Some(slot),
            Epilogue::Clamp { low, high } => self.clamp = Some((low, high)),
        }
        true
    }

    /// The slot of the tensor that is added.
    pub fn added(&self) -> Option<usize> {
        self.add
    }

    /// A value within the limits, or not a number.
    #[inline(always)]
    pub fn limited<S: Simd>(&self, simd: S, value: S::f32s) -> S::f32s {
        let Some((low, high)) = self.clamp else { return value };
        let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
        // By comparison, so that what is not a number stays as it is on every machine.
        let value = simd.select_f32s(simd.less_than_f32s(value, low), low, value);
        simd.select_f32s(simd.less_than_f32s(high, value), high, value)
    }
}

#[cfg(test)]
mod tests {
    use slimnet_graph::Op;
    use slimnet_graph::ops::convolution::{AutoPad, Conv};
    use slimnet_graph::ops::normalization::BatchNormalization;
    use slimnet_graph::tensor::ElementType;

    use super::Epilogue;
    use crate::kernels::arrangement::Layout;
    use crate::kernels::call::Region;
    use crate::kernels::{Call, Context, Kernel, NodeType, ValueType, Zeros, prepare};

    fn run(kernel: &dyn Kernel, inputs: &[Vec<f32>], length: usize) -> Vec<f32> {
        let mut inputs = inputs.to_vec();
        let inputs: Vec<_> = inputs.iter_mut().map(|input| Some(Region::of(input.as_mut_slice()))).collect();
        let mut output = vec![f32::NAN; length];
        let mut scratch = vec![f32::NAN; kernel.scratch()];
        let outputs = [Some(Region::of(output.as_mut_slice()))];
        let scratch = Region::of(scratch.as_mut_slice());
        // SAFETY: every region is a vector of its own, which lives to the end of this function.
        #[allow(unsafe_code)]
        let mut call = unsafe { Call::new(&inputs, &outputs, scratch, Context::default()) };
        kernel.run(&mut call).unwrap();
        output
    }

    #[test]
    fn absorbed_steps_are_done_before_storing() {
        for (channels, stride) in [(3, 1), (8, 2), (17, 1), (32, 1), (80, 2)] {
            let conv = Conv {
                group: channels as i64,
                strides: vec![stride as i64; 2],
                pads: vec![1; 4],
                auto_pad: AutoPad::NotSet,
                dilations: vec![],
                kernel_shape: vec![],
            };
            let normalization = BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: false };
            let side = 4 / stride;
            for (op, side, parameters) in [
                (Op::Conv(conv), side, vec![vec![channels, 1, 3, 3], vec![channels]]),
                (Op::BatchNormalization(normalization), 4, vec![vec![channels]; 4]),
            ] {
                let (x, y) = (vec![2, 4, 4, channels], vec![2, side, side, channels]);
                let shapes: Vec<_> = std::iter::once(x).chain(parameters).collect();
                let length = y.iter().product();
                let value = |shape: &Vec<usize>| Some(ValueType::new(ElementType::F32, shape.clone()));
                let types: Vec<_> = shapes.iter().map(value).collect();
                let node = NodeType {
                    op: &op,
                    inputs: &types,
                    outputs: &[value(&y)],
                    layout: Layout::ChannelsLast,
                    zeros: Zeros::default(),
                };
                let filled =
                    |length: usize, step: usize| (0..length).map(|place| (place * step % 23) as f32 / 8.0).collect();
                let mut inputs: Vec<Vec<f32>> = types.iter().flatten().map(|input| filled(input.len(), 7)).collect();
                inputs[0][5] = f32::NAN;
                let mut added: Vec<f32> = filled(length, 5);
                added[length - 1] = f32::INFINITY;
                let plain = run(&*prepare(&node).unwrap(), &inputs, length);
                let slot = inputs.len();
                inputs.push(added.clone());
                let mut kernel = prepare(&node).unwrap();
                assert!(kernel.absorb(&Epilogue::Add { slot }));
                assert!(kernel.absorb(&Epilogue::Clamp { low: 0.5, high: 6.0 }));
                assert!(!kernel.absorb(&Epilogue::Add { slot }), "only in this order");
                let found = run(&*kernel, &inputs, length);
                for ((found, plain), added) in found.iter().zip(plain).zip(added) {
                    let expected = plain + added;
                    assert_eq!(found.is_nan(), expected.is_nan());
                    assert!(found.is_nan() || *found == expected.clamp(0.5, 6.0), "{found} {expected}");
                }
                assert!(found.iter().any(|value| value.is_nan()));
            }
        }
    }
}
