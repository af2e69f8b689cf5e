//! Retention: removes old data in steps of some ten milliseconds, between which writes proceed.
//!
//! Age is that of the point: what lies before the limit goes, and a write refuses it (`crate::retention`). A removal
//! takes the oldest rows of each series off its key, so it reads no row that it does not remove. It remembers the
//! oldest point that it leaves ([`Oldest`]), so the next one does nothing until the limit has passed that point.

use rusqlite::{Connection, OptionalExtension, params};
use spindle_core::Timestamp;

use super::error::EmbeddedError;
use crate::Removed;

/// Rows removed in one step; about 20 ms.
const STEP_ROWS: i64 = 10_000;
/// Lookups in one step, for series that have nothing to remove.
const STEP_SEEKS: usize = 5_000;
/// Pages returned to the file system in one step.
const STEP_PAGES: i64 = 1_000;
/// Share of the file (one part in…) kept as free pages for the next writes.
const KEPT_FREE_SHARE: i64 = 10;

/// Time of the oldest point in the store, as far as the last complete removal and the writes since tell.
#[derive(Debug, Default)]
pub(super) struct Oldest {
    /// In nanoseconds; `None` unless a removal was completed.
    known_ns: Option<i64>,
    /// Oldest point written since the last removal began, in nanoseconds.
    written_ns: i64,
    /// `PRAGMA data_version`: changes when another connection has written.
    data_version: i64,
}

impl Oldest {
    /// Takes in the times of points that may be stored.
    pub(super) fn add(&mut self, times: impl Iterator<Item = Timestamp>) {
        if let Some(time) = times.min() {
            self.written_ns = self.written_ns.min(time.as_ns());
        }
    }

    /// Returns whether nothing lies before a limit. Otherwise a removal begins.
    fn is_at_least(&mut self, limit_ns: i64, connection: &Connection) -> Result<bool, EmbeddedError> {
        let data_version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        let known_ns = self.known_ns.filter(|_| data_version == self.data_version);
        let has_nothing = known_ns.is_some_and(|oldest| oldest.min(self.written_ns) >= limit_ns);
        if !has_nothing {
            *self = Self { known_ns: None, written_ns: i64::MAX, data_version };
        }
        Ok(has_nothing)
    }
}

/// Removal in progress: limit, stage and result so far.
#[derive(Debug)]
pub(super) struct Removal {
    limit_ns: i64,
    stage: Stage,
    /// Time of the oldest point found that stays.
    oldest_ns: i64,
    removed: Removed,
}

#[derive(Debug)]
enum Stage {
    Start,
    Events,
    Samples { series_id: i64 },
    Devices { after: i64 },
    Pages,
    Done,
}

