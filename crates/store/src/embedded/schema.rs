//! Tables of the embedded store; opens and upgrades a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::EmbeddedError;
use crate::StoreError;

/// "SPDL": marks a Spindle store (`file` and SQLite display it).
const APPLICATION_ID: i64 = 0x5350_444C;

/// Longest wait for a write of another process: longer than any transaction of this crate.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages in the log that start a checkpoint: 64 MiB. A checkpoint writes each page once, however often it occurs in
/// the log. A batch with one value for each of 10,000 series is 40 MiB of pages; four times more gained nothing.
const CHECKPOINT_PAGES: i64 = 16_000;

/// Size to which the log is truncated after a checkpoint, if a long read has let it grow.
const LOG_LIMIT_BYTES: i64 = 128 << 20;

/// Page cache of the write connection. A batch touches the newest page of each of its series: 64 MiB hold those of
/// 16,000 series.
const WRITER_CACHE_KIB: i64 = 64 << 10;
const READER_CACHE_KIB: i64 = 8 << 10;

/// Prepared statements cached per connection: more than there are different ones.
const STATEMENT_CACHE: usize = 64;

/// One entry per format version: the statements that upgrade the preceding format to it.
///
/// - A `value` has no declared type, since a REAL column would lose the sign of -0.0. Whole numbers are bound as
///   integers (1 to 6 bytes instead of 8), all others as 8-byte floats.
/// - `late_s` encodes when a sample was stored: seconds from `time_ns` to that instant, rounded up. 0 and 1, the
///   values of live data, take no space in SQLite.
/// - An event's identity is `events_identity`; it is also the order in which events are queried.
/// - An `event_id` is a BLOB of 16 bytes if it is a UUID in lowercase with hyphens, otherwise TEXT: equal ids are equal
///   cells, and files of formats 1 and 2, which hold only BLOBs, need no rewriting. Format 3 marks files with TEXT.
/// - `replaced` (format 3) lists the sequence numbers of samples that another one replaced, for the gap audit. They go
///   with the samples of the same time.
/// - Format 2 drops `totals`, a table of row counts that no query reads any more. Format 4 drops `arrivals`, which
///   retention needed when it went by the time of arrival.
/// - Format 5 keeps when the newest values of each device arrived. `events_by_type` finds the faults of a device among
///   any number of its other events.
/// - Format 6: `events_of_type` finds the faults of a whole fleet among any number of its other events.
/// - Format 7: `pipeline` has what writers report of themselves, a column for each field of its schema.
const FORMATS: &[&str] = &[
    "
    CREATE TABLE devices (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        labels TEXT NOT NULL
    );
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL,
        metric_type TEXT NOT NULL,
        UNIQUE (device_id, metric_type)
    );
    CREATE TABLE samples (
        series_id INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        value NOT NULL,
        seq INTEGER,
        late_s INTEGER NOT NULL,
        PRIMARY KEY (series_id, time_ns)
    ) WITHOUT ROWID;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        event_id BLOB NOT NULL,
        device_id INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        time_ns INTEGER NOT NULL,
        received_ns INTEGER NOT NULL,
        criticality INTEGER NOT NULL,
        message TEXT,
        seq INTEGER,
        labels TEXT
    );
    CREATE UNIQUE INDEX events_identity ON events (time_ns, event_id, device_id, event_type);
    CREATE INDEX events_by_device ON events (device_id, time_ns);
    CREATE INDEX events_by_received ON events (received_ns);
    CREATE INDEX events_critical ON events (time_ns, event_id, device_id) WHERE criticality >= 8;
    CREATE TABLE arrivals (
        stored_hour INTEGER NOT NULL,
        measured_hour INTEGER NOT NULL,
        PRIMARY KEY (stored_hour, measured_hour)
    ) WITHOUT ROWID;
",
    "DROP TABLE IF EXISTS totals;",
    "
    CREATE TABLE replaced (
        device_id INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (device_id, time_ns, seq)
    ) WITHOUT ROWID;
    CREATE INDEX replaced_by_time ON replaced (time_ns);
",
    "DROP TABLE IF EXISTS arrivals;",
    "
    CREATE TABLE last_arrivals (
        device_id INTEGER PRIMARY KEY,
        received_ns INTEGER NOT NULL,
        measured_ns INTEGER NOT NULL
    );
    INSERT INTO last_arrivals (device_id, received_ns, measured_ns)
        SELECT s.device_id, max(CAST(v.time_ns + v.late_s * 1000000000 AS INTEGER)), max(v.time_ns)
        FROM series s JOIN samples v ON v.series_id = s.id
            AND v.time_ns = (SELECT max(time_ns) FROM samples WHERE series_id = s.id)
        GROUP BY s.device_id;
    CREATE INDEX events_by_type ON events (device_id, event_type, time_ns);
