//! Events overtake a backlog of metrics: after the store was away, a new event is stored within two seconds of its
//! return, however many values wait.
//!
//! `SPINDLE_TEST_BACKLOG=1000000` makes the backlog larger than the quarter of a million of every run, and
//! `SPINDLE_TEST_PROGRAM` names another program than the one built with the tests: a release, for figures.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use spindle_testkit::{InfluxServer, NatsServer, wait_until};

use crate::apart::{RoleProcess, connect, influx_count, publish_event, publish_values};
use crate::harness::{PATIENCE, stored_rows};

/// Unoptimised, and beside the rest of the suite, the program takes several times as long.
const WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 6 } else { 2 });
const PER_MESSAGE: usize = 500;

fn n_values() -> usize {
    std::env::var("SPINDLE_TEST_BACKLOG").map_or(250_000, |text| text.parse().unwrap())
}

/// Lets a backlog grow while the store is away, brings the store back, and sees which is stored first.
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
    writer.wait_for_readiness("it says that it cannot store", |words| words.starts_with("503"));
    bring_back();
    let began = Instant::now();
    publish_event(&jetstream, 2).await;
    let mut seen = (0, 0);
    wait_until(PATIENCE, "both events are stored", || {
        seen = counts();
        seen.1 == 2
    })
    .unwrap();
    let events_after = began.elapsed();
    wait_until(PATIENCE, "the backlog is stored", || counts() == (n_values as u64, 2)).unwrap();
    eprintln!(
        "events stored after {events_after:?}, with {} of {n_values} values; all values after {:?}",
        seen.0,
        began.elapsed()
    );
    assert!(seen.0 < n_values as u64, "the events were stored after the whole backlog");
    assert!(events_after < WITHIN, "{events_after:?}");
    writer.wait_until_ready();
}

/// Another program holds the file's write lock, as a long backup would.
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
    // Events first: what is counted of the values afterwards was not there before.
    let counts = || {
        let n_events = influx_count(&influx.borrow(), "events", "criticality");
        (influx_count(&influx.borrow(), "device_metrics", "value"), n_events)
    };
    check_overtaking(&nats, &writer, || influx.borrow_mut().restart().unwrap(), counts).await;
}
