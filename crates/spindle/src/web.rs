//! HTTP: the same responses as the reader, probes for supervisors, metrics for Prometheus, and the live
//! page. The only module that names axum. It binds nothing: the caller passes its listener in. Every router is
//! served through [`server`], so no response lacks limits, access control or the security headers.

mod access;
mod changes;
mod compression;
mod connections;
mod dead_letters;
mod decisions;
mod live;
mod page;
pub(crate) mod probes;
mod query_limits;
mod server;
mod write_timeout;

use std::time::Duration;

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::{FromRequest, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use spindle_core::query::{Query, QueryError, openapi};
use spindle_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::clock;
use crate::config::Secret;
use crate::query_service::{QueryService, Served};
use live::Live;
use probes::Dependencies;
use query_limits::QueryLimits;

/// Maximum size of an answer over HTTP: far above the limit of a NATS message, yet small for a browser.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Timeout for receiving the body of a request, which is small.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything the web role works with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) dependencies: Dependencies,
    /// The token that every request must carry, if one is set; see [`access`].
    pub(crate) token: Option<Secret>,
    /// Address of a Grafana that the page links to.
    pub(crate) grafana: Option<String>,
}

/// What the routes of queries work with.
#[derive(Clone)]
struct Queries {
    service: QueryService,
    limits: QueryLimits,
}

/// Serves until `stop`; requests in flight are finished.
pub(crate) async fn run(parts: Parts, listener: TcpListener, stop: CancellationToken) -> Result<()> {
    info!(address = %listener.local_addr()?, requires_token = parts.token.is_some(), "web started");
    let Parts { store, dependencies, token, grafana } = parts;
    let limits = QueryLimits::default();
    let service = QueryService::new(store);
    let decisions = decisions::routes(dependencies.bus.clone(), service.clone(), limits.clone());
    let dead_letters = dead_letters::routes(dependencies.bus.clone(), limits.clone());
    let live = Live::start(service.clone(), stop.clone());
    let router = Router::new()
        .route("/api/v1/query", post(query_body).get(query_string))
        .with_state(Queries { service, limits })
        .route("/api/v1/live", get(live::live))
        .with_state(live)
        .route("/api/v1/openapi.json", get(description))
        .merge(page::routes(grafana.as_deref()))
        .merge(decisions)
        .merge(dead_letters)
        .merge(probes::routes(dependencies));
    server::serve(router, token, listener, stop).await
}

/// `POST` with the body of a NATS request.
async fn query_body(State(queries): State<Queries>, request: Request) -> Response {
    let headers = request.headers().clone();
    match receive(request).await {
        Ok(body) => respond(&queries, Query::from_json(&body, clock::now()), &headers).await,
        Err((status, message)) => (status, format!("{message}\n")).into_response(),
    }
}

/// Receives a body within limits of size and time, or returns the reason of its refusal.
async fn receive(request: Request) -> Result<Bytes, (StatusCode, String)> {
    match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => Err((rejection.status(), rejection.body_text())),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    }
}

/// `GET ?query_type=…&name=value`, for a browser's address line.
async fn query_string(State(queries): State<Queries>, headers: HeaderMap, RawQuery(text): RawQuery) -> Response {
    let params = form_urlencoded(text.as_deref().unwrap_or_default());
    respond(&queries, Query::from_params(&params, clock::now()), &headers).await
}

fn form_urlencoded(text: &str) -> Vec<(String, String)> {
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&format!("/?{text}").parse().unwrap_or_default())
        .map(|query| query.0)
        .unwrap_or_default()
}

/// OpenAPI description of these routes.
async fn description() -> Json<serde_json::Value> {
    Json(openapi(env!("CARGO_PKG_VERSION")))
}

async fn respond(queries: &Queries, query: Result<Query, QueryError>, headers: &HeaderMap) -> Response {
    let Some(turn) = queries.limits.turn().await else { return query_limits::busy() };
    let Served { json, failure } = queries.service.serve(query, MAX_ANSWER_BYTES).await;
    drop(turn);
    let status = match failure {
        None => StatusCode::OK,
        Some(failure) if failure.is_bad_query => StatusCode::BAD_REQUEST,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let (body, is_compressed) = compression::of(json, headers).await;
    let Some(body) = queries.limits.hold(body) else { return query_limits::busy() };
    let content_type = HeaderValue::from_static("application/json");
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    compression::mark(&mut response, is_compressed);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, query_limits::RETRY_AFTER);
    }
    response
}
