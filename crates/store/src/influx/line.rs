//! Line protocol that InfluxDB 1, 2 and 3 all read, and an encoding of texts that survives all three, in queries too.
//!
//! The three parsers disagree on a backslash in a tag and on control characters anywhere (or break on them), so both
//! are written as look-alikes: `\` as `⧵`, a line feed as `␊`. An escape character marks a literal look-alike. The
//! encoding is lossless and readable.

use std::borrow::Cow;
use std::fmt::Write;

use spindle_core::records;
use spindle_core::schema::{
    DEVICE_ARRIVALS, DEVICE_LABELS, DEVICE_METRICS, DEVICES, EVENT_ARRIVALS, EVENTS, INDEXES, REPLACED_NUMBERS,
};
use spindle_core::{DeviceMetric, Event, Timestamp};

/// First and last instant that all versions store.
pub(crate) const MIN_TIME: i64 = i64::MIN + 2;
pub(crate) const MAX_TIME: i64 = i64::MAX - 1;

/// Look-alike of a backslash.
const BACKSLASH: char = '\u{29F5}';
/// Escape before a literal look-alike: a big solidus, virtually unused.
const ESCAPE: char = '\u{29F8}';
/// First of the Unicode pictures of the control characters 0 to 31.
const PICTURES: u32 = 0x2400;
/// Unicode picture of the delete character.
const DELETE: char = '\u{2421}';

fn is_look_alike(ch: char) -> bool {
    ch == BACKSLASH || ch == ESCAPE || (PICTURES..=u32::from(DELETE)).contains(&u32::from(ch))
}

/// Encodes a text without backslashes and control characters below U+0080; [`decode`] restores it.
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|ch| ch == '\\' || ch.is_ascii_control() || is_look_alike(ch)) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 8);
    for ch in text.chars() {
        match ch {
            '\\' => encoded.push(BACKSLASH),
            '\x7f' => encoded.push(DELETE),
            _ if ch.is_ascii_control() => {
                encoded.push(char::from_u32(PICTURES + u32::from(ch)).unwrap_or(ch));
            }
            _ => {
                if is_look_alike(ch) {
                    encoded.push(ESCAPE);
                }
                encoded.push(ch);
            }
        }
    }
    encoded.into()
}

/// Restores the argument of [`encode`].
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_look_alike) {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        match ch {
            ESCAPE => decoded.extend(chars.next()),
            BACKSLASH => decoded.push('\\'),
            DELETE => decoded.push('\x7f'),
            _ if is_look_alike(ch) => decoded.extend(char::from_u32(u32::from(ch) - PICTURES)),
            _ => decoded.push(ch),
        }
    }
    decoded.into()
}

/// Writes the line of a metric value, which must be finite.
pub(crate) fn metric(metric: &DeviceMetric, lines: &mut String) {
    begin(
        lines,
        DEVICE_METRICS.name,
        &[("source_device", &metric.source_device), ("metric_type", &metric.metric_type)],
    );
    // Debug formats a float so that it reads back unchanged, always with a digit on both sides of the point.
    let _ = write!(lines, " value={:?}", metric.value);
    if let Some(seq) = metric.seq {
        let _ = write!(lines, ",seq={}i", seq.cast_signed());
    }
    end(lines, metric.timestamp.as_ns());
}

/// Writes the line of the number that a value replaces, at a time of its own.
pub(crate) fn replaced_number(by: &DeviceMetric, seq: u64, time: i64, lines: &mut String) {
    begin(lines, REPLACED_NUMBERS.name, &[("source_device", &by.source_device), ("metric_type", &by.metric_type)]);
    let _ = write!(lines, " seq={}i,timestamp_ns={}i", seq.cast_signed(), by.timestamp.as_ns());
    end(lines, time);
}

/// Writes the line of an event at its position.
pub(crate) fn event(event: &Event, received: Timestamp, position: EventPosition, lines: &mut String) {
    begin_at(lines, EVENTS.name, event, position);
    lines.push(' ');
    event_fields(lines, event, received);
    if let Some(message) = &event.event_message {
        text_field(lines, "event_message", message);
    }
    if let Some(seq) = event.seq {
        let _ = write!(lines, ",seq={}i", seq.cast_signed());
    }
    if let Some(labels) = &event.labels {
        text_field(lines, "labels", &serde_json::to_string(labels).unwrap_or_default());
    }
    end(lines, position.time);
}

/// Writes the line of a device's label.
pub(crate) fn label(device: &str, key: &str, value: &str, at: Timestamp, lines: &mut String) {
    begin(lines, DEVICE_LABELS.name, &[("source_device", device), ("label", key)]);
    lines.push_str(" value=\"");
    push_quoted(lines, value);
    lines.push('"');
    end(lines, at.as_ns());
}

