//! Liveness and readiness probes, and metrics for Prometheus: of the whole system beside the query API, or of one
//! standalone role. They return no data (details of a failure name a server or a file at most), so a standalone
//! role serves them on any address without a token. Where a token is set, everything but `/healthz` and the status
//! of `/readyz` requires it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
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
use crate::Outcome;
use crate::config::Secret;
use crate::output;
use crate::roles::writer::Readiness;

/// Timeout of the store's ping.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for the response of a process: above the one that the process has for its store.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Everything a process depends on to be ready.
#[derive(Clone)]
pub(crate) struct Dependencies {
    pub(crate) bus: Bus,
    /// The store, for a process that writes to it or reads from it.
    pub(crate) store: Option<Store>,
    /// The state of the writer, if it runs in this process.
    pub(crate) writer: Option<Readiness>,
}

impl Dependencies {
    /// Lists the dependencies that are unavailable.
    async fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.bus.is_connected() {
            missing.push("NATS is not connected".to_owned());
        }
        missing.extend(self.writer.as_ref().and_then(Readiness::missing));
        if let Some(store) = &self.store
            && !matches!(tokio::time::timeout(STORE_TIMEOUT, store.answers()).await, Ok(Ok(_)))
        {
            missing.push("the store does not respond".to_owned());
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
pub(crate) async fn serve_probes(
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

async fn metrics() -> Response {
    match crate::metrics::exposition() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}

/// Asks the process at `address` whether it is ready, and prints its words; for the health checks of
/// containers, which have no curl. Who does not answer is not ready.
pub(crate) fn ask(address: Result<SocketAddr>, token: Option<&Secret>) -> Result<Outcome> {
    let asked = address.and_then(|address| Ok((address, readiness(address, token)?)));
    let (address, answer) = match asked {
        Ok(asked) => asked,
        Err(fault) => {
            output::say(&format!("not ready: {fault:#}"));
            return Ok(Outcome::NotGood);
        }
    };
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{address} speaks no HTTP"))?;
    output::data(format!("{}\n", body.trim_end()).as_bytes())?;
    let is_ready = head.split_whitespace().nth(1) == Some("200");
    Ok(if is_ready { Outcome::Good } else { Outcome::NotGood })
}

/// What `address` says to that question, head and body.
fn readiness(address: SocketAddr, token: Option<&Secret>) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).with_context(|| {
        format!("nothing answers on {address}: is the role running, with the same SPINDLE_HEALTH (or --http)?")
    })?;
    let mut answer = String::new();
    let shown = token.map_or_else(String::new, |token| format!("Authorization: Bearer {}\r\n", token.expose()));
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .and_then(|()| stream.write_all(format!("GET /readyz HTTP/1.0\r\n{shown}\r\n").as_bytes()))
        .and_then(|()| stream.read_to_string(&mut answer))
        .with_context(|| format!("{address} does not answer in time"))?;
    Ok(answer)
}
