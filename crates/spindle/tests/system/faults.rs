//! kill -9 of the whole process and of nats-server alone under load: every message that JetStream acknowledged is in the
//! store, once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use spindle_core::records::Window;
use spindle_core::{DeviceName, MetricType, Timestamp};
use spindle_store::Store;
use spindle_testkit::wait_until;

use crate::harness::{NO_SOURCES, PATIENCE, System, is_running, nats_options, send_signal};

/// Metrics in one message: enough messages that kills fall between them.
const PER_MESSAGE: u64 = 20;
/// Each third message is an event.
const EVENT_EVERY: u64 = 3;

/// Publishes numbered messages until `stop`. A message counts once JetStream has acknowledged it, and is repeated with the
/// same id until then.
async fn publish(url: String, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let client = nats_options(&url).retry_on_initial_connect().connect(&url).await.unwrap();
    let jetstream = jetstream::ContextBuilder::new().timeout(Duration::from_secs(1)).build(client);
    while !stop.load(Ordering::Relaxed) {
        let number = next.load(Ordering::Relaxed);
        let (subject, payload) = message(number);
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("test-{number}").as_str());
        let acked = match jetstream.publish_with_headers(subject, headers, payload.into()).await {
            Ok(ack) => ack.await.is_ok(),
            Err(_) => false,
        };
        if acked {
            next.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn message(number: u64) -> (&'static str, String) {
    if number.is_multiple_of(EVENT_EVERY) {
        let id = uuid::Uuid::from_u64_pair(7, number);
        // All in one second of one device: only the id differs.
        return (
            "events.event",
            format!(
                r#"{{"id":"{id}","criticality":5,"timestamp":"2025-01-01T00:00:00Z","sourceDevice":"d","eventType":"Test"}}"#
            ),
        );
    }
    let metric = |index| {
        let time = Timestamp::from_ns((number * PER_MESSAGE + index) as i64 * 1000);
        format!(r#"{{"timestamp":"{time}","sourceDevice":"d","metricType":"Number","value":{number}}}"#)
    };
    ("events.metrics", format!("[{}]", (0..PER_MESSAGE).map(metric).collect::<Vec<_>>().join(",")))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_over_kills() {
    let mut system = System::start(NO_SOURCES, &[]);
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let publishing = tokio::spawn(publish(system.nats_url(), next.clone(), stop.clone()));
    let more = |n_messages: u64| {
        let goal = next.load(Ordering::Relaxed) + n_messages;
        wait_until(PATIENCE, "messages flow", || next.load(Ordering::Relaxed) >= goal).unwrap();
    };
    more(300);
    for round in 0..3 {
        system.kill();
        system.start_again();
        more(150 + 50 * round);
        let nats = system.nats_pid();
        send_signal(nats, "KILL");
        wait_until(PATIENCE, "nats-server died", || !is_running(nats)).unwrap();
        more(150 + 50 * round);
    }
    stop.store(true, Ordering::Relaxed);
    publishing.await.unwrap();
    // The message in flight when publishing stopped may be stored without an ack.
    let n_acked = next.load(Ordering::Relaxed);
    let (n_events, n_metrics) = expected(n_acked);
    let store = system.store().await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let counts = loop {
        let (stored_metrics, stored_events) = system.stored();
        if (stored_events >= n_events && stored_metrics >= n_metrics) || tokio::time::Instant::now() > deadline {
            break (stored_events, stored_metrics);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(counts, (n_events, n_metrics), "{n_acked} messages were acknowledged");
    every_value_is_there(&store, n_acked).await;
}

fn expected(n_messages: u64) -> (u64, u64) {
    let n_events = n_messages.div_ceil(EVENT_EVERY);
    (n_events, (n_messages - n_events) * PER_MESSAGE)
}

async fn every_value_is_there(store: &Store, n_messages: u64) {
    let (device, metric) = (DeviceName::new("d").unwrap(), MetricType::new("Number").unwrap());
    let window = Window { from: Timestamp::from_ns(0), until: Timestamp::from_ns(i64::MAX) };
    let samples = store.range(&device, &metric, window, usize::MAX >> 1).await.unwrap();
    let found: BTreeSet<(i64, u64)> = samples.iter().map(|sample| (sample.time.as_ns(), sample.value as u64)).collect();
    for number in (0..n_messages).filter(|number| !number.is_multiple_of(EVENT_EVERY)) {
        for index in 0..PER_MESSAGE {
            let time = (number * PER_MESSAGE + index) as i64 * 1000;
            assert!(found.contains(&(time, number)), "value {index} of message {number} is lost");
        }
    }
}

#[test]
fn a_dead_nats_server_is_restarted_and_collecting_goes_on() {
    let system = System::start("", &["--devices", "3", "--source", "simulate", "--interval", "200ms"]);
    let answer =
        system.wait_for(&["devices"], "devices are listed", |answer| !answer["data"].as_array().unwrap().is_empty());
    let last_seen = |answer: &serde_json::Value| answer["data"][0]["last_seen"].as_str().map(str::to_owned);
    let before = last_seen(&answer);
    assert!(before.is_some());
    send_signal(system.nats_pid(), "KILL");
    wait_until(PATIENCE, "spindle noticed", || system.log().contains("nats-server died, restarting")).unwrap();
    wait_until(PATIENCE, "new values arrive", || {
        let output = system.query(&["devices", "--format", "json"]);
        last_seen(&serde_json::from_slice(&output.stdout).unwrap_or_default()) > before
    })
    .unwrap();
}
