//! Signals: SIGHUP reads the file again, SIGTERM and SIGINT stop the daemon. A single apply
//! outlives its terminal.

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// SIGHUP
    Hangup,
    /// SIGTERM or SIGINT
    Stop,
}

/// Signals that would end or stop a single apply between two steps: the terminal is gone, sends
/// Ctrl-Z or Ctrl-\\, or the file of the output has reached its limit.
const OUTLIVED: [i32; 4] = [libc::SIGHUP, libc::SIGTSTP, libc::SIGQUIT, libc::SIGXFSZ];

/// The signals that ask a single apply to stop.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    /// A signal that has a handler does not do what it does by default.
    _outlived: Vec<Signal>,
}

impl Stop {
    /// Handles the signals from now on.
    pub fn open() -> Result<Self> {
        let open = |kind| signal(kind).context("handle signals");
        let outlived = OUTLIVED.iter().map(|number| open(SignalKind::from_raw(*number)));
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
            _outlived: outlived.collect::<Result<_>>()?,
        })
    }

    /// Waits for the next signal, and returns its number.
    pub async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => libc::SIGTERM,
            _ = self.interrupt.recv() => libc::SIGINT,
        }
    }

    /// The next signal, if one has arrived.
    pub fn take(&mut self) -> Option<i32> {
        self.next().now_or_never()
    }
}

/// The signals that the daemon handles.
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Handles the signals from now on.
    pub fn open() -> Result<Self> {
        let open = |kind| signal(kind).context("handle signals");
        Ok(Self {
            hangup: open(SignalKind::hangup())?,
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Arrived {
        tokio::select! {
            _ = self.terminate.recv() => Arrived::Stop,
            _ = self.interrupt.recv() => Arrived::Stop,
            _ = self.hangup.recv() => Arrived::Hangup,
        }
    }

    /// The next signal, if one has arrived.
    pub fn take(&mut self) -> Option<Arrived> {
        self.next().now_or_never()
    }
}
