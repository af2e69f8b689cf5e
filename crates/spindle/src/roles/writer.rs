//! The writer: takes messages from the streams and stores them. It acknowledges a message only after the
//! store has it on disk, keeps as a dead letter what can never be stored, and fetches nothing while the
//! store is away: JetStream is the buffer. Events and metrics are two lanes, so neither waits for the other.

mod figures;
mod lane;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use spindle_bus::{Bus, BusError, EVENTS_STREAM, Intake, IntakeLimits, Kind, METRICS_STREAM, purge_stored};
use spindle_core::reading::TimeBasis;
use spindle_store::Store;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::config;
use crate::telemetry::{STORE_BYTES, WRITER_LAG};
use lane::Lane;

/// Durable consumer of events.
pub(crate) const EVENTS_CONSUMER: &str = "writer-events";
/// Durable consumer of metrics.
pub(crate) const METRICS_CONSUMER: &str = "writer-metrics";

/// Longer than a batch may age and be stored; a slow store gets progress acks on top. Also how long what
/// a killed writer had in hand is waited for: less for events.
const METRICS_ACK_WAIT: Duration = Duration::from_secs(30);
const EVENTS_ACK_WAIT: Duration = Duration::from_secs(10);
/// Events are few and must not wait: small batches.
const EVENTS_PER_BATCH: usize = 500;
/// How often streams are looked at for room and lag.
const CHORES_EVERY: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What the writer works with.
pub(crate) struct Parts {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) config: config::Writer,
    pub(crate) retention: Option<Duration>,
    pub(crate) readiness: Readiness,
}

/// Whether the writer can store, for `/readyz`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Stores until told to stop; what is in hand is finished first.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> Result<()> {
    let Parts { bus, store, config, retention, readiness } = parts;
    let metrics_limits = IntakeLimits {
        max_messages: config.batch_messages,
        max_bytes: config.batch_bytes,
        linger: config.batch_age,
        max_ack_pending: (config.batch_messages * 4) as i64,
        ack_wait: METRICS_ACK_WAIT,
    };
    let events_limits = IntakeLimits {
        max_messages: EVENTS_PER_BATCH,
        linger: Duration::ZERO,
        ack_wait: EVENTS_ACK_WAIT,
        max_ack_pending: (EVENTS_PER_BATCH * 4) as i64,
        ..metrics_limits
    };
    // Connections of their own: events must not queue behind metrics on a socket either.
    let events_bus = bus.another("spindle-writer-events").await?;
    let opened = async {
        let metrics = open(&bus, METRICS_STREAM, METRICS_CONSUMER, metrics_limits).await?;
        Ok::<_, BusError>((metrics, open(&events_bus, EVENTS_STREAM, EVENTS_CONSUMER, events_limits).await?))
    };
    let (metrics, events) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        opened = opened => opened?,
    };
    readiness.set(true);
    info!("writer stores");
    let metrics = Lane::metrics(bus.clone(), store.clone(), metrics, readiness.clone());
    let events = Lane::events(events_bus, store.clone(), events, readiness.clone());
    let figures = figures::run(&bus, &store, &readiness, stop.clone());
    tokio::join!(metrics.run(stop.clone()), events.run(stop.clone()), chores(&bus, &store, retention, stop), figures);
    readiness.set(false);
    Ok(())
}

/// Opens an intake, however long NATS is away.
async fn open(
    bus: &Bus,
    stream: &'static str,
    consumer: &'static str,
    limits: IntakeLimits,
) -> Result<Intake, BusError> {
    loop {
        match Intake::open(bus.clone(), stream, consumer, limits).await {
            Err(fault) if fault.kind() == Kind::Transient => {
                warn!(
                    stream,
                    error = format!("{:#}", anyhow::Error::from(fault)),
                    "consumer could not be opened, trying again"
                );
                sleep(RETRY_EVERY).await;
            }
            opened => return opened,
        }
    }
}

async fn chores(bus: &Bus, store: &Store, retention: Option<Duration>, stop: CancellationToken) {
    let mut ticker = interval(CHORES_EVERY);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticker.tick() => {}
        }
        for (stream, consumer) in [(METRICS_STREAM, METRICS_CONSUMER), (EVENTS_STREAM, EVENTS_CONSUMER)] {
            if let Ok(lag) = Intake::lag(bus, stream, consumer).await {
                WRITER_LAG.with_label_values(&[stream]).set(lag as i64);
            }
            match purge_stored(bus, stream).await {
                Ok(0) => {}
                Ok(n_messages) => info!(stream, n_messages, "stored messages removed from the stream to make room"),
                Err(error) => warn!(stream, %error, "no room could be made in the stream"),
            }
        }
        if let Ok(bytes) = store.size_bytes().await {
            STORE_BYTES.set(bytes as f64);
        }
        if let Some(kept) = retention.filter(|_| !store.keeps_retention()) {
            apply_retention(store, kept).await;
        }
    }
}

/// Removal is said aloud: nothing leaves the store unseen.
async fn apply_retention(store: &Store, kept: Duration) {
    let limit = clock::now().minus(kept);
    match store.remove_before(limit, TimeBasis::Received).await {
        Ok(removed) if removed.n_metrics + removed.n_events == 0 => {}
        Ok(removed) => {
            info!(n_metrics = removed.n_metrics, n_events = removed.n_events, stored_before = %limit, "retention removed old data")
        }
        Err(error) => warn!(%error, "retention failed"),
    }
}
