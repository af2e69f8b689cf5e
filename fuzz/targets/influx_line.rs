//! Any metric, event and label as line protocol, read back by a strict parser of the subset that InfluxDB 1, 2 and 3
//! share; and then, as a row of a response, by the store.

#![no_main]

mod influx;
mod strict;

use influx::line::{self, EventPosition};
use influx::response::{self, StoredEvent};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use spindle_core::name::MAX_NAME_BYTES;
use spindle_core::wire::MAX_LABEL_BYTES;
use spindle_core::{DeviceMetric, Event, Timestamp};
use spindle_fuzz::made;
use strict::Line;

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    // Input that is too short, or an invalid name, is not a case.
    let _ = one_case(&mut input);
});

fn one_case(input: &mut Unstructured<'_>) -> Result<()> {
    match input.int_in_range(0..=3)? {
        0 => metric_comes_back(&made::metric(input)?),
        1 => {
            let position = EventPosition { time: input.arbitrary()?, slot: input.arbitrary()? };
            event_comes_back(&made::event(input)?, Timestamp::from_ns(input.arbitrary()?), position);
        }
        2 => names_stay_in_their_quotes(&made::text(input, MAX_NAME_BYTES)?),
        _ => {
            let mut text = || made::text(input, MAX_LABEL_BYTES);
            label_comes_back(&text()?, &text()?, &text()?);
        }
    }
    Ok(())
}

fn written(write: impl FnOnce(&mut String)) -> Line {
    let mut lines = String::new();
    write(&mut lines);
    Line::read(&lines)
}

fn metric_comes_back(metric: &DeviceMetric) {
    let line = written(|lines| line::metric(metric, lines));
    assert_eq!(decoded_tags(&line), [&*metric.source_device, &*metric.metric_type]);
    assert_eq!(line.time, metric.timestamp.as_ns());
    let series = line.answered(&["value", "seq"]);
    let sample = response::samples(&series).next().expect("one row");
    assert_eq!((sample.time, sample.value.to_bits()), (metric.timestamp, metric.value.to_bits()));
    assert_eq!(series.values[0][2].as_i64().map(i64::cast_unsigned), metric.seq);
}

fn event_comes_back(event: &Event, received: Timestamp, position: EventPosition) {
    let line = written(|lines| line::event(event, received, position, lines));
    assert_eq!(line.time, position.time);
    assert_eq!(line.tags.len(), 2 + usize::from(position.slot > 0));
    let series = line.answered(&[
        "event_id",
        "criticality",
        "event_message",
        "timestamp_ns",
        "received_ns",
        "seq",
        "labels",
        "source_device",
        "event_type",
    ]);
    let record = response::event(&series, &series.values[0]).expect("an event was written");
    assert_eq!((&record.event, record.received), (event, received));
    let places = line.answered(&["event_id", "timestamp_ns", "received_ns"]);
    let stored = StoredEvent { id: event.id.clone(), happened: event.timestamp, received };
    assert_eq!(response::stored_event(&places.values[0]), Some(stored));
}

fn label_comes_back(device: &str, key: &str, value: &str) {
    if device.is_empty() || key.is_empty() {
        return;
    }
    let line = written(|lines| line::label(device, key, value, Timestamp::from_ns(0), lines));
    assert_eq!(decoded_tags(&line), [device, key]);
    let series = line.answered(&["value"]);
    assert_eq!(line::decode(series.values[0][1].as_str().expect("a text")), value);
}

/// No name terminates its quoted string, or it would change the query.
fn names_stay_in_their_quotes(name: &str) {
    let quoted = line::quoted(name);
    let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).expect("quotes around it");
    let mut read = String::new();
    let mut chars = inner.chars();
    while let Some(ch) = chars.next() {
        assert!(ch != '\'' && !ch.is_ascii_control(), "{quoted:?}");
        read.push(if ch == '\\' {
            chars.next().filter(|next| *next == '\'').expect("an escape")
        } else {
            ch
        });
    }
    assert_eq!(line::decode(&read), name);
}

fn decoded_tags(line: &Line) -> Vec<String> {
    line.tags.iter().map(|(_, value)| line::decode(value).into_owned()).collect()
}
