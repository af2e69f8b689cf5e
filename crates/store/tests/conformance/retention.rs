//! Removal of old data.

use spindle_core::DeviceMetric;
use spindle_store::Removed;

use crate::fixture::*;

/// 2013-04-10, when the replayed data were measured.
const YEARS_AGO: i64 = 1_365_552_000_000_000_000;

/// A device live for a month, one value and one event a day; and a device whose years-old data arrived today.
async fn live_and_replayed(store: &Store) {
    for day in 0..30 {
        let time = NOON - day * DAY;
        let live = batch(vec![metric("live", "IOPs", time, 1.0)], vec![event(day as u128, "live", "Note", time, 1)]);
        store.write(live, at(time + SECOND / 2)).await.unwrap();
    }
    let metrics = (0..30).map(|day| metric("old", "IOPs", YEARS_AGO + day * DAY, 1.0)).collect();
    let events = (0..30).map(|day| event(day as u128, "old", "Note", YEARS_AGO + day * DAY, 1)).collect();
    store.write(batch(metrics, events), at(NOON)).await.unwrap();
    assert_eq!(counts(store).await, (60, 60, 2, 2));
}

async fn first_seen(store: &Store, name: &str) -> Option<i64> {
    store.device(&device(name)).await.unwrap().map(|record| record.first_seen.as_ns())
}

pub(crate) async fn goes_by_arrival_not_by_measured_time(store: &Store) {
    live_and_replayed(store).await;
    let removed = store.remove_received_before(at(NOON - 10 * DAY)).await.unwrap();
    assert_eq!(removed, Removed { n_metrics: 19, n_events: 19, n_series: 0, n_devices: 0 });
    assert_eq!(counts(store).await, (41, 41, 2, 2));
    assert_eq!(first_seen(store, "live").await, Some(NOON - 10 * DAY));
    assert_eq!(first_seen(store, "old").await, Some(YEARS_AGO));
    assert_eq!(store.remove_received_before(at(NOON - 10 * DAY)).await.unwrap(), Removed::default());

    let removed = store.remove_received_before(at(NOON + DAY)).await.unwrap();
    assert_eq!(removed, Removed { n_metrics: 41, n_events: 41, n_series: 2, n_devices: 2 });
    assert_eq!(counts(store).await, (0, 0, 0, 0));
}

pub(crate) async fn removes_more_than_one_step_holds(store: &Store) {
    let metrics = (0..25_000).map(|time| metric("long", "IOPs", NOON + time, 1.0));
    let more = (0..6_000).map(|number| metric(&format!("disk-{number:04}"), "IOPs", NOON - 1, 1.0));
    let events = (0..12_000).map(|id| event(id, "long", "Note", NOON, 1));
    store.write(batch(metrics.chain(more).collect(), events.collect()), at(NOON + SECOND)).await.unwrap();
    store.write(batch(vec![metric("young", "IOPs", NOON, 1.0)], vec![]), at(NOON + DAY)).await.unwrap();
    let removed = store.remove_received_before(at(NOON + DAY)).await.unwrap();
    assert_eq!(removed, Removed { n_metrics: 31_000, n_events: 12_000, n_series: 6_001, n_devices: 6_001 });
    assert_eq!(counts(store).await, (1, 0, 1, 1));
}

pub(crate) async fn lets_a_removed_device_come_back(store: &Store) {
    let mut labelled = metric("disk", "IOPs", NOON, 1.0);
    labelled.labels = Some(Box::new(labels(&[("model", "A")])));
    put_metrics(store, vec![labelled]).await;
    store.remove_received_before(at(NOON + DAY)).await.unwrap();
    assert_eq!(store.device(&device("disk")).await.unwrap(), None);
    assert!(store.latest(&device("disk"), always()).await.unwrap().is_empty());

    store.write(batch(vec![metric("disk", "IOPs", NOON, 2.0)], vec![]), at(NOON + DAY)).await.unwrap();
    assert_eq!(counts(store).await, (1, 0, 1, 1));
    assert_eq!(store.latest(&device("disk"), always()).await.unwrap()[0].value, 2.0);
    assert_eq!(store.device(&device("disk")).await.unwrap().unwrap().labels, labels(&[]));
    let removed = store.remove_received_before(at(NOON + 2 * DAY)).await.unwrap();
    assert_eq!(removed.n_metrics, 1);
}

/// An equal value delivered again keeps its age; another value in its place is as young as its arrival.
pub(crate) async fn keeps_what_came_in_at_the_limit(store: &Store) {
    for (day, value) in [(0, 1.0), (2, 1.0)] {
        store.write(batch(vec![metric("same", "IOPs", NOON, value)], vec![]), at(NOON + day * DAY)).await.unwrap();
    }
    for (day, value) in [(0, 1.0), (1, 2.0)] {
        let rows = vec![metric("other", "IOPs", NOON, value)];
        store.write(batch(rows, vec![event(1, "event", "Note", NOON, 1)]), at(NOON + day * DAY)).await.unwrap();
    }
    let removed = store.remove_received_before(at(NOON)).await.unwrap();
    assert_eq!(removed, Removed::default());
    let removed = store.remove_received_before(at(NOON + DAY)).await.unwrap();
    assert_eq!((removed.n_metrics, removed.n_events), (1, 1));
    assert_eq!(store.latest(&device("other"), always()).await.unwrap()[0].value, 2.0);
}

/// Without its neighbours a replaced number would look like a gap.
pub(crate) async fn removes_replaced_numbers_with_their_samples(store: &Store) {
    let numbered = |time, seq| DeviceMetric { seq: Some(seq), ..metric("disk", "IOPs", time, seq as f64) };
    let write = async |metrics, received| {
        store.write(batch(metrics, vec![]), at(received)).await.unwrap();
    };
    write(vec![numbered(NOON, 1), numbered(NOON, 2), numbered(NOON + 1, 3)], NOON + SECOND).await;
    write(vec![numbered(NOON + DAY, 4)], NOON + DAY).await;
    let totals = async || store.tally(&[device("disk")], always()).await.unwrap()[0].totals();
    assert_eq!(totals().await, (3, 1, 0));
    store.remove_received_before(at(NOON + DAY)).await.unwrap();
    assert_eq!(totals().await, (1, 0, 0));
}
