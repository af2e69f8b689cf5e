//! Housekeeping: lag and size for the metrics, room in the streams, retention in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use spindle_bus::{Bus, Consumer, EVENTS_STREAM, METRICS_STREAM, trim_acknowledged};
use spindle_core::Timestamp;
use spindle_store::Store;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::clock_watch::Clocks;
use super::{EVENTS_CONSUMER, METRICS_CONSUMER};
use crate::logging::chain;
use crate::metrics::{STORE_BYTES, WRITER_LAG};

const INTERVAL: Duration = Duration::from_secs(10);

/// Runs until `stop`. The last `replay_tail` of each stream is never trimmed, as far as it fits into half of it, and
/// nothing at all while a restore is pending; `restores` has that flag for each stream.
pub(super) async fn run(
    bus: Bus,
    (store, clocks): (Store, Clocks),
    replay_tail: Duration,
    retention: Option<Duration>,
    restores: Vec<(&'static str, Arc<AtomicBool>)>,
    stop: CancellationToken,
) {
    let mut ticker = interval(INTERVAL);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticker.tick() => {}
        }
        // NATS may hang: a shutdown does not wait for it. Whatever is dropped half-way goes on the next time.
        tokio::select! {
            () = stop.cancelled() => return,
            () = pass(&bus, (&store, &clocks), replay_tail, retention, &restores) => {}
        }
    }
}

async fn pass(
    bus: &Bus,
    (store, clocks): (&Store, &Clocks),
    replay_tail: Duration,
    retention: Option<Duration>,
    restores: &[(&'static str, Arc<AtomicBool>)],
) {
    for (stream, consumer) in [(METRICS_STREAM, METRICS_CONSUMER), (EVENTS_STREAM, EVENTS_CONSUMER)] {
        if let Ok(lag) = Consumer::lag(bus, stream, consumer).await {
            WRITER_LAG.with_label_values(&[stream]).set(lag as i64);
        }
        if restores.iter().any(|(of, is_pending)| *of == stream && is_pending.load(Ordering::Relaxed)) {
            continue;
        }
        match trim_acknowledged(bus, stream, consumer, replay_tail, clocks.moment().earliest).await {
            Ok(0) => {}
            Ok(n_messages) => info!(stream, n_messages, "stream trimmed"),
            Err(error) => warn!(stream, error = chain(error), "trim failed"),
        }
    }
    if let Ok(bytes) = store.size_bytes().await {
        STORE_BYTES.set(bytes as f64);
    }
    if let Some(retention) = retention.filter(|_| !store.enforces_retention()) {
        apply_retention(store, clocks.moment().earliest.minus(retention)).await;
    }
}

/// Logs what it removed: nothing leaves the store unseen. `limit` is by the earliest of the clocks that are known.
async fn apply_retention(store: &Store, limit: Timestamp) {
    match store.remove_before(limit).await {
        Ok(removed) if removed.n_metrics + removed.n_events == 0 => {}
        Ok(removed) => {
            let (n_metrics, n_events) = (removed.n_metrics, removed.n_events);
            info!(n_metrics, n_events, older_than = %limit, "retention applied");
        }
        Err(error) => warn!(error = chain(error), "retention failed"),
    }
}
