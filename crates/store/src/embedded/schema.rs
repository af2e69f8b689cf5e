//! The tables of the embedded store, and opening a file that has them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::EmbeddedOptions;
use super::fault::Fault;
use crate::StoreError;

/// "SPDL": marks the file as ours (`file` and SQLite show it).
const APPLICATION_ID: i64 = 0x5350_444C;

/// How long a connection waits for another process's write. Longer than any of our transactions.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages in the log that start a checkpoint: 64 MiB. A checkpoint writes each page once however often it is in the
/// log. A batch with one value for each of 10,000 series is 40 MiB of pages; four times more gained nothing.
const CHECKPOINT_PAGES: i64 = 16_000;

/// The log is cut to this after a checkpoint, should a long read have let it grow.
const LOG_LIMIT_BYTES: i64 = 128 << 20;

/// A batch touches the newest page of each of its series: 64 MiB hold those of 16,000 series.
const WRITER_CACHE_KIB: i64 = 64 << 10;
const READER_CACHE_KIB: i64 = 8 << 10;

/// Prepared statements kept per connection: more than there are different ones.
const STATEMENT_CACHE: usize = 64;

/// One entry per format version: what leads from the format before it to it.
///
/// - A `value` has no declared type, since a REAL column would forget the sign of -0.0. Whole numbers are
///   bound as integers (1 to 6 bytes instead of 8), all others as 8-byte floats.
/// - `late_s` is when a sample was stored: seconds from `time_ns` to that instant, rounded up. 0 and 1, what live
///   data have, take no room in SQLite.
/// - `arrivals` says which hours of measured time came in during which hours of our time, so that retention
///   finds what was stored long ago without reading what was not.
/// - An event's identity is `events_identity`; it is also the order in which events are asked for.
/// - `totals` makes counting millions of rows a look-up. Every transaction keeps it right.
const FORMATS: &[&str] = &["
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
    CREATE TABLE totals (metrics INTEGER NOT NULL, events INTEGER NOT NULL);
    INSERT INTO totals VALUES (0, 0);
"];

/// The write-ahead log beside a database.
pub(super) fn log_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Opens the write connection, makes folder, file and tables if absent, and brings an older format up to date.
pub(super) fn open(path: &Path, options: EmbeddedOptions) -> Result<Connection, StoreError> {
    make_folder(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fail = |error: rusqlite::Error| Fault::Sql(error).into_error("open the store", path);
    let mut connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    check_owner(&connection, path)?;
    configure_writer(&connection, options).map_err(fail)?;
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

fn make_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|error| StoreError::Access {
        action: "make the store's folder",
        path: folder.to_path_buf(),
        problem: error.to_string(),
    })
}

/// Refuses other programs' databases and newer formats, before anything in the file is changed.
fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let look = || -> rusqlite::Result<(i64, i64, i64)> {
        Ok((
            number("SELECT count(*) FROM sqlite_schema")?,
            number("PRAGMA application_id")?,
            number("PRAGMA user_version")?,
        ))
    };
    let (n_tables, owner, found) = look().map_err(|error| Fault::Sql(error).into_error("open the store", path))?;
    if n_tables > 0 && owner != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_path_buf(), problem: "it is another program's database" });
    }
    let known = FORMATS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { path: path.to_path_buf(), found, known });
    }
    Ok(())
}

/// Settings of the connection, and those of a new file (which must come before its first table).
///
/// No memory map: retention shortens the file, and a map over a file that another process shortens kills us.
fn configure_writer(connection: &Connection, options: EmbeddedOptions) -> rusqlite::Result<()> {
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT_BYTES, |_| Ok(()))?;
    if let Some(size_bytes) = options.max_size_bytes {
        let page_bytes: u64 = connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))? as u64;
        let max_pages = i64::try_from(size_bytes / page_bytes).unwrap_or(i64::MAX).max(1);
        connection.pragma_update_and_check(None, "max_page_count", max_pages, |_| Ok(()))?;
    }
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

/// A database in memory with our tables.
#[cfg(test)]
pub(super) fn memory_for_tests() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    upgrade(&mut connection).unwrap();
    connection
}

/// How SQLite means to answer a query, one step a line.
#[cfg(test)]
pub(super) fn plan_for_tests(connection: &Connection, sql: &str) -> String {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explain.raw_query().mapped(|row| row.get::<_, String>(3)).collect::<Result<Vec<_>, _>>();
    steps.unwrap().join("\n")
}
