//! Memory for outputs that a kernel is about to write, and what becomes of freed memory.

mod stored;

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub use stored::Stored;

static POISON: AtomicBool = AtomicBool::new(false);

/// A vector of `len` numbers of which nothing is known, without the pass over memory that zeroing costs. It is for
/// outputs that the next call overwrites from end to end; nobody may read an element before that.
///
/// Under [`poison`] every element is NaN, so that a test sees an element that nobody wrote.
pub fn unwritten(len: usize) -> Vec<f32> {
    if POISON.load(Relaxed) {
        return vec![f32::NAN; len];
    }
    let mut values = Vec::with_capacity(len);
    // SAFETY: there is room for `len` elements; every pattern of bits is an f32, and each element is written
    // before it is read: by the rule above, which the tests enforce with `poison`.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(len);
    }
    values
}

/// One cache line.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Numbers from the beginning of a cache line on: a vector that lies across two lines costs two reads, and allocators
/// promise 16 bytes only.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<Line>);

impl Lines {
    /// No numbers.
    pub(crate) const fn new() -> Self {
        Lines(Vec::new())
    }

    /// At least `len` numbers. When there were fewer, nothing is known of them, as with [`unwritten`].
    pub(crate) fn room(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0 = Vec::with_capacity(lines);
            // SAFETY: there is room; every pattern of bits is an f32, and each is written before it is read.
            #[allow(clippy::uninit_vec)]
            unsafe {
                self.0.set_len(lines);
            }
            if POISON.load(Relaxed) {
                self.fill(f32::NAN);
            }
        }
        self
    }
}

impl Deref for Lines {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Fills the vectors of [`unwritten`] with NaN from now on, or no longer.
pub fn poison(on: bool) {
    POISON.store(on, Relaxed);
}

/// Asks the allocator to keep what is freed, for the life of the process, and to take it in large pages: a training
/// step frees what the next one needs again, handing it back to the system costs a page fault per 4 KB, and the rows
/// that a matrix product reads side by side lie in more small pages than the processor remembers. Without effect where
/// the allocator is not glibc's.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_void;
        const TRIM_THRESHOLD: i32 = -1;
        const MMAP_MAX: i32 = -4;
        const HUGE_PAGES: i32 = 14;
        const PAGE: usize = 4096;
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
            fn malloc(size: usize) -> *mut c_void;
            fn free(block: *mut c_void);
            fn madvise(start: *mut c_void, length: usize, advice: i32) -> i32;
        }
        // SAFETY: it takes two numbers, locks the allocator itself, and reports failure by its result, which only
        // means that memory is handed back as before.
        let kept = unsafe { mallopt(TRIM_THRESHOLD, i32::MAX) == 1 && mallopt(MMAP_MAX, 0) == 1 };
        // Room is only addresses until it is written; where so much is refused, less may be granted.
        for size in [34, 33, 32, 31, 30].map(|bits| 1usize << bits) {
            if !kept {
                break;
            }
            // SAFETY: any size may be asked for; null is looked for below.
            let block = unsafe { malloc(size) };
            if block.is_null() {
                continue;
            }
            let start = block.addr().next_multiple_of(PAGE) - block.addr();
            // SAFETY: the range lies within the block, which nobody else uses; the advice changes no contents.
            unsafe { madvise(block.byte_add(start), (size - start) / PAGE * PAGE, HUGE_PAGES) };
            // SAFETY: the block came from `malloc` and is not used again; the allocator keeps its addresses.
            unsafe { free(block) };
            break;
        }
    }
}
