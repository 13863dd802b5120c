//! One run of a kernel: its inputs, outputs and scratch memory as slices.
//!
//! The one place where memory of the arena becomes slices. What makes it sound: whoever makes a [`Call`] promises that
//! every region lies in memory that lives as long as the call, that outputs and scratch overlap nothing, except that an
//! output may be exactly an input's region if the kernel allowed that; and a call hands out each output once at a time.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;
use slimnet_graph::zoo::random::Stream;

use super::parallel::each_chunk;
use super::vector::vectorized;

/// What a run knows besides its data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Context {
    /// The seed of the whole run.
    pub seed: u64,
    /// Which step of training this is.
    pub step: u64,
    /// A number of the node that stays the same over runs and processes.
    pub node: u64,
}

impl Context {
    /// The random numbers of this node in this step.
    pub fn stream(&self) -> Stream {
        Stream::new(Stream::new(self.seed, self.node).bits(self.step), self.step)
    }
}

/// Most outputs of a node: as many as a number has bits that remember which were taken.
pub const MOST_OUTPUTS: usize = 64;

/// A piece of memory.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    pointer: *mut u8,
    bytes: usize,
}

// SAFETY: a region is an address and a length; who turns it into slices answers for the access.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// The region of a slice that nobody else uses while calls with it run.
    pub fn of<T: Pod>(slice: &mut [T]) -> Self {
        let bytes = size_of_val(slice);
        Self { pointer: slice.as_mut_ptr().cast(), bytes }
    }

    /// The part of `bytes` bytes from `offset` on.
    ///
    /// # Panics
    /// If it does not lie inside.
    #[must_use]
    pub fn part(self, offset: usize, bytes: usize) -> Self {
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= self.bytes), "part of a region lies outside");
        // SAFETY: the offset is inside the region, checked above.
        Self { pointer: unsafe { self.pointer.add(offset) }, bytes }
    }

    /// Where it begins.
    pub(crate) fn address(self) -> *mut u8 {
        self.pointer
    }

    fn same(self, other: Self) -> bool {
        self.pointer == other.pointer && self.bytes == other.bytes && self.bytes > 0
    }

    /// # Safety
    /// Nobody writes to the region while the slice lives.
    pub(crate) unsafe fn read<'a, T: Pod>(self) -> &'a [T] {
        // SAFETY: every bit pattern is a value of a `Pod` type; length and alignment are checked; aliasing by the caller.
        bytemuck::cast_slice(unsafe { std::slice::from_raw_parts(self.pointer, self.bytes) })
    }

    /// # Safety
    /// Nobody else reads from or writes to the region while the slice lives.
    pub(crate) unsafe fn write<'a, T: Pod>(self) -> &'a mut [T] {
        // SAFETY: as in `read`.
        bytemuck::cast_slice_mut(unsafe { std::slice::from_raw_parts_mut(self.pointer, self.bytes) })
    }
}

