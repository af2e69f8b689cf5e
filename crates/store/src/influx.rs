//! InfluxDB 1, 2 or 3 as the store: line protocol in, InfluxQL out, the version found by asking.
//!
//! - `answer`: what an answer to a query means.
//! - `client`: HTTP, credentials, answers as they arrive.
//! - `line`: what the lines look like, and texts that survive them.
//! - `prepare`: the database or bucket, its retention, its mapping.
//! - `read`, `numbers`, `write`: the store's methods.
//! - `send`, `slots`: lines in chunks, several requests on their way, and what the server refuses.
//! - `verdict`: what an answer to a write means.
//!
//! Nothing is asked before the first call, so a server that is away at the start is no error but a reason to wait.

mod answer;
mod client;
mod line;
mod numbers;
mod prepare;
mod read;
mod send;
mod slots;
mod verdict;
mod write;

use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use spindle_core::audit::{SeqVisitor, Tally};
use spindle_core::records::{Bucket, Counts, DeviceRecord, EventFilter, EventRecord, LatestSample, Sample, Window};
use spindle_core::schema::PIPELINE;
use spindle_core::{Batch, DeviceName, MetricType, Timestamp};
use tokio::sync::Mutex;
use tracing::info;

use client::Client;
pub use client::InfluxVersion;
use send::{Chunk, Faults, Shape};
use slots::Slots;
use write::LabelsWritten;

use crate::{FirstAndLast, RefusedItem, StoreError, Written};

/// Requests with events on their way, at first and at most. They are small, and must not wait for values.
const EVENT_SLOTS: (usize, usize) = (2, 4);

/// Where an InfluxDB is, and as whom to speak to it.
#[derive(Clone, Default)]
pub struct InfluxSettings {
    /// Its address, `http://host:8086`; without a scheme http.
    pub host: String,
    /// Database (1, 3) or bucket (2).
    pub database: String,
    /// Token (2, 3).
    pub token: Option<String>,
    /// Organization (2).
    pub org: Option<String>,
    /// User (1).
    pub username: Option<String>,
    /// The user's password (1).
    pub password: Option<String>,
    /// `None`: ask the server.
    pub version: Option<InfluxVersion>,
    /// How long the server keeps data; `None` leaves it as it is.
    pub retention: Option<Duration>,
}

impl fmt::Debug for InfluxSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, org, version, .. } = self;
        let host = client::without_userinfo(&self.host);
        write!(formatter, "InfluxSettings {{ {host} {database} {org:?} {version:?} }}")
    }
}

/// An InfluxDB. A clone is a handle to the same.
#[derive(Clone, Debug)]
pub struct InfluxStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    /// The version, once the database is known to be there.
    prepared: Mutex<Option<InfluxVersion>>,
    is_closed: AtomicBool,
    /// For requests with values, of all writes together; how many depends on the version.
    value_slots: Slots,
    event_slots: Slots,
    faults: Faults,
    labels: std::sync::Mutex<LabelsWritten>,
}

impl Inner {
    /// Finds the version and makes sure of the database, once.
    async fn ready(&self) -> Result<InfluxVersion, StoreError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(StoreError::Disconnected { server: self.client.shown() });
        }
        let mut prepared = self.prepared.lock().await;
        if let Some(version) = *prepared {
            return Ok(version);
        }
        let version = self.client.detect().await?;
        prepare::prepare(&self.client, version).await?;
        info!(server = self.client.shown(), ?version, database = self.client.settings.database, "InfluxDB is ready");
        let shape = Shape::of(version);
        self.value_slots.set_bounds(shape.first_slots, shape.most_slots);
        *prepared = Some(version);
        Ok(version)
    }

    async fn forget_prepared(&self) {
        *self.prepared.lock().await = None;
    }
}

