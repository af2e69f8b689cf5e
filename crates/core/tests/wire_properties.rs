//! Properties of all payloads: encoded items decode to exactly the same, and every input ends in items or in rejected
//! elements with their own bytes.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use proptest::prelude::*;
use serde_json::{Value, json};
use spindle_core::wire::{
    self, Decoded, MAX_ELEMENTS, MAX_LABEL_BYTES, MAX_LABELS, MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES, WireError,
};
use spindle_core::{Criticality, DeviceMetric, DeviceName, Event, EventType, Labels, MetricType, Timestamp};
use uuid::Uuid;

const METRIC: &str =
    r#"{"timestamp":"2025-06-06T12:08:40.123456789Z","sourceDevice":"DiskUnit","metricType":"DiskTemp","value":45.75}"#;
const EVENT: &str = r#"{"id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","criticality":8,"timestamp":"2025-06-06T12:08:40.987654321Z","sourceDevice":"StorageArray","eventType":"UnauthorizedAccess","eventMessage":"…"}"#;

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_ns)
}

/// Up to 64 characters of any script, so at most the 256 bytes that a name may have.
fn name() -> impl Strategy<Value = String> {
    "\\PC{1,64}".prop_filter("a control character", |text| !text.chars().any(char::is_control))
}

fn labels() -> impl Strategy<Value = Option<Box<Labels>>> {
    let some = prop::collection::btree_map("(?s).{1,64}", "(?s).{0,64}", 1..5);
    prop::option::of(some.prop_map(Box::new))
}

prop_compose! {
    fn metric()(timestamp in timestamp(), device in name(), known in any::<bool>(), metric_type in name(),
        wide in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO, narrow in -60.0..=200.0,
        seq in prop::option::of(any::<u64>()), labels in labels()) -> DeviceMetric {
        DeviceMetric {
            timestamp,
            source_device: DeviceName::new(&device).unwrap(),
            // No name in the metric table is that long.
            metric_type: MetricType::new(if known { "DiskTemp" } else { &metric_type }).unwrap(),
            value: if known { narrow } else { wide },
            seq,
            labels,
        }
    }
}

