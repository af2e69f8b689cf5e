//! The detector: what it finds is stored once, whatever is killed; it holds no stream, and misses nothing in silence.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures::StreamExt;
use serde_json::Value;
use spindle_core::Timestamp;
use spindle_testkit::{NatsServer, wait_until};

use crate::apart::{RoleProcess, connect};
use crate::harness::{NO_SOURCES, PATIENCE, System};

/// Rows of each series, five minutes apart: enough to be judged.
pub(crate) const ROWS: usize = 1_500;
/// Time of the first row.
const BEGIN: i64 = 1_790_000_000;
/// Rows in one message.
const PER_MESSAGE: usize = 25;

/// Returns the messages of some devices, whose latency is high for a while, in the order of time.
pub(crate) fn messages(n_devices: usize) -> Vec<String> {
    let value = |device: usize, row: usize| {
        let noise = (row * 7_919 + device * 104_729) % 1_000;
        let is_bad = (600..640).contains(&((row + 3 * device) % 700));
        let shift = if is_bad { 80.0 } else { 0.0 };
        shift + 5.0 + (row as f64 / 9.0).sin() + noise as f64 / 2_000.0
    };
    let message = |first: usize, device: usize| {
        let rows = (first..first + PER_MESSAGE).map(|row| {
            let (time, value) = (Timestamp::from_seconds(BEGIN + 300 * row as i64), value(device, row));
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
    publish(&jetstream, &messages(2)).await;
    let made = settled(&jetstream).await;
    let stored = || {
        let answer = system.ask(&["events", "since_minutes=5000000", "event_type=MetricAnomaly", "limit=1000"]);
        let rows = answer["data"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| identity(row, ["event_type", "source_device", "time", "event_id"])).collect()
    };
    let same = wait_until(PATIENCE, "the notes are stored", || made == stored());
    assert!(same.is_ok(), "{made:#?}\n{:#?}", stored());
    assert!(made.iter().any(|event| event.contains("disk-0")) && made.iter().any(|event| event.contains("disk-1")));
    // Stopped in order, the state is saved, and nothing comes again.
    system.signal("TERM");
    assert!(system.wait_for_end().success());
    assert!(system.data_dir().join("detector.state").exists());
    system.start_again();
    let jetstream = async_nats::jetstream::new(system.nats().await);
    assert_eq!(settled(&jetstream).await, made);
    assert!(!system.log().contains("abandoning"), "{}", system.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_detector_lose_no_event_and_double_none() {
    let messages = messages(6);
    let run = async |kills: &[u64]| {
        let nats = NatsServer::start().unwrap();
        let jetstream = connect(&nats.url()).await;
        let folder = tempfile::tempdir().unwrap();
        let mut process = detector(folder.path(), &nats, &[]);
        let flowing = tokio::spawn({
            let (jetstream, messages) = (jetstream.clone(), messages.clone());
            async move {
                for some in messages.chunks(20) {
                    publish(&jetstream, some).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
        for pause in kills {
            tokio::time::sleep(Duration::from_millis(*pause)).await;
            // Dropped, it is killed.
            drop(process);
            process = detector(folder.path(), &nats, &[]);
        }
        flowing.await.unwrap();
        settled(&jetstream).await
    };
    let undisturbed = run(&[]).await;
    assert!(undisturbed.len() >= 6, "{undisturbed:#?}");
    assert_eq!(run(&[310, 470, 90, 620, 150, 233]).await, undisturbed);
}
