//! The commit of a batch: write, dead-letter what was rejected or refused, acknowledge; in this order.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use spindle_bus::Delivery;
use spindle_core::{Batch, Timestamp};
use spindle_store::{Refusal, Refused, RefusedItem};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::dead_letters::DeadLetters;
use super::decode::{DecodedMessage, Reject};
use super::refused::{RefusedByMessage, RefusedElements};
use super::store_writer::{StoreWriter, WriteEnd};
use super::write_order::Ticket;
use crate::logging::chain;
use crate::metrics::{WRITER_ACKED, WRITER_BATCHES_IN_FLIGHT};

/// Well below the consumer's `ack_wait`, so that nothing in flight is redelivered while the store is slow or the batch
/// waits for its turn.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// Messages that are dead-lettered at once: each waits for a sync of the server's disk.
const MESSAGES_AT_ONCE: usize = 32;

/// Messages that were fetched and are not acknowledged, and the batch decoded from them.
pub(super) struct InFlight {
    pub(super) stream: &'static str,
    pub(super) batch: Arc<Batch>,
    pub(super) messages: Vec<Message>,
    pub(super) ticket: Ticket,
    /// Newest time of a simulated past that the messages tell.
    pub(super) as_of: Option<Timestamp>,
    /// The lane's right to one more batch in flight.
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

pub(super) struct Message {
    pub(super) delivery: Delivery,
    pub(super) decoded: DecodedMessage,
}

/// The answer to the server for one message of a committed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Disposition {
    Ack,
    /// Nothing in the message can be stored, and its dead letters are kept.
    Term,
    /// A dead letter could not be kept: NAK with delay. The `remaining` elements are not in the store; `None` for all.
    Defer {
        remaining: Option<Vec<usize>>,
    },
    /// The store keeps elements out, for a reason that may pass: NAK with delay.
    Wait {
        reason: Refusal,
        detail: String,
    },
}

/// Where a batch is written to.
struct Target<'a> {
    store_writer: &'a StoreWriter,
    room: usize,
    as_of: Option<Timestamp>,
    stop: &'a CancellationToken,
}

impl InFlight {
    /// Commits the batch. On `stop` while the store is unavailable nothing is acknowledged, and all of it is redelivered.
    pub(super) async fn commit(self, store_writer: &StoreWriter, dead_letters: &DeadLetters, stop: &CancellationToken) {
        let n_in_flight = WRITER_BATCHES_IN_FLIGHT.with_label_values(&[self.stream]);
        n_in_flight.inc();
        let committed = with_progress(&self.messages, async {
            let refused = self.write(store_writer, dead_letters.deferrals.room(), stop).await?;
            Some(self.dead_letter(&refused, dead_letters).await)
        });
        if let Some(dispositions) = committed.await {
            self.answer(dispositions, dead_letters).await;
        }
        n_in_flight.dec();
    }

    /// `None` if `stop` came before the store had it all. At most `room` elements may stay out for a reason that may pass.
    async fn write(
        &self,
        store_writer: &StoreWriter,
        room: usize,
        stop: &CancellationToken,
    ) -> Option<RefusedByMessage> {
        let mut refused = RefusedByMessage::new();
        if self.batch.is_empty() {
            return Some(refused);
        }
        tokio::select! { biased; () = stop.cancelled() => return None, () = self.ticket.wait_turn() => {} }
        let all = 0..self.messages.len();
        let target = Target { store_writer, room, as_of: self.as_of, stop };
        self.write_messages(all, self.batch.clone(), &mut refused, &target).await?;
        Some(refused)
    }

    /// Writes the items of some of the messages. If the store panics, one of them is to blame: it is found by bisection.
    async fn write_messages(
        &self,
        range: Range<usize>,
        items: Arc<Batch>,
        refused: &mut RefusedByMessage,
        target: &Target<'_>,
    ) -> Option<()> {
        if items.is_empty() {
            return Some(());
        }
        match target.store_writer.write_until_stored(items, target.room, target.as_of, target.stop).await? {
            WriteEnd::Written(written) => self.note_refused(range.start, written.refused, refused),
            WriteEnd::Panicked(panic) if range.len() == 1 => {
                let poison = Reject::poison(self.messages[range.start].delivery.payload(), panic.as_ref());
                refused.entry(range.start).or_default().add_poison(poison);
            }
            WriteEnd::Panicked(_) => {
                let middle = range.start + range.len() / 2;
                for half in [range.start..middle, middle..range.end] {
                    let items = Arc::new(self.items(&half));
                    Box::pin(self.write_messages(half, items, refused, target)).await?;
                }
            }
        }
        Some(())
    }

