//! A question in, an answer out, from the store and core's judgement. The reader (NATS) and the web
//! (HTTP) are two doors to this one room.

mod audit;
mod rows;

use std::time::Duration;

use anyhow::Result;
use spindle_core::health::{self, Evidence};
use spindle_core::query::{Query, QueryError};
use spindle_core::records::{EventFilter, TimeBasis, Window};
use spindle_core::response::{Basis, Data, DeviceHealth, Response, TemperatureAnomaly};
use spindle_core::{Criticality, DeviceName, MetricType, Timestamp, metric};
use spindle_store::Store;
use tracing::error;

use crate::telemetry::{ANSWER_SECONDS, ANSWERS};

/// The metric that `anomaly_temperature` looks at.
const TEMPERATURE: &str = "DiskTemp";
/// Events looked at when a device is judged: a fault is among the newest, or it is buried in worse.
const MAX_JUDGED_EVENTS: usize = 1000;
/// Longest time that an answer may take. A question that takes longer must be narrowed.
const TIMEOUT: Duration = Duration::from_secs(8);

/// A finished answer.
pub(crate) struct Answered {
    /// JSON, at most `max_bytes` long.
    pub(crate) json: Vec<u8>,
    /// For a question that could not be answered: whether the asker can mend it, and one line.
    pub(crate) failure: Option<Failure>,
}

/// Why there is no answer.
pub(crate) struct Failure {
    /// The question is wrong, not we.
    pub(crate) is_askers_fault: bool,
    /// One line.
    pub(crate) message: String,
}

/// Answers the bytes of a question; never fails, an error is an answer too.
pub(crate) async fn answer(store: &Store, payload: &[u8], now: Timestamp, max_bytes: usize) -> Answered {
    let timer = ANSWER_SECONDS.start_timer();
    let (query_type, outcome) = match Query::from_json(payload, now) {
        Ok(query) => (query.query_type(), find(store, query).await),
        Err(mistake) => ("invalid", Err(Failure { is_askers_fault: true, message: mistake.to_string() })),
    };
    timer.observe_duration();
    let status = if outcome.is_ok() { "success" } else { "error" };
    ANSWERS.with_label_values(&[query_type, status]).inc();
    match outcome.and_then(|body| rows::fit(body, max_bytes)) {
        Ok(json) => Answered { json, failure: None },
        Err(failure) => failed(failure),
    }
}

/// The answer to a question that was found wrong before its bytes were made.
pub(crate) fn refuse(mistake: &QueryError) -> Answered {
    ANSWERS.with_label_values(&["invalid", "error"]).inc();
    failed(Failure { is_askers_fault: true, message: mistake.to_string() })
}

fn failed(failure: Failure) -> Answered {
    let json = rows::to_json(&Response::Error { message: failure.message.clone() });
    Answered { json, failure: Some(failure) }
}

async fn find(store: &Store, query: Query) -> Result<Data, Failure> {
    let query_type = query.query_type();
    match tokio::time::timeout(TIMEOUT, body(store, query)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(cause)) => {
            error!(query_type, error = format!("{cause:#}"), "question could not be answered");
            Err(Failure { is_askers_fault: false, message: format!("the store could not answer: {cause}") })
        }
        Err(_) => Err(Failure {
            is_askers_fault: false,
            message: format!("no answer within {} s: ask for a shorter window or fewer rows", TIMEOUT.as_secs()),
        }),
    }
}

async fn body(store: &Store, query: Query) -> Result<Data> {
    match query {
        Query::AlertsCritical(query) => rows::events(store, query, true).await.map(Data::AlertsCritical),
        Query::Events(query) => rows::events(store, query, false).await.map(Data::Events),
        Query::Devices { after, limit, at } => rows::devices(store, after, limit, at).await.map(Data::Devices),
        Query::DeviceHealth { source_device, window } => device_health(store, source_device, window).await,
        Query::AnomalyTemperature { source_device, threshold, window } => {
            anomaly_temperature(store, source_device, threshold, window).await
        }
        Query::Series { source_device, metric_type, window, bucket } => {
            let data = store.buckets(&source_device, &metric_type, window, bucket).await?;
            let n_points = data.iter().map(|bucket| bucket.count).sum();
            Ok(Data::Series {
                data,
                unit: metric::unit_symbol(&metric_type),
                bucket_seconds: bucket.as_secs_f64(),
                basis: Basis::of(window, n_points),
            })
        }
        Query::AuditGaps(query) => audit::gaps(store, query).await.map(Data::AuditGaps),
    }
}

async fn device_health(store: &Store, device: DeviceName, window: Window) -> Result<Data> {
    let latest = store.latest(&device, window).await?;
    let lookback = Window::ending_at(window.until, health::FAULT_LOOKBACK);
    let events = store
        .events(EventFilter {
            window: Window { from: lookback.from.min(window.from), until: window.until },
            basis: TimeBasis::Happened,
            source_device: Some(device.clone()),
            event_type: None,
            min_criticality: Criticality::new(1).unwrap_or(Criticality::MAX),
            limit: MAX_JUDGED_EVENTS,
            offset: 0,
        })
        .await?;
    let last_seen = store.device(&device).await?.map(|record| record.last_seen);
    let rhythm = match health::may_be_silent(&latest, window) {
        Some(newest) => rhythm(store, &device, &newest.metric_type, window).await?,
        None => None,
    };
    let verdict = health::judge(&Evidence { window, latest: &latest, events: &events, last_seen, rhythm });
    let n_points = (latest.len() + events.len()) as u64;
    Ok(Data::DeviceHealth { data: DeviceHealth { device, verdict, last_seen }, basis: Basis::of(window, n_points) })
}

/// The mean time between two values of a metric: in the window, or in one ten times as long if it holds too few.
async fn rhythm(store: &Store, device: &DeviceName, metric: &MetricType, window: Window) -> Result<Option<Duration>> {
    let length = Duration::try_from_secs_f64(window.seconds()).unwrap_or_default();
    for window in [window, Window::ending_at(window.until, length.saturating_mul(10))] {
        if let Some((first, last, count @ 2..)) = store.first_and_last(device, metric, window).await? {
            let mean_s = last.time.seconds_since(first.time) / (count - 1) as f64;
            return Ok(Duration::try_from_secs_f64(mean_s).ok());
        }
    }
    Ok(None)
}

async fn anomaly_temperature(store: &Store, device: DeviceName, threshold: f64, window: Window) -> Result<Data> {
    let temperature = MetricType::new(TEMPERATURE)?;
    let found = store.first_and_last(&device, &temperature, window).await?;
    let (initial, latest) = (found.map(|(first, ..)| first.value), found.map(|(_, last, _)| last.value));
    let ratio = initial.zip(latest).filter(|(initial, _)| *initial > 0.0).map(|(initial, latest)| latest / initial);
    let note = match (found, ratio) {
        (None, _) => Some(format!("no {TEMPERATURE} of this device in the window: nothing can be said")),
        (Some(_), None) => Some("the first temperature is not above 0 °C: a ratio means nothing".to_owned()),
        (Some(_), Some(_)) => None,
    };
    let anomaly = ratio.is_some_and(|ratio| ratio >= threshold);
    let data =
        TemperatureAnomaly { device, initial_temp: initial, latest_temp: latest, ratio, anomaly, threshold, note };
    Ok(Data::AnomalyTemperature { data, basis: Basis::of(window, found.map_or(0, |(.., count)| count)) })
}
