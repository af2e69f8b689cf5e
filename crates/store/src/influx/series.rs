//! Queries for series: one set of InfluxQL for versions 1, 2 and 3, always with both bounds of time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spindle_core::buckets::bucket_start;
use spindle_core::records::{Bucket, LatestSample, Sample, Window};
use spindle_core::schema::DEVICE_METRICS;
use spindle_core::{DeviceName, MetricType, Timestamp};

use super::line::{self, one_of_devices, quoted};
use super::response::{self, SeriesPart, merge, samples};
use super::session::{Influx, bounds};
use crate::{FirstAndLast, StoreError};

/// Most buckets that the server computes; more are computed here from the values.
const MAX_SERVER_BUCKETS: i128 = 20_000;
/// Most devices named in a query; more are filtered from the response.
pub(super) const MAX_NAMED_DEVICES: usize = 50;

/// `Store::latest_many`.
pub(crate) async fn latest_many(
    influx: &Influx,
    devices: &[DeviceName],
    window: Window,
) -> Result<Vec<Vec<LatestSample>>, StoreError> {
    let mut found: BTreeMap<&str, BTreeMap<MetricType, LatestSample>> =
        devices.iter().map(|name| (name.as_str(), BTreeMap::new())).collect();
    let Some((from, until)) = bounds(window).filter(|_| !devices.is_empty()) else {
        return Ok(devices.iter().map(|_| Vec::new()).collect());
    };
    let only = if found.len() <= MAX_NAMED_DEVICES { one_of_devices(found.keys().copied()) } else { String::new() };
    let query = |from, until| {
        format!(
            "SELECT last(value) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, metric_type",
            DEVICE_METRICS.name
        )
    };
    influx
        .select(from, until, query, |series| {
            let Some(of_device) = found.get_mut(&*line::decode(series.tag("source_device"))) else { return };
            let Ok(metric_type) = MetricType::new(&line::decode(series.tag("metric_type"))) else { return };
            for sample in samples(series) {
                let newest = LatestSample { metric_type: metric_type.clone(), time: sample.time, value: sample.value };
                of_device.insert(metric_type.clone(), newest);
            }
        })
        .await?;
    Ok(devices
        .iter()
        .map(|name| found.get(name.as_str()).map(|of_device| of_device.values().cloned().collect()).unwrap_or_default())
        .collect())
}

/// `Store::range`.
pub(crate) async fn range(
    influx: &Influx,
    device: &DeviceName,
    metric: &MetricType,
    window: Window,
    limit: usize,
) -> Result<Vec<Sample>, StoreError> {
    let mut found = Vec::new();
    let Some((from, until)) = bounds(window).filter(|_| limit > 0) else { return Ok(found) };
    let last = if limit < i64::MAX as usize { format!(" LIMIT {limit}") } else { String::new() };
    let query = |from, until| format!("{} ORDER BY time ASC{last}", of_series("value", device, metric, from, until));
    influx.select(from, until, query, |series| found.extend(samples(series))).await?;
    found.truncate(limit);
    Ok(found)
}

