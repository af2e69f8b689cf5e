//! Dead letters over HTTP: `GET /api/v1/dead_letters` lists them, `…/{sequence}` shows one with its bytes, and `POST` to
//! `…/replay` and `…/drop` acts on them. Reading changes nothing.

mod act;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use spindle_bus::{Bus, BusError, BusErrorKind, DeadLetter, NewestDeadLetters};
use tokio::sync::Mutex;

use super::changes::{ChangeRate, json_response};
use super::form_urlencoded;
use super::query_limits::{self, QueryLimits};
use crate::dead_letter_service::{DeadLetterService, letter_row};
use crate::logging::chain;
use crate::query_service::refusal;
use act::Act;

const DEFAULT_LIMIT: u64 = 50;
/// Rows of a list: each costs a message of its own, for the name of the device.
const MAX_LIMIT: u64 = 200;
/// Bytes of a payload shown; `spindle dlq show --raw` writes all.
const MAX_SHOWN_BYTES: usize = 1 << 20;

/// Everything that the routes work with.
#[derive(Clone)]
struct DeadLetters {
    service: DeadLetterService,
    limits: QueryLimits,
    rate: ChangeRate,
    /// One action at a time: each may hold many messages.
    turn: Arc<Mutex<()>>,
}

pub(super) fn routes(bus: Bus, limits: QueryLimits) -> Router {
    // A caller that wants another attempt repeats its request.
    let service = DeadLetterService::new(bus, Duration::ZERO);
    let state = DeadLetters { service, limits, rate: ChangeRate::default(), turn: Arc::default() };
    Router::new()
        .route("/api/v1/dead_letters", get(list))
        .route("/api/v1/dead_letters/{sequence}", get(show))
        .route("/api/v1/dead_letters/replay", post(replay))
        .route("/api/v1/dead_letters/drop", post(drop_letters))
        .with_state(state)
}

async fn list(State(letters): State<DeadLetters>, RawQuery(text): RawQuery) -> Response {
    letters.respond(letters.list(text.as_deref().unwrap_or_default()).await)
}

async fn show(State(letters): State<DeadLetters>, Path(sequence): Path<String>) -> Response {
    letters.respond(letters.show(&sequence).await)
}

async fn replay(State(letters): State<DeadLetters>, request: Request) -> Response {
    letters.respond(letters.act(request, Act::Replay).await)
}

async fn drop_letters(State(letters): State<DeadLetters>, request: Request) -> Response {
    letters.respond(letters.act(request, Act::Drop).await)
}

/// Reason for a response other than success.
enum Failed {
    Status(StatusCode, String),
    Busy,
}

impl DeadLetters {
    async fn list(&self, query: &str) -> Result<Value, Failed> {
        let (limit, before) =
            page(&form_urlencoded(query)).map_err(|message| Failed::Status(StatusCode::BAD_REQUEST, message))?;
        let Some(_turn) = self.limits.turn().await else { return Err(Failed::Busy) };
        self.require_connection()?;
        let NewestDeadLetters { heads, next, n_messages, size_bytes } =
            self.service.bus.newest_dead_letters(before, limit).await?;
        let devices = self.service.devices(&heads).await?;
        let rows = heads.iter().zip(devices).map(|(head, device)| {
            let mut row = letter_row(head);
            row["device"] = json!(device);
            row
        });
        let rows: Vec<Value> = rows.collect();
        let next = next.map(|before| json!({ "limit": limit, "before": before }));
        let summary = json!({ "messages": n_messages, "size_bytes": size_bytes });
        Ok(json!({ "status": "success", "data": rows, "summary": summary, "next": next }))
    }

    async fn show(&self, sequence: &str) -> Result<Value, Failed> {
        let wanted = natural(sequence).ok_or_else(|| {
            let message =
                format!("{} is not the sequence of a dead letter: expected a whole number from 1", json!(sequence));
            Failed::Status(StatusCode::BAD_REQUEST, message)
        })?;
        let Some(_turn) = self.limits.turn().await else { return Err(Failed::Busy) };
        self.require_connection()?;
        match self.service.read(wanted).await? {
            Some(letter) => Ok(json!({ "status": "success", "data": whole(&letter) })),
            None => Err(Failed::Status(StatusCode::NOT_FOUND, format!("no dead letter {wanted}: replayed or dropped"))),
        }
    }

