//! A message that makes the writer panic becomes a dead letter at its first delivery; messages in flight in a writer that
//! is killed never do. And a stream of dead letters that is full.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use async_nats::jetstream;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use spindle_bus::{Bus, Consumer, Credentials, NatsSettings, StreamLimits};
use spindle_testkit::{InfluxServer, NatsServer};

use crate::apart::influx_count;
use crate::harness::{NO_SOURCES, PATIENCE, System, spindle, stored_rows};
use crate::pipeline::get;

const POISON: &str = "POISON";
const PLANTED: [(&str, &str); 1] = [("SPINDLE_TEST_PANIC_AT", POISON)];

/// A nats-server with its streams, and a data directory for writers.
struct Fixture {
    server: NatsServer,
    bus: Bus,
    jetstream: jetstream::Context,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let server = NatsServer::start().unwrap();
        let settings =
            NatsSettings { url: server.url(), credentials: Credentials::default(), connect_timeout: PATIENCE };
        let bus = Bus::connect(&settings, "test").await.unwrap();
        let limits = StreamLimits {
            metrics_bytes: 64 << 20,
            events_bytes: 16 << 20,
            dead_letter_bytes: 16 << 20,
            retention: None,
        };
        bus.ensure_streams(limits).await.unwrap();
        let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
        Self { server, bus, jetstream, folder: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `spindle writer`, with failpoints.
    fn writer(&self, environment: &[(&str, &str)]) -> Writer {
        let log = self.folder.path().join("writer.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = spindle(&self.data());
        command.arg("writer").env("NATS_URL", self.server.url()).envs(environment.iter().copied());
        Writer(command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap(), log)
    }

    async fn lag(&self) -> u64 {
        let mut lag = 0;
        for (stream, consumer) in [("METRICS", "writer-metrics"), ("EVENTS", "writer-events")] {
            lag += Consumer::lag(&self.bus, stream, consumer).await.unwrap_or(1);
        }
        lag
    }

    async fn letters(&self) -> u64 {
        self.bus.stream_state("DEADLETTER").await.unwrap().messages
    }

    /// Metrics and events in the store of the data directory.
    async fn stored(&self) -> (u64, u64) {
        let (metrics, events, _) = stored_rows(&self.data().join("spindle.db"));
        (metrics, events)
    }

    fn dlq(&self, words: &[&str]) -> Vec<u8> {
        let mut command = spindle(&self.data());
        command.arg("dlq").args(words).env("NATS_URL", self.server.url()).output().unwrap().stdout
    }
}

/// Killed when dropped.
struct Writer(Child, PathBuf);

impl Writer {
    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- log of the writer ---\n{}", log(&self.1));
        }
    }
}

