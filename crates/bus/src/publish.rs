//! Publishing: a message counts when JetStream's ack arrives, not before.
//!
//! What is not yet acknowledged is held here, within a bound. While NATS is away or a stream is full the
//! hold grows; at the bound the oldest metrics are given up first and counted, and live sources are never
//! blocked. Messages keep their id over retries, so a repeated one is a duplicate the stream drops.
//!
//! They keep their order, too, those that are urgent and the others each: after a failure all of a queue that is on its
//! way is sent again in order, and after a lost connection everything, without waiting for time-outs. So a kill of
//! this process takes the newest away and leaves no hole. Not quite: async-nats sends what still lay in its own channel
//! when the connection was lost first; a kill before the older ones have followed leaves them out.

mod hold;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::connect::Bus;
use crate::error::{BusError, Kind};
use hold::{Held, Hold};

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
pub struct HoldLimits {
    /// Bytes of payload that are held at most, sent or not.
    pub max_bytes: usize,
    /// Messages in flight at most. Far below the 5,000 at which async-nats stops taking more.
    pub window: usize,
}

impl Default for HoldLimits {
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
    /// Whether the last answer was that a stream is full.
    pub stream_full: bool,
}

/// A handle to hand over messages; clones share the hold.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hold: std::sync::Mutex<Hold>,
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
    stream_full: std::sync::atomic::AtomicBool,
}

/// Time-outs after which the client is replaced: each leaves an entry behind in it (nats.rs #1617).
const TIMEOUTS_PER_CLIENT: u64 = 2_000;
/// How often the connection is looked at when nothing else happens.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

impl Publisher {
    /// A publisher, and the loop that does its work until the hold is closed and empty.
    pub fn new(bus: Bus, limits: HoldLimits) -> (Self, impl Future<Output = ()> + Send) {
        let shared = Arc::new(Shared {
            hold: std::sync::Mutex::new(Hold::new(limits.max_bytes)),
            counters: Counters::default(),
            work: Notify::new(),
            room: Notify::new(),
        });
        let publisher = Self { shared: shared.clone() };
        let work = Sending {
            bus,
            shared,
            window: limits.window,
            in_flight: FuturesUnordered::new(),
            sent: BTreeMap::new(),
            n_attempts: 0,
            n_connects: 0,
            pause: FIRST_RETRY,
            resume_at: Instant::now(),
            n_timeouts: 0,
        };
        (publisher, work.run())
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
            stream_full: counters.stream_full.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Sending {
    bus: Bus,
    shared: Arc<Shared>,
    window: usize,
    in_flight: FuturesUnordered<BoxFuture<'static, (Attempt, Result<bool, BusError>)>>,
    /// The messages on their way, by their place, and the attempt that counts: an earlier one may still be in flight.
    sent: BTreeMap<u64, (Attempt, Held)>,
    n_attempts: u64,
    /// Connections made when the messages on their way were sent.
    n_connects: u64,
    pause: Duration,
    resume_at: Instant,
    n_timeouts: u64,
}

/// One try at one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    place: u64,
    number: u64,
}

impl Sending {
    async fn run(mut self) {
        loop {
            self.send_what_fits();
            if self.sent.is_empty() && self.shared.lock().is_finished() {
                return;
            }
            let look_again_at = self.look_again_at();
            tokio::select! {
                Some((attempt, outcome)) = self.in_flight.next() => self.settle(attempt, outcome).await,
                () = self.shared.work.notified() => {}
                () = sleep_until(look_again_at) => {}
            }
        }
    }

    /// At the end of a pause, or soon: nobody says that the connection was lost or is there again.
    fn look_again_at(&self) -> Instant {
        let now = Instant::now();
        if now < self.resume_at { self.resume_at } else { now + LOOK_EVERY }
    }

    /// Nothing is sent into a dead connection: async-nats would queue it and report only time-outs.
    fn is_paused(&self) -> bool {
        !self.bus.is_connected() || Instant::now() < self.resume_at
    }

    fn send_what_fits(&mut self) {
        if self.is_paused() {
            self.resume_at = self.resume_at.max(Instant::now() + FIRST_RETRY);
            return;
        }
        let n_connects = self.bus.n_connects();
        if std::mem::replace(&mut self.n_connects, n_connects) != n_connects {
            // What was on its way went with the connection, or its ack did.
            self.take_back(|_| true);
        }
        while self.sent.len() < self.window {
            let Some(held) = self.shared.lock().take() else { return };
            let attempt = Attempt { place: held.place, number: self.n_attempts };
            self.n_attempts += 1;
            self.in_flight.push(Box::pin(send(self.bus.clone(), attempt, held.message.clone())));
            self.sent.insert(held.place, (attempt, held));
        }
    }

