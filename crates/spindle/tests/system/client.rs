//! The client's log of critical events.

use async_nats::jetstream;
use serde_json::Value;
use spindle_testkit::wait_until;

use crate::harness::{NO_SOURCES, PATIENCE, System, send_signal, spindle};

async fn publish_alert(system: &System, number: u64) {
    let client = system.nats().await;
    let id = uuid::Uuid::from_u64_pair(9, number);
    let event = format!(
        r#"{{"id":"{id}","criticality":9,"timestamp":"2025-01-01T00:00:00Z","sourceDevice":"d{number}","eventType":"DriveFailure"}}"#
    );
    jetstream::new(client).publish("events.event", event.into()).await.unwrap().await.unwrap();
}

/// Pages are fetched while new events arrive at the front.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_logged_twice_while_many_arrive() {
    const N_EVENTS: u64 = 6000;
    let system = System::start(&format!("{NO_SOURCES}[client]\ninterval = \"50ms\"\n"), &[]);
    let client = system.nats().await;
    let jetstream = jetstream::new(client);
    let event = |number: u64| {
        let id = uuid::Uuid::from_u64_pair(11, number);
        format!(
            r#"{{"id":"{id}","criticality":9,"timestamp":"2025-01-01T00:00:00Z","sourceDevice":"d","eventType":"Test"}}"#
        )
    };
    for first in (0..N_EVENTS).step_by(20) {
        let batch: Vec<_> = (first..first + 20).map(event).collect();
        jetstream.publish("events.event", format!("[{}]", batch.join(",")).into()).await.unwrap().await.unwrap();
    }
    let log = system.data_dir().join("logs/critical-events.ndjson");
    let distinct = |events: &[Value]| {
        events.iter().map(|line| line["event_id"].to_string()).collect::<std::collections::BTreeSet<_>>().len()
    };
    wait_until(PATIENCE, "every event is logged", || distinct(&lines(&log, "event")) as u64 == N_EVENTS).unwrap();
    assert_eq!(lines(&log, "event").len() as u64, N_EVENTS);
}

fn lines(path: &std::path::Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["kind"] == kind)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_critical_event_is_logged_once_over_restarts_and_absences() {
    let mut system = System::start(&format!("{NO_SOURCES}[client]\ninterval = \"200ms\"\n"), &[]);
    let log = system.data_dir().join("logs/critical-events.ndjson");
    publish_alert(&system, 1).await;
    wait_until(PATIENCE, "the first event is logged", || lines(&log, "event").len() == 1).unwrap();
    wait_until(PATIENCE, "and summed up", || !lines(&log, "summary").is_empty()).unwrap();
    assert_eq!(lines(&log, "summary")[0]["critical_event_count"], 1);
    // A second client, with another log, logs it once however often it queries.
    let other = system.folder.path().join("new folder/other.log");
    for _ in 0..2 {
        let output = spindle(&system.data_dir()).args(["client", "--once", "--log"]).arg(&other).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(lines(&other, "event").len(), 1);
    system.signal("TERM");
    system.wait_for_end();
    system.start_again();
    // While NATS is away nothing is logged and nothing ends; afterwards the client continues.
    send_signal(system.nats_pid(), "KILL");
    wait_until(PATIENCE, "NATS is back", || {
        system.log().matches("nats-server died").count() == 1 && system.query(&["devices"]).status.code() == Some(0)
    })
    .unwrap();
    publish_alert(&system, 2).await;
    wait_until(PATIENCE, "the second event is logged", || lines(&log, "event").len() == 2).unwrap();
    let ids: Vec<_> = lines(&log, "event").iter().map(|line| line["source_device"].clone()).collect();
    assert_eq!(ids, ["d1", "d2"]);
    let is_printed = || system.log().contains("CRITICAL  9 d2 DriveFailure");
    wait_until(PATIENCE, "the second event is printed", is_printed).unwrap();
}
