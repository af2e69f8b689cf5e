//! `spindle check` on real servers: states and remedies. It must change nothing.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use async_nats::jetstream::{self, stream};
use serde_json::Value;
use spindle_testkit::{InfluxOptions, InfluxServer, NatsServer, Options, SmallDisk};

use crate::harness::{NO_SOURCES, System, spindle};

/// Result of a check, by the name of what was checked.
struct Report {
    exit_code: i32,
    rows: BTreeMap<String, Value>,
}

impl Report {
    fn of(command: &mut Command) -> Self {
        let output = command.args(["check", "--format", "json"]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = document["findings"].as_array().unwrap().iter();
        let rows = rows.map(|row| (row["check"].as_str().unwrap().to_owned(), row.clone())).collect();
        Self { exit_code: output.status.code().unwrap(), rows }
    }

    /// A row must have this state, these parts in it, and a remedy unless it is ok.
    fn has(&self, check: &str, state: &str, parts: &[&str]) {
        let row = self.rows.get(check).unwrap_or_else(|| panic!("no row '{check}' in {:?}", self.rows));
        let text = row.to_string();
        assert_eq!(row["state"], state, "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "not all of {parts:?} in {text}");
        assert_eq!(row["remedy"] == "", state == "ok", "{text}");
    }

    fn all_ok(&self) {
        assert!(self.rows.values().all(|row| row["state"] == "ok"), "{:#?}", self.rows);
        assert_eq!(self.exit_code, 0);
    }
}

fn without_sources(data_dir: &Path) -> Command {
    std::fs::write(data_dir.parent().unwrap().join("none.toml"), NO_SOURCES).unwrap();
    let mut command = spindle(data_dir);
    command.args(["--config", "none.toml"]);
    command
}

#[test]
fn before_the_first_start_all_is_right_and_nothing_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let report = Report::of(&mut without_sources(&data));
    report.all_ok();
    report.has("nats-server", "ok", &["v2."]);
    report.has("data directory", "ok", &["does not exist yet"]);
    assert!(!data.exists());
    let table = without_sources(&data).arg("check").output().unwrap();
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.contains("ok    data directory: ") && text.contains("0 warnings, 0 failed"), "{text}");
    // A pipe has no width: a line per finding, not a table as wide as the longest of them.
    assert!(text.lines().all(|line| !line.contains("  \u{2502}") && !line.ends_with(' ')), "{text}");
    let mut terminal = without_sources(&data);
    let table = String::from_utf8(terminal.arg("check").env("COLUMNS", "80").output().unwrap().stdout).unwrap();
    assert!(table.contains("remedy") && table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for wrong in [["check", "--format", "xml"].as_slice(), &["check", "--config", "missing.toml"]] {
        assert_eq!(spindle(&data).args(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_running_system_is_found_and_is_right() {
    let system = System::start(NO_SOURCES, &[]);
    let mut command = without_sources(&system.data_dir());
    if let Some(influx) = &system.influx {
        command.env("INFLUXDB_HOST", influx.url());
    }
    // The running system has its server: the program is not needed here.
    command.env("SPINDLE_NATS_SERVER", "/nowhere/nats-server");
    let report = Report::of(&mut command);
    report.all_ok();
    report.has("data directory", "ok", &["in use by process"]);
    report.has("HTTP address", "ok", &["served by the running system"]);
    for stream in ["METRICS", "EVENTS", "DEADLETTER"] {
        report.has(&format!("stream {stream}"), "ok", &["0 messages"]);
    }
}

#[test]
fn nats_that_is_away_or_refuses_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut away = without_sources(&data);
    away.env("NATS_URL", "nats://me:sesame@127.0.0.1:1").env("SPINDLE_NATS_CONNECT_TIMEOUT", "200ms");
    let report = Report::of(&mut away);
    report.has("NATS", "fail", &["127.0.0.1:1", "refused", "start nats-server"]);
    assert_eq!(report.exit_code, 1);
    assert!(!format!("{:?}", report.rows).contains("sesame"));

    // A role of deploy/nats/nats-server.conf receives replies only for the connection of its role.
    let extra_config = r#"authorization { users: [
        { user: me, password: right, permissions: { publish: ["$JS.API.STREAM.INFO.METRICS"], subscribe: ["_INBOX.spindle-check.>"] } }
        { user: daemon, password: right, permissions: { publish: ["$JS.API.STREAM.INFO.EVENTS"], subscribe: ["_INBOX.spindle-daemon.>"] } }
    ] }
"#
    .to_owned();
    let server = NatsServer::start_with(Options { extra_config, ..Options::default() }).unwrap();
    let with = |user: &str, password: &str| {
        let mut command = without_sources(&data);
        command.env("NATS_URL", server.url()).env("NATS_USER", user).env("NATS_PASSWORD", password);
        Report::of(&mut command)
    };
    let wrong = with("me", "wrong");
    wrong.has("NATS", "fail", &["authorization", "NATS_PASSWORD"]);
    assert_eq!(wrong.exit_code, 1);
    let right = with("me", "right");
    right.has("NATS", "ok", &["connected"]);
    right.has("stream METRICS", "ok", &["does not exist yet"]);
    right.has("stream EVENTS", "warn", &["may not publish to '$JS.API.STREAM.INFO.EVENTS'", "daemon and detector"]);
    assert_eq!(right.exit_code, 0, "warnings are allowed");
    with("daemon", "right").has("stream EVENTS", "ok", &["does not exist yet"]);
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for wrong in [file.clone(), file.join("data")] {
        let mut command = without_sources(&folder.path().join("data"));
        let report = Report::of(command.env("SPINDLE_DATA_DIR", &wrong));
        report.has("data directory", "fail", &["not a directory", "--data-dir"]);
        assert_eq!(report.exit_code, 1);
    }
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("spindle.db"), "this is not a database").unwrap();
    Report::of(&mut without_sources(&data)).has("store", "fail", &["not a SQLite database"]);
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1, "it creates no file");
}

