//! The time-series store of Spindle: what is written is on disk before [`Store::write`] says yes, and
//! writing it again changes nothing.
//!
//! [`Store`] is a closed set of stores that all give the same answers; `tests/conformance.rs` holds
//! them to it. What stands where:
//!
//! - `error`: what can go wrong, and whether trying again helps.
//! - `embedded`: one SQLite file, see its own map.
//! - `influx`: an InfluxDB 1, 2 or 3, see its own map.
//!
//! Nothing outside this crate names SQLite or speaks to InfluxDB, and nothing in here reads a clock: `received` is an argument.

mod embedded;
mod error;
mod influx;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spindle_core::audit::{SeqVisitor, Tally};
use spindle_core::records::{
    Bucket, Counts, DeviceRecord, EventFilter, EventRecord, LatestSample, Sample, TimeBasis, Window,
};
use spindle_core::{Batch, DeviceName, MetricType, Timestamp};

pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use error::{StoreError, StoreErrorKind};
pub use influx::{InfluxSettings, InfluxStore, InfluxVersion};

/// What a write did. A batch that was there already stores nothing new and is no error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Metric values newly stored: no value of that device, type and timestamp was there. InfluxDB cannot
    /// tell and counts each as new.
    pub n_metrics: usize,
    /// Metric values that replaced a different one of the same device, type and timestamp.
    pub n_metrics_replaced: usize,
    /// Events newly stored.
    pub n_events: usize,
    /// What the store will never take; everything else of the batch is stored.
    pub refused: Vec<Refused>,
}

/// An element of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedItem {
    /// The metric at this index.
    Metric(usize),
    /// The event at this index.
    Event(usize),
}

/// An element that the store will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub item: RefusedItem,
    /// Why, in the store's words.
    pub words: String,
}

/// What a removal took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Metric values.
    pub n_metrics: u64,
    /// Events.
    pub n_events: u64,
    /// Pairs of device and metric type with no value left.
    pub n_series: u64,
    /// Devices with nothing left, their labels included.
    pub n_devices: u64,
}

/// First, last and number of the values of one series in a window; the number is at least 1.
pub type FirstAndLast = (Sample, Sample, u64);

/// A store of metrics and events. A clone is a cheap handle to the same store.
///
/// Every method may fail with a [`StoreError`]; [`StoreError::is_transient`] says whether the same call
/// may succeed later.
#[derive(Clone, Debug)]
pub enum Store {
    /// One SQLite file in this process.
    Embedded(EmbeddedStore),
    /// An InfluxDB server, version 1, 2 or 3.
    Influx(InfluxStore),
}

impl Store {
    /// Opens the embedded store in the file `path`, made with its folder if absent. Several processes may
    /// have one file open, to read and to write. Needs a Tokio runtime.
    pub async fn open_embedded(path: &Path) -> Result<Self, StoreError> {
        Self::open_embedded_with(path, EmbeddedOptions::default()).await
    }

    /// [`Self::open_embedded`] with options.
    pub async fn open_embedded_with(path: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        EmbeddedStore::open(path, options).await.map(Self::Embedded)
    }

    /// An InfluxDB. Only the settings are checked: the server is asked by the first call, and again by each
    /// call until it answers.
    pub fn open_influx(settings: InfluxSettings) -> Result<Self, StoreError> {
        InfluxStore::new(settings).map(Self::Influx)
    }

