//! `netagent monitor`: dropped frames as they are dropped, one line each, and in a file for Wireshark.
//!
//! The programs sample and limit (netagent-ebpf/src/drops.rs); here they are named, printed and written.

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
use crate::datapath::{
    clock::{boot_time, wall_time},
    pins::Pins,
    samples::Samples,
};

pub use self::options::Options;

/// How often the programs are asked to go on, and a pipe for its reader.
const PERIOD: Duration = Duration::from_secs(1);
/// How soon a reader that is behind is looked at again.
const PATIENCE: Duration = Duration::from_millis(20);
/// Samples in one go; between them signals are heard.
const BATCH: usize = 256;

/// Runs until a signal, enough frames, or a reader that has gone.
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
    eprintln!("showing drops, at most {LIMIT} per second and port; Ctrl-C ends it");
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
    /// Whoever reads the lines is.
    Behind,
    Done,
}

struct Monitor {
    samples: Samples,
    capture: Option<Capture>,
    output: Output,
    /// How many more to show.
    left: u64,
    shown: u64,
}

impl Monitor {
    /// Shows what there is, up to a batch.
    fn show(&mut self) -> Result<State> {
        // Anew each time: the wall clock may be set.
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

    /// Ends the sampling, shows what was sampled until then, and says what was not shown.
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
        eprintln!("{}", summary(self.shown, self.samples.unsampled()?, rest));
        Ok(())
    }
}

/// The last line.
fn summary(shown: u64, unsampled: Unsampled, rest: u64) -> String {
    let Unsampled { filtered, limited, lost } = unsampled;
    let above = format!("above {LIMIT} per second and port");
    let parts = [
        (limited, above.as_str()),
        (filtered, "not asked for"),
        (lost, "lost as the buffer was full"),
        (rest, "left when it ended"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, why)| format!("{count} {why}")).collect();
    let not = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    format!("drops shown: {shown}; not shown: {not}")
}

#[cfg(test)]
mod tests;
