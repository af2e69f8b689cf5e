//! One lane of the writer: one stream, one consumer, batch after batch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use spindle_bus::{Bus, BusError, DeadLetter, Delivery, EVENTS_STREAM, Intake, METRICS_STREAM};
use spindle_core::wire::{self, Batch, Decoded, Rejected};
use spindle_store::{Refused, RefusedItem, Store, StoreError, Written};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Readiness;
use crate::clock;
use crate::telemetry::{
    WRITER_ACKED, WRITER_DEAD_LETTERS, WRITER_REDELIVERED, WRITER_RETRIES, WRITER_STORE_SECONDS, WRITER_STORED,
};

/// Reads a payload into a batch; hands back what is wrong with it.
type Decode = fn(&[u8], &mut Batch) -> Vec<Rejected>;

pub(super) struct Lane {
    stream: &'static str,
    bus: Bus,
    store: Store,
    intake: Intake,
    decode: Decode,
    readiness: Readiness,
}

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// Well below the consumer's `ack_wait`, so that nothing in hand is delivered again while the store is
/// slow.
const PROGRESS_EVERY: Duration = Duration::from_secs(3);
/// How often a lasting fault is said again.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Bad elements of one message that get a dead letter each; beyond that the message is kept whole.
const MAX_LETTERS: usize = 16;
/// Dead letters of one message on their way at once: each waits for a sync of the server's disk.
const LETTERS_IN_FLIGHT: usize = 8;

/// Reason of a dead letter that the store made.
const REFUSED: &str = "store_refused";
/// A server that asks for a longer pause than this is asked again all the same.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// A message in hand, and whether nothing in it can be stored.
struct InHand {
    delivery: Delivery,
    is_dead: bool,
    /// Which elements of the message stand in the batch, in order, the first at `first_item`.
    elements: Vec<usize>,
    first_item: usize,
}

impl Lane {
    pub(super) fn metrics(bus: Bus, store: Store, intake: Intake, readiness: Readiness) -> Self {
        let decode: Decode = |payload, batch| split(wire::decode_metrics(payload), &mut batch.metrics);
        Self { stream: METRICS_STREAM, bus, store, intake, decode, readiness }
    }

