//! What is called stored is stored: data beyond the retention, answers that are not the store's, and new devices beyond
//! its limits. The counters, readiness and dead letters say what became of each message.

use std::path::Path;

use async_nats::jetstream::Context;
use serde_json::Value;
use spindle_core::Timestamp;
use spindle_testkit::{
    FacadeOptions, Fault, Generation, InfluxFacade, InfluxOptions, InfluxServer, NatsServer, wait_until,
};

use crate::apart::{RoleProcess, connect, influx_count, lag, publish_values, wait_until_acknowledged};
use crate::harness::{PATIENCE, spindle, stored_rows};
use crate::influxdb::start;

const HOUR_S: i64 = 3_600;
const STORED: &str = "spindle_writer_stored_items_total{kind=\"metric\"}";
const STORED_EVENTS: &str = "spindle_writer_stored_items_total{kind=\"event\"}";

#[allow(clippy::disallowed_methods, reason = "the store under test reads the same clock")]
pub(crate) fn hours_ago(hours: i64) -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_seconds(since_epoch.as_secs().cast_signed() - hours * HOUR_S)
}

pub(crate) fn value(device: &str, time: Timestamp, number: usize) -> String {
    format!(r#"{{"timestamp":"{time}","sourceDevice":"{device}","metricType":"Number","value":{number}}}"#)
}

pub(crate) fn failure(number: u64, time: Timestamp) -> String {
    let id = uuid::Uuid::from_u64_pair(13, number);
    format!(
        r#"{{"id":"{id}","criticality":9,"timestamp":"{time}","sourceDevice":"disk-1","eventType":"DriveFailure"}}"#
    )
}

pub(crate) async fn publish(jetstream: &Context, subject: &'static str, payload: String) {
    jetstream.publish(subject, payload.into()).await.unwrap().await.unwrap();
}

pub(crate) async fn n_letters(jetstream: &Context) -> u64 {
    jetstream.get_stream("DEADLETTER").await.unwrap().cached_info().state.messages
}

/// Runs `spindle dlq …`, which must succeed.
fn dlq(folder: &Path, nats: &NatsServer, words: &[&str]) -> Vec<u8> {
    let mut command = spindle(&folder.join("data"));
    let output = command.arg("dlq").args(words).env("NATS_URL", nats.url()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub(crate) fn letters(folder: &Path, nats: &NatsServer, words: &[&str]) -> Vec<Value> {
    let listed = dlq(folder, nats, &[&["ls", "--format", "json"], words].concat());
    serde_json::from_slice::<Value>(&listed).unwrap().as_array().unwrap().clone()
}

/// A store for the writer under test; counts values and events in it.
pub(crate) enum Target {
    Embedded,
    Influx(InfluxServer),
}

impl Target {
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Embedded => vec![("SPINDLE_STORE", "embedded".to_owned())],
            Self::Influx(server) => vec![("INFLUXDB_HOST", server.url())],
        }
    }

    pub(crate) fn stored(&self, folder: &Path) -> (u64, u64) {
        match self {
            Self::Embedded => {
                let (n_metrics, n_events, _) = stored_rows(&folder.join("data/spindle.db"));
                (n_metrics, n_events)
            }
            Self::Influx(server) => {
                (influx_count(server, "device_metrics", "value"), influx_count(server, "events", "criticality"))
            }
        }
    }
}

fn writer_of(target: &Target, folder: &Path, nats: &NatsServer, retention: &str) -> RoleProcess {
    let mut variables = target.variables();
    variables.extend([("NATS_URL", nats.url()), ("SPINDLE_RETENTION", retention.to_owned())]);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (*name, text.as_str())).collect();
    RoleProcess::start(folder, "writer", &variables)
}