#[test]
fn a_full_disk_is_named() {
    let Some(disk) = SmallDisk::mount(4 << 20).unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = disk.path().join("data");
    let report = Report::of(without_sources(&folder.path().join("data")).env("SPINDLE_DATA_DIR", data));
    report.has("disk space", "fail", &["MiB free", "--data-dir"]);
    assert_eq!(report.exit_code, 1);
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = without_sources(&folder.path().join("data"));
    command.env("SPINDLE_HTTP", address.to_string()).env("SPINDLE_NATS_PORT", address.port().to_string());
    let report = Report::of(&mut command);
    report.has("HTTP address", "fail", &[&address.to_string(), "--http"]);
    report.has("NATS port", "warn", &["SPINDLE_NATS_PORT"]);
    assert_eq!(report.exit_code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_would_lose_messages_is_named_and_none_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let server = NatsServer::start().unwrap();
    let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let in_memory = stream::Config {
        name: "METRICS".to_owned(),
        subjects: vec!["events.metrics".to_owned()],
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    };
    jetstream.create_stream(in_memory).await.unwrap();
    let report = Report::of(without_sources(&folder.path().join("data")).env("NATS_URL", server.url()));
    report.has("stream METRICS", "fail", &["storage is memory instead of file", "nats stream edit METRICS"]);
    report.has("stream EVENTS", "ok", &["does not exist yet"]);
    assert_eq!(report.exit_code, 1);
    assert!(jetstream.get_stream("EVENTS").await.is_err(), "it must not create a stream");
}

/// A limit of messages counts as that of the bytes does.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_full_by_number_or_by_subject_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (max_messages, max_messages_per_subject) in [(10, -1), (-1, 10)] {
        let server = NatsServer::start().unwrap();
        let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let limited = stream::Config {
            name: "METRICS".to_owned(),
            subjects: vec!["events.metrics".to_owned(), "their.own".to_owned()],
            discard: stream::DiscardPolicy::New,
            discard_new_per_subject: max_messages_per_subject > 0,
            max_bytes: 4 << 30,
            max_messages,
            max_messages_per_subject,
            ..stream::Config::default()
        };
        jetstream.create_stream(limited).await.unwrap();
        let publish = async |subject: &'static str, n: usize| {
            for _ in 0..n {
                jetstream.publish(subject, "x".into()).await.unwrap().await.unwrap();
            }
        };
        let report = || Report::of(without_sources(&folder.path().join("data")).env("NATS_URL", server.url()));
        let is_by_subject = max_messages < 0;
        // Another subject takes nothing from a limit of each.
        publish("their.own", if is_by_subject { 8 } else { 0 }).await;
        publish("events.metrics", 8).await;
        report().has("stream METRICS", "warn", &["it may refuse messages before", "unless it is intended"]);
        publish("events.metrics", 1).await;
        let count = if is_by_subject { "9 of 10 of the fullest subject" } else { "9 messages of 10" };
        let remedy = "raise its limit of messages with `nats stream edit METRICS`";
        report().has("stream METRICS", "warn", &["nearly full: ", count, remedy]);
        publish("events.metrics", 1).await;
        report().has("stream METRICS", "warn", &["full, it refuses messages: ", remedy]);
    }
}

#[test]
fn influxdb_that_is_away_or_new_is_told_apart_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let with_host = |host: &str| Report::of(without_sources(&data).env("INFLUXDB_HOST", host));
    let away = with_host("http://me:sesame@127.0.0.1:1");
    away.has("store", "fail", &["127.0.0.1:1", "INFLUXDB_HOST"]);
    assert!(away.exit_code == 1 && !format!("{:?}", away.rows).contains("sesame"));
    let influx = InfluxServer::start().unwrap();
    let new = with_host(&influx.url());
    new.has("store", "ok", &["does not exist yet"]);
    let one_away = with_host(&format!("http://me:sesame@127.0.0.1:1,{}", influx.url()));
    one_away.has(
        "store",
        "warn",
        &["does not exist yet", "passed over: http://127.0.0.1:1 (", "refused", "INFLUXDB_HOST"],
    );
    assert!(!format!("{:?}", one_away.rows).contains("sesame"));
    let none = with_host("http://127.0.0.1:1,http://127.0.0.1:2");
    none.has("store", "fail", &["127.0.0.1:1", "127.0.0.1:2", "start InfluxDB"]);
    let databases = influx.query("", "SHOW DATABASES").unwrap().to_string();
    assert!(!databases.contains("spindle"), "it must not create a database: {databases}");
}

/// A server that answered is not to be started.
#[test]
fn a_store_that_refuses_is_named_with_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let influx = InfluxServer::start_with(InfluxOptions { auth: true, ..InfluxOptions::default() }).unwrap();
    let report = Report::of(without_sources(&data).env("INFLUXDB_HOST", influx.url()));
    report.has("store", "fail", &["401", "INFLUXDB_PASSWORD", "correct what the answer names"]);
    assert!(!format!("{:?}", report.rows).contains("start InfluxDB"));
}
