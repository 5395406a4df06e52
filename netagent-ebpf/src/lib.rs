//! What every object of programs needs. Exists also so that the agent can have a build-dependency on this crate, and cargo
//! sees its changes.
#![no_std]

/// The licence of an object, and what a panic is there: nothing that the verifier lets happen.
#[macro_export]
macro_rules! object {
    () => {
        #[cfg(not(test))]
        #[panic_handler]
        fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
            loop {}
        }

        /// The helpers for packets and maps are for GPL-compatible programs.
        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
    };
}
