//! Queries about one device: `device_health` and `anomaly_temperature`.

use std::time::Duration;

use anyhow::Result;
use spindle_core::health::{self, Evidence};
use spindle_core::records::{EventFilter, TimeBasis, Window};
use spindle_core::response::{Basis, Data, DeviceHealth, TemperatureAnomaly};
use spindle_core::{Criticality, DeviceName, MetricType};
use spindle_store::Store;

/// The metric that `anomaly_temperature` compares.
const TEMPERATURE: &str = "DiskTemp";
/// Maximum number of events read to judge a device: a fault is among the newest, or hidden behind worse ones.
const MAX_JUDGED_EVENTS: usize = 1000;

/// Judges one device by its latest values and its events.
pub(super) async fn health(store: &Store, device: DeviceName, window: Window) -> Result<Data> {
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
        Some(newest) => mean_interval(store, &device, &newest.metric_type, window).await?,
        None => None,
    };
    let verdict = health::judge(&Evidence { window, latest: &latest, events: &events, last_seen, rhythm });
    let n_points = (latest.len() + events.len()) as u64;
    Ok(Data::DeviceHealth { data: DeviceHealth { device, verdict, last_seen }, basis: Basis::of(window, n_points) })
}

/// Returns the mean time between two values of a metric: in the window, or in one ten times as long if the window
/// holds too few.
async fn mean_interval(
    store: &Store,
    device: &DeviceName,
    metric: &MetricType,
    window: Window,
) -> Result<Option<Duration>> {
    let length = Duration::try_from_secs_f64(window.seconds()).unwrap_or_default();
    for window in [window, Window::ending_at(window.until, length.saturating_mul(10))] {
        if let Some((first, last, count @ 2..)) = store.first_and_last(device, metric, window).await? {
            let mean_s = last.time.seconds_since(first.time) / (count - 1) as f64;
            return Ok(Duration::try_from_secs_f64(mean_s).ok());
        }
    }
    Ok(None)
}

/// Compares the first and the last temperature in the window.
pub(super) async fn temperature_anomaly(
    store: &Store,
    device: DeviceName,
    threshold: f64,
    window: Window,
) -> Result<Data> {
    let temperature = MetricType::new(TEMPERATURE)?;
    let found = store.first_and_last(&device, &temperature, window).await?;
    let (initial, latest) = (found.map(|(first, ..)| first.value), found.map(|(_, last, _)| last.value));
    let ratio = initial.zip(latest).filter(|(initial, _)| *initial > 0.0).map(|(initial, latest)| latest / initial);
    let note = match (found, ratio) {
        (None, _) => Some(format!("no {TEMPERATURE} of this device in the window; nothing to compare")),
        (Some(_), None) => Some("the first temperature is not above 0 °C; the ratio is undefined".to_owned()),
        (Some(_), Some(_)) => None,
    };
    let anomaly = ratio.is_some_and(|ratio| ratio >= threshold);
    let data =
        TemperatureAnomaly { device, initial_temp: initial, latest_temp: latest, ratio, anomaly, threshold, note };
    Ok(Data::AnomalyTemperature { data, basis: Basis::of(window, found.map_or(0, |(.., count)| count)) })
}
