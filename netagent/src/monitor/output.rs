//! Lines on stdout, which may be a pipe whose reader is slow, or gone.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::event::Event;

/// What became of the reader. Asked before each line: a write that waits would hear no signal, and one who has gone is
/// noticed before the next drop, which may never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Takes a line at once (a pipe that can be written to takes a page).
    Ready,
    /// Has not read what it has.
    Behind,
    /// Has closed the pipe.
    Gone,
}

/// Where lines go.
pub struct Output {
    json: bool,
}

impl Output {
    /// Text or JSON.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a frame, at once; false if nobody reads any more.
    pub fn print(&self, event: &Event) -> Result<bool> {
        let line = if self.json { event.json() } else { event.line() };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            result => result.context("print").map(|()| true),
        }
    }

    /// What the reader of a pipe is at; any other output is always ready.
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
