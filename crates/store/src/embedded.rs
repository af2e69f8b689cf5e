//! Embedded store: one SQLite file in WAL mode, readable and writable by several processes at once.
//!
//! - `schema`: the tables and their rationale; opens and upgrades a file.
//! - `commit_thread`: the only thread that writes; groups waiting requests into one fsync.
//! - `insert`, `device`: writes a batch to the tables, and caches between batches.
//! - `removal`: retention, in small steps.
//! - `pipeline`: reports of writers on themselves.
//! - `readers`: pool of read-only connections.
//! - `series`, `events`, `sequences`: queries; `event_id`: the cell of an event's id.
//! - `error`: converts SQLite's errors.
//!
//! A read never blocks a write and never waits for one. Results are whole `Vec`s: no lock or snapshot outlives a
//! call.
//!
//! Absent: compaction of older rows into compressed blocks. A sample takes about 30 bytes, and a batch with one
//! value each for many series rewrites one page per series, which bounds the throughput of such batches.

mod commit_thread;
mod device;
mod error;
mod event_id;
mod events;
mod insert;
mod pipeline;
mod readers;
mod removal;
mod schema;
mod sequences;
mod series;
#[cfg(test)]
mod steps;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use spindle_core::alias::Alias;
use spindle_core::audit::{SeqVisitor, Tally};
use spindle_core::pipeline::{PipelinePoint, WriterReport};
use spindle_core::records::{Arrival, Bucket, DeviceRecord, EventFilter, EventRecord, LatestSample, Sample, Window};
use spindle_core::{Batch, DeviceName, Labels, MetricType, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::retention::OldestPoints;
use crate::{FirstAndLast, Removed, StoreError, WriteTime, Written};
use commit_thread::CommitThread;
use error::EmbeddedError;
use readers::Readers;
use removal::Removal;

/// Attempts of [`EmbeddedStore::open`] while another process creates the same file.
const OPEN_ATTEMPTS: u32 = 50;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// Store in one SQLite file. A clone is a handle to the same store. [`crate::Store`] documents the methods.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    path: Arc<PathBuf>,
    commits: Arc<CommitThread>,
    readers: Arc<Readers>,
    retention: Option<Duration>,
}

