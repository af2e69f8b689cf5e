//! The loop that sends what is held, in order, and sends it again until it is acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::HeaderMap;
use futures::future::{BoxFuture, poll_fn};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::outbound::{Held, Queue};
use super::{Ack, Outgoing, Shared, hand_over};
use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};

/// Time-outs after which the client is replaced: each leaves an entry behind in it (nats.rs #1617).
const TIMEOUTS_PER_CLIENT: u64 = 2_000;
/// How often the connection is looked at when nothing else happens.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

pub(super) struct SendLoop {
    bus: Bus,
    shared: Arc<Shared>,
    window: usize,
    /// The message that async-nats is taking. One after the other: side by side they would overtake each other.
    under_way: Option<(Attempt, BoxFuture<'static, Result<Ack, BusError>>)>,
    in_flight: FuturesUnordered<BoxFuture<'static, (Attempt, Result<bool, BusError>)>>,
    /// The messages on their way, by their place, and the attempt that counts: an earlier one may still be in flight.
    sent: BTreeMap<u64, (Attempt, Held)>,
    n_attempts: u64,
    /// Connections made when the messages on their way were sent.
    n_connects: u64,
    /// Of each queue: a stream that is full stops its own alone.
    flow: [Flow; 2],
    n_timeouts: u64,
}

/// Whether a queue may send.
struct Flow {
    /// One message alone, to see whether it is taken.
    probing: bool,
    /// Nothing before.
    resume_at: Instant,
    /// The next pause.
    pause: Duration,
}

impl Flow {
    fn new() -> Self {
        Self { probing: true, resume_at: Instant::now(), pause: FIRST_RETRY }
    }

    fn taken(&mut self) {
        (self.probing, self.pause) = (false, FIRST_RETRY);
    }

    fn refused(&mut self) {
        let now = Instant::now();
        if now >= self.resume_at {
            self.resume_at = now + self.pause;
            self.pause = (self.pause * 2).min(LAST_RETRY);
        }
    }
}

/// What happens next to what is on its way.
enum Step {
    /// async-nats has taken it.
    Taken(Attempt, Ack),
    /// Acknowledged, or failed.
    Settled(Attempt, Result<bool, BusError>),
    /// This is another connection than that on which these messages were sent.
    NewConnection,
}

/// One try at one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    place: u64,
    number: u64,
}

