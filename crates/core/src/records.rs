//! What comes back out of a store: samples, buckets, devices and recorded events, and the filters that
//! select them. Every store gives the same answers to these.

use std::time::Duration;

use serde::Serialize;

use crate::name::{DeviceName, EventType, MetricType};
use crate::timestamp::Timestamp;
use crate::wire::{Criticality, Event, Labels};

/// A stretch of time, from (inclusive) until (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// First instant inside.
    pub from: Timestamp,
    /// First instant after it.
    pub until: Timestamp,
}

impl Window {
    /// The stretch of `length` that ends just before `until`.
    pub fn ending_at(until: Timestamp, length: Duration) -> Self {
        Self { from: until.minus(length), until }
    }

    /// Whether an instant lies inside.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.until
    }

    /// Its length in seconds; negative if it ends before it begins.
    pub fn seconds(&self) -> f64 {
        self.until.seconds_since(self.from)
    }
}

/// One value of a known series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// When it was measured.
    pub time: Timestamp,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// The newest value of one metric of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatestSample {
    /// What was measured.
    pub metric_type: MetricType,
    /// When it was measured.
    pub time: Timestamp,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// What a series did within one bucket of time. Empty buckets do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// Start of the bucket: a whole multiple of its length since the Unix epoch.
    pub time: Timestamp,
    /// Smallest value.
    pub min: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Largest value.
    pub max: f64,
    /// Number of values, at least 1.
    pub count: u64,
}

/// A device, as the store knows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceRecord {
    /// Its name.
    pub source_device: DeviceName,
    /// The newest value of each label ever received.
    pub labels: Labels,
    /// Time of its oldest metric or event still stored.
    pub first_seen: Timestamp,
    /// Time of its newest metric or event.
    pub last_seen: Timestamp,
}

/// An event, as the store knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// The event.
    pub event: Event,
    /// When it was stored: later than it happened, by hours after an outage or years in a replay.
    pub received: Timestamp,
}

/// Which time of an event a window speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBasis {
    /// When it happened.
    Happened,
    /// When it was stored.
    Received,
    /// Either of the two lies in the window: what happened, or became known, in it.
    Either,
}

/// Selects events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventFilter {
    /// In this window…
    pub window: Window,
    /// …by this time.
    pub basis: TimeBasis,
    /// Only this device.
    pub source_device: Option<DeviceName>,
    /// Only this type.
    pub event_type: Option<EventType>,
    /// Only this criticality and above.
    pub min_criticality: Criticality,
    /// At most this many, newest first (by the time they happened, then by id).
    pub limit: usize,
    /// Leave out this many of the newest: the offset of a page.
    pub offset: usize,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Metric values.
    pub metrics: u64,
    /// Events.
    pub events: u64,
    /// Devices.
    pub devices: u64,
    /// Pairs of device and metric type.
    pub series: u64,
}
