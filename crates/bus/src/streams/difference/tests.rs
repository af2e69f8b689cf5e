use serde_json::json;

use super::*;

const DAY_NS: i64 = 86_400 * 1_000_000_000;

fn wanted() -> Requirements {
    Requirements {
        subject: "events.metrics",
        max_bytes: 1 << 20,
        duplicate_window_ns: 120_000_000_000,
        min_age_ns: i64::MAX,
        max_payload: 1 << 20,
        is_trimmed: true,
    }
}

/// The answer of nats-server 2.15.1 for a stream as Spindle creates it, with `changes`.
fn config(changes: &Value) -> Map<String, Value> {
    let mut config = json!({
        "name": "METRICS", "subjects": ["events.metrics"], "retention": "limits", "max_consumers": -1, "max_msgs": -1,
        "max_bytes": 1 << 20, "max_age": 0, "max_msgs_per_subject": -1, "max_msg_size": -1, "discard": "new",
        "storage": "file", "num_replicas": 1, "duplicate_window": 120_000_000_000_i64, "compression": "none",
        "allow_direct": false, "mirror_direct": false, "sealed": false, "deny_delete": false, "deny_purge": false,
        "allow_rollup_hdrs": false, "consumer_limits": {}, "allow_msg_ttl": false,
        "metadata": {"_nats.level": "5", "_nats.req.level": "0", "_nats.ver": "2.15.1"},
    });
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    serde_json::from_value(config).unwrap()
}

fn impacts(changes: &Value, wanted: &Requirements) -> Vec<(String, Impact)> {
    let found = differences(&config(changes), wanted);
    found.into_iter().map(|difference| (difference.field, difference.impact)).collect()
}

#[test]
fn a_stream_as_spindle_creates_it_has_no_difference() {
    assert_eq!(impacts(&json!({}), &wanted()), []);
    // Fields that older servers leave out.
    let mut config = config(&json!({}));
    for field in ["compression", "consumer_limits", "allow_msg_ttl", "metadata", "sealed"] {
        config.remove(field);
    }
    assert_eq!(differences(&config, &wanted()), []);
}

#[test]
fn every_field_that_loses_messages_is_named() {
    let losing = [
        json!({"max_msgs_per_subject": 100}),
        json!({"max_msgs_per_subject": 100, "discard_new_per_subject": false}),
        json!({"no_ack": true}),
        json!({"sealed": true}),
        json!({"persist_mode": "async"}),
        json!({"persist_mode": "a mode of the future"}),
        json!({"storage": "memory"}),
        json!({"discard": "old"}),
        json!({"retention": "interest"}),
        json!({"retention": "workqueue"}),
        json!({"max_age": DAY_NS}),
        json!({"max_msg_size": 100}),
        json!({"deny_purge": true}),
        json!({"allow_rollup_hdrs": true}),
        json!({"allow_msg_counter": true}),
        json!({"mirror": {"name": "OTHER"}}),
        json!({"subjects": ["events.event"]}),
        json!({"subjects": []}),
    ];
    for changes in losing {
        let field = changes.as_object().unwrap().keys().find(|field| *field != "discard_new_per_subject").unwrap();
        assert_eq!(impacts(&changes, &wanted()), [(field.clone(), Impact::Loses)], "{changes}");
    }
    let two = json!({"discard": "old", "max_bytes": -1, "max_msgs": 9});
    let losing = impacts(&two, &wanted()).into_iter().filter(|(_, impact)| *impact == Impact::Loses);
    assert_eq!(losing.map(|(field, _)| field).collect::<Vec<_>>(), ["discard", "max_msgs"]);
}

#[test]
fn what_an_operator_may_decide_is_named_and_not_refused() {
    let weakening = [
        json!({"max_msgs": 10}),
        json!({"max_msgs_per_subject": 10, "discard_new_per_subject": true}),
        json!({"max_consumers": 2}),
        json!({"max_bytes": -1}),
        json!({"duplicate_window": 1_000_000_000}),
        json!({"consumer_limits": {"max_ack_pending": 10}}),
        json!({"sources": [{"name": "OTHER"}]}),
        json!({"allow_msg_ttl": true}),
        json!({"subject_transform": {"src": "a", "dest": "b"}}),
        json!({"deny_delete": true}),
        json!({"subjects": ["events.metrics", "their.own"]}),
        json!({"subjects": ["*.metrics"]}),
        json!({"a_field_of_the_future": 7}),
    ];
    for changes in weakening {
        let field = changes.as_object().unwrap().keys().find(|field| *field != "discard_new_per_subject").unwrap();
        assert_eq!(impacts(&changes, &wanted()), [(field.clone(), Impact::Weakens)], "{changes}");
    }
    for changes in [
        json!({"num_replicas": 3}),
        json!({"max_bytes": 1 << 30}),
        json!({"compression": "s2"}),
        json!({"placement": {"tags": ["a"]}}),
        json!({"republish": {"src": "a", "dest": "b"}}),
        json!({"first_seq": 100}),
        json!({"allow_atomic": true}),
    ] {
        let field = changes.as_object().unwrap().keys().next().unwrap();
        assert_eq!(impacts(&changes, &wanted()), [(field.clone(), Impact::Harmless)], "{changes}");
    }
    for changes in [json!({"description": "x"}), json!({"metadata": {"a": "b"}}), json!({"max_msg_size": 1 << 20})] {
        assert_eq!(impacts(&changes, &wanted()), [], "{changes}");
    }
}

#[test]
fn an_age_counts_against_what_the_store_keeps() {
    let keeps_a_day = Requirements { min_age_ns: DAY_NS, ..wanted() };
    assert_eq!(impacts(&json!({"max_age": DAY_NS}), &keeps_a_day), [("max_age".to_owned(), Impact::Harmless)]);
    let changes = json!({"max_age": DAY_NS - 1});
    assert_eq!(impacts(&changes, &keeps_a_day), [("max_age".to_owned(), Impact::Loses)]);
    let shorter = differences(&config(&json!({"max_age": DAY_NS / 2})), &keeps_a_day);
    assert_eq!(
        shorter[0].to_string(),
        "max_age is 43200 s instead of 0 s or at least 86400 s (messages expire, stored or not)"
    );
}

#[test]
fn a_wildcard_covers_what_it_matches() {
    for (wide, narrow, expected) in [
        ("a.b", "a.b", true),
        ("a.*", "a.b", true),
        ("a.>", "a.b", true),
        (">", "a.b", true),
        ("a.>", "a.>", true),
        ("a.*", "a.>", false),
        ("a", "a.b", false),
        ("a.b.c", "a.b", false),
        ("a.>", "a", false),
    ] {
        assert_eq!(covers(wide, narrow), expected, "{wide} {narrow}");
    }
}

#[test]
fn the_remedy_knows_what_cannot_be_edited() {
    let of = |changes: &Value| remedy("METRICS", &differences(&config(changes), &wanted()));
    assert_eq!(of(&json!({"max_msgs_per_subject": 1})), "correct it with `nats stream edit METRICS`");
    assert!(of(&json!({"storage": "memory", "no_ack": true})).contains("cannot change storage:"));
    assert!(of(&json!({"retention": "workqueue"})).contains("nats stream rm METRICS"));
    assert_eq!(of(&json!({"retention": "interest"})), "correct it with `nats stream edit METRICS`");
}
