//! The way out: events of the detector on their way to NATS, until they are acknowledged.

use std::collections::VecDeque;

use bytes::Bytes;
use spindle_bus::{BufferLimits, Bus, EVENTS_SUBJECT, Outgoing, Publisher};
use spindle_core::wire::{Event, encode_event};
use tokio::task::JoinHandle;
use tracing::{Instrument, warn};

use super::readiness::{DetectorReadiness, Hindrance};
use crate::metrics::DETECTOR_EVENTS;

/// Few: judging waits for them.
const LIMITS: BufferLimits = BufferLimits { max_bytes: 4 << 20, window: 64 };
/// Criticality from which an event calls a person.
const PAGE: u8 = 7;

pub(super) struct Outlet {
    publisher: Publisher,
    sending: JoinHandle<()>,
    /// Beyond the buffer of the publisher.
    waiting: VecDeque<Outgoing>,
    readiness: DetectorReadiness,
}

impl Outlet {
    pub(super) fn new(bus: Bus, readiness: DetectorReadiness) -> Self {
        let (publisher, sending) = Publisher::new(bus, LIMITS);
        let sending = tokio::spawn(sending.in_current_span());
        Self { publisher, sending, waiting: VecDeque::new(), readiness }
    }

    /// Takes events to publish. Those about a simulated past are part of it: nobody need be called.
    pub(super) fn add(&mut self, events: &[Event], is_past: bool) {
        for event in events {
            let tier = if event.criticality.level() < PAGE { "note" } else { "page" };
            DETECTOR_EVENTS.with_label_values(&[tier]).inc();
            self.waiting.push_back(Outgoing {
                subject: EVENTS_SUBJECT,
                message_id: event.identity().message_id(),
                payload: Bytes::copy_from_slice(&encode_event(event)),
                n_items: 1,
                urgent: true,
                as_of: is_past.then_some(event.timestamp),
            });
        }
    }

    /// Hands all events to the publisher, once it has room. May be dropped and called again: an event that is handed over
    /// twice has the same id.
    pub(super) async fn flush(&mut self) {
        while let Some(message) = self.waiting.front() {
            self.publisher.enqueue_when_room(message.clone()).await;
            self.waiting.pop_front();
        }
    }

    /// Returns `true` if the publisher has all events.
    pub(super) fn is_flushed(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns `true` if NATS has acknowledged all events.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.publisher.stats().n_buffered == 0
    }

    /// Waits until NATS has acknowledged the events that the publisher has.
    pub(super) async fn settled(&self) {
        self.publisher.drained().await;
    }

    /// Updates the readiness.
    pub(super) fn report(&self) {
        let refusals = self.publisher.refusals().join("; ");
        let refusal = (!refusals.is_empty()).then_some(refusals.as_str());
        if self.readiness.set(Hindrance::Publish, refusal) {
            warn!(error = refusal, "events of the detector are refused, judging waits for them");
        }
    }

    /// Ends the publisher; what NATS has not acknowledged by now is given up.
    pub(super) async fn close(self) {
        self.publisher.close();
        if self.publisher.stats().n_buffered > 0 {
            self.sending.abort();
        }
        let _ = self.sending.await;
    }
}
