//! The loop that sends buffered messages in order, and sends them again until they are acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::HeaderMap;
use futures::future::{BoxFuture, poll_fn};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use spindle_core::backoff::Backoff;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::jetstream::{Ack, hand_over};
use super::outbound::{Buffered, Outgoing, Queue};
use super::shared::Shared;
use crate::as_of::AS_OF;
use crate::connect::{Bus, NO_JITTER};
use crate::error::{BusError, BusErrorKind, chain_message};

/// Timeouts after which the client is replaced: each leaves an entry behind in it (nats.rs #1617).
const TIMEOUTS_PER_CLIENT: u64 = 2_000;
/// Interval at which the connection is checked when nothing else happens.
const CONNECTION_CHECK_INTERVAL: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

pub(super) struct SendLoop {
    bus: Bus,
    shared: Arc<Shared>,
    window: usize,
    /// The message that async-nats is taking. One at a time: concurrently they would overtake each other.
    handing_over: Option<(Attempt, BoxFuture<'static, Result<Ack, BusError>>)>,
    acks: FuturesUnordered<BoxFuture<'static, (Attempt, Result<bool, BusError>)>>,
    /// Messages in flight by position, each with the attempt that counts: the ack of an earlier one may still come.
    in_flight: BTreeMap<u64, (Attempt, Buffered)>,
    n_attempts: u64,
    /// Connection count when the messages in flight were sent.
    n_connects: u64,
    /// One for each queue: a full stream stops only its own.
    pacing: [Pacing; 2],
    n_timeouts: u64,
}

/// Send permission of a queue.
struct Pacing {
    /// Restricts the queue to one message in flight, to see if it is taken.
    probing: bool,
    resume_at: Instant,
    backoff: Backoff,
}

impl Pacing {
    fn new() -> Self {
        Self { probing: true, resume_at: Instant::now(), backoff: Backoff::new(FIRST_RETRY, LAST_RETRY) }
    }

    fn on_success(&mut self) {
        self.probing = false;
        self.backoff.reset();
    }

    /// Starts a pause, unless one is running: one cause fails many messages.
    fn on_failure(&mut self) {
        let now = Instant::now();
        if now >= self.resume_at {
            self.resume_at = now + self.backoff.next(NO_JITTER);
        }
    }
}

/// Next event of the messages in flight.
enum Step {
    /// async-nats has taken the message.
    HandedOver(Attempt, Ack),
    /// The message was acknowledged or failed.
    Settled(Attempt, Result<bool, BusError>),
    /// The connection is no longer the one on which the messages were sent.
    NewConnection,
}

/// One attempt to send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    position: u64,
    number: u64,
}

