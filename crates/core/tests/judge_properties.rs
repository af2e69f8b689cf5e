//! Properties of the live judge: whatever the streams hold, it says the same whether or not it was saved and restored in
//! between, says nothing twice, and says nothing that the wire would refuse.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use spindle_core::judge::FleetJudge;
use spindle_core::wire::decode_events;
use spindle_core::{Criticality, DeviceMetric, DeviceName, Event, EventId, EventType, Labels, MetricType, Timestamp};

const DEVICES: [&str; 5] = ["disk1", "disk2", "disk3", "disk4", "array"];
const METRICS: [&str; 12] = [
    "DiskTemp",
    "Latency",
    "IOPs",
    "smart_5_raw",
    "smart_194_raw",
    "smart_5_normalized",
    "PowerOnHours",
    "VendorThing",
    "CapacityUsed",
    "IsFlash",
    "DiskTempCritical",
    "smart_failed",
];
const EVENTS: [&str; 16] = [
    "DriveFailure",
    "DriveReplaced",
    "FanFailure",
    "FanRestored",
    "FindingAccepted",
    "DataCorruption",
    "HealthChanged",
    "DeviceSlow",
    "FailurePredicted",
    "UnauthorizedAccess",
    "AnomaliesAgree",
    "LatencyRaised",
    "LatencyRaisedEnded",
    "FailureRiskRaised",
    "FailurePredictionEnded",
    "DeviceSlowEnded",
];
/// Monday, 2023-11-20.
const START_S: i64 = 1_700_438_400;

/// One message of a stream.
#[derive(Clone, Debug)]
enum Input {
    Metric(DeviceMetric, Timestamp),
    Event(Event, Timestamp),
    Time(Timestamp),
}

