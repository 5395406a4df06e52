//! Signals: SIGHUP reads the file again, SIGTERM and SIGINT stop the daemon.

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
