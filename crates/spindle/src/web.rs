//! HTTP: the same answers as the reader, health for supervisors, counters for Prometheus, and room for
//! the live page. The only place that names axum. It binds nothing: its listener is handed in. Every door goes
//! through [`open`]: nothing is answered without limits, access and the headers that keep a browser strict.

mod access;
pub(crate) mod health;
mod patient;
mod serve;

use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, RawQuery, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use spindle_core::query::{MAX_QUERY_BYTES, Query, QueryError};
use spindle_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::answer::{Answered, answer, refuse};
use crate::clock;
use crate::config::Secret;
use access::Access;
use health::Health;

/// Largest answer over HTTP: far more than a message, still no burden for a browser.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// For the body of a question to come in; it is small.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// For a request from its head to the head of its answer, whatever happens: more than a body and the
/// longest answer take.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

/// What a browser is told with every answer: run and load what comes from here and nothing else, be shown
/// in no other page, guess nothing, tell nobody.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// What the web works with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) health: Health,
    /// What everybody must show, if anything; see [`access`].
    pub(crate) token: Option<Secret>,
}

/// Serves until told to stop; requests in hand are finished.
pub(crate) async fn run(parts: Parts, listener: TcpListener, stop: CancellationToken) -> Result<()> {
    info!(address = %listener.local_addr()?, token = parts.token.is_some(), "HTTP answers");
    let (health, token) = (parts.health.clone(), parts.token.clone());
    let router = Router::new()
        .route("/", get(page))
        .route("/page.css", get(style))
        .route("/api/v1/query", post(query_body).get(query_string))
        .with_state(parts)
        .merge(health::routes(health));
    open(router, token, listener, stop).await
}

/// Opens a door: limits, then access, then `router`.
async fn open(router: Router, token: Option<Secret>, listener: TcpListener, stop: CancellationToken) -> Result<()> {
    let access = Access::new(token, listener.local_addr()?);
    let router = router
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page: see /\n") })
        .layer(DefaultBodyLimit::max(MAX_QUERY_BYTES))
        .layer(from_fn_with_state(access, access::guard))
        .layer(from_fn(in_time))
        .layer(from_fn(with_headers));
    serve::serve(listener, router, stop).await
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_PATIENCE, next.run(request)).await.unwrap_or_else(|_| {
        let words = format!("no answer within {} s\n", REQUEST_PATIENCE.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
    })
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // Answers are of this moment and may be nobody else's business.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Stands in until the live page of `web/` is embedded here.
async fn page() -> Html<&'static str> {
    Html(include_str!("web/index.html"))
}

/// A file of its own, because the page may not carry its style inside.
async fn style() -> Response {
    let css = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, css)], include_str!("web/page.css")).into_response()
}

/// `POST` with the body of a NATS request.
async fn query_body(State(parts): State<Parts>, request: Request) -> Response {
    let body = match tokio::time::timeout(BODY_PATIENCE, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(refusal)) => return refusal.into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the question did not come in time\n").into_response(),
    };
    respond(answer(&parts.store, &body, clock::now(), MAX_ANSWER_BYTES).await)
}

/// `GET ?query_type=…&name=value`, for a browser's address line.
async fn query_string(State(parts): State<Parts>, RawQuery(text): RawQuery) -> Response {
    let mut words: Vec<(String, String)> = form_urlencoded(text.as_deref().unwrap_or_default());
    let Some(index) = words.iter().position(|(name, _)| name == "query_type") else {
        return respond(refuse(&QueryError::NoType));
    };
    let query_type = words.remove(index).1;
    match Query::body_from_words(&query_type, &words, clock::now()) {
        Ok(body) => respond(answer(&parts.store, &body, clock::now(), MAX_ANSWER_BYTES).await),
        Err(mistake) => respond(refuse(&mistake)),
    }
}

fn form_urlencoded(text: &str) -> Vec<(String, String)> {
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&format!("/?{text}").parse().unwrap_or_default())
        .map(|query| query.0)
        .unwrap_or_default()
}

fn respond(answered: Answered) -> Response {
    let status = match answered.failure {
        None => StatusCode::OK,
        Some(failure) if failure.is_askers_fault => StatusCode::BAD_REQUEST,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], answered.json).into_response()
}
