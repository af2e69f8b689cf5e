//! The writer: consumes the streams and writes to the store. It acknowledges a message only after the store has it on
//! disk, keeps as a dead letter what can never be stored, and fetches nothing while the store is unavailable: JetStream is
//! the buffer. Events and metrics are two lanes, so that neither waits for the other, and each lane has several batches in
//! flight, so that it fetches and decodes while the store works.
//!
//! The life of a batch, from top to bottom:
//! - `lane`: fetch, decode, join the write order, commit.
//! - `decode`: payloads to a batch and rejects; a panic rejects its message.
//! - `commit`: write, dead-letter, acknowledge; in this order.
//! - `store_writer`, `breaker`: writes until the store has it; who may try while it is unavailable.
//! - `dead_letters`, `deferrals`: keeps them, or defers their messages; and those that the store keeps out.
//! - `refused`: elements that the store refused, by message.
//! - `write_order`: batches that must not overtake each other.
//!
//! Beside it: `restore` (after the store came back with less), `indexes`, `housekeeping`, `stream_watch`, `clock_watch`,
//! `self_metrics`, `readiness`.

mod breaker;
mod clock_watch;
mod commit;
mod dead_letters;
mod decode;
mod deferrals;
#[cfg(debug_assertions)]
mod failpoints;
mod housekeeping;
mod indexes;
mod lane;
mod past;
mod readiness;
mod refused;
mod restore;
mod restore_claim;
mod self_metrics;
mod store_writer;
mod stream_watch;
mod write_order;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use spindle_bus::{Bus, BusError, Consumer, ConsumerLimits, EVENTS_STREAM, METRICS_STREAM, StreamLimits};
use spindle_store::Store;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use crate::config;
use crate::logging::chain;
use breaker::CircuitBreaker;
use clock_watch::Clocks;
use dead_letters::DeadLetters;
use decode::Decoder;
use deferrals::MAX_DEFERRED;
use lane::Lane;
pub(crate) use readiness::Readiness;
use store_writer::StoreWriter;
pub(crate) use stream_watch::fill_reason;

/// Durable consumer of events.
pub(crate) const EVENTS_CONSUMER: &str = "writer-events";
/// Durable consumer of metrics.
pub(crate) const METRICS_CONSUMER: &str = "writer-metrics";

/// Longer than a batch may age and be stored; a slow store gets progress acks on top. Also the time until messages in
/// flight in a killed writer are redelivered: less for events.
const METRICS_ACK_WAIT: Duration = Duration::from_secs(30);
const EVENTS_ACK_WAIT: Duration = Duration::from_secs(10);
/// Events are few and must not wait: small batches.
const EVENTS_PER_BATCH: usize = 500;
const EVENTS_BYTES_PER_BATCH: usize = 1 << 20;
/// The longest pause between two tries of an unavailable store. Events must not wait long after its return.
const METRICS_MAX_RETRY: Duration = Duration::from_secs(2);
const EVENTS_MAX_RETRY: Duration = Duration::from_millis(500);
/// Writers that may share the consumers before they keep each other from fetching.
const WRITERS_PER_CONSUMER: usize = 4;
const OPEN_RETRY: Duration = Duration::from_millis(500);

/// What the writer works with.
pub(crate) struct Parts {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) config: config::WriterConfig,
    pub(crate) retention: Option<Duration>,
    pub(crate) streams: StreamLimits,
    pub(crate) readiness: Readiness,
}

/// The two lanes differ in this.
struct LaneConfig {
    stream: &'static str,
    durable: &'static str,
    decoder: Decoder,
    /// A connection of its own: events must not queue behind metrics on a socket either.
    bus: Bus,
    limits: ConsumerLimits,
    n_in_flight: usize,
}

/// Writes until `stop`; batches in flight are committed first.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> Result<()> {
    let Parts { bus, store, config, retention, streams, readiness } = parts;
    let configs = lane_configs(&bus, &config, &store).await?;
    let opened = async { Ok::<_, BusError>([open(&configs[0]).await?, open(&configs[1]).await?]) };
    let consumers = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        opened = opened => opened?,
    };
    let clocks = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        clocks = Clocks::new(store.clone(), &bus) => clocks,
    };
    let (mut parts, mut restores) = (JoinSet::new(), Vec::new());
    for (lane, restorer, (consumer, delivered)) in lanes(configs, consumers, (&store, &clocks), &readiness) {
        restores.push((restorer.stream, restorer.is_pending.clone()));
        parts.spawn(restorer.run(delivered, stop.clone()).in_current_span());
        parts.spawn(Arc::new(lane).run(consumer, stop.clone()).in_current_span());
    }
    readiness.set_running(true);
    info!("writer started");
    let housekeeping = housekeeping::run(
        bus.clone(),
        (store.clone(), clocks.clone()),
        config.replay_tail,
        retention,
        restores,
        stop.clone(),
    );
    parts.spawn(housekeeping.in_current_span());
    parts.spawn(stream_watch::run(bus.clone(), streams, readiness.clone(), stop.clone()).in_current_span());
    parts.spawn(clock_watch::run(clocks, bus.clone(), readiness.clone(), stop.clone()).in_current_span());
    parts.spawn(indexes::run(store.clone(), stop.clone()).in_current_span());
    parts.spawn(self_metrics::run(bus, store, readiness.clone(), stop).in_current_span());
    while let Some(ended) = parts.join_next().await {
        ended.context("a part of the writer panicked")?;
    }
    readiness.set_running(false);
    Ok(())
}

