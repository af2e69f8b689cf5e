//! Writer and reader as processes on a real InfluxDB that goes away, fills its disk, or refuses our credentials: nothing
//! is lost or doubled, and every message names the problem.

use std::path::Path;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Context};
use futures::StreamExt;
use serde_json::Value;
use spindle_testkit::{InfluxOptions, InfluxServer, NatsServer, SmallDisk, wait_until};

use crate::apart::{RoleProcess, connect, influx_count, publish_event, publish_values, wait_until_acknowledged};
use crate::harness::{PATIENCE, spindle};

pub(crate) fn start(
    folder: &Path,
    role: &str,
    nats: &NatsServer,
    influx: &InfluxServer,
    more: &[(&str, &str)],
) -> RoleProcess {
    let (nats, influx) = (nats.url(), influx.url());
    let variables = [&[("NATS_URL", nats.as_str()), ("INFLUXDB_HOST", influx.as_str())], more].concat();
    RoleProcess::start(folder, role, &variables)
}

/// `spindle query …` through the reader: its response, or its error text.
fn ask(folder: &Path, nats: &NatsServer, words: &[&str]) -> Result<Value, String> {
    let mut command = spindle(&folder.join("data"));
    let output = command.arg("query").args(words).args(["--format", "json"]).env("NATS_URL", nats.url()).output();
    let output = output.unwrap();
    serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) fn wait_for_counts(influx: &InfluxServer, n_values: usize, n_events: u64) {
    let mut seen = (0, 0);
    let came = wait_until(PATIENCE, "everything is stored", || {
        seen = (influx_count(influx, "device_metrics", "value"), influx_count(influx, "events", "criticality"));
        seen == (n_values as u64, n_events)
    });
    assert!(came.is_ok(), "{seen:?} is stored instead of {:?}", (n_values, n_events));
}

/// A value that is stored twice, or wrong, would change the sum.
pub(crate) fn expect_sum(influx: &InfluxServer, n_values: usize) {
    let answer = influx.query("spindle", "SELECT sum(value) FROM device_metrics").unwrap();
    let sum = answer["results"][0]["series"][0]["values"][0][1].as_f64().unwrap();
    assert_eq!(sum as usize, n_values * (n_values - 1) / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_the_server_was_down_is_stored_once_when_it_is_back() {
    let (nats, mut influx) = (NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    let _reader = start(folder.path(), "reader", &nats, &influx, &[]);
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 1_000, 10).await;
    publish_event(&jetstream, 0).await;
    wait_for_counts(&influx, 1_000, 1);
    for round in 1..=3 {
        // Under load, so that some messages are in flight when the server dies.
        publish_values(&jetstream, round * 10_000 - 9_000, 5_000, 10).await;
        influx.kill();
        publish_values(&jetstream, round * 10_000 - 4_000, 5_000, 10).await;
        publish_event(&jetstream, round as u64).await;
        let words = writer.wait_for_readiness("the writer is not ready", |words| words.contains("cannot store"));
        assert!(words.starts_with("503 the writer cannot store: InfluxDB at http://127.0.0.1:"), "{words}");
        assert!(words.contains("is not available: could not"), "{words}");
        influx.restart().unwrap();
        wait_for_counts(&influx, 1_000 + round * 10_000, 1 + round as u64);
        writer.wait_until_ready();
    }
    expect_sum(&influx, 31_000);
    let two_minutes = ["until=2023-11-14T22:14:00Z", "since_minutes=2"];
    let series = ["series", "source_device=disk-7", "metric_type=Number", two_minutes[0], two_minutes[1]];
    let answer = ask(folder.path(), &nats, &series).unwrap();
    assert_eq!(answer["basis"]["n_points"], 310, "{answer:#}");
    let answer = ask(folder.path(), &nats, &["events", "source_device=disk-1"]).unwrap();
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(4), "{answer:#}");
    let log = writer.log();
    assert!(log.contains("store unavailable; nothing is acknowledged, retrying"), "{log}");
    assert!(log.contains("store available again"), "{log}");
}

/// A server with its data on a small disk, and 20,000 values and an event in it.
async fn started_on(disk: &SmallDisk, folder: &Path, nats: &NatsServer) -> (InfluxServer, RoleProcess, Context) {
    let options = InfluxOptions { data_dir: Some(disk.path().join("influx")), ..InfluxOptions::default() };
    let influx = InfluxServer::start_with(options).unwrap();
    let writer = start(folder, "writer", nats, &influx, &[]);
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 20_000, 100).await;
    publish_event(&jetstream, 0).await;
    wait_for_counts(&influx, 20_000, 1);
    (influx, writer, jetstream)
}

