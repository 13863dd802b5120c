//! Loops compiled for the widest vectors that the machine has.

use pulp::{Arch, NullaryFnOnce};

/// Runs `work` in code compiled for the instruction set that is found at run time (AVX2 and FMA on most x86-64).
///
/// `work` and all that it calls in its inner loops must be inlined into that code, else they are compiled for the oldest
/// machine: write `vectorized(#[inline(always)] || …)` and mark helpers `#[inline(always)]` too.
#[allow(clippy::inline_always)]
#[inline(always)]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(Work(work))
}

/// The instruction set that loops run in on this machine, in words.
pub fn instruction_set() -> &'static str {
    match Arch::new() {
        Arch::Scalar => "no vectors",
        _ if cfg!(any(target_arch = "x86", target_arch = "x86_64")) => "AVX2 and FMA",
        _ if cfg!(target_arch = "aarch64") => "NEON",
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
