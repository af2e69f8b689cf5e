//! Responses about a fleet, incidents, history and anomalies on the wire, byte for byte.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use spindle_core::health::{Health, segments};
use spindle_core::incidents::{IncidentEvidence, incidents};
use spindle_core::records::{EventRecord, Window};
use spindle_core::response::{
    AnomalyRow, Basis, Data, FleetHealth, FleetRow, FleetSummary, GoneDevice, HealthHistory, IncidentCounts,
    IncidentList, Listing, Response,
};
use spindle_core::{Criticality, DeviceName, Event, EventType, Labels, Timestamp};
use uuid::Uuid;

const T0: Timestamp = Timestamp::from_seconds(1_749_211_200);
const T1: Timestamp = Timestamp::from_seconds(1_749_214_800);

fn window() -> Window {
    Window { from: T0, until: T1 }
}

fn device(name: &str) -> DeviceName {
    DeviceName::new(name).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn event(name: &str, event_type: &str, criticality: u64, minutes: u64, pairs: &[(&str, &str)]) -> EventRecord {
    let event = Event {
        id: Uuid::from_u128(u128::from(minutes)).into(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp: T0.plus(Duration::from_secs(60 * minutes)),
        source_device: device(name),
        event_type: EventType::new(event_type).unwrap(),
        event_message: Some("so".to_owned()),
        seq: None,
        labels: Some(Box::new(labels(pairs))),
    };
    EventRecord { received: event.timestamp, event }
}

#[track_caller]
fn check(data: Data, expected: &Value) {
    let answer = serde_json::to_value(Response::Success(data)).unwrap();
    assert_eq!(answer, *expected, "{answer:#}");
}

#[test]
fn fleet_health() {
    let row = |name: &str, health, score, enclosure: &str| FleetRow {
        source_device: device(name),
        health,
        score,
        asleep: false,
        since: None,
        reason: None,
        n_reasons: 0,
        labels: labels(&[("enclosure", enclosure)]),
        last_seen: T0,
        last_received: Some(T0),
        detector_seen: Some(T0),
        acknowledged: None,
    };
    let ill = row("b", Health::Critical, Some(39), "e2");
    let mut rows = vec![
        row("c", Health::Ok, Some(100), "e1"),
        row("a", Health::Unknown, None, "e1"),
        ill.clone(),
        row("d", Health::Critical, Some(0), "e2"),
    ];
    rows.sort_by(|one, other| one.rank().cmp(&other.rank()));
    let order: Vec<_> = rows.iter().map(|row| row.source_device.as_str()).collect();
    assert_eq!(order, ["d", "b", "a", "c"]);
    let gone = vec![GoneDevice { source_device: device("old"), last_seen: T0, replaced: true }];
    let summary = FleetSummary::of(&rows, "enclosure", gone);
    let next = Some(BTreeMap::from([("after", json!("b"))]));
    check(
        Data::FleetHealth(Box::new(FleetHealth {
            data: vec![ill],
            summary,
            next,
            basis: Basis::of(window(), 7),
            present: true,
        })),
        &json!({
            "status": "success",
            "data": [{
                "source_device": "b", "health": "critical", "score": 39, "since": null, "reason": null, "n_reasons": 0,
                "labels": { "enclosure": "e2" }, "last_seen": "2025-06-06T12:00:00Z",
                "last_received": "2025-06-06T12:00:00Z", "detector_seen": "2025-06-06T12:00:00Z"
            }],
            "summary": {
                "n_devices": 4, "counts": { "ok": 1, "unknown": 1, "warning": 0, "critical": 2 }, "n_asleep": 0,
                "n_acknowledged": 0, "n_groups": 2,
                "groups": [
                    { "group": "e2", "ok": 0, "unknown": 0, "warning": 0, "critical": 2 },
                    { "group": "e1", "ok": 1, "unknown": 1, "warning": 0, "critical": 0 }
                ],
                "n_gone": 1,
                "gone": [{ "source_device": "old", "last_seen": "2025-06-06T12:00:00Z", "replaced": true }],
                "detector_seen": "2025-06-06T12:00:00Z"
            },
            "next": { "after": "b" },
            "basis": { "from": "2025-06-06T12:00:00Z", "until": "2025-06-06T13:00:00Z", "n_points": 7 }
        }),
    );
}

#[test]
fn an_incident() {
    let events = [event("disk", "FailurePredicted", 8, 10, &[("advice", "Replace it.")])];
    let known = BTreeMap::from([(device("disk"), labels(&[("enclosure", "e1"), ("bay", "7"), ("model", "M")]))]);
    let data = incidents(&IncidentEvidence { window: window(), events: &events, decisions: &[], labels: &known });
    let summary = IncidentCounts { n_open: 1, ..IncidentCounts::default() };
    let list = IncidentList { data, summary, next: None, basis: Basis::of(window(), 1), offset: 0, present: true };
    check(
        Data::Incidents(list),
        &json!({
            "status": "success",
            "data": [{
                "id": "3034bbf2-8f20-8587-9f9b-6fd62e93b162", "state": "open", "cause": "FailurePredicted",
                "health": "critical", "criticality": 8, "source_device": "disk", "devices": ["disk"],
                "place": { "enclosure": "e1", "bay": "7" }, "since": "2025-06-06T12:10:00Z", "until": null,
                "changed": "2025-06-06T12:10:00Z", "advice": "Replace it.",
                "reasons": [{
                    "source_device": "disk", "metric": "FailurePredicted", "health": "critical", "value": 8.0, "limit": null,
                    "time": "2025-06-06T12:10:00Z", "why": "FailurePredicted at 2025-06-06T12:10:00Z: so",
                    "since": "2025-06-06T12:10:00Z", "advice": "Replace it."
                }],
                "n_reasons": 1
            }],
            "summary": { "n_open": 1, "n_acknowledged": 0, "n_closed": 0, "detector_seen": null },
            "next": null,
            "basis": { "from": "2025-06-06T12:00:00Z", "until": "2025-06-06T13:00:00Z", "n_points": 1 }
        }),
    );
}

#[test]
fn health_history() {
    let stated = event("d", "HealthChanged", 3, 20, &[("to", "warning"), ("score", "75"), ("why", "DiskTemp")]);
    check(
        Data::HealthHistory(HealthHistory {
            data: segments(&[stated], window()),
            next: None,
            basis: Basis::of(window(), 1),
        }),
        &json!({
            "status": "success",
            "data": [
                { "from": "2025-06-06T12:00:00Z", "until": "2025-06-06T12:20:00Z", "health": "unknown", "score": null, "why": "no verdict on record" },
                { "from": "2025-06-06T12:20:00Z", "until": "2025-06-06T13:00:00Z", "health": "warning", "score": 75, "why": "DiskTemp" }
            ],
            "next": null,
            "basis": { "from": "2025-06-06T12:00:00Z", "until": "2025-06-06T13:00:00Z", "n_points": 1 }
        }),
    );
}

#[test]
fn anomalies() {
    let pairs =
        [("metric", "Latency"), ("value", "41.2"), ("expected_low", "3.1"), ("expected_high", "5.9"), ("score", "0.9")];
    let data = vec![
        AnomalyRow::from(event("d", "MetricAnomaly", 4, 5, &pairs)),
        AnomalyRow::from(event("d", "AnomaliesAgree", 7, 4, &[("families", "latency,temperature"), ("value", "NaN")])),
    ];
    let listing = Listing { data, summary: None, next: None, basis: Basis::of(window(), 2), offset: 0 };
    check(
        Data::Anomalies(listing),
        &json!({
            "status": "success",
            "data": [
                { "time": "2025-06-06T12:05:00Z", "source_device": "d", "event_type": "MetricAnomaly", "criticality": 4,
                  "metric": "Latency", "value": 41.2, "expected_low": 3.1, "expected_high": 5.9, "score": 0.9, "event_message": "so" },
                { "time": "2025-06-06T12:04:00Z", "source_device": "d", "event_type": "AnomaliesAgree", "criticality": 7,
                  "metric": "latency,temperature", "value": null, "expected_low": null, "expected_high": null, "score": null, "event_message": "so" }
            ],
            "next": null,
            "basis": { "from": "2025-06-06T12:00:00Z", "until": "2025-06-06T13:00:00Z", "n_points": 2 }
        }),
    );
}
