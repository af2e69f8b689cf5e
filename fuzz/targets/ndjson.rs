//! Arbitrary bytes as a file to replay: its lines, and their records as the wire format defines them.

#![no_main]

use std::io::BufReader;

use libfuzzer_sys::fuzz_target;
use spindle_core::recording::{Format, Line, Lines, Record, RefusedRecord, detect};
use spindle_core::wire;
use spindle_fuzz::{is_one_line, with_causes};

fuzz_target!(|file: &[u8]| {
    // Read in small pieces, so that line breaks fall between them.
    let mut lines = Lines::new(BufReader::with_capacity(5, file));
    let format = match detect(&mut lines) {
        Ok(format) => format,
        Err(error) => return drop(is_one_line(with_causes(&error))),
    };
    if format != Format::Ndjson {
        return;
    }
    let mut expected = lines_of(file);
    while let Some((number, line)) = lines.next_line().expect("reading from memory never fails") {
        let Line::Whole(line) = line else { panic!("a long line in a short file") };
        assert_eq!(Some((number, line)), expected.next());
        let mut records = Vec::new();
        format.read(line, &mut |record| records.push(record));
        is_what_the_wire_says(line, records);
    }
    assert_eq!(expected.next(), None, "a line that was not returned");
});

/// Returns the non-blank lines, counted from 1, computed independently of the code under test.
fn lines_of(file: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let lines = file.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace))
}

fn is_what_the_wire_says(line: &[u8], records: Vec<Result<Record, RefusedRecord>>) {
    let first = wire::decode_metrics(line);
    assert_eq!(records.len(), first.items.len() + first.rejected.len(), "one record per element");
    let elements = wire::elements(line);
    for (index, record) in records.into_iter().enumerate() {
        let element = elements.get(index).map_or(line, |text| text.as_bytes());
        // An array on its own is a payload.
        let is_array = element.trim_ascii_start().starts_with(b"[");
        let (metric, event) = (wire::decode_metrics(element).items.pop(), wire::decode_events(element).items.pop());
        match record {
            Ok(Record::Metric(found)) => assert_eq!(Some(found), metric),
            Ok(Record::Event(found)) => assert_eq!((Some(found), None), (event, metric)),
            Err(refused) => {
                is_one_line(&refused.reason);
                assert!(refused.bytes.len() <= 1_024 && element.starts_with(&refused.bytes));
                assert!(is_array || (metric.is_none() && event.is_none()), "refused: {}", refused.reason);
            }
        }
    }
}
