//! Events overtake a backlog of metrics: after an outage of the store, a new event is stored within two seconds,
//! however many values wait.
//!
//! `SPINDLE_TEST_BACKLOG=1000000` raises the backlog above the default of 250,000 values, and `SPINDLE_TEST_PROGRAM`
//! replaces the program built with the tests: by a release build, to measure.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use spindle_testkit::{InfluxServer, NatsServer, wait_until};

use crate::apart::{RoleProcess, connect, influx_count, publish_event, publish_values};
use crate::harness::{PATIENCE, stored_rows};

/// Maximum delay; unoptimised, and beside the rest of the suite, the program takes several times as long.
const WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 6 } else { 2 });
const PER_MESSAGE: usize = 500;

fn n_values() -> usize {
    std::env::var("SPINDLE_TEST_BACKLOG").map_or(250_000, |text| text.parse().unwrap())
}

/// Lets a backlog grow during an outage of the store, ends the outage, and checks which data is stored first.
#[expect(clippy::print_stderr, reason = "the figures are what the larger run is for")]
async fn check_overtaking(
    nats: &NatsServer,
    writer: &RoleProcess,
    bring_back: impl FnOnce(),
    counts: impl Fn() -> (u64, u64),
) {
    let (n_values, jetstream) = (n_values(), connect(nats.url().as_str()).await);
    publish_event(&jetstream, 1).await;
    publish_values(&jetstream, 0, n_values, PER_MESSAGE).await;
    writer.wait_for_readiness("it reports the outage", |status| status.starts_with("503"));
    bring_back();
    let started = Instant::now();
    publish_event(&jetstream, 2).await;
    let mut seen = (0, 0);
    wait_until(PATIENCE, "both events are stored", || {
        seen = counts();
        seen.1 == 2
    })
    .unwrap();
    let events_after = started.elapsed();
    wait_until(PATIENCE, "the backlog is stored", || counts() == (n_values as u64, 2)).unwrap();
    eprintln!(
        "events stored after {events_after:?}, with {} of {n_values} values; all values after {:?}",
        seen.0,
        started.elapsed()
    );
    assert!(seen.0 < n_values as u64, "the events were stored after the whole backlog");
    assert!(events_after < WITHIN, "{events_after:?}");
    writer.wait_until_ready();
}

/// Another program holds the write lock of the database, as a long backup does.
#[tokio::test(flavor = "multi_thread")]
async fn events_overtake_a_backlog_for_the_embedded_store() {
    let nats = NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let writer = RoleProcess::start(folder.path(), "writer", &[("NATS_URL", &nats.url())]);
    writer.wait_until_ready();
    let file = folder.path().join("data/spindle.db");
    let blocker = Connection::open(&file).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    check_overtaking(&nats, &writer, || blocker.execute_batch("ROLLBACK").unwrap(), || counts(&file)).await;
}

fn counts(file: &Path) -> (u64, u64) {
    let (n_metrics, n_events, _) = stored_rows(file);
    (n_metrics, n_events)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_overtake_a_backlog_for_influxdb() {
    let nats = NatsServer::start().unwrap();
    let mut influx = InfluxServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let variables = [("NATS_URL", nats.url()), ("INFLUXDB_HOST", influx.url())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let writer = RoleProcess::start(folder.path(), "writer", &variables);
    writer.wait_until_ready();
    influx.kill();
    let influx = std::cell::RefCell::new(influx);
    // Events first: the count of values is then never older than that of the events.
    let counts = || {
        let n_events = influx_count(&influx.borrow(), "events", "criticality");
        (influx_count(&influx.borrow(), "device_metrics", "value"), n_events)
    };
    check_overtaking(&nats, &writer, || influx.borrow_mut().restart().unwrap(), counts).await;
}
