//! Requests that change something: a JSON object of known fields, and not too many. Besides [`access`](super::access),
//! which refuses other sites, a page elsewhere is kept out by the content type, which no form can send.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use spindle_core::log_limit::LogLimit;
use tokio::time::Instant;

use super::query_limits::RETRY_AFTER;
use super::receive;

/// Changes per [`PERIOD`]: far above what people decide, yet a page that repeats itself fills no stream.
const MAX_CHANGES: u32 = 60;
const PERIOD: Duration = Duration::from_secs(60);

/// Limit on changes; clones share it.
#[derive(Clone)]
pub(super) struct ChangeRate(Arc<Mutex<LogLimit<Instant>>>);

impl Default for ChangeRate {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LogLimit::new(MAX_CHANGES, PERIOD))))
    }
}

impl ChangeRate {
    /// Counts one change, or refuses it; `noun` names its kind in the plural.
    pub(super) fn count(&self, noun: &str) -> Result<(), (StatusCode, String)> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now()) {
            Some(_) => Ok(()),
            None => {
                let message = format!("more than {MAX_CHANGES} {noun} in {} s: repeat it later", PERIOD.as_secs());
                Err((StatusCode::TOO_MANY_REQUESTS, message))
            }
        }
    }
}

/// Receives the fields of a request, which must all be among `expected`.
pub(super) async fn receive_fields(
    request: Request,
    expected: &[&str],
) -> Result<Map<String, Value>, (StatusCode, String)> {
    if !is_json(request.headers()) {
        let message = "expected the header `Content-Type: application/json`".to_owned();
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let body = receive(request).await?;
    let fields: Map<String, Value> = serde_json::from_slice(&body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("body is not a valid JSON object: {error}")))?;
    match fields.keys().find(|name| !expected.contains(&name.as_str())) {
        Some(name) => {
            let message = format!("unknown field {}: expected {}", json!(name), expected.join(", "));
            Err((StatusCode::BAD_REQUEST, message))
        }
        None => Ok(fields),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    sent.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Returns a response with a JSON body; one that may succeed later says when.
pub(super) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response =
        (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response();
    if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}
