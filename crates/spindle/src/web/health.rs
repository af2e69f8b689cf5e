//! Health for supervisors and counters for Prometheus: of the whole system beside its answers, or of one
//! role that runs alone. Nothing here shows data (of a fault the words, which name a server or a file), so a role that runs alone tells it on any address without a
//! token; where there is one, it is demanded for everything but "alive" and "ready".

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

use super::access::Visitor;
use crate::Outcome;
use crate::config::Secret;
use crate::output;
use crate::roles::writer::Readiness;
use crate::telemetry;

/// How long the store may take to say that it is there.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a process may take to say how it is: longer than it waits for its store.
const ANSWER_PATIENCE: Duration = Duration::from_secs(4);

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
            && !matches!(tokio::time::timeout(STORE_PATIENCE, store.ping()).await, Ok(Ok(_)))
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
    match telemetry::exposition() {
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
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_PATIENCE).with_context(|| {
        format!("nothing answers on {address}: is the role running, with the same SPINDLE_HEALTH (or --http)?")
    })?;
    let mut answer = String::new();
    let shown = token.map_or_else(String::new, |token| format!("Authorization: Bearer {}\r\n", token.expose()));
    stream
        .set_read_timeout(Some(ANSWER_PATIENCE))
        .and_then(|()| stream.write_all(format!("GET /readyz HTTP/1.0\r\n{shown}\r\n").as_bytes()))
        .and_then(|()| stream.read_to_string(&mut answer))
        .with_context(|| format!("{address} does not answer in time"))?;
    Ok(answer)
}
