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
use spindle_store::Store;
use spindle_testkit::{InfluxServer, NatsServer};

use crate::apart::influx_count;
use crate::harness::{NO_SOURCES, PATIENCE, System, spindle};
use crate::pipeline::get;

const POISON: &str = "POISON";
const PLANTED: [(&str, &str); 1] = [("SPINDLE_TEST_PANIC_AT", POISON)];

/// A nats-server with its streams, and a data directory for writers.
struct Place {
    server: NatsServer,
    bus: Bus,
    jetstream: jetstream::Context,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let server = NatsServer::start().unwrap();
        let settings =
            NatsSettings { url: server.url(), credentials: Credentials::default(), connect_timeout: PATIENCE };
        let bus = Bus::connect(&settings, "test").await.unwrap();
        let limits = StreamLimits { metrics_bytes: 64 << 20, events_bytes: 16 << 20, dead_letter_bytes: 16 << 20 };
        bus.ensure_streams(limits).await.unwrap();
        let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
        Self { server, bus, jetstream, folder: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `spindle writer`, with the faults that debug builds can be given.
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
        let counts = Store::open_embedded(&self.data().join("spindle.db")).await.unwrap().counts().await.unwrap();
        (counts.metrics, counts.events)
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

/// Publishes all of them, many at once.
async fn publish(jetstream: &jetstream::Context, messages: impl IntoIterator<Item = (&'static str, String)>) {
    let mut on_their_way = FuturesUnordered::new();
    for (subject, payload) in messages {
        on_their_way.push(jetstream.publish(subject, payload.into()).await.unwrap().into_future());
        if on_their_way.len() >= 500 {
            on_their_way.next().await.unwrap().unwrap();
        }
    }
    while let Some(acked) = on_their_way.next().await {
        acked.unwrap();
    }
}

/// Waits for a state that is asked for asynchronously.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_panics_becomes_a_dead_letter_at_its_first_delivery_and_takes_no_other_with_it() {
    let place = Place::new().await;
    let poison = event(1000, POISON);
    let good = |numbers: std::ops::Range<u64>| {
        numbers.flat_map(|number| [("events.event", event(number, "Good")), ("events.metrics", metric(number, "40"))])
    };
    publish(&place.jetstream, good(0..150)).await;
    publish(&place.jetstream, [("events.event", poison.clone())]).await;
    publish(&place.jetstream, good(150..300)).await;
    let mut writer = place.writer(&PLANTED);
    until("everything to be done", async || place.lag().await == 0).await;
    assert_eq!(writer.ended(), None, "it survives");
    assert_eq!((place.letters().await, place.stored().await), (1, (300, 300)));
    let letters: Value = serde_json::from_slice(&place.dlq(&["ls", "--format", "json"])).unwrap();
    let letter = &letters[0];
    assert_eq!((&letter["reason"], &letter["subject"]), (&"panic".into(), &"events.event".into()));
    assert!(letter["detail"].as_str().unwrap().contains("failpoint SPINDLE_TEST_PANIC_AT"), "{letter}");
    let sequence = letter["sequence"].to_string();
    assert_eq!(place.dlq(&["show", "--raw", &sequence]), poison.as_bytes());
    let log = log(&place.folder.path().join("writer.log"));
    assert!(log.contains("poison message dead-lettered"), "{log}");
    // Fixed: the same message, replayed, is stored like any other.
    writer.kill();
    assert_eq!(place.dlq(&["replay", &sequence]), b"replayed 1, skipped 0, failed 0\n");
    let _writer = place.writer(&[]);
    until("it to be stored", async || place.stored().await == (300, 301)).await;
    assert_eq!(place.letters().await, 0);
}

/// An InfluxDB that restarts is restored to from the stream, which still holds the poison message.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_does_not_stop_a_restore() {
    let (place, mut influx) = (Place::new().await, InfluxServer::start().unwrap());
    let host = influx.url();
    let environment = [&PLANTED[..], &[("INFLUXDB_HOST", host.as_str())]].concat();
    let good = |number| ("events.event", event(number, "Good"));
    let mut writer = place.writer(&environment);
    publish(&place.jetstream, (0..20).map(good)).await;
    publish(&place.jetstream, [("events.event", event(1000, POISON))]).await;
    publish(&place.jetstream, (20..40).map(good)).await;
    until("everything to be done", async || place.lag().await == 0).await;
    assert_eq!(influx_count(&influx, "events", "criticality"), 40);
    until("the dead letter", async || place.letters().await == 1).await;
    influx.query("spindle", "DELETE FROM events").unwrap();
    influx.restart().unwrap();
    until("all that is good to be restored", async || {
        assert!(writer.ended().is_none(), "it ended");
        influx_count(&influx, "events", "criticality") == 40
    })
    .await;
    assert_eq!((writer.ended(), place.letters().await), (None, 1));
}

/// The store is unavailable and the writer is restarted again and again: each time costs every message in flight a
/// delivery, and none of them is to blame.
#[tokio::test(flavor = "multi_thread")]
async fn messages_in_the_hand_of_a_writer_that_is_killed_again_and_again_are_no_dead_letters() {
    let place = Place::new().await;
    let messages =
        (0..120).flat_map(|number| [("events.event", event(number, "Good")), ("events.metrics", metric(number, "40"))]);
    publish(&place.jetstream, messages).await;
    let away =
        [("SPINDLE_TEST_ACK_WAIT", "500ms"), ("SPINDLE_STORE", "influxdb"), ("INFLUXDB_HOST", "http://127.0.0.1:1")];
    let delivered = async || {
        let stream = place.jetstream.get_stream("EVENTS").await.unwrap();
        stream.consumer_info("writer-events").await.map_or(0, |info| info.delivered.consumer_sequence)
    };
    for round in 0..15 {
        let before = delivered().await;
        let mut writer = place.writer(&away);
        until("messages in its hand", async || delivered().await > before).await;
        // At different moments of the trial that begins with the fifth delivery.
        tokio::time::sleep(Duration::from_millis(20 * (round % 5))).await;
        writer.kill();
    }
    let _writer = place.writer(&[("SPINDLE_TEST_ACK_WAIT", "500ms")]);
    until("everything to be stored", async || place.lag().await == 0).await;
    assert_eq!((place.letters().await, place.stored().await), (0, (120, 120)));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_dead_letter_can_be_kept_good_messages_pass_and_bad_ones_wait() {
    // Small batches: without room for what is put off, fewer than 50 unacknowledged messages stop the lane.
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
    // Filled to the brim.
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
    let store = system.store().await;
    until("all that is good to be stored", async || store.counts().await.unwrap().metrics == 5_010).await;
    until("the bad ones to be all that waits", async || n_pending().await == 50).await;
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
    until("nothing to wait any more", async || n_pending().await == 0).await;
    until("it to be ready", async || get(&system, "/readyz").0 == 200).await;
    assert_eq!(store.counts().await.unwrap().metrics, 5_010);
    let metrics = get(&system, "/metrics").1;
    let gauge = metrics.lines().find(|line| line.starts_with("spindle_writer_dead_letters_in_stream "));
    assert!(gauge.is_some(), "{metrics}");
}
