//! Identity of a metric value and of an event: the one rule for message ids, keys of the stores and sets.
//!
//! A value is its device, metric type and timestamp. An event is its id, device, event type and timestamp, so a sender
//! that reuses an id loses nothing.
//!
//! **Values that meet.** A second value of one device, metric type and nanosecond is a new reading of the same place,
//! not a second value: the one later in the stream replaces the earlier, and the sequence number of the earlier is gone
//! with it. The gap audit lists each number that this costs as missing; on InfluxDB, which overwrites silently, a number
//! replaced by another process or after other values of its series only if it lies between two numbers of its epoch.
//! Only an equal value that is delivered again costs nothing.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::event_id::EventId;
use crate::name::{DeviceName, EventType, MetricType};
use crate::timestamp::Timestamp;
use crate::wire::{DeviceMetric, Event};

/// Identity of a metric value or an event. Two elements are the same if and only if their identities are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity<'a> {
    /// Metric value.
    Metric {
        /// Device.
        source_device: &'a DeviceName,
        /// Metric type.
        metric_type: &'a MetricType,
        /// Time of measurement.
        timestamp: Timestamp,
    },
    /// Event.
    Event {
        /// Id.
        id: &'a EventId,
        /// Device.
        source_device: &'a DeviceName,
        /// Event type.
        event_type: &'a EventType,
        /// Time of the event.
        timestamp: Timestamp,
    },
}

/// Digest of an identity, or of another list of texts: 128 bits of SHA-256. It takes its place where the identity
/// itself would take too much memory. It never changes between versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityDigest([u8; 16]);

impl Identity<'_> {
    /// Returns the digest of the identity.
    pub fn digest(&self) -> IdentityDigest {
        match self {
            Self::Metric { source_device, metric_type, timestamp } => IdentityDigest::of(&[
                b"metric",
                source_device.as_bytes(),
                metric_type.as_bytes(),
                &timestamp.as_ns().to_be_bytes(),
            ]),
            Self::Event { id, source_device, event_type, timestamp } => IdentityDigest::of(&[
                b"event",
                id.text().as_bytes(),
                source_device.as_bytes(),
                event_type.as_bytes(),
                &timestamp.as_ns().to_be_bytes(),
            ]),
        }
    }

    /// Returns the id of a message that holds only this element (`Nats-Msg-Id`): 32 hexadecimal digits.
    pub fn message_id(&self) -> String {
        self.digest().to_string()
    }
}

impl IdentityDigest {
    /// Returns the digest of a list of parts. Each is preceded by its length, so other parts that read the same
    /// when joined have another digest.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize()[..16]);
        Self(digest)
    }

    /// Returns all 128 bits.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the first 64 bits.
    pub fn leading_bits(self) -> u64 {
        (u128::from_be_bytes(self.0) >> 64) as u64
    }
}

impl DeviceMetric {
    /// Returns the identity of the value.
    pub fn identity(&self) -> Identity<'_> {
        let Self { source_device, metric_type, timestamp, .. } = self;
        Identity::Metric { source_device, metric_type, timestamp: *timestamp }
    }
}

impl Event {
    /// Returns the identity of the event.
    pub fn identity(&self) -> Identity<'_> {
        let Self { id, source_device, event_type, timestamp, .. } = self;
        Identity::Event { id, source_device, event_type, timestamp: *timestamp }
    }
}

impl fmt::Display for IdentityDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for IdentityDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;
    use crate::wire::Criticality;

    fn event(id: &str, device: &str, event_type: &str, time: i64) -> Event {
        Event {
            id: EventId::new(id).unwrap(),
            criticality: Criticality::MAX,
            timestamp: Timestamp::from_ns(time),
            source_device: DeviceName::new(device).unwrap(),
            event_type: EventType::new(event_type).unwrap(),
            event_message: None,
            seq: None,
            labels: None,
        }
    }

    #[test]
    fn each_part_of_an_event_is_part_of_its_identity() {
        let events = [
            event("a", "b", "c", 1),
            event("b", "b", "c", 1),
            event("a", "c", "c", 1),
            event("a", "b", "d", 1),
            event("a", "b", "c", 2),
            event("ab", "c", "c", 1),
            event("a", "bc", "c", 1),
            event("a", "b", "c1", 1),
            event("a\0", "b", "c", 1),
            event("a\0b", "b", "c", 1),
        ];
        assert_eq!(events.iter().map(Event::identity).collect::<HashSet<_>>().len(), events.len());
        assert_eq!(events.iter().map(|event| event.identity().digest()).collect::<HashSet<_>>().len(), events.len());
        let again = Event { seq: Some(7), event_message: Some("later".to_owned()), ..events[0].clone() };
        assert_eq!(again.identity(), events[0].identity());
    }

    /// The defect of the XOR: the id followed the clock, so that both cancelled each other.
    #[test]
    fn ids_that_follow_their_clock_stay_apart() {
        let ids = |time: i64| uuid::Uuid::from_u128(u128::from((time << 1).cast_unsigned()) ^ 0xFFFF_0000);
        let events: Vec<_> = (0..6_000).map(|time| event(&ids(time).to_string(), "d", "t", time)).collect();
        let digests: BTreeSet<_> = events.iter().map(|event| event.identity().digest()).collect();
        assert_eq!(digests.len(), events.len());
    }

    #[test]
    fn a_message_id_is_safe_in_a_header_and_never_changes() {
        let id = event("line 1\r\nNats-Msg-Id: forged \u{fc}", "disk \u{fc}", "Note", -1).identity().message_id();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let uuid = event("e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90", "DiskUnit", "FanFailure", 1_749_211_200_000_000_000);
        assert_eq!(uuid.identity().message_id(), "cfc5e9826d322d6ce2836b9f9d616f00");
    }

    #[test]
    fn a_value_and_an_event_of_equal_parts_are_different() {
        let value = DeviceMetric {
            timestamp: Timestamp::from_ns(1),
            source_device: DeviceName::new("b").unwrap(),
            metric_type: MetricType::new("c").unwrap(),
            value: 1.0,
            seq: None,
            labels: None,
        };
        assert_ne!(value.identity().digest(), event("a", "b", "c", 1).identity().digest());
        let again = DeviceMetric { value: 2.0, seq: Some(1), ..value.clone() };
        assert_eq!(again.identity(), value.identity());
    }
}
