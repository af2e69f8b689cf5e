//! Answers that are lists, and how they are cut to what a message can hold.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use spindle_core::query::EventsQuery;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::response::{Basis, Data, DeviceCount, DeviceRow, EventRow, Listing, MetricRow, Response};
use spindle_core::{DeviceName, Timestamp};
use spindle_store::Store;

use super::{Failure, audit};

/// Events by a filter, newest first; for alerts with the number per device.
pub(super) async fn events(store: &Store, query: EventsQuery, with_summary: bool) -> Result<Listing<EventRow>> {
    let EventsQuery { window, basis, source_device, event_type, min_criticality, limit, offset } = query;
    // One more than asked for tells whether there is a next page.
    let filter = EventFilter { window, basis, source_device, event_type, min_criticality, limit: limit + 1, offset };
    let mut records = store.events(filter.clone()).await?;
    let mut summary = None;
    if with_summary {
        // From the same reading where it is whole: a second one may see events that came in between.
        let is_whole = offset == 0 && records.len() <= limit;
        let counts = if is_whole { count(&records) } else { store.count_events_by_device(filter).await? };
        let row = |(source_device, critical_event_count)| DeviceCount { source_device, critical_event_count };
        summary = Some(counts.into_iter().map(row).collect());
    }
    let has_more = records.len() > limit;
    records.truncate(limit);
    let by = match basis {
        TimeBasis::Happened => "time",
        TimeBasis::Received => "received",
        TimeBasis::Either => "any",
    };
    let basis = Basis { by: Some(by), ..Basis::of(window, records.len() as u64) };
    let data = records.into_iter().map(EventRow::from).collect();
    let mut listing = Listing { data, summary, next: None, basis, offset: offset as u64 };
    if has_more {
        listing.next = Some(after_these(&listing));
    }
    Ok(listing)
}

/// The window stays the one of this page, though the clock goes on: rows that came in behind its end would push
/// those of this page into the next.
fn after_these(listing: &Listing<EventRow>) -> BTreeMap<&'static str, Value> {
    let time = |time: Timestamp| Value::from(time.to_string());
    let mut next = BTreeMap::from([
        ("offset", Value::from(listing.offset + listing.data.len() as u64)),
        ("until", time(listing.basis.until)),
    ]);
    next.extend(listing.basis.from.map(|from| ("from", time(from))));
    next
}

fn count(records: &[EventRecord]) -> Vec<(DeviceName, u64)> {
    let mut counts: BTreeMap<DeviceName, u64> = BTreeMap::new();
    for record in records {
        *counts.entry(record.event.source_device.clone()).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// Devices by name, with their latest values.
pub(super) async fn devices(
    store: &Store,
    after: Option<DeviceName>,
    limit: usize,
    at: Timestamp,
) -> Result<Listing<DeviceRow>> {
    let mut records = store.devices(after.as_ref(), limit + 1).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let names: Vec<_> = records.iter().map(|record| record.source_device.clone()).collect();
    let until = at.plus(std::time::Duration::from_nanos(1));
    let latest = store.latest_many(&names, Window { from: Timestamp::from_ns(i64::MIN), until }).await?;
    let mut n_points = 0;
    let mut data = Vec::with_capacity(records.len());
    for (record, samples) in records.into_iter().zip(latest) {
        n_points += samples.len() as u64;
        let metrics = samples.into_iter().map(|sample| {
            let row = MetricRow::new(&sample.metric_type, sample.value, sample.time);
            (sample.metric_type, row)
        });
        data.push(DeviceRow {
            source_device: record.source_device,
            first_seen: record.first_seen,
            last_seen: record.last_seen,
            labels: record.labels,
            metrics: metrics.collect(),
        });
    }
    let mut listing =
        Listing { data, summary: None, next: None, basis: Basis { from: None, until, n_points, by: None }, offset: 0 };
    if more {
        listing.next = after_last(&listing);
    }
    Ok(listing)
}

fn after_last(listing: &Listing<DeviceRow>) -> Option<BTreeMap<&'static str, Value>> {
    let last = listing.data.last()?;
    Some(BTreeMap::from([("after", Value::from(last.source_device.as_str()))]))
}

/// The answer as JSON. A list that is longer than a message may be is cut, and says how to go on.
pub(super) fn fit(mut body: Data, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    loop {
        let json = to_json(&Response::Success(body.clone()));
        if json.len() <= max_bytes {
            return Ok(json);
        }
        let cut = match &mut body {
            Data::AlertsCritical(listing) | Data::Events(listing) => cut_events(listing),
            Data::Devices(listing) => cut_devices(listing),
            Data::AuditGaps(audit) => audit::cut(audit),
            Data::DeviceHealth { .. } | Data::AnomalyTemperature { .. } | Data::Series { .. } => false,
        };
        if !cut {
            let message = format!(
                "the answer has {} bytes, more than the {max_bytes} that fit: ask for a shorter window, longer buckets or fewer rows",
                json.len()
            );
            return Err(Failure { is_askers_fault: true, message });
        }
    }
}

fn cut_events(listing: &mut Listing<EventRow>) -> bool {
    let n_after = listing.data.len() / 2;
    if n_after == 0 {
        return false;
    }
    listing.data.truncate(n_after);
    listing.basis.n_points = n_after as u64;
    listing.next = Some(after_these(listing));
    true
}

fn cut_devices(listing: &mut Listing<DeviceRow>) -> bool {
    let n_after = listing.data.len() / 2;
    if n_after == 0 {
        return false;
    }
    listing.data.truncate(n_after);
    listing.basis.n_points = listing.data.iter().map(|row| row.metrics.len() as u64).sum();
    listing.next = after_last(listing);
    true
}

/// JSON of an answer.
pub(super) fn to_json(answer: &Response) -> Vec<u8> {
    serde_json::to_vec(answer).expect("answers have string keys only, which JSON can always say")
}
