//! Access control: the token, and protection against requests that a web page elsewhere makes a browser send. No
//! part of a compared token ever reaches a log, a metric or a response.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use spindle_core::log_limit::LogLimit;
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tracing::warn;

use super::connections::Peer;
use crate::config::Secret;
use crate::metrics::WEB_REFUSED;

/// Minimum interval between log lines about wrong tokens.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Paths that require no token: the liveness and readiness probes, whose callers have none.
const OPEN_TO_ALL: [&str; 2] = ["/healthz", "/readyz"];

/// The access rules of one listener.
#[derive(Clone)]
pub(crate) struct Access {
    token: Option<Secret>,
    /// The listener's address if that is a loopback address and no token is set. Requests must then name a
    /// loopback host.
    loopback: Option<SocketAddr>,
    log_limit: Arc<Mutex<LogLimit<Instant>>>,
}

/// The sender of an accepted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Sent the token, or no token is set.
    Authenticated,
    /// Sent no valid token to a path that is open to all.
    Anonymous,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoToken,
    WrongToken,
    ForeignHost,
    ForeignOrigin,
}

impl Access {
    /// Rules for a listener on `address`.
    pub(crate) fn new(token: Option<Secret>, address: SocketAddr) -> Self {
        let loopback = Some(address).filter(|address| token.is_none() && address.ip().is_loopback());
        Self { token, loopback, log_limit: Arc::new(Mutex::new(LogLimit::new(1, LOG_INTERVAL))) }
    }

    fn check(&self, request: &Parts) -> Result<Caller, Refusal> {
        if is_cross_site(request) {
            return Err(Refusal::ForeignOrigin);
        }
        if let Some(own) = self.loopback
            && !names_local_host(request, own)
        {
            return Err(Refusal::ForeignHost);
        }
        let Some(token) = &self.token else { return Ok(Caller::Authenticated) };
        match sent_token(&request.headers) {
            Some(sent) if is_equal(&sent, token) => Ok(Caller::Authenticated),
            _ if OPEN_TO_ALL.contains(&request.uri.path()) => Ok(Caller::Anonymous),
            Some(_) => Err(Refusal::WrongToken),
            None if request.headers.contains_key(header::AUTHORIZATION) => Err(Refusal::WrongToken),
            None => Err(Refusal::NoToken),
        }
    }

    /// Logs the first wrong token at once, later ones together.
    fn log_wrong_token(&self, peer: Option<IpAddr>) {
        let mut log_limit = self.log_limit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n_suppressed) = log_limit.allow(Instant::now()) {
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
            warn!(n_requests = n_suppressed + 1, last_from = peer, "HTTP requests with a wrong token refused");
        }
    }
}

/// Middleware that passes a request on with its [`Caller`], or refuses it.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let refusal = match access.check(&parts) {
        Ok(caller) => {
            parts.extensions.insert(caller);
            return next.run(Request::from_parts(parts, body)).await;
        }
        Err(refusal) => refusal,
    };
    if refusal == Refusal::WrongToken {
        access.log_wrong_token(parts.extensions.get::<Peer>().map(|peer| peer.0));
    }
    WEB_REFUSED.with_label_values(&[refusal.reason()]).inc();
    refusal.into_response()
}

impl Refusal {
    fn reason(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NoToken | Self::WrongToken => {
                let body = "a token is required: send `Authorization: Bearer TOKEN`, or the token as the password of any user\n";
                let mut response = (StatusCode::UNAUTHORIZED, body).into_response();
                // `Basic` makes a browser prompt its user; it then sends the token for the page and its streams as well.
                for challenge in ["Bearer realm=\"spindle\"", "Basic realm=\"spindle\", charset=\"UTF-8\""] {
                    response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
                }
                response
            }
            Self::ForeignHost => {
                let body =
                    "Spindle listens on a loopback address: use localhost or that address, or set SPINDLE_HTTP_TOKEN\n";
                (StatusCode::MISDIRECTED_REQUEST, body).into_response()
            }
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "cross-site requests are not allowed\n").into_response(),
        }
    }
}

/// Compares in constant time, wherever the two texts differ; only a difference in length is observable.
fn is_equal(sent: &[u8], token: &Secret) -> bool {
    sent.ct_eq(token.expose().as_bytes()).into()
}

/// Reads the token from `Bearer TOKEN`, or from `Basic` as the password of any user.
fn sent_token(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    let decoded = BASE64_STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

/// Detects a request that changes something and comes from a page of another site.
///
/// Such a page can make its visitor's browser send a request with the password it has stored. It cannot read the
/// response; so `GET` is harmless, and everything else is refused (as Go's `http.CrossOriginProtection` does).
fn is_cross_site(request: &Parts) -> bool {
    if request.method == Method::GET || request.method == Method::HEAD {
        return false;
    }
    let text = |name| request.headers.get(name).map(HeaderValue::as_bytes);
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site != b"same-origin" && site != b"none",
        // Not a browser, or an old one, which sends no origin to the same site.
        (None, None) => false,
        (None, Some(origin)) => {
            let host = |origin: &[u8]| origin.windows(3).position(|three| three == b"://").map(|at| at + 3);
            host(origin).is_none_or(|at| Some(&origin[at..]) != text("host"))
        }
    }
}

