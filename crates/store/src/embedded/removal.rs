//! Retention: removes old data in steps of some ten milliseconds, between which writes proceed.
//!
//! Age is that of the arrival. A sample's row holds how late it was stored (`late_s`), so it is removed when time +
//! lateness lies before the limit: never too early, up to a second too late. To find such rows without reading the
//! others, `arrivals` lists the hours of measured time that arrived in each hour before the limit; only those are
//! read, once, since the pairs are removed when their hour has passed. Live data thus cost one read of the rows that are
//! removed anyway, and a replay of 2013 is not read before its arrival is old.

use rusqlite::{Connection, OptionalExtension, params};
use spindle_core::Timestamp;

use super::error::EmbeddedError;
use super::insert::NS_PER_HOUR;
use crate::Removed;

/// Rows read in one step; about 20 ms.
const STEP_ROWS: i64 = 10_000;
/// Lookups in one step, for series that have nothing to remove.
const STEP_SEEKS: usize = 5_000;
/// Pages returned to the file system in one step.
const STEP_PAGES: i64 = 1_000;
/// Share of the file (one part in…) kept as free pages for the next writes.
const KEPT_FREE_SHARE: i64 = 10;

/// Removal in progress: limit, stage and result so far.
#[derive(Debug)]
pub(super) struct Removal {
    limit_ns: i64,
    stage: Stage,
    removed: Removed,
}

#[derive(Debug)]
enum Stage {
    Events,
    Plan,
    Samples(Cursor),
    Arrivals,
    Series { after: i64 },
    Devices { after: i64 },
    Pages,
    Done,
}

/// Position of the removal in `samples`: series by series, range by range.
#[derive(Debug)]
struct Cursor {
    /// From (inclusive) until (exclusive), in nanoseconds, ascending and disjoint.
    ranges: Vec<(i64, i64)>,
    series_id: i64,
    range: usize,
    from_ns: i64,
}

