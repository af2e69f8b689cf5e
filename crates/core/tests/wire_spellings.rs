//! Other programs' spellings: taken where their meaning is certain, otherwise rejected alone and with the reason.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use spindle_core::recording::{Format, Record};
use spindle_core::wire::{self, Decoded};
use spindle_core::{DeviceMetric, Event};

const METRIC: &str =
    r#"{"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"d","metricType":"Any","value":45.75,"seq":15}"#;
const EVENT: &str = r#"{"id":"7","criticality":8,"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"d","eventType":"Note","eventMessage":"m","seq":15}"#;

/// Words that programs write where JSON has none.
const WORDS: [&str; 14] =
    ["NaN", "Infinity", "-Infinity", "nan", "-nan", "inf", "NA", "None", "undefined", "True", ".5", "5.", "+5", "0x1F"];

fn metric(text: &str) -> DeviceMetric {
    let mut decoded = wire::decode_metrics(text.as_bytes());
    assert!(decoded.rejected.is_empty(), "{text}: {:?}", decoded.rejected[0].error.to_string());
    decoded.items.pop().unwrap()
}

fn event(text: &str) -> Event {
    let mut decoded = wire::decode_events(text.as_bytes());
    assert!(decoded.rejected.is_empty(), "{text}: {:?}", decoded.rejected[0].error.to_string());
    decoded.items.pop().unwrap()
}

fn reason<T>(decoded: Decoded<T>) -> String {
    assert!(decoded.items.is_empty() && decoded.rejected.len() == 1);
    decoded.rejected[0].error.to_string()
}

#[test]
fn a_word_that_is_not_json_costs_only_its_element() {
    for word in WORDS {
        let bad = METRIC.replace("45.75", word);
        let elements = [METRIC; 499].map(str::to_owned);
        let payload = format!("[{}, {bad} ,{}]", elements[..250].join(","), elements[250..].join(",\n"));
        let decoded = wire::decode_metrics(payload.as_bytes());
        assert_eq!((decoded.items.len(), decoded.rejected.len()), (499, 1), "{word}");
        assert_eq!(decoded.rejected[0].index, 250);
        assert_eq!(decoded.rejected[0].bytes, bad.as_bytes(), "as they came");
        let expected = format!("field 'value' is {word}: expected a finite number");
        assert_eq!(decoded.rejected[0].error.to_string(), expected);
        assert_eq!(reason(wire::decode_metrics(&decoded.rejected[0].bytes)), expected, "a replay says the same");
        assert_eq!(wire::elements(payload.as_bytes())[250], bad);
        assert_eq!(wire::decode_metrics(format!("[{METRIC},{word}]").as_bytes()).items.len(), 1, "{word}");
    }
}

#[test]
fn every_field_names_the_word_that_it_cannot_take() {
    let check = |field: &str, value: &str| {
        let text = EVENT.replace(&format!("\"{field}\":{value}"), &format!("\"{field}\":NaN"));
        let error = reason(wire::decode_events(text.as_bytes()));
        assert!(error.starts_with(&format!("field '{field}' is NaN: expected")), "{error}");
    };
    for (field, value) in
        [("id", "\"7\""), ("criticality", "8"), ("sourceDevice", "\"d\""), ("eventMessage", "\"m\""), ("seq", "15")]
    {
        check(field, value);
    }
    let labels = METRIC.replace("\"seq\":15", "\"labels\":{\"a\":NaN}");
    let error = reason(wire::decode_metrics(labels.as_bytes()));
    assert_eq!(error, "field 'labels' is {\"a\":NaN}: expected an object of strings");
    // Fields without a meaning may hold anything.
    assert_eq!(metric(&METRIC.replace('{', "{\"other\":[NaN,{\"x\":-Infinity}],")), metric(METRIC));
    assert_eq!(event(&EVENT.replace('{', "{\"other\":NaN,")), event(EVENT));
}

