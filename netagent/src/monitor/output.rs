//! Lines on stdout, which may be a pipe with a slow reader or a closed one.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::event::Event;

/// State of the reader of stdout. It is checked before each line: a blocking write would delay
/// signals, and a closed pipe should be noticed before the next drop, which may never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Accepts a line without blocking (poll reports a pipe as writable only with a free page).
    Ready,
    /// Has not read the previous lines.
    Behind,
    /// Has closed the pipe.
    Gone,
}

/// Writes frames to stdout.
pub struct Output {
    json: bool,
}

impl Output {
    /// Writes text or JSON.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a frame and flushes; false if the reader has closed the pipe.
    pub fn print(&self, event: &Event) -> Result<bool> {
        let line = if self.json { event.json() } else { event.line() };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            result => result.context("print").map(|()| true),
        }
    }

    /// State of the reader of a pipe. Any other output is always ready.
    pub fn reader() -> Reader {
        let mut stdout =
            libc::pollfd { fd: libc::STDOUT_FILENO, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one element, which outlives the call.
        unsafe { libc::poll(&raw mut stdout, 1, 0) };
        match stdout.revents {
            events if events & libc::POLLERR != 0 => Reader::Gone,
            events if events & libc::POLLOUT != 0 => Reader::Ready,
            _ => Reader::Behind,
        }
    }
}
