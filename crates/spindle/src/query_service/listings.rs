//! Queries that return a list: `events`, `alerts_critical` and `devices`, page by page.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spindle_core::query::EventsQuery;
use spindle_core::records::{DeviceRecord, EventFilter, EventRecord, LatestSample, TimeBasis, Window};
use spindle_core::response::{Basis, DeviceCount, DeviceRow, EventRow, Listing, MetricRow};
use spindle_core::{DeviceName, Timestamp};
use spindle_store::Store;

use super::arrivals;
use super::fit::{FirstRows, Next, page_of, rows_in_data};

const ONE_NS: Duration = Duration::from_nanos(1);
/// Age up to which a value still counts as a latest one of `devices`, before the device's last sign of life.
const LATEST_LOOKBACK: Duration = Duration::from_secs(7 * 86_400);

/// Returns events by a filter, newest first; `with_summary` adds the number per device.
pub(super) async fn events(store: &Store, query: EventsQuery, with_summary: bool) -> Result<Listing<EventRow>> {
    let EventsQuery { window, basis, source_device, event_type, min_criticality, limit, offset } = query;
    // One row more than the limit shows that there is a next page.
    let filter = EventFilter { window, basis, source_device, event_type, min_criticality, limit: limit + 1, offset };
    let records = store.events(filter.clone()).await?;
    let mut summary = None;
    if with_summary {
        // Counted from the same read if that is complete: a second one may include events stored in between.
        let is_complete = offset == 0 && records.len() <= limit;
        let counts = if is_complete { count_by_device(&records) } else { store.count_events_by_device(filter).await? };
        let row = |(source_device, critical_event_count)| DeviceCount { source_device, critical_event_count };
        summary = Some(counts.into_iter().map(row).collect());
    }
    let by = match basis {
        TimeBasis::Happened => "time",
        TimeBasis::Received => "received",
        TimeBasis::Either => "any",
    };
    let basis = Basis { by: Some(by), ..Basis::of(window, records.len() as u64) };
    let data = records.into_iter().map(EventRow::from).collect();
    Ok(page_of(Listing { data, summary, next: None, basis, offset: offset as u64 }, limit))
}

/// Returns the parameters of the page after `n_rows`. They pin the window of this page: rows stored after its end would
/// otherwise push rows of this page into the next.
pub(super) fn next_rows(basis: &Basis, n_rows: u64) -> BTreeMap<&'static str, Value> {
    let time = |time: Timestamp| Value::from(time.to_string());
    let mut next = BTreeMap::from([("offset", Value::from(n_rows)), ("until", time(basis.until))]);
    next.extend(basis.from.map(|from| ("from", time(from))));
    next
}

