//! Output that cannot stop the work. A thread of its own writes to stdout and stderr: a reader that
//! is slow (a terminal at the other end of a lost connection) blocks only this thread, and a write
//! that fails (a full disk, a closed pipe) fails only the line.

use std::{
    io::{self, Write},
    sync::{
        OnceLock,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

/// Texts that can wait to be written. Texts beyond it are dropped, so that a log that nobody reads
/// does not fill the memory.
const QUEUE: usize = 65_536;

/// The way to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// stdout
    Out,
    /// stderr
    Err,
}

enum Message {
    Text(Stream, Vec<u8>),
    /// Called when everything before is written, with the first error of stdout since the last
    /// call.
    Flush(Box<dyn FnOnce(io::Result<()>) + Send>),
}

/// The queue of the thread; `None` if the system has no room for a thread.
fn queue() -> Option<&'static SyncSender<Message>> {
    static THREAD: OnceLock<Option<SyncSender<Message>>> = OnceLock::new();
    let start = || {
        let (sender, receiver) = sync_channel(QUEUE);
        let work = move || serve(&receiver, &mut io::stdout(), &mut io::stderr());
        thread::Builder::new().name("output".to_owned()).spawn(work).ok()?;
        Some(sender)
    };
    THREAD.get_or_init(start).as_ref()
}

/// Writes what arrives, in its order. A reader that has seen enough (`| head`) is not an error.
fn serve(messages: &Receiver<Message>, out: &mut impl Write, err: &mut impl Write) {
    let mut failed = None;
    for message in messages {
        match message {
            Message::Text(Stream::Out, text) => {
                let result = out.write_all(&text).and_then(|()| out.flush());
                let error = result.err().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
                failed = failed.or(error);
            }
            Message::Text(Stream::Err, text) => drop(err.write_all(&text)),
            Message::Flush(done) => done(failed.take().map_or(Ok(()), Err)),
        }
    }
}

/// Queues a text. Never blocks, and never fails.
pub fn send(stream: Stream, text: impl Into<Vec<u8>>) {
    let Some(queue) = queue() else { return };
    match queue.try_send(Message::Text(stream, text.into())) {
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
    }
}

/// Waits until everything is written. An error is that of stdout; it may be of any text since the
/// last call.
pub fn flush() -> io::Result<()> {
    let (sender, receiver) = sync_channel(1);
    let done = Message::Flush(Box::new(move |result| drop(sender.send(result))));
    if let Some(queue) = queue() {
        let _ended = queue.send(done);
    }
    receiver.recv().unwrap_or(Ok(()))
}

/// Waits until everything is written, but not long: for the end of the process.
pub fn flush_briefly() {
    let (sender, receiver) = sync_channel(1);
    request(move |result| drop(sender.send(result)));
    let _late = receiver.recv_timeout(Duration::from_secs(1));
}

/// Waits until everything is written. Cancelling it loses nothing but the error.
pub async fn flushed() -> io::Result<()> {
    let (sender, receiver) = oneshot::channel();
    request(move |result| drop(sender.send(result)));
    receiver.await.unwrap_or(Ok(()))
}

fn request(done: impl FnOnce(io::Result<()>) + Send + 'static) {
    if let Some(queue) = queue() {
        // Without room nothing is being read; dropping `done` ends the wait.
        let _full = queue.try_send(Message::Flush(Box::new(done)));
    }
}

/// A writer for the log: each write is one record.
pub struct Log;

impl Write for Log {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        send(Stream::Err, record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// A stream that fails as a full disk does, after some bytes.
    struct Full(usize, Vec<u8>);

    impl Write for Full {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let room = text.len().min(self.0);
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= room;
            self.1.extend_from_slice(&text[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_that_fails_stops_no_other_and_is_reported_once() {
        let (sender, receiver) = sync_channel(16);
        let (results, answers) = channel();
        let flush = || {
            let results = results.clone();
            Message::Flush(Box::new(move |result: io::Result<()>| {
                results.send(result.map_err(|error| error.kind())).unwrap();
            }))
        };
        let out = |text: &str| Message::Text(Stream::Out, text.into());
        let err = |text: &str| Message::Text(Stream::Err, text.into());
        for message in [out("abc"), err("x"), out("def"), err("y"), flush(), flush()] {
            sender.send(message).unwrap();
        }
        drop(sender);
        let (mut stdout, mut stderr) = (Full(4, Vec::new()), Full(usize::MAX, Vec::new()));
        serve(&receiver, &mut stdout, &mut stderr);
        assert_eq!((stdout.1.as_slice(), stderr.1.as_slice()), (&b"abcd"[..], &b"xy"[..]));
        assert_eq!(answers.try_recv(), Ok(Err(io::ErrorKind::StorageFull)));
        assert_eq!(answers.try_recv(), Ok(Ok(())));
    }
}