    pub(super) fn events(bus: Bus, store: Store, intake: Intake, readiness: Readiness) -> Self {
        let decode: Decode = |payload, batch| split(wire::decode_events(payload), &mut batch.events);
        Self { stream: EVENTS_STREAM, bus, store, intake, decode, readiness }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut pause = FIRST_RETRY;
        loop {
            let fetched = tokio::select! {
                () = stop.cancelled() => return,
                fetched = self.intake.next() => fetched,
            };
            match fetched {
                Ok(deliveries) => {
                    pause = FIRST_RETRY;
                    self.handle(deliveries, &stop).await;
                }
                Err(fault) => {
                    warn!(stream = self.stream, error = chain(fault), "messages could not be fetched, trying again");
                    tokio::select! { () = stop.cancelled() => return, () = sleep(pause) => {} }
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
        }
    }

    async fn handle(&mut self, deliveries: Vec<Delivery>, stop: &CancellationToken) {
        let n_again = deliveries.iter().filter(|delivery| delivery.n_delivered() > 1).count();
        WRITER_REDELIVERED.with_label_values(&[self.stream]).inc_by(n_again as u64);
        let (batch, in_hand) = self.read(deliveries).await;
        // If it is told to stop while the store is away, nothing is acknowledged and all of it comes again.
        if batch.is_empty() || self.store_until_stored(Arc::new(batch), &in_hand, stop).await {
            self.acknowledge(&in_hand).await;
        }
    }

    /// Decodes every message. What is bad is kept as a dead letter; a message whose dead letter could not
    /// be kept is left out altogether and comes again.
    async fn read(&self, deliveries: Vec<Delivery>) -> (Batch, Vec<InHand>) {
        let mut batch = Batch::default();
        let mut in_hand = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let (n_metrics, n_events) = (batch.metrics.len(), batch.events.len());
            let rejected = (self.decode)(delivery.payload(), &mut batch);
            let is_dead = !rejected.is_empty() && (batch.metrics.len(), batch.events.len()) == (n_metrics, n_events);
            if self.keep_dead_letters(&delivery, &rejected).await {
                let n_items = batch.len() - n_metrics - n_events;
                let is_bad = |index: &usize| rejected.iter().any(|bad| bad.index == *index);
                let elements = (0..).filter(|index| !is_bad(index)).take(n_items).collect();
                in_hand.push(InHand { delivery, is_dead, elements, first_item: n_metrics + n_events });
            } else {
                batch.metrics.truncate(n_metrics);
                batch.events.truncate(n_events);
            }
        }
        (batch, in_hand)
    }

    async fn keep_dead_letters(&self, delivery: &Delivery, rejected: &[Rejected]) -> bool {
        let Some(first) = rejected.first() else { return true };
        let sequence = delivery.stream_sequence();
        let kept = if rejected.len() > MAX_LETTERS {
            self.keep_whole(delivery, rejected, first).await
        } else {
            self.keep_all(delivery, rejected).await
        };
        if let Err(fault) = kept {
            let error = chain(fault);
            self.readiness.set(false);
            error!(
                stream = self.stream,
                sequence, error, "dead letter could not be kept: the message stays and comes again"
            );
            return false;
        }
        warn!(stream = self.stream, sequence, n_rejected = rejected.len(), first = %first.error, "bad message kept as dead letter");
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
        let letter = DeadLetter { bytes: delivery.payload().clone(), reason, detail, index: first.index };
        self.bus.keep_dead_letter(self.stream, delivery, letter).await?;
        WRITER_DEAD_LETTERS.with_label_values(&[reason]).inc();
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
        let letter = DeadLetter { bytes, reason, detail: bad.error.to_string(), index: bad.index };
        self.bus.keep_dead_letter(self.stream, delivery, letter).await?;
        WRITER_DEAD_LETTERS.with_label_values(&[reason]).inc();
        Ok(())
    }

    /// Tries until the store has it, however long; false only if told to stop before that.
    async fn store_until_stored(&self, batch: Arc<Batch>, in_hand: &[InHand], stop: &CancellationToken) -> bool {
        let mut pause = FIRST_RETRY;
        let mut said_at: Option<Instant> = None;
        loop {
            let timer = WRITER_STORE_SECONDS.start_timer();
            let outcome = self.write_with_progress(batch.clone(), in_hand).await;
            timer.observe_duration();
            let fault = match outcome {
                Ok(written) => {
                    self.count_stored(&batch, said_at.is_some());
                    return self.keep_refused(&written.refused, in_hand).await;
                }
                Err(fault) => fault,
            };
            let asked_pause = match &fault {
                StoreError::Unavailable { retry_after, .. } => retry_after.unwrap_or_default().min(LONGEST_ASKED),
                _ => Duration::ZERO,
            };
            self.readiness.set(false);
            WRITER_RETRIES.with_label_values(&[if fault.is_transient() { "unavailable" } else { "refused" }]).inc();
            if said_at.is_none_or(|said_at| said_at.elapsed() > SAY_EVERY) {
                error!(
                    stream = self.stream,
                    error = chain(fault),
                    "store refuses writes: keeping everything and trying again"
                );
                said_at = Some(Instant::now());
            }
            if !self.wait(pause.max(asked_pause), in_hand, stop).await {
                return false;
            }
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    /// Waits, and says that the messages are still in hand; false if told to stop.
    async fn wait(&self, pause: Duration, in_hand: &[InHand], stop: &CancellationToken) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            let step = PROGRESS_EVERY.min(until - Instant::now());
            tokio::select! { () = stop.cancelled() => return false, () = sleep(step) => {} }
            progress(in_hand).await;
        }
        true
    }

    /// Keeps as dead letters what the store refused by itself. If that fails nothing is acknowledged, and all comes again.
    async fn keep_refused(&self, refused: &[Refused], in_hand: &[InHand]) -> bool {
        for Refused { item, words } in refused {
            let (RefusedItem::Metric(number) | RefusedItem::Event(number)) = *item;
            let holder =
                in_hand.iter().find(|held| (held.first_item..held.first_item + held.elements.len()).contains(&number));
            let Some(InHand { delivery, elements, first_item, .. }) = holder else { continue };
            let index = elements[number - first_item];
            let bytes = wire::element(delivery.payload(), index)
                .map_or_else(|| delivery.payload().clone(), |text| Bytes::copy_from_slice(text.as_bytes()));
            let letter = DeadLetter { bytes, reason: REFUSED, detail: words.clone(), index };
            if let Err(fault) = self.bus.keep_dead_letter(self.stream, delivery, letter).await {
                self.readiness.set(false);
                error!(
                    stream = self.stream,
                    error = chain(fault),
                    "dead letter could not be kept: the messages stay and come again"
                );
                return false;
            }
            WRITER_DEAD_LETTERS.with_label_values(&[REFUSED]).inc();
            warn!(stream = self.stream, words, "the store refuses a point: kept as dead letter");
        }
        true
    }

    async fn write_with_progress(&self, batch: Arc<Batch>, in_hand: &[InHand]) -> Result<Written, StoreError> {
        let write = self.store.write(batch, clock::now());
        tokio::pin!(write);
        loop {
            tokio::select! {
                outcome = &mut write => return outcome,
                () = sleep(PROGRESS_EVERY) => progress(in_hand).await,
            }
        }
    }

    fn count_stored(&self, batch: &Batch, after_fault: bool) {
        WRITER_STORED.with_label_values(&["metric"]).inc_by(batch.metrics.len() as u64);
        WRITER_STORED.with_label_values(&["event"]).inc_by(batch.events.len() as u64);
        if after_fault {
            info!(stream = self.stream, "store takes writes again");
        }
        self.readiness.set(true);
    }

    /// An ack that is lost only brings the message back, and storing it again changes nothing.
    async fn acknowledge(&self, in_hand: &[InHand]) {
        for InHand { delivery, is_dead, .. } in in_hand {
            let sent = if *is_dead { delivery.term().await } else { delivery.ack().await };
            if let Err(fault) = sent {
                warn!(stream = self.stream, error = chain(fault), "ack could not be sent: the messages come again");
                return;
            }
        }
        WRITER_ACKED.with_label_values(&[self.stream]).inc_by(in_hand.len() as u64);
    }
}

fn split<T>(decoded: Decoded<T>, into: &mut Vec<T>) -> Vec<Rejected> {
    into.extend(decoded.items);
    decoded.rejected
}

async fn progress(in_hand: &[InHand]) {
    for InHand { delivery, .. } in in_hand {
        if delivery.progress().await.is_err() {
            return;
        }
    }
}

/// An error with all its causes, for the log.
fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