    /// The items of some of the messages. A lane's batch holds metrics or events, never both.
    fn items(&self, range: &Range<usize>) -> Batch {
        let decoded = |position: usize| &self.messages[position].decoded;
        let items = decoded(range.start).first_item..decoded(range.end - 1).items().end;
        match self.batch.events.is_empty() {
            true => Batch { metrics: self.batch.metrics[items].to_vec(), events: Vec::new() },
            false => Batch { metrics: Vec::new(), events: self.batch.events[items].to_vec() },
        }
    }

    /// Finds the messages of refused items, which are counted from the first item of message `first`.
    fn note_refused(&self, first: usize, items: Vec<Refused>, refused: &mut RefusedByMessage) {
        let offset = self.messages[first].decoded.first_item;
        for Refused { item, reason, message } in items {
            let (item, time) = match item {
                RefusedItem::Metric(item) => (offset + item, self.batch.metrics[offset + item].timestamp),
                RefusedItem::Event(item) => (offset + item, self.batch.events[offset + item].timestamp),
            };
            let position = self.messages.partition_point(|message| message.decoded.first_item <= item) - 1;
            let decoded = &self.messages[position].decoded;
            let index = decoded.elements[item - decoded.first_item];
            refused.entry(position).or_default().add(index, time, reason, message);
        }
    }

    /// Keeps the dead letters of every message that needs some.
    async fn dead_letter(&self, refused: &RefusedByMessage, dead_letters: &DeadLetters) -> Vec<Disposition> {
        let mut dispositions = vec![Disposition::Ack; self.messages.len()];
        let keeps: Vec<_> = (0..self.messages.len())
            .filter(|position| refused.contains_key(position) || !self.messages[*position].decoded.rejects.is_empty())
            .map(|position| self.dead_letter_message(position, refused.get(&position), dead_letters))
            .collect();
        let mut kept = futures::stream::iter(keeps).buffer_unordered(MESSAGES_AT_ONCE);
        while let Some((position, disposition)) = kept.next().await {
            dispositions[position] = disposition;
        }
        drop(kept);
        dispositions
    }

    async fn dead_letter_message(
        &self,
        position: usize,
        refused: Option<&RefusedElements>,
        dead_letters: &DeadLetters,
    ) -> (usize, Disposition) {
        let Message { delivery, decoded } = &self.messages[position];
        if let Some(refused) = refused
            && let Some((reason, detail)) = refused.waiting()
            && (dead_letters.deferrals.hold(delivery, refused.remaining()) || reason == Refusal::ClocksDisagree)
        {
            // Its dead letters are kept at the last delivery, once.
            return (position, Disposition::Wait { reason, detail: detail.to_owned() });
        }
        let of_store = refused.map(|refused| refused.rejects(delivery.payload())).unwrap_or_default();
        let rejects: Vec<&Reject> = decoded.rejects.iter().chain(&of_store).collect();
        let disposition = match dead_letters.keep(delivery, &rejects).await {
            // What the store refused must be written again, to be refused again.
            false => Disposition::Defer { remaining: refused.map_or(Some(Vec::new()), RefusedElements::remaining) },
            true if decoded.n_valid == 0 => Disposition::Term,
            true => Disposition::Ack,
        };
        (position, disposition)
    }

    /// A lost ack only brings the message back, and storing it again changes nothing.
    async fn answer(&self, dispositions: Vec<Disposition>, dead_letters: &DeadLetters) {
        let (mut n_acked, deferrals) = (0, &dead_letters.deferrals);
        for (Message { delivery, .. }, disposition) in self.messages.iter().zip(dispositions) {
            let sent = match disposition {
                Disposition::Ack => delivery.ack().await,
                Disposition::Term => delivery.term().await,
                Disposition::Defer { remaining } => {
                    deferrals.defer(delivery, remaining).await;
                    continue;
                }
                Disposition::Wait { reason, detail } => {
                    deferrals.defer_for_store(delivery, reason, &detail).await;
                    continue;
                }
            };
            if let Err(error) = sent {
                warn!(stream = self.stream, error = chain(error), "ack failed; the messages will be redelivered");
                break;
            }
            deferrals.forget(delivery);
            n_acked += 1;
        }
        WRITER_ACKED.with_label_values(&[self.stream]).inc_by(n_acked);
    }
}

/// Runs `work`; meanwhile progress acks keep the server from redelivering the messages.
async fn with_progress<T>(messages: &[Message], work: impl Future<Output = T>) -> T {
    // Beside the work, not between its steps: while NATS is unavailable a progress ack waits without bound.
    let progress = async {
        loop {
            sleep(PROGRESS_INTERVAL).await;
            for message in messages {
                if message.delivery.progress().await.is_err() {
                    break;
                }
            }
        }
    };
    tokio::select! {
        done = work => done,
        () = progress => unreachable!("the loop never ends"),
    }
}
