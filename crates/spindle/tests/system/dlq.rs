//! `spindle dlq` as a user runs it: dead letters among good messages are listed, shown, replayed and dropped; every
//! byte, and nothing twice.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use serde_json::Value;
use spindle_bus::{Bus, Credentials, NatsSettings, StreamLimits};
use spindle_testkit::{NatsServer, wait_until};

use crate::harness::{NO_SOURCES, PATIENCE, System, spindle};
use crate::pipeline::counts;

struct Desk {
    /// Address of NATS, unless the data directory contains it.
    url: Option<String>,
    data: std::path::PathBuf,
    _folder: tempfile::TempDir,
    jetstream: jetstream::Context,
}

impl Desk {
    /// For a running system, found through its data directory.
    async fn of(system: &System) -> Self {
        let jetstream = jetstream::new(system.nats().await);
        Self { url: None, data: system.data_dir(), _folder: tempfile::tempdir().unwrap(), jetstream }
    }

    fn at(url: String, client: async_nats::Client) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { url: Some(url), data: folder.path().join("data"), _folder: folder, jetstream: jetstream::new(client) }
    }

    /// With a nats-server and its streams, which nothing consumes.
    async fn alone() -> (NatsServer, Self) {
        let server = NatsServer::start().unwrap();
        let settings = NatsSettings {
            url: server.url(),
            credentials: Credentials::default(),
            connect_timeout: Duration::from_secs(10),
        };
        let limits = StreamLimits {
            metrics_bytes: 64 << 20,
            events_bytes: 16 << 20,
            dead_letter_bytes: 64 << 20,
            retention: None,
        };
        Bus::connect(&settings, "test").await.unwrap().ensure_streams(limits).await.unwrap();
        let desk = Self::at(server.url(), async_nats::connect(server.url()).await.unwrap());
        (server, desk)
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = spindle(&self.data);
        command.arg("dlq").args(arguments).env("SPINDLE_NATS_CONNECT_TIMEOUT", "10s");
        if let Some(url) = &self.url {
            command.env("NATS_URL", url);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and returns its output.
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.good(&[&["ls", "--format", "json"], arguments].concat());
        serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
    }

    fn sequences(&self, arguments: &[&str]) -> Vec<u64> {
        self.list(arguments).iter().map(|letter| letter["sequence"].as_u64().unwrap()).collect()
    }

    async fn publish(&self, subject: &'static str, payload: impl Into<Vec<u8>>) {
        self.jetstream.publish(subject, payload.into().into()).await.unwrap().await.unwrap();
    }

    /// Leaves a dead letter that can be stored now, as an older Spindle would have.
    async fn leave(&self, subject: &str, payload: impl Into<Vec<u8>>) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Spindle-Subject", subject);
        headers.insert("Spindle-Detail", "too new");
        let sent = self.jetstream.publish_with_headers("deadletter.bad_field", headers, payload.into().into()).await;
        sent.unwrap().await.unwrap();
    }

    async fn n_messages(&self, stream: &str) -> u64 {
        self.jetstream.get_stream(stream).await.unwrap().info().await.unwrap().state.messages
    }
}

/// Returns the metrics, events and devices in the store.
fn stored(system: &System) -> (u64, u64, u64) {
    std::thread::scope(|scope| scope.spawn(|| counts(system)).join().unwrap())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mistake(output: &Output, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} not all in: {text}");
}

fn metric(device: &str, number: u64, value: &str) -> String {
    format!(
        r#"{{"timestamp":"2025-06-06T12:08:40.{number:09}Z","sourceDevice":"{device}","metricType":"DiskTemp","value":{value}}}"#
    )
}

