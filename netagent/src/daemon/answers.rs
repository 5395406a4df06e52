//! The thread that answers others. The loop waits in the kernel for every system call, for many
//! seconds while somebody else holds the RTNL lock; this thread never does.

use std::{
    future::pending,
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
};

use anyhow::{Context as _, Result};
use tracing::{error, info};

use crate::{control, request::Asker, server};

/// Listens for scrapes, if the file says where, and on the control socket, and starts the thread.
pub fn spawn(metrics: Option<SocketAddr>, socket: &Path, asker: &Asker, pins: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let guard = runtime.enter();
    if let Some(address) = metrics {
        let listen = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        let listener = listen()
            .with_context(|| format!("listen on {address} for metrics (metrics.listen)"))?;
        info!("metrics on http://{address}/metrics");
        runtime.spawn(logged(server::serve(listener, asker.clone())));
    }
    let listener = control::listen(socket)?;
    info!("control socket at {}", socket.display());
    runtime.spawn(logged(control::serve(listener, asker.clone(), pins.to_owned())));
    drop(guard);
    thread::Builder::new()
        .name("answers".to_owned())
        .spawn(move || runtime.block_on(pending::<()>()))
        .context("start the thread that answers requests")?;
    Ok(())
}

async fn logged(server: impl Future<Output = Result<()>>) {
    if let Err(error) = server.await {
        error!("{error:#}");
    }
}
