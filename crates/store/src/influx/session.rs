//! Session with one InfluxDB: client, detected version, concurrency limits, and what is remembered between calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{MutexGuard, PoisonError};

use spindle_core::records::Window;
use spindle_core::schema::DEVICE_METRICS;
use tokio::sync::Mutex;
use tracing::info;

use super::chunk::{BatchShape, FailureCounts};
use super::client::{FILE_LIMIT, InfluxClient};
use super::concurrency::ConcurrencyLimit;
use super::labels::WrittenLabels;
use super::provision;
use super::response::SeriesPart;
use super::settings::{InfluxSettings, InfluxVersion};
use crate::StoreError;
use crate::known_arrivals::KnownArrivals;

/// First and last instant that all versions store.
pub(super) const MIN_TIME: i64 = i64::MIN + 2;
pub(super) const MAX_TIME: i64 = i64::MAX - 1;

/// Requests with events in flight, initially and at most. They are small and must not wait for values.
const EVENT_REQUESTS: (usize, usize) = (2, 4);

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
    arrivals: std::sync::Mutex<KnownArrivals<String>>,
}

impl Influx {
    /// Checks the settings without contacting the server.
    pub(crate) fn new(settings: InfluxSettings) -> Result<Self, StoreError> {
        Ok(Self {
            client: InfluxClient::new(settings)?,
            provisioned: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            value_limit: ConcurrencyLimit::new(1, 1),
            event_limit: ConcurrencyLimit::new(EVENT_REQUESTS.0, EVENT_REQUESTS.1),
            failures: FailureCounts::default(),
            labels: std::sync::Mutex::default(),
            arrivals: std::sync::Mutex::default(),
        })
    }

    /// Detects the version and provisions the database, once; returns the version.
    pub(crate) async fn ready(&self) -> Result<InfluxVersion, StoreError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(StoreError::Disconnected { server: self.client.address() });
        }
        let mut provisioned = self.provisioned.lock().await;
        if let Some(version) = *provisioned {
            return Ok(version);
        }
        let version = self.client.detect_version().await?;
        provision::provision(&self.client, version).await?;
        info!(server = self.client.address(), ?version, database = self.client.settings.database, "InfluxDB ready");
        let shape = BatchShape::of(version);
        self.value_limit.set_bounds(shape.initial_requests, shape.max_requests);
        *provisioned = Some(version);
        Ok(version)
    }

    /// Provisions the database again after it disappeared.
    pub(super) async fn provision_again(&self) -> Result<(), StoreError> {
        *self.provisioned.lock().await = None;
        self.ready().await.map(drop)
    }

    pub(crate) async fn probe(&self) -> Result<bool, StoreError> {
        self.client.probe().await
    }

    /// Runs a query that needs the database and the right to read it, and touches at most a minute of data.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.ready().await?;
        let text =
            format!("SELECT last(value) FROM {} WHERE time >= now() - 1m AND time <= now()", DEVICE_METRICS.name);
        let mut rows = self.client.query(&text).await?;
        while !rows.next().await?.is_empty() {}
        Ok(())
    }

    /// Returns the identity of the server's current run, if the server reports one.
    pub(crate) async fn server_incarnation(&self) -> Result<Option<String>, StoreError> {
        let version = self.ready().await?;
        self.client.server_incarnation(version).await
    }

    pub(crate) fn close(&self) -> Result<(), StoreError> {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return Err(StoreError::Disconnected { server: self.client.address() });
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
        mut each: impl FnMut(&SeriesPart),
    ) -> Result<(), StoreError> {
        self.ready().await?;
        let mut work = vec![(from, until)];
        while let Some((from, until)) = work.pop() {
            let mut n_seen = 0;
            let outcome = async {
                let mut rows = self.client.query(&query(from, until)).await?;
                loop {
                    let found = rows.next().await?;
                    if found.is_empty() {
                        return Ok(());
                    }
                    n_seen += found.len();
                    found.iter().for_each(&mut each);
                }
            }
            .await;
            match outcome {
                Err(StoreError::Query { ref message, .. })
                    if n_seen == 0 && from < until && message.contains(FILE_LIMIT) =>
                {
                    let middle = ((i128::from(from) + i128::from(until)).div_euclid(2)) as i64;
                    work.push((middle + 1, until));
                    work.push((from, middle));
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    pub(super) fn labels(&self) -> MutexGuard<'_, WrittenLabels> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arrivals(&self) -> MutexGuard<'_, KnownArrivals<String>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the first and last instant of a window, within the range that InfluxDB stores; `None` if empty.
pub(super) fn bounds(window: Window) -> Option<(i64, i64)> {
    let from = window.from.as_ns().max(MIN_TIME);
    let until = window.until.as_ns().saturating_sub(1).min(MAX_TIME);
    (from <= until).then_some((from, until))
}