/// After a full disk InfluxDB 1.6.7 throws away what it acknowledged between two restarts, unless it is started as
/// docs/influxdb.md describes. The streams still hold it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_lost_is_stored_again() {
    let Some(disk) = SmallDisk::mount(48 << 20).unwrap() else { return };
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let (mut influx, writer, jetstream) = started_on(&disk, folder.path(), &nats).await;
    disk.fill().unwrap();
    publish_values(&jetstream, 20_000, 10_000, 100).await;
    writer.wait_for_readiness("it says that the disk is full", |words| words.contains("no space left"));
    disk.free().unwrap();
    influx.restart().unwrap();
    publish_values(&jetstream, 30_000, 90_000, 100).await;
    publish_event(&jetstream, 1).await;
    for stream in ["METRICS", "EVENTS"] {
        wait_until_acknowledged(&jetstream, stream).await;
    }
    assert_eq!(influx_count(&influx, "device_metrics", "value"), 120_000);

    influx.kill();
    publish_values(&jetstream, 120_000, 1_000, 100).await;
    influx.restart().unwrap();
    wait_until(PATIENCE, "a restore starts", || writer.log().contains("restoring them from the stream")).unwrap();
    wait_for_counts(&influx, 121_000, 2);
    expect_sum(&influx, 121_000);
    for stream in ["METRICS", "EVENTS"] {
        wait_until_acknowledged(&jetstream, stream).await;
    }

    // The server goes on writing behind a hole, and loses it all once more; this time without a running writer.
    drop(writer);
    influx.kill();
    influx.restart().unwrap();
    assert_eq!(
        influx_count(&influx, "device_metrics", "value"),
        20_000,
        "1.6.7 behaves differently now: shorten docs/influxdb.md"
    );
    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    wait_for_counts(&influx, 121_000, 2);
    expect_sum(&influx, 121_000);
    writer.wait_until_ready();
}

/// One unanswered message holds the ack floor back; what was acknowledged above it is restored, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_above_an_unanswered_message_is_stored_again() {
    let (nats, mut influx) = (NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    writer.wait_until_ready();
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 100, 10).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    drop(writer);
    publish_values(&jetstream, 100, 1, 1).await;
    let consumer: PullConsumer = jetstream.get_consumer_from_stream("writer-metrics", "METRICS").await.unwrap();
    let mut pulled = consumer.batch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
    let unanswered = pulled.next().await.unwrap().unwrap();

    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    publish_values(&jetstream, 101, 1_000, 10).await;
    wait_until(PATIENCE, "the others are stored", || influx_count(&influx, "device_metrics", "value") >= 1_100)
        .unwrap();
    let from = 1_700_000_000_000_000_000 + 150 * 1_000_000_i64;
    influx.query("spindle", &format!("DELETE FROM device_metrics WHERE time >= {from}")).unwrap();
    influx.restart().unwrap();
    wait_until(PATIENCE, "a restore starts", || writer.log().contains("restoring them from the stream")).unwrap();
    unanswered.ack_with(AckKind::Nak(None)).await.unwrap();
    wait_for_counts(&influx, 1_101, 0);
    expect_sum(&influx, 1_101);
}

/// A dead letter is not in the database either: a restore does not make it one again.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_no_loss() {
    let (nats, mut influx) = (NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    writer.wait_until_ready();
    // From now on the field of that week is a string.
    influx.write("spindle", "device_metrics,source_device=other value=\"text\" 1500000000000000000").unwrap();
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 1_000, 10).await;
    let publish = async |time: &str, value: u32| {
        let text = format!(r#"[{{"timestamp":"{time}","sourceDevice":"disk","metricType":"Number","value":{value}}}]"#);
        jetstream.publish("events.metrics", text.into()).await.unwrap().await.unwrap();
    };
    publish("2024-01-01T00:00:00Z", 1).await;
    publish("2017-07-14T02:40:00Z", 1).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    // Another value replaces the first, which must not come back.
    publish("2024-01-01T00:00:00Z", 2).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    let mut letters = jetstream.get_stream("DEADLETTER").await.unwrap();
    assert_eq!(letters.info().await.unwrap().state.messages, 1, "{}", writer.log());

    influx.restart().unwrap();
    wait_until(PATIENCE, "the restore is complete", || writer.log().contains("restored stream=\"METRICS\"")).unwrap();
    let answer = influx.query("spindle", "SELECT value FROM device_metrics WHERE time = '2024-01-01T00:00:00Z'");
    assert_eq!(answer.unwrap()["results"][0]["series"][0]["values"][0][1], 2.0);
    assert_eq!(letters.info().await.unwrap().state.messages, 1);
}

