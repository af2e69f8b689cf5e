//! Loads of the writer.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use spindle_testkit::InfluxServer;
use tokio::time::sleep;

use super::{Process, Stage, until};
use crate::harness::process::send_signal;

/// Bytes published to a writer whose store hangs: several times what it may have in flight.
const HANGING_BYTES: usize = 200 << 20;
/// Time in which the writer fetches all that it may have in flight.
const HANGING_TIME: Duration = Duration::from_secs(20);
const EVENTS_PER_MESSAGE: usize = 480;
const STORED_EVENTS: usize = 300_000;
const LATE_MESSAGES: usize = 20;

/// Publishes values in messages of 900 kB, several times what a writer may have in flight.
pub(super) async fn publish_values(stage: &Stage<'_>) -> Result<usize> {
    let value = |n: usize| {
        format!(
            r#"{{"timestamp":"2026-01-01T00:00:{:02}.{:06}Z","sourceDevice":"disk-{}","metricType":"Number","value":{n}}}"#,
            n / 1_000_000 % 60,
            n % 1_000_000,
            n % 1_000
        )
    };
    const PER_MESSAGE: usize = 8_500;
    let n_messages = HANGING_BYTES / stage.divisor / 900_000;
    let message = |number: usize| {
        let values = (number * PER_MESSAGE..(number + 1) * PER_MESSAGE).map(value).collect::<Vec<_>>();
        (number % 4 == 3, format!("[{}]", values.join(",")))
    };
    stage.publish("values", (0..n_messages).map(message)).await?;
    Ok(n_messages * PER_MESSAGE)
}

/// The store has never answered: batches wait to be written.
pub(super) async fn hanging_from_the_start(stage: &Stage<'_>) -> Result<u64> {
    publish_values(stage).await?;
    let mut writer = stage.start_hanging()?;
    in_flight(&mut writer, stage.divisor).await
}

/// InfluxDB stops in the middle of its work: batches are in flight as lines.
pub(super) async fn hanging_influxdb(stage: &Stage<'_>) -> Result<u64> {
    let influx = InfluxServer::start()?;
    let mut writer = stage.start(&[("INFLUXDB_HOST", &influx.url())])?;
    stage.publish("first", std::iter::once(events(0, 1))).await?;
    until("the first event is stored", || stored(&writer, "event") >= 1.0).await?;
    send_signal(influx.pid().context("InfluxDB is not running")?, Signal::STOP);
    publish_values(stage).await?;
    in_flight(&mut writer, stage.divisor).await
}

async fn in_flight(writer: &mut Process, divisor: usize) -> Result<u64> {
    until("batches are in flight", || writer.metric("spindle_writer_batches_in_flight") >= 2.0).await?;
    sleep(HANGING_TIME / divisor as u32).await;
    writer.peak_bytes()
}

/// Returns the number of stored elements of a kind.
pub(super) fn stored(process: &Process, kind: &str) -> f64 {
    process.metric(&format!("spindle_writer_stored_items_total{{kind=\"{kind}\"}}"))
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
    let n_messages = STORED_EVENTS / stage.divisor / EVENTS_PER_MESSAGE;
    stage
        .publish("events", (0..n_messages).map(|number| events(number * EVENTS_PER_MESSAGE, EVENTS_PER_MESSAGE)))
        .await?;
    let n_events = n_messages * EVENTS_PER_MESSAGE;
    until("the events are stored", || stored(&writer, "event") >= n_events as f64).await?;
    let late = (0..LATE_MESSAGES).map(|number| events(n_events + number * EVENTS_PER_MESSAGE, EVENTS_PER_MESSAGE));
    let n_all = n_events + LATE_MESSAGES * EVENTS_PER_MESSAGE;
    stage.publish("late", late).await?;
    until("the late events are stored", || stored(&writer, "event") >= n_all as f64).await?;
    writer.peak_bytes()
}
