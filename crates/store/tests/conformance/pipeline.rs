//! Reports of writers on themselves.

use std::time::Duration;

use spindle_core::pipeline::{PipelinePoint, WriterReport};

use crate::fixture::{DAY, NOON, SECOND, Store, always, at, counts, metric, put_metrics, window};

const MINUTE: i64 = 60 * SECOND;

async fn report(store: &Store, instance: &str, points: &[(i64, &[(&'static str, f64)])]) {
    let point =
        |(time, values): &(i64, &[(&'static str, f64)])| PipelinePoint { at: at(*time), values: values.to_vec() };
    let points: Vec<_> = points.iter().map(point).collect();
    store.write_self_metrics(instance, &points).await.unwrap();
    tokio::time::sleep(store.read_lag()).await;
}

async fn reports(store: &Store, from: i64, until: i64) -> Vec<WriterReport> {
    store.pipeline(window(from, until), Duration::from_secs(60)).await.unwrap()
}

pub(crate) async fn reports_are_means_of_rates_and_highest_levels_of_each_writer(store: &Store) {
    assert!(reports(store, NOON, NOON + DAY).await.is_empty());
    let values = |rate, lag, ready| [("values_per_second", rate), ("metrics_lag", lag), ("ready", ready)];
    let (first, second) = (values(2.0, 10.0, 1.0), values(4.0, 3.0, 0.0));
    let points: [(i64, &[_]); 3] = [(NOON, &first), (NOON + 50 * SECOND, &second), (NOON + MINUTE, &second)];
    report(store, "a b,c=1", &points).await;
    // Again, as by a writer that did not hear that it was stored.
    report(store, "a b,c=1", &points[1..]).await;
    report(store, "z", &[(NOON + 1, &[("events_per_second", 0.5)])]).await;
    let found = reports(store, NOON, NOON + 2 * MINUTE).await;
    let shown: Vec<_> = found
        .iter()
        .map(|each| {
            (each.time, &*each.instance, each.rates[0], each.rates[1], each.levels[0], each.ready, each.n_points)
        })
        .collect();
    assert_eq!(
        shown,
        [
            (at(NOON), "a b,c=1", Some(3.0), None, Some(10.0), Some(0.5), 2),
            (at(NOON), "z", None, Some(0.5), None, None, 1),
            (at(NOON + MINUTE), "a b,c=1", Some(4.0), None, Some(3.0), Some(0.0), 1),
        ]
    );
    // The window holds its start and not its end.
    assert_eq!(reports(store, NOON + 1, NOON + MINUTE).await.len(), 2);
}

pub(crate) async fn reports_are_no_data_of_devices(store: &Store) {
    put_metrics(store, vec![metric("disk", "IOPs", NOON, 1.0)]).await;
    let before = counts(store).await;
    report(store, "a", &[(NOON, &[("ready", 1.0), ("uptime_seconds", 5.0)])]).await;
    assert_eq!(counts(store).await, before);
    assert_eq!(store.devices(None, 10).await.unwrap().len(), 1);
    assert_eq!(
        store.pipeline(always(), Duration::from_secs(DAY.cast_unsigned() / 1_000_000_000)).await.unwrap().len(),
        1
    );
}