    /// What is on its way waits to be sent again, in its order.
    fn take_back(&mut self, which: impl Fn(&Outgoing) -> bool) {
        let mut hold = self.shared.lock();
        for (_, (_, held)) in self.sent.extract_if(.., |_, (_, held)| which(&held.message)) {
            self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
            hold.put_back(held);
        }
    }

    async fn settle(&mut self, attempt: Attempt, outcome: Result<bool, BusError>) {
        let counters = &self.shared.counters;
        let is_current = self.sent.get(&attempt.place).is_some_and(|(current, _)| *current == attempt);
        let error = match outcome {
            Ok(duplicate) if is_current => {
                let Some((_, held)) = self.sent.remove(&attempt.place) else { return };
                let n_items = held.message.n_items;
                counters.acked.fetch_add(n_items, Ordering::Relaxed);
                counters.duplicate.fetch_add(if duplicate { n_items } else { 0 }, Ordering::Relaxed);
                counters.stream_full.store(false, Ordering::Relaxed);
                self.pause = FIRST_RETRY;
                return self.forget(&held.message);
            }
            // It is on its way again, and that decides.
            Ok(_) => return,
            Err(error) => error,
        };
        if is_current {
            self.failed(attempt, &error);
        }
        self.n_timeouts += u64::from(error.kind() == Kind::Transient);
        if self.n_timeouts >= TIMEOUTS_PER_CLIENT && self.bus.is_connected() {
            self.replace_client().await;
        }
    }

    fn failed(&mut self, attempt: Attempt, error: &BusError) {
        let counters = &self.shared.counters;
        let Some((_, held)) = self.sent.get(&attempt.place) else { return };
        let (subject, urgent, n_items) = (held.message.subject, held.message.urgent, held.message.n_items);
        if error.kind() == Kind::Permanent {
            counters.refused.fetch_add(n_items, Ordering::Relaxed);
            tracing::error!(%error, n_items, "message given up: the server will never take it");
            if let Some((_, held)) = self.sent.remove(&attempt.place) {
                self.forget(&held.message);
            }
            return;
        }
        if error.kind() == Kind::StreamFull && !counters.stream_full.swap(true, Ordering::Relaxed) {
            warn!(subject, "stream is full and refuses new messages: holding them; is the writer storing?");
        }
        // With it goes all of its queue that is on its way, so that nothing overtakes it.
        self.take_back(|message| message.urgent == urgent);
        if Instant::now() >= self.resume_at {
            self.resume_at = Instant::now() + self.pause;
            self.pause = (self.pause * 2).min(LAST_RETRY);
        }
    }

    async fn replace_client(&mut self) {
        self.n_timeouts = 0;
        if let Ok(bus) = self.bus.renewed().await {
            info!("connection for publishing replaced after many time-outs");
            self.bus = bus;
            self.in_flight.clear();
            self.take_back(|_| true);
            self.n_connects = self.bus.n_connects();
        }
    }

    fn forget(&self, message: &Outgoing) {
        self.shared.lock().settled(message);
        self.shared.room.notify_waiters();
    }
}

/// Publishes one message and waits for its ack; true if the stream had it already.
async fn send(bus: Bus, attempt: Attempt, message: Outgoing) -> (Attempt, Result<bool, BusError>) {
    let outcome = publish(&bus, message.subject, &message.message_id, HeaderMap::new(), message.payload).await;
    (attempt, outcome)
}

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
    let sent = bus.jetstream.publish_with_headers(subject.to_owned(), headers, payload).await;
    let acked = match sent {
        Ok(ack) => ack.await,
        Err(error) => Err(error),
    };
    acked.map(|ack| ack.duplicate).map_err(|error| {
        let kind = match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Kind::Permanent,
            PublishErrorKind::Other => refusal(&error),
            _ => Kind::Transient,
        };
        BusError::caused(kind, format!("publish to {subject}"), error)
    })
}

/// What a refusal by JetStream means. 10077 says "full" and also wraps disk errors; both may pass.
fn refusal(error: &async_nats::jetstream::context::PublishError) -> Kind {
    let reply =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    match reply.map(async_nats::jetstream::Error::error_code) {
        Some(ErrorCode::STREAM_STORE_FAILED) => Kind::StreamFull,
        Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM) => Kind::Permanent,
        _ => Kind::Transient,
    }
}
