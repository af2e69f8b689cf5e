//! Responses to queries, in the form of the wire. Legacy fields keep their names and types; each response also states
//! the data it is based on.

mod audit;
mod columns;
mod fleet;
mod judgement;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decision::{AcceptanceInForce, DecisionInForce, DecisionNotUnderstood};
use crate::detect::JudgedBuckets;
use crate::event_id::EventId;
use crate::fleet_series::FleetBucket;
use crate::health::{FleetStep, Verdict};
use crate::metric;
use crate::name::{DeviceName, EventType, MetricType};
use crate::pipeline::PipelineBucket;
use crate::reading::{self, Reading};
use crate::records::{Bucket, EventRecord, Window};
use crate::timestamp::Timestamp;
use crate::wire::{Criticality, Labels};

pub use audit::{AuditState, AuditedDevice, GapAudit, GapRow};
pub use columns::{DeviceNames, FleetAnswer, FleetColumns, FrontCoded, MetricColumn, NotOkColumns, TextColumn};
pub use fleet::{FleetHealth, FleetRow, FleetSummary, GoneDevice, GroupHealth, HealthCounts};
pub use judgement::{AnomalyRow, HealthHistory, IncidentCounts, IncidentList};

/// Response to a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Response {
    /// Result.
    Success(Data),
    /// Failure.
    Error {
        /// Problem, its place and the remedy.
        message: String,
    },
}

/// Result of each query type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// Result of `alerts_critical`.
    AlertsCritical(Listing<EventRow>),
    /// Result of `events`.
    Events(Listing<EventRow>),
    /// Result of `devices`.
    Devices(Listing<DeviceRow>),
    /// Result of `device_health`.
    DeviceHealth {
        /// Verdict.
        data: Box<DeviceHealth>,
        /// Data it is based on.
        basis: Basis,
    },
    /// Result of `anomaly_temperature`.
    AnomalyTemperature {
        /// Comparison.
        data: TemperatureAnomaly,
        /// Data it is based on.
        basis: Basis,
    },
    /// Result of `series`.
    Series {
        /// Buckets, oldest first.
        data: Vec<Bucket>,
        /// Unit, if the metric table has one.
        unit: Option<&'static str>,
        /// Length of a bucket in seconds.
        bucket_seconds: f64,
        /// Number of values without a reading or not understood, which no bucket contains.
        #[serde(skip_serializing_if = "is_zero")]
        n_not_understood: u64,
        /// Expected ranges and what left them, if asked for.
        #[serde(flatten)]
        judged: Option<JudgedBuckets>,
        /// Data it is based on.
        basis: Basis,
    },
    /// Result of `audit_gaps`.
    AuditGaps(GapAudit),
    /// Result of `fleet_health`.
    FleetHealth(Box<FleetHealth>),
    /// Result of `fleet`.
    Fleet(Box<FleetAnswer>),
    /// Result of `fleet_history`.
    FleetHistory {
        /// Steps, oldest first.
        data: Vec<FleetStep>,
        /// Event types of which some device has more events than one answer reads: its older verdicts are missing.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        cut_off: Vec<EventType>,
        /// Data it is based on.
        basis: Basis,
    },
    /// Result of `fleet_series`.
    FleetSeries {
        /// Buckets, oldest first.
        data: Vec<FleetBucket>,
        /// Unit, if the metric table has one.
        unit: Option<&'static str>,
        /// Length of a bucket in seconds.
        bucket_seconds: f64,
        /// Data it is based on.
        basis: Basis,
    },
    /// Result of `pipeline`.
    Pipeline {
        /// Buckets, oldest first.
        data: Vec<PipelineBucket>,
        /// Length of a bucket in seconds.
        bucket_seconds: f64,
        /// Data it is based on.
        basis: Basis,
    },
    /// Result of `incidents`.
    Incidents(IncidentList),
    /// Result of `health_history`.
    HealthHistory(HealthHistory),
    /// Result of `anomalies`.
    Anomalies(Listing<AnomalyRow>),
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// List that may be longer than one response.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing<Row> {
    /// Rows.
    pub data: Vec<Row>,
    /// For `alerts_critical`: number of events per device, over all pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Vec<DeviceCount>>,
    /// Parameters that request the next page, if there are more rows than fit.
    pub next: Option<BTreeMap<&'static str, serde_json::Value>>,
    /// Data it is based on.
    pub basis: Basis,
    /// Number of rows before this page. Known to the client, so not sent.
    #[serde(skip)]
    pub offset: u64,
}