/// `Store::first_and_last_many`.
pub(crate) async fn first_and_last_many(
    influx: &Influx,
    wanted: &[(DeviceName, MetricType)],
    window: Window,
) -> Result<Vec<Option<FirstAndLast>>, StoreError> {
    let Some((from, until)) = bounds(window).filter(|_| !wanted.is_empty()) else {
        return Ok(vec![None; wanted.len()]);
    };
    let devices: BTreeSet<&str> = wanted.iter().map(|(device, _)| device.as_str()).collect();
    let metrics: BTreeSet<&str> = wanted.iter().map(|(_, metric)| metric.as_str()).collect();
    let mut only = String::new();
    if devices.len() <= MAX_NAMED_DEVICES {
        only += &one_of_devices(devices.into_iter());
    }
    if metrics.len() <= MAX_NAMED_DEVICES {
        let metrics: Vec<_> = metrics.into_iter().map(|metric| format!("metric_type = {}", quoted(metric))).collect();
        only += &format!(" AND ({})", metrics.join(" OR "));
    }
    let query = |field| {
        let only = &only;
        move |from, until| {
            format!(
                "SELECT {field}(value) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, metric_type",
                DEVICE_METRICS.name
            )
        }
    };
    let key = |series: &SeriesPart| {
        let tag = |name| line::decode(series.tag(name)).into_owned();
        (tag("source_device"), tag("metric_type"))
    };
    let (mut firsts, mut lasts, mut counts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let first = |series: &SeriesPart| {
        if let Some(sample) = samples(series).next() {
            firsts.entry(key(series)).or_insert(sample);
        }
    };
    influx.select(from, until, query("first"), first).await?;
    let last = |series: &SeriesPart| lasts.extend(samples(series).last().map(|sample| (key(series), sample)));
    influx.select(from, until, query("last"), last).await?;
    let count = |series: &SeriesPart| {
        let n_values = counts.entry(key(series)).or_insert(0_u64);
        *n_values = n_values.saturating_add(response::count(series));
    };
    influx.select(from, until, query("count"), count).await?;
    let of_series = |(device, metric): &(DeviceName, MetricType)| {
        let key = (device.to_string(), metric.to_string());
        let count = counts.get(&key).copied().unwrap_or_default().max(1);
        Some((*firsts.get(&key)?, *lasts.get(&key)?, count))
    };
    Ok(wanted.iter().map(of_series).collect())
}

/// `Store::buckets`.
pub(crate) async fn buckets(
    influx: &Influx,
    device: &DeviceName,
    metric: &MetricType,
    window: Window,
    bucket: Duration,
) -> Result<Vec<Bucket>, StoreError> {
    let Some((from, until)) = bounds(window) else { return Ok(Vec::new()) };
    let length = i128::try_from(bucket.as_nanos()).unwrap_or(i128::MAX).max(1);
    let n_buckets = (i128::from(until) - i128::from(from)) / length + 1;
    let mut found: BTreeMap<i128, Bucket> = BTreeMap::new();
    let start = |time: i64| i128::from(time).div_euclid(length) * length;
    if n_buckets <= MAX_SERVER_BUCKETS && from >= 0 && length <= i128::from(i64::MAX) {
        let query = |from, until| {
            let select = of_series("min(value), mean(value), max(value), count(value)", device, metric, from, until);
            format!("{select} GROUP BY time({length}ns) fill(none)")
        };
        let outcome = influx
            .select(from, until, query, |series| {
                for part in response::buckets(series) {
                    merge(&mut found, start(part.time.as_ns()), part);
                }
            })
            .await;
        match outcome {
            // The server cannot write a mean beyond the range of floats as JSON; it can be computed here.
            Err(StoreError::Query { message, .. }) if message.contains("JSON") || message.contains("json") => {
                found.clear()
            }
            outcome => return outcome.map(|()| found.into_values().collect()),
        }
    }
    let query = |from, until| of_series("value", device, metric, from, until);
    influx
        .select(from, until, query, |series| {
            for Sample { time, value } in samples(series) {
                let one = Bucket { time, min: value, mean: value, max: value, count: 1 };
                merge(&mut found, start(time.as_ns()), one);
            }
        })
        .await?;
    Ok(found.into_values().collect())
}

/// `Store::last_of_buckets`.
pub(crate) async fn last_of_buckets(
    influx: &Influx,
    metric: &MetricType,
    window: Window,
    bucket: Duration,
) -> Result<Vec<(DeviceName, Vec<Sample>)>, StoreError> {
    let Some((from, until)) = bounds(window) else { return Ok(Vec::new()) };
    let length = bucket.as_nanos().clamp(1, i64::MAX as u128);
    let query = |from, until| {
        format!(
            "SELECT last(value) FROM {} WHERE time >= {from} AND time <= {until} AND metric_type = {} GROUP BY time({length}ns), source_device fill(none)",
            DEVICE_METRICS.name,
            quoted(metric)
        )
    };
    let mut found: BTreeMap<DeviceName, BTreeMap<Timestamp, Sample>> = BTreeMap::new();
    influx
        .select(from, until, query, |series| {
            let Ok(device) = DeviceName::new(&line::decode(series.tag("source_device"))) else { return };
            let of_device = found.entry(device).or_default();
            for Sample { time, value } in samples(series) {
                let time = bucket_start(time, bucket);
                of_device.insert(time, Sample { time, value });
            }
        })
        .await?;
    Ok(found.into_iter().map(|(device, samples)| (device, samples.into_values().collect())).collect())
}

fn of_series(fields: &str, device: &DeviceName, metric: &MetricType, from: i64, until: i64) -> String {
    format!(
        "SELECT {fields} FROM {} WHERE time >= {from} AND time <= {until} AND source_device = {} AND metric_type = {}",
        DEVICE_METRICS.name,
        quoted(device),
        quoted(metric)
    )
}
