//! The memory of a plan: one block that is taken once.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};

use bytemuck::Pod;

use crate::kernels::call::Region;

/// Every tensor begins at a multiple of this many bytes: a cache line, and the widest vector.
pub(super) const ALIGNMENT: usize = 64;

/// One block of memory, zero at the start.
#[derive(Debug)]
pub(super) struct Arena {
    region: Region,
    layout: Layout,
}

impl Arena {
    /// A block of so many bytes; `None` if there is not as much memory.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes.max(ALIGNMENT), ALIGNMENT).ok()?;
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the block was just taken, has this length, is initialised, and belongs to nobody else.
        let slice = unsafe { std::slice::from_raw_parts_mut(pointer, layout.size()) };
        Some(Self { region: Region::of(slice), layout })
    }

    /// A part of the block, for calls of kernels.
    pub(super) fn region(&self, offset: usize, bytes: usize) -> Region {
        self.region.part(offset, bytes)
    }

    /// Elements of a part of the block.
    pub(super) fn slice<T: Pod>(&self, offset: usize, bytes: usize) -> &[T] {
        // SAFETY: the block lives as long as `self`, and only who has it mutably runs kernels on it.
        unsafe { self.region.part(offset, bytes).read() }
    }

    /// Elements of a part of the block, to be written.
    pub(super) fn slice_mut<T: Pod>(&mut self, offset: usize, bytes: usize) -> &mut [T] {
        // SAFETY: the block lives as long as `self`, which is borrowed mutably.
        unsafe { self.region.part(offset, bytes).write() }
    }

    /// Elements of two parts of the block, the second to be written.
    ///
    /// # Panics
    /// If they overlap.
    pub(super) fn two<T: Pod>(&mut self, read: (usize, usize), write: (usize, usize)) -> (&[T], &mut [T]) {
        assert!(read.0 + read.1 <= write.0 || write.0 + write.1 <= read.0 || read.1 == 0, "parts overlap");
        // SAFETY: as in `slice_mut`; the parts do not overlap.
        unsafe { (self.region.part(read.0, read.1).read(), self.region.part(write.0, write.1).write()) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the block was taken with this layout in `new`, and nobody has it any more.
        unsafe { dealloc(self.region.address(), self.layout) }
    }
}
