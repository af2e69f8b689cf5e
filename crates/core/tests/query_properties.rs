//! Properties of all queries: no bytes cause a panic, each type parses with its required parameters alone, and each
//! parameter of each type keeps to its range in the table.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use spindle_core::Timestamp;
use spindle_core::query::{MAX_QUERY_BYTES, Param, ParamKind, QUERY_TYPES, Query, QueryError, QueryType};

const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

fn parse(query_type: &QueryType, params: &Map<String, Value>) -> Result<Query, QueryError> {
    Query::from_json(json!({ "query_type": query_type.name, "params": params }).to_string().as_bytes(), NOW)
}

/// Required parameters, each with a valid value.
fn required(query_type: &QueryType) -> Map<String, Value> {
    let required = query_type.params.iter().filter(|param| param.default.is_none());
    required.map(|param| (param.name.to_owned(), json!("DiskTemp"))).collect()
}

fn with(query_type: &QueryType, param: &Param, value: Value) -> Map<String, Value> {
    let mut params = required(query_type);
    params.insert(param.name.to_owned(), value);
    // The shortest buckets need a short window.
    if ["series", "fleet_series", "pipeline"].contains(&query_type.name) && param.name == "bucket_seconds" {
        params.insert("from".to_owned(), json!("2025-06-06T12:00:00Z"));
        params.insert("until".to_owned(), json!("2025-06-06T12:00:01Z"));
    }
    params
}

/// Valid values of a kind of parameter, up to its limits; and invalid ones, beyond them and of other types.
fn examples(kind: ParamKind) -> (Vec<Value>, Vec<Value>) {
    let no_text = vec![json!(true), json!(7), json!([]), json!({}), json!("")];
    match kind {
        ParamKind::Integer(min, max) => (
            vec![json!(min), json!(max)],
            vec![
                json!(min - 1),
                json!(max + 1),
                json!(min as f64 + 0.5),
                json!(min.to_string()),
                json!(u64::MAX),
                json!(i64::MIN),
                json!(true),
                json!([min]),
            ],
        ),
        ParamKind::Number(min, max) => (
            vec![json!(min), json!(max)],
            vec![
                json!(min.next_down()),
                json!(max.next_up()),
                json!(-min),
                json!(min.to_string()),
                json!(true),
                json!([]),
            ],
        ),
        ParamKind::Name => {
            (vec![json!("x"), json!("ü".repeat(128))], [no_text, vec![json!("x".repeat(257)), json!("a\nb")]].concat())
        }
        ParamKind::Place => (
            vec![json!("critical:39:x"), json!("unknown::vm1:sda")],
            [no_text, vec![json!("x"), json!("ill:1:x"), json!("ok:101:x"), json!("ok:1:")]].concat(),
        ),
        ParamKind::Time => (
            vec![json!("2025-06-01T12:08:40.123456789+02:00")],
            [no_text, vec![json!("now"), json!("2025-06-01"), json!("2999-01-01T00:00:00Z")]].concat(),
        ),
        ParamKind::Names(most) => {
            let names = |n: usize| json!((0..n).map(|index| format!("m{index}")).collect::<Vec<_>>().join(","));
            (
                vec![json!("x"), json!("a, b,a"), names(most)],
                [no_text, vec![json!(","), names(most + 1), json!("x".repeat(257))]].concat(),
            )
        }
        ParamKind::Choice(words) => {
            (words.iter().map(|word| json!(word)).collect(), [no_text, vec![json!("other"), json!("ANY")]].concat())
        }
    }
}