/// What has no certain structure stays whole, with the reason.
#[test]
fn a_payload_without_certain_structure_is_rejected_whole() {
    let payloads = [
        format!("[{METRIC},]"),
        format!("[{METRIC},,{METRIC}]"),
        format!("[{METRIC} {METRIC}]"),
        format!("[{METRIC},NaN"),
        format!("[{METRIC},NaN {METRIC}]"),
        format!("[{METRIC},NaN:1]"),
        format!("[{METRIC},{}]", METRIC.replace("\"d\"", "\"d")),
        format!("[{METRIC},{}]", METRIC.replace("\"d\"", "'d'").replace("\"value\"", "value")),
        format!("[{METRIC}]NaN"),
        format!("{METRIC}{METRIC}"),
    ];
    for payload in payloads {
        let decoded = wire::decode_metrics(payload.as_bytes());
        assert!(decoded.items.is_empty() && decoded.rejected.len() == 1, "{payload}");
        assert_eq!(decoded.rejected[0].bytes, payload.as_bytes());
        assert_eq!(decoded.rejected[0].error.reason().as_str(), "bad_json", "{payload}");
    }
    let comma = reason(wire::decode_metrics(format!("[{METRIC},]").as_bytes()));
    assert!(comma.contains("trailing comma"), "{comma}");
}

#[test]
fn whole_numbers_are_taken_in_every_spelling() {
    for spelling in ["15", "15.0", "\"15\"", "\"15.0\"", "1.5e1", "\"1.5e1\"", "150E-1"] {
        let seq = format!("\"seq\":{spelling}");
        assert_eq!(metric(&METRIC.replace("\"seq\":15", &seq)).seq, Some(15), "{spelling}");
        assert_eq!(event(&EVENT.replace("\"seq\":15", &seq)).seq, Some(15), "{spelling}");
    }
    for spelling in ["8", "8.0", "\"8\"", "\"8.0\"", "0.8e1"] {
        let level = format!("\"criticality\":{spelling}");
        assert_eq!(event(&EVENT.replace("\"criticality\":8", &level)).criticality.level(), 8, "{spelling}");
    }
    for spelling in ["8.5", "\"8.5\"", "\"high\"", "\"\"", "11.0", "\"0\"", "true", "[8]", "\" 8\""] {
        let level = format!("\"criticality\":{spelling}");
        let error = reason(wire::decode_events(EVENT.replace("\"criticality\":8", &level).as_bytes()));
        assert_eq!(error, format!("field 'criticality' is {spelling}: expected an integer from 1 to 10"));
    }
    let largest = METRIC.replace("\"seq\":15", "\"seq\":\"18446744073709551615.0\"");
    assert_eq!(metric(&largest).seq, Some(u64::MAX), "without rounding");
}

#[test]
fn numeric_strings_are_values() {
    for spelling in ["45.75", "\"45.75\"", "\"4575e-2\"", "4.575e1"] {
        assert_eq!(metric(&METRIC.replace("45.75", spelling)).value, 45.75, "{spelling}");
    }
    for spelling in [
        "\"\"",
        "\"NaN\"",
        "\"Infinity\"",
        "\"1e400\"",
        "\"45,75\"",
        "\"45.75 GB\"",
        "\"0x2d\"",
        "true",
        "null",
        "[45]",
    ] {
        let error = reason(wire::decode_metrics(METRIC.replace("45.75", spelling).as_bytes()));
        assert_eq!(error, format!("field 'value' is {spelling}: expected a finite number"));
    }
    let hot = METRIC.replace("\"Any\"", "\"DiskTemp\"").replace("45.75", "\"4000\"");
    assert!(reason(wire::decode_metrics(hot.as_bytes())).contains("outside -60 to 200"));
}

