//! Retention: removal of old data, and refusal of what is too old on arrival.

use std::time::Duration;

use spindle_core::DeviceMetric;
use spindle_store::{Refusal, RefusedItem, Removed, Written};

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

pub(crate) async fn goes_by_the_time_of_the_point_not_of_its_arrival(store: &Store) {
    live_and_replayed(store).await;
    let removed = store.remove_before(at(NOON - 10 * DAY)).await.unwrap();
    assert_eq!(removed, Removed { n_metrics: 49, n_events: 49, n_series: 1, n_devices: 1 });
    assert_eq!(counts(store).await, (11, 11, 1, 1));
    assert_eq!(first_seen(store, "live").await, Some(NOON - 10 * DAY));
    assert_eq!(first_seen(store, "old").await, None);
    assert_eq!(store.remove_before(at(NOON - 10 * DAY)).await.unwrap(), Removed::default());

    // Data of the future stay, whenever they arrived.
    let future = NOON + 20 * DAY;
    let early = batch(vec![metric("live", "IOPs", future, 1.0)], vec![event(99, "live", "Note", future, 1)]);
    store.write(early, at(NOON - 29 * DAY)).await.unwrap();
    let removed = store.remove_before(at(NOON + DAY)).await.unwrap();
    assert_eq!(removed, Removed { n_metrics: 11, n_events: 11, n_series: 0, n_devices: 0 });
    assert_eq!(counts(store).await, (1, 1, 1, 1));
}

fn refused(written: &Written) -> Vec<(RefusedItem, Refusal)> {
    written.refused.iter().map(|refused| (refused.item, refused.reason)).collect()
}

pub(crate) async fn what_is_older_than_the_retention_is_refused_until_it_is_raised(place: &impl Place) {
    let (now, hour) = (now(), 3_600 * SECOND);
    let mixed = || {
        let mut metrics =
            [-25, -23, 24 * 20, -49].map(|hours| metric("disk", "IOPs", now + hours * hour, 1.0)).to_vec();
        metrics[0].labels = Some(Box::new(labels(&[("rack", "7")])));
        let events = [-48, -1].map(|hours| event(hours as u128, "disk", "Note", now + hours * hour, 5)).to_vec();
        batch(metrics, events)
    };
    let beyond = [RefusedItem::Metric(0), RefusedItem::Metric(3), RefusedItem::Event(0)];
    let expected = beyond.map(|item| (item, Refusal::BeyondRetention));
    let store = place.open_keeping(Some(Duration::from_secs(24 * 3_600))).await;
    for round in 0..2 {
        let written = store.write(mixed(), at(now)).await.unwrap();
        assert_eq!(refused(&written), expected, "round {round}");
        assert_eq!((written.n_metrics_stored(), written.n_events_stored()), (2, 1), "round {round}");
    }
    assert_eq!(counts(&store).await, (2, 1, 1, 1));
    assert_eq!(store.device(&device("disk")).await.unwrap().unwrap().labels, labels(&[]));
    let only_old = batch(vec![metric("other", "IOPs", YEARS_AGO, 1.0)], vec![event(7, "other", "Note", YEARS_AGO, 1)]);
    let written = store.write(only_old, at(now)).await.unwrap();
    assert_eq!(refused(&written).len(), 2);
    assert_eq!((written.n_metrics_stored(), written.n_events_stored()), (0, 0));
    assert_eq!(counts(&store).await, (2, 1, 1, 1));
    store.close().await.unwrap();

    let store = place.open_keeping(Some(Duration::from_secs(1_000 * 3_600))).await;
    let written = store.write(mixed(), at(now)).await.unwrap();
    assert_eq!(refused(&written), []);
    assert_eq!((written.n_metrics_stored(), written.n_events_stored()), (4, 2));
    assert_eq!(counts(&store).await, (4, 2, 1, 1));
    assert_eq!(store.device(&device("disk")).await.unwrap().unwrap().labels, labels(&[("rack", "7")]));
}

