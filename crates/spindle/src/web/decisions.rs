//! Decisions of operators over HTTP: `POST /api/v1/accept` and `/api/v1/acknowledge`. Success means that JetStream has
//! the event.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Map, Value, json};
use spindle_bus::Bus;
use spindle_core::query::Query;
use tracing::{info, warn};

use super::MAX_ANSWER_BYTES;
use super::changes::{ChangeRate, json_response, receive_fields};
use super::query_limits::{self, QueryLimits};
use crate::clock;
use crate::decision_service::{self, DecisionError, DecisionRequest, PublishedDecision};
use crate::query_service::{QueryService, refusal};

/// Everything that the routes work with.
#[derive(Clone)]
struct Decisions {
    bus: Bus,
    queries: QueryService,
    limits: QueryLimits,
    rate: ChangeRate,
}

/// Reason for a response other than success.
enum Refused {
    /// Refused here, before or beside the decision.
    Status(StatusCode, String),
    Busy,
    Decision(DecisionError),
}

pub(super) fn routes(bus: Bus, queries: QueryService, limits: QueryLimits) -> Router {
    let rate = ChangeRate::default();
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
        let expected: &[&str] = match accepts {
            true => &["source_device", "metric", "reason", "until", "by"],
            false => &["source_device", "reason", "until", "by"],
        };
        let checked = parse(&receive_fields(request, expected).await?, accepts)?.check(clock::now())?;
        let answer = self.verdict(&checked.query()).await?;
        let decision = checked.against(&answer)?;
        self.rate.count("decisions")?;
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

/// Reads the fields of a body; none is guessed.
fn parse(fields: &Map<String, Value>, accepts: bool) -> Result<DecisionRequest, Refused> {
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
    json_response(status, body)
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

impl From<(StatusCode, String)> for Refused {
    fn from((status, message): (StatusCode, String)) -> Self {
        Self::Status(status, message)
    }
}
