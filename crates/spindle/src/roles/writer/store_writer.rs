//! Writes to the store until it has the batch, however long that takes; the circuit breaker decides who may try.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use spindle_core::{Batch, Timestamp};
use spindle_store::{Refusal, RefusedItem, Store, StoreError, WriteTime, Written};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::breaker::CircuitBreaker;
use super::clock_watch::Clocks;
use super::readiness::{Problem, Readiness};
use crate::log_limit::LogLimiter;
use crate::logging::chain;
use crate::metrics::{
    WRITER_DUPLICATE, WRITER_MISSING, WRITER_REFUSED, WRITER_REPLACED, WRITER_RETRIES, WRITER_STORE_WRITE_SECONDS,
    WRITER_STORED,
};

pub(super) struct StoreWriter {
    stream: &'static str,
    pub(super) store: Store,
    clocks: Clocks,
    breaker: Arc<CircuitBreaker>,
    /// The other lane's breaker: it retries at once when a write of this lane succeeds.
    neighbour: Arc<CircuitBreaker>,
    readiness: Readiness,
    log_limit: LogLimiter,
    /// Since the last success; a server that responds has not restarted.
    was_unreachable: AtomicBool,
    /// Notified when a store that was unreachable takes writes again.
    pub(super) recovered: Notify,
}

/// How a write ended.
pub(super) enum WriteEnd {
    Written(Written),
    /// The batch holds something that made the store's encoder panic.
    Panicked(Box<dyn Any + Send>),
}

impl StoreWriter {
    pub(super) fn new(
        stream: &'static str,
        (store, clocks): (Store, Clocks),
        breaker: Arc<CircuitBreaker>,
        neighbour: Arc<CircuitBreaker>,
        readiness: Readiness,
    ) -> Self {
        let log_limit = LogLimiter::new(1, Duration::from_secs(10));
        Self {
            stream,
            store,
            clocks,
            breaker,
            neighbour,
            readiness,
            log_limit,
            was_unreachable: AtomicBool::new(false),
            recovered: Notify::new(),
        }
    }

    /// Waits until the store takes writes, as far as is known.
    pub(super) async fn wait_available(&self) {
        self.breaker.closed().await;
    }

    /// Retries until the store has the batch; `None` only if `stop` came first. A few elements, `room`, may stay out for
    /// a reason that may pass; with more of them the batch counts as not stored. `as_of` is the arrival of a simulated past.
    pub(super) async fn write_until_stored(
        &self,
        batch: Arc<Batch>,
        room: usize,
        as_of: Option<Timestamp>,
        stop: &CancellationToken,
    ) -> Option<WriteEnd> {
        loop {
            let permit = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                permit = self.breaker.acquire() => permit,
            };
            let timer = WRITER_STORE_WRITE_SECONDS.start_timer();
            let write = async {
                #[cfg(debug_assertions)]
                super::failpoints::panic_on_write(&batch);
                self.store.write(batch.clone(), WriteTime { as_of, ..self.clocks.moment() }).await
            };
            let outcome = AssertUnwindSafe(write).catch_unwind().await;
            timer.observe_duration();
            match outcome.map(|written| written.and_then(|written| within_room(written, room))) {
                Ok(Ok(written)) => {
                    count(&written);
                    self.note_available();
                    if let Some(message) = &written.missing.arrivals_message {
                        self.readiness.report(self.stream, Problem::Index, message);
                    }
                    return Some(WriteEnd::Written(written));
                }
                Err(panic) => return Some(self.panicked(panic)),
                Ok(Err(StoreError::Panicked { message })) => return Some(self.panicked(Box::new(message))),
                Ok(Err(error)) => {
                    let opened = self.breaker.on_failure(&permit, retry_after(&error));
                    self.note_failure(error, opened);
                }
            }
        }
    }

    /// The batch is to blame, not the store: a breaker that stayed open could wait forever for a batch that closes it.
    fn panicked(&self, panic: Box<dyn Any + Send>) -> WriteEnd {
        self.note_available();
        WriteEnd::Panicked(panic)
    }

    fn note_available(&self) {
        if self.breaker.on_success() {
            info!(stream = self.stream, "store available again");
            if self.was_unreachable.swap(false, Ordering::Relaxed) {
                self.recovered.notify_one();
            }
        }
        self.readiness.clear(self.stream, Problem::Store);
        self.neighbour.retry_now();
    }

    fn note_failure(&self, error: StoreError, opened: bool) {
        if is_unreachable(&error) {
            self.was_unreachable.store(true, Ordering::Relaxed);
        }
        WRITER_RETRIES.with_label_values(&[if error.is_transient() { "unavailable" } else { "refused" }]).inc();
        let error = chain(error);
        self.readiness.report(self.stream, Problem::Store, &error);
        let n_suppressed = self.log_limit.allow();
        if opened || n_suppressed.is_some() {
            error!(stream = self.stream, error, n_suppressed, "store unavailable; nothing is acknowledged, retrying");
        }
    }
}