impl Removal {
    pub(super) fn new(limit: Timestamp) -> Self {
        Self { limit_ns: limit.as_ns(), stage: Stage::Events, removed: Removed::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    pub(super) fn removed(&self) -> Removed {
        self.removed
    }

    /// Returns whether the next step needs a transaction; returning pages makes its own.
    pub(super) fn needs_transaction(&self) -> bool {
        !matches!(self.stage, Stage::Pages)
    }

    /// Returns whether the next step may remove cached rows.
    pub(super) fn invalidates_caches(&self) -> bool {
        matches!(self.stage, Stage::Arrivals | Stage::Series { .. } | Stage::Devices { .. })
    }

    /// Performs one step. After an error the removal is unusable: start a new one.
    pub(super) fn step(&mut self, connection: &Connection) -> Result<(), EmbeddedError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = match stage {
            Stage::Events => self.remove_events(connection)?,
            Stage::Plan => self.plan(connection)?,
            Stage::Samples(cursor) => self.remove_samples(connection, cursor)?,
            Stage::Arrivals => self.forget_arrivals(connection)?,
            Stage::Series { after } => self.remove_series(connection, after)?,
            Stage::Devices { after } => self.remove_devices(connection, after)?,
            Stage::Pages => return_pages(connection)?,
            Stage::Done => Stage::Done,
        };
        Ok(())
    }

    fn remove_events(&mut self, connection: &Connection) -> Result<Stage, EmbeddedError> {
        let n_events = connection
            .prepare_cached("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE received_ns < ?1 LIMIT ?2)")?
            .execute(params![self.limit_ns, STEP_ROWS])?;
        self.removed.n_events += n_events as u64;
        Ok(if (n_events as i64) < STEP_ROWS { Stage::Plan } else { Stage::Events })
    }

    fn plan(&self, connection: &Connection) -> Result<Stage, EmbeddedError> {
        Ok(match Cursor::start(self.arrived_ranges(connection)?) {
            Some(cursor) => Stage::Samples(cursor),
            None => Stage::Arrivals,
        })
    }

    /// Returns the ranges of measured time of which something was stored before the limit.
    fn arrived_ranges(&self, connection: &Connection) -> Result<Vec<(i64, i64)>, EmbeddedError> {
        let mut select = connection.prepare_cached(
            "SELECT DISTINCT measured_hour FROM arrivals WHERE stored_hour <= ?1 ORDER BY measured_hour",
        )?;
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        let mut rows = select.query([self.limit_ns.div_euclid(NS_PER_HOUR)])?;
        while let Some(row) = rows.next()? {
            let hour: i64 = row.get(0)?;
            // At both ends of the range of time the hour is truncated. The very last nanosecond is kept.
            let from = hour.saturating_mul(NS_PER_HOUR);
            let until = (hour + 1).saturating_mul(NS_PER_HOUR);
            match ranges.last_mut() {
                Some(last) if last.1 == from => last.1 = until,
                _ => ranges.push((from, until)),
            }
        }
        Ok(ranges)
    }

    fn remove_samples(&mut self, connection: &Connection, mut cursor: Cursor) -> Result<Stage, EmbeddedError> {
        let mut next_series = connection.prepare_cached("SELECT id FROM series WHERE id >= ?1 ORDER BY id LIMIT 1")?;
        let mut far_row = connection.prepare_cached(
            "SELECT time_ns FROM samples WHERE series_id = ?1 AND time_ns >= ?2 AND time_ns < ?3
             ORDER BY time_ns LIMIT 1 OFFSET ?4",
        )?;
        let mut delete = connection.prepare_cached(
            "DELETE FROM samples WHERE series_id = ?1 AND time_ns >= ?2 AND time_ns < ?3
             AND time_ns + late_s * 1000000000 < ?4",
        )?;
        let mut n_removed = 0_u64;
        let mut more = true;
        for _ in 0..STEP_SEEKS {
            let series: Option<i64> = next_series.query_row([cursor.series_id], |row| row.get(0)).optional()?;
            let Some(series_id) = series else {
                more = false;
                break;
            };
            cursor.enter(series_id);
            let (from_ns, until_ns) = cursor.rest();
            let far: Option<i64> =
                far_row.query_row(params![series_id, from_ns, until_ns, STEP_ROWS], |row| row.get(0)).optional()?;
            let end_ns = far.unwrap_or(until_ns);
            n_removed += delete.execute(params![series_id, from_ns, end_ns, self.limit_ns])? as u64;
            match far {
                Some(_) => cursor.from_ns = end_ns,
                None => cursor.advance(),
            }
            if far.is_some() || n_removed >= STEP_ROWS as u64 {
                break;
            }
        }
        self.removed.n_metrics += n_removed;
        Ok(if more { Stage::Samples(cursor) } else { Stage::Arrivals })
    }

    /// Forgets the hours of arrival that ended before the limit: their samples have been read.
    fn forget_arrivals(&self, connection: &Connection) -> Result<Stage, EmbeddedError> {
        connection
            .prepare_cached("DELETE FROM arrivals WHERE stored_hour < ?1")?
            .execute([self.limit_ns.div_euclid(NS_PER_HOUR)])?;
        Ok(Stage::Series { after: 0 })
    }

    fn remove_series(&mut self, connection: &Connection, after: i64) -> Result<Stage, EmbeddedError> {
        let Some(last) = nth_after(connection, "series", after)? else { return Ok(Stage::Devices { after: 0 }) };
        let n_removed = connection
            .prepare_cached(
                "DELETE FROM series WHERE id > ?1 AND id <= ?2
                 AND NOT EXISTS (SELECT 1 FROM samples WHERE series_id = series.id)",
            )?
            .execute([after, last])?;
        self.removed.n_series += n_removed as u64;
        Ok(Stage::Series { after: last })
    }

    fn remove_devices(&mut self, connection: &Connection, after: i64) -> Result<Stage, EmbeddedError> {
        let Some(last) = nth_after(connection, "devices", after)? else { return Ok(Stage::Pages) };
        let n_removed = connection
            .prepare_cached(
                "DELETE FROM devices WHERE id > ?1 AND id <= ?2
                 AND NOT EXISTS (SELECT 1 FROM series WHERE device_id = devices.id)
                 AND NOT EXISTS (SELECT 1 FROM events WHERE device_id = devices.id)",
            )?
            .execute([after, last])?;
        self.removed.n_devices += n_removed as u64;
        if n_removed > 0 {
            connection
                .prepare_cached(
                    "DELETE FROM last_arrivals WHERE device_id > ?1 AND device_id <= ?2
                     AND NOT EXISTS (SELECT 1 FROM devices WHERE id = device_id)",
                )?
                .execute([after, last])?;
        }
        Ok(Stage::Devices { after: last })
    }
}

impl Cursor {
    /// Starts before the first series; `None` if there is no range to read.
    fn start(ranges: Vec<(i64, i64)>) -> Option<Self> {
        let from_ns = ranges.first()?.0;
        Some(Self { ranges, series_id: 0, range: 0, from_ns })
    }

    /// Continues with a series: the current one, or, if that is gone, the start of the next.
    fn enter(&mut self, series_id: i64) {
        if self.series_id != series_id {
            (self.series_id, self.range, self.from_ns) = (series_id, 0, self.ranges[0].0);
        }
    }

    /// Returns the rest of the current range.
    fn rest(&self) -> (i64, i64) {
        (self.from_ns, self.ranges[self.range].1)
    }

    /// Moves to the next range, or to the next series.
    fn advance(&mut self) {
        match self.ranges.get(self.range + 1) {
            Some(next) => (self.range, self.from_ns) = (self.range + 1, next.0),
            None => self.enter(self.series_id + 1),
        }
    }
}

/// Returns the last id of the next step in a table; `None` if there is none after `after`.
fn nth_after(connection: &Connection, table: &'static str, after: i64) -> Result<Option<i64>, EmbeddedError> {
    let sql = format!("SELECT max(id) FROM (SELECT id FROM {table} WHERE id > ?1 ORDER BY id LIMIT ?2)");
    Ok(connection.prepare_cached(&sql)?.query_row(params![after, STEP_SEEKS as i64], |row| row.get(0))?)
}

/// Shortens the file if much of it is free.
fn return_pages(connection: &Connection) -> Result<Stage, EmbeddedError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let n_excess = number("freelist_count")? - number("page_count")? / KEPT_FREE_SHARE;
    if n_excess <= 0 {
        return Ok(Stage::Done);
    }
    // Each row of the result is a page returned, so the result must be read to its end.
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({})", n_excess.min(STEP_PAGES)))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(if n_excess > STEP_PAGES { Stage::Pages } else { Stage::Done })
}