/// Metrics and a `DriveFailure` of last year under a retention of a day: one dead letter for each message, counted as
/// what they are, with every byte. Once the retention is raised, a replay stores them.
async fn what_is_too_old_is_a_dead_letter(target: Target) {
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let writer = writer_of(&target, folder.path(), &nats, "24h");
    let jetstream = connect(&nats.url()).await;
    writer.wait_until_ready();
    let last_year = |number: i64| hours_ago(365 * 24 + number);
    let many: Vec<String> = (0..40).map(|number| value("disk-1", last_year(number), 1)).collect();
    let mixed = format!(
        r#"[{},{},{},{{"timestamp":"never"}}]"#,
        value("disk-1", hours_ago(1), 2),
        value("disk-1", hours_ago(25), 3),
        value("disk-1", hours_ago(-48), 4),
    );
    publish(&jetstream, "events.metrics", format!("[{}]", many.join(","))).await;
    publish(&jetstream, "events.metrics", mixed.clone()).await;
    publish(&jetstream, "events.event", failure(1, last_year(0))).await;
    publish(&jetstream, "events.event", failure(2, hours_ago(1))).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    wait_until_acknowledged(&jetstream, "EVENTS").await;

    assert_eq!(target.stored(folder.path()), (2, 1));
    assert_eq!((writer.metric(STORED), writer.metric(STORED_EVENTS)), (2.0, 1.0));
    let refused =
        |kind: &str| format!("spindle_writer_refused_items_total{{kind=\"{kind}\",reason=\"beyond_retention\"}}");
    assert_eq!((writer.metric(&refused("metric")), writer.metric(&refused("event"))), (41.0, 1.0));
    let beyond = letters(folder.path(), &nats, &["--reason", "beyond_retention", "--oldest"]);
    assert_eq!((beyond.len(), n_letters(&jetstream).await), (3, 4), "{beyond:#?}");
    let of_many = beyond.iter().find(|letter| letter["detail"].as_str().unwrap().contains("40 elements")).unwrap();
    let oldest = format!("the oldest of {}", last_year(39));
    assert!(of_many["detail"].as_str().unwrap().contains(&oldest[..oldest.len() - 7]), "{of_many} {oldest}");
    let of_mixed =
        beyond.iter().find(|letter| letter["detail"].as_str().unwrap().contains("1 elements older")).unwrap();
    let sequence = of_mixed["sequence"].to_string();
    let kept: Vec<Vec<u8>> = beyond
        .iter()
        .map(|letter| dlq(folder.path(), &nats, &["show", "--raw", &letter["sequence"].to_string()]))
        .collect();
    assert!(kept.contains(&mixed.clone().into_bytes()), "dead letter {sequence} holds the whole message");

    drop(writer);
    // Off leaves the server's own retention as it is.
    if let Target::Influx(server) = &target {
        server.query("spindle", "ALTER RETENTION POLICY autogen ON spindle DURATION 0s").unwrap();
    }
    let writer = writer_of(&target, folder.path(), &nats, "off");
    writer.wait_until_ready();
    dlq(folder.path(), &nats, &["replay", "--reason", "beyond_retention", "--yes"]);
    let stored = || target.stored(folder.path());
    let came = wait_until(PATIENCE, "the replay is stored", || stored() == (43, 2));
    assert!(came.is_ok(), "{:?}\n{}", stored(), writer.log());
    assert_eq!(letters(folder.path(), &nats, &["--reason", "beyond_retention"]), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_retention_is_a_dead_letter_until_it_is_raised() {
    what_is_too_old_is_a_dead_letter(Target::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_retention_of_an_influxdb_is_a_dead_letter_until_it_is_raised() {
    what_is_too_old_is_a_dead_letter(Target::Influx(InfluxServer::start().unwrap())).await;
}

fn start_on(folder: &Path, nats: &NatsServer, facade: &InfluxFacade) -> RoleProcess {
    let (nats, host) = (nats.url(), facade.url());
    let variables = [
        ("NATS_URL", nats.as_str()),
        ("INFLUXDB_HOST", host.as_str()),
        ("INFLUXDB_TOKEN", InfluxFacade::TOKEN),
        ("INFLUXDB_ORG", InfluxFacade::ORG),
    ];
    RoleProcess::start(folder, "writer", &variables)
}

/// A proxy on InfluxDB's address refuses all writes: nothing is acknowledged, counted or called bad.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_in_the_place_of_the_store_turns_nothing_into_dead_letters() {
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let facade = InfluxFacade::start(Generation::V2, FacadeOptions::default()).unwrap();
    facade.create_database("spindle").unwrap();
    let html = "<html><head><title>400 Bad Request</title></head></html>";
    let refusal = Fault::answer("/api/v2/write", 400, html).header("Content-Type", "text/html").times(usize::MAX);
    facade.fault(refusal);
    let writer = start_on(folder.path(), &nats, &facade);
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 1_000, 1).await;
    publish(&jetstream, "events.event", failure(1, hours_ago(1))).await;
    let words = writer.wait_for_readiness("it says who refuses", |words| words.contains("400 text/html: <html>"));
    assert!(words.starts_with("503 the writer cannot store: ") && words.contains("no proxy in between"), "{words}");
    let (n_pending, n_waiting) = lag(&jetstream, "METRICS").await;
    assert_eq!(n_pending as u64 + n_waiting, 1_000, "nothing is acknowledged");
    assert_eq!((n_letters(&jetstream).await, writer.metric(STORED), writer.metric(STORED_EVENTS)), (0, 0.0, 0.0));

    facade.clear_faults();
    wait_until_acknowledged(&jetstream, "METRICS").await;
    wait_until_acknowledged(&jetstream, "EVENTS").await;
    writer.wait_until_ready();
    assert_eq!(influx_count(facade.server(), "device_metrics", "value"), 1_000);
    assert_eq!(influx_count(facade.server(), "events", "criticality"), 1);
    assert_eq!((n_letters(&jetstream).await, writer.metric(STORED)), (0, 1_000.0));
}

/// Thousands of refused elements beside a good one: one dead letter for each message, and the message whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_refused_elements_is_one_dead_letter() {
    let (folder, nats, influx) =
        (tempfile::tempdir().unwrap(), NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    let jetstream = connect(&nats.url()).await;
    writer.wait_until_ready();
    let time = hours_ago(1);
    let conflict = format!("device_metrics,source_device=x,metric_type=x seq=0.5 {}", time.as_ns());
    influx.write("spindle", &conflict).unwrap();
    let numbered = |number: usize| {
        format!(r#"{{"timestamp":"{time}","sourceDevice":"d{number}","metricType":"Number","value":1,"seq":{number}}}"#)
    };
    for (part, n_bad) in [(0, 9_000), (1, 17), (2, 16), (3, 1)] {
        let mut elements: Vec<String> = (0..n_bad).map(numbered).collect();
        elements.insert(n_bad / 2, value(&format!("good-{part}"), time, 1));
        publish(&jetstream, "events.metrics", format!("[{}]", elements.join(","))).await;
    }
    wait_until_acknowledged(&jetstream, "METRICS").await;
    // As for elements that cannot be decoded: up to 16 stand alone.
    assert_eq!(n_letters(&jetstream).await, 1 + 1 + 16 + 1);
    let kept = letters(folder.path(), &nats, &["--reason", "store_refused"]);
    let is_whole = |letter: &&Value| letter["detail"].as_str().unwrap().starts_with("the whole message");
    assert_eq!((kept.len(), kept.iter().filter(is_whole).count()), (19, 2), "{kept:#?}");
    assert_eq!((influx_count(&influx, "device_metrics", "value"), writer.metric(STORED)), (4, 4.0));
}

/// One bad message, and nothing else in the stream: it does not wait forever for a neighbour.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_message_alone_blocks_nothing() {
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let facade = InfluxFacade::start(Generation::V3, FacadeOptions::default()).unwrap();
    let body = r#"{"error":"something about this point"}"#;
    facade.fault(Fault::answer("/api/v3/write_lp", 400, body).if_body_holds("source_device=bad,").times(usize::MAX));
    let writer = start_on(folder.path(), &nats, &facade);
    let jetstream = connect(&nats.url()).await;
    writer.wait_until_ready();
    publish(&jetstream, "events.metrics", value("bad", hours_ago(1), 1)).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    assert_eq!((n_letters(&jetstream).await, writer.metric(STORED)), (1, 0.0));
    publish(&jetstream, "events.metrics", value("good", hours_ago(1), 1)).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    assert_eq!((n_letters(&jetstream).await, writer.metric(STORED)), (1, 1.0));
}

/// The measurement has a field of another type than Spindle's: nothing is to blame but the schema. Once it is repaired,
/// everything is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflicting_schema_turns_nothing_into_dead_letters() {
    let (folder, nats, influx) =
        (tempfile::tempdir().unwrap(), NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    influx.query("", "CREATE DATABASE spindle").unwrap();
    let conflict = "device_metrics,source_device=x,metric_type=x value=1i 1700000000000000000";
    influx.write("spindle", conflict).unwrap();
    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 500, 10).await;
    let words = writer.wait_for_readiness("it names the conflict", |words| words.contains("field type conflict"));
    assert!(words.starts_with("503 "), "{words}");
    // The value that someone else wrote is all there is.
    assert_eq!((n_letters(&jetstream).await, writer.metric(STORED)), (0, 0.0));
    influx.query("spindle", "DROP MEASUREMENT device_metrics").unwrap();
    wait_until_acknowledged(&jetstream, "METRICS").await;
    assert_eq!((influx_count(&influx, "device_metrics", "value"), n_letters(&jetstream).await), (500, 0));
    assert_eq!(writer.metric(STORED), 500.0);
    writer.wait_until_ready();
}

/// New devices beyond `max-values-per-tag`: values of known devices pass at once, the others wait, with a batch so small
/// that they would fill the consumer if they were counted to it. Once the limit is raised they are stored.
#[tokio::test(flavor = "multi_thread")]
async fn new_devices_beyond_a_limit_wait_and_hold_up_no_others() {
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let options = InfluxOptions { data_config: "max-values-per-tag = 20".to_owned(), ..InfluxOptions::default() };
    let mut influx = InfluxServer::start_with(options).unwrap();
    let writer = start(folder.path(), "writer", &nats, &influx, &[("SPINDLE_BATCH_MESSAGES", "5")]);
    let jetstream = connect(&nats.url()).await;
    writer.wait_until_ready();
    let begin = hours_ago(1).as_ns();
    let at = |number: usize| Timestamp::from_ns(begin + number as i64);
    for number in 0..20 {
        publish(&jetstream, "events.metrics", value(&format!("known-{number}"), at(number), number)).await;
    }
    wait_until_acknowledged(&jetstream, "METRICS").await;
    // Each message of a new device also holds a value of a known one.
    for number in 20..420 {
        let new = value(&format!("new-{}", number % 100), at(number), number);
        publish(&jetstream, "events.metrics", format!("[{},{new}]", value("known-1", at(number), number))).await;
        publish(&jetstream, "events.metrics", value(&format!("known-{}", number % 20), at(number + 1_000), number))
            .await;
    }
    publish(&jetstream, "events.event", failure(1, at(0))).await;
    let count = |influx: &InfluxServer| influx_count(influx, "device_metrics", "value");
    let came = wait_until(PATIENCE, "values of known devices are stored", || count(&influx) == 820);
    assert!(came.is_ok(), "{}\n{}", count(&influx), writer.log());
    wait_until_acknowledged(&jetstream, "EVENTS").await;
    let words = writer.wait_for_readiness("it names the limit", |words| words.contains("max-values-per-tag"));
    assert!(words.starts_with("503 the store keeps messages out, which are deferred; others pass: "), "{words}");
    let waiting = "spindle_writer_waiting_messages{stream=\"METRICS\"}";
    wait_until(PATIENCE, "the metric counts them", || writer.metric(waiting) == 400.0).unwrap();
    assert!(writer.log().contains("message deferred, the store keeps it out; others pass"), "{}", writer.log());
    assert_eq!(n_letters(&jetstream).await, 0);
    publish(&jetstream, "events.metrics", value("known-2", at(9_000), 1)).await;
    wait_until(PATIENCE, "known devices go on", || count(&influx) == 821).unwrap();

    influx.restart_with_data_config("max-values-per-tag = 100000").unwrap();
    let came = wait_until(PATIENCE, "new devices are stored", || count(&influx) == 1_221);
    assert!(came.is_ok(), "{}\n{}", count(&influx), writer.log());
    wait_until_acknowledged(&jetstream, "METRICS").await;
    assert_eq!(n_letters(&jetstream).await, 0);
    writer.wait_until_ready();
    assert_eq!(writer.metric(waiting), 0.0);
}

/// The writer is killed while messages wait for a limit: they are neither lost nor doubled.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_survive_a_kill_of_the_writer() {
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let options = InfluxOptions { data_config: "max-values-per-tag = 3".to_owned(), ..InfluxOptions::default() };
    let mut influx = InfluxServer::start_with(options).unwrap();
    let jetstream = connect(&nats.url()).await;
    let waiting = "spindle_writer_waiting_messages{stream=\"METRICS\"}";
    let begin = hours_ago(1).as_ns();
    let at = |number: usize| Timestamp::from_ns(begin + number as i64);
    // The server counts the values of a request against its limit only afterwards.
    let short = [("SPINDLE_TEST_ACK_WAIT", "2s"), ("SPINDLE_BATCH_MESSAGES", "5")];
    let mut writer = start(folder.path(), "writer", &nats, &influx, &short);
    writer.wait_until_ready();
    publish(&jetstream, "events.metrics", value("known", at(0), 0)).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    for number in 1..=80 {
        let new = value(&format!("new-{number}"), at(number), number);
        publish(&jetstream, "events.metrics", format!("[{},{new}]", value("known", at(number), number))).await;
    }
    let count = |influx: &InfluxServer| influx_count(influx, "device_metrics", "value");
    for _ in 0..3 {
        wait_until(PATIENCE, "messages wait", || writer.metric(waiting) >= 30.0).unwrap();
        // Dropping it is kill -9.
        drop(writer);
        writer = start(folder.path(), "writer", &nats, &influx, &short);
    }
    assert!(count(&influx) < 161, "the limit keeps something out");
    influx.restart_with_data_config("max-values-per-tag = 100000").unwrap();
    let came = wait_until(PATIENCE, "everything is stored", || count(&influx) == 161);
    assert!(came.is_ok(), "{}\n{}", count(&influx), writer.log());
    wait_until_acknowledged(&jetstream, "METRICS").await;
    assert_eq!((n_letters(&jetstream).await, count(&influx)), (0, 161));
    writer.wait_until_ready();
}
