//! Reading: one set of InfluxQL queries for versions 1, 2 and 3, always with both bounds of time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use spindle_core::records::{
    Bucket, Counts, DeviceRecord, EventFilter, EventRecord, LatestSample, Sample, TimeBasis, Window,
};
use spindle_core::schema::{DEVICE_LABELS, DEVICE_METRICS, EVENTS};
use spindle_core::{DeviceName, Event, Labels, MetricType, Timestamp};

use super::Inner;
use super::answer::{self, Series, add, event, samples};
use super::client::FILE_LIMIT;
use super::line::{self, quoted};
use crate::{FirstAndLast, StoreError};

/// The first and the last instant that all versions store.
pub(crate) const MIN_TIME: i64 = i64::MIN + 2;
pub(crate) const MAX_TIME: i64 = i64::MAX - 1;

/// More buckets than this are made here, from the values.
const MAX_SERVER_BUCKETS: i128 = 20_000;
/// More devices than this are not named in a query but picked from the answer.
pub(super) const MAX_NAMED_DEVICES: usize = 50;
/// An event lies up to this far after its time, see `write_events`.
pub(super) const PLACE_SPREAD_NS: i64 = 1_000_000_000;

impl Inner {
    /// Runs a query over a stretch of time (both ends inside). InfluxDB 3 Core refuses to read more than some
    /// hundred files at once: then it is asked for the halves, in order of time.
    pub(super) async fn select(
        &self,
        from: i64,
        until: i64,
        query: impl Fn(i64, i64) -> String,
        mut each: impl FnMut(&Series),
    ) -> Result<(), StoreError> {
        self.ready().await?;
        let mut work = vec![(from, until)];
        while let Some((from, until)) = work.pop() {
            let mut n_seen = 0;
            let outcome = async {
                let mut rows = self.client.query(&query(from, until)).await?;
                loop {
                    let found = rows.next().await?;
                    if found.is_empty() {
                        return Ok(());
                    }
                    n_seen += found.len();
                    found.iter().for_each(&mut each);
                }
            }
            .await;
            match outcome {
                Err(StoreError::Query { ref words, .. })
                    if n_seen == 0 && from < until && words.contains(FILE_LIMIT) =>
                {
                    let middle = ((i128::from(from) + i128::from(until)).div_euclid(2)) as i64;
                    work.push((middle + 1, until));
                    work.push((from, middle));
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// A question that needs the database and the right to read it, and touches a minute at most.
    pub(super) async fn answers(&self) -> Result<(), StoreError> {
        self.ready().await?;
        let text =
            format!("SELECT last(value) FROM {} WHERE time >= now() - 1m AND time <= now()", DEVICE_METRICS.name);
        let mut rows = self.client.query(&text).await?;
        while !rows.next().await?.is_empty() {}
        Ok(())
    }

    pub(super) async fn devices(
        &self,
        after: Option<&DeviceName>,
        limit: usize,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        let all = self.device_records("").await?;
        Ok(all
            .into_values()
            .filter(|record| after.is_none_or(|after| record.source_device > *after))
            .take(limit)
            .collect())
    }

    pub(super) async fn device(&self, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
        let only = format!(" AND source_device = {}", quoted(name));
        Ok(self.device_records(&only).await?.remove(name))
    }

    async fn device_records(&self, only: &str) -> Result<BTreeMap<DeviceName, DeviceRecord>, StoreError> {
        let mut records: BTreeMap<DeviceName, DeviceRecord> = BTreeMap::new();
        for (measurement, column, field) in [
            (DEVICE_METRICS.name, 0, "first(value)"),
            (DEVICE_METRICS.name, 0, "last(value)"),
            (EVENTS.name, 1, "min(timestamp_ns)"),
            (EVENTS.name, 1, "max(timestamp_ns)"),
        ] {
            let query = |from, until| {
                format!(
                    "SELECT {field} FROM {measurement} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device"
                )
            };
            self.select(MIN_TIME, MAX_TIME, query, |series| {
                let Ok(name) = DeviceName::new(&line::decode(series.tag("source_device"))) else { return };
                for time in series.values.iter().filter_map(|row| row.get(column)?.as_i64()).map(Timestamp::from_ns) {
                    let record = records.entry(name.clone()).or_insert_with(|| DeviceRecord {
                        source_device: name.clone(),
                        labels: Labels::new(),
                        first_seen: time,
                        last_seen: time,
                    });
                    record.first_seen = record.first_seen.min(time);
                    record.last_seen = record.last_seen.max(time);
                }
            })
            .await?;
        }
        let labels = |from, until| {
            format!(
                "SELECT last(value) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, label",
                DEVICE_LABELS.name
            )
        };
        self.select(MIN_TIME, MAX_TIME, labels, |series| {
            let record = records.get_mut(&*line::decode(series.tag("source_device")));
            let value = series.values.last().and_then(|row| row.get(1)?.as_str());
            if let (Some(record), Some(value)) = (record, value) {
                record.labels.insert(line::decode(series.tag("label")).into_owned(), line::decode(value).into_owned());
            }
        })
        .await?;
        Ok(records)
    }

    pub(super) async fn latest_many(
        &self,
        devices: &[DeviceName],
        window: Window,
    ) -> Result<Vec<Vec<LatestSample>>, StoreError> {
        let mut found: BTreeMap<&str, BTreeMap<MetricType, LatestSample>> =
            devices.iter().map(|name| (name.as_str(), BTreeMap::new())).collect();
        let Some((from, until)) = bounds(window).filter(|_| !devices.is_empty()) else {
            return Ok(devices.iter().map(|_| Vec::new()).collect());
        };
        let mut only = String::new();
        if found.len() <= MAX_NAMED_DEVICES {
            let named: Vec<String> = found.keys().map(|name| format!("source_device = {}", quoted(name))).collect();
            let _ = write!(only, " AND ({})", named.join(" OR "));
        }
        let query = |from, until| {
            format!(
                "SELECT last(value) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, metric_type",
                DEVICE_METRICS.name
            )
        };
        self.select(from, until, query, |series| {
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
            .map(|name| {
                found.get(name.as_str()).map(|of_device| of_device.values().cloned().collect()).unwrap_or_default()
            })
            .collect())
    }

    pub(super) async fn range(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        let mut found = Vec::new();
        let Some((from, until)) = bounds(window).filter(|_| limit > 0) else { return Ok(found) };
        let last = if limit < i64::MAX as usize { format!(" LIMIT {limit}") } else { String::new() };
        let query =
            |from, until| format!("{} ORDER BY time ASC{last}", of_series("value", device, metric, from, until));
        self.select(from, until, query, |series| found.extend(samples(series))).await?;
        found.truncate(limit);
        Ok(found)
    }

    pub(super) async fn first_and_last(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
    ) -> Result<Option<FirstAndLast>, StoreError> {
        let Some((from, until)) = bounds(window) else { return Ok(None) };
        let (mut first, mut last, mut count) = (None, None, 0_u64);
        self.select(
            from,
            until,
            |from, until| of_series("first(value)", device, metric, from, until),
            |series| {
                first = first.or(samples(series).next());
            },
        )
        .await?;
        self.select(
            from,
            until,
            |from, until| of_series("last(value)", device, metric, from, until),
            |series| {
                last = samples(series).last().or(last);
            },
        )
        .await?;
        self.select(
            from,
            until,
            |from, until| of_series("count(value)", device, metric, from, until),
            |series| {
                count = count.saturating_add(answer::count(series));
            },
        )
        .await?;
        Ok(first.zip(last).map(|(first, last)| (first, last, count.max(1))))
    }

    pub(super) async fn buckets(
        &self,
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
                let select =
                    of_series("min(value), mean(value), max(value), count(value)", device, metric, from, until);
                format!("{select} GROUP BY time({length}ns) fill(none)")
            };
            let outcome = self
                .select(from, until, query, |series| {
                    for part in answer::buckets(series) {
                        add(&mut found, start(part.time.as_ns()), part);
                    }
                })
                .await;
            match outcome {
                // A mean beyond the range of floats cannot be written as JSON: we can still make it.
                Err(StoreError::Query { words, .. }) if words.contains("JSON") || words.contains("json") => {
                    found.clear()
                }
                outcome => return outcome.map(|()| found.into_values().collect()),
            }
        }
        let query = |from, until| of_series("value", device, metric, from, until);
        self.select(from, until, query, |series| {
            for Sample { time, value } in samples(series) {
                let one = Bucket { time, min: value, mean: value, max: value, count: 1 };
                add(&mut found, start(time.as_ns()), one);
            }
        })
        .await?;
        Ok(found.into_values().collect())
    }

    /// The events of a filter, in the order of [`crate::Store::events`].
    pub(super) async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, StoreError> {
        let mut found = Vec::new();
        let fields =
            "event_id, criticality, event_message, timestamp_ns, received_ns, seq, labels, source_device, event_type";
        self.select_events(filter, fields, |series| {
            found.extend(series.values.iter().filter_map(|row| event(series, row)))
        })
        .await?;
        found.retain(|record: &EventRecord| fits(filter, record));
        let order = |record: &EventRecord| {
            let Event { timestamp, id, source_device, event_type, .. } = &record.event;
            (*timestamp, *id, source_device.clone(), event_type.clone())
        };
        found.sort_by_cached_key(|record| std::cmp::Reverse(order(record)));
        // Two writers at one instant can both have stored it.
        found.dedup_by(|one, other| order(one) == order(other));
        Ok(found.into_iter().skip(filter.offset).take(filter.limit).collect())
    }

    pub(super) async fn count_events_by_device(
        &self,
        filter: &EventFilter,
    ) -> Result<Vec<(DeviceName, u64)>, StoreError> {
        let every = EventFilter { limit: usize::MAX, offset: 0, ..filter.clone() };
        let mut counted: BTreeMap<DeviceName, u64> = BTreeMap::new();
        for record in self.events(&every).await? {
            *counted.entry(record.event.source_device).or_default() += 1;
        }
        Ok(counted.into_iter().collect())
    }

    async fn select_events(
        &self,
        filter: &EventFilter,
        fields: &str,
        each: impl FnMut(&Series),
    ) -> Result<(), StoreError> {
        let Some((from, until)) = bounds(filter.window) else { return Ok(()) };
        let mut only = String::new();
        if let Some(name) = &filter.source_device {
            let _ = write!(only, " AND source_device = {}", quoted(name));
        }
        if let Some(name) = &filter.event_type {
            let _ = write!(only, " AND event_type = {}", quoted(name));
        }
        if filter.min_criticality.level() > 1 {
            let _ = write!(only, " AND criticality >= {}", filter.min_criticality.level());
        }
        let (after, before) = match filter.basis {
            TimeBasis::Happened => (from, until.saturating_add(PLACE_SPREAD_NS).min(MAX_TIME)),
            TimeBasis::Received => {
                let _ = write!(only, " AND received_ns >= {from} AND received_ns <= {until}");
                (MIN_TIME, MAX_TIME)
            }
            TimeBasis::Either => {
                let happened = format!("timestamp_ns >= {from} AND timestamp_ns <= {until}");
                let _ = write!(only, " AND ((received_ns >= {from} AND received_ns <= {until}) OR ({happened}))");
                (MIN_TIME, MAX_TIME)
            }
        };
        let query = |from, until| {
            format!("SELECT {fields} FROM {} WHERE time >= {from} AND time <= {until}{only}", EVENTS.name)
        };
        self.select(after, before, query, each).await
    }

    pub(super) async fn counts(&self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        let mut devices = std::collections::BTreeSet::new();
        let mut series_seen = std::collections::BTreeSet::new();
        let metrics = |from, until| {
            format!(
                "SELECT count(value) FROM {} WHERE time >= {from} AND time <= {until} GROUP BY source_device, metric_type",
                DEVICE_METRICS.name
            )
        };
        self.select(MIN_TIME, MAX_TIME, metrics, |series| {
            counts.metrics = counts.metrics.saturating_add(answer::count(series));
            devices.insert(series.tag("source_device").to_owned());
            series_seen.insert((series.tag("source_device").to_owned(), series.tag("metric_type").to_owned()));
        })
        .await?;
        let events = |from, until| {
            format!(
                "SELECT count(criticality) FROM {} WHERE time >= {from} AND time <= {until} GROUP BY source_device",
                EVENTS.name
            )
        };
        self.select(MIN_TIME, MAX_TIME, events, |series| {
            counts.events = counts.events.saturating_add(answer::count(series));
            devices.insert(series.tag("source_device").to_owned());
        })
        .await?;
        counts.devices = devices.len() as u64;
        counts.series = series_seen.len() as u64;
        Ok(counts)
    }
}

/// A window as its first and last instant, within what InfluxDB stores; `None` if empty.
pub(super) fn bounds(window: Window) -> Option<(i64, i64)> {
    let from = window.from.as_ns().max(MIN_TIME);
    let until = window.until.as_ns().saturating_sub(1).min(MAX_TIME);
    (from <= until).then_some((from, until))
}

fn of_series(what: &str, device: &DeviceName, metric: &MetricType, from: i64, until: i64) -> String {
    format!(
        "SELECT {what} FROM {} WHERE time >= {from} AND time <= {until} AND source_device = {} AND metric_type = {}",
        DEVICE_METRICS.name,
        quoted(device),
        quoted(metric)
    )
}

fn fits(filter: &EventFilter, record: &EventRecord) -> bool {
    let (happened, received) =
        (filter.window.contains(record.event.timestamp), filter.window.contains(record.received));
    match filter.basis {
        TimeBasis::Happened => happened,
        TimeBasis::Received => received,
        TimeBasis::Either => happened || received,
    }
}
