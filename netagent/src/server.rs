//! The HTTP server for metrics, liveness and readiness. It runs in another thread than the daemon's
//! loop, and answers while the loop waits in the kernel.

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
use tokio::net::TcpListener;

pub use self::connection::Bounded;
use crate::{
    metrics::{self, Format},
    request::{Asker, LIFE, Unanswered},
    snapshot::Snapshot,
    state::Severity,
};

const LANDING: &str = concat!(
    "<!DOCTYPE html><html lang=\"en\"><head><title>netagent</title></head><body><h1>netagent</h1><p>Version ",
    env!("CARGO_PKG_VERSION"),
    "</p><ul><li><a href=\"/metrics\">/metrics</a></li><li><a href=\"/healthz\">/healthz</a></li>",
    "<li><a href=\"/readyz\">/readyz</a></li></ul></body></html>\n",
);

/// Maximum number of connections.
const MAX_CONNECTIONS: usize = 128;
/// Maximum time without progress on a connection.
const MAX_IDLE: Duration = Duration::from_secs(12);

/// Serves until the task is cancelled.
pub async fn serve(listener: TcpListener, asker: Asker) -> Result<()> {
    let listener = Bounded::new(listener, MAX_CONNECTIONS, MAX_IDLE);
    axum::serve(listener, router(asker)).await.context("serve metrics")
}

fn router(asker: Asker) -> Router {
    Router::new()
        .route("/", get(Html(LANDING)))
        .route("/metrics", get(scrape))
        .route("/healthz", get(liveness))
        .route("/readyz", get(readiness))
        .with_state(asker)
}

/// What a request gets when there is no answer.
type Unavailable = (StatusCode, &'static str);

async fn snapshot(asker: &Asker) -> Result<Snapshot, Unavailable> {
    asker.snapshot().await.map_err(unavailable)
}

const fn unavailable(unanswered: Unanswered) -> Unavailable {
    let text = match unanswered {
        Unanswered::Failed => "the agent could not read the node: see its log\n",
        Unanswered::Ended => "the agent's loop has ended\n",
        Unanswered::Late => "the agent's loop does not answer\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn scrape(State(asker): State<Asker>, headers: HeaderMap) -> Result<Response, Unavailable> {
    let accept: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::negotiate(&accept.join(","));
    let text = metrics::render(snapshot(&asker).await?, format)
        .map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered\n"))?;
    Ok(([(CONTENT_TYPE, format.content_type())], text).into_response())
}

/// Whether the loop runs. A failure to read the node is a matter of readiness: a restart does not
/// fix it. Nor does a restart fix a kernel that keeps the loop waiting, so a wait has a long limit.
async fn liveness(State(asker): State<Asker>) -> (StatusCode, String) {
    let limit = LIFE.as_secs();
    match asker.silence() {
        None => (StatusCode::SERVICE_UNAVAILABLE, "the agent's loop has ended\n".to_owned()),
        Some(silence) if silence >= LIFE => {
            let text = format!(
                "no sign of life of the agent's loop for {} s (limit {limit} s)\n",
                silence.as_secs()
            );
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
        Some(silence) => {
            (StatusCode::OK, format!("ok\nlast sign of life {} s ago\n", silence.as_secs()))
        }
    }
}

/// The first line says whether the node is ready. The other lines are the findings, worst first.
async fn readiness(State(asker): State<Asker>) -> Result<Response, Unavailable> {
    let health = snapshot(&asker).await?.health;
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
