//! Bounds on the queries of all clients together: on those that run, and on the bytes of the answers that clients have
//! not read yet. Beyond them a query is refused with status 503, to be repeated later.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::query_service::refusal;

/// Queries that run at once.
const MAX_RUNNING: usize = 8;
/// Longest wait of a query for its turn.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Bytes of all answers that are on their way: several of the largest.
const MAX_ANSWERS_BYTES: usize = 64 << 20;
/// Time after which a refused query may be repeated, in seconds.
pub(super) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Room for queries and their answers; clones share it.
#[derive(Clone)]
pub(super) struct QueryLimits {
    turns: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(MAX_RUNNING)), bytes: Arc::new(Semaphore::new(MAX_ANSWERS_BYTES)) }
    }
}

/// An answer with its share of the room.
struct HeldAnswer {
    json: Vec<u8>,
    _bytes: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

impl QueryLimits {
    /// Waits for a turn; `None` if none comes in time.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        timeout(MAX_WAIT, self.turns.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Counts an answer until its last byte is on its way; `None` if there is no room.
    pub(super) fn hold(&self, json: Vec<u8>) -> Option<Bytes> {
        let n_bytes = u32::try_from(json.len()).ok()?;
        let _bytes = self.bytes.clone().try_acquire_many_owned(n_bytes).ok()?;
        Some(Bytes::from_owner(HeldAnswer { json, _bytes }))
    }
}

/// Returns the response to a query for which there is no room.
pub(super) fn busy() -> Response {
    let json = refusal("too many queries at once: repeat it later");
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json")), (header::RETRY_AFTER, RETRY_AFTER)];
    (StatusCode::SERVICE_UNAVAILABLE, headers, json).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn beyond_its_turns_a_query_waits_and_is_refused() {
        let limits = QueryLimits::default();
        let mut turns = Vec::new();
        for _ in 0..MAX_RUNNING {
            turns.push(limits.turn().await.unwrap());
        }
        assert!(limits.turn().await.is_none());
        turns.pop();
        assert!(limits.turn().await.is_some());
        let refused = busy();
        assert_eq!(
            (refused.status(), &refused.headers()[header::RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &RETRY_AFTER)
        );
    }

    #[test]
    fn answers_that_nobody_reads_are_bounded() {
        let limits = QueryLimits::default();
        let answer = || vec![0; MAX_ANSWERS_BYTES / 4];
        let held: Vec<_> = (0..4).map(|_| limits.hold(answer()).unwrap()).collect();
        assert!(limits.hold(vec![0]).is_none());
        drop(held);
        assert!(limits.hold(answer()).is_some());
    }
}