/// To the nanosecond: what a write takes is not removed at the same moment, and what it refuses would be.
pub(crate) async fn a_write_and_a_removal_agree_on_the_limit(place: &impl Place) {
    let (free, bound) = (place.open().await, place.open_keeping(Some(Duration::from_nanos(1_000))).await);
    for now in [1_000, NOON, NOON + 3_599 * SECOND, -NOON] {
        let times = [now - 1_001, now - 1_000, now - 999, now];
        let points = || {
            let events = times.iter().map(|time| event(time.cast_unsigned().into(), "d", "Note", *time, 1));
            batch(times.iter().map(|time| metric("d", "IOPs", *time, 1.0)).collect(), events.collect())
        };
        let written = bound.write(points(), at(now)).await.unwrap();
        assert_eq!((written.n_metrics, written.n_events, written.refused.len()), (3, 3, 2), "{now}");
        assert_eq!(bound.remove_before(at(now - 1_000)).await.unwrap().n_metrics, 0, "{now}");
        assert_eq!(free.write(points(), at(now)).await.unwrap().n_metrics, 1, "{now}");
        let removed = bound.remove_before(at(now - 1_000)).await.unwrap();
        assert_eq!((removed.n_metrics, removed.n_events), (1, 1), "{now}");
        assert_eq!(bound.remove_before(at(now + 1)).await.unwrap().n_metrics, 3, "{now}");
    }
}

pub(crate) async fn removes_more_than_one_step_holds(store: &Store) {
    let metrics = (0..25_000).map(|time| metric("long", "IOPs", NOON + time, 1.0));
    let more = (0..6_000).map(|number| metric(&format!("disk-{number:04}"), "IOPs", NOON - 1, 1.0));
    let events = (0..12_000).map(|id| event(id, "long", "Note", NOON, 1));
    store.write(batch(metrics.chain(more).collect(), events.collect()), at(NOON + SECOND)).await.unwrap();
    store.write(batch(vec![metric("young", "IOPs", NOON + DAY, 1.0)], vec![]), at(NOON)).await.unwrap();
    let removed = store.remove_before(at(NOON + DAY)).await.unwrap();
    assert_eq!(removed, Removed { n_metrics: 31_000, n_events: 12_000, n_series: 6_001, n_devices: 6_001 });
    assert_eq!(counts(store).await, (1, 0, 1, 1));
}

pub(crate) async fn lets_a_removed_device_come_back(store: &Store) {
    let mut labelled = metric("disk", "IOPs", NOON, 1.0);
    labelled.labels = Some(Box::new(labels(&[("model", "A")])));
    put_metrics(store, vec![labelled]).await;
    store.remove_before(at(NOON + DAY)).await.unwrap();
    assert_eq!(store.device(&device("disk")).await.unwrap(), None);
    assert!(store.latest(&device("disk"), always()).await.unwrap().is_empty());

    store.write(batch(vec![metric("disk", "IOPs", NOON, 2.0)], vec![]), at(NOON + DAY)).await.unwrap();
    assert_eq!(counts(store).await, (1, 0, 1, 1));
    assert_eq!(store.latest(&device("disk"), always()).await.unwrap()[0].value, 2.0);
    assert_eq!(store.device(&device("disk")).await.unwrap().unwrap().labels, labels(&[]));
    let removed = store.remove_before(at(NOON + 2 * DAY)).await.unwrap();
    assert_eq!(removed.n_metrics, 1);
}

pub(crate) async fn keeps_what_lies_at_the_limit(store: &Store) {
    let times = [NOON - 1, NOON, NOON + 1];
    let events = times.iter().map(|time| event(time.cast_unsigned().into(), "d", "Note", *time, 1));
    let points = batch(times.iter().map(|time| metric("d", "IOPs", *time, 1.0)).collect(), events.collect());
    store.write(points, at(NOON)).await.unwrap();
    let removed = store.remove_before(at(NOON)).await.unwrap();
    assert_eq!((removed.n_metrics, removed.n_events), (1, 1));
    assert_eq!(store.remove_before(at(NOON)).await.unwrap(), Removed::default());
    assert_eq!(first_seen(store, "d").await, Some(NOON));
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
    store.remove_before(at(NOON + DAY)).await.unwrap();
    assert_eq!(totals().await, (1, 0, 0));
}
