//! Writes a batch to the tables, inside a transaction of the caller.
//!
//! The caches save a lookup per value. They mirror the database as it was last read, so they are cleared when a
//! transaction fails, when rows are removed, and when another connection has written.

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, params};
use spindle_core::{Batch, DeviceMetric, Event, Timestamp, device_labels};

use super::device::{KnownDevices, labels_to_sql};
use super::error::EmbeddedError;
use super::event_id;
use crate::Written;
use crate::known_arrivals::{KnownArrivals, newest_per_device};

const NS_PER_SECOND: i64 = 1_000_000_000;

/// Writes batches and caches devices, series and labels.
#[derive(Debug, Default)]
pub(super) struct Inserter {
    devices: KnownDevices,
    last_arrivals: KnownArrivals,
    /// `PRAGMA data_version`: changes when another connection has written.
    data_version: i64,
}

/// Row of `samples`.
struct SampleRow {
    device_id: i64,
    series_id: i64,
    time_ns: i64,
    value: f64,
    seq: Option<i64>,
    late_s: i64,
}

impl Inserter {
    /// Clears caches that may be stale; to be called at the start of every transaction.
    pub(super) fn refresh(&mut self, connection: &Connection) -> Result<(), EmbeddedError> {
        let version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if version != self.data_version {
            self.clear();
            self.data_version = version;
        }
        Ok(())
    }

    /// Clears the caches.
    pub(super) fn clear(&mut self) {
        self.devices.clear();
        self.last_arrivals.clear();
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// [`EmbeddedError::Rejected`] if a value is not finite. The transaction must then be rolled back, as after any
    /// other error.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        batch: &Batch,
        received: Timestamp,
    ) -> Result<Written, EmbeddedError> {
        let mut written = Written::default();
        let mut rows = self.rows(connection, &batch.metrics, received)?;
        // In key order each page is visited once. The sort is stable, so of two with one identity the later wins.
        rows.sort_by_key(|row| (row.series_id, row.time_ns));
        Self::insert_rows(connection, &mut rows, &mut written)?;
        self.record_last_arrivals(connection, &rows, received)?;
        self.insert_events(connection, &batch.events, received, &mut written)?;
        Ok(written)
    }

    fn rows(
        &mut self,
        connection: &Connection,
        metrics: &[DeviceMetric],
        received: Timestamp,
    ) -> Result<Vec<SampleRow>, EmbeddedError> {
        let mut rows = Vec::with_capacity(metrics.len());
        for metric in metrics {
            if !metric.value.is_finite() {
                let problem =
                    format!("{} of {} is {}, not finite", metric.metric_type, metric.source_device, metric.value);
                return Err(EmbeddedError::Rejected(problem));
            }
            let device_id = self.devices.device_id(connection, &metric.source_device)?;
            self.devices.merge_labels(connection, device_id, metric.labels.as_deref())?;
            let time_ns = metric.timestamp.as_ns();
            rows.push(SampleRow {
                device_id,
                series_id: self.devices.series_id(connection, device_id, &metric.metric_type)?,
                time_ns,
                value: metric.value,
                seq: metric.seq.map(u64::cast_signed),
                late_s: late_seconds(time_ns, received.as_ns()),
            });
        }
        Ok(rows)
    }

    /// Inserts rows, and keeps in `rows` those that changed the table.
    fn insert_rows(
        connection: &Connection,
        rows: &mut Vec<SampleRow>,
        written: &mut Written,
    ) -> Result<(), EmbeddedError> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO samples (series_id, time_ns, value, seq, late_s) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (series_id, time_ns) DO NOTHING",
        )?;
        let mut n_kept = 0;
        for index in 0..rows.len() {
            let row = &rows[index];
            let n_inserted =
                insert.execute(params![row.series_id, row.time_ns, to_sql(row.value), row.seq, row.late_s])?;
            if n_inserted == 1 {
                written.n_metrics += 1;
            } else if replace(connection, row)? {
                written.n_metrics_replaced += 1;
            } else {
                written.n_metrics_known += 1;
                continue;
            }
            rows.swap(n_kept, index);
            n_kept += 1;
        }
        rows.truncate(n_kept);
        Ok(())
    }

    fn record_last_arrivals(
        &mut self,
        connection: &Connection,
        stored: &[SampleRow],
        received: Timestamp,
    ) -> Result<(), EmbeddedError> {
        let mut upsert = connection.prepare_cached(
            "INSERT INTO last_arrivals (device_id, received_ns, measured_ns) VALUES (?1, ?2, ?3)
             ON CONFLICT (device_id) DO UPDATE SET received_ns = ?2, measured_ns = ?3",
        )?;
        let values = stored.iter().map(|row| (row.device_id, Timestamp::from_ns(row.time_ns)));
        for (device_id, arrival) in newest_per_device(values, received) {
            if self.last_arrivals.is_outdated(&device_id, arrival) {
                upsert.execute(params![device_id, received.as_ns(), arrival.measured.as_ns()])?;
                self.last_arrivals.record(&device_id, arrival);
            }
        }
        Ok(())
    }

    fn insert_events(
        &mut self,
        connection: &Connection,
        events: &[Event],
        received: Timestamp,
        written: &mut Written,
    ) -> Result<(), EmbeddedError> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO events
                 (event_id, device_id, event_type, time_ns, received_ns, criticality, message, seq, labels)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (time_ns, event_id, device_id, event_type) DO NOTHING",
        )?;
        for event in events {
            let device_id = self.devices.device_id(connection, &event.source_device)?;
            self.devices.merge_labels(connection, device_id, device_labels::of_event(event))?;
            let n_inserted = insert_event(&mut insert, event, device_id, received)?;
            written.n_events += n_inserted;
            written.n_events_known += 1 - n_inserted;
        }
        Ok(())
    }
}

