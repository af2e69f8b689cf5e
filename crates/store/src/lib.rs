//! Time-series store of Spindle: a batch is on disk before [`Store::write`] returns, and writing it again changes
//! nothing.
//!
//! [`Store`] is a closed set of stores with equal results; `tests/conformance` verifies that. Modules:
//!
//! - `error`: errors, and whether a retry helps.
//! - `results`: results of writes and removals.
//! - `write_time`: time of a write, and clocks that disagree.
//! - `retention`: elements too old to be written.
//! - `series`: reads of values.
//! - `embedded`: one SQLite file; see the module's own map.
//! - `influx`: an InfluxDB 1, 2 or 3, or an openGemini; see the module's own map.
//! - `known_arrivals`, `remembered`: what was written, bounded in bytes.
//!
//! Nothing outside this crate names SQLite or sends requests to InfluxDB. Nothing inside reads a clock.
#![warn(missing_docs)]

#[cfg(test)]
extern crate self as spindle_store;

mod embedded;
mod error;
mod influx;
mod known_arrivals;
mod remembered;
mod results;
mod retention;
mod series;
mod write_time;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spindle_core::alias::Alias;
use spindle_core::audit::{SeqVisitor, Tally};
use spindle_core::pipeline::{PipelinePoint, WriterReport};
use spindle_core::records::{Arrival, DeviceRecord, EventFilter, EventRecord, Window};
use spindle_core::{Batch, DeviceName, Labels, Timestamp};

pub use embedded::EmbeddedStore;
pub use error::{StoreError, StoreErrorKind};
pub use influx::{AddressStatus, Influx, InfluxSettings, InfluxVersion};
pub use results::{FirstAndLast, MissingExtras, Refusal, Refused, RefusedItem, Removed, Written};
use retention::WithinRetention;
pub use write_time::{CLOCK_TOLERANCE, WriteTime, do_agree};

/// Store of metrics and events. A clone is a cheap handle to the same store.
///
/// Every method may fail with a [`StoreError`]; if [`StoreError::is_transient`], the same call may succeed later.
#[derive(Clone, Debug)]
pub enum Store {
    /// SQLite file, opened by this process.
    Embedded(EmbeddedStore),
    /// InfluxDB server, version 1, 2 or 3, or openGemini.
    Influx(Arc<Influx>),
}

impl Store {
    /// Opens the embedded store in the file `path`, created with its folder if absent. Several processes may
    /// open one file, to read and to write. Requires a Tokio runtime.
    pub async fn open_embedded(path: &Path) -> Result<Self, StoreError> {
        EmbeddedStore::open(path).await.map(Self::Embedded)
    }

    /// Sets the retention: a write refuses points older than it. An InfluxDB has it in its settings.
    #[must_use]
    pub fn with_retention(self, retention: Option<Duration>) -> Self {
        match self {
            Self::Embedded(store) => Self::Embedded(store.with_retention(retention)),
            Self::Influx(influx) => Self::Influx(influx),
        }
    }

    /// Opens a session with an InfluxDB. Checks only the settings: the first call contacts the server, and so does
    /// each further call until one succeeds.
    pub fn open_influx(settings: InfluxSettings) -> Result<Self, StoreError> {
        Influx::new(settings).map(|influx| Self::Influx(Arc::new(influx)))
    }

