//! Liveness and readiness probes, and metrics for Prometheus: of the whole system beside the query API, or of one
//! standalone role. They return no data (details of a failure name a server or a file at most), so a standalone
//! role serves them on any address without a token. Where a token is set, everything but `/healthz` and the status
//! of `/readyz` requires it.

use std::time::Duration;

use anyhow::Result;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use spindle_bus::Bus;
use spindle_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::access::Caller;
use super::server;
use crate::config::Secret;
use crate::logging::chain;
use crate::metrics::STORE_ADDRESS_UP;
use crate::roles::daemon::PublishReadiness;
use crate::roles::detector::DetectorReadiness;
use crate::roles::writer::Readiness;

/// Timeout of the store's ping.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything a process depends on to be ready.
#[derive(Clone)]
pub(crate) struct Dependencies {
    pub(crate) bus: Bus,
    /// The store, for a process that writes to it or reads from it.
    pub(crate) store: Option<Store>,
    /// The state of the writer, if it runs in this process.
    pub(crate) writer: Option<Readiness>,
    /// The state of the daemon, if it runs in this process.
    pub(crate) daemon: Option<PublishReadiness>,
    /// The state of the detector, if it runs in this process.
    pub(crate) detector: Option<DetectorReadiness>,
}

impl Dependencies {
    /// Returns those of a process that depends on NATS only.
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus, store: None, writer: None, daemon: None, detector: None }
    }

    /// Lists the dependencies that are unavailable.
    async fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.bus.is_connected() {
            missing.push("NATS is not connected".to_owned());
        }
        missing.extend(self.writer.as_ref().and_then(Readiness::missing));
        missing.extend(self.daemon.as_ref().and_then(PublishReadiness::missing));
        missing.extend(self.detector.as_ref().and_then(DetectorReadiness::missing));
        if let Some(store) = &self.store {
            match tokio::time::timeout(STORE_TIMEOUT, store.ping()).await {
                Ok(Ok(())) => {}
                // The store's own answer, where there is one.
                Ok(Err(error)) => missing.push(format!("the store cannot be read: {}", chain(error))),
                Err(_) => missing.push(format!("the store does not respond within {} s", STORE_TIMEOUT.as_secs())),
            }
        }
        missing
    }
}

/// Routes `/healthz` (liveness), `/readyz` (readiness, or the missing dependencies) and `/metrics`.
pub(super) fn routes(dependencies: Dependencies) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(dependencies)
}

/// Serves the probes alone, for a standalone role.
pub(crate) async fn serve(
    dependencies: Dependencies,
    token: Option<Secret>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<()> {
    server::serve(routes(dependencies), token, listener, stop).await
}

/// Returns the readiness; details go to authenticated callers only.
async fn ready(State(dependencies): State<Dependencies>, Extension(caller): Extension<Caller>) -> Response {
    let missing = dependencies.missing().await;
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n").into_response();
    }
    let body = match caller {
        Caller::Authenticated => format!("{}\n", missing.join("; ")),
        Caller::Anonymous => "not ready\n".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn metrics(State(dependencies): State<Dependencies>) -> Response {
    if let Some(store) = &dependencies.store {
        for status in store.addresses() {
            STORE_ADDRESS_UP.with_label_values(&[&status.address]).set(i64::from(status.problem.is_none()));
        }
    }
    match crate::metrics::exposition() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}
