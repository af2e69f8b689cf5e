//! Every query against stores that differ only in the amount of history outside the window.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spindle_core::records::{EventFilter, TimeBasis};
use spindle_core::{Batch, Criticality, DeviceName, EventType, MetricType, Timestamp};
use spindle_store::Store;
use spindle_testkit::InfluxServer;

use crate::*;

const N_DEVICES: usize = 20;
const VALUES_PER_HOUR: usize = 2_400;
const EVENTS_PER_HOUR: usize = 240;
/// Hours of history: in the small store, and in the large one.
const SMALL: i64 = 1;
const LARGE: i64 = 100;

/// Factor and time by which a query may take longer on the large store, on a busy machine: what reads the history takes
/// 30 times longer.
const MAX_RATIO: f64 = 10.0;
const MARGIN: Duration = Duration::from_millis(10);
const N_RUNS: usize = 7;

#[tokio::test(flavor = "multi_thread")]
async fn of_the_embedded_store_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &str| Store::open_embedded(&folder.path().join(name)).await.unwrap();
    compare(open("small.db").await, open("large.db").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_influxdb_does_not_grow() {
    let server = InfluxServer::start().unwrap();
    compare(open_influx(server.url(), "small"), open_influx(server.url(), "large")).await;
}

async fn compare(small: Store, large: Store) {
    fill(&small, SMALL).await;
    fill(&large, LARGE).await;
    let (mut of_small, mut of_large) = (measure(&small).await, measure(&large).await);
    // In turns, so that a machine that slows down affects both.
    for _ in 1..N_RUNS {
        shorten(&mut of_small, measure(&small).await);
        shorten(&mut of_large, measure(&large).await);
    }
    let mut report = String::new();
    let mut has_grown = false;
    for ((name, n_small, short), (_, n_large, long)) in of_small.iter().zip(&of_large) {
        let grows = *long > short.mul_f64(MAX_RATIO) + MARGIN || n_small != n_large;
        has_grown |= grows;
        report +=
            &format!("{name}: {short:?} {long:?}, {n_small} {n_large} rows{}\n", if grows { ", grows" } else { "" });
    }
    assert!(!has_grown, "{report}");
}

fn shorten(all: &mut [(&'static str, usize, Duration)], others: Vec<(&'static str, usize, Duration)>) {
    for ((_, _, shortest), (_, _, other)) in all.iter_mut().zip(others) {
        *shortest = other.min(*shortest);
    }
}

/// Writes the hour before noon and `n_hours` before it. Every tenth event is late by two days.
async fn fill(store: &Store, n_hours: i64) {
    for hour in (0..=n_hours).rev() {
        let end = NOON - hour * HOUR;
        let metrics = (0..VALUES_PER_HOUR).map(|number| {
            let time = end - HOUR + number as i64 * (HOUR / VALUES_PER_HOUR as i64);
            metric(&format!("disk-{}", number % N_DEVICES), ["DiskTemp", "IOPs"][number / N_DEVICES % 2], time)
        });
        let events = (0..EVENTS_PER_HOUR).map(|number| {
            let late = if number % 10 == 0 { 48 * HOUR } else { 0 };
            let time = end - HOUR + number as i64 * (HOUR / EVENTS_PER_HOUR as i64) - late;
            event(&format!("{hour}-{number}"), &format!("disk-{}", number % N_DEVICES), time, 1 + number as u64 % 10)
        });
        let batch = Batch { metrics: metrics.collect(), events: events.collect() };
        store.write(Arc::new(batch), Timestamp::from_ns(end - SECOND)).await.unwrap();
    }
}

/// Runs each query once; returns its name, the number of rows and the time.
async fn measure(store: &Store) -> Vec<(&'static str, usize, Duration)> {
    let (device, kind) = (DeviceName::new("disk-7").unwrap(), MetricType::new("IOPs").unwrap());
    let devices: Vec<DeviceName> = (0..N_DEVICES).map(|n| DeviceName::new(&format!("disk-{n}")).unwrap()).collect();
    let hour = window(NOON - HOUR, NOON);
    let filter = |basis, device: Option<&DeviceName>, level| EventFilter {
        window: hour,
        basis,
        source_device: device.cloned(),
        event_type: device.map(|_| EventType::new("SmartWarning").unwrap()),
        min_criticality: Criticality::new(level).unwrap(),
        limit: 10_000,
        offset: 0,
    };
    let mut all = Vec::new();
    macro_rules! query {
        ($name:literal, $query:expr, $n_rows:expr) => {{
            let started = Instant::now();
            let found = $query.await.unwrap();
            let took = started.elapsed();
            all.push(($name, $n_rows(&found), took));
        }};
    }
    query!("events that happened", store.events(filter(TimeBasis::Happened, None, 1)), Vec::len);
    query!("events that arrived", store.events(filter(TimeBasis::Received, None, 1)), Vec::len);
    query!("events by either", store.events(filter(TimeBasis::Either, None, 1)), Vec::len);
    query!("critical events by either", store.events(filter(TimeBasis::Either, None, 8)), Vec::len);
    query!("a device's events that happened", store.events(filter(TimeBasis::Happened, Some(&device), 1)), Vec::len);
    query!("a device's events that arrived", store.events(filter(TimeBasis::Received, Some(&device), 1)), Vec::len);
    query!("a device's critical events", store.events(filter(TimeBasis::Either, Some(&device), 8)), Vec::len);
    let count = |counts: &Vec<(DeviceName, u64)>| counts.iter().map(|(_, count)| *count as usize).sum::<usize>();
    query!("count by either", store.count_events_by_device(filter(TimeBasis::Either, None, 1)), count);
    query!("count that arrived", store.count_events_by_device(filter(TimeBasis::Received, None, 8)), count);
    query!("devices", store.devices(None, 200), Vec::len);
    query!("device", store.device(&device), |found: &Option<_>| usize::from(found.is_some()));
    query!("latest", store.latest_many(&devices, hour), Vec::len);
    query!("range", store.range(&device, &kind, hour, 10_000), Vec::len);
    query!("first and last", store.first_and_last(&device, &kind, hour), |found: &Option<_>| usize::from(
        found.is_some()
    ));
    query!("buckets", store.buckets(&device, &kind, hour, Duration::from_secs(12)), Vec::len);
    query!("tally", store.tally(&devices, hour), Vec::len);
    query!("ping", store.ping(), |_: &()| 0);
    all
}