fn count_by_device(records: &[EventRecord]) -> Vec<(DeviceName, u64)> {
    let mut counts: BTreeMap<DeviceName, u64> = BTreeMap::new();
    for record in records {
        *counts.entry(record.event.source_device.clone()).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// Returns one device with its latest values; no row if it is not known, or does not sort after `after`.
pub(super) async fn device(
    store: &Store,
    device: DeviceName,
    after: Option<&DeviceName>,
    at: Timestamp,
) -> Result<Listing<DeviceRow>> {
    let found = store.device(&device).await?.filter(|_| after.is_none_or(|after| device > *after));
    rows(store, found.into_iter().collect(), 1, at).await
}

/// Returns devices by name, with their latest values.
pub(super) async fn devices(
    store: &Store,
    after: Option<DeviceName>,
    limit: usize,
    at: Timestamp,
) -> Result<Listing<DeviceRow>> {
    let records = store.devices(after.as_ref(), limit + 1).await?;
    rows(store, records, limit, at).await
}

async fn rows(store: &Store, records: Vec<DeviceRecord>, limit: usize, at: Timestamp) -> Result<Listing<DeviceRow>> {
    let names: Vec<_> = records.iter().map(|record| record.source_device.clone()).collect();
    let until = at.plus(ONE_NS);
    let mut latest = latest(store, &records, until).await?;
    let arrivals = match arrivals::is_past(until) {
        true => vec![None; names.len()],
        false => arrivals::last_of(store, &names, until).await?,
    };
    // The newest values of a device whose clock is ahead lie behind the end of the window.
    for (name, arrival) in names.iter().zip(&arrivals) {
        if let Some(arrival) = arrival.filter(|arrival| arrival.measured >= until) {
            let end = arrival.measured.plus(ONE_NS);
            let window = Window { from: end.minus(LATEST_LOOKBACK), until: end };
            latest.insert(name.clone(), store.latest(name, window).await?);
        }
    }
    let mut n_points = 0;
    let mut data = Vec::with_capacity(records.len());
    for (record, arrival) in records.into_iter().zip(arrivals) {
        let samples = latest.remove(&record.source_device).unwrap_or_default();
        n_points += samples.len() as u64;
        let newest = samples.iter().map(|sample| sample.time).max();
        let metrics = samples.into_iter().map(|sample| {
            let row = MetricRow::new(&sample.metric_type, sample.value, sample.time);
            (sample.metric_type, row)
        });
        data.push(DeviceRow {
            source_device: record.source_device,
            first_seen: record.first_seen,
            last_seen: record.last_seen,
            last_received: arrivals::last_received(arrival, newest),
            clock_offset_seconds: arrivals::clock_offset_seconds(arrival),
            labels: record.labels,
            metrics: metrics.collect(),
        });
    }
    let basis = Basis { from: None, until, n_points, by: None };
    Ok(page_of(Listing { data, summary: None, next: None, basis, offset: 0 }, limit))
}

/// Returns the latest values of each device before `until`, those within [`LATEST_LOOKBACK`] of its last sign of life.
/// Devices that were last seen at about the same time are read together.
async fn latest(
    store: &Store,
    records: &[DeviceRecord],
    until: Timestamp,
) -> Result<BTreeMap<DeviceName, Vec<LatestSample>>> {
    let end = |record: &DeviceRecord| record.last_seen.plus(Duration::from_nanos(1)).min(until);
    let mut by_time: Vec<(Timestamp, &DeviceName)> =
        records.iter().map(|record| (end(record), &record.source_device)).collect();
    by_time.sort_unstable();
    let mut latest = BTreeMap::new();
    let mut rest = &by_time[..];
    while let Some((first, _)) = rest.first() {
        let n_together = rest.partition_point(|(end, _)| *end <= first.plus(LATEST_LOOKBACK));
        let (together, others) = rest.split_at(n_together.max(1));
        rest = others;
        let names: Vec<DeviceName> = together.iter().map(|(_, name)| (*name).clone()).collect();
        let window = Window { from: first.minus(LATEST_LOOKBACK), until: together[together.len() - 1].0 };
        for ((end, _), (name, mut samples)) in
            together.iter().zip(names.iter().zip(store.latest_many(&names, window).await?))
        {
            samples.retain(|sample| sample.time >= end.minus(LATEST_LOOKBACK));
            latest.insert(name.clone(), samples);
        }
    }
    Ok(latest)
}

impl FirstRows for Listing<EventRow> {
    rows_in_data!(EventRow);

    fn following(&self) -> Next {
        Some(next_rows(&self.basis, self.offset + self.data.len() as u64))
    }

    fn n_points(&self) -> Option<u64> {
        Some(self.data.len() as u64)
    }
}

impl FirstRows for Listing<DeviceRow> {
    rows_in_data!(DeviceRow);

    fn following(&self) -> Next {
        let last = self.data.last()?;
        Some(BTreeMap::from([("after", Value::from(last.source_device.as_str()))]))
    }

    fn n_points(&self) -> Option<u64> {
        Some(self.data.iter().map(|row| row.metrics.len() as u64).sum())
    }
}
