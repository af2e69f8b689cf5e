//! The detector: what it finds is stored once, whatever is killed; it holds no stream, and misses nothing in silence.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures::StreamExt;
use serde_json::Value;
use spindle_testkit::{NatsServer, wait_until};
use tempfile::TempDir;

use crate::apart::{RoleProcess, connect};
use crate::harness::{NO_SOURCES, PATIENCE, System};
use crate::truth_of_writes::hours_ago;

/// Rows of each series, five minutes apart: the detector judges a series from the age of two days on.
pub(crate) const ROWS: usize = 1_500;
const HOURS: i64 = ROWS as i64 / 12;
/// Rows in one message.
const PER_MESSAGE: usize = 25;

/// Returns the messages of some devices, whose latency is high for a while in the last day, in the order of time.
pub(crate) fn messages(n_devices: usize) -> Vec<String> {
    let begin = hours_ago(HOURS);
    let value = |device: usize, row: usize| {
        let noise = (row * 7_919 + device * 104_729) % 1_000;
        let is_bad = (1_300..1_340).contains(&(row + 3 * device));
        let shift = if is_bad { 80.0 } else { 0.0 };
        shift + 5.0 + (row as f64 / 9.0).sin() + noise as f64 / 2_000.0
    };
    let message = |first: usize, device: usize| {
        let rows = (first..first + PER_MESSAGE).map(|row| {
            let (time, value) = (begin.plus(Duration::from_secs(300 * row as u64)), value(device, row));
            format!(
                r#"{{"timestamp":"{time}","sourceDevice":"disk-{device}","metricType":"Latency","value":{value:.4}}}"#
            )
        });
        format!("[{}]", rows.collect::<Vec<_>>().join(","))
    };
    let starts = (0..ROWS).step_by(PER_MESSAGE);
    starts.flat_map(|first| (0..n_devices).map(move |device| message(first, device))).collect()
}

pub(crate) async fn publish(jetstream: &Context, messages: &[String]) {
    for message in messages {
        jetstream.publish("events.metrics", message.clone().into()).await.unwrap().await.unwrap();
    }
}

/// What tells an event from all others: type, device, time, id.
pub(crate) fn identity(event: &Value, names: [&str; 4]) -> String {
    names.map(|name| event[name].as_str().unwrap()).join(" ")
}

/// Returns the events in the stream that the detector has made; each is there once.
pub(crate) async fn made(jetstream: &Context) -> BTreeSet<String> {
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    let n_messages = stream.info().await.unwrap().state.messages as usize;
    if n_messages == 0 {
        return BTreeSet::new();
    }
    let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let asked = consumer.batch().max_messages(n_messages).expires(PATIENCE).messages().await.unwrap();
    let events: Vec<Value> =
        asked.map(|message| serde_json::from_slice(&message.unwrap().payload).unwrap()).collect().await;
    stream.delete_consumer(&consumer.cached_info().name).await.unwrap();
    let identities: Vec<_> =
        events.iter().map(|event| identity(event, ["eventType", "sourceDevice", "timestamp", "id"])).collect();
    let distinct: BTreeSet<_> = identities.iter().cloned().collect();
    assert_eq!(distinct.len(), identities.len(), "an event is twice in the stream");
    distinct
}

pub(crate) fn detector(folder: &Path, nats: &NatsServer, more: &[(&str, &str)]) -> RoleProcess {
    let url = nats.url();
    let own = [("NATS_URL", url.as_str()), ("SPINDLE_DETECTOR_SAVE_INTERVAL", "300ms")];
    RoleProcess::start(folder, "detector", &[&own, more].concat())
}

