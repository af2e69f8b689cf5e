//! What is answered, in the shapes of the wire. Fields of the first system keep their names and types;
//! each answer also says what it is based on.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::audit::{EpochFindings, Tally};
use crate::health::Verdict;
use crate::records::{Bucket, EventRecord, Window};
use crate::wire::{Criticality, Labels};
use crate::{DeviceName, EventType, MetricType, Timestamp, metric};

/// An answer, good or bad.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Response {
    /// The question was answered.
    Success(Data),
    /// It was not; the message says why.
    Error {
        /// What was wrong, where, and what to do.
        message: String,
    },
}

/// The answer to each type of question.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// To `alerts_critical`.
    AlertsCritical(Listing<EventRow>),
    /// To `events`.
    Events(Listing<EventRow>),
    /// To `devices`.
    Devices(Listing<DeviceRow>),
    /// To `device_health`.
    DeviceHealth {
        /// The verdict.
        data: DeviceHealth,
        /// What it is based on.
        basis: Basis,
    },
    /// To `anomaly_temperature`.
    AnomalyTemperature {
        /// The comparison.
        data: TemperatureAnomaly,
        /// What it is based on.
        basis: Basis,
    },
    /// To `series`.
    Series {
        /// The buckets, oldest first.
        data: Vec<Bucket>,
        /// The metric's unit, where the table knows it.
        unit: Option<&'static str>,
        /// Length of a bucket in seconds.
        bucket_seconds: f64,
        /// What it is based on.
        basis: Basis,
    },
    /// To `audit_gaps`.
    AuditGaps(GapAudit),
}

/// A list that may be longer than one answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing<Row> {
    /// The rows.
    pub data: Vec<Row>,
    /// For `alerts_critical`: how many there are per device, over all pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Vec<DeviceCount>>,
    /// The parameters that ask for the next page, if there are more rows than fit.
    pub next: Option<BTreeMap<&'static str, serde_json::Value>>,
    /// What it is based on.
    pub basis: Basis,
    /// Rows left out before the first: where this page begins. Known to the asker, so not sent.
    #[serde(skip)]
    pub offset: u64,
}

/// What an answer rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Basis {
    /// Start of the window, inclusive; nothing where all of the past counts.
    pub from: Option<Timestamp>,
    /// End of the window, exclusive.
    pub until: Timestamp,
    /// Values or events that were looked at.
    pub n_points: u64,
    /// Which time of an event the window speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
}

impl Basis {
    /// A window and the number of points found in it.
    pub fn of(window: Window, n_points: u64) -> Self {
        Self { from: Some(window.from), until: window.until, n_points, by: None }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRow {
    /// When it happened.
    pub time: Timestamp,
    /// Its id.
    pub event_id: Uuid,
    /// Which device.
    pub source_device: DeviceName,
    /// What happened.
    pub event_type: EventType,
    /// 1 to 10.
    pub criticality: Criticality,
    /// In words.
    pub event_message: Option<String>,
    /// When it was stored.
    pub received: Timestamp,
}

impl From<EventRecord> for EventRow {
    fn from(record: EventRecord) -> Self {
        let event = record.event;
        Self {
            time: event.timestamp,
            event_id: event.id,
            source_device: event.source_device,
            event_type: event.event_type,
            criticality: event.criticality,
            event_message: event.event_message,
            received: record.received,
        }
    }
}

/// How many critical events a device had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceCount {
    /// Which device.
    pub source_device: DeviceName,
    /// How many.
    pub critical_event_count: u64,
}

/// One device with its latest values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceRow {
    /// Its name.
    pub source_device: DeviceName,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// What describes it.
    pub labels: Labels,
    /// The latest value of each metric.
    pub metrics: BTreeMap<MetricType, MetricRow>,
}

/// A value with its unit and time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricRow {
    /// The value.
    pub value: f64,
    /// Its unit, where the table knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// When it was measured.
    pub time: Timestamp,
}

impl MetricRow {
    /// A value of a metric, with the table's unit.
    pub fn new(metric_type: &MetricType, value: f64, time: Timestamp) -> Self {
        Self { value, unit: metric::unit_symbol(metric_type), time }
    }
}

/// The verdict on one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceHealth {
    /// Which device.
    pub device: DeviceName,
    /// Verdict, score and reasons.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
}

/// First and last temperature in a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TemperatureAnomaly {
    /// Which device.
    pub device: DeviceName,
    /// First temperature in the window, °C.
    pub initial_temp: Option<f64>,
    /// Last temperature in the window, °C.
    pub latest_temp: Option<f64>,
    /// Last by first; nothing where there is no data or the first is not above zero.
    pub ratio: Option<f64>,
    /// Whether the ratio reaches the threshold.
    pub anomaly: bool,
    /// The threshold asked for.
    pub threshold: f64,
    /// Why nothing can be said, where nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Missing and duplicate sequences, and the devices audited.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapAudit {
    /// Epochs with missing or duplicate sequences, by device; empty if there are none.
    pub data: Vec<GapRow>,
    /// All audited devices, by name. Without them "no gaps" could mean "no data".
    pub summary: Vec<AuditedDevice>,
    /// Parameters that request the devices after these, if there are any.
    pub next: Option<BTreeMap<&'static str, serde_json::Value>>,
    /// What it is based on.
    pub basis: Basis,
}

/// Epoch of one device with missing or duplicate sequences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapRow {
    /// Which device.
    pub source_device: DeviceName,
    /// Missing and duplicate sequences.
    #[serde(flatten)]
    pub findings: EpochFindings,
}

/// Audit of one device over all its epochs. The names on the wire are older than those here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditedDevice {
    /// Which device.
    pub source_device: DeviceName,
    /// Result of the audit.
    pub state: AuditState,
    /// Points in the window.
    pub n_points: u64,
    /// Points without a `seq`, which cannot be audited.
    #[serde(rename = "n_without_number")]
    pub n_without_seq: u64,
    /// Epochs in the window.
    #[serde(rename = "n_runs")]
    pub n_epochs: u64,
    /// Distinct sequences stored, from the first to the last of each epoch.
    #[serde(rename = "n_numbers")]
    pub n_sequences: u64,
    /// Sequences missing between them.
    pub n_missing: u64,
    /// Sequences carried by more than one point.
    #[serde(rename = "n_doubled")]
    pub n_duplicates: u64,
}

/// Result of the audit of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditState {
    /// There are sequences; none is missing and none is duplicate.
    Complete,
    /// Some are missing or duplicate.
    Gaps,
    /// There are points, but none has a `seq`.
    NoNumbers,
    /// There is no point in the window.
    NoData,
    /// Too many sequences, or values that are not a counter: nothing was judged.
    NotCounted,
}

impl AuditedDevice {
    /// Evaluates a tally.
    pub fn new(source_device: DeviceName, tally: &Tally) -> Self {
        let (n_sequences, n_missing, n_duplicates) = if tally.overflowed() { (0, 0, 0) } else { tally.totals() };
        let state = match tally.n_points() {
            0 => AuditState::NoData,
            _ if tally.overflowed() => AuditState::NotCounted,
            _ if n_sequences == 0 => AuditState::NoNumbers,
            _ if n_missing + n_duplicates > 0 => AuditState::Gaps,
            _ => AuditState::Complete,
        };
        Self {
            source_device,
            state,
            n_points: tally.n_points(),
            n_without_seq: tally.n_without_seq(),
            n_epochs: tally.n_epochs(),
            n_sequences,
            n_missing,
            n_duplicates,
        }
    }
}
