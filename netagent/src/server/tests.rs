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
    let bounded = Bounded::new(listener, 2, Duration::from_secs(60));
    let router = router(asker.hurried());
    tokio::spawn(async move { axum::serve(bounded, router).await });
    (address, window)
}

/// Returns the status line, headers and body.
async fn get(address: SocketAddr, path: &'static str, accept: &'static str) -> String {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
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

#[tokio::test]
async fn half_requests_keep_nobody_away() {
    let address = start(daemon(&[])).await;
    let half = move |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
        stream
    };
    let connect = move || (0..140).map(half).collect::<Vec<TcpStream>>();
    let halves = tokio::task::spawn_blocking(connect).await.unwrap();
    assert!(get(address, "/readyz", "*/*").await.starts_with("HTTP/1.1 200 "));
    drop(halves);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bounded = Bounded::new(listener, 2, Duration::from_millis(100));
    tokio::spawn(async move { axum::serve(bounded, Router::new()).await });
    let closed = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
        stream.read(&mut [0; 100])
    };
    let closed = tokio::task::spawn_blocking(closed).await.unwrap();
    assert!(!matches!(closed, Ok(read) if read > 0), "{closed:?}");
}

#[tokio::test]
async fn idle_connections_are_closed_for_new_ones() {
    let address = start(daemon(&[])).await;
    let idle: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert!(get(address, "/healthz", "*/*").await.starts_with("HTTP/1.1 200 "));
    drop(idle);
}
