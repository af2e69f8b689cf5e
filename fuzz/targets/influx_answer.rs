//! Any bytes as InfluxDB's answer to a query: every reader of rows gets every series.

#![no_main]

mod influx;

use std::collections::BTreeMap;

use influx::answer::{self, Document, Fault, Series};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use spindle_fuzz::is_one_line;

fuzz_target!(|body: &[u8]| {
    let read = read(body);
    read.series.iter().for_each(is_sound);
    // The documents as versions 1 and 2, old 3 and new 3 put them behind each other: the same answer.
    let documents: Result<Vec<&RawValue>, _> = serde_json::Deserializer::from_slice(body).into_iter().collect();
    let Ok(documents) = documents else { return };
    if documents.iter().any(|document| !document.get().starts_with('{')) {
        return;
    }
    for separator in ["\n", "\r\n", ""] {
        let joined: String = documents.iter().map(|document| format!("{document}{separator}")).collect();
        let again = self::read(joined.as_bytes());
        assert_eq!(format!("{:?}", again.series), format!("{:?}", read.series), "{separator:?}");
        assert_eq!(again.words.is_some(), read.words.is_some(), "{:?} {:?}", again.words, read.words);
    }
});

/// What an answer gave, and why it ended.
struct Read {
    series: Vec<Series>,
    words: Option<String>,
}

fn read(body: &[u8]) -> Read {
    let mut read = Read { series: Vec::new(), words: None };
    for document in answer::documents(body) {
        match Document::series(document) {
            Ok(found) => read.series.extend(found),
            Err(Fault::Passing(words) | Fault::Operator(words) | Fault::Refused(words)) => {
                read.words = Some(is_one_line(words));
                break;
            }
        }
    }
    read
}

/// Whatever a server says: what the store hands out is what its types promise.
fn is_sound(series: &Series) {
    answer::count(series);
    answer::samples(series).for_each(|sample| assert!(sample.value.is_finite()));
    let mut found = BTreeMap::new();
    for (number, bucket) in answer::buckets(series).enumerate() {
        // Parts of one bucket, and others.
        answer::add(&mut found, (number % 3) as i128, bucket);
    }
    for bucket in found.values() {
        assert!(bucket.min <= bucket.mean && bucket.mean <= bucket.max && bucket.count > 0, "{bucket:?}");
    }
    for row in &series.values {
        let _ = (answer::event(series, row), answer::occupant(row));
    }
}