    /// Makes sure that the store can be used: server, credentials, database.
    pub async fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Influx(store) => store.check().await,
        }
    }

    /// Checks server and credentials without creating or changing anything. Returns false if the database does not exist
    /// yet.
    pub async fn probe(&self) -> Result<bool, StoreError> {
        match self {
            Self::Embedded(_) => Ok(true),
            Self::Influx(store) => store.probe().await,
        }
    }

    /// Whether the store answers right now, asked in a way that costs next to nothing however much it holds.
    pub async fn answers(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.devices(None, 1).await.map(drop),
            Self::Influx(store) => store.answers().await,
        }
    }

    /// Whether the store is a server of its own, that may come back from an outage with less than it had acknowledged.
    pub fn may_come_back_with_less(&self) -> bool {
        matches!(self, Self::Influx(_))
    }

    /// What tells one run of the store's server from the next: a restart may be over before anybody misses the
    /// server. `None` where it does not say (InfluxDB 2), or there is none.
    pub async fn incarnation(&self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Embedded(_) => Ok(None),
            Self::Influx(store) => store.incarnation().await,
        }
    }

    /// Whether the store removes by itself what is older than its retention: then nobody else has to.
    pub fn keeps_retention(&self) -> bool {
        matches!(self, Self::Influx(_))
    }

    /// How many writes at once pay. The embedded store has one thread that writes: one more lies ready for it.
    /// An InfluxDB answers several requests at once, as many as its own answers allow.
    pub fn writes_at_once(&self) -> usize {
        match self {
            Self::Embedded(_) => 2,
            Self::Influx(_) => usize::MAX,
        }
    }

    /// Stores the writer's own figures ([`spindle_core::schema::PIPELINE`]) for dashboards. The embedded
    /// store keeps none: its page reads them where they are made.
    pub async fn write_figures(
        &self,
        instance: &str,
        at: Timestamp,
        figures: &[(&'static str, f64)],
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Influx(store) => store.write_figures(instance, at, figures).await,
        }
    }

    /// Stores a batch, all or nothing. `Ok` means on disk. Idempotent: a metric's identity is device, type
    /// and timestamp (the newest value wins), an event's is id, device, type and timestamp (the first
    /// `received` stays). Labels are merged into the device's, the newest value of a key wins. A value without
    /// a `seq` leaves that of the value whose place it takes.
    ///
    /// `received` is now. Waits while the store has enough in hand; a caller that stops waiting may find
    /// its batch stored all the same.
    pub async fn write(&self, batch: Arc<Batch>, received: Timestamp) -> Result<Written, StoreError> {
        match self {
            Self::Embedded(store) => store.write(batch, received).await,
            Self::Influx(store) => store.write(&batch, received).await,
        }
    }

    /// Devices by name (in byte order), those after `after`, at most `limit`.
    pub async fn devices(&self, after: Option<&DeviceName>, limit: usize) -> Result<Vec<DeviceRecord>, StoreError> {
        match self {
            Self::Embedded(store) => store.devices(after, limit).await,
            Self::Influx(store) => store.devices(after, limit).await,
        }
    }

    /// One device; `None` if nothing is stored of it.
    pub async fn device(&self, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
        match self {
            Self::Embedded(store) => store.device(name).await,
            Self::Influx(store) => store.device(name).await,
        }
    }

    /// The newest value of each metric type in the window, by metric name.
    pub async fn latest(&self, device: &DeviceName, window: Window) -> Result<Vec<LatestSample>, StoreError> {
        let mut answers = self.latest_many(std::slice::from_ref(device), window).await?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// [`Self::latest`] of many devices at one instant of the store, in the order asked; empty for an unknown one.
    pub async fn latest_many(
        &self,
        devices: &[DeviceName],
        window: Window,
    ) -> Result<Vec<Vec<LatestSample>>, StoreError> {
        match self {
            Self::Embedded(store) => store.latest_many(devices, window).await,
            Self::Influx(store) => store.latest_many(devices, window).await,
        }
    }

    /// The values of one series in the window, oldest first, the oldest `limit` of them.
    pub async fn range(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        match self {
            Self::Embedded(store) => store.range(device, metric, window, limit).await,
            Self::Influx(store) => store.range(device, metric, window, limit).await,
        }
    }

    /// First value, last value and number of values in the window; `None` if there is none.
    pub async fn first_and_last(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
    ) -> Result<Option<FirstAndLast>, StoreError> {
        match self {
            Self::Embedded(store) => store.first_and_last(device, metric, window).await,
            Self::Influx(store) => store.first_and_last(device, metric, window).await,
        }
    }

    /// The window in buckets of length `bucket` (at least 1 ns), oldest first. A bucket starts at a whole
    /// multiple of its length since the Unix epoch, before 1970 too; at the window's edges it holds only
    /// what lies inside the window. Empty buckets are left out.
    pub async fn buckets(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        bucket: Duration,
    ) -> Result<Vec<Bucket>, StoreError> {
        match self {
            Self::Embedded(store) => store.buckets(device, metric, window, bucket).await,
            Self::Influx(store) => store.buckets(device, metric, window, bucket).await,
        }
    }

    /// The events a filter selects, newest first: by time, then id, then device, then type, all descending.
    pub async fn events(&self, filter: EventFilter) -> Result<Vec<EventRecord>, StoreError> {
        match self {
            Self::Embedded(store) => store.events(filter).await,
            Self::Influx(store) => store.events(&filter).await,
        }
    }

    /// How many events a filter selects, per device, by name; without its limit and offset.
    pub async fn count_events_by_device(&self, filter: EventFilter) -> Result<Vec<(DeviceName, u64)>, StoreError> {
        match self {
            Self::Embedded(store) => store.count_events_by_device(filter).await,
            Self::Influx(store) => store.count_events_by_device(&filter).await,
        }
    }

    /// The numbers of all points of each device in the window, by the time they happened; in the order asked. One
    /// event counts once, however often it is stored.
    pub async fn tally(&self, devices: &[DeviceName], window: Window) -> Result<Vec<Tally>, StoreError> {
        match self {
            Self::Embedded(store) => store.tally(devices, window).await,
            Self::Influx(store) => store.tally(devices, window).await,
        }
    }

    /// Lets a listener hear the `seq` of each point of a device in the window, those between two bounds; others may
    /// be heard as well. Nothing is gathered: it takes the memory that the listener takes.
    pub async fn numbers<L: SeqVisitor>(
        &self,
        device: &DeviceName,
        window: Window,
        seqs: RangeInclusive<u64>,
        listener: L,
    ) -> Result<L, StoreError> {
        match self {
            Self::Embedded(store) => store.numbers(device, window, listener).await,
            Self::Influx(store) => store.numbers(device, window, seqs, listener).await,
        }
    }

    /// How much is stored.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        match self {
            Self::Embedded(store) => store.counts().await,
            Self::Influx(store) => store.counts().await,
        }
    }

    /// Removes metrics and events older than `limit`, then the series and devices that have nothing left.
    /// Retention wants [`TimeBasis::Received`]: a replay of old data is as young as its arrival.
    /// [`TimeBasis::Happened`] goes by the measured time, [`TimeBasis::Either`] removes what is older by one of the two.
    ///
    /// `limit` must lie before the clock of every writer. Works in small steps between which writes go on;
    /// dropped or failed half-way, it leaves the rest to the next call.
    pub async fn remove_before(&self, limit: Timestamp, by: TimeBasis) -> Result<Removed, StoreError> {
        match self {
            Self::Embedded(store) => store.remove_before(limit, by).await,
            Self::Influx(store) => Err(store.unsupported("remove data by itself: InfluxDB's retention does")),
        }
    }

    /// What the store takes up on disk, in bytes. InfluxDB does not say.
    pub async fn size_bytes(&self) -> Result<u64, StoreError> {
        match self {
            Self::Embedded(store) => store.size_bytes().await,
            Self::Influx(store) => Err(store.unsupported("say how large it is")),
        }
    }

    /// Finishes what is in hand and closes; every later call through any handle fails with
    /// [`StoreError::Closed`]. A store that is dropped without it loses nothing either.
    pub async fn close(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.close().await,
            Self::Influx(store) => store.close(),
        }
    }
}
