//! Session with one InfluxDB: client, detected version, concurrency limits, and what is remembered between calls.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use spindle_core::Timestamp;
use spindle_core::records::Window;
use spindle_core::schema::DEVICE_METRICS;
use tokio::sync::Mutex;
use tracing::{debug, info};

use super::addresses::AddressStatus;
use super::chunk::{BatchShape, FailureCounts};
use super::client::{FILE_LIMIT, InfluxClient};
use super::concurrency::ConcurrencyLimit;
use super::index_log::IndexLog;
use super::labels::WrittenLabels;
use super::last_values::LastValues;
use super::limits::LimitedSeries;
pub(super) use super::line::{MAX_TIME, MIN_TIME};
use super::noted_devices::NotedDevices;
use super::placements::RecentPlacements;
use super::response::SeriesPart;
use super::settings::{InfluxSettings, InfluxVersion};
use super::{detect, provision, retention};
use crate::known_arrivals::KnownArrivals;
use crate::retention::OldestPoints;
use crate::write_time::do_agree;
use crate::{StoreError, WriteTime};

/// Requests with events in flight, initially and at most. They are small and must not wait for values.
const EVENT_REQUESTS: (usize, usize) = (2, 4);

/// Age of the server's report of its retention after which it is asked again: an operator may change it at any time.
const ASK_RETENTION_NS: u64 = 60_000_000_000;

/// Session with an InfluxDB server.
#[derive(Debug)]
pub struct Influx {
    pub(super) client: InfluxClient,
    /// Version, once the database is known to exist.
    provisioned: Mutex<Option<InfluxVersion>>,
    is_closed: AtomicBool,
    /// Limit of requests with values, shared by all writes; its bounds depend on the version.
    pub(super) value_limit: ConcurrencyLimit,
    pub(super) event_limit: ConcurrencyLimit,
    pub(super) failures: FailureCounts,
    labels: std::sync::Mutex<WrittenLabels>,
    last_values: std::sync::Mutex<LastValues>,
    arrivals: std::sync::Mutex<KnownArrivals>,
    /// Positions of events that queries may not show yet.
    placements: std::sync::Mutex<RecentPlacements>,
    /// Held while notes are sent: those of one device and period go to one point, and the later must say more.
    pub(super) noted_devices: Mutex<NotedDevices>,
    /// Number of times that what is written was forgotten.
    n_forgotten: AtomicU64,
    /// Server run whose data the notes of labels, arrivals and devices describe.
    incarnation: std::sync::Mutex<Option<String>>,
    /// Time of the newest marker of the indexes that was seen.
    index_marker: std::sync::Mutex<Option<i64>>,
    limits: std::sync::Mutex<LimitedSeries>,
    server_retention: std::sync::Mutex<ServerRetention>,
    pub(super) index_log: IndexLog,
    /// An entry of the index of arrivals was refused, and the marker in the database does not say so yet.
    pub(super) has_unmarked_gap: AtomicBool,
    /// The indexes were completed by this session, up to gaps that wait for the next start.
    pub(super) has_completed_indexes: AtomicBool,
    /// Time of the last write, in nanoseconds: the only clock here.
    now_ns: AtomicI64,
}

/// Retention that the server reported last. The time of the report is that of the first write after it.
#[derive(Clone, Copy, Debug, Default)]
struct ServerRetention {
    retention: Option<Duration>,
    at: Option<Timestamp>,
}

impl Influx {
    /// Checks the settings without contacting the server.
    pub(crate) fn new(settings: InfluxSettings) -> Result<Self, StoreError> {
        Ok(Self {
            labels: std::sync::Mutex::default(),
            noted_devices: Mutex::new(NotedDevices::new()),
            n_forgotten: AtomicU64::new(0),
            incarnation: std::sync::Mutex::default(),
            client: InfluxClient::new(settings)?,
            provisioned: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            value_limit: ConcurrencyLimit::new(1, 1),
            event_limit: ConcurrencyLimit::new(EVENT_REQUESTS.0, EVENT_REQUESTS.1),
            failures: FailureCounts::default(),
            last_values: std::sync::Mutex::default(),
            arrivals: std::sync::Mutex::default(),
            placements: std::sync::Mutex::default(),
            index_marker: std::sync::Mutex::default(),
            limits: std::sync::Mutex::default(),
            server_retention: std::sync::Mutex::default(),
            index_log: IndexLog::default(),
            has_unmarked_gap: AtomicBool::new(false),
            has_completed_indexes: AtomicBool::new(false),
            now_ns: AtomicI64::new(0),
        })
    }

