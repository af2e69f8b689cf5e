//! Values of series: latest, range, first and last, buckets.

use std::time::Duration;

use spindle_core::records::{Bucket, Sample};

use crate::fixture::*;

async fn times(store: &Store, from: i64, until: i64) -> Vec<i64> {
    let samples = store.range(&device("disk"), &kind("DiskTemp"), window(from, until), usize::MAX).await.unwrap();
    samples.iter().map(|sample| sample.time.as_ns()).collect()
}

fn sample(time: i64, value: f64) -> Sample {
    Sample { time: at(time), value }
}

pub(crate) async fn windows_include_their_start_and_exclude_their_end(store: &Store) {
    put_metrics(store, (10..=30).step_by(10).map(|time| metric("disk", "DiskTemp", time, 1.0)).collect()).await;
    assert_eq!(times(store, 10, 30).await, [10, 20]);
    assert_eq!(times(store, 11, 31).await, [20, 30]);
    assert_eq!(times(store, 10, 10).await, [0; 0]);
    assert_eq!(times(store, 30, 10).await, [0; 0]);
    assert_eq!(times(store, i64::MIN, i64::MAX).await, [10, 20, 30]);

    let latest = async |from, until| {
        let latest = store.latest(&device("disk"), window(from, until)).await.unwrap();
        latest.first().map(|sample| sample.time.as_ns())
    };
    assert_eq!(latest(10, 30).await, Some(20));
    assert_eq!(latest(30, 31).await, Some(30));
    assert_eq!(latest(31, 99).await, None);

    let ends = async |from, until| {
        let ends = store.first_and_last(&device("disk"), &kind("DiskTemp"), window(from, until)).await.unwrap();
        ends.map(|(first, last, count)| (first.time.as_ns(), last.time.as_ns(), count))
    };
    assert_eq!(ends(10, 30).await, Some((10, 20, 2)));
    assert_eq!(ends(20, 21).await, Some((20, 20, 1)));
    assert_eq!(ends(21, 30).await, None);
}

pub(crate) async fn latest_is_the_newest_in_the_window_per_metric(store: &Store) {
    let rows = vec![
        metric("disk", "Latency", NOON, 4.0),
        metric("disk", "DiskTemp", NOON, 40.0),
        metric("disk", "DiskTemp", NOON + 1, 41.0),
        metric("disk", "DiskTemp", NOON - 1, 39.0),
        metric("disk", "IOPs", NOON - DAY, 7.0),
        metric("other", "DiskTemp", NOON + 2, 99.0),
    ];
    put_metrics(store, rows).await;
    let latest = store.latest(&device("disk"), window(NOON - SECOND, NOON + SECOND)).await.unwrap();
    let found: Vec<_> = latest.iter().map(|sample| (&*sample.metric_type, sample.time.as_ns(), sample.value)).collect();
    assert_eq!(found, [("DiskTemp", NOON + 1, 41.0), ("Latency", NOON, 4.0)]);
}

pub(crate) async fn latest_many_keeps_the_order_asked(store: &Store) {
    let names = ["c", "a", "nobody", "b", "a"].map(device);
    put_metrics(store, ["a", "b", "c"].iter().map(|name| metric(name, "IOPs", NOON, 1.0)).collect()).await;
    put_metrics(store, vec![metric("a", "Latency", NOON, 2.0)]).await;
    let answers = store.latest_many(&names, always()).await.unwrap();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 0, 1, 2]);
    assert_eq!(answers[1], store.latest(&names[1], always()).await.unwrap());
    assert!(store.latest_many(&[], always()).await.unwrap().is_empty());
}

pub(crate) async fn range_gives_the_oldest_up_to_its_limit(store: &Store) {
    put_metrics(store, (0..100).rev().map(|time| metric("disk", "DiskTemp", time, time as f64)).collect()).await;
    let range = async |limit| store.range(&device("disk"), &kind("DiskTemp"), always(), limit).await.unwrap();
    assert_eq!(range(2).await, [sample(0, 0.0), sample(1, 1.0)]);
    assert_eq!(range(0).await, []);
    let all = range(1000).await;
    assert_eq!(all.len(), 100);
    assert!(all.windows(2).all(|pair| pair[0].time < pair[1].time));
}

pub(crate) async fn first_and_last_count_what_lies_between(store: &Store) {
    put_metrics(store, (0..10).map(|time| metric("disk", "DiskTemp", time, time as f64 * 0.5)).collect()).await;
    let ends = store.first_and_last(&device("disk"), &kind("DiskTemp"), window(2, 8)).await.unwrap();
    assert_eq!(ends, Some((sample(2, 1.0), sample(7, 3.5), 6)));
    put_metrics(store, vec![metric("disk", "IOPs", 4, 9.0), metric("other", "DiskTemp", 5, 7.0)]).await;
    let named = [("other", "DiskTemp"), ("disk", "DiskTemp"), ("other", "IOPs"), ("nobody", "IOPs"), ("disk", "IOPs")];
    let many = named.map(|(name, metric)| (device(name), kind(metric)));
    let found = store.first_and_last_many(&many, window(2, 8)).await.unwrap();
    let one = |sample| Some((sample, sample, 1));
    assert_eq!(found, [one(sample(5, 7.0)), ends, None, None, one(sample(4, 9.0))]);
    assert_eq!(store.first_and_last_many(&[], window(2, 8)).await.unwrap(), []);
}

