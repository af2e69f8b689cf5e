//! Wire format: the only place that converts bytes from the bus to metrics and events, and back.
//!
//! A payload is one object or an array of objects. Elements are checked separately: a bad one is returned with its
//! bytes and a reason, and the good ones beside it are accepted, also if the bad one holds a word that is not JSON
//! (`NaN`). Old payloads stay readable (`tests/golden`). Unknown fields are ignored, whatever they hold; of a duplicate
//! key the last value counts. The empty array is a valid payload without elements.
//!
//! Other spellings are accepted where their meaning is certain: field names in any case, whole numbers as `15.0` or
//! `"15"`, a numeric string as the value of a metric. Everything is linear in the bytes of the payload.

mod bare_words;
mod check;
mod numbers;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dead_letter::Reason;
use crate::event_id::EventId;
use crate::name::{DeviceName, EventType, MetricType};
use crate::timestamp::Timestamp;
use bare_words::Patched;

/// Largest payload in bytes. The default of NATS is 1 MiB; servers may be configured up to this.
pub const MAX_PAYLOAD_BYTES: usize = 8 << 20;
/// Maximum number of elements in one array.
pub const MAX_ELEMENTS: usize = 20_000;
/// Maximum number of labels on one element.
pub const MAX_LABELS: usize = 32;
/// Longest label key or value in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// Longest `eventMessage` in bytes. InfluxDB accepts 64 KiB in a string field.
pub const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Key-value pairs that describe a device: model, serial, enclosure, host and the like.
pub type Labels = BTreeMap<String, String>;

/// Severity of an event, from 1 (note) to 10 (immediate action).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Criticality(u8);

impl Criticality {
    /// The highest criticality.
    pub const MAX: Self = Self(10);
    /// Lowest.
    pub const MIN: Self = Self(1);

    /// Returns a criticality for a level from 1 to 10, otherwise `None`.
    pub fn new(level: u64) -> Option<Self> {
        (1..=10).contains(&level).then_some(Self(level as u8))
    }

    /// Returns the level, 1 to 10.
    pub fn level(self) -> u8 {
        self.0
    }

    /// Returns `true` for a level that calls a person: a page. Lower ones are notes.
    pub fn calls(self) -> bool {
        self.0 >= 7
    }
}

impl fmt::Display for Criticality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Measured value of one device at one instant. Identity: device, metric type and timestamp; see [`crate::identity`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceMetric {
    /// Time of measurement.
    pub timestamp: Timestamp,
    /// Device.
    pub source_device: DeviceName,
    /// Metric type; units in [`crate::metric`].
    pub metric_type: MetricType,
    /// Value; finite, and within its range if the type is in the metric table.
    pub value: f64,
    /// Sequence number for the gap audit; see [`crate::audit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Description of the device; need not be on every metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Box<Labels>>,
}

/// Event of a device. Identity: id, device, type and timestamp together; see [`crate::identity`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Id, assigned by the sender.
    pub id: EventId,
    /// Severity.
    pub criticality: Criticality,
    /// Time of the event.
    pub timestamp: Timestamp,
    /// Device.
    pub source_device: DeviceName,
    /// Event type.
    pub event_type: EventType,
    /// Message for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_message: Option<String>,
    /// Sequence number for the gap audit; see [`crate::audit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Description of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Box<Labels>>,
}

impl Event {
    /// Returns a label; `None` if it is missing.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str)
    }
}

/// Metrics and events that are collected, or stored, together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Measured values.
    pub metrics: Vec<DeviceMetric>,
    /// Events.
    pub events: Vec<Event>,
}

impl Batch {
    /// Returns `true` if there are neither metrics nor events.
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty() && self.events.is_empty()
    }

    /// Returns the number of metrics and events.
    pub fn len(&self) -> usize {
        self.metrics.len() + self.events.len()
    }
}

/// Decoded payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<T> {
    /// Good elements, in order.
    pub items: Vec<T>,
    /// Bad elements, each with its bytes and the reason.
    pub rejected: Vec<Rejected>,
}

/// Element (or a whole payload) that is not a metric or event.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Index in the array; 0 for a payload that is not an array.
    pub index: usize,
    /// Original bytes.
    pub bytes: Vec<u8>,
    /// Error.
    pub error: WireError,
}

