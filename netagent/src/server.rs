//! The HTTP server for metrics, liveness and readiness. The daemon's loop answers every request, so
//! that a loop that hangs is noticed.

mod connection;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::oneshot, time::timeout};

use self::connection::Bounded;
use crate::{
    metrics::{self, Format},
    request::{Request, Sender},
    snapshot::Snapshot,
    state::Severity,
};

/// Time limit for an answer of the loop: less than the usual scrape timeout, more than a
/// reconciliation of many ports.
const PATIENCE: Duration = Duration::from_secs(10);

const LANDING: &str = concat!(
    "<!DOCTYPE html><html lang=\"en\"><head><title>netagent</title></head><body><h1>netagent</h1><p>Version ",
    env!("CARGO_PKG_VERSION"),
    "</p><ul><li><a href=\"/metrics\">/metrics</a></li><li><a href=\"/healthz\">/healthz</a></li>",
    "<li><a href=\"/readyz\">/readyz</a></li></ul></body></html>\n",
);

/// Serves until the task is cancelled.
pub async fn serve(listener: TcpListener, daemon: Sender) -> Result<()> {
    let daemon = Daemon { sender: daemon, patience: PATIENCE };
    axum::serve(Bounded::new(listener), router(daemon)).await.context("serve metrics")
}

fn router(daemon: Daemon) -> Router {
    Router::new()
        .route("/", get(Html(LANDING)))
        .route("/metrics", get(scrape))
        .route("/healthz", get(liveness))
        .route("/readyz", get(readiness))
        .with_state(daemon)
}

/// Sends requests to the daemon's loop.
#[derive(Clone)]
struct Daemon {
    sender: Sender,
    patience: Duration,
}

/// The response if the loop does not answer.
type Unavailable = (StatusCode, &'static str);

impl Daemon {
    /// Returns `None` if the loop took the request but could not read the node. The loop has logged
    /// why.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<Option<T>, Unavailable> {
        let asked = async {
            let (sender, answer) = oneshot::channel();
            self.sender.send(request(sender)).await.ok()?;
            Some(answer.await.ok())
        };
        match timeout(self.patience, asked).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err((StatusCode::SERVICE_UNAVAILABLE, "the agent's loop has ended\n")),
            Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, "the agent's loop does not answer\n")),
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, Unavailable> {
        let unreadable = "the agent could not read the node: see its log\n";
        self.ask(Request::Snapshot).await?.ok_or((StatusCode::SERVICE_UNAVAILABLE, unreadable))
    }
}

async fn scrape(State(daemon): State<Daemon>, headers: HeaderMap) -> Result<Response, Unavailable> {
    let accept: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::negotiate(&accept.join(","));
    let text = metrics::render(daemon.snapshot().await?, format)
        .map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered\n"))?;
    Ok(([(CONTENT_TYPE, format.content_type())], text).into_response())
}

/// Whether the loop runs. A failure to read the node is a matter of readiness: a restart does not
/// fix it.
async fn liveness(State(daemon): State<Daemon>) -> Result<&'static str, Unavailable> {
    match daemon.ask(Request::Ping).await? {
        Some(()) => Ok("ok\n"),
        None => Err((StatusCode::SERVICE_UNAVAILABLE, "the agent's loop has ended\n")),
    }
}

/// The first line says whether the node is ready. The other lines are the findings, worst first.
async fn readiness(State(daemon): State<Daemon>) -> Result<Response, Unavailable> {
    let health = daemon.snapshot().await?.health;
    let findings =
        health.findings.iter().filter(|finding| finding.code.severity() > Severity::Info);
    let lines = findings.map(|finding| {
        format!("{}: {}: {finding}", finding.code.severity().name(), finding.subject)
    });
    let first = if health.is_ready() { "ready" } else { "not ready" };
    let lines: Vec<String> = [first.to_owned()].into_iter().chain(lines).collect();
    let body = lines.join("\n") + "\n";
    Ok(if health.is_ready() {
        body.into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    })
}
