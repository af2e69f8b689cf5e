//! From source to response.

use serde_json::Value;

use crate::harness::{NO_SOURCES, System};

fn names(answer: &Value) -> Vec<&str> {
    answer["data"].as_array().unwrap().iter().map(|device| device["source_device"].as_str().unwrap()).collect()
}

#[test]
fn up_shows_the_simulated_fleet_and_this_machines_disks() {
    let system = System::start("", &["--devices", "3", "--interval", "500ms"]);
    let plain = ["CloudStorage", "DiskUnit", "StorageArray"];
    let answer = system.wait_for(&["devices"], "simulated devices are listed", |answer| {
        plain.iter().all(|name| names(answer).contains(name))
    });
    let disk = &answer["data"][names(&answer).iter().position(|name| *name == "DiskUnit").unwrap()];
    for metric in ["DiskTemp", "IOPs", "Latency", "CapacityUsed"] {
        assert!(
            disk["metrics"][metric]["value"].is_f64() || disk["metrics"][metric]["value"].is_u64(),
            "{metric}: {disk:#}"
        );
    }
    assert_eq!(disk["metrics"]["DiskTemp"]["unit"], "°C");
    assert!(disk["labels"]["model"].is_string());
    // A container may have no visible disk; a machine has.
    let has_disk = std::fs::read_dir("/sys/block")
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.path().join("device").exists())));
    if has_disk {
        let answer = system.wait_for(&["devices"], "a real disk is listed with its IOPs", |answer| {
            answer["data"].as_array().unwrap().iter().any(|device| {
                device["labels"]["class"] == "BlockDevice" && device["metrics"]["IOPs"]["value"].is_number()
            })
        });
        assert!(names(&answer).iter().any(|name| name.contains(':')));
    } else {
        eprintln!("no real disk on this machine: only the simulated fleet was checked");
    }
    let truth = std::fs::read_to_string(system.data_dir().join("truth.ndjson")).unwrap();
    assert!(truth.lines().any(|line| serde_json::from_str::<Value>(line).unwrap()["kind"] == "wear_out"), "{truth}");
}

const HEADER: &str = "date,serial_number,model,capacity_bytes,failure,smart_1_raw,smart_5_raw,smart_194_raw\n";

#[test]
fn a_recorded_fleet_is_stored_with_every_value_and_its_failure_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a recording, with a comma.csv");
    let rows: String = (0..3000)
        .map(|index| format!("2013-04-10,Z{index:05},ST4000,4000787030016,{},{index},0,25\n", u8::from(index == 1234)))
        .collect();
    std::fs::write(&file, format!("{HEADER}{rows}")).unwrap();
    let system = System::start("", &["--source", &format!("replay:{}", file.display())]);
    let alerts = system.wait_for(&["alerts_critical"], "the failure is an alert", |answer| {
        !answer["data"].as_array().unwrap().is_empty()
    });
    assert_eq!(alerts["data"][0]["source_device"], "Z01234");
    assert_eq!(alerts["data"][0]["event_type"], "DriveFailure");
    assert_eq!(alerts["data"][0]["time"], "2013-04-10T00:00:00Z");
    assert_eq!(alerts["summary"], serde_json::json!([{ "source_device": "Z01234", "critical_event_count": 1 }]));
    // The last drive of the file is stored last, and paging reaches it.
    system.wait_for(&["devices", "after=Z02998"], "the last drive is stored", |answer| names(answer) == ["Z02999"]);
    assert_eq!(counts(&system), (9000, 1, 3000));
    let health =
        system.ask(&["device_health", "source_device=Z01234", "at=2013-04-10T12:00:00Z", "window_minutes=1440"]);
    assert_eq!(health["data"]["health"], "critical");
    let today = system.ask(&["device_health", "source_device=Z01234"]);
    assert_eq!((&today["data"]["health"], &today["data"]["score"]), (&Value::from("unknown"), &Value::Null));
}

#[test]
fn the_real_fleet_of_one_day_is_stored_whole() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/backblaze/2013-04-10.csv");
    if !file.exists() {
        spindle_testkit::not_checked(&format!("the real fleet, {} is absent", file.display()));
        return;
    }
    let system = System::start("", &["--source", &format!("replay:{}", file.display())]);
    system.wait_for(&["alerts_critical"], "9VS3FM1J failed", |answer| answer["data"][0]["source_device"] == "9VS3FM1J");
    spindle_testkit::wait_until(crate::harness::PATIENCE, "every value is stored", || {
        counts(&system) == (105_975, 1, 21_195)
    })
    .unwrap();
}

