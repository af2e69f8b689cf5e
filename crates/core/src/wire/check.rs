//! Parses the text of one element into a metric or an event, field by field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use super::bare_words::Patched;
use super::{
    Criticality, DeviceMetric, Event, Labels, MAX_LABEL_BYTES, MAX_LABELS, MAX_MESSAGE_BYTES, WireError, numbers,
};
use crate::event_id::EventId;
use crate::metric;
use crate::name::{DeviceName, EventType, MetricType, NameError};
use crate::timestamp::{Timestamp, shorten};

/// Deepest nesting of objects and arrays in one element: the limit of serde_json, and far beyond any use.
const MAX_DEPTH: usize = 128;

/// Fields of one element, not yet parsed, so that unknown ones may hold anything. Of a duplicate key the last value
/// counts, as in most JSON parsers.
struct Fields<'a>(BTreeMap<String, &'a str>);

/// Common case, parsed without building a tree: every field present once and of the right type, and no other.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
    let text = object(text)?;
    match serde_json::from_str::<PlainMetric<'_>>(text) {
        Ok(plain) => assemble_metric(plain),
        Err(_) => metric_with_reasons(text),
    }
}

/// Parses field by field: errors name the field, and of a duplicate key the last value counts.
fn metric_with_reasons(text: &str) -> Result<DeviceMetric, WireError> {
    let fields = Fields::of(text)?;
    assemble_metric(PlainMetric {
        timestamp: Cow::Owned(fields.string("timestamp")?),
        source_device: Cow::Owned(fields.string("sourceDevice")?),
        metric_type: Cow::Owned(fields.string("metricType")?),
        value: fields.required("value", "a finite number", numbers::finite)?,
        seq: fields.optional("seq", "an integer of at least 0", numbers::whole)?,
        labels: fields.optional("labels", "an object of strings", json)?,
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
    let fields = Fields::of(object(text)?)?;
    let level = |json: &str| numbers::whole(json).and_then(Criticality::new);
    Ok(Event {
        id: event_id(&fields)?,
        criticality: fields.required("criticality", "an integer from 1 to 10", level)?,
        timestamp: timestamp(&fields.string("timestamp")?)?,
        source_device: name("sourceDevice", DeviceName::new(&fields.string("sourceDevice")?))?,
        event_type: name("eventType", EventType::new(&fields.string("eventType")?))?,
        event_message: event_message(&fields)?,
        seq: fields.optional("seq", "an integer of at least 0", numbers::whole)?,
        labels: checked_labels(fields.optional("labels", "an object of strings", json)?)?,
    })
}

/// Takes a text, or a whole number as its text: senders whose ids are numbers write them without quotes.
fn event_id(fields: &Fields<'_>) -> Result<EventId, WireError> {
    let text = fields.required("id", "a string or a whole number", |json| {
        let digits = json.strip_prefix('-').unwrap_or(json);
        let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit()) && self::json::<IgnoredAny>(json).is_some();
        if is_whole { Some(json.to_owned()) } else { self::json(json) }
    })?;
    EventId::new(&text).map_err(|error| wrong("id", error.to_string()))
}

fn event_message(fields: &Fields<'_>) -> Result<Option<String>, WireError> {
    let text: Option<String> = fields.optional("eventMessage", "a string", json)?;
    match text {
        Some(text) if text.len() > MAX_MESSAGE_BYTES => {
            Err(wrong("eventMessage", format!("is {} bytes long, more than {MAX_MESSAGE_BYTES}", text.len())))
        }
        text => Ok(text),
    }
}

/// Returns a text without the byte order mark that some editors and programs put in front.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns the text of an object. Rejects arrays, which derived deserializers accept as the fields in order, and
/// unbounded nesting in ignored fields.
fn object(text: &str) -> Result<&str, WireError> {
    let text = without_mark(text);
    if !text.trim_ascii_start().starts_with('{') {
        let parsed = serde_json::from_str::<IgnoredAny>(text);
        return Err(
            parsed.map_or_else(|error| WireError::Json(error.to_string()), |_| WireError::Shape(type_name(text)))
        );
    }
    if is_too_deep(text) {
        return Err(WireError::Json(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    Ok(text)
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

/// Returns `true` if an object has a field; `None` if it is not an object.
pub(super) fn has_field(text: &str, field: &'static str) -> Option<bool> {
    Fields::of(object(text).ok()?).ok()?.get(field).ok().map(|found| found.is_some())
}

impl<'a> Fields<'a> {
    /// Splits an object. A field with a word that is not JSON keeps it: whoever reads that field names it.
    fn of(text: &'a str) -> Result<Self, WireError> {
        match serde_json::from_str::<BTreeMap<String, &'a RawValue>>(text) {
            Ok(fields) => Ok(Self(fields.into_iter().map(|(key, raw)| (key, raw.get())).collect())),
            Err(error) => {
                let error = || WireError::Json(error.to_string());
                let patched = Patched::new(text).ok_or_else(error)?;
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&patched.text).map_err(|_| error())?;
                Ok(Self(fields.into_iter().map(|(key, raw)| (key, patched.original_of(raw.get()))).collect()))
            }
        }
    }

    /// Returns the JSON of a field. A name in other case counts if the exact one is absent, as in Go's `encoding/json`;
    /// of two such names neither does, unless they agree.
    fn get(&self, field: &'static str) -> Result<Option<&'a str>, WireError> {
        if let Some(exact) = self.0.get(field) {
            return Ok(Some(*exact));
        }
        let mut alike = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(field));
        let Some((key, first)) = alike.next() else { return Ok(None) };
        match alike.find(|(_, other)| *other != first) {
            Some((other, _)) => Err(wrong(field, format!("is there as '{key}' and as '{other}', which differ"))),
            None => Ok(Some(*first)),
        }
    }

    /// Reads a required field; `expected` names what `read` takes.
    fn required<T>(
        &self,
        field: &'static str,
        expected: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, WireError> {
        let json = self.get(field)?.ok_or(WireError::Missing(field))?;
        read(json).ok_or_else(|| wrong(field, format!("is {}: expected {expected}", shorten(json))))
    }

    /// Reads an optional field. Treats `null` as absent.
    fn optional<T>(
        &self,
        field: &'static str,
        expected: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, WireError> {
        match self.get(field)? {
            None | Some("null") => Ok(None),
            Some(_) => self.required(field, expected, read).map(Some),
        }
    }

    fn string(&self, field: &'static str) -> Result<String, WireError> {
        self.required(field, "a string", json)
    }
}

fn json<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
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
fn type_name(text: &str) -> &'static str {
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
    const VALUES: [&str; 25] = [
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
        "\"7\"",
        "7.0",
        "NaN",
    ];
    const KEYS: [&str; 11] = [
        "timestamp",
        "sourceDevice",
        "metricType",
        "value",
        "seq",
        "labels",
        "unknown",
        "\\u0076alue",
        "\\ud800",
        "Value",
        "SEQ",
    ];
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
