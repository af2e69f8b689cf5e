//! Arbitrary bytes as a file of Backblaze Drive Stats.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spindle_core::backblaze::{Columns, DRIVE_FAILURE};
use spindle_core::recording::{Format, Line, Lines, Record, RefusedRecord, detect};
use spindle_core::{DeviceMetric, Event, metric, wire};
use spindle_fuzz::{is_one_line, with_causes};

fuzz_target!(|file: &[u8]| {
    let mut lines = Lines::new(file);
    let format = match detect(&mut lines) {
        Ok(format) => format,
        Err(error) => return drop(is_one_line(with_causes(&error))),
    };
    let Format::Backblaze(columns) = &format else { return };
    while let Some((_, Line::Whole(line))) = lines.next_line().expect("reading from memory never fails") {
        let mut records = Vec::new();
        format.read(line, &mut |record| records.push(record));
        for record in &records {
            match record {
                Ok(Record::Metric(metric)) => is_a_value(metric),
                Ok(Record::Event(event)) => is_a_failure(event),
                Err(refused) => is_explained(refused, line),
            }
        }
        if let Some(fields) = fields_of(line, columns.delimiter()) {
            is_what_the_columns_say(columns, &fields, records);
        }
    }
});

fn is_a_value(metric: &DeviceMetric) {
    assert!(metric.metric_type.starts_with("smart_"), "{metric:?}");
    assert!(metric::lookup(&metric.metric_type).is_none_or(|kind| (kind.min..=kind.max).contains(&metric.value)));
    let sent = wire::encode_metrics(std::slice::from_ref(metric));
    assert_eq!(
        wire::decode_metrics(&sent).items,
        std::slice::from_ref(metric),
        "the wire format accepts parsed values"
    );
}

fn is_a_failure(event: &Event) {
    assert_eq!((event.event_type.as_str(), event.criticality.level()), (DRIVE_FAILURE, 10));
    assert_eq!(wire::decode_events(&wire::encode_event(event)).items, std::slice::from_ref(event));
}

fn is_explained(refused: &RefusedRecord, line: &[u8]) {
    is_one_line(&refused.reason);
    assert!(refused.bytes.len() <= 1_024 && line.starts_with(&refused.bytes));
}

/// Returns the fields of a line without quotes, which needs no CSV parser.
fn fields_of(line: &[u8], delimiter: u8) -> Option<Vec<&str>> {
    let line = std::str::from_utf8(line).ok().filter(|line| !line.contains('"'))?;
    Some(line.split(char::from(delimiter)).collect())
}

fn is_what_the_columns_say(columns: &Columns, fields: &[&str], records: Vec<Result<Record, RefusedRecord>>) {
    let n_records = records.len();
    let good: Vec<Record> = records.into_iter().flatten().collect();
    let is_refused_whole = good.is_empty() && n_records == 1;
    let mut refused = Vec::new();
    match columns.read(fields, &mut refused) {
        Err(error) => assert!(is_refused_whole, "{error}"),
        // A lone carriage return may be a line break or white space.
        Ok(_) if is_refused_whole && fields.iter().any(|field| field.contains('\r')) => {}
        Ok(batch) => {
            let events = batch.events.into_iter().map(Record::Event);
            assert_eq!(good, batch.metrics.into_iter().map(Record::Metric).chain(events).collect::<Vec<_>>());
            assert_eq!(n_records, good.len() + refused.len());
        }
    }
}
