//! Turns a source's batches into messages of bounded size and hands them to the publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use spindle_bus::{EVENTS_SUBJECT, METRICS_SUBJECT, Outgoing, Publisher};
use spindle_core::Timestamp;
use spindle_core::wire::{Batch, DeviceMetric, encode_event, encode_metrics};
use uuid::Uuid;

use super::sequence_numbers::SequenceNumbers;
use crate::metrics::DAEMON_COLLECTED;

/// Bytes of a message reserved for headers.
const HEADER_BYTES: usize = 4 << 10;

/// The way from a source to the publisher; clones share it.
#[derive(Clone)]
pub(super) struct PublishStage {
    publisher: Publisher,
    sequence_numbers: Option<SequenceNumbers>,
    metrics_per_message: usize,
    max_payload: usize,
    /// With the message's number, the id of a message of metrics.
    process: Uuid,
    n_messages: Arc<AtomicU64>,
}

impl PublishStage {
    pub(super) fn new(
        publisher: Publisher,
        sequence_numbers: Option<SequenceNumbers>,
        metrics_per_message: usize,
        max_payload: usize,
    ) -> Self {
        let max_payload = max_payload.saturating_sub(HEADER_BYTES).max(HEADER_BYTES);
        let (process, n_messages) = (Uuid::new_v4(), Arc::default());
        Self { publisher, sequence_numbers, metrics_per_message, max_payload, process, n_messages }
    }

    /// Takes a batch of a live source, which cannot wait: never blocks; the oldest metrics are dropped when the buffer
    /// is full. Numbers the batch first, so that the audit finds dropped readings missing.
    pub(super) fn offer(&self, mut batch: Batch) {
        if let Some(sequence_numbers) = &self.sequence_numbers {
            sequence_numbers.assign(&mut batch);
        }
        for message in self.messages(&batch, None) {
            self.publisher.enqueue(message);
        }
    }

    /// Takes a batch of a recording, which can wait: nothing is ever dropped. It keeps the numbers it has.
    pub(super) async fn deliver(&self, batch: &Batch) {
        for message in self.messages(batch, None) {
            self.publisher.enqueue_when_room(message).await;
        }
    }

    /// Takes a batch of a simulated past, which can wait and is numbered. `name` and the index of a message of metrics are
    /// its id: a past that is told again after a crash is the same, message by message.
    pub(super) async fn deliver_past(&self, batch: &Batch, as_of: Timestamp, name: &str) {
        for (index, mut message) in self.messages(batch, Some(as_of)).into_iter().enumerate() {
            if !message.urgent {
                message.message_id = format!("{name}-{index}");
            }
            self.publisher.enqueue_when_room(message).await;
        }
    }

    /// Takes a sign that all events of a simulated past up to `as_of` have been delivered: an array without events.
    pub(super) async fn deliver_end_of_past(&self, as_of: Timestamp, message_id: String) {
        let (payload, as_of) = (Bytes::from_static(b"[]"), Some(as_of));
        let message = Outgoing { subject: EVENTS_SUBJECT, message_id, payload, n_items: 0, urgent: true, as_of };
        self.publisher.enqueue_when_room(message).await;
    }

    /// Waits until NATS has acknowledged everything.
    pub(super) async fn settled(&self) {
        self.publisher.drained().await;
    }

    /// Builds the messages of a batch, events first: they must not wait for metrics.
    fn messages(&self, batch: &Batch, as_of: Option<Timestamp>) -> Vec<Outgoing> {
        DAEMON_COLLECTED.with_label_values(&["metric"]).inc_by(batch.metrics.len() as u64);
        DAEMON_COLLECTED.with_label_values(&["event"]).inc_by(batch.events.len() as u64);
        let mut messages: Vec<_> = batch
            .events
            .iter()
            .map(|event| Outgoing {
                subject: EVENTS_SUBJECT,
                message_id: event.identity().message_id(),
                payload: exact(&encode_event(event)),
                n_items: 1,
                urgent: true,
                as_of: as_of.map(|_| event.timestamp),
            })
            .collect();
        for metrics in batch.metrics.chunks(self.metrics_per_message) {
            self.push_metrics(metrics, as_of, &mut messages);
        }
        messages
    }

    /// Adds messages of metrics; an array too large for a message is halved until it fits.
    fn push_metrics(&self, metrics: &[DeviceMetric], as_of: Option<Timestamp>, messages: &mut Vec<Outgoing>) {
        let payload = encode_metrics(metrics);
        if payload.len() > self.max_payload && metrics.len() > 1 {
            let (left, right) = metrics.split_at(metrics.len() / 2);
            self.push_metrics(left, as_of, messages);
            self.push_metrics(right, as_of, messages);
            return;
        }
        let number = self.n_messages.fetch_add(1, Ordering::Relaxed);
        let message_id = format!("{}-{number}", self.process.simple());
        messages.push(Outgoing {
            subject: METRICS_SUBJECT,
            message_id,
            payload: exact(&payload),
            n_items: metrics.len() as u64,
            urgent: false,
            as_of,
        });
    }
}

/// Copies a payload into an allocation of its size. Shrinking the encoder's one instead would leave holes between the
/// payloads that are buffered, too small for the next.
fn exact(payload: &[u8]) -> Bytes {
    Bytes::copy_from_slice(payload)
}
