//! Index of the devices and their labels, whose size depends on their number and on no history.
//!
//! Each session notes a device at the end of the present period. When a period begins, a writer carries all devices and
//! labels into it and marks from which time on the points name all of them: readers begin there. A later marker only
//! moves that time, so several writers may do this, and without a marker everything is read.

use std::collections::BTreeMap;

use serde_json::Value;
use spindle_core::schema::{DEVICE_LABELS, DEVICES, INDEXES};
use spindle_core::{DeviceName, Timestamp};

use super::chunk::Chunk;
use super::index_marker::mark;
use super::line::{self, MAX_TIME, MIN_TIME};
use super::noted_devices::{Period, REFRESH_NS};
use super::send::{SMALL_CHUNK_LINES, send_own};
use super::session::Influx;
use super::write_devices::note_times;
use crate::StoreError;

/// Part of a period by which a marker is renewed: the retention takes old ones.
const MARKS_PER_PERIOD: i64 = 4;

/// Oldest and newest time of each device's data, in nanoseconds.
pub(super) type Lives = BTreeMap<DeviceName, (i64, i64)>;

/// Newest value of a device's label, with the time of its point.
pub(super) struct StoredLabel {
    pub(super) device: String,
    pub(super) key: String,
    pub(super) value: String,
    time: i64,
}

/// Returns the time from which on the points of the index name all devices and labels.
pub(super) async fn devices_from(influx: &Influx) -> Result<i64, StoreError> {
    let found = newest_marker(influx, "devices_from_ns").await?;
    influx.set_index_marker(found.map(|(time, _)| time));
    Ok(found.map_or(MIN_TIME, |(_, from)| from))
}

/// Returns time and value of a field of the newest marker. A session looks no further back than to the last one it saw.
pub(super) async fn newest_marker(influx: &Influx, field: &str) -> Result<Option<(i64, i64)>, StoreError> {
    for since in influx.index_marker().into_iter().chain([MIN_TIME]) {
        let found = newest(influx, INDEXES.name, field, (since, MAX_TIME)).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Reads the index from a time on; `only` restricts it to some devices.
pub(super) async fn lives(influx: &Influx, from: i64, only: &str) -> Result<Lives, StoreError> {
    let query = |from, until| {
        format!(
            "SELECT min(first_ns), max(last_ns) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device",
            DEVICES.name
        )
    };
    let mut lives = Lives::new();
    influx
        .select(from, MAX_TIME, query, |series| {
            let Ok(name) = DeviceName::new(&line::decode(series.tag("source_device"))) else { return };
            for row in &series.values {
                let time = |column: usize| row.get(column)?.as_i64();
                let (Some(first), Some(last)) = (time(1), time(2)) else { continue };
                let life = lives.entry(name.clone()).or_insert((first, last));
                *life = (life.0.min(first), life.1.max(last));
            }
        })
        .await?;
    Ok(lives)
}

/// Reads the newest value of each label from a time on; `only` restricts them.
pub(super) async fn labels(influx: &Influx, from: i64, only: &str) -> Result<Vec<StoredLabel>, StoreError> {
    let query = |from, until| {
        format!(
            "SELECT last(value) FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, label",
            DEVICE_LABELS.name
        )
    };
    let mut found: BTreeMap<(String, String), (i64, String)> = BTreeMap::new();
    influx
        .select(from, MAX_TIME, query, |series| {
            let newest =
                |row: &Vec<Value>| Some((row.first()?.as_i64()?, line::decode(row.get(1)?.as_str()?).into_owned()));
            if let Some(newest) = series.values.last().and_then(newest) {
                let [device, key] = ["source_device", "label"].map(|tag| line::decode(series.tag(tag)).into_owned());
                found.insert((device, key), newest);
            }
        })
        .await?;
    let label = |((device, key), (time, value))| StoredLabel { device, key, value, time };
    Ok(found.into_iter().map(label).collect())
}

/// Carries the devices and labels into the present period, once; marks the indexes with their version.
pub(super) async fn carry(influx: &Influx, now: Timestamp, version: i64, is_marked: bool) -> Result<(), StoreError> {
    let has_files = influx.ready().await?.has_files();
    let n_forgotten = influx.n_forgotten();
    let period = Period::of(influx.retention(), has_files);
    let target = period.carried_from(now);
    let marker = newest_marker(influx, "devices_from_ns").await?;
    // What the server has lost since may be what was carried: it is carried again from all that is left.
    let has_lost = influx.noted_devices.lock().await.has_lost(n_forgotten);
    let mut from = marker.map_or(MIN_TIME, |(_, from)| from);
    if from < target || has_lost {
        let source = if has_lost { MIN_TIME } else { from };
        if !carry_from(influx, source, target, now).await? {
            return Ok(());
        }
        // A reader must not see the marker before the points.
        tokio::time::sleep(influx.read_lag()).await;
        from = target;
    } else if is_marked
        && marker.is_some_and(|(time, _)| now.as_ns().abs_diff(time) < (period.ns() / MARKS_PER_PERIOD).unsigned_abs())
    {
        return Ok(());
    }
    mark(influx, version, Some(from), now).await?;
    influx.noted_devices.lock().await.set_carried(n_forgotten);
    Ok(())
}

/// Writes what the index holds from `source` on to points from `target` on. Returns `false` if the server refused some.
async fn carry_from(influx: &Influx, source: i64, target: i64, now: Timestamp) -> Result<bool, StoreError> {
    let oldest = influx.retention().map_or(i64::MIN, |retention| now.minus(retention).as_ns());
    let mut lives = lives(influx, source, "").await?;
    lives.retain(|_, (_, last)| last.saturating_add(REFRESH_NS) >= oldest);
    let mut chunks = Vec::new();
    for StoredLabel { device, key, value, time } in labels(influx, source, "").await? {
        let is_left = oldest == i64::MIN || lives.contains_key(&*device);
        if time < target && is_left {
            let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
            // Older than any that is written now: a new value stays the newest.
            line::label(&device, &key, &value, Timestamp::from_ns(target), &mut chunk.lines);
            chunk.assign((), (&device, &key, target));
        }
    }
    send_own(influx, chunks, &influx.event_limit).await?;
    let ends = lives.iter().flat_map(|(name, (first, last))| [(name.as_str(), *first), (name.as_str(), *last)]);
    let noted = note_times(influx, ends, now, 0, &influx.event_limit).await?;
    Ok(!noted.is_any_refused)
}

/// Returns time and value of the newest point of a field in a range.
pub(super) async fn newest(
    influx: &Influx,
    measurement: &str,
    field: &str,
    (from, until): (i64, i64),
) -> Result<Option<(i64, i64)>, StoreError> {
    let query =
        |from, until| format!("SELECT last({field}) FROM {measurement} WHERE time >= {from} AND time <= {until}");
    let mut newest = None;
    influx
        .select(from, until, query, |series| {
            let pair = |row: &Vec<Value>| Some((row.first()?.as_i64()?, row.get(1)?.as_i64()?));
            newest = series.values.iter().rev().find_map(pair).or(newest);
        })
        .await?;
    Ok(newest)
}
