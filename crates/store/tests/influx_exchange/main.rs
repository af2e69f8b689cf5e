//! The exchange with InfluxDB 2 and 3 and with openGemini, and its failures, against facades that respond as the servers' sources do.
#![allow(clippy::unwrap_used)]

mod addresses;
mod beyond;
mod blame;
mod detect;
mod extras;
mod faults;
mod foreign;
mod index;
mod labels;
mod lag;
mod open_gemini;
mod provision;
mod reads;
mod refusals;

use std::sync::Arc;

use spindle_core::audit::Tally;
use spindle_core::records::Window;
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};
use spindle_store::{InfluxSettings, Refusal, RefusedItem, Store, StoreError, Written};
use spindle_testkit::{FacadeOptions, Generation, InfluxFacade};
use uuid::Uuid;

/// 2025-06-06T12:00:00Z.
const NOON: i64 = 1_749_211_200_000_000_000;
const BOTH: [Generation; 2] = [Generation::V2, Generation::V3];
const DATABASE: &str = "fleet";

fn start(generation: Generation) -> InfluxFacade {
    start_with(generation, FacadeOptions::default())
}

fn start_with(generation: Generation, options: FacadeOptions) -> InfluxFacade {
    InfluxFacade::start(generation, options).unwrap()
}

fn settings(facade: &InfluxFacade) -> InfluxSettings {
    InfluxSettings {
        host: facade.url(),
        database: DATABASE.to_owned(),
        token: Some(InfluxFacade::TOKEN.to_owned()),
        org: Some(InfluxFacade::ORG.to_owned()),
        ..InfluxSettings::default()
    }
}

fn open(facade: &InfluxFacade) -> Store {
    Store::open_influx(settings(facade)).unwrap()
}

/// Returns the requests so far that write lines of a measurement.
fn writes_of(facade: &InfluxFacade, path: &str, measurement: &str) -> Vec<spindle_testkit::Request> {
    let starts = |line: &str| line.strip_prefix(measurement).is_some_and(|rest| rest.starts_with(','));
    facade.record_of(path).into_iter().filter(|request| request.text().lines().any(starts)).collect()
}

/// Path of writes.
fn write_path(generation: Generation) -> &'static str {
    match generation {
        Generation::V2 => "/api/v2/write",
        Generation::V3 => "/api/v3/write_lp",
        Generation::OpenGemini => "/write",
    }
}

fn metric(device: &str, time: i64) -> DeviceMetric {
    DeviceMetric {
        timestamp: Timestamp::from_ns(time),
        source_device: DeviceName::new(device).unwrap(),
        metric_type: MetricType::new("IOPs").unwrap(),
        value: 2.5,
        seq: None,
        labels: None,
    }
}

fn event(id: u128) -> Event {
    Event {
        id: Uuid::from_u128(id).into(),
        criticality: Criticality::new(3).unwrap(),
        timestamp: Timestamp::from_ns(NOON),
        source_device: DeviceName::new("disk").unwrap(),
        event_type: EventType::new("Note").unwrap(),
        event_message: None,
        seq: None,
        labels: None,
    }
}

fn metrics(devices: &[&str]) -> Vec<DeviceMetric> {
    devices.iter().map(|device| metric(device, NOON)).collect()
}

async fn write(store: &Store, metrics: Vec<DeviceMetric>, events: Vec<Event>) -> Result<Written, StoreError> {
    store.write(Arc::new(Batch { metrics, events }), Timestamp::from_ns(NOON)).await
}

/// Counts metric values and events in the server behind the facade, and checks that queries return as many.
async fn counts(facade: &InfluxFacade, store: &Store) -> (u64, u64) {
    let stored = |field: &str, measurement: &str| {
        let query = format!("SELECT count({field}) FROM {measurement}");
        let response = facade.server().query(DATABASE, &query).unwrap();
        response["results"][0]["series"][0]["values"][0][1].as_u64().unwrap_or(0)
    };
    let counts = (stored("value", "device_metrics"), stored("criticality", "events"));
    let devices = store.devices(None, usize::MAX).await.unwrap();
    let names: Vec<DeviceName> = devices.into_iter().map(|record| record.source_device).collect();
    let tallies = store.tally(&names, window(i64::MIN, i64::MAX)).await.unwrap();
    assert_eq!(tallies.iter().map(Tally::n_points).sum::<u64>(), counts.0 + counts.1);
    counts
}

fn refused(written: &Written) -> Vec<RefusedItem> {
    let mut items: Vec<RefusedItem> = written.refused.iter().map(|refused| refused.item).collect();
    items.sort_by_key(|item| match item {
        RefusedItem::Metric(index) => (0, *index),
        RefusedItem::Event(index) => (1, *index),
    });
    items
}

/// Reasons of the refused elements, each once.
fn reasons(written: &Written) -> Vec<Refusal> {
    Refusal::ALL.into_iter().filter(|reason| written.refused_for(*reason).next().is_some()).collect()
}

fn window(from: i64, until: i64) -> Window {
    Window { from: Timestamp::from_ns(from), until: Timestamp::from_ns(until) }
}

/// Checks that an error's message contains these parts and never the token.
#[track_caller]
fn expect_message(error: &StoreError, expected: &[&str]) {
    let message = error.to_string();
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(!message.contains(InfluxFacade::TOKEN) && !message.contains("wrong-token"), "the token is in: {message}");
}