/// One run of a kernel.
#[derive(Debug)]
pub struct Call<'a> {
    inputs: &'a [Option<Region>],
    outputs: &'a [Option<Region>],
    scratch: Region,
    context: Context,
    taken: u64,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Call<'a> {
    /// A run on regions; absent inputs and outputs are `None`.
    ///
    /// # Safety
    /// All regions live as long as `'a` and nobody else uses them meanwhile. Outputs and scratch overlap nothing, except
    /// that an output may be exactly the region of one input, if the kernel allows that input and output
    /// ([`super::Kernel::in_place`]).
    ///
    /// # Panics
    /// If there are more than 64 outputs.
    pub unsafe fn new(
        inputs: &'a [Option<Region>],
        outputs: &'a [Option<Region>],
        scratch: Region,
        context: Context,
    ) -> Self {
        assert!(outputs.len() <= MOST_OUTPUTS, "more than {MOST_OUTPUTS} outputs");
        Self { inputs, outputs, scratch, context, taken: 0, memory: PhantomData }
    }

    /// What the run knows besides its data.
    pub fn context(&self) -> Context {
        self.context
    }

    /// Whether an input is present.
    pub fn has_input(&self, slot: usize) -> bool {
        self.inputs.get(slot).is_some_and(Option::is_some)
    }

    /// Whether an output is present.
    pub fn has_output(&self, slot: usize) -> bool {
        self.outputs.get(slot).is_some_and(Option::is_some)
    }

    fn input_region(&self, slot: usize) -> Region {
        self.inputs.get(slot).copied().flatten().expect("the kernel was prepared for a node with this input")
    }

    /// The region of an output, which is handed out once.
    fn take_output(&mut self, slot: usize) -> Region {
        let region = self.outputs.get(slot).copied().flatten();
        assert!(self.taken & (1 << slot) == 0, "output {slot} is taken twice");
        self.taken |= 1 << slot;
        region.expect("the kernel was prepared for a node with this output")
    }

    /// The elements of an input.
    ///
    /// # Panics
    /// If it is absent, of another size of elements, or its memory is given to an output: mistakes of the kernel.
    pub fn input<T: Pod>(&self, slot: usize) -> &'a [T] {
        let region = self.input_region(slot);
        let shared = self.outputs.iter().flatten().any(|output| output.same(region));
        assert!(!shared, "input {slot} is overwritten by an output: use `map` or `zip`");
        // SAFETY: no output has this region, so nobody writes to it during the call.
        unsafe { region.read() }
    }

    /// The bytes of an input.
    ///
    /// # Panics
    /// As [`Self::input`].
    pub fn input_bytes(&self, slot: usize) -> &'a [u8] {
        self.input(slot)
    }

    /// The elements of an output, once in a run. At the start they are unspecified.
    ///
    /// # Panics
    /// If it is absent, asked for twice, or lies in the memory of an input: mistakes of the kernel.
    pub fn output<T: Pod>(&mut self, slot: usize) -> &'a mut [T] {
        let region = self.take_output(slot);
        let shared = self.inputs.iter().flatten().any(|input| input.same(region));
        assert!(!shared, "output {slot} lies in the memory of an input: use `map` or `zip`");
        // SAFETY: outputs overlap nothing else (constructor), and each is handed out once.
        unsafe { region.write() }
    }

    /// The bytes of an output, once in a run.
    ///
    /// # Panics
    /// As [`Self::output`].
    pub fn output_bytes(&mut self, slot: usize) -> &'a mut [u8] {
        self.output(slot)
    }

    /// Scratch memory of the length that the kernel asked for, once in a run.
    ///
    /// # Panics
    /// If it is asked for twice.
    pub fn scratch(&mut self) -> &'a mut [f32] {
        let region = self.scratch;
        self.scratch.bytes = 0;
        assert!(region.bytes > 0, "scratch memory is taken twice or was not asked for");
        // SAFETY: scratch overlaps nothing else (constructor) and is handed out once.
        unsafe { region.write() }
    }

    /// An output, to be computed from inputs element by element, possibly in the memory of one of them.
    ///
    /// # Panics
    /// As [`Self::output`].
    pub fn fused<T: Pod, const N: usize>(&mut self, inputs: [usize; N], output: usize) -> Fused<'a, T, N> {
        let region = self.take_output(output);
        let inputs = inputs.map(|slot| self.input_region(slot));
        let place = inputs.iter().position(|input| input.same(region));
        // SAFETY: the output is handed out once; an input with the same region is not read as a slice of its own.
        let output = unsafe { region.write::<T>() };
        let inputs = inputs.map(|input| {
            // SAFETY: inputs that are not the output are not written to during the call.
            if input.same(region) { &[][..] } else { unsafe { input.read::<T>() } }
        });
        debug_assert!(
            inputs.iter().enumerate().all(|(slot, input)| Some(slot) == place || input.len() == output.len())
        );
        Fused { inputs, output, place }
    }

    /// `output[i] = function(input[i])`, in place or not.
    ///
    /// # Panics
    /// As [`Self::output`].
    pub fn map(&mut self, input: usize, output: usize, function: impl Fn(f32) -> f32 + Sync) {
        let Fused { inputs: [x], output: y, place } = self.fused::<f32, 1>([input], output);
        if place.is_some() {
            each_chunk_vectorized(
                y,
                #[inline(always)]
                |_, y| {
                    for y in y {
                        *y = function(*y);
                    }
                },
            );
        } else {
            each_chunk_vectorized(
                y,
                #[inline(always)]
                |range, y| {
                    for (y, &x) in y.iter_mut().zip(&x[range]) {
                        *y = function(x);
                    }
                },
            );
        }
    }

    /// `output[i] = function(a[i], b[i])`, in place of either or not.
    ///
    /// # Panics
    /// As [`Self::output`].
    pub fn zip(&mut self, inputs: [usize; 2], output: usize, function: impl Fn(f32, f32) -> f32 + Sync) {
        let same = self.input_region(inputs[0]).same(self.input_region(inputs[1]));
        if same {
            return self.map(
                inputs[0],
                output,
                #[inline(always)]
                |x| function(x, x),
            );
        }
        let Fused { inputs: [a, b], output: y, place } = self.fused::<f32, 2>(inputs, output);
        match place {
            Some(0) => each_chunk_vectorized(
                y,
                #[inline(always)]
                |range, y| {
                    for (y, &b) in y.iter_mut().zip(&b[range]) {
                        *y = function(*y, b);
                    }
                },
            ),
            Some(_) => each_chunk_vectorized(
                y,
                #[inline(always)]
                |range, y| {
                    for (y, &a) in y.iter_mut().zip(&a[range]) {
                        *y = function(a, *y);
                    }
                },
            ),
            None => each_chunk_vectorized(
                y,
                #[inline(always)]
                |range, y| {
                    for (y, (&a, &b)) in y.iter_mut().zip(a[range.clone()].iter().zip(&b[range])) {
                        *y = function(a, b);
                    }
                },
            ),
        }
    }
}

/// Chunks as [`each_chunk`] has them, in code for the widest vectors; `work` is inlined into it.
#[allow(clippy::inline_always)]
#[inline(always)]
fn each_chunk_vectorized(output: &mut [f32], work: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    each_chunk(output, |range, chunk| {
        vectorized(
            #[inline(always)]
            || work(range, chunk),
        );
    });
}

/// Inputs and an output of a computation element by element.
#[derive(Debug)]
pub struct Fused<'a, T, const N: usize> {
    /// The inputs; empty where one shares the output's memory.
    pub inputs: [&'a [T]; N],
    /// The output, holding the input `place` at the start.
    pub output: &'a mut [T],
    /// The first of the inputs that lies in the output's memory.
    pub place: Option<usize>,
}
