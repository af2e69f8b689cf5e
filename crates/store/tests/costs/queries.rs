//! Every query for one hour, and stores that differ only in the amount of history before it. Shared by the tests of
//! what queries cost.

use std::sync::Arc;
use std::time::Duration;

use spindle_core::records::{EventFilter, TimeBasis, Window};
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventId, EventType, MetricType, Timestamp};
use spindle_store::Store;

/// 2025-06-06T12:00:00Z.
pub(crate) const NOON: i64 = 1_749_211_200_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;

/// Hours of history: in the small store, and in the large one.
pub(crate) const SMALL: i64 = 1;
pub(crate) const LARGE: i64 = 100;

const N_DEVICES: usize = 20;
const VALUES_PER_HOUR: usize = 2_400;
const EVENTS_PER_HOUR: usize = 240;

/// Writes the hour before noon and `n_hours` before it. Every tenth event is late by two days.
pub(crate) async fn fill(store: &Store, n_hours: i64) {
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

/// Runs each query once, and reports its name and the number of its rows.
pub(crate) async fn run_each(store: &Store, mut done: impl FnMut(&'static str, usize)) {
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
    macro_rules! query {
        ($name:literal, $query:expr, $n_rows:expr) => {{
            let found = $query.await.unwrap();
            done($name, $n_rows(&found));
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
    query!("last arrivals", store.last_arrivals(&devices, hour), |found: &Vec<Option<_>>| found
        .iter()
        .flatten()
        .count());
    query!("ping", store.ping(), |_: &()| 0);
}

pub(crate) fn metric(device: &str, metric_type: &str, time: i64) -> DeviceMetric {
    DeviceMetric {
        timestamp: Timestamp::from_ns(time),
        source_device: DeviceName::new(device).unwrap(),
        metric_type: MetricType::new(metric_type).unwrap(),
        value: (time % 1000) as f64 / 7.0,
        seq: None,
        labels: None,
    }
}

pub(crate) fn event(id: &str, device: &str, time: i64, criticality: u64) -> Event {
    Event {
        id: EventId::new(id).unwrap(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp: Timestamp::from_ns(time),
        source_device: DeviceName::new(device).unwrap(),
        event_type: EventType::new("SmartWarning").unwrap(),
        event_message: Some("reallocated sectors rose".to_owned()),
        seq: None,
        labels: None,
    }
}

pub(crate) fn window(from: i64, until: i64) -> Window {
    Window { from: Timestamp::from_ns(from), until: Timestamp::from_ns(until) }
}
