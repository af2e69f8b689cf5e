//! One lane of the writer: one stream, one consumer. Batches are fetched and read one after the other; several
//! are then on their way at once (see `batch`), never more than there is room for, and none is fetched
//! while the store is away (see `gate`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use spindle_bus::{Bus, BusError, Consumer, Delivery, EVENTS_STREAM, METRICS_STREAM, NewDeadLetter};
use spindle_core::wire::{self, Batch, Decoded, Rejected};
use spindle_store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::batch::{Answer, InHand, Message, Reading, with_progress};
use super::gate::Gate;
use super::order::Order;
use super::put_off::PutOff;
use super::readiness::Trouble;
use super::said::Said;
use super::{EVENTS_CONSUMER, METRICS_CONSUMER, Readiness};
use crate::telemetry::{WRITER_DEAD_LETTERS, WRITER_REDELIVERED};

/// Reads a payload into a batch; hands back what is wrong with it.
type Decode = fn(&[u8], &mut Batch) -> Vec<Rejected>;

pub(super) struct Lane {
    pub(super) stream: &'static str,
    pub(super) durable: &'static str,
    pub(super) bus: Bus,
    pub(super) store: Store,
    decode: Decode,
    pub(super) readiness: Readiness,
    pub(super) gate: Arc<Gate>,
    /// The other lane's: it tries at once when this one was served.
    pub(super) neighbour: Arc<Gate>,
    pub(super) put_off: PutOff,
    pub(super) said: Said,
    /// A permit for each batch in hand.
    pub(super) room: Arc<Semaphore>,
    pub(super) n_in_hand: usize,
}

/// The longest pause between two tries of a store that is away. What hangs on an event is known late by as much.
const LAST_METRICS_RETRY: Duration = Duration::from_secs(2);
const LAST_EVENTS_RETRY: Duration = Duration::from_millis(500);

/// Between attempts to fetch while NATS does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Bad elements of one message that get a dead letter each; beyond that the message is kept whole.
const MAX_LETTERS: usize = 16;
/// Dead letters of one message on their way at once: each waits for a sync of the server's disk.
const LETTERS_IN_FLIGHT: usize = 8;
/// Messages whose letters are on their way at once.
pub(super) const MESSAGES_WITH_LETTERS: usize = 32;

/// A lane for each stream.
pub(super) fn lanes(
    bus: Bus,
    events_bus: Bus,
    store: Store,
    readiness: Readiness,
    n_in_hand: usize,
) -> (Arc<Lane>, Arc<Lane>) {
    let decode_metrics: Decode = |payload, batch| split(wire::decode_metrics(payload), &mut batch.metrics);
    let decode_events: Decode = |payload, batch| split(wire::decode_events(payload), &mut batch.events);
    let (metrics_gate, events_gate) = (Arc::new(Gate::new(LAST_METRICS_RETRY)), Arc::new(Gate::new(LAST_EVENTS_RETRY)));
    let metrics = Lane {
        stream: METRICS_STREAM,
        durable: METRICS_CONSUMER,
        bus,
        store: store.clone(),
        decode: decode_metrics,
        readiness: readiness.clone(),
        gate: metrics_gate.clone(),
        neighbour: events_gate.clone(),
        put_off: PutOff::default(),
        said: Said::default(),
        room: Arc::new(Semaphore::new(n_in_hand)),
        n_in_hand,
    };
    let events = Lane {
        stream: EVENTS_STREAM,
        durable: EVENTS_CONSUMER,
        bus: events_bus,
        store,
        decode: decode_events,
        readiness,
        gate: events_gate,
        neighbour: metrics_gate,
        put_off: PutOff::default(),
        said: Said::default(),
        room: Arc::new(Semaphore::new(n_in_hand)),
        n_in_hand,
    };
    (Arc::new(metrics), Arc::new(events))
}

