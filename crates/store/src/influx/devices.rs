//! Queries for devices. The list is read from the index of devices, whose size depends on their number; the data are
//! read only from where the index ends.

use std::collections::BTreeMap;

use spindle_core::alias::Alias;
use spindle_core::records::DeviceRecord;
use spindle_core::schema::{DEVICE_LABELS, DEVICE_METRICS, DEVICES, EVENTS};
use spindle_core::{DeviceName, Labels, Timestamp};

use super::event_position::SPREAD_NS;
use super::line::{self, one_of_devices, quoted};
use super::noted_devices::REFRESH_NS;
use super::series::MAX_NAMED_DEVICES;
use super::session::{Influx, MAX_TIME, MIN_TIME};
use crate::StoreError;

/// Most devices queried by name; with more, the response is filtered.
const MAX_BY_NAME: usize = 20 * MAX_NAMED_DEVICES;

type Records = BTreeMap<DeviceName, DeviceRecord>;

/// `Store::devices`.
pub(crate) async fn devices(
    influx: &Influx,
    after: Option<&DeviceName>,
    limit: usize,
) -> Result<Vec<DeviceRecord>, StoreError> {
    let all = indexed(influx, "").await?;
    let is_after = |name: &DeviceName| after.is_none_or(|after| name > after);
    let page = all.into_iter().filter(|(name, _)| is_after(name)).take(limit);
    complete(influx, page.collect()).await.map(|records| records.into_values().collect())
}

/// `Store::device`.
pub(crate) async fn device(influx: &Influx, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
    let found = indexed(influx, &format!(" AND source_device = {}", quoted(name))).await?;
    complete(influx, found).await.map(|mut records| records.remove(name))
}

/// `Store::devices_at`.
pub(crate) async fn devices_at(influx: &Influx, alias: &Alias) -> Result<Vec<DeviceName>, StoreError> {
    let keys: Vec<_> = Alias::KEYS.iter().map(|key| format!("label = {}", quoted(key))).collect();
    let query = |from, until| {
        format!(
            "SELECT last(value) FROM {} WHERE time >= {from} AND time <= {until} AND ({}) GROUP BY source_device, label",
            DEVICE_LABELS.name,
            keys.join(" OR ")
        )
    };
    let mut labels: BTreeMap<String, Labels> = BTreeMap::new();
    influx
        .select(MIN_TIME, MAX_TIME, query, |series| {
            let Some(value) = series.values.last().and_then(|row| row.get(1)?.as_str()) else { return };
            let device = line::decode(series.tag("source_device")).into_owned();
            let key = line::decode(series.tag("label")).into_owned();
            labels.entry(device).or_default().insert(key, line::decode(value).into_owned());
        })
        .await?;
    let matching = labels.iter().filter(|(_, labels)| alias.matches(labels));
    Ok(matching.filter_map(|(name, _)| DeviceName::new(name).ok()).collect())
}

/// Reads the index.
async fn indexed(influx: &Influx, only: &str) -> Result<Records, StoreError> {
    let query = |from, until| {
        format!(
            "SELECT min(first_ns), max(last_ns) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device",
            DEVICES.name
        )
    };
    let mut records = Records::new();
    influx
        .select(MIN_TIME, MAX_TIME, query, |series| {
            let Ok(name) = DeviceName::new(&line::decode(series.tag("source_device"))) else { return };
            for row in &series.values {
                let time = |column: usize| row.get(column)?.as_i64().map(Timestamp::from_ns);
                let (Some(first_seen), Some(last_seen)) = (time(1), time(2)) else { continue };
                let new = || DeviceRecord { source_device: name.clone(), labels: Labels::new(), first_seen, last_seen };
                let record = records.entry(name.clone()).or_insert_with(new);
                record.first_seen = record.first_seen.min(first_seen);
                record.last_seen = record.last_seen.max(last_seen);
            }
        })
        .await?;
    Ok(records)
}

/// Adds the labels, and moves the last sign of life from that of the index to the newest data.
async fn complete(influx: &Influx, mut records: Records) -> Result<Records, StoreError> {
    let names: Vec<DeviceName> = records.keys().cloned().collect();
    for only in conditions(&names) {
        read_labels(influx, &only, &mut records).await?;
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

async fn read_labels(influx: &Influx, only: &str, records: &mut Records) -> Result<(), StoreError> {
    let query = |from, until| {
        format!(
            "SELECT last(value) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, label",
            DEVICE_LABELS.name
        )
    };
    influx
        .select(MIN_TIME, MAX_TIME, query, |series| {
            let record = records.get_mut(&*line::decode(series.tag("source_device")));
            let value = series.values.last().and_then(|row| row.get(1)?.as_str());
            if let (Some(record), Some(value)) = (record, value) {
                record.labels.insert(line::decode(series.tag("label")).into_owned(), line::decode(value).into_owned());
            }
        })
        .await
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
