//! Order of events in a response.

use std::cmp::Reverse;

use spindle_core::records::EventRecord;
use spindle_core::{DeviceName, Event, EventId, EventType, Timestamp};

/// Sort key of an event, and its identity: time, id, device and type.
pub(super) type EventKey = (Timestamp, EventId, DeviceName, EventType);

pub(super) fn key_of(record: &EventRecord) -> EventKey {
    let Event { timestamp, id, source_device, event_type, .. } = &record.event;
    (*timestamp, id.clone(), source_device.clone(), event_type.clone())
}

/// Sorts events, newest first, and drops copies: two concurrent writers can both have stored one. The first arrival
/// stays.
pub(super) fn sort(found: &mut Vec<EventRecord>) {
    found.sort_by_cached_key(|record| (Reverse(key_of(record)), record.received));
    found.dedup_by(|one, other| key_of(one) == key_of(other));
}
