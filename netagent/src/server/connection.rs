//! Bounded connections, so that clients cannot exhaust the agent's file descriptors: the number of
//! connections is limited, and idle connections are closed.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Maximum number of connections, and so of concurrent requests: HTTP/1 has one request at a time
/// on a connection. Further connections wait to be accepted.
const MAX_CONNECTIONS: usize = 128;

/// Maximum time without progress on a connection. Longer than the time limit of an answer.
const MAX_IDLE: Duration = Duration::from_secs(12);

/// A listener with limits.
pub struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    max_idle: Duration,
}

impl Bounded {
    /// Limits a listener.
    pub fn new(listener: TcpListener) -> Self {
        Self::with(listener, MAX_CONNECTIONS, MAX_IDLE)
    }

    pub(super) fn with(listener: TcpListener, connections: usize, max_idle: Duration) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(connections)), max_idle }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The permit comes first, so that waiting connections use no file descriptor. Acquiring
        // fails only if the semaphore is closed, which never happens.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let idle = Box::pin(sleep(self.max_idle));
        (Connection { stream, idle, max_idle: self.max_idle, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that is closed when idle.
pub struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    max_idle: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Resets the idle timer on progress; fails when the timer expires.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.max_idle);
            return result;
        }
        self.idle.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(context, result)
    }
}

impl AsyncWrite for Connection {
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
