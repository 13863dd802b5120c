//! What is done with sums before they are stored.
#![allow(clippy::inline_always)] // code of the widest vectors

use pulp::Simd;

use crate::kernels::{Call, Epilogue};

/// The steps that a kernel has taken into itself: at most one addition, then at most one clamp.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Finish {
    /// The input that is added.
    pub add: Option<usize>,
    /// Lower and upper limit.
    pub clamp: Option<(f32, f32)>,
}

impl Finish {
    /// Takes a step, if it comes in that order.
    pub fn absorb(&mut self, step: &Epilogue) -> bool {
        match *step {
            Epilogue::Add { slot } if self.add.is_none() && self.clamp.is_none() => self.add = Some(slot),
            Epilogue::Clamp { low, high } if self.clamp.is_none() => self.clamp = Some((low, high)),
            _ => return false,
        }
        true
    }

    /// What is added in a run.
    pub fn addend<'a>(&self, call: &Call<'a>) -> Option<&'a [f32]> {
        self.add.map(|slot| call.input(slot))
    }
}

/// Limits values; what is not a number stays so.
#[inline(always)]
pub(super) fn clamp<S: Simd>(simd: S, values: S::f32s, limits: Option<(f32, f32)>) -> S::f32s {
    let Some((low, high)) = limits else { return values };
    // Minima and maxima of vectors differ among machines in what they make of what is not a number; comparisons do not.
    let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
    let values = simd.select_f32s(simd.less_than_f32s(values, low), low, values);
    simd.select_f32s(simd.greater_than_f32s(values, high), high, values)
}

/// Limits one value; what is not a number stays so.
#[inline(always)]
pub(super) fn clamp_one(value: f32, limits: Option<(f32, f32)>) -> f32 {
    let Some((low, high)) = limits else { return value };
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}
