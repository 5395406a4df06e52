//! A client at work.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::timeout,
};

use crate::dhcp::{Interface, Notice};

/// How long the removal of an address waits until its server knows of it.
const RELEASE_TIME: Duration = Duration::from_secs(2);

/// A client at work. It ends when it is dropped.
pub struct Client {
    /// The interface.
    pub interface: Interface,
    /// Whether the interface has a carrier.
    pub carrier: bool,
    /// The channel to it.
    pub notices: mpsc::Sender<Notice>,
    /// `None`: it ends by itself.
    pub task: Option<AbortHandle>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Client {
    /// Lets the client release its lease, and waits until the server has been told, for a limited
    /// time.
    pub async fn release(mut self) {
        let (done, told) = oneshot::channel();
        self.task = None;
        if self.notices.try_send(Notice::Release(done)).is_ok() {
            // A client that cannot tell the server does not delay the removal of the address.
            let _told = timeout(RELEASE_TIME, told).await;
        }
    }
}
