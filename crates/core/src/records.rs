//! Records read from a store: samples, buckets, devices and events, and the filters that select them. All stores
//! return the same records.

use std::time::Duration;

use serde::Serialize;

use crate::name::{DeviceName, EventType, MetricType};
use crate::timestamp::Timestamp;
use crate::wire::{Criticality, Event, Labels};

/// Time range, from (inclusive) until (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// First instant inside.
    pub from: Timestamp,
    /// First instant after it.
    pub until: Timestamp,
}

impl Window {
    /// Returns the window of `length` that ends just before `until`.
    pub fn ending_at(until: Timestamp, length: Duration) -> Self {
        Self { from: until.minus(length), until }
    }

    /// Returns `true` if an instant lies inside.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.until
    }

    /// Returns the length in seconds; negative if the window ends before it begins.
    pub fn seconds(&self) -> f64 {
        self.until.seconds_since(self.from)
    }
}

/// Value of a known series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Time of measurement.
    pub time: Timestamp,
    /// Value, in the metric's unit.
    pub value: f64,
}

/// Newest value of one metric of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatestSample {
    /// Metric type.
    pub metric_type: MetricType,
    /// Time of measurement.
    pub time: Timestamp,
    /// Value, in the metric's unit.
    pub value: f64,
}

/// Summary of a series within one bucket of time. Empty buckets do not exist.
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

/// Newest arrival of metric values of a device. The two clocks are those of Spindle and of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Arrival {
    /// Time of storage.
    pub received: Timestamp,
    /// Newest time of measurement among the values that arrived.
    pub measured: Timestamp,
}

impl Arrival {
    /// Returns the seconds by which the sender's clock is ahead; negative if it is behind, or if the values are late.
    pub fn clock_offset_seconds(&self) -> f64 {
        self.measured.seconds_since(self.received)
    }
}

/// Device in a store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceRecord {
    /// Name.
    pub source_device: DeviceName,
    /// Newest value of each label ever received.
    pub labels: Labels,
    /// Time of its oldest metric or event still stored.
    pub first_seen: Timestamp,
    /// Time of its newest metric or event.
    pub last_seen: Timestamp,
}

/// Event in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// Event.
    pub event: Event,
    /// Time of storage: hours after the event when there was an outage, years in a replay.
    pub received: Timestamp,
}

/// Time of an event that a window refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBasis {
    /// Time of the event.
    Happened,
    /// Time of storage.
    Received,
    /// Either of the two: the event happened, or became known, in the window.
    Either,
}

/// Selection of events.
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
    /// Maximum number of events, newest first (by the time they happened, then by id).
    pub limit: usize,
    /// Number of newest events to skip: the offset of a page.
    pub offset: usize,
}
