//! Decisions of operators: accepted findings leave the verdict until they get worse, acknowledgments are shown.

use std::process::Output;

use serde_json::{Value, json};

use crate::answers::Requester;
use crate::harness::{NO_SOURCES, System, spindle};

fn run(system: &System, arguments: &[&str]) -> Output {
    spindle(&system.data_dir()).args(arguments).output().unwrap()
}

fn succeed(system: &System, arguments: &[&str]) -> String {
    let output = run(system, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) async fn put(requester: &Requester, value: f64) {
    let metric = json!({ "timestamp": crate::judgement::stamp(0), "sourceDevice": "disk", "metricType": "smart_5_raw", "value": value });
    requester.publish("events.metrics", metric.to_string()).await;
}

pub(crate) async fn wait_for_health(requester: &Requester, health: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let query = json!({"query_type":"device_health","params":{"source_device":"disk"}});
    let is_wanted = |answer: &Value| answer["data"]["health"] == health && wanted(&answer["data"]);
    requester.wait_for(query, is_wanted).await["data"].clone()
}

/// Starts a system in which `disk` has a finding: 60 reallocated sectors.
pub(crate) async fn with_a_finding(config: &str) -> (System, Requester) {
    let system = System::start(config, &[]);
    let requester = Requester::new(&system).await;
    put(&requester, 60.0).await;
    wait_for_health(&requester, "warning", |_| true).await;
    (system, requester)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_value_leaves_the_verdict_until_it_rises() {
    let (system, requester) = with_a_finding(NO_SOURCES).await;
    let said = succeed(&system, &["accept", "disk", "smart_5_raw", "--reason", "known since delivery"]);
    assert!(said.starts_with("accepted: smart_5_raw of disk up to 60, until "), "{said}");
    let accepted = wait_for_health(&requester, "ok", |_| true).await;
    let [reason] = accepted["reasons"].as_array().unwrap().as_slice() else { panic!("{accepted}") };
    assert_eq!((&reason["metric"], &reason["accepted"]["value"]), (&json!("smart_5_raw"), &json!(60.0)));
    assert_eq!((&reason["accepted"]["reason"], &accepted["score"]), (&json!("known since delivery"), &json!(100)));
    put(&requester, 61.0).await;
    let worse =
        |data: &Value| data["reasons"][0]["why"].as_str().is_some_and(|why| why.contains("worse than accepted at 60"));
    wait_for_health(&requester, "warning", worse).await;
    // The decision is an event, so it is audited; one that ends at once revokes it.
    put(&requester, 60.0).await;
    wait_for_health(&requester, "ok", |_| true).await;
    let said = succeed(&system, &["accept", "disk", "smart_5_raw", "--reason", "replace it", "--revoke"]);
    assert_eq!(said, "smart_5_raw of disk counts again\n");
    wait_for_health(&requester, "warning", |data| data["reasons"][0]["accepted"].is_null()).await;
    let events = system.ask(&["events", "event_type=FindingAccepted"]);
    assert_eq!(events["data"].as_array().map(Vec::len), Some(2), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_event_counts_again_when_it_happens_again() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    put(&requester, 0.0).await;
    requester.publish("events.event", crate::judgement::event("disk", "FanFailure", 6, -5).to_string()).await;
    wait_for_health(&requester, "warning", |_| true).await;
    succeed(&system, &["accept", "disk", "FanFailure", "--reason", "spare fan runs", "--until", "30d"]);
    wait_for_health(&requester, "ok", |_| true).await;
    let said = succeed(&system, &["ack", "disk", "-m", "parts ordered"]);
    assert!(said.starts_with("acknowledged: disk, until "), "{said}");
    wait_for_health(&requester, "ok", |data| data["acknowledged"]["reason"] == "parts ordered").await;
    let shown = succeed(&system, &["query", "device_health", "source_device=disk"]);
    assert!(shown.contains(": spare fan runs)\n") && shown.contains(": parts ordered\n"), "{shown}");
    requester.publish("events.event", crate::judgement::event("disk", "FanFailure", 6, 0).to_string()).await;
    wait_for_health(&requester, "warning", |data| data["acknowledged"]["reason"] == "parts ordered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_accepted_by_mistake() {
    let (system, _) = with_a_finding(NO_SOURCES).await;
    for (arguments, expected) in [
        (&["accept", "disk", "smart_197_raw", "--reason", "x"][..], "no finding 'smart_197_raw'"),
        (&["accept", "dsik", "smart_5_raw", "--reason", "x"], "no device 'dsik'"),
        (&["acknowledge", "dsik", "--reason", "x"], "no device 'dsik'"),
        (&["accept", "disk", "smart_5_raw", "--reason", " "], "--reason is empty"),
        (&["accept", "disk", "smart_5_raw", "--reason", "x", "--until", "tomorrow"], "neither a time such as"),
        (&["accept", "disk", "smart_5_raw", "--reason", "x", "--until", "10000d"], "more than 366 days away"),
        (&["accept", "disk", "smart_5_raw"], "--reason"),
        (&["accept", "", "smart_5_raw", "--reason", "x"], "DEVICE is empty"),
        (&["accept", "disk", "", "--reason", "x"], "METRIC is empty"),
        (&["accept", "disk", "smart_5_raw", "--reason", "x", "--by", ""], "--by is empty"),
        (&["accept", "disk", "smart_5_raw", "--reason", "x", "--revoke"], "is not accepted: nothing to revoke"),
        (&["acknowledge", "disk", "--reason", "x", "--revoke"], "is not acknowledged: nothing to revoke"),
    ] {
        let output = run(&system, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
    let events = system.ask(&["events", "event_type=FindingAccepted"]);
    assert_eq!(events["data"], json!([]));
}
