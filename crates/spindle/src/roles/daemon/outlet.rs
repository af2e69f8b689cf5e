//! From a source's batch to messages of bounded size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spindle_bus::{EVENTS_SUBJECT, METRICS_SUBJECT, Outgoing, Publisher};
use spindle_core::wire::{Batch, DeviceMetric, encode_event, encode_metrics};
use uuid::Uuid;

use super::numbers::Numbers;
use crate::telemetry::DAEMON_COLLECTED;

/// Room in a message for headers.
const HEADER_BYTES: usize = 4 << 10;

/// Where sources hand over what they collected.
#[derive(Clone)]
pub(super) struct Outlet {
    publisher: Publisher,
    numbers: Option<Numbers>,
    metrics_per_message: usize,
    max_payload: usize,
    /// Message ids of metrics: this run, and a number.
    run: Uuid,
    n_messages: Arc<AtomicU64>,
}

impl Outlet {
    pub(super) fn new(
        publisher: Publisher,
        numbers: Option<Numbers>,
        metrics_per_message: usize,
        max_payload: usize,
    ) -> Self {
        let max_payload = max_payload.saturating_sub(HEADER_BYTES).max(HEADER_BYTES);
        let (run, n_messages) = (Uuid::new_v4(), Arc::default());
        Self { publisher, numbers, metrics_per_message, max_payload, run, n_messages }
    }

    /// For live sources, which cannot wait: never blocks; the oldest metrics are given up when there is no room.
    /// Everything is numbered first, so that what is given up is missed.
    pub(super) fn offer(&self, mut batch: Batch) {
        if let Some(numbers) = &self.numbers {
            numbers.number(&mut batch);
        }
        for message in self.messages(&batch) {
            self.publisher.enqueue(message);
        }
    }

    /// For recordings, which can wait: nothing is ever given up. They keep the numbers they have.
    pub(super) async fn deliver(&self, batch: &Batch) {
        for message in self.messages(batch) {
            self.publisher.enqueue_when_room(message).await;
        }
    }

    /// Events first: they must not wait for metrics.
    fn messages(&self, batch: &Batch) -> Vec<Outgoing> {
        DAEMON_COLLECTED.with_label_values(&["metric"]).inc_by(batch.metrics.len() as u64);
        DAEMON_COLLECTED.with_label_values(&["event"]).inc_by(batch.events.len() as u64);
        let mut messages: Vec<_> = batch
            .events
            .iter()
            .map(|event| Outgoing {
                subject: EVENTS_SUBJECT,
                message_id: event.id.to_string(),
                payload: encode_event(event).into(),
                n_items: 1,
                urgent: true,
            })
            .collect();
        for metrics in batch.metrics.chunks(self.metrics_per_message) {
            self.push_metrics(metrics, &mut messages);
        }
        messages
    }

    /// An array that is too large for a message is halved until it fits.
    fn push_metrics(&self, metrics: &[DeviceMetric], messages: &mut Vec<Outgoing>) {
        let payload = encode_metrics(metrics);
        if payload.len() > self.max_payload && metrics.len() > 1 {
            let (left, right) = metrics.split_at(metrics.len() / 2);
            self.push_metrics(left, messages);
            self.push_metrics(right, messages);
            return;
        }
        let number = self.n_messages.fetch_add(1, Ordering::Relaxed);
        let message_id = format!("{}-{number}", self.run.simple());
        messages.push(Outgoing {
            subject: METRICS_SUBJECT,
            message_id,
            payload: payload.into(),
            n_items: metrics.len() as u64,
            urgent: false,
        });
    }
}
