//! The log of the programs (aya-log).
//!
//! The level is frozen when a program is loaded. Level 0 is the default: the verifier removes the
//! code, and the ring buffer stays empty. The programs outlive the agent, so that their level is
//! part of the name of their pin directory: an agent with another level loads them again and
//! replaces them in place.

use anyhow::{Context as _, Result};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tokio::io::{Interest, unix::AsyncFd};
use tracing::{Level, debug, enabled, error, info, trace, warn};

use super::{maps, pins::Pins, programs};

/// Bytes of the ring buffer, which exists also while the level is 0.
pub const RING_BYTES: u32 = 16 * 1024;
/// Target of the programs' messages in the agent's log.
const TARGET: &str = "netagent_ebpf";
/// Highest level.
pub const TRACE: u8 = 5;

/// Writes records to the agent's log. The `log` crate's global logger would do the same for every
/// crate: netlink's trace messages, which are bytes as decimal numbers, would come with it.
struct ToTracing;

impl Log for ToTracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args();
        match record.level() {
            log::Level::Error => error!(target: TARGET, "{text}"),
            log::Level::Warn => warn!(target: TARGET, "{text}"),
            log::Level::Info => info!(target: TARGET, "{text}"),
            log::Level::Debug => debug!(target: TARGET, "{text}"),
            log::Level::Trace => trace!(target: TARGET, "{text}"),
        }
    }

    fn flush(&self) {}
}

/// The level at which the programs should log: that of the agent's own log if it is debug or trace,
/// otherwise 0.
pub fn level() -> u8 {
    if enabled!(target: TARGET, Level::TRACE) {
        TRACE
    } else if enabled!(target: TARGET, Level::DEBUG) {
        TRACE - 1
    } else {
        0
    }
}

/// Starts a task that writes the programs' log to the agent's. `EbpfLogger::init_from_id` would
/// need CAP_SYS_ADMIN to find the map; loading the object finds it by its pin.
pub fn spawn(pins: &Pins) -> Result<()> {
    pins.create()?;
    maps::check(pins)?;
    let mut object = programs::open_object(pins, 0, 0)?;
    let logger = EbpfLogger::init_with_logger(&mut object, ToTracing);
    let logger = logger.context("open the programs' log")?;
    // SAFETY: the descriptor is the map's, which the logger owns and keeps.
    let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
    let mut logger =
        logger.map_err(|error| error.into_parts().1).context("wait for the programs' log")?;
    tokio::spawn(async move {
        loop {
            match logger.readable_mut().await {
                Ok(mut ready) => {
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
                Err(error) => {
                    warn!("wait for the programs' log: {error}");
                    return;
                }
            }
        }
    });
    Ok(())
}
