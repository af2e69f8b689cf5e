//! The past of a simulated fleet: told once, whole, and judged as if it had happened.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream;
use serde_json::{Value, json};
use spindle_testkit::wait_until;

use crate::audit::drained;
use crate::harness::{PATIENCE, System, spindle};

const TOLD: &str = "past of the simulated fleet published";

/// A system whose fleet has a past.
fn with_past(devices: &'static str) -> System {
    System::start("", &["--devices", devices, "--source", "simulate", "--seed", "7", "--past", "24h"])
}

fn wait_until_told(system: &System) {
    wait_until(PATIENCE, "the past is told", || system.log().contains(TOLD)).unwrap();
}

/// Number of messages that METRICS has taken.
async fn n_messages(system: &System) -> u64 {
    let stream = jetstream::new(system.nats().await).get_stream("METRICS").await.unwrap();
    stream.get_info().await.unwrap().state.last_sequence
}

/// State of the simulation in the data directory.
fn state(system: &System) -> Value {
    serde_json::from_slice(&std::fs::read(system.data_dir().join("simulation.json")).unwrap()).unwrap()
}

/// Returns the number of readings of the past that are stored, and the answer of the audit about it. Findings of the
/// detector have no number and may come later.
async fn stored_past(system: &System) -> (u64, Value) {
    let state = state(system);
    let until = state["past"]["until"].as_str().unwrap();
    let from = state["epoch"].as_str().unwrap();
    let answer = system.ask(&["audit_gaps", &format!("from={from}"), &format!("until={until}")]);
    let devices = answer["summary"].as_array().unwrap();
    let n_stored = devices.iter().map(|device| device["n_numbers"].as_u64().unwrap()).sum();
    (n_stored, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_cut_off_by_a_kill_is_completed_and_told_once() {
    let mut system = with_past("100");
    // Of about 860 messages.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while n_messages(&system).await < 30 {
        assert!(tokio::time::Instant::now() < deadline, "{}", system.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    system.kill();
    assert!(!system.log().contains(TOLD), "killed too late:\n{}", system.log());
    system.start_again();
    wait_until_told(&system);
    drained(&system).await;
    let (n_past, audit) = stored_past(&system).await;
    assert_eq!(audit["data"], json!([]), "{audit:#}");
    let devices = audit["summary"].as_array().unwrap();
    assert_eq!(devices.len(), 100);
    assert!(devices.iter().all(|device| device["state"] == "complete" && device["n_runs"].as_u64() <= Some(2)));
    // 287 times; the silent device and the failed ones say less.
    let most = 287 * (70 * 11 + 30 * 8) + 2_000;
    assert!((most * 95 / 100..most).contains(&n_past), "{n_past} of {most}");

    // An orderly stop and a start: nothing is told again.
    system.signal("INT");
    assert_eq!(system.wait_for_end().code(), Some(0), "{}", system.log());
    system.start_again();
    assert_eq!(system.log().matches(TOLD).count(), 1, "{}", system.log());
    assert_eq!(stored_past(&system).await.0, n_past);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_with_another_directory_tells_no_past() {
    let system = with_past("10");
    wait_until_told(&system);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut second = spindle(&folder.path().join("data"));
    second.args(["daemon", "--source", "simulate", "--devices", "10", "--past", "24h"]);
    second.env("NATS_URL", system.nats_url()).stderr(std::fs::File::create(&log).unwrap());
    let mut second = second.spawn().unwrap();
    let log = || std::fs::read_to_string(&log).unwrap();
    let refused =
        wait_until(PATIENCE, "the second daemon is refused", || log().contains("values were published before"));
    second.kill().unwrap();
    second.wait().unwrap();
    refused.unwrap();
    assert!(!log().contains(TOLD), "{}", log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_picture_is_true() {
    let system = with_past("10");
    wait_until_told(&system);
    let state = state(&system);
    let until = state["past"]["until"].as_str().unwrap().to_owned();
    let truth = std::fs::read_to_string(system.data_dir().join("truth.ndjson")).unwrap();
    let truth: Vec<Value> = truth.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, from: &str, end: &str| -> Vec<&Value> {
        let is_under_way = |truth: &&Value| {
            truth["kind"] == kind && truth[from].as_str() <= Some(&until) && truth[end].as_str() > Some(&until)
        };
        truth.iter().filter(is_under_way).collect()
    };
    let named = |found: &[&Value]| found.iter().map(|truth| truth["device"].as_str().unwrap().to_owned()).collect();
    let failing: BTreeSet<String> = named(&of("wear_out", "onset", "fails_at"));
    let silent: BTreeSet<String> = named(&of("silence", "from", "until"));
    let filling: BTreeSet<String> = named(&of("fills_up", "from", "until"));
    assert!(!failing.is_empty() && silent.len() == 1 && filling.len() == 1, "{truth:#?}");

    let mut seen = Value::Null;
    let health = |device: &str, seen: &Value| {
        let row = seen["data"].as_array()?.iter().find(|row| row["source_device"] == device)?.clone();
        Some(row)
    };
    let is_full = wait_until(PATIENCE, "the picture is full", || {
        seen = system.ask(&["fleet_health", "health=all"]);
        let is = |device: &String, verdicts: &[&str]| {
            health(device, &seen).is_some_and(|row| verdicts.iter().any(|verdict| row["health"] == *verdict))
        };
        failing.iter().all(|device| is(device, &["critical", "warning"]))
            && silent.iter().all(|device| is(device, &["unknown"]))
            && filling.iter().all(|device| is(device, &["warning"]))
    });
    assert!(is_full.is_ok(), "{seen:#}\n{truth:#?}");
    for reason in
        seen["data"].as_array().unwrap().iter().flat_map(|row| row["reasons"].as_array().into_iter().flatten())
    {
        assert_ne!(reason["metric"], "clock", "{seen:#}");
    }
    // The pages of the past called nobody: they are not in the log of critical events.
    let pages = std::fs::read_to_string(system.data_dir().join("logs/critical-events.ndjson")).unwrap_or_default();
    assert!(!pages.contains("FailurePredicted"), "{pages}");
    // The verdicts of the day are on record.
    for device in failing.iter().chain(&silent) {
        let mut answer = Value::Null;
        let is_told = wait_until(PATIENCE, "the day is on record", || {
            answer = system.ask(&["health_history", &format!("source_device={device}"), "since_minutes=1440"]);
            let segments = answer["data"].as_array().unwrap();
            segments.iter().any(|segment| segment["health"] == "ok") && segments.len() > 2
        });
        assert!(is_told.is_ok(), "{answer:#}");
    }
}
