//! Loads of the writer.

use std::time::Duration;

use anyhow::Result;
use spindle_testkit::InfluxServer;
use tokio::time::sleep;

use super::{Process, Stage, until};

/// Bytes published to a writer whose store hangs: several times what it may have in flight.
const HANGING_BYTES: usize = 200 << 20;
const EVENTS_PER_MESSAGE: usize = 480;
const STORED_EVENTS: usize = 300_000;
const LATE_MESSAGES: usize = 20;

/// Everything that the writer fetches stays in flight.
pub(super) async fn hanging(stage: &Stage<'_>) -> Result<u64> {
    let value = |n: usize| {
        format!(
            r#"{{"timestamp":"2026-01-01T00:00:{:02}.{:06}Z","sourceDevice":"disk-{}","metricType":"Number","value":{n}}}"#,
            n / 1_000_000 % 60,
            n % 1_000_000,
            n % 1_000
        )
    };
    const PER_MESSAGE: usize = 8_500;
    let n_messages = HANGING_BYTES / 900_000;
    let message = |number: usize| {
        let values = (number * PER_MESSAGE..(number + 1) * PER_MESSAGE).map(value).collect::<Vec<_>>();
        (number % 4 == 3, format!("[{}]", values.join(",")))
    };
    stage.publish("values", (0..n_messages).map(message)).await?;
    let mut writer = stage.start_hanging()?;
    until("batches are in flight", || writer.metric("spindle_writer_batches_in_flight") >= 2.0).await?;
    sleep(Duration::from_secs(20)).await;
    writer.peak_bytes()
}

/// Events of the past among many that are stored, from `first` on.
fn events(first: usize, n_events: usize) -> (bool, String) {
    let event = |n: usize| {
        // Each message spans the whole day.
        let second = n * 7_919 % 86_400;
        format!(
            r#"{{"id":"00000000-0000-4000-8000-{n:012}","criticality":5,"timestamp":"2026-01-01T{:02}:{:02}:{:02}Z","sourceDevice":"disk-{}","eventType":"Note"}}"#,
            second / 3_600,
            second / 60 % 60,
            second % 60,
            n % 100
        )
    };
    (true, format!("[{}]", (first..first + n_events).map(event).collect::<Vec<_>>().join(",")))
}

/// The store has to look for events with the same identity.
pub(super) async fn late_events(stage: &Stage<'_>, on_influxdb: bool) -> Result<u64> {
    let influx = on_influxdb.then(InfluxServer::start).transpose()?;
    let host = influx.as_ref().map(InfluxServer::url);
    let variables: Vec<_> = host.as_deref().map(|host| ("INFLUXDB_HOST", host)).into_iter().collect();
    let mut writer = stage.start(&variables)?;
    let n_messages = STORED_EVENTS / EVENTS_PER_MESSAGE;
    stage
        .publish("events", (0..n_messages).map(|number| events(number * EVENTS_PER_MESSAGE, EVENTS_PER_MESSAGE)))
        .await?;
    let n_stored = |writer: &Process| writer.metric("spindle_writer_stored_items_total{kind=\"event\"}");
    let n_events = n_messages * EVENTS_PER_MESSAGE;
    until("the events are stored", || n_stored(&writer) >= n_events as f64).await?;
    let late = (0..LATE_MESSAGES).map(|number| events(n_events + number * EVENTS_PER_MESSAGE, EVENTS_PER_MESSAGE));
    let n_all = n_events + LATE_MESSAGES * EVENTS_PER_MESSAGE;
    stage.publish("late", late).await?;
    until("the late events are stored", || n_stored(&writer) >= n_all as f64).await?;
    writer.peak_bytes()
}
