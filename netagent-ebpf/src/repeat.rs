//! Loops, by `bpf_loop`. The verifier follows a function that is called again and again, but
//! without CAP_PERFMON it gives up on many a loop of the compiler: it follows each branch as if the
//! CPU took the wrong one (Spectre v1), also the one that ends the loop.

use core::{ffi::c_void, ops::ControlFlow};

use aya_ebpf::helpers::generated::bpf_loop;

/// The body of a loop.
pub trait Body {
    /// Does it for this number, from 0.
    fn step(&mut self, number: u64) -> ControlFlow<()>;
}

/// Does the body at most so many times, until it breaks.
#[inline(always)]
pub fn repeat<B: Body>(most: u32, mut body: B) {
    const { assert!(size_of::<B>().is_multiple_of(size_of::<u64>()), "whole words") };
    // SAFETY: the callback gets what belongs to it, and is called before this returns.
    unsafe { bpf_loop(most, step::<B> as *mut c_void, (&raw mut body).cast(), 0) };
    let words = (&raw mut body).cast::<u64>();
    for word in 0..size_of::<B>() / size_of::<u64>() {
        // The compiler uses the stack again, and the verifier refuses to overwrite a pointer but as
        // a whole.
        // SAFETY: one of the words, which nobody uses any more.
        unsafe { words.add(word).write_volatile(0) };
    }
}

/// `bpf_loop` ends when it returns 1.
unsafe extern "C" fn step<B: Body>(number: u64, body: *mut B) -> i64 {
    // SAFETY: the body that `repeat` gave to `bpf_loop`.
    i64::from(unsafe { &mut *body }.step(number).is_break())
}
