//! The gap audit: no findings over kills and restarts while nothing is lost, and exact findings about losses.

use std::collections::BTreeSet;

use async_nats::jetstream;
use futures::StreamExt;
use serde_json::{Value, json};
use spindle_core::audit::{SeqVisitor, epoch_of};
use spindle_core::records::Window;
use spindle_core::{DeviceName, Timestamp};
use spindle_testkit::wait_until;

use crate::harness::{NO_SOURCES, PATIENCE, System, is_running, send_signal};

const N_DEVICES: usize = 10;

pub(crate) fn now() -> String {
    time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// Waits until values measured after this call are stored.
fn flow(system: &System) {
    let after = Timestamp::parse(&now()).unwrap();
    let is_newer = |device: &Value| Timestamp::parse(device["last_seen"].as_str().unwrap()).unwrap() > after;
    wait_until(PATIENCE, "values flow", || {
        // No response while nats-server is down.
        let output = system.query(&["devices", "--format", "json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let devices = answer["data"].as_array();
        devices.is_some_and(|devices| devices.len() == N_DEVICES && devices.iter().all(is_newer))
    })
    .unwrap();
}

/// Waits until everything in the streams is stored.
pub(crate) async fn drained(system: &System) {
    let jetstream = jetstream::new(system.nats().await);
    for name in ["METRICS", "EVENTS"] {
        let stream = jetstream.get_stream(name).await.unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let consumers: Vec<jetstream::consumer::Info> = stream.consumers().map(Result::unwrap).collect().await;
            let consumers: Vec<_> =
                consumers.into_iter().filter(|consumer| consumer.name.starts_with("writer-")).collect();
            let n_left = |consumer: &jetstream::consumer::Info| consumer.num_pending + consumer.num_ack_pending as u64;
            if !consumers.is_empty() && consumers.iter().map(n_left).sum::<u64>() == 0 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{name} is not stored: {consumers:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

/// Largest `seq` of Spindle's daemon.
const MAX_SEQ: u64 = (1 << 53) - 1;

/// Epochs that hold metrics: the daemon gives them even numbers.
#[derive(Default)]
struct MetricEpochs(BTreeSet<u64>);

impl SeqVisitor for MetricEpochs {
    fn visit(&mut self, seq: u64, _time: Timestamp) {
        if epoch_of(seq).is_multiple_of(2) {
            self.0.insert(epoch_of(seq));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_or_doubled_over_kills_and_restarts() {
    let mut system = System::start("", &["--devices", "10", "--source", "simulate", "--interval", "50ms"]);
    flow(&system);
    // The whole process, nats-server alone, the whole process while it restarts nats-server.
    system.kill();
    system.start_again();
    flow(&system);
    let nats = system.nats_pid();
    send_signal(nats, "KILL");
    wait_until(PATIENCE, "nats-server died", || !is_running(nats)).unwrap();
    flow(&system);
    system.kill();
    system.start_again();
    flow(&system);
    for _ in 0..2 {
        system.signal("INT");
        assert_eq!(system.wait_for_end().code(), Some(0), "{}", system.log());
        system.start_again();
        flow(&system);
    }
    system.signal("INT");
    assert_eq!(system.wait_for_end().code(), Some(0), "{}", system.log());
    let mut system = system.without_sources();
    system.start_again();
    drained(&system).await;

    let until = format!("until={}", now());
    let answer = system.ask(&["audit_gaps", &until]);
    assert_eq!(answer["data"], json!([]), "{answer:#}\n{}", system.log());
    let devices = answer["summary"].as_array().unwrap();
    assert_eq!(devices.len(), N_DEVICES);
    assert!(devices.iter().all(|device| device["state"] == "complete"), "{answer:#}");
    let sum = |name: &str| devices.iter().map(|device| device[name].as_u64().unwrap()).sum::<u64>();
    let (n_metrics, n_events) = system.stored();
    let store = system.store().await;
    assert_eq!(answer["basis"]["n_points"], n_metrics + n_events);
    assert_eq!(sum("n_numbers") + sum("n_without_number"), n_metrics + n_events);
    // Only events that a fleet repeats, from before a restart, have none.
    assert!(sum("n_without_number") <= n_events);
    assert_eq!(system.query(&["audit_gaps", &until]).status.code(), Some(0));

    // Two kills, so three epochs of metrics; the orderly stops began none.
    let names: Vec<_> =
        devices.iter().map(|row| DeviceName::new(row["source_device"].as_str().unwrap()).unwrap()).collect();
    let whole = Window { from: Timestamp::from_ns(0), until: Timestamp::from_ns(i64::MAX) };
    for name in &names {
        let MetricEpochs(epochs) = store.sequences(name, whole, 0..=MAX_SEQ, MetricEpochs::default()).await.unwrap();
        assert_eq!(epochs.len(), 3, "{name}: {epochs:?}");
    }
    assert_eq!(system.log().matches("sequence numbers continue").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_hole_and_a_planted_double_are_found_exactly() {
    let system = System::start(NO_SOURCES, &[]);
    let jetstream = jetstream::new(system.nats().await);
    let publish = async |subject: &'static str, payload: Value| {
        jetstream.publish(subject, payload.to_string().into()).await.unwrap().await.unwrap();
    };
    let metric = |device: &str, second: u32, seq: Option<u64>| {
        let time = format!("2025-06-06T12:00:{second:02}Z");
        json!({ "timestamp": time, "sourceDevice": device, "metricType": "IOPs", "value": 1.5, "seq": seq })
    };
    let event = json!({ "id": "e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90", "criticality": 3, "timestamp": "2025-06-06T12:00:02Z",
        "sourceDevice": "planted", "eventType": "Note", "seq": 2 });
    let planted = [metric("planted", 1, Some(1)), metric("planted", 4, Some(4)), metric("planted", 5, Some(4))];
    // Delivered twice, as after a crash of the server: once is right.
    for _ in 0..2 {
        publish("events.metrics", json!(planted)).await;
        publish("events.event", event.clone()).await;
    }
    publish(
        "events.metrics",
        json!([metric("whole", 1, Some(7)), metric("whole", 2, Some(8)), metric("plain", 1, None)]),
    )
    .await;
    drained(&system).await;

    let window = ["from=2025-06-06T12:00:00Z", "until=2025-06-06T12:30:00Z"];
    let query = [&["audit_gaps"], &window[..]].concat();
    let answer = system.ask(&query);
    let expect = json!([{
        "source_device": "planted", "run": 0, "points": "both", "first": 1, "last": 4, "n_seen": 3,
        "n_missing": 1, "n_doubled": 1,
        "missing": [{ "from": 3, "to": 3, "after": "2025-06-06T12:00:02Z", "before": "2025-06-06T12:00:04Z" }],
        "doubled": [{ "number": 4, "times": ["2025-06-06T12:00:04Z", "2025-06-06T12:00:05Z"] }],
    }]);
    assert_eq!(answer["data"], expect, "{answer:#}");
    let states: Vec<_> =
        answer["summary"].as_array().unwrap().iter().map(|row| (&row["source_device"], &row["state"])).collect();
    let expected = [("plain", "no_numbers"), ("planted", "gaps"), ("whole", "complete")]
        .map(|(name, state)| (json!(name), json!(state)));
    assert!(states.into_iter().eq(expected.iter().map(|(name, state)| (name, state))), "{answer:#}");
    assert_eq!((&answer["basis"]["n_points"], &answer["next"]), (&json!(7), &json!(null)));
    check_exit_codes_and_pages(&system, &query, &expect);

    // More devices than fit on one page: the command reads all pages.
    let many: Vec<_> = (0..450).map(|number| metric(&format!("many-{number:03}"), 1, Some(number))).collect();
    publish("events.metrics", json!(many)).await;
    drained(&system).await;
    let answer = system.ask(&query);
    assert_eq!((answer["summary"].as_array().unwrap().len(), &answer["data"]), (453, &expect));
    assert_eq!((&answer["basis"]["n_points"], &answer["next"]), (&json!(457), &json!(null)));

    // The missing number arrives: the gap is closed.
    publish("events.metrics", json!(metric("planted", 3, Some(3)))).await;
    drained(&system).await;
    let answer = system.ask(&query);
    assert_eq!((&answer["data"][0]["n_missing"], &answer["data"][0]["n_doubled"]), (&json!(0), &json!(1)));
}

fn check_exit_codes_and_pages(system: &System, query: &[&str], expect: &Value) {
    let until = query[2];
    let output = system.query(query);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("planted run 0: missing 3, between 2025-06-06T12:00:02Z and 2025-06-06T12:00:04Z"), "{text}");
    let code = |device: &str| {
        let device = format!("source_device={device}");
        system.query(&[query, &[&device]].concat()).status.code()
    };
    // A device without numbers, or without data, does not pass because nothing is missing.
    assert_eq!(["whole", "planted", "plain", "nobody"].map(code), [0, 1, 1, 1].map(Some));
    // A number missing in the window but stored outside it is not a gap.
    let narrow = system.ask(&["audit_gaps", "source_device=whole", "from=2025-06-06T12:00:02Z", until]);
    assert_eq!((&narrow["data"], &narrow["basis"]["n_points"]), (&json!([]), &json!(1)));
    // The pages add up to the same.
    let first = system.ask(&[query, &["limit=1"]].concat());
    assert_eq!((first["summary"].as_array().unwrap().len(), &first["next"]["after"]), (1, &json!("plain")));
    let rest = system.ask(&[query, &["after=plain"]].concat());
    assert_eq!((&rest["data"], rest["summary"].as_array().unwrap().len()), (expect, 2));
    assert_eq!(system.query(&[query, &["limit=1", "after=planted"]].concat()).status.code(), Some(0));
}

/// The daemon does not number recordings: after a second replay, nothing of the first is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_played_twice_leaves_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.ndjson");
    let line = |second: u32| {
        let seq = if second < 5 { format!(",\"seq\":{second}") } else { String::new() };
        format!(
            "{{\"timestamp\":\"2020-01-01T00:00:{second:02}Z\",\"sourceDevice\":\"d\",\"metricType\":\"DiskTemp\",\"value\":40{seq}}}\n"
        )
    };
    std::fs::write(&file, (0..9).map(line).collect::<String>()).unwrap();
    let mut system = System::start("", &["--source", &format!("replay:{}", file.display())]);
    let query = ["audit_gaps", "from=2020-01-01T00:00:00Z", "until=2020-01-01T00:01:00Z"];
    for _ in 0..2 {
        system.wait_for(&query, "the recording is stored", |answer| answer["basis"]["n_points"] == 9);
        drained(&system).await;
        let answer = system.ask(&query);
        assert_eq!(answer["data"], json!([]));
        let row = &answer["summary"][0];
        assert_eq!(
            (&row["state"], &row["n_numbers"], &row["n_without_number"]),
            (&json!("complete"), &json!(5), &json!(4))
        );
        system.kill();
        system.start_again();
    }
    // No live source: no sequence numbers.
    assert!(!system.data_dir().join("daemon-seq.json").exists());
}
