//! Parses the text of one element into a metric or an event, field by field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{DeviceMetric, Event, Labels, MAX_LABEL_BYTES, MAX_LABELS, MAX_MESSAGE_BYTES, WireError};
use crate::event_id::EventId;
use crate::metric;
use crate::name::{DeviceName, EventType, MetricType, NameError};
use crate::timestamp::{Timestamp, shorten};

/// Deepest nesting of objects and arrays in one element: the limit of serde_json, and far beyond any use.
const MAX_DEPTH: usize = 128;

/// Fields of one element, not yet parsed, so that unknown ones may hold anything. Of a duplicate key the last value
/// counts, as in most JSON parsers.
type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Common case, parsed without building a tree: every field present once and of the right type.
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
    is_object(text)?;
    match serde_json::from_str::<PlainMetric<'_>>(text) {
        Ok(plain) => assemble_metric(plain),
        Err(_) => metric_with_reasons(text),
    }
}

/// Parses field by field: errors name the field, and of a duplicate key the last value counts.
fn metric_with_reasons(text: &str) -> Result<DeviceMetric, WireError> {
    let fields = fields(text)?;
    assemble_metric(PlainMetric {
        timestamp: Cow::Owned(string(&fields, "timestamp")?),
        source_device: Cow::Owned(string(&fields, "sourceDevice")?),
        metric_type: Cow::Owned(string(&fields, "metricType")?),
        value: typed(required(&fields, "value")?, "value", "a finite number")?,
        seq: optional(&fields, "seq", "an integer of at least 0")?,
        labels: optional(&fields, "labels", "an object of strings")?,
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

/// Rejects impossible values: a broken sensor must not distort an average.
fn check_range(metric: &DeviceMetric) -> Result<(), WireError> {
    if !metric.value.is_finite() {
        return Err(wrong("value", "is not finite"));
    }
    let Some(kind) = metric::lookup(&metric.metric_type) else { return Ok(()) };
    if (kind.min..=kind.max).contains(&metric.value) {
        return Ok(());
    }
    let (value, unit) = (metric.value, kind.unit.symbol());
    Err(wrong("value", format!("is {value} {unit}, outside {} to {} for {}", kind.min, kind.max, kind.name)))
}

pub(super) fn event(text: &str) -> Result<Event, WireError> {
    is_object(text)?;
    let fields = fields(text)?;
    let criticality = required(&fields, "criticality")?;
    Ok(Event {
        id: event_id(required(&fields, "id")?)?,
        criticality: typed(criticality, "criticality", "an integer from 1 to 10")?,
        timestamp: timestamp(&string(&fields, "timestamp")?)?,
        source_device: name("sourceDevice", DeviceName::new(&string(&fields, "sourceDevice")?))?,
        event_type: name("eventType", EventType::new(&string(&fields, "eventType")?))?,
        event_message: event_message(&fields)?,
        seq: optional(&fields, "seq", "an integer of at least 0")?,
        labels: checked_labels(optional(&fields, "labels", "an object of strings")?)?,
    })
}

/// Takes a text, or a whole number as its text: senders whose ids are numbers write them without quotes.
fn event_id(raw: &RawValue) -> Result<EventId, WireError> {
    let digits = raw.get().strip_prefix('-').unwrap_or(raw.get());
    let text: Cow<'_, str> = match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Cow::Borrowed(raw.get()),
        false => Cow::Owned(typed(raw, "id", "a string or a whole number")?),
    };
    EventId::new(&text).map_err(|error| wrong("id", error.to_string()))
}

fn event_message(fields: &Fields<'_>) -> Result<Option<String>, WireError> {
    let text: Option<String> = optional(fields, "eventMessage", "a string")?;
    match text {
        Some(text) if text.len() > MAX_MESSAGE_BYTES => {
            Err(wrong("eventMessage", format!("is {} bytes long, more than {MAX_MESSAGE_BYTES}", text.len())))
        }
        text => Ok(text),
    }
}

/// Rejects arrays, which derived deserializers accept as the fields in order, and unbounded nesting in ignored fields.
fn is_object(text: &str) -> Result<(), WireError> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(WireError::Shape(type_name(text)));
    }
    if is_too_deep(text) {
        return Err(WireError::Json(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    Ok(())
}

fn is_too_deep(text: &str) -> bool {
    let n_openings = text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if n_openings <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

fn fields(text: &str) -> Result<Fields<'_>, WireError> {
    serde_json::from_str(text).map_err(|error| WireError::Json(error.to_string()))
}

fn required<'a>(fields: &Fields<'a>, field: &'static str) -> Result<&'a RawValue, WireError> {
    fields.get(field).copied().ok_or(WireError::Missing(field))
}

fn string(fields: &Fields<'_>, field: &'static str) -> Result<String, WireError> {
    typed(required(fields, field)?, field, "a string")
}

/// Treats `null` as absent.
fn optional<'a, T: Deserialize<'a>>(
    fields: &Fields<'a>,
    field: &'static str,
    expected: &str,
) -> Result<Option<T>, WireError> {
    fields.get(field).map_or(Ok(None), |raw| typed(raw, field, expected))
}

fn typed<'a, T: Deserialize<'a>>(raw: &'a RawValue, field: &'static str, expected: &str) -> Result<T, WireError> {
    serde_json::from_str(raw.get()).map_err(|_| wrong(field, format!("is {}: expected {expected}", shorten(raw.get()))))
}

fn timestamp(text: &str) -> Result<Timestamp, WireError> {
    Timestamp::parse(text).map_err(|error| wrong("timestamp", error.to_string()))
}

fn name<T>(field: &'static str, name: Result<T, NameError>) -> Result<T, WireError> {
    name.map_err(|error| wrong(field, error.to_string()))
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

/// Returns the type of a JSON text by its first character.
pub(super) fn type_name(text: &str) -> &'static str {
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(_) | None => "a number",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// JSON values, each valid for some fields and invalid for others.
    const VALUES: [&str; 22] = [
        "\"2025-06-06T12:08:40Z\"",
        "\"2025-06-06t14:08:40.5+02:00\"",
        "\"d1\"",
        "\"d\\u00fc\"",
        "\"d\\ud800\"",
        "\"DiskTemp\"",
        "\"\"",
        "45.75",
        "-0",
        "7",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "999",
        "null",
        "true",
        "{}",
        "{\"model\":\"a\",\"model\":\"b\"}",
        "{\"model\":7}",
        "[1,[2]]",
        "{\"a\":{\"b\":[]}}",
        "{\"a\":1e400,\"b\":\"\\udfff\"}",
    ];
    const KEYS: [&str; 9] =
        ["timestamp", "sourceDevice", "metricType", "value", "seq", "labels", "unknown", "\\u0076alue", "\\ud800"];
    const GOOD: [(usize, usize); 4] = [(0, 0), (1, 2), (2, 5), (3, 7)];

    proptest! {
        /// The fast and the slow parser agree wherever the fast one succeeds: unknown fields, duplicate keys, escapes
        /// and all.
        #[test]
        fn both_ways_agree(extra in prop::collection::vec((0..KEYS.len(), 0..VALUES.len(), any::<prop::sample::Index>()), 0..4)) {
            let mut pairs = GOOD.to_vec();
            for (key, value, place) in extra {
                pairs.insert(place.index(pairs.len() + 1), (key, value));
            }
            let body: Vec<_> = pairs.iter().map(|(key, value)| format!("\"{}\":{}", KEYS[*key], VALUES[*value])).collect();
            let text = format!("{{{}}}", body.join(","));
            prop_assert_eq!(metric(&text), metric_with_reasons(&text), "{}", text);
        }
    }

    #[test]
    fn depth_counts_outside_strings_only() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_too_deep(&nested(MAX_DEPTH)));
        assert!(is_too_deep(&nested(MAX_DEPTH + 1)));
        assert!(!is_too_deep(&"{}".repeat(1_000)));
        assert!(!is_too_deep(&format!("\"\\\"{}\"", "[".repeat(1_000))));
        assert!(is_too_deep(&format!("\"\\\\\"{}", "[".repeat(1_000))));
    }
}
