//! One request and its answer on each connection, within the limits of the listener.

use std::{sync::atomic::Ordering, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
    serve::Listener,
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::places::{Limits, Place, Places};

/// Maximum time until the headers have arrived, in the reserve.
const RESERVE: Duration = Duration::from_secs(1);
/// Maximum time until the body of a request has arrived, after its headers.
const BODY: Duration = Duration::from_secs(5);
/// Maximum size of the body of a request in bytes: twice that of the file.
const MAX_BODY: usize = 2 << 20;
/// Maximum size of the headers of a request in bytes.
const MAX_HEADERS: usize = 32 << 10;

/// Serves until the task is cancelled. `client_of` says whose connection it is, and `busy` answers
/// where there is no place for another one.
pub async fn serve_within<L: Listener, C: Clone + Ord>(
    mut listener: L,
    client_of: impl Fn(&L::Io, &L::Addr) -> C,
    limits: Limits,
    router: Router,
    busy: Router,
) {
    let mut places = Places::new(limits);
    loop {
        let (stream, address) = listener.accept().await;
        let place = places.take(client_of(&stream, &address));
        let router = if place.is_reserve { &busy } else { &router };
        tokio::spawn(exchange(stream, place, router.clone(), limits));
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    place: Place,
    router: Router,
    limits: Limits,
) {
    let Place { is_reserve, asked, ended } = place;
    let router = TowerToHyperService::new(router);
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let headers = if is_reserve { RESERVE.min(limits.headers) } else { limits.headers };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(headers)
        .max_buf_size(MAX_HEADERS)
        // A connection that waits for another request would keep its place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::select! {
        // A client that does not do its part gets no answer.
        _ = timeout(limits.exchange, connection) => {}
        _ = ended => {}
    }
}

/// Waits for the body of a request, with a limit of its own: the time of a command is for the
/// agent.
pub async fn whole_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match timeout(BODY, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(_)) => {
            let text = "the body of the request is longer than 2 MiB, or has ended early\n";
            (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
        }
        Err(_) => {
            let text = "the body of the request has not arrived within 5 s\n";
            (StatusCode::REQUEST_TIMEOUT, text).into_response()
        }
    }
}
