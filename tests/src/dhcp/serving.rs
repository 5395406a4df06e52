//! What the DHCP servers of both families share: their threads, what they are told, and what they
//! have heard.

use std::{
    fmt::Debug,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::lab::wait_for;

/// A server at work. Its threads end with it.
pub struct Serving<B, H> {
    shared: Arc<Shared<B, H>>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// What a server and its threads know.
pub struct Shared<B, H> {
    /// Its behaviour, and the messages of clients.
    state: Mutex<(B, Vec<H>)>,
    stop: AtomicBool,
}

impl<B: Clone + Send + 'static, H: Clone + Debug + Send + 'static> Serving<B, H> {
    /// A server without a thread.
    pub fn new(behaviour: B) -> Self {
        let state = Mutex::new((behaviour, Vec::new()));
        let shared = Shared { state, stop: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), threads: vec![] }
    }

    /// Serves on a socket.
    pub fn spawn(
        &mut self,
        socket: UdpSocket,
        serve: impl FnOnce(&UdpSocket, &Shared<B, H>) + Send + 'static,
    ) {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || serve(&socket, &shared)));
    }

    /// Changes what the server does.
    pub fn set(&self, change: impl FnOnce(&mut B)) {
        change(&mut self.shared.lock().0);
    }

    /// What clients have sent.
    pub fn heard(&self) -> Vec<H> {
        self.shared.lock().1.clone()
    }

    /// Forgets what clients have sent.
    pub fn forget(&self) {
        self.shared.lock().1.clear();
    }

    /// Waits until the server has heard such a message, and returns it.
    pub fn hears(&self, what: &str, is: impl Fn(&H) -> bool) -> H {
        wait_for(what, || {
            let heard = self.heard();
            heard.iter().find(|heard| is(heard)).cloned().ok_or_else(|| format!("{heard:?}"))
        })
    }
}

impl<B, H> Drop for Serving<B, H> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

impl<B: Clone, H> Shared<B, H> {
    fn lock(&self) -> MutexGuard<'_, (B, Vec<H>)> {
        self.state.lock().unwrap()
    }

    /// The next message and its sender; `None`: the server ends.
    pub fn receive<'a>(
        &self,
        socket: &UdpSocket,
        buffer: &'a mut [u8],
    ) -> Option<(&'a [u8], SocketAddr)> {
        while !self.stop.load(Ordering::Relaxed) {
            match socket.recv_from(buffer) {
                Ok((length, client)) => return Some((&buffer[..length], client)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        None
    }

    /// Notes a message, and returns what the server does now.
    pub fn note(&self, heard: H) -> B {
        let mut state = self.lock();
        state.1.push(heard);
        state.0.clone()
    }
}
