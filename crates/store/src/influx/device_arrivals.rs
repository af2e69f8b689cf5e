//! Newest arrival of values per device: one point per device and hour of arrival, overwritten as values arrive.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use spindle_core::records::{Arrival, Window};
use spindle_core::schema::DEVICE_ARRIVALS;
use spindle_core::{Batch, DeviceName, Timestamp};

use super::chunk::Chunk;
use super::concurrency::ConcurrencyLimit;
use super::line::{self, one_of_devices};
use super::send::{SMALL_CHUNK_LINES, send_all};
use super::series::MAX_NAMED_DEVICES;
use super::session::{Influx, MAX_TIME, MIN_TIME};
use crate::known_arrivals::newest_per_device;
use crate::{Refused, RefusedItem, StoreError};

/// Distance of the points of one device.
const SLOT_NS: i64 = 3_600_000_000_000;
/// Window in which the arrivals of devices that send now are found.
const RECENT: Duration = Duration::from_secs(2 * 3_600);

/// Writes the arrivals of a batch's values, except those that were refused or are known to be written. An arrival that
/// the server refuses, at a limit of series for example, keeps no value out.
pub(super) async fn write(
    influx: &Influx,
    batch: &Batch,
    refused: &[Refused],
    received: Timestamp,
    limit: &ConcurrencyLimit,
) -> Result<(), StoreError> {
    let refused: HashSet<RefusedItem> = refused.iter().map(|refused| refused.item).collect();
    let stored = batch.metrics.iter().enumerate().filter(|(index, _)| !refused.contains(&RefusedItem::Metric(*index)));
    let values = stored.map(|(_, metric)| (metric.source_device.as_str(), metric.timestamp));
    let mut outdated = newest_per_device(values, received);
    {
        let known = influx.arrivals();
        outdated.retain(|device, arrival| known.is_outdated(device, *arrival));
    }
    if outdated.is_empty() {
        return Ok(());
    }
    // The end of the hour: its start may be older than the shortest retention, which is an hour.
    let slot = (received.as_ns().div_euclid(SLOT_NS) + 1).saturating_mul(SLOT_NS).clamp(MIN_TIME, MAX_TIME);
    let mut chunks = Vec::new();
    for (index, (device, arrival)) in outdated.iter().enumerate() {
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::device_arrival(device, *arrival, slot, &mut chunk.lines);
        chunk.assign(index, (device, slot));
    }
    let refused = send_all(influx, chunks, limit).await?;
    influx.index_log.warn_of_refused("the index of arrivals of devices", &refused);
    let refused: HashSet<usize> = refused.iter().map(|refused| refused.item).collect();
    let mut known = influx.arrivals();
    for (index, (device, arrival)) in outdated.into_iter().enumerate() {
        if !refused.contains(&index) {
            known.record(&device, arrival);
        }
    }
    Ok(())
}

/// `Store::last_arrivals`. Most devices arrived lately: only for the others the whole window is read.
pub(crate) async fn last(
    influx: &Influx,
    devices: &[DeviceName],
    window: Window,
) -> Result<Vec<Option<Arrival>>, StoreError> {
    let lately = window.until.minus(RECENT).max(window.from);
    let mut found = HashMap::new();
    for window in [Window { from: lately, ..window }, window] {
        let missing: Vec<&DeviceName> = devices.iter().filter(|name| !found.contains_key(name.as_str())).collect();
        read(influx, &missing, window, &mut found).await?;
    }
    Ok(devices.iter().map(|name| found.get(name.as_str()).copied()).collect())
}

async fn read(
    influx: &Influx,
    devices: &[&DeviceName],
    window: Window,
    found: &mut HashMap<String, Arrival>,
) -> Result<(), StoreError> {
    let from = window.from.as_ns().max(MIN_TIME);
    let until = window.until.as_ns().saturating_add(SLOT_NS).min(MAX_TIME);
    if from > until || devices.is_empty() {
        return Ok(());
    }
    let named = devices.len() <= MAX_NAMED_DEVICES;
    let only = if named { one_of_devices(devices.iter().map(|name| name.as_str())) } else { String::new() };
    let (mut received, mut measured) = (HashMap::new(), HashMap::new());
    for (field, times) in [("received_ns", &mut received), ("measured_ns", &mut measured)] {
        let query = |from, until| {
            format!(
                "SELECT last({field}) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device",
                DEVICE_ARRIVALS.name
            )
        };
        influx
            .select(from, until, query, |series| {
                let time = series.values.last().and_then(|row| row.get(1)?.as_i64()).map(Timestamp::from_ns);
                times.extend(time.map(|time| (line::decode(series.tag("source_device")).into_owned(), time)));
            })
            .await?;
    }
    for (name, received) in received {
        if let Some(measured) = measured.get(&name).copied().filter(|_| window.contains(received)) {
            found.insert(name, Arrival { received, measured });
        }
    }
    Ok(())
}