impl EmbeddedStore {
    /// Opens the file, created if absent.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = Arc::new(path.to_path_buf());
        let connection = connect(&path).await?;
        let commits = CommitThread::start(Arc::clone(&path), connection)?;
        let readers = Readers::new(Arc::clone(&path));
        Ok(Self { path, commits: Arc::new(commits), readers: Arc::new(readers), retention: None })
    }

    pub(crate) fn with_retention(self, retention: Option<Duration>) -> Self {
        Self { retention, ..self }
    }

    /// Returns the time of the oldest point that a write stores. The file has no clock of its own: whatever is not too
    /// old by all clocks is stored.
    pub(crate) fn oldest(&self, moment: WriteTime) -> OldestPoints {
        let kept = self.retention.map(|retention| moment.earliest.minus(retention));
        OldestPoints { kept, taken: None }
    }

    pub(crate) async fn write(&self, batch: Arc<Batch>, received: Timestamp) -> Result<Written, StoreError> {
        self.commits.write(batch, received).await
    }

    pub(crate) async fn devices(
        &self,
        after: Option<&DeviceName>,
        limit: usize,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        // No name is empty, so all of them sort after the empty text.
        let after = after.map_or_else(String::new, |name| name.to_string());
        self.read("list devices", move |connection| series::devices(connection, &after, limit)).await
    }

    pub(crate) async fn device(&self, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
        let name = name.clone();
        self.read("read a device", move |connection| series::device(connection, &name)).await
    }

    pub(crate) async fn devices_at(&self, alias: &Alias) -> Result<Vec<DeviceName>, StoreError> {
        let alias = alias.clone();
        self.read("find a device by its place", move |connection| series::devices_at(connection, &alias)).await
    }

    pub(crate) async fn labels(&self, devices: &[DeviceName]) -> Result<Vec<Labels>, StoreError> {
        let devices = devices.to_vec();
        self.read("read labels", move |connection| {
            devices.iter().map(|device| series::labels(connection, device)).collect()
        })
        .await
    }

    pub(crate) async fn last_arrivals(
        &self,
        devices: &[DeviceName],
        window: Window,
    ) -> Result<Vec<Option<Arrival>>, StoreError> {
        let devices = devices.to_vec();
        self.read("read arrivals", move |connection| {
            devices.iter().map(|device| series::last_arrival(connection, device, window)).collect()
        })
        .await
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

    pub(crate) async fn first_and_last_many(
        &self,
        series: &[(DeviceName, MetricType)],
        window: Window,
    ) -> Result<Vec<Option<FirstAndLast>>, StoreError> {
        let named = series.to_vec();
        self.read("read series", move |connection| {
            named.iter().map(|(device, metric)| series::first_and_last(connection, device, metric, window)).collect()
        })
        .await
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

    pub(crate) async fn last_of_buckets(
        &self,
        metric: &MetricType,
        window: Window,
        bucket: Duration,
    ) -> Result<Vec<(DeviceName, Vec<Sample>)>, StoreError> {
        let metric = metric.clone();
        self.read("read a metric of all devices", move |connection| {
            series::last_of_buckets(connection, &metric, window, bucket)
        })
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
        let cancelled = CancellationToken::new();
        let _cancel_on_drop = cancelled.clone().drop_guard();
        self.read("audit devices", move |connection| {
            devices.iter().map(|device| sequences::tally(connection, device, window, &cancelled)).collect()
        })
        .await
    }

    pub(crate) async fn sequences<V: SeqVisitor>(
        &self,
        device: &DeviceName,
        window: Window,
        visitor: V,
    ) -> Result<V, StoreError> {
        let device = device.clone();
        let cancelled = CancellationToken::new();
        let _cancel_on_drop = cancelled.clone().drop_guard();
        self.read("audit a device", move |connection| {
            sequences::visit(connection, &device, window, &cancelled, visitor)
        })
        .await
    }

    pub(crate) async fn remove_before(&self, limit: Timestamp) -> Result<Removed, StoreError> {
        let mut removal = Removal::new(limit);
        while !removal.is_done() {
            removal = self.commits.remove(removal).await?;
        }
        Ok(removal.removed())
    }

    pub(crate) async fn write_self_metrics(&self, instance: &str, points: &[PipelinePoint]) -> Result<(), StoreError> {
        let Some(newest) = points.iter().map(|point| point.at).max() else { return Ok(()) };
        let kept = self.retention.map_or(pipeline::LONGEST, |retention| retention.min(pipeline::LONGEST));
        self.commits.write_self_metrics(instance.to_owned(), points.to_vec(), newest.minus(kept)).await
    }

    pub(crate) async fn pipeline(&self, window: Window, bucket: Duration) -> Result<Vec<WriterReport>, StoreError> {
        self.read("read the metrics of the pipeline", move |connection| pipeline::reports(connection, window, bucket))
            .await
    }

    /// Returns the size of database and write-ahead log together.
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
        // Readers first: the last connection to close must be the writing one, which cleans up.
        self.readers.close().await;
        self.commits.close().await
    }

    async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(action, query).await
    }
}

/// Opens the write connection. Two processes that create one file at the same time collide in a way that SQLite's busy
/// timeout does not cover, hence the attempts.
async fn connect(path: &Arc<PathBuf>) -> Result<Connection, StoreError> {
    let mut attempt = 1;
    loop {
        let target = Arc::clone(path);
        let opened = tokio::task::spawn_blocking(move || schema::open(&target)).await;
        let panicked = |panic: tokio::task::JoinError| {
            EmbeddedError::Panicked(panic.to_string()).into_error("open the store", path)
        };
        match opened.unwrap_or_else(|panic| Err(panicked(panic))) {
            Err(StoreError::Busy { .. }) if attempt < OPEN_ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(OPEN_PAUSE).await;
            }
            done => return done,
        }
    }
}
