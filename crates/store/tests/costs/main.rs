//! The cost of queries and of late events: it depends on what they ask for, and not on what else is stored.
#![allow(clippy::unwrap_used)]

mod history;
mod late_events;
mod limits;
mod requests;

use spindle_core::records::Window;
use spindle_core::{Criticality, DeviceMetric, DeviceName, Event, EventId, EventType, MetricType, Timestamp};
use spindle_store::{InfluxSettings, Store};

/// 2025-06-06T12:00:00Z.
const NOON: i64 = 1_749_211_200_000_000_000;
const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;

fn metric(device: &str, metric_type: &str, time: i64) -> DeviceMetric {
    DeviceMetric {
        timestamp: Timestamp::from_ns(time),
        source_device: DeviceName::new(device).unwrap(),
        metric_type: MetricType::new(metric_type).unwrap(),
        value: (time % 1000) as f64 / 7.0,
        seq: None,
        labels: None,
    }
}

fn event(id: &str, device: &str, time: i64, criticality: u64) -> Event {
    Event {
        id: EventId::new(id).unwrap(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp: Timestamp::from_ns(time),
        source_device: DeviceName::new(device).unwrap(),
        event_type: EventType::new("SmartWarning").unwrap(),
        event_message: Some("reallocated sectors rose".to_owned()),
        seq: None,
        labels: None,
    }
}

fn window(from: i64, until: i64) -> Window {
    Window { from: Timestamp::from_ns(from), until: Timestamp::from_ns(until) }
}

fn open_influx(host: String, database: &str) -> Store {
    let settings = InfluxSettings {
        host,
        database: database.to_owned(),
        token: Some(spindle_testkit::InfluxFacade::TOKEN.to_owned()),
        org: Some(spindle_testkit::InfluxFacade::ORG.to_owned()),
        ..InfluxSettings::default()
    };
    Store::open_influx(settings).unwrap()
}
