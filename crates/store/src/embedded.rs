//! The embedded store: one SQLite file in WAL mode, readable and writable by several processes at once.
//!
//! - `schema`: the tables, and why they are so; opening and upgrading a file.
//! - `writer`: the one thread that writes; groups waiting requests into one fsync.
//! - `insert`, `device`: a batch into the tables, and what is remembered between batches.
//! - `removal`: retention, in small steps.
//! - `readers`: the pool of read-only connections.
//! - `series`, `events`, `numbers`: the queries.
//! - `fault`: SQLite's errors in our words.
//!
//! A read never blocks a write and never waits for one. Answers are whole `Vec`s: no lock or snapshot
//! outlives a call.
//!
//! Absent: compaction of older rows into compressed blocks. A sample takes about 30 bytes, and a batch with one
//! value each for many series rewrites one page for each of them, which is what bounds such batches.

mod device;
mod events;
mod fault;
mod insert;
mod numbers;
mod readers;
mod removal;
mod schema;
mod series;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use spindle_core::audit::{SeqVisitor, Tally};
use spindle_core::records::{
    Bucket, Counts, DeviceRecord, EventFilter, EventRecord, LatestSample, Sample, TimeBasis, Window,
};
use spindle_core::{Batch, DeviceName, MetricType, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{FirstAndLast, Removed, StoreError, Written};
use fault::Fault;
use readers::Readers;
use removal::Removal;
use writer::Writer;

/// How long [`EmbeddedStore::open`] goes on trying while another process is making the same file.
const OPEN_ATTEMPTS: u32 = 50;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// How an embedded store is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Upper bound of the database file in bytes (the write-ahead log comes on top). At the bound, writes
    /// fail as on a full disk, until something is removed. `None`: the disk is the bound.
    pub max_size_bytes: Option<u64>,
}

/// A store in one SQLite file. A clone is a handle to the same store. See [`crate::Store`] for what the methods do.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    path: Arc<PathBuf>,
    writer: Arc<Writer>,
    readers: Arc<Readers>,
}

impl EmbeddedStore {
    /// Opens or makes the file.
    pub(crate) async fn open(path: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let path = Arc::new(path.to_path_buf());
        let connection = connect(&path, options).await?;
        let writer = Writer::start(Arc::clone(&path), connection)?;
        let readers = Readers::new(Arc::clone(&path));
        Ok(Self { path, writer: Arc::new(writer), readers: Arc::new(readers) })
    }

    pub(crate) async fn write(&self, batch: Arc<Batch>, received: Timestamp) -> Result<Written, StoreError> {
        self.writer.write(batch, received).await
    }

    pub(crate) async fn devices(
        &self,
        after: Option<&DeviceName>,
        limit: usize,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        // No name is empty, so all of them come after the empty text.
        let after = after.map_or_else(String::new, |name| name.to_string());
        self.read("list devices", move |connection| series::devices(connection, &after, limit)).await
    }

    pub(crate) async fn device(&self, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
        let name = name.clone();
        self.read("read a device", move |connection| series::device(connection, &name)).await
    }

    pub(crate) async fn latest_many(
        &self,
        devices: &[DeviceName],
        window: Window,
    ) -> Result<Vec<Vec<LatestSample>>, StoreError> {
        let devices = devices.to_vec();
        self.read("read latest values", move |connection| {
            devices.iter().map(|device| series::latest(connection, device, window)).collect()
        })
        .await
    }

    pub(crate) async fn range(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        let (device, metric) = (device.clone(), metric.clone());
        self.read("read a series", move |connection| series::range(connection, &device, &metric, window, limit)).await
    }

    pub(crate) async fn first_and_last(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
    ) -> Result<Option<FirstAndLast>, StoreError> {
        let (device, metric) = (device.clone(), metric.clone());
        self.read("read a series", move |connection| series::first_and_last(connection, &device, &metric, window)).await
    }

    pub(crate) async fn buckets(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        bucket: Duration,
    ) -> Result<Vec<Bucket>, StoreError> {
        let (device, metric) = (device.clone(), metric.clone());
        self.read("read a series", move |connection| series::buckets(connection, &device, &metric, window, bucket))
            .await
    }

    pub(crate) async fn events(&self, filter: EventFilter) -> Result<Vec<EventRecord>, StoreError> {
        self.read("read events", move |connection| events::select(connection, &filter)).await
    }

    pub(crate) async fn count_events_by_device(
        &self,
        filter: EventFilter,
    ) -> Result<Vec<(DeviceName, u64)>, StoreError> {
        self.read("count events", move |connection| events::count_by_device(connection, &filter)).await
    }

    pub(crate) async fn tally(&self, devices: &[DeviceName], window: Window) -> Result<Vec<Tally>, StoreError> {
        let devices = devices.to_vec();
        let unwanted = CancellationToken::new();
        let _while_waited_for = unwanted.clone().drop_guard();
        self.read("audit devices", move |connection| {
            devices.iter().map(|device| numbers::tally(connection, device, window, &unwanted)).collect()
        })
        .await
    }

    pub(crate) async fn numbers<L: SeqVisitor>(
        &self,
        device: &DeviceName,
        window: Window,
        listener: L,
    ) -> Result<L, StoreError> {
        let device = device.clone();
        let unwanted = CancellationToken::new();
        let _while_waited_for = unwanted.clone().drop_guard();
        self.read("audit a device", move |connection| numbers::listen(connection, &device, window, &unwanted, listener))
            .await
    }

    pub(crate) async fn counts(&self) -> Result<Counts, StoreError> {
        self.read("count", series::counts).await
    }

    pub(crate) async fn remove_before(&self, limit: Timestamp, by: TimeBasis) -> Result<Removed, StoreError> {
        let mut removal = Removal::new(limit, by);
        while !removal.is_done() {
            removal = self.writer.remove(removal).await?;
        }
        Ok(removal.removed())
    }

    /// Database and write-ahead log together.
    pub(crate) async fn size_bytes(&self) -> Result<u64, StoreError> {
        let database = tokio::fs::metadata(&*self.path).await.map_err(|error| StoreError::Access {
            action: "measure the store",
            path: self.path.to_path_buf(),
            problem: error.to_string(),
        })?;
        let log = tokio::fs::metadata(schema::log_path(&self.path)).await;
        Ok(database.len() + log.map_or(0, |log| log.len()))
    }

    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        // Readers first: the last connection to go must be the writer's, which cleans up.
        self.readers.close().await;
        self.writer.close().await
    }

    async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(action, query).await
    }
}

/// Opens the write connection. Two processes that make one file at the same time get in each other's way
/// without SQLite's busy time-out having a say, hence the attempts.
async fn connect(path: &Arc<PathBuf>, options: EmbeddedOptions) -> Result<Connection, StoreError> {
    let mut attempt = 1;
    loop {
        let target = Arc::clone(path);
        let opened = tokio::task::spawn_blocking(move || schema::open(&target, options)).await;
        let panicked =
            |panic: tokio::task::JoinError| Fault::Panicked(panic.to_string()).into_error("open the store", path);
        match opened.unwrap_or_else(|panic| Err(panicked(panic))) {
            Err(StoreError::Busy { .. }) if attempt < OPEN_ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(OPEN_PAUSE).await;
            }
            done => return done,
        }
    }
}
