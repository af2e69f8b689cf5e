//! Benchmark of queries against history: the same window, with 1, 10 and 100 times its data before it.
//!
//! An InfluxDB is measured twice: as written, with its newest data in the cache, and once all of it is in files.

mod settle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use spindle_core::records::{EventFilter, TimeBasis, Window};
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventId, EventType, MetricType, Timestamp};
use spindle_store::{InfluxSettings, Store};

use crate::print;

/// End of the window.
const NOW: Timestamp = Timestamp::from_seconds(1_780_000_000);
const WINDOW: Duration = Duration::from_secs(3600);
/// Windows of history before the window.
const MULTIPLES: [usize; 3] = [1, 10, 100];
const N_DEVICES: usize = 50;
const METRIC_TYPES: [&str; 4] = ["DiskTemp", "IOPs", "Latency", "CapacityUsed"];
/// An event among so many values.
const VALUES_PER_EVENT: usize = 20;
/// Every so many events one is late, a critical one: it happened in the middle of history, and arrived in its hour.
const LATE_EVERY: usize = 10;
const FIRST_LATE: usize = 7;
/// Late events in a message of 60 KB.
const N_LATE: usize = 480;
/// Measurements of each query in a pass, of which the shortest counts.
const N_RUNS: usize = 5;
const N_PASSES: usize = 4;
/// The same for writes, each of which adds to what the next one finds.
const N_WRITES: usize = 5;

