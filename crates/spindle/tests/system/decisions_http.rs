//! Decisions over HTTP and as published events: their effect on the verdict, their protections, and their errors.

use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use serde_json::{Value, json};

use crate::answers::Requester;
use crate::decisions::{put, wait_for_health, with_a_finding};
use crate::harness::{NO_SOURCES, System, send_signal, spindle};
use crate::http::{HttpResponse, exchange};

const JSON: &str = "Content-Type: application/json\r\n";

fn post(system: &System, path: &str, headers: &str, body: &str) -> HttpResponse {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}");
    exchange(&system.http(), &format!("{head}\r\n{headers}\r\n{body}"))
}

fn decide(system: &System, path: &str, body: &Value) -> (u16, Value) {
    let response = post(system, path, JSON, &body.to_string());
    let answer = serde_json::from_str(&response.body).unwrap_or_else(|_| panic!("{path}: {}", response.body));
    (response.status, answer)
}

fn accept(system: &System, body: &Value) -> (u16, Value) {
    decide(system, "/api/v1/accept", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_is_accepted_and_revoked_over_http() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    let labels = json!({ "host": "vm1", "name": "sda" });
    let value = json!({ "timestamp": crate::judgement::stamp(0), "sourceDevice": "disk", "metricType": "smart_5_raw", "value": 60, "labels": labels });
    requester.publish("events.metrics", value.to_string()).await;
    wait_for_health(&requester, "warning", |_| true).await;
    // By its alias, as an operator knows it.
    let body =
        json!({ "source_device": "vm1:sda", "metric": "smart_5_raw", "reason": "known", "by": "anna", "until": "30d" });
    let (status, answer) = accept(&system, &body);
    assert_eq!((status, &answer["status"]), (200, &json!("success")), "{answer}");
    let data = &answer["data"];
    assert_eq!(
        (&data["device"], &data["metric"], &data["value"]),
        (&json!("disk"), &json!("smart_5_raw"), &json!(60.0))
    );
    assert_eq!((&data["reason"], &data["by"]), (&json!("known"), &json!("anna")));
    let verdict = wait_for_health(&requester, "ok", |data| !data["accepted"].is_null()).await;
    let accepted = &verdict["reasons"][0]["accepted"];
    assert_eq!(
        (&accepted["until"], &accepted["reason"], &accepted["by"]),
        (&data["until"], &json!("known"), &json!("anna"))
    );
    let shown = String::from_utf8(system.query(&["device_health", "source_device=disk"]).stdout).unwrap();
    assert!(shown.contains(" by anna: known)"), "{shown}");
    let events = system.ask(&["events", "event_type=FindingAccepted"]);
    let event = &events["data"][0];
    assert_eq!((&event["event_id"], &event["labels"]["by"]), (&data["event_id"], &json!("anna")), "{events}");
    // The finding may be gone when its acceptance is revoked.
    put(&requester, 0.0).await;
    wait_for_health(&requester, "ok", |data| data["reasons"] == json!([]) && data["accepted"][0]["by"] == "anna").await;
    let shown = String::from_utf8(system.query(&["device_health", "source_device=disk"]).stdout).unwrap();
    assert!(shown.contains("smart_5_raw up to 60 accepted until ") && shown.contains(" by anna: known\n"), "{shown}");
    let revocation = json!({ "source_device": "disk", "metric": "smart_5_raw", "reason": "again", "until": "0s" });
    let (status, answer) = accept(&system, &revocation);
    assert_eq!(status, 200, "{answer}");
    wait_for_health(&requester, "ok", |data| data["accepted"].is_null()).await;
    let (status, answer) = accept(&system, &revocation);
    assert_eq!(status, 404, "{answer}");
    let acknowledgment = json!({ "source_device": "disk", "reason": "parts ordered", "by": "bo" });
    let received = system.ask(&["device_health", "source_device=disk"])["data"]["last_received"].clone();
    let (status, answer) = decide(&system, "/api/v1/acknowledge", &acknowledgment);
    assert_eq!((status, &answer["data"]["metric"]), (200, &Value::Null), "{answer}");
    let verdict = wait_for_health(&requester, "ok", |data| data["acknowledged"]["by"] == "bo").await;
    assert_eq!(verdict["last_received"], received, "a decision is no sign of life");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_decision_over_http_is_explained_and_decides_nothing() {
    let (system, _) = with_a_finding(NO_SOURCES).await;
    let good = json!({ "source_device": "disk", "metric": "smart_5_raw", "reason": "x" });
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, status, expected) in [
        (with("reason", json!(" ")), 400, "field 'reason' is empty"),
        (with("reason", json!("x".repeat(17_000))), 400, "field 'reason' is empty or longer than 16384 bytes"),
        (with("reason", Value::Null), 400, "field 'reason' is missing"),
        (with("until", json!("tomorrow")), 400, "field 'until' is 'tomorrow', neither a time"),
        (with("until", json!("10000d")), 400, "field 'until' is more than 366 days away"),
        (with("until", json!(5)), 400, "field 'until' is not a text"),
        (with("by", json!("")), 400, "field 'by' is empty"),
        (with("device", json!("disk")), 400, "unknown field \"device\": expected source_device, metric"),
        (with("source_device", json!("a\nb")), 400, "field 'source_device'"),
        (with("metric", json!("")), 400, "field 'metric' is empty"),
        (json!([]), 400, "body is not a valid JSON object"),
        (with("source_device", json!("dsik")), 404, "no device 'dsik'"),
        (
            with("metric", json!("smart_197_raw")),
            404,
            "no finding 'smart_197_raw' in the verdict on disk: it has smart_5_raw",
        ),
        (with("until", json!("0s")), 404, "'smart_5_raw' of disk is not accepted: nothing to revoke"),
    ] {
        let (found, answer) = accept(&system, &body);
        assert_eq!((found, &answer["status"]), (status, &json!("error")), "{body}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(expected), "{body}: {answer}");
    }
    let (status, answer) = decide(&system, "/api/v1/acknowledge", &good);
    assert!(status == 400 && answer["message"].as_str().unwrap().contains("unknown field \"metric\""), "{answer}");
    let revocation = json!({ "source_device": "disk", "reason": "x", "until": "0s" });
    let (status, answer) = decide(&system, "/api/v1/acknowledge", &revocation);
    assert!(status == 404 && answer["message"] == "disk is not acknowledged: nothing to revoke", "{answer}");
    assert_eq!(system.ask(&["events"])["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_site_and_no_stranger_decides() {
    const TOKEN: &str = "a-token-of-32-characters-0123456";
    let open = System::start(NO_SOURCES, &[]);
    let guarded = System::start(&format!("{NO_SOURCES}[http]\ntoken = \"{TOKEN}\"\n"), &[]);
    let body = json!({ "source_device": "disk", "reason": "x" }).to_string();
    for path in ["/api/v1/accept", "/api/v1/acknowledge"] {
        let status = |headers: &str| post(&open, path, headers, &body).status;
        assert_eq!(status(&format!("{JSON}Origin: https://evil.example\r\n")), 403);
        assert_eq!(status(&format!("{JSON}Origin: null\r\n")), 403);
        assert_eq!(status(&format!("{JSON}Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n")), 403);
        assert_eq!(status(&format!("{JSON}Sec-Fetch-Site: same-site\r\n")), 403);
        // What a form can send.
        for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
            assert_eq!(status(kind), 415, "{kind}");
        }
        let expected = if path.ends_with("accept") { 400 } else { 404 };
        assert_eq!(status(&format!("{JSON}Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n")), expected);
        assert_eq!(status("Content-Type: application/json; charset=utf-8\r\n"), expected);
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            assert_eq!(exchange(&open.http(), &request).status, 405, "{method}");
        }
        let huge = post(&open, path, JSON, &"x".repeat(70_000));
        assert_eq!(huge.status, 413);
        let rebound = format!(
            "POST {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{JSON}Content-Length: 2\r\n\r\n{{}}"
        );
        assert_eq!(exchange(&open.http(), &rebound).status, 421);
        assert_eq!(post(&guarded, path, JSON, &body).status, 401);
        let bearer = format!("{JSON}Authorization: Bearer {TOKEN}\r\n");
        assert_eq!(post(&guarded, path, &bearer, &body).status, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_repeats_itself_is_stopped() {
    let (system, _) = with_a_finding(NO_SOURCES).await;
    let body = json!({ "source_device": "disk", "reason": "x" });
    let statuses: Vec<u16> = (0..70).map(|_| decide(&system, "/api/v1/acknowledge", &body).0).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 60, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_decided_before_jetstream_has_it() {
    let (system, requester) = with_a_finding(NO_SOURCES).await;
    send_signal(system.nats_pid(), "STOP");
    let body = json!({ "source_device": "disk", "metric": "smart_5_raw", "reason": "x" }).to_string();
    let unanswered = post(&system, "/api/v1/accept", JSON, &body);
    let mut gone = HttpResponse { status: 0, head: String::new(), body: String::new() };
    let is_noticed = spindle_testkit::wait_until(Duration::from_secs(60), "the lost connection is noticed", || {
        gone = post(&system, "/api/v1/accept", JSON, &body);
        gone.body.contains("NATS is not connected: nothing was decided")
    });
    send_signal(system.nats_pid(), "CONT");
    assert!(is_noticed.is_ok(), "{}", gone.body);
    for response in [&unanswered, &gone] {
        assert_eq!(response.status, 503, "{}", response.body);
        assert!(response.head.contains("retry-after: "), "{}", response.head);
    }
    assert!(unanswered.body.contains("it is not certain that nothing was decided"), "{}", unanswered.body);
    wait_until_accepted(&system, &body).await;
    wait_for_health(&requester, "ok", |_| true).await;
}

/// A consumer that nobody reads holds the stream full.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_decides_nothing_and_the_answer_says_so() {
    let (system, requester) = with_a_finding(&format!("{NO_SOURCES}[nats]\nevents_bytes = \"256KiB\"\n")).await;
    let jetstream = async_nats::jetstream::new(system.nats().await);
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let held = pull::Config { durable_name: Some("debug".to_owned()), ..pull::Config::default() };
    stream.create_consumer(held).await.unwrap();
    let mut event = crate::judgement::event("other", "Note", 1, 0);
    event["eventMessage"] = "x".repeat(10_000).into();
    while jetstream.publish("events.event", event.to_string().into()).await.unwrap().await.is_ok() {}
    let body = json!({ "source_device": "disk", "metric": "smart_5_raw", "reason": "x".repeat(9_000) }).to_string();
    let refused = post(&system, "/api/v1/accept", JSON, &body);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("the stream of events is full: nothing was decided"), "{}", refused.body);
    let arguments = ["accept", "disk", "smart_5_raw", "--reason", &"x".repeat(9_000)];
    let output = spindle(&system.data_dir()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("nothing was decided"), "{output:?}");
    wait_for_health(&requester, "warning", |_| true).await;
    stream.delete_consumer("debug").await.unwrap();
    stream.purge().await.unwrap();
    wait_until_accepted(&system, &body).await;
    wait_for_health(&requester, "ok", |_| true).await;
}

/// Decides again, as the error advises, until NATS is back.
async fn wait_until_accepted(system: &System, body: &str) {
    let decided = || post(system, "/api/v1/accept", JSON, body).status == 200;
    spindle_testkit::wait_until(Duration::from_secs(60), "it is decided", decided).unwrap();
}

/// Runs the documented commands with a `nats` that prints its arguments, and publishes what they would have sent.
async fn publish_documented(requester: &Requester, event_type: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/decisions.md");
    let page = std::fs::read_to_string(path).unwrap();
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let recipe = blocks.into_iter().find(|block| block.contains(event_type)).unwrap();
    let print = "nats() { shift $(($# - 3)); [ \"$1 $2\" = 'request events.event' ] && printf %s \"$3\"; }\n";
    let output = Command::new("sh").args(["-ec", &format!("{print}{recipe}")]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    requester.publish("events.event", output.stdout).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_events_decide_and_odd_ones_are_listed() {
    let (system, requester) = with_a_finding(NO_SOURCES).await;
    publish_documented(&requester, "FindingAccepted").await;
    let verdict = wait_for_health(&requester, "ok", |_| true).await;
    let accepted = &verdict["reasons"][0]["accepted"];
    assert_eq!((&accepted["value"], &accepted["by"]), (&json!(60.0), &json!("anna")), "{verdict}");
    publish_documented(&requester, "IncidentAcknowledged").await;
    wait_for_health(&requester, "ok", |data| data["acknowledged"]["by"] == "anna").await;
    // Without an end; with one that nobody understands; about a metric that has no finding.
    for labels in [json!({ "metric": "smart_5_raw" }), json!({ "metric": "smart_5_raw", "until": "soon" }), json!({})] {
        let mut odd = crate::judgement::event("disk", "FindingAccepted", 1, 0);
        odd["labels"] = labels;
        requester.publish("events.event", odd.to_string()).await;
    }
    let three = |data: &Value| data["decisions_not_understood"].as_array().is_some_and(|odd| odd.len() == 3);
    wait_for_health(&requester, "ok", three).await;
    let output = spindle(&system.data_dir()).args(["query", "device_health", "source_device=disk"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("decides nothing: label 'until' is 'soon': expected a time"), "{shown}");
    assert_eq!(system.ask(&["events", "event_type=FindingAccepted"])["data"].as_array().unwrap().len(), 4);
}
