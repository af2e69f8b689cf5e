//! Queries, as accepted over NATS, HTTP and the command line: their types, parameters with defaults and ranges, and
//! the parsing of JSON or text into a checked [`Query`].

mod arguments;
mod error;
mod openapi;
mod read;
mod table;

use std::time::Duration;

use crate::health::Health;
use crate::incidents::IncidentState;
use crate::name::{DeviceName, EventType, MetricType};
use crate::records::{TimeBasis, Window};
use crate::timestamp::Timestamp;
use crate::wire::Criticality;

pub use error::QueryError;
pub use openapi::openapi;
pub use table::{Param, ParamKind, QUERY_TYPES, QueryType, markdown};

/// Largest query payload in bytes; real ones are short.
pub const MAX_QUERY_BYTES: usize = 64 << 10;

/// A checked query.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Critical events, newest first, with a count per device.
    AlertsCritical(EventsQuery),
    /// Verdict on one device.
    DeviceHealth {
        /// Device.
        source_device: DeviceName,
        /// Window of recent data.
        window: Window,
    },
    /// Rise of one device's temperature by a factor.
    AnomalyTemperature {
        /// Device.
        source_device: DeviceName,
        /// Ratio of last to first temperature from which on it is an anomaly.
        threshold: f64,
        /// Window of the first and the last temperature.
        window: Window,
    },
    /// Devices by name, with their labels and latest values.
    Devices {
        /// Only this device.
        source_device: Option<DeviceName>,
        /// Names after this one.
        after: Option<DeviceName>,
        /// Maximum number of devices.
        limit: usize,
        /// Latest values up to this instant.
        at: Timestamp,
    },
    /// Events, newest first.
    Events(EventsQuery),
    /// One metric of one device in buckets of time.
    Series {
        /// Device.
        source_device: DeviceName,
        /// Metric.
        metric_type: MetricType,
        /// Window.
        window: Window,
        /// Length of a bucket.
        bucket: Duration,
        /// Expected ranges are wanted.
        with_expected: bool,
    },
    /// Missing and duplicate sequences, per device.
    AuditGaps(AuditQuery),
    /// Verdicts on all devices.
    FleetHealth(FleetQuery),
    /// All devices in columns.
    Fleet(ColumnsQuery),
    /// Number of devices that are not ok over time.
    FleetHistory {
        /// Window.
        window: Window,
    },
    /// One metric of all devices in buckets of time.
    FleetSeries {
        /// Metric.
        metric_type: MetricType,
        /// Window.
        window: Window,
        /// Length of a bucket.
        bucket: Duration,
    },
    /// Rates and backlog of the pipeline itself in buckets of time.
    Pipeline {
        /// Window.
        window: Window,
        /// Length of a bucket.
        bucket: Duration,
    },
    /// Open and recently closed faults by their causes.
    Incidents(IncidentsQuery),
    /// Verdicts on one device over time.
    HealthHistory {
        /// Device.
        source_device: DeviceName,
        /// Window.
        window: Window,
    },
    /// Notes of the detector, newest first.
    Anomalies(AnomaliesQuery),
}

/// Parameters of `fleet`.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnsQuery {
    /// Window of recent data.
    pub window: Window,
    /// Metrics whose newest values are wanted.
    pub metric_types: Vec<MetricType>,
    /// Serial numbers are wanted among the labels.
    pub with_serials: bool,
    /// Names are wanted front coded.
    pub front_coded: bool,
}

/// Parameters of `fleet_health`.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetQuery {
    /// Window of recent data.
    pub window: Window,
    /// Judged as of the present, by arrivals, though the end of the window may have passed: a later page of an answer.
    pub present: bool,
    /// Verdicts of the devices listed.
    pub health: HealthChoice,
    /// Label by which devices are counted.
    pub group_by: String,
    /// Devices after this place in the list.
    pub after: Option<FleetCursor>,
    /// Maximum number of devices.
    pub limit: usize,
}

/// Place in the list of `fleet_health`: the key by which it is sorted, so it stays when the device leaves the list.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetCursor {
    /// Verdict.
    pub health: Health,
    /// Score, if there is one.
    pub score: Option<u8>,
    /// Device.
    pub device: DeviceName,
}

impl std::fmt::Display for FleetCursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { health, score, device } = self;
        let score = score.map_or(String::new(), |score| score.to_string());
        write!(formatter, "{}:{score}:{device}", health.name())
    }
}

/// Selection of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChoice {
    /// All but `ok`.
    NotOk,
    /// All.
    All,
    /// One.
    Only(Health),
}

impl HealthChoice {
    /// Returns `true` for a verdict of the selection.
    pub fn contains(self, health: Health) -> bool {
        match self {
            Self::NotOk => health != Health::Ok,
            Self::All => true,
            Self::Only(chosen) => health == chosen,
        }
    }
}

/// Parameters of `incidents`.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentsQuery {
    /// Incidents that were open in this window.
    pub window: Window,
    /// Judged as of the present, by arrivals, though the end of the window may have passed: a later page of an answer.
    pub present: bool,
    /// Only in this state.
    pub state: Option<IncidentState>,
    /// Only those of this device.
    pub source_device: Option<DeviceName>,
    /// Only this criticality and above.
    pub min_criticality: u8,
    /// Maximum number of incidents.
    pub limit: usize,
    /// Number of incidents to skip.
    pub offset: usize,
}

/// Parameters of `anomalies`.
#[derive(Clone, Debug, PartialEq)]
pub struct AnomaliesQuery {
    /// Window.
    pub window: Window,
    /// Only this device.
    pub source_device: Option<DeviceName>,
    /// Only this metric.
    pub metric_type: Option<MetricType>,
    /// Maximum number of rows.
    pub limit: usize,
    /// Number of newest rows to skip.
    pub offset: usize,
}

/// Parameters of `audit_gaps`.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditQuery {
    /// Window of the audited points.
    pub window: Window,
    /// Only this device.
    pub source_device: Option<DeviceName>,
    /// Devices after this one.
    pub after: Option<DeviceName>,
    /// Maximum number of devices.
    pub limit: usize,
}

/// Parameters of `events` and `alerts_critical`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsQuery {
    /// Only in this window…
    pub window: Window,
    /// …by this time.
    pub basis: TimeBasis,
    /// Only this device.
    pub source_device: Option<DeviceName>,
    /// Only this type.
    pub event_type: Option<EventType>,
    /// Only this criticality and above.
    pub min_criticality: Criticality,
    /// Maximum number of events.
    pub limit: usize,
    /// Number of newest events to skip.
    pub offset: usize,
}

impl Query {
    /// Returns the query type, as on the wire.
    pub fn query_type(&self) -> &'static str {
        match self {
            Self::AlertsCritical(_) => "alerts_critical",
            Self::DeviceHealth { .. } => "device_health",
            Self::AnomalyTemperature { .. } => "anomaly_temperature",
            Self::Devices { .. } => "devices",
            Self::Events(_) => "events",
            Self::Series { .. } => "series",
            Self::AuditGaps(_) => "audit_gaps",
            Self::FleetHealth(_) => "fleet_health",
            Self::Fleet(_) => "fleet",
            Self::FleetHistory { .. } => "fleet_history",
            Self::FleetSeries { .. } => "fleet_series",
            Self::Pipeline { .. } => "pipeline",
            Self::Incidents(_) => "incidents",
            Self::HealthHistory { .. } => "health_history",
            Self::Anomalies(_) => "anomalies",
        }
    }
}
