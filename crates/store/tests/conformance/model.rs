//! The store against a map in memory: after any writes in any batches, both return the same results.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use spindle_core::records::Sample;
use tokio::runtime::Handle;

use crate::fixture::*;

/// Rows to write (time and value), size of the batches, and window and bucket to query.
#[derive(Clone, Debug)]
struct Case {
    rows: Vec<(i64, f64)>,
    batch_rows: usize,
    from: i64,
    until: i64,
    bucket_ns: u64,
}

/// Times close together so that they collide, around zero so that they change sign, and anywhere at all.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -50_i64..50, 1 => any::<i64>().prop_filter("in some window", |time| *time < i64::MAX)]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>().prop_filter("finite", |value| value.is_finite()), (-1000_i32..1000).prop_map(f64::from)]
}

fn case() -> impl Strategy<Value = Case> {
    (prop::collection::vec((time(), value()), 1..60), 1..20_usize, time(), time(), 1..40_u64)
        .prop_map(|(rows, batch_rows, from, until, bucket_ns)| Case { rows, batch_rows, from, until, bucket_ns })
}

pub(crate) async fn agrees_with_a_map_in_memory(store: &Store) {
    let n_cases = Cell::new(0);
    tokio::task::block_in_place(|| {
        let config = Config { cases: 128, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&case(), |case| {
                n_cases.set(n_cases.get() + 1);
                Handle::current().block_on(check(store, &format!("disk-{}", n_cases.get()), &case));
                Ok(())
            })
            .unwrap();
    });
}

async fn check(store: &Store, name: &str, case: &Case) {
    for rows in case.rows.chunks(case.batch_rows) {
        put_metrics(store, rows.iter().map(|(time, value)| metric(name, "IOPs", *time, *value)).collect()).await;
    }
    let model: BTreeMap<i64, f64> = case.rows.iter().copied().collect();
    let (name, metric_type, asked) = (device(name), kind("IOPs"), window(case.from, case.until));
    let expect: Vec<Sample> = model
        .iter()
        .map(|(time, value)| Sample { time: at(*time), value: *value })
        .filter(|sample| asked.contains(sample.time))
        .collect();

    let bits = |samples: &[Sample]| -> Vec<(i64, u64)> {
        samples.iter().map(|sample| (sample.time.as_ns(), sample.value.to_bits())).collect()
    };
    let range = store.range(&name, &metric_type, asked, usize::MAX).await.unwrap();
    assert_eq!(bits(&range), bits(&expect));
    let ends = store.first_and_last(&name, &metric_type, asked).await.unwrap();
    let expect_ends = expect.first().map(|first| (*first, *expect.last().unwrap(), expect.len() as u64));
    assert_eq!(ends, expect_ends);
    let latest = store.latest(&name, asked).await.unwrap();
    assert_eq!(
        latest.first().map(|sample| (sample.time, sample.value)),
        expect.last().map(|last| (last.time, last.value))
    );

    let buckets = store.buckets(&name, &metric_type, asked, Duration::from_nanos(case.bucket_ns)).await.unwrap();
    assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), expect.len() as u64);
    for bucket in &buckets {
        let bucket_ns = i128::from(case.bucket_ns);
        let start = i128::from(bucket.time.as_ns());
        assert!(start.rem_euclid(bucket_ns) == 0 || bucket.time.as_ns() == i64::MIN);
        let inside =
            |sample: &&Sample| i128::from(sample.time.as_ns()).div_euclid(bucket_ns) == start.div_euclid(bucket_ns);
        let values: Vec<f64> = expect.iter().filter(inside).map(|sample| sample.value).collect();
        assert_eq!(bucket.count, values.len() as u64);
        assert_eq!(bucket.min, values.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(bucket.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        assert!(bucket.min <= bucket.mean && bucket.mean <= bucket.max);
    }
}
