//! Answers queries from the store and core's judgement. The reader (NATS) and the web (HTTP) both serve
//! what this module returns; it never parses a request and never touches a socket.

mod alias;
mod anomalies;
mod arrivals;
mod audit;
mod bounded_events;
mod decoded;
mod device;
mod evidence;
mod fit;
mod fleet;
mod fleet_columns;
mod incidents;
mod judged_events;
mod judged_fleet;
mod kept_fleet;
mod listings;
mod onset;
#[cfg(test)]
mod test_data;
mod verdicts;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use anyhow::Result;
use spindle_core::pipeline::pipeline_buckets;
use spindle_core::query::{Query, QueryError};
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::response::{Basis, Data, FleetRow, Response};
use spindle_core::{Criticality, Timestamp};
use spindle_store::Store;
use tracing::error;

use kept_fleet::KeptFleet;

use crate::metrics::{QUERIES, QUERY_SECONDS};

/// Longest time that a query may take; beyond it the caller has to narrow the query.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Most events of one batch of the live stream.
const MAX_NEW_EVENTS: usize = 500;

/// Answers queries; clones share what is kept for a moment.
#[derive(Clone)]
pub(crate) struct QueryService {
    store: Store,
    fleet: KeptFleet,
}

/// A finished response.
pub(crate) struct Served {
    /// JSON, at most `max_bytes` long.
    pub(crate) json: Vec<u8>,
    /// Set if the query failed; the same message is in the JSON.
    pub(crate) failure: Option<Failure>,
}

/// The reason why a query failed.
pub(crate) struct Failure {
    /// True if the caller has to change the query; false if it may be repeated as it is.
    pub(crate) is_bad_query: bool,
    /// One line.
    pub(crate) message: String,
}

/// Returns the response to a query that is not even looked at.
pub(crate) fn refusal(message: &str) -> Vec<u8> {
    fit::to_json(&Response::Error { message: message.to_owned() })
}

impl QueryService {
    /// Answers from `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self { store, fleet: KeptFleet::default() }
    }

    /// Returns a number that changes with the verdict on any device.
    pub(crate) async fn fleet_digest(&self) -> Result<u64> {
        let (_, fleet) = self.fleet.present(&self.store).await?;
        let mut hasher = DefaultHasher::new();
        for device in &fleet.devices {
            let FleetRow { source_device, health, score, asleep, acknowledged, .. } = &device.row;
            (source_device.as_str(), health.name(), score, asleep, acknowledged.is_some()).hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    /// Returns the newest events stored in a time, newest first, at most 500; and `true` if there are more.
    pub(crate) async fn events_received(&self, from: Timestamp, until: Timestamp) -> Result<(Vec<EventRecord>, bool)> {
        let filter = EventFilter {
            window: Window { from, until: until.plus(Duration::from_nanos(1)) },
            basis: TimeBasis::Received,
            source_device: None,
            event_type: None,
            min_criticality: Criticality::MIN,
            limit: MAX_NEW_EVENTS + 1,
            offset: 0,
        };
        let mut events = self.store.events(filter).await?;
        let has_more = events.len() > MAX_NEW_EVENTS;
        events.truncate(MAX_NEW_EVENTS);
        Ok((events, has_more))
    }

    /// Runs a query. Never fails: an error, of the query itself too, becomes a response.
    pub(crate) async fn serve(&self, query: Result<Query, QueryError>, max_bytes: usize) -> Served {
        let timer = QUERY_SECONDS.start_timer();
        let (query_type, outcome) = match query {
            Ok(query) => (query.query_type(), self.run_in_time(query).await),
            Err(error) => ("invalid", Err(Failure { is_bad_query: true, message: error.to_string() })),
        };
        timer.observe_duration();
        let status = if outcome.is_ok() { "success" } else { "error" };
        QUERIES.with_label_values(&[query_type, status]).inc();
        let fitted = outcome
            .and_then(|data| fit::to_json_within(data, max_bytes).map_err(|n_bytes| oversized(n_bytes, max_bytes)));
        match fitted {
            Ok(json) => Served { json, failure: None },
            Err(failure) => {
                let json = fit::to_json(&Response::Error { message: failure.message.clone() });
                Served { json, failure: Some(failure) }
            }
        }
    }

    async fn run_in_time(&self, query: Query) -> Result<Data, Failure> {
        let query_type = query.query_type();
        match tokio::time::timeout(TIMEOUT, self.run(query)).await {
            Ok(Ok(data)) => Ok(data),
            Ok(Err(error)) => {
                error!(query_type, error = format!("{error:#}"), "query failed");
                Err(Failure { is_bad_query: false, message: format!("cannot read from the store: {error}") })
            }
            Err(_) => Err(Failure {
                is_bad_query: false,
                message: format!("no answer within {} s: ask for a shorter window or fewer rows", TIMEOUT.as_secs()),
            }),
        }
    }

    async fn run(&self, query: Query) -> Result<Data> {
        let store = &self.store;
        match alias::resolve(store, query).await? {
            Query::AlertsCritical(query) => listings::events(store, query, true).await.map(Data::AlertsCritical),
            Query::Events(query) => listings::events(store, query, false).await.map(Data::Events),
            Query::Devices { source_device, after, limit, at } => match source_device {
                Some(device) => listings::device(store, device, after.as_ref(), at).await.map(Data::Devices),
                None => listings::devices(store, after, limit, at).await.map(Data::Devices),
            },
            Query::DeviceHealth { source_device, window } => device::health(store, source_device, window).await,
            Query::AnomalyTemperature { source_device, threshold, window } => {
                device::temperature_anomaly(store, source_device, threshold, window).await
            }
            Query::Series { source_device, metric_type, window, bucket, with_expected } => {
                device::series(store, &source_device, &metric_type, window, bucket, with_expected).await
            }
            Query::AuditGaps(query) => audit::gaps(store, query).await.map(Data::AuditGaps),
            Query::FleetHealth(query) => fleet::fleet_health(store, query).await.map(Box::new).map(Data::FleetHealth),
            Query::Fleet(wanted) => {
                fleet_columns::fleet(store, &self.fleet, wanted).await.map(Box::new).map(Data::Fleet)
            }
            Query::FleetHistory { window } => fleet_columns::history(store, window).await,
            Query::FleetSeries { metric_type, window, bucket } => {
                fleet_columns::series(store, metric_type, window, bucket).await
            }
            Query::Pipeline { window, bucket } => pipeline(store, window, bucket).await,
            Query::Incidents(query) => incidents::incidents(store, query).await.map(Data::Incidents),
            Query::HealthHistory { source_device, window } => {
                verdicts::history(store, source_device, window).await.map(Data::HealthHistory)
            }
            Query::Anomalies(query) => anomalies::anomalies(store, query).await.map(Data::Anomalies),
        }
    }
}

async fn pipeline(store: &Store, window: Window, bucket: Duration) -> Result<Data> {
    let data = pipeline_buckets(store.pipeline(window, bucket).await?, window, bucket);
    let n_points = data.iter().map(|bucket| bucket.n_writers).sum();
    Ok(Data::Pipeline { data, bucket_seconds: bucket.as_secs_f64(), basis: Basis::of(window, n_points) })
}

fn oversized(n_bytes: usize, max_bytes: usize) -> Failure {
    let message = format!(
        "the answer has {n_bytes} bytes, more than the {max_bytes} that fit: ask for a shorter window, longer buckets or fewer rows"
    );
    Failure { is_bad_query: true, message }
}
