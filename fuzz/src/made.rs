//! Metrics and events with any valid content, made from the bytes of a fuzzer.

use libfuzzer_sys::arbitrary::{Error, Result, Unstructured};
use spindle_core::event_id::MAX_EVENT_ID_BYTES;
use spindle_core::name::MAX_NAME_BYTES;
use spindle_core::wire::{MAX_LABEL_BYTES, MAX_LABELS, MAX_MESSAGE_BYTES};
use spindle_core::{Criticality, DeviceMetric, DeviceName, Event, EventId, EventType, Labels, MetricType, Timestamp};

/// Characters with a meaning in line protocol, in JSON, or as our look-alikes.
const SIGNS: [&str; 16] = [
    "\\", "\"", ",", "=", " ", "\n", "\r", "\0", "\u{7f}", "\u{85}", "\u{29F5}", "\u{29F8}", "\u{2400}", "\u{2421}",
    "'", "🚀",
];

pub fn metric(input: &mut Unstructured<'_>) -> Result<DeviceMetric> {
    let value = f64::from_bits(input.arbitrary()?);
    Ok(DeviceMetric {
        timestamp: Timestamp::from_ns(input.arbitrary()?),
        source_device: name(input, DeviceName::new)?,
        metric_type: name(input, MetricType::new)?,
        value: if value.is_finite() { value } else { 0.0 },
        seq: input.arbitrary()?,
        labels: None,
    })
}

pub fn event(input: &mut Unstructured<'_>) -> Result<Event> {
    Ok(Event {
        id: event_id(input)?,
        criticality: Criticality::new(input.int_in_range(1..=10)?).ok_or(Error::IncorrectFormat)?,
        timestamp: Timestamp::from_ns(input.arbitrary()?),
        source_device: name(input, DeviceName::new)?,
        event_type: name(input, EventType::new)?,
        event_message: if input.arbitrary()? { Some(text(input, MAX_MESSAGE_BYTES)?) } else { None },
        seq: input.arbitrary()?,
        labels: labels(input)?,
    })
}

fn event_id(input: &mut Unstructured<'_>) -> Result<EventId> {
    if input.arbitrary()? {
        return Ok(EventId::from(uuid::Uuid::from_u128(input.arbitrary()?)));
    }
    EventId::new(&text(input, MAX_EVENT_ID_BYTES)?).map_err(|_| Error::IncorrectFormat)
}

/// Returns labels as the wire format does: none are `None`.
fn labels(input: &mut Unstructured<'_>) -> Result<Option<Box<Labels>>> {
    let mut labels = Labels::new();
    for number in 0..input.int_in_range(0..=MAX_LABELS)? {
        let mut key = text(input, MAX_LABEL_BYTES - 2)?;
        key.push_str(&number.to_string());
        labels.insert(key, text(input, MAX_LABEL_BYTES)?);
    }
    Ok((!labels.is_empty()).then(|| Box::new(labels)))
}

fn name<T, E>(input: &mut Unstructured<'_>, new: fn(&str) -> std::result::Result<T, E>) -> Result<T> {
    new(&text(input, MAX_NAME_BYTES)?).map_err(|_| Error::IncorrectFormat)
}

/// Returns a text of special and plain characters, repeated so that few bytes of input reach the limits.
pub fn text(input: &mut Unstructured<'_>, max_bytes: usize) -> Result<String> {
    let mut piece = String::new();
    for _ in 0..input.int_in_range(0..=12)? {
        match input.arbitrary::<u8>()? {
            sign @ 0..64 => piece.push_str(SIGNS[usize::from(sign) % SIGNS.len()]),
            64..96 => piece.push(input.arbitrary()?),
            ch => piece.push(char::from(ch & 0x7f)),
        }
    }
    let n_fitting = max_bytes.checked_div(piece.len()).unwrap_or(0);
    let n_times = if input.ratio(1, 16)? { n_fitting } else { 1.min(n_fitting) };
    Ok(piece.repeat(n_times))
}
