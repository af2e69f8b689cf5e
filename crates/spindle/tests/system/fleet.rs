//! A whole fleet through the pipeline: its health, incidents with their causes, history of verdicts and anomalies, over
//! NATS, HTTP and the command line.

use serde_json::{Value, json};

use crate::answers::Requester;
use crate::harness::{NO_SOURCES, System, spindle};
use crate::judgement::{event, stamp};

const HOUR: i64 = 3_600;

fn value(device: &str, metric: &str, value: f64, offset_s: i64, enclosure: &str) -> Value {
    let labels = json!({ "enclosure": enclosure, "bay": &device[1..], "host": "nas" });
    json!({ "timestamp": stamp(offset_s), "sourceDevice": device, "metricType": metric, "value": value, "labels": labels })
}

fn labelled(device: &str, event_type: &str, criticality: u64, offset_s: i64, labels: Value) -> Value {
    let mut event = event(device, event_type, criticality, offset_s);
    event["labels"] = labels;
    event
}

/// Two shelves: in one, two drives are slow together and one has failed after it was predicted; in the other all is well
/// but for a drive in standby.
async fn publish(requester: &Requester) {
    let mut values = Vec::new();
    for device in ["a1", "a2", "a3", "a4", "b1"] {
        values.push(value(device, "DiskTemp", 40.0, -30, &device[..1]));
    }
    values.push(value("a4", "smart_5_raw", 57.0, -24 * HOUR - 60, "a"));
    values.push(value("a4", "smart_5_raw", 60.0, -30, "a"));
    values.push(value("b2", "smart_standby", 1.0, -30, "b"));
    requester.publish("events.metrics", json!(values).to_string()).await;
    let slow = json!({ "metric": "Latency", "value": "41.2", "expected": "20.5" });
    let note =
        json!({ "metric": "Latency", "value": "41.2", "expected_low": "3.1", "expected_high": "5.9", "score": "0.97" });
    let verdict =
        json!({ "from": "ok", "to": "warning", "since": stamp(-5 * HOUR), "score": "75", "why": "smart_5_raw" });
    let events = json!([
        labelled("a1", "DeviceSlow", 7, -3 * HOUR, slow.clone()),
        labelled("a2", "DeviceSlow", 7, -3 * HOUR + 300, slow),
        labelled("a3", "FailurePredicted", 8, -20 * HOUR, json!({ "advice": "Replace a3.", "expected": "0" })),
        event("a3", "DriveFailure", 10, -2 * HOUR),
        event("b1", "DriveFailure", 9, -6 * HOUR),
        event("b1", "DriveReplaced", 2, -5 * HOUR),
        labelled("a4", "MetricAnomaly", 4, -600, note),
        labelled("a4", "HealthChanged", 3, -5 * HOUR, verdict.clone()),
        labelled("a4", "HealthChanged", 3, -60, verdict),
    ]);
    requester.publish("events.event", events.to_string()).await;
    let all = |answer: &Value| answer["data"].as_array().is_some_and(|rows| rows.len() == 9);
    requester.wait_for(json!({"query_type":"events","params":{"since_minutes":2000}}), all).await;
    let all = |answer: &Value| answer["data"].as_array().is_some_and(|rows| rows.len() == 6);
    requester.wait_for(json!({"query_type":"devices"}), all).await;
}

async fn ask(requester: &Requester, query_type: &str, params: Value) -> Value {
    let answer = requester.query(json!({ "query_type": query_type, "params": params }).to_string()).await;
    assert_eq!(answer["status"], "success", "{answer:#}");
    answer
}