/// Waits until a detector has judged this many metrics.
pub(crate) fn wait_until_judged(detector: &RoleProcess, n_metrics: usize) {
    let judged = || detector.metric(r#"spindle_detector_judged_items_total{kind="metric"}"#) as usize;
    let came = wait_until(PATIENCE, "the metrics are judged", || judged() >= n_metrics);
    assert!(came.is_ok(), "{} of {n_metrics} judged\n{}", judged(), detector.log());
}

/// Waits until the stream has an event, and no more come.
pub(crate) async fn settled(jetstream: &Context) -> BTreeSet<String> {
    let mut before = BTreeSet::new();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let events = made(jetstream).await;
        if !events.is_empty() && events == before {
            return events;
        }
        before = events;
    }
    panic!("events still come: {before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anomaly_is_a_note_in_the_store() {
    let mut system = System::start(&format!("{NO_SOURCES}[detector]\nsave_interval = \"300ms\"\n"), &[]);
    let jetstream = async_nats::jetstream::new(system.nats().await);
    let state = system.data_dir().join("detector.state");
    wait_until(PATIENCE, "the first state is saved", || state.exists()).unwrap();
    let messages = messages(2);
    publish(&jetstream, &messages[..80]).await;
    // With NATS, as a power cut would.
    system.kill();
    system.start_again();
    let jetstream = async_nats::jetstream::new(system.nats().await);
    publish(&jetstream, &messages[80..]).await;
    let made = settled(&jetstream).await;
    let stored = || {
        let answer = system.ask(&["events", "since_minutes=20000", "event_type=MetricAnomaly", "limit=1000"]);
        let rows = answer["data"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| identity(row, ["event_type", "source_device", "time", "event_id"])).collect()
    };
    let same = wait_until(PATIENCE, "the notes are stored", || made == stored());
    assert!(same.is_ok(), "{made:#?}\n{:#?}", stored());
    assert!(made.iter().any(|event| event.contains("disk-0")) && made.iter().any(|event| event.contains("disk-1")));
    // Stopped in order, the state is saved, and nothing comes again.
    system.signal("TERM");
    assert!(system.wait_for_end().success());
    let seen = std::fs::metadata(&state).unwrap();
    assert!(seen.len() > 1_000, "{seen:?}");
    system.start_again();
    let jetstream = async_nats::jetstream::new(system.nats().await);
    assert_eq!(settled(&jetstream).await, made);
    assert!(!system.log().contains("abandoning"), "{}", system.log());
}

/// A detector that has saved its first state, before anything was published.
pub(crate) struct Fresh {
    pub(crate) folder: TempDir,
    pub(crate) process: RoleProcess,
    first_state: Vec<u8>,
}

impl Fresh {
    pub(crate) fn start(nats: &NatsServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = detector(folder.path(), nats, &[]);
        let state = folder.path().join("data/detector.state");
        wait_until(PATIENCE, "the first state is saved", || state.exists()).unwrap();
        let first_state = std::fs::read(&state).unwrap();
        Self { folder, process, first_state }
    }

    /// Kills the detector and starts it again.
    pub(crate) fn kill(self, nats: &NatsServer) -> Self {
        let Self { folder, process, first_state } = self;
        // Dropped, it is killed.
        drop(process);
        let process = detector(folder.path(), nats, &[]);
        Self { folder, process, first_state }
    }

    /// Compares what it has made with what a detector makes that nothing disturbs, from the same state over the same
    /// streams. Returns what both have made.
    pub(crate) async fn compare(self, nats: &NatsServer, n_metrics: usize) -> BTreeSet<String> {
        let jetstream = connect(&nats.url()).await;
        let disturbed = settled(&jetstream).await;
        drop(self.process);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::write(folder.path().join("data/detector.state"), &self.first_state).unwrap();
        let process = detector(folder.path(), nats, &[]);
        wait_until_judged(&process, n_metrics);
        let undisturbed = settled(&jetstream).await;
        assert_eq!(undisturbed, disturbed, "it makes others\n{}", process.log());
        let n_made =
            ["note", "page"].map(|tier| process.metric(&format!(r#"spindle_detector_events_total{{tier="{tier}"}}"#)));
        assert_eq!(n_made.iter().sum::<f64>() as usize, disturbed.len(), "it makes fewer\n{disturbed:#?}");
        disturbed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_detector_lose_no_event_and_double_none() {
    let nats = NatsServer::start().unwrap();
    let jetstream = connect(&nats.url()).await;
    let mut fresh = Fresh::start(&nats);
    let flowing = tokio::spawn({
        let (jetstream, messages) = (jetstream.clone(), messages(6));
        async move {
            for some in messages.chunks(20) {
                publish(&jetstream, some).await;
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        }
    });
    for pause in [310, 470, 90, 620, 150, 233] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        fresh = fresh.kill(&nats);
    }
    // A verdict is an event as well, and pages.
    let failure = r#"{"timestamp":"NOW","sourceDevice":"disk-9","metricType":"smart_failed","value":1}"#;
    publish(&jetstream, &[failure.replace("NOW", &hours_ago(0).to_string())]).await;
    fresh = fresh.kill(&nats);
    flowing.await.unwrap();
    let mut has_verdict = false;
    for _ in 0..600 {
        has_verdict = made(&jetstream).await.iter().any(|event| event.starts_with("HealthChanged disk-9"));
        if has_verdict {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(has_verdict, "{}", fresh.process.log());
    let made = fresh.compare(&nats, 6 * ROWS + 1).await;
    let n_of = |kind: &str| made.iter().filter(|event| event.starts_with(kind)).count();
    assert!(n_of("MetricAnomaly disk-") >= 6 && n_of("HealthChanged disk-9") == 1, "{made:#?}");
}
