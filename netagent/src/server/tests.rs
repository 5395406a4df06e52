use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::{
    health::Health,
    request::{self, Request, Window},
    snapshot::Activity,
    state::{Code, Finding, Subject},
};

/// The behaviour of the daemon's loop.
enum Loop {
    Gives(Box<Snapshot>),
    CannotRead,
    Hangs,
    Ended,
}

/// Starts a server for a loop with this behaviour.
async fn start(agent_loop: Loop) -> SocketAddr {
    start_with_window(agent_loop).await.0
}

async fn start_with_window(agent_loop: Loop) -> (SocketAddr, Window) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asker, mut requests, window) = request::channel();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(request) = requests.recv().await {
            match (&agent_loop, request) {
                (Loop::Ended, _) => break,
                (Loop::Hangs, request) => kept.push(request),
                (Loop::Gives(snapshot), Request::Snapshot(reply)) => {
                    drop(reply.send(Arc::new((**snapshot).clone())));
                }
                (Loop::Gives(_) | Loop::CannotRead, request) => drop(request),
            }
        }
    });
    tokio::spawn(serve_with(listener, asker.hurried(), SMALL));
    (address, window)
}

const SMALL: Limits = Limits {
    places: 4,
    share: 2,
    reserve: 2,
    headers: Duration::from_millis(400),
    exchange: Duration::from_millis(800),
};

/// Returns the status line, headers and body.
async fn get(address: SocketAddr, path: &'static str, accept: &'static str) -> String {
    get_of(address, "localhost", path, accept).await
}

