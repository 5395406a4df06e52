//! The parts of every object of programs. The agent has a build-dependency on this library, so that
//! cargo sees changes of the programs.
#![no_std]

/// The licence of an object, and a panic handler: the verifier rejects programs that could reach
/// it.
#[macro_export]
macro_rules! object {
    () => {
        #[cfg(not(test))]
        #[panic_handler]
        fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
            loop {}
        }

        /// Some helpers are available to GPL-compatible programs only.
        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
    };
}