impl Removal {
    pub(super) fn new(limit: Timestamp) -> Self {
        Self { limit_ns: limit.as_ns(), stage: Stage::Start, oldest_ns: i64::MAX, removed: Removed::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    pub(super) fn removed(&self) -> Removed {
        self.removed
    }

    /// Returns whether the next step needs a transaction; returning pages makes its own.
    pub(super) fn needs_transaction(&self) -> bool {
        !matches!(self.stage, Stage::Start | Stage::Pages)
    }

    /// Performs one step. After an error the removal is unusable: start a new one.
    pub(super) fn step(&mut self, connection: &Connection, oldest: &mut Oldest) -> Result<(), EmbeddedError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = match stage {
            Stage::Start if oldest.is_at_least(self.limit_ns, connection)? => Stage::Done,
            Stage::Start => Stage::Events,
            Stage::Events => self.remove_events(connection)?,
            Stage::Samples { series_id } => self.remove_samples(connection, series_id)?,
            Stage::Devices { after } => self.remove_devices(connection, after)?,
            Stage::Pages => return_pages(connection)?,
            Stage::Done => Stage::Done,
        };
        if matches!(self.stage, Stage::Pages | Stage::Done) {
            oldest.known_ns = oldest.known_ns.or(Some(self.oldest_ns));
        }
        Ok(())
    }

    fn remove_events(&mut self, connection: &Connection) -> Result<Stage, EmbeddedError> {
        // Before the samples: without its neighbours, a replaced number would look like a gap.
        connection.prepare_cached("DELETE FROM replaced WHERE received_ns < ?1")?.execute([self.limit_ns])?;
        let n_events = connection
            .prepare_cached("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time_ns < ?1 LIMIT ?2)")?
            .execute(params![self.limit_ns, STEP_ROWS])?;
        self.removed.n_events += n_events as u64;
        if n_events as i64 == STEP_ROWS {
            return Ok(Stage::Events);
        }
        let oldest: Option<i64> =
            connection.prepare_cached("SELECT min(time_ns) FROM events")?.query_row([], |row| row.get(0))?;
        self.keep(oldest);
        Ok(Stage::Samples { series_id: 0 })
    }

    fn remove_samples(&mut self, connection: &Connection, mut series_id: i64) -> Result<Stage, EmbeddedError> {
        let mut next_series = connection.prepare_cached("SELECT id FROM series WHERE id >= ?1 ORDER BY id LIMIT 1")?;
        let mut oldest = connection.prepare_cached("SELECT min(time_ns) FROM samples WHERE series_id = ?1")?;
        let mut n_removed = 0;
        for _ in 0..STEP_SEEKS {
            let Some(found) = next_series.query_row([series_id], |row| row.get(0)).optional()? else {
                self.removed.n_metrics += n_removed;
                return Ok(self.after_samples());
            };
            series_id = found;
            match oldest.query_row([series_id], |row| row.get(0))? {
                Some(time_ns) if time_ns < self.limit_ns => {
                    n_removed += remove_oldest(connection, series_id, self.limit_ns)?;
                    if n_removed >= STEP_ROWS as u64 {
                        break;
                    }
                }
                None => {
                    connection.prepare_cached("DELETE FROM series WHERE id = ?1")?.execute([series_id])?;
                    self.removed.n_series += 1;
                    series_id += 1;
                }
                kept => {
                    self.keep(kept);
                    series_id += 1;
                }
            }
        }
        self.removed.n_metrics += n_removed;
        Ok(Stage::Samples { series_id })
    }

    /// Without a series or an event less, no device has lost its last.
    fn after_samples(&self) -> Stage {
        match self.removed.n_series + self.removed.n_events {
            0 => Stage::Pages,
            _ => Stage::Devices { after: 0 },
        }
    }

    fn remove_devices(&mut self, connection: &Connection, after: i64) -> Result<Stage, EmbeddedError> {
        let last: Option<i64> = connection
            .prepare_cached("SELECT max(id) FROM (SELECT id FROM devices WHERE id > ?1 ORDER BY id LIMIT ?2)")?
            .query_row(params![after, STEP_SEEKS as i64], |row| row.get(0))?;
        let Some(last) = last else { return Ok(Stage::Pages) };
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

    fn keep(&mut self, oldest: Option<i64>) {
        self.oldest_ns = oldest.map_or(self.oldest_ns, |time_ns| time_ns.min(self.oldest_ns));
    }
}

/// Removes the oldest rows of a series before a limit, as many as a step may; returns how many.
fn remove_oldest(connection: &Connection, series_id: i64, limit_ns: i64) -> Result<u64, EmbeddedError> {
    let far: Option<i64> = connection
        .prepare_cached(
            "SELECT time_ns FROM samples WHERE series_id = ?1 AND time_ns < ?2 ORDER BY time_ns LIMIT 1 OFFSET ?3",
        )?
        .query_row(params![series_id, limit_ns, STEP_ROWS], |row| row.get(0))
        .optional()?;
    let n_removed = connection
        .prepare_cached("DELETE FROM samples WHERE series_id = ?1 AND time_ns < ?2")?
        .execute([series_id, far.unwrap_or(limit_ns)])?;
    Ok(n_removed as u64)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::schema::memory_for_tests;

    fn at(ns: i64) -> Timestamp {
        Timestamp::from_ns(ns)
    }

    /// Runs a removal; returns what it removed and the number of its steps that took a transaction.
    fn remove(connection: &Connection, oldest: &mut Oldest, limit: i64) -> (Removed, usize) {
        let mut removal = Removal::new(at(limit));
        let mut n_transactions = 0;
        while !removal.is_done() {
            n_transactions += usize::from(removal.needs_transaction());
            removal.step(connection, oldest).unwrap();
        }
        (removal.removed(), n_transactions)
    }

    fn add(connection: &Connection, oldest: &mut Oldest, series_id: i64, time: i64) {
        let sql = "INSERT INTO samples (series_id, time_ns, value, late_s) VALUES (?1, ?2, 1, 0)";
        connection.execute(sql, [series_id, time]).unwrap();
        oldest.add([at(time)].into_iter());
    }

    #[test]
    fn a_pass_without_work_takes_no_transaction() {
        let (connection, mut oldest) = (memory_for_tests(), Oldest::default());
        connection
            .execute_batch(
                "INSERT INTO devices VALUES (1, 'd', '{}'); INSERT INTO series VALUES (1, 1, 'a'), (2, 1, 'b');",
            )
            .unwrap();
        for (series_id, time) in [(1, 100), (1, 300), (2, 200), (2, 400)] {
            add(&connection, &mut oldest, series_id, time);
        }
        let (removed, n_transactions) = remove(&connection, &mut oldest, 150);
        assert!(removed.n_metrics == 1 && n_transactions > 0, "{removed:?}");
        for limit in [150, 160, 200] {
            assert_eq!(remove(&connection, &mut oldest, limit), (Removed::default(), 0), "{limit}");
        }
        assert_eq!(remove(&connection, &mut oldest, 201).0.n_metrics, 1);
        // A point older than all others is stored meanwhile.
        assert_eq!(remove(&connection, &mut oldest, 250), (Removed::default(), 0));
        add(&connection, &mut oldest, 2, 240);
        assert_eq!(remove(&connection, &mut oldest, 250).0.n_metrics, 1);
        assert_eq!(remove(&connection, &mut oldest, 300), (Removed::default(), 0));
        let (removed, _) = remove(&connection, &mut oldest, 500);
        assert_eq!((removed.n_metrics, removed.n_series, removed.n_devices), (2, 2, 1));
        assert_eq!(remove(&connection, &mut oldest, 1_000), (Removed::default(), 0));
    }

    #[test]
    fn what_is_half_done_is_no_knowledge() {
        let (connection, mut oldest) = (memory_for_tests(), Oldest::default());
        connection
            .execute_batch("INSERT INTO devices VALUES (1, 'd', '{}'); INSERT INTO series VALUES (1, 1, 'a');")
            .unwrap();
        add(&connection, &mut oldest, 1, 100);
        let mut dropped = Removal::new(at(150));
        dropped.step(&connection, &mut oldest).unwrap();
        dropped.step(&connection, &mut oldest).unwrap();
        assert_eq!(remove(&connection, &mut oldest, 150).0.n_metrics, 1);
    }
}
