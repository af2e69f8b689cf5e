//! Any bytes as InfluxDB's response to a query: every reader of rows reads every series.

#![no_main]

mod influx;

use std::collections::BTreeMap;

use influx::response::{self, Progress, ResponseError, SeriesPart};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use spindle_fuzz::is_one_line;

fuzz_target!(|body: &[u8]| {
    let read = read(body);
    read.series.iter().for_each(is_sound);
    // The documents, concatenated as versions 1 and 2, old 3 and new 3 do it, give the same result.
    let documents: Result<Vec<&RawValue>, _> = serde_json::Deserializer::from_slice(body).into_iter().collect();
    let Ok(documents) = documents else { return };
    if documents.iter().any(|document| !document.get().starts_with('{')) {
        return;
    }
    for separator in ["\n", "\r\n", ""] {
        let joined: String = documents.iter().map(|document| format!("{document}{separator}")).collect();
        let again = self::read(joined.as_bytes());
        assert_eq!(format!("{:?}", again.series), format!("{:?}", read.series), "{separator:?}");
        assert_eq!(again.message.is_some(), read.message.is_some(), "{:?} {:?}", again.message, read.message);
    }
});

/// Series of a response, and the error at its end.
struct Read {
    series: Vec<SeriesPart>,
    message: Option<String>,
}

fn read(body: &[u8]) -> Read {
    let mut read = Read { series: Vec::new(), message: None };
    let mut progress = Progress::default();
    for document in response::documents(body) {
        match progress.series(document) {
            Ok(found) => read.series.extend(found),
            Err(
                ResponseError::Transient(message)
                | ResponseError::Misconfigured(message)
                | ResponseError::Refused(message),
            ) => {
                read.message = Some(is_one_line(message));
                break;
            }
        }
    }
    let _ = progress.end(1);
    read
}

/// Checks that the store's results keep the promises of their types, whatever the response.
fn is_sound(series: &SeriesPart) {
    response::count(series);
    response::samples(series).for_each(|sample| assert!(sample.value.is_finite()));
    let mut found = BTreeMap::new();
    for (number, bucket) in response::buckets(series).enumerate() {
        // Parts of one bucket, and others.
        response::merge(&mut found, (number % 3) as i128, bucket);
    }
    for bucket in found.values() {
        assert!(bucket.min <= bucket.mean && bucket.mean <= bucket.max && bucket.count > 0, "{bucket:?}");
    }
    for row in &series.values {
        let _ = (response::event(series, row), response::stored_event(row));
    }
}
