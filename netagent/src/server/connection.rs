//! Connections that cannot take the agent's file descriptors away: at most so many at once, and none that idles.

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

/// Most connections at once, and so most requests: HTTP/1 has one at a time on each. More wait to be accepted.
const MAX_CONNECTIONS: usize = 128;

/// How long a peer may neither send nor take anything. Longer than the agent may take to answer.
const MAX_IDLE: Duration = Duration::from_secs(12);

/// A listener with bounds.
pub struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    max_idle: Duration,
}

impl Bounded {
    /// Bounds a listener.
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
        // Before accepting, so that those who wait cost no file descriptor. An error means that the semaphore was
        // closed, which nobody does.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let idle = Box::pin(sleep(self.max_idle));
        (Connection { stream, idle, max_idle: self.max_idle, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it idles.
pub struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    max_idle: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Starts the time anew when something moved; fails when nothing has for too long.
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
