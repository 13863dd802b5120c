//! Vectors of elements looked up in a short table, by the permutations that a machine has.
#![allow(clippy::inline_always)] // code of the widest vectors

use crate::kernels::vector::arch;
use pulp::{Arch, Simd};

/// Elements of a table.
pub(super) const WINDOW: usize = 32;

/// Most elements of a vector.
pub(super) const MOST_LANES: usize = 16;

/// How elements are looked up.
pub(super) trait Lookup<S: Simd>: Copy {
    /// How many elements of the table can be reached.
    const REACH: usize;

    /// `table[places[lane]]` for each lane. The table has [`WINDOW`] elements or fewer, but at least [`Self::REACH`],
    /// beyond which no place lies.
    fn look_up(self, simd: S, table: &[f32], places: &[u8]) -> S::f32s;
}

/// One after the other, on any machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByElement;

impl<S: Simd> Lookup<S> for ByElement {
    const REACH: usize = WINDOW;

    #[inline(always)]
    fn look_up(self, simd: S, table: &[f32], places: &[u8]) -> S::f32s {
        let mut found = [0f32; 2 * MOST_LANES];
        let table = &table[..WINDOW];
        for (found, &place) in found.iter_mut().zip(places) {
            *found = table[usize::from(place) % WINDOW];
        }
        simd.partial_load_f32s(&found[..S::F32_LANES])
    }
}

/// By permutations of registers.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
pub(super) struct ByPermutation;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use pulp::x86::{V3, V4};
    use pulp::{cast, f32x8, f32x16};

    use super::{ByPermutation, Lookup, WINDOW};

    impl Lookup<V4> for ByPermutation {
        const REACH: usize = WINDOW;

        #[inline(always)]
        fn look_up(self, simd: V4, table: &[f32], places: &[u8]) -> f32x16 {
            let (low, high) = table[..WINDOW].split_at(WINDOW / 2);
            let low: f32x16 = bytemuck::pod_read_unaligned(bytemuck::cast_slice(low));
            let high: f32x16 = bytemuck::pod_read_unaligned(bytemuck::cast_slice(high));
            // One number, which stays whole in a register; bytes are taken apart.
            let places: u128 = bytemuck::pod_read_unaligned(&places[..16]);
            let places = simd.avx512f._mm512_cvtepu8_epi32(cast(places));
            cast(simd.avx512f._mm512_permutex2var_ps(cast(low), places, cast(high)))
        }
    }

    impl Lookup<V3> for ByPermutation {
        const REACH: usize = 16;

        #[inline(always)]
        fn look_up(self, simd: V3, table: &[f32], places: &[u8]) -> f32x8 {
            let (low, high) = table[..16].split_at(8);
            let low: f32x8 = bytemuck::pod_read_unaligned(bytemuck::cast_slice(low));
            let high: f32x8 = bytemuck::pod_read_unaligned(bytemuck::cast_slice(high));
            let places: u64 = bytemuck::pod_read_unaligned(&places[..8]);
            let places = simd.avx2._mm256_cvtepu8_epi32(cast(u128::from(places)));
            let low = simd.avx2._mm256_permutevar8x32_ps(cast(low), places);
            let high = simd.avx2._mm256_permutevar8x32_ps(cast(high), places);
            // The bit that tells the halves apart becomes the sign, which chooses.
            let choice = simd.avx2._mm256_slli_epi32::<28>(places);
            cast(simd.avx._mm256_blendv_ps(low, high, cast(choice)))
        }
    }
}

/// Work that needs vectors and look-ups.
pub(super) trait WithLookup {
    type Output;

    /// Does the work.
    fn with_lookup<S: Simd, L: Lookup<S>>(self, simd: S, lookup: L) -> Self::Output;
}

/// Work with its vectors and look-ups, as what can be compiled for them.
struct Ready<W, S, L>(W, S, L);

impl<W: WithLookup, S: Simd, L: Lookup<S>> pulp::NullaryFnOnce for Ready<W, S, L> {
    type Output = W::Output;

    #[inline(always)]
    fn call(self) -> W::Output {
        self.0.with_lookup(self.1, self.2)
    }
}

/// Work without look-ups of a machine's own.
struct Portable<W>(W);

impl<W: WithLookup> pulp::WithSimd for Portable<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> W::Output {
        self.0.with_lookup(simd, ByElement)
    }
}

/// The kinds of vectors that work may run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The widest that the machine has.
    Widest,
    /// Half as wide, if that is another kind that the machine has.
    #[cfg(test)]
    Half,
    /// One element after the other.
    #[cfg(test)]
    Elements,
}

/// Runs work on the vectors of the machine.
pub(super) fn dispatch<W: WithLookup>(kind: Kind, work: W) -> W::Output {
    let arch = match kind {
        Kind::Widest => arch(),
        #[cfg(all(test, target_arch = "x86_64"))]
        Kind::Half => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        #[cfg(test)]
        _ => Arch::Scalar,
    };
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(simd) => simd.vectorize(Ready(work, simd, ByPermutation)),
        #[cfg(target_arch = "x86_64")]
        Arch::V3(simd) => simd.vectorize(Ready(work, simd, ByPermutation)),
        arch => arch.dispatch(Portable(work)),
    }
}
