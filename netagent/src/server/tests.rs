use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use super::*;
use crate::snapshot::Daemon;

/// What the loop does with requests.
enum Loop {
    Gives(Box<Snapshot>),
    CannotRead,
    Hangs,
    Ended,
}

/// Serves what such a loop answers.
async fn start(agent_loop: Loop) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (snapshots, mut requests) = mpsc::channel::<oneshot::Sender<Snapshot>>(1);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(request) = requests.recv().await {
            match &agent_loop {
                Loop::Gives(snapshot) => drop(request.send((**snapshot).clone())),
                Loop::CannotRead => drop(request),
                Loop::Hangs => kept.push(request),
                Loop::Ended => break,
            }
        }
    });
    let bounded = Bounded::with(listener, 2, Duration::from_millis(500));
    let agent = Agent { snapshots, patience: Duration::from_millis(100) };
    tokio::spawn(async move { axum::serve(bounded, router(agent)).await });
    address
}

/// Status line, headers and body.
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

fn daemon(not_ready: &[&str]) -> Loop {
    let not_ready = not_ready.iter().map(ToString::to_string).collect();
    let daemon = Some(Daemon { not_ready, ..Daemon::default() });
    Loop::Gives(Box::new(Snapshot { daemon, ..Snapshot::default() }))
}

#[tokio::test]
async fn metrics_come_in_the_format_that_was_asked_for() {
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
async fn readiness_gives_the_reasons() {
    let address = start(daemon(&["tap7: no such device", "oob-bo: no carrier"])).await;
    let answer = get(address, "/readyz", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\ntap7: no such device\noob-bo: no carrier\n"), "{answer}");
    assert!(get(address, "/healthz", "*/*").await.starts_with("HTTP/1.1 200 "));
    let address = start(daemon(&[])).await;
    assert!(get(address, "/readyz", "*/*").await.ends_with("\r\n\r\nready\n"));
    assert!(get(address, "/", "*/*").await.contains("<a href=\"/metrics\">"));
    assert!(get(address, "/other", "*/*").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_loop_that_does_not_answer_is_unhealthy() {
    let address = start(Loop::Hangs).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = get(address, path, "*/*").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
    }
    let address = start(Loop::Ended).await;
    // The first request may find the loop still there.
    get(address, "/healthz", "*/*").await;
    assert!(get(address, "/healthz", "*/*").await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn a_node_that_cannot_be_read_is_not_ready_and_not_a_reason_to_restart() {
    let address = start(Loop::CannotRead).await;
    for (path, status) in [("/healthz", "200"), ("/readyz", "503"), ("/metrics", "503")] {
        let answer = get(address, path, "*/*").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn idle_connections_make_room() {
    let address = start(daemon(&[])).await;
    let idle: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert!(get(address, "/healthz", "*/*").await.starts_with("HTTP/1.1 200 "));
    drop(idle);
}
