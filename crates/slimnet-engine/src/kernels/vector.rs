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
