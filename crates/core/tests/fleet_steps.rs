//! Number of devices that are not ok over time.

use spindle_core::health::{FleetStep, fleet_steps};
use spindle_core::records::{EventRecord, Window};
use spindle_core::{Criticality, DeviceName, Event, EventId, EventType, Labels, Timestamp};

const HOUR: i64 = 3600;

fn stated(device: &str, hour: i64, to: &str) -> EventRecord {
    let at = Timestamp::from_seconds(hour * HOUR);
    let labels = Labels::from([("to".to_owned(), to.to_owned()), ("since".to_owned(), at.to_string())]);
    let event = Event {
        id: EventId::new(&format!("{device} {hour}")).expect("a valid name"),
        criticality: Criticality::MIN,
        timestamp: at,
        source_device: DeviceName::new(device).expect("a valid name"),
        event_type: EventType::new("HealthChanged").expect("a valid name"),
        event_message: None,
        seq: None,
        labels: Some(Box::new(labels)),
    };
    EventRecord { event, received: at }
}

fn steps(devices: &[Vec<EventRecord>], from: i64, until: i64) -> Vec<(i64, [u32; 3])> {
    let at = |hour: i64| Timestamp::from_seconds(hour * HOUR);
    let window = Window { from: at(from), until: at(until) };
    let steps = fleet_steps(devices.iter().map(Vec::as_slice), window);
    let shown = |FleetStep { time, critical, warning, unknown }| {
        (time.as_ns() / 1_000_000_000 / HOUR, [critical, warning, unknown])
    };
    steps.into_iter().map(shown).collect()
}

#[test]
fn each_change_is_a_step() {
    let devices = [
        vec![stated("a", 10, "ok"), stated("a", 12, "warning"), stated("a", 14, "critical")],
        vec![stated("b", 12, "warning"), stated("b", 15, "ok")],
        vec![stated("c", 11, "unknown")],
    ];
    let expected = vec![(9, [0, 0, 0]), (11, [0, 0, 1]), (12, [0, 2, 1]), (14, [1, 1, 1]), (15, [1, 0, 1])];
    assert_eq!(steps(&devices, 9, 16), expected);
}

#[test]
fn a_statement_before_the_window_holds_in_it_for_a_day() {
    let devices = [vec![stated("a", 0, "critical")]];
    assert_eq!(steps(&devices, 20, 40), vec![(20, [1, 0, 0]), (25, [0, 0, 0])]);
    assert_eq!(steps(&devices, 26, 40), vec![(26, [0, 0, 0])]);
}

#[test]
fn devices_of_which_nothing_was_stated_are_not_counted() {
    assert_eq!(steps(&[Vec::new()], 0, 10), vec![(0, [0, 0, 0])]);
}