    /// Detects the version and provisions the database, once; returns the version.
    pub(crate) async fn ready(&self) -> Result<InfluxVersion, StoreError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(StoreError::Disconnected { server: self.client.server() });
        }
        let mut provisioned = self.provisioned.lock().await;
        if let Some(version) = *provisioned {
            return Ok(version);
        }
        let version = detect::detect_version(&self.client).await?;
        provision::provision(&self.client, version).await?;
        info!(server = self.client.server(), ?version, database = self.client.settings.database, "InfluxDB ready");
        let shape = BatchShape::of(version);
        self.value_limit.set_bounds(shape.initial_requests, shape.max_requests);
        self.read_retention(None).await;
        *provisioned = Some(version);
        Ok(version)
    }

    /// Returns the times of the oldest points that a write may store. The shorter one counts of the configured retention
    /// and the server's own.
    pub(crate) async fn oldest(&self, moment: WriteTime) -> Result<OldestPoints, StoreError> {
        self.ready().await?;
        let received = moment.received;
        let last = *self.server_retention();
        match last.at {
            None => self.server_retention().at = Some(received),
            Some(at) if at.as_ns().abs_diff(received.as_ns()) < ASK_RETENTION_NS => {}
            Some(_) => self.read_retention(Some(received)).await,
        }
        let shortest = self.retention();
        let server = self.server_clock();
        let moment = self.beside_server(moment);
        // A server whose clock is a little ahead drops a little more; version 3 does so in silence.
        let by_server = server.filter(|clock| do_agree(*clock, received)).unwrap_or(received).max(received);
        let now = if moment.is_disputed { moment.earliest } else { by_server };
        Ok(OldestPoints {
            kept: shortest.map(|retention| now.minus(retention)),
            taken: shortest.and_then(|retention| Some(server.filter(|_| moment.is_disputed)?.minus(retention))),
        })
    }

    /// Returns the shorter one of the configured retention and the server's own, as far as known.
    pub(super) fn retention(&self) -> Option<Duration> {
        self.client.settings.retention.into_iter().chain(self.server_retention().retention).min()
    }

    /// Takes the server's clock into a moment.
    pub(crate) fn beside_server(&self, moment: WriteTime) -> WriteTime {
        self.server_clock().into_iter().fold(moment, WriteTime::beside)
    }

    /// Returns the time on the server's clock, as of its last response.
    pub(crate) fn server_clock(&self) -> Option<Timestamp> {
        self.client.transport.clock.now()
    }

    /// Reads the server's retention; keeps the last one if that fails.
    async fn read_retention(&self, at: Option<Timestamp>) {
        let last = *self.server_retention();
        let retention = retention::ask(&self.client).await.unwrap_or_else(|error| {
            debug!(%error, "retention of InfluxDB not readable");
            last.retention
        });
        if retention != last.retention {
            info!(seconds = retention.map(|retention| retention.as_secs()), "InfluxDB reports its retention");
        }
        *self.server_retention() = ServerRetention { retention, at };
    }

    fn server_retention(&self) -> MutexGuard<'_, ServerRetention> {
        self.server_retention.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Provisions the database again after it disappeared.
    pub(super) async fn provision_again(&self) -> Result<(), StoreError> {
        *self.provisioned.lock().await = None;
        self.forget_written();
        self.ready().await.map(drop)
    }

    /// Checks server and credentials with a query that changes nothing. Returns `false` if the database does not exist.
    pub(crate) async fn probe(&self) -> Result<bool, StoreError> {
        detect::detect_version(&self.client).await?;
        self.client.transport.check_several().await;
        match self.query_newest().await {
            Err(StoreError::Configuration { problem, .. }) if problem.contains("database not found") => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    /// Returns the state of each address as of the last requests.
    pub(crate) fn addresses(&self) -> Vec<AddressStatus> {
        self.client.transport.addresses.statuses()
    }

    /// Returns the number of outages that ended unseen: another address served meanwhile, or the node that answered was
    /// not the one that was away.
    pub(crate) fn n_recoveries(&self) -> u64 {
        self.client.transport.addresses.n_recoveries()
    }

    /// Returns the time after an acknowledged write during which a query may miss it.
    pub(crate) fn read_lag(&self) -> Duration {
        let known = || self.client.version().map_or(Duration::ZERO, InfluxVersion::read_lag);
        self.client.settings.read_lag.unwrap_or_else(known)
    }

    /// Runs a query that needs the database and the right to read it, and touches at most a minute of data.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.ready().await?;
        self.query_newest().await
    }

    async fn query_newest(&self) -> Result<(), StoreError> {
        let text =
            format!("SELECT last(value) FROM {} WHERE time >= now() - 1m AND time <= now()", DEVICE_METRICS.name);
        let mut rows = self.client.query(&text).await?;
        while !rows.next().await?.is_empty() {}
        Ok(())
    }

    /// Returns the identity of the server's current run, if the server reports one.
    pub(crate) async fn server_incarnation(&self) -> Result<Option<String>, StoreError> {
        let version = self.ready().await?;
        let found = self.client.server_incarnation(version).await?;
        let last =
            std::mem::replace(&mut *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner), found.clone());
        if last.is_some() && last != found {
            self.forget_written();
        }
        Ok(found)
    }

    /// Forgets which labels, devices and arrivals are written: the server may have lost them. Takes no lock that a write
    /// holds.
    fn forget_written(&self) {
        self.labels().forget();
        self.arrivals().clear();
        self.n_forgotten.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn close(&self) -> Result<(), StoreError> {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return Err(StoreError::Disconnected { server: self.client.server() });
        }
        Ok(())
    }

    /// Runs a query over a time range (both ends inclusive). InfluxDB 3 Core refuses to read more than some hundred
    /// files at once: the range is then queried in halves, in order of time.
    pub(super) async fn select(
        &self,
        from: i64,
        until: i64,
        query: impl Fn(i64, i64) -> String,
        each: impl FnMut(&SeriesPart),
    ) -> Result<(), StoreError> {
        self.select_parts((from, until), None, query, each).await
    }

    /// As [`Self::select`], for a query that returns its `n_rows` newest rows: halves are read from the newest on, and no
    /// further than that.
    pub(super) async fn select_newest(
        &self,
        (from, until): (i64, i64),
        n_rows: usize,
        query: impl Fn(i64, i64) -> String,
        each: impl FnMut(&SeriesPart),
    ) -> Result<(), StoreError> {
        self.select_parts((from, until), Some(n_rows), query, each).await
    }

    async fn select_parts(
        &self,
        range: (i64, i64),
        newest: Option<usize>,
        query: impl Fn(i64, i64) -> String,
        mut each: impl FnMut(&SeriesPart),
    ) -> Result<(), StoreError> {
        self.ready().await?;
        let (mut work, mut n_rows) = (vec![range], 0);
        while let Some((from, until)) = work.pop() {
            let n_before = n_rows;
            let outcome = async {
                let mut rows = self.client.query(&query(from, until)).await?;
                loop {
                    let found = rows.next().await?;
                    if found.is_empty() {
                        return Ok(());
                    }
                    n_rows += found.iter().map(|series| series.values.len()).sum::<usize>();
                    found.iter().for_each(&mut each);
                }
            }
            .await;
            match outcome {
                Err(StoreError::Query { ref message, .. })
                    if n_rows == n_before && from < until && message.contains(FILE_LIMIT) =>
                {
                    let middle = ((i128::from(from) + i128::from(until)).div_euclid(2)) as i64;
                    let halves = [(from, middle), (middle + 1, until)];
                    work.extend(if newest.is_some() { halves } else { [halves[1], halves[0]] });
                }
                outcome => outcome?,
            }
            if newest.is_some_and(|enough| n_rows >= enough) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn placements(&self) -> MutexGuard<'_, RecentPlacements> {
        self.placements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn n_forgotten(&self) -> u64 {
        self.n_forgotten.load(Ordering::Relaxed)
    }

    pub(super) fn index_marker(&self) -> Option<i64> {
        *self.index_marker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_index_marker(&self, time: Option<i64>) {
        *self.index_marker.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// Sets the time, to that of a write.
    pub(super) fn set_now(&self, received: Timestamp) {
        self.now_ns.store(received.as_ns(), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.now_ns.load(Ordering::Relaxed))
    }

    pub(super) fn limits(&self) -> MutexGuard<'_, LimitedSeries> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn labels(&self) -> MutexGuard<'_, WrittenLabels> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last_values(&self) -> MutexGuard<'_, LastValues> {
        self.last_values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arrivals(&self) -> MutexGuard<'_, KnownArrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the first and last instant of a window, within the range that InfluxDB stores; `None` if empty.
pub(super) fn bounds(window: Window) -> Option<(i64, i64)> {
    let from = window.from.as_ns().max(MIN_TIME);
    let until = window.until.as_ns().saturating_sub(1).min(MAX_TIME);
    (from <= until).then_some((from, until))
}

#[cfg(test)]
mod tests {
    use super::super::{labels, last_values, limits, noted_devices};

    /// All at their limits, within a fifth of the smallest container of a writer.
    #[test]
    fn the_caches_of_a_session_stay_small() {
        let all = [
            labels::max_bytes(),
            last_values::max_bytes(),
            limits::max_bytes(),
            noted_devices::max_bytes(),
            crate::known_arrivals::max_bytes(),
        ];
        assert!(all.iter().sum::<usize>() <= 80 << 20, "{all:?}");
    }
}
