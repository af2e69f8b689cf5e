//! Position of an event's point: InfluxDB overwrites a point of equal tags and time, so each event gets its own.
//!
//! An event's point is placed shortly after the event's time: up to a second after a whole second, up to a millisecond
//! after any other time. The offset derives from the event's id, so every writer computes the same position. The field
//! `timestamp_ns` keeps the exact time. Of two events with one position, the second moves to the next `slot`.

use spindle_core::{Event, EventId, IdentityDigest, Timestamp};
use uuid::Uuid;

use super::line::{EventPosition, MAX_TIME, MIN_TIME};

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

/// Maps ids evenly to the numbers of 64 bits. Ids that meet there take one slot each: nothing here decides whether two
/// events are the same. UUIDs in any spelling keep the positions that the first versions gave them.
fn scattered(id: &EventId) -> u64 {
    match id.as_uuid().or_else(|| Uuid::try_parse(&id.text()).ok()) {
        Some(uuid) => {
            let (high, low) = uuid.as_u64_pair();
            (high ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        }
        None => IdentityDigest::of(&[b"event position", id.text().as_bytes()]).leading_bits(),
    }
}

#[cfg(test)]
mod tests {
    use spindle_core::{Criticality, DeviceName, EventType, Timestamp};

    use super::*;

    fn position(id: &str, happened: i64) -> i64 {
        let event = Event {
            id: EventId::new(id).unwrap(),
            criticality: Criticality::MAX,
            timestamp: Timestamp::from_ns(happened),
            source_device: DeviceName::new("d").unwrap(),
            event_type: EventType::new("Note").unwrap(),
            event_message: None,
            seq: None,
            labels: None,
        };
        natural(&event).time - happened
    }

    /// The numbers for UUIDs are those of the first version. Each of these is on some disk.
    #[test]
    fn positions_never_change() {
        let uuid = "e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90";
        assert_eq!((position(uuid, 0), position(uuid, 1)), (339_648_029, 339_648));
        assert_eq!(position(&uuid.to_uppercase(), 0), position(uuid, 0));
        assert_eq!(position("00000000-0000-0007-0000-000000000007", 0), 0, "halves that cancel each other");
        let ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!((position(ulid, 0), position(ulid, 1)), (714_726_563, 714_726));
        assert_ne!(position("1", 0), position("2", 0));
    }
}