/// Returns an error if nothing went in, and more elements than `room` stay out without proof that they are at fault; also
/// if the clocks disagree about more of them, whatever went in: none of them may end as a dead letter.
fn within_room(written: Written, room: usize) -> Result<Written, StoreError> {
    if let Some(refused) = written.refused_for(Refusal::ClocksDisagree).nth(room) {
        return Err(StoreError::ClocksDisagree { message: refused.message.clone() });
    }
    if written.n_metrics_stored() + written.n_events_stored() > 0 {
        return Ok(written);
    }
    if let Some(refused) = written.refused_for(Refusal::Unproven).nth(room) {
        return Err(StoreError::NothingTaken { message: refused.message.clone() });
    }
    Ok(written)
}

/// Counts what the store confirmed, and never what it was sent.
fn count(written: &Written) {
    let add = |counter: &prometheus::IntCounterVec, kind, number: usize| {
        counter.with_label_values(&[kind]).inc_by(number as u64);
    };
    add(&WRITER_STORED, "metric", written.n_metrics + written.n_metrics_replaced);
    add(&WRITER_STORED, "event", written.n_events);
    add(&WRITER_DUPLICATE, "metric", written.n_metrics_known);
    add(&WRITER_DUPLICATE, "event", written.n_events_known);
    WRITER_REPLACED.inc_by(written.n_metrics_replaced as u64);
    add(&WRITER_MISSING, "label", written.missing.n_labels);
    add(&WRITER_MISSING, "arrival", written.missing.n_arrivals);
    for refused in &written.refused {
        let kind = match refused.item {
            RefusedItem::Metric(_) => "metric",
            RefusedItem::Event(_) => "event",
        };
        WRITER_REFUSED.with_label_values(&[kind, refused.reason.as_str()]).inc();
    }
}

/// The store did not respond, so it may have restarted.
pub(super) fn is_unreachable(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { responded: false, .. })
}

/// The pause that the server asked for.
fn retry_after(error: &StoreError) -> Option<Duration> {
    match error {
        StoreError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use spindle_store::Refused;

    use super::*;

    #[test]
    fn no_more_elements_stay_out_than_can_wait() {
        let written = |n_metrics, reason, n_refused| {
            let refused = |index| Refused { item: RefusedItem::Metric(index), reason, message: "no".to_owned() };
            Written { n_metrics, refused: (0..n_refused).map(refused).collect(), ..Written::default() }
        };
        let is_taken = |n_metrics, reason, n_refused| within_room(written(n_metrics, reason, n_refused), 2).is_ok();
        for (n_metrics, reason, n_refused, expected) in [
            (0, Refusal::Unproven, 2, true),
            (0, Refusal::Unproven, 3, false),
            (1, Refusal::Unproven, 3, true),
            (0, Refusal::ClocksDisagree, 2, true),
            (0, Refusal::ClocksDisagree, 3, false),
            (1, Refusal::ClocksDisagree, 3, false),
            (0, Refusal::BeyondRetention, 3, true),
        ] {
            assert_eq!(is_taken(n_metrics, reason, n_refused), expected, "{n_metrics} {reason:?} {n_refused}");
        }
    }
}
