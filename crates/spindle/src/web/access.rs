//! Who may ask: the token, and what a web page elsewhere must not make a browser do. It never logs, counts
//! or answers anything of what it compared.

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
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tracing::warn;

use super::serve::Peer;
use crate::config::Secret;
use crate::metrics::WEB_REFUSED;

/// Wrong tokens are spoken of this often at most, with how many there were.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// Answered without the token: whether a process lives and whether it is ready, for probes that know none.
const OPEN_TO_ALL: [&str; 2] = ["/healthz", "/readyz"];

/// What has to be shown at one door.
#[derive(Clone)]
pub(crate) struct Access {
    token: Option<Secret>,
    /// Without a token on a loopback address: that address. Only those may ask who call us by such a name.
    loopback: Option<SocketAddr>,
    wrong_tokens: Arc<Mutex<WrongTokens>>,
}

/// Whether a request has shown what has to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visitor {
    Known,
    /// Let in at a door that is open to all.
    Stranger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoToken,
    WrongToken,
    ForeignHost,
    ForeignOrigin,
}

#[derive(Default)]
struct WrongTokens {
    n_unsaid: u64,
    said: Option<Instant>,
}

impl Access {
    /// For a listener on `address`.
    pub(crate) fn new(token: Option<Secret>, address: SocketAddr) -> Self {
        let loopback = Some(address).filter(|address| token.is_none() && address.ip().is_loopback());
        Self { token, loopback, wrong_tokens: Arc::default() }
    }

    fn judge(&self, request: &Parts) -> Result<Visitor, Refusal> {
        if is_sent_by_another_site(request) {
            return Err(Refusal::ForeignOrigin);
        }
        if let Some(own) = self.loopback
            && !is_called_by_a_local_name(request, own)
        {
            return Err(Refusal::ForeignHost);
        }
        let Some(token) = &self.token else { return Ok(Visitor::Known) };
        match shown_token(&request.headers) {
            Some(shown) if is_equal(&shown, token) => Ok(Visitor::Known),
            _ if OPEN_TO_ALL.contains(&request.uri.path()) => Ok(Visitor::Stranger),
            Some(_) => Err(Refusal::WrongToken),
            None if request.headers.contains_key(header::AUTHORIZATION) => Err(Refusal::WrongToken),
            None => Err(Refusal::NoToken),
        }
    }

    /// Says it at once the first time, then together with those that came since.
    fn complain(&self, peer: Option<IpAddr>) {
        let mut wrong = self.wrong_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.n_unsaid += 1;
        if wrong.said.is_none_or(|said| said.elapsed() >= COMPLAIN_EVERY) {
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
            warn!(n_requests = wrong.n_unsaid, last_from = peer, "HTTP requests with a wrong token were refused");
            *wrong = WrongTokens { n_unsaid: 0, said: Some(Instant::now()) };
        }
    }
}

/// Lets a request in, as a [`Visitor`], or refuses it.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let refusal = match access.judge(&parts) {
        Ok(visitor) => {
            parts.extensions.insert(visitor);
            return next.run(Request::from_parts(parts, body)).await;
        }
        Err(refusal) => refusal,
    };
    if refusal == Refusal::WrongToken {
        access.complain(parts.extensions.get::<Peer>().map(|peer| peer.0));
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
                let words =
                    "a token is needed: send `Authorization: Bearer TOKEN`, or give it as the password of any user\n";
                let mut response = (StatusCode::UNAUTHORIZED, words).into_response();
                // A browser asks its user on Basic, which then serves the page and its event stream as well.
                for challenge in ["Bearer realm=\"spindle\"", "Basic realm=\"spindle\", charset=\"UTF-8\""] {
                    response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
                }
                response
            }
            Self::ForeignHost => {
                let words = "this Spindle listens on a loopback address: call it localhost or by that address, or set SPINDLE_HTTP_TOKEN\n";
                (StatusCode::MISDIRECTED_REQUEST, words).into_response()
            }
            Self::ForeignOrigin => {
                (StatusCode::FORBIDDEN, "a page of another site may not send this\n").into_response()
            }
        }
    }
}

/// The comparison takes the same time wherever two texts differ; only their lengths can be told apart.
fn is_equal(shown: &[u8], token: &Secret) -> bool {
    shown.ct_eq(token.expose().as_bytes()).into()
}

