//! Retention: removing what is old, in steps of some ten milliseconds that writes can go between.
//!
//! Old by arrival: a sample's row says how late it was stored (`late_s`), so it is removed when time + lateness
//! lies before the limit: never too early, up to a second too late. To find such rows without reading the
//! others, `arrivals` says which hours of measured time came in during hours before the limit; only those
//! are looked at, once, since the pairs go when their hour has gone. Live data thus cost one look at what is
//! removed anyway, and a replay of 2013 is not looked at before its arrival is old.

use rusqlite::{Connection, OptionalExtension, params};
use spindle_core::Timestamp;
use spindle_core::records::TimeBasis;

use super::fault::Fault;
use super::insert::NS_PER_HOUR;
use crate::Removed;

/// Rows looked at in one step; about 20 ms.
const STEP_ROWS: i64 = 10_000;
/// Look-ups in one step, for series that have nothing to remove.
const STEP_SEEKS: usize = 5_000;
/// Pages handed back to the file system in one step.
const STEP_PAGES: i64 = 1_000;
/// Free pages of this share of the file (one part in…) are kept: the next writes want them.
const KEPT_FREE_SHARE: i64 = 10;

/// A removal under way: what to remove, how far it has come, what it has removed.
#[derive(Debug)]
pub(super) struct Removal {
    limit_ns: i64,
    by: TimeBasis,
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

/// Where in `samples` the removal stands: each series in turn, each range of time in turn.
#[derive(Debug)]
struct Cursor {
    /// From (inclusive) until (exclusive), in nanoseconds, ascending and apart.
    ranges: Vec<(i64, i64)>,
    series_id: i64,
    range: usize,
    from_ns: i64,
}

impl Removal {
    pub(super) fn new(limit: Timestamp, by: TimeBasis) -> Self {
        Self { limit_ns: limit.as_ns(), by, stage: Stage::Events, removed: Removed::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    pub(super) fn removed(&self) -> Removed {
        self.removed
    }

    /// Handing pages back brings its own transactions.
    pub(super) fn wants_transaction(&self) -> bool {
        !matches!(self.stage, Stage::Pages)
    }

    /// Whether the next step removes rows that the writer keeps in its caches.
    pub(super) fn takes_what_is_cached(&self) -> bool {
        matches!(self.stage, Stage::Arrivals | Stage::Series { .. } | Stage::Devices { .. })
    }

    /// Takes one step. After a fault the removal is of no more use: start a new one.
    pub(super) fn step(&mut self, connection: &Connection) -> Result<(), Fault> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = match stage {
            Stage::Events => self.remove_events(connection)?,
            Stage::Plan => self.plan(connection)?,
            Stage::Samples(cursor) => self.remove_samples(connection, cursor)?,
            Stage::Arrivals => self.forget_arrivals(connection)?,
            Stage::Series { after } => self.remove_series(connection, after)?,
            Stage::Devices { after } => self.remove_devices(connection, after)?,
            Stage::Pages => hand_back_pages(connection)?,
            Stage::Done => Stage::Done,
        };
        Ok(())
    }

    fn remove_events(&mut self, connection: &Connection) -> Result<Stage, Fault> {
        let old = match self.by {
            TimeBasis::Happened => "time_ns < ?1",
            TimeBasis::Received => "received_ns < ?1",
            TimeBasis::Either => "(time_ns < ?1 OR received_ns < ?1)",
        };
        let sql = format!("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE {old} LIMIT ?2)");
        let n_events = connection.prepare_cached(&sql)?.execute(params![self.limit_ns, STEP_ROWS])? as i64;
        self.removed.n_events += n_events.unsigned_abs();
        subtract(connection, "events", n_events)?;
        Ok(if n_events < STEP_ROWS { Stage::Plan } else { Stage::Events })
    }

    fn plan(&self, connection: &Connection) -> Result<Stage, Fault> {
        let by_time = (i64::MIN, self.limit_ns);
        let ranges = match self.by {
            TimeBasis::Happened => vec![by_time],
            TimeBasis::Received => self.arrived_ranges(connection)?,
            TimeBasis::Either => {
                let later = self.arrived_ranges(connection)?.into_iter().filter(|range| range.1 > self.limit_ns);
                let later = later.map(|range| (range.0.max(self.limit_ns), range.1));
                std::iter::once(by_time).chain(later).collect()
            }
        };
        Ok(match Cursor::start(ranges) {
            Some(cursor) => Stage::Samples(cursor),
            None => Stage::Arrivals,
        })
    }

    /// The stretches of measured time of which something was stored before the limit.
    fn arrived_ranges(&self, connection: &Connection) -> Result<Vec<(i64, i64)>, Fault> {
        let mut select = connection.prepare_cached(
            "SELECT DISTINCT measured_hour FROM arrivals WHERE stored_hour <= ?1 ORDER BY measured_hour",
        )?;
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        let mut rows = select.query([self.limit_ns.div_euclid(NS_PER_HOUR)])?;
        while let Some(row) = rows.next()? {
            let hour: i64 = row.get(0)?;
            // At both ends of the range the hour is cut short by the end. The very last nanosecond stays.
            let from = hour.saturating_mul(NS_PER_HOUR);
            let until = (hour + 1).saturating_mul(NS_PER_HOUR);
            match ranges.last_mut() {
                Some(last) if last.1 == from => last.1 = until,
                _ => ranges.push((from, until)),
            }
        }
        Ok(ranges)
    }

    fn remove_samples(&mut self, connection: &Connection, mut cursor: Cursor) -> Result<Stage, Fault> {
        let old = match self.by {
            TimeBasis::Happened => "time_ns < ?4",
            TimeBasis::Received => "time_ns + late_s * 1000000000 < ?4",
            TimeBasis::Either => "(time_ns < ?4 OR time_ns + late_s * 1000000000 < ?4)",
        };
        let mut next_series = connection.prepare_cached("SELECT id FROM series WHERE id >= ?1 ORDER BY id LIMIT 1")?;
        let mut far_row = connection.prepare_cached(
            "SELECT time_ns FROM samples WHERE series_id = ?1 AND time_ns >= ?2 AND time_ns < ?3
             ORDER BY time_ns LIMIT 1 OFFSET ?4",
        )?;
        let mut delete = connection.prepare_cached(&format!(
            "DELETE FROM samples WHERE series_id = ?1 AND time_ns >= ?2 AND time_ns < ?3 AND {old}"
        ))?;
        let mut n_removed = 0_i64;
        let mut more = true;
        for _ in 0..STEP_SEEKS {
            let series: Option<i64> = next_series.query_row([cursor.series_id], |row| row.get(0)).optional()?;
            let Some(series_id) = series else {
                more = false;
                break;
            };
            cursor.enter(series_id);
            let (from_ns, until_ns) = cursor.stretch();
            let far: Option<i64> =
                far_row.query_row(params![series_id, from_ns, until_ns, STEP_ROWS], |row| row.get(0)).optional()?;
            let end_ns = far.unwrap_or(until_ns);
            n_removed += delete.execute(params![series_id, from_ns, end_ns, self.limit_ns])? as i64;
            match far {
                Some(_) => cursor.from_ns = end_ns,
                None => cursor.advance(),
            }
            if far.is_some() || n_removed >= STEP_ROWS {
                break;
            }
        }
        self.removed.n_metrics += n_removed.unsigned_abs();
        subtract(connection, "metrics", n_removed)?;
        Ok(if more { Stage::Samples(cursor) } else { Stage::Arrivals })
    }

    /// Whatever came in during an hour that ended before the limit has been looked at.
    fn forget_arrivals(&self, connection: &Connection) -> Result<Stage, Fault> {
        if self.by != TimeBasis::Happened {
            connection
                .prepare_cached("DELETE FROM arrivals WHERE stored_hour < ?1")?
                .execute([self.limit_ns.div_euclid(NS_PER_HOUR)])?;
        }
        Ok(Stage::Series { after: 0 })
    }

    fn remove_series(&mut self, connection: &Connection, after: i64) -> Result<Stage, Fault> {
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

    fn remove_devices(&mut self, connection: &Connection, after: i64) -> Result<Stage, Fault> {
        let Some(last) = nth_after(connection, "devices", after)? else { return Ok(Stage::Pages) };
        let n_removed = connection
            .prepare_cached(
                "DELETE FROM devices WHERE id > ?1 AND id <= ?2
                 AND NOT EXISTS (SELECT 1 FROM series WHERE device_id = devices.id)
                 AND NOT EXISTS (SELECT 1 FROM events WHERE device_id = devices.id)",
            )?
            .execute([after, last])?;
        self.removed.n_devices += n_removed as u64;
        Ok(Stage::Devices { after: last })
    }
}

impl Cursor {
    /// Before the first series; `None` if there is no time to look at.
    fn start(ranges: Vec<(i64, i64)>) -> Option<Self> {
        let from_ns = ranges.first()?.0;
        Some(Self { ranges, series_id: 0, range: 0, from_ns })
    }

    /// Goes on with a series: the one where it stands, or, if that is gone, the start of the next.
    fn enter(&mut self, series_id: i64) {
        if self.series_id != series_id {
            (self.series_id, self.range, self.from_ns) = (series_id, 0, self.ranges[0].0);
        }
    }

    /// The rest of the current range.
    fn stretch(&self) -> (i64, i64) {
        (self.from_ns, self.ranges[self.range].1)
    }

    /// On to the next range, or to the next series.
    fn advance(&mut self) {
        match self.ranges.get(self.range + 1) {
            Some(next) => (self.range, self.from_ns) = (self.range + 1, next.0),
            None => self.enter(self.series_id + 1),
        }
    }
}

/// The id up to which a step goes in a table of ids; `None` if there is none after `after`.
fn nth_after(connection: &Connection, table: &'static str, after: i64) -> Result<Option<i64>, Fault> {
    let sql = format!("SELECT max(id) FROM (SELECT id FROM {table} WHERE id > ?1 ORDER BY id LIMIT ?2)");
    Ok(connection.prepare_cached(&sql)?.query_row(params![after, STEP_SEEKS as i64], |row| row.get(0))?)
}

fn subtract(connection: &Connection, column: &'static str, count: i64) -> Result<(), Fault> {
    if count > 0 {
        connection.prepare_cached(&format!("UPDATE totals SET {column} = {column} - ?1"))?.execute([count])?;
    }
    Ok(())
}

/// Makes the file shorter if much of it is free.
fn hand_back_pages(connection: &Connection) -> Result<Stage, Fault> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let n_excess = number("freelist_count")? - number("page_count")? / KEPT_FREE_SHARE;
    if n_excess <= 0 {
        return Ok(Stage::Done);
    }
    // Each row of the answer is a page handed back, so it has to be read to its end.
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({})", n_excess.min(STEP_PAGES)))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(if n_excess > STEP_PAGES { Stage::Pages } else { Stage::Done })
}
