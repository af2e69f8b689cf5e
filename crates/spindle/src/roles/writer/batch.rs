//! A batch on its way: stored, then its refused points kept as dead letters, then acknowledged; in this order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use spindle_bus::{Delivery, NewDeadLetter};
use spindle_core::{Batch, wire};
use spindle_store::{Refused, RefusedItem, StoreError, Written};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::lane::{Lane, MESSAGES_WITH_LETTERS, chain};
use super::order::Place;
use super::readiness::Trouble;
use crate::clock;
use crate::telemetry::{
    WRITER_ACKED, WRITER_BATCHES_IN_HAND, WRITER_DEAD_LETTERS, WRITER_RETRIES, WRITER_STORE_SECONDS, WRITER_STORED,
};

/// Well below the consumer's `ack_wait`, so that nothing in hand is delivered again while the store is slow
/// or the batch waits for others.
const PROGRESS_EVERY: Duration = Duration::from_secs(3);
/// Reason of a dead letter that the store made.
const REFUSED: &str = "store_refused";

/// Messages on their way, and what has been read from them.
pub(super) struct InHand {
    pub(super) batch: Arc<Batch>,
    pub(super) messages: Vec<Message>,
    pub(super) place: Place,
    /// The lane's right to have one more batch in hand.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// A message in hand.
pub(super) struct Message {
    pub(super) delivery: Delivery,
    pub(super) reading: Reading,
}

/// What a message holds.
pub(super) struct Reading {
    pub(super) answer: Answer,
    /// Which elements of the message stand in the batch, in order, the first at `first_item`.
    pub(super) elements: Vec<usize>,
    pub(super) first_item: usize,
}

/// What the server is told of a message once the batch is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stored,
    /// Nothing in it can be stored, and its dead letters are kept.
    Dead,
    /// A dead letter of it could not be kept.
    Later {
        /// What can be stored of it is in the batch, or was in an earlier one.
        is_stored: bool,
    },
}

impl Reading {
    fn holds(&self, item: usize) -> bool {
        (self.first_item..self.first_item + self.elements.len()).contains(&item)
    }
}

impl Lane {
    /// Stores and acknowledges. Told to stop while the store is away, it acknowledges nothing, and all of it
    /// comes again.
    pub(super) async fn bring_through(self: Arc<Self>, in_hand: InHand, stop: CancellationToken) {
        let InHand { batch, mut messages, place, room } = in_hand;
        let n_in_hand = WRITER_BATCHES_IN_HAND.with_label_values(&[self.stream]);
        n_in_hand.inc();
        let deliveries = messages.iter().map(|message| &message.delivery);
        let unkept = with_progress(deliveries, async {
            tokio::select! { biased; () = stop.cancelled() => return None, () = place.come_up() => {} }
            let written = self.store_until_stored(batch, &messages, &stop).await?;
            Some(self.keep_refused(&written.refused, &messages).await)
        })
        .await;
        if let Some(unkept) = unkept {
            for position in unkept {
                messages[position].reading.answer = Answer::Later { is_stored: false };
            }
            self.acknowledge(&messages).await;
        }
        n_in_hand.dec();
        drop((place, room));
    }

