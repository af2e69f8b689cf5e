//! Queries for devices and their series. Each is a seek in an index, never a scan of all values (a test checks
//! SQLite's plans).

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use spindle_core::alias::Alias;
use spindle_core::buckets::{Buckets, bucket_start};
use spindle_core::records::{Arrival, Bucket, DeviceRecord, LatestSample, Sample, Window};
use spindle_core::{DeviceName, Labels, MetricType, Timestamp};

use super::device::labels_from_sql;
use crate::FirstAndLast;

/// Device with the first and last time of its points: two seeks per series and two for events.
macro_rules! device_sql {
    ($rest:literal) => {
        concat!(
            "SELECT d.name, d.labels,
                (SELECT min((SELECT min(time_ns) FROM samples WHERE series_id = s.id))
                     FROM series s WHERE s.device_id = d.id),
                (SELECT max((SELECT max(time_ns) FROM samples WHERE series_id = s.id))
                     FROM series s WHERE s.device_id = d.id),
                (SELECT min(time_ns) FROM events WHERE device_id = d.id),
                (SELECT max(time_ns) FROM events WHERE device_id = d.id)
             FROM devices d ",
            $rest
        )
    };
}

const DEVICE_SQL: &str = device_sql!("WHERE d.name = ?1");
const DEVICES_SQL: &str = device_sql!("WHERE d.name > ?1 ORDER BY d.name LIMIT ?2");

const LATEST_SQL: &str = "
    SELECT s.metric_type, v.time_ns, v.value
    FROM devices d
    JOIN series s ON s.device_id = d.id
    JOIN samples v ON v.series_id = s.id AND v.time_ns =
        (SELECT max(time_ns) FROM samples WHERE series_id = s.id AND time_ns >= ?2 AND time_ns < ?3)
    WHERE d.name = ?1
    ORDER BY s.metric_type";

const ARRIVAL_SQL: &str = "
    SELECT a.received_ns, a.measured_ns FROM devices d JOIN last_arrivals a ON a.device_id = d.id
    WHERE d.name = ?1 AND a.received_ns >= ?2 AND a.received_ns < ?3";

const RANGE_SQL: &str = "
    SELECT time_ns, value FROM samples
    WHERE series_id = ?1 AND time_ns >= ?2 AND time_ns < ?3 ORDER BY time_ns LIMIT ?4";

const LAST_SQL: &str = "
    SELECT time_ns, value FROM samples
    WHERE series_id = ?1 AND time_ns >= ?2 AND time_ns < ?3 ORDER BY time_ns DESC LIMIT 1";

/// Reads the list of series, which is short beside their values.
const SERIES_OF_METRIC_SQL: &str = "
    SELECT s.id, d.name FROM series s JOIN devices d ON d.id = s.device_id WHERE s.metric_type = ?1 ORDER BY d.name";

const COUNT_SQL: &str = "SELECT count(*) FROM samples WHERE series_id = ?1 AND time_ns >= ?2 AND time_ns < ?3";

/// `Store::devices`; `after` may be empty.
pub(super) fn devices(connection: &Connection, after: &str, limit: usize) -> rusqlite::Result<Vec<DeviceRecord>> {
    let mut select = connection.prepare_cached(DEVICES_SQL)?;
    let rows = select.query_map(params![after, sql_limit(limit)], device_record)?;
    rows.filter_map(Result::transpose).collect()
}

/// `Store::device`.
pub(super) fn device(connection: &Connection, name: &DeviceName) -> rusqlite::Result<Option<DeviceRecord>> {
    let mut select = connection.prepare_cached(DEVICE_SQL)?;
    Ok(select.query_row([name.as_str()], device_record).optional()?.flatten())
}

/// `Store::devices_at`. Reads the table of devices, which has a row per device and no values.
pub(super) fn devices_at(connection: &Connection, alias: &Alias) -> rusqlite::Result<Vec<DeviceName>> {
    let mut select = connection.prepare_cached("SELECT name, labels FROM devices ORDER BY name")?;
    let rows = select.query_map([], |row| Ok((name_from_sql(row, 0, DeviceName::new)?, labels_from_sql(row, 1)?)))?;
    let matching = rows.filter_map(|row| match row {
        Ok((name, labels)) => alias.matches(&labels).then_some(Ok(name)),
        Err(error) => Some(Err(error)),
    });
    matching.collect()
}

/// `Store::labels` for one device.
pub(super) fn labels(connection: &Connection, device: &DeviceName) -> rusqlite::Result<Labels> {
    let mut select = connection.prepare_cached("SELECT labels FROM devices WHERE name = ?1")?;
    let found = select.query_row([device.as_str()], |row| labels_from_sql(row, 0)).optional()?;
    Ok(found.unwrap_or_default())
}

/// `Store::last_arrivals` for one device.
pub(super) fn last_arrival(
    connection: &Connection,
    device: &DeviceName,
    window: Window,
) -> rusqlite::Result<Option<Arrival>> {
    let mut select = connection.prepare_cached(ARRIVAL_SQL)?;
    let bounds = params![device.as_str(), window.from.as_ns(), window.until.as_ns()];
    let arrival = |row: &Row<'_>| Ok(Arrival { received: time_from_sql(row, 0)?, measured: time_from_sql(row, 1)? });
    select.query_row(bounds, arrival).optional()
}