/// [`get`], with this `Host`.
async fn get_of(
    address: SocketAddr,
    host: &'static str,
    path: &'static str,
    accept: &'static str,
) -> String {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

fn daemon(findings: &[(Code, &str)]) -> Loop {
    let finding = |(code, text): &(Code, &str)| Finding::new(Subject::Node, *code, *text, "");
    let findings = findings.iter().map(finding).collect();
    let health = Health { findings, ..Health::default() };
    let activity = Some(Activity::default());
    Loop::Gives(Box::new(Snapshot { health, activity, ..Snapshot::default() }))
}

#[tokio::test]
async fn metrics_follow_the_accept_header() {
    let address = start(daemon(&[])).await;
    let classic = get(address, "/metrics", "*/*").await;
    assert!(classic.starts_with("HTTP/1.1 200 "), "{classic}");
    assert!(
        classic.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{classic}"
    );
    assert!(classic.contains("\nnetagent_ready 1\n"), "{classic}");
    let openmetrics = get(address, "/metrics", "application/openmetrics-text").await;
    assert!(openmetrics.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(openmetrics.ends_with("# EOF\n"), "{openmetrics}");
}

#[tokio::test]
async fn readiness_lists_findings_and_only_critical_ones_fail_it() {
    let refused = (Code::Refused, "tap8: is a bridge");
    let address =
        start(daemon(&[(Code::SegmentDown, "oob-bo: no member has a link"), refused])).await;
    let answer = get(address, "/readyz", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let body = "\r\n\r\nnot ready\ncritical: node: oob-bo: no member has a link\n\
                error: node: tap8: is a bridge\n";
    assert!(answer.ends_with(body), "{answer}");
    assert!(get(address, "/healthz", "*/*").await.starts_with("HTTP/1.1 200 "));
    let address = start(daemon(&[refused])).await;
    let answer = get(address, "/readyz", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nready\nerror: node: tap8: is a bridge\n"), "{answer}");
    let address = start(daemon(&[])).await;
    assert!(get(address, "/readyz", "*/*").await.ends_with("\r\n\r\nready\n"));
    assert!(get(address, "/", "*/*").await.contains("<a href=\"/metrics\">"));
    assert!(get(address, "/other", "*/*").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn loop_that_does_not_answer_is_alive_for_a_while() {
    let (address, window) = start_with_window(Loop::Hangs).await;
    for (silence, status) in [(0, "200"), (50, "200"), (61, "503")] {
        window.silent_for(Duration::from_secs(silence));
        let answer = get(address, "/healthz", "*/*").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(&format!(" {silence} s")), "{answer}");
    }
    let address = start(Loop::Ended).await;
    // The loop ends with the first request.
    get(address, "/metrics", "*/*").await;
    let answer = get(address, "/healthz", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("has ended"), "{answer}");
}

#[tokio::test]
async fn readers_get_the_published_snapshot_while_the_loop_does_not_answer() {
    let (address, window) = start_with_window(Loop::Hangs).await;
    for path in ["/readyz", "/metrics"] {
        let answer = get(address, path, "*/*").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
    }
    let Loop::Gives(snapshot) = daemon(&[(Code::Refused, "tap8: is a bridge")]) else {
        unreachable!()
    };
    window.publish(Arc::from(snapshot));
    let answer = get(address, "/readyz", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let findings = "ready\nwarning: node: as of 0 s ago: the agent's loop does not answer (it waits \
                    for the kernel, or for a long step)\nerror: node: tap8: is a bridge\n";
    assert!(answer.ends_with(findings), "{answer}");
    let answer = get(address, "/metrics", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let age = answer.lines().find_map(|line| line.strip_prefix("netagent_snapshot_age_seconds "));
    assert!(age.unwrap().parse::<f64>().unwrap() > 0.1, "{answer}");
}

#[tokio::test]
async fn node_that_cannot_be_read_is_alive_and_not_ready() {
    let address = start(Loop::CannotRead).await;
    for (path, status) in [("/healthz", "200"), ("/readyz", "503"), ("/metrics", "503")] {
        let answer = get(address, path, "*/*").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

/// Connects so often, and sends this.
async fn connect(address: SocketAddr, count: usize, bytes: &'static str) -> Vec<TcpStream> {
    let one = move |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    };
    let all = move || (0..count).map(one).collect();
    tokio::task::spawn_blocking(all).await.unwrap()
}

/// How long until the server closes a connection.
async fn closed_after(mut stream: TcpStream) -> Duration {
    let closed = move || {
        let began = std::time::Instant::now();
        let _reset = stream.read_to_end(&mut Vec::new());
        began.elapsed()
    };
    tokio::task::spawn_blocking(closed).await.unwrap()
}

#[tokio::test]
async fn idle_connections_and_half_requests_keep_nobody_away() {
    let address = start(daemon(&[])).await;
    for bytes in ["", "GET /healthz HTTP/1.1\r\nHost:"] {
        let idle = connect(address, 140, bytes).await;
        assert!(get(address, "/readyz", "*/*").await.starts_with("HTTP/1.1 200 "));
        drop(idle);
    }
}

#[tokio::test]
async fn headers_and_bodies_and_answers_have_deadlines() {
    let address = start(daemon(&[])).await;
    let slow = SMALL.headers + Duration::from_millis(300);
    for bytes in ["", "GET /healthz HTTP/1.1\r\nHost:"] {
        let idle = connect(address, 1, bytes).await.pop().unwrap();
        let closed = closed_after(idle).await;
        assert!(closed < slow, "{bytes:?}: {closed:?}");
    }
    // Some bytes from time to time are no progress.
    let mut trickle = connect(address, 1, "GET /healthz HTTP/1.1\r\n").await.pop().unwrap();
    let closed = move || {
        let began = std::time::Instant::now();
        while trickle.write_all(b"A: b\r\n").is_ok() && began.elapsed() < Duration::from_secs(9) {
            std::thread::sleep(Duration::from_millis(50));
        }
        began.elapsed()
    };
    let closed = tokio::task::spawn_blocking(closed).await.unwrap();
    assert!(closed < slow, "{closed:?}");
    let body = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
    let half = connect(address, 1, body).await.pop().unwrap();
    let closed = closed_after(half).await;
    assert!(closed < SMALL.exchange + Duration::from_millis(500), "{closed:?}");
}

#[tokio::test]
async fn liveness_is_answered_without_a_place() {
    let address = start(Loop::Hangs).await;
    let asks = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
    let _busy = connect(address, SMALL.share, asks).await;
    // They have asked: the server has read their headers.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = get(address, "/readyz", "*/*").await;
    assert!(answer.contains("too many connections of this client"), "{answer}");
    let _idle = connect(address, 9, "").await;
    let answer = get(address, "/healthz", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_loopback_listener_answers_to_its_own_names_only() {
    let address = start(daemon(&[])).await;
    for path in ["/metrics", "/healthz", "/other"] {
        let answer = get_of(address, "rebound.example:9469", path, "*/*").await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{path}: {answer}");
        let answer = get_of(address, "127.0.0.1:9469", path, "*/*").await;
        assert!(!answer.starts_with("HTTP/1.1 421 "), "{path}: {answer}");
    }
    let answer = get_of(address, "localhost", "http://rebound.example/metrics", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}