fn log(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn metric(number: u64, value: &str) -> String {
    format!(
        r#"{{"timestamp":"2025-06-06T12:08:40.{number:09}Z","sourceDevice":"d","metricType":"DiskTemp","value":{value}}}"#
    )
}

fn event(number: u64, kind: &str) -> String {
    let id = uuid::Uuid::from_u64_pair(7, number);
    format!(
        r#"{{"id":"{id}","criticality":5,"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"d","eventType":"{kind}"}}"#
    )
}

/// Publishes all of them, many in flight.
async fn publish(jetstream: &jetstream::Context, messages: impl IntoIterator<Item = (&'static str, String)>) {
    let mut in_flight = FuturesUnordered::new();
    for (subject, payload) in messages {
        in_flight.push(jetstream.publish(subject, payload.into()).await.unwrap().into_future());
        if in_flight.len() >= 500 {
            in_flight.next().await.unwrap().unwrap();
        }
    }
    while let Some(acked) = in_flight.next().await {
        acked.unwrap();
    }
}

/// Waits for a state with an asynchronous check.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_panics_becomes_a_dead_letter_at_its_first_delivery_and_takes_no_other_with_it() {
    let fixture = Fixture::new().await;
    let poison = event(1000, POISON);
    let good = |numbers: std::ops::Range<u64>| {
        numbers.flat_map(|number| [("events.event", event(number, "Good")), ("events.metrics", metric(number, "40"))])
    };
    publish(&fixture.jetstream, good(0..150)).await;
    publish(&fixture.jetstream, [("events.event", poison.clone())]).await;
    publish(&fixture.jetstream, good(150..300)).await;
    let mut writer = fixture.writer(&PLANTED);
    until("everything to be done", async || fixture.lag().await == 0).await;
    assert_eq!(writer.ended(), None, "it survives");
    assert_eq!((fixture.letters().await, fixture.stored().await), (1, (300, 300)));
    let letters: Value = serde_json::from_slice(&fixture.dlq(&["ls", "--format", "json"])).unwrap();
    let letter = &letters[0];
    assert_eq!((&letter["reason"], &letter["subject"]), (&"panic".into(), &"events.event".into()));
    assert!(letter["detail"].as_str().unwrap().contains("failpoint SPINDLE_TEST_PANIC_AT"), "{letter}");
    let sequence = letter["sequence"].to_string();
    assert_eq!(fixture.dlq(&["show", "--raw", &sequence]), poison.as_bytes());
    let log = log(&fixture.folder.path().join("writer.log"));
    assert!(log.contains("poison message dead-lettered"), "{log}");
    // A panic is a line of the log, like everything else.
    let panics: Vec<_> = log.lines().filter(|line| line.contains(": panicked error=")).collect();
    assert!(matches!(panics[..], [line] if line.contains("ERROR") && line.contains("failpoints.rs")), "{panics:?}");
    assert!(!log.contains("RUST_BACKTRACE"), "{log}");
    // Fixed: the same message, replayed, is stored like any other.
    writer.kill();
    assert_eq!(fixture.dlq(&["replay", &sequence]), b"replayed 1, skipped 0, failed 0\n");
    let _writer = fixture.writer(&[]);
    until("it to be stored", async || fixture.stored().await == (300, 301)).await;
    assert_eq!(fixture.letters().await, 0);
}

/// A panic while a batch is encoded for the store: the message is found among the others, whose refused elements become
/// dead letters of their own, as always.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_store_costs_one_message_and_hides_no_refusal() {
    let (fixture, influx) = (Fixture::new().await, InfluxServer::start().unwrap());
    influx.query("", "CREATE DATABASE spindle").unwrap();
    // The field of that week is a string: numbers are refused.
    influx.write("spindle", "device_metrics,source_device=other value=\"text\" 1500000000000000000").unwrap();
    let host = influx.url();
    let value = |time: &str, metric_type: &str| {
        format!(r#"{{"timestamp":"{time}","sourceDevice":"d","metricType":"{metric_type}","value":1}}"#)
    };
    let (good, refused) = ("2024-01-01T00:00:0", value("2017-07-14T02:40:00Z", "Number"));
    let poison = format!("[{},{}]", value(&format!("{good}9Z"), "Number"), value(&format!("{good}8Z"), "Poison"));
    let messages = [
        value(&format!("{good}1Z"), "Number"),
        "[]".to_owned(),
        format!("[{},{refused},{}]", value(&format!("{good}2Z"), "Number"), value(&format!("{good}3Z"), "Number")),
        poison.clone(),
        "no json".to_owned(),
        value(&format!("{good}4Z"), "Number"),
    ];
    publish(&fixture.jetstream, messages.map(|message| ("events.metrics", message))).await;
    let mut writer = fixture.writer(&[("SPINDLE_TEST_PANIC_ON_WRITE", "Poison"), ("INFLUXDB_HOST", &host)]);
    until("everything to be done", async || fixture.lag().await == 0).await;
    assert_eq!(writer.ended(), None, "it survives");
    assert_eq!(influx_count(&influx, "device_metrics", "value"), 4);
    let letters: Value = serde_json::from_slice(&fixture.dlq(&["ls", "--format", "json"])).unwrap();
    let mut letters: Vec<_> = letters.as_array().unwrap().iter().collect();
    letters.sort_by_key(|letter| letter["reason"].as_str());
    let bytes = |letter: &Value| fixture.dlq(&["show", "--raw", &letter["sequence"].to_string()]);
    let found: Vec<_> = letters.iter().map(|letter| (letter["reason"].as_str().unwrap(), bytes(letter))).collect();
    let expected = [("bad_json", "no json"), ("panic", &poison), ("store_refused", &refused)];
    assert_eq!(found, expected.map(|(reason, text)| (reason, text.as_bytes().to_vec())));
}

/// An InfluxDB that restarts is restored to from the stream, which still holds the poison message.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_does_not_stop_a_restore() {
    let (fixture, mut influx) = (Fixture::new().await, InfluxServer::start().unwrap());
    let host = influx.url();
    let environment = [&PLANTED[..], &[("INFLUXDB_HOST", host.as_str())]].concat();
    let good = |number| ("events.event", event(number, "Good"));
    let mut writer = fixture.writer(&environment);
    publish(&fixture.jetstream, (0..20).map(good)).await;
    publish(&fixture.jetstream, [("events.event", event(1000, POISON))]).await;
    publish(&fixture.jetstream, (20..40).map(good)).await;
    until("everything to be done", async || fixture.lag().await == 0).await;
    assert_eq!(influx_count(&influx, "events", "criticality"), 40);
    until("the dead letter", async || fixture.letters().await == 1).await;
    influx.query("spindle", "DELETE FROM events").unwrap();
    influx.restart().unwrap();
    until("all that is good to be restored", async || {
        assert!(writer.ended().is_none(), "it ended");
        influx_count(&influx, "events", "criticality") == 40
    })
    .await;
    assert_eq!((writer.ended(), fixture.letters().await), (None, 1));
}

