//! The HTTP server for metrics, liveness and readiness. It runs in another thread than the daemon's
//! loop, and answers while the loop waits in the kernel.

mod exchange;
mod host;
mod places;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    middleware::from_fn,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

pub use self::{
    exchange::{serve_within, whole_body},
    places::Limits,
};
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

/// A scrape of 4,000 ports takes a second; Prometheus waits for ten by default.
const LIMITS: Limits = Limits {
    places: 128,
    share: 16,
    reserve: 16,
    headers: Duration::from_secs(5),
    exchange: Duration::from_secs(15),
};

/// Serves until the task is cancelled.
pub async fn serve(listener: TcpListener, asker: Asker) {
    serve_with(listener, asker, LIMITS).await;
}

async fn serve_with(listener: TcpListener, asker: Asker, limits: Limits) {
    let bound = listener.local_addr().map(|address| address.ip().to_canonical());
    let own_hosts_only = bound.is_ok_and(|address| address.is_loopback());
    let guarded = |router: Router<Asker>| {
        let router = router.layer(from_fn(whole_body)).with_state(asker.clone());
        if own_hosts_only { router.layer(from_fn(host::loopback_only)) } else { router }
    };
    let (router, busy) = (guarded(router()), guarded(busy()));
    serve_within(listener, |_, address| client(*address), limits, router, busy).await;
}

/// The client of a connection: an IPv6 host may have all addresses of its /64 (RFC 4862).
fn client(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

fn router() -> Router<Asker> {
    Router::new()
        .route("/", get(Html(LANDING)))
        .route("/metrics", get(scrape))
        .route("/healthz", get(liveness))
        .route("/readyz", get(readiness))
}

/// What is answered without a place: liveness does not ask the loop.
fn busy() -> Router<Asker> {
    let busy = async || (StatusCode::SERVICE_UNAVAILABLE, "too many connections of this client\n");
    Router::new().route("/healthz", get(liveness)).fallback(busy)
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
