//! The thread that answers others. The loop waits in the kernel for every system call, for many
//! seconds while somebody else holds the RTNL lock; this thread never does.

use std::{
    future::pending,
    io::{self, ErrorKind},
    net::SocketAddr,
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    runtime::Runtime,
    sync::watch,
    time::sleep,
};
use tracing::info;

use crate::{
    control,
    request::{Asker, COMMAND},
    server::{self, Limits},
    state::{Code, Finding, Subject},
};

/// The limits of the control socket: more connections than a node starts pods at once.
const CONTROL: Limits = Limits {
    places: 512,
    share: 128,
    reserve: 16,
    headers: Duration::from_secs(5),
    // Longer than a command.
    exchange: COMMAND.saturating_add(Duration::from_secs(15)),
};
/// The delay before the address of the metrics listener is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Why the metrics listener does not listen, if it does not.
pub type Deaf = watch::Receiver<Option<Finding>>;

/// Listens on the control socket, and for scrapes if the file says where, and starts the thread.
/// A node whose metrics cannot be read yet is managed all the same.
pub fn spawn(
    metrics: Option<SocketAddr>,
    socket: &Path,
    asker: &Asker,
    pins: &Path,
) -> Result<Deaf> {
    let control = control::listen(socket)?;
    let (asker, pins, socket) = (asker.clone(), pins.to_owned(), socket.to_owned());
    let (tell, deaf) = watch::channel(None);
    let (started, start) = mpsc::sync_channel(1);
    // The runtime stays in its thread: it must not be dropped in another one.
    let serve = move || {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        runtime.block_on(async {
            let control = match UnixListener::from_std(control) {
                Ok(control) => control,
                Err(error) => return drop(started.send(Err(error.into()))),
            };
            if let Some(address) = metrics {
                let first = TcpListener::bind(address).await;
                if let Err(error) = &first {
                    tell.send_replace(Some(finding(address, error)));
                }
                tokio::spawn(serve_metrics(address, first, asker.clone(), tell));
            }
            info!("control socket at {}", socket.display());
            let _waits = started.send(Ok(()));
            let (router, busy) = (control::router(asker, pins), control::busy());
            server::serve_within(control, |stream, _| process(stream), CONTROL, router, busy).await;
            pending::<()>().await;
        });
    };
    thread::Builder::new()
        .name("answers".to_owned())
        .spawn(serve)
        .context("start the thread that answers requests")?;
    start.recv().context("the thread that answers requests has ended")??;
    Ok(deaf)
}

fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("start a runtime")
}

/// The process at the other end; `None` where the kernel does not tell.
fn process(stream: &UnixStream) -> Option<i32> {
    stream.peer_cred().ok()?.pid()
}

/// Serves metrics as soon as the address can be used: it may come with a lease, or with `lo`.
async fn serve_metrics(
    address: SocketAddr,
    first: io::Result<TcpListener>,
    asker: Asker,
    tell: watch::Sender<Option<Finding>>,
) {
    let mut attempt = first;
    let listener = loop {
        match attempt {
            Ok(listener) => break listener,
            Err(error) => {
                let finding = Some(finding(address, &error));
                tell.send_if_modified(|told| {
                    let differ = *told != finding;
                    *told = finding;
                    differ
                });
            }
        }
        sleep(RETRY).await;
        attempt = TcpListener::bind(address).await;
    };
    info!("metrics on http://{address}/metrics");
    tell.send_if_modified(|told| told.take().is_some());
    server::serve(listener, asker).await;
}

fn finding(address: SocketAddr, error: &io::Error) -> Finding {
    let remedy = match error.kind() {
        ErrorKind::AddrNotAvailable if address.ip().to_canonical().is_loopback() => {
            "ip link set lo up"
        }
        ErrorKind::AddrNotAvailable => "give the node this address, or name another one",
        ErrorKind::AddrInUse => "end the process that has it (ss -ltnp), or name another one",
        _ => "name another one",
    };
    let text = format!(
        "listen on {address} for metrics (metrics.listen): {error}; tried again every {} s",
        RETRY.as_secs()
    );
    Finding::new(Subject::Node, Code::NotListening, text, remedy)
}