",
    "CREATE INDEX events_of_type ON events (event_type, time_ns);",
    "
    CREATE TABLE pipeline (
        time_ns INTEGER NOT NULL,
        instance TEXT NOT NULL,
        values_per_second REAL,
        events_per_second REAL,
        metrics_lag REAL,
        events_lag REAL,
        dead_letters REAL,
        dead_letters_per_second REAL,
        redelivered_per_second REAL,
        store_latency_seconds REAL,
        store_latency_p99_seconds REAL,
        store_retries_per_second REAL,
        ready REAL,
        uptime_seconds REAL,
        PRIMARY KEY (time_ns, instance)
    ) WITHOUT ROWID;
",
];

/// Returns the path of a database's write-ahead log.
pub(super) fn log_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Opens the write connection; creates folder, file and tables if absent, and upgrades an older format.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    create_folder(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fail = |error: rusqlite::Error| EmbeddedError::Sql(error).into_error("open the store", path);
    let mut connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    check_owner(&connection, path)?;
    configure_writer(&connection).map_err(fail)?;
    upgrade(&mut connection).map_err(fail)?;
    Ok(connection)
}

/// Opens a read-only connection to a file that [`open`] has opened before.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(connection)
}

fn create_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|error| StoreError::Access {
        action: "create the store's folder",
        path: folder.to_path_buf(),
        problem: error.to_string(),
    })
}

/// Refuses databases of other programs and newer formats, before anything in the file is changed.
fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let read = || -> rusqlite::Result<(i64, i64, i64)> {
        Ok((
            number("SELECT count(*) FROM sqlite_schema")?,
            number("PRAGMA application_id")?,
            number("PRAGMA user_version")?,
        ))
    };
    let (n_tables, owner, found) =
        read().map_err(|error| EmbeddedError::Sql(error).into_error("open the store", path))?;
    if n_tables > 0 && owner != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_path_buf(), problem: "it is another program's database" });
    }
    let supported = FORMATS.len() as i64;
    if found > supported {
        return Err(StoreError::Newer { path: path.to_path_buf(), found, supported });
    }
    Ok(())
}

/// Configures the connection, and a new file (which must precede its first table).
///
/// No memory map: retention shortens the file, and a map over a file that another process shortens ends this one.
fn configure_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT_BYTES, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(())
}

fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = FORMATS.get(usize::try_from(found).unwrap_or(0)..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMATS.len() as i64)?;
    transaction.commit()
}

/// Creates a database in memory with all tables.
#[cfg(test)]
pub(super) fn memory_for_tests() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    upgrade(&mut connection).unwrap();
    connection
}

/// Returns SQLite's plan of a query, one step per line.
#[cfg(test)]
pub(super) fn plan_for_tests(connection: &Connection, sql: &str) -> String {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explain.raw_query().mapped(|row| row.get::<_, String>(3)).collect::<Result<Vec<_>, _>>();
    steps.unwrap().join("\n")
}

#[cfg(test)]
mod tests {
    use spindle_core::{Batch, Criticality, DeviceName, Event, EventId, EventType, Timestamp};

    use super::super::event_id;
    use super::super::insert::Inserter;
    use super::*;

    #[test]
    fn the_row_counts_of_format_1_go() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(FORMATS[0]).unwrap();
        connection.execute_batch("CREATE TABLE totals (metrics INTEGER NOT NULL, events INTEGER NOT NULL)").unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        upgrade(&mut connection).unwrap();
        let n_left: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'totals'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(n_left, 0);
    }

    /// A file of format 2 with one event, whose id was a BLOB. Nothing is rewritten, and the same event is not stored
    /// again.
    #[test]
    fn ids_of_format_2_stay_readable() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(FORMATS[0]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO devices (id, name, labels) VALUES (1, 'disk', '{}');
                 INSERT INTO events (event_id, device_id, event_type, time_ns, received_ns, criticality)
                 VALUES (x'e4d5f6a78b9c0d1e2f3a4b5c6d7e8f90', 1, 'Note', 5, 6, 7);",
            )
            .unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
        upgrade(&mut connection).unwrap();
        let id = "e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90";
        let event = |id: &str| Event {
            id: EventId::new(id).unwrap(),
            criticality: Criticality::new(7).unwrap(),
            timestamp: Timestamp::from_ns(5),
            source_device: DeviceName::new("disk").unwrap(),
            event_type: EventType::new("Note").unwrap(),
            event_message: None,
            seq: None,
            labels: None,
        };
        let batch = Batch { metrics: vec![], events: vec![event(id), event("text")] };
        let written = Inserter::default().insert(&connection, &batch, Timestamp::from_ns(9)).unwrap();
        assert_eq!(written.n_events, 1);
        let ids: Vec<String> = connection
            .prepare("SELECT event_id FROM events ORDER BY id")
            .unwrap()
            .query_map([], |row| event_id::from_sql(row, 0))
            .unwrap()
            .map(|id| id.unwrap().to_string())
            .collect();
        assert_eq!(ids, [id, "text"]);
    }
}