/// Replaces the row with the same identity, unless both are equal to the last bit (then nothing is written, and the
/// sample keeps its age). A row without a sequence number keeps the stored one, which would else look lost. Returns
/// whether it replaced the row.
fn replace(connection: &Connection, row: &SampleRow) -> Result<bool, EmbeddedError> {
    let (value, seq): (f64, Option<i64>) = connection
        .prepare_cached("SELECT value, seq FROM samples WHERE series_id = ?1 AND time_ns = ?2")?
        .query_row(params![row.series_id, row.time_ns], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let new_seq = row.seq.or(seq);
    if value.to_bits() == row.value.to_bits() && seq == new_seq {
        return Ok(false);
    }
    if let Some(lost) = seq.filter(|_| seq != new_seq) {
        record_replaced(connection, row, lost)?;
    }
    connection
        .prepare_cached("UPDATE samples SET value = ?3, seq = ?4, late_s = ?5 WHERE series_id = ?1 AND time_ns = ?2")?
        .execute(params![row.series_id, row.time_ns, to_sql(row.value), new_seq, row.late_s])?;
    Ok(true)
}

fn record_replaced(connection: &Connection, row: &SampleRow, seq: i64) -> Result<(), EmbeddedError> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO replaced (device_id, time_ns, seq)
             SELECT device_id, ?2, ?3 FROM series WHERE id = ?1",
        )?
        .execute(params![row.series_id, row.time_ns, seq])?;
    Ok(())
}

fn insert_event(
    insert: &mut CachedStatement<'_>,
    event: &Event,
    device_id: i64,
    received: Timestamp,
) -> Result<usize, EmbeddedError> {
    let n_inserted = insert.execute(params![
        event_id::to_sql(&event.id),
        device_id,
        event.event_type.as_str(),
        event.timestamp.as_ns(),
        received.as_ns(),
        event.criticality.level(),
        event.event_message.as_deref(),
        event.seq.map(u64::cast_signed),
        event.labels.as_deref().map(labels_to_sql),
    ])?;
    Ok(n_inserted)
}

/// Returns the seconds from measuring to storing, rounded up; negative if the device's clock is ahead of ours.
fn late_seconds(time_ns: i64, received_ns: i64) -> i64 {
    let early_ns = i128::from(time_ns) - i128::from(received_ns);
    let late_s = -early_ns.div_euclid(i128::from(NS_PER_SECOND));
    i64::try_from(late_s).expect("two 64-bit nanosecond instants are less than 2^35 seconds apart")
}

/// Converts a whole number to an integer, which is shorter on disk, as long as that is exact.
fn to_sql(value: f64) -> Value {
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    let is_negative_zero = value == 0.0 && value.is_sign_negative();
    if value.fract() == 0.0 && value.abs() < MAX_EXACT && !is_negative_zero {
        Value::Integer(value as i64)
    } else {
        Value::Real(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_rounds_up_and_spans_the_whole_range() {
        let check = |time_ns, received_ns, expect| assert_eq!(late_seconds(time_ns, received_ns), expect);
        check(0, 0, 0);
        check(0, 1, 1);
        check(0, NS_PER_SECOND, 1);
        check(1, 0, 0);
        check(NS_PER_SECOND, 0, -1);
        check(i64::MIN, i64::MAX, 18_446_744_074);
        check(i64::MAX, i64::MIN, -18_446_744_073);
    }

    #[test]
    fn only_exact_whole_numbers_become_integers() {
        assert_eq!(to_sql(42.0), Value::Integer(42));
        assert_eq!(to_sql(-9_007_199_254_740_991.0), Value::Integer(-9_007_199_254_740_991));
        for value in [-0.0, 0.5, 1e16, f64::MAX, f64::from_bits(1)] {
            assert_eq!(to_sql(value), Value::Real(value));
        }
    }
}