fn labels(device: usize, generation: u64) -> Labels {
    [("enclosure", "shelf"), ("model", "M"), ("class", "disk"), ("serial", &format!("S{device}-{generation}"))]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn metric(device: usize, metric_type: &str, timestamp: Timestamp, value: f64, is_labelled: bool) -> DeviceMetric {
    DeviceMetric {
        timestamp,
        source_device: DeviceName::new(DEVICES[device]).unwrap(),
        metric_type: MetricType::new(metric_type).unwrap(),
        value,
        seq: None,
        labels: is_labelled.then(|| Box::new(labels(device, 1))),
    }
}

fn event(device: usize, event_type: &str, at: Timestamp, criticality: u64, id: u32) -> Event {
    let labels = [("metric", "DiskTemp"), ("value", "70"), ("until", "2100-01-01T00:00:00Z"), ("to", "warning")];
    Event {
        id: EventId::new(&id.to_string()).unwrap(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp: at,
        source_device: DeviceName::new(DEVICES[device]).unwrap(),
        event_type: EventType::new(event_type).unwrap(),
        event_message: None,
        seq: None,
        labels: Some(Box::new(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into())),
    }
}

/// Any message at any time.
fn any_input() -> impl Strategy<Value = Vec<Input>> {
    let time = || prop_oneof![8 => (0..400_000_i64).prop_map(|s| Timestamp::from_seconds(START_S + s)), 1 => any::<i64>().prop_map(Timestamp::from_ns)];
    let value = prop_oneof![6 => 0.0..120.0, 1 => any::<f64>(), 1 => Just(f64::NAN), 1 => Just(-1e300)];
    let metric = (0..5_usize, 0..12_usize, time(), time(), value, any::<bool>()).prop_map(
        |(d, m, at, received, value, is_labelled)| {
            Input::Metric(metric(d, METRICS[m], at, value, is_labelled), received)
        },
    );
    let event = (0..5_usize, 0..16_usize, time(), time(), 1..=10_u64, any::<u32>()).prop_map(
        |(d, e, at, received, criticality, id)| Input::Event(event(d, EVENTS[e], at, criticality, id), received),
    );
    proptest::collection::vec(prop_oneof![8 => metric, 2 => event, 1 => time().prop_map(Input::Time)], 1..200)
}

/// Days of a small shelf, with faults of all kinds at drawn times: enough for everything that the judge says.
fn days() -> impl Strategy<Value = Vec<Input>> {
    let fault = (0..5_usize, 0..330_i64, 5..120_i64, 0..4_u8);
    let events = (0..5_usize, 0..16_usize, 0..330_i64, 1..=10_u64, any::<u32>());
    (any::<u64>(), proptest::collection::vec(fault, 0..6), proptest::collection::vec(events, 0..8)).prop_map(
        |(seed, faults, events)| {
            let mut inputs = Vec::new();
            for row in 0..330_i64 {
                let at = Timestamp::from_seconds(START_S + 600 * row);
                for device in 0..5_usize {
                    let hit = |kind: u8| {
                        faults.iter().any(|(d, from, length, of)| {
                            *d == device && *of == kind && (*from..from + length).contains(&row)
                        })
                    };
                    if hit(3) {
                        continue;
                    }
                    let noise = noise(seed, row * 8 + device as i64);
                    for (metric_type, value) in [
                        ("Latency", (5.0 + noise) * if hit(0) { 6.0 } else { 1.0 }),
                        ("DiskTemp", 40.0 + noise + if hit(1) { 30.0 } else { 0.0 }),
                        ("smart_5_raw", if hit(2) { (row * 4) as f64 } else { 0.0 }),
                        ("smart_197_raw", if hit(2) { (row * 2) as f64 } else { 0.0 }),
                    ] {
                        inputs.push(Input::Metric(metric(device, metric_type, at, value, row % 9 == 0), at));
                    }
                }
                for (device, event_type, of_row, criticality, id) in &events {
                    if *of_row == row {
                        inputs.push(Input::Event(event(*device, EVENTS[*event_type], at, *criticality, *id), at));
                    }
                }
            }
            inputs
        },
    )
}

fn noise(seed: u64, i: i64) -> f64 {
    let mut bits = (seed ^ i as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Feeds the judge; its own events come back with the next message, as on the bus.
fn feed(judge: &mut FleetJudge, inputs: &[Input], back: &mut Vec<Event>) -> Vec<Event> {
    let mut said = Vec::new();
    for input in inputs {
        match input {
            Input::Metric(metric, received) => judge.metric(metric, *received),
            Input::Event(event, received) => judge.event(event, *received),
            Input::Time(now) => judge.advance(*now),
        }
        for event in std::mem::take(back) {
            judge.event(&event, event.timestamp);
        }
        let made = judge.take();
        back.extend(made.iter().cloned());
        said.extend(made);
    }
    said
}

fn saved(judge: &FleetJudge) -> Vec<u8> {
    let mut bytes = Vec::new();
    judge.save(&mut bytes).unwrap();
    bytes
}

/// Checks one input, cut at one place.
fn check(inputs: &[Input], cut: usize) -> Result<Vec<Event>, TestCaseError> {
    let mut straight = FleetJudge::default();
    let said = feed(&mut straight, inputs, &mut Vec::new());
    let mut judge = FleetJudge::default();
    let mut back = Vec::new();
    let mut said_in_parts = feed(&mut judge, &inputs[..cut], &mut back);
    let mut judge = FleetJudge::restore(saved(&judge).as_slice()).unwrap();
    said_in_parts.extend(feed(&mut judge, &inputs[cut..], &mut back));
    prop_assert_eq!(&said, &said_in_parts);
    prop_assert!(saved(&straight) == saved(&judge), "the states differ");
    let ids: HashSet<_> = said.iter().map(|event| event.id.to_string()).collect();
    prop_assert_eq!(ids.len(), said.len(), "an id twice");
    let decoded = decode_events(&serde_json::to_vec(&said).unwrap());
    prop_assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    prop_assert_eq!(&decoded.items, &said);
    Ok(said)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_streams_are_judged_alike_after_a_restart(inputs in any_input(), cut in any::<prop::sample::Index>()) {
        check(&inputs, cut.index(inputs.len()))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn days_of_a_shelf_are_judged_alike_after_a_restart(inputs in days(), cut in any::<prop::sample::Index>()) {
        check(&inputs, cut.index(inputs.len()))?;
    }
}

proptest! {
    #[test]
    fn any_bytes_are_no_state(bytes in proptest::collection::vec(any::<u8>(), 0..300), version in 0..4_u32) {
        let bytes = [version.to_le_bytes().as_slice(), &bytes].concat();
        prop_assert!(FleetJudge::restore(bytes.as_slice()).is_err());
    }
}

/// The drawn days must be eventful, or the properties above say nothing.
#[test]
fn the_days_of_the_shelf_hold_findings_of_all_kinds() {
    let mut said = HashSet::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..12 {
        let inputs = days().new_tree(&mut runner).unwrap().current();
        let events = feed(&mut FleetJudge::default(), &inputs, &mut Vec::new());
        said.extend(events.iter().map(|event| event.event_type.to_string()));
    }
    for event_type in ["HealthChanged", "DeviceSlow", "DeviceSlowEnded", "FailurePredicted"] {
        assert!(said.contains(event_type), "no {event_type}: {said:?}");
    }
}
