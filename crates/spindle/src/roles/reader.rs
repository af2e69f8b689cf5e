//! The reader: answers queries over NATS, as a micro service that `nats service ls` lists.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use serde_json::value::RawValue;
use spindle_bus::{Bus, Endpoint, Reply, ServiceLimits, Unanswered, serve};
use spindle_core::query::{MAX_QUERY_BYTES, QUERY_TYPES, Query, QueryError};
use spindle_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::clock;
use crate::metrics::{READER_EXPIRED, READER_REFUSED};
use crate::query_service::{QueryService, Served, refusal};

/// Name of the NATS micro service.
const SERVICE: &str = "spindle-reader";
/// Time from the arrival of a query to its answer: as long as `spindle query` and the client wait.
const DEADLINE: Duration = Duration::from_secs(10);
const LIMITS: ServiceLimits = ServiceLimits { max_request_bytes: MAX_QUERY_BYTES, deadline: DEADLINE, refuse };
/// Bytes of a message reserved for headers and for what the server adds.
const HEADER_BYTES: usize = 16 << 10;

/// Everything the reader works with.
pub(crate) struct Parts {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    /// Subject of queries; each type is also served on `<subject>.<type>`, with its parameters alone.
    pub(crate) subject: String,
}

/// Answers queries until `stop`.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> Result<()> {
    let Parts { bus, store, subject } = parts;
    let bus = bus.another_for_answering("spindle-reader").await?;
    let endpoints = endpoints(&subject);
    info!(subject, "reader started");
    let max_bytes = bus.max_payload().saturating_sub(HEADER_BYTES);
    let service = QueryService::new(store);
    let handle = move |index: usize, payload: Bytes| {
        let service = service.clone();
        async move {
            let query = Query::from_json(&request_body(index, &payload), clock::now());
            reply(service.serve(query, max_bytes).await)
        }
    };
    let about = (SERVICE, env!("CARGO_PKG_VERSION"));
    serve(&bus, about, &endpoints, LIMITS, handle, stop.cancelled_owned()).await?;
    bus.close().await;
    Ok(())
}

/// Counts a query that is not answered, and says so to a sender who still waits.
fn refuse(reason: Unanswered) -> Option<Reply> {
    let (label, code, message) = match reason {
        Unanswered::TooLarge(n_bytes) => ("too_large", 413, QueryError::TooLarge(n_bytes).to_string()),
        Unanswered::Busy => ("busy", 503, "too many queries wait: repeat it later".to_owned()),
        Unanswered::Expired => {
            READER_EXPIRED.inc();
            return None;
        }
    };
    READER_REFUSED.with_label_values(&[label]).inc();
    Some(Reply { body: refusal(&message).into(), error: Some((code, message)) })
}

fn endpoints(subject: &str) -> Vec<Endpoint> {
    let any = Endpoint {
        name: "query".to_owned(),
        subject: subject.to_owned(),
        description: "any query: {\"query_type\":…,\"params\":{…}}".to_owned(),
    };
    let typed = QUERY_TYPES.iter().map(|query_type| Endpoint {
        name: query_type.name.to_owned(),
        subject: format!("{subject}.{}", query_type.name),
        description: format!("{}; takes the parameters alone", query_type.help),
    });
    std::iter::once(any).chain(typed).collect()
}

/// Returns the body of the query: the first endpoint receives it whole, the others only the parameters.
fn request_body(endpoint: usize, payload: &Bytes) -> Bytes {
    let Some(query_type) = endpoint.checked_sub(1).and_then(|index| QUERY_TYPES.get(index)) else {
        return payload.clone();
    };
    if payload.is_empty() {
        return format!("{{\"query_type\":\"{}\"}}", query_type.name).into();
    }
    match serde_json::from_slice::<&RawValue>(payload) {
        Ok(params) => format!("{{\"query_type\":\"{}\",\"params\":{params}}}", query_type.name).into(),
        // Invalid JSON: parsing the payload alone gives the right error.
        Err(_) => payload.clone(),
    }
}

fn reply(served: Served) -> Reply {
    let error = served.failure.map(|failure| (if failure.is_bad_query { 400 } else { 503 }, failure.message));
    Reply { body: served.json.into(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_endpoint_needs_only_the_parameters() {
        let index = 1 + QUERY_TYPES.iter().position(|query_type| query_type.name == "devices").unwrap();
        assert_eq!(request_body(index, &Bytes::new()), r#"{"query_type":"devices"}"#);
        assert_eq!(
            request_body(index, &Bytes::from(r#"{"limit":3}"#)),
            r#"{"query_type":"devices","params":{"limit":3}}"#
        );
        assert_eq!(request_body(0, &Bytes::from("x")), "x");
    }
}
