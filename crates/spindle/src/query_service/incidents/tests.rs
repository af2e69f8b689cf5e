//! Incidents from events in a store, over their whole time.

use std::time::Instant;

use spindle_core::{Batch, Event};

use super::*;
use crate::clock;
use crate::query_service::test_data::{event, put};

fn query(until: Timestamp, hours: u32) -> IncidentsQuery {
    IncidentsQuery {
        window: Window::ending_at(until.plus(Duration::from_nanos(1)), HOUR * hours),
        present: false,
        state: None,
        source_device: None,
        min_criticality: 1,
        limit: 10,
        offset: 0,
    }
}

fn stated(device: &str, to: &str, criticality: u64, at: Timestamp) -> Event {
    let labels = [("from", "ok"), ("to", to), ("why", "DiskTemp")];
    Event { criticality: level(criticality), ..event(device, HEALTH_CHANGED, at, &labels) }
}

#[tokio::test]
async fn a_verdict_that_ended_stays_ended() {
    let (folder, now) = (tempfile::tempdir().unwrap(), clock::now());
    let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
    let begun = now.minus(HOUR * 100);
    // Nobody states the verdict again: the detector is away.
    let events = vec![stated("disk", "critical", 8, begun), stated("disk", "ok", 3, begun.plus(HOUR))];
    put(&store, Batch { metrics: Vec::new(), events }, begun.plus(HOUR)).await;
    for hours in [2, 20, 30, 99] {
        let list = incidents(&store, query(begun.plus(HOUR * hours), 200)).await.unwrap();
        let states: Vec<_> = list.data.iter().map(|incident| (incident.state, incident.until)).collect();
        assert_eq!(states, [(IncidentState::Closed, Some(begun.plus(HOUR)))], "after {hours} h");
    }
    assert_eq!(incidents(&store, query(now, 24)).await.unwrap().data, []);
}

#[tokio::test]
async fn what_is_cut_off_is_said_and_a_loud_device_hides_no_other() {
    let (folder, now) = (tempfile::tempdir().unwrap(), clock::now());
    let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
    let at = |minutes: u32| now.minus(HOUR / 60 * minutes);
    let of = |device: &str, event_type: &str, criticality, minutes| Event {
        criticality: level(criticality),
        ..event(device, event_type, at(minutes), &[])
    };
    let mut events = vec![of("quiet", "FanFailure", 6, 55), of("other", "Strange", 9, 50)];
    events.extend((1..40).flat_map(|minutes| ["FanFailure", "Strange"].map(|kind| of("loud", kind, 9, minutes))));
    put(&store, Batch { metrics: Vec::new(), events }, now).await;
    let limits = ReadLimits { of_device: 5, page: 8, n_pages: 2, n_apart: 1 };
    let list = within(&store, query(now, 24), limits).await.unwrap();
    let mut devices: Vec<&str> = list.data.iter().map(|incident| incident.source_device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    assert_eq!(devices, ["loud", "other", "quiet"]);
    let cut: Vec<&str> = list.summary.cut_off.iter().map(|event_type| event_type.as_str()).collect();
    assert_eq!((cut, list.summary.calls_cut_off), (vec!["FanFailure"], true));
}

#[test]
fn decisions_about_a_fleet_are_searched_once() {
    let now = Timestamp::from_seconds(1_750_000_000);
    let until = now.plus(HOUR).to_string();
    let of = |event_type: &str, criticality, minutes: u32, labels: &[(&str, &str)]| -> Vec<EventRecord> {
        let at = now.minus(HOUR / 60 * minutes);
        let event = |device: &str| Event { criticality: level(criticality), ..event(device, event_type, at, labels) };
        let devices = (0..8_000).map(|index| format!("disk-{index:05}"));
        devices.map(|device| EventRecord { event: event(&device), received: at }).collect()
    };
    let failed = of("DriveFailure", 9, 60, &[]);
    let acknowledged = of("IncidentAcknowledged", 1, 30, &[("until", &until)]);
    let (window, labels) = (Window::ending_at(now, HOUR * 24), BTreeMap::new());
    let tell = |decisions: &[EventRecord]| {
        let started = Instant::now();
        let told = told(&IncidentEvidence { window, events: &failed, decisions, labels: &labels });
        (told, started.elapsed())
    };
    let ((without, took_without), (with, took_with)) = (tell(&[]), tell(&acknowledged));
    assert_eq!((without.len(), with.len()), (8_000, 8_000));
    assert!(with.iter().all(|incident| incident.state == IncidentState::Acknowledged));
    assert!(took_with < took_without * 20, "{took_without:?} without decisions, {took_with:?} with them");
}
