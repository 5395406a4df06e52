//! The thread that answers others. The loop waits in the kernel for every system call, for many
//! seconds while somebody else holds the RTNL lock; this thread never does.

use std::{
    future::pending,
    io,
    net::{self, SocketAddr},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Runtime,
};
use tracing::{error, info};

use crate::{
    control,
    request::{Asker, COMMAND},
    server::{self, Bounded},
};

/// Connections to the control socket: more than a node starts pods at once.
const CONNECTIONS: usize = 512;
/// How much longer than a command a connection may be without progress.
const MARGIN: Duration = Duration::from_secs(5);

/// Listens for scrapes, if the file says where, and on the control socket, and starts the thread.
pub fn spawn(metrics: Option<SocketAddr>, socket: &Path, asker: &Asker, pins: &Path) -> Result<()> {
    let metrics = metrics.map(|address| Ok::<_, anyhow::Error>((address, listen(address)?)));
    let metrics = metrics.transpose()?;
    let control = control::listen(socket)?;
    let (asker, pins, socket) = (asker.clone(), pins.to_owned(), socket.to_owned());
    let (started, start) = mpsc::sync_channel(1);
    // The runtime stays in its thread: it must not be dropped in another one.
    let serve = move || {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        runtime.block_on(async {
            let listeners = || {
                let metrics = metrics.map(|(address, listener)| {
                    Ok::<_, anyhow::Error>((address, TcpListener::from_std(listener)?))
                });
                Ok((metrics.transpose()?, UnixListener::from_std(control)?))
            };
            let (metrics, control) = match listeners() {
                Ok(listeners) => listeners,
                Err(error) => return drop(started.send(Err(error))),
            };
            if let Some((address, listener)) = metrics {
                info!("metrics on http://{address}/metrics");
                tokio::spawn(logged(server::serve(listener, asker.clone())));
            }
            info!("control socket at {}", socket.display());
            let _waits = started.send(Ok(()));
            let control = Bounded::new(control, CONNECTIONS, COMMAND + MARGIN);
            logged(control::serve(control, asker, pins)).await;
            pending::<()>().await;
        });
    };
    thread::Builder::new()
        .name("answers".to_owned())
        .spawn(serve)
        .context("start the thread that answers requests")?;
    start.recv().context("the thread that answers requests has ended")?
}

fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("start a runtime")
}

fn listen(address: SocketAddr) -> Result<net::TcpListener> {
    let listen = || {
        let listener = net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, io::Error>(listener)
    };
    listen().with_context(|| format!("listen on {address} for metrics (metrics.listen)"))
}

async fn logged(server: impl Future<Output = Result<()>>) {
    if let Err(error) = server.await {
        error!("{error:#}");
    }
}