#[test]
fn every_type_is_understood_with_its_required_parameters_alone() {
    assert_eq!(QUERY_TYPES.len(), 15, "check these tests when a type is added");
    for query_type in QUERY_TYPES {
        let params = required(query_type);
        assert_eq!(parse(query_type, &params).unwrap().query_type(), query_type.name);
        for name in params.keys() {
            let mut without = params.clone();
            without.remove(name);
            let error = parse(query_type, &without).unwrap_err();
            assert!(matches!(&error, QueryError::MissingParam { param, .. } if param == name), "{error}");
        }
        if params.is_empty() {
            let bare = json!({ "query_type": query_type.name }).to_string();
            assert!(Query::from_json(bare.as_bytes(), NOW).is_ok(), "{bare}");
        }
    }
}

#[test]
fn every_parameter_keeps_to_its_range() {
    for query_type in QUERY_TYPES {
        for param in query_type.params {
            let (right, wrong) = examples(param.kind);
            for value in right {
                let parsed = parse(query_type, &with(query_type, param, value.clone()));
                assert!(parsed.is_ok(), "{} {} {value}: {parsed:?}", query_type.name, param.name);
            }
            for value in wrong {
                let error = parse(query_type, &with(query_type, param, value.clone())).unwrap_err();
                let is_named = matches!(&error, QueryError::BadParam { param: named, .. } if *named == param.name);
                assert!(is_named, "{} {} {value}: {error}", query_type.name, param.name);
            }
            let null = parse(query_type, &with(query_type, param, Value::Null));
            assert_eq!(null.is_ok(), param.default.is_some(), "null counts as absent: {null:?}");
        }
    }
}

#[test]
fn a_question_is_short_and_flat() {
    let question = r#"{"query_type":"devices"}"#;
    let padded = |size: usize| question.to_owned() + &" ".repeat(size - question.len());
    assert!(Query::from_json(padded(MAX_QUERY_BYTES).as_bytes(), NOW).is_ok());
    assert_eq!(
        Query::from_json(padded(MAX_QUERY_BYTES + 1).as_bytes(), NOW).unwrap_err().to_string(),
        "query of 65537 bytes is larger than 65536"
    );
    for deep in ["[".repeat(60_000), format!("{{\"query_type\":\"devices\",\"x\":{}", "[".repeat(60_000))] {
        assert!(matches!(Query::from_json(deep.as_bytes(), NOW), Err(QueryError::Json(_))));
    }
}

/// Windows at the ends of time do not overflow.
#[test]
fn windows_at_the_ends_of_time() {
    for now in [i64::MIN, i64::MIN + 1, 0, i64::MAX].map(Timestamp::from_ns) {
        for query_type in QUERY_TYPES {
            for time in ["1677-09-21T00:12:43.145224192Z", "2262-04-11T23:47:16.854775807Z"] {
                for param in query_type.params.iter().filter(|param| matches!(param.kind, ParamKind::Time)) {
                    let params = with(query_type, param, json!(time));
                    let body = json!({ "query_type": query_type.name, "params": params }).to_string();
                    let _ = Query::from_json(body.as_bytes(), now);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_question_or_an_error(payload in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[{\"\\\\,:\\]} a0]{0,60}") {
        let _ = Query::from_json(&payload, NOW);
        let _ = Query::from_json(text.as_bytes(), NOW);
    }

    /// Any text gives a payload that parses, or an error; never a payload that does not parse.
    #[test]
    fn any_words_are_a_body_that_parses(
        query_type in 0..QUERY_TYPES.len(),
        words in prop::collection::vec((any::<prop::sample::Index>(), "[0-9.eE+-]{0,9}|2025-0[1-9]-01T00:00:00Z|.{0,9}"), 0..4),
        now in any::<i64>(),
    ) {
        let query_type = &QUERY_TYPES[query_type];
        let words: Vec<_> = words
            .into_iter()
            .map(|(index, word)| (query_type.params[index.index(query_type.params.len())].name.to_owned(), word))
            .collect();
        let now = Timestamp::from_ns(now);
        if let Ok(body) = Query::body_from_words(query_type.name, &words, now) {
            prop_assert_eq!(Query::from_json(&body, now).unwrap().query_type(), query_type.name);
        }
    }
}