/// The last incarnation that was restored to outlives the writer; what an operator deleted stays away until the server
/// restarts.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_writer_restores_nothing_and_a_restart_of_the_server_everything() {
    let (nats, mut influx) = (NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let jetstream = connect(&nats.url()).await;
    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    let is_known = async || {
        let stream = jetstream.get_stream("METRICS").await.unwrap();
        let info = stream.consumer_info("writer-metrics").await.unwrap();
        info.config.metadata.contains_key("spindle-restored-to")
    };
    writer.wait_until_ready();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_known().await {
        assert!(tokio::time::Instant::now() < deadline, "{}", writer.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    publish_values(&jetstream, 0, 1_000, 10).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    influx.query("spindle", "DELETE FROM device_metrics").unwrap();
    drop(writer);

    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    publish_values(&jetstream, 1_000, 1_000, 10).await;
    wait_for_counts(&influx, 1_000, 0);
    // Twice the interval at which the server is asked for its incarnation.
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert_eq!(influx_count(&influx, "device_metrics", "value"), 1_000);
    assert!(!writer.log().contains("restoring"), "{}", writer.log());
    influx.restart().unwrap();
    wait_for_counts(&influx, 2_000, 0);
    expect_sum(&influx, 2_000);
}

/// InfluxDB 1 answers 500 on a full disk, shows what it refused until it is restarted, and stores nothing before it
/// is, whether there is room again or not. README says how to start it then.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_server_loses_nothing_and_is_said() {
    let Some(disk) = SmallDisk::mount(48 << 20).unwrap() else { return };
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let (mut influx, writer, jetstream) = started_on(&disk, folder.path(), &nats).await;

    disk.fill().unwrap();
    publish_values(&jetstream, 20_000, 100_000, 100).await;
    publish_event(&jetstream, 1).await;
    let words = writer.wait_for_readiness("it says that the disk is full", |words| words.contains("no space left"));
    assert!(words.starts_with("503 the writer cannot store: InfluxDB at http://"), "{words}");
    assert!(words.contains("the disk of InfluxDB is full. Free space there"), "{words}");
    wait_until(PATIENCE, "the log says it", || writer.log().contains("the disk of InfluxDB is full")).unwrap();

    disk.free().unwrap();
    influx.restart_after_a_crash().unwrap();
    wait_for_counts(&influx, 120_000, 2);
    writer.wait_until_ready();
    // What is on its disk, and not only in its memory.
    influx.restart().unwrap();
    wait_for_counts(&influx, 120_000, 2);
    expect_sum(&influx, 120_000);
    let letters = jetstream.get_stream("DEADLETTER").await.unwrap().cached_info().state.messages;
    assert_eq!(letters, 0, "good values were called bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_rights_that_are_missing_are_said_until_they_are_there() {
    let nats = NatsServer::start().unwrap();
    let influx = InfluxServer::start_with(InfluxOptions { auth: true, ..InfluxOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let user = [("INFLUXDB_USERNAME", "fleet"), ("INFLUXDB_PASSWORD", "hush-hush")];
    let writer = start(folder.path(), "writer", &nats, &influx, &user);
    let reader = start(folder.path(), "reader", &nats, &influx, &user);
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 1_000, 10).await;
    publish_event(&jetstream, 0).await;
    let expect = |process: &RoleProcess, parts: &[&str]| {
        process.wait_for_readiness(&format!("it says {parts:?}"), |words| {
            words.starts_with("503") && parts.iter().all(|part| words.contains(part))
        });
    };
    expect(&writer, &["the writer cannot store", "401", "INFLUXDB_PASSWORD"]);
    expect(&reader, &["the store cannot be read", "401", "INFLUXDB_PASSWORD"]);
    let words = ask(folder.path(), &nats, &["devices"]).unwrap_err();
    assert!(words.contains("INFLUXDB_PASSWORD"), "{words}");

    influx.query("", "CREATE USER fleet WITH PASSWORD 'hush-hush'").unwrap();
    expect(&writer, &["no right on database 'spindle', or it does not exist", "CREATE DATABASE", "GRANT ALL"]);
    influx.query("", "CREATE DATABASE spindle").unwrap();
    influx.query("", "GRANT READ ON spindle TO fleet").unwrap();
    expect(&writer, &["403", "\"fleet\" user is not authorized to write to database \"spindle\""]);
    influx.query("", "GRANT ALL ON spindle TO fleet").unwrap();
    wait_for_counts(&influx, 1_000, 1);
    writer.wait_until_ready();
    reader.wait_until_ready();
    wait_until(PATIENCE, "the log says what was wrong", || {
        ["INFLUXDB_PASSWORD", "store available again"].iter().all(|part| writer.log().contains(part))
    })
    .unwrap();
    assert!(!writer.log().contains("hush-hush") && !reader.log().contains("hush-hush"));
}
