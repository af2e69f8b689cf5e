//! Live judgement of a fleet: takes metrics and events in the order of their streams, and returns the events that the
//! detector publishes about them ([`events`]).
//!
//! Deterministic: the same input in the same order gives the same events with the same ids, also after
//! [`FleetJudge::save`] and [`FleetJudge::restore`] in between. Time is that of the input. State is bounded.

pub mod events;
mod saved;

use std::collections::BTreeMap;

use crate::detect::Detector;
use crate::name::{DeviceName, MetricType};
use crate::timestamp::Timestamp;
use crate::wire::{DeviceMetric, Event, Labels};

use events::{Finding, METRIC_ANOMALY};
pub use saved::SavedJudgeError;

/// Largest number of series with a detector; values of others are not judged one by one.
pub const MAX_SERIES: usize = 100_000;

/// Judge of all devices.
#[derive(Debug, Default)]
pub struct FleetJudge {
    now: Timestamp,
    series: BTreeMap<(DeviceName, MetricType), Detector>,
    made: Vec<Event>,
}

impl FleetJudge {
    /// Takes a metric. `received` is the time at which NATS took its message.
    pub fn metric(&mut self, metric: &DeviceMetric, received: Timestamp) {
        self.advance(received);
        let key = (metric.source_device.clone(), metric.metric_type.clone());
        let is_full = self.series.len() >= MAX_SERIES;
        if is_full && !self.series.contains_key(&key) {
            return;
        }
        let score = self.series.entry(key).or_default().push(metric.timestamp, metric.value);
        if score.alarm {
            self.note(metric, score.anomaly_score, score.expected);
        }
    }

    /// Takes an event, also one that the detector made. `received` is the time at which NATS took its message.
    pub fn event(&mut self, _event: &Event, received: Timestamp) {
        self.advance(received);
    }

    /// Takes the time: nothing earlier is left in the streams. An earlier time than before changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Returns the events made since the last call.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.made)
    }

    /// Returns the number of series with a detector.
    pub fn n_series(&self) -> usize {
        self.series.len()
    }

    fn note(&mut self, metric: &DeviceMetric, score: f64, expected: Option<(f64, f64)>) {
        let DeviceMetric { timestamp, source_device, metric_type, value, .. } = metric;
        let mut labels = Labels::from([
            ("metric".to_owned(), metric_type.to_string()),
            ("value".to_owned(), value.to_string()),
            ("score".to_owned(), format!("{score:.3}")),
        ]);
        let mut message = format!("{metric_type} {value}");
        if let Some((low, high)) = expected {
            message = format!("{message}, expected {low:.4} to {high:.4}");
            labels.insert("expected_low".to_owned(), low.to_string());
            labels.insert("expected_high".to_owned(), high.to_string());
        }
        let finding = Finding {
            event_type: METRIC_ANOMALY,
            criticality: 4,
            device: source_device,
            at: *timestamp,
            subject: metric_type,
            message,
            labels,
        };
        self.made.push(finding.into_event());
    }
}