prop_compose! {
    fn event()(id in any::<u128>(), level in 1_u64..=10, timestamp in timestamp(), device in name(), event_type in name(),
        event_message in prop::option::of("(?s).{0,300}"), seq in prop::option::of(any::<u64>()), labels in labels()) -> Event {
        Event {
            id: Uuid::from_u128(id).into(),
            criticality: Criticality::new(level).unwrap(),
            timestamp,
            source_device: DeviceName::new(&device).unwrap(),
            event_type: EventType::new(&event_type).unwrap(),
            event_message,
            seq,
            labels,
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
        Just(json!("2025-06-06T12:08:40Z")),
    ];
    let key =
        prop::sample::select(vec!["id", "criticality", "timestamp", "sourceDevice", "metricType", "value", "seq"])
            .prop_map(str::to_owned)
            .boxed()
            .prop_union(".{0,9}".boxed());
    leaf.prop_recursive(4, 60, 8, move |inner| {
        let object = prop::collection::vec((key.clone(), inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..8).prop_map(Value::from),
            object.prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Runs both decoders and checks the properties that hold for any bytes.
fn nothing_is_lost(payload: &[u8]) {
    account(payload, wire::decode_metrics(payload));
    account(payload, wire::decode_events(payload));
}

fn account<T>(payload: &[u8], decoded: Decoded<T>) {
    let (n_items, n_rejected) = (decoded.items.len(), decoded.rejected.len());
    for rejected in &decoded.rejected {
        let is_of_payload =
            rejected.bytes.is_empty() || payload.windows(rejected.bytes.len()).any(|it| it == rejected.bytes);
        assert!(is_of_payload, "bytes that nobody sent");
    }
    match serde_json::from_slice::<Value>(payload) {
        Ok(Value::Array(elements)) if elements.len() <= MAX_ELEMENTS => {
            assert_eq!(n_items + n_rejected, elements.len());
            for rejected in &decoded.rejected {
                assert_eq!(serde_json::from_slice::<Value>(&rejected.bytes).unwrap(), elements[rejected.index]);
            }
        }
        // Not JSON for `Value` (an array can still be: with a number that does not fit a float), or not an array.
        Ok(_) | Err(_) => assert!(n_items + n_rejected > 0, "neither read nor rejected"),
    }
}

fn metric_error(payload: &str) -> WireError {
    let mut decoded = wire::decode_metrics(payload.as_bytes());
    assert!(decoded.items.is_empty() && decoded.rejected.len() == 1, "{}", shown(payload));
    assert_eq!(decoded.rejected[0].bytes, payload.as_bytes());
    decoded.rejected.remove(0).error
}

fn event_error(payload: &str) -> WireError {
    let mut decoded = wire::decode_events(payload.as_bytes());
    assert!(decoded.items.is_empty() && decoded.rejected.len() == 1, "{}", shown(payload));
    assert_eq!(decoded.rejected[0].bytes, payload.as_bytes());
    decoded.rejected.remove(0).error
}

fn shown(payload: &str) -> String {
    payload.chars().take(200).collect()
}

proptest! {
    #[test]
    fn metrics_come_back_bit_for_bit(metrics in prop::collection::vec(metric(), 0..6)) {
        let decoded = wire::decode_metrics(&wire::encode_metrics(&metrics));
        prop_assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
        let bits = |metrics: &[DeviceMetric]| metrics.iter().map(|metric| metric.value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&decoded.items), bits(&metrics));
        prop_assert_eq!(decoded.items, metrics);
    }

    #[test]
    fn events_come_back(event in event()) {
        let decoded = wire::decode_events(&wire::encode_event(&event));
        prop_assert_eq!(decoded, Decoded { items: vec![event], rejected: vec![] });
    }

    #[test]
    fn any_bytes_are_accounted_for(payload in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[{\"\\\\,:\\]} a0eE.-]{0,80}") {
        nothing_is_lost(&payload);
        nothing_is_lost(text.as_bytes());
    }

    #[test]
    fn any_json_is_accounted_for(value in any_json()) {
        nothing_is_lost(value.to_string().as_bytes());
        nothing_is_lost(format!("[{value} , {value}]").as_bytes());
    }

    /// Bad elements are returned with exactly their own bytes, apart from white space around them.
    #[test]
    fn bad_elements_leave_the_good_ones(
        good in prop::collection::vec(metric(), 1..5),
        bad in prop::sample::select(vec!["7", "null", r#"{ "value" : 1 }"#, "[]", r#""\ud800""#, "[[1e999]]", "-1E+400", "\"é\""]),
        place in any::<prop::sample::Index>(),
    ) {
        let mut elements: Vec<String> =
            good.iter().map(|metric| String::from_utf8(wire::encode_metrics(std::slice::from_ref(metric))).unwrap()).collect();
        let index = place.index(elements.len() + 1);
        elements.insert(index, bad.to_owned());
        let decoded = wire::decode_metrics(format!(" [\n{} ] ", elements.join(" ,\t")).as_bytes());
        prop_assert_eq!(decoded.items, good);
        prop_assert_eq!(decoded.rejected.len(), 1);
        prop_assert_eq!((decoded.rejected[0].index, decoded.rejected[0].bytes.as_slice()), (index, bad.as_bytes()));
    }

    #[test]
    fn a_cut_payload_is_rejected_whole(metrics in prop::collection::vec(metric(), 1..4), event in event(), cut in any::<prop::sample::Index>()) {
        let (metrics, event) = (wire::encode_metrics(&metrics), wire::encode_event(&event));
        let metrics = &metrics[..cut.index(metrics.len())];
        let event = &event[..cut.index(event.len())];
        let (of_metrics, of_event) = (wire::decode_metrics(metrics), wire::decode_events(event));
        prop_assert!(of_metrics.items.is_empty() && of_event.items.is_empty());
        prop_assert_eq!((of_metrics.rejected.len(), of_event.rejected.len()), (1, 1));
        prop_assert_eq!(of_metrics.rejected[0].bytes.as_slice(), metrics);
        prop_assert_eq!(of_event.rejected[0].bytes.as_slice(), event);
        prop_assert_eq!((of_metrics.rejected[0].error.reason().as_str(), of_event.rejected[0].error.reason().as_str()), ("bad_json", "bad_json"));
    }
}

#[test]
fn the_empty_array_holds_nothing_and_is_no_fault() {
    assert_eq!(wire::decode_metrics(b" [ ] "), Decoded { items: vec![], rejected: vec![] });
    assert_eq!(wire::decode_events(b"[]"), Decoded { items: vec![], rejected: vec![] });
    assert_eq!(wire::encode_metrics(&[]), b"[]");
    assert_eq!(metric_error("").reason().as_str(), "bad_json", "the empty payload is an error");
}

/// The error names a field that is removed or gets an invalid value.
#[test]
fn every_wrong_field_is_named() {
    let long = "x".repeat(257);
    let check = |valid: &str, decode: fn(&str) -> WireError, field: &'static str, wrong: Option<Value>| {
        let mut object: Value = serde_json::from_str(valid).unwrap();
        match &wrong {
            None => drop(object.as_object_mut().unwrap().remove(field)),
            Some(wrong) => object[field] = wrong.clone(),
        }
        let error = decode(&object.to_string());
        match &error {
            WireError::Missing(named) => assert!(*named == field && wrong.is_none(), "{field} {wrong:?}: {error}"),
            WireError::Field { field: named, .. } => {
                assert!(*named == field && wrong.is_some(), "{field} {wrong:?}: {error}");
            }
            _ => panic!("{field} {wrong:?}: {error}"),
        }
    };
    let no_text = [json!(null), json!(true), json!(7), json!([]), json!({}), json!("")];
    let no_name = [json!(long), json!("a\nb"), json!("\u{7f}")];
    let no_time =
        [json!("yesterday"), json!("2025-06-06"), json!("2999-01-01T00:00:00Z"), json!("1677-09-21T00:12:43Z")];
    let no_value = [
        json!(null),
        json!(true),
        json!("45 °C"),
        json!("NaN"),
        json!(""),
        json!([45]),
        json!({}),
        json!(-61),
        json!(200.1),
        json!(1e308),
    ];
    let no_level = [
        json!(null),
        json!("8,0"),
        json!("high"),
        json!(8.5),
        json!("8.5"),
        json!(0),
        json!(11),
        json!(-1),
        json!(u64::MAX),
    ];
    let no_id = [json!(null), json!(true), json!(7.5), json!([]), json!({}), json!(""), json!("x".repeat(129))];
    let no_seq = [json!(""), json!("-1"), json!("one"), json!(-1), json!(1.5), json!(2e19), json!([]), json!(true)];
    let too_many: Labels = (0..=MAX_LABELS).map(|number| (number.to_string(), String::new())).collect();
    let no_labels = [json!([]), json!("a=b"), json!({"a": 1}), json!({"a": null}), json!({"": "b"}), json!(too_many)];
    let no_message = [json!(7), json!([]), json!({}), json!(true), json!("x".repeat(MAX_MESSAGE_BYTES + 1))];

    let metric: [(&'static str, Vec<&[Value]>); 4] = [
        ("timestamp", vec![&no_text, &no_time]),
        ("sourceDevice", vec![&no_text, &no_name]),
        ("metricType", vec![&no_text, &no_name]),
        ("value", vec![&no_value]),
    ];
    let event: [(&'static str, Vec<&[Value]>); 5] = [
        ("id", vec![&no_id]),
        ("criticality", vec![&no_level]),
        ("timestamp", vec![&no_text, &no_time]),
        ("sourceDevice", vec![&no_text, &no_name]),
        ("eventType", vec![&no_text, &no_name]),
    ];
    for (valid, decode, fields) in
        [(METRIC, metric_error as fn(&str) -> WireError, &metric[..]), (EVENT, event_error, &event[..])]
    {
        for (field, wrongs) in fields {
            check(valid, decode, field, None);
            wrongs
                .iter()
                .flat_map(|wrongs| wrongs.iter())
                .for_each(|wrong| check(valid, decode, field, Some(wrong.clone())));
        }
        no_seq.iter().for_each(|wrong| check(valid, decode, "seq", Some(wrong.clone())));
        no_labels.iter().for_each(|wrong| check(valid, decode, "labels", Some(wrong.clone())));
    }
    no_message.iter().for_each(|wrong| check(EVENT, event_error, "eventMessage", Some(wrong.clone())));
}

#[test]
fn errors_say_what_is_wrong_in_words() {
    let metric = |from: &str, to: &str| metric_error(&METRIC.replace(from, to)).to_string();
    assert_eq!(metric("45.75", "1e400"), "field 'value' is 1e400: expected a finite number");
    assert_eq!(metric("45.75", "4000"), "field 'value' is 4000 °C, outside -60 to 200 for DiskTemp");
    assert_eq!(metric("DiskUnit", ""), "field 'sourceDevice' is empty");
    assert_eq!(metric("\"DiskUnit\"", "[1]"), "field 'sourceDevice' is [1]: expected a string");
    assert_eq!(metric_error("\"x\"").to_string(), "expected a JSON object or an array of them, found a string");
    assert_eq!(
        event_error(&EVENT.replace(":8,", ":11,")).to_string(),
        "field 'criticality' is 11: expected an integer from 1 to 10"
    );
}

/// At the limit accepted, one beyond rejected.
#[test]
fn limits_hold_exactly() {
    let padded = |size: usize| format!("{}{METRIC}", " ".repeat(size - METRIC.len()));
    assert_eq!(wire::decode_metrics(padded(MAX_PAYLOAD_BYTES).as_bytes()).items.len(), 1);
    assert_eq!(
        metric_error(&padded(MAX_PAYLOAD_BYTES + 1)).to_string(),
        "payload of 8388609 bytes is larger than 8388608"
    );

    let array = |n_elements: usize| format!("[{}7]", "7,".repeat(n_elements - 1));
    assert_eq!(wire::decode_metrics(array(MAX_ELEMENTS).as_bytes()).rejected.len(), MAX_ELEMENTS);
    assert_eq!(metric_error(&array(MAX_ELEMENTS + 1)).to_string(), "array of 20001 elements is longer than 20000");

    let with = |field: &str, value: Value| {
        let mut object: Value = serde_json::from_str(EVENT).unwrap();
        object[field] = value;
        object.to_string()
    };
    let check = |field: &str, at: Value, beyond: Value, words: &str| {
        let accepted = wire::decode_events(with(field, at).as_bytes());
        assert_eq!(accepted.items.len(), 1, "{field}: {:?}", accepted.rejected.first().map(|it| it.error.to_string()));
        let error = event_error(&with(field, beyond)).to_string();
        assert!(error.starts_with(words), "{error}");
    };
    let labels = |n_labels: usize| json!((0..n_labels).map(|n| (n.to_string(), "x".to_owned())).collect::<Labels>());
    let text = |n_bytes: usize| "x".repeat(n_bytes);
    check("labels", labels(MAX_LABELS), labels(MAX_LABELS + 1), "field 'labels' has 33 entries, more than 32");
    let over_long = "field 'labels' has an empty or over-long (more than 256 bytes) entry 'x";
    check("labels", json!({text(MAX_LABEL_BYTES): ""}), json!({text(MAX_LABEL_BYTES + 1): ""}), over_long);
    check("labels", json!({"x": text(MAX_LABEL_BYTES)}), json!({"x": text(MAX_LABEL_BYTES + 1)}), over_long);
    let (at, beyond) = (json!(text(MAX_MESSAGE_BYTES)), json!(text(MAX_MESSAGE_BYTES + 1)));
    check("eventMessage", at, beyond, "field 'eventMessage' is 16385 bytes long, more than 16384");
    check("sourceDevice", json!(text(256)), json!(text(257)), "field 'sourceDevice' is 257 bytes long, more than 256");
    check("eventType", json!("ü".repeat(128)), json!("ü".repeat(129)), "field 'eventType' is 258 bytes long");
}

/// Any depth of nesting is an error, never a stack overflow.
#[test]
fn deep_nesting_is_an_error() {
    for depth in [129, 1_000, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_eq!(metric_error(&open).reason().as_str(), "bad_json");
        for whole in [format!("{open}{close}"), objects.clone()] {
            assert_eq!(wire::decode_metrics(whole.as_bytes()).rejected.len(), 1);
            assert_eq!(wire::decode_events(whole.as_bytes()).rejected.len(), 1);
        }
        for nested in [format!("{open}{close}"), objects] {
            let hidden = |valid: &str| format!("{},\"unknown\":{nested}}}", valid.trim_end_matches('}'));
            let message = "invalid JSON: nested deeper than 128 levels";
            assert_eq!(metric_error(&hidden(METRIC)).to_string(), message);
            assert_eq!(event_error(&hidden(EVENT)).to_string(), message);
            let beside = wire::decode_metrics(format!("[{METRIC},{}]", hidden(METRIC)).as_bytes());
            assert_eq!((beside.items.len(), beside.rejected.len()), (1, 1));
        }
    }
    let allowed = format!("{},\"unknown\":{}{}}}", METRIC.trim_end_matches('}'), "[".repeat(127), "]".repeat(127));
    assert_eq!(wire::decode_metrics(allowed.as_bytes()).items.len(), 1);
}

/// White space outside the JSON standard makes a payload invalid JSON, not a number as its first character may suggest.
#[test]
fn other_blanks_are_no_json() {
    for blank in ['\u{a0}', '\u{2003}', '\u{b}', '\u{c}', '\u{fffe}'] {
        assert_eq!(metric_error(&format!("{blank}{METRIC}")).reason().as_str(), "bad_json", "{blank:?}");
        assert_eq!(event_error(&format!("{blank}[{EVENT}]")).reason().as_str(), "bad_json", "{blank:?}");
    }
}

/// An array with the fields in order is not a metric, though derived deserializers accept it.
#[test]
fn an_array_of_fields_is_no_metric() {
    let array = r#"["2025-06-06T12:08:40Z","DiskUnit","DiskTemp",45.75,null,null]"#;
    let decoded = wire::decode_metrics(format!("[{array},{METRIC}]").as_bytes());
    assert_eq!((decoded.items.len(), decoded.rejected.len()), (1, 1));
    assert_eq!(decoded.rejected[0].error, WireError::Shape("an array"));
}

/// The last of two equal keys counts: with the first one invalid, both valid, and the second one invalid.
#[test]
fn the_last_of_two_equal_keys_counts() {
    for (first, last) in [("1", "2"), ("\"x\"", "2"), ("null", "2"), ("4000", "2")] {
        let twice = METRIC.replace("45.75", &format!("{first},\"value\":{last}"));
        assert_eq!(wire::decode_metrics(twice.as_bytes()).items[0].value, 2.0, "{first}");
    }
    assert_eq!(metric_error(&METRIC.replace("45.75", "2,\"value\":\"x\"")).reason().as_str(), "bad_field");
    let twice = EVENT.replace(":8,", ":\"x\",\"criticality\":3,");
    assert_eq!(wire::decode_events(twice.as_bytes()).items[0].criticality.level(), 3);
    let unknown = METRIC.replace("45.75", "45.75,\"a\":1,\"a\":[2]");
    assert_eq!(wire::decode_metrics(unknown.as_bytes()).items.len(), 1);
}
