//! DNS rebinding: the name of a web page may come to mean 127.0.0.1, and scripts of the page may
//! read what a listener on the loopback address answers. The browser tells the name in `Host`.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{StatusCode, header::HOST, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// Refuses requests to a name that does not mean this node whoever resolves it. A request without
/// `Host` does not come from a browser.
pub async fn loopback_only(request: Request, next: Next) -> Response {
    let hosts =
        request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let mut named = hosts.chain(request.uri().authority().map(Authority::as_str));
    if named.all(names_loopback) {
        next.run(request).await
    } else {
        let text = "unknown host: a loopback address answers to localhost, 127.0.0.1 and [::1]\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    }
}

/// Whether a `Host`, with or without a port, is the loopback address or its name.
fn names_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_loopback_address_are_known() {
        for host in ["localhost", "LocalHost:9469", "127.0.0.1", "127.0.0.1:9469", "[::1]:9469"] {
            assert!(names_loopback(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.5", "[::2]"]
        {
            assert!(!names_loopback(host), "{host}");
        }
    }
}