impl SendLoop {
    pub(super) fn new(bus: Bus, shared: Arc<Shared>, window: usize) -> Self {
        Self {
            bus,
            shared,
            window,
            handing_over: None,
            acks: FuturesUnordered::new(),
            in_flight: BTreeMap::new(),
            n_attempts: 0,
            n_connects: 0,
            pacing: [Pacing::new(), Pacing::new()],
            n_timeouts: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        loop {
            self.send_next();
            if self.in_flight.is_empty() && self.shared.buffer().is_finished() {
                return;
            }
            let next_check = self.next_check();
            tokio::select! {
                step = poll_fn(|context| self.poll_step(context)) => match step {
                    Step::HandedOver(attempt, ack) => {
                        self.acks.push(Box::pin(async move { (attempt, ack.await) }));
                    }
                    Step::Settled(attempt, outcome) => self.settle(attempt, outcome).await,
                    Step::NewConnection => self.requeue_all(),
                },
                () = shared.work.notified() => {}
                () = sleep_until(next_check) => {}
            }
        }
    }

    /// Returns the time of the next check: soon, since no event reports a lost or restored connection, or at the end of
    /// a pause.
    fn next_check(&self) -> Instant {
        let now = Instant::now();
        let ends = self.pacing.iter().map(|pacing| pacing.resume_at).filter(|resume_at| *resume_at > now);
        ends.fold(now + CONNECTION_CHECK_INTERVAL, Instant::min)
    }

    fn send_next(&mut self) {
        // Nothing is sent into a dead connection: async-nats would queue it and report only timeouts.
        if !self.bus.is_connected() {
            return;
        }
        if self.bus.n_connects() != self.n_connects {
            self.requeue_all();
        }
        if self.handing_over.is_some() || self.in_flight.len() >= self.window {
            return;
        }
        let now = Instant::now();
        let may_send = |queue| {
            let pacing = &self.pacing[queue as usize];
            now >= pacing.resume_at && (!pacing.probing || !self.has_in_flight(queue))
        };
        let Some(buffered) = self.shared.buffer().take(may_send) else { return };
        let attempt = Attempt { position: buffered.position, number: self.n_attempts };
        self.n_attempts += 1;
        self.handing_over = Some((attempt, Box::pin(send(self.bus.clone(), buffered.message.clone()))));
        self.in_flight.insert(buffered.position, (attempt, buffered));
    }

    fn has_in_flight(&self, queue: Queue) -> bool {
        self.in_flight.values().any(|(_, buffered)| buffered.message.queue() == queue)
    }

    /// Polls for the next step. Checks the connection first: a message still being handed over must not go out on a new
    /// one before those lost with the old one.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if self.bus.n_connects() != self.n_connects {
            return Poll::Ready(Step::NewConnection);
        }
        if let Some((attempt, handing_over)) = &mut self.handing_over
            && let Poll::Ready(taken) = handing_over.poll_unpin(context)
        {
            let attempt = *attempt;
            self.handing_over = None;
            return Poll::Ready(match taken {
                Ok(ack) => Step::HandedOver(attempt, ack),
                Err(error) => Step::Settled(attempt, Err(error)),
            });
        }
        match self.acks.poll_next_unpin(context) {
            Poll::Ready(Some((attempt, outcome))) => Poll::Ready(Step::Settled(attempt, outcome)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Requeues all messages in flight after a new connection: they, or their acks, were lost with the old one.
    fn requeue_all(&mut self) {
        self.n_connects = self.bus.n_connects();
        // Each leaves an entry behind, as a timeout does.
        self.n_timeouts += self.acks.len() as u64;
        self.acks.clear();
        for queue in [Queue::Normal, Queue::Urgent] {
            self.requeue(queue);
        }
    }

    /// Puts the messages of a queue that are in flight back into the buffer, to be sent again in order.
    fn requeue(&mut self, queue: Queue) {
        self.pacing[queue as usize].probing = true;
        let mut buffer = self.shared.buffer();
        for (_, (_, buffered)) in self.in_flight.extract_if(.., |_, (_, buffered)| buffered.message.queue() == queue) {
            self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
            buffer.put_back(buffered);
        }
        drop(buffer);
        // It must not go out before those that are sent again.
        if self.handing_over.as_ref().is_some_and(|(attempt, _)| !self.in_flight.contains_key(&attempt.position)) {
            self.handing_over = None;
            self.n_timeouts += 1;
        }
    }

    async fn settle(&mut self, attempt: Attempt, outcome: Result<bool, BusError>) {
        let counters = &self.shared.counters;
        let is_current = self.in_flight.get(&attempt.position).is_some_and(|(current, _)| *current == attempt);
        let error = match outcome {
            Ok(duplicate) if is_current => {
                let Some((_, buffered)) = self.in_flight.remove(&attempt.position) else { return };
                let n_items = buffered.message.n_items;
                counters.acked.fetch_add(n_items, Ordering::Relaxed);
                counters.duplicate.fetch_add(if duplicate { n_items } else { 0 }, Ordering::Relaxed);
                let queue = buffered.message.queue() as usize;
                counters.stream_full[queue].store(false, Ordering::Relaxed);
                self.shared.set_refusal(buffered.message.queue(), None);
                self.pacing[queue].on_success();
                return self.release(&buffered.message);
            }
            // The message is in flight again, and that attempt decides.
            Ok(_) => return,
            Err(error) => error,
        };
        if is_current {
            self.on_failure(attempt, &error);
        }
        self.n_timeouts += u64::from(error.kind() == BusErrorKind::Transient);
        if self.n_timeouts >= TIMEOUTS_PER_CLIENT && self.bus.is_connected() {
            self.replace_client().await;
        }
    }

    fn on_failure(&mut self, attempt: Attempt, error: &BusError) {
        let counters = &self.shared.counters;
        let Some((_, buffered)) = self.in_flight.get(&attempt.position) else { return };
        let (subject, n_items) = (buffered.message.subject, buffered.message.n_items);
        let queue = buffered.message.queue();
        if error.kind() == BusErrorKind::Permanent {
            counters.dropped_refused.fetch_add(n_items, Ordering::Relaxed);
            error!(%error, n_items, "message dropped: the server will never take it");
            if let Some((_, buffered)) = self.in_flight.remove(&attempt.position) {
                self.release(&buffered.message);
            }
            return;
        }
        let reason = chain_message(error);
        self.shared.set_refusal(queue, Some(reason.clone()));
        if error.kind() == BusErrorKind::StreamFull
            && !counters.stream_full[queue as usize].swap(true, Ordering::Relaxed)
        {
            warn!(subject, error = reason, "stream is full and refuses new messages, buffering them");
        }
        // All messages of its queue in flight are sent again with it, so that none overtakes it.
        self.requeue(queue);
        self.pacing[queue as usize].on_failure();
    }

    async fn replace_client(&mut self) {
        self.n_timeouts = 0;
        if let Ok(bus) = self.bus.replacement().await {
            info!("publishing connection replaced after many timeouts");
            self.bus = bus;
            self.requeue_all();
            self.n_timeouts = 0;
        }
    }

    fn release(&self, message: &Outgoing) {
        self.shared.buffer().release(message);
        self.shared.room.notify_waiters();
    }
}

async fn send(bus: Bus, message: Outgoing) -> Result<Ack, BusError> {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message.message_id);
    if let Some(as_of) = message.as_of {
        headers.insert(AS_OF, as_of.to_string());
    }
    hand_over(&bus, message.subject, headers, message.payload).await
}
