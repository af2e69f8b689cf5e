//! Short constructors for data and queries.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use spindle_core::audit::Tally;
use spindle_core::records::{EventFilter, TimeBasis, Window};
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, Labels, MetricType, Timestamp};
use spindle_store::{StoreError, Written};
use uuid::Uuid;

/// Store whose writes return once queries show them: the reads of some stores lag their writes.
#[derive(Clone)]
pub(crate) struct Store(pub(crate) spindle_store::Store);

impl Deref for Store {
    type Target = spindle_store::Store;

    fn deref(&self) -> &spindle_store::Store {
        &self.0
    }
}

impl Store {
    pub(crate) async fn write(&self, batch: Arc<Batch>, received: Timestamp) -> Result<Written, StoreError> {
        let written = self.0.write(batch, received).await;
        let lag = self.0.read_lag();
        if !lag.is_zero() {
            tokio::time::sleep(lag).await;
        }
        written
    }
}

/// Location where a store is created, opened and reopened. A drop removes the store.
pub(crate) trait Place: Sized {
    /// Creates an empty place.
    async fn new() -> Self;
    /// Opens the store of this place, created if absent.
    async fn open(&self) -> Store {
        self.open_keeping(None).await
    }
    /// Opens it with a retention.
    async fn open_keeping(&self, retention: Option<Duration>) -> Store;
}

/// 2025-06-06T12:00:00Z, the time of arrival unless a check sets another.
pub(crate) const NOON: i64 = 1_749_211_200_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// The current time, by which a server judges age.
#[allow(clippy::disallowed_methods, reason = "the server under test reads the same clock")]
pub(crate) fn now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_nanos()).unwrap()
}

pub(crate) fn at(ns: i64) -> Timestamp {
    Timestamp::from_ns(ns)
}

pub(crate) fn device(name: &str) -> DeviceName {
    DeviceName::new(name).unwrap()
}

pub(crate) fn kind(name: &str) -> MetricType {
    MetricType::new(name).unwrap()
}

pub(crate) fn window(from: i64, until: i64) -> Window {
    Window { from: at(from), until: at(until) }
}

/// All time except the very last nanosecond, which no half-open window holds.
pub(crate) fn always() -> Window {
    window(i64::MIN, i64::MAX)
}

pub(crate) fn metric(source_device: &str, metric_type: &str, time: i64, value: f64) -> DeviceMetric {
    DeviceMetric {
        timestamp: at(time),
        source_device: device(source_device),
        metric_type: kind(metric_type),
        value,
        seq: None,
        labels: None,
    }
}

pub(crate) fn event(id: u128, source_device: &str, event_type: &str, time: i64, criticality: u64) -> Event {
    Event {
        id: Uuid::from_u128(id).into(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp: at(time),
        source_device: device(source_device),
        event_type: EventType::new(event_type).unwrap(),
        event_message: None,
        seq: None,
        labels: None,
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

pub(crate) fn batch(metrics: Vec<DeviceMetric>, events: Vec<Event>) -> Arc<Batch> {
    Arc::new(Batch { metrics, events })
}

pub(crate) async fn put_metrics(store: &Store, metrics: Vec<DeviceMetric>) -> Written {
    store.write(batch(metrics, vec![]), at(NOON)).await.unwrap()
}

pub(crate) async fn put_events(store: &Store, events: Vec<Event>) -> Written {
    store.write(batch(vec![], events), at(NOON)).await.unwrap()
}

/// Selects all events in a window, by the time they happened.
pub(crate) fn events_in(window: Window) -> EventFilter {
    EventFilter {
        window,
        basis: TimeBasis::Happened,
        source_device: None,
        event_type: None,
        min_criticality: Criticality::new(1).unwrap(),
        limit: usize::MAX,
        offset: 0,
    }
}

/// Returns the ids of the events that a filter selects, in order.
pub(crate) async fn ids(store: &Store, filter: EventFilter) -> Vec<u128> {
    store.events(filter).await.unwrap().iter().map(|record| record.event.id.as_uuid().unwrap().as_u128()).collect()
}

/// Counts metric values, events, devices and series by queries.
pub(crate) async fn counts(store: &Store) -> (u64, u64, u64, u64) {
    let devices = store.devices(None, usize::MAX).await.unwrap();
    let names: Vec<DeviceName> = devices.into_iter().map(|record| record.source_device).collect();
    let n_points: u64 = store.tally(&names, always()).await.unwrap().iter().map(Tally::n_points).sum();
    let n_events: u64 =
        store.count_events_by_device(events_in(always())).await.unwrap().iter().map(|(_, count)| count).sum();
    let n_series: usize = store.latest_many(&names, always()).await.unwrap().iter().map(Vec::len).sum();
    (n_points - n_events, n_events, names.len() as u64, n_series as u64)
}

/// The store is dropped without a close, as at the end of a process.
pub(crate) async fn what_was_written_is_there_after_reopening(place: &impl Place) {
    let store = place.open().await;
    let mut first = metric("disk", "DiskTemp", NOON, 36.5);
    first.labels = Some(Box::new(labels(&[("model", "ST4000")])));
    store.write(batch(vec![first], vec![event(1, "disk", "SmartWarning", NOON, 5)]), at(NOON)).await.unwrap();
    drop(store);

    let store = place.open().await;
    assert_eq!(counts(&store).await, (1, 1, 1, 1));
    put_metrics(&store, vec![metric("disk", "DiskTemp", NOON + 1, 37.5)]).await;
    assert_eq!(counts(&store).await, (2, 1, 1, 1));
    assert_eq!(store.device(&device("disk")).await.unwrap().unwrap().labels, labels(&[("model", "ST4000")]));
    store.close().await.unwrap();

    let store = place.open().await;
    assert_eq!(counts(&store).await, (2, 1, 1, 1));
    assert_eq!(ids(&store, events_in(always())).await, [1]);
}
