//! The exchange with InfluxDB 2 and 3, and all that can go wrong in it, against facades that answer as their
//! sources say.
#![allow(clippy::unwrap_used)]

mod detect;
mod faults;
mod prepare;
mod reads;
mod refusals;

use std::sync::Arc;

use spindle_core::records::Window;
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};
use spindle_store::{InfluxSettings, RefusedItem, Store, StoreError, Written};
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

/// Where lines are written.
fn write_path(generation: Generation) -> &'static str {
    match generation {
        Generation::V2 => "/api/v2/write",
        Generation::V3 => "/api/v3/write_lp",
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
        id: Uuid::from_u128(id),
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

async fn counts(store: &Store) -> (u64, u64) {
    let counts = store.counts().await.unwrap();
    (counts.metrics, counts.events)
}

fn refused(written: &Written) -> Vec<RefusedItem> {
    let mut items: Vec<RefusedItem> = written.refused.iter().map(|refused| refused.item).collect();
    items.sort_by_key(|item| match item {
        RefusedItem::Metric(index) => (0, *index),
        RefusedItem::Event(index) => (1, *index),
    });
    items
}

fn window(from: i64, until: i64) -> Window {
    Window { from: Timestamp::from_ns(from), until: Timestamp::from_ns(until) }
}

/// The error's words, which must hold these and never the token.
#[track_caller]
fn expect_words(error: &StoreError, expected: &[&str]) {
    let words = error.to_string();
    for part in expected {
        assert!(words.contains(part), "{part:?} is not in: {words}");
    }
    assert!(!words.contains(InfluxFacade::TOKEN) && !words.contains("wrong-token"), "the token is in: {words}");
}