impl Lane {
    /// Stores until told to stop, then until everything in hand is stored or left alone.
    pub(super) async fn run(self: Arc<Self>, mut intake: Consumer, stop: CancellationToken) {
        let lane = self;
        let (mut order, mut on_their_way) = (Order::default(), JoinSet::new());
        let mut pause = FIRST_PAUSE;
        loop {
            while let Some(ended) = on_their_way.try_join_next() {
                expect_no_crash(ended);
            }
            let (room, fetched) = tokio::select! {
                () = stop.cancelled() => break,
                fetched = lane.fetch(&mut intake) => fetched,
            };
            match fetched {
                Ok(deliveries) => {
                    pause = FIRST_PAUSE;
                    if let Some(in_hand) = lane.take_in_hand(deliveries, room, &mut order).await {
                        on_their_way.spawn(lane.clone().bring_through(in_hand, stop.clone()));
                    }
                }
                Err(fault) => {
                    warn!(stream = lane.stream, error = chain(fault), "messages could not be fetched, trying again");
                    tokio::select! { () = stop.cancelled() => break, () = sleep(pause) => {} }
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
        all_through(&mut on_their_way).await;
    }

    /// Waits for room and for the store, then for messages.
    async fn fetch(&self, intake: &mut Consumer) -> (Option<OwnedSemaphorePermit>, Result<Vec<Delivery>, BusError>) {
        // No permit would mean that the semaphore was closed, which nobody does.
        let room = self.room.clone().acquire_owned().await.ok();
        self.gate.open().await;
        (room, intake.next().await)
    }

    /// Reads messages and gives them a place in the order. What holds nothing to store is acknowledged here.
    pub(super) async fn take_in_hand(
        &self,
        deliveries: Vec<Delivery>,
        room: Option<OwnedSemaphorePermit>,
        order: &mut Order,
    ) -> Option<InHand> {
        let n_again = deliveries.iter().filter(|delivery| delivery.n_delivered() > 1).count();
        WRITER_REDELIVERED.with_label_values(&[self.stream]).inc_by(n_again as u64);
        let (batch, readings) = with_progress(deliveries.iter(), self.read(&deliveries)).await;
        let messages: Vec<Message> =
            deliveries.into_iter().zip(readings).map(|(delivery, reading)| Message { delivery, reading }).collect();
        if batch.is_empty() {
            self.acknowledge(&messages).await;
            return None;
        }
        let batch = Arc::new(batch);
        let place = order.join(&batch);
        Some(InHand { batch, messages, place, room })
    }

    /// Reads a message into a batch; hands back what is wrong with it.
    pub(super) fn decode(&self, payload: &[u8], batch: &mut Batch) -> Vec<Rejected> {
        #[cfg(debug_assertions)]
        super::planted::crash_at(payload);
        (self.decode)(payload, batch)
    }

    /// Decodes every message. What is bad is kept as a dead letter; a message whose dead letter could not
    /// be kept is put off, but not what is good in it.
    async fn read(&self, deliveries: &[Delivery]) -> (Batch, Vec<Reading>) {
        let mut batch = Batch::default();
        let (mut readings, mut bad) = (Vec::with_capacity(deliveries.len()), Vec::new());
        for (position, delivery) in deliveries.iter().enumerate() {
            let (n_metrics, n_events) = (batch.metrics.len(), batch.events.len());
            let rejected = self.decode(delivery.payload(), &mut batch);
            let n_good = batch.len() - n_metrics - n_events;
            if self.put_off.has_stored(delivery) {
                batch.metrics.truncate(n_metrics);
                batch.events.truncate(n_events);
            }
            let n_items = batch.len() - n_metrics - n_events;
            let is_bad = |index: &usize| rejected.iter().any(|bad| bad.index == *index);
            let elements = (0..).filter(|index| !is_bad(index)).take(n_items).collect();
            readings.push(Reading { answer: Answer::Stored, elements, first_item: n_metrics + n_events });
            if !rejected.is_empty() {
                bad.push((position, n_good, rejected));
            }
            // A megabyte takes some milliseconds to read: the other lane must not wait for a whole batch.
            tokio::task::yield_now().await;
        }
        // Side by side: each waits for the disk of the server.
        let kept = bad.into_iter().map(|(position, n_good, rejected)| async move {
            (position, n_good, self.keep_dead_letters(&deliveries[position], &rejected).await)
        });
        let mut kept = futures::stream::iter(kept).buffer_unordered(MESSAGES_WITH_LETTERS);
        while let Some((position, n_good, is_kept)) = kept.next().await {
            readings[position].answer = match is_kept {
                false => Answer::Later { is_stored: n_good > 0 },
                true if n_good == 0 => Answer::Dead,
                true => Answer::Stored,
            };
        }
        drop(kept);
        (batch, readings)
    }

    async fn keep_dead_letters(&self, delivery: &Delivery, rejected: &[Rejected]) -> bool {
        let Some(first) = rejected.first() else { return true };
        if self.put_off.rests() {
            return false;
        }
        let sequence = delivery.stream_sequence();
        let kept = if rejected.len() > MAX_LETTERS {
            self.keep_whole(delivery, rejected, first).await
        } else {
            self.keep_all(delivery, rejected).await
        };
        if let Err(fault) = kept {
            self.note_unkept(delivery, fault);
            return false;
        }
        self.readiness.mended(self.stream, Trouble::DeadLetters);
        if let Some(n_unsaid) = self.said.may_say() {
            let n_rejected = rejected.len();
            warn!(stream = self.stream, sequence, n_rejected, n_unsaid, first = %first.error, "bad message kept as dead letter");
        }
        true
    }

    /// A message that is bad in many places is kept once, whole: it must not fill the stream of dead letters.
    async fn keep_whole(&self, delivery: &Delivery, rejected: &[Rejected], first: &Rejected) -> Result<(), BusError> {
        let reason = first.error.reason();
        let detail = format!(
            "the whole message: {} elements are bad, the first (number {}): {}",
            rejected.len(),
            first.index,
            first.error
        );
        let letter = NewDeadLetter { bytes: delivery.payload().clone(), reason, detail, index: first.index };
        self.bus.keep_dead_letter(self.stream, delivery, letter).await?;
        WRITER_DEAD_LETTERS.with_label_values(&[reason.as_str()]).inc();
        Ok(())
    }

    async fn keep_all(&self, delivery: &Delivery, rejected: &[Rejected]) -> Result<(), BusError> {
        let mut on_their_way = FuturesUnordered::new();
        for bad in rejected {
            if on_their_way.len() >= LETTERS_IN_FLIGHT {
                on_their_way.next().await.unwrap_or(Ok(()))?;
            }
            on_their_way.push(self.keep_dead_letter(delivery, bad));
        }
        while let Some(kept) = on_their_way.next().await {
            kept?;
        }
        Ok(())
    }

    async fn keep_dead_letter(&self, delivery: &Delivery, bad: &Rejected) -> Result<(), BusError> {
        let reason = bad.error.reason();
        let bytes = Bytes::copy_from_slice(&bad.bytes);
        let letter = NewDeadLetter { bytes, reason, detail: bad.error.to_string(), index: bad.index };
        self.bus.keep_dead_letter(self.stream, delivery, letter).await?;
        WRITER_DEAD_LETTERS.with_label_values(&[reason.as_str()]).inc();
        Ok(())
    }
}

fn split<T>(decoded: Decoded<T>, into: &mut Vec<T>) -> Vec<Rejected> {
    into.extend(decoded.items);
    decoded.rejected
}

async fn all_through(on_their_way: &mut JoinSet<()>) {
    while let Some(ended) = on_their_way.join_next().await {
        expect_no_crash(ended);
    }
}

/// A batch that crashed is a fault of ours: it must end the role, loudly.
fn expect_no_crash(ended: Result<(), JoinError>) {
    if let Err(crash) = ended
        && crash.is_panic()
    {
        std::panic::resume_unwind(crash.into_panic());
    }
}

/// An error with all its causes, for the log.
pub(super) fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
