//! Events that the detector publishes: notes, findings with the events that end them, and the history of verdicts.

use uuid::Builder;

pub use crate::event_types::*;

use crate::event_id::EventId;
use crate::identity::IdentityDigest;
use crate::name::{DeviceName, EventType};
use crate::timestamp::Timestamp;
use crate::wire::{Criticality, Event, Labels};

/// Content of an event of the detector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding<'a> {
    pub(super) event_type: &'static str,
    pub(super) criticality: u8,
    pub(super) device: &'a DeviceName,
    /// Time of the evidence, which dates the event too.
    pub(super) at: Timestamp,
    /// Difference between findings of one type, device and time: the metric, for a note.
    pub(super) subject: &'a str,
    pub(super) message: String,
    pub(super) labels: Labels,
}

impl Finding<'_> {
    /// Returns the event. Its id follows from type, device, subject and time, so a finding that is made again after a
    /// crash is the same event.
    pub(super) fn into_event(self) -> Event {
        let Self { event_type, criticality, device, at, subject, message, labels } = self;
        let digest = IdentityDigest::of(&[
            b"detector",
            event_type.as_bytes(),
            device.as_bytes(),
            subject.as_bytes(),
            &at.as_ns().to_be_bytes(),
        ]);
        Event {
            id: EventId::from(Builder::from_custom_bytes(digest.bytes()).into_uuid()),
            criticality: Criticality::new(u64::from(criticality)).unwrap_or(Criticality::MIN),
            timestamp: at,
            source_device: device.clone(),
            event_type: EventType::new(event_type).expect("a short printable constant is a name"),
            event_message: Some(message),
            seq: None,
            // As the wire has it.
            labels: (!labels.is_empty()).then(|| Box::new(labels)),
        }
    }
}
