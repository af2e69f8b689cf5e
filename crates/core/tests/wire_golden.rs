//! Every form of payload ever sent stays readable. `golden/<metric|event>_<form>.json` is a payload; `.expected` beside it
//! is the expected result: each item as Spindle encodes it, each rejected element with index and reason. Files are added
//! here, never changed.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use spindle_core::wire::{self, Decoded};

/// Number of forms, so that none can be removed or skipped silently.
const N_FORMS: usize = 32;

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn told<T>(decoded: Decoded<T>, encode: impl Fn(&T) -> Vec<u8>) -> String {
    let mut text = String::new();
    for item in &decoded.items {
        writeln!(text, "{}", String::from_utf8(encode(item)).unwrap()).unwrap();
    }
    for rejected in &decoded.rejected {
        let (index, reason, error) = (rejected.index, rejected.error.reason(), &rejected.error);
        writeln!(text, "rejected {index} {reason}: {error}").unwrap();
    }
    text
}

#[test]
fn every_form_stays_readable() {
    let mut n_forms = 0;
    let mut differences = String::new();
    for entry in fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        n_forms += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let payload = fs::read(&path).unwrap();
        let found = match name.split_once('_').unwrap().0 {
            "metric" => {
                told(wire::decode_metrics(&payload), |metric| wire::encode_metrics(std::slice::from_ref(metric)))
            }
            "event" => told(wire::decode_events(&payload), wire::encode_event),
            other => panic!("{name}: a form of what? expected metric_… or event_…, found {other}"),
        };
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
        if found != expected {
            writeln!(differences, "== {name}.expected\n{expected}== found\n{found}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(n_forms, N_FORMS, "a form was lost, or added without raising the count");
}

/// Spindle writes what legacy programs read.
#[test]
fn the_first_systems_form_is_written_byte_for_byte() {
    for (name, encode) in [
        ("metric_first_system", (|bytes| wire::encode_metrics(&wire::decode_metrics(bytes).items)) as fn(&[u8]) -> _),
        ("event_first_system", |bytes| wire::encode_event(&wire::decode_events(bytes).items[0])),
    ] {
        let payload = fs::read(golden().join(name).with_extension("json")).unwrap();
        let written: Vec<u8> = encode(&payload);
        assert_eq!(String::from_utf8(written).unwrap(), str::from_utf8(&payload).unwrap().trim_end(), "{name}");
    }
}
