//! Incidents of small stories: one cause is one incident, and says its place.

use super::*;
use crate::records::EventRecord;
use crate::wire::{Criticality, Event};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_seconds(1_000_000_000);

/// Event some minutes ago, with labels.
fn event(device: &str, event_type: &str, criticality: u64, minutes_ago: u64, labels: &[(&str, &str)]) -> EventRecord {
    let timestamp = NOW.minus(Duration::from_secs(60 * minutes_ago));
    let id = IdentityDigest::of(&[device.as_bytes(), event_type.as_bytes(), &minutes_ago.to_be_bytes()]).to_string();
    let event = Event {
        id: crate::EventId::new(&id).unwrap(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp,
        source_device: DeviceName::new(device).unwrap(),
        event_type: EventType::new(event_type).unwrap(),
        event_message: Some(format!("{event_type} of {device}")),
        seq: None,
        labels: (!labels.is_empty()).then(|| Box::new(own(labels))),
    };
    EventRecord { event, received: timestamp }
}

fn own(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Labels of devices `a1`, `a2`, … in enclosure `a`, and so on, with their bays.
fn places(devices: &[&str]) -> BTreeMap<DeviceName, Labels> {
    let place =
        |device: &&str| (DeviceName::new(device).unwrap(), own(&[("enclosure", &device[..1]), ("bay", &device[1..])]));
    devices.iter().map(place).collect()
}

fn told(events: &[EventRecord], decisions: &[EventRecord]) -> Vec<Incident> {
    let labels = places(&["a1", "a2", "a3", "a4", "b1", "b2"]);
    let window = Window::ending_at(NOW, Duration::from_secs(86_400));
    incidents(&IncidentEvidence { window, events, decisions, labels: &labels })
}

fn names(incident: &Incident) -> Vec<&str> {
    incident.devices.iter().map(|device| device.as_str()).collect()
}

#[test]
fn a_failure_after_its_prediction_is_one_incident_with_its_history() {
    let predicted =
        event("a1", "FailurePredicted", 8, 600, &[("advice", "Replace it soon."), ("trend", "rose by 3 in 24 h")]);
    let [before] = &told(std::slice::from_ref(&predicted), &[])[..] else { panic!() };
    assert_eq!((before.cause.as_str(), before.advice.as_deref()), ("FailurePredicted", Some("Replace it soon.")));
    assert_eq!(before.reasons[0].reason.trend.as_deref(), Some("rose by 3 in 24 h"));
    let failed = [predicted, event("a1", "DriveFailure", 10, 30, &[])];
    let [after] = &told(&failed, &[])[..] else { panic!() };
    assert_eq!((after.cause.as_str(), after.criticality, after.health), ("DriveFailure", 10, Health::Critical));
    assert_eq!((&after.id, after.since), (&before.id, before.since), "the same incident, worse");
    assert_eq!((after.n_reasons, after.changed, after.until), (2, NOW.minus(Duration::from_secs(1_800)), None));
    assert_eq!(after.place, own(&[("enclosure", "a"), ("bay", "1")]));
    let replaced = [&failed[..], &[event("a1", "DriveReplaced", 2, 10, &[])]].concat();
    let [over] = &told(&replaced, &[])[..] else { panic!() };
    assert_eq!(
        (over.state, over.until, &over.id),
        (IncidentState::Closed, Some(NOW.minus(Duration::from_secs(600))), &before.id)
    );
}

#[test]
fn devices_of_one_enclosure_together_are_one_incident_that_names_it() {
    let slow = |device, minutes_ago| event(device, "DeviceSlow", 7, minutes_ago, &[]);
    let together = told(&[slow("a1", 60), slow("a2", 55), slow("a3", 47), slow("b1", 55)], &[]);
    let [shelf, alone] = &together[..] else { panic!("{together:?}") };
    assert_eq!((names(shelf), &shelf.place), (vec!["a1", "a2", "a3"], &own(&[("enclosure", "a")])));
    assert!(shelf.advice.as_deref().unwrap().contains("enclosure"), "{:?}", shelf.advice);
    assert_eq!(names(alone), ["b1"]);
    let apart = told(&[slow("a1", 60), slow("a2", 30)], &[]);
    assert_eq!(apart.len(), 2, "half an hour apart");
    let worn = |device| event(device, "FailureRiskRaised", 5, 60, &[]);
    assert_eq!(told(&[worn("a1"), worn("a2")], &[]).len(), 2, "wear is each drive's own");
}

#[test]
fn a_shelf_explains_slowness_and_a_fan_heat_at_any_time_in_between() {
    let away = event("a1", "ShelfOffline", 9, 300, &[]);
    let story = [away, event("a2", "DeviceSlow", 7, 200, &[]), event("a3", "DeviceSlow", 7, 100, &[])];
    let [shelf] = &told(&story, &[])[..] else { panic!() };
    assert_eq!((shelf.cause.as_str(), names(shelf)), ("ShelfOffline", vec!["a1", "a2", "a3"]));
    let fan = event("a1", "FanFailure", 6, 300, &[]);
    let hot = event("a2", "AnomaliesAgree", 7, 200, &[("families", "temperature"), ("devices", "a2,a4")]);
    let by_value =
        event("a3", "HealthChanged", 8, 150, &[("from", "warning"), ("to", "critical"), ("why", "DiskTemp")]);
    let slow = event("b1", "DeviceSlow", 7, 200, &[]);
    let both = told(&[fan, hot, by_value, slow], &[]);
    let [heat, other] = &both[..] else { panic!("{both:?}") };
    assert_eq!((heat.cause.as_str(), names(heat)), ("FanFailure", vec!["a1", "a2", "a3", "a4"]));
    assert_eq!(heat.advice.as_deref(), Some("Check fans, filters and air flow at the place of the drive."));
    assert_eq!(names(other), ["b1"]);
    let fan = event("a1", "FanFailure", 6, 300, &[]);
    assert_eq!(told(&[fan, event("a4", "DeviceSlow", 7, 200, &[])], &[]).len(), 2, "a fan does not slow a drive");
}

#[test]
fn a_verdict_by_values_is_an_incident_until_it_changes() {
    let stated = |to, criticality, minutes_ago| {
        event("b1", "HealthChanged", criticality, minutes_ago, &[("from", "ok"), ("to", to), ("why", "smart_5_raw")])
    };
    let [open] = &told(&[stated("critical", 8, 90), stated("critical", 3, 60)], &[])[..] else { panic!() };
    assert_eq!((open.cause.as_str(), open.state), ("smart_5_raw", IncidentState::Open));
    assert_eq!(open.advice.as_deref(), Some("Copy the data off this drive and replace it."));
    let [closed] = &told(&[stated("critical", 8, 90), stated("warning", 3, 60)], &[])[..] else { panic!() };
    assert_eq!(closed.state, IncidentState::Closed);
    assert_eq!(told(&[stated("critical", 3, 90), stated("unknown", 3, 80)], &[]), [], "a note calls nobody");
}

#[test]
fn decisions_show_and_remove_incidents() {
    let failed = event("a1", "DriveFailure", 9, 60, &[]);
    let until = NOW.plus(Duration::from_secs(3_600)).to_string();
    let acknowledged = |minutes| event("a1", "IncidentAcknowledged", 1, minutes, &[("until", &until)]);
    let state =
        |decisions: &[EventRecord]| told(std::slice::from_ref(&failed), decisions).first().map(|found| found.state);
    assert_eq!(state(&[]), Some(IncidentState::Open));
    assert_eq!(state(&[acknowledged(30)]), Some(IncidentState::Acknowledged));
    assert_eq!(state(&[acknowledged(90)]), Some(IncidentState::Open), "given for something before");
    let accepted =
        |minutes| event("a1", "FindingAccepted", 1, minutes, &[("until", &until), ("metric", "DriveFailure")]);
    assert_eq!(state(&[accepted(30)]), None);
    assert_eq!(state(&[accepted(90)]), Some(IncidentState::Open), "it came again since");
}

#[test]
fn what_nothing_closes_is_over_after_an_hour() {
    let damaged = |minutes| event("a1", "DataCorruption", 7, minutes, &[]);
    let [open] = &told(&[damaged(90), damaged(40)], &[])[..] else { panic!() };
    assert_eq!((open.state, open.n_reasons), (IncidentState::Open, 1));
    let [over] = &told(&[damaged(90)], &[])[..] else { panic!() };
    assert_eq!(over.until, Some(NOW.minus(Duration::from_secs(30 * 60))));
    assert_eq!(told(&[event("a1", "Overheat", 8, 10, &[])], &[]).len(), 1, "any type that calls a person");
    assert_eq!(told(&[event("a1", "Overheat", 7, 10, &[])], &[]), []);
}

#[test]
fn the_worst_come_first_and_what_is_closed_last() {
    let story = [
        event("a1", "DriveFailure", 10, 600, &[]),
        event("a1", "DriveReplaced", 2, 500, &[]),
        event("a2", "SelfTestFailed", 6, 400, &[]),
        event("b1", "DriveFailure", 9, 300, &[]),
    ];
    let told = told(&story, &[]);
    let order: Vec<_> = told.iter().map(|incident| incident.source_device.as_str()).collect();
    assert_eq!(order, ["b1", "a2", "a1"]);
}
