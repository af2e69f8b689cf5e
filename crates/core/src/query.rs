//! Queries, as accepted over NATS, HTTP and the command line: their types, parameters with defaults and ranges, and
//! the parsing of JSON or text into a checked [`Query`].

mod arguments;
mod error;
mod read;
mod table;

use std::time::Duration;

use crate::name::{DeviceName, EventType, MetricType};
use crate::records::{TimeBasis, Window};
use crate::timestamp::Timestamp;
use crate::wire::Criticality;

pub use error::QueryError;
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
    },
    /// Missing and duplicate sequences, per device.
    AuditGaps(AuditQuery),
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
        }
    }
}