    /// Tries until the store has it, however long; `None` only if told to stop before that.
    pub(super) async fn store_until_stored(
        &self,
        batch: Arc<Batch>,
        messages: &[Message],
        stop: &CancellationToken,
    ) -> Option<Written> {
        loop {
            let turn = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                turn = self.gate.turn() => turn,
            };
            let timer = WRITER_STORE_SECONDS.start_timer();
            let outcome = self.store.write(batch.clone(), clock::now()).await;
            timer.observe_duration();
            let fault = match outcome {
                Ok(written) => {
                    self.note_stored(&batch).await;
                    return Some(written);
                }
                Err(fault) => fault,
            };
            WRITER_RETRIES.with_label_values(&[if fault.is_transient() { "unavailable" } else { "refused" }]).inc();
            let asked_pause = match &fault {
                StoreError::Unavailable { retry_after, .. } => *retry_after,
                _ => None,
            };
            let is_to_be_said = self.gate.failed(&turn, asked_pause);
            let error = chain(fault);
            self.readiness.trouble(self.stream, Trouble::Store, &error);
            if is_to_be_said {
                error!(stream = self.stream, error, "store refuses writes: keeping everything and trying again");
            }
        }
    }

    async fn note_stored(&self, batch: &Batch) {
        WRITER_STORED.with_label_values(&["metric"]).inc_by(batch.metrics.len() as u64);
        WRITER_STORED.with_label_values(&["event"]).inc_by(batch.events.len() as u64);
        if self.gate.worked() {
            info!(stream = self.stream, "store takes writes again");
        }
        self.readiness.mended(self.stream, Trouble::Store);
        self.neighbour.hurry();
    }

    /// Keeps as dead letters what the store refused by itself. Returns the positions of messages for which that
    /// failed: they come again, with everything in them.
    async fn keep_refused(&self, refused: &[Refused], messages: &[Message]) -> Vec<usize> {
        // Side by side: each waits for the disk of the server.
        let kept: Vec<_> = refused.iter().map(|refused| self.keep_refused_point(refused, messages)).collect();
        futures::stream::iter(kept)
            .buffer_unordered(MESSAGES_WITH_LETTERS)
            .filter_map(futures::future::ready)
            .collect()
            .await
    }

    /// The position of the point's message, if that failed.
    async fn keep_refused_point(&self, refused: &Refused, messages: &[Message]) -> Option<usize> {
        let Refused { item: RefusedItem::Metric(number) | RefusedItem::Event(number), message } = refused;
        let position = messages.iter().position(|message| message.reading.holds(*number))?;
        let Message { delivery, reading } = &messages[position];
        let index = reading.elements[number - reading.first_item];
        let bytes = wire::element(delivery.payload(), index)
            .map_or_else(|| delivery.payload().clone(), |text| Bytes::copy_from_slice(text.as_bytes()));
        let letter = NewDeadLetter { bytes, reason: REFUSED, detail: message.clone(), index };
        if let Err(fault) = self.bus.keep_dead_letter(self.stream, delivery, letter).await {
            self.note_unkept(delivery, fault);
            return Some(position);
        }
        WRITER_DEAD_LETTERS.with_label_values(&[REFUSED]).inc();
        self.readiness.mended(self.stream, Trouble::DeadLetters);
        if let Some(n_unsaid) = self.said.may_say() {
            warn!(stream = self.stream, n_unsaid, message, "the store refuses a point: kept as dead letter");
        }
        None
    }

    /// An ack that is lost only brings the message back, and storing it again changes nothing.
    pub(super) async fn acknowledge(&self, messages: &[Message]) {
        let mut n_acked = 0;
        for Message { delivery, reading } in messages {
            let sent = match reading.answer {
                Answer::Stored => delivery.ack().await,
                Answer::Dead => delivery.term().await,
                Answer::Later { is_stored } => {
                    if let Err(fault) = self.put_off(delivery, is_stored).await {
                        warn!(
                            stream = self.stream,
                            error = chain(fault),
                            "a message could not be put off: it comes again"
                        );
                    }
                    continue;
                }
            };
            if let Err(fault) = sent {
                warn!(stream = self.stream, error = chain(fault), "ack could not be sent: the messages come again");
                break;
            }
            self.put_off.forget(delivery);
            n_acked += 1;
        }
        WRITER_ACKED.with_label_values(&[self.stream]).inc_by(n_acked);
    }
}

/// Does the work, and tells the server meanwhile that the messages are in hand.
pub(super) async fn with_progress<T>(
    deliveries: impl Iterator<Item = &Delivery> + Clone,
    work: impl Future<Output = T>,
) -> T {
    // Beside the work, not between its steps: while NATS is away a word to it waits without bound.
    let progress = async {
        loop {
            sleep(PROGRESS_EVERY).await;
            for delivery in deliveries.clone() {
                if delivery.progress().await.is_err() {
                    break;
                }
            }
        }
    };
    tokio::select! {
        done = work => done,
        () = progress => unreachable!("it never ends"),
    }
}