/// Shortest time of each query type, in the order of the first store.
type Times = Vec<(&'static str, Duration)>;

pub(crate) async fn run(influxdb: Option<&str>, n_values: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database_prefix = format!("spindle_queries_{}_", std::process::id());
    let mut stores = Vec::new();
    for multiple in MULTIPLES {
        let store = match influxdb {
            None => Store::open_embedded(&folder.path().join(format!("{multiple}.db"))).await?,
            Some(host) => open_influxdb(host, &format!("{database_prefix}{multiple}")).await?,
        };
        fill(&store, n_values, multiple).await?;
        stores.push(store);
    }
    if let Some(host) = influxdb {
        print("as written, from the cache:");
        measure_all(&stores, false).await?;
        settle::wait(host, &database_prefix).await?;
    }
    measure_all(&stores, true).await?;
    for store in stores {
        store.close().await?;
    }
    Ok(())
}

/// Measures all stores and prints the times. Writes come last: they are history for whatever follows.
async fn measure_all(stores: &[Store], with_writes: bool) -> Result<()> {
    let mut all: Vec<Times> = Vec::new();
    // In turn, so that a moment of load on the machine touches all alike.
    for _ in 0..N_PASSES {
        for (index, store) in stores.iter().enumerate() {
            let times = measure(store).await?;
            match all.get_mut(index) {
                None => all.push(times),
                Some(shortest) => shortest.iter_mut().zip(times).for_each(|(one, other)| one.1 = one.1.min(other.1)),
            }
        }
    }
    if with_writes {
        for (store, times) in stores.iter().zip(&mut all) {
            times.push(("a write of 480 late events", shortest_write(store).await?));
        }
    }
    let of_first: BTreeMap<&str, Duration> = all[0].iter().copied().collect();
    print("| query | 1x | 10x | 100x |\n|---|---|---|---|");
    for (row, (name, first)) in all[0].iter().enumerate() {
        let ratio = |times: &Times| times[row].1.as_secs_f64() / of_first[name].as_secs_f64();
        let first_ms = first.as_secs_f64() * 1e3;
        print(&format!("| {name} | {first_ms:.2} ms | {:.2} | {:.2} |", ratio(&all[1]), ratio(&all[2])));
    }
    Ok(())
}

async fn open_influxdb(host: &str, database: &str) -> Result<Store> {
    let settings = InfluxSettings { host: host.to_owned(), database: database.to_owned(), ..InfluxSettings::default() };
    let store = Store::open_influx(settings)?;
    store.check().await.context("needs an InfluxDB 1 without credentials")?;
    print(&format!("writing to the database {database}, which is not dropped at the end"));
    Ok(store)
}

/// Writes the window, and `multiple` windows before it, each as it would have arrived.
async fn fill(store: &Store, n_values: usize, multiple: usize) -> Result<()> {
    for number in (0..=multiple).rev() {
        let until = NOW.minus(WINDOW * u32::try_from(number)?);
        let batch = hour(n_values, until, number)?;
        store.write(Arc::new(batch), until.minus(Duration::from_secs(1))).await?;
    }
    Ok(())
}

fn hour(n_values: usize, until: Timestamp, number: usize) -> Result<Batch> {
    let step = WINDOW / u32::try_from(n_values)?;
    let mut batch = Batch::default();
    for index in 0..n_values {
        let timestamp = until.minus(step * u32::try_from(index + 1)?);
        let source_device = DeviceName::new(&format!("disk-{}", index % N_DEVICES))?;
        if index.is_multiple_of(VALUES_PER_EVENT) {
            let event = index / VALUES_PER_EVENT;
            let is_late = event % LATE_EVERY == FIRST_LATE;
            batch.events.push(Event {
                id: EventId::new(&format!("event-{number}-{index}"))?,
                criticality: Criticality::new(1 + (event % 10) as u64).context("criticality")?,
                timestamp: if is_late { timestamp.minus(WINDOW * 50) } else { timestamp },
                source_device: DeviceName::new(&format!("disk-{}", event % N_DEVICES))?,
                event_type: EventType::new("SmartWarning")?,
                event_message: Some("reallocated sectors rose".to_owned()),
                seq: Some(event as u64),
                labels: None,
            });
        }
        batch.metrics.push(DeviceMetric {
            timestamp,
            source_device,
            metric_type: MetricType::new(METRIC_TYPES[index / N_DEVICES % METRIC_TYPES.len()])?,
            value: (index % 1000) as f64 / 37.0,
            seq: Some((number * n_values + index) as u64),
            labels: None,
        });
    }
    Ok(batch)
}

async fn measure(store: &Store) -> Result<Times> {
    let window = Window::ending_at(NOW, WINDOW);
    let device = DeviceName::new("disk-7")?;
    let kind = MetricType::new("DiskTemp")?;
    let filter = |basis, min_criticality: u64, of_device: bool| EventFilter {
        window,
        basis,
        source_device: of_device.then(|| device.clone()),
        event_type: None,
        min_criticality: Criticality::new(min_criticality).unwrap_or(Criticality::MAX),
        limit: 1000,
        offset: 0,
    };
    let mut times = Times::new();
    macro_rules! time {
        ($name:literal, $query:expr) => {{
            let mut shortest = Duration::MAX;
            for _ in 0..N_RUNS {
                let started = Instant::now();
                $query.await?;
                shortest = shortest.min(started.elapsed());
            }
            times.push(($name, shortest));
        }};
    }
    time!("alerts_critical, any", store.events(filter(TimeBasis::Either, 8, false)));
    time!("alerts_critical, received", store.events(filter(TimeBasis::Received, 8, false)));
    time!("alerts_critical, count per device", store.count_events_by_device(filter(TimeBasis::Either, 8, false)));
    time!("events, any", store.events(filter(TimeBasis::Either, 1, false)));
    time!("events, time", store.events(filter(TimeBasis::Happened, 1, false)));
    time!("events, received, one device", store.events(filter(TimeBasis::Received, 1, true)));
    time!("devices, the list", store.devices(None, 200));
    time!("devices, latest values", store.latest_many(std::slice::from_ref(&device), window));
    time!("device_health, device", store.device(&device));
    time!("anomaly_temperature", store.first_and_last(&device, &kind, window));
    time!("series", store.buckets(&device, &kind, window, Duration::from_secs(12)));
    time!("audit_gaps", store.tally(std::slice::from_ref(&device), window));
    Ok(times)
}

async fn shortest_write(store: &Store) -> Result<Duration> {
    let mut shortest = Duration::MAX;
    for run in 0..N_WRITES {
        let batch = Arc::new(late_events(run)?);
        let started = Instant::now();
        store.write(batch, NOW).await?;
        shortest = shortest.min(started.elapsed());
    }
    Ok(shortest)
}

/// Makes events that happened all over the history.
fn late_events(run: usize) -> Result<Batch> {
    let mut batch = hour(N_LATE * VALUES_PER_EVENT, NOW.minus(WINDOW), run)?;
    batch.metrics.clear();
    for (number, event) in batch.events.iter_mut().enumerate() {
        event.id = EventId::new(&format!("late-{run}-{number}"))?;
        event.timestamp = event.timestamp.minus(WINDOW * u32::try_from(number % 99)?);
    }
    Ok(batch)
}
