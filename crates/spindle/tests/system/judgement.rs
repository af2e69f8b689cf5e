//! Verdicts through the whole pipeline: evidence that is buried, packed, or stamped by a wrong clock.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::answers::Requester;
use crate::harness::{NO_SOURCES, System};

pub(crate) fn stamp(offset_s: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::seconds(offset_s)).format(&Rfc3339).unwrap()
}

fn value(device: &str, metric: &str, value: f64, offset_s: i64) -> Value {
    json!({ "timestamp": stamp(offset_s), "sourceDevice": device, "metricType": metric, "value": value })
}

pub(crate) fn event(device: &str, event_type: &str, criticality: u64, offset_s: i64) -> Value {
    let id = uuid::Uuid::new_v4();
    json!({ "id": id, "criticality": criticality, "timestamp": stamp(offset_s), "sourceDevice": device, "eventType": event_type })
}

async fn health(requester: &Requester, device: &str) -> Value {
    let query = json!({"query_type":"device_health","params":{"source_device":device}});
    requester.query(query.to_string()).await["data"].clone()
}

async fn is_stored(requester: &Requester, n_devices: usize) {
    let all = |answer: &Value| answer["data"].as_array().is_some_and(|rows| rows.len() == n_devices);
    requester.wait_for(json!({"query_type":"devices"}), all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_not_forgotten_behind_a_thousand_notes() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    requester.publish("events.metrics", json!([value("dead", "DiskTemp", 40.0, 0)]).to_string()).await;
    requester.publish("events.event", event("dead", "DriveFailure", 10, -86_400).to_string()).await;
    let notes: Vec<Value> = (0..1_500).map(|index| event("dead", "Note", 1, -index)).collect();
    requester.publish("events.event", json!(notes).to_string()).await;
    let last = json!({"query_type":"events","params":{"event_type":"Note","limit":1}});
    requester.wait_for(last, |answer| answer["next"].is_object()).await;
    let verdict = health(&requester, "dead").await;
    assert_eq!((&verdict["health"], &verdict["reasons"][0]["metric"]), (&json!("critical"), &json!("DriveFailure")));
    requester.publish("events.event", event("dead", "DriveReplaced", 2, 0).to_string()).await;
    let query = json!({"query_type":"device_health","params":{"source_device":"dead"}});
    requester.wait_for(query, |answer| answer["data"]["health"] == "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_values_are_judged_and_shown_decoded() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    let values = [
        value("cool", "smart_194_raw", 8481.0, -1),
        value("cool", "smart_194_raw", 85_899_345_953.0, 0),
        value("full", "smart_5_raw", 65_535.0, 0),
        value("full", "smart_194_raw", 33.0, 0),
    ];
    requester.publish("events.metrics", json!(values).to_string()).await;
    is_stored(&requester, 2).await;
    assert_eq!(health(&requester, "cool").await["health"], "ok");
    let full = health(&requester, "full").await;
    assert_eq!((&full["health"], &full["score"]), (&json!("unknown"), &Value::Null));
    let reason = &full["reasons"][0];
    assert_eq!((&reason["value"], &reason["raw"]), (&Value::Null, &json!(65_535.0)), "{full}");
    let devices = requester.query(json!({"query_type":"devices"}).to_string()).await;
    let temperature = &devices["data"][0]["metrics"]["smart_194_raw"];
    assert_eq!((&temperature["value"], &temperature["raw"]), (&json!(33.0), &json!(85_899_345_953.0)));
    let sectors = &devices["data"][1]["metrics"]["smart_5_raw"];
    assert!(sectors["value"].is_null() && sectors["note"].as_str().unwrap().contains("not understood"), "{sectors}");
    let series = |device: &str, metric: &str| json!({"query_type":"series","params":{"source_device":device,"metric_type":metric,"bucket_seconds":3600}});
    let series_of = async |device, metric| requester.query(series(device, metric).to_string()).await;
    let temperatures = series_of("cool", "smart_194_raw").await;
    let highest = temperatures["data"].as_array().unwrap().iter().filter_map(|bucket| bucket["max"].as_f64());
    assert_eq!(highest.fold(0.0, f64::max), 33.0, "{temperatures}");
    let sectors = series_of("full", "smart_5_raw").await;
    assert_eq!((&sectors["data"], &sectors["n_not_understood"]), (&json!([]), &json!(1)));
}

/// Both clocks are shown where they disagree; silence is a matter of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_neither_hides_a_device_nor_keeps_it_alive() {
    const HOUR: i64 = 3600;
    const YEAR: i64 = 365 * 24 * HOUR;
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    let values = [("ahead", YEAR), ("behind", -HOUR), ("exact", 0), ("recorded", -6 * YEAR)]
        .map(|(device, offset)| value(device, "DiskTemp", 40.0, offset));
    requester.publish("events.metrics", json!(values).to_string()).await;
    is_stored(&requester, 4).await;
    for (device, offset, expected) in
        [("ahead", YEAR, "ok"), ("behind", -HOUR, "ok"), ("exact", 0, "ok"), ("recorded", -6 * YEAR, "unknown")]
    {
        let verdict = health(&requester, device).await;
        assert_eq!(verdict["health"], expected, "{verdict}");
        assert!(verdict["last_received"].as_str().unwrap() > stamp(-60).as_str(), "{verdict}");
        let shown = verdict["clock_offset_seconds"].as_f64().unwrap_or_default();
        assert!((shown - offset as f64).abs() < 60.0, "{verdict}");
    }
    // Asked as of an hour later, the device that is a year ahead is as silent as the others.
    let query = json!({"query_type":"device_health","params":{"source_device":"ahead","at":stamp(HOUR)}});
    let later = requester.query(query.to_string()).await["data"].clone();
    assert_eq!((&later["health"], &later["reasons"][0]["metric"]), (&json!("unknown"), &json!("silence")), "{later}");
    let devices = requester.query(json!({"query_type":"devices"}).to_string()).await;
    let ahead = &devices["data"][0];
    assert!(ahead["clock_offset_seconds"].as_f64().unwrap() > 1e7, "{ahead}");
    assert_eq!(ahead["metrics"]["DiskTemp"]["value"], 40.0, "values stamped in the future are listed");
    // A failure stamped in the future is not missed.
    requester.publish("events.event", event("ahead", "DriveFailure", 10, YEAR).to_string()).await;
    let query = json!({"query_type":"device_health","params":{"source_device":"ahead"}});
    requester.wait_for(query, |answer| answer["data"]["health"] == "critical").await;
    tokio::time::timeout(Duration::from_secs(5), health(&requester, "exact")).await.unwrap();
}
