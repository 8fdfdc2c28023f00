//! What `std` would have brought: entry, allocator, panic handler. All of it over the C library.
#![expect(unsafe_code, reason = "an entry point, an allocator and abort are C's here")]

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_char, c_int, c_void};
use core::panic::PanicInfo;

unsafe extern "C" {
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn free(pointer: *mut c_void);
    fn abort() -> !;
}

/// The C library's heap.
struct Heap;

// SAFETY: `aligned_alloc` (C11 7.22.3.1) gives memory of the asked size and alignment or null, and `free` takes exactly what
// it gave; neither unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // C11 wants the size to be a multiple of the alignment; a Layout's padded size is one and never overflows.
        let size = layout.pad_to_align().size();
        // SAFETY: the alignment is a power of two (Layout's invariant); any size is allowed.
        unsafe { aligned_alloc(layout.align(), size).cast() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
        // SAFETY: the caller hands back what `alloc` gave, once.
        unsafe { free(pointer.cast()) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

/// Ends the program by SIGABRT: a panic is a failed proof.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: takes nothing and does not return.
    unsafe { abort() }
}

/// `core` and `alloc` come compiled for unwinding and name this symbol; with `panic = "abort"` nothing calls it.
// SAFETY: no other crate in this program defines the symbol: only std would, and that must not be here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the landing pads in the same precompiled crates, and as dead: nothing unwinds here.
// SAFETY: only libgcc would define it, and that is not linked.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: takes nothing and does not return.
    unsafe { abort() }
}

/// Where the C library's start-up code goes.
// SAFETY: the one `main` of a program without Rust's own entry.
#[unsafe(no_mangle)]
extern "C" fn main(_arguments: c_int, _values: *const *const c_char) -> c_int {
    match crate::judge() {
        Ok(()) => 0,
        Err(wrong) => wrong as c_int,
    }
}