/// Counts metrics, events and devices in the store.
pub(crate) fn counts(system: &System) -> (u64, u64, u64) {
    let (n_metrics, n_events) = system.stored();
    (n_metrics, n_events, system.stored_devices())
}

#[test]
fn replayed_ndjson_keeps_its_times_unless_shifted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.ndjson");
    std::fs::write(
        &file,
        "{\"timestamp\":\"2020-01-01T00:00:00Z\",\"sourceDevice\":\"d\",\"metricType\":\"DiskTemp\",\"value\":40}\nnonsense\n\
         [{\"timestamp\":\"2020-01-01T00:00:01Z\",\"sourceDevice\":\"d\",\"metricType\":\"DiskTemp\",\"value\":60}]\n",
    )
    .unwrap();
    let source = format!("replay:{}", file.display());
    let kept = System::start("", &["--source", &source]);
    let anomaly = ["anomaly_temperature", "source_device=d", "at=2020-01-01T00:10:00Z"];
    let answer = kept.wait_for(&anomaly, "the recording is stored", |answer| answer["basis"]["n_points"] == 2);
    assert_eq!(
        (&answer["data"]["initial_temp"], &answer["data"]["latest_temp"]),
        (&Value::from(40.0), &Value::from(60.0))
    );
    assert_eq!((&answer["data"]["ratio"], &answer["data"]["anomaly"]), (&Value::from(1.5), &Value::from(true)));
    assert!(kept.log().contains("record left out"), "{}", kept.log());
    let shifted = System::start("", &["--source", &source, "--replay-shift-to-now"]);
    shifted.wait_for(&["anomaly_temperature", "source_device=d"], "the recording begins now", |answer| {
        answer["basis"]["n_points"] == 2
    });
}

#[test]
fn http_gives_the_readers_answers_and_health() {
    let system = System::start(NO_SOURCES, &[]);
    spindle_testkit::wait_until(crate::harness::PATIENCE, "it is ready", || {
        get(&system, "/readyz") == (200, "ready\n".to_owned())
    })
    .unwrap();
    assert_eq!(get(&system, "/healthz").0, 200);
    assert!(get(&system, "/").1.contains("<title>Spindle</title>"));
    let (status, body) = get(&system, "/api/v1/query?query_type=devices&limit=5");
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["status"], "success");
    let (status, body) = get(&system, "/api/v1/query?query_type=devices&limit=none");
    assert_eq!(status, 400);
    assert!(serde_json::from_str::<Value>(&body).unwrap()["message"].as_str().unwrap().contains("limit"));
    let metrics = get(&system, "/metrics").1;
    assert!(metrics.contains("# HELP spindle_reader_queries_total"), "{metrics}");
    assert_eq!(get(&system, "/nowhere").0, 404);
}

/// Returns status and body of `GET path` at an address.
pub(crate) fn get_from(address: &str, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn get(system: &System, path: &str) -> (u16, String) {
    get_from(&system.http(), path)
}

/// Three events share an id: two devices, and two types of one. After a restart the recording is published again, and
/// someone else publishes it without a message id.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_share_an_id_are_all_stored_and_repeats_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.ndjson");
    let event = |device: &str, kind: &str| {
        format!(
            r#"{{"id":"fan 2\n42","criticality":9,"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"{device}","eventType":"{kind}"}}"#
        )
    };
    let events = [event("a", "Note"), event("b", "Note"), event("a", "Warning")];
    std::fs::write(&file, events.join("\n")).unwrap();
    let mut system = System::start("", &["--source", &format!("replay:{}", file.display())]);
    let query = ["events", "from=2025-06-06T12:00:00Z", "until=2025-06-06T13:00:00Z"];
    let answer = system.wait_for(&query, "all are stored", |answer| answer["basis"]["n_points"] == 3);
    assert!(answer["data"].as_array().unwrap().iter().all(|row| row["event_id"] == "fan 2\n42"), "{answer}");

    system.kill();
    system.start_again();
    let counter = |name: &str| {
        let metrics = get(&system, "/metrics").1;
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let wait = |name: &str| {
        spindle_testkit::wait_until(crate::harness::PATIENCE, name, || counter(name) >= 3.0).unwrap();
        assert_eq!(counter(name), 3.0, "{name}");
    };
    wait("spindle_daemon_duplicate_items_total");
    let nats = async_nats::jetstream::new(system.nats().await);
    for event in events {
        nats.publish("events.event", event.into()).await.unwrap().await.unwrap();
    }
    wait("spindle_writer_duplicate_items_total{kind=\"event\"}");
    assert_eq!(system.ask(&query)["basis"]["n_points"], 3);
}
