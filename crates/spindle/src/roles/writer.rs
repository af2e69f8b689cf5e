//! The writer: takes messages from the streams and stores them. It acknowledges a message only after the
//! store has it on disk, keeps as a dead letter what can never be stored, and fetches nothing while the
//! store is away: JetStream is the buffer. Events and metrics are two lanes, so neither waits for the other.
//! A lane has several batches in flight, so that it fetches and reads while the store works, and a store that
//! takes its time over each write is not waited for in between.
//!
//! - `lane`: fetches and reads batches.
//! - `batch`: stores and acknowledges one.
//! - `gate`: whether the store takes writes, and who tries when it does not.
//! - `order`: which batches must not overtake each other.
//! - `put_off`: bad messages whose dead letter cannot be kept.
//! - `readiness`, `figures`: what others are told. `said`: how often the log is.

mod batch;
mod figures;
mod gate;
mod lane;
mod order;
#[cfg(debug_assertions)]
mod planted;
mod put_off;
mod readiness;
mod said;

use std::time::Duration;

use anyhow::{Context, Result};
use spindle_bus::{
    Bus, BusError, BusErrorKind, Consumer, ConsumerLimits, EVENTS_STREAM, METRICS_STREAM, trim_acknowledged,
};
use spindle_store::Store;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::config;
use crate::telemetry::{STORE_BYTES, WRITER_LAG};
use put_off::MAX_PUT_OFF;
pub(crate) use readiness::Readiness;

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
const EVENTS_BYTES_PER_BATCH: usize = 1 << 20;
/// Writers that may share the consumers before they keep each other from fetching.
const WRITERS_PER_CONSUMER: usize = 4;
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

/// Stores until told to stop; what is in hand is finished first.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> Result<()> {
    let Parts { bus, store, config, retention, readiness } = parts;
    let n_in_hand = config.batches_in_flight.min(store.writes_at_once());
    let metrics_limits = ConsumerLimits {
        max_messages: config.batch_messages,
        max_bytes: config.batch_bytes,
        linger: config.batch_age,
        max_ack_pending: max_ack_pending(config.batch_messages, n_in_hand),
        ack_wait: ack_wait(METRICS_ACK_WAIT),
    };
    let events_limits = ConsumerLimits {
        max_messages: EVENTS_PER_BATCH,
        max_bytes: EVENTS_BYTES_PER_BATCH,
        linger: Duration::ZERO,
        max_ack_pending: max_ack_pending(EVENTS_PER_BATCH, n_in_hand),
        ack_wait: ack_wait(EVENTS_ACK_WAIT),
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
    readiness.set_at_work(true);
    info!("writer stores");
    let (metrics_lane, events_lane) = lane::lanes(bus.clone(), events_bus, store.clone(), readiness.clone(), n_in_hand);
    let mut parts = JoinSet::new();
    for (lane, intake) in [(metrics_lane, metrics), (events_lane, events)] {
        parts.spawn(lane.run(intake, stop.clone()));
    }
    parts.spawn(chores(bus.clone(), store.clone(), retention, stop.clone()));
    parts.spawn(figures::run(bus, store, readiness.clone(), stop));
    while let Some(ended) = parts.join_next().await {
        ended.context("a part of the writer crashed")?;
    }
    readiness.set_at_work(false);
    Ok(())
}

/// Room for what several writers on one consumer have in hand, and for what is put off: the bound is on all of
/// them together.
fn max_ack_pending(n_messages: usize, n_in_hand: usize) -> i64 {
    (n_messages * n_in_hand * WRITERS_PER_CONSUMER) as i64 + MAX_PUT_OFF
}

#[cfg(debug_assertions)]
fn ack_wait(usual: Duration) -> Duration {
    planted::ack_wait().unwrap_or(usual)
}

#[cfg(not(debug_assertions))]
fn ack_wait(usual: Duration) -> Duration {
    usual
}

/// Opens an intake, however long NATS is away.
async fn open(
    bus: &Bus,
    stream: &'static str,
    consumer: &'static str,
    limits: ConsumerLimits,
) -> Result<Consumer, BusError> {
    loop {
        match Consumer::open(bus.clone(), stream, consumer, limits).await {
            Err(fault) if fault.kind() == BusErrorKind::Transient => {
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

async fn chores(bus: Bus, store: Store, retention: Option<Duration>, stop: CancellationToken) {
    let mut ticker = interval(CHORES_EVERY);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticker.tick() => {}
        }
        for (stream, consumer) in [(METRICS_STREAM, METRICS_CONSUMER), (EVENTS_STREAM, EVENTS_CONSUMER)] {
            if let Ok(lag) = Consumer::lag(&bus, stream, consumer).await {
                WRITER_LAG.with_label_values(&[stream]).set(lag as i64);
            }
            match trim_acknowledged(&bus, stream).await {
                Ok(0) => {}
                Ok(n_messages) => info!(stream, n_messages, "stored messages removed from the stream to make room"),
                Err(error) => warn!(stream, %error, "no room could be made in the stream"),
            }
        }
        if let Ok(bytes) = store.size_bytes().await {
            STORE_BYTES.set(bytes as f64);
        }
        if let Some(kept) = retention.filter(|_| !store.enforces_retention()) {
            apply_retention(&store, kept).await;
        }
    }
}

/// Removal is said aloud: nothing leaves the store unseen.
async fn apply_retention(store: &Store, kept: Duration) {
    let limit = clock::now().minus(kept);
    match store.remove_received_before(limit).await {
        Ok(removed) if removed.n_metrics + removed.n_events == 0 => {}
        Ok(removed) => {
            info!(n_metrics = removed.n_metrics, n_events = removed.n_events, stored_before = %limit, "retention removed old data")
        }
        Err(error) => warn!(%error, "retention failed"),
    }
}