pub(crate) async fn last_values_of_buckets_are_those_of_all_devices(store: &Store) {
    let rows = [("b", 0, 1.0), ("b", 9, 2.0), ("b", 10, 3.0), ("b", 39, 4.0), ("a", 5, 5.0), ("c", 60, 6.0)];
    let mut metrics: Vec<_> = rows.iter().map(|(name, time, value)| metric(name, "DiskTemp", *time, *value)).collect();
    metrics.push(metric("d", "Latency", 5, 7.0));
    put_metrics(store, metrics).await;
    let last = async |from, until, ns| {
        store.last_of_buckets(&kind("DiskTemp"), window(from, until), Duration::from_nanos(ns)).await.unwrap()
    };
    let a = (device("a"), vec![sample(0, 5.0)]);
    let b = (device("b"), vec![sample(0, 2.0), sample(10, 3.0), sample(30, 4.0)]);
    assert_eq!(last(0, 60, 10).await, [a.clone(), b]);
    assert_eq!(last(0, 9, 10).await, [a, (device("b"), vec![sample(0, 1.0)])]);
    assert_eq!(last(70, 80, 10).await, []);
    assert_eq!(store.last_of_buckets(&kind("None"), window(0, 60), Duration::from_nanos(10)).await.unwrap(), []);
}

pub(crate) async fn buckets_are_aligned_and_clipped_to_the_window(store: &Store) {
    let rows = [(-11, 1.0), (-10, 2.0), (-1, 4.0), (0, 8.0), (9, 10.0), (10, 5.0), (35, 7.0), (39, 9.0)];
    put_metrics(store, rows.iter().map(|(time, value)| metric("disk", "DiskTemp", *time, *value)).collect()).await;
    let buckets = async |from, until, ns| {
        let bucket = Duration::from_nanos(ns);
        store.buckets(&device("disk"), &kind("DiskTemp"), window(from, until), bucket).await.unwrap()
    };
    let bucket = |time, min, mean, max, count| Bucket { time: at(time), min, mean, max, count };
    let expect = [
        bucket(-20, 1.0, 1.0, 1.0, 1),
        bucket(-10, 2.0, 3.0, 4.0, 2),
        bucket(0, 8.0, 9.0, 10.0, 2),
        bucket(10, 5.0, 5.0, 5.0, 1),
        bucket(30, 7.0, 8.0, 9.0, 2),
    ];
    assert_eq!(buckets(-100, 100, 10).await, expect);
    assert_eq!(buckets(-1, 9, 10).await, [bucket(-10, 4.0, 4.0, 4.0, 1), bucket(0, 8.0, 8.0, 8.0, 1)]);
    assert_eq!(buckets(11, 35, 10).await, []);
}

pub(crate) async fn nanoseconds_survive_over_the_whole_range_of_time(store: &Store) {
    let expect = [i64::MIN, i64::MIN + 1, -SECOND - 1, -1, 0, 1, NOON, NOON + 1, i64::MAX - 1];
    put_metrics(store, expect.iter().map(|time| metric("disk", "DiskTemp", *time, *time as f64)).collect()).await;
    assert_eq!(times(store, i64::MIN, i64::MAX).await, expect);
    let record = store.device(&device("disk")).await.unwrap().unwrap();
    assert_eq!((record.first_seen.as_ns(), record.last_seen.as_ns()), (i64::MIN, i64::MAX - 1));
}

pub(crate) async fn every_bit_of_a_float_survives(store: &Store) {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1.0 / 3.0,
        1e15,
        1e16,
        9_007_199_254_740_991.0,
        9_007_199_254_740_992.0,
        9_007_199_254_740_993.0,
        -9_007_199_254_740_992.0,
        9.223_372_036_854_776e18,
        -9.223_372_036_854_776e18,
        1.8446744073709552e19,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        -f64::MIN_POSITIVE,
        f64::EPSILON,
        f64::from_bits(1),
        -f64::from_bits(1),
        f64::from_bits(0x000f_ffff_ffff_ffff),
    ];
    let rows = values.iter().zip(0..).map(|(value, time)| metric("disk", "DiskTemp", time, *value)).collect();
    put_metrics(store, rows).await;
    let stored = store.range(&device("disk"), &kind("DiskTemp"), always(), usize::MAX).await.unwrap();
    assert_eq!(stored.len(), values.len());
    for (sample, value) in stored.iter().zip(values) {
        assert_eq!(sample.value.to_bits(), value.to_bits(), "{value:e} became {:e}", sample.value);
    }
}

pub(crate) async fn unknown_names_have_no_data(store: &Store) {
    put_metrics(store, vec![metric("disk", "DiskTemp", NOON, 1.0)]).await;
    for (name, metric_type) in [("Disk", "DiskTemp"), ("disk", "disktemp"), ("disk ", "DiskTemp")] {
        let (name, metric_type) = (device(name), kind(metric_type));
        assert_eq!(store.range(&name, &metric_type, always(), 10).await.unwrap(), []);
        assert_eq!(store.first_and_last(&name, &metric_type, always()).await.unwrap(), None);
        assert_eq!(store.buckets(&name, &metric_type, always(), Duration::from_secs(1)).await.unwrap(), []);
    }
    assert_eq!(store.device(&device("Disk")).await.unwrap(), None);
}