/// `Store::latest`.
pub(super) fn latest(
    connection: &Connection,
    device: &DeviceName,
    window: Window,
) -> rusqlite::Result<Vec<LatestSample>> {
    let mut select = connection.prepare_cached(LATEST_SQL)?;
    let rows = select.query_map(params![device.as_str(), window.from.as_ns(), window.until.as_ns()], |row| {
        let metric_type = name_from_sql(row, 0, MetricType::new)?;
        Ok(LatestSample { metric_type, time: time_from_sql(row, 1)?, value: row.get(2)? })
    })?;
    rows.collect()
}

/// `Store::range`.
pub(super) fn range(
    connection: &Connection,
    device: &DeviceName,
    metric: &MetricType,
    window: Window,
    limit: usize,
) -> rusqlite::Result<Vec<Sample>> {
    let Some(series_id) = series_id(connection, device, metric)? else { return Ok(Vec::new()) };
    let mut select = connection.prepare_cached(RANGE_SQL)?;
    let bounds = params![series_id, window.from.as_ns(), window.until.as_ns(), sql_limit(limit)];
    select.query_map(bounds, sample)?.collect()
}

/// `Store::first_and_last`.
pub(super) fn first_and_last(
    connection: &Connection,
    device: &DeviceName,
    metric: &MetricType,
    window: Window,
) -> rusqlite::Result<Option<FirstAndLast>> {
    let Some(series_id) = series_id(connection, device, metric)? else { return Ok(None) };
    let bounds = [series_id, window.from.as_ns(), window.until.as_ns()];
    let [series_id, from, until] = bounds;
    let first = connection.prepare_cached(RANGE_SQL)?.query_row([series_id, from, until, 1], sample).optional()?;
    let last = connection.prepare_cached(LAST_SQL)?.query_row(bounds, sample).optional()?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
    let count: i64 = connection.prepare_cached(COUNT_SQL)?.query_row(bounds, |row| row.get(0))?;
    Ok(Some((first, last, count.unsigned_abs())))
}

/// `Store::buckets`.
pub(super) fn buckets(
    connection: &Connection,
    device: &DeviceName,
    metric: &MetricType,
    window: Window,
    bucket: Duration,
) -> rusqlite::Result<Vec<Bucket>> {
    let Some(series_id) = series_id(connection, device, metric)? else { return Ok(Vec::new()) };
    let mut select = connection.prepare_cached(RANGE_SQL)?;
    let bounds = params![series_id, window.from.as_ns(), window.until.as_ns(), i64::MAX];
    let mut buckets = Buckets::new(bucket);
    for row in select.query_map(bounds, sample)? {
        let sample = row?;
        buckets.add(sample.time, sample.value);
    }
    Ok(buckets.finish())
}

/// `Store::last_of_buckets`.
pub(super) fn last_of_buckets(
    connection: &Connection,
    metric: &MetricType,
    window: Window,
    bucket: Duration,
) -> rusqlite::Result<Vec<(DeviceName, Vec<Sample>)>> {
    let mut devices = connection.prepare_cached(SERIES_OF_METRIC_SQL)?;
    let mut last = connection.prepare_cached(LAST_SQL)?;
    let named = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
    let mut found = Vec::new();
    for row in devices.query_map([metric.as_str()], named)? {
        let (series_id, name) = row?;
        let mut samples = Vec::new();
        // From the newest on: the seek for the last value before a time also skips empty buckets.
        let mut until = window.until;
        while until > window.from {
            let newest = last.query_row(params![series_id, window.from.as_ns(), until.as_ns()], sample).optional()?;
            let Some(newest) = newest else { break };
            let start = bucket_start(newest.time, bucket);
            samples.push(Sample { time: start, ..newest });
            until = start;
        }
        samples.reverse();
        if !samples.is_empty()
            && let Ok(name) = DeviceName::new(&name)
        {
            found.push((name, samples));
        }
    }
    Ok(found)
}

fn series_id(connection: &Connection, device: &DeviceName, metric: &MetricType) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT s.id FROM devices d JOIN series s ON s.device_id = d.id WHERE d.name = ?1 AND s.metric_type = ?2",
        )?
        .query_row([device.as_str(), metric.as_str()], |row| row.get(0))
        .optional()
}

fn sample(row: &Row<'_>) -> rusqlite::Result<Sample> {
    Ok(Sample { time: time_from_sql(row, 0)?, value: row.get(1)? })
}

/// Reads a device; `None` if a removal has taken its data and not yet the device itself.
fn device_record(row: &Row<'_>) -> rusqlite::Result<Option<DeviceRecord>> {
    let time = |column| row.get::<_, Option<i64>>(column);
    let first = [time(2)?, time(4)?].into_iter().flatten().min();
    let last = [time(3)?, time(5)?].into_iter().flatten().max();
    let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
    Ok(Some(DeviceRecord {
        source_device: name_from_sql(row, 0, DeviceName::new)?,
        labels: labels_from_sql(row, 1)?,
        first_seen: Timestamp::from_ns(first),
        last_seen: Timestamp::from_ns(last),
    }))
}

/// Converts a limit to SQLite's integers.
pub(super) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads an instant from a column.
pub(super) fn time_from_sql(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_ns)
}

/// Reads a name from a column.
pub(super) fn name_from_sql<T, E: std::error::Error + Send + Sync + 'static>(
    row: &Row<'_>,
    column: usize,
    make: fn(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    make(row.get_ref(column)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::schema::{memory_for_tests, plan_for_tests};

    #[test]
    fn every_query_seeks() {
        let connection = memory_for_tests();
        for sql in [DEVICE_SQL, DEVICES_SQL, ARRIVAL_SQL, LATEST_SQL, RANGE_SQL, LAST_SQL, COUNT_SQL] {
            let plan = plan_for_tests(&connection, sql);
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
    }
}