/// Checks that a request names a host that can only be this machine.
///
/// A page elsewhere whose name resolves to this address (DNS rebinding) could read the responses. The browser sends
/// that name.
fn names_local_host(request: &Parts, own: SocketAddr) -> bool {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (None, _) => request.version == Version::HTTP_10,
        (Some(host), None) => host.to_str().is_ok_and(|host| is_local(host, own.ip())),
        (Some(_), Some(_)) => false,
    };
    named && request.uri.host().is_none_or(|host| is_local(host, own.ip()))
}

/// Accepts `localhost`, a name below it, or a loopback address, with or without a port.
fn is_local(host: &str, own: IpAddr) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn secret() -> Secret {
        Secret::token(TOKEN).unwrap()
    }

    fn request(line: &str, headers: &[(&str, &str)]) -> Parts {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut builder = axum::http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_token_is_demanded_in_one_of_two_forms() {
        let access = Access::new(Some(secret()), "127.0.0.1:80".parse().unwrap());
        let check = |value: &str, expected: Result<Caller, Refusal>| {
            let request = request("GET /metrics", &[("authorization", value), ("host", "elsewhere")]);
            assert_eq!(access.check(&request), expected, "{value}");
        };
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        check(&format!("Bearer {TOKEN}"), Ok(Caller::Authenticated));
        check(&format!("bearer  {TOKEN} "), Ok(Caller::Authenticated));
        check(&basic(&format!(":{TOKEN}")), Ok(Caller::Authenticated));
        check(&basic(&format!("any:{TOKEN}")), Ok(Caller::Authenticated));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            TOKEN,
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Token 0123456789abcdef",
            "Basic !!!",
            &basic(TOKEN),
            &basic(&format!("{TOKEN}:")),
            &basic(&format!("a:b:{TOKEN}")),
            "Bearer é",
        ] {
            check(wrong, Err(Refusal::WrongToken));
        }
        let right = format!("Bearer {TOKEN}");
        let twice = request("GET /", &[("authorization", &right), ("authorization", &right)]);
        assert_eq!(access.check(&twice), Err(Refusal::WrongToken));
        assert_eq!(access.check(&request("GET /", &[])), Err(Refusal::NoToken));
        for open in OPEN_TO_ALL {
            assert_eq!(access.check(&request(&format!("GET {open}?x"), &[])), Ok(Caller::Anonymous));
            assert_eq!(access.check(&request(&format!("GET {open}/"), &[])), Err(Refusal::NoToken));
        }
    }

    #[test]
    fn without_a_token_only_local_names_are_answered() {
        let access = Access::new(None, "127.0.0.1:8080".parse().unwrap());
        let check = |host: &str, is_accepted: bool| {
            let checked = access.check(&request("GET /", &[("host", host)]));
            assert_eq!(
                checked,
                if is_accepted { Ok(Caller::Authenticated) } else { Err(Refusal::ForeignHost) },
                "{host}"
            );
        };
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.:1",
            "a.localhost",
            "127.0.0.1:9000",
            "127.1.2.3",
            "[::1]:80",
            "[::1]",
        ] {
            check(host, true);
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "192.0.2.1:8080",
            "0.0.0.0",
            "[::]:80",
            "",
            ":80",
            "127.0.0.1.evil.example",
            "2130706433",
        ] {
            check(host, false);
        }
        let foreign = request("GET http://evil.example/", &[("host", "localhost")]);
        assert_eq!(access.check(&foreign), Err(Refusal::ForeignHost));
        let twice = request("GET /", &[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(access.check(&twice), Err(Refusal::ForeignHost));
        assert_eq!(access.check(&request("GET /", &[])), Err(Refusal::ForeignHost), "HTTP/1.1 requires a host");
        // Probes on all addresses are called by names that are not known here.
        let open = Access::new(None, "0.0.0.0:8081".parse().unwrap());
        assert_eq!(open.check(&request("GET /metrics", &[("host", "10.1.2.3:8081")])), Ok(Caller::Authenticated));
    }

    #[test]
    fn another_sites_page_can_change_nothing() {
        let access = Access::new(None, "127.0.0.1:80".parse().unwrap());
        let check = |line: &str, headers: &[(&str, &str)], is_accepted: bool| {
            let headers = [&[("host", "localhost:8080")], headers].concat();
            let checked = access.check(&request(line, &headers));
            assert_eq!(checked.is_ok(), is_accepted, "{line} {headers:?}: {checked:?}");
        };
        check("POST /", &[], true);
        check("POST /", &[("origin", "http://localhost:8080")], true);
        check("POST /", &[("origin", "null"), ("sec-fetch-site", "same-origin")], true);
        check("POST /", &[("sec-fetch-site", "none")], true);
        check("GET /", &[("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")], true);
        check("POST /", &[("sec-fetch-site", "cross-site")], false);
        check("DELETE /", &[("sec-fetch-site", "same-site")], false);
        check("POST /", &[("origin", "http://localhost:3000")], false);
        check("POST /", &[("origin", "http://localhost:8080.evil.example")], false);
        check("POST /", &[("origin", "null")], false);
    }
}
