//! From the text of one element to a metric or an event: the checks, field by field.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Criticality, DeviceMetric, Event, Labels, MAX_LABEL_BYTES, MAX_LABELS, MAX_MESSAGE_BYTES, WireError};
use crate::metric;
use crate::name::{DeviceName, EventType, MetricType, NameError};
use crate::timestamp::{Timestamp, shorten};

/// The common case, read without building a tree: no labels, every field of the right type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainMetric<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    source_device: Cow<'a, str>,
    #[serde(borrow)]
    metric_type: Cow<'a, str>,
    value: f64,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    labels: Option<Labels>,
}

pub(super) fn metric(text: &str) -> Result<DeviceMetric, WireError> {
    match serde_json::from_str::<PlainMetric<'_>>(text) {
        Ok(plain) => assemble_metric(plain),
        Err(_) => metric_with_reasons(text),
    }
}

fn metric_with_reasons(text: &str) -> Result<DeviceMetric, WireError> {
    let object = object(text)?;
    assemble_metric(PlainMetric {
        timestamp: Cow::Borrowed(string(&object, "timestamp")?),
        source_device: Cow::Borrowed(string(&object, "sourceDevice")?),
        metric_type: Cow::Borrowed(string(&object, "metricType")?),
        value: match required(&object, "value")? {
            Value::Number(number) => number.as_f64().ok_or_else(|| wrong("value", "is no finite number"))?,
            other => return Err(wrong_type("value", "a finite number", other)),
        },
        seq: seq(&object)?,
        labels: labels_of(&object)?,
    })
}

fn assemble_metric(plain: PlainMetric<'_>) -> Result<DeviceMetric, WireError> {
    let metric = DeviceMetric {
        timestamp: timestamp(&plain.timestamp)?,
        source_device: name("sourceDevice", DeviceName::new(&plain.source_device))?,
        metric_type: name("metricType", MetricType::new(&plain.metric_type))?,
        value: plain.value,
        seq: plain.seq,
        labels: checked_labels(plain.labels)?,
    };
    check_range(&metric)?;
    Ok(metric)
}

/// A sensor that says something impossible is broken, and its word must not reach an average.
fn check_range(metric: &DeviceMetric) -> Result<(), WireError> {
    if !metric.value.is_finite() {
        return Err(wrong("value", "is no finite number"));
    }
    let Some(kind) = metric::lookup(&metric.metric_type) else { return Ok(()) };
    if (kind.min..=kind.max).contains(&metric.value) {
        return Ok(());
    }
    let (value, unit) = (metric.value, kind.unit.symbol());
    Err(wrong("value", format!("is {value} {unit}, outside {} to {} for {}", kind.min, kind.max, kind.name)))
}

pub(super) fn event(text: &str) -> Result<Event, WireError> {
    let object = object(text)?;
    let id = string(&object, "id")?;
    let criticality = required(&object, "criticality")?;
    Ok(Event {
        id: Uuid::try_parse(id).map_err(|_| wrong("id", format!("is no UUID: '{}'", shorten(id))))?,
        criticality: criticality
            .as_u64()
            .and_then(Criticality::new)
            .ok_or_else(|| wrong_type("criticality", "an integer from 1 to 10", criticality))?,
        timestamp: timestamp(string(&object, "timestamp")?)?,
        source_device: name("sourceDevice", DeviceName::new(string(&object, "sourceDevice")?))?,
        event_type: name("eventType", EventType::new(string(&object, "eventType")?))?,
        event_message: event_message(&object)?,
        seq: seq(&object)?,
        labels: checked_labels(labels_of(&object)?)?,
    })
}

fn event_message(object: &Map<String, Value>) -> Result<Option<String>, WireError> {
    match object.get("eventMessage") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > MAX_MESSAGE_BYTES => {
            Err(wrong("eventMessage", format!("is {} bytes long, more than {MAX_MESSAGE_BYTES}", text.len())))
        }
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong_type("eventMessage", "a string", other)),
    }
}

fn object(text: &str) -> Result<Map<String, Value>, WireError> {
    match serde_json::from_str(text).map_err(|error| WireError::Json(error.to_string()))? {
        Value::Object(object) => Ok(object),
        other => Err(WireError::Shape(type_name(&other))),
    }
}

fn required<'a>(object: &'a Map<String, Value>, field: &'static str) -> Result<&'a Value, WireError> {
    object.get(field).ok_or(WireError::Missing(field))
}

fn string<'a>(object: &'a Map<String, Value>, field: &'static str) -> Result<&'a str, WireError> {
    match required(object, field)? {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(field, "a string", other)),
    }
}

fn timestamp(text: &str) -> Result<Timestamp, WireError> {
    Timestamp::parse(text).map_err(|error| wrong("timestamp", error.to_string()))
}

fn name<T>(field: &'static str, name: Result<T, NameError>) -> Result<T, WireError> {
    name.map_err(|error| wrong(field, error.to_string()))
}

fn seq(object: &Map<String, Value>) -> Result<Option<u64>, WireError> {
    match object.get("seq") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(seq) => Ok(Some(seq)),
            None => Err(wrong_type("seq", "a whole number from 0 on", value)),
        },
    }
}

fn labels_of(object: &Map<String, Value>) -> Result<Option<Labels>, WireError> {
    let entries = match object.get("labels") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(entries)) => entries,
        Some(other) => return Err(wrong_type("labels", "an object of strings", other)),
    };
    let mut labels = Labels::new();
    for (key, value) in entries {
        let Value::String(text) = value else {
            return Err(wrong_type("labels", "strings only", value));
        };
        labels.insert(key.clone(), text.clone());
    }
    Ok(Some(labels))
}

fn checked_labels(labels: Option<Labels>) -> Result<Option<Box<Labels>>, WireError> {
    let Some(labels) = labels else { return Ok(None) };
    if labels.len() > MAX_LABELS {
        return Err(wrong("labels", format!("has {} entries, more than {MAX_LABELS}", labels.len())));
    }
    for (key, value) in &labels {
        if key.is_empty() || key.len() > MAX_LABEL_BYTES || value.len() > MAX_LABEL_BYTES {
            let problem =
                format!("has an empty or over-long (more than {MAX_LABEL_BYTES} bytes) entry '{}'", shorten(key));
            return Err(wrong("labels", problem));
        }
    }
    Ok((!labels.is_empty()).then(|| Box::new(labels)))
}

fn wrong(field: &'static str, problem: impl Into<String>) -> WireError {
    WireError::Field { field, problem: problem.into() }
}

fn wrong_type(field: &'static str, expected: &str, found: &Value) -> WireError {
    wrong(field, format!("is {}: expected {expected}", shorten(&found.to_string())))
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