/// `Bearer TOKEN`, or `Basic` with the token as the password of any user.
fn shown_token(headers: &HeaderMap) -> Option<Vec<u8>> {
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

/// A page of another site can make its visitor's browser send us a request, with the password it remembers.
/// It cannot read the answer; so reading is harmless, and everything else is refused (as Go's
/// `http.CrossOriginProtection` does).
fn is_sent_by_another_site(request: &Parts) -> bool {
    if request.method == Method::GET || request.method == Method::HEAD {
        return false;
    }
    let text = |name| request.headers.get(name).map(HeaderValue::as_bytes);
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site != b"same-origin" && site != b"none",
        // Not a browser, or an old one that sends no origin to its own site.
        (None, None) => false,
        (None, Some(origin)) => {
            let host = |origin: &[u8]| origin.windows(3).position(|three| three == b"://").map(|at| at + 3);
            host(origin).is_none_or(|at| Some(&origin[at..]) != text("host"))
        }
    }
}

/// A page elsewhere whose name was made to lead here (DNS rebinding) could read what we answer. The
/// browser sends that name, so names that only this machine can mean are safe.
fn is_called_by_a_local_name(request: &Parts, own: SocketAddr) -> bool {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (None, _) => request.version == Version::HTTP_10,
        (Some(host), None) => host.to_str().is_ok_and(|host| is_local(host, own.ip())),
        (Some(_), Some(_)) => false,
    };
    named && request.uri.host().is_none_or(|host| is_local(host, own.ip()))
}

/// `localhost`, a name below it, or a loopback address, with or without a port.
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
        let check = |value: &str, expected: Result<Visitor, Refusal>| {
            let asked = request("GET /metrics", &[("authorization", value), ("host", "elsewhere")]);
            assert_eq!(access.judge(&asked), expected, "{value}");
        };
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        check(&format!("Bearer {TOKEN}"), Ok(Visitor::Known));
        check(&format!("bearer  {TOKEN} "), Ok(Visitor::Known));
        check(&basic(&format!(":{TOKEN}")), Ok(Visitor::Known));
        check(&basic(&format!("any:{TOKEN}")), Ok(Visitor::Known));
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
        assert_eq!(access.judge(&twice), Err(Refusal::WrongToken));
        assert_eq!(access.judge(&request("GET /", &[])), Err(Refusal::NoToken));
        for open in OPEN_TO_ALL {
            assert_eq!(access.judge(&request(&format!("GET {open}?x"), &[])), Ok(Visitor::Stranger));
            assert_eq!(access.judge(&request(&format!("GET {open}/"), &[])), Err(Refusal::NoToken));
        }
    }

    #[test]
    fn without_a_token_only_local_names_are_answered() {
        let access = Access::new(None, "127.0.0.1:8080".parse().unwrap());
        let check = |host: &str, is_let_in: bool| {
            let judged = access.judge(&request("GET /", &[("host", host)]));
            assert_eq!(judged, if is_let_in { Ok(Visitor::Known) } else { Err(Refusal::ForeignHost) }, "{host}");
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
        assert_eq!(access.judge(&foreign), Err(Refusal::ForeignHost));
        let twice = request("GET /", &[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(access.judge(&twice), Err(Refusal::ForeignHost));
        assert_eq!(access.judge(&request("GET /", &[])), Err(Refusal::ForeignHost), "HTTP/1.1 has a host");
        // A role's health on all addresses is asked for by names we do not know.
        let open = Access::new(None, "0.0.0.0:8081".parse().unwrap());
        assert_eq!(open.judge(&request("GET /metrics", &[("host", "10.1.2.3:8081")])), Ok(Visitor::Known));
    }

    #[test]
    fn another_sites_page_can_change_nothing() {
        let access = Access::new(None, "127.0.0.1:80".parse().unwrap());
        let check = |line: &str, headers: &[(&str, &str)], is_let_in: bool| {
            let headers = [&[("host", "localhost:8080")], headers].concat();
            let judged = access.judge(&request(line, &headers));
            assert_eq!(judged.is_ok(), is_let_in, "{line} {headers:?}: {judged:?}");
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