/// As Go's `encoding/json` reads them.
#[test]
fn field_names_are_taken_in_any_case() {
    let other = |text: &str, change: fn(&str) -> String| {
        let fields = [
            "timestamp",
            "sourceDevice",
            "metricType",
            "value",
            "seq",
            "id",
            "criticality",
            "eventType",
            "eventMessage",
        ];
        fields.iter().fold(text.to_owned(), |text, field| {
            text.replace(&format!("\"{field}\":"), &format!("\"{}\":", change(field)))
        })
    };
    let capitalized = |field: &str| format!("{}{}", field[..1].to_uppercase(), &field[1..]);
    for change in [str::to_uppercase as fn(&str) -> String, str::to_lowercase, capitalized] {
        assert_eq!(metric(&other(METRIC, change)), metric(METRIC));
        assert_eq!(event(&other(EVENT, change)), event(EVENT));
    }
    assert_eq!(metric(&METRIC.replace("\"seq\"", "\"Seq\"")), metric(METRIC), "an optional field alone");
    let with = |fields: &str| METRIC.replace("\"value\":45.75", fields);
    assert_eq!(metric(&with("\"Value\":1,\"value\":45.75,\"VALUE\":2")).value, 45.75, "the exact name wins");
    assert_eq!(metric(&with("\"Value\":45.75,\"VALUE\":45.75")).value, 45.75);
    let differ = reason(wire::decode_metrics(with("\"Value\":1,\"VALUE\":2").as_bytes()));
    assert_eq!(differ, "field 'value' is there as 'VALUE' and as 'Value', which differ");
    assert_eq!(metric(&with("\"value\":1,\"value\":45.75")).value, 45.75, "of a duplicate key the last counts");
}

#[test]
fn null_is_absent_and_a_mark_is_no_content() {
    for field in ["\"seq\":15", "\"eventMessage\":\"m\""] {
        let (name, _) = field.split_once(':').unwrap();
        let absent = event(&EVENT.replace(&format!(",{field}"), ""));
        assert_eq!(event(&EVENT.replace(field, &format!("{name}:null"))), absent);
        assert_eq!(event(&EVENT.replace(field, &format!("{}:null", name.to_uppercase()))), absent);
    }
    assert_eq!(metric(&format!("\u{feff}{METRIC}")), metric(METRIC));
    assert_eq!(wire::decode_metrics(format!("\u{feff} [{METRIC},{METRIC}]").as_bytes()).items.len(), 2);
    let bad = "\u{feff}{}".to_owned();
    assert_eq!(wire::decode_metrics(bad.as_bytes()).rejected[0].bytes, bad.as_bytes(), "as they came");
}

#[test]
fn times_are_taken_with_any_offset_and_never_without_one() {
    let at = |time: &str| METRIC.replace("2025-06-06T12:08:40Z", time);
    for time in [
        "2025-06-06T12:08:40.000Z",
        "2025-06-06t12:08:40z",
        "2025-06-06T14:08:40+02:00",
        "2025-06-06 12:08:40Z",
        "2025-06-06 12:08:40.000000+00:00",
    ] {
        assert_eq!(metric(&at(time)), metric(METRIC), "{time}");
    }
    for time in
        ["2025-06-06T12:08:40", "2025-06-06 12:08:40", "06/06/2025 12:08:40", "1749211720", "2025-06-06T12:08:40 UTC"]
    {
        assert!(reason(wire::decode_metrics(at(time).as_bytes())).contains("is not an RFC 3339 time"), "{time}");
    }
}

/// The lines of a recording are read alike.
#[test]
fn recordings_are_read_alike() {
    let line = format!(
        "[{},{},{}]",
        METRIC.replace("\"metricType\"", "\"MetricType\""),
        EVENT.replace("\"eventType\"", "\"EVENTTYPE\"").replace('{', "{\"other\":NaN,"),
        METRIC.replace("45.75", "NaN")
    );
    let mut records = Vec::new();
    Format::Ndjson.read(line.as_bytes(), &mut |record| records.push(record));
    assert!(matches!(records[..], [Ok(Record::Metric(_)), Ok(Record::Event(_)), Err(_)]), "{records:?}");
    assert_eq!(records[2].as_ref().unwrap_err().reason, "field 'value' is NaN: expected a finite number");
}
