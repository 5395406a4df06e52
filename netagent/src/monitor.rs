//! `netagent monitor`: prints one line per dropped frame and writes a file for Wireshark.
//!
//! The programs sample the drops and limit their rate (netagent-ebpf/src/drops.rs).

mod capture;
mod event;
mod options;
mod output;
mod pcapng;

use std::{path::Path, time::Duration};

use anyhow::Result;
use netagent_common::sample::{LIMIT, Unsampled};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{interval, sleep},
};

use self::{
    capture::Capture,
    event::Event,
    output::{Output, Reader},
};
use crate::{
    datapath::{
        clock::{boot_time, wall_time},
        pins::Pins,
        samples::Samples,
    },
    output::{Stream, send},
};

pub use self::options::Options;

/// Interval of extending the sampling and of checking that stdout still has a reader.
const PERIOD: Duration = Duration::from_secs(1);
/// Delay before a slow reader of stdout is checked again.
const PATIENCE: Duration = Duration::from_millis(20);
/// Maximum number of samples between two checks for signals.
const BATCH: usize = 256;

/// Runs until a signal arrives, enough frames are shown, or the reader of stdout closes it.
pub async fn run(pins: &Path, options: &Options) -> Result<()> {
    let mut samples = Samples::open(&Pins::new(pins))?;
    let filter = options.filter(&samples)?;
    let capture = options.write.as_deref().map(Capture::create).transpose()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    samples.begin(filter)?;
    let left = options.count.unwrap_or(u64::MAX);
    let mut monitor =
        Monitor { samples, capture, output: Output::new(options.json), left, shown: 0 };
    note(&format!("showing drops, at most {LIMIT} per second and port; Ctrl-C ends it"));
    let mut period = interval(PERIOD);
    let mut state = State::Reading;
    while state != State::Done {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = period.tick() => {
                monitor.samples.extend()?;
                if Output::reader() == Reader::Gone {
                    break;
                }
            }
            ready = monitor.samples.readable(), if state == State::Reading => {
                ready?;
                state = monitor.show()?;
            }
            () = sleep(PATIENCE), if state == State::Behind => state = State::Reading,
        }
    }
    monitor.finish(state)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The reader of stdout has not caught up.
    Behind,
    Done,
}

struct Monitor {
    samples: Samples,
    capture: Option<Capture>,
    output: Output,
    /// How many more frames to show.
    left: u64,
    shown: u64,
}

impl Monitor {
    /// Shows the available samples, at most a batch.
    fn show(&mut self) -> Result<State> {
        // Computed for each batch, because the wall clock may be set.
        let epoch = wall_time() - boot_time();
        for _ in 0..BATCH {
            match Output::reader() {
                Reader::Ready => {}
                Reader::Behind => return Ok(State::Behind),
                Reader::Gone => return Ok(State::Done),
            }
            let Some(sample) = self.samples.take() else {
                self.samples.rest();
                break;
            };
            let event = Event::new(&sample, epoch, self.samples.device(&sample));
            if let Some(capture) = &mut self.capture {
                capture.add(&event)?;
            }
            if !self.output.print(&event)? {
                return Ok(State::Done);
            }
            self.shown += 1;
            self.left -= 1;
            if self.left == 0 {
                return Ok(State::Done);
            }
        }
        Ok(State::Reading)
    }

    /// Stops the sampling, shows the remaining samples and prints the summary.
    fn finish(mut self, mut state: State) -> Result<()> {
        self.samples.end()?;
        let mut rest = 0;
        loop {
            let before = self.shown;
            if state == State::Reading {
                state = self.show()?;
            }
            if state != State::Reading || self.shown == before {
                break;
            }
        }
        while self.samples.take().is_some() {
            rest += 1;
        }
        note(&summary(self.shown, self.samples.unsampled()?, rest));
        Ok(())
    }
}

/// Prints a line to stderr.
fn note(line: &str) {
    send(Stream::Err, format!("{line}\n"));
}

/// The last line: the number of drops shown, and of drops not shown by cause.
fn summary(shown: u64, unsampled: Unsampled, rest: u64) -> String {
    let Unsampled { filtered, limited, lost } = unsampled;
    let above = format!("over the limit of {LIMIT} per second and port");
    let parts = [
        (limited, above.as_str()),
        (filtered, "excluded by the filter"),
        (lost, "lost because the buffer was full"),
        (rest, "unread at the end"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, why)| format!("{count} {why}")).collect();
    let not = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    format!("drops shown: {shown}; not shown: {not}")
}

#[cfg(test)]
mod tests;