fn column(answer: &Value, name: &str) -> Vec<Value> {
    answer["data"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_judged_and_its_incidents_are_told_by_their_causes() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    publish(&requester).await;

    let fleet = ask(&requester, "fleet_health", json!({})).await;
    assert_eq!(column(&fleet, "source_device"), ["a3", "a1", "a2", "a4", "b2"], "{fleet:#}");
    assert_eq!(fleet["summary"]["counts"], json!({ "ok": 1, "unknown": 1, "warning": 3, "critical": 1 }));
    assert_eq!((&fleet["summary"]["n_asleep"], &fleet["data"][4]["asleep"]), (&json!(1), &json!(true)));
    let worst = &fleet["summary"]["groups"][0];
    assert_eq!((&worst["group"], &worst["critical"], &worst["warning"]), (&json!("a"), &json!(1), &json!(3)));
    let worn = &fleet["data"][3];
    assert_eq!(
        (&worn["reason"]["trend"], &worn["labels"]["bay"]),
        (&json!("rose by 3 in 24 h"), &json!("4")),
        "{worn:#}"
    );
    assert!(worn["since"].as_str().unwrap() < stamp(-4 * HOUR).as_str(), "{worn:#}");
    let first = ask(&requester, "fleet_health", json!({ "limit": 2 })).await;
    let second = ask(&requester, "fleet_health", json!({ "limit": 2, "after": first["next"]["after"] })).await;
    assert_eq!(column(&second, "source_device"), ["a2", "a4"]);
    let alone = ask(&requester, "device_health", json!({ "source_device": "a4" })).await;
    assert_eq!((&alone["data"]["reasons"][0], &alone["data"]["since"]), (&worn["reason"], &worn["since"]));
    assert_eq!(alone["data"]["reasons"][1]["expected"], "3.1 to 5.9", "the note: {alone:#}");

    let incidents = ask(&requester, "incidents", json!({})).await;
    assert_eq!(column(&incidents, "cause"), ["DriveFailure", "DeviceSlow", "DriveFailure"], "{incidents:#}");
    assert_eq!(column(&incidents, "state"), ["open", "open", "closed"]);
    assert_eq!(column(&incidents, "devices"), [json!(["a3"]), json!(["a1", "a2"]), json!(["b1"])]);
    assert_eq!(incidents["data"][1]["place"], json!({ "enclosure": "a", "host": "nas" }));
    assert_eq!(incidents["data"][0]["n_reasons"], 2, "failure after its prediction");
    let of_device = ask(&requester, "incidents", json!({ "source_device": "nas:a", "state": "open" })).await;
    assert_eq!(of_device["data"], json!([]));
    let of_device = ask(&requester, "incidents", json!({ "source_device": "a2", "min_criticality": 7 })).await;
    assert_eq!(column(&of_device, "id"), [incidents["data"][1]["id"].clone()]);

    let history = ask(&requester, "health_history", json!({ "source_device": "a4", "since_minutes": 600 })).await;
    assert_eq!(column(&history, "health"), ["unknown", "warning"], "{history:#}");
    assert_eq!(column(&history, "why"), ["no verdict on record", "smart_5_raw"]);
    let anomalies = ask(&requester, "anomalies", json!({ "metric_type": "Latency" })).await;
    assert_eq!((column(&anomalies, "value"), column(&anomalies, "score")), (vec![json!(41.2)], vec![json!(0.97)]));
    assert_eq!(ask(&requester, "anomalies", json!({ "metric_type": "DiskTemp" })).await["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_stays_and_what_is_accepted_leaves() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    publish(&requester).await;
    let run = |arguments: &[&str]| {
        let output = spindle(&system.data_dir()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    };
    run(&["acknowledge", "a2", "--reason", "cable ordered"]);
    run(&["accept", "a3", "DriveFailure", "--reason", "spare"]);
    run(&["accept", "a3", "FailurePredicted", "--reason", "spare"]);
    let is_decided = |answer: &Value| answer["summary"]["n_acknowledged"] == 1 && answer["summary"]["n_open"] == 0;
    let decided = requester.wait_for(json!({ "query_type": "incidents" }), is_decided).await;
    assert_eq!(column(&decided, "state"), ["acknowledged", "closed"], "{decided:#}");
    assert_eq!(decided["data"][0]["acknowledged"]["reason"], "cable ordered");
    let fleet = ask(&requester, "fleet_health", json!({})).await;
    assert_eq!((&fleet["summary"]["counts"]["critical"], &fleet["summary"]["n_acknowledged"]), (&json!(0), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_answers_come_over_http_endpoints_and_as_tables_of_80_columns() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    publish(&requester).await;
    let client = system.nats().await;
    for (query_type, params) in [
        ("fleet_health", json!({})),
        ("incidents", json!({})),
        ("health_history", json!({ "source_device": "a4" })),
        ("anomalies", json!({})),
    ] {
        let whole = ask(&requester, query_type, params.clone()).await;
        let subject = format!("reader.query.{query_type}");
        let reply = client.request(subject, params.to_string().into()).await.unwrap();
        let typed: Value = serde_json::from_slice(&reply.payload).unwrap();
        let rows = |answer: &Value| answer["data"].as_array().map(Vec::len);
        assert_eq!(rows(&typed), rows(&whole), "{query_type}");
        let http =
            crate::http::get_json(&system, &format!("/api/v1/query?query_type={query_type}&{}", address(&params)));
        assert_eq!(rows(&http), rows(&whole), "{query_type} {http}");
        let mut words = vec!["query".to_owned(), query_type.to_owned()];
        words.extend(
            params.as_object().unwrap().iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap())),
        );
        let output = spindle(&system.data_dir()).args(&words).env("COLUMNS", "80").output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() < Some(2) && shown.lines().count() > 2, "{query_type}: {shown}");
        println!("{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }
}

fn address(params: &Value) -> String {
    let pairs = params.as_object().unwrap().iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap()));
    pairs.collect::<Vec<_>>().join("&")
}