/// Data that a response is based on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Basis {
    /// Start of the window, inclusive; `None` if all of the past counts.
    pub from: Option<Timestamp>,
    /// End of the window, exclusive.
    pub until: Timestamp,
    /// Number of values or events examined.
    pub n_points: u64,
    /// Time of an event that the window refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
}

impl Basis {
    /// Returns the basis of a window and the number of points found in it.
    pub fn of(window: Window, n_points: u64) -> Self {
        Self { from: Some(window.from), until: window.until, n_points, by: None }
    }
}

/// Event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRow {
    /// Time of the event.
    pub time: Timestamp,
    /// Id.
    pub event_id: EventId,
    /// Device.
    pub source_device: DeviceName,
    /// Event type.
    pub event_type: EventType,
    /// 1 to 10.
    pub criticality: Criticality,
    /// Message for people.
    pub event_message: Option<String>,
    /// Labels, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Box<Labels>>,
    /// Time of storage.
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
            labels: event.labels,
            received: record.received,
        }
    }
}

/// Number of critical events of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceCount {
    /// Device.
    pub source_device: DeviceName,
    /// Number of events.
    pub critical_event_count: u64,
}

/// Device with its latest values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceRow {
    /// Name.
    pub source_device: DeviceName,
    /// Time of its oldest data.
    pub first_seen: Timestamp,
    /// Newest time of its data, by its own clock.
    pub last_seen: Timestamp,
    /// Time at which its newest values arrived, by Spindle's clock.
    pub last_received: Option<Timestamp>,
    /// Seconds by which its clock is ahead of ours (behind, if negative), if the two disagree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_offset_seconds: Option<f64>,
    /// Labels.
    pub labels: Labels,
    /// Latest value of each metric.
    pub metrics: BTreeMap<MetricType, MetricRow>,
}

/// Value with its unit and time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricRow {
    /// Value, decoded; `None` if there is no reading or it is not understood.
    pub value: Option<f64>,
    /// Value as stored, if decoding changed it or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<f64>,
    /// Reason for the lack of a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Unit, if the metric table has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// Time of measurement.
    pub time: Timestamp,
}

impl MetricRow {
    /// Decodes a stored value and adds the unit of the metric table.
    pub fn new(metric_type: &MetricType, stored: f64, time: Timestamp) -> Self {
        let (value, note) = match reading::read(metric_type, stored) {
            Reading::Value(value) => (Some(value), None),
            Reading::Absent => (None, Some("no reading".to_owned())),
            Reading::Unclear(unclear) => (None, Some(format!("not understood: {}", unclear.reason))),
        };
        let raw = (value != Some(stored)).then_some(stored);
        Self { value, raw, note, unit: metric::unit_symbol(metric_type), time }
    }
}

/// Verdict on one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceHealth {
    /// Device.
    pub device: DeviceName,
    /// Verdict, score and reasons.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Start of the verdict, by the detector; `None` if it states another one, or none.
    pub since: Option<Timestamp>,
    /// Newest event of the detector about the device; `None` if there is none, so that nothing is concluded from its
    /// silence.
    pub detector_seen: Option<Timestamp>,
    /// Newest time of its data, by its own clock.
    pub last_seen: Option<Timestamp>,
    /// Time at which its newest values arrived, by Spindle's clock; silence is judged by it.
    pub last_received: Option<Timestamp>,
    /// Seconds by which its clock is ahead of ours (behind, if negative), if the two disagree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_offset_seconds: Option<f64>,
    /// Acknowledgment in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<DecisionInForce>,
    /// Acceptances in force, also those of findings that are not in the verdict at present.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<AcceptanceInForce>,
    /// Decisions of the last week that are not understood, and decide nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions_not_understood: Vec<DecisionNotUnderstood>,
    /// Event types with more events about the device than one answer reads, decisions included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<EventType>,
}

/// First and last temperature in a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TemperatureAnomaly {
    /// Device.
    pub device: DeviceName,
    /// First temperature in the window, °C.
    pub initial_temp: Option<f64>,
    /// Last temperature in the window, °C.
    pub latest_temp: Option<f64>,
    /// Last by first; `None` without data or if the first is not above zero.
    pub ratio: Option<f64>,
    /// `true` if the ratio reaches the threshold.
    pub anomaly: bool,
    /// Threshold of the query.
    pub threshold: f64,
    /// Reason for the lack of a ratio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
