//! Scenarios on a small fleet, minute by minute.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

mod agreement;
mod gap;
mod notes;
mod pages;
mod peers;
mod restarts;
mod state;
mod verdicts;

use std::time::Duration;

use super::*;
use crate::event_id::EventId;
use crate::name::{DeviceName, EventType, MetricType};
use crate::wire::{Criticality, Labels};

/// Start of the scenarios: a midnight.
const START_S: i64 = 1_700_006_400;

fn minute(n: i64) -> Timestamp {
    Timestamp::from_seconds(START_S + 60 * n)
}

/// Noise from 0 to 1 that nothing predicts (SplitMix64).
fn noise(i: i64) -> f64 {
    let mut bits = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn name(device: &str) -> DeviceName {
    DeviceName::new(device).unwrap()
}

fn metric(device: &str, metric_type: &str, time: Timestamp, value: f64) -> DeviceMetric {
    DeviceMetric {
        timestamp: time,
        source_device: name(device),
        metric_type: MetricType::new(metric_type).unwrap(),
        value,
        seq: None,
        labels: None,
    }
}

fn labelled(metric: DeviceMetric, labels: &[(&str, &str)]) -> DeviceMetric {
    let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    DeviceMetric { labels: Some(Box::new(labels)), ..metric }
}

fn event(device: &str, event_type: &str, time: Timestamp, criticality: u64) -> Event {
    Event {
        id: EventId::new(&format!("{device} {event_type} {time}")).unwrap(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp: time,
        source_device: name(device),
        event_type: EventType::new(event_type).unwrap(),
        event_message: None,
        seq: None,
        labels: None,
    }
}

fn send(judge: &mut FleetJudge, device: &str, metric_type: &str, time: Timestamp, value: f64) {
    judge.metric(&metric(device, metric_type, time, value), time);
}

fn label<'a>(event: &'a Event, key: &str) -> &'a str {
    event.label(key).unwrap_or_default()
}

fn of_type<'a>(events: &'a [Event], event_type: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event.event_type.as_str() == event_type).collect()
}

fn n_pages(events: &[Event]) -> usize {
    events.iter().filter(|event| event.criticality.calls()).count()
}