    fn require_connection(&self) -> Result<(), Failed> {
        if self.service.bus.is_connected() {
            return Ok(());
        }
        Err(Failed::Status(StatusCode::SERVICE_UNAVAILABLE, "NATS is not connected: nothing was done".to_owned()))
    }

    fn respond(&self, outcome: Result<Value, Failed>) -> Response {
        match outcome {
            Ok(answer) => {
                let Some(body) = self.limits.hold(answer.to_string().into_bytes()) else { return query_limits::busy() };
                ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
            }
            Err(Failed::Busy) => query_limits::busy(),
            Err(Failed::Status(status, message)) => {
                if status.is_server_error() {
                    tracing::warn!(%status, error = message, "request about dead letters failed");
                }
                json_response(status, refusal(&message))
            }
        }
    }
}

/// Reads `limit` and `before`.
fn page(params: &[(String, String)]) -> Result<(usize, Option<u64>), String> {
    let (mut limit, mut before) = (None, None);
    for (name, text) in params {
        let place = match name.as_str() {
            "limit" => &mut limit,
            "before" => &mut before,
            _ => return Err(format!("unknown parameter {}: expected limit, before", json!(name))),
        };
        let number = natural(text).filter(|number| name != "limit" || *number <= MAX_LIMIT).ok_or_else(|| {
            let end = if name == "limit" { format!(" to {MAX_LIMIT}") } else { String::new() };
            format!("parameter '{name}' is {}: expected a whole number from 1{end}", json!(text))
        })?;
        if place.replace(number).is_some() {
            return Err(format!("parameter '{name}' is repeated"));
        }
    }
    let limit = usize::try_from(limit.unwrap_or(DEFAULT_LIMIT)).map_err(|error| error.to_string())?;
    Ok((limit, before))
}

fn natural(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn whole(letter: &DeadLetter) -> Value {
    let DeadLetter { head, sequences, headers, bytes } = letter;
    let mut row = letter_row(head);
    let mut names = BTreeMap::<&str, Vec<&str>>::new();
    for (name, value) in headers {
        names.entry(name).or_default().push(value);
    }
    row["size_bytes"] = json!(bytes.len());
    row["sequences"] = json!(sequences);
    row["headers"] = names.into_iter().map(|(name, values)| (name, values.join(", "))).collect();
    let (encoding, payload, shown) = match std::str::from_utf8(bytes) {
        Ok(text) => {
            let shown = &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)];
            ("text", shown.to_owned(), shown.len())
        }
        Err(_) => {
            let shown = &bytes[..bytes.len().min(MAX_SHOWN_BYTES)];
            ("base64", BASE64_STANDARD.encode(shown), shown.len())
        }
    };
    row["encoding"] = json!(encoding);
    row["payload"] = json!(payload);
    row["is_cut"] = json!(shown < bytes.len());
    row
}

impl From<(StatusCode, String)> for Failed {
    fn from((status, message): (StatusCode, String)) -> Self {
        Self::Status(status, message)
    }
}

impl From<BusError> for Failed {
    fn from(error: BusError) -> Self {
        Self::from_bus(error.kind(), chain(error))
    }
}

impl Failed {
    fn from_bus(kind: BusErrorKind, message: String) -> Self {
        let status = match kind {
            BusErrorKind::Transient | BusErrorKind::StreamFull => StatusCode::SERVICE_UNAVAILABLE,
            BusErrorKind::Configuration => StatusCode::INTERNAL_SERVER_ERROR,
            // A part of it is missing.
            BusErrorKind::Permanent => StatusCode::NOT_FOUND,
        };
        Self::Status(status, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_list_are_checked() {
        let read = |text: &str| page(&form_urlencoded(text));
        assert_eq!(read(""), Ok((50, None)));
        assert_eq!(read("limit=200&before=18446744073709551615"), Ok((200, Some(u64::MAX))));
        for text in
            ["limit=0", "limit=201", "limit=+5", "limit=", "before=0", "before=-1", "before=18446744073709551616"]
        {
            assert!(read(text).unwrap_err().contains("expected a whole number from 1"), "{text}");
        }
        assert!(read("limit=1&limit=2").unwrap_err().contains("repeated"));
        assert!(read("page=2").unwrap_err().contains("unknown parameter \"page\": expected limit, before"));
    }
}
