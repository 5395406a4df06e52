//! Bounded connections, so that clients cannot exhaust the agent's file descriptors, and cannot
//! keep others away: idle connections are closed, and where there are too many, the oldest one.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};

/// A listener with limits.
pub struct Bounded<L> {
    listener: L,
    /// Maximum number of connections, and so of concurrent requests: HTTP/1 has one request at a
    /// time on a connection.
    most: usize,
    /// Maximum time without progress on a connection. Longer than the time limit of an answer.
    max_idle: Duration,
    /// The open connections, the oldest first: dropping the sender closes it.
    open: VecDeque<oneshot::Sender<()>>,
}

impl<L> Bounded<L> {
    /// Limits a listener.
    pub const fn new(listener: L, most: usize, max_idle: Duration) -> Self {
        Self { listener, most, max_idle, open: VecDeque::new() }
    }
}

impl<L: Listener<Io: Unpin>> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.listener.accept().await;
        self.open.retain(|connection| !connection.is_closed());
        if self.open.len() >= self.most {
            self.open.pop_front();
        }
        let (keep, kept) = oneshot::channel();
        self.open.push_back(keep);
        let idle = Box::pin(sleep(self.max_idle));
        (Connection { stream, idle, max_idle: self.max_idle, kept }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that is closed when it is idle, or when there are too many.
pub struct Connection<S> {
    stream: S,
    idle: Pin<Box<Sleep>>,
    max_idle: Duration,
    kept: oneshot::Receiver<()>,
}

impl<S> Connection<S> {
    /// Resets the idle timer on progress; fails when the timer expires, or without a place.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.max_idle);
            return result;
        }
        if Pin::new(&mut self.kept).poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.idle.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(context, result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