async fn lane_configs(bus: &Bus, config: &config::WriterConfig, store: &Store) -> Result<[LaneConfig; 2], BusError> {
    let n_in_flight = config.batches_in_flight.min(store.writes_at_once());
    let metrics = LaneConfig {
        stream: METRICS_STREAM,
        durable: METRICS_CONSUMER,
        decoder: Decoder::METRICS,
        bus: bus.clone(),
        limits: ConsumerLimits {
            max_messages: config.batch_messages,
            max_bytes: config.batch_bytes,
            linger: config.batch_age,
            max_ack_pending: max_ack_pending(config.batch_messages, n_in_flight),
            ack_wait: ack_wait(METRICS_ACK_WAIT),
        },
        n_in_flight,
    };
    let events = LaneConfig {
        stream: EVENTS_STREAM,
        durable: EVENTS_CONSUMER,
        decoder: Decoder::EVENTS,
        bus: bus.another("spindle-writer-events").await?,
        limits: ConsumerLimits {
            max_messages: EVENTS_PER_BATCH,
            max_bytes: EVENTS_BYTES_PER_BATCH,
            linger: Duration::ZERO,
            max_ack_pending: max_ack_pending(EVENTS_PER_BATCH, n_in_flight),
            ack_wait: ack_wait(EVENTS_ACK_WAIT),
        },
        n_in_flight,
    };
    Ok([metrics, events])
}

fn lanes(
    configs: [LaneConfig; 2],
    consumers: [(Consumer, u64); 2],
    (store, clocks): (&Store, &Clocks),
    readiness: &Readiness,
) -> Vec<(Lane, restore::Restorer, (Consumer, u64))> {
    let breakers = [METRICS_MAX_RETRY, EVENTS_MAX_RETRY].map(|max_retry| Arc::new(CircuitBreaker::new(max_retry)));
    let neighbours = [breakers[1].clone(), breakers[0].clone()];
    let parts = configs.into_iter().zip(consumers).zip(breakers).zip(neighbours);
    parts
        .map(|(((config, consumer), breaker), neighbour)| {
            let LaneConfig { stream, durable, decoder, bus, n_in_flight, .. } = config;
            let dead_letters = DeadLetters::new(stream, bus.clone(), readiness.clone());
            let store_writer =
                StoreWriter::new(stream, (store.clone(), clocks.clone()), breaker, neighbour, readiness.clone());
            let lane = Lane::new(stream, decoder, dead_letters, store_writer, n_in_flight);
            let restorer = lane.restorer(bus, durable);
            (lane, restorer, consumer)
        })
        .collect()
}

/// Room for what several writers on one consumer have in flight, and for deferred messages: the limit is for all of them
/// together.
fn max_ack_pending(n_messages: usize, n_in_flight: usize) -> i64 {
    (n_messages * n_in_flight * WRITERS_PER_CONSUMER) as i64 + MAX_DEFERRED
}

#[cfg(debug_assertions)]
fn ack_wait(default: Duration) -> Duration {
    failpoints::ack_wait().unwrap_or(default)
}

#[cfg(not(debug_assertions))]
fn ack_wait(default: Duration) -> Duration {
    default
}

/// Opens the consumer, however long NATS is unavailable; with the newest message that was delivered before.
async fn open(config: &LaneConfig) -> Result<(Consumer, u64), BusError> {
    let LaneConfig { stream, durable, bus, limits, .. } = config;
    loop {
        let opened = async {
            let consumer = Consumer::open(bus.clone(), stream, durable, *limits).await?;
            Ok::<_, BusError>((consumer, bus.consumer_position(stream, durable).await?.delivered))
        };
        match opened.await {
            Err(error) if error.is_transient() => {
                warn!(stream, error = chain(error), "consumer could not be opened, retrying");
                sleep(OPEN_RETRY).await;
            }
            opened => return opened,
        }
    }
}