/// Error for bytes that are not a metric or event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WireError {
    /// Larger than [`MAX_PAYLOAD_BYTES`].
    #[error("payload of {0} bytes is larger than {MAX_PAYLOAD_BYTES}")]
    PayloadTooLarge(usize),
    /// More than [`MAX_ELEMENTS`] elements.
    #[error("array of {0} elements is longer than {MAX_ELEMENTS}")]
    TooManyElements(usize),
    /// Not JSON.
    #[error("invalid JSON: {0}")]
    Json(String),
    /// JSON, but neither an object nor an array of objects.
    #[error("expected a JSON object or an array of them, found {0}")]
    Shape(&'static str),
    /// Required field missing.
    #[error("field '{0}' is missing")]
    Missing(&'static str),
    /// Invalid field.
    #[error("field '{field}' {problem}")]
    Field {
        /// Name of the field on the wire.
        field: &'static str,
        /// Problem, with the offending value.
        problem: String,
    },
}

impl WireError {
    /// Returns the reason of the dead letter that the bytes become.
    pub fn reason(&self) -> Reason {
        match self {
            Self::PayloadTooLarge(_) | Self::TooManyElements(_) => Reason::TooLarge,
            Self::Json(_) => Reason::BadJson,
            Self::Shape(_) => Reason::BadShape,
            Self::Missing(_) => Reason::MissingField,
            Self::Field { .. } => Reason::BadField,
        }
    }
}

/// Decodes the payload of a metrics message.
pub fn decode_metrics(payload: &[u8]) -> Decoded<DeviceMetric> {
    decode(payload, check::metric)
}

/// Decodes the payload of an events message.
pub fn decode_events(payload: &[u8]) -> Decoded<Event> {
    decode(payload, check::event)
}

/// Returns the original texts of all elements of a payload; empty if it cannot be split.
pub fn elements(payload: &[u8]) -> Vec<&str> {
    split(payload).unwrap_or_default()
}

/// Returns `true` if an element has a field, as the decoders see it; `None` if it is not an object.
pub(crate) fn has_field(element: &[u8], field: &'static str) -> Option<bool> {
    check::has_field(std::str::from_utf8(element).ok()?, field)
}

/// Encodes metrics as one payload: a bare object for one (for compatibility with legacy readers), an array for more.
pub fn encode_metrics(metrics: &[DeviceMetric]) -> Vec<u8> {
    encode(metrics)
}

/// Encodes one event as a payload.
pub fn encode_event(event: &Event) -> Vec<u8> {
    encode(std::slice::from_ref(event))
}

fn encode<T: Serialize>(items: &[T]) -> Vec<u8> {
    let encoded = match items {
        [single] => serde_json::to_vec(single),
        several => serde_json::to_vec(several),
    };
    encoded.expect("metrics and events have string keys and finite numbers, which JSON can always represent")
}

fn decode<T>(payload: &[u8], check: fn(&str) -> Result<T, WireError>) -> Decoded<T> {
    match split(payload) {
        Err(error) => {
            Decoded { items: Vec::new(), rejected: vec![Rejected { index: 0, bytes: payload.to_vec(), error }] }
        }
        Ok(elements) => {
            let mut decoded = Decoded { items: Vec::with_capacity(elements.len()), rejected: Vec::new() };
            for (index, element) in elements.into_iter().enumerate() {
                match check(element) {
                    Ok(item) => decoded.items.push(item),
                    Err(error) => {
                        let bytes = element.as_bytes().to_vec();
                        decoded.rejected.push(Rejected { index, bytes, error });
                    }
                }
            }
            decoded
        }
    }
}

/// Splits a payload into the texts of its elements.
fn split(payload: &[u8]) -> Result<Vec<&str>, WireError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(WireError::PayloadTooLarge(payload.len()));
    }
    let text = std::str::from_utf8(payload).map_err(|error| WireError::Json(error.to_string()))?;
    let content = check::without_mark(text);
    match content.trim_ascii_start().as_bytes().first() {
        Some(b'[') => split_array(content),
        _ => Ok(vec![text]),
    }
}

/// Splits an array. A word that is not JSON stays in its element, where it is found again.
fn split_array(text: &str) -> Result<Vec<&str>, WireError> {
    let elements: Vec<&str> = match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(raw) => raw.into_iter().map(RawValue::get).collect(),
        Err(error) => {
            let error = || WireError::Json(error.to_string());
            let patched = Patched::new(text).ok_or_else(error)?;
            let raw: Vec<&RawValue> = serde_json::from_str(&patched.text).map_err(|_| error())?;
            raw.into_iter().map(|part| patched.original_of(part.get())).collect()
        }
    };
    match elements.len() > MAX_ELEMENTS {
        true => Err(WireError::TooManyElements(elements.len())),
        false => Ok(elements),
    }
}

impl<'de> Deserialize<'de> for Criticality {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let level = u64::deserialize(deserializer)?;
        Self::new(level).ok_or_else(|| serde::de::Error::custom("criticality outside 1 to 10"))
    }
}
