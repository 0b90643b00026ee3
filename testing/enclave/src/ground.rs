//! What stands under the core here in an operating system's place: an allocator over one block of
//! memory, and an end for a program that has panicked.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Enough for the whole of `main`, nothing of which is given back.
const ARENA_BYTES: usize = 16 * 1024 * 1024;

#[repr(C, align(64))]
struct Arena {
    block: UnsafeCell<[u8; ARENA_BYTES]>,
    taken: AtomicUsize,
}

/// SAFETY: a byte of `block` is handed out once only, by whoever moved `taken` over it.
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena {
    block: UnsafeCell::new([0; ARENA_BYTES]),
    taken: AtomicUsize::new(0),
};

/// SAFETY: what `alloc` returns lies within the static block, is aligned as asked, and overlaps nothing
/// that was returned before; `dealloc` gives nothing back.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.block.get().cast::<u8>();
        let place = |taken: usize| {
            let begins = taken.checked_next_multiple_of(layout.align())?;
            let ends = begins.checked_add(layout.size())?;
            (layout.align() <= 64 && ends <= ARENA_BYTES).then_some((begins, ends))
        };
        let took = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                place(taken).map(|(_, ends)| ends)
            });
        match took.ok().and_then(place) {
            // SAFETY: `begins` is below the block's length.
            Some((begins, _)) => unsafe { base.add(begins) },
            None => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// The standard library has a panic handler too, and a program holds one only: with `std` anywhere
/// below, this one does not compile.
#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    end()
}

#[cfg(target_arch = "wasm32")]
fn end() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_arch = "wasm32"))]
fn end() -> ! {
    unsafe extern "C" {
        safe fn abort() -> !;
    }
    abort()
}

/// The `alloc` that comes with the compiler names the hook of an unwinder. Nothing here unwinds.
#[cfg(not(target_arch = "wasm32"))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
