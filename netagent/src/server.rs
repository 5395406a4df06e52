//! The HTTP side: metrics, and whether the daemon lives and the node is as configured. Every answer comes from a
//! snapshot that the agent's loop makes when asked, so that a loop that hangs shows.

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
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

use self::connection::Bounded;
use crate::{
    metrics::{self, Format},
    snapshot::Snapshot,
};

/// Where snapshots are asked for: the agent's loop answers on the channel that it is sent.
pub type SnapshotSender = mpsc::Sender<oneshot::Sender<Snapshot>>;

/// How long the loop may take: less than the scrape timeout of most, more than a reconciliation of many ports.
const PATIENCE: Duration = Duration::from_secs(10);

const LANDING: &str = concat!(
    "<!DOCTYPE html><html lang=\"en\"><head><title>netagent</title></head><body><h1>netagent</h1><p>Version ",
    env!("CARGO_PKG_VERSION"),
    "</p><ul><li><a href=\"/metrics\">/metrics</a></li><li><a href=\"/healthz\">/healthz</a></li>",
    "<li><a href=\"/readyz\">/readyz</a></li></ul></body></html>\n",
);

/// Serves until the task is cancelled.
pub async fn serve(listener: TcpListener, snapshots: SnapshotSender) -> Result<()> {
    let agent = Agent { snapshots, patience: PATIENCE };
    axum::serve(Bounded::new(listener), router(agent)).await.context("serve metrics")
}

fn router(agent: Agent) -> Router {
    Router::new()
        .route("/", get(Html(LANDING)))
        .route("/metrics", get(scrape))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .with_state(agent)
}

/// The agent's loop, as seen from here.
#[derive(Clone)]
struct Agent {
    snapshots: SnapshotSender,
    patience: Duration,
}

/// What a request gets when there is no snapshot.
type Unavailable = (StatusCode, &'static str);

impl Agent {
    /// `None`: the loop answers, but could not read the node; it has logged why.
    async fn ask(&self) -> Result<Option<Snapshot>, Unavailable> {
        let asked = async {
            let (sender, answer) = oneshot::channel();
            self.snapshots.send(sender).await.ok()?;
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
        self.ask().await?.ok_or((StatusCode::SERVICE_UNAVAILABLE, unreadable))
    }
}

async fn scrape(State(agent): State<Agent>, headers: HeaderMap) -> Result<Response, Unavailable> {
    let accept: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::negotiate(&accept.join(","));
    let text = metrics::render(agent.snapshot().await?, format)
        .map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered\n"))?;
    Ok(([(CONTENT_TYPE, format.content_type())], text).into_response())
}

/// Not whether the node could be read: that is readiness, and no restart mends it.
async fn health(State(agent): State<Agent>) -> Result<&'static str, Unavailable> {
    agent.ask().await.map(|_| "ok\n")
}

async fn readiness(State(agent): State<Agent>) -> Result<Response, Unavailable> {
    let reasons = match agent.snapshot().await?.daemon {
        Some(daemon) => daemon.not_ready,
        None => vec!["no daemon".to_owned()],
    };
    Ok(if reasons.is_empty() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
    })
}