impl InfluxStore {
    /// Checks the settings; the server is not asked yet.
    pub(crate) fn new(settings: InfluxSettings) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Inner {
            client: Client::new(settings)?,
            prepared: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            value_slots: Slots::new(1, 1),
            event_slots: Slots::new(EVENT_SLOTS.0, EVENT_SLOTS.1),
            faults: Faults::default(),
            labels: std::sync::Mutex::default(),
        })))
    }

    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.0.ready().await.map(drop)
    }

    pub(crate) async fn probe(&self) -> Result<bool, StoreError> {
        self.0.client.probe().await
    }

    pub(crate) async fn answers(&self) -> Result<(), StoreError> {
        self.0.answers().await
    }

    pub(crate) async fn write(&self, batch: &Batch, received: Timestamp) -> Result<Written, StoreError> {
        let shape = Shape::of(self.0.ready().await?);
        self.0.write(batch, received, shape.max_lines).await
    }

    pub(crate) async fn incarnation(&self) -> Result<Option<String>, StoreError> {
        let version = self.0.ready().await?;
        self.0.client.incarnation(version).await
    }

    pub(crate) async fn write_figures(
        &self,
        instance: &str,
        at: Timestamp,
        figures: &[(&'static str, f64)],
    ) -> Result<(), StoreError> {
        let mut chunk = Chunk::default();
        let lines = &mut chunk.lines;
        let _ = write!(lines, "{},role=writer,instance={} ", PIPELINE.name, line::tag(instance));
        for (number, (name, value)) in figures.iter().filter(|(_, value)| value.is_finite()).enumerate() {
            let _ = write!(lines, "{}{name}={value:?}", if number == 0 { "" } else { "," });
        }
        let _ = write!(lines, " {}", at.as_ns());
        chunk.belongs_to(RefusedItem::Metric(usize::MAX), (instance, at.as_ns()));
        self.0.send_own(vec![chunk], &self.0.event_slots).await
    }

    pub(crate) async fn devices(
        &self,
        after: Option<&DeviceName>,
        limit: usize,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        self.0.devices(after, limit).await
    }

    pub(crate) async fn device(&self, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
        self.0.device(name).await
    }

    pub(crate) async fn latest_many(
        &self,
        devices: &[DeviceName],
        window: Window,
    ) -> Result<Vec<Vec<LatestSample>>, StoreError> {
        self.0.latest_many(devices, window).await
    }

    pub(crate) async fn range(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        self.0.range(device, metric, window, limit).await
    }

    pub(crate) async fn first_and_last(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
    ) -> Result<Option<FirstAndLast>, StoreError> {
        self.0.first_and_last(device, metric, window).await
    }

    pub(crate) async fn buckets(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        bucket: Duration,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.0.buckets(device, metric, window, bucket).await
    }

    pub(crate) async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, StoreError> {
        self.0.events(filter).await
    }

    pub(crate) async fn count_events_by_device(
        &self,
        filter: &EventFilter,
    ) -> Result<Vec<(DeviceName, u64)>, StoreError> {
        self.0.count_events_by_device(filter).await
    }

    pub(crate) async fn tally(&self, devices: &[DeviceName], window: Window) -> Result<Vec<Tally>, StoreError> {
        self.0.tally(devices, window).await
    }

    pub(crate) async fn numbers<L: SeqVisitor>(
        &self,
        device: &DeviceName,
        window: Window,
        seqs: RangeInclusive<u64>,
        listener: L,
    ) -> Result<L, StoreError> {
        self.0.numbers(device, window, seqs, listener).await
    }

    pub(crate) async fn counts(&self) -> Result<Counts, StoreError> {
        self.0.counts().await
    }

    pub(crate) fn unsupported(&self, what: &'static str) -> StoreError {
        StoreError::Unsupported { what }
    }

    pub(crate) fn close(&self) -> Result<(), StoreError> {
        if self.0.is_closed.swap(true, Ordering::Relaxed) {
            return Err(StoreError::Disconnected { server: self.0.client.shown() });
        }
        Ok(())
    }
}
