//! An output whose parts threads write to, though the parts of one thread do not lie side by side.
#![allow(unsafe_code)]

use std::ops::Range;

/// A slice that is divided among threads row by row.
pub(super) struct Shared(*mut f32, usize);

// SAFETY: threads take rows that do not overlap (promised to `row`).
unsafe impl Sync for Shared {}

impl Shared {
    /// Borrowed for as long as the value is used: whoever makes it lets nobody else use the slice meanwhile.
    pub fn new(data: &mut [f32]) -> Self {
        Self(data.as_mut_ptr(), data.len())
    }

    /// The elements of a range.
    ///
    /// # Safety
    /// The slice is still borrowed, and nobody else has an overlapping row.
    #[allow(clippy::mut_from_ref, clippy::inline_always)]
    #[inline(always)]
    pub unsafe fn row(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.1);
        // SAFETY: inside the slice (checked), and disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}
