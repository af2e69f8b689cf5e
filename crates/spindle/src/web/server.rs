//! The layers around every router: limits, then access control, and the headers that restrict a browser.

use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use spindle_core::query::MAX_QUERY_BYTES;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::access::{self, Access};
use super::connections;
use crate::config::Secret;

/// Timeout from the head of a request to the head of its response: above the sum of the timeouts for a body, for a
/// query with its turn, and for an acknowledgment of NATS.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Headers of every response. The browser loads and runs nothing from other origins, embeds the page nowhere,
/// guesses no content type and sends no referrer.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Serves `router` behind the layers until `stop`; requests in flight are finished.
pub(super) async fn serve(
    router: Router,
    token: Option<Secret>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<()> {
    let access = Access::new(token, listener.local_addr()?);
    let router = router
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page: see /\n") })
        .layer(DefaultBodyLimit::max(MAX_QUERY_BYTES))
        .layer(from_fn_with_state(access, access::guard))
        .layer(from_fn(limit_time))
        .layer(from_fn(add_headers));
    connections::serve(listener, router, stop).await
}

async fn limit_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
        let body = format!("no answer within {} s\n", REQUEST_TIMEOUT.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    })
}

async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // Answers are current and may be confidential: no cache keeps them.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
