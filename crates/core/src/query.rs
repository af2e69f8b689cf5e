//! What may be asked, over NATS, over HTTP and on the command line: query types, their parameters with
//! defaults and ranges, and the way from bytes or words to a checked [`Query`].

mod read;
mod table;

use std::time::Duration;

use crate::name::{DeviceName, EventType, MetricType};
use crate::records::{TimeBasis, Window};
use crate::timestamp::Timestamp;
use crate::wire::Criticality;

pub use table::{Param, ParamKind, QUERY_TYPES, QueryType};

/// Largest query payload in bytes: a question is short.
pub const MAX_QUERY_BYTES: usize = 64 << 10;

/// A checked question.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Critical events, newest first, with a count per device.
    AlertsCritical(EventsQuery),
    /// The judgement of one device.
    DeviceHealth {
        /// Which device.
        source_device: DeviceName,
        /// How recent data must be to count.
        window: Window,
    },
    /// Whether one device's temperature has risen by a factor.
    AnomalyTemperature {
        /// Which device.
        source_device: DeviceName,
        /// The ratio of the last temperature to the first from which on it is an anomaly.
        threshold: f64,
        /// Where first and last are looked for.
        window: Window,
    },
    /// Devices by name, with their labels and latest values.
    Devices {
        /// Names after this one.
        after: Option<DeviceName>,
        /// At most this many.
        limit: usize,
        /// Latest values up to this instant.
        at: Timestamp,
    },
    /// Events, newest first.
    Events(EventsQuery),
    /// One metric of one device in buckets of time.
    Series {
        /// Which device.
        source_device: DeviceName,
        /// Which metric.
        metric_type: MetricType,
        /// Which stretch of time.
        window: Window,
        /// Length of a bucket.
        bucket: Duration,
    },
    /// Which numbers of which device are missing or doubled.
    AuditGaps(AuditQuery),
}

/// The parameters of `audit_gaps`.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditQuery {
    /// Numbers of points in this window.
    pub window: Window,
    /// Only this device.
    pub source_device: Option<DeviceName>,
    /// Devices after this one.
    pub after: Option<DeviceName>,
    /// At most this many devices.
    pub limit: usize,
}

/// The parameters of `events` and `alerts_critical`.
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
    /// At most this many.
    pub limit: usize,
    /// After this many newer ones.
    pub offset: usize,
}

/// Why a question cannot be answered. The text goes to whoever asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// Larger than [`MAX_QUERY_BYTES`].
    #[error("query of {0} bytes is larger than {MAX_QUERY_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or not an object.
    #[error("query is no valid JSON object: {0}")]
    Json(String),
    /// No or another type of question.
    #[error("unknown query_type {0}: expected one of {names}", names = table::names())]
    UnknownType(String),
    /// `query_type` is absent.
    #[error("field 'query_type' is missing: expected one of {names}", names = table::names())]
    NoType,
    /// Beside `query_type` and `params` there is something else: most likely a parameter in the wrong place.
    #[error(
        "unknown field '{field}' beside query_type: expected the parameters of {query_type} in \"params\", as in {{\"query_type\":\"{query_type}\",\"params\":{{\"{example}\":…}}}}"
    )]
    UnknownField {
        /// The type of question.
        query_type: &'static str,
        /// The field's name.
        field: String,
        /// A parameter that the type has: the one that was meant, if it is one.
        example: &'static str,
    },
    /// A parameter that this type of question does not have.
    #[error("unknown parameter '{param}' for {query_type}: expected {expected}")]
    UnknownParam {
        /// The type of question.
        query_type: &'static str,
        /// The parameter's name.
        param: String,
        /// The parameters it has.
        expected: String,
    },
    /// A parameter was given more than once, where the words of a person or an address are read.
    #[error("parameter '{param}' of {query_type} is given more than once: expected it once")]
    RepeatedParam {
        /// The type of question.
        query_type: &'static str,
        /// The parameter's name.
        param: String,
    },
    /// A parameter without default is absent.
    #[error("parameter '{param}' of {query_type} is missing: expected {expected}")]
    MissingParam {
        /// The type of question.
        query_type: &'static str,
        /// The parameter's name.
        param: &'static str,
        /// What it takes.
        expected: String,
    },
    /// A parameter with a wrong type or value.
    #[error("parameter '{param}' of {query_type} is {found}: expected {expected}")]
    BadParam {
        /// The type of question.
        query_type: &'static str,
        /// The parameter's name.
        param: &'static str,
        /// What was given.
        found: String,
        /// What it takes.
        expected: String,
    },
}

impl Query {
    /// Reads a question from the bytes of a request; `now` ends windows that name no end.
    ///
    /// # Errors
    /// [`QueryError`] says what is wrong and what is expected.
    pub fn parse(payload: &[u8], now: Timestamp) -> Result<Self, QueryError> {
        read::from_bytes(payload, now)
    }

    /// The request body for a question in words, as on the command line: values become numbers where
    /// the parameter is one. `now` only serves to refuse here what would be refused there.
    ///
    /// # Errors
    /// [`QueryError`] as for [`Query::parse`].
    pub fn body_from_words(
        query_type: &str,
        params: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, QueryError> {
        read::body_from_words(query_type, params, now)
    }

    /// The type of question, as on the wire.
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
