//! Line protocol: points as InfluxDB 1, 2 and 3 all read them, and texts that survive all three, in questions too.
//!
//! A backslash in a tag and a control character anywhere mean different things to the three parsers (or
//! break them), so they are written as look-alikes: `\` as `⧵`, a line feed as `␊`. An escape sign before
//! a look-alike says that it is meant as itself; nothing is lost, and people can still read it.

use std::borrow::Cow;
use std::fmt::Write;

use spindle_core::schema::{DEVICE_LABELS, DEVICE_METRICS, EVENTS};
use spindle_core::{DeviceMetric, Event, Timestamp};

/// The look-alike of a backslash.
const BACKSLASH: char = '\u{29F5}';
/// Before a character that is meant as itself: a big solidus, as good as unused.
const ESCAPE: char = '\u{29F8}';
/// Where Unicode draws the control characters 0 to 31.
const PICTURES: u32 = 0x2400;
/// How it draws the delete character.
const DELETE: char = '\u{2421}';

fn is_look_alike(letter: char) -> bool {
    letter == BACKSLASH || letter == ESCAPE || (PICTURES..=u32::from(DELETE)).contains(&u32::from(letter))
}

/// A text with no backslash and no control character below U+0080, from which [`decode`] makes the same text again.
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|letter| letter == '\\' || letter.is_ascii_control() || is_look_alike(letter)) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\\' => encoded.push(BACKSLASH),
            '\x7f' => encoded.push(DELETE),
            _ if letter.is_ascii_control() => {
                encoded.push(char::from_u32(PICTURES + u32::from(letter)).unwrap_or(letter));
            }
            _ => {
                if is_look_alike(letter) {
                    encoded.push(ESCAPE);
                }
                encoded.push(letter);
            }
        }
    }
    encoded.into()
}

/// What [`encode`] was given.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_look_alike) {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ESCAPE => decoded.extend(letters.next()),
            BACKSLASH => decoded.push('\\'),
            DELETE => decoded.push('\x7f'),
            _ if is_look_alike(letter) => decoded.extend(char::from_u32(u32::from(letter) - PICTURES)),
            _ => decoded.push(letter),
        }
    }
    decoded.into()
}

/// Writes the line of a metric value. The value must be finite.
pub(crate) fn metric(metric: &DeviceMetric, lines: &mut String) {
    begin(
        lines,
        DEVICE_METRICS.name,
        &[("source_device", &metric.source_device), ("metric_type", &metric.metric_type)],
    );
    // Debug writes what reads back as the same float, always with a digit on both sides of the point.
    let _ = write!(lines, " value={:?}", metric.value);
    if let Some(seq) = metric.seq {
        let _ = write!(lines, ",seq={}i", seq.cast_signed());
    }
    end(lines, metric.timestamp.as_ns());
}

/// Writes the line of an event at its place.
pub(crate) fn event(event: &Event, received: Timestamp, place: Place, lines: &mut String) {
    let slot = place.slot.to_string();
    let tags: [(&str, &str); 3] =
        [("source_device", &event.source_device), ("event_type", &event.event_type), ("slot", &slot)];
    begin(lines, EVENTS.name, if place.slot == 0 { &tags[..2] } else { &tags });
    let _ = write!(
        lines,
        " event_id=\"{}\",criticality={}i,timestamp_ns={}i,received_ns={}i",
        event.id,
        event.criticality.level(),
        event.timestamp.as_ns(),
        received.as_ns()
    );
    if let Some(message) = &event.event_message {
        text_field(lines, "event_message", message);
    }
    if let Some(seq) = event.seq {
        let _ = write!(lines, ",seq={}i", seq.cast_signed());
    }
    if let Some(labels) = &event.labels {
        text_field(lines, "labels", &serde_json::to_string(labels).unwrap_or_default());
    }
    end(lines, place.time);
}

/// Writes the line of a label of a device.
pub(crate) fn label(device: &str, key: &str, value: &str, at: Timestamp, lines: &mut String) {
    begin(lines, DEVICE_LABELS.name, &[("source_device", device), ("label", key)]);
    lines.push_str(" value=\"");
    push_quoted(lines, value);
    lines.push('"');
    end(lines, at.as_ns());
}

/// Where an event lies: see [`super::place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) time: i64,
    pub(crate) slot: u32,
}

fn begin(lines: &mut String, measurement: &str, tags: &[(&str, &str)]) {
    lines.push_str(measurement);
    for (key, value) in tags {
        let _ = write!(lines, ",{key}={}", tag(value));
    }
}

/// A tag's value as it stands in a line.
pub(crate) fn tag(value: &str) -> String {
    let mut written = String::with_capacity(value.len() + 4);
    for letter in encode(value).chars() {
        if matches!(letter, ',' | '=' | ' ') {
            written.push('\\');
        }
        written.push(letter);
    }
    written
}

/// A text as a string of InfluxQL. Encoded, it holds no backslash.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", encode(text).replace('\'', "\\'"))
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
    for letter in encode(value).chars() {
        if letter == '"' {
            lines.push('\\');
        }
        lines.push(letter);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_survive(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(!encoded.chars().any(|letter| letter == '\\' || letter.is_ascii_control()));
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
            // InfluxDB 3 wants digits on both sides of a point, and no sign but a minus.
            prop_assert!(!text.ends_with('.') && !text.starts_with('.') && !text.contains('+'));
        }
    }
}
