//! Position of an event's point: InfluxDB overwrites a point of equal tags and time, so each event gets its own.
//!
//! An event's point is placed shortly after the event's time: up to a second after a whole second, up to a millisecond
//! after any other time. The offset derives from the event's id, so every writer computes the same position. The field
//! `timestamp_ns` keeps the exact time. Of two events with one position, the second moves to the next `slot`.

use std::hash::{DefaultHasher, Hash, Hasher};

use spindle_core::{Event, Timestamp};
use uuid::Uuid;

use super::line::EventPosition;
use super::session::{MAX_TIME, MIN_TIME};

/// Largest distance of an event's point from the event's time.
pub(super) const SPREAD_NS: i64 = 1_000_000_000;

/// Range of positions for a time in whole seconds (the sender's clock has no finer resolution) and for any other
/// time. A burst stamped with one clock reading, down to the nanosecond, needs the range just the same: in a
/// millisecond, 100,000 events of one device and type take a handful of slots; at one instant each would need its own.
const WHOLE_SECOND_NS: i64 = SPREAD_NS;
const MIN_RANGE_NS: i64 = 1_000_000;
/// Largest distance of an arrival's entry from the arrival.
pub(super) const ARRIVAL_SPREAD_NS: i64 = MIN_RANGE_NS;

/// Returns the position of an event in slot 0. It must be equal for the same event in every process and never change
/// between versions.
pub(super) fn natural(event: &Event) -> EventPosition {
    let happened = event.timestamp.as_ns();
    let range = if happened.rem_euclid(WHOLE_SECOND_NS) == 0 { WHOLE_SECOND_NS } else { MIN_RANGE_NS };
    shifted(happened, range, event)
}

/// Returns the place of an event's arrival in slot 0: up to a millisecond after the arrival.
pub(super) fn arrival(event: &Event, received: Timestamp) -> EventPosition {
    shifted(received.as_ns().max(MIN_TIME), ARRIVAL_SPREAD_NS, event)
}

fn shifted(time: i64, range: i64, event: &Event) -> EventPosition {
    let offset = ((u128::from(scattered(&event.id)) * u128::from(range.cast_unsigned())) >> 64) as i64;
    EventPosition { time: time.saturating_add(offset).min(MAX_TIME), slot: 0 }
}

fn scattered(id: &Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    (high ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Returns the key of a position of an event's device and type.
pub(super) fn key(event: &Event, position: EventPosition) -> u64 {
    hash(&(event.source_device.as_str(), event.event_type.as_str(), position.time, position.slot))
}

/// Returns the identity of an event among those of its device and type.
pub(super) fn identity(id: Uuid, happened_ns: i64) -> u128 {
    id.as_u128() ^ (u128::from(happened_ns.cast_unsigned()) << 1)
}

pub(super) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
