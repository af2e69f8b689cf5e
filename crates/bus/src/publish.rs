//! Publishing: a message counts when JetStream's ack arrives, not before.
//!
//! What is not yet acknowledged is held here, within a bound. While NATS is away or a stream is full the
//! hold grows; at the bound the oldest metrics are given up first and counted, and live sources are never
//! blocked. Messages keep their id over retries, so a repeated one is a duplicate the stream drops.
//!
//! They keep their order, too, those that are urgent and the others each: after a failure all of a queue that is on its
//! way is sent again in order, and after a lost connection everything, without waiting for time-outs. The first of
//! them goes alone, until it is acknowledged: a server that has just come back may refuse it and take the next. So a
//! kill of this process takes the newest away and leaves no hole. Almost: async-nats sends the one message that still
//! lay in its channel when the connection was lost first; a kill in that moment leaves those before it out.

mod outbound;
mod send_loop;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_nats::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};
use outbound::OutboundBuffer;
use send_loop::SendLoop;

/// A message to be published.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub subject: &'static str,
    /// Its id, the same over all retries.
    pub message_id: String,
    /// Its bytes.
    pub payload: Bytes,
    /// Metrics or events in it, for the counters.
    pub n_items: u64,
    /// Urgent messages go first and are given up last: events before metrics.
    pub urgent: bool,
}

/// How much may wait for an ack.
#[derive(Clone, Copy, Debug)]
pub struct BufferLimits {
    /// Bytes of payload that are held at most, sent or not.
    pub max_bytes: usize,
    /// Messages in flight at most. Far below the 5,000 at which async-nats stops taking more.
    pub window: usize,
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, window: 256 }
    }
}

/// What became of the items handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishStats {
    /// Acknowledged by JetStream.
    pub n_acked: u64,
    /// Of these, recognised as already stored.
    pub n_duplicate: u64,
    /// Given up because the hold was full or closed.
    pub n_given_up_full: u64,
    /// Given up because the server will never take them (too large).
    pub n_given_up_refused: u64,
    /// Held and not yet acknowledged.
    pub n_held: u64,
    /// Publishes that were tried again.
    pub n_retries: u64,
    /// Whether the last answer of a stream was that it is full.
    pub stream_full: bool,
}

/// A handle to hand over messages; clones share the hold.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hold: std::sync::Mutex<OutboundBuffer>,
    counters: Counters,
    /// Something was handed over.
    work: Notify,
    /// Something left the hold.
    room: Notify,
}

#[derive(Debug, Default)]
struct Counters {
    acked: AtomicU64,
    duplicate: AtomicU64,
    full: AtomicU64,
    refused: AtomicU64,
    retries: AtomicU64,
    /// Of each queue.
    stream_full: [AtomicBool; 2],
}

impl Publisher {
    /// A publisher, and the loop that does its work until the hold is closed and empty.
    pub fn new(bus: Bus, limits: BufferLimits) -> (Self, impl Future<Output = ()> + Send) {
        let shared = Arc::new(Shared {
            hold: std::sync::Mutex::new(OutboundBuffer::new(limits.max_bytes)),
            counters: Counters::default(),
            work: Notify::new(),
            room: Notify::new(),
        });
        let publisher = Self { shared: shared.clone() };
        (publisher, SendLoop::new(bus, shared, limits.window).run())
    }

    /// Hands a message over without waiting. When the hold is full, the oldest that are not urgent are
    /// given up for it, and counted.
    pub fn hold(&self, message: Outgoing) {
        let n_given_up = self.shared.lock().push_giving_up(message);
        self.shared.counters.full.fetch_add(n_given_up, Ordering::Relaxed);
        self.shared.work.notify_one();
    }

    /// Hands a message over, waiting for room: for sources that can wait, such as a recording. Gives
    /// nothing up, unless the publisher is closed.
    pub async fn hold_when_room(&self, mut message: Outgoing) {
        loop {
            let room = self.shared.room.notified();
            let taken = self.shared.lock().push_if_room(message);
            message = match taken {
                Ok(n_given_up) => {
                    self.shared.counters.full.fetch_add(n_given_up, Ordering::Relaxed);
                    self.shared.work.notify_one();
                    return;
                }
                Err(refused) => refused,
            };
            room.await;
        }
    }

    /// Takes nothing more, not even from who waits for room; what is held still goes out.
    pub fn close(&self) {
        self.shared.lock().close();
        self.shared.work.notify_one();
        self.shared.room.notify_waiters();
    }

    /// Returns when nothing is held any more. Never, while NATS is away: bound it by a time-out.
    pub async fn drained(&self) {
        loop {
            let room = self.shared.room.notified();
            if self.shared.lock().n_items() == 0 {
                return;
            }
            room.await;
        }
    }

    /// What became of everything handed over so far.
    pub fn stats(&self) -> PublishStats {
        let counters = &self.shared.counters;
        PublishStats {
            n_acked: counters.acked.load(Ordering::Relaxed),
            n_duplicate: counters.duplicate.load(Ordering::Relaxed),
            n_given_up_full: counters.full.load(Ordering::Relaxed),
            n_given_up_refused: counters.refused.load(Ordering::Relaxed),
            n_held: self.shared.lock().n_items(),
            n_retries: counters.retries.load(Ordering::Relaxed),
            stream_full: counters.stream_full.iter().any(|is_full| is_full.load(Ordering::Relaxed)),
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, OutboundBuffer> {
        self.hold.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An ack on its way: true if the stream had the message already.
type Ack = BoxFuture<'static, Result<bool, BusError>>;

/// Publishes one message and waits for its ack; true if the stream had it already.
pub(crate) async fn publish(
    bus: &Bus,
    subject: &str,
    message_id: &str,
    mut headers: HeaderMap,
    payload: Bytes,
) -> Result<bool, BusError> {
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
    publish_message(bus, subject, headers, payload).await
}

/// Without an id of its own: the stream cannot recognise it when it comes twice.
pub(crate) async fn publish_message(
    bus: &Bus,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<bool, BusError> {
    hand_over(bus, subject, headers, payload).await?.await
}

/// Waits until async-nats has taken a message; its ack comes later.
async fn hand_over(bus: &Bus, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<Ack, BusError> {
    let subject = subject.to_owned();
    match bus.jetstream.publish_with_headers(subject.clone(), headers, payload).await {
        Ok(ack) => Ok(ack
            .into_future()
            .map(move |acked| acked.map(|ack| ack.duplicate).map_err(|error| failure(&subject, error)))
            .boxed()),
        Err(error) => Err(failure(&subject, error)),
    }
}

fn failure(subject: &str, error: PublishError) -> BusError {
    let kind = match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => BusErrorKind::Permanent,
        PublishErrorKind::Other => refusal(&error),
        _ => BusErrorKind::Transient,
    };
    BusError::caused(kind, format!("publish to {subject}"), error)
}

/// What a refusal by JetStream means. 10077 says "full" and also wraps disk errors; both may pass.
fn refusal(error: &PublishError) -> BusErrorKind {
    let reply =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    match reply.map(async_nats::jetstream::Error::error_code) {
        Some(ErrorCode::STREAM_STORE_FAILED) => BusErrorKind::StreamFull,
        Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM) => {
            BusErrorKind::Permanent
        }
        _ => BusErrorKind::Transient,
    }
}