    /// Verifies that the store is usable: server, credentials, database.
    pub async fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Influx(influx) => influx.ready().await.map(drop),
        }
    }

    /// Returns the version of the server, once it is usable; `None` for the embedded store.
    pub async fn version(&self) -> Result<Option<InfluxVersion>, StoreError> {
        match self {
            Self::Embedded(_) => Ok(None),
            Self::Influx(influx) => influx.ready().await.map(Some),
        }
    }

    /// Verifies server and credentials without creating or changing anything. Returns `false` if the database does not
    /// exist yet.
    pub async fn probe(&self) -> Result<bool, StoreError> {
        match self {
            Self::Embedded(_) => Ok(true),
            Self::Influx(influx) => influx.probe().await,
        }
    }

    /// Verifies that the store responds to queries, at a cost independent of the amount of data.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.devices(None, 1).await.map(drop),
            Self::Influx(influx) => influx.ping().await,
        }
    }

    /// Returns whether the store is a separate server, which may return from an outage without some of the writes
    /// that it acknowledged.
    pub fn may_lose_acknowledged_writes(&self) -> bool {
        matches!(self, Self::Influx(_))
    }

    /// Returns the identity of the server's current run: a restart may be over before anybody notices it. `None` if
    /// the server reports none (InfluxDB 2, openGemini), or for the embedded store.
    pub async fn server_incarnation(&self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Embedded(_) => Ok(None),
            Self::Influx(influx) => influx.server_incarnation().await,
        }
    }

    /// Returns the number of outages that ended while another server or node of the store answered: callers saw no
    /// failure to connect, and yet acknowledged writes may be lost.
    pub fn n_recoveries(&self) -> u64 {
        match self {
            Self::Embedded(_) => 0,
            Self::Influx(influx) => influx.n_recoveries(),
        }
    }

    /// Returns the time after a write during which a query may miss it; zero if a query shows every write. Known after
    /// the first successful call.
    pub fn read_lag(&self) -> Duration {
        match self {
            Self::Embedded(_) => Duration::ZERO,
            Self::Influx(influx) => influx.read_lag(),
        }
    }

    /// Returns the time on the clock of the server as of its last responses, exact to a second; `None` before the first
    /// one, and for the embedded store.
    pub fn server_clock(&self) -> Option<Timestamp> {
        match self {
            Self::Embedded(_) => None,
            Self::Influx(influx) => influx.server_clock(),
        }
    }

    /// Returns the state of each address of the store as of the last requests; none for the embedded store.
    pub fn addresses(&self) -> Vec<AddressStatus> {
        match self {
            Self::Embedded(_) => Vec::new(),
            Self::Influx(influx) => influx.addresses(),
        }
    }

    /// Returns whether the store itself removes data older than its retention; no other process has to.
    pub fn enforces_retention(&self) -> bool {
        matches!(self, Self::Influx(_))
    }

    /// Returns the largest useful number of concurrent writes. The embedded store has one thread that commits: one
    /// more write waits for it. An InfluxDB serves several requests at once, as many as its own responses allow.
    pub fn writes_at_once(&self) -> usize {
        match self {
            Self::Embedded(_) => 2,
            Self::Influx(_) => usize::MAX,
        }
    }

    /// Stores a writer's own metrics ([`spindle_core::schema::PIPELINE`]). Idempotent: a point is that of an instance and
    /// a time. The embedded store keeps them for 30 days, or for the retention if that is shorter.
    pub async fn write_self_metrics(&self, instance: &str, points: &[PipelinePoint]) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.write_self_metrics(instance, points).await,
            Self::Influx(influx) => influx::pipeline::write(influx, instance, points).await,
        }
    }

    /// Returns what each writer reported of itself in each bucket of the window, oldest first; buckets as in
    /// [`Self::buckets`].
    pub async fn pipeline(&self, window: Window, bucket: Duration) -> Result<Vec<WriterReport>, StoreError> {
        match self {
            Self::Embedded(store) => store.pipeline(window, bucket).await,
            Self::Influx(influx) => influx::pipeline::reports(influx, window, bucket).await,
        }
    }

    /// Stores a batch, all or nothing but the elements in [`Written::refused`]. `Ok` means on disk. Idempotent: a metric's identity is device, type
    /// and timestamp (the newest value wins), an event's is id, device, type and timestamp (the first
    /// `received` stays). Labels are merged into the device's, the newest value of a key wins. A value without
    /// a `seq` leaves that of the value whose place it takes.
    ///
    /// A point older than the retention, by its own time, is refused on every store, as [`Refusal::BeyondRetention`];
    /// as [`Refusal::ClocksDisagree`] if clocks disagree and not all of them call it old.
    ///
    /// `moment` is the current time. Waits while the store has enough writes in flight; the batch of a caller that
    /// stops waiting may be stored all the same.
    pub async fn write(&self, batch: Arc<Batch>, moment: impl Into<WriteTime>) -> Result<Written, StoreError> {
        let moment = moment.into();
        let received = moment.as_of.unwrap_or(moment.received);
        let oldest = match self {
            Self::Embedded(store) => store.oldest(moment),
            Self::Influx(influx) => influx.oldest(moment).await?,
        };
        let within = WithinRetention::of(batch, oldest);
        let written = match self {
            Self::Embedded(store) => store.write(within.batch.clone(), received).await?,
            Self::Influx(influx) => influx::write::write(influx, &within.batch, received).await?,
        };
        // Asked afterwards: the first responses tell the time of the server.
        let is_disputed = matches!(self, Self::Influx(influx) if influx.beside_server(moment).is_disputed);
        Ok(within.complete(written, is_disputed))
    }

    /// Completes the indexes of an InfluxDB in which an earlier version stored data without them. Takes a second per
    /// 10,000 such events, the first time; one query afterwards. Until then, queries miss what only an index finds:
    /// events by their arrival, and devices that send no more.
    ///
    /// `now` is the current time.
    pub async fn complete_indexes(&self, now: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Influx(influx) => influx::backfill::complete_indexes(influx, now).await,
        }
    }

    /// Returns the devices after `after` by name (in byte order), at most `limit`.
    pub async fn devices(&self, after: Option<&DeviceName>, limit: usize) -> Result<Vec<DeviceRecord>, StoreError> {
        match self {
            Self::Embedded(store) => store.devices(after, limit).await,
            Self::Influx(influx) => influx::devices::devices(influx, after, limit).await,
        }
    }

    /// Returns one device; `None` if nothing is stored of it.
    pub async fn device(&self, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
        match self {
            Self::Embedded(store) => store.device(name).await,
            Self::Influx(influx) => influx::devices::device(influx, name).await,
        }
    }

    /// Returns the devices whose newest labels an alias means, by name: the one that is there now, and those that were
    /// there last. Cost: the labels of all devices.
    pub async fn devices_at(&self, alias: &Alias) -> Result<Vec<DeviceName>, StoreError> {
        match self {
            Self::Embedded(store) => store.devices_at(alias).await,
            Self::Influx(influx) => influx::devices::devices_at(influx, alias).await,
        }
    }

    /// Returns the newest labels of some devices, in their order; empty for an unknown device.
    pub async fn labels(&self, devices: &[DeviceName]) -> Result<Vec<Labels>, StoreError> {
        match self {
            Self::Embedded(store) => store.labels(devices).await,
            Self::Influx(influx) => influx::devices::labels(influx, devices).await,
        }
    }

    /// Returns the newest arrival of values of each device received in the window, in the order of `devices`; exact to
    /// about ten seconds. A value that was already stored does not arrive again; InfluxDB cannot tell, so there a
    /// restore counts as an arrival.
    pub async fn last_arrivals(
        &self,
        devices: &[DeviceName],
        window: Window,
    ) -> Result<Vec<Option<Arrival>>, StoreError> {
        match self {
            Self::Embedded(store) => store.last_arrivals(devices, window).await,
            Self::Influx(influx) => influx::device_arrivals::last(influx, devices, window).await,
        }
    }

    /// Returns the events that a filter selects, newest first: by time, id, device and type, all descending.
    pub async fn events(&self, filter: EventFilter) -> Result<Vec<EventRecord>, StoreError> {
        match self {
            Self::Embedded(store) => store.events(filter).await,
            Self::Influx(influx) => influx::events::select(influx, &filter).await,
        }
    }

    /// Counts the events that a filter selects, per device, by name; ignores its limit and offset.
    pub async fn count_events_by_device(&self, filter: EventFilter) -> Result<Vec<(DeviceName, u64)>, StoreError> {
        match self {
            Self::Embedded(store) => store.count_events_by_device(filter).await,
            Self::Influx(influx) => influx::events::count_by_device(influx, &filter).await,
        }
    }

    /// Tallies the sequence numbers of all points of each device in the window, by the time they happened; in the
    /// order of `devices`. One event counts once, however often it is stored.
    pub async fn tally(&self, devices: &[DeviceName], window: Window) -> Result<Vec<Tally>, StoreError> {
        match self {
            Self::Embedded(store) => store.tally(devices, window).await,
            Self::Influx(influx) => influx::sequences::tally(influx, devices, window).await,
        }
    }

    /// Visits the sequence number of each point of a device in the window, those between two bounds; others may be
    /// visited as well. Rows are not collected: the memory used is that of the visitor.
    pub async fn sequences<V: SeqVisitor>(
        &self,
        device: &DeviceName,
        window: Window,
        seqs: RangeInclusive<u64>,
        visitor: V,
    ) -> Result<V, StoreError> {
        match self {
            Self::Embedded(store) => store.sequences(device, window, visitor).await,
            Self::Influx(influx) => influx::sequences::visit(influx, device, window, seqs, visitor).await,
        }
    }

    /// Removes metrics and events whose time lies before `limit`, then the series and devices that have nothing left.
    /// Age is that of the point, as at the write: whatever is removed would be refused, and the other way round.
    ///
    /// Works in small steps between which writes proceed; if it is
    /// dropped or fails half-way, the next call removes the rest.
    pub async fn remove_before(&self, limit: Timestamp) -> Result<Removed, StoreError> {
        match self {
            Self::Embedded(store) => store.remove_before(limit).await,
            Self::Influx(_) => {
                Err(StoreError::Unsupported { operation: "remove data; the retention of InfluxDB does" })
            }
        }
    }

    /// Returns the size of the store on disk, in bytes. InfluxDB does not report it.
    pub async fn size_bytes(&self) -> Result<u64, StoreError> {
        match self {
            Self::Embedded(store) => store.size_bytes().await,
            Self::Influx(_) => Err(StoreError::Unsupported { operation: "report its size" }),
        }
    }

    /// Finishes the calls in flight and closes; every later call through any handle fails with
    /// [`StoreErrorKind::Closed`]. A store dropped without it loses nothing either.
    pub async fn close(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.close().await,
            Self::Influx(influx) => influx.close(),
        }
    }
}
