//! Decisions of operators over HTTP: `POST /api/v1/accept` and `/api/v1/acknowledge`. Success means that JetStream has
//! the event. Besides [`access`](super::access), which refuses other sites, a page elsewhere is kept out by the content
//! type, which no form can send.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Map, Value, json};
use spindle_bus::Bus;
use spindle_core::log_limit::LogLimit;
use spindle_core::query::Query;
use tokio::time::Instant;
use tracing::{info, warn};

use super::query_limits::{self, QueryLimits, RETRY_AFTER};
use super::{MAX_ANSWER_BYTES, receive};
use crate::clock;
use crate::decision_service::{self, DecisionError, DecisionRequest, PublishedDecision};
use crate::query_service::{QueryService, refusal};

/// Decisions per [`PERIOD`]: far above what people decide, yet a page that repeats itself fills no stream.
const MAX_DECISIONS: u32 = 60;
const PERIOD: Duration = Duration::from_secs(60);

/// Everything that the routes work with.
#[derive(Clone)]
struct Decisions {
    bus: Bus,
    queries: QueryService,
    limits: QueryLimits,
    rate: Arc<Mutex<LogLimit<Instant>>>,
}

/// Reason for a response other than success.
enum Refused {
    /// Refused here, before or beside the decision.
    Status(StatusCode, String),
    Busy,
    Decision(DecisionError),
}

pub(super) fn routes(bus: Bus, queries: QueryService, limits: QueryLimits) -> Router {
    let rate = Arc::new(Mutex::new(LogLimit::new(MAX_DECISIONS, PERIOD)));
    Router::new()
        .route("/api/v1/accept", post(accept))
        .route("/api/v1/acknowledge", post(acknowledge))
        .with_state(Decisions { bus, queries, limits, rate })
}

async fn accept(State(decisions): State<Decisions>, request: Request) -> Response {
    respond(decisions.decide(request, true).await)
}

async fn acknowledge(State(decisions): State<Decisions>, request: Request) -> Response {
    respond(decisions.decide(request, false).await)
}

impl Decisions {
    async fn decide(&self, request: Request, accepts: bool) -> Result<PublishedDecision, Refused> {
        if !is_json(request.headers()) {
            let message = "expected the header `Content-Type: application/json`".to_owned();
            return Err(Refused::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let body = receive(request).await.map_err(|(status, message)| Refused::Status(status, message))?;
        let checked = parse(&body, accepts)?.check(clock::now())?;
        let answer = self.verdict(&checked.query()).await?;
        let decision = checked.against(&answer)?;
        if self.rate.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now()).is_none() {
            let message = format!("more than {MAX_DECISIONS} decisions in {} s: decide later", PERIOD.as_secs());
            return Err(Refused::Status(StatusCode::TOO_MANY_REQUESTS, message));
        }
        if !self.bus.is_connected() {
            let message = "NATS is not connected: nothing was decided".to_owned();
            return Err(Refused::Status(StatusCode::SERVICE_UNAVAILABLE, message));
        }
        let published = decision_service::publish(&self.bus, decision).await?;
        let PublishedDecision { event_id, device, metric, until, by, .. } = &published;
        let metric = metric.as_ref().map(|metric| metric.as_str());
        info!(%event_id, %device, metric, %until, by, "decision published");
        Ok(published)
    }

    /// Returns the answer to the query of a decision, from the store.
    async fn verdict(&self, query: &[u8]) -> Result<Value, Refused> {
        let Some(_turn) = self.limits.turn().await else { return Err(Refused::Busy) };
        let served = self.queries.serve(Query::from_json(query, clock::now()), MAX_ANSWER_BYTES).await;
        if let Some(failure) = served.failure {
            return Err(Refused::Decision(DecisionError::NoVerdict(failure.message)));
        }
        serde_json::from_slice(&served.json)
            .map_err(|error| Refused::Status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    sent.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads the fields of a body; none is guessed.
fn parse(body: &[u8], accepts: bool) -> Result<DecisionRequest, Refused> {
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        Refused::Status(StatusCode::BAD_REQUEST, format!("body is not a valid JSON object: {error}"))
    })?;
    let expected: &[&'static str] = match accepts {
        true => &["source_device", "metric", "reason", "until", "by"],
        false => &["source_device", "reason", "until", "by"],
    };
    if let Some(name) = fields.keys().find(|name| !expected.contains(&name.as_str())) {
        let message = format!("unknown field {}: expected {}", json!(name), expected.join(", "));
        return Err(Refused::Status(StatusCode::BAD_REQUEST, message));
    }
    let text = |name: &'static str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(DecisionError::Field { field: name, problem: "is not a text".to_owned() }),
    };
    let required = |name: &'static str| {
        text(name)?.ok_or(DecisionError::Field { field: name, problem: "is missing: expected a text".to_owned() })
    };
    Ok(DecisionRequest {
        source_device: required("source_device")?,
        metric: if accepts { Some(required("metric")?) } else { None },
        reason: required("reason")?,
        until: text("until")?,
        by: text("by")?,
    })
}

fn respond(decided: Result<PublishedDecision, Refused>) -> Response {
    let (status, body) = match decided {
        Ok(published) => {
            let response = json!({ "status": "success", "data": published });
            (StatusCode::OK, response.to_string().into_bytes())
        }
        Err(Refused::Busy) => return query_limits::busy(),
        Err(Refused::Status(status, message)) => (status, refusal(&message)),
        Err(Refused::Decision(error)) => {
            (status_of(&error), refusal(&error.message(|field| format!("field '{field}'"))))
        }
    };
    if status.is_server_error() {
        warn!(%status, error = %String::from_utf8_lossy(&body), "decision refused");
    }
    let mut response =
        (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response();
    if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

fn status_of(error: &DecisionError) -> StatusCode {
    match error {
        DecisionError::Field { .. } => StatusCode::BAD_REQUEST,
        DecisionError::NotFound(_) => StatusCode::NOT_FOUND,
        DecisionError::NoVerdict(_) => StatusCode::SERVICE_UNAVAILABLE,
        DecisionError::Bus(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
        DecisionError::Bus(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<DecisionError> for Refused {
    fn from(error: DecisionError) -> Self {
        Self::Decision(error)
    }
}
