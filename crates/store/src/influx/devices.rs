//! Queries for devices. The list is read from the index of devices, whose size depends on their number; the data are
//! read only from where the index ends.

use std::collections::BTreeMap;

use spindle_core::alias::Alias;
use spindle_core::records::DeviceRecord;
use spindle_core::schema::{DEVICE_METRICS, EVENTS};
use spindle_core::{DeviceName, Labels, Timestamp};

use super::device_index;
use super::event_position::SPREAD_NS;
use super::line::{self, one_of_devices, quoted};
use super::noted_devices::REFRESH_NS;
use super::series::MAX_NAMED_DEVICES;
use super::session::{Influx, MAX_TIME};
use crate::StoreError;

/// Most devices queried by name; with more, the response is filtered.
const MAX_BY_NAME: usize = 20 * MAX_NAMED_DEVICES;

type Records = BTreeMap<DeviceName, DeviceRecord>;

/// Devices of the index, and the time from which on it names them and their labels.
struct Indexed {
    from: i64,
    records: Records,
}

/// `Store::devices`.
pub(crate) async fn devices(
    influx: &Influx,
    after: Option<&DeviceName>,
    limit: usize,
) -> Result<Vec<DeviceRecord>, StoreError> {
    let Indexed { from, records } = indexed(influx, "").await?;
    let is_after = |name: &DeviceName| after.is_none_or(|after| name > after);
    let page = records.into_iter().filter(|(name, _)| is_after(name)).take(limit);
    complete(influx, from, page.collect()).await.map(|records| records.into_values().collect())
}

/// `Store::device`.
pub(crate) async fn device(influx: &Influx, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
    let Indexed { from, records } = indexed(influx, &format!(" AND source_device = {}", quoted(name))).await?;
    complete(influx, from, records).await.map(|mut records| records.remove(name))
}

/// `Store::devices_at`.
pub(crate) async fn devices_at(influx: &Influx, alias: &Alias) -> Result<Vec<DeviceName>, StoreError> {
    let keys: Vec<_> = Alias::KEYS.iter().map(|key| format!("label = {}", quoted(key))).collect();
    let from = device_index::devices_from(influx).await?;
    let mut labels: BTreeMap<String, Labels> = BTreeMap::new();
    for label in device_index::labels(influx, from, &format!(" AND ({})", keys.join(" OR "))).await? {
        labels.entry(label.device).or_default().insert(label.key, label.value);
    }
    let matching = labels.iter().filter(|(_, labels)| alias.matches(labels));
    Ok(matching.filter_map(|(name, _)| DeviceName::new(name).ok()).collect())
}

/// `Store::labels`.
pub(crate) async fn labels(influx: &Influx, devices: &[DeviceName]) -> Result<Vec<Labels>, StoreError> {
    let from = device_index::devices_from(influx).await?;
    let mut found: BTreeMap<String, Labels> = BTreeMap::new();
    for only in conditions(devices) {
        for label in device_index::labels(influx, from, &only).await? {
            found.entry(label.device).or_default().insert(label.key, label.value);
        }
    }
    Ok(devices.iter().map(|name| found.get(name.as_str()).cloned().unwrap_or_default()).collect())
}

/// Reads the index.
async fn indexed(influx: &Influx, only: &str) -> Result<Indexed, StoreError> {
    let from = device_index::devices_from(influx).await?;
    let lives = device_index::lives(influx, from, only).await?;
    let record = |(source_device, (first, last)): (DeviceName, (i64, i64))| {
        let (first_seen, last_seen) = (Timestamp::from_ns(first), Timestamp::from_ns(last));
        let record =
            DeviceRecord { source_device: source_device.clone(), labels: Labels::new(), first_seen, last_seen };
        (source_device, record)
    };
    Ok(Indexed { from, records: lives.into_iter().map(record).collect() })
}

/// Adds the labels, and moves the last sign of life from that of the index to the newest data.
async fn complete(influx: &Influx, labels_from: i64, mut records: Records) -> Result<Records, StoreError> {
    let names: Vec<DeviceName> = records.keys().cloned().collect();
    for only in conditions(&names) {
        for label in device_index::labels(influx, labels_from, &only).await? {
            if let Some(record) = records.get_mut(&*label.device) {
                record.labels.insert(label.key, label.value);
            }
        }
    }
    let mut by_time: Vec<(i64, DeviceName)> =
        records.values().map(|record| (record.last_seen.as_ns(), record.source_device.clone())).collect();
    by_time.sort_unstable();
    let mut rest = &by_time[..];
    while let Some((first, _)) = rest.first() {
        // Bounded: a chain of devices that fell silent one after another would reach through all of history.
        let (cluster, others) =
            rest.split_at(rest.partition_point(|(time, _)| time.saturating_sub(*first) <= REFRESH_NS));
        rest = others;
        let from = cluster[0].0.saturating_add(1);
        let until = cluster[cluster.len() - 1].0.saturating_add(REFRESH_NS).min(MAX_TIME);
        let names: Vec<DeviceName> = cluster.iter().map(|(_, name)| name.clone()).collect();
        for only in conditions(&names) {
            read_newest(influx, from, until, &only, &mut records).await?;
        }
    }
    Ok(records)
}

/// Returns conditions that select devices together.
fn conditions(names: &[DeviceName]) -> Vec<String> {
    if names.len() > MAX_BY_NAME {
        return vec![String::new()];
    }
    names.chunks(MAX_NAMED_DEVICES).map(|some| one_of_devices(some.iter().map(|name| name.as_str()))).collect()
}

/// Reads the newest data of devices in a range.
async fn read_newest(
    influx: &Influx,
    from: i64,
    until: i64,
    only: &str,
    records: &mut Records,
) -> Result<(), StoreError> {
    for (measurement, column, field, until) in [
        (DEVICE_METRICS.name, 0, "last(value)", until),
        (EVENTS.name, 1, "max(timestamp_ns)", until.saturating_add(SPREAD_NS).min(MAX_TIME)),
    ] {
        let query = |from, until| {
            format!(
                "SELECT {field} FROM {measurement} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device"
            )
        };
        influx
            .select(from, until, query, |series| {
                let Some(record) = records.get_mut(&*line::decode(series.tag("source_device"))) else { return };
                for time in series.values.iter().filter_map(|row| row.get(column)?.as_i64()) {
                    record.last_seen = record.last_seen.max(Timestamp::from_ns(time));
                }
            })
            .await?;
    }
    Ok(())
}