/// Returns bytes that are neither text nor compressible.
fn noise(n_bytes: usize) -> Vec<u8> {
    let mut state = 7_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(n_bytes)
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_among_good_is_listed_shown_and_dropped() {
    let system = System::start(NO_SOURCES, &[]);
    let desk = Desk::of(&system).await;
    let output = desk.run(&["ls"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "no dead letters\n"));
    assert!(output.stdout.is_empty());

    let poison = noise(3000);
    let brim = noise(1 << 20);
    let hot = metric("d", 1, "4575");
    for number in 0..100 {
        desk.publish("events.metrics", metric("d", 1000 + number, "40")).await;
        match number {
            10 => desk.publish("events.metrics", "no json \u{1b}[2J").await,
            20 => desk.publish("events.metrics", format!("[{},{hot}]", metric("d", 2, "40"))).await,
            30 => desk.publish("events.event", "{}").await,
            40 => desk.publish("events.metrics", poison.clone()).await,
            50 => desk.publish("events.event", brim.clone()).await,
            _ => {}
        }
    }
    wait_until(PATIENCE, "everything is stored or dead-lettered", || {
        stored(&system) == (101, 0, 1) && desk.list(&[]).len() == 6 // The last one takes two messages.
    })
    .unwrap();

    let output = desk.run(&["ls"]);
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(stderr(&output).contains("5 dead letters in 6 messages: bad_field 1, bad_json 3, missing_field 1"));
    assert!(table.contains("4575 °C, outside -60 to 200") && !table.contains('\u{1b}'), "{table}");
    // The newest first, and the reverse. The lanes run in parallel, so any of them may be the newest.
    let newest = desk.sequences(&[]);
    assert_eq!(newest, [6, 5, 4, 3, 2, 1]);
    assert_eq!(desk.sequences(&["--limit", "2"]), [6, 5]);
    assert_eq!(desk.sequences(&["--oldest", "--limit", "2"]), [1, 2]);
    assert!(stderr(&desk.run(&["ls", "--limit", "2"])).contains("the 2 newest are shown"));

    let letters = desk.list(&["--oldest"]);
    let find = |reason: &str, subject: &str| -> Vec<&Value> {
        letters.iter().filter(|letter| letter["reason"] == reason && letter["subject"] == subject).collect()
    };
    let field = find("bad_field", "events.metrics")[0];
    assert_eq!((&field["stream"], &field["index"], &field["part"]), (&"METRICS".into(), &1.into(), &Value::Null));
    assert_eq!(field["size_bytes"], hot.len());
    assert_eq!(desk.list(&["--reason", "bad_field"]), std::slice::from_ref(field));
    assert_eq!(desk.sequences(&["--reason", "bad_json", "--subject", "events.event"]).len(), 2);
    assert_eq!(desk.sequences(&["--subject", "events.event"]).len(), 3);
    assert_eq!(desk.sequences(&["--since", "1h"]).len(), 6);
    assert_eq!(desk.sequences(&["--until", "1h"]).len(), 0);
    let third = letters[2]["time"].as_str().unwrap();
    assert_eq!(desk.sequences(&["--since", third, "--oldest"]), [3, 4, 5, 6]);
    assert_eq!(desk.sequences(&["--until", third]), [2, 1]);
    let nothing = desk.run(&["ls", "--reason", "boredom"]);
    assert_eq!((nothing.status.code(), stderr(&nothing).as_str()), (Some(0), "no dead letters that match\n"));

    // Every byte of each, no matter which part is named.
    let raw = |letter: &Value| desk.run(&["show", "--raw", &letter["sequence"].to_string()]).stdout;
    assert_eq!(raw(field), hot.as_bytes());
    for part in find("bad_json", "events.event") {
        assert!(raw(part) == brim, "part {part}");
    }
    let kept: Vec<_> = find("bad_json", "events.metrics").into_iter().map(raw).collect();
    assert!(kept.contains(&poison) && kept.contains(&b"no json \x1b[2J".to_vec()));
    let shown = desk.good(&["show", &field["sequence"].to_string()]);
    for part in ["bad_field", "events.metrics", "METRICS", "index        1", "4575 °C", hot.as_str()] {
        assert!(shown.contains(part), "{part} not in {shown}");
    }
    let all: Vec<String> = newest.iter().map(u64::to_string).collect();
    let shown = desk.good(&[vec!["show"], all.iter().map(String::as_str).collect()].concat());
    assert!(shown.contains(r"no json \u{1b}[2J") && shown.contains("(not UTF-8 text"), "{shown}");
    assert!(!shown.contains('\u{1b}'));
    let missing = desk.run(&["show", "99"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("no dead letter 99"), "{}", stderr(&missing));

    // Nothing is dropped without confirmation, and then only the selection.
    mistake(&desk.run(&["drop", "--all"]), &["--yes", "--dry-run"]);
    mistake(&desk.run(&["drop"]), &["exactly one of SEQ", "--all"]);
    let dry = desk.run(&["drop", "--reason", "bad_json", "--dry-run"]);
    assert!(stderr(&dry).contains("would drop 3 dead letters in 4 messages: bad_json 3"), "{}", stderr(&dry));
    assert_eq!(desk.sequences(&[]).len(), 6);
    let part = find("bad_json", "events.event")[1]["sequence"].to_string();
    assert_eq!(desk.good(&["drop", &part, "--yes"]), "dropped 1, skipped 0\n");
    assert_eq!(desk.sequences(&["--subject", "events.event"]).len(), 1, "both parts are gone");
    let gone = desk.run(&["drop", "--yes", &part]);
    assert_eq!(gone.status.code(), Some(1), "{}", stderr(&gone));
    assert_eq!(desk.good(&["drop", "--yes", "--since", third, "--until", third]), "");
    assert_eq!(desk.good(&["drop", "--yes", "--subject", "events.event"]), "dropped 1, skipped 0\n");
    assert_eq!(desk.good(&["drop", "--yes", "--reason", "bad_field"]), "dropped 1, skipped 0\n");
    assert_eq!(desk.good(&["drop", "--yes", "--all"]), "dropped 2, skipped 0\n");
    assert_eq!(desk.n_messages("DEADLETTER").await, 0);
    assert_eq!(desk.jetstream.get_stream("DEADLETTER").await.unwrap().cached_info().state.consumer_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_checked_like_any_message() {
    let system = System::start(NO_SOURCES, &[]);
    let desk = Desk::of(&system).await;
    desk.publish("events.metrics", metric("hot", 1, "4575")).await;
    wait_until(PATIENCE, "the dead letter", || desk.list(&[]).len() == 1).unwrap();
    // As bad as before: a dead letter again each time, with the number of its replays.
    for n_replays in 1..=3 {
        let dry = desk.run(&["replay", "--all", "--dry-run"]);
        assert!(stderr(&dry).contains("would replay 1 dead letter: bad_field 1"), "{}", stderr(&dry));
        assert_eq!(desk.good(&["replay", "--reason", "bad_field"]), "replayed 1, skipped 0, failed 0\n");
        wait_until(
            PATIENCE,
            "it is dead-lettered again",
            || matches!(&desk.list(&[])[..], [letter] if letter["replays"] == n_replays),
        )
        .unwrap();
    }
    let sequence = desk.sequences(&[])[0].to_string();
    assert!(desk.good(&["show", &sequence]).contains("replayed     3 times before"));
    // Messages that can be stored now are stored; an event from an array is replayed alone.
    desk.leave("events.metrics", metric("cool", 1, "40")).await;
    let event = r#"{"id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","criticality":8,"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"d","eventType":"Test"}"#;
    desk.leave("events.event", event).await;
    desk.leave("nowhere", "{}").await;
    let output = desk.run(&["replay", "--all", "--yes"]);
    mistake(&output, &["came from 'nowhere'", "1 of the dead letters could not be replayed"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "replayed 3, skipped 0, failed 1\n");
    wait_until(PATIENCE, "two are stored", || stored(&system) == (1, 1, 2)).unwrap();
    wait_until(PATIENCE, "one is back, one is still there", || desk.list(&[]).len() == 2).unwrap();
    assert_eq!(desk.run(&["replay", "99"]).status.code(), Some(1));
    mistake(&desk.run(&["replay", "--yes"]), &["exactly one of SEQ"]);
}

/// Killed at random points: each dead letter is either still there or replayed, and in the end each is in its stream
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_again_and_again_replays_each_letter_once() {
    const N_LETTERS: u64 = 3000;
    let (_server, desk) = Desk::alone().await;
    for number in 0..N_LETTERS {
        desk.leave("events.metrics", metric("d", number, "40")).await;
    }
    let mut n_kills = 0;
    for n_before_kill in [1, 20, 100, 300, 700, 1200, 2000] {
        let mut child = desk.command(&["replay", "--all"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while desk.n_messages("METRICS").await < n_before_kill && child.try_wait().unwrap().is_none() {
            assert!(tokio::time::Instant::now() < deadline);
        }
        n_kills += u64::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        // Nothing left one stream before it was in the other.
        assert!(desk.n_messages("DEADLETTER").await + desk.n_messages("METRICS").await >= N_LETTERS);
    }
    assert!(n_kills >= 5, "only {n_kills} kills came in time");
    let summary = desk.good(&["replay", "--all"]);
    assert!(summary.starts_with("replayed ") && summary.ends_with("skipped 0, failed 0\n"), "{summary}");
    assert_eq!(desk.n_messages("DEADLETTER").await, 0);
    assert_eq!(desk.n_messages("METRICS").await, N_LETTERS, "some were replayed twice or never");
    let mut by_payload = BTreeMap::new();
    for sequence in 1..=N_LETTERS {
        let message = desk.jetstream.get_stream("METRICS").await.unwrap().get_raw_message(sequence).await.unwrap();
        *by_payload.entry(message.payload).or_insert(0) += 1;
    }
    assert_eq!(by_payload.len() as u64, N_LETTERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_server_dies_says_how_far_it_came_and_the_same_command_goes_on() {
    const N_LETTERS: u64 = 2000;
    let (mut server, desk) = Desk::alone().await;
    for number in 0..N_LETTERS {
        desk.leave("events.metrics", metric("d", number, "40")).await;
    }
    let mut command = desk.command(&["replay", "--all"]);
    command.env("SPINDLE_NATS_CONNECT_TIMEOUT", "1s").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while desk.n_messages("METRICS").await < 200 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    server.kill();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    mistake(&output, &["replaying was interrupted", "run the same command again"]);
    let summary = String::from_utf8(output.stdout).unwrap();
    let n_replayed: u64 = summary.split(['d', ',']).nth(1).unwrap().trim().parse().unwrap();
    assert!((1..N_LETTERS).contains(&n_replayed), "{summary}");
    server.restart().unwrap();
    let summary = desk.good(&["replay", "--all"]);
    assert!(summary.ends_with("skipped 0, failed 0\n"), "{summary}");
    assert_eq!((desk.n_messages("DEADLETTER").await, desk.n_messages("METRICS").await), (0, N_LETTERS));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_said_within_the_patience() {
    let (mut server, desk) = Desk::alone().await;
    desk.leave("events.metrics", "{}").await;
    let impatient = |arguments: &[&str], url: &str| {
        let mut command = desk.command(arguments);
        command.env("SPINDLE_NATS_CONNECT_TIMEOUT", "1s").env("NATS_URL", url).output().unwrap()
    };
    mistake(&impatient(&["ls"], "nats://127.0.0.1:1"), &["127.0.0.1:1", "within 1 s"]);
    let (empty, folder) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    mistake(&impatient(&["ls"], &empty.url()), &["no stream DEADLETTER"]);
    let without_system = spindle(&folder.path().join("none")).args(["dlq", "ls"]).output().unwrap();
    mistake(&without_system, &["no running system", "NATS_URL"]);
    server.kill();
    mistake(&impatient(&["drop", "--all", "--yes"], &server.url()), &["connect to NATS"]);
    server.restart().unwrap();
    assert_eq!(desk.good(&["drop", "--all", "--yes"]), "dropped 1, skipped 0\n");
}

/// A server that enforces permissions does not respond to clients without them; the error names the missing one.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named() {
    let rights = r#"authorization { users: [
        { user: all, password: x }
        { user: reader, password: x, permissions: { publish: ["$JS.API.STREAM.INFO.DEADLETTER", "$JS.API.CONSUMER.CREATE.DEADLETTER.>", "$JS.API.CONSUMER.MSG.NEXT.DEADLETTER.>", "$JS.API.CONSUMER.DELETE.DEADLETTER.>"], subscribe: ["_INBOX.>"] } }
        { user: shy, password: x, permissions: { publish: ["$JS.API.STREAM.INFO.DEADLETTER"], subscribe: ["_INBOX.>"] } }
        { user: nobody, password: x, permissions: { publish: ["other"], subscribe: ["_INBOX.>"] } }
    ] }"#;
    let options = spindle_testkit::Options { extra_config: rights.to_owned(), ..Default::default() };
    let server = NatsServer::start_with(options).unwrap();
    let address = |user: &str| server.url().replace("nats://", &format!("nats://{user}:x@"));
    let settings = NatsSettings {
        url: address("all"),
        credentials: Credentials::default(),
        connect_timeout: Duration::from_secs(10),
    };
    let bus = Bus::connect(&settings, "test").await.unwrap();
    let limits =
        StreamLimits { metrics_bytes: 1 << 20, events_bytes: 1 << 20, dead_letter_bytes: 1 << 20, retention: None };
    bus.ensure_streams(limits).await.unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password("all".to_owned(), "x".to_owned());
    let client = options.connect(server.url()).await.unwrap();
    Desk::at(server.url(), client).leave("events.metrics", "{}").await;
    let folder = tempfile::tempdir().unwrap();
    let run = |user: &str, arguments: &[&str]| {
        let mut command = spindle(&folder.path().join("data"));
        command.arg("dlq").args(arguments).env("NATS_URL", address(user)).env("SPINDLE_NATS_CONNECT_TIMEOUT", "1s");
        command.output().unwrap()
    };
    mistake(&run("nobody", &["ls"]), &["may not publish to '$JS.API.STREAM.INFO.DEADLETTER'"]);
    mistake(&run("shy", &["ls"]), &["may not publish to '$JS.API.CONSUMER.CREATE.DEADLETTER."]);
    assert_eq!(run("reader", &["ls"]).status.code(), Some(0), "{}", stderr(&run("reader", &["ls"])));
    mistake(&run("reader", &["show", "1"]), &["may not publish to '$JS.API.STREAM.MSG.GET.DEADLETTER'"]);
    mistake(&run("wrong", &["ls"]), &["authorization"]);
}