/// The store is unavailable and the writer is restarted again and again: each time costs every message in flight a
/// delivery, and none of them is to blame.
#[tokio::test(flavor = "multi_thread")]
async fn messages_in_the_hand_of_a_writer_that_is_killed_again_and_again_are_no_dead_letters() {
    let fixture = Fixture::new().await;
    let messages =
        (0..120).flat_map(|number| [("events.event", event(number, "Good")), ("events.metrics", metric(number, "40"))]);
    publish(&fixture.jetstream, messages).await;
    let away =
        [("SPINDLE_TEST_ACK_WAIT", "500ms"), ("SPINDLE_STORE", "influxdb"), ("INFLUXDB_HOST", "http://127.0.0.1:1")];
    let delivered = async || {
        let stream = fixture.jetstream.get_stream("EVENTS").await.unwrap();
        stream.consumer_info("writer-events").await.map_or(0, |info| info.delivered.consumer_sequence)
    };
    for round in 0..15 {
        let before = delivered().await;
        let mut writer = fixture.writer(&away);
        until("messages in flight", async || delivered().await > before).await;
        // At different moments.
        tokio::time::sleep(Duration::from_millis(20 * (round % 5))).await;
        writer.kill();
    }
    let _writer = fixture.writer(&[("SPINDLE_TEST_ACK_WAIT", "500ms")]);
    until("everything to be stored", async || fixture.lag().await == 0).await;
    assert_eq!((fixture.letters().await, fixture.stored().await), (0, (120, 120)));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_dead_letter_can_be_kept_good_messages_pass_and_bad_ones_wait() {
    // Small batches: without room for deferred messages, fewer than 50 unacknowledged messages stop the lane.
    let small = "[nats]\ndeadletter_bytes = \"64KiB\"\n[writer]\nbatch_messages = 5\n";
    let system = System::start(&format!("{NO_SOURCES}{small}"), &[]);
    let jetstream = jetstream::new(system.nats().await);
    let n_letters = async || {
        let stream = jetstream.get_stream("DEADLETTER").await.unwrap();
        stream.cached_info().state.messages
    };
    let n_pending = async || {
        let stream = jetstream.get_stream("METRICS").await.unwrap();
        let info = stream.consumer_info("writer-metrics").await.unwrap();
        info.num_pending + info.num_ack_pending as u64
    };
    // Full.
    for size in [1000, 1] {
        while jetstream.publish("deadletter.filler", vec![b'x'; size].into()).await.unwrap().await.is_ok() {}
    }
    let n_fillers = n_letters().await;
    // 5,000 good ones, 40 bad ones, and 10 that are both.
    let messages = (0..5_000_u64).flat_map(|number| {
        let bad = match number % 100 {
            7 if number % 500 == 7 => Some(format!("[{},{}]", metric(10_000 + number, "41"), metric(number, "4575"))),
            7 => Some("no json".to_owned()),
            _ => None,
        };
        std::iter::once(metric(number, "40")).chain(bad).map(|payload| ("events.metrics", payload))
    });
    publish(&jetstream, messages).await;
    until("all that is good to be stored", async || system.stored().0 == 5_010).await;
    until("only the bad ones to be pending", async || n_pending().await == 50).await;
    assert_eq!(n_letters().await, n_fillers);
    let (status, words) = get(&system, "/readyz");
    assert_eq!(status, 503, "{words}");
    assert!(words.contains("DEADLETTER is full") && words.contains("spindle dlq drop"), "{words}");
    assert!(system.log().contains("block no others"), "{}", system.log());
    let metrics = get(&system, "/metrics").1;
    assert!(metrics.contains("spindle_writer_deferred_messages_total{stream=\"METRICS\"}"), "{metrics}");

    let dropped = spindle(&system.data_dir()).args(["dlq", "drop", "--all", "--yes"]).output().unwrap();
    assert_eq!(dropped.status.code(), Some(0), "{}", String::from_utf8_lossy(&dropped.stderr));
    until("the bad ones to be dead letters", async || n_letters().await == 50).await;
    until("nothing to be pending", async || n_pending().await == 0).await;
    until("it to be ready", async || get(&system, "/readyz").0 == 200).await;
    assert_eq!(system.stored().0, 5_010);
    let metrics = get(&system, "/metrics").1;
    let gauge = metrics.lines().find(|line| line.starts_with("spindle_writer_dead_letters_in_stream "));
    assert!(gauge.is_some(), "{metrics}");
}