/// Writes the entry of an event's arrival at a place in the index of arrivals.
/// `place_ns` is the time of the event's own point.
pub(crate) fn arrival(event: &Event, received: Timestamp, place_ns: i64, place: EventPosition, lines: &mut String) {
    begin_at(lines, EVENT_ARRIVALS.name, event, place);
    let _ = write!(lines, " place_ns={place_ns}i,");
    event_fields(lines, event, received);
    end(lines, place.time);
}

/// Begins a line with the tags of an event's place.
fn begin_at(lines: &mut String, measurement: &str, event: &Event, place: EventPosition) {
    let slot = place.slot.to_string();
    let tags: [(&str, &str); 3] =
        [("source_device", &event.source_device), ("event_type", &event.event_type), ("slot", &slot)];
    begin(lines, measurement, if place.slot == 0 { &tags[..2] } else { &tags });
}

/// Writes the fields that an event and the entry of its arrival share.
fn event_fields(lines: &mut String, event: &Event, received: Timestamp) {
    lines.push_str("event_id=\"");
    push_quoted(lines, &event.id.text());
    let _ = write!(
        lines,
        "\",criticality={}i,timestamp_ns={}i,received_ns={}i",
        event.criticality.level(),
        event.timestamp.as_ns(),
        received.as_ns()
    );
}

/// Writes the oldest and newest time of a device's data, at the point of the present period.
pub(crate) fn device(device: &str, first: i64, last: i64, at: i64, lines: &mut String) {
    begin(lines, DEVICES.name, &[("source_device", device)]);
    let _ = write!(lines, " first_ns={first}i,last_ns={last}i");
    end(lines, at);
}

/// Writes the marker of complete indexes.
pub(crate) fn index_version(version: i64, devices_from: Option<i64>, at: Timestamp, lines: &mut String) {
    begin(lines, INDEXES.name, &[]);
    let _ = write!(lines, " index_version={version}i");
    if let Some(devices_from) = devices_from {
        let _ = write!(lines, ",devices_from_ns={devices_from}i");
    }
    end(lines, at.as_ns());
}

/// Writes the line of a device's newest arrival, at the end of its slot of time.
pub(crate) fn device_arrival(device: &str, arrival: records::Arrival, slot: i64, lines: &mut String) {
    begin(lines, DEVICE_ARRIVALS.name, &[("source_device", device)]);
    let _ = write!(lines, " received_ns={}i,measured_ns={}i", arrival.received.as_ns(), arrival.measured.as_ns());
    end(lines, slot);
}

/// Time and slot of an event's point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EventPosition {
    pub(crate) time: i64,
    pub(crate) slot: u32,
}

fn begin(lines: &mut String, measurement: &str, tags: &[(&str, &str)]) {
    lines.push_str(measurement);
    for (key, value) in tags {
        let _ = write!(lines, ",{key}={}", tag(value));
    }
}

/// Escapes a tag's value for a line.
pub(crate) fn tag(value: &str) -> String {
    let mut written = String::with_capacity(value.len() + 4);
    for ch in encode(value).chars() {
        if matches!(ch, ',' | '=' | ' ') {
            written.push('\\');
        }
        written.push(ch);
    }
    written
}

/// Quotes a text as a string of InfluxQL. An encoded text has no backslash.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", encode(text).replace('\'', "\\'"))
}

/// Returns the condition that restricts a query to some devices.
pub(crate) fn one_of_devices<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let named: Vec<String> = names.map(|name| format!("source_device = {}", quoted(name))).collect();
    format!(" AND ({})", named.join(" OR "))
}

fn end(lines: &mut String, time: i64) {
    let _ = writeln!(lines, " {time}");
}

fn text_field(lines: &mut String, key: &str, value: &str) {
    let _ = write!(lines, ",{key}=\"");
    push_quoted(lines, value);
    lines.push('"');
}

fn push_quoted(lines: &mut String, value: &str) {
    for ch in encode(value).chars() {
        if ch == '"' {
            lines.push('\\');
        }
        lines.push(ch);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_within_their_quotes() {
        assert_eq!(one_of_devices(["a", "b'c"].into_iter()), " AND (source_device = 'a' OR source_device = 'b\\'c')");
    }

    proptest! {
        #[test]
        fn texts_survive(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(!encoded.chars().any(|ch| ch == '\\' || ch.is_ascii_control()));
            prop_assert_eq!(decode(&encoded), text.as_str());
        }

        #[test]
        fn texts_of_signs_survive(text in "[\\\\\u{29F5}\u{29F8}\u{2400}-\u{2422}\\x00-\\x1f\\x7fab]{0,12}") {
            let encoded = encode(&text);
            prop_assert_eq!(decode(&encoded), text.as_str());
        }

        #[test]
        fn floats_survive(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            let text = format!("{value:?}");
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
            // InfluxDB 3 requires digits on both sides of a point, and no sign other than a minus.
            prop_assert!(!text.ends_with('.') && !text.starts_with('.') && !text.contains('+'));
        }
    }
}
