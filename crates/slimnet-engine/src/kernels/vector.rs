//! Loops compiled for the widest vectors that the machine has.

use std::sync::LazyLock;

use pulp::{Arch, NullaryFnOnce};

/// Runs `work` in code compiled for the instruction set that is found at run time (AVX2 and FMA on most x86-64).
///
/// `work` and all that it calls in its inner loops must be inlined into that code, else they are compiled for the oldest
/// machine: write `vectorized(#[inline(always)] || …)` and mark helpers `#[inline(always)]` too.
#[allow(clippy::inline_always)]
#[inline(always)]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    arch().dispatch(Work(work))
}

/// The widest vectors that the machine has, or fewer if `SLIMNET_VECTORS` says so (`avx2`, `none`): to try the code for
/// other machines, and to compare bits with theirs. What the machine does not have is not taken.
static ARCH: LazyLock<Arch> = LazyLock::new(|| match std::env::var("SLIMNET_VECTORS").as_deref() {
    Ok("none") => Arch::Scalar,
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Ok("avx2") => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
    _ => Arch::new(),
});

/// The instruction set that loops run in.
#[inline]
pub fn arch() -> Arch {
    *ARCH
}

/// The instruction set that loops run in on this machine, in words.
pub fn instruction_set() -> &'static str {
    match arch() {
        Arch::Scalar => "no vectors",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V3(_) => "AVX2 and FMA",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V4(_) => "AVX-512",
        #[cfg(target_arch = "aarch64")]
        _ => "NEON",
        #[allow(unreachable_patterns)]
        _ => "vectors",
    }
}

/// A closure whose call is inlined for certain; one given to `dispatch` as it is may be called through a shim.
struct Work<F>(F);

impl<R, F: FnOnce() -> R> NullaryFnOnce for Work<F> {
    type Output = R;

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn call(self) -> R {
        (self.0)()
    }
}

/// Numbers that are computed side by side: a register of the widest kind.
pub const LANES: usize = 16;

/// Elements after which the lanes of a sum are added up, so that rounding does not grow with its length.
const SUM_BLOCK: usize = 1024;

/// Elements that are fewer than lanes, with `value` behind.
#[allow(clippy::inline_always)]
#[inline(always)]
pub fn padded(rest: &[f32], value: f32) -> [f32; LANES] {
    let mut lanes = [value; LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    lanes
}

/// The last lanes of a slice whose length is no multiple of them, and how many of these, the first ones, belong to whole
/// vectors before: the rest counts. A slice shorter than a vector is moved to the end, with zeros before.
#[allow(clippy::inline_always)]
#[inline(always)]
pub fn last(x: &[f32]) -> ([f32; LANES], usize) {
    let before = LANES - x.len() % LANES;
    if let Some(last) = x.last_chunk::<LANES>() {
        return (*last, before);
    }
    let mut last = [0f32; LANES];
    last[before..].copy_from_slice(x);
    (last, before)
}

/// Joins lanes in halves.
#[allow(clippy::inline_always)]
#[inline(always)]
pub fn join(mut lanes: [f32; LANES], operation: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = operation(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of all elements, in lanes.
#[allow(clippy::inline_always)]
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    let mut total = 0f32;
    for block in x.chunks(SUM_BLOCK) {
        let (whole, rest) = block.as_chunks::<LANES>();
        let mut sums = [[0f32; LANES]; 2];
        let (pairs, single) = whole.as_chunks::<2>();
        for pair in pairs {
            for lane in 0..LANES {
                sums[0][lane] += pair[0][lane];
                sums[1][lane] += pair[1][lane];
            }
        }
        let single = single.first().copied().unwrap_or([0.0; LANES]);
        let [mut sum, other] = sums;
        for lane in 0..LANES {
            sum[lane] += other[lane] + single[lane];
        }
        if !rest.is_empty() {
            let (last, before) = last(block);
            for lane in 0..LANES {
                sum[lane] += if lane < before { 0.0 } else { last[lane] };
            }
        }
        total += join(
            sum,
            #[inline(always)]
            |a, b| a + b,
        );
    }
    total
}
