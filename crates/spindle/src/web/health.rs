//! Health for supervisors and counters for Prometheus: of the whole system beside its answers, or of one
//! role that runs alone. Nothing here shows data (of a fault the words, which name a server or a file), so a role that runs alone tells it on any address without a
//! token; where there is one, it is demanded for everything but "alive" and "ready".

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

use super::access::Visitor;
use crate::config::Secret;
use crate::roles::writer::Readiness;

/// How long the store may take to say that it is there.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// What a process needs to do its work.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) bus: Bus,
    /// Where the process stores or reads.
    pub(crate) store: Option<Store>,
    /// The writer's, where it runs in this process.
    pub(crate) writer: Option<Readiness>,
}

impl Health {
    /// What is missing right now; empty when all is there.
    async fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.bus.is_connected() {
            missing.push("NATS is not connected".to_owned());
        }
        missing.extend(self.writer.as_ref().and_then(Readiness::missing));
        if let Some(store) = &self.store
            && !matches!(tokio::time::timeout(STORE_PATIENCE, store.answers()).await, Ok(Ok(_)))
        {
            missing.push("the store does not answer".to_owned());
        }
        missing
    }
}

/// `/healthz`: alive. `/readyz`: able to work, or what is missing. `/metrics`: counters.
pub(crate) fn routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Serves nothing but health, for a role that runs alone.
pub(crate) async fn run(
    health: Health,
    token: Option<Secret>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<()> {
    super::open(routes(health), token, listener, stop).await
}

/// What is missing is for those who know the token, where there is one.
async fn ready(State(health): State<Health>, Extension(visitor): Extension<Visitor>) -> Response {
    let missing = health.missing().await;
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n").into_response();
    }
    let words = match visitor {
        Visitor::Known => format!("{}\n", missing.join("; ")),
        Visitor::Stranger => "not ready\n".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
}

async fn metrics() -> Response {
    match crate::metrics::exposition() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}
