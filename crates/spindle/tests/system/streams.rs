//! Streams that lose messages, are full, or are changed while roles run: refused at the start, named in `/readyz`, the
//! log, `spindle check` and the metrics afterwards.

use std::path::Path;
use std::process::Command;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context, stream};
use spindle_testkit::{NatsServer, Options, wait_until};

use crate::apart::{RoleProcess, connect, wait_until_acknowledged};
use crate::harness::{PATIENCE, spindle, stored_rows};
use crate::truth_of_writes::{failure, hours_ago, value};

fn metrics() -> Config {
    Config {
        name: "METRICS".to_owned(),
        subjects: vec!["events.metrics".to_owned()],
        max_bytes: 1 << 20,
        discard: stream::DiscardPolicy::New,
        ..Config::default()
    }
}

fn start(folder: &Path, nats: &NatsServer, role: &str, more: &[(&str, &str)]) -> RoleProcess {
    let url = nats.url();
    RoleProcess::start(folder, role, &[&[("NATS_URL", url.as_str())], more].concat())
}

fn run(folder: &Path, nats: &NatsServer, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = spindle(&folder.join("data"));
    let output = command.args(arguments).env("NATS_URL", nats.url()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_works_with_a_stream_that_loses_messages_and_check_says_the_same() {
    let nats = NatsServer::start().unwrap();
    let jetstream = connect(&nats.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let losing = [
        ("max_msgs_per_subject is 100", Config { max_messages_per_subject: 100, ..metrics() }),
        ("no_ack is true", Config { no_ack: true, ..metrics() }),
        ("persist_mode is async", Config { persist_mode: Some(stream::PersistenceMode::Async), ..metrics() }),
    ];
    for (words, config) in losing {
        jetstream.create_stream(config).await.unwrap();
        for role in [&["writer"][..], &["daemon", "--source", "simulate"]] {
            let (code, text) = run(folder.path(), &nats, role);
            assert_eq!(code, Some(2), "{text}");
            assert!(text.contains(words) && text.contains("METRICS"), "{text}");
        }
        let (code, text) = run(folder.path(), &nats, &["check", "--format", "json"]);
        assert!(code == Some(1) && text.contains(words), "{text}");
        jetstream.delete_stream("METRICS").await.unwrap();
    }
    // An age limit is a loss where the store keeps more.
    let day = std::time::Duration::from_secs(86_400);
    jetstream.create_stream(Config { max_age: day, ..metrics() }).await.unwrap();
    let (code, text) = run(folder.path(), &nats, &["writer"]);
    assert!(code == Some(2) && text.contains("max_age is 86400 s"), "{text}");
    let writer = start(folder.path(), &nats, "writer", &[("SPINDLE_RETENTION", "1h")]);
    writer.wait_until_ready();
    // What weakens a stream is named, and nothing is refused.
    drop(writer);
    jetstream.update_stream(Config { max_messages: 1_000, ..metrics() }).await.unwrap();
    let (code, text) = run(folder.path(), &nats, &["check", "--format", "json"]);
    assert!(text.contains("max_msgs is 1000 instead of -1"), "{text}");
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_changed_or_deleted_while_the_writer_runs_is_named() {
    let nats = NatsServer::start().unwrap();
    let jetstream = connect(&nats.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let writer = start(folder.path(), &nats, "writer", &[("SPINDLE_TEST_STREAM_WATCH", "500ms")]);
    writer.wait_until_ready();
    let config = jetstream.get_stream("EVENTS").await.unwrap().cached_info().config.clone();
    let changed = Config { max_messages_per_subject: 10, discard: stream::DiscardPolicy::Old, ..config.clone() };
    jetstream.update_stream(changed).await.unwrap();
    let words = writer.wait_for_readiness("the change is named", |words| words.contains("max_msgs_per_subject is 10"));
    assert!(words.starts_with("503") && words.contains("discard is old") && words.contains("nats stream edit EVENTS"));
    jetstream.update_stream(config).await.unwrap();
    writer.wait_until_ready();
    jetstream.delete_stream("EVENTS").await.unwrap();
    let is_back = || {
        let found = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async { jetstream.get_stream("EVENTS").await.is_ok() })
        });
        found && writer.readiness() == "200 ready"
    };
    wait_until(PATIENCE, "the stream is created again", is_back).unwrap();
}

/// Publishes until the stream refuses.
async fn fill(jetstream: &Context) {
    let value = |n: usize| {
        format!(r#"{{"timestamp":"2026-01-01T00:00:00.{n:09}Z","sourceDevice":"d","metricType":"X","value":{n}}}"#)
    };
    for first in (0..).step_by(100) {
        let payload = format!("[{}]", (first..first + 100).map(value).collect::<Vec<_>>().join(","));
        if jetstream.publish("events.metrics", payload.into()).await.unwrap().await.is_err() {
            return;
        }
    }
}

fn value_of(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {metrics}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_and_the_forgotten_consumer_that_holds_it_are_named() {
    let nats = NatsServer::start().unwrap();
    let jetstream = connect(&nats.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let small = [("SPINDLE_METRICS_BYTES", "2MiB")];
    let writer = start(folder.path(), &nats, "writer", &small);
    writer.wait_until_ready();
    let stream = jetstream.get_stream("METRICS").await.unwrap();
    let debug = pull::Config { durable_name: Some("debug".to_owned()), ..pull::Config::default() };
    let _: PullConsumer = stream.create_consumer(debug).await.unwrap();
    fill(&jetstream).await;
    let words = writer.wait_for_readiness("the full stream is named", |words| words.contains("METRICS is full"));
    assert!(words.starts_with("503") && words.contains("nats consumer rm METRICS debug"), "{words}");
    assert!(writer.log().contains("consumer debug has not acknowledged"), "{}", writer.log());
    let metrics = writer.get("/metrics");
    assert_eq!(value_of(&metrics, "spindle_stream_max_bytes{stream=\"METRICS\"}"), f64::from(2 << 20));
    assert!(value_of(&metrics, "spindle_stream_fill_percent{stream=\"METRICS\"}") >= 98.0);
    assert_eq!(value_of(&metrics, "spindle_stream_messages{stream=\"DEADLETTER\"}"), 0.0);

    // The daemon says that nobody takes what it publishes.
    let more = [("SPINDLE_SOURCES", "simulate"), ("SPINDLE_INTERVAL", "1s"), ("SPINDLE_DEVICES", "20"), small[0]];
    let daemon = start(folder.path(), &nats, "daemon", &more);
    let words = daemon.wait_for_readiness("the daemon is refused", |words| words.contains("publishes are refused"));
    assert!(words.starts_with("503") && words.contains("maximum bytes exceeded"), "{words}");

    let (_, text) = run(folder.path(), &nats, &["check", "--format", "json"]);
    assert!(text.contains("full, it refuses messages") && text.contains("nats consumer rm METRICS debug"), "{text}");

    stream.delete_consumer("debug").await.unwrap();
    writer.wait_until_ready();
    daemon.wait_until_ready();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_full_of_dead_letters_is_named_too() {
    let nats = NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let writer = start(folder.path(), &nats, "writer", &[("SPINDLE_DEADLETTER_BYTES", "64KiB")]);
    writer.wait_until_ready();
    let jetstream = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    for n in 0..100 {
        let payload = format!("not JSON {n} {}", "x".repeat(2_000));
        jetstream.publish("events.metrics", payload.into()).await.unwrap().await.unwrap();
    }
    let words = writer.wait_for_readiness("it is named", |words| words.contains("spindle dlq ls"));
    assert!(words.contains("stream DEADLETTER is full") && words.contains("cannot keep dead letters"), "{words}");
    let (code, text) = run(folder.path(), &nats, &["dlq", "drop", "--all", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
}

/// A limit of the account, below those of the streams: stored messages are removed before it refuses new ones, and a
/// backlog that fills it is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_account_is_a_limit_of_its_streams() {
    let folder = tempfile::tempdir().unwrap();
    let account = |max_file: &str| Options {
        store_dir: Some(folder.path().join("js")),
        extra_config: format!(
            "accounts {{ A {{ jetstream {{ max_file: {max_file} }}, users: [{{ user: u, password: p }}] }} }}\nno_auth_user: u\n"
        ),
        ..Options::default()
    };
    let sizes =
        [("SPINDLE_METRICS_BYTES", "8MiB"), ("SPINDLE_EVENTS_BYTES", "8MiB"), ("SPINDLE_DEADLETTER_BYTES", "8MiB")];
    let roomy = NatsServer::start_with(account("40MB")).unwrap();
    drop(start(folder.path(), &roomy, "writer", &sizes));
    drop(roomy);
    // An operator lowers the limit below what the streams may take.
    let nats = NatsServer::start_with(account("2MB")).unwrap();
    let jetstream = connect(&nats.url()).await;
    let payload = || format!("[{}]", vec![value("disk-1", hours_ago(1), 1); 500].join(","));
    let mut n_sent = 0;
    while jetstream.publish("events.metrics", payload().into()).await.unwrap().await.is_ok() {
        n_sent += 1;
    }
    assert!((20..100).contains(&n_sent), "{n_sent} messages of 2 MB");
    // A consumer that keeps all of it, so that the writer cannot make room.
    let stream = jetstream.get_stream("METRICS").await.unwrap();
    let debug = pull::Config { durable_name: Some("debug".to_owned()), ..pull::Config::default() };
    let _: PullConsumer = stream.create_consumer(debug).await.unwrap();
    let writer = start(folder.path(), &nats, "writer", &sizes);
    let words = writer.wait_for_readiness("who fills the account is named", |words| words.contains("consumer rm"));
    assert!(words.starts_with("503 stream METRICS is full") && words.contains("METRICS debug"), "{words}");
    stream.delete_consumer("debug").await.unwrap();
    // What is stored makes room for as much again.
    writer.wait_until_ready();
    for _ in 0..=n_sent {
        while jetstream.publish("events.metrics", payload().into()).await.unwrap().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    writer.wait_until_ready();
}

/// EVENTS full of messages that are not stored, because the store is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_of_events_is_named_and_loses_nothing() {
    let nats = NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let away = [("SPINDLE_EVENTS_BYTES", "256KiB"), ("INFLUXDB_HOST", "http://127.0.0.1:1")];
    let writer = start(folder.path(), &nats, "writer", &away);
    let jetstream = connect(&nats.url()).await;
    let event = |number| failure(number, hours_ago(1));
    let mut n_sent = 0;
    while jetstream.publish("events.event", event(n_sent).into()).await.unwrap().await.is_ok() {
        n_sent += 1;
    }
    let words = writer.wait_for_readiness("it is named", |words| words.contains("stream EVENTS is full"));
    assert!(words.starts_with("503 the writer cannot store: ") && words.contains("nats.events_bytes"), "{words}");
    drop(writer);
    let writer = start(folder.path(), &nats, "writer", &away[..1]);
    writer.wait_until_ready();
    // There is room once stored messages are trimmed.
    while jetstream.publish("events.event", event(n_sent).into()).await.unwrap().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    wait_until_acknowledged(&jetstream, "EVENTS").await;
    assert_eq!(stored_rows(&folder.path().join("data/spindle.db")).1, n_sent + 1);
}
