//! Properties of incidents: the order of events does not matter, more of them never hide one, and an event closes the
//! faults of its device and kind alone.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use spindle_core::incidents::{Incident, IncidentEvidence, IncidentState, incidents};
use spindle_core::records::{EventRecord, Window};
use spindle_core::{Criticality, DeviceName, Event, EventType, Labels, Timestamp};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_seconds(1_000_000_000);
const OPENERS: [&str; 11] = [
    "DriveFailure",
    "SmartFailed",
    "SelfTestFailed",
    "ShelfOffline",
    "FanFailure",
    "DataCorruption",
    "FailurePredicted",
    "DeviceSlow",
    "AnomaliesAgree",
    "LatencyRaised",
    "Overheat",
];
const CLOSERS: [&str; 9] = [
    "DriveReplaced",
    "SmartRecovered",
    "SelfTestPassed",
    "ShelfOnline",
    "FanRestored",
    "FailurePredictionEnded",
    "DeviceSlowEnded",
    "LatencyRaisedEnded",
    "AnomaliesEnded",
];

fn record(event_type: &str, device: usize, seconds_ago: u64, id: u128) -> EventRecord {
    let timestamp = NOW.minus(Duration::from_secs(seconds_ago));
    let event = Event {
        id: Uuid::from_u128(id).into(),
        criticality: Criticality::new(8).unwrap(),
        timestamp,
        source_device: DeviceName::new(&format!("d{device}")).unwrap(),
        event_type: EventType::new(event_type).unwrap(),
        event_message: None,
        seq: None,
        labels: None,
    };
    EventRecord { event, received: timestamp }
}

fn opener() -> impl Strategy<Value = EventRecord> {
    (0..OPENERS.len(), 0_usize..6, 1_u64..200_000, any::<u128>())
        .prop_map(|(index, device, age, id)| record(OPENERS[index], device, age, id))
}

fn closer() -> impl Strategy<Value = EventRecord> {
    (0..CLOSERS.len(), 0_usize..6, 1_u64..200_000, any::<u128>())
        .prop_map(|(index, device, age, id)| record(CLOSERS[index], device, age, id))
}

fn story() -> impl Strategy<Value = Vec<EventRecord>> {
    prop::collection::vec(prop_oneof![3 => opener(), 1 => closer()], 0..16)
}

/// Devices 0 to 2 and 3 to 4 share an enclosure; device 5 has none.
fn told(events: &[EventRecord]) -> Vec<Incident> {
    let place = |device: usize| {
        let labels = if device < 5 {
            Labels::from([("enclosure".to_owned(), format!("e{}", device / 3))])
        } else {
            Labels::new()
        };
        (DeviceName::new(&format!("d{device}")).unwrap(), labels)
    };
    let labels: BTreeMap<_, _> = (0..6).map(place).collect();
    let window = Window::ending_at(NOW, Duration::from_secs(100_000));
    incidents(&IncidentEvidence { window, events, decisions: &[], labels: &labels })
}

/// Devices and whether they have an open incident.
fn devices(told: &[Incident], is_wanted: impl Fn(&Incident) -> bool) -> Vec<&DeviceName> {
    let mut devices: Vec<_> =
        told.iter().filter(|incident| is_wanted(incident)).flat_map(|found| &found.devices).collect();
    devices.sort();
    devices.dedup();
    devices
}

fn is_open(incident: &Incident) -> bool {
    incident.state == IncidentState::Open
}

proptest! {
    #[test]
    fn the_order_of_events_does_not_matter(events in story(), shuffled in any::<prop::sample::Index>()) {
        let mut turned = events.clone();
        if !turned.is_empty() {
            turned.rotate_left(shuffled.index(events.len()));
            turned.reverse();
        }
        prop_assert_eq!(told(&events), told(&turned));
    }

    #[test]
    fn a_further_fault_never_removes_an_incident(events in story(), further in opener()) {
        let before = told(&events);
        // A fault that began before the outage of its shelf is not explained by it, so an earlier start may part the two.
        let is_earlier = |event: &EventRecord| event.event.source_device == further.event.source_device
            && event.event.event_type == further.event.event_type && event.event.timestamp > further.event.timestamp;
        let moves_a_start = events.iter().any(is_earlier);
        let after = told(&[&events[..], &[further]].concat());
        for incident in before.iter().filter(|_| !moves_a_start) {
            let covers = |other: &&Incident| incident.devices.iter().all(|device| other.devices.contains(device))
                && other.since <= incident.since && (!is_open(incident) || is_open(other));
            prop_assert!(after.iter().any(|other| covers(&other)), "{:?} is not in {:?}", incident, after);
        }
        prop_assert!(devices(&before, is_open).iter().all(|device| devices(&after, is_open).contains(device)));
    }

    #[test]
    fn an_end_closes_faults_of_its_device_and_kind_alone(event_type in 0..OPENERS.len(), closer in closer(), ages in (1_u64..90_000, 1_u64..90_000)) {
        let opened = record(OPENERS[event_type], 0, ages.0.max(ages.1), 1);
        let ending = EventRecord { received: NOW.minus(Duration::from_secs(ages.0.min(ages.1))), ..closer };
        let ending = EventRecord { event: Event { timestamp: ending.received, ..ending.event }, ..ending };
        let ends = match ending.event.event_type.as_str() {
            "DriveReplaced" => !matches!(OPENERS[event_type], "ShelfOffline" | "FanFailure" | "DataCorruption" | "Overheat"),
            "SmartRecovered" => OPENERS[event_type] == "SmartFailed",
            "SelfTestPassed" => OPENERS[event_type] == "SelfTestFailed",
            "ShelfOnline" => OPENERS[event_type] == "ShelfOffline",
            "FanRestored" => OPENERS[event_type] == "FanFailure",
            "FailurePredictionEnded" => OPENERS[event_type] == "FailurePredicted",
            "DeviceSlowEnded" => OPENERS[event_type] == "DeviceSlow",
            "LatencyRaisedEnded" => OPENERS[event_type] == "LatencyRaised",
            _anomalies_ended => OPENERS[event_type] == "AnomaliesAgree",
        };
        let is_same_device = ending.event.source_device == opened.event.source_device;
        let alone = told(std::slice::from_ref(&opened));
        let [incident] = &told(&[opened, ending.clone()])[..] else { panic!() };
        if ends && is_same_device {
            prop_assert_eq!(incident.until, Some(ending.event.timestamp));
        } else {
            prop_assert_eq!(incident, &alone[0]);
        }
    }

    /// Each fault is in one incident, and ids tell incidents apart.
    #[test]
    fn incidents_are_told_apart(events in story()) {
        let told = told(&events);
        let mut ids: Vec<_> = told.iter().map(|incident| &incident.id).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), told.len());
        let is_consistent = |incident: &Incident| incident.until.is_none() == is_open(incident)
            && incident.since <= incident.changed
            && incident.devices.contains(&incident.source_device)
            && !incident.reasons.is_empty() && incident.reasons.len() <= incident.n_reasons;
        prop_assert!(told.iter().all(is_consistent), "{:?}", told);
    }
}
