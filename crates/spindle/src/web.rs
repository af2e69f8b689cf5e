//! HTTP: the same answers as the reader, health for supervisors, counters for Prometheus, and room for
//! the live page. The only place that names axum. It binds nothing: its listener is handed in.

pub(crate) mod health;

use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use spindle_core::query::{MAX_QUERY_BYTES, Query};
use spindle_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::answer::{Answered, answer};
use crate::clock;
use health::Health;

/// Largest answer over HTTP: far more than a message, still no burden for a browser.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Requests that are not finished this long after the order to stop are left: a slow client must not hold
/// everything up.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// What the web works with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) health: Health,
}

/// Serves until told to stop; requests in hand are finished.
pub(crate) async fn run(parts: Parts, listener: TcpListener, stop: CancellationToken) -> Result<()> {
    info!(address = %listener.local_addr()?, "HTTP answers");
    let router = Router::new()
        .route("/", get(page))
        .route("/api/v1/query", post(query_body).get(query_string))
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page: see /\n") })
        .layer(DefaultBodyLimit::max(MAX_QUERY_BYTES))
        .with_state(parts.clone())
        .merge(health::routes(parts.health));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        ended = served.into_future() => Ok(ended?),
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_PATIENCE).await } => Ok(()),
    }
}

/// Stands in until the live page of `web/` is embedded here.
async fn page() -> Html<&'static str> {
    Html(include_str!("web/index.html"))
}

/// `POST` with the body of a NATS request.
async fn query_body(State(parts): State<Parts>, body: Bytes) -> Response {
    respond(answer(&parts.store, &body, clock::now(), MAX_ANSWER_BYTES).await)
}

/// `GET ?query_type=…&name=value`, for a browser's address line.
async fn query_string(State(parts): State<Parts>, RawQuery(text): RawQuery) -> Response {
    let mut words: Vec<(String, String)> = form_urlencoded(text.as_deref().unwrap_or_default());
    let query_type =
        words.iter().position(|(name, _)| name == "query_type").map(|index| words.remove(index).1).unwrap_or_default();
    let body = match Query::body_from_words(&query_type, &words, clock::now()) {
        Ok(body) => body,
        // Parsing the same words again, as JSON, gives the same error in an answer's shape.
        Err(_) => serde_json::json!({ "query_type": query_type, "params": words.into_iter().collect::<std::collections::BTreeMap<_, _>>() }).to_string().into_bytes(),
    };
    respond(answer(&parts.store, &body, clock::now(), MAX_ANSWER_BYTES).await)
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