impl SendLoop {
    pub(super) fn new(bus: Bus, shared: Arc<Shared>, window: usize) -> Self {
        Self {
            bus,
            shared,
            window,
            under_way: None,
            in_flight: FuturesUnordered::new(),
            sent: BTreeMap::new(),
            n_attempts: 0,
            n_connects: 0,
            flow: [Flow::new(), Flow::new()],
            n_timeouts: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        loop {
            self.send_next();
            if self.sent.is_empty() && self.shared.lock().is_finished() {
                return;
            }
            let look_again_at = self.look_again_at();
            tokio::select! {
                step = poll_fn(|context| self.poll_step(context)) => match step {
                    Step::Taken(attempt, ack) => {
                        self.in_flight.push(Box::pin(async move { (attempt, ack.await) }));
                    }
                    Step::Settled(attempt, outcome) => self.settle(attempt, outcome).await,
                    Step::NewConnection => self.begin_again(),
                },
                () = shared.work.notified() => {}
                () = sleep_until(look_again_at) => {}
            }
        }
    }

    /// Soon, since nobody says that the connection was lost or is there again, or at the end of a pause.
    fn look_again_at(&self) -> Instant {
        let now = Instant::now();
        let ends = self.flow.iter().map(|flow| flow.resume_at).filter(|resume_at| *resume_at > now);
        ends.fold(now + LOOK_EVERY, Instant::min)
    }

    fn send_next(&mut self) {
        // Nothing is sent into a dead connection: async-nats would queue it and report only time-outs.
        if !self.bus.is_connected() {
            return;
        }
        if self.bus.n_connects() != self.n_connects {
            self.begin_again();
        }
        if self.under_way.is_some() || self.sent.len() >= self.window {
            return;
        }
        let now = Instant::now();
        let may_send = |queue| {
            let flow = &self.flow[queue as usize];
            now >= flow.resume_at && (!flow.probing || !self.is_on_its_way(queue))
        };
        let Some(held) = self.shared.lock().take(may_send) else { return };
        let attempt = Attempt { place: held.place, number: self.n_attempts };
        self.n_attempts += 1;
        self.under_way = Some((attempt, Box::pin(send(self.bus.clone(), held.message.clone()))));
        self.sent.insert(held.place, (attempt, held));
    }

    fn is_on_its_way(&self, queue: Queue) -> bool {
        self.sent.values().any(|(_, held)| held.message.queue() == queue)
    }

    /// Looks at the connection first: what waits to be taken must not go out on a new one before what was lost with
    /// the old one.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if self.bus.n_connects() != self.n_connects {
            return Poll::Ready(Step::NewConnection);
        }
        if let Some((attempt, under_way)) = &mut self.under_way
            && let Poll::Ready(taken) = under_way.poll_unpin(context)
        {
            let attempt = *attempt;
            self.under_way = None;
            return Poll::Ready(match taken {
                Ok(ack) => Step::Taken(attempt, ack),
                Err(error) => Step::Settled(attempt, Err(error)),
            });
        }
        match self.in_flight.poll_next_unpin(context) {
            Poll::Ready(Some((attempt, outcome))) => Poll::Ready(Step::Settled(attempt, outcome)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// On a new connection: what was on its way went with the old one, or its ack did.
    fn begin_again(&mut self) {
        self.n_connects = self.bus.n_connects();
        // Each leaves an entry behind, as a time-out does.
        self.n_timeouts += self.in_flight.len() as u64;
        self.in_flight.clear();
        for queue in [Queue::Others, Queue::Urgent] {
            self.take_back(queue);
        }
    }

    /// What is on its way waits to be sent again, in its order.
    fn take_back(&mut self, queue: Queue) {
        self.flow[queue as usize].probing = true;
        let mut hold = self.shared.lock();
        for (_, (_, held)) in self.sent.extract_if(.., |_, (_, held)| held.message.queue() == queue) {
            self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
            hold.put_back(held);
        }
        drop(hold);
        // It must not go out before those that are sent again.
        if self.under_way.as_ref().is_some_and(|(attempt, _)| !self.sent.contains_key(&attempt.place)) {
            self.under_way = None;
            self.n_timeouts += 1;
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
                let queue = held.message.queue() as usize;
                counters.stream_full[queue].store(false, Ordering::Relaxed);
                self.flow[queue].taken();
                return self.forget(&held.message);
            }
            // It is on its way again, and that decides.
            Ok(_) => return,
            Err(error) => error,
        };
        if is_current {
            self.failed(attempt, &error);
        }
        self.n_timeouts += u64::from(error.kind() == BusErrorKind::Transient);
        if self.n_timeouts >= TIMEOUTS_PER_CLIENT && self.bus.is_connected() {
            self.replace_client().await;
        }
    }

    fn failed(&mut self, attempt: Attempt, error: &BusError) {
        let counters = &self.shared.counters;
        let Some((_, held)) = self.sent.get(&attempt.place) else { return };
        let (subject, queue, n_items) = (held.message.subject, held.message.queue(), held.message.n_items);
        if error.kind() == BusErrorKind::Permanent {
            counters.refused.fetch_add(n_items, Ordering::Relaxed);
            tracing::error!(%error, n_items, "message given up: the server will never take it");
            if let Some((_, held)) = self.sent.remove(&attempt.place) {
                self.forget(&held.message);
            }
            return;
        }
        if error.kind() == BusErrorKind::StreamFull
            && !counters.stream_full[queue as usize].swap(true, Ordering::Relaxed)
        {
            warn!(subject, "stream is full and refuses new messages: holding them; is the writer storing?");
        }
        // With it goes all of its queue that is on its way, so that nothing overtakes it.
        self.take_back(queue);
        self.flow[queue as usize].refused();
    }

    async fn replace_client(&mut self) {
        self.n_timeouts = 0;
        if let Ok(bus) = self.bus.renewed().await {
            info!("connection for publishing replaced after many time-outs");
            self.bus = bus;
            self.begin_again();
            self.n_timeouts = 0;
        }
    }

    fn forget(&self, message: &Outgoing) {
        self.shared.lock().settled(message);
        self.shared.room.notify_waiters();
    }
}

async fn send(bus: Bus, message: Outgoing) -> Result<Ack, BusError> {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message.message_id);
    hand_over(&bus, message.subject, headers, message.payload).await
}
